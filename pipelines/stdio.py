"""Standard input and output as ends of a graph: ``path=-``, as in ffmpeg and cat.

What a graph writes to standard output must not be mixed with what is printed there, by a table of ours or by a library
that says hello. So a command whose graph writes to it keeps the descriptor for the graph, and everything else that is
printed goes to standard error (:func:`stdout_for_media`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tolmach.pipelines.element import Settings, output_paths

__all__ = ["STDIO", "STDOUT", "StandardStream", "stdout_for_media", "writes_stdout"]

STDIO = "-"
"""The path that stands for standard input, and for standard output where something is written."""

STDOUT = "stdout"
"""Name of the resource under which a sink finds the descriptor to write to; absent, it is that of the process."""


class StandardStream(NamedTuple):
    """An open descriptor that belongs to whoever made it."""

    fd: int


def writes_stdout(settings: Iterable[Settings]) -> bool:
    """Whether an element with one of these settings writes to standard output."""
    return any(STDIO in output_paths(each).values() for each in settings)


@contextlib.contextmanager
def stdout_for_media(settings: Iterable[Settings]) -> Iterator[StandardStream | None]:
    """Keep standard output for a graph that writes to it; until the block ends all else is printed on standard error.

    Args:
        settings: Those of the graph's elements.

    Yields:
        What its sinks shall find as the resource :data:`STDOUT`; None where they do not write to it.
    """
    if not writes_stdout(settings):
        yield None
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield StandardStream(kept)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
