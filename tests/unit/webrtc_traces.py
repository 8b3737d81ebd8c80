"""Scripted packet traces: what was sent, when each packet arrived, and what the buffer made of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tolmach.pipelines.frames import NS_PER_MS
from tolmach.transports.webrtc.incoming.jitter import JitterBuffer, JitterSettings, Release
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, Packet

SPEECH = b"\xfc" + bytes(60)
DTX = b"\xf8"
TRANSIT_NS = 7 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class Played:
    """One release and when it was given."""

    at_ns: int
    release: Release

    @property
    def latency_ms(self) -> float:
        """From the capture of its first sample at the sender to its release, ms."""
        return (self.at_ns - self.release.position * FRAME_NS // FRAME_SAMPLES) / NS_PER_MS


def stream(
    count: int, *, sequence: int = 65_500, timestamp: int = 2**32 - 48_000, drift_ppm: float = 0.0
) -> list[Packet]:
    """``count`` packets sent every 20 ms, both counters about to wrap, each arriving 7 ms after its capture."""
    return [
        Packet(
            (sequence + i) & 0xFFFF,
            (timestamp + i * FRAME_SAMPLES) & 0xFFFFFFFF,
            SPEECH,
            round(i * FRAME_NS * (1 + drift_ppm * 1e-6)) + TRANSIT_NS,
        )
        for i in range(count)
    ]


def late(packet: Packet, ms: float) -> Packet:
    """The packet, ``ms`` later."""
    return replace(packet, arrival_ns=packet.arrival_ns + round(ms * NS_PER_MS))


def jittered(packets: Sequence[Packet], spread_ms: float, seed: int) -> list[Packet]:
    """Each packet later by up to ``spread_ms``."""
    rng = random.Random(seed)
    return [late(p, rng.uniform(0, spread_ms)) for p in packets]


def paused(packets: Sequence[Packet]) -> list[Packet]:
    """The stream of a peer that announces silence in packets 100 to 199, and sends every twentieth of them."""
    kept = [p for i, p in enumerate(packets) if i not in range(100, 200) or i % 20 == 0]
    return [
        replace(p, sequence=(packets[0].sequence + n) & 0xFFFF, payload=DTX if 100 <= n < 105 else p.payload)
        for n, p in enumerate(kept)
    ]


def play(
    packets: Iterable[Packet], *, settings: JitterSettings | None = None, tail_ms: int = 0
) -> tuple[JitterBuffer, list[Played]]:
    """Run a trace to its last arrival and ``tail_ms`` on, pulling exactly when something is due."""
    buffer = JitterBuffer(settings)
    played: list[Played] = []
    now_ns = 0

    def pull_until(end_ns: int) -> None:
        nonlocal now_ns
        while (due := buffer.due_ns()) is not None and due <= end_ns:
            now_ns = max(due, now_ns)
            release = buffer.pull(now_ns)
            assert release is not None, "what is due can be pulled"
            played.append(Played(now_ns, release))

    for packet in sorted(packets, key=lambda p: p.arrival_ns):
        pull_until(packet.arrival_ns - 1)
        now_ns = max(now_ns, packet.arrival_ns)
        buffer.add(packet)
        pull_until(now_ns)
    pull_until(now_ns + tail_ms * NS_PER_MS)
    return buffer, played


def assert_unbroken(played: Sequence[Played]) -> None:
    """The timeline has neither hole nor overlap and never runs backwards."""
    position = 0
    for before, after in pairwise(played):
        assert before.at_ns <= after.at_ns
    for p in played:
        assert p.release.position == position
        assert p.release.count > 0
        position += p.release.count


def media(played: Sequence[Played]) -> list[int]:
    """Sequence numbers released, in order."""
    return [p.release.packet.sequence for p in played if p.release.packet is not None]


def settled_latency_ms(played: Sequence[Played], last: int = 25) -> float:
    """Largest latency of the last releases, ms."""
    return max(p.latency_ms for p in played[-last:])
