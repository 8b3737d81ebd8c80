"""Chains as written → links between pads.

``a -> b.pad -> c`` links the one src pad of ``a`` to the sink pad ``pad`` of ``b``, and the one src pad of ``b`` to the
one sink pad of ``c``. In the middle of a chain ``b.pad`` may name either side. Naming an element with request pads
again asks for another pad (``src_0``, ``src_1``, …); ``tee.src_3`` asks for that one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from tolmach.pipelines.element import Direction, Pad
from tolmach.pipelines.errors import Span
from tolmach.pipelines.graph import PadRef
from tolmach.pipelines.language.bins import Level
from tolmach.pipelines.language.diagnostics import Diagnostics, did_you_mean, line_of
from tolmach.pipelines.language.document import YamlScalar
from tolmach.pipelines.language.drafts import DraftElement

__all__ = ["DraftLink", "Linked", "make_links", "template_of"]


class DraftLink(NamedTuple):
    """A link between two pads that exist; its caps are not negotiated yet.

    Attributes:
        src: Where frames leave.
        sink: Where they arrive.
        span: The link as written, ``a -> b``.
    """

    src: PadRef
    sink: PadRef
    span: Span


class _End(NamedTuple):
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


def _make_pads(templates: tuple[Pad, ...], linked: set[str]) -> tuple[Pad, ...]:
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


def _find_pad(templates: tuple[Pad, ...], name: str) -> tuple[Pad, str | None] | None:
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


class _Allocator:
    """Makes request pads and sees that no pad is linked twice."""

    def __init__(self, problems: Diagnostics) -> None:
        self.problems = problems
        self.taken: dict[PadRef, Span] = {}
        self.next: dict[tuple[str, str], int] = {}

    def allocate(self, wanted: list[tuple[_End, _End, Span]]) -> tuple[list[DraftLink], set[str]]:
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

    def _claim(self, *ends: _End) -> bool:
        """Take pads by name, all or none."""
        refs = {PadRef(end.node, end.pad): end for end in ends if end.pad is not None and end.template is not None}
        taken = [ref for ref in refs if ref in self.taken]
        for ref in taken:
            self._report(ref, refs[ref])
        if not taken:
            self.taken |= {ref: end.span for ref, end in refs.items()}
        return not taken

    def _report(self, ref: PadRef, end: _End) -> None:
        hint = "put {type: tee} behind it: a pad has one link"
        if end.template and end.template.direction == "sink":
            hint = "put {type: funnel} in front of it: a pad has one link"
        if end.template and end.template.presence == "request":
            hint = f"name {ref.node!r} without a pad to get another one"
        first = self.taken[ref]
        self.problems.add(
            "pad-already-linked",
            end.span,
            f"{ref} is already linked",
            notes=(
                f"first linked on {line_of(first, end.span.file)}" if first.line else f"first linked by {first.file}",
            ),
            hint=hint,
        )

    def _ref(self, end: _End) -> PadRef:
        return PadRef(end.node, end.pad) if end.pad is not None else self._request(end)

    def _request(self, end: _End) -> PadRef:
        assert end.template is not None  # noqa: S101 -- allocate() leaves broken elements out
        key = (end.node, end.template.name)
        number = self.next.get(key, 0)
        while (ref := PadRef(end.node, end.template.name.replace("%u", str(number)))) in self.taken:
            number += 1
        self.next[key] = number + 1
        self.taken[ref] = end.span
        return ref


MAX_LINKS = 10_000
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BACKWARDS = re.compile(r"([\w.-]+)\s*<-+\s*([\w.-]+)")
_ENDPOINT = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?:\.([A-Za-z_][A-Za-z0-9_]*))?")


class Linked(NamedTuple):
    """What the chains of a graph come to.

    Attributes:
        links: In the order written, those of a bin after those of the level that uses it.
        pads: The pads of each element, request pads as they were made.
        mentioned: Elements that some chain names, whether or not the link came about.
        excused: Elements next to a link that did not come about: what they lack is not their fault.
    """

    links: list[DraftLink]
    pads: dict[str, tuple[Pad, ...]]
    mentioned: set[str]
    excused: set[str]


def make_links(root: Level, drafts: Mapping[str, DraftElement], problems: Diagnostics) -> Linked:
    """Resolve every chain of every level.

    Reports ``unknown-element``, ``unknown-pad``, ``pad-already-linked`` and ``bad-value`` (not a chain).
    """
    resolver = _Resolver(drafts, problems)
    for level in root.levels():
        resolver.level(level)
    links, excused = _Allocator(problems).allocate(resolver.wanted)
    made: dict[str, set[str]] = {name: set() for name in drafts}
    for link in links:
        made[link.src.node].add(link.src.pad)
        made[link.sink.node].add(link.sink.pad)
    pads = {name: _make_pads(draft.templates or (), made[name]) for name, draft in drafts.items()}
    return Linked(links, pads, resolver.mentioned, resolver.excused | excused)


@dataclass(frozen=True, slots=True)
class _Token:
    """One element of a chain as written."""

    element: str
    pad: str | None
    span: Span
    start: int
    end: int


class _Resolver:
    """Finds the elements and pads that chains mean."""

    def __init__(self, drafts: Mapping[str, DraftElement], problems: Diagnostics) -> None:
        self.drafts, self.problems = drafts, problems
        self.wanted: list[tuple[_End, _End, Span]] = []
        self.mentioned: set[str] = set()
        self.excused: set[str] = set()

    def level(self, level: Level) -> None:
        for name in level.ghosts:
            self.ghost(level, name)
        if level.links_broken:
            self.excuse(self.everybody(level))
        for chain in level.links:
            tokens, whole = self.tokens(level, chain)
            for token in tokens:
                self.mentioned |= self.meant(level, token.element)
            if not whole:  # the rest of the chain may mention anybody
                for word in _WORD.findall(chain.text):
                    self.excuse(self.meant(level, word))
            elif len(tokens) == 1:
                message = "a link needs two elements"
                self.problems.add("bad-value", chain.span, message, hint=f"{tokens[0].element} -> next_element")
            for first, second in pairwise(tokens):
                if len(self.wanted) >= MAX_LINKS:
                    self.problems.add("bad-value", chain.span, f"the graph has more than {MAX_LINKS} links")
                    return
                # Both ends are resolved before either is given up: each has its own problems to report.
                src = self.end(level, first, "src", first is not tokens[0])
                sink = self.end(level, second, "sink", second is not tokens[-1])
                if src and sink:
                    self.wanted.append((src, sink, chain.part(first.start, second.end - first.start)))
                else:
                    self.excused |= self.meant(level, first.element) | self.meant(level, second.element)

    def excuse(self, elements: set[str]) -> None:
        """Say nothing of what these lack: a link that cannot be read may name them."""
        self.mentioned |= elements
        self.excused |= elements

    @staticmethod
    def everybody(level: Level) -> set[str]:
        """All elements of a level and those below."""
        return {element.name for element in level.walk()}

    def meant(self, level: Level, local: str) -> set[str]:
        """Elements that a name in a chain stands for: several when it is a bin."""
        element = level.elements.get(local)
        if isinstance(element, Level):
            inside = {target.text.partition(".")[0] for target in element.ghosts.values()}
            return {name for inner in inside for name in self.meant(element, inner)}
        return {element.name} if element is not None else set()

    def tokens(self, level: Level, chain: YamlScalar) -> tuple[list[_Token], bool]:
        """The elements of a chain up to the first that cannot be read, and whether that is all of it."""
        tokens: list[_Token] = []
        if not isinstance(chain.value, str):
            self.problems.add("bad-value", chain.span, "a link must be a chain such as a -> b -> c")
            self.excuse(self.everybody(level))
            return tokens, False
        at = 0
        for piece in chain.text.split("->"):
            start = at + len(piece) - len(piece.lstrip())
            word = piece.strip()
            at += len(piece) + len("->")
            span = chain.part(start, len(word))
            if found := _ENDPOINT.fullmatch(word):
                tokens.append(_Token(found[1], found[2], span, start, start + len(word)))
                continue
            if word in level.elements:
                pass  # its name was refused where it is declared
            elif not word:
                self.problems.add("bad-value", span, "expected an element here", hint="write a -> b -> c")
            elif "${" in word:
                self.problems.add("bad-value", span, "variables are not expanded in links", hint="name the element")
            else:
                hint = "write a -> b.pad -> c" if not re.search(r"[!→>]", word) else "elements are joined by ->"
                if found := _BACKWARDS.fullmatch(word):
                    hint = f"links are written downstream: {found[2]} -> {found[1]}"
                self.problems.add("bad-value", span, f"{word[:60]!r} is not an element or element.pad", hint=hint)
            return tokens, False
        return tokens, True

    def end(self, level: Level, token: _Token, side: Direction, in_the_middle: bool) -> _End | None:
        if token.element not in level.elements:
            close = did_you_mean(token.element, level.spans)
            hint = f"did you mean '{close}'?" if close else None
            if close and level.spans[close].line:
                hint = f"did you mean '{close}'? declared on line {level.spans[close].line}"
            place = token.span
            if place.length == token.end - token.start:  # else it is that of the whole chain, over several lines
                place = replace(place, length=len(token.element))
            self.problems.add("unknown-element", place, f"no element named {token.element!r}", hint=hint)
            if close:  # most likely it is linked after all
                self.excuse(self.meant(level, close))
            return None
        element = level.elements[token.element]
        pad = token.pad
        if element is None:
            return None
        if isinstance(element, Level):
            return self.bin_end(element, token, side, in_the_middle)
        draft = self.drafts[element.name]
        if draft.templates is None:
            return _End(element.name, None, pad, token.span)
        if pad is not None and in_the_middle and self.direction(draft.templates, pad) not in (side, None):
            pad = None  # `-> b.pad ->` names a pad of the other side
        return self.pad(element.name, token.element, draft.templates, pad, side, token.span)

    def bin_end(self, level: Level, token: _Token, side: Direction, in_the_middle: bool) -> _End | None:
        mine = [name for name in level.ghosts if name.startswith(side)]
        pad = token.pad
        if pad is not None and in_the_middle and pad in level.ghosts and pad not in mine:
            pad = None
        if pad is None and len(mine) == 1:
            pad = mine[0]
        if pad not in mine:
            self.excuse(self.everybody(level))
            if level.ghosts_broken:
                return None
            listed = ", ".join(level.ghosts) or "none"
            what = f"has {'several' if mine else 'no'} {side} pads"
            if pad is not None:
                what = f"has no {side} pad {pad!r}" if pad in level.ghosts else f"has no pad {pad!r}"
            message = f"bin {token.element!r} {what}"
            hint = (
                f"its pads are {listed}"
                if level.ghosts
                else "declare them in the bin: pads: {sink: a.sink, src: b.src}"
            )
            self.problems.add("unknown-pad", token.span, message, hint=hint)
            return None
        inside = self.ghost(level, pad)
        return inside._replace(span=token.span) if inside else None

    def ghost(self, level: Level, name: str) -> _End | None:
        """What a ghost pad of a bin stands for."""
        target = level.ghosts[name]
        found = _ENDPOINT.fullmatch(target.text)
        if not found:
            hint = f"{name}: element.{name}"
            self.problems.add("bad-value", target.span, f"{target.text[:60]!r} is not element.pad", hint=hint)
            return None
        token = _Token(found[1], found[2], target.part(0, len(target.text)), 0, len(target.text))
        side: Direction = "sink" if name.startswith("sink") else "src"
        return self.end(level, token, side, False)

    @staticmethod
    def direction(templates: tuple[Pad, ...], name: str) -> Direction | None:
        found = _find_pad(templates, name)
        return found[0].direction if found else None

    def pad(
        self, node: str, shown: str, templates: tuple[Pad, ...], name: str | None, side: Direction, span: Span
    ) -> _End | None:
        mine = [t for t in templates if t.direction == side]
        rule = "a link begins at a src pad" if side == "src" else "a link ends at a sink pad"
        listed = ", ".join(t.name for t in templates) or "none"
        if name is None:
            needed = [t for t in mine if not t.optional] or mine
            if len(needed) == 1:
                return _End(node, needed[0], needed[0].name if needed[0].presence == "always" else None, span)
            if needed:
                names = " or ".join(f"{shown}.{t.name}" for t in needed[:8])
                message = f"{shown!r} has several {side} pads"
                self.problems.add("unknown-pad", span, message, hint=f"say which: {names}")
            else:
                hint = f"{rule}; the pads of {shown!r} are {listed}"
                self.problems.add("unknown-pad", span, f"{shown!r} has no {side} pad", hint=hint)
            return None
        found = _find_pad(templates, name)
        if found is None:
            close = did_you_mean(name, [t.name for t in templates])
            hint = f"did you mean '{shown}.{close.replace('%u', '0')}'?" if close else f"its pads are {listed}"
            self.problems.add("unknown-pad", span, f"{shown!r} has no pad {name!r}", hint=hint)
            return None
        template, pad = found
        if template.direction != side:
            message = f"{shown}.{name} is a {template.direction} pad, and {rule}"
            self.problems.add("unknown-pad", span, message, hint=f"its pads are {listed}")
            return None
        return _End(node, template, pad, span)
