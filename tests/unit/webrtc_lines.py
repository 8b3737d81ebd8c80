"""Lines for tests of one element or a graph, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tolmach.transports.webrtc.session_line import Line
from tolmach.transports.webrtc.sessions import SESSIONS


@asynccontextmanager
async def line_of(session: str) -> AsyncIterator[Line]:
    """A line under a session id; afterwards it and its last connection are closed."""
    line = Line()
    SESSIONS.add(session, line)
    yield line
    SESSIONS.remove(session)
    connection = line.connection
    await line.close()
    if connection is not None:
        await connection.close()
