"""A room: one graph that plays for several people, whoever of them is there.

::

    open ──► live ──► ended         open: nobody has spoken yet, and no graph runs; live: it plays until the room ends

Unlike a session's, the graph of a room stays when somebody leaves: the others go on, and who comes back speaks into it
again. All seats share one media clock. Captions go where the links of the graph lead: to those who hear what becomes of
them, and to whoever has spoken.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from tolmach.pipelines.bus import Message, NoticeMessage
from tolmach.pipelines.graph import Graph
from tolmach.transports.audience import AudienceFull, Seats
from tolmach.transports.peer import Peer, first_of
from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.session_line import Epoch, line_resource
from tolmach.transports.webrtc.signalling.sdp import prepare_offer
from tolmach.web.catalogue.seats import SeatPlan
from tolmach.web.errors import ApiError
from tolmach.web.metrics import Snapshot
from tolmach.web.rooms.seat import AudienceSeat, RoomSeat, TalkSeat, new_code
from tolmach.web.sessions.run import Choice, Run
from tolmach.web.sessions.session import LAST_WORDS_S, PAUSE_S, REFUSAL_S, Terms
from tolmach.web.sessions.transcript import Numbers, RunNumbers
from tolmach.web.tasks import Tasks

__all__ = ["Room", "RoomState", "RoomTerms"]

log = logging.getLogger(__name__)

RoomState = Literal["open", "live", "ended"]

BEAT_S = 1.0
"""How often figures are told, and the time looked at."""
SAME_SEAT = "somebody is at this seat already"
TAKEN_OVER = "somebody else has taken this seat with the same link"


@dataclass(frozen=True, slots=True)
class RoomTerms:
    """What a room may use.

    Attributes:
        session: As a session's.
        listeners: The places for those who only listen, of all rooms together.
        require_place: Asks whether somebody of this address may speak. Raises ApiError 503.
        new_id: Makes ids.
    """

    session: Terms
    listeners: Seats
    require_place: Callable[[str], None]
    new_id: Callable[[], str]


class Room:
    """A room; make it inside the event loop, and :meth:`end` it in any case.

    Args:
        room: Its id.
        address: Who has opened it, for limits.
        choice: What was asked for.
        graph: The graph made from that.
        plan: Its seats.
        terms: What it may use.
        on_ended: Called once, when it has ended.

    Attributes:
        host_code: Who knows it may see all codes, and end the room.
        seats: By name.
    """

    def __init__(
        self,
        room: str,
        address: str,
        choice: Choice,
        graph: Graph,
        plan: SeatPlan,
        terms: RoomTerms,
        on_ended: Callable[[Room], None],
    ) -> None:
        self.id = room
        self.address = address
        self.choice = choice
        self.graph = graph
        self.state: RoomState = "open"
        self.end_reason = ""
        self.outcome = "closed"
        self.host_code = new_code()
        self.started_s = time.time()
        self.ended_at: float | None = None  # monotonic, s
        self._plan = plan
        self._terms = terms
        self._on_ended = on_ended
        self._epoch = Epoch()
        self._counts = False  # whether what a narrator measures is to be counted; once for each who hears it
        self.seats: dict[str, RoomSeat] = {name: self._seat(name) for name in plan.seats}
        self._numbers = Numbers()
        self._numbers_of: dict[frozenset[str], RunNumbers] = {}
        self._run: Run | None = None
        self._peers: dict[str, tuple[str, Connection]] = {}  # by id: the seat, and who sits there
        self._told_people: dict[str, int] = {}
        self._answering = asyncio.Semaphore(4)  # a hall that comes in at once costs the loop some ms each
        self._active_s = time.monotonic()
        self._live_s: float | None = None
        self._finishing = False
        self._ending: asyncio.Task[None] | None = None
        self._tasks = Tasks(f"room {self.short}")
        self._tasks.spawn(self._watch(), "watch")

    def _seat(self, name: str) -> RoomSeat:
        plan = self._plan.seats[name]
        first_audio, voice_lag = self._first_audio, self._voice_lag
        if plan.speaks:
            return TalkSeat(
                plan,
                self._epoch,
                on_open=partial(self._opened, name),
                on_lost=partial(self._lost, name),
                on_first_audio=first_audio,
                on_voice_lag=voice_lag,
            )
        return AudienceSeat(
            plan,
            self._epoch,
            self._terms.listeners,
            on_open=partial(self._opened, name),
            on_first_audio=first_audio,
            on_voice_lag=voice_lag,
        )

    def _first_audio(self, seconds: float) -> None:
        if self._counts:
            self._terms.session.on_first_audio(seconds)

    def _voice_lag(self, seconds: float) -> None:
        if self._counts:
            self._terms.session.on_voice_lag(seconds)

    @property
    def short(self) -> str:
        """Enough of the id to tell rooms apart in a log."""
        server, dot, random = self.id.rpartition(".")
        return f"{server}{dot}{random[:6]}"

    @property
    def talk_seats(self) -> list[TalkSeat]:
        """Where people speak."""
        return [seat for seat in self.seats.values() if isinstance(seat, TalkSeat)]

    # Who comes in -------------------------------------------------------------------------------------------------

    def is_host(self, code: str) -> bool:
        """Whether a code is the host's; compared in constant time."""
        return hmac.compare_digest(code.encode(), self.host_code.encode())

    def seat_of(self, code: str) -> RoomSeat | None:
        """The seat whose code this is; all are compared, each in constant time."""
        matches = [seat for seat in self.seats.values() if hmac.compare_digest(code.encode(), seat.code.encode())]
        return matches[0] if matches else None

    async def join(self, seat: RoomSeat, address: str, offer: str, *, take_over: bool = False) -> tuple[str, str]:
        """Answer the offer of somebody who comes to a seat, or comes back to it.

        Args:
            seat: Of this room.
            address: Whose it is, for limits.
            offer: Their SDP.
            take_over: Whether they take the place of who is there.

        Returns:
            The id of this connection, and the answer.

        Raises:
            SignallingError: If the offer cannot be used.
            ApiError: 409 if the room has ended or somebody is at the seat, 503 if there is no place.
        """
        self.require_alive()
        prepared = prepare_offer(offer)
        async with self._answering:
            self.require_alive()
            if isinstance(seat, TalkSeat):
                return await self._answer_speaker(seat, address, prepared, take_over)
            assert isinstance(seat, AudienceSeat)  # noqa: S101 -- there is no third kind
            return await self._answer_listener(seat, address, prepared)

    def sit(self, seat: RoomSeat, address: str, peer: Peer, *, take_over: bool = False) -> None:
        """Let somebody come to a seat whose protocol has no offer to answer, as over a WebSocket.

        Args:
            seat: Of this room.
            address: Whose it is, for limits.
            peer: Their connection; if this fails, whoever made it closes it.
            take_over: Whether they take the place of who is there.

        Raises:
            ApiError: 409 if the room has ended or somebody is at the seat, 503 if there is no place.
        """
        self.require_alive()
        if isinstance(seat, TalkSeat):
            self._require_seat(seat, address, take_over)
            peer.listen(partial(self._said, seat))
            self._make_way(seat)
            seat.line.seat(peer)
            self._tasks.spawn(self._meet(seat, peer, address), "meet")
        else:
            assert isinstance(seat, AudienceSeat)  # noqa: S101 -- there is no third kind
            try:
                seat.audience.seat(peer, address)
            except AudienceFull as full:
                raise ApiError(503, "busy", str(full), 15) from full

    def _require_seat(self, seat: TalkSeat, address: str, take_over: bool) -> None:
        if seat.people and not take_over:
            raise ApiError(409, "conflict", f"{SAME_SEAT}; take_over takes their place")
        if not self._holds_place(seat):
            self._terms.require_place(address)

    def _make_way(self, seat: TalkSeat) -> None:
        if seat.peer is not None:
            seat.peer.hang_up(TAKEN_OVER)

    async def _answer_speaker(self, seat: TalkSeat, address: str, offer: Any, take_over: bool) -> tuple[str, str]:
        self._require_seat(seat, address, take_over)
        connection = seat.line.prepare(self._terms.session.connection)
        connection.listen(partial(self._said, seat))
        try:
            answer = await connection.answer(offer)
            self.require_alive()
        except BaseException:
            connection.hang_up("the offer could not be used")
            raise
        self._make_way(seat)
        seat.line.attach(connection)
        self._tasks.spawn(self._meet(seat, connection, address), "meet")
        return self._note(seat, connection), answer

    async def _answer_listener(self, seat: AudienceSeat, address: str, offer: Any) -> tuple[str, str]:
        connection = Connection(self._terms.session.connection, direction="sendonly")
        try:
            seat.audience.seat(connection, address)
            answer = await connection.answer(offer)
        except AudienceFull as full:
            connection.hang_up(str(full))
            await connection.close()
            raise ApiError(503, "busy", str(full), 15) from full
        except BaseException:
            connection.hang_up("the offer could not be used")
            raise
        return self._note(seat, connection), answer

    def _note(self, seat: RoomSeat, connection: Connection) -> str:
        for peer, (_, known) in tuple(self._peers.items()):
            if known.closed.is_set():
                del self._peers[peer]
        peer_id = self._terms.new_id()
        self._peers[peer_id] = (seat.plan.name, connection)
        return peer_id

    def peer(self, seat: RoomSeat | None, peer_id: str) -> Connection:
        """Somebody who is here.

        Args:
            seat: Whose code was shown; None for the host's.
            peer_id: Of :meth:`join`.

        Raises:
            ApiError: 404 if they are not at that seat, or have gone.
        """
        name, connection = self._peers.get(peer_id, ("", None))
        if connection is None or connection.closed.is_set() or (seat is not None and name != seat.plan.name):
            raise ApiError(404, "not-found", "nobody here has this id any more; join again")
        return connection

    async def _meet(self, seat: TalkSeat, connection: Peer, address: str) -> None:
        """Somebody means to speak: give them a place once they are there in fact, and let the graph play."""
        await first_of(connection.connected, connection.closed)
        if not connection.connected.is_set() or self.state == "ended":
            return
        try:
            if not self._holds_place(seat):
                self._terms.require_place(address)
        except ApiError as refused:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFUSAL_S):
                    await first_of(connection.opened, connection.closed)
            connection.hang_up(refused.message)
            return
        seat.address, seat.away_s = address, None
        self._active_s = time.monotonic()
        self._tell_people()
        if self._run is None and not self._finishing:
            self._play()

    def _holds_place(self, seat: TalkSeat) -> bool:
        """Whether one of the server's places is this seat's: somebody is there, or may come back yet."""
        if not seat.address:
            return False
        if seat.away_s is not None:
            return time.monotonic() - seat.away_s < self._terms.session.resume_s
        return True

    def places(self) -> Iterator[str]:
        """The address of each who has one of the server's places."""
        return (seat.address for seat in self.talk_seats if self._holds_place(seat))

    def require_alive(self) -> None:
        """Ask whether it goes on. Raises ApiError 409 if it has ended."""
        if self.state == "ended":
            raise ApiError(409, "conflict", f"the room has ended: {self.end_reason}")

    # The graph ----------------------------------------------------------------------------------------------------

    def _play(self) -> None:
        self.state = "live"
        self._live_s = time.monotonic()
        lines = {line_resource(name): seat.line for name, seat in self.seats.items()}
        self._run = Run(self.choice, self.graph, lines, self._numbers.of_run(), self._heard, self._run_changed)
        log.info("room %s is live: %s", self.short, self.choice.graph)
        self._tell_run(self._run)
        self._run.start()

    def _run_changed(self, run: Run) -> None:
        if run.state == "waiting":
            self._terms.session.on_loaded(run.choice.graph)
        elif run.state == "failed":
            log.warning("room %s: graph %s has failed: %s", self.short, run.choice.graph, run.error)
        if run.over:
            if self.state == "ended":
                return
            self._run = None
            self._terms.session.on_run_over(run)
            if self._finishing:
                return
            reason = run.text or "the graph has ended"
            self.begin_end(reason, "failed" if run.error is not None else "closed")
        else:
            self._tell_run(run)

    def _tell_run(self, run: Run) -> None:
        for seat in self.seats.values():
            seat.narrator.tell_run(run)

    def _heard(self, run: Run, message: Message) -> None:
        """Take a message of the graph's bus to whom it concerns."""
        spoken, told = self._plan.spoken_at(message.element), self._plan.told_at(message.element)
        numbers = self._numbers_of.get(spoken)
        if numbers is None:
            numbers = self._numbers_of[spoken] = self._numbers.of_run()
        speaker = next(iter(spoken)) if len(spoken) == 1 else ""
        for name, seat in self.seats.items():
            concerns = name in told or (seat.plan.speaks and name in spoken)
            if isinstance(message, NoticeMessage):
                concerns = seat.plan.speaks and (concerns or not spoken)
            if concerns:
                self._counts = name in told
                seat.narrator.take(numbers, message, speaker)

    # What people are told, and say --------------------------------------------------------------------------------

    def _opened(self, name: str, peer: Peer) -> None:
        seat = self.seats[name]
        people = {each: other.people for each, other in self.seats.items() if seat.plan.speaks or other.plan.speaks}
        told = {"room": self.id, **seat.plan.as_json(), "people": people, **self.choice.as_json()}
        peer.tell("room", told)
        self._tell_people()  # now: who comes and goes between two beats would else stay in what this peer was told
        run = self._run
        if run is not None:
            peer.tell("graph", {"state": run.state, "text": run.text, **run.choice.as_json()})
        if isinstance(seat, AudienceSeat):
            seat.replay(peer)
        elif isinstance(seat, TalkSeat):
            seat.told_echo = "unknown"
            self._tasks.spawn(seat.narrator.replay(peer), "replay")

    def _said(self, seat: TalkSeat, message: Mapping[str, Any]) -> None:
        if message["type"] == "clear":
            seat.line.sender.clear()

    def _lost(self, name: str, connection: Peer) -> None:
        if self.state == "ended":
            return
        seat = self.seats[name]
        assert isinstance(seat, TalkSeat)  # noqa: S101 -- others have no connection of their own
        log.info("room %s: %s", self.short, connection.close_reason)
        seat.narrator.speaking = False
        if connection.said_goodbye:
            seat.address, seat.away_s = "", None
        elif seat.address:
            seat.away_s = time.monotonic()

    def _tell_people(self) -> None:
        people = {name: seat.people for name, seat in self.seats.items()}
        if people == self._told_people:
            return
        speakers = {name: people[name] for name, seat in self.seats.items() if seat.plan.speaks}
        told_before = {name: self._told_people.get(name) for name in speakers}
        self._told_people = people
        for seat in self.seats.values():
            if seat.plan.speaks:
                seat.narrator.send("people", people=people)
            elif speakers != told_before:
                seat.narrator.send("people", people=speakers)

    # Time ---------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while self.state != "ended":
            await asyncio.sleep(BEAT_S)
            self._tell_people()
            for seat in self.talk_seats:
                if seat.people:
                    await self._tell_figures(seat)
            self._end_when_time_is_up()

    async def _tell_figures(self, seat: TalkSeat) -> None:
        stats = await seat.line.stats()
        lag_ms = round(self._terms.session.loop_lag_ms(), 1)
        seat.narrator.send("stats", **stats, loop_lag_ms=lag_ms, ephemeral=True)
        echo = seat.line.echo()
        if echo["state"] != seat.told_echo:
            seat.told_echo = echo["state"]
            seat.narrator.send("echo", **echo)

    def _end_when_time_is_up(self) -> None:
        now_s, terms = time.monotonic(), self._terms.session
        somebody = any(seat.people for seat in self.talk_seats)
        deaf = self._run is not None and not self._run.hears_speech  # then presence is all that can be known
        if somebody and (deaf or any(seat.narrator.speaking for seat in self.talk_seats)):
            self._active_s = now_s
        spoke_s = max(self._active_s, *(seat.narrator.spoke_s for seat in self.talk_seats))
        if self._live_s is not None and now_s - self._live_s > terms.max_s:
            self.begin_end(f"a room lasts at most {terms.max_s / 60:g} minutes", "expired")
        elif now_s - spoke_s > terms.idle_s:
            self.begin_end(f"nobody has spoken for {terms.idle_s / 60:g} minutes", "idle")

    # End ----------------------------------------------------------------------------------------------------------

    async def drained(self, within_s: float) -> None:
        """Let who speaks finish, and what was said be heard; the room is to be ended then."""
        self._finishing = True
        run = self._run
        if run is None or within_s <= 0:
            return
        until_s = time.monotonic() + within_s
        for seat in self.talk_seats:
            seat.line.finish_at_rest()
        if any(seat.people for seat in self.talk_seats):
            await _ended(run, min(PAUSE_S, within_s / 2))
        run.finish()
        await _ended(run, min(LAST_WORDS_S, until_s - time.monotonic()))

    async def end(self, reason: str, outcome: str = "closed") -> None:
        """End it now. Safe twice and from several tasks; returns when everything is released."""
        self.begin_end(reason, outcome)
        assert self._ending is not None  # noqa: S101 -- begin_end() made it
        await asyncio.shield(self._ending)

    def begin_end(self, reason: str, outcome: str = "closed") -> None:
        """Begin to end it: it *has* ended when this returns. :meth:`end` also waits. Safe twice."""
        if self._ending is not None:
            return
        self.state, self.end_reason, self.outcome = "ended", reason, outcome
        self.ended_at = time.monotonic()
        log.info("room %s has ended: %s", self.short, reason)
        run, self._run = self._run, None
        if run is not None:
            self._terms.session.on_run_over(run)
            run.cancel()
        self._on_ended(self)
        self._ending = asyncio.create_task(self._release(reason, run), name=f"room-{self.short}-release")

    async def _release(self, reason: str, run: Run | None) -> None:
        await asyncio.gather(*(seat.line.close(reason) for seat in self.seats.values()))
        await asyncio.gather(*(connection.close(reason) for _, connection in self._peers.values()))
        if run is not None:
            await run.ended()
        await self._tasks.cancel()

    # State --------------------------------------------------------------------------------------------------------

    def as_json(self, seat: RoomSeat | None) -> dict[str, Any]:
        """The answer to ``GET /api/rooms/ID``: for the host with all codes, else for whoever sits at ``seat``."""
        told = {
            "room": self.id,
            "state": self.state,
            "end_reason": self.end_reason,
            "started_s": self.started_s,
            **self.choice.as_json(),
        }
        if seat is not None:
            speakers = [each.as_json() for each in self.talk_seats]
            return {**told, "host": False, "seats": [seat.as_json()], "speakers": speakers}
        seats = [{**each.as_json(), "code": each.code} for each in self.seats.values()]
        return {**told, "host": True, "seats": seats, "speakers": [each.as_json() for each in self.talk_seats]}

    @property
    def size(self) -> int:
        """What it keeps for downloads, bytes, about."""
        return sum(seat.transcript.size for seat in self.seats.values())

    @property
    def people(self) -> tuple[int, int]:
        """How many who may speak are here, and how many who listen."""
        talkers = sum(seat.people for seat in self.talk_seats)
        return talkers, sum(seat.people for seat in self.seats.values()) - talkers

    def line_snapshots(self) -> Iterator[Snapshot]:
        """What its lines have counted so far."""
        for seat in self.seats.values():
            yield Snapshot(self.choice.graph, seat.line.receiver_stats(), seat.line.sender.stats())

    def snapshots(self) -> Iterator[Snapshot]:
        """What its lines and its graph have counted so far."""
        yield from self.line_snapshots()
        if self._run is not None:
            yield self._run.snapshot()


async def _ended(run: Run, within_s: float) -> None:
    """Wait until it has ended, or the time is up."""
    await asyncio.wait([asyncio.ensure_future(run.ended())], timeout=max(0.0, within_s))
