"""What can be listened to on a server: names of streams, and who hears them.

A publisher chooses a name, or is given an id; a listener asks for either. A stream is there from its first publisher on
until its audience is closed, so also while a publisher that lost its connection is waited for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tolmach.transports.audience import Audience
from tolmach.web.errors import ApiError

__all__ = ["MAX_NAME", "NAME", "Stream", "Streams"]

MAX_NAME = 64
NAME = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}"
"""What a stream may be called: characters that stand for themselves in an address (RFC 3986, 2.3)."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Something to listen to.

    Attributes:
        id: What it is always called: an id of the server, which nobody can guess.
        name: What its publisher calls it; None if it has not said.
        session: Id of the session that speaks.
        audience: Those who hear it.
    """

    id: str
    name: str | None
    session: str
    audience: Audience


class Streams:
    """All streams of a server. There are no more of them than sessions, for each belongs to one."""

    def __init__(self) -> None:
        self._known: dict[str, Stream] = {}

    def __iter__(self) -> Iterator[Stream]:
        return iter({stream.id: stream for stream in self._known.values()}.values())

    def add(self, stream: Stream) -> None:
        """Let it be found by its id and its name.

        Raises:
            ApiError: 409 if another stream has the name.
        """
        self.require_free(stream.name)
        for name in (stream.id, *([stream.name] if stream.name is not None else [])):
            self._known[name] = stream

    def require_free(self, name: str | None) -> None:
        """Ask whether a name can be had. Raises ApiError 400 if it is none, 409 if it is taken."""
        if name is not None and not re.fullmatch(NAME, name):
            raise ApiError(
                400, "bad-request", f"a stream's name has 1 to {MAX_NAME} of the characters A-Z a-z 0-9 . _ ~ -"
            )
        if name is not None and self.get(name) is not None:
            raise ApiError(409, "conflict", f"somebody is publishing {name!r} already", 5)

    def get(self, name: str) -> Stream | None:
        """The stream of that name or id, if there is one."""
        for known, stream in tuple(self._known.items()):
            if stream.audience.is_closed:
                del self._known[known]
        return self._known.get(name)

    def find(self, name: str) -> Stream:
        """The stream of that name or id.

        Raises:
            ApiError: 404 if there is none, with a time to try again: its publisher may be late.
        """
        stream = self.get(name)
        if stream is None:
            raise ApiError(404, "not-found", "nobody is publishing this now; it may begin later, or have ended", 5)
        return stream
