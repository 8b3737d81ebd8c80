"""Actors against Ray Serve as what hosts a model: latency alone, shared batches, a greedy caller.

What docs/adr/0049 was decided by; needs ``pip install 'ray[serve]'``. The model does nothing: a batch takes 20 ms and
1 ms for each item, so all else is the way there and back, and how batches are made. Requests carry 2.5 s of sound.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from tolmach.pipelines import cluster
from tolmach.pipelines.model_host import HostPlace
from tolmach.processors.hosting import HostKey, HostPool

BATCH_S, ITEM_S, MAX_BATCH = 0.02, 0.001, 16
WAIT_S = 0.01
"""How long Serve waits for more of a batch, s: its default. With 0 it makes batches of one or two."""
SAMPLES = np.zeros(40_000, np.float32)

Asking = Callable[[], Awaitable[object]]


class Waiting:
    """The model."""

    info: dict[str, Any] = {}  # noqa: RUF012 -- as the protocol has it

    def warm(self, items: Sequence[Any] = ()) -> None:
        """Nothing to warm."""

    def run(self, items: Sequence[Any]) -> list[int]:
        """Wait as long as a batch takes."""
        time.sleep(BATCH_S + ITEM_S * len(items))
        return [len(items)] * len(items)


async def with_actors(callers: int) -> list[Asking]:
    """One lease a caller."""
    pool = HostPool()
    place = HostPlace.parse("ray:local")
    leases = [await pool.acquire(HostKey("waiting", "", "cpu"), Waiting, place=place) for _ in range(callers)]
    return [lambda lease=lease: lease.submit([SAMPLES], merge=True) for lease in leases]


async def with_serve(callers: int) -> list[Asking]:
    """One handle for all, as a deployment is called."""
    from ray import serve

    class Deployment:
        def __init__(self) -> None:
            self.model = Waiting()

        @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=WAIT_S)
        async def run(self, items: list[Any]) -> list[int]:
            return await asyncio.to_thread(self.model.run, items)

        async def __call__(self, samples: Any) -> Any:
            return await self.run(samples)

    options: dict[str, Any] = {"max_ongoing_requests": 1000, "ray_actor_options": {"num_cpus": 0}}
    application = serve.deployment(**options)(Deployment).bind()
    handle: Any = await asyncio.to_thread(serve.run, application, name="waiting", route_prefix=None)
    return [lambda: handle.remote(SAMPLES)] * callers


async def measure(make: Callable[[int], Awaitable[list[Asking]]], name: str, callers: int, seconds: float) -> None:
    """Callers that ask again as soon as they are answered; then one of them asks with eight at a time."""
    asking = await make(callers)
    for _ in range(20):
        await asking[0]()

    async def talk(ask: Asking, end_s: float, found: list[float]) -> None:
        while time.monotonic() < end_s:
            began_s = time.monotonic()
            await ask()
            found.append(1000 * (time.monotonic() - began_s))

    for label, groups in (
        ("one caller", [asking[:1]]),
        (f"{callers} callers", [asking]),
        (f"{callers - 1} callers beside one with 64 at a time", [asking[1:], asking[:1] * 64]),
    ):
        end_s = time.monotonic() + seconds
        times: list[list[float]] = [[] for _ in groups]
        await asyncio.gather(
            *(talk(ask, end_s, found) for group, found in zip(groups, times, strict=True) for ask in group)
        )
        p50, p95 = np.percentile(times[0], [50, 95])
        print(f"| {name} | {label} | {p50:.0f} ms | {p95:.0f} ms | {sum(map(len, times)) / seconds:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10, help="length of each run, s")
    args = parser.parse_args()
    ray = cluster.connect(cluster.LOCAL, num_cpus=4)
    print("| | | p50 | p95 | requests/s |\n|---|---|---:|---:|---:|")
    for name, make in (("actors", with_actors), ("Serve", with_serve)):
        asyncio.run(measure(make, name, args.callers, args.seconds))
    ray.shutdown()


if __name__ == "__main__":
    main()
