"""What every voice has in common: its pads here, cheap to import; :mod:`tolmach.processors.tts.element` speaks."""

from __future__ import annotations

from tolmach.pipelines.element import Pad
from tolmach.processors.languages import script_of


def speech_pads(lang: str, rate_hz: int) -> tuple[Pad, ...]:
    """Text in the language and script the voice can speak in, mono utterances out."""
    return (
        Pad.sink(f"text/x-translation, lang={lang}, script={script_of(lang)}"),
        Pad.src(f"audio/raw, rate={rate_hz}, channels=1, segmented=true, lang={lang}"),
    )
