"""Models on Ray against models in threads: what one live session waits more, and what sixteen and sixty-four wait.

``python -m tests.bench.ray_host`` (4 minutes) takes the embedded model on this machine's CPU: the same utterances are
asked of both hosts in turn, then sessions talk to each as people do (:mod:`tests.bench.host`). Their pauses and lengths
are media time; ``--speed 2`` has them talk twice as fast.

``python -m tests.bench.ray_host --full`` (10 minutes; a GPU with 12 GB of memory, 4 GB of disk in ``--folder``) makes a
model of canary-1b-v2's size with random weights and asks how many sessions it serves with a 95th percentile under half
a second: in a thread, on Ray, on Ray with two copies on the card, and as NeMo's own ``transcribe()`` of whatever waits.
``--model FILE --device cuda`` takes a model that is there.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tests.bench.host import MODEL, utterances
from tolmach.pipelines import cluster
from tolmach.pipelines.model_host import HostPlace
from tolmach.processors.canary.element import _load
from tolmach.processors.canary.known import read_embedded
from tolmach.processors.canary.request import CanaryRequest, token_bound
from tolmach.processors.hosting import HostKey, HostPool

RATE_HZ = 16000
SHARE = 0.35
"""How much of its time a session's speaker talks: one of two who take turns, with their pauses."""

LIMIT_MS = 500.0
UTTERANCE_S = 4.0
"""Length of an utterance for models of random weights, which say as much as they may: 56 tokens."""

PROMPT_TOKENS = 8

LADDER = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class Asked(Protocol):
    """What a session asks."""

    async def __call__(self, item: CanaryRequest) -> None:
        """Return when the text is there."""


@dataclass
class Bench:
    """What is measured.

    Attributes:
        model: Path of the model's file.
        sha256: What it must have, or None.
        device: Where it runs.
        dtype: In what arithmetic.
        clips: What is said.
        speed: How many seconds of media a second takes.
        seconds: How long sessions talk, s.
        merge: Whether their requests share batches.
    """

    model: str
    sha256: str | None
    device: str
    dtype: str
    clips: Sequence[CanaryRequest]
    speed: float
    seconds: float
    merge: bool
    pools: list[HostPool] = field(default_factory=list)

    async def hosted(self, place: HostPlace, sessions: int) -> list[Asked]:
        """A lease a session."""
        load = partial(_load, self.model, self.device, self.sha256, 0, self.dtype)
        pool, key = HostPool(), HostKey("canary", self.model, self.device, self.dtype)
        self.pools.append(pool)
        leases = [await pool.acquire(key, load, place=place, files=[self.model]) for _ in range(sessions)]
        while not all(each.ready for each in getattr(leases[0]._host, "replicas", ())):  # noqa: ASYNC110 -- a bench
            await asyncio.sleep(0.1)
        for _ in range(3 * place.replicas):
            await asyncio.gather(*(lease.submit([self.clips[0]]) for lease in leases[: place.replicas]))

        async def ask(lease: Any, item: CanaryRequest) -> None:
            (outcome,) = await lease.submit([item], merge=self.merge, size=float(len(item.samples)))
            if isinstance(outcome, Exception):
                raise outcome

        return [partial(ask, lease) for lease in leases]

    async def talk(self, ask: Asked, owner: int, end_s: float, waits: list[float]) -> None:
        """One session until the time is over."""
        chance = random.Random(owner)
        await asyncio.sleep(chance.uniform(0, 4) / self.speed)
        while True:
            clip = chance.choice(self.clips)
            length_s = len(clip.samples) / RATE_HZ / self.speed
            await asyncio.sleep(length_s)  # it is being said
            if time.monotonic() > end_s:
                return
            began_s = time.monotonic()
            await ask(clip)
            waits.append(time.monotonic() - began_s)
            pause_s = length_s * (1 / SHARE - 1) * chance.uniform(0.5, 1.5)
            await asyncio.sleep(max(0.0, pause_s - waits[-1]))

    async def sessions(self, asking: Sequence[Asked]) -> np.ndarray[Any, Any]:
        """How long each utterance of all sessions waited for its text, ms."""
        waits: list[float] = []
        end_s = time.monotonic() + self.seconds
        async with asyncio.timeout(10 * self.seconds + 60):  # whoever is overrun by far has lost
            await asyncio.gather(*(self.talk(ask, n, end_s, waits) for n, ask in enumerate(asking)))
        return 1000 * np.array(waits)


