"""Drawings of graphs: what they show, that they are well formed whatever the names are, and that nothing overlaps."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.describe.render import MAX_TEXT, caps_lines, to_dot, to_mermaid
from tolmach.pipelines.describe.svg import Placed, place, to_svg
from tolmach.pipelines.graph import Graph, PadRef
from tolmach.pipelines.language.check import load_graph

SIMPLE = """\
version: 1
name: simple
elements:
  in: {type: test_src, wave: noise}
  end: {type: fake_sink}
links:
  - in -> end
"""

TWO_WAY = """\
version: 1
name: two-way
description: Both directions.
bins:
  inner:
    elements: {x: {type: identity}, y: {type: identity}}
    links: [x -> y]
    pads: {sink: x.sink, src: y.src}
  direction:
    elements:
      q: {type: queue, max_ms: 300}
      deep: {type: bin/inner}
    links: [q -> deep]
    pads: {sink: q.sink, src: deep.src}
elements:
  in: {type: test_src, rate_hz: 48000, channels: 2, duration_ms: 1000, chunk_ms: 10}
  fork: {type: tee}
  there: {type: bin/direction}
  back: {type: bin/direction}
  join: {type: funnel}
  out: {type: fake_sink}
  alone: {type: test_src}
  lost: {type: fake_sink}
links:
  - in -> fork -> there -> join -> out
  - fork -> back -> join
  - alone -> lost
