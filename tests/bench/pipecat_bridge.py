"""What the bridges to pipecat cost a frame, beside bare pipecat and a bare graph, in one run.

An identity of pipecat's as an element, and a graph of one identity as a processor: 20 ms frames of 16 kHz mono, as fast
as they go. The least CPU time over several rounds that alternate in one process counts: what else the machine does
disturbs it least.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from loguru import logger

from tests.bench.engine import FRAME, RATE_HZ, SPECS
from tests.unit.handmade import chain
from tolmach.pipelines.runtime.pipecat.processor import GraphProcessor
from tolmach.pipelines.runtime.pipecat_api import (
    AudioRawFrame,
    EndFrame,
    FrameDirection,
    FrameProcessor,
    InputAudioRawFrame,
    PipecatFrame,
    Pipeline,
    PipelineWorker,
    WorkerRunner,
)
from tolmach.pipelines.runtime.runner import GraphRunner

GRAPH = f"""\
version: 1
elements:
  in:  {{type: app_src, caps: "audio/raw, rate={RATE_HZ}, channels=1"}}
  id:  {{type: identity}}
  out: {{type: app_sink}}
links: [in -> id -> out]
"""
IDENTITY = "pipecat.processors.filters.identity_filter:IdentityFilter"
LONG, SHORT = 6000, 1000


async def in_graph(frames: int, *elements: Any) -> None:
    """Frames through a graph."""
    result = await GraphRunner(chain(("feed", {"frames": frames}), *elements, "take", specs=SPECS)).run()
    if not result.ok:
        raise RuntimeError(str(result.error))


async def in_pipeline(frames: int, processor: FrameProcessor) -> None:
    """Frames through a pipeline of pipecat's."""
    arrived = 0

    class Take(FrameProcessor):
        async def process_frame(self, frame: PipecatFrame, direction: FrameDirection) -> None:
            nonlocal arrived
            await super().process_frame(frame, direction)
            if isinstance(frame, AudioRawFrame):
                arrived += 1
            else:
                await self.push_frame(frame, direction)

    worker = PipelineWorker(
        Pipeline([processor, Take()]), enable_rtvi=False, enable_turn_tracking=False, idle_timeout_secs=None
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    audio = bytes(FRAME * 2)
    await worker.queue_frames([InputAudioRawFrame(audio, RATE_HZ, 1) for _ in range(frames)])
    await worker.queue_frame(EndFrame())
    await runner.run()
    if arrived != frames:
        raise RuntimeError(f"{arrived} of {frames} frames arrived")


def bare() -> FrameProcessor:
    """pipecat's own identity."""
    from pipecat.processors.filters.identity_filter import IdentityFilter

    return IdentityFilter()


RUNS: Mapping[str, Callable[[int], Awaitable[None]]] = {
    "pipecat, its identity": lambda frames: in_pipeline(frames, bare()),
    "pipecat, GraphProcessor around one identity": lambda frames: in_pipeline(
        frames, GraphProcessor(GRAPH, speech_frames=False, warm=False)
    ),
    "Tolmach, its identity": lambda frames: in_graph(frames, "identity"),
    "Tolmach, pipecat's identity as an element": lambda frames: in_graph(frames, ("pipecat", {"processor": IDENTITY})),
}


async def cost_us(run: Callable[[int], Awaitable[None]]) -> float:
    """CPU time a frame, µs: a long run less a short one, so that start and end do not count."""
    spent = []
    for frames in (SHORT, LONG):
        before = time.process_time()
        await run(frames)
        spent.append(time.process_time() - before)
    return (spent[1] - spent[0]) / (LONG - SHORT) * 1e6


async def measure(rounds: int = 5) -> dict[str, float]:
    """The least of each over the rounds, µs."""
    best = dict.fromkeys(RUNS, float("inf"))
    for _ in range(rounds):
        for name, run in RUNS.items():
            best[name] = min(best[name], await cost_us(run))
    return best


def main() -> None:
    logger.disable("pipecat")
    print("| a frame through | µs of CPU |\n|---|---|")
    for name, cost in asyncio.run(measure()).items():
        print(f"| {name} | {cost:.0f} |")


if __name__ == "__main__":
    main()
