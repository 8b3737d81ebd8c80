"""Print the JSON Schema of graph files, with every element type's settings; or check that a file holds it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tolmach.pipelines.cli.main import EXIT_FAILED, EXIT_OK
from tolmach.pipelines.describe.schema import FILE_NAME, schema_text
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.shipped import config_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to FILE instead of standard output")
    parser.add_argument("--plugins", action="store_true", help="include the types of installed third parties")
    parser.add_argument(
        "--check",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE",
        help="write nothing; exit 1 if FILE (default: the shipped one) is not what would be written",
    )


def run(args: argparse.Namespace) -> int:
    """Print, write or check."""
    text = schema_text(Registry.default() if args.plugins else Registry.builtin())
    if args.check is not None:
        path = config_dir() / FILE_NAME if args.check == Path() else args.check
        return _check(path, text)
    if args.output is None:
        sys.stdout.write(text)
        return EXIT_OK
    try:
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GraphError(f"cannot write {args.output}: {error.strerror}") from error
    return EXIT_OK


def _check(path: Path, text: str) -> int:
    try:
        current = path.read_text(encoding="utf-8")
    except OSError as error:
        print(f"{path}: {error.strerror}; write it with `tolmach schema -o {path}`", file=sys.stderr)
        return EXIT_FAILED
    if current != text:
        print(f"{path}: stale; write it again with `tolmach schema -o {path}`", file=sys.stderr)
        return EXIT_FAILED
    print(f"{path}: current")
    return EXIT_OK
