"""Places boxes in layers from top to bottom, with grandalf's Sugiyama layout (pure Python, no graphviz needed).

Knows nothing of elements: boxes with a size and edges in, centres and bends out. grandalf is under the GPL v2 or the
EPL v1 at the user's choice and is used unchanged, as an installed library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Placed:
    """A layout, in the unit of the sizes given; the top left corner of everything is (0, 0).

    Attributes:
        width: Of everything.
        height: Of everything.
        centres: Middle of each box.
        bends: Points between the two ends of each edge, from top to bottom; most edges have none.
    """

    width: float
    height: float
    centres: Mapping[str, Point]
    bends: Mapping[tuple[str, str], Sequence[Point]]


def place(
    sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]], *, x_gap: float, y_gap: float
) -> Placed:
    """Place boxes so that every edge runs downwards and few cross.

    Args:
        sizes: Width and height of each box.
        edges: From box, to box; acyclic. Parallel edges share one route.
        x_gap: Least horizontal distance between boxes.
        y_gap: Vertical distance between layers.

    Returns:
        Parts that are not connected stand side by side, in the order of ``sizes``. The same input gives the same
        layout in every process.
    """
    if not sizes:
        return Placed(0.0, 0.0, {}, {})
    centres: dict[str, Point] = {}
    bends: dict[tuple[str, str], Sequence[Point]] = {}
    left = height = 0.0
    for names in _components(sizes, edges):
        part = _place_connected(names, sizes, [e for e in edges if e[0] in names], x_gap, y_gap)
        centres |= {name: (x + left, y) for name, (x, y) in part.centres.items()}
        bends |= {edge: [(x + left, y) for x, y in points] for edge, points in part.bends.items()}
        left += part.width + 2 * x_gap
        height = max(height, part.height)
    return Placed(left - 2 * x_gap, height, centres, bends)


def _place_connected(
    names: Sequence[str],
    sizes: Mapping[str, tuple[float, float]],
    edges: Sequence[tuple[str, str]],
    x_gap: float,
    y_gap: float,
) -> Placed:
    from grandalf.graphs import Edge, Vertex, graph_core
    from grandalf.layouts import SugiyamaLayout

    vertices = {name: Vertex(name) for name in names}
    for name, vertex in vertices.items():
        vertex.view = _View(*sizes[name])
    # grandalf confuses parallel edges that span several layers; they are the same to the eye anyway.
    joined = {pair: Edge(vertices[pair[0]], vertices[pair[1]]) for pair in dict.fromkeys(edges)}
    for edge in joined.values():
        edge.view = _Route()
    layout = SugiyamaLayout(graph_core(list(vertices.values()), list(joined.values())))
    layout.xspace, layout.yspace = x_gap, y_gap
    layout.init_all(roots=[v for v in vertices.values() if not v.e_in()], inverted_edges=[])
    layout.draw(3)  # rounds of crossing reduction; graphs of this size have settled by then
    raw = {name: (float(v.view.xy[0]), float(v.view.xy[1])) for name, v in vertices.items()}
    points = {pair: [(float(x), float(y)) for x, y in edge.view.points[1:-1]] for pair, edge in joined.items()}
    xs = [x - sizes[n][0] / 2 for n, (x, _) in raw.items()] + [x for p in points.values() for x, _ in p]
    right = [x + sizes[n][0] / 2 for n, (x, _) in raw.items()] + [x for p in points.values() for x, _ in p]
    top = min(y - sizes[n][1] / 2 for n, (_, y) in raw.items())
    bottom = max(y + sizes[n][1] / 2 for n, (_, y) in raw.items())
    return Placed(
        width=max(right) - min(xs),
        height=bottom - top,
        centres={name: (x - min(xs), y - top) for name, (x, y) in raw.items()},
        bends={pair: [(x - min(xs), y - top) for x, y in route] for pair, route in points.items()},
    )


def _components(sizes: Mapping[str, Any], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    neighbours: dict[str, set[str]] = {name: set() for name in sizes}
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    found: list[list[str]] = []
    seen: set[str] = set()
    for name in sizes:
        if name in seen:
            continue
        reached, frontier = {name}, [name]
        while frontier:
            fresh = neighbours[frontier.pop()] - reached
            reached |= fresh
            frontier.extend(fresh)
        seen |= reached
        found.append([n for n in sizes if n in reached])
    return found


class _View:
    """What grandalf asks of a box."""

    def __init__(self, width: float, height: float) -> None:
        self.w = width
        self.h = height
        self.xy = (0.0, 0.0)


class _Route:
    """What grandalf asks of an edge."""

    points: Sequence[Point] = ()

    def setpath(self, points: Sequence[Point]) -> None:
        """Take the route."""
        self.points = points
