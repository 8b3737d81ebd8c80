"""What every voice has in common: its pads here, cheap to import; :mod:`tolmach.processors.tts.element` speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import Pad
from tolmach.processors.languages import text_caps


def speech_pads(langs: Sequence[str], rate_hz: int) -> tuple[Pad, ...]:
    """Text in the languages and scripts that can be spoken in, mono utterances out; of several, in any language."""
    lang = f", lang={langs[0]}" if len(langs) == 1 else ""
    return (
        Pad.sink(text_caps(langs)),
        Pad.src(f"audio/raw, rate={rate_hz}, channels=1, segmented=true{lang}"),
    )


def wanted_languages(langs: Sequence[str], caps: Mapping[str, Caps]) -> tuple[str, ...]:
    """Which of a voice's languages may come, by the negotiated caps of its sink pad; all where those say nothing."""
    values = [structure.get("lang") for structure in caps.get("sink", Caps.any()).structures or ()]
    may_come = {lang for value in values if isinstance(value, frozenset) for lang in value}
    return tuple(lang for lang in langs if lang in may_come) or tuple(langs)
