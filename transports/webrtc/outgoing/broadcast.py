"""One sender heard by many: its packets are made once, at their time, and given to every connection that listens.

A :class:`~tolmach.transports.webrtc.outgoing.sender.Sender` is read by one connection, which sets the pace. Here a task
reads it instead, whether anybody listens or not, so that what is said is played, recorded and told as heard at the same
moments with fifty listeners, with one, and with none::

    Speaker ► Sender ► Broadcast ─┬─► BroadcastStream ► a connection
             (one encoder)        ├─► BroadcastStream ► another one
                                  └─► …

A listener begins with the packet that goes out when it asks for its first one: there is no past to catch up with. Who
does not take packets loses them; nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from tolmach.transports.webrtc.outgoing.sender import OutgoingPacket, PacketStream, Sender, SenderClosed

__all__ = ["UNHEARD", "Broadcast", "BroadcastStream", "Unheard"]

log = logging.getLogger(__name__)

MAX_WAITING = 50
"""Packets that wait for one listener: a second. A connection takes each as it comes, so this many wait only when it is
stuck; they are dropped all together then, for what is a second old is better skipped than heard a second late for
ever."""


class BroadcastStream:
    """The packets for one listener; made by :meth:`Broadcast.stream`.

    RTP time is the stream's own: it begins with 0, and where packets were dropped it jumps, as it must.

    Attributes:
        closed: Set when no packet will follow.
        dropped: Packets that came while this listener took none.
    """

    def __init__(self, broadcast: Broadcast) -> None:
        self.closed = asyncio.Event()
        self.dropped = 0
        self._broadcast = broadcast
        self._waiting: deque[OutgoingPacket] = deque()
        self._came = asyncio.Event()
        self._start: int | None = None
        self._begun = False

    async def next_packet(self) -> OutgoingPacket:
        """The next packet when it is due; silence when there is nothing to say.

        Cancelled by: the reader; nothing is lost by it.

        Raises:
            SenderClosed: If the broadcast or this stream was closed.
        """
        if not self._begun:
            self._begun = True
            self._broadcast.begin_stream(self)
        while not self.closed.is_set():
            if self._waiting:
                packet = self._waiting.popleft()
                if self._start is None:
                    self._start = packet.timestamp
                return OutgoingPacket(packet.payload, packet.timestamp - self._start, packet.samples, packet.ends)
            self._came.clear()
            await self._came.wait()
        raise SenderClosed

    def take(self, packet: OutgoingPacket) -> None:
        """Take a packet that is due now; for the broadcast. Never waits."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += len(self._waiting)
            self._waiting.clear()
        self._waiting.append(packet)
        self._came.set()

    def close(self) -> None:
        """No packet will follow."""
        self.closed.set()
        self._waiting.clear()
        self._came.set()


class Broadcast:
    """Plays a sender to any number of listeners. Make it inside the event loop, :meth:`start` and :meth:`close` it.

    While it runs nobody else may read the sender: who reads takes the packets away from the others.

    Args:
        sender: What is heard.

    Attributes:
        dropped: Packets that listeners who have gone did not take.
    """

    def __init__(self, sender: Sender) -> None:
        self.dropped = 0
        self._sender = sender
        self._source: PacketStream | None = None
        self._streams: set[BroadcastStream] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to play. Safe twice."""
        if self._task is None and not self._closed:
            self._source = self._sender.stream()
            self._task = asyncio.create_task(self._play(self._source), name="broadcast")

    def stream(self, *, paced: bool = True) -> BroadcastStream:
        """The packets for a new listener; of those that go out from its first :meth:`~BroadcastStream.next_packet`.

        Args:
            paced: Nobody is faster than the others here: what many hear comes in real time.
        """
        return BroadcastStream(self)

    def begin_stream(self, stream: BroadcastStream) -> None:
        """A listener asks for its first packet; for the stream."""
        if self._closed:
            stream.close()
        elif not stream.closed.is_set():
            self._streams.add(stream)

    def end_stream(self, stream: BroadcastStream) -> None:
        """A listener is gone. Safe twice."""
        if stream in self._streams:
            self._streams.remove(stream)
            self.dropped += stream.dropped
        stream.close()

    def close(self) -> None:
        """End every listener's stream; the sender stays. Safe twice."""
        self._closed = True
        if self._source is not None:
            self._sender.end_stream(self._source)  # which also ends the task
        for stream in tuple(self._streams):
            self.end_stream(stream)

    async def ended(self) -> None:
        """Wait until a broadcast that was closed has let go of everything."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def stats(self) -> dict[str, int | float]:
        """Counters and the present state."""
        return {
            "listening": len(self._streams),
            "dropped": self.dropped + sum(stream.dropped for stream in self._streams),
        }

    async def _play(self, source: PacketStream) -> None:
        try:
            while True:
                packet = await source.next_packet()
                for stream in self._streams:
                    stream.take(packet)
        except SenderClosed:
            pass
        except Exception:  # of whoever is told of packets that are sent
            log.exception("what was to be heard could not be played")
        finally:
            self.close()


class Unheard:
    """A source for a connection that is to hear nothing: a speaker whose translation is for others."""

    def stream(self, *, paced: bool = True) -> _Silence:
        """Packets that never come."""
        return _Silence()

    def end_stream(self, stream: _Silence) -> None:
        """The connection of this stream is gone. Safe twice."""
        stream.closed.set()


class _Silence:
    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def next_packet(self) -> OutgoingPacket:
        await self.closed.wait()
        raise SenderClosed


UNHEARD = Unheard()
"""The only one that is needed, for it has no state."""
