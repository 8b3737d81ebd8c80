"""Caps negotiation: what travels over each link.

A link starts as what both pads allow. A src pad that is ``like`` a sink pad ties the two links together, so choices
travel both ways through ``identity``, ``tee`` and ``queue`` until nothing changes: a ``resample`` without a rate takes
what a VAD wants three elements further down. What is left open is then fixated from the sources on, preferring the
value of the field upstream, so that nothing is converted without need (GStreamer, design/negotiation.md).

A ``dynamic`` src pad knows its exact caps only when data flows. Its peer must accept all that is offered, and so must
the peers of ``like`` elements behind it, as far as these repeat its fields.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tolmach.pipelines.caps import (
    Caps,
    FieldValue,
    IntRange,
    Scalar,
    Structure,
    format_value,
    intersect_values,
    value_is_subset,
)
from tolmach.pipelines.element import Pad
from tolmach.pipelines.language.diagnostics import Diagnostics
from tolmach.pipelines.language.links import DraftLink, template_of

__all__ = ["negotiate"]

VoiceLine = Callable[[str], str | None]
"""What to write for a voice that speaks a language, by its BCP-47 tag; None where nothing does."""

_SOUND = {"rate": "rate_hz", "channels": "channels"}
"""Fields that people look for first, and the settings of ``resample`` that change them."""


def _show_caps(caps: Caps) -> str:
    """The written form of caps with the fields people look for first: rate, then channels, then the others."""
    if caps.structures is None or not caps.structures:
        return str(caps)
    return " ; ".join(_show(s) for s in caps)


def _show(structure: Structure) -> str:
    fields = dict(structure.fields)
    names = [*(n for n in _SOUND if n in fields), *(n for n in fields if n not in _SOUND)]
    return ", ".join([structure.media, *(f"{n}={format_value(fields[n])}" for n in names)])


def _report_mismatch(
    link: DraftLink,
    offered: Caps,
    accepted: Caps,
    open_fields: frozenset[str] | None,
    problems: Diagnostics,
    voice_line: VoiceLine | None,
) -> None:
    """Report ``caps-mismatch`` on a link.

    Args:
        link: The link.
        offered: What its src side offers.
        accepted: What its sink side accepts.
        open_fields: Fields still negotiable behind a dynamic pad; None when the link is not behind one.
        problems: Takes the report.
        voice_line: Where the sink is a voice, what to write for one of another language.
    """
    notes = [f"src offers   {_show_caps(offered)}", f"sink accepts {_show_caps(accepted)}"]
    if open_fields is not None and offered.can_intersect(accepted):
        notes.append("the exact caps are known only when data flows, so all that is offered must be accepted")
    problems.add(
        "caps-mismatch",
        link.span,
        f"cannot link {link.src} -> {link.sink}",
        notes=notes,
        hint=_hint(link, offered, accepted, open_fields, voice_line),
    )


def _report_open_input(link: DraftLink, offered: Caps, problems: Diagnostics) -> None:
    """Report ``caps-mismatch`` on one of several inputs that must be the same, when it can promise nothing."""
    notes = [
        f"src offers   {_show_caps(offered)}",
        f"all inputs of {link.sink.node} must carry the same, and this one's caps are known only when data flows",
    ]
    sound = any(s.media.startswith("audio/") for s in offered)
    hint = "put {type: resample, rate_hz: 48000, channels: 1} between them" if sound else None
    problems.add("caps-mismatch", link.span, f"cannot link {link.src} -> {link.sink}", notes=notes, hint=hint)


def _report_unlike_inputs(first: DraftLink, given: Caps, second: DraftLink, other: Caps, problems: Diagnostics) -> None:
    """Report ``caps-mismatch`` on the second of two inputs of one element that must carry the same and do not.

    Args:
        first: The link of one input.
        given: What arrives there.
        second: The link of the other.
        other: What arrives there.
        problems: Takes the report.
    """
    node = second.sink.node
    mine, conflicts = _closest(given, other, None)
    if mine is not None:
        fields = " and ".join(sorted(conflicts, key=lambda n: (n not in _SOUND, n)))
    else:
        fields = "the kind of stream"
    if mine is not None and conflicts and set(conflicts) <= set(_SOUND):
        values = {n: _value(mine.get(n)) for n in _SOUND if n in conflicts}
        settings = ", ".join(f"{_SOUND[n]}: {value}" for n, value in values.items())
        hint = f"put {{type: resample, {settings}}} in front of {second.sink}"
        if any(not value.isdigit() for value in values.values()):
            hint = f"put a resample to one {fields} in front of each input of {node}"
    elif "segmented" in conflicts:
        hint = "cut both with a VAD, or neither: sound in utterances and sound as it comes cannot share a stream"
    elif "lang" in conflicts or "script" in conflicts:
        hint = f"give each language a sink of its own instead of {node!r}, or translate both into one"
    else:
        hint = f"give each a sink of its own instead of {node!r}"
    problems.add(
        "caps-mismatch",
        second.span,
        f"the inputs of {node!r} disagree on {fields}",
        notes=[
            f"{first.src} gives {_show_caps(given)}",
            f"{second.src} gives {_show_caps(other)}",
            f"what leaves {node!r} must be one stream, so all that enters must be alike",
        ],
        hint=hint,
    )


def _hint(
    link: DraftLink,
    offered: Caps,
    accepted: Caps,
    open_fields: frozenset[str] | None,
    voice_line: VoiceLine | None = None,
) -> str:
    mine, conflicts = _closest(offered, accepted, open_fields)
    if mine is None:
        kinds = sorted({s.media for s in offered}), sorted({s.media for s in accepted})
        gives, takes = (" or ".join(k) or "anything" for k in kinds)
        return f"put an element between them that takes {gives} and gives {takes}"
    advice = []
    if resampled := {n: v for n, v in conflicts.items() if n in _SOUND}:
        wanted = {n: _nearest(v, mine.get(n), 48000 if n == "rate" else 1) for n, v in resampled.items()}
        settings = ", ".join(f"{_SOUND[n]}: {wanted[n]}" for n in _SOUND if n in wanted)
        advice.append(f"put {{type: resample, {settings}}} between them")
    if "segmented" in conflicts:
        if conflicts["segmented"] == frozenset({True}):
            advice.append(f"{link.sink.node} takes utterances: put a VAD between them")
        else:
            advice.append(f"{link.sink.node} takes the stream before it is cut: link it in front of the VAD")
    spoken = [n for n in ("lang", "script") if n in conflicts]
    lacking = _values(mine.get("lang")) - _values(conflicts.get("lang"))
    if spoken and open_fields is not None and "lang" in conflicts and len(_values(mine.get("lang"))) > 1:
        named = ", ".join(f"{lang}: …" for lang in sorted(_values(mine.get("lang"))))
        advice.append(
            f"the language of what {link.src.node} gives follows from what is spoken, and {link.sink.node} lacks "
            f"{' and '.join(sorted(lacking))}: give it a voice for each, voices: {{{named}}}"
        )
    elif spoken:
        given = ", ".join(f"{n}={_value(mine.get(n))}" for n in spoken)
        taken = ", ".join(f"{n}={_value(conflicts[n])}" for n in spoken)
        only = next(iter(lacking)) if len(lacking) == 1 else ""
        line = voice_line(only) if voice_line is not None and only else None
        way_out = f"to speak {only}, write {link.sink.node}: {line}" if line else "make the two agree"
        advice.append(f"{link.src.node} gives {given} and {link.sink.node} takes {taken}: {way_out}")
    advice.extend(
        f"make {n} agree: {_value(mine.get(n))} is given, {_value(v)} is taken"
        for n, v in conflicts.items()
        if n not in (*_SOUND, "segmented", "lang", "script")
    )
    if not advice:
        advice.append(f"make all that meets at {link.sink.node} the same, for example with a resample in front of it")
    return "; ".join(advice)


def _closest(
    given: Caps, other: Caps, open_fields: frozenset[str] | None
) -> tuple[Structure | None, dict[str, FieldValue]]:
    """The alternative of ``given`` that fits ``other`` best, and where it does not; None if the media differ."""
    pairs = [(a, dict(_conflicts(a, b, open_fields))) for a in given for b in other if a.media == b.media]
    return min(pairs, key=lambda pair: len(pair[1]), default=(None, {}))


def _conflicts(
    mine: Structure, other: Structure, open_fields: frozenset[str] | None
) -> Iterator[tuple[str, FieldValue]]:
    """Fields in which what is offered does not fit, with what is accepted."""
    for name, value in other.fields:
        have = mine.get(name)
        if open_fields is not None and name not in open_fields:
            if have is None or not value_is_subset(have, value):
                yield name, value
        elif have is not None and intersect_values(have, value) is None:
            yield name, value


def _nearest(accepted: FieldValue, offered: FieldValue | None, default: int) -> int | str:
    """The accepted number nearest to what is offered, or to ``default`` when that is not one number."""
    wanted = default
    if isinstance(offered, frozenset) and len(offered) == 1 and isinstance(only := next(iter(offered)), int):
        wanted = only
    if isinstance(accepted, IntRange):
        return min(max(wanted, accepted.low), accepted.high)
    numbers = [v for v in accepted if isinstance(v, int) and not isinstance(v, bool)]
    return min(numbers, key=lambda v: (abs(v - wanted), v)) if numbers else _value(accepted)


def _values(value: FieldValue | None) -> set[str]:
    """The words that a field may be."""
    return {str(each) for each in value} if isinstance(value, frozenset) else set()


def _value(value: FieldValue | None) -> str:
    return "anything" if value is None else format_value(value)


PREFERRED: Mapping[str, Scalar] = {"rate": 48000}
"""Nearest values for fields that nothing upstream and nothing downstream decides. 48 kHz is the rate of Opus and of
most recordings; without this a range would be fixated to its lowest rate."""


def negotiate(
    order: Sequence[str],
    pads: Mapping[str, tuple[Pad, ...]],
    links: Sequence[DraftLink],
    problems: Diagnostics,
    unsure: Collection[str],
    voices: Mapping[str, VoiceLine] | None = None,
) -> list[Caps]:
    """Find the caps of every link; reports ``caps-mismatch`` for each that cannot have any.

    Args:
        order: Elements in topological order.
        pads: Their pads.
        links: The links; both pads of each exist.
        problems: Takes the mismatches. One mismatch does not cause others: nothing travels over a broken link.
        unsure: Elements whose pads depend on params without a value. What they cause is not a mismatch yet.
        voices: For elements that are voices what to write in their place.

    Returns:
        Caps for each link, in the order of ``links``: fixed, except for what a dynamic pad leaves open and what no pad
        constrains. A broken link has EMPTY; so has one that cannot be right before an unset param has a value.
    """
    return _Negotiation(order, pads, links, problems, unsure, voices or {}).run()


@dataclass(slots=True)
class _State:
    """A link under negotiation.

    Attributes:
        link: The link.
        src: Its src pad.
        sink: Its sink pad.
        caps: What is possible so far; EMPTY once broken.
        open: For a link behind a dynamic pad the fields that are still negotiable, else None (all are).
        like: Links whose caps the src pad repeats.
        behind: Links of src pads that repeat this link's caps.
        unsure: Whether what is offered or accepted may change with a param that has no value yet.
    """

    link: DraftLink
    src: Pad
    sink: Pad
    caps: Caps
    open: frozenset[str] | None
    like: list[_State]
    behind: list[_State]
    unsure: bool

    @property
    def broken(self) -> bool:
        return self.caps.is_empty


class _Negotiation:
    def __init__(
        self,
        order: Sequence[str],
        pads: Mapping[str, tuple[Pad, ...]],
        links: Sequence[DraftLink],
        problems: Diagnostics,
        unsure: Collection[str],
        voices: Mapping[str, VoiceLine],
    ) -> None:
        self.problems = problems
        self.voices = voices
        find = {(node, pad.name): pad for node, found in pads.items() for pad in found}
        self.states = [
            _State(
                link=li,
                src=find[li.src.node, li.src.pad],
                sink=find[li.sink.node, li.sink.pad],
                caps=Caps.any(),
                open=None,
                like=[],
                behind=[],
                unsure=li.src.node in unsure or li.sink.node in unsure,
            )
            for li in links
        ]
        place = {name: at for at, name in enumerate(order)}
        self.flow = sorted(self.states, key=lambda s: place[s.link.src.node])
        self.arriving: dict[str, list[_State]] = {}
        for state in self.states:
            self.arriving.setdefault(state.link.sink.node, []).append(state)
        for state in self.flow:
            state.like = [s for s in self.arriving.get(state.link.src.node, ()) if _repeats(state.src, s.sink)]
            for before in state.like:
                before.behind.append(state)
        for state in reversed(self.flow):
            state.unsure |= any(after.unsure for after in state.behind)
        for state in self.flow:
            state.unsure |= any(before.unsure for before in state.like)

    def run(self) -> list[Caps]:
        for state in self.flow:
            self.meet(state)
        self.settle(self.flow)
        for state in self.flow:
            if not state.broken:
                self.fixate(state)
        return [state.caps for state in self.states]

    def meet(self, state: _State) -> None:
        """First caps of a link: what the src pad offers and the sink pad accepts."""
        state.open = _open_fields(state)
        offered = state.src.caps
        arrived: list[tuple[_State, Caps]] = []
        for before in state.like:
            # Behind a broken link go on as if what its sink pad takes had arrived.
            repeated = _forward(before.sink.caps if before.broken else before.caps, state.src)
            if repeated is None:
                continue
            if len(state.like) > 1 and not before.broken and before.open is not None and not _is_certain(before):
                if not before.unsure:
                    _report_open_input(before.link, before.caps, self.problems)
                before.caps = Caps.empty()
                continue
            at_odds = next((one for one in arrived if not one[1].can_intersect(repeated)), None)
            if at_odds is not None and not (at_odds[0].unsure or before.unsure):
                _report_unlike_inputs(at_odds[0].link, at_odds[1], before.link, repeated, self.problems)
                state.caps = Caps.empty()
                return
            arrived.append((before, repeated))
            offered = offered.intersect(repeated)
        self.narrow(state, offered, state.sink.caps)

    def mismatch(self, state: _State, offered: Caps, accepted: Caps) -> None:
        voice = self.voices.get(state.link.sink.node)
        _report_mismatch(state.link, offered, accepted, state.open, self.problems, voice)

    def narrow(self, state: _State, offered: Caps, accepted: Caps) -> bool:
        """Restrict a link to what is offered and accepted; returns whether that changed it."""
        caps = _common(offered, accepted, state.open)
        if caps.is_empty and not state.unsure:
            self.mismatch(state, offered, accepted)
        changed = caps != state.caps
        state.caps = caps
        return changed and not caps.is_empty

    def settle(self, changed: Iterable[_State]) -> None:
        """Carry changes along ``like`` ties, both ways, until nothing changes. Caps only ever shrink, so it ends."""
        waiting = deque(changed)
        while waiting:
            state = waiting.popleft()
            if state.broken:
                continue
            for after in state.behind:
                repeated = _forward(state.caps, after.src)
                if not after.broken and repeated is not None and self.narrow(after, repeated, after.caps):
                    waiting.append(after)
            for before in state.like:
                if not before.broken and not state.broken and self.pull(before, state):
                    waiting.append(before)

    def pull(self, before: _State, after: _State) -> bool:
        """Let a link want what the link behind wants; returns whether that changed it."""
        if _forward(before.caps, after.src) is None:
            return False
        caps = before.caps.intersect(_backward(after))
        if caps.is_empty:
            # Somebody else decided differently upstream: the link that cannot follow is the one to report.
            offered = _forward(before.caps, after.src) or after.src.caps
            if not after.unsure:
                self.mismatch(after, offered, after.caps)
            after.caps = Caps.empty()
            return False
        changed = caps != before.caps
        before.caps = caps
        return changed

    def fixate(self, state: _State) -> None:
        sources = state.like or self.arriving.get(state.link.src.node, [])
        upstream = {name: value for s in sources for name, value in _fixed_fields(s.caps)}
        caps = state.caps
        if state.open is None:
            caps = caps.fixate({**PREFERRED, **upstream})
        elif state.open:
            caps = _fixate_open(caps, state.open, {**PREFERRED, **upstream})
        if state.src.like_drop and caps.structures is not None:
            # Nobody asked for a change, so what could have changed stays as it is.
            kept = {n: frozenset({upstream[n]}) for n in state.src.like_drop if n in upstream}
            caps = Caps.of(s.with_fields({n: v for n, v in kept.items() if s.get(n) is None}) for s in caps.structures)
        if caps != state.caps:
            state.caps = caps
            self.settle([state])


def _is_certain(state: _State) -> bool:
    """Whether what a dynamic pad leaves open is nothing at all."""
    return state.caps.map({}, state.open or ()).is_fixed


def _repeats(src: Pad, sink: Pad) -> bool:
    if src.like is None or sink.direction != "sink":
        return False
    if sink.presence == "always":
        return src.like == sink.name
    if src.presence == "request":  # src_2 is like sink_2, not like sink_1
        return src.like == template_of(sink.name) and src.name.rpartition("_")[2] == sink.name.rpartition("_")[2]
    return src.like == template_of(sink.name)


def _own_fields(pad: Pad) -> frozenset[str]:
    return frozenset(name for s in pad.caps.structures or () for name, _ in s.fields)


def _open_fields(state: _State) -> frozenset[str] | None:
    if state.src.dynamic:
        return frozenset()
    behind_dynamic = [s.open for s in state.like if s.open is not None and not s.broken]
    if not behind_dynamic:
        return None
    return frozenset.intersection(*behind_dynamic) | frozenset(state.src.like_drop) | _own_fields(state.src)


def _forward(caps: Caps, src: Pad) -> Caps | None:
    """What a ``like`` src pad offers when ``caps`` arrive; None when it has no media type in common with them."""
    if caps.structures is None:
        return src.caps
    if src.caps.structures is None:
        return caps.map({}, src.like_drop)
    pairs = [(a, b) for a in caps.structures for b in src.caps.structures if a.media == b.media]
    if not pairs:
        return None
    return Caps.of(a.without_fields(src.like_drop).with_fields(dict(b.fields)) for a, b in pairs)


def _backward(after: _State) -> Caps:
    """What a ``like`` element wants to arrive so that ``after`` can leave."""
    src, caps = after.src, after.caps
    if caps.structures is None:
        return Caps.any()
    if src.caps.structures is None:
        return caps.map({}, src.like_drop)
    pairs = [(c, b) for c in caps.structures for b in src.caps.structures if c.intersect(b) is not None]
    return Caps.of(c.without_fields([*src.like_drop, *(name for name, _ in b.fields)]) for c, b in pairs)


def _common(offered: Caps, accepted: Caps, open_fields: frozenset[str] | None) -> Caps:
    """What both allow; behind a dynamic pad EMPTY unless all that is offered is accepted."""
    if open_fields is None:
        return offered.intersect(accepted)
    if accepted.structures is None:
        return offered
    if offered.structures is None:
        return Caps.empty()
    kept = []
    for mine in offered.structures:
        fits = [both for other in accepted.structures if (both := _accept(mine, other, open_fields)) is not None]
        if not fits:
            return Caps.empty()
        kept.extend(fits)
    return Caps.of(kept)


def _accept(mine: Structure, other: Structure, open_fields: frozenset[str]) -> Structure | None:
    closed = {name: value for name, value in other.fields if name not in open_fields}
    have = dict(mine.fields)
    if not all(name in have and value_is_subset(have[name], value) for name, value in closed.items()):
        return None
    return mine.intersect(other.without_fields(closed))


def _fixed_fields(caps: Caps) -> Iterator[tuple[str, Scalar]]:
    names = {name for s in caps.structures or () for name, _ in s.fields}
    for name in sorted(names):
        value = caps.value(name)
        if value is not None:
            yield name, value


def _fixate_open(caps: Caps, open_fields: frozenset[str], prefer: Mapping[str, Scalar]) -> Caps:
    """Fixate the open fields of every alternative and leave the others as a dynamic pad offers them."""
    fixed: list[Structure] = []
    for structure in caps.structures or ():
        chosen = Caps.of([Structure.of(structure.media, {n: v for n, v in structure.fields if n in open_fields})])
        fixed.extend(structure.with_fields(dict(one.fields)) for one in chosen.fixate(prefer))
    return Caps.of(fixed) if fixed else caps
