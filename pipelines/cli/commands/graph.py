"""Draw a graph: its elements, bins and links with the negotiated caps. Needs no graphviz.

With --as-launch it is written as a line for `tolmach launch`, params with their values and bins as what is in them.
"""

from __future__ import annotations

import argparse
import sys

from tolmach.pipelines.cli.commands.check import use_color
from tolmach.pipelines.cli.main import EXIT_OK, EXIT_USAGE
from tolmach.pipelines.cli.options import add_output, add_set, add_trust, includes_of, write_output
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.language.check import check_graph, graph_source, parse_set
from tolmach.pipelines.language.diagnostics import format_text

SUFFIXES = {".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".svg": "svg"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("graph", metavar="GRAPH", help="graph file, name of a shipped graph, or a line ('a ! b')")
    parser.add_argument("--format", choices=("dot", "mermaid", "svg"), help="default: by the suffix of FILE, else dot")
    add_output(parser)
    parser.add_argument(
        "--as-launch", action="store_true", help="write the graph as a line for `tolmach launch` instead"
    )
    add_set(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Check the graph, then draw it."""
    suffix = args.output.suffix.lower() if args.output else ""
    if args.as_launch and args.format:
        raise GraphError("--as-launch writes text and no drawing; leave --format out")
    if suffix and not args.as_launch and suffix not in SUFFIXES and not args.format:
        raise GraphError(f"{args.output}: no drawing has the suffix {suffix}; use {', '.join(SUFFIXES)}, or --format")
    params, overrides = parse_set(args.set)
    source = graph_source(args.graph)
    result = check_graph(
        source,
        params=params,
        overrides=overrides,
        require_params=args.as_launch,
        includes=includes_of(source, args),
    )
    if result.graph is None:
        sys.stderr.write(format_text(result.diagnostics, result.sources, use_color(sys.stderr)))
        return EXIT_USAGE
    drawing = args.format or SUFFIXES.get(suffix, "dot")
    if args.as_launch:
        from tolmach.pipelines.describe.written import to_line as draw
    elif drawing == "svg":
        from tolmach.pipelines.describe.svg import to_svg as draw
    elif drawing == "mermaid":
        from tolmach.pipelines.describe.render import to_mermaid as draw
    else:
        from tolmach.pipelines.describe.render import to_dot as draw
    text = draw(result.graph)
    write_output(args.output, text)
    return EXIT_OK
