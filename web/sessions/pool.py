"""All sessions of a server: who may have one, the ones that live, the ones whose transcripts can still be had.

A place belongs to whoever is connected. Who has posted an offer and is not connected yet waits beside the places, where
there is little room: a newcomer takes the room of whoever has waited longest, among those of the address that has most
of them waiting. So offers that nobody means to follow up keep nobody out, whether they come from one address or from
the one that all clients share behind a port mapping or a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tolmach.pipelines.graph import Graph
from tolmach.web.errors import ApiError
from tolmach.web.sessions.ids import new_id, server_of
from tolmach.web.sessions.run import Choice
from tolmach.web.sessions.session import Session, Terms

__all__ = ["Limits", "SessionPool"]

log = logging.getLogger(__name__)

Arrived = TypeVar("Arrived")

MAX_KEPT_BYTES = 128 * 2**20
"""What ended sessions keep for downloads, together; a half hour of speech is 9 MB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server gives.

    Attributes:
        max_sessions: Connected sessions at a time.
        max_per_address: Those of one client address; None for no limit of its own.
        keep_ended_s: How long an ended session's transcript can be had, s.
        max_kept: Ended sessions kept for that.
    """

    max_sessions: int
    max_per_address: int | None
    keep_ended_s: float
    max_kept: int

    @property
    def max_waiting(self) -> int:
        """Sessions that are not connected yet: as many as may well begin at once, and a few more."""
        return 4 + self.max_sessions // 2


class SessionPool:
    """Makes, finds and ends sessions.

    Args:
        limits: How many there may be.
        terms: What each may use.
        on_ended: Takes every session that has ended.
        server: What this server is called in the ids of its sessions; None where it is alone.

    Attributes:
        draining: Whether the server is stopping: it takes no new session.
        finishing: Whether sessions are being asked to end, too: none is resumed and none gets another graph.
        terms: What each session may use.
        elsewhere: What else takes places: each gives the addresses of those who have one, in rooms.
    """

    def __init__(
        self, limits: Limits, terms: Terms, on_ended: Callable[[Session], None], *, server: str | None = None
    ) -> None:
        self.draining = False
        self.finishing = False
        self.elsewhere: list[Callable[[], Iterable[str]]] = []
        self._server = server
        self._emptied = asyncio.Event()
        self._on_ended = on_ended
        self._limits = limits
        self.terms = terms
        self._live: dict[str, Session] = {}
        self._ended: dict[str, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def admit(self, address: str) -> None:
        """Whether another session may begin.

        Raises:
            ApiError: 503 when the server is stopping or full, or the address has its share.
        """
        if self.draining:
            raise _stopping()
        self.require_place(address)

    def require_open(self) -> None:
        """Ask whether sessions go on. Raises ApiError 503 when they are being asked to end."""
        if self.finishing:
            raise _stopping()

    async def open(
        self,
        address: str,
        choice: Choice,
        graph: Graph,
        session_id: str,
        arrive: Callable[[Session], Awaitable[Arrived]],
    ) -> tuple[Session, Arrived]:
        """A new session, and what its client's arrival gave.

        Args:
            address: Whose it is.
            choice: What the client asked for.
            graph: The graph made from that.
            session_id: Of :meth:`new_id`.
            arrive: Brings the client to it: answers its offer, or lets it :meth:`Session.join`.

        Raises:
            ApiError: See :meth:`admit`.
            SignallingError: If the offer cannot be used.
        """
        self.admit(address)
        self._make_room()
        session = Session(session_id, address, self.terms, self._has_ended, self._has_connected)
        self._live[session.id] = session
        try:
            answer = await arrive(session)
            session.play(choice, graph)
        except BaseException:
            await session.end("the offer could not be used", "failed")
            self._ended.pop(session.id, None)
            raise
        log.info("session %s has begun: %s", session.short, choice.graph)
        return session, answer

    def _connected(self) -> list[Session]:
        return [session for session in self if session.proven]

    def _places_taken(self) -> list[str]:
        """The address of each who has a place."""
        here = [session.address for session in self._connected()]
        return here + [address for addresses in self.elsewhere for address in addresses()]

    def require_place(self, address: str) -> None:
        """Ask whether somebody of this address may have a place now. Raises ApiError 503."""
        taken, most, share = self._places_taken(), self._limits.max_sessions, self._limits.max_per_address
        if len(taken) >= most:
            raise ApiError(503, "busy", f"all {most} places are taken; try again when somebody has finished", 15)
        if share is not None and taken.count(address) >= share:
            raise ApiError(503, "busy", f"{share} sessions run from this address already; end one of them first", 15)

    @property
    def max_waiting(self) -> int:
        """See :attr:`Limits.max_waiting`."""
        return self._limits.max_waiting

    def _make_room(self) -> None:
        """Let one more wait for its connection."""
        waiting = [session for session in self if not session.proven]  # in the order in which they came
        if len(waiting) < self.max_waiting:
            return
        of_address = Counter(session.address for session in waiting)
        most = max(of_address.values())
        oldest = next(session for session in waiting if of_address[session.address] == most)
        oldest.begin_end("it did not connect, and others wait for their turn", "unconnected")

    def _has_connected(self, session: Session) -> str | None:
        """Whether a session may take a place: why not, if others have taken the last one meanwhile."""
        try:
            self.require_place(session.address)
        except ApiError as refused:
            return refused.message
        return None

    def new_id(self) -> str:
        """An id nobody can guess, which says that it is of this server; also for what belongs to sessions of it."""
        return new_id(self._server)

    def find(self, session_id: str) -> Session:
        """A session that goes on.

        Raises:
            ApiError: 404 if there is none, 409 if it has ended.
        """
        session = self._live.get(session_id)
        if session is not None:
            return session
        if session_id in self._ended:
            raise ApiError(409, "conflict", f"the session has ended: {self._ended[session_id].end_reason}")
        raise self._unknown(session_id)

    def recall(self, session_id: str) -> Session:
        """A session that goes on or has ended lately.

        Raises:
            ApiError: 404 if there is none.
        """
        self._forget_old()
        session = self._live.get(session_id) or self._ended.get(session_id)
        if session is None:
            raise self._unknown(session_id)
        return session

    def _unknown(self, session_id: str) -> ApiError:
        named = server_of(session_id)
        if named is not None and named != self._server:
            here = f"this is server {self._server!r}" if self._server else "this server has no name"
            return ApiError(
                404,
                "not-found",
                f"the session is of server {named!r}, and {here}; if that one still runs, its proxy sends it requests "
                "that have the id in their address (POST /api/sessions?resume=ID)",
            )
        return ApiError(404, "not-found", "there is no such session; it may have ended")

    def _has_ended(self, session: Session) -> None:
        self._live.pop(session.id, None)
        if not self._live:
            self._emptied.set()
        self._ended[session.id] = session
        self._forget_old()
        self._on_ended(session)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - self._limits.keep_ended_s
        size = sum(session.size for session in self._ended.values())
        for session_id, session in tuple(self._ended.items()):
            too_many = len(self._ended) > self._limits.max_kept or size > MAX_KEPT_BYTES
            if too_many or (session.ended_at or 0.0) < oldest:
                del self._ended[session_id]
                size -= session.size

    async def drain(self, within_s: float, linger_s: float = 0.0) -> None:
        """No new sessions; when those there had their time, let what is under way be heard, then end them all.

        Args:
            within_s: How long they have to end, s.
            linger_s: How long they go on as they like before, s.
        """
        self.draining = True
        if linger_s > 0 and not self.finishing:
            await self._linger(linger_s)
        self.finishing = True
        sessions = list(self)
        if sessions:
            log.info("finishing %d sessions, at most %g s", len(sessions), within_s)
        await asyncio.gather(*(session.drained(within_s) for session in sessions))
        await asyncio.gather(*(session.end("the server is stopping", "drained") for session in sessions))

    async def _linger(self, within_s: float) -> None:
        """Wait until nobody is there any more, or the time is over."""
        if not self._live:
            return
        log.info("%d sessions may go on for %g minutes", len(self._live), within_s / 60)
        self._emptied.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._emptied.wait()

    @property
    def places_free(self) -> int:
        """How many more sessions may begin; none while the server is stopping."""
        return 0 if self.draining else max(0, self._limits.max_sessions - len(self._places_taken()))

    def as_json(self) -> dict[str, Any]:
        """How full it is."""
        return {"sessions": len(self._places_taken()), "max_sessions": self._limits.max_sessions}


def _stopping() -> ApiError:
    return ApiError(503, "draining", "the server is stopping; try again in a minute", 60)
