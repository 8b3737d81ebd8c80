"""The sending end: one Opus packet every 20 ms on a monotonic clock.

What waits to be played belongs to the line and outlives a connection; each connection reads it through a
:class:`PacketStream` of its own, with a schedule and an encoder that begin afresh.

Packet *n* is due at ``start + n * 20 ms``, whenever the one before it was sent, so that no delay adds up. After a stall
of the event loop the packets that are overdue go out at once as far as there is audio for them; where there is none the
RTP timestamp jumps instead. Either way the peer's clock and ours agree again, and latency is what the queue holds.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from tolmach.pipelines.frames import NS_PER_S, Samples
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, RTP_RATE_HZ, SILENCE, OpusEncoder
from tolmach.transports.webrtc.outgoing.playout import Playout

_ENCODED_SILENCE = 10
"""Frames of silence that are encoded after sound, which lets the encoder look ahead (6.5 ms) and fade its filters;
later ones are sent without running it, at half the cost of a silent session."""
UTTERANCE_BOUND_S = 30
"""Speech that may wait to be played; a synthesiser further ahead is held back."""


OnSent = Callable[[Samples, bytes, int], None]
"""Takes what was put into a packet, float32[960], mono, 48 kHz; the packet's payload; and when it was due, ns on the
monotonic clock (a stall delays the packet, but not its time in the stream)."""


class SenderClosed(Exception):  # noqa: N818 -- a state, as asyncio.CancelledError is
    """No packet will follow."""


@dataclass(frozen=True, slots=True)
class OutgoingPacket:
    """What goes into one RTP packet.

    Attributes:
        payload: 20 ms of Opus.
        timestamp: RTP time from the start of the stream, samples at 48 kHz, not wrapped.
        samples: The same 20 ms as they were before, float32[960], mono, 48 kHz, for peers that take no Opus; None for
            silence.
        ends: Whether the speech of an utterance is complete with it.
    """

    payload: bytes
    timestamp: int
    samples: Samples | None = None
    ends: bool = False


class PacketReader(Protocol):
    """The packets of one connection.

    Attributes:
        closed: Set when no packet will follow.
    """

    closed: asyncio.Event

    async def next_packet(self) -> OutgoingPacket:
        """The next packet when it is due. Raises SenderClosed when there will be none. Cancelled by: the reader."""


class PacketSource(Protocol):
    """What a connection plays.

    A :class:`Sender`, which one connection hears at a time, or what many hear
    (:class:`~tolmach.transports.webrtc.outgoing.broadcast.Broadcast`).
    """

    def stream(self, *, paced: bool = True) -> PacketReader:
        """The packets for a new connection.

        Args:
            paced: Whether they come in real time, which what many hear always does; see :meth:`Sender.stream`.
        """

    def end_stream(self, stream: Any) -> None:
        """The connection of this stream, which :meth:`stream` has made, is gone. Safe twice."""


class Schedule:
    """When packets are due. Pure; the clock is the caller's."""

    def __init__(self) -> None:
        self._start_ns: int | None = None
        self._number = 0

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next packet is due, ns; 0 or less when it is."""
        if self._start_ns is None:
            self._start_ns = now_ns
        return self.due_ns - now_ns

    @property
    def due_ns(self) -> int:
        """When the next packet is due, ns; once :meth:`wait_ns` has set the start."""
        return (self._start_ns or 0) + self._number * FRAME_NS

    def skip_overdue(self, now_ns: int) -> int:
        """Give up the packets whose time a stall has passed, except the latest; returns how many."""
        overdue = max(0, -self.wait_ns(now_ns) // FRAME_NS)
        self._number += overdue
        return overdue

    def take(self) -> int:
        """The next packet's timestamp, samples; the schedule moves on."""
        self._number += 1
        return (self._number - 1) * FRAME_SAMPLES