"""

SVG = "{http://www.w3.org/2000/svg}"


def graph(text: str) -> Graph:
    return load_graph("test.yaml", text=text)


def test_dot():
    assert to_dot(graph(SIMPLE)) == (
        'digraph "simple" {\n'
        '  label="simple"; labelloc=t; rankdir=TB;\n'
        '  node [shape=box, style=rounded, fontname="sans-serif", fontsize=11];\n'
        '  edge [fontname="monospace", fontsize=9];\n'
        '  "in" [label="in\\ntest_src\\nwave: noise", shape=trapezium, style=solid];\n'
        '  "end" [label="end\\nfake_sink", shape=invtrapezium, style=solid];\n'
        '  "in" -> "end" [label="audio/raw\\nchannels=1, rate=16000\\nsegmented=false"];\n'
        "}\n"
    )


def test_mermaid():
    assert to_mermaid(graph(SIMPLE)) == (
        '---\ntitle: "simple"\n---\n'
        "flowchart TB\n"
        '  n0[/"in<br/>test_src<br/>wave: noise"\\]\n'
        '  n1[\\"end<br/>fake_sink"/]\n'
        '  n0 -->|"audio/raw<br/>channels=1, rate=16000<br/>segmented=false"| n1\n'
    )


def test_bins_are_clusters_inside_clusters():
    dot = to_dot(graph(TWO_WAY))
    assert re.findall(r"subgraph (\S+)", dot) == [
        '"cluster_there"',
        '"cluster_there.deep"',
        '"cluster_back"',
        '"cluster_back.deep"',
    ]
    there = dot[dot.index('"cluster_there"') : dot.index('"cluster_back"')]
    assert '"there.q" [label="q\\nqueue\\nmax_ms: 300"]' in there
    assert '"back.q"' not in there
    assert 'taillabel="src_1"' in dot
    assert 'headlabel="sink_0"' in dot
    mermaid = to_mermaid(graph(TWO_WAY))
    assert mermaid.count("subgraph ") == mermaid.count("\n  end\n") + mermaid.count("\n    end\n") == 4


def test_many_settings_are_cut_short():
    assert "rate_hz: 48000\\nchannels: 2\\nand 1 more" in to_dot(graph(TWO_WAY))


@pytest.mark.parametrize("text", [SIMPLE, TWO_WAY], ids=["simple", "two-way"])
def test_svg_shows_every_element_link_and_bin(text: str):
    drawn, shown = graph(text), ElementTree.fromstring(to_svg(graph(text)))  # noqa: S314 -- our own document
    texts = [t.text for t in shown.iter(f"{SVG}text")]
    assert shown.find(f"{SVG}title").text == drawn.name  # type: ignore[union-attr]
    assert len(shown.findall(f"{SVG}path[@class='link']")) == len(drawn.links)
    assert sorted(t.text for t in shown.iter(f"{SVG}text") if t.get("class") == "name") == sorted(
        name.rpartition(".")[2] for name in drawn.nodes
    )
    assert len(list(shown.iter(f"{SVG}polygon"))) == sum(n.is_source or n.is_sink for n in drawn.nodes.values())
    assert texts.count("audio/raw") == len(drawn.links)
    frames = [t.text for t in shown.iter(f"{SVG}text") if t.get("class") == "frame-name"]
    assert sorted(map(str, frames)) == (["back", "deep", "deep", "there"] if text == TWO_WAY else [])


def test_svg_names_elements_and_links_for_scripts():
    drawn = graph(TWO_WAY)
    shown = ElementTree.fromstring(to_svg(drawn))  # noqa: S314
    groups = shown.findall(f"{SVG}g[@class='element']")
    assert {g.get("data-element") for g in groups} == set(drawn.nodes)
    for group in groups:
        name = str(group.get("data-element"))
        assert group.find(f"{SVG}text[@class='name']").text == name.rpartition(".")[2]  # type: ignore[union-attr]
    ends = sorted((p.get("data-src"), p.get("data-sink")) for p in shown.iter(f"{SVG}path") if p.get("class") == "link")
    assert ends == sorted((link.src.node, link.sink.node) for link in drawn.links)


def test_svg_writes_nothing_over_anything():
    shown = ElementTree.fromstring(to_svg(graph(TWO_WAY)))  # noqa: S314
    width, height = float(shown.get("width", 0)), float(shown.get("height", 0))
    boxes = [_rect(r) for r in shown.iter(f"{SVG}rect") if r.get("class") in ("box", "paper") and r.get("x")]
    boxes += [_hull(p) for p in shown.iter(f"{SVG}polygon")]
    assert len(boxes) == 12 + 11  # elements and link labels
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], f"{a} overlaps {b}"
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    frames = [_rect(r) for r in shown.iter(f"{SVG}rect") if r.get("class") == "frame"]
    for (a, b), inside in zip(itertools.combinations(frames, 2), [True, False, False, False, False, True], strict=True):
        assert (b[0] > a[0] and b[1] > a[1] and b[2] < a[2] and b[3] < a[3]) is inside


@pytest.mark.parametrize("name", ["<script>\"&'", "a\\N\\l", "Толмач 通訳", "tab\there \x1b[31m", "]]>", "#quot;|x|"])
def test_no_name_breaks_a_drawing(name: str):
    hostile = load_graph("test.yaml", text=SIMPLE, overrides={})
    nodes = {n: node._replace(name=name if n == "in" else n) for n, node in hostile.nodes.items()}
    links = [li._replace(src=PadRef(name, "src")) for li in hostile.links]
    hostile = Graph(name, name, None, {}, {n.name: n for n in nodes.values()}, tuple(links), (name, "end"))
    shown = ElementTree.fromstring(to_svg(hostile))  # noqa: S314
    assert not list(shown.iter(f"{SVG}script"))
    assert shown.find(f"{SVG}title").text == "".join(c if c.isprintable() else "\ufffd" for c in name)  # type: ignore[union-attr]
    assert len(to_dot(hostile).splitlines()) == len(to_dot(graph(SIMPLE)).splitlines())
    assert len(to_mermaid(hostile).splitlines()) == len(to_mermaid(graph(SIMPLE)).splitlines())


def test_values_are_quoted_in_every_format(tmp_path: Path):
    text = """\
version: 1
elements:
  in: {type: test_src}
  out: {type: file_sink, path: "a \\"<b>\\" & [c] \\\\N.wav"}
