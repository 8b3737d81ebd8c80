"""A client on a session's line that speaks and hears PCM over a WebSocket: what all such protocols have in common.

A door (:mod:`tolmach.web.doors`) makes a subclass for its protocol: how audio and messages are written. It reads the
socket itself, and hands what was said to :attr:`PcmPeer.receiver`::

    socket ── door's loop ──► receiver ──► Line
       ▲                                    │
       └── outbox ◄── play(), tell() ◄──────┘

Everything that goes out passes one bounded outbox in order. Who does not take what it is told is hung up on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from tolmach.transports.peer import OnMessage, OnPeer, first_of
from tolmach.transports.webrtc.guards import Allowance
from tolmach.transports.webrtc.outgoing.sender import OutgoingPacket, PacketReader, PacketSource, SenderClosed
from tolmach.transports.websocket.pcm_receiver import PcmReceiver

__all__ = ["MAX_UNSENT", "MAX_UNSENT_NEWS", "PcmPeer", "Socket"]

log = logging.getLogger(__name__)

MAX_UNSENT = 8 * 2**20
"""Bytes that may wait for a client: a minute and a half of 48 kHz audio. Who lets this much wait is not reading."""
MAX_UNSENT_NEWS = 262_144
"""Bytes that wait, above which what is of the moment (``ephemeral``) is not worth sending any more."""
_FLUSH_S = 2.0
"""How long the last messages may take before a connection is closed; also how long its closing may take."""
MESSAGES_PER_S, MESSAGES_AT_ONCE = 500, 1000
"""Messages read: ten times real time in pieces of 20 ms. Who sends more is read more slowly."""
_READ_IN_TURN = 8
"""Messages read in one turn of the loop: many small ones are there at once."""
_IDLE_CHECK_S = 5.0


class Socket(Protocol):
    """What is asked of a WebSocket; Starlette's is one."""

    async def send_text(self, data: str) -> None:
        """Send a message of text; waits while the client does not read."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message; waits while the client does not read."""

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Say that nothing will follow."""


class PcmPeer:
    """A :class:`~tolmach.transports.peer.Peer` over a WebSocket; a base class.

    It takes one of the server's places with the first audio it sends. Until then it waits beside them and makes way for
    others, as who has posted an offer and is not connected yet. Who only listens has its place from the begin.

    Make it inside a running event loop, let it join a session, :meth:`begin`, :meth:`close` it in any case. Of a
    subclass are asked :meth:`play`, :meth:`tell` and, where the protocol has them, :meth:`last_words`.

    Args:
        socket: Accepted already.
        paced: Whether what it hears comes in real time; see ``Sender.stream``.
        idle_s: When who sends no audio at all is hung up on, s; None for never.
        speaks: Whether it sends audio; else what it sends is refused.

    Attributes:
        receiver: What it says.
        dropped_messages: Those that were too late to be worth sending.
        close_code: What the WebSocket is closed with (RFC 6455, 7.4.1), 1000 unless a subclass sets another.
    """

    def __init__(self, socket: Socket, *, paced: bool = True, idle_s: float | None = None, speaks: bool = True) -> None:
        self.receiver = PcmReceiver()
        self.speaks = speaks
        self.connected = self.receiver.begun if speaks else asyncio.Event()
        self.plays_on_time = paced
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.close_reason = ""
        self.said_goodbye = False
        self.dropped_messages = 0
        self.close_code = 1000
        self._socket = socket
        self._paced = paced
        self._idle_s = idle_s if speaks else None
        self._gone = False
        self._sender: PacketSource | None = None
        self._packets: PacketReader | None = None
        self._on_open: OnPeer | None = None
        self._on_close: OnPeer | None = None
        self._listeners: list[OnMessage] = []
        self._unsent: deque[str | bytes] = deque()
        self._unsent_size = 0
        self._to_send = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._messages_left = Allowance(MESSAGES_PER_S, MESSAGES_AT_ONCE)
        self._read = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None

    # What a protocol is -------------------------------------------------------------------------------------------

    def play(self, packet: OutgoingPacket) -> None:
        """Take the next 20 ms of what it is to hear, and :meth:`post` them in its way.

        Args:
            packet: Its ``samples`` are float32[960], mono, 48 kHz, or None for silence.
        """
        raise NotImplementedError

    async def ready_for_more(self) -> None:
        """Wait until the client is to be sent more of what it is to hear; awaited before each packet.

        Cancelled by: the end of the connection.
        """

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> bool:
        """Say something in its way, or not at all; see :class:`~tolmach.transports.peer.Peer`."""
        raise NotImplementedError

    def last_words(self, reason: str) -> None:
        """Say why it is hung up on: what is posted here is the last that is sent."""

    # Life ---------------------------------------------------------------------------------------------------------

    def seated(self, sender: PacketSource, on_open: OnPeer | None, on_close: OnPeer | None) -> None:
        """Take a place on a line; see :class:`~tolmach.transports.peer.Peer`."""
        self._sender, self._on_open, self._on_close = sender, on_open, on_close
        self._packets = sender.stream(paced=self._paced)

    def begin(self) -> None:
        """It is there, and can be told: once it has its place on a line, and its session has its graph."""
        if self._closing is not None:
            return
        self._tasks = [
            asyncio.create_task(self._send(), name="pcm-send"),
            asyncio.create_task(self._play(), name="pcm-play"),
        ]
        if self._idle_s is not None:
            self._tasks.append(asyncio.create_task(self._watch(self._idle_s), name="pcm-watch"))
        if not self.speaks:
            self.connected.set()
        self.opened.set()
        if self._on_open is not None:
            self._on_open(self)

    def client_gone(self, reason: str = "the client hung up") -> None:
        """Its socket has closed: nothing can be said any more. Set :attr:`said_goodbye` before, if it will not return.

        Safe twice.
        """
        self._gone = True
        self.hang_up(reason)

    def hang_up(self, reason: str) -> None:
        """Begin to end it; see :class:`~tolmach.transports.peer.Peer`. Safe twice."""
        if self._closing is not None:
            return
        self.close_reason = reason
        if not self._gone:
            self._call_last_words(reason)
        self.receiver.close()
        if self._sender is not None and self._packets is not None:
            self._sender.end_stream(self._packets)
        self.closed.set()
        self._closing = asyncio.create_task(self._release(), name="pcm-close")
        if self._on_close is not None:
            self._on_close(self)

    async def close(self, reason: str = "closed by the server") -> None:
        """End it; safe twice and from several tasks. Returns when everything is released."""
        self.hang_up(reason)
        assert self._closing is not None  # noqa: S101 -- hang_up() made it
        await asyncio.shield(self._closing)

    def _call_last_words(self, reason: str) -> None:
        try:
            self.last_words(reason)
        except Exception:
            log.exception("the last words could not be said")

    async def _release(self) -> None:
        if not self._gone and self._tasks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await self._flushed.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._unsent.clear()
        self._unsent_size = 0
        if not self._gone and self._tasks:  # else who made it says what was wrong, and closes
            with contextlib.suppress(Exception):  # it may be gone by now, in as many ways as there are servers
                async with asyncio.timeout(_FLUSH_S):
                    # At most 123 bytes (RFC 6455, 5.5), and no half a character.
                    short = self.close_reason.encode(errors="replace")[:123].decode(errors="ignore")
                    await self._socket.close(self.close_code, short)

    async def _watch(self, idle_s: float) -> None:
        """Hang up on who says nothing at all: it holds a place."""
        loop = asyncio.get_running_loop()
        heard, since_s = self.receiver.media_samples, loop.time()
        while not self.closed.is_set():
            await asyncio.sleep(min(_IDLE_CHECK_S, idle_s / 4))
            if self.receiver.media_samples != heard or self.receiver.full:
                heard, since_s = self.receiver.media_samples, loop.time()
            elif loop.time() - since_s > idle_s:
                self.hang_up(f"no audio has come for {idle_s / 60:g} minutes")

    # In -----------------------------------------------------------------------------------------------------------

    def listen(self, on_message: OnMessage) -> None:
        """Call ``on_message`` for what the client asks; see :class:`~tolmach.transports.peer.Peer`."""
        self._listeners.append(on_message)

    def said(self, message: Mapping[str, Any]) -> None:
        """The client asks for something, in words of docs/LIVE.md (``{"v": 1, "type": "clear"}``)."""
        for listener in tuple(self._listeners):
            listener(message)

    async def turn(self) -> None:
        """To be awaited by the door before each message it reads: others have their turns, too, however many come.

        Cancelled by: the door.
        """
        self._read += 1
        while not self._messages_left.take():  # noqa: ASYNC110 -- time has no event
            await asyncio.sleep(0.01)
        if self._read % _READ_IN_TURN == 0:
            await asyncio.sleep(0)

    # Out ----------------------------------------------------------------------------------------------------------

    def post(self, data: str | bytes, *, ephemeral: bool = False) -> bool:
        """Put a message into the outbox, behind all that waits there.

        Args:
            data: Text or binary.
            ephemeral: Whether it is of the moment.

        Returns:
            Whether it will be sent: False when the connection is over, or the client is too far behind.
        """
        if self._closing is not None or self._gone:
            return False
        size = len(data)
        if ephemeral and self._unsent_size > MAX_UNSENT_NEWS:
            self.dropped_messages += 1
            return False
        if self._unsent_size + size > MAX_UNSENT:
            self.dropped_messages += 1
            self._unsent.clear()  # or its last words would come after it
            self._unsent_size = 0
            self.hang_up("the client does not take what it is told")
            return False
        self._unsent.append(data)
        self._unsent_size += size
        self._flushed.clear()
        self._to_send.set()
        return True

    async def flushed(self) -> None:
        """Wait until what was to be sent is on its way, or the connection is closed. Cancelled by: who waits."""
        await first_of(self._flushed, self.closed)

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return self._unsent_size

    async def _send(self) -> None:
        """Send what waits in the outbox; the only writer of the socket."""
        try:
            while True:
                while self._unsent:
                    data = self._unsent.popleft()
                    if isinstance(data, str):
                        await self._socket.send_text(data)
                    else:
                        await self._socket.send_bytes(data)
                    self._unsent_size = max(0, self._unsent_size - len(data))
                self._flushed.set()
                self._to_send.clear()
                await self._to_send.wait()
        except Exception as error:  # as many as there are servers: the client is gone
            log.debug("a client could not be told anything more (%s)", type(error).__name__)
            self._flushed.set()
            self.client_gone()

    async def _play(self) -> None:
        packets = self._packets
        if packets is None:
            return
        try:
            while True:
                await self.ready_for_more()
                self.play(await packets.next_packet())
        except SenderClosed:
            return
        except Exception:
            log.exception("audio could not be sent to a client")
            self.hang_up("something went wrong in the server; its log says what")

    # State --------------------------------------------------------------------------------------------------------

    async def round_trip_ms(self) -> float | None:
        """Not known, unless a subclass measures it."""
        return None
