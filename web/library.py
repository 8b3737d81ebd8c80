"""The graphs a server offers: read from a folder, watched, and never taken away by a typing mistake.

The last good text of each file stands until a better one is saved. Checking runs in threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.graph import Graph
from web.entries import GraphEntry

__all__ = ["GraphLibrary"]


class GraphLibrary:
    """The live graphs of one file or folder.

    Args:
        graphs: A graph file, or a folder of ``*.yaml`` and ``*.yml``.
        default: Name of the graph a page begins with; None for the first that can be used.
        trust_params: Whether clients may give every param, see :class:`web.settings.ServerSettings`.
    """

    def __init__(self, graphs: Path, *, default: str | None = None, trust_params: bool = False) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Read everything, then watch.

        Raises:
            GraphError: If the files cannot be read, no graph can be used, or there is no graph ``default``.
        """

    async def stop(self) -> None:
        """Stop watching; safe twice and without start."""

    @property
    def revision(self) -> int:
        """Grows when any file changed."""
        raise NotImplementedError

    @property
    def default(self) -> str:
        """Name of the graph a page begins with."""
        raise NotImplementedError

    async def wait_changed(self, revision: int) -> int:
        """Wait until :attr:`revision` is another one than ``revision``; returns it."""
        raise NotImplementedError

    def entries(self) -> list[GraphEntry]:
        """All live graphs, by name."""
        raise NotImplementedError

    def entry(self, name: str) -> GraphEntry:
        """One live graph.

        Raises:
            ApiError: 404 if there is none of that name.
        """
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """The answer to ``GET /api/graphs``, see docs/LIVE.md."""
        raise NotImplementedError

    async def load(self, name: str, params: Mapping[str, Any], settings: Mapping[str, Any], session: str) -> Graph:
        """The graph for one session.

        Args:
            name: Name of the graph.
            params: Values of its params, from the client.
            settings: Values of its live settings by ``element.setting``, from the client.
            session: Id of the session, set on every WebRTC element.

        Raises:
            ApiError: 404 if there is no such graph.
            GraphError: If a param or setting may not be given or is wrong, or the graph has never been right.
        """
        raise NotImplementedError

    async def drawing(self, name: str, params: Mapping[str, Any] | None = None) -> str:
        """The graph as an SVG document. Raises as :meth:`load`."""
        raise NotImplementedError
