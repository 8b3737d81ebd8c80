"""Run a graph that is written on one line, in the syntax of gst-launch.

    tolmach launch 'file_src path=talk.wav ! resample rate_hz=16000 ! silero_vad ! jsonl_sink path=speech.jsonl'

LINE is one argument or several. Files that are there already are not replaced without --overwrite. Nothing but what its
sinks write is left: no folder, no record of the run. Exit status: 0 all good, 1 something failed, 2 the line is wrong;
130 interrupted, 143 terminated, 129 the terminal was closed, 141 nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tolmach.pipelines.cli.main import EXIT_BROKEN_PIPE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from tolmach.pipelines.cli.options import add_model_host, add_set

if TYPE_CHECKING:
    from tolmach.pipelines.cli.batch.interrupts import Interrupts
    from tolmach.pipelines.cli.batch.once import Once
    from tolmach.pipelines.cli.batch.records import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("line", metavar="LINE", nargs="+", help="the graph: type setting=value ! type ! …")
    add_set(parser)
    add_model_host(parser)
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="FILE",
        help="a file whose bins the line uses as bin/NAME; may be repeated",
    )
    parser.add_argument("--print-yaml", action="store_true", help="write the graph as a graph file, and do not run it")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    parser.add_argument("--trace", action="store_true", help="print time spent in each element")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but what went wrong")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from tolmach.pipelines.cli.commands.run import leave_now, tell_problems
    from tolmach.pipelines.language.check import check_graph, parse_set
    from tolmach.pipelines.language.launch_line import LaunchLine

    line = LaunchLine(joined(args.line), tuple(args.include))
    _refuse_file(line.text.strip())
    params, overrides = parse_set(args.set)
    checked = check_graph(line, params=params, overrides=overrides, require_params=not args.print_yaml)
    if tell_problems(checked, warnings=not args.quiet) or checked.graph is None:
        return EXIT_USAGE
    if args.print_yaml:
        from tolmach.pipelines.describe.written import line_as_yaml

        sys.stdout.write(line_as_yaml(line))
        return EXIT_OK

    # Heavy imports (pipecat) only now: a wrong line answers at once.
    from tolmach.pipelines.cli.batch.console import (
        ReportConsole,
        make_watcher,
        print_problems,
        print_summary,
        print_trace,
        print_utterances,
    )
    from tolmach.pipelines.cli.batch.interrupts import Interrupts
    from tolmach.pipelines.cli.batch.once import Once
    from tolmach.pipelines.stdio import STDOUT, stdout_for_media

    # With its output on standard output, tables are printed on standard error.
    with (
        stdout_for_media(node.settings for node in checked.graph.nodes.values()) as media,
        Interrupts(leave_now, (1 if media is None else media.fd, 2)) as interrupts,
    ):
        with make_watcher(1, quiet=args.quiet) as watcher:
            resources = {} if media is None else {STDOUT: media}
            once = Once(checked.graph, watcher, overwrite=args.overwrite, trace=args.trace, resources=resources)
            record = asyncio.run(_run(once, interrupts))
        if once.unread:
            return EXIT_BROKEN_PIPE
        console = ReportConsole()
        try:
            if not args.quiet:
                print_utterances(console, record)
            if args.trace and once.result is not None:
                print_trace(console, record.name, once.result)
            if not args.quiet:
                print_summary(console, [record])
            elif not record.ok:
                print_problems(ReportConsole(stderr=True), [record])
            sys.stdout.flush()
        except OSError:
            if interrupts.status is None:
                raise
            # Nobody reads why it ended: that is why it ended.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if record.status == "cancelled":
            return interrupts.status or EXIT_INTERRUPTED
    return EXIT_OK if record.ok else EXIT_FAILED


def _refuse_file(text: str) -> None:
    """Say what to do with a graph that is in a file."""
    from tolmach.pipelines.errors import GraphError
    from tolmach.pipelines.language.launch_line import is_line
    from tolmach.pipelines.shipped import shipped_graphs

    if not is_line(text) and (Path(text).is_file() or text in {path.stem for path in shipped_graphs()}):
        raise GraphError(f"{text} is a graph file: tolmach run {text}; as a line: tolmach graph --as-launch {text}")


def joined(words: Sequence[str]) -> str:
    """The line that the arguments of a command stand for.

    One argument is the line. Several are its words, as a shell takes it apart: a space in one was quoted there, and
    belongs to a value.
    """
    if len(words) == 1:
        return words[0]
    return " ".join(_escaped(word) for word in words)


def _escaped(word: str) -> str:
    found = re.fullmatch(r"([A-Za-z_][\w-]*=)(.*)", word, re.DOTALL)
    if found is None or found[2][:1] in ("'", '"', "[", "{"):
        return word
    return found[1] + re.sub(r"([\s\\])", r"\\\1", found[2])


async def _run(once: Once, interrupts: Interrupts) -> Record:
    interrupts.attach(once.cancel)
    return await once.run()
