"""Per-element figures of a run: time spent, frames, media time, real-time factor.

Wall clock, and only for people: nothing here may influence what an element does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.frames import NS_PER_S, AudioFrame, Frame


@dataclass(slots=True)
class ElementStats:
    """Figures of one element.

    Attributes:
        frames: Frames it was given.
        audio_ns: Media time of the audio it was given, ns.
        busy_s: Wall time inside ``process``, awaiting included, less what its downstream took, s.
        downstream_s: Wall time its pushes took (work and back-pressure of the elements behind it), s.
        slowest_s: Longest single ``process`` less downstream, s.
    """

    frames: int = 0
    audio_ns: int = 0
    busy_s: float = 0.0
    downstream_s: float = 0.0
    slowest_s: float = 0.0

    @contextmanager
    def processing(self, frame: Frame) -> Iterator[None]:
        """Around one call of ``process``."""
        self.frames += 1
        if isinstance(frame, AudioFrame):
            self.audio_ns += frame.duration_ns
        before, started = self.downstream_s, time.perf_counter()
        try:
            yield
        finally:
            own = max(0.0, time.perf_counter() - started - (self.downstream_s - before))
            self.busy_s += own
            self.slowest_s = max(self.slowest_s, own)

    @contextmanager
    def downstream(self) -> Iterator[None]:
        """Around one push."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.downstream_s += time.perf_counter() - started

    @property
    def rtf(self) -> float | None:
        """Real-time factor: own processing time over audio time; None without audio."""
        return self.busy_s / (self.audio_ns / NS_PER_S) if self.audio_ns else None


class Tracer:
    """The figures of all elements of one run."""

    def __init__(self) -> None:
        self._elements: dict[str, ElementStats] = {}

    def element(self, name: str) -> ElementStats:
        """The figures of ``name``, made on first use."""
        return self._elements.setdefault(name, ElementStats())

    def table(self) -> dict[str, dict[str, float | int | None]]:
        """All figures as plain values, by element."""
        return {
            name: {
                "frames": s.frames,
                "audio_s": round(s.audio_ns / NS_PER_S, 3),
                "busy_s": round(s.busy_s, 4),
                "downstream_s": round(s.downstream_s, 4),
                "slowest_ms": round(s.slowest_s * 1000, 3),
                "rtf": round(s.rtf, 6) if s.rtf is not None else None,
            }
            for name, s in self._elements.items()
        }