links: [in -> out]
"""
    drawn = graph(text)
    assert 'path: a \\"<b>\\" & [c] \\\\N.wav' in to_dot(drawn)
    assert "path: a #34;#60;b#62;#34; #38; #91;c#93; #92;N.wav" in to_mermaid(drawn)
    shown = ElementTree.fromstring(to_svg(drawn))  # noqa: S314
    assert 'path: a "<b>" & [c] \\N.wav' in [t.text for t in shown.iter(f"{SVG}text")]


def test_the_same_graph_gives_the_same_drawing_in_every_process(tmp_path: Path):
    (tmp_path / "g.yaml").write_text(TWO_WAY)
    drawings = set()
    for seed in ("0", "1", "2"):
        command = [sys.executable, "-m", "tolmach", "graph", str(tmp_path / "g.yaml"), "--format", "svg"]
        done = subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
        drawings.add(done.stdout)
    assert len(drawings) == 1


@pytest.mark.parametrize(
    ("caps", "lines"),
    [
        ("ANY", ["ANY"]),
        ("audio/raw", ["audio/raw"]),
        ("audio/raw, rate=[8000, 192000], channels=[1, 8]", ["audio/raw", "channels=[1, 8]", "rate=[8000, 192000]"]),
        ("text/x-translation, lang=ru, script=cyrl", ["text/x-translation", "lang=ru, script=cyrl"]),
        ("audio/raw, rate=8000 ; audio/raw, rate=16000", ["audio/raw", "rate=16000", "audio/raw", "rate=8000"]),
    ],
)
def test_caps_break_between_fields(caps: str, lines: list[str]):
    assert caps_lines(Caps.parse(caps)) == lines


def test_long_caps_are_cut():
    many = "audio/raw, rate={" + ", ".join(str(8000 + 7 * n) for n in range(50)) + "}"
    assert all(len(line) <= MAX_TEXT for line in caps_lines(Caps.parse(many)))


# Layout ---------------------------------------------------------------------------------------------------------------


@st.composite
def dags(draw: st.DrawFn) -> tuple[dict[str, tuple[float, float]], list[tuple[str, str]]]:
    count = draw(st.integers(1, 14))
    side = st.integers(1, 200)
    sizes = {f"n{i}": (float(draw(side)), float(draw(side))) for i in range(count)}
    pairs = list(itertools.combinations(sizes, 2))
    return sizes, draw(st.lists(st.sampled_from(pairs), max_size=25)) if pairs else []


@given(dags())
def test_boxes_never_overlap_and_edges_run_down(dag: tuple[dict[str, tuple[float, float]], list[tuple[str, str]]]):
    sizes, edges = dag
    placed = place(sizes, edges, x_gap=10, y_gap=10)
    assert set(placed.centres) == set(sizes)
    for a, b in itertools.combinations(sizes, 2):
        (ax, ay), (bx, by) = placed.centres[a], placed.centres[b]
        apart_x = abs(ax - bx) >= (sizes[a][0] + sizes[b][0]) / 2 - 1e-6
        apart_y = abs(ay - by) >= (sizes[a][1] + sizes[b][1]) / 2 - 1e-6
        assert apart_x or apart_y, f"{a} overlaps {b}"
    for a, b in edges:
        heights = [placed.centres[a][1], *(y for _, y in placed.bends[a, b]), placed.centres[b][1]]
        assert heights == sorted(heights)
        assert heights[0] < heights[-1]
    for name, (x, y) in placed.centres.items():
        assert x - sizes[name][0] / 2 >= -1e-6
        assert x + sizes[name][0] / 2 <= placed.width + 1e-6
        assert y - sizes[name][1] / 2 >= -1e-6
        assert y + sizes[name][1] / 2 <= placed.height + 1e-6


def test_nothing_is_placed_nowhere():
    assert place({}, [], x_gap=1, y_gap=1) == Placed(0.0, 0.0, {}, {})


def _rect(rect: ElementTree.Element) -> tuple[float, float, float, float]:
    x, y, w, h = (float(rect.get(k, 0)) for k in ("x", "y", "width", "height"))
    return x, y, x + w, y + h


def _hull(polygon: ElementTree.Element) -> tuple[float, float, float, float]:
    points = [tuple(map(float, p.split(","))) for p in polygon.get("points", "").split()]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs), min(ys), max(xs), max(ys)
