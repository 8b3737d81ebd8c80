"""What a live speaker feels of a recording: worked on by the server (docs/adr/0046), or by a process of its own.

One process is a server with the phrasebook; in its loop somebody speaks through a live graph's detector and engine, in
real time. Beside that nothing happens, recordings are sent to ``/v1/audio/translations`` one after the other (and the
server minds that somebody speaks, or does not), or ``tolmach run`` works on them at low priority.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

import tolmach
from tests.integration.served_socket import Listening, listening
from tolmach.pipelines.frames import NS_PER_S, TranslationFrame
from tolmach.web.doors.openai import files
from tolmach.web.doors.openai.headless import INPUT, OUTPUT, Wish, file_graph

ROOT = Path(__file__).resolve().parents[2]
SPOKEN = ROOT / "config" / "demo" / "phrasebook-en.flac"
GRAPH = "phrasebook-live"
CHUNK_S, BEAT_S = 0.02, 0.005
REPEATED = 2
"""How many times the demonstration makes the recording that is sent: one minute."""
POST = """
import sys, httpx
while True:
    with open(sys.argv[2], "rb") as file:
        answer = httpx.post(sys.argv[1], data={"model": sys.argv[3]}, files={"file": file}, timeout=600)
    answer.raise_for_status()
    print("done", flush=True)
"""


async def speak(server: Listening) -> list[float]:
    """How long after the end of each utterance its text was there, s."""
    live = server.service.catalogue.find(GRAPH)
    assert live.graph is not None
    recording, rate_hz = soundfile.read(SPOKEN, dtype="float32")
    samples = resample_poly(recording, 48_000 // rate_hz, 1).astype(np.float32)
    late: list[float] = []
    async with tolmach.open(file_graph(live.graph, Wish("translate", "en", "ru")).graph, warm=True) as playing:
        began_s = time.monotonic()

        async def say() -> None:
            step = int(48_000 * CHUNK_S)
            for at in range(0, len(samples), step):
                await asyncio.sleep(max(0.0, began_s + (at + step) / 48_000 - time.monotonic()))
                await playing.input(INPUT).push(samples[at : at + step], 48_000)
            await playing.input(INPUT).end()

        saying = asyncio.create_task(say())
        async for frame in playing.output(OUTPUT):
            if isinstance(frame, TranslationFrame) and frame.final:
                late.append(time.monotonic() - began_s - frame.end_ns / NS_PER_S)  # noqa: PERF401 -- a time each
        await saying
    return late


async def beat(lags: list[float]) -> None:
    """Note how much later than it asked the loop wakes it, s."""
    while True:
        asked_s = time.perf_counter()
        await asyncio.sleep(BEAT_S)
        lags.append(time.perf_counter() - asked_s - BEAT_S)


@contextlib.asynccontextmanager
async def beside(what: str, server: Listening, recording: Path, folder: Path) -> AsyncIterator[list[str]]:
    """Have recordings worked on; gives what was done."""
    done: list[str] = []
    post = [sys.executable, "-c", POST, f"{server.http}/v1/audio/translations", str(recording), GRAPH]
    files.somebody_talks = lambda service: what != "a file, unminded"
    command = {
        "nothing": [],
        "a file": post,
        "a file, unminded": post,
        "`tolmach run`": [
            *("nice", "-n", "10", sys.executable, "-m", "tolmach", "run", "phrasebook", str(recording)),
            *("-o", str(folder / "out"), "--overwrite", "-q"),
        ],
    }[what]
    if not command:
        yield done
        return
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None

    async def note() -> None:
        async for line in process.stdout:  # type: ignore[union-attr]
            done.append(line.decode())  # noqa: PERF401 -- as they come

    noting = asyncio.create_task(note())
    try:
        await asyncio.sleep(3 if "file" in what else 15)  # until its model is loaded
        yield done
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await noting


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def measure(rounds: int) -> None:
    """Print the table."""
    recording, rate_hz = soundfile.read(SPOKEN, dtype="int16")
    print("| beside the speaker | loop late, p50 | p95 | p99 | text after the utterance, p50 | p95 |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        long = Path(name) / "long.flac"
        soundfile.write(long, np.tile(recording, REPEATED), rate_hz)
        async with listening(ROOT / "config", default_graph=GRAPH) as server:
            await speak(server)
            for what in ("nothing", "a file", "a file, unminded", "`tolmach run`"):
                lags: list[float] = []
                late: list[float] = []
                async with beside(what, server, long, Path(name)) as done:
                    beating = asyncio.create_task(beat(lags))
                    for _ in range(rounds):
                        late += await speak(server)
                    beating.cancel()
                loop = " | ".join(f"{1000 * percentile(lags, share):.1f} ms" for share in (0.5, 0.95, 0.99))
                worked = f"{what} ({len(done)} done)" if "file" in what else what
                texts = f"{1000 * statistics.median(late):.0f} ms | {1000 * percentile(late, 0.95):.0f} ms"
                print(f"| {worked} | {loop} | {texts} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="half minutes of speech in each row")
    print("## Files beside sessions\n")
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
