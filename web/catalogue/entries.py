"""One graph of the library, as the API tells of it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from tolmach.pipelines.errors import Diagnostic
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.diagnostics import format_json
from tolmach.pipelines.language.variables import ParamDef
from tolmach.pipelines.models.needs import missing_in, missing_text
from tolmach.web.catalogue.adjustable import in_words, live_settings

__all__ = ["LANGUAGE_PARAMS", "SINK", "SRC", "GraphEntry", "is_live", "is_locked"]

SRC, SINK = "webrtc_src", "webrtc_sink"
LANGUAGE_PARAMS = ("source_lang", "target_lang")
"""Params that any client may give; their values have the form of a language tag."""
_REVISION_DIGITS = 12
"""Enough to tell the versions of one file apart."""


@dataclass(frozen=True, slots=True)
class GraphEntry:
    """A live graph.

    Attributes:
        name: Its name in the API: that of the file, without suffix.
        file: Name of the file.
        text: The last good text, or None if there was none yet.
        graph: The graph of that text with the defaults of its params, or None.
        params: What it can be given; those of the good text where there is one.
        diagnostics: What is wrong with the text on disk now; warnings too.
        diagnostics_text: The same for people.
        stale: Whether the text on disk is broken and an earlier one stands.
    """

    name: str
    file: str
    text: str | None
    graph: Graph | None
    params: tuple[ParamDef, ...]
    diagnostics: tuple[Diagnostic, ...]
    diagnostics_text: str
    stale: bool = False

    @property
    def ok(self) -> bool:
        """Whether it can be used."""
        return self.graph is not None

    @property
    def revision(self) -> str | None:
        """What tells this version of the graph from others: the begin of the SHA-256 of its good text; None without."""
        if self.text is None:
            return None
        return hashlib.sha256(self.text.encode()).hexdigest()[:_REVISION_DIGITS]

    def as_json(self, *, trust_params: bool) -> dict[str, Any]:
        """``Graph`` of docs/LIVE.md."""
        graph = self.graph
        return {
            "name": self.name,
            "description": graph.description if graph else "",
            "file": self.file,
            "revision": self.revision,
            "ok": self.ok,
            "stale": self.stale,
            "params": [self._param(param, is_locked(param, trust_params)) for param in self.params],
            "settings": [setting.as_json() for setting in live_settings(graph)] if graph else [],
            "licences": _licences(graph) if graph else [],
            "diagnostics": json.loads(format_json(self.diagnostics)),
            "diagnostics_text": self.diagnostics_text,
        }

    def missing_json(self) -> dict[str, Any]:
        """What the graph, with the defaults of its params, lacks on this machine now."""
        missing = missing_in(self.graph) if self.graph else {}
        return {
            "missing": [
                {"what": each.what, "size_bytes": each.size_bytes, "remedy": each.remedy, "elements": elements}
                for each, elements in missing.items()
            ],
            "missing_text": missing_text(self.name, missing),
        }

    def default_of(self, param: ParamDef) -> Any:
        """A param's value when none is given, variables expanded as far as the graph is sound; None without one."""
        return self.graph.params.get(param.name) if self.graph else param.default

    def _param(self, param: ParamDef, locked: bool) -> dict[str, Any]:
        return {
            "name": param.name,
            "title": in_words(param.name),
            "description": param.description,
            "default": _plain(self.default_of(param)),
            "choices": [_plain(choice) for choice in param.choices],
            "required": param.required,
            "locked": locked,
        }


def is_live(graph: Graph) -> bool:
    """Whether a graph goes from a microphone to a loudspeaker of a session."""
    return {SRC, SINK} <= {node.spec.type for node in graph.nodes.values()}


def is_locked(param: ParamDef, trust_params: bool) -> bool:
    """Whether a client may not give a param, because it may become a path or the name of a model."""
    return not (trust_params or param.choices or param.name in LANGUAGE_PARAMS)


def _licences(graph: Graph) -> list[dict[str, str]]:
    return [
        {"element": node.name, "type": node.spec.type, "text": node.spec.licence}
        for node in graph.nodes.values()
        if node.spec.licence
    ]


def _plain(value: Any) -> Any:
    # YAML knows infinity and NaN, JSON does not.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
