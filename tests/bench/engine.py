"""Frames per second and added latency of the engine, against the same chain written by hand on pipecat.

Both carry 20 ms frames of 16 kHz mono through N elements that pass everything on, in one process, alternating, and the
best of several rounds counts: what disturbs a round only ever makes it slower.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.unit.handmade import chain
from tolmach.pipelines.element import Element, ElementSpec, Field, Pad, Settings, SourceElement
from tolmach.pipelines.frames import AudioFrame, Frame
from tolmach.pipelines.runtime.pipecat_api import (
    EndFrame,
    FrameDirection,
    FrameProcessor,
    PipecatFrame,
    PipelineWorker,
    StartFrame,
    WorkerRunner,
)
from tolmach.pipelines.runtime.runner import GraphRunner

RATE_HZ = 16000
FRAME = RATE_HZ // 50
SIZES = (1, 5, 10, 20)


@dataclass
class Clock:
    """When frames were sent and when they arrived, s."""

    sent: list[float]
    arrived: list[float]

    def latencies_us(self) -> list[float]:
        return [(b - a) * 1e6 for a, b in zip(self.sent, self.arrived, strict=True)]


CLOCK = Clock([], [])


class FeedSettings(Settings):
    """How the bench source feeds."""

    frames: int = Field(1000, description="Frames to push.")
    gap_ms: float = Field(0.0, description="Wait between frames, ms.")


class Feed(SourceElement):
    async def produce(self) -> None:
        samples = np.zeros((FRAME, 1), np.float32)
        for i in range(self.settings.frames):
            if self.settings.gap_ms:
                await asyncio.sleep(self.settings.gap_ms / 1000)
            CLOCK.sent.append(time.perf_counter())
            await self.context.push(AudioFrame(samples, RATE_HZ, i * 20_000_000))


class Take(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        CLOCK.arrived.append(time.perf_counter())


CAPS = "audio/raw, rate=16000, channels=1, segmented=false"
SPECS = (
    ElementSpec(type="feed", summary="x", settings=FeedSettings, pads=(Pad.src(CAPS),), build=f"{__name__}:Feed"),
    ElementSpec(type="take", summary="x", settings=Settings, pads=(Pad.sink(CAPS),), build=f"{__name__}:Take"),
)


async def tolmach_run(elements: int, frames: int, gap_ms: float = 0.0) -> Clock:
    """Send ``frames`` through a Tolmach graph of ``elements`` identity elements."""
    CLOCK.sent, CLOCK.arrived = [], []
    feed: tuple[str, dict[str, Any]] = ("feed", {"frames": frames, "gap_ms": gap_ms})
    result = await GraphRunner(chain(feed, *["identity"] * elements, "take", specs=SPECS)).run()
    if not result.ok:
        raise RuntimeError(str(result.error))
    return Clock(CLOCK.sent, CLOCK.arrived)


class _PipecatIdentity(FrameProcessor):
    async def process_frame(self, frame: PipecatFrame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


async def pipecat_run(elements: int, frames: int, gap_ms: float = 0.0) -> Clock:
    """The same chain by hand: pipecat's Pipeline of ``elements`` processors, its faster switches on."""
    from pipecat.frames.frames import OutputAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline

    clock = Clock([], [])

    class Take(FrameProcessor):
        async def process_frame(self, frame: PipecatFrame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, OutputAudioRawFrame):
                clock.arrived.append(time.perf_counter())
            else:
                await self.push_frame(frame, direction)

    started = asyncio.Event()

    class First(_PipecatIdentity):
        async def process_frame(self, frame: PipecatFrame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, StartFrame):
                started.set()

    processors = [First(), *(_PipecatIdentity() for _ in range(elements - 1)), Take()]
    worker = PipelineWorker(Pipeline(processors), enable_rtvi=False, enable_turn_tracking=False, idle_timeout_secs=None)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await started.wait()
    audio = bytes(FRAME * 2)
    for _ in range(frames):
        if gap_ms:
            await asyncio.sleep(gap_ms / 1000)
        clock.sent.append(time.perf_counter())
        await worker.queue_frame(OutputAudioRawFrame(audio=audio, sample_rate=RATE_HZ, num_channels=1))
    await worker.queue_frame(EndFrame())
    await running
    return clock


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    elements: int
    tolmach_fps: float
    pipecat_fps: float
    tolmach_us: float
    pipecat_us: float


def _fps(clock: Clock) -> float:
    return len(clock.arrived) / (clock.arrived[-1] - clock.sent[0])


async def measure(frames: int = 5000, rounds: int = 3) -> list[Row]:
    """All sizes, both engines alternating."""
    rows = []
    for elements in SIZES:
        fps: dict[str, float] = {"tolmach": 0.0, "pipecat": 0.0}
        latency = {"tolmach": float("inf"), "pipecat": float("inf")}
        for _ in range(rounds):
            for name, run in (("tolmach", tolmach_run), ("pipecat", pipecat_run)):
                fps[name] = max(fps[name], _fps(await run(elements, frames)))
                paced = await run(elements, 200, 1.0)
                latency[name] = min(latency[name], statistics.median(paced.latencies_us()))
        rows.append(Row(elements, fps["tolmach"], fps["pipecat"], latency["tolmach"], latency["pipecat"]))
    return rows


def markdown(rows: list[Row]) -> str:
    """The table of docs/BENCHMARKS.md."""
    lines = [
        "| elements | Tolmach frames/s | pipecat frames/s | ratio | Tolmach latency | pipecat latency | ratio |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.elements} | {r.tolmach_fps:,.0f} | {r.pipecat_fps:,.0f} | {r.tolmach_fps / r.pipecat_fps:.1f} | "
        f"{r.tolmach_us:.0f} µs | {r.pipecat_us:.0f} µs | {r.tolmach_us / r.pipecat_us:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    print("## Engine: identity chains against pipecat by hand\n")
    print(markdown(asyncio.run(measure())))


if __name__ == "__main__":
    main()
