"""Bounded background work whose results come out in the order it went in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import ElementError

T = TypeVar("T")


class OrderedJobs(Generic[T]):
    """Lets an element overlap slow work with the frames behind it, without losing their order.

    :meth:`submit` starts a job at once and waits only when ``limit`` jobs are under way (back-pressure); ``emit`` is
    called with each result in the order of submission, however the jobs overtake each other.

    Args:
        context: The element's context; a failing job or ``emit`` meets the element's failure policy.
        limit: Most jobs under way or waiting to be emitted.
        emit: Called with each result, one at a time.
    """

    def __init__(self, context: Context, limit: int, emit: Callable[[T], Awaitable[None]]) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self._context = context
        self._emit = emit
        self._room = asyncio.Semaphore(limit)
        self._jobs: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()
        self._in_hand: asyncio.Task[T] | None = None
        self._last: asyncio.Task[T] | None = None  # the youngest that has not been emitted
        self._progress: dict[asyncio.Task[T], int] = {}  # what may be said once a job has been emitted
        self._turn: object | None = None  # whose it is to deliver; None: nobody's

    async def submit(self, job: Coroutine[Any, Any, T]) -> None:
        """Start ``job``; returns when there is room for it. Cancelled by: cancel of the graph."""
        try:
            await self._room.acquire()
        except BaseException:
            job.close()
            raise
        task, done = asyncio.ensure_future(job), self._context.busy()
        task.add_done_callback(lambda _: done())
        self._last = task
        self._jobs.put_nowait(task)
        if self._turn is None:
            self._start_delivery()

    async def progress(self, time_ns: int, pad: str = "sink") -> None:
        """Pass :meth:`tolmach.pipelines.element.Element.progress` on, behind everything submitted before."""
        if self._last is None:
            await self._context.progress(time_ns, pad)
        else:
            self._progress[self._last] = time_ns

    async def drain(self) -> None:
        """Wait until every job has been emitted (or has failed)."""
        await self._jobs.join()

    async def close(self) -> None:
        """Cancel what is under way and throw it away; jobs may be submitted again. Safe twice."""
        # The task that delivers may have been cancelled before its first step and cannot give its turn back itself.
        self._turn = self._last = None
        self._progress.clear()
        waiting = [self._in_hand] if self._in_hand is not None else []
        while not self._jobs.empty():
            waiting.append(self._jobs.get_nowait())
            self._jobs.task_done()
            self._room.release()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _start_delivery(self) -> None:
        self._turn = turn = object()
        self._context.spawn(self._deliver(turn), "ordered-jobs")

    async def _deliver(self, turn: object) -> None:
        try:
            while self._turn is turn and not self._jobs.empty():
                job = self._in_hand = self._jobs.get_nowait()
                try:
                    result = await self._result(job, turn)
                    if self._turn is turn:
                        done = self._context.busy()
                        try:
                            await self._emit(result)
                        finally:
                            done()
                        if (time_ns := self._progress.get(job)) is not None:
                            await self._context.progress(time_ns, "sink")
                finally:
                    self._progress.pop(job, None)
                    if self._last is job:
                        self._last = None
                    self._jobs.task_done()
                    self._room.release()
        except _ClosedError:
            pass
        finally:
            if self._turn is turn:
                self._turn = None
                if not self._jobs.empty() and not _cancelling():
                    self._start_delivery()

    async def _result(self, job: asyncio.Task[T], turn: object) -> T:
        try:
            return await job
        except asyncio.CancelledError:
            job.cancel()
            if _cancelling():
                raise
            if self._turn is not turn:
                raise _ClosedError from None
            # Somebody else cancelled it (a model host that shut down): a failure, or its result were lost silently.
            name = self._context.name
            text = f"{name}: a request was cancelled before its answer"
            raise ElementError(text, element=name, graph=self._context.graph) from None
        finally:
            self._in_hand = None


class _ClosedError(Exception):
    """The job in hand was thrown away by ``close()``."""


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
