"""Work that a request waits for: how much of it at a time, in which order, and that it ends with whoever waits.

A place is taken before a body is read, so that uploads are bounded by the number of places; the work itself is done a
few at a time, first come, first served. Half of the places belong to one client address at most. A place is free again
when its work is done, however slowly the answer is read. Work whose client has gone is cancelled, and so is what is
left at the server's end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import Request

from tolmach.web.doors.openai.errors import OpenAiError
from tolmach.web.metrics import Snapshot

__all__ = ["ClientGone", "Jobs", "Place", "stopping"]

Result = TypeVar("Result")

RETRY_S = 5.0


class ClientGone(Exception):  # noqa: N818 -- nothing went wrong here
    """Whoever waited has closed the connection."""


class Place:
    """Somebody's place, from before the body of a request is read until its work is done."""

    def __init__(self, jobs: Jobs, address: str) -> None:
        self.address = address
        self.task: asyncio.Task[Any] | None = None
        self._jobs = jobs

    def begin(self, work: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
        """Do something in this place, in a task of its own; :meth:`leave` cancels it.

        Raises:
            OpenAiError: 503 if the server is stopping.
        """
        if self._jobs.stopping:
            work.close()
            raise stopping()
        self.task = task = asyncio.create_task(work, name=name)
        task.add_done_callback(lambda _: self._jobs.left(self))
        return task

    async def wait(self, request: Request, awaited: Awaitable[Result]) -> Result:
        """Wait for its work, or for the begin of it, as long as the client waits.

        Raises:
            ClientGone: If it has gone.
            OpenAiError: 503 if the server stopped meanwhile.

        Cancelled by: the caller, which leaves the place.
        """
        gone = asyncio.create_task(_disconnected(request), name="disconnected")
        task = asyncio.ensure_future(awaited)
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone
            if task.cancelled():
                raise stopping()
            return task.result()
        finally:
            ending = {gone} if task is self.task else {gone, task}
            for each in ending:
                each.cancel()
            await asyncio.wait(ending)

    async def leave(self) -> None:
        """Give it up; what is under way in it is cancelled, and has ended when this returns. Safe twice.

        Cancelled by: nothing: what is left behind must have ended.
        """
        task = self.task
        if task is not None:
            task.cancel()
            while not task.done():
                try:
                    await asyncio.wait({task})
                except asyncio.CancelledError:
                    continue
            if not task.cancelled():
                task.exception()  # somebody has been told, or nobody is there to be
        self._jobs.left(self)


class Jobs:
    """The places of one kind of work.

    Args:
        what: What it is, for messages ("recordings").
        at_once: How many are worked on at a time.
        waiting: How many more may be uploaded, or wait.
    """

    def __init__(self, what: str, at_once: int, waiting: int) -> None:
        self.stopping = False
        self.what = what
        self._most = at_once + waiting
        self._places: dict[Place, None] = {}
        self._turns = asyncio.Semaphore(at_once)
        self._working = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, address: str) -> Place:
        """Take a place.

        Args:
            address: Whose, see :func:`tolmach.web.security.client_address`.

        Raises:
            OpenAiError: 429 when this address has its share, 503 when all are taken or the server is stopping.
        """
        if self.stopping:
            raise stopping()
        if len(self._places) >= self._most:
            raise OpenAiError(
                503,
                f"the server has {self._most} {self.what} to work on; try again in a moment",
                type="server_error",
                code="busy",
                retry_after_s=RETRY_S,
            )
        of_address = Counter(place.address for place in self._places)[address]
        if of_address >= max(1, self._most // 2):
            raise OpenAiError(
                429,
                f"{of_address} {self.what} of yours are worked on or wait; send the next one when one is done",
                type="requests",
                code="rate_limit_exceeded",
                retry_after_s=RETRY_S,
            )
        place = Place(self, address)
        self._places[place] = None
        self._empty.clear()
        return place

    def left(self, place: Place) -> None:
        """Somebody has left; safe twice."""
        self._places.pop(place, None)
        if not self._places:
            self._empty.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it. Cancelled by: leaving the place."""
        async with self._turns:
            self._working += 1
            try:
                yield
            finally:
                self._working -= 1

    def figures(self) -> dict[str, int]:
        """How many are worked on, and how many wait or are uploaded."""
        return {"working": self._working, "waiting": max(0, len(self._places) - self._working)}

    async def drain(self, within_s: float, linger_s: float = 0.0) -> None:
        """Take nobody in any more; wait until those who are there have their answers, then cut them.

        Cancelled by: the server's second signal.
        """
        self.stopping = True
        try:
            async with asyncio.timeout(linger_s + within_s):
                await self._empty.wait()
        except TimeoutError:
            await self.stop()

    async def stop(self) -> None:
        """Cancel all. Safe twice."""
        self.stopping = True
        tasks = [place.task for place in self._places if place.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def snapshots(self) -> Iterator[Snapshot]:
        """Nothing: a recording's figures are those of the model's host."""
        return iter(())


def stopping() -> OpenAiError:
    """What is answered at the server's end."""
    return OpenAiError(503, "the server is stopping", type="server_error", code="draining", retry_after_s=RETRY_S)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
