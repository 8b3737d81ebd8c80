"""Measure a graph on this machine: speed, memory, and where the time goes.

GRAPH runs several times over one recording (the shipped demo recording when none is given); what it makes is thrown
away. RTFx is audio time over wall time: above 1 the graph keeps up with live speech. The best round counts, because
what disturbs a round only ever makes it slower. The first round also loads the models and is shown apart.

`tolmach bench endpoints RECORDINGS` measures something else: how well the ends of sentences are found in recordings of
your own, a folder of them or a manifest.jsonl (a JSON object a line: file, language, transcript), each of them one
turn. It tells false cuts and latency of a fixed hangover, of smart_turn, of learnt pauses and of all together, on the
recordings as they are and made hesitant; --set vad.NAME=VALUE measures a setting of yours besides.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tolmach.pipelines.cli.options import add_model_host, add_set, add_trust, includes_of, whole_number

if TYPE_CHECKING:
    from tolmach.pipelines.graph import Graph
    from tolmach.pipelines.language.check import GraphSource
    from tolmach.pipelines.language.include import Includes
    from tolmach.pipelines.runtime.runner import RunResult

DEMO = "demo/phrasebook-en.flac"

ENDPOINTS = "endpoints"
BENCH_ENDPOINTS = "tolmach.processors.vad.bench.report:bench_endpoints"
"""By name, because the engine may not import the floors above it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "graph",
        metavar="GRAPH",
        nargs="?",
        default="phrasebook",
        help="graph file, name of a shipped graph, or a line; default: phrasebook",
    )
    parser.add_argument("input", metavar="INPUT", nargs="?", help="a recording; default: the shipped English one")
    add_set(parser)
    add_model_host(parser)
    add_trust(parser)
    parser.add_argument("--rounds", type=whole_number(1, 100), default=3, metavar="N", help="default: 3")
    endpoints = parser.add_argument_group("bench endpoints")
    endpoints.add_argument(
        "--hesitations", type=whole_number(0, 20), default=2, metavar="N", help="hesitant ones of each; default: 2"
    )
    endpoints.add_argument(
        "--translator", metavar="TYPE", help="hear what a translator says too: canary_ast --set ast.model=…"
    )
    endpoints.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    if args.graph == ENDPOINTS:
        return _endpoints(args)
    from tolmach.pipelines.cli.batch.console import ReportConsole
    from tolmach.pipelines.cli.batch.jobs import Job, job_params
    from tolmach.pipelines.cli.commands.check import use_color
    from tolmach.pipelines.errors import GraphError
    from tolmach.pipelines.language.check import check_graph, graph_source, parse_set
    from tolmach.pipelines.language.diagnostics import format_text
    from tolmach.pipelines.language.variables import param_with_role
    from tolmach.pipelines.shipped import shipped_file

    graph = graph_source(args.graph)
    params, overrides = parse_set(args.set)
    includes = includes_of(graph, args)
    checked = check_graph(graph, includes=includes)
    declared = checked.params
    takes = param_with_role(declared, "input") is not None
    if args.input and not takes:
        if not checked.ok:
            # What is wrong may be what should have said it.
            print(format_text(checked.diagnostics, checked.sources, color=use_color(sys.stderr)), file=sys.stderr)
            return 2
        raise GraphError(
            f"{graph} declares no param 'input' (nor another one with role: input), so it cannot take a recording; "
            "measure it without INPUT"
        )
    source = Path(args.input) if args.input else shipped_file(DEMO) if takes else None
    with tempfile.TemporaryDirectory(prefix="tolmach-bench-") as folder:
        job = Job("bench", source, Path(folder))
        values = job_params(job, params, declared)
        result = check_graph(graph, params=values, overrides=overrides, require_params=True, includes=includes)
        if result.graph is None:
            print(format_text(result.diagnostics, result.sources, color=use_color(sys.stderr)), file=sys.stderr)
            return 2
        _spare_files(result.graph, Path(folder))
        rounds = asyncio.run(_rounds(graph, values, overrides, includes, args.rounds))
    _print(ReportConsole(), str(args.graph), source, rounds)
    return 0 if all(r.ok for r in rounds) else 1


