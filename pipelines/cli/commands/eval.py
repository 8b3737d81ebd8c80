"""Judge a graph by recordings with references.

Each recording of SET runs through GRAPH as with `tolmach run`. SET is a manifest (JSONL: file, language, transcript,
translation; paths from its folder) or a folder of recordings with the translation beside each, as .srt or .txt. DIR
gets index.html, a page to read and to listen to, and eval.json, the same for programs: BLEU, chrF, latencies, how
sentences were cut, what was rejected, how fast it was. --against compares with an earlier DIR. See docs/EVAL.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tolmach.pipelines.cli.commands.run import leave_now, tell_problems
from tolmach.pipelines.cli.main import EXIT_INTERRUPTED
from tolmach.pipelines.cli.options import add_model_host, add_set, add_trust, includes_of, whole_number

if TYPE_CHECKING:
    from tolmach.pipelines.cli.batch.batch import Batch
    from tolmach.pipelines.cli.batch.interrupts import Interrupts
    from tolmach.pipelines.cli.batch.records import Record
    from tolmach.pipelines.cli.evaluation.plan import Plan
    from tolmach.pipelines.cli.evaluation.results import Outcome
    from tolmach.pipelines.graph import Graph
    from tolmach.pipelines.recordings import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "references", metavar="SET", help="manifest (.jsonl), folder of recordings with .srt or .txt, or demo"
    )
    parser.add_argument("graph", metavar="GRAPH", help="graph file, name of a shipped graph, or a line")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder for the results")
    add_set(parser)
    add_model_host(parser)
    add_trust(parser)
    parser.add_argument(
        "--language", metavar="TAG", default="", help="only recordings in this language (and those without speech)"
    )
    parser.add_argument(
        "--limit", type=whole_number(1, 10_000), default=10_000, metavar="N", help="only the first N recordings"
    )
    parser.add_argument("--against", type=Path, metavar="DIR", help="compare with the results of an earlier evaluation")
    parser.add_argument(
        "--judge",
        nargs="?",
        const="package:base",
        metavar="MODEL",
        help="have Whisper listen to the dub and count the words it mishears; MODEL as in whisper_ast (package:base)",
    )
    parser.add_argument("--resume", action="store_true", help="keep what an interrupted evaluation has measured")
    parser.add_argument(
        "--pace",
        action="store_true",
        help="play recordings at their own pace: latencies with computing are read off the clock",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but what went wrong")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from tolmach.pipelines.cli.evaluation.comparison import compare, load_results
    from tolmach.pipelines.cli.evaluation.judge import judge, require_judge
    from tolmach.pipelines.cli.evaluation.page import write_page
    from tolmach.pipelines.cli.evaluation.plan import make_plan
    from tolmach.pipelines.cli.evaluation.quality import require_sacrebleu
    from tolmach.pipelines.cli.evaluation.results import evaluate, save_results
    from tolmach.pipelines.errors import GraphError
    from tolmach.pipelines.language.check import check_graph, graph_source, parse_set
    from tolmach.pipelines.language.variables import param_with_role
    from tolmach.pipelines.recordings import read_set

    require_sacrebleu()
    references = _set(args.references)
    recordings = _chosen(read_set(references), args.language, args.limit)
    earlier = load_results(args.against) if args.against is not None else None
    if args.judge is not None:
        require_judge(args.judge)
    source = graph_source(args.graph)
    output = _folder(args.output)
    params, overrides = parse_set(args.set)
    includes = includes_of(source, args)
    checked = check_graph(source, includes=includes)
    recording, folder = param_with_role(checked.params, "input"), param_with_role(checked.params, "output")
    if recording is None:
        if tell_problems(checked, warnings=False):
            return 2
        raise GraphError(
            f"{source} declares no param 'input' (nor another one with role: input): it takes no recordings"
        )
    for given in (recording, folder):
        if given is not None and given.name in params:
            raise GraphError(f"--set {given.name}=... is given by SET and -o for each recording")
    if args.pace:
        overrides = {**_paced(checked.graph), **overrides}
    plan = make_plan(
        recordings,
        source,
        output,
        params=params,
        overrides=overrides,
        includes=includes,
        declared=checked.params,
    )
    if tell_problems(plan.checked, warnings=not args.quiet):
        return 2
    _make(output)

    # Heavy imports (pipecat) only now: a wrong command answers at once.
    from tolmach.pipelines.cli.batch.batch import Batch
    from tolmach.pipelines.cli.batch.console import ReportConsole, make_watcher
    from tolmach.pipelines.cli.batch.interrupts import Interrupts
    from tolmach.pipelines.cli.evaluation.observation import Observer

    watcher = make_watcher(len(plan.jobs), quiet=args.quiet)
    with Interrupts(leave_now, (1, 2)) as interrupts:
        with watcher:
            batch = Batch(
                source=source,
                includes=includes,
                jobs=plan.jobs,
                params=params,
                overrides=overrides,
                declared=plan.declared,
                watcher=watcher,
                overwrite=not args.resume,
                witness=Observer(paced=args.pace),
            )
            records = asyncio.run(_run(batch, interrupts))
        outcomes = _outcomes(plan, records, output)
        about = _about(args, plan, params, overrides, cancelled=batch.cancelled)
        if any(len(outcome.seen.cuts) > 1 for outcome in outcomes if outcome.seen is not None):
            about["notes"] = list(plan.notes)
        results = evaluate(outcomes, output, about)
        whole = not any(record.status == "skipped" for record in records)  # else it is not what the run would take
        results["speed"]["peak_memory_mib"] = _peak_memory_mib() if whole else None
        if args.judge is not None and not batch.cancelled:
            save_results(output, results)  # who loses patience with the judge keeps the rest
            asyncio.run(judge(results, output, args.judge))
        if earlier is not None:
            results["against"] = compare(results, earlier, str(args.against))
        save_results(output, results)
        write_page(output, results, references)
        if not args.quiet:
            _print(ReportConsole(), results, output)
        for outcome in outcomes:
            if outcome.status == "failed":
                print(f"tolmach: error: {outcome.recording.name}: {'; '.join(outcome.errors)}", file=sys.stderr)
        sys.stdout.flush()
        if batch.cancelled:
            return interrupts.status or EXIT_INTERRUPTED
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


async def _run(batch: Batch, interrupts: Interrupts) -> list[Record]:
    interrupts.attach(batch.cancel)
    return await batch.run()


DEMO = "demo"
"""What the shipped recordings are called."""


def _set(name: str) -> Path:
    """The set that is meant; ``demo`` is the one that ships, where there is no such file."""
    from tolmach.pipelines.shipped import shipped_file

    path = Path(name)
    return shipped_file("demo/manifest.jsonl") if name == DEMO and not path.exists() else path


def _chosen(recordings: Sequence[Recording], language: str, limit: int) -> list[Recording]:
    from tolmach.pipelines.errors import GraphError

    wanted = language.lower()
    chosen = [r for r in recordings if not wanted or r.source_lang == wanted or not r.has_speech]
    if not any(r.has_speech for r in chosen):
        there = ", ".join(sorted({r.source_lang or "unknown" for r in recordings if r.has_speech})) or "none"
        raise GraphError(
            f"no recording with speech{f' in {language}' if wanted else ''}; languages of the set: {there}"
        )
    return chosen[:limit]


def _folder(name: str) -> Path:
    """The folder for the results: an empty one, a new one, or one of an earlier evaluation."""
    from tolmach.pipelines.cli.evaluation.plan import RECORDINGS
    from tolmach.pipelines.cli.evaluation.results import NAME
    from tolmach.pipelines.errors import GraphError

    if not name:
        raise GraphError('-o "" names no folder; the current one is called .')
    output = Path(name)
    if output.exists() and not output.is_dir():
        raise GraphError(f"{output} is a file; -o names a folder")
    ours = (output / NAME).exists() or (output / RECORDINGS).is_dir()
    if output.is_dir() and not ours and any(output.iterdir()):
        raise GraphError(f"{output} holds other things; -o names a new folder, or that of an earlier evaluation")
    return output


def _make(output: Path) -> None:
    from tolmach.pipelines.cli.evaluation.plan import RECORDINGS
    from tolmach.pipelines.errors import GraphError

    try:
        (output / RECORDINGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GraphError(f"{output}: cannot be made: {error.strerror or error}") from error


def _paced(graph: Graph | None) -> dict[str, Any]:
    """Settings that let every source play at the pace of its recording."""
    from tolmach.pipelines.errors import GraphError

    paced: dict[str, Any] = {}
    for node in graph.nodes.values() if graph is not None else ():
        if node.is_source:
            if "pace" not in type(node.settings).model_fields:
                raise GraphError(f"--pace: {node.name} ({node.spec.type}) has no setting 'pace'")
            paced[f"{node.name}.pace"] = "realtime"
    return paced


def _outcomes(plan: Plan, records: Sequence[Record], output: Path) -> list[Outcome]:
    from tolmach.pipelines.cli.evaluation.observation import load_observation
    from tolmach.pipelines.cli.evaluation.results import Outcome

    by_name = {record.name: record for record in records}
    outcomes = []
    for planned in plan.planned:
        record = by_name.get(planned.job.name) if planned.job is not None else None
        if planned.job is None:
            outcomes.append(Outcome(planned.recording, "left out", errors=(planned.why,)))
            continue
        folder = planned.job.output.relative_to(output).as_posix()
        if record is None or record.status == "cancelled":
            outcomes.append(Outcome(planned.recording, "not run"))
        elif record.ok or record.settled:
            seen = load_observation(planned.job.output)
            errors = record.errors if seen is not None else ("what was measured cannot be read; run it again",)
            outcomes.append(
                Outcome(planned.recording, "measured" if seen is not None else "failed", folder, seen, tuple(errors))
            )
        else:
            outcomes.append(Outcome(planned.recording, "failed", folder, None, record.errors))
    return outcomes


def _about(
    args: argparse.Namespace, plan: Plan, params: Mapping[str, Any], overrides: Mapping[str, Any], *, cancelled: bool
) -> dict[str, Any]:
    from tolmach.pipelines.cli.main import distribution_version

    graph = plan.checked.graph
    return {
        "tolmach": distribution_version(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "set": str(args.references),
        "graph": str(args.graph),
        "title": graph.name if graph is not None else str(args.graph),
        "params": {name: str(value) for name, value in params.items()},
        "settings": {name: str(value) for name, value in overrides.items()},
        "paced": bool(args.pace),
        "complete": not cancelled,
        "notes": [],
    }


def _peak_memory_mib() -> float | None:
    with contextlib.suppress(ImportError):  # Windows
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10, 1)
    return None


def _print(console: Any, results: Mapping[str, Any], output: Path) -> None:
    from rich.markup import escape
    from rich.table import Table

    from tolmach.pipelines.cli.evaluation.headline import headline

    table = Table(title=escape(f"{results['title']} on {results['set']}"), title_justify="left", show_header=False)
    table.add_column("what", no_wrap=True)
    table.add_column("value", overflow="fold")
    against = results.get("against") is not None
    if against:
        table.add_column("against", overflow="fold")
    for row in headline(results):
        table.add_row(escape(row.name), escape(row.value), *([escape(row.against)] if against else []))
    console.print(table)
    for note in results["notes"]:
        console.print(f"[yellow]note[/]: {escape(note)}", highlight=False)
    console.print(escape(f"{output / 'index.html'}"), highlight=False)
