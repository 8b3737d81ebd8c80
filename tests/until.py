"""Waiting for what no event announces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], *, within_s: float = 15) -> None:
    """Return as soon as the condition holds. Raises TimeoutError if that takes longer than ``within_s``."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 -- the state of a library, which has no event to wait for
            await asyncio.sleep(0.01)
