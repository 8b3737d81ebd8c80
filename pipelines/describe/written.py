"""A graph as text that Tolmach reads again: a launch line as a YAML file, and a checked graph as a launch line.

``tolmach launch LINE --print-yaml`` and ``tolmach graph --as-launch GRAPH``. The way back gives the same checked graph:
the same elements under the same names with the same settings, and the same links between the same pads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tolmach.pipelines.element import Direction, Pad
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph, Link, Node, PadRef
from tolmach.pipelines.language.diagnostics import Diagnostics, format_text
from tolmach.pipelines.language.document import YamlMapping, YamlScalar, YamlSequence, YamlValue, scalar_value
from tolmach.pipelines.language.launch_line import LaunchLine, parse_line
from tolmach.pipelines.language.links import template_of

__all__ = ["line_as_yaml", "quoted", "to_line"]

_PLAIN = re.compile(r"[A-Za-z0-9_./~]([\w./~+-]|:(?=[\w./]))*", re.ASCII)
"""Texts that need no quotes, in YAML (inside braces too) as in a line."""
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "'": "\\x27"}
"""A single quote too: so that a line can stand in single quotes, as a shell wants it."""


def line_as_yaml(line: LaunchLine) -> str:
    """A line as the text of a graph file; variables stay variables, and params are declared without a value.

    Raises:
        GraphError: If the line cannot be read.
    """
    problems = Diagnostics()
    root = parse_line(line, str(line), problems)
    if root is None:
        found = problems.sorted()
        raise GraphError(format_text(found, {str(line): line.text}).rstrip(), found)
    out = ["version: 1"]
    if line.include:
        out.append(f"include: {_yaml(root.entries['include'].value)}")
    params = _entries(root, "params")
    if params:
        out += ["params:", *(f"  {name}:" for name in params)]
    elements = _entries(root, "elements")
    width = max(map(len, elements), default=0) + 1
    out.append("elements:")
    out += [f"  {name + ':':<{width}} {_yaml(value)}" for name, value in elements.items()]
    links = root.entries["links"].value
    chains = (
        [item.text for item in links.items if isinstance(item, YamlScalar)] if isinstance(links, YamlSequence) else []
    )
    return "\n".join([*out, "links:", *(f"  - {chain}" for chain in chains)]) + "\n"


def _entries(root: YamlMapping, key: str) -> dict[str, YamlValue]:
    value = root.entries[key].value
    return {entry.key: entry.value for entry in value} if isinstance(value, YamlMapping) else {}


def _yaml(value: YamlValue) -> str:
    if isinstance(value, YamlScalar):
        return quoted(value.value) if isinstance(value.value, str) else value.text or "null"
    if isinstance(value, YamlSequence):
        return f"[{', '.join(map(_yaml, value.items))}]"
    return "{" + ", ".join(f"{quoted(entry.key)}: {_yaml(entry.value)}" for entry in value) + "}"


def to_line(graph: Graph) -> str:
    """A checked graph as a launch line that comes to the same graph.

    Params and variables have their values in it, and the elements of a bin stand for themselves, with ``_`` in their
    names where the graph has a dot.

    Raises:
        GraphError: If a setting has a value that no line can hold.
    """
    return " ".join(_LineWriter(graph).chains()) + "\n"


class _LineWriter:
    """Writes links in their order; an element is declared where it is first mentioned, in the order of the graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = _flat_names(graph)
        self.order = tuple(graph.nodes)
        self.declared = 0  # that many of them
        self.place = {name: number for number, name in enumerate(self.order)}
        self.unnamed: dict[str, int] = {}
        self.explicit = _explicit_pads(graph)

    def chains(self) -> Iterator[str]:
        words: list[str] = []
        end = ""  # the element that the chain under way ends with
        for link in self.graph.links:
            goes_on = end == link.src.node and link.src not in self.explicit
            before = list(self.declare_first(link))
            if before or not goes_on:
                if words:
                    yield " ".join(words)
                yield from before
                words = [self.mention(link.src)]
            words += ["!", self.mention(link.sink)]
            end = link.sink.node
        if words:
            yield " ".join(words)

    def declare_first(self, link: Link) -> Iterator[str]:
        """Declarations that must stand by themselves in front of a link, so that all come in the order of the graph."""
        ends = [ref for ref in (link.src, link.sink) if self.place[ref.node] >= self.declared]
        while ends and [self.place[ref.node] for ref in ends] != list(range(self.declared, self.declared + len(ends))):
            yield self.declaration()
            ends = [ref for ref in ends if self.place[ref.node] >= self.declared]
        last = max((self.place[ref.node] + 1 for ref in ends if ref in self.explicit), default=0)
        while self.declared < last:
            yield self.declaration()

    def mention(self, ref: PadRef) -> str:
        if self.place[ref.node] == self.declared:
            return self.declaration()
        return f"{self.names[ref.node]}.{ref.pad if ref in self.explicit else ''}"

    def declaration(self) -> str:
        name = self.order[self.declared]
        self.declared += 1
        node = self.graph.nodes[name]
        words = [node.spec.type]
        number = self.unnamed.get(node.spec.type, 0)
        if self.names[name] == f"{node.spec.type}{number}":
            self.unnamed[node.spec.type] = number + 1
        else:
            words.append(f"name={self.names[name]}")
        given = node.settings.model_dump(mode="json", exclude_unset=True)
        words += [f"{setting}={_value(value, node)}" for setting, value in given.items()]
        if node.on_error != node.spec.on_error:
            words.append(f"on_error={node.on_error}")
        return " ".join(words)


