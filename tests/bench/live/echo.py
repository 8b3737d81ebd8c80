"""Echo latency from Chrome to Chrome: calm, after one lost packet, while two in a hundred are lost.

Tolmach (graph ``echo`` of ``tolmach serve``) and pipecat (SmallWebRTC, its defaults) in turn, on the same line, with
the same microphone; and Chrome with itself, which is the part of both that no server can change.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.live.chrome import RATE_HZ, call, write_wav
from tests.bench.live.latency import Moment, Summary, moments
from tests.bench.live.machine import noise_noted
from tests.bench.live.servers import Server, serve
from tests.integration.webrtc_peer import babble

ROUNDS = 3
SETTLE_S = 4.0
"""Joining disturbs; what it leaves behind is in the figures, what passes is not."""
MEASURE_S = 8.0
REACH_S = 2.5
"""The last moments of a recording cannot be looked for 2 s later."""
CALLS = {"tolmach": ("tolmach", "echo", {}), "pipecat": ("pipecat",), "alone": ("alone",)}


@dataclass
class Found:
    """Moments of all calls of one kind, a list a call."""

    calm: list[list[Moment]] = field(default_factory=list)
    after_loss: list[list[Moment]] = field(default_factory=list)
    in_loss: list[list[Moment]] = field(default_factory=list)


async def one_loss(server: Server, microphone: Path, how: str, found: Found) -> None:
    """A call that is calm, then loses one packet; a call of Chrome with itself is only calm."""
    async with call(server, microphone, *CALLS[how]) as c:
        await asyncio.sleep(SETTLE_S)
        calm_s = await c.now_s()
        await asyncio.sleep(MEASURE_S + REACH_S)
        lost_s = await c.now_s()
        if how != "alone":
            server.lose_one()
            await asyncio.sleep(SETTLE_S + MEASURE_S + REACH_S)
        recording = await c.end()
    every = moments(recording.said, recording.heard, RATE_HZ)
    found.calm.append([m for m in every if calm_s <= m.at_s < calm_s + MEASURE_S])
    if how != "alone":
        found.after_loss.append([m for m in every if m.at_s >= lost_s + SETTLE_S])


async def steady_loss(server: Server, microphone: Path, how: str, found: Found) -> None:
    """A call that loses packets all the time."""
    async with call(server, microphone, *CALLS[how]) as c:
        await asyncio.sleep(SETTLE_S)
        server.toggle_loss()
        await asyncio.sleep(SETTLE_S)
        from_s = await c.now_s()
        await asyncio.sleep(MEASURE_S + REACH_S)
        server.toggle_loss()
        recording = await c.end()
    every = moments(recording.said, recording.heard, RATE_HZ)
    found.in_loss.append([m for m in every if m.at_s >= from_s])


async def measure() -> dict[str, Found]:
    """All calls, the stacks taking turns."""
    found = {how: Found() for how in CALLS}
    with (
        tempfile.TemporaryDirectory(prefix="tolmach-bench-") as folder,
        serve("tolmach", lossy=True) as tolmach,
        serve("pipecat", lossy=True) as pipecat,
    ):
        microphone = write_wav(Path(folder) / "babble.wav", babble(60))
        for _ in range(ROUNDS):
            await one_loss(pipecat, microphone, "alone", found["alone"])
            for how, server in (("tolmach", tolmach), ("pipecat", pipecat)):
                await one_loss(server, microphone, how, found[how])
                await steady_loss(server, microphone, how, found[how])
    return found


def _cell(calls: Sequence[Sequence[Moment]]) -> str:
    """p50 and p95 of all, and the medians of the single calls."""
    if not calls:
        return "|"
    every = Summary.of([m for c in calls for m in c])
    each = sorted(Summary.of(c).p50 for c in calls)
    return f"{every.p50:.0f} ms ({each[0]:.0f}-{each[-1]:.0f}) | {every.p95:.0f} ms"


def print_table(found: dict[str, Found]) -> None:
    print("| | Tolmach p50 (calls) | p95 | pipecat p50 (calls) | p95 | ratio | Chrome alone p50 (calls) | p95 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, title in (
        ("calm", "calm"),
        ("after_loss", "4 s after one lost packet"),
        ("in_loss", "2 % of packets lost"),
    ):
        calls = {how: getattr(f, name) for how, f in found.items()}
        tolmach, pipecat = (Summary.of([m for c in calls[how] for m in c]).p50 for how in ("tolmach", "pipecat"))
        print(
            f"| {title} | {_cell(calls['tolmach'])} | {_cell(calls['pipecat'])} | {tolmach / pipecat:.2f} | "
            f"{_cell(calls['alone'])} |"
        )


def main() -> None:
    print("## Echo latency, Chrome to Chrome\n")
    with noise_noted():
        print_table(asyncio.run(measure()))


if __name__ == "__main__":
    main()
