"""Lines for tests of one element or a graph, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tolmach.transports.webrtc.session_line import Line


@asynccontextmanager
async def a_line() -> AsyncIterator[Line]:
    """A line; afterwards it and its last connection are closed."""
    line = Line()
    yield line
    connection = line.connection
    await line.close()
    if connection is not None:
        await connection.close()
