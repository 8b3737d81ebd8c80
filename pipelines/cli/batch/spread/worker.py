"""A worker of a cluster: an actor that plays one recording's graph at a time and tells how far it is.

It has a process of its own, so whatever a recording does to it is done to no other. Nothing that computes is imported
with this module: threads are settled first (:func:`tolmach.pipelines.cluster.settle_threads`).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tolmach.pipelines.bus import (
    Bus,
    ErrorMessage,
    InfoMessage,
    LoadingMessage,
    Message,
    PositionMessage,
    StateMessage,
)
from tolmach.pipelines.cli.batch.spread.spool import Spool
from tolmach.pipelines.cluster import Versions, connect, here, settle_threads
from tolmach.pipelines.errors import GraphError, MediaError, ModelError, OutputError
from tolmach.pipelines.model_host import THREADS, HostPlace, choose

if TYPE_CHECKING:
    from tolmach.pipelines.cli.batch.playing import Played, Run
    from tolmach.pipelines.cli.batch.records import Record
    from tolmach.pipelines.graph import Graph

__all__ = ["Opened", "Seen", "Sight", "Task", "Worker"]

TELL_EVERY_S = 0.2
"""How often a worker tells how far a recording is, s: what people see move."""

MAX_NOTICES = 1000
"""Notices about one recording that are told; the rest are dropped, as a record drops them."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a worker must see before it is given work.

    Attributes:
        folder: Current folder of the process that gives it, where relative paths start.
        relative: Whether some paths are relative.
        recordings: Sizes of some recordings in bytes, by absolute path; empty where recordings are sent.
        output: Absolute path of the folder for results, "" where they are sent back.
        token: What stands in the file ``probe`` there.
        probe: Name of that file.
        models: Where models run.
    """

    folder: str
    relative: bool
    recordings: Mapping[str, int]
    output: str
    token: str
    probe: str
    models: HostPlace = THREADS


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker is, and what it does not see.

    Attributes:
        versions: What it is made of.
        node: Ray's id of its machine.
        pid: Its process there.
        spool: A folder of its own for what is sent, absolute; "" where nothing is.
        missing: What it does not see, a sentence each.
    """

    versions: Versions
    node: str
    pid: int
    spool: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One recording for a worker.

    Attributes:
        graph: The checked graph.
        record: The record, begun.
        overwrite: Whether sinks may replace files.
        trace: Whether to collect per-element figures.
        recording: Absolute path of the recording and its size in bytes, or None.
        sent: Where to put the recording that comes with the task; "" where it lies there.
    """

    graph: Graph
    record: Record
    overwrite: bool
    trace: bool
    recording: tuple[str, int] | None
    sent: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """All sinks could open: files under their names are this run's from now on. ``lost``: they are somebody else's."""

    lost: bool = False


class Worker:
    """See the module. All methods run on one event loop, Ray's for this actor."""

    def __init__(self) -> None:
        settle_threads()
        self._cancelled = False
        self._runs: set[Run] = set()
        self._spool: Spool | None = None

    async def look(self, sight: Sight) -> Seen:
        """Say what this worker is and does not see; relative paths start in the caller's folder from now on."""
        choose(sight.models)
        missing = []
        try:
            os.chdir(sight.folder)
        except OSError as error:
            if sight.relative:
                missing.append(f"{sight.folder}: {error.strerror or error}")
        missing += await asyncio.to_thread(_missing, sight)
        if not sight.output and self._spool is None:
            try:
                self._spool = await asyncio.to_thread(Spool)
            except OSError as error:
                missing.append(f"a folder for what is sent: {error}")
        node = connect().get_runtime_context().get_node_id()  # connected it is, as all workers are
        return Seen(here(), node, os.getpid(), str(self._spool.folder) if self._spool else "", tuple(missing))

    async def play(self, task: Task, sent: bytes = b"") -> AsyncIterator[Message | Opened | Played | Exception]:
        """Play a recording's graph.

        Args:
            task: What to play.
            sent: The recording, where it is sent.

        Yields:
            Messages that people see, :class:`Opened` when it is, and at the end what became of it: or the error that
            would fail every recording alike.
        """
        if problem := await asyncio.to_thread(_prepare, task, sent):
            yield MediaError(f"{problem} (on {here().host})")
            return
        # pipecat and what it stands on, only now.
        from tolmach.pipelines.cli.batch.playing import GraphRun

        told: asyncio.Queue[Message | Opened] = asyncio.Queue(MAX_NOTICES)
        position: list[Message] = []

        def take(message: Message) -> None:
            match message:
                case PositionMessage():
                    position[:] = [message]
                case InfoMessage() | LoadingMessage() if not told.full():
                    told.put_nowait(message)
                case StateMessage(state="ready") if not told.full():
                    told.put_nowait(Opened())
                case ErrorMessage(error=OutputError.__name__) if not told.full():
                    told.put_nowait(Opened(lost=True))

        bus = Bus()
        bus.subscribe(take)
        run = GraphRun(task.graph, task.record, bus=bus, overwrite=task.overwrite, trace=task.trace)
        self._runs.add(run)
        if self._cancelled:
            run.cancel()
        playing = asyncio.create_task(run.run())
        try:
            while not playing.done():
                await asyncio.wait([playing], timeout=TELL_EVERY_S)
                while not told.empty():
                    yield told.get_nowait()
                while position:
                    yield position.pop()
            yield playing.result()
        except (GraphError, ModelError) as error:
            yield error
        finally:
            self._runs.discard(run)

    async def cancel(self) -> None:
        """Stop what plays, and whatever is still to come: the batch has ended."""
        self._cancelled = True
        for run in self._runs:
            run.cancel()

    async def piece(self, path: str, offset: int, size: int) -> bytes:
        """Some bytes of a file in this worker's own folder. Raises OSError, ValueError."""
        if self._spool is None:
            raise ValueError(f"nothing was sent here, and {path} is none of it")
        return await asyncio.to_thread(_read, self._spool.own(path), offset, size)

    async def forget(self, folder: str) -> None:
        """Remove a folder below this worker's own."""
        if self._spool is not None:
            await asyncio.to_thread(shutil.rmtree, self._spool.own(folder), ignore_errors=True)

    async def leave(self) -> None:
        """Remove this worker's own folder; nothing is sent any more."""
        spool, self._spool = self._spool, None
        if spool is not None:
            await asyncio.to_thread(spool.close)


