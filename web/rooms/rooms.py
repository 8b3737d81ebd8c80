"""All rooms of a server: who may open one, what a code is good for, those that go on or can still be read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator

from tolmach.pipelines.errors import GraphError
from tolmach.transports.audience import Seats
from tolmach.web.catalogue.seats import SeatPlan
from tolmach.web.errors import ApiError
from tolmach.web.metrics import Snapshot
from tolmach.web.rooms.room import Room, RoomTerms
from tolmach.web.rooms.seat import RoomSeat
from tolmach.web.security import OfferLimiter
from tolmach.web.service import Service
from tolmach.web.sessions.pool import MAX_KEPT_BYTES
from tolmach.web.sessions.run import Choice

__all__ = ["Entry", "Rooms"]

log = logging.getLogger(__name__)

MAX_CODE = 64
"""Characters of a code that are looked at; ours have 22."""


class Entry:
    """Who has come with which code.

    Attributes:
        room: The room.
        seat: The seat whose code it is; None for the host.
    """

    def __init__(self, room: Room, seat: RoomSeat | None) -> None:
        self.room = room
        self.seat = seat

    def seat_named(self, name: str | None) -> RoomSeat:
        """The seat of the code, or the one that the host names.

        Raises:
            ApiError: 400 if the host names none, 403 for another one, 404 if there is none of that name.
        """
        if self.seat is not None:
            if name not in (None, self.seat.plan.name):
                raise ApiError(403, "forbidden-seat", "this code is for another seat")
            return self.seat
        if name is None:
            raise ApiError(400, "bad-request", "say which seat (?seat=NAME)")
        try:
            return self.room.seats[name]
        except KeyError:
            raise ApiError(
                404, "not-found", f"the room has no such seat; it has {', '.join(self.room.seats)}"
            ) from None

    def require_host(self) -> None:
        """Ask whether it is the host. Raises ApiError 403."""
        if self.seat is not None:
            raise ApiError(403, "forbidden-seat", "only who has opened the room may do that")


class Rooms:
    """Makes, finds and ends rooms; a part of the service.

    Args:
        service: Whose places its speakers take, and whose graphs they use.
        listeners: The places for those who only listen.
    """

    def __init__(self, service: Service, listeners: Seats) -> None:
        self.draining = False
        self._emptied = asyncio.Event()
        self._service = service
        self._listeners = listeners
        # A hall comes in through one address, so they are counted by room; the code is what not everybody has.
        self._joins = OfferLimiter(max(2 * listeners.most, 60))
        self._live: dict[str, Room] = {}
        self._ended: dict[str, Room] = {}
        service.pool.elsewhere.append(self.places)
        service.metrics.rooms = lambda: len(self._live)

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._live.values()))

    async def open(self, address: str, choice: Choice) -> Room:
        """A new room, in which nobody is yet.

        Raises:
            ApiError: 404 if there is no such graph, 429 or 503 if no room may be opened now.
            GraphError: If the graph, a param or a setting is wrong, or it is no graph for a room.
        """
        service = self._service
        service.count_offer(address)
        self._require_open()
        service.pool.admit(address)
        graph = await service.catalogue.load(choice.graph, choice.params, choice.settings)
        plan = SeatPlan(graph)
        if "" in plan.seats:
            raise GraphError(
                f"the graph {graph.name!r} is for a session: in a room every webrtc_src and webrtc_sink has a seat"
            )
        self._require_open()
        self._make_room()
        terms = RoomTerms(service.pool.terms, self._listeners, service.pool.require_place, service.pool.new_id)
        room = Room(service.pool.new_id(), address, choice, graph, plan, terms, self._has_ended)
        self._live[room.id] = room
        log.info("room %s is open: %s", room.short, choice.graph)
        return room

    def enter(self, room_id: str, code: str, address: str) -> Entry:
        """What a code is good for in a room.

        Args:
            room_id: The room's.
            code: What was shown; "" for none.
            address: Whose it is: guessing is as dear as calling.

        Raises:
            ApiError: 404 if there is no such room, 401 if the code is none of its.
        """
        room = self.find(room_id)
        code = code[:MAX_CODE]
        if room.is_host(code):
            return Entry(room, None)
        seat = room.seat_of(code)
        if seat is None:
            self._service.count_offer(address)
            raise ApiError(401, "unauthorised", "the code of the link is missing or wrong")
        return Entry(room, seat)

    def count_join(self, room: Room) -> None:
        """Count somebody who comes in. Raises ApiError 429 when they come too fast."""
        self._joins.take(room.id)

    def _require_open(self) -> None:
        if self.draining or self._service.pool.draining:
            raise ApiError(503, "draining", "the server is stopping; try again in a minute", 60)

    def _make_room(self) -> None:
        """Let one more room wait for a speaker, its first one or another; as with sessions, the oldest makes way.

        A room that its speakers have left has a graph that plays, and costs nobody a place: there are no more of them
        than of those that nobody has come to yet. Whoever listens in one is the last to be sent away.
        """
        waiting = [room for room in self if not any(room.places())]
        if len(waiting) < self._service.pool.max_waiting:
            return
        waiting = [room for room in waiting if not sum(room.people)] or waiting
        of_address = Counter(room.address for room in waiting)
        most = max(of_address.values())
        oldest = next(room for room in waiting if of_address[room.address] == most)
        oldest.begin_end("nobody is there to speak, and others wait for a room", "unconnected")

    def find(self, room_id: str) -> Room:
        """A room that goes on or has ended lately.

        Raises:
            ApiError: 404 if there is none.
        """
        self._forget_old()
        room = self._live.get(room_id) or self._ended.get(room_id)
        if room is None:
            raise ApiError(404, "not-found", "there is no such room; it may have ended")
        return room

    def places(self) -> Iterator[str]:
        """The address of each who has one of the server's places in a room."""
        for room in self:
            yield from room.places()

    def _has_ended(self, room: Room) -> None:
        self._live.pop(room.id, None)
        if not self._live:
            self._emptied.set()
        self._ended[room.id] = room
        self._forget_old()
        metrics = self._service.metrics
        metrics.session_ended(room.outcome)
        for snapshot in room.line_snapshots():
            metrics.retire(snapshot)

    def _forget_old(self) -> None:
        settings = self._service.settings
        oldest = time.monotonic() - settings.keep_ended_s
        size = sum(room.size for room in self._ended.values())
        for room_id, room in tuple(self._ended.items()):
            too_many = len(self._ended) > settings.max_kept or size > MAX_KEPT_BYTES
            if too_many or (room.ended_at or 0.0) < oldest:
                del self._ended[room_id]
                size -= room.size

    async def drain(self, within_s: float, linger_s: float = 0.0) -> None:
        """No new rooms; when those there had their time, let what is under way be heard, then end them all."""
        self.draining = True
        if self._live and linger_s > 0:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger_s):
                    await self._emptied.wait()
        rooms = list(self)
        await asyncio.gather(*(room.drained(within_s) for room in rooms))
        await asyncio.gather(*(room.end("the server is stopping", "drained") for room in rooms))

    async def stop(self) -> None:
        """End everything at once. Safe twice."""
        await self.drain(0)

    def snapshots(self) -> Iterator[Snapshot]:
        """What runs in rooms has counted so far."""
        for room in self:
            yield from room.snapshots()
