"""A thread with an event loop for talk with model hosts elsewhere.

Ray's calls block now and then (the object store is full, the cluster's head does not answer), and what is known of a
host elsewhere is asked for from several event loops and threads. So all of it happens on one loop in a daemon thread of
its own: nobody else's loop is held up, and nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
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
        self._stopped = threading.Event()

    async def send(self, errand: Coroutine[Any, Any, Result]) -> Result:
        """What ``errand`` returns or raises, run on the courier's loop.

        Cancelled by: the caller, and the errand with it.
        """
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(errand, self._started()))

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function`` on the courier's loop, some time soon."""
        self._started().call_soon_threadsafe(function)

    def end(self, errand: Callable[[], Coroutine[Any, Any, object]], within_s: float) -> None:
        """Run a last errand and stop; blocks for ``within_s`` at most. What comes later waits for ever.

        For the end of the process: what a library takes down then must not be asked any more.
        """
        with self._lock:
            loop = self._loop
        if loop is None or not loop.is_running():
            return
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(errand(), loop).result(within_s)
        loop.call_soon_threadsafe(loop.stop)
        self._stopped.wait(within_s)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                threading.Thread(target=self._run, args=(loop,), name="model-hosts", daemon=True).start()
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        self._stopped.set()


COURIER = Courier()
"""The process's."""
