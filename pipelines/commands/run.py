"""Translate recordings with a graph.

Each INPUT (a file, or a folder searched for recordings) runs through GRAPH on its own; what it makes goes to a folder
of its name below DIR. Finished recordings are skipped when the command is repeated. Exit status: 0 all good, 1 some
recordings failed, 2 the graph or the command is wrong, 130 interrupted (finished recordings stay whole).
"""

from __future__ import annotations

import argparse
import asyncio
import io
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cli import EXIT_INTERRUPTED, end_process
from pipelines.tools.options import add_set, whole_number

if TYPE_CHECKING:
    from pipelines.batch.batch import Batch
    from pipelines.batch.jobs import Job
    from pipelines.batch.records import Record

PATIENCE_S = 0.5
"""How long a cancelled run may take before it says what it waits for, s. No model is waited for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("graph", metavar="GRAPH", help="graph file, or the name of a shipped graph (phrasebook)")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", default=[], help="recordings and folders of recordings")
    parser.add_argument("-o", "--output", metavar="DIR", default="out", help="folder for the results (default: out)")
    add_set(parser)
    parser.add_argument(
        "--jobs", type=whole_number(1, 64), default=1, metavar="N", help="recordings at a time (default: 1)"
    )
    parser.add_argument("--overwrite", action="store_true", help="make finished results again")
    parser.add_argument("--trace", action="store_true", help="print time spent in each element")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no table of utterances")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from rich.console import Console

    from pipelines.batch.jobs import MEDIA_SUFFIXES, Job, plan_jobs
    from pipelines.errors import GraphError
    from pipelines.language.build import check_graph, parse_set
    from pipelines.tools.shipped import shipped_graph

    if Path(args.graph).suffix.lower() in MEDIA_SUFFIXES:
        raise GraphError(
            f"{args.graph} is named like a recording; GRAPH comes first: tolmach run phrasebook {args.graph}"
        )
    path = shipped_graph(args.graph)
    output = Path(args.output)
    params, overrides = parse_set(args.set)
    jobs = plan_jobs(args.inputs, output) if args.inputs else [Job("", None, output)]
    defs = check_graph(path).params
    declared = {p.name for p in defs}
    if not args.inputs and "input" not in params and any(p.name == "input" and p.required for p in defs):
        raise GraphError(f"no recording given for param 'input': tolmach run {args.graph} INPUT... -o DIR")
    if args.inputs and "input" not in declared:
        raise GraphError(f"{path} declares no param 'input', so it cannot take recordings; run it without INPUT")
    if args.inputs and "input" in params:
        raise GraphError("give recordings either as INPUT or as --set input=..., not both")
    if args.inputs and "output" in params and "output" in declared:
        # Each recording has a folder of its own; one for all would have them overwrite each other.
        raise GraphError("with INPUT the folder is given with -o, not with --set output=...")
    typical = next((job for job in jobs if job.is_unicode), jobs[0])
    if _print_problems(path, typical, params, overrides, declared):
        return 2
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise GraphError(f"{output} is a file; -o names a folder") from None
    except OSError as error:
        raise GraphError(f"{output}: cannot be made: {error.strerror or error}") from error

    # Heavy imports (pipecat) only now: a wrong command answers at once.
    from pipelines.batch.batch import Batch
    from pipelines.batch.progress import make_watcher
    from pipelines.batch.report import print_summary, print_trace, print_utterances

    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name that is not UTF-8 must not end in a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(width=None if sys.stdout.isatty() else 120)
    with make_watcher(len(jobs), quiet=args.quiet) as watcher:
        batch = Batch(
            graph_path=path,
            jobs=jobs,
            params=params,
            overrides=overrides,
            declared=frozenset(declared),
            watcher=watcher,
            overwrite=args.overwrite,
            parallel=args.jobs,
            trace=args.trace,
        )
        records = asyncio.run(_run(batch))
    unsaved = _save_summary(output, str(args.graph), records)
    if not args.quiet:
        for record in records:
            print_utterances(console, record)
    if args.trace:
        for name, result in batch.results.items():
            print_trace(console, name, result.elements)
    print_summary(console, records)
    if unsaved:
        print(f"tolmach: error: {unsaved}", file=sys.stderr)
    if batch.cancelled:
        return 130
    return 0 if all(r.ok for r in records) and not unsaved else 1


def _save_summary(output: Path, graph: str, records: Sequence[Record]) -> str:
    """Write summary.json; returns why it could not be, or ""."""
    from pipelines.batch.records import save_summary

    try:
        save_summary(output, graph, records)
    except OSError as error:
        return f"{output}: summary.json cannot be written: {error.strerror or error}"
    return ""


def _print_problems(
    path: Path, job: Job, params: dict[str, Any], overrides: dict[str, Any], declared: set[str]
) -> bool:
    """Print every problem of the graph, as ``tolmach check`` does, before anything heavy is imported.

    Returns:
        Whether there is an error.
    """
    from pipelines.batch.jobs import job_params
    from pipelines.commands.check import use_color
    from pipelines.language.build import check_graph
    from pipelines.language.diagnostics import format_text

    result = check_graph(path, params=job_params(job, params, declared), overrides=overrides, require_params=True)
    if result.diagnostics:
        print(format_text(result.diagnostics, result.sources, color=use_color(sys.stderr)), file=sys.stderr)
    return any(d.severity == "error" for d in result.diagnostics)


async def _run(batch: Batch) -> list[Record]:
    loop = asyncio.get_running_loop()
    interrupt = _interrupt(batch, loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, interrupt)
        except NotImplementedError:  # Windows event loops have none
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(interrupt))
    return await batch.run()


def _interrupt(batch: Batch, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """What a signal does: the first one cancels the batch, the second one ends the process."""
    asked = False

    def interrupt() -> None:
        nonlocal asked
        if asked:
            end_process(EXIT_INTERRUPTED)
        asked = True
        batch.cancel()
        loop.call_later(PATIENCE_S, _say, "tolmach: waiting for files to be closed; interrupt again to end now")

    return interrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
