"""The WebSocket door: PCM in; WAV files and texts out, or what the page says and hears over WebRTC.

``WS /ws/translate`` has two dialects, told apart by the first message:

* ``{"mode": "auto"}`` is for scripts and small clients (:mod:`~tolmach.web.doors.websocket.simple`);
* ``{"v": 1, "type": "hello"}`` is docs/LIVE.md without WebRTC (:mod:`~tolmach.web.doors.websocket.live`): the page uses
  it where UDP does not get through.

``WS /api/rooms/ID/ws`` is the second one for a seat of a room (docs/ROOMS.md); as all below ``/api/rooms``, it asks for
the seat's code.
"""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.websockets import WebSocket

from tolmach.web.doors.websocket.exchange import converse, first_message, read_all
from tolmach.web.doors.websocket.hello import HelloError
from tolmach.web.doors.websocket.live import LivePeer
from tolmach.web.doors.websocket.simple import SimplePeer, choice_of
from tolmach.web.errors import ApiError
from tolmach.web.rooms.rooms import Rooms
from tolmach.web.security import client_address, token_in
from tolmach.web.service import Service
from tolmach.web.sessions.run import Choice
from tolmach.web.settings import ServerSettings

__all__ = ["PATH", "install"]

PATH = "/ws/translate"


def install(app: FastAPI, settings: ServerSettings) -> None:
    """Add ``WS /ws/translate`` and, where there are rooms, ``WS /api/rooms/ID/ws``."""

    @app.websocket(PATH)
    async def translate(socket: WebSocket) -> None:
        await converse(socket, partial(_translate, app.state.service, settings))

    if "rooms" not in settings.without:

        @app.websocket("/api/rooms/{room}/ws")
        async def sit(socket: WebSocket) -> None:
            await converse(socket, partial(_sit, app.state.rooms, settings))


async def _translate(service: Service, settings: ServerSettings, socket: WebSocket) -> None:
    hello = await first_message(socket)
    address = client_address(socket.scope)
    peer: SimplePeer | LivePeer
    if hello.live:
        peer = LivePeer(socket, hello, idle_s=settings.idle_s)
    else:
        peer = SimplePeer(socket, hello, idle_s=settings.idle_s)
    try:
        resume = socket.query_params.get("resume")
        if resume is not None:
            if not hello.live:
                raise ApiError(400, "bad-request", "only a live client comes back to a session: say hello first")
            choice = Choice(hello.graph, hello.params, hello.settings) if hello.graph else None
            await service.rejoin(address, resume, peer, choice)
        else:
            await service.join(address, peer, choice_of(hello, service.catalogue))
        if peer.closed.is_set():
            raise ApiError(409, "conflict", f"the session has ended: {peer.close_reason}")
        peer.begin()
        await read_all(socket, peer)
    finally:
        await peer.close("the connection is over")


async def _sit(rooms: Rooms, settings: ServerSettings, socket: WebSocket) -> None:
    address = client_address(socket.scope)
    entry = rooms.enter(socket.path_params["room"], token_in(Headers(scope=socket.scope)), address)
    seat = entry.seat_named(socket.query_params.get("seat"))
    rooms.count_join(entry.room)
    hello = await first_message(socket)
    if not hello.live:
        raise HelloError('to a seat comes who says {"v": 1, "type": "hello"} first')
    peer = LivePeer(socket, hello, idle_s=settings.idle_s, speaks=seat.plan.speaks)
    try:
        take_over = socket.query_params.get("take_over") == "true"
        entry.room.sit(seat, address, peer, take_over=take_over)
        peer.begin()
        await read_all(socket, peer)
    finally:
        await peer.close("the connection is over")
