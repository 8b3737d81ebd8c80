"""The sending end: one Opus packet every 20 ms on a monotonic clock.

Packet *n* is due at ``start + n * 20 ms``, whenever the one before it was sent, so that no delay adds up. After a stall
of the event loop the packets that are overdue go out at once as far as there is audio for them; where there is none the
RTP timestamp jumps instead. Either way the peer's clock and ours agree again, and latency is what the queue holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from pipelines.frames import NS_PER_S, Samples
from transports.webrtc.opus import SILENCE, OpusEncoder
from transports.webrtc.playout import Playout
from transports.webrtc.rtp import FRAME_NS, FRAME_SAMPLES, RTP_RATE_HZ

_ENCODED_SILENCE = 10
"""Frames of silence that are encoded after sound, which lets the encoder look ahead (6.5 ms) and fade its filters;
later ones are sent without running it, at half the cost of a silent session."""
UTTERANCE_BOUND_S = 30
"""Speech that may wait to be played; a synthesiser further ahead is held back."""


class SenderClosed(Exception):  # noqa: N818 -- a state, as asyncio.CancelledError is
    """No packet will follow."""


@dataclass(frozen=True, slots=True)
class OutgoingPacket:
    """What goes into one RTP packet.

    Attributes:
        payload: 20 ms of Opus.
        timestamp: RTP time from the start of the stream, samples at 48 kHz, not wrapped.
    """

    payload: bytes
    timestamp: int


class Schedule:
    """When packets are due. Pure; the clock is the caller's.

    Attributes:
        skipped: Packets that were not sent because a stall had passed their time.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._start_ns: int | None = None
        self._number = 0

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next packet is due, ns; 0 or less when it is."""
        if self._start_ns is None:
            self._start_ns = now_ns
        return self._start_ns + self._number * FRAME_NS - now_ns

    def skip_overdue(self, now_ns: int) -> None:
        """Give up the packets whose time is over, except the latest."""
        overdue = -self.wait_ns(now_ns) // FRAME_NS
        if overdue > 0:
            self._number += overdue
            self.skipped += overdue

    def take(self) -> int:
        """The next packet's timestamp, samples; the schedule moves on."""
        self._number += 1
        return (self._number - 1) * FRAME_SAMPLES


class Sender:
    """Audio in, packets out at their time.

    Args:
        cushion_ms: Audio kept in reserve for the next stall, ms.
        clock: Monotonic clock, ns.
    """

    def __init__(self, *, cushion_ms: int = 20, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._playout = Playout(cushion_ms=cushion_ms)
        self._schedule = Schedule()
        self._encoder = OpusEncoder()
        self._read = asyncio.Event()  # set at each read, for those who wait for room
        self._closed = asyncio.Event()
        self._silent_frames = _ENCODED_SILENCE  # in a row
        self.sent = 0

    def configure(self, *, cushion_ms: int) -> None:
        """Set the cushion; what waits to be played is thrown away."""
        self._playout = Playout(cushion_ms=cushion_ms)

    def write_live(self, samples: Samples) -> None:
        """Append live audio, float32[n], mono, 48 kHz; never waits, the oldest is dropped instead."""
        if not self._closed.is_set():
            self._playout.write(samples, live=True)

    async def write_utterance(self, samples: Samples) -> None:
        """Append speech, float32[n], mono, 48 kHz; waits for room.

        Cancelled by: the writer. Returns at once when the sender is closed.
        """
        while not self._closed.is_set() and self._playout.depth > UTTERANCE_BOUND_S * RTP_RATE_HZ:
            await self._after_read()
        if not self._closed.is_set():
            self._playout.write(samples, live=False)

    def end_utterance(self) -> None:
        """The speech written so far is complete."""
        self._playout.end()

    async def drained(self) -> None:
        """Wait until everything was sent, or the sender was closed."""
        self._playout.end()
        while not self._closed.is_set() and self._playout.depth:
            await self._after_read()

    def clear(self) -> int:
        """Throw away what waits to be played (the user interrupts); returns samples thrown."""
        return self._playout.clear()

    def close(self) -> None:
        """Nothing more will be sent; all who wait return."""
        self._closed.set()
        self._playout.clear()
        self._read.set()

    async def next_packet(self) -> OutgoingPacket:
        """The next packet when it is due; silence when there is nothing to say.

        Raises:
            SenderClosed: If the sender was closed.
        """
        while not self._closed.is_set():
            now_ns = self._clock()
            wait_ns = self._schedule.wait_ns(now_ns)
            if wait_ns <= 0:
                if not self._playout.ready:
                    self._schedule.skip_overdue(now_ns)
                samples = self._playout.read()
                self._read.set()
                return OutgoingPacket(self._encode(samples), self._schedule.take())
            try:
                async with asyncio.timeout(wait_ns / NS_PER_S):
                    await self._closed.wait()
            except TimeoutError:
                continue
        raise SenderClosed

    def _encode(self, samples: Samples | None) -> bytes:
        self.sent += 1
        if samples is None and self._silent_frames >= _ENCODED_SILENCE:
            self._silent_frames += 1
            return SILENCE
        if samples is None:
            self._silent_frames += 1
            return self._encoder.encode(np.zeros(FRAME_SAMPLES, np.float32))
        if self._silent_frames > _ENCODED_SILENCE:
            # The silence packets were none of the encoder's: begin afresh, as the decoder does after them.
            self._encoder = OpusEncoder()
        self._silent_frames = 0
        return self._encoder.encode(samples)

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
            "skipped": self._schedule.skipped,
            "depth_ms": round(self.depth_ms, 3),
        }
