"""The lines of ``jsonl_sink``: the schema of docs/EVENTS.md, version 1."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tolmach.pipelines.frames import AudioFrame, TranslationFrame, UtteranceEnd, samples_to_ns

__all__ = ["VERSION", "AudioSummary", "audio_event", "dumps", "translation_event", "utterance_event"]

VERSION = 1
"""Fields may be added within a version; one that is renamed, removed or changes its meaning makes the next."""


@dataclass(slots=True)
class AudioSummary:
    """What audio an utterance (or a stream that is not cut) had.

    Attributes:
        start_ns: Media time of the first sample, ns.
        rate_hz: Sample rate, Hz.
        channels: Number of channels.
        samples: Sample periods so far.
        peak: Greatest magnitude so far, not a number if a sample is none. (Not a mean level: a sum of squares would
            depend on how the audio was chopped.)
    """

    start_ns: int
    rate_hz: int
    channels: int
    samples: int = 0
    peak: float = 0.0

    def add(self, frame: AudioFrame) -> None:
        """Count a frame of the same rate and channels."""
        self.samples += len(frame.samples)
        if frame.samples.size:
            peak = float(np.max(np.abs(frame.samples)))
            # One value that is no number makes the peak none, wherever in the utterance it stands.
            self.peak = max(self.peak, peak) if math.isfinite(self.peak + peak) else math.nan

    @property
    def end_ns(self) -> int:
        """Media time just after the last sample, ns."""
        return self.start_ns + samples_to_ns(self.samples, self.rate_hz)

    def as_json(self) -> dict[str, Any]:
        """The ``audio`` object."""
        return {
            "samples": self.samples,
            "rate_hz": self.rate_hz,
            "channels": self.channels,
            "duration_ns": samples_to_ns(self.samples, self.rate_hz),
            "peak": _number(self.peak),
        }


def utterance_event(
    utterance: int, start_ns: int, end: UtteranceEnd | None, audio: AudioSummary | None
) -> dict[str, Any]:
    """An utterance that has passed; ``end`` is None when the stream broke off inside it."""
    return {
        "v": VERSION,
        "event": "utterance",
        "utterance": utterance,
        "start_ns": start_ns,
        "end_ns": end.end_ns if end else None,
        "reason": end.reason if end else None,
        "audio": audio.as_json() if audio else None,
    }


def translation_event(frame: TranslationFrame) -> dict[str, Any]:
    """A translation, partial or final."""
    return {
        "v": VERSION,
        "event": "translation",
        "utterance": frame.utterance,
        "start_ns": frame.pts_ns,
        "end_ns": frame.end_ns,
        "source_lang": frame.source_lang,
        "target_lang": frame.target_lang,
        "text": frame.text,
        "logprob": _number(frame.logprob),
        "final": frame.final,
        "rejected": frame.rejected,
        "engine": frame.engine,
    }


def audio_event(audio: AudioSummary) -> dict[str, Any]:
    """A stretch of audio that was not cut into utterances."""
    return {
        "v": VERSION,
        "event": "audio",
        "start_ns": audio.start_ns,
        "end_ns": audio.end_ns,
        "audio": audio.as_json(),
    }


def dumps(event: Mapping[str, Any]) -> str:
    """One line: keys in the order given, no spaces, text as it is, a line feed behind it."""
    text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Line ends to Unicode, and so to str.splitlines(), though not to JSON; they occur inside strings only.
    for character in "\x85\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text + "\n"


def _number(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, 4) + 0.0  # -0.0 becomes 0.0
