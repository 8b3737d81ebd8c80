"""What a door does with a WebSocket: takes it, hears what comes first and all that follows, says why it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tolmach.pipelines.errors import TolmachError
from tolmach.web.doors.websocket.hello import Hello, HelloError, read_hello
from tolmach.web.doors.websocket.live import LivePeer
from tolmach.web.doors.websocket.simple import SimplePeer
from tolmach.web.errors import ApiError, as_api_error

__all__ = ["CLOSE_BASE", "HELLO_S", "converse", "first_message", "read_all"]

log = logging.getLogger(__name__)

HELLO_S = 10.0
"""How long the first message may take: as long as the headers of a request."""
CLOSE_BASE = 4000
"""A refusal closes with this and the HTTP status that docs/LIVE.md has for it. Codes from 4000 on are for applications
(RFC 6455, 7.4.2)."""
SUBPROTOCOL = "tolmach"
"""What a client in a browser offers beside its token, for browsers fail where some are offered and none is chosen."""


async def converse(socket: WebSocket, talk: Callable[[WebSocket], Awaitable[None]]) -> None:
    """Accept a WebSocket and talk, until that is over or is refused, which the client is told."""
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
    try:
        await talk(socket)
    except WebSocketDisconnect:
        return
    except (TolmachError, ApiError) as error:
        await _refuse(socket, as_api_error(error))
    except Exception as error:
        log.exception("a WebSocket failed")
        await _refuse(socket, as_api_error(error))


async def first_message(socket: WebSocket) -> Hello:
    """What a client says first. Raises HelloError if it is nothing of the kind, ApiError 408 if it does not come."""
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


async def read_all(socket: WebSocket, peer: SimplePeer | LivePeer) -> None:
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
                if not peer.speaks:
                    raise ValueError("who only listens sends no audio")
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
