"""Graphs put together by hand, for tests of the runtime that do not want a YAML file in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.registry import Registry


def chain(*elements: str | tuple[str, Mapping[str, Any]], specs: tuple[ElementSpec, ...] = ()) -> Graph:
    """A linear graph ``e0 -> e1 -> …`` of element types (with settings)."""
    nodes = {f"e{i}": (e, {}) if isinstance(e, str) else e for i, e in enumerate(elements)}
    return graph(nodes, [" -> ".join(nodes)], specs=specs)


def graph(
    nodes: Mapping[str, tuple[str, Mapping[str, Any]]], links: list[str], *, specs: tuple[ElementSpec, ...] = ()
) -> Graph:
    """A graph of named elements and written links."""
    import json

    elements = {name: {"type": kind, **settings} for name, (kind, settings) in nodes.items()}
    text = json.dumps({"version": 1, "name": "handmade", "elements": elements, "links": links})
    return load_graph("handmade.yaml", text=text, registry=Registry.builtin().extended(*specs))
