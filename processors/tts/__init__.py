"""What every voice has in common: its pads here, cheap to import; :mod:`tolmach.processors.tts.element` speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import Field, Live, Pad, Settings
from tolmach.processors.languages import text_caps

LIVE_BUDGET_MS = 20_000
"""Budget in a live graph that says nothing: as long as a detector's longest utterance by default, so that a short
sentence behind a long one is heard."""

MAX_TEMPO = 1.3
"""Bound of the tempo by default: up to it a recogniser understands every voice as well as at its own speed
(docs/BENCHMARKS.md, "Speech that keeps up")."""


class SpeechSettings(Settings):
    """What every voice can be told; the settings of each go on from here."""

    chunk_ms: int = Field(100, ge=10, le=1000, description="Length of the audio frames, ms.")
    max_lag_ms: Live[int | None] = Field(
        None,
        ge=0,
        le=600_000,
        title="How late speech may come",
        description="How much later than its source ended a text may begin to be heard, ms. As speech falls behind, "
        "pauses become shorter, then it becomes faster; a text that would come later still is left to the caption. "
        f"null: {LIVE_BUDGET_MS} in live graphs, no bound in others; 0: no bound, and nothing is hurried.",
    )
    max_tempo: Live[float] = Field(
        MAX_TEMPO,
        ge=1.0,
        le=2.0,
        title="How fast it may become",
        description="How much faster than its own speed speech that has fallen behind may become, its pitch kept.",
    )


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
