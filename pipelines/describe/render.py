"""Draws a graph as text for other tools, DOT for graphviz and Mermaid for Markdown; the module ``svg`` draws it itself.

All three show the same: a box per element (sources as trapeziums that open downwards, sinks as ones that close), what
was set, the negotiated caps on each link, and a frame around each bin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tolmach.pipelines.caps import Caps, format_value
from tolmach.pipelines.graph import Graph, Link, Node

MAX_SETTINGS = 3  # shown in a box
MAX_TEXT = 34  # characters of a line in a box or on a link
INDENT = "  "


@dataclass(slots=True)
class Cluster:
    """A bin of a graph, or the graph itself.

    Attributes:
        path: Names of the bins from the outside in; () for the graph.
        nodes: Elements directly inside, in the order of declaration.
        clusters: Bins directly inside.
    """

    path: tuple[str, ...]
    nodes: list[Node] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The bin's own name."""
        return self.path[-1] if self.path else ""


def clusters(graph: Graph) -> Cluster:
    """The bins of a graph as a tree; an element named ``a.b.c`` is ``c`` in bin ``b`` in bin ``a``."""
    root = Cluster(())
    for node in graph.nodes.values():
        here = root
        for name in node.name.split(".")[:-1]:
            here = here.clusters.setdefault(name, Cluster((*here.path, name)))
        here.nodes.append(node)
    return root


def node_lines(node: Node) -> list[str]:
    """What a box says: the name, the type unless it is the same, and a few settings that were given."""
    name = node.name.rpartition(".")[2]
    lines = [name] + ([node.spec.type] if node.spec.type != name else [])
    given = [n for n in type(node.settings).model_fields if n in node.settings.model_fields_set]
    lines += [shortened(f"{name}: {_value(getattr(node.settings, name))}") for name in given[:MAX_SETTINGS]]
    if len(given) > MAX_SETTINGS:
        lines.append(f"and {len(given) - MAX_SETTINGS} more")
    return lines


def caps_lines(caps: Caps) -> list[str]:
    """Caps in lines short enough to stand on a link: the media type, then its fields."""
    lines: list[str] = []
    for structure in caps:
        line = ""
        lines.append(shortened(structure.media))
        for name, value in structure.fields:
            part = f"{name}={format_value(value)}"
            if line and len(line) + 2 + len(part) > MAX_TEXT:
                lines.append(shortened(line))
                line = part
            else:
                line = f"{line}, {part}" if line else part
        if line:
            lines.append(shortened(line))
    return lines or [str(caps)]


def shortened(text: str) -> str:
    """At most :data:`MAX_TEXT` characters on one line."""
    flat = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return flat if len(flat) <= MAX_TEXT else flat[: MAX_TEXT - 1] + "…"


def pad_names(link: Link) -> tuple[str, str]:
    """Pad names worth showing at the two ends of a link: those that are not just ``src`` and ``sink``."""
    return ("" if link.src.pad == "src" else link.src.pad, "" if link.sink.pad == "sink" else link.sink.pad)


def to_dot(graph: Graph) -> str:
    """The graph in graphviz's DOT language."""
    return "\n".join(_dot(graph)) + "\n"


def to_mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart, for Markdown."""
    return "\n".join(_mermaid(graph)) + "\n"


def _dot(graph: Graph) -> Iterator[str]:
    yield f"digraph {_dot_quote([graph.name])} {{"
    yield f"{INDENT}label={_dot_quote([graph.name])}; labelloc=t; rankdir=TB;"
    yield f'{INDENT}node [shape=box, style=rounded, fontname="sans-serif", fontsize=11];'
    yield f'{INDENT}edge [fontname="monospace", fontsize=9];'
    yield from _dot_cluster(clusters(graph), INDENT)
    for link in graph.links:
        src_pad, sink_pad = pad_names(link)
        tail = f", taillabel={_dot_quote([src_pad])}" if src_pad else ""
        head = f", headlabel={_dot_quote([sink_pad])}" if sink_pad else ""
        yield (
            f"{INDENT}{_dot_quote([link.src.node])} -> {_dot_quote([link.sink.node])} "
            f"[label={_dot_quote(caps_lines(link.caps))}{tail}{head}];"
        )
    yield "}"


def _dot_cluster(cluster: Cluster, indent: str) -> Iterator[str]:
    for node in cluster.nodes:
        shape = ", shape=trapezium, style=solid" if node.is_source else ""
        shape = ", shape=invtrapezium, style=solid" if node.is_sink else shape
        yield f"{indent}{_dot_quote([node.name])} [label={_dot_quote(node_lines(node))}{shape}];"
    for inner in cluster.clusters.values():
        yield f"{indent}subgraph {_dot_quote(['cluster_' + '.'.join(inner.path)])} {{"
        yield f"{indent}{INDENT}label={_dot_quote([inner.name])}; style=dashed;"
        yield from _dot_cluster(inner, indent + INDENT)
        yield f"{indent}}}"


def _dot_quote(lines: Sequence[str]) -> str:
    # In DOT only the quote needs escaping, but \N, \G, \l… are escapes of labels, so backslashes are doubled.
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines]
    return '"' + "\\n".join(escaped) + '"'


def _mermaid(graph: Graph) -> Iterator[str]:
    # Own ids: an element may be called `end`, which Mermaid takes for a keyword.
    ids = {name: f"n{number}" for number, name in enumerate(graph.nodes)}
    yield "---"
    yield f"title: {json.dumps(graph.name, ensure_ascii=False)}"
    yield "---"
    yield "flowchart TB"
    yield from _mermaid_cluster(clusters(graph), ids, INDENT)
    for link in graph.links:
        src_pad, sink_pad = pad_names(link)
        pads = [f"{src_pad or 'src'} → {sink_pad or 'sink'}"] if src_pad or sink_pad else []
        label = _mermaid_quote([*pads, *caps_lines(link.caps)])
        yield f"{INDENT}{ids[link.src.node]} -->|{label}| {ids[link.sink.node]}"


def _mermaid_cluster(cluster: Cluster, ids: dict[str, str], indent: str) -> Iterator[str]:
    for node in cluster.nodes:
        left, right = ("[/", "\\]") if node.is_source else ("[\\", "/]") if node.is_sink else ("(", ")")
        yield f"{indent}{ids[node.name]}{left}{_mermaid_quote(node_lines(node))}{right}"
    for inner in cluster.clusters.values():
        yield f"{indent}subgraph {_mermaid_id(inner.path)}[{_mermaid_quote([inner.name])}]"
        yield from _mermaid_cluster(inner, ids, indent + INDENT)
        yield f"{indent}end"


def _mermaid_id(path: Sequence[str]) -> str:
    # Letters and digits stand for themselves, everything else for its code: no two bins share an id.
    return "b_" + "".join(c if c.isalnum() else f"_{ord(c):x}_" for c in ".".join(path))


_MERMAID_ENTITIES = str.maketrans({c: f"#{ord(c)};" for c in '#"&<>`\\|[]{}'})


def _mermaid_quote(lines: Sequence[str]) -> str:
    return '"' + "<br/>".join(line.translate(_MERMAID_ENTITIES) for line in lines) + '"'


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        # Of a mapping of anybody's the names alone: drawings are shown around, and a value may be a service's key.
        return f"{{{', '.join(map(str, value))}}}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
