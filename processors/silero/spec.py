"""What the graph needs to know about ``silero_tts`` without importing torch."""

from __future__ import annotations

from pathlib import Path

from tolmach.pipelines.element import ElementSpec, Extra, Missing, Pad
from tolmach.processors.silero.files import expected_at
from tolmach.processors.silero.settings import SileroTtsSettings
from tolmach.processors.silero.voices import LICENCE, MODELS
from tolmach.processors.tts import speech_pads


def _pads(settings: SileroTtsSettings) -> tuple[Pad, ...]:
    return speech_pads(settings.language, settings.rate_hz)


def _missing(settings: SileroTtsSettings, base_dir: Path) -> tuple[Missing, ...]:
    path = expected_at(settings, base_dir)
    size_bytes = settings.info.size_bytes if settings.info else None
    if path.is_file() and size_bytes in (None, path.stat().st_size):
        return ()
    if settings.info is None and "://" not in settings.model:
        return (Missing(path.name, remedy="there is no such file"),)
    return (Missing(settings.info.name if settings.info else settings.model, size_bytes),)


SPEC = ElementSpec(
    type="silero_tts",
    summary="Speak translations with a Silero model: natural Russian and English voices on CPU or GPU.",
    settings=SileroTtsSettings,
    pads=_pads,
    build="tolmach.processors.silero.element:SileroTts",
    extra=Extra("tolmach[silero]", ("torch",)),
    prefetch="tolmach.processors.silero.files:fetch",
    missing=_missing,
    on_error="skip",
    doc=(
        "Numbers, dates, units, abbreviations and foreign letters become words first, because the models drop what "
        "they cannot read without a word. A model is a torch package, that is, a program: it is loaded only when its "
        f"SHA-256 is pinned in Tolmach ({', '.join(m.name for m in MODELS.values() if m.sha256)}) or allowed by you, "
        "with `sha256` or the variable TOLMACH_ALLOW_SHA256. Models "
        "are kept in TOLMACH_CACHE (default ~/.cache/tolmach); `tolmach fetch GRAPH` gets them beforehand."
    ),
    licence=f"{', '.join(MODELS)}: {LICENCE} (non-commercial, share alike), by Silero Team",
    example="{type: silero_tts, model: v5_5_ru, speaker: baya, rate_hz: 48000}",
)
