"""Pads of the elements of a graph: found by name, made on request, linked once."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pipelines.element import Pad
from pipelines.graph import PadRef, Span
from pipelines.language.diagnostics import Diagnostics

__all__ = ["Allocator", "DraftLink", "End", "find_pad", "make_pads", "template_of"]


@dataclass(frozen=True, slots=True)
class DraftLink:
    """A link between two pads that exist; its caps are not negotiated yet.

    Attributes:
        src: Where frames leave.
        sink: Where they arrive.
        span: The link as written, ``a -> b``.
    """

    src: PadRef
    sink: PadRef
    span: Span


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: a pad (or template) of an element.

    Attributes:
        node: The element.
        template: Its pad or pad template; None when the element is broken and nothing is said about its pads.
        pad: Name of the pad that was asked for; None for the next one of a request template.
        span: Where it is written.
    """

    node: str
    template: Pad | None
    pad: str | None
    span: Span


def template_of(pad: str) -> str:
    """The request template a pad was made from: ``src_3`` → ``src_%u``."""
    stem, _, _ = pad.rpartition("_")
    return f"{stem}_%u"


def make_pads(templates: tuple[Pad, ...], linked: set[str]) -> tuple[Pad, ...]:
    """The pads of an element of which ``linked`` are linked: request templates give way to what was made of them."""
    pads: list[Pad] = []
    for template in templates:
        if template.presence == "always":
            pads.append(template)
            continue
        stem = template.name.removesuffix("%u")
        numbers = sorted(int(n.removeprefix(stem)) for n in linked if re.fullmatch(re.escape(stem) + r"[0-9]+", n))
        pads.extend(replace(template, name=f"{stem}{number}") for number in numbers)
    return tuple(pads)


def find_pad(templates: tuple[Pad, ...], name: str) -> tuple[Pad, str | None] | None:
    """The pad or template that a name means, and the exact pad asked for (None: the next one)."""
    for template in templates:
        if template.presence == "always" and template.name == name:
            return template, name
    for template in templates:
        stem = template.name.removesuffix("_%u")
        if template.presence == "request" and (
            name == stem or re.fullmatch(re.escape(stem) + r"_(0|[1-9][0-9]{0,3})", name)
        ):
            return template, None if name == stem else name
    return None


class Allocator:
    """Makes request pads and sees that no pad is linked twice."""

    def __init__(self, problems: Diagnostics) -> None:
        self.problems = problems
        self.taken: dict[PadRef, Span] = {}
        self.next: dict[tuple[str, str], int] = {}

    def allocate(self, wanted: list[tuple[End, End, Span]]) -> tuple[list[DraftLink], set[str]]:
        """The links, and the elements next to those that did not come about."""
        # Pads asked for by name go first, so that `tee ->` never takes the one that `tee.src_0 ->` names below.
        sound = [self._claim(*(end for end in (src, sink) if end.pad is not None)) for src, sink, _ in wanted]
        links: list[DraftLink] = []
        excused: set[str] = set()
        for (src, sink, span), claimed in zip(wanted, sound, strict=True):
            if claimed and src.template and sink.template:
                links.append(DraftLink(self._ref(src), self._ref(sink), span))
            else:
                excused |= {src.node, sink.node}
        return links, excused

    def _claim(self, *ends: End) -> bool:
        """Take pads by name, all or none."""
        refs = {PadRef(end.node, end.pad): end for end in ends if end.pad is not None and end.template is not None}
        taken = [ref for ref in refs if ref in self.taken]
        for ref in taken:
            self._report(ref, refs[ref])
        if not taken:
            self.taken |= {ref: end.span for ref, end in refs.items()}
        return not taken

    def _report(self, ref: PadRef, end: End) -> None:
        hint = "put {type: tee} behind it: a pad has one link"
        if end.template and end.template.direction == "sink":
            hint = "put {type: funnel} in front of it: a pad has one link"
        if end.template and end.template.presence == "request":
            hint = f"name {ref.node!r} without a pad to get another one"
        self.problems.add(
            "pad-already-linked",
            end.span,
            f"{ref} is already linked",
            notes=(f"first linked on line {self.taken[ref].line}",),
            hint=hint,
        )

    def _ref(self, end: End) -> PadRef:
        return PadRef(end.node, end.pad) if end.pad is not None else self._request(end)

    def _request(self, end: End) -> PadRef:
        assert end.template is not None  # noqa: S101 -- allocate() leaves broken elements out
        key = (end.node, end.template.name)
        number = self.next.get(key, 0)
        while (ref := PadRef(end.node, end.template.name.replace("%u", str(number)))) in self.taken:
            number += 1
        self.next[key] = number + 1
        self.taken[ref] = end.span
        return ref
