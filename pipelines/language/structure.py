"""The shape of a graph: loose ends, cycles, branches that meet again, and files written twice.

Everything here is iterative and linear in the links (times the elements that fork): a hostile file must not exhaust
the stack or the day.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping, Sequence

from tolmach.pipelines.element import output_paths
from tolmach.pipelines.language.diagnostics import Diagnostics
from tolmach.pipelines.language.drafts import DraftElement
from tolmach.pipelines.language.links import DraftLink, Linked

__all__ = ["check_ends", "check_order", "check_outputs", "check_queues", "topological_order"]

QUEUE = "queue"
"""Known by name: its runtime decouples what is before it from what is behind it."""

FUNNEL = "funnel"
"""Known by name: where streams meet, in the order of media time unless its settings say otherwise."""


def check_ends(drafts: Mapping[str, DraftElement], linked: Linked, problems: Diagnostics) -> None:
    """Report ``unused-element`` and ``unlinked-pad``."""
    taken = {ref for link in linked.links for ref in ((link.src.node, link.src.pad), (link.sink.node, link.sink.pad))}
    for name, draft in drafts.items():
        declared = draft.declared
        if name not in linked.mentioned:
            message = f"element {declared.local!r} is declared but in no link"
            problems.add("unused-element", declared.span, message, hint="link it or remove it")
            continue
        if name in linked.excused or draft.templates is None:
            continue
        made = {(p.direction, p.presence) for p in linked.pads[name]}
        for pad in draft.templates:
            where = "behind" if pad.direction == "src" else "in front of"
            shown = f"{declared.local}.{pad.name}"
            if pad.presence == "always" and not pad.optional and (name, pad.name) not in taken:
                if pad.direction == "src":
                    hint = f"{shown} -> ...; a fake_sink takes what nobody wants"
                else:
                    hint = f"... -> {shown}"
                problems.add("unlinked-pad", declared.span, f"{pad.direction} pad {shown} is not linked", hint=hint)
            elif pad.presence == "request" and not pad.optional and (pad.direction, "request") not in made:
                message = f"no {pad.direction} pad of {declared.local!r} is linked"
                problems.add("unlinked-pad", declared.span, message, hint=f"link at least one element {where} it")


def check_outputs(drafts: Mapping[str, DraftElement], problems: Diagnostics) -> None:
    """Report ``duplicate-output``; paths in which a param has no value yet are compared as they are written."""
    writers: dict[str, DraftElement] = {}
    for draft in drafts.values():
        for setting, path in (output_paths(draft.settings) if draft.settings is not None else {}).items():
            first = writers.setdefault(os.path.normpath(path), draft)
            if first is draft:
                continue
            given = draft.declared.settings.get(setting)
            span = given.value.span if given is not None else draft.declared.span
            message = f"{draft.declared.name!r} writes {path!r}, as {first.declared.name!r} does"
            problems.add("duplicate-output", span, message, hint="give each a file of its own")


def topological_order(
    names: Sequence[str], links: Sequence[DraftLink], problems: Diagnostics
) -> tuple[str, ...] | None:
    """Topological order, among equals that of ``names``; None (and ``cycle``) when there is none."""
    rank = {name: i for i, name in enumerate(names)}
    waiting = dict.fromkeys(names, 0)
    behind: dict[str, list[str]] = {name: [] for name in names}
    for link in links:
        waiting[link.sink.node] += 1
        behind[link.src.node].append(link.sink.node)
    ready = [rank[name] for name in names if not waiting[name]]
    order = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for follower in behind[name]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, rank[follower])
    if len(order) == len(names):
        return tuple(order)
    _report_cycles({name for name in names if waiting[name]}, names, links, problems)
    return None


def _report_cycles(left: set[str], names: Sequence[str], links: Sequence[DraftLink], problems: Diagnostics) -> None:
    # What is left is in a cycle or behind one: walking backwards from anywhere always ends up going round.
    before: dict[str, DraftLink] = {}
    for link in links:
        if link.src.node in left and link.sink.node in left:
            before.setdefault(link.sink.node, link)
    seen: set[str] = set()
    for start in names:
        if start not in left or start in seen:
            continue
        path: list[str] = []
        at = start
        while at not in seen:
            seen.add(at)
            path.append(at)
            at = before[at].src.node
        if at not in path:
            continue
        ring = path[path.index(at) :][::-1]
        first = min(range(len(ring)), key=lambda i: names.index(ring[i]))
        ring = ring[first:] + ring[:first]
        closing = before[ring[0]]
        shown = " -> ".join([*ring, ring[0]]) if len(ring) <= 12 else " -> ".join([*ring[:12], "...", ring[0]])
        problems.add(
            "cycle",
            closing.span,
            f"elements feed themselves: {shown}",
            hint=f"remove {closing.src} -> {closing.sink}; frames only flow forward",
        )


def check_queues(
    order: Sequence[str], drafts: Mapping[str, DraftElement], links: Sequence[DraftLink], problems: Diagnostics
) -> None:
    """Report ``missing-queue``: branches that part at one element and meet again need a queue each.

    A push returns when everything down to the next queue has taken the frame. If one branch waits where they meet,
    a branch without a queue holds up the element where they part, and with it the very frames the first one waits for.
    """
    leaving: dict[str, list[DraftLink]] = {name: [] for name in order}
    arriving: dict[str, list[DraftLink]] = {name: [] for name in order}
    for link in links:
        leaving[link.src.node].append(link)
        arriving[link.sink.node].append(link)
    if not any(len(found) > 1 for found in arriving.values()):
        return
    queues = {name for name in order if (spec := drafts[name].spec) is not None and spec.type == QUEUE}
    for at, fork in enumerate(order):
        if len(leaving[fork]) > 1:
            _check_fork(fork, order[at:], leaving, arriving, queues, problems)


def check_order(
    order: Sequence[str], drafts: Mapping[str, DraftElement], links: Sequence[DraftLink], problems: Diagnostics
) -> None:
    """Warn of ``unordered-merge``: a funnel that does not sort, in front of a sink that lays out by media time."""
    arriving = dict.fromkeys(order, 0)
    for link in links:
        arriving[link.sink.node] += 1
    timed = {name: name for name in order if (spec := drafts[name].spec) is not None and spec.timed}
    place = {name: at for at, name in enumerate(order)}
    for link in sorted(links, key=lambda link: place[link.src.node], reverse=True):  # whatever is behind first
        if link.sink.node in timed:
            timed.setdefault(link.src.node, timed[link.sink.node])
    for name in order:
        draft = drafts[name]
        unsorted = (
            draft.spec is not None and draft.spec.type == FUNNEL and getattr(draft.settings, "order", "") == "arrival"
        )
        if unsorted and name in timed and arriving[name] > 1:
            problems.add(
                "unordered-merge",
                draft.declared.span,
                f"{draft.declared.local!r} passes frames on as they arrive, and {timed[name]!r} wants them in the "
                "order of media time",
                notes=("in which order several inputs arrive depends on timing and differs from run to run",),
                hint="take its `order: arrival` away",
                severity="warning",
            )


def _check_fork(
    fork: str,
    order: Sequence[str],
    leaving: Mapping[str, list[DraftLink]],
    arriving: Mapping[str, list[DraftLink]],
    queues: set[str],
    problems: Diagnostics,
) -> None:
    meetings = _meetings(fork, order, arriving)
    if not meetings:
        return
    # From each element the first meeting it reaches without passing a queue, found backwards.
    bare: dict[str, str] = {}
    for name in reversed(order[1:]):
        if name in meetings:
            bare[name] = name
        elif name not in queues:
            reached = [bare[link.sink.node] for link in leaving[name] if link.sink.node in bare]
            if reached:
                bare[name] = min(reached, key=meetings.__getitem__)
    for link in leaving[fork]:
        if (meeting := bare.get(link.sink.node)) is not None:
            problems.add(
                "missing-queue",
                link.span,
                f"branches part at {fork!r} and meet again at {meeting!r}, and this one has no queue",
                notes=("without a queue on each branch, one that waits stalls the others",),
                hint=f"put {{type: {QUEUE}}} between {link.src.node} and {link.sink.node}",
            )


def _meetings(fork: str, order: Sequence[str], arriving: Mapping[str, list[DraftLink]]) -> dict[str, int]:
    """Elements where branches of ``fork`` meet, with their place in the order.

    Two branches meet where two paths arrive that share nothing but the fork: where the fork is the immediate dominator
    of an element with two links (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm, 2001; one pass, as the
    graph has no cycles).
    """
    place = {fork: 0}
    dominator = {fork: fork}
    meetings = {}
    for at, name in enumerate(order[1:], start=1):
        from_fork = [link.src.node for link in arriving[name] if link.src.node in dominator]
        if not from_fork:
            continue
        place[name] = at
        common = from_fork[0]
        for other in from_fork[1:]:
            while common != other:
                if place[common] > place[other]:
                    common = dominator[common]
                else:
                    other = dominator[other]
        dominator[name] = common
        if len(from_fork) > 1 and common == fork:
            meetings[name] = at
    return meetings
