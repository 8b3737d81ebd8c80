"""Keeps the event loop of the server responsive: measures how late it is, and keeps the garbage collector out of calls.

How late the loop is, every session on it feels as jitter of our own making. What would make it late is Python's
garbage collector: a full collection looks at every object there is, and PyTorch and NeMo bring 700 000. It takes 0.6 s,
in which no call of the process hears anything. It also comes rarely, for it waits until a quarter as many new objects
have gathered; until then ended sessions, whose parts refer to each other, keep their memory, their codecs and the
threads of these.

So once models are loaded, everything there is is declared permanent (``gc.freeze``), and a collection looks at what
sessions have made: 6 ms with four of them. Some time after a session has ended, one is made.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import deque
from collections.abc import Callable

__all__ = ["Garbage", "LoopLag"]

log = logging.getLogger(__name__)

BEAT_S = 0.05
"""Between two looks at the clock, s."""
WINDOW_S = 1.0
"""How far back :attr:`LoopLag.max_s` looks, s."""
SWEEP_S = 2.0
"""After the end of a session: its connection has closed by then, and sessions that end together are one sweep."""


class LoopLag:
    """A task that asks to be woken every beat and notes how much later it was.

    Args:
        observe: Takes each lateness, s.
        clock: Monotonic clock, s.
    """

    def __init__(
        self, observe: Callable[[float], None] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._seen: deque[tuple[float, float]] = deque()  # when, how late
        self._due_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="loop-lag")

    async def stop(self) -> None:
        """End; safe twice and without start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._due_s = None

    @property
    def max_s(self) -> float:
        """The greatest lateness of the last second, s; that of the beat now overdue counts."""
        now_s = self._clock()
        overdue_s = now_s - self._due_s if self._due_s is not None else 0.0
        return max(0.0, overdue_s, *(late for at, late in self._seen if at > now_s - WINDOW_S))

    @property
    def max_ms(self) -> float:
        """The same in ms."""
        return self.max_s * 1000

    def note(self, late_s: float) -> None:
        """Take in one lateness, s."""
        now_s = self._clock()
        self._seen.append((now_s, late_s))
        while self._seen[0][0] <= now_s - WINDOW_S:
            self._seen.popleft()
        if self._observe is not None:
            self._observe(late_s)

    async def _run(self) -> None:
        while True:
            self._due_s = self._clock() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.note(max(0.0, self._clock() - self._due_s))


class Garbage:
    """The collector of a server; used from its event loop."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._frozen = False

    def loaded(self, graph: str) -> None:
        """A graph runs; if it is the first of its name, its models have just been loaded and are here to stay."""
        if graph not in self._known:
            self._known.add(graph)
            began = time.perf_counter()
            gc.collect()
            gc.freeze()
            self._frozen = True
            log.debug("%d objects are permanent (%.2f s)", gc.get_freeze_count(), time.perf_counter() - began)

    def session_ended(self) -> None:
        """What it was made of may go."""
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._collect)

    def _collect(self) -> None:
        self._sweep = None
        if self._frozen:  # else it would take what it is meant to save
            gc.collect()

    def stop(self) -> None:
        """Give the collector back as it was. Safe twice."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._frozen:
            self._frozen = False
            gc.unfreeze()
