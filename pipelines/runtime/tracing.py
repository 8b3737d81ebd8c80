"""Per-element figures of a run: time spent, frames, media time, real-time factor.

An element is *at work* while it is inside ``process``, ``produce`` or ``drain`` and does not wait for its downstream,
and while work it started goes on elsewhere (:attr:`tolmach.pipelines.element.Context.busy`): inference on a model host,
speech synthesis. Each moment of the run is divided among the elements that are at work then, so their shares and the
time in which none was add up to the wall time.

Wall clock, and only for people: nothing here may influence what an element does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame


class _Wall:
    """Divides wall time among those who are at work."""

    def __init__(self) -> None:
        self.at_work: dict[int, ElementStats] = {}
        self.waiting_s = 0.0
        self._at: float | None = None

    def start(self) -> None:
        """Count from now on."""
        self._at = time.perf_counter()

    def advance(self) -> None:
        """Divide the time since the last change."""
        if self._at is None:
            return
        now = time.perf_counter()
        passed_s, self._at = now - self._at, now
        if not self.at_work:
            self.waiting_s += passed_s
        for stats in self.at_work.values():
            stats.busy_s += passed_s
            stats.share_s += passed_s / len(self.at_work)

    def stop(self) -> None:
        """Count no more."""
        self.advance()
        self._at = None


@dataclass(slots=True)
class ElementStats:
    """Figures of one element.

    Attributes:
        wall: Divides the run's wall time.
        frames: Frames it was given.
        audio_ns: Media time of the audio it was given, ns.
        busy_s: Wall time at work, work elsewhere included, less what its downstream took, s.
        share_s: Its share of the run's wall time, s: of ``busy_s`` what it does not owe to others at work then.
        downstream_s: Wall time its pushes took (work and back-pressure of the elements behind it), s.
        slowest_s: Longest single ``process`` less downstream, s.
    """

    wall: _Wall = field(default_factory=_Wall)
    frames: int = 0
    audio_ns: int = 0
    busy_s: float = 0.0
    share_s: float = 0.0
    downstream_s: float = 0.0
    slowest_s: float = 0.0
    _activities: int = 0

    def begin(self) -> None:
        """One more activity."""
        self._change(1)

    def end(self) -> None:
        """One less."""
        self._change(-1)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around work that is not a call of ``process``."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def busy(self) -> Callable[[], None]:
        """See :attr:`tolmach.pipelines.element.Context.busy`."""
        self._change(1)
        return self.end

    @contextmanager
    def processing(self, frame: Frame) -> Iterator[None]:
        """Around one call of ``process``."""
        self.frames += 1
        if isinstance(frame, AudioFrame):
            self.audio_ns += frame.duration_ns
        before, started = self.downstream_s, time.perf_counter()
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)
            own = max(0.0, time.perf_counter() - started - (self.downstream_s - before))
            self.slowest_s = max(self.slowest_s, own)

    @contextmanager
    def downstream(self) -> Iterator[None]:
        """Around one push."""
        started = time.perf_counter()
        self._change(-1)
        try:
            yield
        finally:
            self._change(1)
            self.downstream_s += time.perf_counter() - started

    @property
    def rtf(self) -> float | None:
        """Real-time factor: own processing time over audio time; None without audio."""
        return self.busy_s / (self.audio_ns / NS_PER_S) if self.audio_ns else None

    def _change(self, by: int) -> None:
        # A task that only hands on (a queue's) pushes without being at work, so the sum may be below nought.
        self.wall.advance()
        self._activities += by
        if self._activities > 0:
            self.wall.at_work[id(self)] = self
        else:
            self.wall.at_work.pop(id(self), None)


class Tracer:
    """The figures of all elements of one run."""

    def __init__(self) -> None:
        self._wall = _Wall()
        self._elements: dict[str, ElementStats] = {}

    def start(self) -> None:
        """Frames flow from now on."""
        self._wall.start()

    def stop(self) -> None:
        """The run is over."""
        self._wall.stop()

    @property
    def waiting_s(self) -> float:
        """Wall time in which no element was at work, s."""
        return self._wall.waiting_s

    def element(self, name: str) -> ElementStats:
        """The figures of ``name``, made on first use."""
        return self._elements.setdefault(name, ElementStats(self._wall))

    def table(self) -> dict[str, dict[str, float | int | None]]:
        """All figures as plain values, by element."""
        self._wall.advance()
        return {
            name: {
                "frames": s.frames,
                "audio_s": round(s.audio_ns / NS_PER_S, 3),
                "busy_s": round(s.busy_s, 4),
                "share_s": round(s.share_s, 4),
                "downstream_s": round(s.downstream_s, 4),
                "slowest_ms": round(s.slowest_s * 1000, 3),
                "rtf": round(s.rtf, 6) if s.rtf is not None else None,
            }
            for name, s in self._elements.items()
        }
