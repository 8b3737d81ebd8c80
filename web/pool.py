"""All sessions of a server: who may have one, the ones that live, the ones whose transcripts can still be had."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.graph import Graph
from web.errors import ApiError
from web.run import Choice
from web.session import Session, Terms

__all__ = ["SessionPool"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server gives.

    Attributes:
        max_sessions: Sessions at a time.
        max_per_address: Those of one client address; None for no limit of its own.
        keep_ended_s: How long an ended session's transcript can be had, s.
        max_kept: Ended sessions kept for that.
    """

    max_sessions: int
    max_per_address: int | None
    keep_ended_s: float
    max_kept: int


class SessionPool:
    """Makes, finds and ends sessions.

    Args:
        limits: How many there may be.
        terms: What each may use.
        on_ended: Takes every session that has ended.

    Attributes:
        draining: Whether the server is stopping: no new session, those there finish.
    """

    def __init__(self, limits: Limits, terms: Terms, on_ended: Callable[[Session], None]) -> None:
        self.draining = False
        self._on_ended = on_ended
        self._limits = limits
        self._terms = terms
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
            raise ApiError(503, "draining", "the server is stopping; try again in a minute", 60)
        most = self._limits.max_sessions
        if len(self._live) >= most:
            raise ApiError(503, "busy", f"all {most} places are taken; try again when somebody has finished", 15)
        share = self._limits.max_per_address
        if share is not None and sum(session.address == address for session in self) >= share:
            raise ApiError(503, "busy", f"{share} sessions run from this address already; end one of them first", 15)

    async def open(
        self, address: str, offer: str, choice: Choice, graph: Graph, session_id: str
    ) -> tuple[Session, str]:
        """A new session and the answer to its offer.

        Raises:
            ApiError: See :meth:`admit`.
            SignallingError: If the offer cannot be used.
        """
        self.admit(address)
        session = Session(session_id, address, self._terms, self._has_ended)
        self._live[session.id] = session
        try:
            answer = await session.call(offer)
        except BaseException:
            await session.end("the offer could not be used", "failed")
            self._ended.pop(session.id, None)
            raise
        session.play(choice, graph)
        log.info("session %s has begun: %s", session.short, choice.graph)
        return session, answer

    @staticmethod
    def new_id() -> str:
        """An id nobody can guess: 128 bits."""
        return secrets.token_urlsafe(16)

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
        raise _unknown()

    def recall(self, session_id: str) -> Session:
        """A session that goes on or has ended lately.

        Raises:
            ApiError: 404 if there is none.
        """
        self._forget_old()
        session = self._live.get(session_id) or self._ended.get(session_id)
        if session is None:
            raise _unknown()
        return session

    def _has_ended(self, session: Session) -> None:
        self._live.pop(session.id, None)
        self._ended[session.id] = session
        self._forget_old()
        self._on_ended(session)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - self._limits.keep_ended_s
        for session_id, session in tuple(self._ended.items()):
            if len(self._ended) > self._limits.max_kept or (session.ended_at or 0.0) < oldest:
                del self._ended[session_id]

    async def drain(self, within_s: float) -> None:
        """No new sessions; let what is under way in each be translated and heard, then end them all."""
        self.draining = True
        sessions = list(self)
        if sessions:
            log.info("finishing %d sessions, at most %g s", len(sessions), within_s)
        await asyncio.gather(*(session.drained(within_s) for session in sessions))
        await asyncio.gather(*(session.end("the server is stopping", "drained") for session in sessions))

    def as_json(self) -> dict[str, Any]:
        """How full it is."""
        return {"sessions": len(self), "max_sessions": self._limits.max_sessions}


def _unknown() -> ApiError:
    return ApiError(404, "not-found", "there is no such session; it may have ended")
