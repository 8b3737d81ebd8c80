"""``jsonl_sink``: what passes, as JSON lines in the schema of docs/EVENTS.md, version 1."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tolmach.pipelines.element import Context
from tolmach.pipelines.frames import (
    NS_PER_MS,
    AudioFrame,
    Frame,
    TranslationFrame,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.transports.files.atomic import TextSink
from tolmach.transports.files.specs import JsonlSinkSettings

__all__ = ["JsonlSink", "dumps", "translation_event"]

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
        "cut_by": end.cut_by if end else None,
        "cut": end.cut if end else "",
        "decided_ns": end.decided_ns if end else None,
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
        "part": frame.part,
        "more": frame.more,
        "source_text": frame.source_text,
        "language_confidence": _number(frame.language_confidence),
        "language_kept": frame.language_kept,
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


_MAX_OPEN = 256  # utterances open at once; an element that never closes its utterances must not grow our memory


@dataclass(slots=True)
class _Open:
    """An utterance that has started."""

    start_ns: int
    audio: AudioSummary | None = None


class JsonlSink(TextSink):
    """Writes a line per utterance when it ends, and per translation when it comes."""

    settings: JsonlSinkSettings

    def __init__(self, settings: JsonlSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._open: dict[int, _Open] = {}
        self._stream: AudioSummary | None = None

    async def start(self, head: str = "") -> None:
        """Open the file under its partial name.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        await super().start(head)
        self.reset(None)

    async def process(self, frame: Frame, pad: str) -> None:
        """Note the frame.

        Raises:
            ElementError: If the rate or the channels change within an utterance, or the disk refuses the lines.
        """
        if isinstance(frame, TranslationFrame):
            if not frame.speculative:  # what comes of it is told by the text that replaces it
                await self.write(dumps(translation_event(frame)))
        elif isinstance(frame, UtteranceStart):
            await self._begin(frame.utterance, frame.pts_ns)
        elif isinstance(frame, UtteranceEnd):
            await self._end(frame)
        elif isinstance(frame, UtterancePause):
            pass  # what came of it is written when the utterance has ended
        elif frame.utterance is None:
            await self._add_to_stream(frame)
        else:
            if frame.utterance not in self._open:
                await self._begin(frame.utterance, frame.pts_ns)
            self._add_to_utterance(frame, frame.utterance)

    async def drain(self) -> None:
        """Write what is still open and give the file its name."""
        await self.write(self.unwritten())
        await super().drain()

    def unwritten(self) -> str:
        """What is still open."""
        lines = [dumps(utterance_event(n, found.start_ns, None, found.audio)) for n, found in self._open.items()]
        if self._stream is not None:
            lines.append(dumps(audio_event(self._stream)))
        self.reset(None)
        return "".join(lines)

    def reset(self, utterance: int | None) -> None:
        """Forget an open utterance (None: everything that is open)."""
        if utterance is None:
            self._open = {}
            self._stream = None
        else:
            self._open.pop(utterance, None)

    async def _begin(self, utterance: int, start_ns: int) -> None:
        if utterance in self._open:
            await self._break_off(utterance)
        elif len(self._open) >= _MAX_OPEN:
            await self._break_off(next(iter(self._open)))
        self._open[utterance] = _Open(start_ns)

    async def _end(self, frame: UtteranceEnd) -> None:
        found = self._open.pop(frame.utterance, None) or _Open(frame.pts_ns)
        await self.write(dumps(utterance_event(frame.utterance, found.start_ns, frame, found.audio)))

    async def _break_off(self, utterance: int) -> None:
        found = self._open.pop(utterance)
        await self.write(dumps(utterance_event(utterance, found.start_ns, None, found.audio)))

    async def _add_to_stream(self, frame: AudioFrame) -> None:
        if self._stream is not None and not _follows(self._stream, frame):
            await self.write(dumps(audio_event(self._stream)))
            self._stream = None
        if self._stream is None:
            self._stream = AudioSummary(frame.pts_ns, frame.rate_hz, frame.channels)
        self._stream.add(frame)

    def _add_to_utterance(self, frame: AudioFrame, utterance: int) -> None:
        found = self._open[utterance]
        if found.audio is None:
            found.audio = AudioSummary(frame.pts_ns, frame.rate_hz, frame.channels)
        elif not _alike(found.audio, frame):
            raise self.context.error(
                f"utterance {utterance} changes from {found.audio.rate_hz} Hz, {found.audio.channels} channels to "
                f"{frame.rate_hz} Hz, {frame.channels} channels; put a resample before {self.context.name}",
                frame.pts_ns,
            )
        found.audio.add(frame)


def _alike(audio: AudioSummary, frame: AudioFrame) -> bool:
    return (audio.rate_hz, audio.channels) == (frame.rate_hz, frame.channels)


def _follows(audio: AudioSummary, frame: AudioFrame) -> bool:
    # A gap of a millisecond is no rounding any more.
    return _alike(audio, frame) and abs(frame.pts_ns - audio.end_ns) < NS_PER_MS
