"""What a document declares: elements with what they are given, and the level of the graph that each stands at.

Nothing is known of types and pads yet. :mod:`tolmach.pipelines.language.bins` fills it in,
:mod:`tolmach.pipelines.language.drafts` looks the types up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.document import YamlScalar
from tolmach.pipelines.language.variables import Expanded

__all__ = ["DeclaredElement", "Level", "Override", "Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as given: where its name stands, and its value."""

    key_span: Span
    value: Expanded


@dataclass(frozen=True, slots=True)
class Override:
    """A setting given outside the document (``--set element.setting=value``)."""

    element: str
    setting: str
    given: Setting


@dataclass(frozen=True, slots=True)
class DeclaredElement:
    """An element as declared; nothing is known about its type yet.

    Attributes:
        name: Name in the graph, ``bin.element`` inside a bin.
        local: Name at its own level.
        bin: Name of the bin instance it is in, or "".
        span: Where its name stands.
        type: Its type and where that stands.
        settings: What it was given, by name.
        on_error: Its failure policy, or None for that of its type.
    """

    name: str
    local: str
    bin: str
    span: Span
    type: Expanded
    settings: Mapping[str, Setting]
    on_error: Expanded | None


@dataclass(slots=True)
class Level:
    """The graph itself, or one instance of a bin.

    Attributes:
        name: "" for the graph, else the name of the instance.
        span: Where it is declared.
        elements: Elements and bin instances by local name; None for one that is broken and reported, also under what
            a link may call it when its name is what is wrong.
        spans: Where each local name is declared.
        links: Chains as written.
        ghosts: Ghost pads: name → ``element.pad`` as written.
        links_broken: Whether a link, or all of them, could not be read: who seems unlinked may be in it.
        ghosts_broken: Whether a ghost pad was refused, so that it may be the one a link asks for.
        bins: Names of the bins of the document; only the graph's own level has them.
    """

    name: str
    span: Span
    elements: dict[str, DeclaredElement | Level | None] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    links: tuple[YamlScalar, ...] = ()
    ghosts: dict[str, YamlScalar] = field(default_factory=dict)
    links_broken: bool = False
    ghosts_broken: bool = False
    bins: tuple[str, ...] = ()

    def walk(self) -> Iterator[DeclaredElement]:
        """All elements of this level and those below, in the order of declaration."""
        for element in self.elements.values():
            if isinstance(element, Level):
                yield from element.walk()
            elif element is not None:
                yield element

    def levels(self) -> Iterator[Level]:
        """This level and those below."""
        yield self
        for element in self.elements.values():
            if isinstance(element, Level):
                yield from element.levels()