class Sender:
    """Audio in, packets out at their time.

    Args:
        cushion_ms: Audio kept in reserve for the next stall, ms.
        clock: Monotonic clock, ns.

    Attributes:
        listeners: Told of every packet with sound in it.
        sent: Packets sent.
    """

    def __init__(self, *, cushion_ms: int = 20, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.clock = clock
        self.listeners: list[OnSent] = []
        self.sent = 0
        self.skipped = 0
        self._playout = Playout(cushion_ms=cushion_ms)
        self._stream: PacketStream | None = None
        self._read = asyncio.Event()  # set at each read, for those who wait for room
        self._wrote = asyncio.Event()  # set when there is more to read, for a stream that is not paced
        self._ends: deque[int] = deque()  # samples written when an utterance was complete
        self._ended_at = 0
        self._marks: deque[tuple[int, Callable[[int], None]]] = deque()  # samples written, what to call when played
        self.closed = asyncio.Event()

    def configure(self, *, cushion_ms: int) -> None:
        """Set the cushion."""
        self._playout.configure(cushion_ms=cushion_ms)

    # What is to be played -----------------------------------------------------------------------------------------

    def write_live(self, samples: Samples) -> None:
        """Append live audio, float32[n], mono, 48 kHz; never waits, the oldest is dropped instead."""
        if not self.closed.is_set():
            self._playout.write(samples, live=True)
            self._wrote.set()

    async def write_utterance(self, samples: Samples) -> None:
        """Append speech, float32[n], mono, 48 kHz; waits for room.

        Cancelled by: the writer. Returns at once when the sender is closed.
        """
        while not self.closed.is_set() and self._playout.depth > UTTERANCE_BOUND_S * RTP_RATE_HZ:
            await self._after_read()
        if not self.closed.is_set():
            self._playout.write(samples, live=False)
            self._wrote.set()

    def end_utterance(self) -> None:
        """The speech written so far is complete."""
        self._playout.end()
        if self._playout.written > self._ended_at:
            self._ended_at = self._playout.written
            self._ends.append(self._ended_at)
        self._wrote.set()

    def when_played(self, call: Callable[[int], None]) -> None:
        """Call ``call(now_ns)`` when the next sample to be written goes out; never, if it is thrown away."""
        self._marks.append((self._playout.written, call))

    @property
    def written(self) -> int:
        """Samples written since the start; a mark for :meth:`drained`."""
        return self._playout.written

    async def drained(self, mark: int) -> None:
        """Wait until everything up to ``mark`` was sent; does not wait while no peer is there to hear it."""
        while not self.closed.is_set() and self._stream is not None and self._playout.consumed < mark:
            await self._after_read()

    def clear(self) -> int:
        """Throw away what waits to be played (the user interrupts); returns samples thrown."""
        self._marks.clear()
        self._ends.clear()
        return self._playout.clear()

    def close(self) -> None:
        """Nothing more will be sent; all who wait return."""
        self.closed.set()
        self.clear()
        self._end_stream()

    # Who plays it -------------------------------------------------------------------------------------------------

    def stream(self, *, paced: bool = True) -> PacketStream:
        """The packets for a new connection. It plays from its first packet on, which ends the stream before it.

        Args:
            paced: Whether a packet comes every 20 ms; else they come as fast as there is sound for them, and none for
                silence: for a client that plays what it was sent by its own clock.
        """
        return PacketStream(self, self.clock, paced=paced)

    def begin_stream(self, stream: PacketStream) -> None:
        """A connection asks for its first packet: it is the one that plays now; for the stream."""
        if self.closed.is_set():
            stream.close()
        else:
            self._end_stream()
            self._stream = stream

    def end_stream(self, stream: PacketStream) -> None:
        """The connection of this stream is gone; what waits stays for the next one. Safe twice."""
        if stream is self._stream:
            self._end_stream()
        stream.close()

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._read.set()

    @property
    def ready(self) -> bool:
        """Whether there is a whole frame to send now."""
        return self._playout.ready

    @property
    def finishing(self) -> bool:
        """Whether there is less than a frame to send, and no more will follow it soon."""
        return self._playout.finishing

    def wake(self) -> None:
        """A stream was closed: let it see that, should it wait for more."""
        self._wrote.set()

    async def more(self) -> None:
        """Wait until something was written, or an utterance ended. Cancelled by: who waits; for a stream."""
        self._wrote.clear()
        await self._wrote.wait()

    def read(self) -> Samples | None:
        """The next 20 ms, float32[960], or None for silence; for the stream."""
        samples = self._playout.read()
        self._read.set()
        now_ns = self.clock()
        while self._marks and self._marks[0][0] < self._playout.consumed:
            self._marks.popleft()[1](now_ns)
        return samples

    def passed_end(self) -> bool:
        """Whether an utterance was complete with what was read last; for the stream."""
        passed = False
        while self._ends and self._ends[0] <= self._playout.consumed:
            self._ends.popleft()
            passed = True
        return passed

    async def _after_read(self) -> None:
        self._read.clear()
        await self._read.wait()

    @property
    def depth_ms(self) -> float:
        """Audio that waits to be played, ms."""
        return self._playout.depth * 1000 / RTP_RATE_HZ

    def stats(self) -> dict[str, int | float]:
        """Counters and the present state, for people and metrics; units stand in the names."""
        return {
            **asdict(self._playout.stats),
            "sent": self.sent,
            "skipped": self.skipped,
            "depth_ms": round(self.depth_ms, 3),
        }


class PacketStream:
    """The packets of one connection; made by :meth:`Sender.stream`."""

    def __init__(self, sender: Sender, clock: Callable[[], int], *, paced: bool = True) -> None:
        self.closed = asyncio.Event()
        self._paced = paced
        self._sender = sender
        self._clock = clock
        self._schedule = Schedule()
        self._encoder: OpusEncoder | None = None  # made with the first sound, for most of a session is silent
        self._silent_frames = _ENCODED_SILENCE + 1  # in a row
        self._begun = False

    def close(self) -> None:
        """No packet will follow."""
        self.closed.set()
        self._sender.wake()
        # At once: PyAV gives an encoder a thread a core, and these should not wait for the garbage collector.
        self._encoder = None

    async def next_packet(self) -> OutgoingPacket:
        """The next packet when it is due; silence when there is nothing to say.

        Raises:
            SenderClosed: If the sender was closed, or the stream ended.
        """
        if not self._begun and not self.closed.is_set():
            self._begun = True
            self._sender.begin_stream(self)
        if not self._paced:
            return await self._next_sound()
        while not self.closed.is_set():
            now_ns = self._clock()
            wait_ns = self._schedule.wait_ns(now_ns)
            if wait_ns <= 0:
                if not self._sender.ready:
                    self._sender.skipped += self._schedule.skip_overdue(now_ns)
                return self._packet(self._schedule.due_ns)
            try:
                async with asyncio.timeout(wait_ns / NS_PER_S):
                    await self.closed.wait()
            except TimeoutError:
                continue
        raise SenderClosed

    async def _next_sound(self) -> OutgoingPacket:
        """The next packet as soon as there is sound for it."""
        sender = self._sender
        while not self.closed.is_set():
            if not (sender.ready or sender.finishing):
                if sender.passed_end():  # all of it was read before that was known
                    return OutgoingPacket(b"", self._schedule.take(), ends=True)
                await sender.more()
                continue
            await asyncio.sleep(0)  # speech that waits here by the half minute is not to hold up the loop
            if not self.closed.is_set() and (sender.ready or sender.finishing):
                return self._packet(self._clock())
        raise SenderClosed

    def _packet(self, due_ns: int) -> OutgoingPacket:
        samples = self._sender.read()
        payload = self._encode(samples)
        if samples is not None:
            for listener in self._sender.listeners:
                listener(samples, payload, due_ns)
        self._sender.sent += 1
        return OutgoingPacket(payload, self._schedule.take(), samples, self._sender.passed_end())

    def _encode(self, samples: Samples | None) -> bytes:
        self._silent_frames = 0 if samples is not None else self._silent_frames + 1
        if self._silent_frames > _ENCODED_SILENCE:
            # The silence packets are none of the encoder's: the next sound begins afresh, as the decoder does.
            self._encoder = None
            return SILENCE
        if self._encoder is None:
            self._encoder = OpusEncoder()
        return self._encoder.encode(np.zeros(FRAME_SAMPLES, np.float32) if samples is None else samples)
