"""Who is at the other end of a live session: what a line and a server ask of any connection, whatever its protocol.

A WebRTC connection (:mod:`tolmach.transports.webrtc.connection`) is a peer, and so is a WebSocket over which PCM comes
and goes (:mod:`tolmach.transports.websocket`). A graph sees neither: it has the session's line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tolmach.pipelines.frames import AudioFrame
from tolmach.transports.webrtc.incoming.jitter import JitterSettings
from tolmach.transports.webrtc.outgoing.sender import PacketSource

__all__ = ["AudioInput", "OnMessage", "OnPeer", "Peer", "first_of"]

OnMessage = Callable[[Mapping[str, Any]], None]
OnPeer = Callable[["Peer"], None]


class AudioInput(Protocol):
    """What a peer says, as frames of one stream.

    Media time of a stream begins at 0 and is a count of samples.
    """

    def configure(self, settings: JitterSettings) -> None:
        """Set how long late audio is waited for, where the protocol has such a thing."""

    async def read(self) -> AudioFrame | None:
        """The next piece, float32, mono, 48 kHz, when it is due; None if the stream has ended or was interrupted.

        Cancelled by: the reader; nothing is lost by it.
        """

    def interrupt(self) -> None:
        """Make the :meth:`read` under way, or else the next one, give None."""

    @property
    def ended(self) -> bool:
        """Whether nothing will follow what was read, while the peer may still listen: the graph is to finish then."""

    @property
    def transit_ns(self) -> int:
        """Arrival less media time of undisturbed audio, ns: what ties the peer's clock to ours."""

    def media_now_ns(self) -> int:
        """Media time at this moment at the peer, ns, as far as it can be known here; 0 before it begins."""

    @property
    def overflowed(self) -> int:
        """Pieces thrown away because nobody read in time."""

    def stats(self) -> dict[str, int | float]:
        """Counters and the present state; units stand in the names, and names that end in ``_ms`` are of the moment."""


class Peer(Protocol):
    """A connection on a line.

    Attributes:
        connected: Set when somebody is there in fact: from then on it holds one of the server's places.
        opened: Set when it can be told something.
        closed: Set when it is over.
        close_reason: Why, for people.
        plays_on_time: Whether it plays what it hears when it comes, so that its microphone can be searched for it; who
            plays by a clock of its own has to see to that echo itself.
        said_goodbye: Whether the client means to stay away; else the session waits for it to come back.
    """

    connected: asyncio.Event
    opened: asyncio.Event
    closed: asyncio.Event
    close_reason: str
    plays_on_time: bool
    said_goodbye: bool

    @property
    def receiver(self) -> AudioInput:
        """What it says."""

    def seated(self, sender: PacketSource, on_open: OnPeer | None, on_close: OnPeer | None) -> None:
        """Take a place on a line; called once, before anything else.

        Args:
            sender: What it is to hear; it reads a stream of its own from it, and does not close it.
            on_open: To be called when it can be told something.
            on_close: To be called once, when it begins to close, whoever closes it.
        """

    def listen(self, on_message: OnMessage) -> None:
        """Call ``on_message`` for what the client asks in words of docs/LIVE.md (``{"type": "clear"}``)."""

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> bool:
        """Say something in words of docs/LIVE.md; each protocol says it in its own way, or not at all.

        Args:
            kind: Type of the message.
            fields: What it says; plain JSON values.
            ephemeral: Whether it is of the moment, and not worth sending to a client that is far behind.

        Returns:
            Whether it will be sent.
        """

    async def flushed(self) -> None:
        """Wait until what was to be sent is on its way, or the connection is closed. Cancelled by: who waits."""

    def hang_up(self, reason: str) -> None:
        """Begin to end it; :meth:`close` also waits for that. Safe twice."""

    async def close(self, reason: str = "closed by the server") -> None:
        """End it; safe twice and from several tasks. Returns when everything is released."""

    async def round_trip_ms(self) -> float | None:
        """Round trip to the client, ms; None where it is not known."""


async def first_of(*events: asyncio.Event) -> None:
    """Wait for any of some events, as of a peer that is connected or has closed. Cancelled by: who waits."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
