"""Draws a graph as SVG that stands alone: no graphviz, no script, no font to load, light and dark.

Each bin is laid out by itself and then placed as one box, so frames never overlap and never hold a stranger. The caps
of a link are a box of the layout too, so nothing is ever written over anything.

The layers come from grandalf's Sugiyama layout (pure Python, no graphviz needed). grandalf is under the GPL v2 or the
EPL v1 at the user's choice and is used unchanged, as an installed library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

from tolmach.pipelines.describe.render import Cluster, caps_lines, clusters, node_lines, pad_names
from tolmach.pipelines.graph import Graph, Link, Node

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


# Sizes in px. Text is measured by counting: 0.62 em is the width of a monospace character, wide scripts take two.
NAME_PX, TEXT_PX, LINE_PX = 13.0, 11.0, 14.0
EM = 0.62
PAD_X, PAD_Y = 14.0, 8.0
X_GAP, Y_GAP = 26.0, 20.0
FRAME, FRAME_TITLE = 16.0, 22.0
MARGIN, TITLE_PX = 20.0, 34.0
SLANT = 10.0  # by how much a source's or a sink's box leans in

# Plain colours, not CSS variables: many SVG viewers outside browsers know no var() and would paint everything black.
STYLE = """
  .paper { fill: #ffffff; }
  text { fill: #1b1f24; text-anchor: middle;
         font: 11px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
  .title { font: 600 16px system-ui, sans-serif; text-anchor: start; }
  .name { font-weight: 700; font-size: 13px; }
  .soft { fill: #57606a; }
  .box { fill: #f3f6fa; stroke: #6e7781; }
  .source { fill: #e3f3e6; }
  .sink { fill: #fdeee0; }
  .frame { fill: none; stroke: #8c959f; stroke-dasharray: 5 4; }
  .frame-name { text-anchor: start; font-weight: 700; fill: #57606a; }
  .link { fill: none; stroke: #6e7781; stroke-width: 1.5; }
  .arrow { fill: #6e7781; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; }
    text { fill: #e6edf3; }
    .soft, .frame-name { fill: #9aa5b1; }
    .box { fill: #1c2430; stroke: #8b949e; }
    .source { fill: #16301d; }
    .sink { fill: #3a2716; }
    .frame { stroke: #6e7681; }
    .link { stroke: #8b949e; }
    .arrow { fill: #8b949e; }
  }
"""


@dataclass(slots=True)
class _Drawing:
    """A cluster with everything in it placed; coordinates from its own top left corner.

    ``ports`` are the ways out of a bin: where a link that crosses its frame meets the frame, by link and direction.
    """

    width: float
    height: float
    boxes: dict[str, Point] = field(default_factory=dict)
    labels: dict[int, Point] = field(default_factory=dict)
    frames: list[tuple[str, Point, float, float]] = field(default_factory=list)
    paths: dict[int, list[Point]] = field(default_factory=dict)
    ports: dict[tuple[int, str], list[Point]] = field(default_factory=dict)

    def moved(self, dx: float, dy: float) -> _Drawing:
        def shift(points: Sequence[Point]) -> list[Point]:
            return [(x + dx, y + dy) for x, y in points]

        return _Drawing(
            self.width,
            self.height,
            {n: (x + dx, y + dy) for n, (x, y) in self.boxes.items()},
            {n: (x + dx, y + dy) for n, (x, y) in self.labels.items()},
            [(n, (x + dx, y + dy), w, h) for n, (x, y), w, h in self.frames],
            {n: shift(p) for n, p in self.paths.items()},
            {n: shift(p) for n, p in self.ports.items()},
        )


def to_svg(graph: Graph) -> str:
    """The graph as an SVG document.

    For scripts around it, each element is ``<g class="element" data-element="NAME">`` and each link
    ``<path class="link" data-src="NAME" data-sink="NAME">``.
    """
    drawing = _draw(clusters(graph), graph)
    title_width = _text_width([graph.name], 16.0)
    width = max(drawing.width, title_width) + 2 * MARGIN
    height = drawing.height + 2 * MARGIN + TITLE_PX
    drawing = drawing.moved((width - drawing.width) / 2, MARGIN + TITLE_PX)
    return "\n".join(_document(graph, drawing, width, height)) + "\n"


def _document(graph: Graph, drawing: _Drawing, width: float, height: float) -> Iterator[str]:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">'
    yield f'<title id="title">{_text(graph.name)}</title>'
    described = graph.description or f"A graph of {len(graph.nodes)} elements and {len(graph.links)} links."
    yield f'<desc id="desc">{_text(described)}</desc>'
    yield f"<style>{STYLE}</style>"
    yield '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    yield '<path class="arrow" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    yield '<rect class="paper" width="100%" height="100%"/>'
    yield f'<text class="title" x="{MARGIN:.1f}" y="{MARGIN + 14:.1f}">{_text(graph.name)}</text>'
    for name, (x, y), w, h in drawing.frames:
        yield f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="8"/>'
        yield f'<text class="frame-name" x="{x + 10:.1f}" y="{y + 16:.1f}">{_text(name)}</text>'
    for number in sorted(drawing.paths):
        link = graph.links[number]
        ends = f'data-src="{_attribute(link.src.node)}" data-sink="{_attribute(link.sink.node)}"'
        yield f'<path class="link" {ends} d="{_curve(drawing.paths[number])}" marker-end="url(#arrow)"/>'
    for number, centre in sorted(drawing.labels.items()):
        lines = _label_lines(graph.links[number])
        w, h = _label_size(lines)
        yield _rect("paper", centre, w, h, 0)
        yield from _lines(lines, centre, "soft")
    for name, centre in drawing.boxes.items():
        yield from _box(graph.nodes[name], centre)
    yield "</svg>"


def _box(node: Node, centre: Point) -> Iterator[str]:
    lines = node_lines(node)
    width, height = _box_size(node)
    yield f'<g class="element" data-element="{_attribute(node.name)}">'
    yield f"<title>{_text(f'{node.name}: {node.spec.summary}')}</title>"
    if node.is_source or node.is_sink:
        (x, y), top, bottom = centre, width / 2, width / 2
        if node.is_source:
            top -= SLANT
        else:
            bottom -= SLANT
        y0, y1 = y - height / 2, y + height / 2
        corners = [(x - top, y0), (x + top, y0), (x + bottom, y1), (x - bottom, y1)]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
        yield f'<polygon class="box {"source" if node.is_source else "sink"}" points="{points}"/>'
    else:
        yield _rect("box", centre, width, height, 7)
    yield from _lines(lines, centre, "", first="name")
    yield "</g>"


def _draw(cluster: Cluster, graph: Graph) -> _Drawing:
    """Lay a cluster out from the inside out."""
    inner = {name: _framed(_draw(sub, graph)) for name, sub in cluster.clusters.items()}
    prefix = "".join(f"{part}." for part in cluster.path)
    sizes: dict[str, tuple[float, float]] = {f"node {n.name}": _box_size(n) for n in cluster.nodes}
    sizes |= {f"bin {prefix}{name}": (d.width, d.height) for name, d in inner.items()}
    edges: list[tuple[str, str]] = []
    routes: dict[int, list[str]] = {}
    for number, link in enumerate(graph.links):
        src, sink = _member(link.src.node, prefix), _member(link.sink.node, prefix)
        if (src is None and sink is None) or (src == sink and src is not None and src.startswith("bin ")):
            continue
        stops = [src or f"port in {number}", sink or f"port out {number}"]
        sizes |= {stop: (1.0, 1.0) for stop in stops if stop.startswith("port ")}
        if src is not None and sink is not None:
            sizes[f"label {number}"] = _label_size(_label_lines(link))
            stops.insert(1, f"label {number}")
        routes[number] = stops
        edges += list(pairwise(stops))
    placed = place(sizes, edges, x_gap=X_GAP, y_gap=Y_GAP)
    drawing = _Drawing(placed.width, placed.height)
    _take_in(drawing, placed, inner, prefix, sizes)
    for number, stops in routes.items():
        points = _route(number, stops, placed, sizes, drawing)
        if stops[0].startswith("port "):
            drawing.ports[number, "in"] = points
        elif stops[-1].startswith("port "):
            drawing.ports[number, "out"] = points
        else:
            drawing.paths[number] = points
    return drawing


def _take_in(
    drawing: _Drawing,
    placed: Placed,
    inner: Mapping[str, _Drawing],
    prefix: str,
    sizes: Mapping[str, tuple[float, float]],
) -> None:
    for key, centre in placed.centres.items():
        kind, _, name = key.partition(" ")
        if kind == "node":
            drawing.boxes[name] = centre
        elif kind == "label":
            drawing.labels[int(name)] = centre
    for name, sub in inner.items():
        key = f"bin {prefix}{name}"
        (x, y), (w, h) = placed.centres[key], sizes[key]
        moved = sub.moved(x - w / 2, y - h / 2)
        drawing.boxes |= moved.boxes
        drawing.labels |= moved.labels
        drawing.paths |= moved.paths
        drawing.ports |= moved.ports
        drawing.frames += [(name, (x - w / 2, y - h / 2), w, h), *moved.frames]


def _route(
    number: int,
    stops: Sequence[str],
    placed: Placed,
    sizes: Mapping[str, tuple[float, float]],
    drawing: _Drawing,
) -> list[Point]:
    """Points of a link: out of the first stop's lower edge, through labels and bends, to the last one's upper edge."""
    points: list[Point] = []
    for position, stop in enumerate(stops):
        (x, y), (_, h) = placed.centres[stop], sizes[stop]
        if stop.startswith("bin "):
            # The bin knows how the link goes on inside its frame.
            points += drawing.ports.pop((number, "out" if position == 0 else "in"))
        elif stop.startswith("port in"):
            points.append((x, 0.0))
        elif stop.startswith("port out"):
            points.append((x, placed.height))
        else:
            points += [(x, y - h / 2)] if position > 0 else []
            points += [(x, y + h / 2)] if position < len(stops) - 1 else []
        if position < len(stops) - 1:
            points += placed.bends.get((stop, stops[position + 1]), ())
    return points


def _framed(drawing: _Drawing) -> _Drawing:
    """Room for the frame and its name; links are led on to the frame."""
    moved = drawing.moved(FRAME, FRAME + FRAME_TITLE)
    moved.width += 2 * FRAME
    moved.height += 2 * FRAME + FRAME_TITLE
    for (_, direction), points in moved.ports.items():
        if direction == "in":
            points.insert(0, (points[0][0], 0.0))
        else:
            points.append((points[-1][0], moved.height))
    return moved


def _member(node: str, prefix: str) -> str | None:
    """Which box of a cluster an element stands in: itself, a bin, or None when it is outside."""
    if not node.startswith(prefix):
        return None
    head, dot, _ = node[len(prefix) :].partition(".")
    return f"bin {prefix}{head}" if dot else f"node {node}"


def _label_lines(link: Link) -> list[str]:
    src_pad, sink_pad = pad_names(link)
    pads = [f"{src_pad or 'src'} → {sink_pad or 'sink'}"] if src_pad or sink_pad else []
    return [*pads, *caps_lines(link.caps)]


def _label_size(lines: Sequence[str]) -> tuple[float, float]:
    return _text_width(lines, TEXT_PX) + 8, len(lines) * LINE_PX + 4


def _box_size(node: Node) -> tuple[float, float]:
    lines = node_lines(node)
    width = max(_text_width(lines[:1], NAME_PX), _text_width(lines[1:], TEXT_PX))
    slant = 2 * SLANT if node.is_source or node.is_sink else 0.0
    return max(width + 2 * PAD_X + slant, 90.0), len(lines) * LINE_PX + 2 * PAD_Y


def _text_width(lines: Sequence[str], size_px: float) -> float:
    return max((sum(1.0 if ord(c) < 0x1100 else 2.0 for c in line) for line in lines), default=0.0) * EM * size_px


def _lines(lines: Sequence[str], centre: Point, style: str, first: str = "") -> Iterator[str]:
    x, y = centre
    top = y - len(lines) * LINE_PX / 2 + 0.75 * LINE_PX
    for number, line in enumerate(lines):
        name = first if number == 0 and first else style or "soft"
        yield f'<text class="{name}" x="{x:.1f}" y="{top + number * LINE_PX:.1f}">{_text(line)}</text>'


def _rect(style: str, centre: Point, width: float, height: float, radius: float) -> str:
    x, y = centre[0] - width / 2, centre[1] - height / 2
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:.0f}"/>'
    )


def _curve(points: Sequence[Point]) -> str:
    (x, y), *rest = points
    out = [f"M{x:.1f} {y:.1f}"]
    for nx, ny in rest:
        middle = (y + ny) / 2
        straight = abs(nx - x) < 0.5
        out.append(
            f"L{nx:.1f} {ny:.1f}" if straight else f"C{x:.1f} {middle:.1f} {nx:.1f} {middle:.1f} {nx:.1f} {ny:.1f}"
        )
        x, y = nx, ny
    return " ".join(out)


def _text(text: str) -> str:
    # Control characters are not allowed in XML 1.0, escaped or not.
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _attribute(text: str) -> str:
    return _text(text).replace('"', "&quot;")
