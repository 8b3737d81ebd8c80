"""The tables ``tolmach run`` prints when it is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tolmach.pipelines.cli.batch.records import Record, RecordedUtterance, clock

if TYPE_CHECKING:
    from tolmach.pipelines.runtime.runner import RunResult

MAX_UTTERANCES = 60
"""Utterances shown for one recording; the rest stand in its files."""


class ReportConsole(Console):
    """Standard output for tables: as wide as the terminal, or 120 columns where there is none."""

    def __init__(self) -> None:
        super().__init__(width=None if sys.stdout.isatty() else 120)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, whose exit status says so; rich would exit with 1."""
        raise BrokenPipeError


def print_utterances(console: Console, record: Record) -> None:
    """What was said when: time, source language, translation."""
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
            escape(", ".join(record.outputs)),
        )
    console.print(table)
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


def _text(utterance: RecordedUtterance) -> str:
    if utterance.rejected:
        return f"[dim]({escape(utterance.rejected)})[/]"
    return escape(utterance.text)


def _stamp(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    minutes, secs = divmod(seconds, 60)
    hours, mins = divmod(minutes, 60)
    text = f"{mins:02d}:{secs:02d}.{rest // 100}"
    return f"{hours}:{text}" if hours else text
