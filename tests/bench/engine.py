"""Frames per second and added latency of the engine, against the same chain by hand on pipecat, and GStreamer's.

All carry 20 ms frames of 16 kHz mono through N elements that pass everything on. Tolmach and pipecat run in one
process, GStreamer (where ``gst-launch-1.0`` is installed) in its own; they alternate, and the best of several rounds
counts: what disturbs a round only ever makes it slower.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import statistics
import subprocess
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


def _gst(elements: int, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    caps = f"audio/x-raw,format=F32LE,rate={RATE_HZ},channels=1"
    head = f"audiotestsrc wave=silence samplesperbuffer={FRAME} {source} ! {caps}"
    chain_of = " ! ".join([head, *["identity"] * elements, "fakesink sync=false"])
    command = ["gst-launch-1.0", "-q", *chain_of.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment})


def gstreamer_fps(elements: int, frames: int = 400_000) -> float:
    """Buffers a second of GStreamer's chain: a long run less a short one, so that its start does not count."""
    walls = []
    for buffers in (1000, 1000 + frames):
        started = time.perf_counter()
        _gst(elements, f"num-buffers={buffers}")
        walls.append(time.perf_counter() - started)
    return frames / (walls[1] - walls[0])


def gstreamer_us(elements: int) -> float:
    """Median time of one buffer from source to sink, µs, by GStreamer's own latency tracer on a live source."""
    said = _gst(
        elements,
        "is-live=true num-buffers=100",
        GST_TRACERS="latency(flags=pipeline)",
        GST_DEBUG="GST_TRACER:7",
        GST_DEBUG_NO_COLOR="1",
    ).stderr
    return statistics.median(int(ns) / 1000 for ns in re.findall(r"\blatency, .*?\btime=\(guint64\)(\d+)", said))


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    elements: int
    tolmach_fps: float
    pipecat_fps: float
    tolmach_us: float
    pipecat_us: float
    gstreamer_fps: float | None
    gstreamer_us: float | None


def _fps(clock: Clock) -> float:
    return len(clock.arrived) / (clock.arrived[-1] - clock.sent[0])


async def measure(frames: int = 5000, rounds: int = 3) -> list[Row]:
    """All sizes, both engines alternating."""
    rows = []
    gstreamer = shutil.which("gst-launch-1.0") is not None
    for elements in SIZES:
        fps: dict[str, float] = {"tolmach": 0.0, "pipecat": 0.0}
        latency = {"tolmach": float("inf"), "pipecat": float("inf")}
        for _ in range(rounds):
            for name, run in (("tolmach", tolmach_run), ("pipecat", pipecat_run)):
                fps[name] = max(fps[name], _fps(await run(elements, frames)))
                paced = await run(elements, 200, 1.0)
                latency[name] = min(latency[name], statistics.median(paced.latencies_us()))
        theirs = max(gstreamer_fps(elements) for _ in range(rounds)) if gstreamer else None
        their_us = min(gstreamer_us(elements) for _ in range(rounds)) if gstreamer else None
        rows.append(
            Row(elements, fps["tolmach"], fps["pipecat"], latency["tolmach"], latency["pipecat"], theirs, their_us)
        )
    return rows


def markdown(rows: list[Row]) -> str:
    """The table of docs/BENCHMARKS.md."""
    lines = [
        "| elements | Tolmach frames/s | pipecat frames/s | ratio | GStreamer frames/s | Tolmach latency "
        "| pipecat latency | ratio | GStreamer latency |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.elements} | {r.tolmach_fps:,.0f} | {r.pipecat_fps:,.0f} | {r.tolmach_fps / r.pipecat_fps:.1f} | "
        f"{_or_none(r.gstreamer_fps, ',.0f')} | {r.tolmach_us:.0f} µs | {r.pipecat_us:.0f} µs | "
        f"{r.tolmach_us / r.pipecat_us:.2f} | {_or_none(r.gstreamer_us, '.1f', ' µs')} |"
        for r in rows
    ]
    return "\n".join(lines)


def _or_none(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def main() -> None:
    print("## Engine: identity chains against pipecat by hand, and GStreamer\n")
    print(markdown(asyncio.run(measure())))


if __name__ == "__main__":
    main()
