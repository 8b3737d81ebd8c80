"""From a batch and a cluster's address to a batch whose graphs play on the cluster's workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tolmach.pipelines.cli.batch.batch import Batch
from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.spread.player import SpreadPlayer
from tolmach.pipelines.cli.batch.spread.shipping import Shipping, check_outputs
from tolmach.pipelines.cli.batch.spread.worker import Sight
from tolmach.pipelines.cli.batch.spread.workers import Reserve, Workers, room_for
from tolmach.pipelines.cluster import connect, retake_signals
from tolmach.pipelines.errors import GraphError, TolmachError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.model_host import THREADS, HostPlace, choose, chosen

__all__ = ["Spread", "spread_over"]

MAX_LOOKED_FOR = 200
"""Recordings that each worker looks for before work begins, one a folder first; all are looked for when they are
played."""


LOOK_EVERY_S = 0.1
"""How often it is looked whether the batch was cancelled before it began, s."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """What a user asked for with ``--ray``.

    Attributes:
        address: Of the cluster; see :func:`tolmach.pipelines.cluster.parse_address`.
        reserve: What each worker reserves.
        jobs: Recordings at a time, each on a worker of its own, and of one recording copies of its models; None for as
            many as the cluster has room for.
        ship: Whether recordings are sent and results fetched.
    """

    address: str
    reserve: Reserve
    jobs: int | None = None
    ship: bool = False


@asynccontextmanager
async def spread_over(batch: Batch, spread: Spread, output: Path) -> AsyncIterator[None]:
    """Have the graphs of a batch play on workers while the block lasts.

    One recording alone plays here, and its models run on the cluster, several copies of each: what is translated is
    spread, and what is cheap and one after the other is not (docs/adr/0050).

    A batch that is cancelled meanwhile is not made ready: nothing of it will run.

    Args:
        batch: The batch; it is given its player and how many recordings are done at a time.
        spread: How.
        output: The folder for results, which is there.

    Raises:
        ClusterError: If there is no such cluster, or a worker does not see what it must, is of another version, or none
            can be started.
        GraphError: If results would lie where none are fetched from.

    Cancelled by: the caller; the workers are let go.
    """
    jobs = [job for job in batch.jobs if job.is_unicode and not job.problem]
    if not await batch.has_work():
        yield  # what cannot be read fails without any worker, and what is done needs none
        return
    graph = batch.load(jobs[0])
    if spread.ship:
        check_outputs(jobs[0], graph)
    ray = await _unless_cancelled(batch, _in_a_thread(lambda: connect(spread.address)))
    if ray is None:
        yield
        return
    retake_signals()
    reserve = spread.reserve.settled(ray, graph)
    room = room_for(ray, reserve)
    if len(jobs) == 1:
        with _models_there(graph, replace(spread, reserve=reserve), room):
            yield
        return
    count = min(spread.jobs or room, len(jobs))

    def say(text: str) -> None:
        batch.watcher.info(batch.jobs[0], text)

    sight = await asyncio.to_thread(_sight, jobs, None if spread.ship else output, chosen(graph.host))
    workers = Workers(ray, sight, count=count, reserve=reserve, say=say)
    try:
        if sight.output:
            await asyncio.to_thread(_put, Path(sight.output, sight.probe), sight.token)
        await _unless_cancelled(batch, asyncio.ensure_future(workers.open()))
        batch.parallel = count
        batch.player = SpreadPlayer(workers, trace=batch.trace, shipping=Shipping(batch.load) if spread.ship else None)
        yield
    finally:
        if sight.output:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(Path(sight.output, sight.probe).unlink)
        await workers.close()


@contextlib.contextmanager
def _models_there(graph: Graph, spread: Spread, room: int) -> Iterator[None]:
    """Have the models of this process run on the cluster while the block lasts, unless somebody said where they run."""
    if chosen(graph.host) is not THREADS:
        yield
        return
    # More copies than requests under way at a time would have nothing to do.
    under_way = max(getattr(node.settings, "max_in_flight", 1) for node in graph.nodes.values())
    copies = spread.jobs or min(room, under_way)
    choose(HostPlace("ray", spread.address, copies, spread.reserve.gpus))
    try:
        yield
    finally:
        choose(None)


async def _unless_cancelled(batch: Batch, work: asyncio.Future[T]) -> T | None:
    """What ``work`` comes to; None when the batch is cancelled first."""
    while not batch.cancelled:
        done, _ = await asyncio.wait([work], timeout=LOOK_EVERY_S)
        if done:
            return work.result()
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError, TolmachError):
        await work
    return None


def _in_a_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run ``work`` in a daemon thread: Ray takes seconds to connect, and the end of the process waits for none."""
    loop, found = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(result)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="tolmach-connect", daemon=True).start()
    return found


def _sight(jobs: Sequence[Job], output: Path | None, models: HostPlace) -> Sight:
    """What workers must see: ``output``, and the recordings, unless these are sent. Blocks."""
    paths = [path for job in jobs for path in (job.input, job.output) if path is not None]
    return Sight(
        folder=str(Path.cwd()),
        relative=output is not None and any(not path.is_absolute() for path in paths),
        recordings={} if output is None else _some(jobs),
        output="" if output is None else str(output.absolute()),
        token=secrets.token_hex(16),
        probe=f".{secrets.token_hex(8)}.tolmach-probe",
        models=models,
    )


def _put(path: Path, token: str) -> None:
    try:
        path.write_text(token)
    except OSError as error:
        raise GraphError(f"{path.parent}: cannot be written: {error.strerror or error}") from error


def _some(jobs: Sequence[Job]) -> dict[str, int]:
    """Sizes of some recordings, by absolute path: one of each folder, then others. Blocks."""
    firsts: dict[Path, Path] = {}
    for job in jobs:
        if job.input is not None:
            firsts.setdefault(job.input.parent, job.input)
    rest = (job.input for job in jobs if job.input is not None)
    found: dict[str, int] = {}
    for path in (*firsts.values(), *rest):
        if len(found) >= MAX_LOOKED_FOR:
            break
        with contextlib.suppress(OSError):  # it fails by itself
            found[os.path.abspath(path)] = path.stat().st_size  # noqa: PTH100
    return found