class TranscribeHost:
    """NeMo's ``transcribe()`` of all that waits, as one would write it: a thread, a queue, batches of 32 at most."""

    def __init__(self, model: str, device: str, dtype: str) -> None:
        import torch
        from nemo.collections.asr.models import EncDecMultiTaskModel
        from nemo.utils import logging
        from omegaconf import open_dict

        logging.setLevel(logging.ERROR)
        self._model = EncDecMultiTaskModel.restore_from(model, map_location=device).eval()
        if dtype != "float32":
            self._model.to(getattr(torch, dtype))
            self._model.preprocessor.to(torch.float32)
        decoding = self._model.cfg.decoding
        with open_dict(decoding):
            # The same number of tokens as ours may say: NeMo's bound is the encoder's frames and this, less the prompt.
            decoding.beam.max_generation_delta = round(token_bound(UTTERANCE_S) - 12.5 * UTTERANCE_S) + PROMPT_TOKENS
        self._model.change_decoding_strategy(decoding)
        self._waiting: list[tuple[CanaryRequest, asyncio.Future[None], asyncio.AbstractEventLoop]] = []
        self._wake = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    async def __call__(self, item: CanaryRequest) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._wake:
            self._waiting.append((item, future, loop))
            self._wake.notify()
        await future

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting:
                    self._wake.wait()
                batch, self._waiting = self._waiting[:32], self._waiting[32:]
            first = batch[0][0]
            self._model.transcribe(
                [item.samples for item, _, _ in batch],
                batch_size=len(batch),
                source_lang=first.source_lang,
                target_lang=first.target_lang,
                verbose=False,
            )
            for _, future, loop in batch:
                loop.call_soon_threadsafe(future.set_result, None)


def noise(seconds: float) -> list[CanaryRequest]:
    """Eight utterances of noise."""
    chance = np.random.default_rng(0)
    clips = (0.1 * chance.standard_normal((8, round(seconds * RATE_HZ)))).astype(np.float32)
    return [CanaryRequest(clip, "en", "ru", token_bound(seconds)) for clip in clips]


def make_full(folder: Path, width: int = 1024, layers: int = 32) -> Path:
    """A model of canary-1b-v2's shape with random weights, 3.8 GB; made once. It never ends a text before its bound."""
    path = folder / "full.nemo"
    if path.exists():
        return path
    import torch
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from omegaconf import OmegaConf

    from tests import nemo_models

    (folder / "making").mkdir(parents=True, exist_ok=True)
    nemo_models._tokenizer(folder / "making" / "tokenizer")
    config = nemo_models._config(folder / "making" / "tokenizer", 1, width, layers)
    config["preprocessor"] |= {"features": 128, "pad_to": 0}
    config["encoder"] |= {"feat_in": 128, "n_heads": 8, "subsampling_conv_channels": 256}
    config["transf_decoder"]["config_dict"] |= {
        "num_layers": 8,
        "inner_size": 4 * width,
        "num_attention_heads": 8,
        "max_sequence_length": 1024,
    }
    torch.manual_seed(0)
    model = EncDecMultiTaskModel(OmegaConf.create(config))
    pieces = [str(model.tokenizer.ids_to_tokens([i])[0]) for i in range(model.tokenizer.vocab_size)]
    with torch.no_grad():
        # Russian letters alone: neither an end, nor a text that would be tried again for its script.
        bias = [0.0 if any("а" <= char <= "я" for char in piece.lower()) else -20.0 for piece in pieces]
        model.log_softmax.mlp.layer0.bias[: len(bias)] = torch.tensor(bias)
    model.save_to(str(path))
    return path


def row(name: str, sessions: int, found: np.ndarray[Any, Any]) -> tuple[str, float]:
    """A row of the table, and its 95th percentile, ms."""
    p50, p95 = np.percentile(found, [50, 95])
    return f"| {name} | {sessions} | {len(found)} | {p50:.0f} ms | {p95:.0f} ms | {found.max():.0f} ms |", p95


async def added(bench: Bench, places: dict[str, HostPlace], count: int) -> None:
    """One live session: the same utterances of each host in turn."""
    asking = {name: (await bench.hosted(place, 1))[0] for name, place in places.items()}
    times: dict[str, list[float]] = {name: [] for name in asking}
    for number in range(count):
        for name, ask in asking.items():
            began_s = time.perf_counter()
            await ask(bench.clips[number % len(bench.clips)])
            times[name].append(1000 * (time.perf_counter() - began_s))
            await asyncio.sleep(0.02)
    thread = np.array(times.pop("thread"))
    print("| one session | p50 | p95 | added: p50 | p95 |\n|---|---:|---:|---:|---:|")
    print(f"| thread | {np.percentile(thread, 50):.1f} ms | {np.percentile(thread, 95):.1f} ms | | |")
    for name, found in times.items():
        p50, p95 = np.percentile(found, [50, 95])
        more = np.array(found) - thread
        print(
            f"| {name} | {p50:.1f} ms | {p95:.1f} ms | {np.percentile(more, 50):+.1f} ms | "
            f"{np.percentile(more, 95):+.1f} ms |",
            flush=True,
        )


