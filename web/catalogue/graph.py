"""One graph of the catalogue: its file read and checked, what the API tells of it, the graph a session gets.

What does not parse, or is not a graph, keeps what the file offered before. No event loop in here: all of it is called
in a thread.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tolmach.pipelines.errors import Diagnostic, GraphError
from tolmach.pipelines.graph import Graph, Node
from tolmach.pipelines.language.check import CheckResult, check_graph, load_graph
from tolmach.pipelines.language.diagnostics import Diagnostics, format_json
from tolmach.pipelines.language.document import read_source
from tolmach.pipelines.language.include import Includes, text_now
from tolmach.pipelines.language.variables import ParamDef
from tolmach.pipelines.models.caches import missing_in, missing_text
from tolmach.pipelines.shipped import SUFFIXES
from tolmach.web.catalogue.live_settings import (
    in_words,
    is_locked,
    live_settings,
    require_params_allowed,
    require_settings_live,
)
from tolmach.web.catalogue.seats import HEARS, SPEAKS, seats_of

__all__ = ["MAX_FILES", "SINK", "SRC", "GraphFile", "LiveGraph", "is_live", "named", "read_files"]

log = logging.getLogger(__name__)

SRC, SINK = SPEAKS, HEARS
MAX_FILES = 100
"""Of a folder, by name; the rest is not read."""
_REVISION_DIGITS = 12
"""Enough to tell the versions of one file apart."""


@dataclass(frozen=True, slots=True)
class LiveGraph:
    """A graph that sessions may have.

    Attributes:
        name: Its name in the API: that of the file, without suffix.
        file: Name of the file.
        text: The last good text, or None if there was none yet.
        graph: The graph of that text with the defaults of its params, or None.
        params: What it can be given; those of the good text where there is one.
        diagnostics: What is wrong with the text on disk now; warnings too.
        diagnostics_text: The same for people.
        stale: Whether the text on disk is broken and an earlier one stands.
        includes: What the good text includes, as it was then.
    """

    name: str
    file: str
    text: str | None
    graph: Graph | None
    params: tuple[ParamDef, ...]
    diagnostics: tuple[Diagnostic, ...]
    diagnostics_text: str
    stale: bool = False
    includes: Includes = field(default_factory=lambda: Includes(None))

    @property
    def ok(self) -> bool:
        """Whether it can be used."""
        return self.graph is not None

    @property
    def for_room(self) -> bool:
        """Whether it is for several people, and no session can have it."""
        return self.graph is not None and bool(seats_of(self.graph))

    @property
    def revision(self) -> str | None:
        """What tells this version of the graph from others; None while it has never been right.

        It is the begin of the SHA-256 of the good text and of what that includes.
        """
        if self.text is None:
            return None
        digest = hashlib.sha256(self.text.encode())
        for _, file in sorted((self.includes.found or {}).items()):
            digest.update(b"\0" + (file.text or "").encode())
        return digest.hexdigest()[:_REVISION_DIGITS]

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
            "seats": seats_of(graph) if graph else [],
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

    def for_session(self, params: Mapping[str, Any], settings: Mapping[str, Any], *, trust_params: bool) -> Graph:
        """The graph with what a client chose, as far as it may choose; checked.

        Blocks for some hundredths of a second: call it in a thread.

        Args:
            params: Values of its params, from a client.
            settings: Values of its live settings by ``element.setting``, from a client.
            trust_params: Whether the client may give every param.

        Raises:
            GraphError: If something may not be given or is wrong, or the graph has never been right; with diagnostics.
        """
        text = self._text_for(params, trust_params)
        if settings:
            # Another language may need another speaker: the params alone are then no sound graph, the defaults still
            # are.
            alone = check_graph(self.file, text=text, params=params, includes=self.includes).graph
            require_settings_live(settings, alone or self.graph)
        return load_graph(
            self.file,
            text=text,
            params=params,
            overrides=dict(settings),
            require_params=True,
            includes=self.includes,
        )

    def for_drawing(self, params: Mapping[str, Any], *, trust_params: bool) -> Graph:
        """The graph as a client would get it with these params. Blocks; raises as :meth:`for_session`."""
        text = self._text_for(params, trust_params)
        if not params and self.graph is not None:
            return self.graph
        return load_graph(self.file, text=text, params=params, includes=self.includes)

    def _text_for(self, params: Mapping[str, Any], trust_params: bool) -> str:
        """The good text, if there is one and a client may give these params."""
        if self.text is None:
            raise GraphError(self.diagnostics_text.rstrip(), self.diagnostics)
        require_params_allowed(params, self.params, self.default_of, trust_params=trust_params)
        return self.text

    def _param(self, param: ParamDef, locked: bool) -> dict[str, Any]:
        return {
            "name": param.name,
            "title": in_words(param.name),
            "description": param.description,
            "default": _plain(self.default_of(param)),
            "choices": [_plain(choice) for choice in param.choices],
            "required": param.required,
            "role": param.role,
            "locked": locked,
        }


def is_live(graph: Graph) -> bool:
    """Whether a graph goes from a microphone to a loudspeaker of a session."""
    return {SRC, SINK} <= {node.spec.type for node in graph.nodes.values()}


def _licences(graph: Graph) -> list[dict[str, str]]:
    return [
        {"element": node.name, "type": node.spec.type, "text": _terms(graph, node)}
        for node in graph.nodes.values()
        if node.spec.licence
    ]


def _terms(graph: Graph, node: Node) -> str:
    """The terms of what an element loads in this graph, or of all that its type may load."""
    loaded = node.spec.terms(graph.settled(node.name)) if node.spec.terms else ()
    if not loaded:
        return node.spec.licence
    return "; ".join(f"{t.what}: {t.licence}{'' if t.commercial else ' (not for commercial use)'}" for t in loaded)


def _plain(value: Any) -> Any:
    # YAML knows infinity and NaN, JSON does not.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# Files ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GraphFile:
    """What is known of a file.

    Attributes:
        result: The check of its text.
        text: What it holds now; None when it cannot be read.
        live: None when it is no live graph.
        shown: The live graph as the API tells of it.
    """

    result: CheckResult
    text: str | None
    live: LiveGraph | None
    shown: Mapping[str, Any] = field(default_factory=dict)


def read_files(graphs: Path, known: Mapping[Path, GraphFile], trust_params: bool) -> dict[Path, GraphFile]:
    """Read all files; what has not changed is kept as it is. Blocks."""
    return {path: _read(path, known.get(path), trust_params) for path in _paths(graphs)}


def named(files: Mapping[Path, GraphFile]) -> dict[str, GraphFile]:
    """Live graphs by name. Where ``a.yaml`` and ``a.yml`` both are, the second goes by its whole name."""
    found: dict[str, GraphFile] = {}
    parts = {path for file in files.values() for path in file.result.included}
    for path, file in files.items():
        if file.live is not None and not file.live.ok and os.path.normpath(path) in parts:
            continue  # no broken graph, but what others include
        if file.live is not None:
            found[file.live.file if file.live.name in found else file.live.name] = file
    return found


def _paths(graphs: Path) -> list[Path]:
    if not graphs.is_dir():
        return [graphs] if graphs.is_file() else []
    folder = graphs.resolve()
    return sorted(path for path in graphs.iterdir() if _is_graph_file(path, folder))[:MAX_FILES]


def _is_graph_file(path: Path, folder: Path) -> bool:
    """Whether a file of the folder is to be read; what is odd about one is no reason not to read the others."""
    if path.suffix not in SUFFIXES or path.name.startswith("."):  # those are locks and backups of editors
        return False
    try:
        path.name.encode()
        return path.is_file() and path.resolve().is_relative_to(folder)
    except UnicodeEncodeError:
        _warn_once(f"{path.name!a} in {folder} is passed over: its name is no UTF-8")
    except (OSError, RuntimeError) as error:  # no permission, links in a circle
        _warn_once(f"{path.name!a} in {folder} is passed over: {error}")
    return False


@lru_cache(maxsize=MAX_FILES)
def _warn_once(text: str) -> None:
    log.warning("%s", text)


def _read(path: Path, before: GraphFile | None, trust_params: bool) -> GraphFile:
    problems = Diagnostics()
    text = read_source(path, path.name, problems)
    if text is None:
        result = CheckResult(None, problems.sorted(), {})
        if before is not None and before.result == result:
            return before
    elif before is not None and before.text == text and not _includes_changed(before.result):
        return before
    else:
        result = _checked(path, text)
        if before is not None and (before.text, before.result) == (text, result):
            return before
    live = _offered(path, text, result, before.live if before else None)
    return GraphFile(result, text, live, live.as_json(trust_params=trust_params) if live else {})


def _includes_changed(result: CheckResult) -> bool:
    """Whether a file that a graph includes is another one now, is gone, or has come."""
    return any(text_now(path, file.folder) != file.text for path, file in result.included.items())


def _checked(path: Path, text: str) -> CheckResult:
    try:
        result = check_graph(path.name, text=text, includes=Includes(path.parent))
        if result.graph is not None:
            live_settings(result.graph)
    except Exception as error:  # a spec of a third party may raise anything; it must not take the other graphs along
        log.exception("%s cannot be checked", path.name)
        problem = Diagnostic("bad-value", None, f"cannot be checked: {type(error).__name__}: {error}")
        return CheckResult(None, (problem,), {})
    return result


def _offered(path: Path, text: str | None, result: CheckResult, before: LiveGraph | None) -> LiveGraph | None:
    """What a file offers now; ``before`` is what it offered before its last change."""
    includes = Includes(path.parent, found=result.included)
    shown = result.format_text()
    now = LiveGraph(
        path.stem, path.name, text, result.graph, result.params, result.diagnostics, shown, includes=includes
    )
    if result.graph is not None:
        return now if is_live(result.graph) else None
    if before is not None and before.ok:
        return replace(before, diagnostics=now.diagnostics, diagnostics_text=now.diagnostics_text, stale=True)
    if any(SRC in (each or "") for each in (text, *(file.text for file in result.included.values()))):
        return replace(now, text=None)
    return None
