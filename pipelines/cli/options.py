"""Command-line options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable


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


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """An argument type: a whole number from ``low`` to ``high``."""

    def parse(text: str) -> int:
        value = int(text) if text.isdecimal() else low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number between {low} and {high}")
        return value

    return parse
