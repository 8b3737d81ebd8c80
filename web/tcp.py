"""The door: TCP connections before they are requests. How many there may be, and how long each may take.

uvicorn reads a request for as long as it takes, from as many as come. Here a connection has a time for the TLS
handshake, for its headers, for its body and for reading our answer; and a place is taken from who says nothing (the
oldest, of the address that has most of them) before anybody is turned away. So connections that are held open by the
thousand keep nobody out, also where all clients have one address, behind a port mapping or a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import h11
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

from tolmach.transports.webrtc.guards import Allowance
from tolmach.web.errors import ApiError, error_response
from tolmach.web.security import address_of

__all__ = ["Door", "DoorLimits", "WebSocketProtocol", "raise_descriptors"]

log = logging.getLogger(__name__)

DESCRIPTORS = 65_536
"""File descriptors asked for; a connection is one, a session about one for each address of this machine."""
_COMPLAIN_S = 60.0
"""How often it is logged that the door is crowded, or stuck."""
_BREATH_S = 0.2
"""How long no connection is accepted when the system has no room for one."""
_CLOSE_S = 5.0
"""How long a last answer may take to be read before the connection is cut."""

_uvicorn = logging.getLogger(f"{__name__}.uvicorn")
_uvicorn.setLevel(logging.ERROR)
"""uvicorn warns of each request that it cannot read: anybody could fill the log."""

BODY_BYTES_PER_S = 65_536
"""What a body must come at that takes longer than its time: a recording over a slow line. Small bodies are bounded by
their time alone, for they hold less than this asks of a long one."""


class _NotTheirFault(logging.Filter):
    """Keeps out what a client can cause by what it sends."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written."""
        return not str(record.msg).startswith("Invalid UTF-8")


_websockets = logging.getLogger(f"{__name__}.websockets")
_websockets.setLevel(logging.ERROR)
_websockets.addFilter(_NotTheirFault())

_PIECE = 4096
"""Bytes of a WebSocket read at a time: at most some hundred messages."""
MAX_FRAGMENTS = 4096
"""Parts of one message of a WebSocket; a library that sends a megabyte in parts of a kilobyte sends 1024."""
CONTROL_PER_S, CONTROL_AT_ONCE = 10, 50
"""Pings and pongs of a WebSocket that are taken; libraries send one in 20 s."""

Phase = Literal["headers", "body"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorLimits:
    """What is asked of connections.

    Attributes:
        most: Connections at a time.
        most_per_address: Those of one client address.
        handshake_s: Time for the TLS handshake, s.
        headers_s: Time for the headers of a request, from the connection or their first byte, s.
        body_s: Time for the body of a request, s; one that comes at :data:`BODY_BYTES_PER_S` has as much again, and so
            on.
        stall_s: How long a client may take nothing of an answer that waits for it, s.
    """

    most: int = 512
    most_per_address: int = 256
    handshake_s: float = 10.0
    headers_s: float = 10.0
    body_s: float = 30.0
    stall_s: float = 30.0


class Door:
    """All connections of a server.

    It accepts them itself: uvicorn would count none before its TLS handshake, for which asyncio gives a minute.

    Args:
        limits: What is asked of them.
        tls: For https, else None.
    """

    def __init__(self, limits: DoorLimits, tls: ssl.SSLContext | None = None) -> None:
        self.limits = limits
        self._tls = tls
        self._visits: dict[Visit, None] = {}  # in the order in which they came
        self._complained_s: float | None = None

    def __len__(self) -> int:
        return len(self._visits)

    async def open(self, listening: socket.socket, config: Config, state: ServerState) -> None:
        """Accept connections on a socket that listens, for an application of uvicorn.

        Cancelled by: the server's end; connections that are there stay until :meth:`close`.
        """
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:  # no descriptors or buffers left, or the client has gone again
                self._complain(f"connections cannot be accepted: {error.strerror or error}")
                await asyncio.sleep(_BREATH_S)
                continue
            visit = Visit(self, address_of(peer[0] if peer else ""))
            if self._enter(visit):
                visit.receiving = loop.create_task(self._receive(visit, connection, config, state), name="receive")
                continue
            if self._tls is None:
                with contextlib.suppress(OSError):
                    connection.send(_CROWDED)
            connection.close()

    def close(self) -> None:
        """Cut whoever is still there. Safe twice."""
        for visit in tuple(self._visits):
            visit.drop()

    async def _receive(self, visit: Visit, connection: socket.socket, config: Config, state: ServerState) -> None:
        secure = {"ssl_handshake_timeout": self.limits.handshake_s} if self._tls is not None else {}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Visitor(visit, config, state), connection, ssl=self._tls, **secure
            )
        except (OSError, RuntimeError, asyncio.CancelledError) as error:  # of TLS, too; or it was dropped
            log.debug("a connection has not come to a request (%s)", type(error).__name__)
            self.leave(visit)
            connection.close()

    def _enter(self, visit: Visit) -> bool:
        """Let a connection in, if need be in place of one that says nothing; False if there is none."""
        of_address = Counter(other.address for other in self._visits)
        share_taken = of_address[visit.address] >= self.limits.most_per_address
        if share_taken or len(self._visits) >= self.limits.most:
            self._complain(f"{len(self._visits)} connections at once: those that say nothing are closed first")
            silent = [v for v in self._visits if v.silent and (v.address == visit.address or not share_taken)]
            if not silent:
                return False
            most = max(of_address[v.address] for v in silent)
            next(v for v in silent if of_address[v.address] == most).drop()
        self._visits[visit] = None
        return True

    def leave(self, visit: Visit) -> None:
        """A connection is gone. Safe twice."""
        self._visits.pop(visit, None)

    def _complain(self, text: str) -> None:
        """Log it, not too often."""
        now_s = time.monotonic()
        if self._complained_s is None or now_s - self._complained_s >= _COMPLAIN_S:
            self._complained_s = now_s
            log.warning("%s", text)


