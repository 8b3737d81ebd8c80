"""Rooms over HTTP: open one, come in by a code, leave, look, end, download (docs/ROOMS.md).

Whoever opens a room needs what any client needs, the server's token among it. Whoever comes in shows a code of the room
instead, as ``Authorization: Bearer CODE``: the host's, or that of a seat, which is good for that seat and nothing else.
Ids stand in the path, so that a proxy finds the server of a room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from pydantic import Field

from tolmach.transports.files.specs import Show
from tolmach.transports.webrtc.signalling.ice_agent import ice_servers_json
from tolmach.transports.webrtc.signalling.sdp import MAX_SDP
from tolmach.web.bodies import Body, GraphChoice, PeerUpdate
from tolmach.web.errors import AsciiJson
from tolmach.web.openapi import Answer, Renegotiated, Transcript, described
from tolmach.web.rooms.qr import link_to, qr_svg
from tolmach.web.rooms.room import Room
from tolmach.web.rooms.rooms import Entry, Rooms
from tolmach.web.rooms.seat import RoomSeat
from tolmach.web.security import client_address
from tolmach.web.service import Service
from tolmach.web.sessions.run import Choice
from tolmach.web.settings import ServerSettings

__all__ = ["install"]

PAGE = Path(__file__).parent.parent / "static" / "room.html"


class Arrival(Body):
    """An offer, of somebody who comes to a seat."""

    sdp: str = Field(max_length=MAX_SDP)
    take_over: bool = Field(False, description="Whether to take the place of who speaks there now.")


class SeatInfo(Answer):
    """A seat."""

    seat: str
    lang: str = Field(description="BCP-47; empty where the graph does not say.")
    speaks: bool
    hears: bool
    reads: bool
    people: int = Field(description="How many are connected.")
    code: str | None = Field(None, description="What lets people come to it; for the host only.")


class RoomInfo(Answer):
    """A room, as the host sees it, or somebody at one of its seats."""

    room: str
    state: Literal["open", "live", "ended"]
    end_reason: str
    started_s: float
    graph: str
    params: dict[str, Any]
    settings: dict[str, Any]
    host: bool
    seats: list[SeatInfo] = Field(description="All of them for the host, else the one whose code was shown.")
    speakers: list[SeatInfo]
    ice_servers: list[dict[str, Any]]
    resume_s: float = Field(description="How long a speaker's place is kept for them when the connection is lost, s.")
    websocket: bool = Field(description="Whether people may come over a WebSocket too, where no UDP gets through.")


class OpenedRoom(RoomInfo):
    """A new room, and the host's code."""

    code: str


class Arrived(Answer):
    """Somebody's connection, and the answer to their offer."""

    peer: str = Field(description="Its id, for candidates and later offers.")
    seat: str
    sdp: str


async def _rooms(request: Request) -> Rooms:
    rooms: Rooms = request.app.state.rooms
    return rooms


async def _entry(
    room: str,
    request: Request,
    rooms: Annotated[Rooms, Depends(_rooms)],
    authorization: Annotated[str, Header(max_length=256)] = "",
) -> Entry:
    """Who asks: the host of the room that the path names, or somebody with the code of a seat."""
    scheme, _, code = authorization.partition(" ")
    shown = code.strip() if scheme.lower() == "bearer" else ""
    return rooms.enter(room, shown, client_address(request.scope))


RoomsOf = Annotated[Rooms, Depends(_rooms)]
EntryOf = Annotated[Entry, Depends(_entry)]
SeatName = Annotated[str | None, Query(max_length=64)]


def install(app: FastAPI, settings: ServerSettings) -> None:
    """Add the routes below ``/api/rooms``, and the page ``/room``."""
    service: Service = app.state.service
    rooms = Rooms(service, service.seats)
    app.state.rooms = rooms
    service.parts.append(rooms)
    _add_page(app)
    _add_rooms(app, settings)
    _add_peers(app)
    _add_files(app)


def _add_page(app: FastAPI) -> None:
    @app.get("/room", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE)


def _told(room: Room, seat: RoomSeat | None, settings: ServerSettings) -> dict[str, Any]:
    servers = ice_servers_json(settings.ice().ice_servers)
    websocket = "websocket" not in settings.without
    return {**room.as_json(seat), "ice_servers": servers, "resume_s": settings.resume_s, "websocket": websocket}


