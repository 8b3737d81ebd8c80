"""Runs one graph over many recordings: skips what is done, survives what is broken, stops cleanly.

On wish it puts subtitles beside the recording, named as players look for them: ``talk.en.srt`` beside ``talk.mp4``.
VLC, mpv, Kodi, Plex and Jellyfin load a file that has the video's name, a language tag and the suffix. And it puts dub
and subtitles back into a copy of the recording.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tolmach.pipelines.bus import Bus, InfoMessage, LoadingMessage, Message, PositionMessage
from tolmach.pipelines.cli.batch.jobs import Job, fingerprint, job_params
from tolmach.pipelines.cli.batch.muxing import Mux, subtitles_of
from tolmach.pipelines.cli.batch.playing import GraphRun, Player, Run
from tolmach.pipelines.cli.batch.records import (
    Record,
    describe,
    files_of,
    is_whole,
    load_record,
    locked,
    save_record,
    write_whole,
)
from tolmach.pipelines.errors import Cancelled, GraphError, ModelError, TolmachError
from tolmach.pipelines.graph import Graph, PadRef
from tolmach.pipelines.language.check import GraphSource, load_graph
from tolmach.pipelines.language.include import Includes
from tolmach.pipelines.language.variables import ParamDef
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.runtime.runner import RunResult
from tolmach.pipelines.runtime.taps import Probe
from tolmach.pipelines.stdio import STDOUT


def put_beside(graph: Graph, recording: Path, mine: Sequence[str], *, overwrite: bool) -> tuple[list[str], list[str]]:
    """Copy the subtitles of a finished run beside its recording. Blocks.

    Args:
        graph: The graph, whose files are all written.
        recording: The recording, as the user named it.
        mine: Files an earlier run put there, which may be replaced.
        overwrite: Whether any file may be.

    Returns:
        Absolute paths of the files that lie there now, and why others do not.
    """
    placed: list[str] = []
    problems: list[str] = []
    for track in subtitles_of(graph):
        source, tag = track.path, f".{track.lang}" if track.lang else ""
        target = Path(os.path.abspath(recording.with_name(f"{recording.stem}{tag}{source.suffix.lower()}")))  # noqa: PTH100 -- no links resolved
        try:
            text = source.read_bytes()
            if str(target) in placed:
                problems.append(f"{target} holds the subtitles of another branch; those in {source} were not copied")
                continue
            if not overwrite and str(target) not in mine and target.exists() and target.read_bytes() != text:
                problems.append(f"{target} exists already and was not replaced (--overwrite); see {source}")
                continue
            write_whole(target, text)
        except OSError as error:
            problems.append(f"{target}: cannot be written: {error.strerror or error}")
            continue
        placed.append(str(target))
    return placed, problems


log = logging.getLogger("tolmach.pipelines.cli.batch")


class Watcher(Protocol):
    """Who wants to follow a batch: the progress bars, or nobody."""

    def started(self, job: Job) -> None:
        """A recording is being opened."""

    def progress(self, job: Job, position_ns: int, duration_ns: int | None) -> None:
        """Media time reached in a recording."""

    def info(self, job: Job, text: str) -> None:
        """Something people should see (a notice of a model, a download)."""

    def finished(self, job: Job, record: Record) -> None:
        """A recording has ended, one way or another."""


class Witness(Protocol):
    """Who wants more of each run than its record holds: what flows, and when."""

    def attend(self, job: Job, graph: Graph, bus: Bus) -> Mapping[PadRef, Probe]:
        """A run begins: subscribe, and say what should be given the frames at which pads."""

    async def depose(self, job: Job, result: RunResult) -> None:
        """It has ended; files written to the job's folder now are among its outputs.

        Raises:
            OSError: If they cannot be written.

        Cancelled by: nobody.
        """


class _Earlier(NamedTuple):
    """What an earlier run has left of a recording.

    Attributes:
        record: Its record, if there is one.
        same: Whether it was made from the same recording and graph.
        stands: Whether nothing of it is made again.
    """

    record: Record | None
    same: bool
    stands: bool


@dataclass(slots=True)
class Batch:
    """A graph and what to run it over.

    Attributes:
        source: Where the graph is written.
        jobs: What to run.
        params: Values of the graph's params; those with the roles input and output are set per job.
        overrides: Values of ``element.setting``.
        overwrite: Whether finished outputs are made again.
        parallel: Runs at a time.
        trace: Whether to collect per-element figures.
        beside: Whether subtitles are also put beside the recordings.
        mux: Puts dub and subtitles into copies of the recordings, or None.
        declared: The graph's params.
        watcher: Follows the batch.
        registry: Element types; the default registry when None.
        includes: Where the files lie that the graph includes; its folder when None.
        resources: What elements find by name; standard output among them, if the graph writes to it.
        witness: Looks on while the runs play here, or None.
        player: Where the graphs play; here when None.
    """

    source: GraphSource
    jobs: Sequence[Job]
    params: Mapping[str, Any]
    overrides: Mapping[str, Any]
    declared: Sequence[ParamDef]
    watcher: Watcher
    overwrite: bool = False
    parallel: int = 1
    trace: bool = False
    beside: bool = False
    mux: Mux | None = None
    registry: Registry | None = None
    includes: Includes | None = None
    resources: Mapping[str, object] = field(default_factory=dict)
    witness: Witness | None = None
    player: Player | None = None
    results: dict[str, RunResult] = field(default_factory=dict)
    _runs: set[Run] = field(default_factory=set)
    _cancelled: bool = False
    _stop: TolmachError | None = None

    def load(self, job: Job) -> Graph:
        """The graph for one job.

        Raises:
            GraphError: With every problem found.
        """
        return load_graph(
            self.source,
            params=job_params(job, self.params, self.declared),
            overrides=self.overrides,
            registry=self.registry,
            require_params=True,
            includes=self.includes,
        )

    def cancel(self) -> None:
        """Stop all runs now; what is finished stays. Safe to call from a signal handler of the loop."""
        self._cancelled = True
        for run in tuple(self._runs):
            run.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled

    async def run(self) -> list[Record]:
        """Run all jobs.

        Returns:
            One record a job, in the order of the jobs; those never started (after a cancel) are missing.

        Raises:
            TolmachError: If the graph or a model it needs is wrong, which would fail every recording alike.
        """
        records: dict[int, Record] = {}
        pending = iter(enumerate(self.jobs))

        async def work() -> None:
            for at, job in pending:
                if self._cancelled or self._stop is not None:
                    return
                try:
                    records[at] = await self._one(job)
                except (GraphError, ModelError) as error:
                    self._stop = self._stop or error
                    return

        workers = [asyncio.create_task(work()) for _ in range(max(1, min(self.parallel, len(self.jobs))))]
        try:
            await asyncio.gather(*workers)
        except BaseException:
            # A bug, or our own task was cancelled: nobody goes on behind our back, and what runs closes its files.
            self.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise
        if self._stop is not None:
            raise self._stop
        return [records[at] for at in sorted(records)]

    async def _one(self, job: Job) -> Record:
        if job.problem:
            return self._failed(job, job.problem)
        if not job.is_unicode:
            return self._failed(job, f"{job.input}: its name is not UTF-8, which a graph cannot hold; rename it")
        try:
            return await self._recording(job)
        except OSError as error:
            # Its folder cannot be written, the disk is full, the recording is gone: it fails, the others go on.
            return self._failed(job, f"{error.filename or job.output}: {error.strerror or error}")

    def _failed(self, job: Job, error: str) -> Record:
        record = replace(_record(job, ""), status="failed", errors=(error,))
        self._finished(job, record)
        return record

    def _finished(self, job: Job, record: Record) -> None:
        level = logging.ERROR if record.status in ("failed", "stale") else logging.INFO
        log.log(level, "%s: %s", job.name or "graph", describe(record))
        for warning in record.warnings if record.status != "skipped" else ():
            log.info("%s: warning: %s", job.name or "graph", warning)
        self.watcher.finished(job, record)

    async def has_work(self) -> bool:
        """Whether there is a recording that is not done, as far as can be seen before the run; not after a cancel.

        Raises:
            GraphError: With every problem found.
        """
        for job in self.jobs:
            if self._cancelled:
                return False
            if job.problem or not job.is_unicode:
                continue  # it fails without being played
            graph = self.load(job)
            try:
                if not (await self._earlier(job, await self._mark(job, graph))).stands:
                    return True
            except OSError:
                return True  # which the run will tell
        return False

    async def _mark(self, job: Job, graph: Graph) -> str:
        values = job_params(job, self.params, self.declared)
        return await asyncio.to_thread(fingerprint, _resolved(graph), values, self.overrides, job.input)

    async def _earlier(self, job: Job, mark: str) -> _Earlier:
        old = await asyncio.to_thread(load_record, job.output)
        same = old is not None and old.fingerprint == mark
        # Somebody who deleted an output wants it made again, and what went through a pipe is gone.
        gone = STDOUT in self.resources
        lost = old is not None and same and (gone or not await asyncio.to_thread(is_whole, job.output, old))
        ended = old is not None and (old.status == "done" or old.settled)
        return _Earlier(old, same, ended and not self.overwrite and not lost)

    async def _recording(self, job: Job) -> Record:
        graph = self.load(job)
        mark = await self._mark(job, graph)
        with ExitStack() as held:
            if not await asyncio.to_thread(held.enter_context, locked(job.output)):
                said = f"{job.output} is being written by another run; run it again when that has ended"
                return self._failed(job, said)
            return await self._locked(job, graph, mark)

    async def _locked(self, job: Job, graph: Graph, mark: str) -> Record:
        old, same, stands = await self._earlier(job, mark)
        if old is not None and stands:
            record = replace(old.as_status("skipped" if same else "stale"), name=job.name, output=str(job.output))
            if record.status == "stale":
                note = f"{job.output} was made with another graph, other settings or another recording; --overwrite"
                record = _with_error(record, f"{note} replaces it")
            elif record.errors:
                # Told again each time, but making it again would not mend the recording.
                record = replace(record, errors=(), warnings=(*record.errors, *record.warnings))
            if record.status == "skipped":
                placed = await self._put_beside(job, graph, record)
                placed = await self._put_back(job, graph, placed, await self._no_mux(job, graph, old.muxed))
                if (placed.beside, placed.muxed) != (old.beside, old.muxed):
                    kept = replace(old, beside=placed.beside, muxed=placed.muxed)
                    await asyncio.to_thread(save_record, job.output, kept)
                record = placed
            self._finished(job, record)
            return record
        if problem := await self._no_mux(job, graph, old.muxed if old is not None else ()):
            return self._failed(job, problem)  # told now and not in an hour
        # What an earlier run left is ours to replace; any other file is the user's.
        replaceable = self.overwrite or (old is not None and old.owned)
        record = replace(_record(job, mark), owned=replaceable)
        if old is not None:
            record = replace(record, beside=old.beside, muxed=old.muxed)
        await asyncio.to_thread(save_record, job.output, record)
        log.info("%s: started", job.name or "graph")
        self.watcher.started(job)
        record = await self._play(job, graph, record, replaceable)
        if record.ok or record.settled:
            record = await self._put_beside(job, graph, record)
            # Saved before the copy is made: a copy that fails, or is interrupted, does not cost the run.
            await asyncio.to_thread(save_record, job.output, record)
            record = await self._put_back(job, graph, record, "")
            if self.mux is not None and (record.ok or record.settled):
                await asyncio.to_thread(save_record, job.output, record)
        else:
            await asyncio.to_thread(save_record, job.output, record)
        self._finished(job, record)
        return record

    async def _no_mux(self, job: Job, graph: Graph, mine: Sequence[str]) -> str:
        """Why no copy of a recording can be made, or ""."""
        if self.mux is None or job.input is None:
            return ""
        look = partial(self.mux.problem, graph, job.input, job.output, mine, overwrite=self.overwrite)
        return await asyncio.to_thread(look)

    async def _put_back(self, job: Job, graph: Graph, record: Record, problem: str) -> Record:
        """Put what was made into a copy of the recording; a record says what came of it."""
        if self.mux is None or job.input is None or self._cancelled:
            return record
        make = partial(self.mux.make, graph, job.input, record, overwrite=self.overwrite, stop=lambda: self._cancelled)
        notes: list[str] = []
        if not problem:
            try:
                name, notes = await asyncio.to_thread(make)
                record = replace(record, muxed=tuple(dict.fromkeys((*record.muxed, name))))
            except Cancelled:
                return record  # what the graph made is whole; the next run makes the copy
            except (TolmachError, OSError) as error:
                problem = str(error)
        if problem:
            return replace(record.as_status("failed"), errors=(*record.errors, problem), settled=False)
        return replace(record, warnings=(*record.warnings, *notes))

    async def _put_beside(self, job: Job, graph: Graph, record: Record) -> Record:
        if not self.beside or job.input is None:
            return record
        placed, problems = await asyncio.to_thread(
            put_beside, graph, job.input, record.beside, overwrite=self.overwrite
        )
        return replace(record, beside=tuple(placed), warnings=(*record.warnings, *problems))

    async def _play(self, job: Job, graph: Graph, record: Record, overwrite: bool) -> Record:
        run = self._run_of(job, graph, record, overwrite)
        self._runs.add(run)
        if self._cancelled:  # while the record was written
            run.cancel()
        try:
            played = await run.run()
        except (GraphError, ModelError):
            await asyncio.to_thread(save_record, job.output, record.as_status("failed"))
            raise
        finally:
            self._runs.discard(run)
        if played.result is not None:
            self.results[job.name] = played.result
            if self.witness is not None:
                # After the record was made: what it writes is added to the outputs.
                await self.witness.depose(job, played.result)
                return replace(played.record, outputs=files_of(job.output, played.record.muxed))
        return played.record

    def _run_of(self, job: Job, graph: Graph, record: Record, overwrite: bool) -> Run:
        def tell(message: Message) -> None:
            self._report(job, message)

        if self.player is not None:
            return self.player.begin(job, graph, record, overwrite=overwrite, tell=tell)
        bus = Bus()
        bus.subscribe(tell)
        probes = self.witness.attend(job, graph, bus) if self.witness is not None else {}
        return GraphRun(
            graph, record, bus=bus, overwrite=overwrite, trace=self.trace, resources=self.resources, probes=probes
        )

    def _report(self, job: Job, message: Message) -> None:
        if isinstance(message, PositionMessage):
            self.watcher.progress(job, message.position_ns, message.duration_ns)
        elif isinstance(message, InfoMessage | LoadingMessage):
            self.watcher.info(job, message.text)


def _resolved(graph: Graph) -> str:
    """What the graph came to: environment variables and defaults count, comments do not."""
    nodes = [f"{n.name} {n.spec.type} {n.on_error} {n.settings.model_dump_json()}" for n in graph.nodes.values()]
    return "\n".join([*nodes, *(f"{link.src} -> {link.sink}" for link in graph.links)])


def _record(job: Job, mark: str) -> Record:
    return Record(
        name=job.name,
        input=str(job.input) if job.input is not None else None,
        output=str(job.output),
        status="running",
        fingerprint=mark,
        source=os.path.realpath(job.input) if job.input is not None else None,
    )


def _with_error(record: Record, error: str) -> Record:
    return replace(record, errors=(error,))
