"""Finds the graphs and data files that ship with Tolmach, in a checkout and in an installed wheel alike.

The ``config`` folder lies beside the ``pipelines`` package: at the repository's root in a checkout, in
``site-packages`` after an install.
"""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath

from tolmach.pipelines.errors import GraphError

SUFFIXES = (".yaml", ".yml")


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
