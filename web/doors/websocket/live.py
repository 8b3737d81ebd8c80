"""docs/LIVE.md over a WebSocket: what the page says and hears where no UDP gets through.

Text messages are those of the data channel, in both directions. Binary messages are PCM, 16 bit, mono: what the client
speaks at the rate it has said, what it hears at 48 kHz, 20 ms each, in real time. Silence is not sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from tolmach.transports.webrtc.guards import Allowance
from tolmach.transports.webrtc.outgoing.sender import OutgoingPacket
from tolmach.transports.webrtc.signalling import messages
from tolmach.transports.websocket.pcm_peer import PcmPeer, Socket
from tolmach.web.doors.websocket.hello import Hello

__all__ = ["LivePeer"]

PING_S = 1.0
"""Time between pings; a client that hears none for some seconds looks for another way."""
VANISH_S = 10.0
"""Silence after which a client counts as gone. TCP repeats what is lost after 1, 2 and 4 s (RFC 6298): longer than
WebRTC waits."""
MESSAGES_PER_S, MESSAGES_AT_ONCE = 50, 200
"""Text messages taken, as over a data channel."""


class LivePeer(PcmPeer):
    """A client of this dialect.

    Args:
        socket: Accepted already.
        hello: What it has said.
        idle_s: When who sends no audio at all is hung up on, s.
        speaks: Whether it sends audio.

    Attributes:
        refused_messages: Those that could not be read, or came too fast.
    """

    def __init__(self, socket: Socket, hello: Hello, *, idle_s: float | None = None, speaks: bool = True) -> None:
        super().__init__(socket, idle_s=idle_s, speaks=speaks)
        self.rate_hz = hello.rate_hz
        self.channels = hello.channels
        self.refused_messages = 0
        self._texts_left = Allowance(MESSAGES_PER_S, MESSAGES_AT_ONCE)
        self._heard_text_s = 0.0
        self._pings = 0
        self._pinged_s = 0.0
        self._round_trip_ms: float | None = None

    def begin(self) -> None:
        """It is there, and can be told; from now on it must show signs of life."""
        super().begin()
        self._heard_text_s = asyncio.get_running_loop().time()
        self._tasks.append(asyncio.create_task(self._keep_in_touch(), name="live-ping"))

    async def heard(self, text: str) -> None:
        """Take a message of text; what cannot be read is counted."""
        self._heard_text_s = asyncio.get_running_loop().time()
        if not self._texts_left.take():
            self.refused_messages += 1
            return
        try:
            message = messages.decode(text)
        except messages.MessageError:
            self.refused_messages += 1
            return
        kind = message["type"]
        if kind == "ping":
            self.post(messages.pong(message))
        elif kind == "pong":
            self._ponged(message.get("number"))
        elif kind == "bye":
            self.said_goodbye = True
            self.hang_up("the client said goodbye")
        elif kind == "flush":
            await self.receiver.flush()
        else:
            self.said(message)

    def play(self, packet: OutgoingPacket) -> None:
        """Send sound as it is due."""
        if packet.samples is not None:
            self.post((np.clip(packet.samples, -1, 1) * 32767).astype("<i2").tobytes())

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> bool:
        """Send a message of docs/LIVE.md."""
        # Before that it is greeted, which tells all there is.
        return self.opened.is_set() and self.post(messages.encode(kind, **fields), ephemeral=ephemeral)

    def last_words(self, reason: str) -> None:
        """Say why."""
        self.post(messages.encode("bye", reason=reason))

    async def round_trip_ms(self) -> float | None:
        """From a ping to its answer, ms; None before the first."""
        return self._round_trip_ms

    def _ponged(self, number: object) -> None:
        if number == self._pings:
            self._round_trip_ms = round((asyncio.get_running_loop().time() - self._pinged_s) * 1000, 1)

    async def _keep_in_touch(self) -> None:
        """Ping, and hang up on a client that is not there any more; it may resume."""
        loop = asyncio.get_running_loop()
        silent_s, heard = 0.0, (-1.0, -1)
        while not self.closed.is_set():
            self._pings += 1
            self._pinged_s = loop.time()
            self.post(messages.encode("ping", number=self._pings), ephemeral=True)
            await asyncio.sleep(PING_S)
            now = (self._heard_text_s, self.receiver.media_samples)
            # Rounds are counted, not the clock: after a stall of ours what came is still unread, and so it is while the
            # client is held back.
            silent_s = 0.0 if now != heard or self.receiver.full else silent_s + PING_S
            heard = now
            if silent_s >= VANISH_S:
                self.hang_up(f"nothing was heard of the client for {VANISH_S:g} s")
