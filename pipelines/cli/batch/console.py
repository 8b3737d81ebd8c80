"""What a batch prints: how far it is (live bars on a terminal, plain lines anywhere else), and tables when it is done.

Progress goes to standard error, tables to standard output.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.records import Record, RecordedUtterance, clock, describe
from tolmach.pipelines.frames import NS_PER_S

if TYPE_CHECKING:
    from tolmach.pipelines.runtime.runner import RunResult

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


MAX_UTTERANCES = 60
"""Utterances shown for one recording; the rest stand in its files."""


class ReportConsole(Console):
    """Standard output (or error) for tables: as wide as the terminal, or 120 columns where there is none."""

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        super().__init__(stderr=stderr, width=None if stream.isatty() else 120)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, whose exit status says so; rich would exit with 1."""
        raise BrokenPipeError


def print_utterances(console: Console, record: Record) -> None:
    """What was said when: time, languages, translation, and below it what was understood where somebody asked."""
    if not record.utterances:
        return
    table = Table(title=escape(record.name or "utterances"), title_justify="left", expand=False)
    table.add_column("time", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("to", no_wrap=True)
    table.add_column("translation", overflow="fold")
    for utterance in record.utterances[:MAX_UTTERANCES]:
        table.add_row(
            f"{_stamp(utterance.start_ms)} – {_stamp(utterance.end_ms)}",
            utterance.source_lang,
            utterance.target_lang,
            _text(utterance),
        )
    console.print(table)
    if len(record.utterances) > MAX_UTTERANCES:
        console.print(f"… and {len(record.utterances) - MAX_UTTERANCES} more; see {escape(record.output)}")


def print_summary(console: Console, records: Sequence[Record]) -> None:
    """One line a recording."""
    table = Table(title="summary", title_justify="left", expand=False)
    lagging = any(r.lag_ms is not None for r in records)
    table.add_column("recording", min_width=14, max_width=40, no_wrap=True, overflow="ellipsis")
    table.add_column("status", no_wrap=True)
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("utterances", justify="right")
    table.add_column("speed", justify="right", no_wrap=True)
    if lagging:
        table.add_column("largest lag", justify="right", no_wrap=True)
    table.add_column("files", overflow="fold")
    for record in records:
        colour = {"done": "green", "skipped": "dim", "cancelled": "yellow"}.get(record.status, "red")
        lag = f"{record.lag_ms / 1000:.1f} s" if record.lag_ms is not None else ""
        table.add_row(
            escape(record.name or "graph"),
            f"[{colour}]{record.status}[/]",
            clock(record.media_s),
            _counts(record),
            f"{record.rtfx:.1f}x" if record.rtfx else "",
            *([lag] if lagging else []),
            escape(", ".join((*record.outputs, *record.muxed))),
        )
    console.print(table)
    if reasons := _reasons(records):
        console.print(escape(reasons), highlight=False)
    print_problems(console, records)


def print_problems(console: Console, records: Sequence[Record]) -> None:
    """Errors and warnings, recording by recording."""
    for record in records:
        for error in record.errors:
            console.print(f"[red]error[/]: {escape(record.name or 'graph')}: {escape(error)}", highlight=False)
        for warning in record.warnings[:5]:
            console.print(f"[yellow]warning[/]: {escape(record.name or 'graph')}: {escape(warning)}", highlight=False)
        if len(record.warnings) > 5:
            console.print(f"… and {len(record.warnings) - 5} more warnings in {escape(record.output)}/run.json")


def print_trace(console: Console, name: str, result: RunResult) -> None:
    """Where the time of one recording went, element by element; the shares add up to the wall time."""
    title = f"time in the elements of {escape(name or 'graph')}"
    table = Table(title=title, title_justify="left", expand=False)
    for column in ("element", "frames", "audio s", "busy s", "share s", "slowest ms", "real-time factor"):
        table.add_column(column, justify="left" if column == "element" else "right", no_wrap=True)
    for element, stats in result.elements.items():
        rtf = stats["rtf"]
        table.add_row(
            escape(element),
            str(stats["frames"]),
            f"{stats['audio_s']:.1f}",
            f"{stats['busy_s']:.3f}",
            f"{stats['share_s']:.3f}",
            f"{stats['slowest_ms']:.2f}",
            f"{rtf:.5f}" if rtf is not None else "",
        )
    table.add_section()
    table.add_row("(no element at work)", "", "", "", f"{result.waiting_s:.3f}", "", "")
    table.add_row("wall time", "", "", "", f"{result.playing_s:.3f}", "", "")
    console.print(table)
    console.print("busy: at work, inference included; share: wall time divided among those at work", highlight=False)


def _counts(record: Record) -> str:
    if not record.utterances:
        return str(record.segments)
    rejected = len({(u.utterance, u.start_ms, u.end_ms) for u in record.utterances if u.rejected})
    return f"{record.spoken} ({rejected} rejected)" if rejected else str(record.spoken)


def _reasons(records: Sequence[Record]) -> str:
    """Why texts were rejected, and why engines were asked again, in all recordings; "" where neither was the case."""
    rejected = sum((Counter(record.rejections) for record in records), Counter[str]())
    retries = sum((Counter(record.retries) for record in records), Counter[str]())
    said = [
        f"{what}: {', '.join(f'{number} × {reason}' for reason, number in counts.most_common())}"
        for what, counts in (("rejected", rejected), ("asked again", retries))
        if counts
    ]
    return "; ".join(said)


def _text(utterance: RecordedUtterance) -> str:
    if utterance.rejected:
        return f"[dim]({escape(utterance.rejected)})[/]"
    return escape(utterance.text) + (f"\n[dim]{escape(utterance.source_text)}[/]" if utterance.source_text else "")


def _stamp(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    minutes, secs = divmod(seconds, 60)
    hours, mins = divmod(minutes, 60)
    text = f"{mins:02d}:{secs:02d}.{rest // 100}"
    return f"{hours}:{text}" if hours else text
