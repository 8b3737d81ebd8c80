"""How elements find their line: the server puts it under a session id, the elements' setting names the id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import ElementError, TolmachError

if TYPE_CHECKING:
    from tolmach.transports.webrtc.session_line import Line

__all__ = ["SESSIONS", "Sessions"]


class Sessions(Mapping[str, "Line"]):
    """The lines of this process by session id."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}

    def add(self, session: str, line: Line) -> None:
        """Put a line under an id. Raises TolmachError if the id is empty or taken."""
        if not session:
            raise TolmachError("a session needs an id")
        if session in self._lines:
            raise TolmachError(f"session {session!r} exists already")
        self._lines[session] = line

    def remove(self, session: str) -> None:
        """Forget a session; safe twice. The line is not closed by it."""
        self._lines.pop(session, None)

    def find(self, session: str, context: Context) -> Line:
        """The line an element was asked to use.

        Raises:
            ElementError: If there is no such session; says what to do.
        """
        line = self._lines.get(session)
        if line is not None:
            return line
        if session:
            text = f"there is no live session {session!r}; it may have ended"
        else:
            text = "it has no live session; run this graph with `tolmach serve`, which gives it one"
        raise ElementError(f"element {context.name!r}: {text}", element=context.name, graph=context.graph)

    def __getitem__(self, session: str) -> Line:
        return self._lines[session]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._lines))

    def __len__(self) -> int:
        return len(self._lines)


SESSIONS = Sessions()
"""The sessions of this process. One value, because elements are made from their settings alone (ADR 8)."""
