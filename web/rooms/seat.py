"""A seat of a room: its line, who is there, what they are told, and the code by which they come in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from tolmach.transports.audience import Audience, Seats
from tolmach.transports.peer import OnPeer, Peer
from tolmach.transports.webrtc.session_line import Epoch, Line
from tolmach.web.catalogue.seats import Seat
from tolmach.web.sessions.narrator import PAGE, Narrator
from tolmach.web.sessions.transcript import Transcript

__all__ = ["AudienceSeat", "RoomSeat", "TalkSeat", "new_code"]

OnSeconds = Callable[[float], None]


def new_code() -> str:
    """A code nobody can guess: 128 bits."""
    return secrets.token_urlsafe(16)


class RoomSeat:
    """What both kinds of seats are.

    Args:
        plan: What the graph says of it.
        line: Its line.
        narrator: Tells those who sit there.

    Attributes:
        code: Who knows it may sit there.
    """

    def __init__(self, plan: Seat, line: Line, narrator: Narrator) -> None:
        self.plan = plan
        self.code = new_code()
        self.line = line
        self.narrator = narrator

    @property
    def transcript(self) -> Transcript:
        """What was said there, and to those who sit there."""
        return self.narrator.transcript

    @property
    def people(self) -> int:
        """How many are there."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """As the API tells it; without its code."""
        return {**self.plan.as_json(), "people": self.people}


class TalkSeat(RoomSeat):
    """Where one person speaks, perhaps hears, and comes back when the connection was lost.

    Args:
        plan: What the graph says of it.
        epoch: The room's media time.
        on_open: Called when whoever sits there can be told something.
        on_lost: Called when they are gone.
        on_first_audio: See :class:`~tolmach.web.sessions.narrator.Narrator`.
        on_voice_lag: As well.

    Attributes:
        address: Whose it is, for limits; "" while it is nobody's.
        away_s: When they were lost, monotonic, s; None while they are there, or have said goodbye.
        told_echo: What they were last told of an echo.
    """

    def __init__(
        self,
        plan: Seat,
        epoch: Epoch,
        *,
        on_open: OnPeer,
        on_lost: OnPeer,
        on_first_audio: OnSeconds,
        on_voice_lag: OnSeconds,
    ) -> None:
        line = Line(epoch=epoch, stays=True, on_open=on_open, on_lost=on_lost)
        super().__init__(plan, line, Narrator(line, on_first_audio, on_voice_lag))
        self.address = ""
        self.away_s: float | None = None
        self.told_echo = "unknown"

    @property
    def peer(self) -> Peer | None:
        """Who has the seat, connected or not yet."""
        return self.line.connection

    @property
    def people(self) -> int:
        """Whether somebody is there: 1 or 0."""
        return int(self.peer is not None and self.peer.connected.is_set())


class AudienceSeat(RoomSeat):
    """Where any number of people hear and read the same.

    Args:
        plan: What the graph says of it.
        epoch: The room's media time.
        places: The places for listeners, of this room and all others.
        on_open: Called for each of them that can be told something.
        on_first_audio: See :class:`~tolmach.web.sessions.narrator.Narrator`.
        on_voice_lag: As well.
    """

    def __init__(
        self,
        plan: Seat,
        epoch: Epoch,
        places: Seats,
        *,
        on_open: OnPeer,
        on_first_audio: OnSeconds,
        on_voice_lag: OnSeconds,
    ) -> None:
        line = Line(epoch=epoch)
        self.audience = line.broadcast(places)
        self.audience.on_open = on_open
        super().__init__(plan, line, Narrator(_Hall(line, self.audience), on_first_audio, on_voice_lag))

    @property
    def people(self) -> int:
        """How many are connected."""
        return self.audience.listening

    def replay(self, peer: Peer) -> None:
        """Tell somebody who has come late what was said last; the whole is in the downloads."""
        for caption in list(self.transcript)[-PAGE:]:
            peer.tell("caption", {**caption.as_json(), "replayed": True})


class _Hall:
    """All who listen at a seat, as a narrator's clients."""

    def __init__(self, line: Line, audience: Audience) -> None:
        self._line = line
        self._audience = audience

    @property
    def connection(self) -> Audience | None:
        return self._audience if self._audience.listening else None

    def now_ns(self) -> int:
        return self._line.now_ns()
