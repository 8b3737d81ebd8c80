"""Shows how far a batch is: live bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from types import TracebackType
from typing import Any, TextIO, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.records import Record, clock, describe
from tolmach.pipelines.frames import NS_PER_S

LINE_EVERY_S = 10.0
"""Seconds between two plain lines about one recording."""


class Pace:
    """Position, speed and time left of one recording; the clock starts with its first frame, not while models load."""

    def __init__(self) -> None:
        self.started: float | None = None
        self.position_s = 0.0
        self.duration_s: float | None = None

    def update(self, position_ns: int, duration_ns: int | None) -> None:
        """Take a new position."""
        if self.started is None:
            self.started = time.monotonic()
        self.position_s = position_ns / NS_PER_S
        if duration_ns:
            self.duration_s = duration_ns / NS_PER_S

    @property
    def rtfx(self) -> float:
        """Audio time over wall time so far; 0 before the first second of wall time, when it says nothing."""
        elapsed_s = time.monotonic() - self.started if self.started is not None else 0.0
        return self.position_s / elapsed_s if elapsed_s >= 1.0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Wall time left at this speed, s; None when the length is unknown."""
        if self.duration_s is None or self.rtfx <= 0:
            return None
        return max(0.0, self.duration_s - self.position_s) / self.rtfx

    def __str__(self) -> str:
        length = clock(self.duration_s) if self.duration_s is not None else "?"
        left = f", {clock(self.left_s)} left" if self.left_s is not None else ""
        speed = f", {self.rtfx:.1f}x real time" if self.rtfx else ""
        return f"{clock(self.position_s)} of {length}{speed}{left}"


class Unbreakable:
    """A text stream that nobody need be reading: what cannot be written to it any more is dropped.

    Progress is no reason to fail. That a terminal or a reader has gone is noticed elsewhere, see
    :mod:`tolmach.pipelines.cli.batch.interrupts`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed on our side
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def started(self, job: Job) -> None:
        """See :class:`tolmach.pipelines.cli.batch.batch.Watcher`."""

    def progress(self, job: Job, position_ns: int, duration_ns: int | None) -> None:
        """See :class:`tolmach.pipelines.cli.batch.batch.Watcher`."""

    def info(self, job: Job, text: str) -> None:
        """See :class:`tolmach.pipelines.cli.batch.batch.Watcher`."""

    def finished(self, job: Job, record: Record) -> None:
        """See :class:`tolmach.pipelines.cli.batch.batch.Watcher`."""


class Lines(Quiet):
    """One line when a recording starts, every ten seconds, and when it ends; for logs and pipes."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._done = 0
        self._paces: dict[str, Pace] = {}
        self._said: dict[str, float] = {}
        self._told: set[str] = set()

    def started(self, job: Job) -> None:
        """Say which recording is opened."""
        self._paces[job.name] = Pace()
        self._said[job.name] = time.monotonic()
        self._say(f"{_label(job)}: started")

    def progress(self, job: Job, position_ns: int, duration_ns: int | None) -> None:
        """Say how far it is, now and then."""
        pace = self._paces.setdefault(job.name, Pace())
        pace.update(position_ns, duration_ns)
        now = time.monotonic()
        if now - self._said.get(job.name, 0.0) >= LINE_EVERY_S:
            self._said[job.name] = now
            self._say(f"{_label(job)}: {pace}")

    def info(self, job: Job, text: str) -> None:
        """Say it once, however many recordings it is said for."""
        if text not in self._told:
            self._told.add(text)
            self._say(text)

    def finished(self, job: Job, record: Record) -> None:
        """Say how it ended."""
        self._done += 1
        self._say(f"[{self._done}/{self._total}] {_label(job)}: {describe(record)}")

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class Bars(Quiet):
    """A live bar for each recording under way and one for the whole batch."""

    def __init__(self, total: int, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[pace]}", markup=False),
            console=console,
            transient=False,
        )
        self._all = self._progress.add_task("all", total=total, pace="", visible=total > 1)
        self._tasks: dict[str, TaskID] = {}
        self._told: set[str] = set()
        self._paces: dict[str, Pace] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, job: Job) -> None:
        """Add a bar."""
        self._paces[job.name] = Pace()
        self._tasks[job.name] = self._progress.add_task(_label(job), total=None, pace="opening")

    def progress(self, job: Job, position_ns: int, duration_ns: int | None) -> None:
        """Move its bar."""
        if job.name not in self._tasks:
            return
        pace = self._paces[job.name]
        pace.update(position_ns, duration_ns)
        self._progress.update(self._tasks[job.name], completed=pace.position_s, total=pace.duration_s, pace=str(pace))

    def info(self, job: Job, text: str) -> None:
        """Say it once, above the bars."""
        if text not in self._told:
            self._told.add(text)
            self._progress.console.print(text, highlight=False, markup=False)

    def finished(self, job: Job, record: Record) -> None:
        """Replace its bar by a line."""
        if job.name in self._tasks:
            self._progress.remove_task(self._tasks.pop(job.name))
        colour = {"done": "green", "skipped": "dim", "cancelled": "yellow"}.get(record.status, "red")
        line = f"[{colour}]{escape(_label(job))}[/]: {escape(describe(record))}"
        self._progress.console.print(line, highlight=False)
        self._progress.advance(self._all)


def make_watcher(total: int, *, quiet: bool, stream: TextIO | None = None) -> Quiet:
    """Bars on a terminal, lines elsewhere, nothing when ``quiet``. Written to stderr, so that stdout stays a table."""
    if quiet:
        return Quiet()
    target = cast("TextIO", Unbreakable(stream or sys.stderr))
    if target.isatty() and _in_foreground(target):
        return Bars(total, Console(file=target))
    return Lines(total, target)


def _in_foreground(terminal: TextIO) -> bool:
    """Whether the terminal is ours now; bars of a job in the background would run over what is typed."""
    try:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, AttributeError, ValueError):  # not our controlling terminal; Windows; no descriptor at all
        return True


def _label(job: Job) -> str:
    return job.name or "graph"