class Visit:
    """One connection as the door sees it, from before its handshake on.

    Args:
        door: The door it came through.
        address: Of the client, see :func:`tolmach.web.security.client_address`.

    Attributes:
        visitor: Its HTTP, once that has begun.
        receiving: What brings it there.
    """

    def __init__(self, door: Door, address: str) -> None:
        self.door = door
        self.address = address
        self.visitor: _Visitor | None = None
        self.receiving: asyncio.Task[None] | None = None

    @property
    def silent(self) -> bool:
        """Whether no whole request of it is being answered."""
        return self.visitor is None or self.visitor.silent

    def drop(self) -> None:
        """End it: somebody else needs the place."""
        self.door.leave(self)
        if self.visitor is not None:
            self.visitor.transport.abort()
        elif self.receiving is not None:
            self.receiving.cancel()


class _Visitor(H11Protocol):
    """uvicorn's HTTP/1.1 with time limits."""

    def __init__(self, visit: Visit, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self.logger = _uvicorn
        self._visit = visit
        self._limits = visit.door.limits
        self._phase: Phase | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._came = 0  # bytes in this time of a body
        self.socket: WebSocketProtocol | None = None

    @property
    def silent(self) -> bool:
        """Whether no whole request is being answered."""
        if self.socket is not None:
            return not self.socket.spoke or self.socket.close_sent
        answered = self.cycle is None or self.cycle.response_complete
        return answered or self.conn.their_state is h11.SEND_BODY

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """The headers may come now."""
        super().connection_made(transport)
        self._visit.visitor = self
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._visit.door.leave(self._visit)
        self._set(None)
        self._stop_stalled()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; see whether that has brought the request any further."""
        self._came += len(data)
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """The next request may come."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self._limits.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._stop_stalled()

    def _should_upgrade(self) -> bool:
        # Asked for anything else, uvicorn would warn twice, and log the path with its query.
        return self.ws_protocol_class is not None and self._get_upgrade() == b"websocket"

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Give the connection to its WebSocket; the door counts it until that has ended."""
        self._set(None)
        self._stop_stalled()
        super().handle_websocket_upgrade(event)
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, WebSocketProtocol)  # noqa: S101 -- as the server configures uvicorn
        self.socket = protocol
        protocol.visited(self._visit)

    def _stop_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _look(self) -> None:
        """What is waited for now; the time for it runs from when that began, however much trickles in."""
        if self.socket is not None:
            return  # it has its own limits, and no request that could be late
        state = self.conn.their_state
        if state is h11.IDLE and self.timeout_keep_alive_task is None:  # else uvicorn's own time runs
            self._set("headers")
        else:
            self._set("body" if state is h11.SEND_BODY else None)

    def _set(self, phase: Phase | None) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        self._came = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if phase is not None:
            limit_s = self._limits.headers_s if phase == "headers" else self._limits.body_s
            self._timer = self.loop.call_later(limit_s, self._too_late)

    def _too_late(self) -> None:
        if self.transport.is_closing():
            return
        fast = self._came >= self._limits.body_s * BODY_BYTES_PER_S
        if self._phase == "body" and fast and not self.cycle.response_started:
            self._phase = None
            self._set("body")
            return
        begun = bool(self.conn.trailing_data[0]) if self._phase == "headers" else not self.cycle.response_started
        if begun:  # else nothing was asked, or it was answered before its end
            self.transport.write(_TOO_LATE)
        self.transport.close()
        self.loop.call_later(_CLOSE_S, self.transport.abort)  # of a closed one it does nothing


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, counted by the door, and cut where a client does not read.

    Who is not let in is told so in the answer to its handshake; what is let in has its own limits, see the doors.

    uvicorn stops reading the connection while a message waits for the application. What was read before that is read on
    in small pieces here, and only as the application takes messages: a quarter of a megabyte may hold forty thousand of
    them, which would hold up everybody else for a second.

    Attributes:
        spoke: Whether a message has come; until then it may have to make way for others.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _websockets  # its own would be told the path with its query, where a token may stand
        # The library would write whole requests to the log, with their tokens.
        self.conn.logger, self.conn.debug = _websockets, False
        self.spoke = False
        self._visit: Visit | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._unread = bytearray()
        self._control_left = Allowance(CONTROL_PER_S, CONTROL_AT_ONCE)
        self._heard = False  # since the last ping

    def visited(self, visit: Visit) -> None:
        """Belong to a visit: it ends with the connection."""
        self._visit = visit

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the door."""
        if self._visit is not None:
            self._visit.door.leave(self._visit)
        self._stop_stalled()
        self._unread.clear()
        super().connection_lost(exc)

    # In -----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on, as far as the application has taken what came before."""
        self._heard = True
        self._unread += data
        self._read_on()

    def _read_on(self) -> None:
        while self._unread and not self.read_paused and not self.transport.is_closing():
            piece = bytes(self._unread[:_PIECE])
            del self._unread[:_PIECE]
            super().data_received(piece)

    async def receive(self) -> ASGIReceiveEvent:
        """The next message; what was read with it is read on when all before it was taken."""
        message = await super().receive()
        self._read_on()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message; once it is the close, nothing holds up the reading any more."""
        await super().send(message)
        if message["type"] == "websocket.close":
            self._cut_soon()
        self._read_on()

    def send_receive_event_to_app(self) -> None:
        """A message is whole."""
        self.spoke = True
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        """A part of a message. Empty ones are within its size, however many they are."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(1009, "too many fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, unless the client does not read what it was sent."""
        output = self.conn.data_to_send()
        if self._too_much_control():
            return
        if self.writable.is_set():
            self.transport.write(b"".join(output))

    def handle_pong(self, event: Frame) -> None:
        """Take note of a sign of life."""
        if not self._too_much_control():
            super().handle_pong(event)

    def _too_much_control(self) -> bool:
        if self._control_left.take():
            return False
        self._fail(1008, "too many pings")
        return True

    def _fail(self, code: int, reason: str) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.conn.fail(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self._unread.clear()
            self.transport.close()
            self._cut_soon()

    def _cut_soon(self) -> None:
        """Both have said the last they will; a client that does not take it is not waited for."""
        self.loop.call_later(self.close_timeout + _CLOSE_S, self.transport.abort)  # of a closed one it does nothing

    # Out, and signs of life ---------------------------------------------------------------------------------------

    def send_keepalive_ping(self) -> None:
        """Ask for a sign of life."""
        self._heard = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """No pong has come in time. It may lie behind audio that we do not take, or is still to come."""
        if not (self.read_paused or self._heard):
            super().keepalive_timeout()
            self._cut_soon()
            return
        self.pong_timer = None
        self.pending_ping_payload = None
        if not self.close_sent and not self.transport.is_closing():
            self.schedule_ping()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self._stalled is None and self._visit is not None:
            self._stalled = self.loop.call_later(self._visit.door.limits.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._stop_stalled()

    def _stop_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def raise_descriptors() -> int | None:
    """Ask for as many file descriptors as a busy server may need.

    Returns:
        How many there may be; None where there is no such limit (Windows).
    """
    try:
        import resource
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says that there is no limit and refuses more than OPEN_MAX, 10240.
    for wanted in (DESCRIPTORS, 10_240):
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if allowed <= soft:
            continue
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        except (ValueError, OSError):
            continue
        return allowed
    return soft


def _closing_answer(error: ApiError) -> bytes:
    """An answer for which no application is needed, as it goes over the wire; the connection closes with it."""
    response = error_response(error)
    response.headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {error.status_code} {_REASONS[error.status_code]}".encode()]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])


_REASONS = {408: "Request Timeout", 503: "Service Unavailable"}
_TOO_LATE = _closing_answer(ApiError(408, "too-late", "the request took too long to come"))
_CROWDED = _closing_answer(ApiError(503, "busy", "too many connections at once; try again in a moment", 5))