def _missing(sight: Sight) -> list[str]:
    """What cannot be seen or written, a sentence each. Blocks."""
    missing = []
    for path, size in sight.recordings.items():
        if (problem := _unlike(path, size)) is not None:
            missing.append(problem)
    if not sight.output:
        return missing
    try:
        if (Path(sight.output) / sight.probe).read_text() != sight.token:
            missing.append(f"{sight.output}: is another folder of that name")
            return missing
        mine = Path(sight.output) / f".{secrets.token_hex(8)}.tolmach-probe"
        mine.touch()
        mine.unlink()
    except OSError as error:
        missing.append(f"{error.filename or sight.output}: {error.strerror or error}")
    return missing


def _unlike(path: str, size: int) -> str | None:
    try:
        found = os.stat(path).st_size  # noqa: PTH116 -- a string
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return None if found == size else f"{path}: has {found} bytes there and {size} here"


def _prepare(task: Task, sent: bytes) -> str | None:
    """Have the recording where the graph reads it; why it is not, or None. Blocks."""
    if task.sent:
        try:
            Path(task.sent).parent.mkdir(parents=True, exist_ok=True)
            Path(task.sent).write_bytes(sent)
        except OSError as error:
            return f"{task.sent}: {error.strerror or error}"
    return _unlike(*task.recording) if task.recording is not None else None


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
