"""A thread with an event loop for talk with model hosts elsewhere.

Ray's calls block now and then (the object store is full, the cluster's head does not answer), and what is known of a
host elsewhere is asked for from several event loops and threads. So all of it happens on one loop in a daemon thread of
its own: nobody else's loop is held up, and nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["COURIER", "Courier"]

Result = TypeVar("Result")


class Courier:
    """The thread; it starts with the first errand and ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, errand: Coroutine[Any, Any, Result]) -> Result:
        """What ``errand`` returns or raises, run on the courier's loop.

        Cancelled by: the caller, and the errand with it.
        """
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(errand, self._started()))

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function`` on the courier's loop, some time soon."""
        self._started().call_soon_threadsafe(function)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                threading.Thread(target=self._run, args=(loop,), name="model-hosts", daemon=True).start()
            return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()


COURIER = Courier()
"""The process's."""