def _endpoints(args: argparse.Namespace) -> int:
    from tolmach.pipelines.errors import GraphError
    from tolmach.pipelines.language.check import parse_set

    if not args.input:
        raise GraphError("bench endpoints: give RECORDINGS: a folder of them, or a manifest.jsonl")
    params, overrides = parse_set(args.set)
    settings: dict[str, dict[str, Any]] = {"vad": {}, "ast": {}}
    for name, value in overrides.items():
        element, _, setting = name.partition(".")
        if element not in settings:
            raise GraphError(f"bench endpoints: --set {name}: give vad.NAME=VALUE, or ast.NAME=VALUE of the translator")
        settings[element][setting] = value
    if params:
        raise GraphError(f"bench endpoints: --set {next(iter(params))}: give vad.NAME=VALUE or ast.NAME=VALUE")
    module, _, name = BENCH_ENDPOINTS.partition(":")
    bench: Any = getattr(importlib.import_module(module), name)
    status: int = bench(
        Path(args.input),
        hesitations=args.hesitations,
        vad=settings["vad"],
        translator=args.translator,
        ast=settings["ast"],
        json_file=args.json,
        say=lambda text: print(text, file=sys.stderr),
    )
    return status


def _spare_files(graph: Graph, folder: Path) -> None:
    """Refuse to replace files that are not ours: what is measured is thrown away.

    Raises:
        GraphError: If a sink would, or would write to standard output.
    """
    from tolmach.pipelines.element import output_paths
    from tolmach.pipelines.errors import GraphError
    from tolmach.pipelines.stdio import STDIO

    for node in graph.nodes.values():
        for path in output_paths(node.settings).values():
            if path == STDIO:
                raise GraphError(f"{node.name} writes to standard output, where the figures are; measure a fake_sink")
            if Path(path).expanduser().is_file() and not Path(path).is_relative_to(folder):
                hint = "write below ${param:output}, or measure a fake_sink"
                raise GraphError(f"{path} is there already, and {node.name} would replace it each round; {hint}")


async def _rounds(
    source: GraphSource, params: dict[str, Any], overrides: dict[str, Any], includes: Includes, count: int
) -> list[RunResult]:
    from tolmach.pipelines.language.check import load_graph
    from tolmach.pipelines.runtime.runner import GraphRunner

    results = []
    for _ in range(count):
        graph = load_graph(source, params=params, overrides=overrides, require_params=True, includes=includes)
        results.append(await GraphRunner(graph, trace=True).run())
    return results


def _print(console: Any, name: str, source: Path | None, rounds: list[RunResult]) -> None:
    from rich.markup import escape

    from tolmach.pipelines.cli.batch.console import print_trace
    from tolmach.pipelines.frames import NS_PER_S

    for message in (m for r in rounds for m in r.errors):
        console.print(f"[red]error[/]: {escape(f'{message.element}: {message.text}')}", highlight=False)
    # A round that broke off was not fast.
    whole = [r for r in rounds if r.ok]
    if not whole:
        return
    best = min(whole, key=lambda r: r.playing_s)
    media_s = best.media_ns / NS_PER_S
    print_trace(console, name, best)
    console.print(f"recording   {escape(source.name) if source else 'none'}, {media_s:.1f} s", highlight=False)
    console.print(
        f"start-up    {rounds[0].wall_s - rounds[0].playing_s:.1f} s (imports and models, once)", highlight=False
    )
    console.print(f"best round  {best.playing_s:.2f} s, RTFx {media_s / best.playing_s:.1f}", highlight=False)
    console.print(f"memory      {_peak_rss_mib():.0f} MiB at its highest", highlight=False)


def _peak_rss_mib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes on macOS, KiB on Linux
