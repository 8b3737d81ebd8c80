"""How late the event loop is: what every session on it feels as jitter of our own making."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

__all__ = ["LoopLag"]

BEAT_S = 0.05
"""Between two looks at the clock, s."""
WINDOW_S = 1.0
"""How far back :attr:`LoopLag.max_s` looks, s."""


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
