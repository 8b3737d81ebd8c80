"""The ``tolmach`` command: one table of commands, each in a module of its own that is imported only when chosen.

A command module has ``add_arguments(parser)`` and ``run(args) -> int``; its docstring is the command's help text.
Exit status: 0 all good, 1 some of it failed, 2 the graph or the command line is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import difflib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn, Protocol, TypeVar, cast

from pipelines.errors import Cancelled, GraphError, TolmachError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE: `tolmach inspect | head` is no failure worth a word

COMMANDS: Mapping[str, str] = {
    "run": "translate recordings with a graph",
    "serve": "translate live in the browser",
    "check": "find every problem in graph files without running them",
    "inspect": "list element types, or describe one: pads, caps, settings",
    "graph": "draw a graph as DOT, Mermaid or SVG",
    "schema": "print the JSON Schema of graph files",
    "fetch": "download and verify the models a graph needs",
    "doctor": "say what this machine can run, and what is missing",
    "bench": "measure a graph on this machine: speed, memory, where the time goes",
}
"""Name → one line for ``tolmach --help``; the module is ``pipelines.commands.<name>``."""


Result = TypeVar("Result")


class Command(Protocol):
    """What a command module offers."""

    __doc__: str | None
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; ``sys.argv[1:]`` when None.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        command, args = _parse(arguments)
        status = command.run(args)
        sys.stdout.flush()
    except SystemExit as error:  # argparse: --help, --version and usage errors
        return error.code if isinstance(error.code, int) else EXIT_USAGE
    except (KeyboardInterrupt, Cancelled):
        print("tolmach: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except TolmachError as error:
        # Diagnostics are whole blocks with a place of their own.
        placed = isinstance(error, GraphError) and error.diagnostics
        print(error if placed else f"tolmach: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        # The reader went away. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return status


def script() -> NoReturn:
    """The installed command: :func:`main`, and an end that waits for no thread."""
    end_process(main())


def end_process(status: int) -> NoReturn:
    """End the process at once; files under way stay under their temporary names.

    A thread may be loading a model or decoding, for half a minute. Python would wait for some threads, and take the
    interpreter down under the others, which PyTorch's do not survive (``terminate called``). So with other threads
    alive the process ends without either, after what was registered with :mod:`atexit`: temporary folders go.
    """
    if threading.active_count() == 1:
        sys.exit(status)
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()  # as multiprocessing does before its own os._exit
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def interruptible(function: Callable[[], Result]) -> Result:
    """What ``function`` returns; Ctrl-C is answered at once, whatever native code or download it is in.

    It runs in a daemon thread, which after a KeyboardInterrupt goes on until :func:`end_process`. Raises what it
    raises.
    """
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="interruptible", daemon=True).start()
    return future.result()


def distribution_version() -> str:
    """Version of the installed distribution, or ``"(not installed)"`` in a bare checkout."""
    try:
        return version("tolmach")
    except PackageNotFoundError:
        return "(not installed)"


def _parse(arguments: list[str]) -> tuple[Command, argparse.Namespace]:
    if arguments == ["help"]:
        arguments = ["--help"]
    if arguments and arguments[0] in COMMANDS:
        return _parse_command(arguments[0], arguments[1:])
    parser = _Parser(prog="tolmach", description="Streaming speech-to-speech translation graphs.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"tolmach {distribution_version()}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for name, summary in COMMANDS.items():
        subparsers.add_parser(name, help=summary)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    if chosen is not None:
        parser.unknown_command(chosen)
    parser.parse_args(arguments)
    return parser.error("the command comes first")


def _parse_command(name: str, arguments: list[str]) -> tuple[Command, argparse.Namespace]:
    command = cast("Command", importlib.import_module(f"pipelines.commands.{name}"))
    parser = _Parser(
        prog=f"tolmach {name}",
        description=(command.__doc__ or COMMANDS[name]).strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    # Intermixed: `run GRAPH --set a=b FILE` is how people write it.
    return command, parser.parse_intermixed_args(arguments)


class _Parser(argparse.ArgumentParser):
    def unknown_command(self, name: str) -> NoReturn:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"commands: {', '.join(COMMANDS)}"
        self.exit(EXIT_USAGE, f"tolmach: error: no command named '{name}'; {hint}\n")

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}\nTry '{self.prog} --help'.\n")


if __name__ == "__main__":
    script()
