"""Throughput of ``tolmach run``: one and two workers of a local Ray cluster against ``--jobs 1`` and ``--jobs 2``.

The four take turns over the same recordings, each with its models loaded and warm before its clock starts; the best of
the rounds counts, and is given as a ratio to ``--jobs 1``. Once with one thread for PyTorch in every process, once with
as many as it takes by itself: two workers on one machine share its cores, two jobs in one process share one model.

Also printed is what a cluster costs before the first recording, and whether all outputs were the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.bench.rtfx import RATE_HZ, make_recording
from tolmach.pipelines.cli.batch.batch import Batch
from tolmach.pipelines.cli.batch.console import Quiet
from tolmach.pipelines.cli.batch.jobs import plan_jobs
from tolmach.pipelines.cli.batch.spread.begin import Spread, spread_over
from tolmach.pipelines.cli.batch.spread.workers import Reserve
from tolmach.pipelines.cluster import LOCAL, connect
from tolmach.pipelines.language.check import check_graph, graph_source

ARMS = (("--jobs 1", 1, False), ("--jobs 2", 2, False), ("--ray, 1 worker", 1, True), ("--ray, 2 workers", 2, True))


def make_recordings(folder: Path, count: int, seconds: float) -> None:
    """``count`` recordings of ``seconds`` each, cut out of the English clips; all different."""
    import soundfile

    whole, _ = soundfile.read(make_recording(folder, "en"), dtype="float32")
    (folder / "in").mkdir()
    length = int(seconds * RATE_HZ)
    for n in range(count):
        at = n * RATE_HZ * 3 % max(1, len(whole) - length)
        soundfile.write(folder / "in" / f"{n:02d}.flac", whole[at : at + length], RATE_HZ)


def batch_of(folder: Path, inputs: str, output: str) -> Batch:
    """A batch of the phrasebook over a folder of recordings."""
    source = graph_source("phrasebook")
    declared = check_graph(source).params
    (folder / output).mkdir(exist_ok=True)
    jobs = plan_jobs([folder / inputs], folder / output)
    return Batch(source, jobs, {}, {}, declared, Quiet(), overwrite=True)


@asynccontextmanager
async def warm(folder: Path, count: int, spread: bool) -> AsyncIterator[Batch]:
    """A batch whose player has played: its workers are there, with the model in each."""
    batch = batch_of(folder, "warm", "warmed")
    begun = time.perf_counter()
    place = Spread(LOCAL, Reserve(cpus=0.5), count)
    async with spread_over(batch, place, folder / "warmed") if spread else contextlib.nullcontext():
        ready = time.perf_counter()
        batch.parallel = count
        await batch.run()
        if spread:
            print(
                f"{count} worker(s): there after {ready - begun:.1f} s, with their model after "
                f"{time.perf_counter() - begun:.1f} s",
                flush=True,
            )
        yield batch


def digest(output: Path) -> str:
    """Of all that was made, records left out."""
    found = hashlib.sha256()
    for path in sorted(p for p in output.rglob("*") if p.is_file() and p.suffix != ".json"):
        found.update(path.relative_to(output).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


async def measure(folder: Path, rounds: int) -> None:
    """Let the four take turns, and print what they came to."""
    best: dict[str, float] = {}
    made = set()
    media_s = 0.0
    connect(LOCAL, num_cpus=max(2, os.cpu_count() or 1))
    async with AsyncExitStack() as held:
        players = {name: await held.enter_async_context(warm(folder, count, ray)) for name, count, ray in ARMS}
        for _ in range(rounds):
            for name, count, _ in ARMS:
                shutil.rmtree(folder / "out", ignore_errors=True)
                batch = batch_of(folder, "in", "out")
                batch.player, batch.parallel = players[name].player, count
                began = time.perf_counter()
                records = await batch.run()
                wall_s = time.perf_counter() - began
                assert all(record.ok for record in records), records
                media_s = sum(record.media_s for record in records)
                best[name] = min(wall_s, best.get(name, wall_s))
                made.add(digest(folder / "out"))
    print(f"\n| | times real time | against {ARMS[0][0]} |\n|---|---|---|")
    for name, wall_s in best.items():
        print(f"| {name} | {media_s / wall_s:.0f} | {best[ARMS[0][0]] / wall_s:.2f} |")
    print(f"\nall outputs the same bytes: {'yes' if len(made) == 1 else 'NO'}", flush=True)


def main() -> int:
    """Run it once with one thread and once with the usual number, a process each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="four recordings of 20 s, one round")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.recordings, args.seconds, args.rounds = 4, 20.0, 1
    if args.here:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_recordings(folder, args.recordings, args.seconds)
            (folder / "warm").mkdir()
            for each in sorted((folder / "in").iterdir())[:2]:
                shutil.copy(each, folder / "warm")
            asyncio.run(measure(folder, args.rounds))
        return 0
    status = 0
    for threads in ("1", ""):
        print(f"\nThreads of PyTorch in each process: {threads or 'as it takes by itself'}\n", flush=True)
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        if threads:
            environment["OMP_NUM_THREADS"] = threads
        command = [sys.executable, "-m", "tests.bench.ray_run", "--here", f"--recordings={args.recordings}"]
        command += [f"--seconds={args.seconds}", f"--rounds={args.rounds}"]
        status |= subprocess.run(command, env=environment, check=False).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
