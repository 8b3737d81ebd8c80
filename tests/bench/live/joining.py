"""A call goes on while ten others join: its echo in windows of 200 ms before, during and after, Tolmach and pipecat.

Chrome is the call that goes on; the ten that join one after the other are the light callers of the capacity bench, and
stay. Setting up a session keeps a server busy: what that does to the others is what is measured here.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.bench.live.chrome import RATE_HZ, call, write_wav
from tests.bench.live.echo import CALLS, REACH_S, SETTLE_S
from tests.bench.live.latency import Moment, Summary, moments
from tests.bench.live.light_peer import LightPeer, Pacer, encode
from tests.bench.live.machine import noise_noted
from tests.bench.live.servers import Server, Stack, serve
from tests.integration.webrtc_peer import babble

ROUNDS = 3
JOINING = 10
EVERY_S = 0.5
PHASE_S = 6.0
PHASES = ("before", "while ten join", "after")
STACKS: tuple[Stack, ...] = ("tolmach", "pipecat")


async def one_call(server: Server, microphone: Path, packets: list[bytes]) -> dict[str, list[Moment]]:
    """The moments of one call by phase."""
    pacer = Pacer()
    pacing = asyncio.create_task(pacer.run())
    peers = [LightPeer(packets, n) for n in range(JOINING)]
    try:
        async with call(server, microphone, *CALLS[server.stack]) as c:
            await asyncio.sleep(SETTLE_S)
            marks = [await c.now_s()]
            await asyncio.sleep(PHASE_S)
            marks.append(await c.now_s())
            for peer in peers:
                await peer.join(server)
                pacer.peers.append(peer)
                await asyncio.sleep(EVERY_S)
            marks.append(await c.now_s())
            await asyncio.sleep(PHASE_S + REACH_S)
            recording = await c.end()
    finally:
        pacing.cancel()
        await asyncio.gather(*(peer.leave() for peer in peers))
    every = moments(recording.said, recording.heard, RATE_HZ)
    ends = [*marks[1:], marks[-1] + PHASE_S]
    return {
        phase: [m for m in every if begin <= m.at_s < end]
        for phase, begin, end in zip(PHASES, marks, ends, strict=True)
    }


async def measure() -> dict[Stack, dict[str, list[Moment]]]:
    """All calls of both, taking turns."""
    found: dict[Stack, dict[str, list[Moment]]] = {stack: {phase: [] for phase in PHASES} for stack in STACKS}
    packets = encode(babble(20))
    with (
        tempfile.TemporaryDirectory(prefix="tolmach-bench-") as folder,
        serve("tolmach", options=("--max-sessions", "20")) as tolmach,
        serve("pipecat") as pipecat,
    ):
        microphone = write_wav(Path(folder) / "babble.wav", babble(60))
        for _ in range(ROUNDS):
            for server in (tolmach, pipecat):
                for phase, some in (await one_call(server, microphone, packets)).items():
                    found[server.stack][phase] += some
    return found


def print_table(found: dict[Stack, dict[str, list[Moment]]]) -> None:
    print("| | Tolmach p50 | p95 | highest | not heard | pipecat p50 | p95 | highest | not heard |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for phase in PHASES:
        cells = []
        for stack in STACKS:
            s = Summary.of(found[stack][phase])
            cells.append(f"{s.p50:.0f} ms | {s.p95:.0f} ms | {s.highest:.0f} ms | {100 * s.lost:.0f} %")
        print(f"| {phase} | {' | '.join(cells)} |")


def main() -> None:
    print("## A call that goes on while ten others join\n")
    with noise_noted():
        print_table(asyncio.run(measure()))


if __name__ == "__main__":
    main()
