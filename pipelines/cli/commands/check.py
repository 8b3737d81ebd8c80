"""Find every problem in graph files, without loading a model or running anything.

Exit status 0 when all graphs are sound (warnings allowed), 2 when any is not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from tolmach.pipelines.cli.main import EXIT_OK, EXIT_USAGE
from tolmach.pipelines.cli.options import add_set, add_trust, includes_of
from tolmach.pipelines.errors import Diagnostic, GraphError
from tolmach.pipelines.language.check import CheckResult, check_graph, graph_source, parse_set
from tolmach.pipelines.language.diagnostics import format_github, format_json, format_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "graphs", nargs="+", metavar="GRAPH", help="graph file, name of a shipped graph, or a line ('a ! b')"
    )
    parser.add_argument("--format", choices=("text", "json", "github"), default="text", help="default: text")
    add_set(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Check all graphs, then say what was found."""
    params, overrides = parse_set(args.set)
    results = [(name, _check(name, params, overrides, args)) for name in args.graphs]
    if args.format == "json":
        found = {name: json.loads(format_json(result.diagnostics)) for name, result in results}
        print(json.dumps([_json(name, result, found[name]) for name, result in results], ensure_ascii=False, indent=2))
    for name, result in results:
        if args.format == "github" and result.diagnostics:
            print(format_github(result.diagnostics))
        elif args.format == "text":
            _print_text(name, result)
    return EXIT_OK if all(result.graph is not None for _, result in results) else EXIT_USAGE


def summary(result: CheckResult) -> str:
    """One line about a graph: ``ok (9 elements, 8 links)`` or ``2 errors, 1 warning``."""
    errors = sum(d.severity == "error" for d in result.diagnostics)
    warnings = len(result.diagnostics) - errors
    counts = [_count(errors, "error")] if errors else []
    counts += [_count(warnings, "warning")] if warnings else []
    if result.graph is None:
        return ", ".join(counts)
    counts[:0] = [_count(len(result.graph.nodes), "element"), _count(len(result.graph.links), "link")]
    return f"ok ({', '.join(counts)})"


def use_color(stream: TextIO) -> bool:
    """Whether a stream is a terminal that wants colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _check(name: str, params: Mapping[str, Any], overrides: Mapping[str, Any], args: argparse.Namespace) -> CheckResult:
    try:
        source = graph_source(name)
    except GraphError as error:
        # One file that is not there must not hide what is wrong with the others.
        return CheckResult(None, (Diagnostic("yaml-syntax", None, str(error)),), {})
    return check_graph(source, params=params, overrides=overrides, includes=includes_of(source, args))


def _print_text(name: str, result: CheckResult) -> None:
    if result.diagnostics:
        print(format_text(result.diagnostics, result.sources, use_color(sys.stdout)))
    print(f"{name}: {summary(result)}")


def _json(name: str, result: CheckResult, diagnostics: list[Any]) -> Mapping[str, Any]:
    graph = result.graph
    return {
        "graph": name,
        "ok": graph is not None,
        "elements": len(graph.nodes) if graph else None,
        "links": len(graph.links) if graph else None,
        "diagnostics": diagnostics,
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
