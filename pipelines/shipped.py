"""What a GRAPH argument stands for, and where the graphs and data files that ship with Tolmach lie.

A graph is named by its file, by the name of one that ships, or written out on one line: :func:`graph_source` decides
for every command and for programs.

The ``config`` folder lies beside the ``pipelines`` package: at the repository's root in a checkout, in
``site-packages`` after an install.
"""

from __future__ import annotations

import difflib
import errno
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.language.launch_line import LaunchLine, is_line

SUFFIXES = (".yaml", ".yml")

GraphSource: TypeAlias = Path | LaunchLine
"""Where a graph is written; :func:`tolmach.pipelines.language.check.check_graph` takes it."""


def graph_source(name: str | Path) -> GraphSource:
    """What a GRAPH argument stands for: a graph file, a shipped graph, or a line such as ``test_src ! fake_sink``.

    An existing file wins, whatever it is called.

    Raises:
        GraphError: If it is neither; says which graphs ship.
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


def config_dir() -> Path:
    """The folder of shipped graphs.

    Raises:
        GraphError: If the installation lacks it.
    """
    folder = Path(__file__).resolve().parents[1] / "config"
    if not folder.is_dir():
        raise GraphError(f"this installation of tolmach has no {folder}; install it again")
    return folder


def shipped_graphs() -> tuple[Path, ...]:
    """Every graph that ships, sorted by name."""
    graphs = (p for p in config_dir().iterdir() if p.suffix in SUFFIXES and p.is_file())
    return tuple(sorted(graphs, key=lambda p: p.stem))


def shipped_graph(name: str | Path) -> Path:
    """The graph file that ``name`` stands for.

    An existing file wins. Else ``phrasebook``, ``phrasebook.yaml`` and ``config/phrasebook.yaml`` all name the shipped
    graph; nothing outside the shipped folder can be named that way.

    Args:
        name: Path of a graph file, or name of a shipped graph.

    Returns:
        The path as given when it exists, else the path of the shipped graph.

    Raises:
        GraphError: If there is neither; says which graphs ship.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise GraphError(f"{name} is a folder; name a graph file inside it")
    graphs = {p.stem: p for p in shipped_graphs()}
    stem = _shipped_stem(str(name))
    if stem in graphs:
        return graphs[stem]
    near = difflib.get_close_matches(path.stem, graphs, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"shipped graphs: {', '.join(graphs) or 'none'}"
    raise GraphError(f"no graph file {str(name)!r}, and no shipped graph of that name; {hint}")


def shipped_file(name: str) -> Path:
    """Where a data file of the shipped folder lies, such as ``demo/manifest.json``, whether or not it exists.

    Raises:
        GraphError: If the name leads out of the folder.
    """
    folder = config_dir()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise GraphError(f"{name!r} leads out of the shipped folder")
    return path


def _shipped_stem(name: str) -> str | None:
    parts = PurePosixPath(name).parts
    if len(parts) == 2 and parts[0] == "config":
        parts = parts[1:]
    if len(parts) != 1 or parts[0] in (".", "..", "/"):
        return None
    only = PurePosixPath(parts[0])
    return only.stem if only.suffix in SUFFIXES else str(only)