@contextmanager
def table(title: str) -> Iterator[None]:
    print(f"\n## {title}\n\n| host | sessions | utterances | p50 | p95 | highest |\n|---|---:|---:|---:|---:|---:|")
    yield
    print(flush=True)


async def crowd(bench: Bench, places: dict[str, HostPlace], counts: Sequence[int]) -> None:
    """So many sessions on each host."""
    with table(f"Sessions that talk {SHARE:.0%} of their time, from the end of an utterance to its text"):
        for name, place in places.items():
            for count in counts:
                asking = await bench.hosted(place, count)
                print(row(name, count, await bench.sessions(asking))[0], flush=True)


async def ladder(bench: Bench, name: str, make: Callable[[int], Any]) -> None:
    """More and more sessions, until they wait too long."""
    best = 0
    for count in LADDER:
        try:
            text, p95 = row(name, count, await bench.sessions(await make(count)))
        except TimeoutError:
            text, p95 = f"| {name} | {count} | | | overrun | |", float("inf")
        print(text, flush=True)
        if p95 > LIMIT_MS:
            break
        best = count
    print(f"| **{name}** | **{best}** | | | **under {LIMIT_MS:.0f} ms** | |", flush=True)


async def climb(bench: Bench) -> None:
    """How many sessions each way serves."""
    copies = {"on Ray": "ray:local", "on Ray, two copies": "ray:local,replicas=2,num_gpus=0.5"}
    with table(f"Sessions at a 95th percentile under {LIMIT_MS:.0f} ms, {UTTERANCE_S:g} s an utterance"):
        await ladder(bench, "thread", lambda count: bench.hosted(HostPlace(), count))
        bench.pools[0].unload_idle()
        for name, text in copies.items():
            place = HostPlace.parse(text if bench.device != "cpu" else text.replace(",num_gpus=0.5", ""))
            await ladder(bench, name, lambda count, place=place: bench.hosted(place, count))  # type: ignore[misc]
        nemo: list[TranscribeHost] = []

        async def transcribing(count: int) -> list[Asked]:
            nemo[:] = nemo or [await asyncio.to_thread(TranscribeHost, bench.model, bench.device, bench.dtype)]
            await nemo[0](bench.clips[0])
            return [nemo[0]] * count

        await ladder(bench, "NeMo's transcribe()", transcribing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--seconds", type=float, default=40, help="length of each run, s")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of media a second")
    parser.add_argument("--utterances", type=int, default=150, help="of the one session")
    parser.add_argument("--full", action="store_true", help="make a model of full size in --folder and take that")
    parser.add_argument("--folder", type=Path, default=Path("build/full"))
    parser.add_argument("--model", help="a .nemo file instead of the embedded model")
    parser.add_argument("--device", default="cuda:0", help="of --full and --model; default: cuda:0")
    parser.add_argument("--dtype", default="bfloat16", help="of --full and --model; default: bfloat16")
    args = parser.parse_args()
    device = "cuda:0" if args.device == "cuda" else args.device
    cluster.connect(cluster.LOCAL)
    if args.full or args.model:
        model = args.model or str(make_full(args.folder))
        clips = noise(UTTERANCE_S)
        bench = Bench(model, None, device, args.dtype, clips, args.speed, args.seconds, merge=True)
        asyncio.run(climb(bench))
        return
    embedded = read_embedded(MODEL)
    clips = utterances()
    bench = Bench(str(embedded.path), embedded.sha256, "cpu", "auto", clips, args.speed, args.seconds, merge=False)
    one, two = HostPlace.parse("ray:local"), HostPlace.parse("ray:local,replicas=2")

    async def all_of_it() -> None:
        await added(bench, {"thread": HostPlace(), "Ray": one}, args.utterances)
        await crowd(bench, {"thread": HostPlace(), "Ray": one, "Ray, two copies": two}, args.sessions)

    asyncio.run(all_of_it())


if __name__ == "__main__":
    main()