def _add_rooms(app: FastAPI, settings: ServerSettings) -> None:
    @app.post("/api/rooms", **described(OpenedRoom, 404, 422, 429, status=201, summary="Open a room"))
    async def create(body: GraphChoice, request: Request, rooms: RoomsOf) -> Mapping[str, Any]:
        address = client_address(request.scope)
        room = await rooms.open(address, Choice(body.graph, body.params, body.settings))
        return {"code": room.host_code, **_told(room, None, settings)}

    @app.get("/api/rooms/{room}", **described(RoomInfo, 404, 429, summary="A room: who is there"))
    async def show(entry: EntryOf) -> Mapping[str, Any]:
        return _told(entry.room, entry.seat, settings)

    @app.delete("/api/rooms/{room}", **described(None, 404, 409, 429, status=204, summary="End a room"))
    async def end(entry: EntryOf) -> Response:
        entry.require_host()
        entry.room.require_alive()
        await entry.room.end("the host has ended it")
        return Response(status_code=204)

    @app.get("/api/rooms/{room}/qr.svg", **described("image/svg+xml", 404, 429, summary="A seat's link as a QR code"))
    async def qr(entry: EntryOf, page: Annotated[str, Query(max_length=200)], seat: SeatName = None) -> Response:
        """``page`` is the address of the page ``/room`` as people reach it, which only the browser knows."""
        link = link_to(page, entry.room.id, entry.seat_named(seat).code)
        return Response(await asyncio.to_thread(qr_svg, link), media_type="image/svg+xml")


def _add_peers(app: FastAPI) -> None:
    @app.post("/api/rooms/{room}/peers", **described(Arrived, 404, 409, 429, status=201, summary="Come to a seat"))
    async def join(
        body: Arrival, entry: EntryOf, request: Request, rooms: RoomsOf, seat: SeatName = None
    ) -> Mapping[str, Any]:
        place = entry.seat_named(seat)
        rooms.count_join(entry.room)
        address = client_address(request.scope)
        peer, answer = await entry.room.join(place, address, body.sdp, take_over=body.take_over)
        return {"peer": peer, "seat": place.plan.name, "sdp": answer}

    @app.patch(
        "/api/rooms/{room}/peers/{peer}",
        **described(None, 404, 429, status=204, more={200: Renegotiated}, summary="Candidates, or a later offer"),
    )
    async def update(body: PeerUpdate, peer: str, entry: EntryOf, rooms: RoomsOf) -> Response:
        body.require_one()
        connection = entry.room.peer(entry.seat, peer)
        if body.sdp is not None:
            rooms.count_join(entry.room)
            return AsciiJson({"sdp": await connection.answer(body.sdp)})
        await body.trickle_into(connection)
        return Response(status_code=204)

    @app.delete("/api/rooms/{room}/peers/{peer}", **described(None, 404, 429, status=204, summary="Leave a seat"))
    async def leave(peer: str, entry: EntryOf) -> Response:
        connection = entry.room.peer(entry.seat, peer)
        connection.said_goodbye = True
        await connection.close("the client has left")
        return Response(status_code=204)


def _add_files(app: FastAPI) -> None:
    @app.get("/api/rooms/{room}/subtitles.srt", **described("text/plain", 404, 429, summary="Subtitles, SubRip"))
    async def srt(entry: EntryOf, seat: SeatName = None, show: Show = "translation") -> Response:
        place = entry.seat_named(seat)
        return _download(PlainTextResponse(place.transcript.subtitles(vtt=False, show=show)), place, "srt")

    @app.get("/api/rooms/{room}/subtitles.vtt", **described("text/vtt", 404, 429, summary="Subtitles, WebVTT"))
    async def vtt(entry: EntryOf, seat: SeatName = None, show: Show = "translation") -> Response:
        place = entry.seat_named(seat)
        text = place.transcript.subtitles(vtt=True, show=show)
        return _download(Response(text, media_type="text/vtt; charset=utf-8"), place, "vtt")

    @app.get("/api/rooms/{room}/transcript.json", **described(Transcript, 404, 429, summary="All captions of a seat"))
    async def transcript(entry: EntryOf, seat: SeatName = None) -> Response:
        place = entry.seat_named(seat)
        return _download(AsciiJson({"v": 1, "captions": place.transcript.as_json()}), place, "json")


def _download(response: Response, seat: RoomSeat, suffix: str) -> Response:
    kind = "transcript" if suffix == "json" else "subtitles"
    response.headers["Content-Disposition"] = f'attachment; filename="{kind}-{seat.plan.name}.{suffix}"'
    response.headers["Cache-Control"] = "no-store"
    return response
