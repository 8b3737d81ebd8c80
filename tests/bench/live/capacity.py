"""How many echo sessions one core carries: Tolmach, bare aiortc and pipecat, called by the same light peers.

The server has one core to itself, the callers the other. Sessions are added one by one until audio falls behind: the
echo's latency (to a buffer that waits for 95 of 100 packets) grows, or speech does not come back.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from tests.bench.live.latency import Moment, Summary
from tests.bench.live.light_peer import LightPeer, Pacer, encode
from tests.bench.live.machine import busy_s, come_first, noise_noted
from tests.bench.live.servers import Server, Stack, serve
from tests.integration.webrtc_peer import babble
from tolmach.pipelines.frames import NS_PER_S

SERVER_CORE, CALLER_CORE = 0, 1
FIRST = 4
"""Sessions of the first step, which carries any server easily: what the others are compared with."""
MOST = 60
SETTLE_S, MEASURE_S = 2.0, 7.0
MORE_MS = 100
"""What was said is in time when it comes back at most this much later than it did at the first step."""
ENOUGH = 0.95
"""Share of what was said that must be in time."""
LATE_MS = 5.0
"""A step whose callers sent later than this (99th percentile) is measured again: it says nothing of the server."""
TRIES = 4
LOOP_S = 20


@dataclass(frozen=True)
class Step:
    """Some sessions for some seconds.

    Attributes:
        sessions: How many.
        found: What became of everything that was said, of all sessions.
        packets_s: Packets that came back, a session and second, at the worst session.
        cpu: Cores the server used.
        foreign: Share of its core that other processes used.
        caller_late_ms: How late the callers sent, 99th percentile, ms.
    """

    sessions: int
    found: Sequence[Moment]
    packets_s: float
    cpu: float
    foreign: float
    caller_late_ms: float

    @property
    def latency(self) -> Summary:
        return Summary.of(self.found)

    def in_time(self, first: Step) -> float:
        """Share of what was said that came back, and not later than it may."""
        latest_ms = first.latency.p50 + MORE_MS
        heard = [m.latency_ms for m in self.found if m.latency_ms is not None]
        return sum(ms <= latest_ms for ms in heard) / max(1, len(self.found))

    def keeps_up(self, first: Step) -> bool:
        return self.in_time(first) >= ENOUGH


class Load:
    """The callers of one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._said = babble(LOOP_S)
        self._packets = encode(self._said)
        self._pacer = Pacer()
        self._pacing = asyncio.create_task(self._pacer.run())

    async def grow(self, sessions: int) -> None:
        while len(self._pacer.peers) < sessions:
            peer = LightPeer(self._packets, len(self._pacer.peers))
            await peer.join(self._server)
            self._pacer.peers.append(peer)

    async def step(self, sessions: int) -> Step:
        """Measure with so many; again while the callers were disturbed."""
        await self.grow(sessions)
        await asyncio.sleep(SETTLE_S)
        for _ in range(TRIES):
            step = await self._measure()
            if step.caller_late_ms <= LATE_MS:
                break
        return step

    async def _measure(self) -> Step:
        peers = self._pacer.peers
        for peer in peers:
            peer.arrivals.clear()
            peer.recording = True
        self._pacer.late_ms.clear()
        cpu_s, core_s = self._server.cpu_s(), busy_s(psutil.cpu_times(percpu=True)[SERVER_CORE])
        from_ns = time.monotonic_ns()
        await asyncio.sleep(MEASURE_S)
        to_ns = time.monotonic_ns()
        cpu_s = self._server.cpu_s() - cpu_s
        core_s = busy_s(psutil.cpu_times(percpu=True)[SERVER_CORE]) - core_s
        late_ms = list(self._pacer.late_ms)
        for peer in peers:
            peer.recording = False
        # The interpreter is shared, but between steps nobody looks at the clock.
        heard = [peer.take() for peer in peers]
        found = await asyncio.to_thread(
            lambda: [m for p, h in zip(peers, heard, strict=True) for m in p.echo(self._said, h, from_ns, to_ns)]
        )
        seconds = (to_ns - from_ns) / NS_PER_S
        return Step(
            sessions=len(peers),
            found=found,
            packets_s=min(map(len, heard)) / seconds,
            cpu=cpu_s / seconds,
            foreign=max(0.0, core_s - cpu_s) / seconds,
            caller_late_ms=float(np.percentile(late_ms, 99)),
        )

    async def end(self) -> None:
        self._pacing.cancel()
        await asyncio.gather(*(peer.leave() for peer in self._pacer.peers), return_exceptions=True)


async def ramp(stack: Stack) -> list[Step]:
    """Steps from a few sessions to two steps in a row that do not keep up."""
    with serve(stack, core=SERVER_CORE, options=("--max-sessions", str(MOST)) if stack == "tolmach" else ()) as server:
        come_first()
        load = Load(server)
        try:
            steps = [await load.step(FIRST)]
            # Most of the way costs nothing to skip: what a few sessions use says where it becomes tight.
            sessions = max(FIRST + 1, int(0.6 * FIRST / steps[0].cpu))
            while sessions <= MOST:
                steps.append(await load.step(sessions))
                if not any(step.keeps_up(steps[0]) for step in steps[-2:]):
                    break
                sessions += 1
        finally:
            await load.end()
    return steps


def capacity(steps: Sequence[Step]) -> int:
    """The most sessions with which audio kept up."""
    return max((step.sessions for step in steps if step.keeps_up(steps[0])), default=0)


def print_steps(stack: Stack, steps: Sequence[Step]) -> None:
    for s in steps:
        kept = "yes" if s.keeps_up(steps[0]) else "no"
        print(
            f"| {stack} | {s.sessions} | {100 * s.cpu:.0f} % | {1000 * s.cpu / s.sessions:.1f} ms | "
            f"{s.latency.p50:.0f} ms | {s.latency.p95:.0f} ms | {100 * s.in_time(steps[0]):.1f} % | {kept} | "
            f"{s.packets_s:.1f} | {100 * s.foreign:.0f} % | {s.caller_late_ms:.1f} ms |",
            flush=True,
        )


async def measure(rounds: int) -> None:
    stacks: tuple[Stack, ...] = ("aiortc", "tolmach", "pipecat")
    results: dict[Stack, list[list[Step]]] = {stack: [] for stack in stacks}
    print(
        "| server | sessions | core used | a session and second | echo p50 | p95 | in time | keeps up | packets/s | "
        "core used by others | callers late, p99 |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---|---:|---:|---:|")
    for _ in range(rounds):
        for stack in stacks:
            steps = await ramp(stack)
            results[stack].append(steps)
            print_steps(stack, steps)
    bare = statistics.median(map(capacity, results["aiortc"]))
    print("\n| server | sessions a core (rounds) | against bare aiortc | CPU a session and second, then |")
    print("|---|---:|---:|---:|")
    for stack, runs in results.items():
        each = sorted(map(capacity, runs))
        most = statistics.median(each)
        cost = statistics.median(
            1000 * step.cpu / step.sessions for steps in runs for step in steps if step.sessions == capacity(steps)
        )
        print(f"| {stack} | {most:g} ({', '.join(map(str, each))}) | {most / bare:.2f} | {cost:.0f} ms |")


def main() -> None:
    os.sched_setaffinity(0, {CALLER_CORE})
    print("## Echo sessions a core\n")
    with noise_noted():
        asyncio.run(measure(rounds=2))


if __name__ == "__main__":
    main()
