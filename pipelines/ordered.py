"""Bounded background work whose results come out in the order it went in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from pipelines.element import Context

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
        self._running = False

    async def submit(self, job: Coroutine[Any, Any, T]) -> None:
        """Start ``job``; returns when there is room for it. Cancelled by: cancel of the graph."""
        try:
            await self._room.acquire()
        except BaseException:
            job.close()
            raise
        self._jobs.put_nowait(asyncio.ensure_future(job))
        if not self._running:
            self._running = True
            self._context.spawn(self._deliver(), "ordered-jobs")

    async def drain(self) -> None:
        """Wait until every job has been emitted (or has failed)."""
        await self._jobs.join()

    async def close(self) -> None:
        """Cancel what is under way and throw it away. Safe twice."""
        waiting = []
        while not self._jobs.empty():
            waiting.append(self._jobs.get_nowait())
            self._jobs.task_done()
            self._room.release()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _deliver(self) -> None:
        try:
            while True:
                try:
                    job = self._jobs.get_nowait()
                except asyncio.QueueEmpty:
                    return
                try:
                    try:
                        result = await job
                    except BaseException:
                        job.cancel()
                        raise
                    await self._emit(result)
                finally:
                    self._jobs.task_done()
                    self._room.release()
        finally:
            self._running = False
            if not self._jobs.empty() and not _cancelling():
                self._running = True
                self._context.spawn(self._deliver(), "ordered-jobs")


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
