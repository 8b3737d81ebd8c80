"""Graphs built in Python instead of YAML, or changed while they play: the same checks, the same diagnostics.

A :class:`GraphBuilder` makes the declared elements and the chains that the passes of a document make
(:mod:`tolmach.pipelines.language.bins`) and hands them to the same passes behind. Where a document has lines,
diagnostics name the element or the link. Of settings that change, everything that is wrong is said at once too, and
nothing is changed then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tolmach.pipelines.element import ElementSpec, Settings, is_live_setting
from tolmach.pipelines.errors import GraphError, Span
from tolmach.pipelines.graph import Graph, Node
from tolmach.pipelines.language.bins import MAX_ELEMENTS, NAME, NAME_HINT, DeclaredElement, Level, Setting
from tolmach.pipelines.language.check import CheckResult, Description, assemble, plain_value
from tolmach.pipelines.language.diagnostics import (
    CheckStopped,
    Diagnostics,
    format_text,
    show_value,
    split_lines,
    suggest,
)
from tolmach.pipelines.language.document import YamlScalar
from tolmach.pipelines.language.drafts import valid_settings
from tolmach.pipelines.model_host import HostPlace
from tolmach.pipelines.registry import Registry

__all__ = ["GraphBuilder", "change_settings"]


@dataclass(frozen=True, slots=True)
class _Added:
    name: str
    type: str
    settings: dict[str, Any]
    on_error: str | None


class GraphBuilder:
    """Puts a graph together in Python.

    >>> builder = GraphBuilder("tones")
    >>> builder.add("in", "test_src", duration_ms=1000)
    'in'
    >>> builder.add("out", "fake_sink")
    'out'
    >>> builder.link("in", "out")
    >>> builder.build().order
    ('in', 'out')

    Settings are Python values and no variables are expanded in them: a function with arguments is what a graph with
    params or a bin is in YAML. Nothing is checked before :meth:`build`, which then says everything that is wrong.

    Args:
        name: Name of the graph.
        description: For people.
        commercial: Whether it is to be used commercially: what may not be is refused.
        host: Where its models run, as ``host`` of a graph file; "" leaves it to the process.
        registry: Element types; what Tolmach ships and what is installed when None.
    """

    def __init__(
        self,
        name: str = "graph",
        *,
        description: str = "",
        commercial: bool = False,
        host: str = "",
        registry: Registry | None = None,
    ) -> None:
        stated = _place(f"graph {name!r}") if commercial else None
        place = HostPlace.parse(host) if host else None
        self._described = Description(name, description, commercial=stated, host=place)
        self._registry = registry or Registry.default()
        self._added: list[_Added] = []
        self._chains: list[str] = []

    def add(self, name: str, type_: str | ElementSpec, /, *, on_error: str | None = None, **settings: Any) -> str:
        """Add an element.

        Args:
            name: Its name in the graph.
            type_: Its type, or the spec of one that no package declares: an element of the program's own.
            on_error: What an exception does: ``fail``, ``skip`` or ``restart``; None leaves it to the type.
            **settings: Its settings.

        Returns:
            The name, to link it by.

        Raises:
            RegistryError: If a spec has the type of another element.
        """
        if isinstance(type_, ElementSpec):
            if type_.type not in self._registry or self._registry.entry(type_.type).spec is not type_:
                self._registry = self._registry.extended(type_)
            type_ = type_.type
        self._added.append(_Added(name, type_, settings, on_error))
        return name

    def link(self, *ends: str) -> None:
        """Link elements one behind the other: ``link("in", "vad", "out")``, ``link("fork.src_1", "subs")``.

        Args:
            *ends: Elements, or pads of elements where there are several, as in a chain of a YAML file.
        """
        self._chains.append(" -> ".join(ends))

    def check(self) -> CheckResult:
        """Check the graph without building any element.

        Raises:
            RegistryError: If installed element types contradict each other.
        """
        problems = Diagnostics(stops=True)
        graph = None
        try:
            graph = assemble(self._described, self._level(problems), self._registry, problems)
        except CheckStopped:
            graph = None  # which the diagnostics say
        return CheckResult(None if problems.has_errors else graph, problems.sorted(), {})

    def build(self) -> Graph:
        """The checked graph.

        Raises:
            GraphError: If there is any error; its text is all of them.
            RegistryError: If installed element types contradict each other.
        """
        result = self.check()
        if result.graph is None:
            raise GraphError(result.format_text().rstrip(), result.diagnostics)
        return result.graph

    def _level(self, problems: Diagnostics) -> Level:
        level = Level("", _place(f"graph {self._described.name!r}"))
        if not self._added:
            problems.add("bad-value", level.span, "the graph has no elements", hint='add("in", "app_src")')
        for number, added in enumerate(self._added):
            if number >= MAX_ELEMENTS:
                problems.add("bad-value", level.span, f"the graph grows beyond {MAX_ELEMENTS} elements")
                break
            self._declare(added, level, problems)
        level.links = tuple(_chain(text) for text in self._chains)
        return level

    @staticmethod
    def _declare(added: _Added, level: Level, problems: Diagnostics) -> None:
        name, span = added.name, _place(f"element {added.name!r}")
        if not NAME.fullmatch(name):
            problems.add("bad-value", span, f"{name!r} is not a name for an element", hint=NAME_HINT)
            level.elements.setdefault(name)
            return
        if name in level.spans:
            problems.add("duplicate-key", span, f"an element named {name!r} was added before", hint="name each once")
            return
        settings = {key: Setting(span, plain_value(value, span)) for key, value in added.settings.items()}
        on_error = plain_value(added.on_error, span) if added.on_error is not None else None
        level.spans[name] = span
        level.elements[name] = DeclaredElement(name, name, "", span, plain_value(added.type, span), settings, on_error)


def _place(what: str) -> Span:
    return Span(what, 0, 0)


def _chain(text: str) -> YamlScalar:
    return YamlScalar(_place(f"link {text}"), text, text, None)


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
            nodes[name] = graph.nodes[name]._replace(settings=changed)
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