def _flat_names(graph: Graph) -> dict[str, str]:
    names: dict[str, str] = {}
    taken = {name for name in graph.nodes if "." not in name}
    for name in graph.nodes:
        flat = name
        if "." in name:
            flat = name.replace(".", "_")
            while flat in taken:
                flat += "_"
            taken.add(flat)
        names[name] = flat
    return names


def _explicit_pads(graph: Graph) -> set[PadRef]:
    """Pads that must be named, because without a name another one would be taken."""
    explicit: set[PadRef] = set()
    made: dict[tuple[str, str], list[PadRef]] = {}
    for link in graph.links:
        sides: tuple[tuple[PadRef, Direction], ...] = ((link.src, "src"), (link.sink, "sink"))
        for ref, side in sides:
            node = graph.nodes[ref.node]
            template = _only_template(node, side)
            if template is None or (ref.pad != template.name and template_of(ref.pad) != template.name):
                explicit.add(ref)
            elif template.presence == "request":
                made.setdefault((ref.node, template.name), []).append(ref)
    for (_, pads), refs in made.items():
        if [ref.pad for ref in refs] != [pads.replace("%u", str(number)) for number in range(len(refs))]:
            explicit.update(refs)
    return explicit


def _only_template(node: Node, side: Direction) -> Pad | None:
    """The pad that is meant where none is named, as :mod:`tolmach.pipelines.language.links` has it."""
    mine = [pad for pad in node.spec.pads_for(node.settings) if pad.direction == side]
    needed = [pad for pad in mine if not pad.optional] or mine
    return needed[0] if len(needed) == 1 else None


def _value(value: Any, node: Node) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return quoted(value.replace("${", "$${"))
    if isinstance(value, list):
        return f"[{', '.join(_value(item, node) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)}: {_value(each, node)}" for key, each in value.items()) + "}"
    raise GraphError(f"{node.name}: a {type(value).__name__} cannot be written in a line")


def quoted(text: str) -> str:
    """A text with quotes where it needs them."""
    if _PLAIN.fullmatch(text) and isinstance(scalar_value(text), str):
        return text
    return '"' + "".join(_character(c) for c in text) + '"'


def _character(character: str) -> str:
    if (known := _ESCAPES.get(character)) is not None:
        return known
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
