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
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

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
        self.upgraded = False

    @property
    def silent(self) -> bool:
        """Whether no whole request is being answered."""
        if self.upgraded:
            return False
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
        self.upgraded = True
        protocol.visited(self._visit)

    def _stop_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _look(self) -> None:
        """What is waited for now; the time for it runs from when that began, however much trickles in."""
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
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _uvicorn  # its own would be told the path with its query, where a token may stand
        self._visit: Visit | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def visited(self, visit: Visit) -> None:
        """Belong to a visit: it ends with the connection."""
        self._visit = visit

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the door."""
        if self._visit is not None:
            self._visit.door.leave(self._visit)
        self._stop_stalled()
        super().connection_lost(exc)

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
