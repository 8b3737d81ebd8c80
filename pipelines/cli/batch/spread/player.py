"""Plays the graphs of a batch on the workers of a cluster: a lost worker's recording is given to another one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tolmach.pipelines.bus import InfoMessage, Message
from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.playing import Played
from tolmach.pipelines.cli.batch.records import Notes, Record, RecordStatus
from tolmach.pipelines.cli.batch.spread.shipping import Shipment, Shipping
from tolmach.pipelines.cli.batch.spread.worker import Opened, Task
from tolmach.pipelines.cli.batch.spread.workers import Hired, Lost, Workers
from tolmach.pipelines.cluster import here
from tolmach.pipelines.errors import GraphError, ModelError, TolmachError
from tolmach.pipelines.graph import Graph

__all__ = ["MAX_KILLED", "MAX_MOVED", "SpreadPlayer"]

MAX_KILLED = 2
"""Workers that may die over one recording. Two in a row are hardly chance, and a third would be lost for nothing."""

MAX_MOVED = 10
"""Machines that may be lost under one recording, which is not to blame; machines rented by the minute go often."""


class SpreadPlayer:
    """See :class:`tolmach.pipelines.cli.batch.playing.Player`.

    Args:
        workers: The workers, hired.
        trace: Whether to collect per-element figures.
        shipping: Sends recordings and fetches results; None where all machines see them.
    """

    def __init__(self, workers: Workers, *, trace: bool = False, shipping: Shipping | None = None) -> None:
        self.workers = workers
        self.trace = trace
        self.shipping = shipping

    def begin(
        self, job: Job, graph: Graph, record: Record, *, overwrite: bool, tell: Callable[[Message], None]
    ) -> SpreadRun:
        """See :class:`tolmach.pipelines.cli.batch.playing.Player`."""
        return SpreadRun(self, job, graph, record, overwrite, tell)


class SpreadRun:
    """One recording; see :class:`tolmach.pipelines.cli.batch.playing.Run`."""

    def __init__(
        self,
        player: SpreadPlayer,
        job: Job,
        graph: Graph,
        record: Record,
        overwrite: bool,
        tell: Callable[[Message], None],
    ) -> None:
        self._player, self._workers = player, player.workers
        self._job, self._graph, self._record = job, graph, record
        self._overwrite, self._tell = overwrite, tell
        self._opened = False
        self._began = time.perf_counter()
        self._cancelled = asyncio.Event()
        self._worker: Hired | None = None
        self._asked: Any = None  # Ray forgets a call whose answer nobody holds

    def cancel(self) -> None:
        """See :class:`tolmach.pipelines.cli.batch.playing.Run`."""
        self._cancelled.set()
        if self._worker is not None:
            self._asked = self._worker.actor.cancel.remote()

    async def run(self) -> Played:
        """See :class:`tolmach.pipelines.cli.batch.playing.Run`. Cancelled by: :meth:`cancel`."""
        killed, moved = 0, 0
        while True:
            worker = await self._take()
            if worker is None:
                return self._ended("cancelled")
            try:
                played = await self._on(worker)
            except Lost as lost:
                self._workers.replace(worker)
                if self._cancelled.is_set():
                    return self._ended("cancelled")
                killed, moved = killed + (not lost.machine), moved + lost.machine
                if killed >= MAX_KILLED or moved > MAX_MOVED:
                    times = f"{killed} workers" if killed >= MAX_KILLED else f"{moved} machines"
                    return self._ended("failed", f"{times} were lost over it, the last one on {lost.where}: {lost}")
                # What the lost one had finished already is this run's to replace.
                self._overwrite = self._overwrite or self._opened
                name = self._job.name or "graph"
                self._tell(InfoMessage(f"{name}: its worker on {lost.where} was lost ({lost}); another one takes over"))
                continue
            except (GraphError, ModelError):
                self._workers.give_back(worker)
                raise
            except TolmachError as error:
                self._workers.give_back(worker)
                return self._ended("failed", str(error))
            except BaseException:
                self._workers.give_back(worker)
                raise
            self._workers.give_back(worker)
            return played

    async def _take(self) -> Hired | None:
        """A worker; None when cancelled before there was one."""
        taking = asyncio.ensure_future(self._workers.take())
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait([taking, cancelled], return_when=asyncio.FIRST_COMPLETED)
            if self._cancelled.is_set():
                return None
            return taking.result()
        finally:
            cancelled.cancel()
            if not taking.cancel() and self._cancelled.is_set() and taking.exception() is None:
                self._workers.give_back(taking.result())

    async def _on(self, worker: Hired) -> Played:
        """Play on a worker.

        Raises:
            Lost: If it dies, or cannot be reached.
            TolmachError: As :meth:`run` does, and for what concerns this recording alone.
        """
        ray, shipping = self._workers.ray, self._player.shipping
        shipment = None
        if shipping is not None:
            pack = partial(shipping.pack, self._job, self._graph, worker.seen.spool, overwrite=self._overwrite)
            shipment = await asyncio.to_thread(pack)
        if self._cancelled.is_set():
            return self._ended("cancelled")
        self._worker = worker
        try:
            played = await self._follow(worker, shipment)
            if shipping is not None and shipment is not None:
                fetch = partial(shipping.unpack, ray, worker.actor, shipment, played, self._record)
                played = await asyncio.to_thread(fetch, overwrite=self._overwrite)
        except ray.exceptions.RayTaskError:
            raise  # a mistake of ours; Ray shows where
        except ray.exceptions.RayError as error:
            raise await self._workers.lost(worker, error) from error
        finally:
            self._worker = None
        return played

    async def _follow(self, worker: Hired, shipment: Shipment | None) -> Played:
        job, graph, record, sent = self._job, self._graph, self._record, b""
        source = None
        if shipment is not None:
            graph, sent = shipment.graph, shipment.sent
            record = replace(record, output=shipment.output)
        elif job.input is not None:
            source = await asyncio.to_thread(_size, job.input)
        task = Task(graph, record, self._overwrite, self._player.trace, source, shipment.input if shipment else "")
        stream = worker.actor.play.options(num_returns="streaming").remote(task, sent)
        ended: Played | Exception | None = None
        async for reference in stream:
            match await reference:
                case Opened(lost=lost):
                    self._opened = not lost
                case Played() | Exception() as told:
                    ended = told
                case Message() as message:
                    self._tell(message)
        if ended is None:
            raise RuntimeError(f"{self._job.name}: the worker on {worker.host} ended without a word")
        if isinstance(ended, Exception):
            raise _at(worker, ended)
        return ended

    def _ended(self, status: RecordStatus, *errors: str) -> Played:
        """What became of a recording whose worker cannot say it."""
        notes = Notes()
        notes.opened = self._opened
        return Played(notes.record(self._record, status, time.perf_counter() - self._began, errors), None)


def _at(worker: Hired, error: Exception) -> Exception:
    """A worker's error, with the machine where it is not this one: a model may be missing there alone."""
    if isinstance(error, TolmachError) and worker.host != here().host:
        error.args = (f"{error} (on {worker.host})",)
    return error


def _size(path: Path) -> tuple[str, int]:
    return str(path.absolute()), path.stat().st_size
