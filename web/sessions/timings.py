"""When each step of an utterance was done: the waterfall on the page, and the one figure that counts.

All on the capture clock of the session: a step's time is the media time that arrives at the server at that moment, less
the end of the speech. So it holds what the listener waits for, network and jitter buffer on the way in included.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tolmach.pipelines.frames import NS_PER_MS

__all__ = ["Timing", "Timings"]

_REMEMBERED = 200
"""Utterances under way at a time; far more than the engines hold."""


@dataclass(slots=True)
class Timing:
    """A ``timeline`` message of docs/LIVE.md, ms."""

    utterance: int
    start_ms: int
    end_ms: int
    vad_ms: int | None = None
    ast_ms: int | None = None
    tts_ms: int | None = None
    heard_ms: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields of the message."""
        return asdict(self)


class Timings:
    """The utterances that are on their way."""

    def __init__(self) -> None:
        self._under_way: dict[int, Timing] = {}

    def closed(self, utterance: int, start_ns: int, speech_end_ns: int, now_ns: int) -> Timing:
        """The detector has decided that the utterance is over."""
        timing = Timing(utterance, start_ns // NS_PER_MS, speech_end_ns // NS_PER_MS)
        timing.vad_ms = now_ns // NS_PER_MS - timing.end_ms
        if len(self._under_way) >= _REMEMBERED:
            del self._under_way[next(iter(self._under_way))]
        self._under_way[utterance] = timing
        return timing

    def translated(self, utterance: int, now_ns: int) -> Timing | None:
        """Its final text (or the reason why there is none) is there."""
        timing = self._under_way.get(utterance)
        if timing is not None:
            timing.ast_ms = now_ns // NS_PER_MS - timing.end_ms
        return timing

    def voiced(self, utterance: int, now_ns: int) -> Timing | None:
        """Its first audio is made."""
        timing = self._under_way.get(utterance)
        if timing is not None:
            timing.tts_ms = now_ns // NS_PER_MS - timing.end_ms
        return timing

    def heard(self, utterance: int, heard_ns: int) -> Timing | None:
        """Its first audio has now been sent."""
        timing = self._under_way.pop(utterance, None)
        if timing is not None:
            timing.heard_ms = heard_ns // NS_PER_MS - timing.end_ms
        return timing
