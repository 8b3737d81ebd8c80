"""Translate recordings with a graph.

Each INPUT (a file, or a folder searched for recordings) runs through GRAPH on its own; what it makes goes to a folder
of its name below OUT. Finished recordings are skipped when the command is repeated. Exit status: 0 all good, 1 some
recordings failed, 2 the graph or the command is wrong, 130 interrupted (finished recordings stay whole).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.batch.batch import Batch
    from pipelines.batch.jobs import Job
    from pipelines.batch.records import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("graph", metavar="GRAPH", help="graph file, or the name of a shipped graph (phrasebook)")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="recordings and folders of recordings")
    parser.add_argument("-o", "--output", metavar="DIR", default="out", help="folder for the results (default: out)")
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a param of the graph, or element.setting; may be repeated",
    )
    parser.add_argument("--jobs", type=_jobs, default=1, metavar="N", help="recordings at a time (default: 1)")
    parser.add_argument("--overwrite", action="store_true", help="make finished results again")
    parser.add_argument("--trace", action="store_true", help="print time spent in each element")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no table of utterances")


def _jobs(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 64:
        raise argparse.ArgumentTypeError("must be between 1 and 64")
    return value


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from rich.console import Console

    from pipelines.batch.jobs import Job, plan_jobs
    from pipelines.errors import GraphError
    from pipelines.language.build import check_graph, parse_set
    from pipelines.tools.shipped import shipped_graph

    path = shipped_graph(args.graph)
    output = Path(args.output)
    if output.exists() and not output.is_dir():
        raise GraphError(f"{output} is a file; -o names a folder")
    params, overrides = parse_set(args.settings)
    jobs = plan_jobs(args.inputs, output) if args.inputs else [Job("", None, output)]
    declared = {p.name for p in check_graph(path).params}
    if args.inputs and "input" not in declared:
        raise GraphError(f"{path} declares no param 'input', so it cannot take recordings; run it without INPUT")
    if args.inputs and "input" in params:
        raise GraphError("give recordings either as INPUT or as --set input=..., not both")
    if _print_problems(path, jobs[0], params, overrides, declared):
        return 2

    # Heavy imports (pipecat) only now: a wrong command answers at once.
    from pipelines.batch.batch import Batch
    from pipelines.batch.progress import make_watcher
    from pipelines.batch.records import save_summary
    from pipelines.batch.report import print_summary, print_trace, print_utterances

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
    save_summary(output, str(args.graph), records)
    if not args.quiet:
        for record in records:
            print_utterances(console, record)
    if args.trace:
        for name, result in batch.results.items():
            print_trace(console, name, result.elements)
    print_summary(console, records)
    if batch.cancelled:
        return 130
    return 0 if all(r.ok for r in records) else 1


def _print_problems(
    path: Path, job: Job, params: dict[str, Any], overrides: dict[str, Any], declared: set[str]
) -> bool:
    """Print every problem of the graph, as ``tolmach check`` does, before anything heavy is imported.

    Returns:
        Whether there is an error.
    """
    from pipelines.batch.jobs import job_params
    from pipelines.language.build import check_graph
    from pipelines.language.diagnostics import format_text

    result = check_graph(path, params=job_params(job, params, declared), overrides=overrides, require_params=True)
    if result.diagnostics:
        print(format_text(result.diagnostics, result.sources, color=sys.stderr.isatty()), file=sys.stderr)
    return any(d.severity == "error" for d in result.diagnostics)


async def _run(batch: Batch) -> list[Record]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, batch.cancel)
        except NotImplementedError:  # Windows event loops have none; Ctrl-C then arrives as KeyboardInterrupt
            break
    return await batch.run()
