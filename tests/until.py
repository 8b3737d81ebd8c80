"""Waiting for what no event announces, and for what must not be left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


async def until(condition: Callable[[], bool], *, within_s: float = 15) -> None:
    """Return as soon as the condition holds. Raises TimeoutError if that takes longer than ``within_s``."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 -- the state of a library, which has no event to wait for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """What begins in the block must have ended with it."""
    before = asyncio.all_tasks()
    yield
    for _ in range(20):  # transports report their end on a later turn of the loop
        await asyncio.sleep(0)
    # Whoever asks is another task than began where this is a fixture.
    now = asyncio.all_tasks() - before - {asyncio.current_task()}
    left = {task.get_name() for task in now if not task.done()}
    assert not left, f"tasks left: {left}"
