"""The ``tolmach`` command: one table of commands, each in a module of its own that is imported only when chosen.

A command module has ``add_arguments(parser)`` and ``run(args) -> int``; its docstring is the command's help text.
Exit status: 0 all good, 1 some of it failed, 2 the graph or the command line is wrong; ended by a signal 128 and its
number (130 interrupted, 143 terminated, 129 terminal closed), and 141 when nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import difflib
import errno
import gc
import importlib
import io
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, NoReturn, Protocol, TextIO, TypeVar, cast

from tolmach.pipelines.cli.options import add_log_options, logging_to
from tolmach.pipelines.errors import Cancelled, GraphError, TolmachError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE: `tolmach inspect | head` is no failure worth a word

COMMANDS: Mapping[str, str] = {
    "run": "translate recordings with a graph",
    "launch": "run a graph that is written on one line: 'test_src ! fake_sink'",
    "serve": "translate live in the browser",
    "check": "find every problem in graph files without running them",
    "inspect": "list element types, or describe one: pads, caps, settings",
    "graph": "draw a graph as DOT, Mermaid or SVG",
    "schema": "print the JSON Schema of graph files",
    "fetch": "download and verify the models a graph needs",
    "voices": "list the voices that can be spoken with: languages, speakers, licence, where they are",
    "speak": "say a text with a voice, or show what would be said",
    "doctor": "say what this machine can run, and what is missing",
    "new": "begin a plug-in: a package with an element of your own",
    "eval": "judge a graph by recordings with references: BLEU, chrF, latency, a page to listen to",
    "bench": "measure a graph on this machine: speed, memory, where the time goes",
}
"""Name → one line for ``tolmach --help``; the module is ``tolmach.pipelines.cli.commands.<name>``."""


Result = TypeVar("Result")


class _Unasked(ModuleType):
    """Stands for a module that pydantic imports and then asks nothing, until somebody does ask.

    :class:`importlib.util.LazyLoader` does not do: every import of its module is a question.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system looks for, such as the path of a package
            raise AttributeError(name)
        return getattr(self._module(), name)

    def _module(self) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)


class _Distributions(_Unasked):
    """``importlib.metadata``, whose ``entry_points`` a module of ours may import without asking yet."""

    def entry_points(self, **params: Any) -> Any:
        """As the module's own."""
        return self._module().entry_points(**params)


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
    # Pydantic asks every installed distribution for plug-ins of its own, 10 ms that no model of ours has a use for.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # What it would ask with is imported nevertheless: 8 ms, with half of the package email; and what compares secrets,
    # and a graph has none: 9 ms, with OpenSSL.
    sys.modules.setdefault("importlib.metadata", _Distributions("importlib.metadata"))
    sys.modules.setdefault("secrets", _Unasked("secrets"))
    _prepare_streams()
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except SystemExit as error:  # argparse: --help, --version and usage errors
        status = error.code if isinstance(error.code, int) else EXIT_USAGE
        with contextlib.suppress(OSError):  # what --help left in the buffer
            sys.stdout.flush()
    except (KeyboardInterrupt, Cancelled):
        _say("interrupted")
        return EXIT_INTERRUPTED
    except TolmachError as error:
        # Diagnostics are whole blocks with a place of their own.
        placed = isinstance(error, GraphError) and error.diagnostics
        _say(str(error) if placed else f"error: {error}", placed=bool(placed))
        return EXIT_USAGE
    except BrokenPipeError:
        _give_up_stdout()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        # The world is not as it should be (a folder that may not be read, a full disk); no bug, so no traceback.
        _give_up_stdout()
        _say(f"error: {os_error_text(error)}")
        return EXIT_USAGE if error.errno in _WRONG_PATH else EXIT_FAILED
    return status


def script() -> NoReturn:
    """The installed command: :func:`main`, and an end that waits for no thread."""
    end_process(main())


def end_process(status: int) -> NoReturn:
    """End the process at once; files under way stay under their temporary names.

    A thread may be loading a model or decoding, for half a minute. Python would wait for some threads, and take the
    interpreter down under the others, which PyTorch's do not survive (``terminate called``). So the process ends
    without either, after what was registered with :mod:`atexit`: temporary folders go. It also saves a command 6 ms.

    Args:
        status: The exit status.
    """
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
    from concurrent.futures import Future

    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="interruptible", daemon=True).start()
    return future.result()


def os_error_text(error: OSError) -> str:
    """An operating system's error in one line, with the file it speaks of."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, str | bytes) else reason


_WRONG_PATH = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
"""What a path on the command line can be wrong in."""


def _run(arguments: list[str]) -> int:
    command, args = _parse(arguments)
    with logging_to(args.log_level, args.log_file, quiet=getattr(args, "quiet", False)):
        if place := getattr(args, "model_host", None):
            from tolmach.pipelines.model_host import HostPlace, choose

            choose(HostPlace.parse(place))
        return command.run(args)


def _prepare_streams() -> None:
    """Make standard output and error safe to write anything to.

    A stream closed by whoever started us is opened on the null device, or the next file that is opened would get its
    number and everything that is printed. And no text may raise, whatever a console's code page lacks (cp1252 has no
    Cyrillic) and whatever bytes a file name is made of.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 -- lives as long as we
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(text: str, *, placed: bool = False) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may read it
        print(text if placed else f"tolmach: {text}", file=sys.stderr, flush=True)


def _give_up_stdout() -> None:
    # What is still in its buffer cannot be written; Python would try again at exit, and complain.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), cast("TextIO", sys.stdout).fileno())


def distribution_version() -> str:
    """Version of the installed distribution, or ``"(not installed)"`` in a bare checkout."""
    from importlib.metadata import PackageNotFoundError, version

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
    # What is imported stays: to look for garbage in it again and again is a tenth of the start of a command.
    gc.disable()
    command = cast("Command", importlib.import_module(f"tolmach.pipelines.cli.commands.{name}"))
    gc.freeze()
    gc.enable()
    parser = _Parser(
        prog=f"tolmach {name}",
        description=(command.__doc__ or COMMANDS[name]).strip(),
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=_columns() - 2),
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    add_log_options(parser)
    # Intermixed: `run GRAPH --set a=b FILE` is how people write it.
    return command, parser.parse_intermixed_args(arguments)


def _columns() -> int:
    """As ``shutil.get_terminal_size`` has it, which argparse imports for that, with all that compresses: 3 ms."""
    with contextlib.suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with contextlib.suppress(AttributeError, ValueError, OSError):  # closed, detached, or no terminal
        return os.get_terminal_size(cast("TextIO", sys.__stdout__).fileno()).columns or 80
    return 80


class _Parser(argparse.ArgumentParser):
    def unknown_command(self, name: str) -> NoReturn:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"commands: {', '.join(COMMANDS)}"
        self.exit(EXIT_USAGE, f"tolmach: error: no command named '{name}'; {hint}\n")

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}\nTry '{self.prog} --help'.\n")


if __name__ == "__main__":
    script()
