"""A checked graph: nodes, links between pads, and the order frames flow in.

Values only. :mod:`tolmach.pipelines.language.check` makes one from a document in named passes;
:mod:`tolmach.pipelines.runtime.lower` makes it run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import ElementSpec, OnError, Pad, Settings, heard_languages
from tolmach.pipelines.errors import Span
from tolmach.pipelines.model_host import HostPlace


class PadRef(NamedTuple):
    """A pad of a node: ``element.pad``."""

    node: str
    pad: str

    def __str__(self) -> str:
        return f"{self.node}.{self.pad}"


class Node(NamedTuple):
    """One element of a checked graph.

    Attributes:
        name: Unique in the graph; elements of a bin are named ``bin.element``.
        spec: Its type.
        settings: Its validated settings.
        pads: Its pads, request pads included as they were made (``src_0``, ``src_1``, …).
        on_error: Its failure policy.
        bin: Name of the bin it came from, or "".
        span: Where it is declared.
    """

    name: str
    spec: ElementSpec
    settings: Settings
    pads: tuple[Pad, ...]
    on_error: OnError
    bin: str
    span: Span

    def pad(self, name: str) -> Pad:
        """The pad called ``name``. Raises KeyError."""
        for pad in self.pads:
            if pad.name == name:
                return pad
        raise KeyError(f"{self.name} has no pad {name!r}")

    @property
    def is_source(self) -> bool:
        """Whether it has no sink pad."""
        return not any(p.direction == "sink" for p in self.pads)

    @property
    def is_sink(self) -> bool:
        """Whether it has no src pad."""
        return not any(p.direction == "src" for p in self.pads)


class Link(NamedTuple):
    """A link from a src pad to a sink pad.

    Attributes:
        src: Where frames leave.
        sink: Where they arrive.
        caps: What was negotiated: fixed, unless the src pad is dynamic.
        span: Where the link is written.
    """

    src: PadRef
    sink: PadRef
    caps: Caps
    span: Span

    def carries(self, media: str) -> bool:
        """Whether ``audio`` or ``text`` may travel here; over a link that allows everything, both may."""
        return self.caps.is_any or any(s.media.partition("/")[0] == media for s in self.caps)

    @property
    def segmented(self) -> bool:
        """Whether what travels here is cut into utterances."""
        return self.caps.value("segmented") is True


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that passed every check.

    Attributes:
        name: From the document, or the file's stem.
        description: From the document, or "".
        path: The file it came from, or None.
        params: Values of the graph's params after ``--set``.
        nodes: By name, in the order of declaration.
        links: In the order written.
        order: Node names in topological order; among equals the order of declaration.
        commercial: Whether it is to be used commercially, so that nothing may be loaded whose terms forbid it.
        host: Where its models run, if it says so.
    """

    name: str
    description: str
    path: Path | None
    params: Mapping[str, Any]
    nodes: Mapping[str, Node]
    links: tuple[Link, ...]
    order: tuple[str, ...]
    commercial: bool = False
    host: HostPlace | None = None
    _by_src: dict[str, tuple[Link, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def links_from(self, node: str) -> tuple[Link, ...]:
        """Links that leave ``node``, in the order written."""
        if not self._by_src:
            for link in self.links:
                self._by_src[link.src.node] = (*self._by_src.get(link.src.node, ()), link)
        return self._by_src.get(node, ())

    def links_to(self, node: str) -> tuple[Link, ...]:
        """Links that arrive at ``node``, in the order written."""
        return tuple(link for link in self.links if link.sink.node == node)

    def settled(self, node: str) -> Settings:
        """A node's settings as far as they matter in this graph (``ElementSpec.settle``)."""
        found = self.nodes[node]
        if found.spec.settle is None:
            return found.settings
        caps = {link.sink.pad: link.caps for link in self.links_to(node)}
        caps |= {link.src.pad: link.caps for link in self.links_from(node)}
        return found.spec.settle(found.settings, caps)

    def languages_behind(self, node: str) -> tuple[str, ...]:
        """What the elements that frames from ``node`` reach expect to hear, as their settings declare it; sorted."""
        reached, found = {node}, set[str]()
        for name in self.order:
            if name in reached:
                reached.update(link.sink.node for link in self.links_from(name))
                found.update(heard_languages(self.nodes[name].settings))
        return tuple(sorted(found))
