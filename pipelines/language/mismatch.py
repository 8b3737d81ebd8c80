"""Why two pads cannot be linked, in words, and what to put between them."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.caps import Caps, FieldValue, IntRange, Structure, format_value, intersect_values, value_is_subset
from pipelines.language.diagnostics import Diagnostics
from pipelines.language.pads import DraftLink

__all__ = ["explain", "explain_inputs", "explain_join", "show_caps"]

_FIRST = ("rate", "channels")


def show_caps(caps: Caps) -> str:
    """The written form of caps with the fields people look for first: rate, then channels, then the others."""
    if caps.structures is None or not caps.structures:
        return str(caps)
    return " ; ".join(_show(s) for s in caps)


def _show(structure: Structure) -> str:
    fields = dict(structure.fields)
    names = [*(n for n in _FIRST if n in fields), *(n for n in fields if n not in _FIRST)]
    return ", ".join([structure.media, *(f"{n}={format_value(fields[n])}" for n in names)])


def explain(
    link: DraftLink, offered: Caps, accepted: Caps, open_fields: frozenset[str] | None, problems: Diagnostics
) -> None:
    """Report ``caps-mismatch`` on a link.

    Args:
        link: The link.
        offered: What its src side offers.
        accepted: What its sink side accepts.
        open_fields: Fields still negotiable behind a dynamic pad; None when the link is not behind one.
        problems: Takes the report.
    """
    notes = [f"src offers   {show_caps(offered)}", f"sink accepts {show_caps(accepted)}"]
    if open_fields is not None and offered.can_intersect(accepted):
        notes.append("the exact caps are known only when data flows, so all that is offered must be accepted")
    problems.add(
        "caps-mismatch",
        link.span,
        f"cannot link {link.src} -> {link.sink}",
        notes=notes,
        hint=_hint(link, offered, accepted, open_fields),
    )


def explain_join(link: DraftLink, offered: Caps, problems: Diagnostics) -> None:
    """Report ``caps-mismatch`` on one of several inputs that must be the same, when it can promise nothing."""
    notes = [
        f"src offers   {show_caps(offered)}",
        f"all inputs of {link.sink.node} must carry the same, and this one's caps are known only when data flows",
    ]
    sound = any(s.media.startswith("audio/") for s in offered)
    hint = "put {type: resample, rate_hz: 48000, channels: 1} between them" if sound else None
    problems.add("caps-mismatch", link.span, f"cannot link {link.src} -> {link.sink}", notes=notes, hint=hint)


def explain_inputs(first: DraftLink, given: Caps, second: DraftLink, other: Caps, problems: Diagnostics) -> None:
    """Report ``caps-mismatch`` on the second of two inputs of one element that must carry the same and do not.

    Args:
        first: The link of one input.
        given: What arrives there.
        second: The link of the other.
        other: What arrives there.
        problems: Takes the report.
    """
    node = second.sink.node
    pairs = [(a, b) for a in given for b in other if a.media == b.media]
    if pairs:
        mine, theirs = min(pairs, key=lambda pair: len(list(_conflicts(pair[0], pair[1], None))))
        conflicts = dict(_conflicts(mine, theirs, None))
        fields = " and ".join(sorted(conflicts, key=lambda n: (n not in _FIRST, n)))
    else:
        conflicts, fields = {}, "the kind of stream"
    if conflicts and set(conflicts) <= set(_FIRST):
        names = {"rate": "rate_hz", "channels": "channels"}
        values = {n: _value(mine.get(n)) for n in _FIRST if n in conflicts}
        settings = ", ".join(f"{names[n]}: {value}" for n, value in values.items())
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
            f"{first.src} gives {show_caps(given)}",
            f"{second.src} gives {show_caps(other)}",
            f"what leaves {node!r} must be one stream, so all that enters must be alike",
        ],
        hint=hint,
    )


def _hint(link: DraftLink, offered: Caps, accepted: Caps, open_fields: frozenset[str] | None) -> str:
    pairs = [(a, b) for a in offered for b in accepted if a.media == b.media]
    if not pairs:
        kinds = sorted({s.media for s in offered}), sorted({s.media for s in accepted})
        gives, takes = (" or ".join(k) or "anything" for k in kinds)
        return f"put an element between them that takes {gives} and gives {takes}"
    mine, other = min(pairs, key=lambda pair: len(list(_conflicts(pair[0], pair[1], open_fields))))
    conflicts = dict(_conflicts(mine, other, open_fields))
    advice = []
    if resampled := {n: v for n, v in conflicts.items() if n in _FIRST}:
        names = {"rate": "rate_hz", "channels": "channels"}
        wanted = {n: _nearest(v, mine.get(n), 48000 if n == "rate" else 1) for n, v in resampled.items()}
        settings = ", ".join(f"{names[n]}: {wanted[n]}" for n in _FIRST if n in wanted)
        advice.append(f"put {{type: resample, {settings}}} between them")
    if "segmented" in conflicts:
        if conflicts["segmented"] == frozenset({True}):
            advice.append(f"{link.sink.node} takes utterances: put a VAD between them")
        else:
            advice.append(f"{link.sink.node} takes the stream before it is cut: link it in front of the VAD")
    spoken = [n for n in ("lang", "script") if n in conflicts]
    if spoken:
        given = ", ".join(f"{n}={_value(mine.get(n))}" for n in spoken)
        taken = ", ".join(f"{n}={_value(conflicts[n])}" for n in spoken)
        advice.append(f"{link.src.node} gives {given} and {link.sink.node} takes {taken}: make the two agree")
    advice.extend(
        f"make {n} agree: {_value(mine.get(n))} is given, {_value(v)} is taken"
        for n, v in conflicts.items()
        if n not in (*_FIRST, "segmented", "lang", "script")
    )
    if not advice:
        advice.append(f"make all that meets at {link.sink.node} the same, for example with a resample in front of it")
    return "; ".join(advice)


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


def _value(value: FieldValue | None) -> str:
    return "anything" if value is None else format_value(value)
