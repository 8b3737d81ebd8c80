"""Command-line options that several commands share, and what becomes of them: the log, the file for a text."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tolmach.pipelines.errors import GraphError

if TYPE_CHECKING:
    # Not at run time: it brings the YAML reader, which not every command needs.
    from tolmach.pipelines.language.check import GraphSource
    from tolmach.pipelines.language.include import Includes

MUX_SUFFIXES = ("mkv", "mp4", "mov", "webm", "ts")
"""What ``--mux-to`` takes: containers that hold several sound tracks."""

LOG_LEVELS = ("debug", "info", "warning", "error")

BATCH = "tolmach.pipelines.cli.batch"
"""The logger that says what becomes of each recording."""

_TERSE = "%(levelname)s %(name)s: %(message)s"
_DATED = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--log-level``, unless the command has one with a default of its own, and ``--log-file``."""
    if not any("--log-level" in action.option_strings for action in parser._actions):
        parser.add_argument(
            "--log-level",
            choices=LOG_LEVELS,
            default=None,
            help="default: warning, with --log-file info, with --quiet error",
        )
    parser.add_argument(
        "--log-file", type=Path, metavar="FILE", help="append the log to FILE instead of writing it on standard error"
    )


@contextmanager
def logging_to(level: str | None, file: Path | None, *, quiet: bool = False) -> Iterator[None]:
    """Log to a file or to standard error while a command runs.

    Args:
        level: One of :data:`LOG_LEVELS`; None for what suits the rest.
        file: The file to append to, UTF-8; None for standard error.
        quiet: Whether the command was told to be quiet.

    Raises:
        GraphError: If the file cannot be written.
    """
    chosen = level or ("info" if file is not None else "error" if quiet else "warning")
    root = logging.getLogger()
    old = root.level
    handler = _handler(file, dated=file is not None or chosen in ("debug", "info"))
    if level is None and file is None:
        # Nobody asked for a log, and the progress on standard error says the same.
        handler.addFilter(lambda record: record.name != BATCH)
    root.addHandler(handler)
    root.setLevel(chosen.upper())
    try:
        yield
    finally:
        root.setLevel(old)
        root.removeHandler(handler)
        handler.close()


def _handler(file: Path | None, *, dated: bool) -> logging.Handler:
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise GraphError(f"cannot write the log {file}: {error.strerror or error}") from error
    handler.setFormatter(logging.Formatter(_DATED if dated else _TERSE))
    return handler


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add ``--output FILE``, for :func:`write_output`."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to FILE instead of standard output")


def write_output(file: Path | None, text: str) -> None:
    """Write a text to a file, or to standard output.

    Raises:
        GraphError: If the file cannot be written.
    """
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GraphError(f"cannot write {file}: {error.strerror or error}") from error


def add_set(parser: argparse.ArgumentParser, what: str = "a param, or a setting as element.setting") -> None:
    """Add ``--set NAME=VALUE``; the values arrive as a list in ``args.set``.

    Args:
        parser: The command's parser.
        what: What may be given, for the help text.
    """
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"give {what}; may be repeated",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-includes DIR``; see :func:`includes_of`."""
    parser.add_argument(
        "--trust-includes",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="a folder of which graphs may include files, besides their own; may be repeated",
    )


def add_model_host(parser: argparse.ArgumentParser, *, short: bool = True) -> None:
    """Add ``--model-host``; what it says holds for the process (:func:`tolmach.pipelines.model_host.choose`).

    Args:
        parser: The command's parser.
        short: Whether ``--host`` means the same.
    """
    parser.add_argument(
        "--model-host",
        *(["--host"] if short else []),
        metavar="PLACE",
        help="where models run: thread, or ray[:ADDRESS][,replicas=N][,num_gpus=F]... (docs/RAY.md); default: as the "
        "graph says, else thread",
    )


def includes_of(source: GraphSource, args: argparse.Namespace) -> Includes:
    """Where the files may lie that a graph includes; a line includes none."""
    from tolmach.pipelines.language.include import Includes

    return Includes(source.parent if isinstance(source, Path) else None, tuple(args.trust_includes))


def add_ray(parser: argparse.ArgumentParser) -> None:
    """Add ``--ray [ADDRESS]`` and what says how to go about it."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        type=_ray_address,
        metavar="ADDRESS",
        help="spread the recordings over the workers of a Ray cluster: HOST:PORT of its head, auto (one that runs on "
        "this machine) or local (one of this machine's own); without ADDRESS $RAY_ADDRESS, else auto, else local",
    )
    parser.add_argument(
        "--ray-ship",
        action="store_true",
        help="send recordings (of 100 MiB at most) to the workers and fetch the results, where no folder is shared",
    )
    parser.add_argument(
        "--ray-cpus", type=_share(512), metavar="N", help="CPUs each worker reserves, or a fraction of one (default: 1)"
    )
    parser.add_argument(
        "--ray-gpus",
        type=_share(8),
        metavar="N",
        help="GPUs each worker reserves, or a fraction of one (default: 1 where the cluster has GPUs and the graph may "
        "use one, else 0)",
    )


def _ray_address(text: str) -> str:
    from tolmach.pipelines.cluster import parse_address

    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (a recording goes before --ray, or: --ray=ADDRESS INPUT)") from None


def _share(high: float) -> Callable[[str], float]:
    """An argument type: a number of CPUs or GPUs as Ray takes it, whole beyond one."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= high or (value > 1 and value != int(value)):
            raise argparse.ArgumentTypeError(f"must be a number between 0 and {high:g}, whole above 1")
        return value

    return parse


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """An argument type: a whole number from ``low`` to ``high``."""

    def parse(text: str) -> int:
        value = int(text) if text.isdecimal() else low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number between {low} and {high}")
        return value

    return parse
