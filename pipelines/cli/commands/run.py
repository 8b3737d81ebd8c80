"""Translate recordings with a graph.

Each INPUT (a file, or a folder searched for recordings) runs through GRAPH on its own; what it makes goes to a folder
of its name below DIR. Finished recordings are skipped when the command is repeated. Exit status: 0 all good, 1 some
recordings failed, 2 the graph or the command is wrong; 130 interrupted, 143 terminated, 129 the terminal was closed,
141 nobody reads the output any more (finished recordings stay whole). A second signal ends it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tolmach.pipelines.cli.main import EXIT_INTERRUPTED, end_process
from tolmach.pipelines.cli.options import (
    MUX_SUFFIXES,
    add_model_host,
    add_ray,
    add_set,
    add_trust,
    includes_of,
    whole_number,
)
from tolmach.pipelines.errors import GraphError

if TYPE_CHECKING:
    from tolmach.pipelines.cli.batch.batch import Batch
    from tolmach.pipelines.cli.batch.interrupts import Interrupts
    from tolmach.pipelines.cli.batch.records import Record
    from tolmach.pipelines.cli.batch.spread.begin import Spread
    from tolmach.pipelines.language.check import CheckResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("graph", metavar="GRAPH", help="graph file, name of a shipped graph, or a line")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", default=[], help="recordings and folders of recordings")
    parser.add_argument("-o", "--output", metavar="DIR", default="out", help="folder for the results (default: out)")
    add_set(parser)
    add_trust(parser)
    add_model_host(parser)
    parser.add_argument(
        "--jobs",
        type=whole_number(1, 64),
        metavar="N",
        help="recordings at a time (default: 1; with --ray as many as the cluster has room for)",
    )
    add_ray(parser)
    parser.add_argument("--overwrite", action="store_true", help="make finished results again")
    parser.add_argument(
        "--subtitles-beside",
        action="store_true",
        help="put subtitles beside each recording too, named for players (talk.en.srt)",
    )
    parser.add_argument(
        "--mux",
        action="store_true",
        help="put dub and subtitles into a copy of each recording (talk.ru.mp4), in the folder of its results",
    )
    parser.add_argument(
        "--mux-to",
        choices=MUX_SUFFIXES,
        metavar="SUFFIX",
        help=f"the same, into another container: {', '.join(MUX_SUFFIXES)}",
    )
    parser.add_argument("--trace", action="store_true", help="print time spent in each element")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but what went wrong")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from tolmach.pipelines.cli.batch.jobs import Job, job_params, plan_jobs
    from tolmach.pipelines.cli.batch.muxing import Mux, dubs_of, subtitles_of
    from tolmach.pipelines.language.check import check_graph, graph_source, parse_set
    from tolmach.pipelines.language.launch_line import is_line
    from tolmach.pipelines.language.variables import param_with_role
    from tolmach.pipelines.recordings import MEDIA_SUFFIXES
    from tolmach.pipelines.stdio import STDOUT, stdout_for_media, writes_stdout

    if Path(args.graph).suffix.lower() in MEDIA_SUFFIXES and not is_line(args.graph):
        raise GraphError(
            f"{args.graph} is named like a recording; GRAPH comes first: tolmach run phrasebook {args.graph}"
        )
    spread = _spread(args)
    source = graph_source(args.graph)
    muxes = args.mux or args.mux_to is not None
    if muxes and not args.inputs:
        raise GraphError("--mux makes copies of recordings; name one: tolmach run GRAPH INPUT... --mux")
    if not args.output:
        raise GraphError('-o "" names no folder; the current one is called .')
    output = Path(args.output)
    params, overrides = parse_set(args.set)
    jobs = plan_jobs(args.inputs, output) if args.inputs else [Job("", None, output)]
    includes = includes_of(source, args)
    checked = check_graph(source, includes=includes)
    declared = checked.params
    recording, folder = param_with_role(declared, "input"), param_with_role(declared, "output")
    if not args.inputs and recording is not None and recording.required and recording.name not in params:
        raise GraphError(f"no recording given for param {recording.name!r}: tolmach run {args.graph} INPUT... -o DIR")
    if args.inputs and recording is None:
        if tell_problems(checked, warnings=False):
            return 2  # what is wrong may be what should have said it
        raise GraphError(
            f"{source} declares no param 'input' (nor another one with role: input), so it cannot take recordings; run "
            "it without INPUT"
        )
    if args.inputs and recording is not None and recording.name in params:
        raise GraphError(f"give recordings either as INPUT or as --set {recording.name}=..., not both")
    if args.inputs and folder is not None and folder.name in params:
        # Each recording has a folder of its own; one for all would have them overwrite each other.
        raise GraphError(f"with INPUT the folder is given with -o, not with --set {folder.name}=...")
    typical = next((job for job in jobs if job.is_unicode and not job.problem), jobs[0])
    values = job_params(typical, params, declared)
    checked = check_graph(source, params=values, overrides=overrides, require_params=True, includes=includes)
    if tell_problems(checked, warnings=not args.quiet):
        return 2
    if muxes and checked.graph is not None and not (dubs_of(checked.graph) or subtitles_of(checked.graph)):
        raise GraphError(f"--mux: {source} writes neither a dub nor subtitles, so there is nothing to put into a copy")
    settings = [node.settings for node in checked.graph.nodes.values()] if checked.graph is not None else []
    if len(jobs) > 1 and writes_stdout(settings):
        raise GraphError("only one recording at a time can go to standard output (path: -); run them one by one")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise GraphError(f"{output} is a file; -o names a folder") from None
    except OSError as error:
        raise GraphError(f"{output}: cannot be made: {error.strerror or error}") from error

    # Heavy imports (pipecat) only now: a wrong command answers at once.
    from tolmach.pipelines.cli.batch.batch import Batch
    from tolmach.pipelines.cli.batch.console import (
        ReportConsole,
        make_watcher,
        print_problems,
        print_summary,
        print_trace,
        print_utterances,
    )
    from tolmach.pipelines.cli.batch.interrupts import Interrupts

    console = ReportConsole()
    watcher = make_watcher(len(jobs), quiet=args.quiet)
    # With what it makes on standard output, tables are printed on standard error.
    with (
        stdout_for_media(settings) as media,
        Interrupts(leave_now if spread is None else leave_ray, (1 if media is None else media.fd, 2)) as interrupts,
    ):
        with watcher:
            batch = Batch(
                source=source,
                includes=includes,
                jobs=jobs,
                params=params,
                overrides=overrides,
                declared=declared,
                watcher=watcher,
                overwrite=args.overwrite,
                parallel=args.jobs or 1,
                trace=args.trace,
                beside=args.subtitles_beside,
                mux=Mux(f".{args.mux_to}" if args.mux_to else "") if muxes else None,
                resources={} if media is None else {STDOUT: media},
            )
            records = asyncio.run(_run(batch, interrupts, spread, output))
        unsaved = _save_summary(output, str(args.graph), records)
        try:
            if not args.quiet:
                for record in records:
                    print_utterances(console, record)
            if args.trace:
                for name, result in batch.results.items():
                    print_trace(console, name, result)
            if not args.quiet:
                print_summary(console, records)
            else:
                failed = [record for record in records if not record.ok]
                print_problems(ReportConsole(stderr=True), failed)
            if unsaved:
                print(f"tolmach: error: {unsaved}", file=sys.stderr)
            sys.stdout.flush()
        except OSError:
            if interrupts.status is None:
                raise
            # Nobody reads why it ended: that is why it ended.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if batch.cancelled:
            return interrupts.status or EXIT_INTERRUPTED
    return 0 if all(r.ok for r in records) and not unsaved else 1


def leave_now(status: int) -> None:
    """End the process now, in a signal handler: the next run sweeps up what this one leaves half-written."""
    _say_left()
    end_process(status)


def leave_ray(status: int) -> None:
    """The same with a cluster: Ray's orderly end, which takes a second and may wait for a lock, is not waited for.

    Workers, and a cluster that was started here, end when this process has.
    """
    _say_left()
    os._exit(status)


def _say_left() -> None:
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # the progress bars hide the cursor
        print("tolmach: ended at once; what was under way is lost", file=sys.stderr, flush=True)


def _save_summary(output: Path, graph: str, records: Sequence[Record]) -> str:
    """Write summary.json; returns why it could not be, or ""."""
    from tolmach.pipelines.cli.batch.records import save_summary

    try:
        save_summary(output, graph, records)
    except OSError as error:
        return f"{output}: summary.json cannot be written: {error.strerror or error}"
    return ""


def tell_problems(result: CheckResult, *, warnings: bool) -> bool:
    """Print every problem of a graph on standard error, as ``tolmach check`` does, before anything heavy is imported.

    Returns:
        Whether there is an error.
    """
    from tolmach.pipelines.cli.commands.check import use_color
    from tolmach.pipelines.language.diagnostics import format_text

    wrong = any(d.severity == "error" for d in result.diagnostics)
    if result.diagnostics and (wrong or warnings):
        print(format_text(result.diagnostics, result.sources, color=use_color(sys.stderr)), file=sys.stderr)
    return wrong


def _spread(args: argparse.Namespace) -> Spread | None:
    """What was asked for with --ray, or None."""
    if args.ray is None:
        if args.ray_ship or args.ray_cpus is not None or args.ray_gpus is not None:
            raise GraphError("--ray-ship, --ray-cpus and --ray-gpus say how to go about --ray [ADDRESS]; add it")
        return None
    from tolmach.pipelines.cli.batch.spread.begin import Spread
    from tolmach.pipelines.cli.batch.spread.workers import Reserve
    from tolmach.pipelines.cluster import require

    require()
    cpus = 1.0 if args.ray_cpus is None else args.ray_cpus
    return Spread(args.ray, Reserve(cpus, args.ray_gpus), args.jobs, args.ray_ship)


async def _run(batch: Batch, interrupts: Interrupts, spread: Spread | None, output: Path) -> list[Record]:
    interrupts.attach(batch.cancel)
    if spread is None:
        return await batch.run()
    from tolmach.pipelines.cli.batch.spread.begin import spread_over

    async with spread_over(batch, spread, output):
        return await batch.run()
