"""The WebSocket door: PCM in; WAV files and texts out, or what the page says and hears over WebRTC.

``WS /ws/translate`` has two dialects, told apart by the first message:

* ``{"mode": "auto"}`` is for scripts and small clients (:mod:`~tolmach.web.doors.websocket.simple`);
* ``{"v": 1, "type": "hello"}`` is docs/LIVE.md without WebRTC (:mod:`~tolmach.web.doors.websocket.live`): the page uses
  it where UDP does not get through.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tolmach.pipelines.errors import TolmachError
from tolmach.web.doors.websocket.hello import Hello, HelloError, read_hello
from tolmach.web.doors.websocket.live import LivePeer
from tolmach.web.doors.websocket.simple import SimplePeer, choice_of
from tolmach.web.errors import ApiError, as_api_error
from tolmach.web.security import client_address
from tolmach.web.service import Service
from tolmach.web.sessions.run import Choice
from tolmach.web.settings import ServerSettings

__all__ = ["CLOSE_BASE", "HELLO_S", "PATH", "install"]

log = logging.getLogger(__name__)

PATH = "/ws/translate"
HELLO_S = 10.0
"""How long the first message may take: as long as the headers of a request."""
CLOSE_BASE = 4000
"""A refusal closes with this and the HTTP status that docs/LIVE.md has for it. Codes from 4000 on are for applications
(RFC 6455, 7.4.2)."""
SUBPROTOCOL = "tolmach"
"""What a client in a browser offers beside its token, for browsers fail where some are offered and none is chosen."""


def install(app: FastAPI, settings: ServerSettings) -> None:
    """Add ``WS /ws/translate``."""

    @app.websocket(PATH)
    async def translate(socket: WebSocket) -> None:
        service: Service = app.state.service
        await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        try:
            await _talk(socket, service, settings)
        except WebSocketDisconnect:
            return
        except (TolmachError, ApiError) as error:
            await _refuse(socket, as_api_error(error))
        except Exception as error:
            log.exception("a WebSocket failed")
            await _refuse(socket, as_api_error(error))


async def _talk(socket: WebSocket, service: Service, settings: ServerSettings) -> None:
    hello = await _first_message(socket)
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
        await _read(socket, peer)
    finally:
        await peer.close("the connection is over")


async def _first_message(socket: WebSocket) -> Hello:
    try:
        async with asyncio.timeout(HELLO_S):
            message = await socket.receive()
    except TimeoutError:
        raise ApiError(408, "too-late", f"no first message has come within {HELLO_S:g} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    if text is None:
        raise HelloError('the first message is text: {"mode": "auto"}, or hello of docs/LIVE.md; audio follows it')
    return read_hello(text)


async def _read(socket: WebSocket, peer: SimplePeer | LivePeer) -> None:
    """Read what the client sends, until it hangs up or is hung up on."""
    while True:
        await peer.turn()
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            peer.client_gone()
            return
        if peer.closed.is_set():
            continue  # its answer to our close is to come
        audio = message.get("bytes")
        try:
            if audio is not None:
                await peer.receiver.write(audio, peer.rate_hz, peer.channels)
            else:
                await peer.heard(message.get("text") or "")
        except ValueError as error:
            peer.close_code = CLOSE_BASE + 400
            peer.hang_up(str(error))


async def _refuse(socket: WebSocket, error: ApiError) -> None:
    """Say why it cannot be, in the words of docs/LIVE.md, and close."""
    told = {"code": error.code, "message": error.message, "retry_after_s": error.retry_after_s, **error.extra}
    with contextlib.suppress(Exception):  # the client may be gone
        async with asyncio.timeout(HELLO_S):
            if socket.application_state is WebSocketState.CONNECTED:
                await socket.send_text(json.dumps({"error": told}))
                reason = error.message.encode(errors="replace")[:123].decode(errors="ignore")
                await socket.close(CLOSE_BASE + error.status_code, reason)
