"""One graph of the library, as the API tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.graph import Graph
from pipelines.language.diagnostics import Diagnostic

__all__ = ["GraphEntry"]


@dataclass(frozen=True, slots=True)
class GraphEntry:
    """A live graph.

    Attributes:
        name: Its name in the API: that of the file, without suffix.
        file: Name of the file.
        text: The last good text, or None if there was none yet.
        graph: The graph of that text with its params' defaults, or None.
        diagnostics: What is wrong with the text on disk now; warnings too.
        diagnostics_text: The same for people.
        stale: Whether the text on disk is broken and an earlier one stands.
    """

    name: str
    file: str
    text: str | None
    graph: Graph | None
    diagnostics: tuple[Diagnostic, ...]
    diagnostics_text: str
    stale: bool

    @property
    def ok(self) -> bool:
        """Whether it can be used."""
        return self.graph is not None

    def as_json(self, *, trust_params: bool) -> dict[str, Any]:
        """``Graph`` of docs/LIVE.md."""
        raise NotImplementedError
