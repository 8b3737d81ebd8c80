"""What a graph lacks on this machine, before anybody runs it."""

from __future__ import annotations

from pathlib import Path

from tolmach.pipelines.element import Missing
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.models.caches import size_text

__all__ = ["missing_besides", "missing_in", "missing_text"]


def missing_in(graph: Graph, base_dir: Path | None = None) -> dict[Missing, list[str]]:
    """Everything that is missing, at once, each with the elements that need it; empty when the graph can run here.

    Args:
        graph: A checked graph.
        base_dir: Folder that relative paths in settings start from; the current one when None.
    """
    found: dict[Missing, list[str]] = {}
    for node in graph.nodes.values():
        extra = node.spec.extra
        if extra is not None and not extra.installed:
            found.setdefault(Missing(extra.requirement, remedy=extra.command), []).append(node.name)
        if node.spec.missing is not None:
            for each in node.spec.missing(node.settings, base_dir or Path.cwd()):
                found.setdefault(each, []).append(node.name)
    return found


def missing_text(name: str, missing: dict[Missing, list[str]]) -> str:
    """What to do about it, for people: ``needs `tolmach fetch interpreter`: nvidia/canary-1b-v2 (5.9 GiB)``.

    Args:
        name: The graph, as `tolmach fetch` takes it.
        missing: What :func:`missing_in` found; "" when empty.
    """
    fetched = [_named(each) for each in missing if not each.remedy]
    others = [f"{each.what}: {each.remedy}" for each in missing if each.remedy]
    parts = [f"needs `tolmach fetch {name}`: {', '.join(fetched)}"] if fetched else []
    return "; ".join(parts + others)


def missing_besides(graph: Graph, element: str, base_dir: Path | None = None) -> str:
    """What else is missing, for whoever has just heard what ``element`` lacks; "" for nothing.

    Args:
        graph: A checked graph.
        element: Name of the element that could not start.
        base_dir: Folder that relative paths in settings start from; the current one when None.
    """
    rest = [each for each, users in missing_in(graph, base_dir).items() if element not in users]
    if not rest:
        return ""
    named = ", ".join(f"{each.what}: {each.remedy}" if each.remedy else _named(each) for each in rest)
    return f"Missing besides: {named}. `tolmach fetch` gets everything that a graph needs"


def _named(missing: Missing) -> str:
    return f"{missing.what} ({size_text(missing.size_bytes)})" if missing.size_bytes else missing.what
