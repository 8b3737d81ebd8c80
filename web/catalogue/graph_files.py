"""Graph files on disk: read, checked, and told apart from what stood there before. No event loop in here.

What does not parse, or is not a graph, keeps what the file offered before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tolmach.pipelines.errors import Diagnostic
from tolmach.pipelines.language.check import CheckResult, check_graph
from tolmach.pipelines.language.diagnostics import Diagnostics
from tolmach.pipelines.language.document import read_source
from tolmach.pipelines.shipped import SUFFIXES
from tolmach.web.catalogue.adjustable import live_settings
from tolmach.web.catalogue.entries import SRC, GraphEntry, is_live

__all__ = ["MAX_FILES", "GraphFile", "named", "read_files"]

log = logging.getLogger(__name__)

MAX_FILES = 100
"""Of a folder, by name; the rest is not read."""


@dataclass(frozen=True, slots=True)
class GraphFile:
    """What is known of a file.

    Attributes:
        result: The check of its text.
        text: What it holds now; None when it cannot be read.
        entry: None when it is no live graph.
        shown: The entry as the API tells of it.
    """

    result: CheckResult
    text: str | None
    entry: GraphEntry | None
    shown: Mapping[str, Any] = field(default_factory=dict)


def read_files(graphs: Path, known: Mapping[Path, GraphFile], trust_params: bool) -> dict[Path, GraphFile]:
    """Read all files; what has not changed is kept as it is. Blocks."""
    return {path: _read(path, known.get(path), trust_params) for path in _paths(graphs)}


def named(files: Mapping[Path, GraphFile]) -> dict[str, GraphFile]:
    """Live graphs by name. Where ``a.yaml`` and ``a.yml`` both are, the second goes by its whole name."""
    found: dict[str, GraphFile] = {}
    for file in files.values():
        if file.entry is not None:
            found[file.entry.file if file.entry.name in found else file.entry.name] = file
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
    elif before is not None and before.text == text:
        return before
    else:
        result = _checked(path.name, text)
    entry = _entry(path, text, result, before.entry if before else None)
    return GraphFile(result, text, entry, entry.as_json(trust_params=trust_params) if entry else {})


def _checked(name: str, text: str) -> CheckResult:
    try:
        result = check_graph(name, text=text)
        if result.graph is not None:
            live_settings(result.graph)
    except Exception as error:  # a spec of a third party may raise anything; it must not take the other graphs along
        log.exception("%s cannot be checked", name)
        problem = Diagnostic("bad-value", None, f"cannot be checked: {type(error).__name__}: {error}")
        return CheckResult(None, (problem,), {})
    return result


def _entry(path: Path, text: str | None, result: CheckResult, before: GraphEntry | None) -> GraphEntry | None:
    """What a file offers now; ``before`` is what it offered before its last change."""
    entry = GraphEntry(
        path.stem, path.name, text, result.graph, result.params, result.diagnostics, result.format_text()
    )
    if result.graph is not None:
        return entry if is_live(result.graph) else None
    if before is not None and before.ok:
        return replace(before, diagnostics=entry.diagnostics, diagnostics_text=entry.diagnostics_text, stale=True)
    return replace(entry, text=None) if SRC in (text or "") else None
