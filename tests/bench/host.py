"""How long a live session waits for the model when it is one of sixteen, against when it is alone.

Sessions without a browser: each owner of the host hands in an utterance of the demonstration clips when its speaker
would have ended it, waits for the answer, and goes on with the next one after a pause, at the pace of people who talk.
Measured is what they feel, from the end of the utterance to its text, and of it the wait for the first step, on the
embedded model's host as live sessions use it (a lease each, one utterance a request).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from dataclasses import dataclass, field

import numpy as np

from tests.bench.accuracy import OTHER, ROOT
from tolmach.pipelines.frames import Samples
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.canary.known import read_embedded
from tolmach.processors.canary.request import CanaryRequest, pad_short, token_bound
from tolmach.processors.hosting import HostKey, HostPool, Lease, Model

RATE_HZ = 16000
MODEL = "embedded:phrasebook"
SHARE = 0.65
"""How much of its time a session's speaker talks: a lecturer rather than one of two who take turns."""


@dataclass
class Waits:
    """Of one run, s."""

    answers: list[float] = field(default_factory=list)


def utterances() -> list[CanaryRequest]:
    """One request for each demonstration clip, as ``canary_ast`` makes them."""
    import soundfile

    folder = ROOT / "config" / "demo" / "clips"
    found = []
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        samples: Samples = soundfile.read(folder / row["file"], dtype="float32")[0]
        lang = row["source_lang"]
        bound = token_bound(len(samples) / RATE_HZ)
        found.append(CanaryRequest(pad_short(samples, RATE_HZ), lang, OTHER[lang], bound))
    return found


def _load() -> Model[CanaryRequest, Hypothesis]:
    from tolmach.processors.canary.model import load

    embedded = read_embedded(MODEL)
    return load(str(embedded.path), "cpu", sha256=embedded.sha256)


async def talk(
    lease: Lease[CanaryRequest, Hypothesis],
    clips: list[CanaryRequest],
    owner: int,
    end_s: float,
    merge: bool,
    waits: Waits,
) -> None:
    """One session until the time is over."""
    chance = random.Random(owner)
    await asyncio.sleep(chance.uniform(0, 4))
    while True:
        clip = chance.choice(clips)
        length_s = len(clip.samples) / RATE_HZ
        await asyncio.sleep(length_s)  # it is being said
        if time.monotonic() > end_s:
            return
        began = time.monotonic()
        (outcome,) = await lease.submit([clip], merge=merge)
        waits.answers.append(time.monotonic() - began)
        if isinstance(outcome, Exception):
            raise outcome
        # The next one begins when it would have, however long the answer took.
        pause_s = length_s * (1 / SHARE - 1) * chance.uniform(0.5, 1.5)
        await asyncio.sleep(max(0.0, pause_s - waits.answers[-1]))


async def measure(owners: int, seconds: float, merge: bool) -> Waits:
    """All sessions together; the model is loaded and warm before the clock starts."""
    pool = HostPool()
    waits = Waits()
    clips = utterances()
    key = HostKey("canary", MODEL, "cpu")
    leases = [await pool.acquire(key, _load) for _ in range(owners)]
    for clip in clips[:4]:
        await leases[0].submit([clip])
    end_s = time.monotonic() + seconds
    await asyncio.gather(*(talk(lease, clips, n, end_s, merge, waits) for n, lease in enumerate(leases)))
    for lease in leases:
        lease.release()
    pool.unload_idle()
    return waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--owners", type=int, default=16, help="sessions that share the model")
    parser.add_argument("--seconds", type=float, default=90, help="length of each run, s")
    args = parser.parse_args()
    print("## The model, shared: from the end of an utterance to its text\n")
    print("| sessions | batches | utterances | p50 | p95 | highest | p95 against one |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    alone = None
    for owners, merge in ((1, False), (args.owners, False), (args.owners, True)):
        found = 1000 * np.array(asyncio.run(measure(owners, args.seconds, merge)).answers)
        p50, p95 = np.percentile(found, [50, 95])
        alone = alone or p95
        print(
            f"| {owners} | {'shared' if merge else 'apart'} | {len(found)} | {p50:.0f} ms | {p95:.0f} ms | "
            f"{found.max():.0f} ms | {p95 / alone:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
