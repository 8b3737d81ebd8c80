"""Settings that change while a graph plays: which may, and whether the values are right.

As at a check, everything that is wrong is said at once, with the same diagnostics; nothing is changed then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tolmach.pipelines.element import Settings, is_live_setting
from tolmach.pipelines.errors import GraphError, Span
from tolmach.pipelines.graph import Graph, Node
from tolmach.pipelines.language.check import plain_value
from tolmach.pipelines.language.declared import DeclaredElement, Setting
from tolmach.pipelines.language.diagnostics import Diagnostics, format_text, show_value, split_lines, suggest
from tolmach.pipelines.language.drafts import valid_settings

__all__ = ["change_settings"]

_PLACE = "<set>"


def change_settings(graph: Graph, values: Mapping[str, Any]) -> Graph:
    """The same graph with other settings, to be taken while it plays.

    Args:
        graph: As it plays.
        values: Values by ``element.setting``; those that only fit together are given together.

    Raises:
        GraphError: If an element or setting does not exist, a setting is not declared
            :data:`~tolmach.pipelines.element.Live`, or a value is not right, with a diagnostic for each.
    """
    problems = Diagnostics()
    lines: list[str] = []
    given: dict[str, dict[str, Setting]] = {}
    for target, value in values.items():
        shown = " ".join(split_lines(value if isinstance(value, str) else show_value(value)))
        lines.append(f"{target}={shown}")
        key = Span(_PLACE, len(lines), 1, max(1, len(target)))
        setting = Setting(key, plain_value(value, Span(_PLACE, len(lines), len(target) + 2, max(1, len(shown)))))
        element, _, name = target.rpartition(".")
        if _may_change(graph, element, name, key, problems):
            given.setdefault(element, {})[name] = setting
    nodes = dict(graph.nodes)
    for name, settings in given.items():
        changed = _changed(graph.nodes[name], settings, problems)
        if changed is not None:
            nodes[name] = replace(graph.nodes[name], settings=changed)
    if problems.has_errors:
        raise GraphError(format_text(problems.sorted(), {_PLACE: "\n".join(lines)}).rstrip(), problems.sorted())
    return replace(graph, nodes=nodes)


def _may_change(graph: Graph, element: str, name: str, key: Span, problems: Diagnostics) -> bool:
    node = graph.nodes.get(element)
    if node is None:
        if not element:
            hint = "a param is no setting of a graph that plays" if name in graph.params else "write element.setting"
            problems.add("bad-value", key, f"{name!r} is not element.setting", hint=hint)
        else:
            problems.add("unknown-element", key, f"no element named {element!r}", hint=suggest(element, graph.nodes))
        return False
    kind = node.spec.settings
    if name not in kind.model_fields or is_live_setting(kind, name):
        return True  # what does not exist is said where the settings are checked
    live = [field for field in kind.model_fields if is_live_setting(kind, field)]
    notes = (f"of {node.spec.type} may change: {', '.join(live)}",) if live else ()
    message = f"{name} of {node.spec.type} cannot change while the graph plays"
    problems.add("bad-value", key, message, notes=notes, hint="open the graph again with it")
    return False


def _changed(node: Node, changes: Mapping[str, Setting], problems: Diagnostics) -> Settings | None:
    place = next(iter(changes.values())).value.span
    written = {name: getattr(node.settings, name) for name in node.spec.settings.model_fields}
    kept = {n: Setting(place, plain_value(v, place)) for n, v in written.items() if n in node.settings.model_fields_set}
    type_ = plain_value(node.spec.type, place)
    declared = DeclaredElement(node.name, node.name, node.bin, place, type_, {**kept, **changes}, None)
    settings = valid_settings(declared, node.spec, problems)
    if settings is not None and node.spec.pads_for(settings) != node.spec.pads_for(node.settings):
        names = ", ".join(changes)
        message = f"{names} of {node.spec.type} would change what travels over its pads"
        problems.add("bad-value", place, message, hint="open the graph again with it")
        return None
    return settings
