"""From RTP packets to audio: jitter buffer, decoder and concealment behind one ``await read()``.

There is no task in it: whoever reads drives the schedule, and while nobody reads, packets wait in the jitter buffer,
which is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, AudioFrame, Samples, samples_to_ns
from tolmach.transports.webrtc.incoming.conceal import Concealer
from tolmach.transports.webrtc.incoming.jitter import JitterBuffer, JitterSettings, Release
from tolmach.transports.webrtc.opus import RTP_RATE_HZ, OpusDecoder, Packet, opus_duration

_STALL_NS = 5 * NS_PER_MS
"""How late a reader wakes up on a loop that is merely busy; more is a stall."""
_STALL_TURNS = 16
"""Turns of the loop given to what lies in the socket: asyncio reads one datagram a turn, and each takes a few more
through ICE and DTLS to here."""

_BURST = 4
"""Pieces given in one turn of the loop: each costs its decoding and what the graph does with it, and after a stall, or
for a peer that sends too much, the other sessions have their turns in between."""

Clock = Callable[[], int]
"""A monotonic clock, ns."""


class Receiver:
    """The receiving end of one audio stream.

    Args:
        settings: Bounds of the jitter buffer.
        clock: Monotonic clock, ns; packets are stamped with it and the schedule runs on it.
    """

    def __init__(self, settings: JitterSettings | None = None, *, clock: Clock = time.monotonic_ns) -> None:
        self.clock = clock
        self._jitter = JitterBuffer(settings)
        self._decoder = OpusDecoder()
        self._concealer = Concealer()
        self._changed = asyncio.Event()
        self._closed = False
        self._interrupted = False
        self._damaged = 0
        self._given_in_turn = 0
        self.last_arrival_ns: int | None = None

    def configure(self, settings: JitterSettings) -> None:
        """Set the bounds of the jitter buffer; the stream goes on."""
        self._jitter.configure(settings)

    def add(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """Take a packet from the network; damaged ones are counted."""
        now_ns = self.last_arrival_ns = self.clock()
        if not payload:
            return  # padding only, sent to probe the bandwidth
        try:
            duration = opus_duration(payload)
        except ValueError:
            self._damaged += 1
            return
        self._jitter.add(Packet(sequence, timestamp, payload, now_ns, duration))
        self._changed.set()

    def close(self) -> None:
        """No packet will follow: :meth:`read` ends."""
        self._closed = True
        self._changed.set()

    @property
    def ended(self) -> bool:
        """Whether nothing will follow."""
        return self._closed

    def interrupt(self) -> None:
        """Make the :meth:`read` under way, or else the next one, give None."""
        self._interrupted = True
        self._changed.set()

    async def read(self) -> AudioFrame | None:
        """The next piece of the stream when it is due, mono, 48 kHz; None if the receiver is closed or interrupted.

        Cancelled by: the reader; nothing is lost by it.
        """
        if self._given_in_turn >= _BURST:
            self._given_in_turn = 0
            await asyncio.sleep(0)
        while not self._closed:
            if self._interrupted:
                self._interrupted = False
                break
            self._changed.clear()
            await self._after_own_stall()
            now_ns = self.clock()
            if (release := self._jitter.pull(now_ns)) is not None:
                self._given_in_turn += 1
                return self._render(release)
            self._given_in_turn = 0
            due_ns = self._jitter.due_ns()
            delay_s = None if due_ns is None else (due_ns - now_ns) / NS_PER_S
            try:
                async with asyncio.timeout(delay_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return None

    async def _after_own_stall(self) -> None:
        """If it was our own loop that is late, let it read what came meanwhile before anything is concealed."""
        due_ns = self._jitter.due_ns()
        if due_ns is None or self.clock() - due_ns < _STALL_NS:
            return
        for _ in range(_STALL_TURNS):
            if self._jitter.depth_ms:
                return
            await asyncio.sleep(0)

    def _render(self, release: Release) -> AudioFrame:
        samples: Samples | None = None
        if release.packet is not None:
            decoded = self._decoder.decode(release.packet.payload)
            if decoded is None:
                self._damaged += 1
            else:
                # A damaged packet may decode to less than its head says; the timeline keeps to the head.
                part = decoded[release.skip : release.skip + release.count]
                samples = self._concealer.good(np.pad(part, (0, release.count - len(part))))
        elif release.kind == "silence":
            samples = self._concealer.silence(release.count)
        if samples is None:
            samples = self._concealer.lost(release.count)
        return AudioFrame(samples[:, None], RTP_RATE_HZ, samples_to_ns(release.position, RTP_RATE_HZ))

    @property
    def transit_ns(self) -> int:
        """Arrival less media time of an undisturbed packet, ns: what ties the peer's clock to ours."""
        return self._jitter.delay.base_ns

    def media_now_ns(self) -> int:
        """Media time at this moment on the peer's clock, ns, as far as it can be known here; 0 before it begins."""
        if self.last_arrival_ns is None:
            return 0
        return self._jitter.media_ns(self.clock())

    @property
    def overflowed(self) -> int:
        """Packets thrown away because nobody read in time."""
        return self._jitter.stats.overflowed

    def stats(self) -> dict[str, int | float]:
        """Counters and the present state, for people and metrics; units stand in the names."""
        jitter = self._jitter
        return {
            **asdict(jitter.stats),
            "damaged": self._damaged,
            "jitter_ms": round(jitter.delay.jitter_ms, 3),
            "target_ms": round(jitter.delay.target_ns / NS_PER_MS, 3),
            "depth_ms": round(jitter.depth_ms, 3),
        }
