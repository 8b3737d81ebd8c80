"""Seats of a graph: who speaks, hears and reads where, in a room of several people.

``webrtc_src``, ``webrtc_sink`` and ``caption_sink`` stand at a seat, which their setting ``seat`` names. At a seat
where somebody speaks sits one person; where people only hear or read there are as many as come. Whose words go where is
what the links of the graph say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph

__all__ = ["HEARS", "MAX_SEATS", "SPEAKS", "Seat", "SeatPlan", "require_session_graph", "seats_of"]

SPEAKS, HEARS, READS = "webrtc_src", "webrtc_sink", "caption_sink"
MAX_SEATS = 32
"""Of one graph; Canary knows 25 languages."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place of a room.

    Attributes:
        name: A word, or the language of those who sit there; "" for the client of a session.
        speaks: Whether somebody speaks there; one person then.
        hears: Whether something is played there.
        reads: Whether texts are shown there: those that become what is heard, or others.
        lang: The language of its texts (BCP-47), as far as the graph says; else "".
    """

    name: str
    speaks: bool
    hears: bool
    reads: bool
    lang: str

    def as_json(self) -> dict[str, Any]:
        """As the API tells it."""
        return {"seat": self.name, "lang": self.lang, "speaks": self.speaks, "hears": self.hears, "reads": self.reads}


class SeatPlan:
    """Who sits where, and to whom an element's words go.

    Args:
        graph: A checked graph.

    Attributes:
        seats: By name, those who speak first, else in the order of the file.

    Raises:
        GraphError: If two microphones or two loudspeakers stand at one seat, or there are too many seats.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        found: dict[str, list[str]] = {}
        for node in graph.nodes.values():
            if node.spec.type in (SPEAKS, HEARS, READS):
                found.setdefault(str(getattr(node.settings, "seat", "")), []).append(node.name)
        if len(found) > MAX_SEATS:
            raise GraphError(f"graph {graph.name!r} has {len(found)} seats; a room has at most {MAX_SEATS}")
        seats = [self._seat(name, elements) for name, elements in found.items()]
        self.seats = {seat.name: seat for seat in sorted(seats, key=lambda seat: not seat.speaks)}
        self._known: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def spoken_at(self, element: str) -> frozenset[str]:
        """Seats whose words an element works on."""
        return self._around(element)[0]

    def told_at(self, element: str) -> frozenset[str]:
        """Seats at which what an element makes is heard or read."""
        return self._around(element)[1]

    def _around(self, element: str) -> tuple[frozenset[str], frozenset[str]]:
        if element not in self._known:
            sources = [*_reached(self._back, [element])] if element in self._graph.nodes else []
            sinks = [*_reached(self._forth, [element])] if element in self._graph.nodes else []
            self._known[element] = (
                frozenset(self._at(name) for name in sources if self._type(name) == SPEAKS),
                frozenset(self._at(name) for name in sinks if self._type(name) in (HEARS, READS)),
            )
        return self._known[element]

    @cached_property
    def _back(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for link in self._graph.links:
            found.setdefault(link.sink.node, []).append(link.src.node)
        return found

    @cached_property
    def _forth(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for link in self._graph.links:
            found.setdefault(link.src.node, []).append(link.sink.node)
        return found

    def _type(self, element: str) -> str:
        return self._graph.nodes[element].spec.type

    def _at(self, element: str) -> str:
        return str(getattr(self._graph.nodes[element].settings, "seat", ""))

    def _seat(self, name: str, elements: list[str]) -> Seat:
        where = f"at the seat {name!r}" if name else "without a seat"
        for kind in (SPEAKS, HEARS):
            several = [element for element in elements if self._type(element) == kind]
            if len(several) > 1:
                raise GraphError(
                    f"graph {self._graph.name!r}: {' and '.join(several)} both stand {where}; "
                    f"one {kind} belongs there: give the other one another seat"
                )
        types = {self._type(element) for element in elements}
        sinks = [element for element in elements if self._type(element) != SPEAKS]
        told = self._languages(_reached(self._back, sinks), "target_lang")
        spoken = self._languages(_reached(self._forth, [each for each in elements if each not in sinks]), "source_lang")
        langs = told or spoken
        lang = next(iter(langs)) if len(langs) == 1 else name if _is_language(name) else ""
        return Seat(name, SPEAKS in types, HEARS in types, READS in types or bool(told), lang)

    def _languages(self, elements: Iterable[str], setting: str) -> set[str]:
        """Languages of the texts that these elements make, or of what they are made from, where a setting says them."""
        values = (getattr(self._graph.nodes[element].settings, setting, None) for element in elements)
        return {value for value in values if isinstance(value, str) and value not in ("", "auto")}


def seats_of(graph: Graph) -> list[dict[str, Any]]:
    """The seats of a graph for a room, as the API tells them; none of one for a session, or one that is wrong."""
    try:
        plan = SeatPlan(graph)
    except GraphError:
        return []
    return [seat.as_json() for seat in plan.seats.values()] if set(plan.seats) != {""} else []


def require_session_graph(graph: Graph) -> None:
    """Ask whether a session may have a graph, whose only seat is the client's.

    Raises:
        GraphError: If it is for a room; says how to open one.
    """
    names = [name for name in SeatPlan(graph).seats if name]
    if names:
        raise GraphError(
            f"the graph {graph.name!r} is for a room, with the seats {', '.join(names)}: open one with it "
            "(POST /api/rooms)"
        )


def _reached(links: dict[str, list[str]], begin: Iterable[str]) -> set[str]:
    found, waiting = set(begin), list(begin)
    while waiting:
        for name in links.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _is_language(name: str) -> bool:
    """Whether a seat's name can be a language tag of two or three letters, perhaps with a region or a script."""
    first, *rest = name.split("-")
    return 2 <= len(first) <= 3 and first.isalpha() and first.islower() and all(2 <= len(part) <= 8 for part in rest)
