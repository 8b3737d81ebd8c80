"""Frames between Tolmach and pipecat: audio, languages, and the bridge of an element ``pipecat``.

Which frames become which is the table of docs/PIPECAT.md.
pipecat carries 16-bit samples without time, Tolmach float samples with media time and utterances.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import numpy as np

from tolmach.pipelines.element import Context
from tolmach.pipelines.frames import AudioFrame, Frame, Samples, TranslationFrame, samples_to_ns
from tolmach.pipelines.runtime.pipecat.spec import PipecatSettings
from tolmach.pipelines.runtime.pipecat_api import Language, PipecatFrame

__all__ = ["Bridge", "Feed", "StreamClock", "from_pcm", "language_of", "to_pcm"]

_FULL_SCALE = np.float32(32768)


def to_pcm(samples: Samples) -> bytes:
    """float32[n, channels] in [-1, 1] as 16-bit little-endian samples, interleaved; what is louder is clipped."""
    pcm: bytes = np.clip(np.rint(samples * _FULL_SCALE), -32768, 32767).astype("<i2").tobytes()
    return pcm


def from_pcm(audio: bytes, channels: int) -> Samples:
    """16-bit little-endian samples as float32[n, channels] in [-1, 1); a sample cut in two at the end is left out."""
    usable = len(audio) - len(audio) % (2 * channels)
    return (np.frombuffer(audio[:usable], "<i2").astype(np.float32) / _FULL_SCALE).reshape(-1, channels)


def language_of(tag: str) -> Language | None:
    """The name in pipecat of a BCP-47 tag, or None for one it does not know."""
    try:
        return Language(tag)
    except ValueError:
        return None


class StreamClock:
    """Media time of audio that comes out of a processor which knows none: counted from what went in.

    It may come out at another rate, in other pieces and later. A gap in what goes in is a gap in what comes out.
    """

    def __init__(self) -> None:
        self._in_anchor_ns: int | None = None
        self._taken = 0
        self._out_anchor_ns = 0
        self._given = 0
        self.now_ns = 0

    def take(self, frame: AudioFrame) -> bool:
        """This goes in; returns whether it does not follow what went in before."""
        anchor_ns = self._in_anchor_ns
        expected_ns = None if anchor_ns is None else anchor_ns + samples_to_ns(self._taken, frame.rate_hz)
        if expected_ns is None or abs(frame.pts_ns - expected_ns) > samples_to_ns(1, frame.rate_hz):
            self._in_anchor_ns = self._out_anchor_ns = self.now_ns = frame.pts_ns
            self._taken = self._given = 0
        self._taken += len(frame.samples)
        return expected_ns is not None and self._taken == len(frame.samples)

    def give(self, count: int, rate_hz: int) -> int:
        """When ``count`` samples begin that come out now, ns."""
        pts_ns = self._out_anchor_ns + samples_to_ns(self._given, rate_hz)
        self._given += count
        self.now_ns = self._out_anchor_ns + samples_to_ns(self._given, rate_hz)
        return pts_ns


def is_spoken(frame: TranslationFrame) -> bool:
    """Whether a voice has anything to say of it."""
    return frame.final and frame.rejected is None and bool(frame.text.strip())


Feed: TypeAlias = Callable[[PipecatFrame], Awaitable[None]]
"""Gives the processor a frame and returns when it has processed it; raises what it raises."""


class Bridge(ABC):
    """Maps frames both ways.

    Args:
        context: The element's.
        feed: Gives the processor a frame.
        settings: The element's.
    """

    def __init__(self, context: Context, feed: Feed, settings: PipecatSettings) -> None:
        self.context = context
        self.feed = feed
        self.settings = settings

    @abstractmethod
    async def take(self, frame: Frame) -> None:
        """A frame of the graph, for the processor."""

    @abstractmethod
    async def give(self, frame: PipecatFrame) -> None:
        """A frame of the processor, for the graph."""

    async def settle(self) -> None:
        """The stream has ended, and the processor has not: wait for what comes by itself."""
        return

    @abstractmethod
    async def finish(self) -> None:
        """The processor has ended: close what is open."""

    @abstractmethod
    async def lose(self) -> None:
        """The processor has reported an error from which it may recover: what it had in hand is lost."""

    @abstractmethod
    def reset(self, utterance: int | None) -> None:
        """Forget an utterance (None: all)."""

    @property
    def held_ns(self) -> int | None:
        """The earliest media time that may still be pushed, ns; None when nothing is held."""
        return None

    @property
    def mid_utterance(self) -> bool:
        """Whether somebody is heard to speak whose end has not been heard."""
        return False
