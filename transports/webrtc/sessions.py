"""How elements find their connection: the server puts it under a session id, the elements' setting names the id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipelines.element import Context
from pipelines.errors import ElementError, TolmachError

if TYPE_CHECKING:
    from transports.webrtc.connection import Connection

__all__ = ["SESSIONS", "Sessions"]


class Sessions(Mapping[str, "Connection"]):
    """The connections of this process by session id."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def add(self, session: str, connection: Connection) -> None:
        """Put a connection under an id. Raises TolmachError if the id is empty or taken."""
        if not session:
            raise TolmachError("a session needs an id")
        if session in self._connections:
            raise TolmachError(f"session {session!r} exists already")
        self._connections[session] = connection

    def remove(self, session: str) -> None:
        """Forget a session; safe twice. The connection is not closed by it."""
        self._connections.pop(session, None)

    def find(self, session: str, context: Context) -> Connection:
        """The connection an element was asked to use.

        Raises:
            ElementError: If there is no such session; says what to do.
        """
        connection = self._connections.get(session)
        if connection is not None:
            return connection
        if session:
            text = f"there is no live session {session!r}; it may have ended"
        else:
            text = "it has no live session; run this graph with `tolmach serve`, which gives it one"
        raise ElementError(f"element {context.name!r}: {text}", element=context.name, graph=context.graph)

    def __getitem__(self, session: str) -> Connection:
        return self._connections[session]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._connections))

    def __len__(self) -> int:
        return len(self._connections)


SESSIONS = Sessions()
"""The sessions of this process. One value, because elements are made from their settings alone (ADR 8)."""
