"""What a GRAPH argument stands for: a graph file, the name of a graph that ships, or a graph written out on one line.

One function decides for every command, and for programs.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TypeAlias

from tolmach.pipelines.language.launch_line import LaunchLine, is_line
from tolmach.pipelines.shipped import shipped_graph

__all__ = ["GraphSource", "graph_source"]

GraphSource: TypeAlias = Path | LaunchLine
"""Where a graph is written; :func:`tolmach.pipelines.language.check.check_graph` takes it."""


def graph_source(name: str | Path) -> GraphSource:
    """What ``name`` stands for: a file, ``phrasebook``, or ``test_src ! fake_sink``.

    An existing file wins, whatever it is called. A line is known by a ``!`` that stands by itself; what is
    wrong with it, the check says.

    Raises:
        GraphError: If it is none of them; says which graphs ship.
    """
    if isinstance(name, str) and is_line(name) and not _is_file(name):
        return LaunchLine(name)
    return shipped_graph(name)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # a line may be longer than any name
            raise
        return False
