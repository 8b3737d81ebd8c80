"""The tasks of something that ends: whatever fails in one is logged, and none outlives it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["Tasks"]

log = logging.getLogger(__name__)


class Tasks:
    """Tasks that are kept until they are done, as an event loop does not.

    Args:
        owner: Whose they are, as in a log: ``session 3f9a2c``.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Begin one; ``name`` says what it does."""
        task = asyncio.create_task(coroutine, name=f"{self._owner.replace(' ', '-')}-{name}")
        self._running.add(task)
        task.add_done_callback(self._done)

    async def cancel(self) -> None:
        """End all, but the one that asks for it."""
        others = [task for task in self._running if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: a task failed", self._owner, exc_info=error)
