"""Graphs built in Python: the same graph as from YAML, and the same diagnostics by the name of element or link."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_runtime import SPECS as BOMBS
from tolmach.pipelines.element import Element, ElementSpec, Field, Pad, Settings
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.builder import GraphBuilder
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.language.diagnostics import format_github, format_json
from tolmach.pipelines.registry import Registry, RegistryError
from tolmach.pipelines.runtime.runner import GraphRunner

YAML = """\
version: 1
name: built
description: Of a test.
elements:
  in: {type: file_src, path: talk.wav}
  to_16k: {type: resample, rate_hz: 16000, channels: 1}
  vad: {type: silero_vad, hangover_ms: 500, on_error: skip}
  heard: {type: tee}
  spans: {type: jsonl_sink, path: a.jsonl}
  ast: {type: canary_ast, model: "embedded:phrasebook", source_lang: en, target_lang: ru}
  subs: {type: subtitle_sink, path: a.srt}
links:
  - in -> to_16k -> vad -> heard
  - heard.src_1 -> spans
  - heard -> ast -> subs
"""


def built() -> Graph:
    b = GraphBuilder("built", description="Of a test.")
    b.add("in", "file_src", path=Path("talk.wav"))
    b.add("to_16k", "resample", rate_hz=16000, channels=1)
    b.add("vad", "silero_vad", hangover_ms=500, on_error="skip")
    b.add("heard", "tee")
    b.add("spans", "jsonl_sink", path="a.jsonl")
    b.add("ast", "canary_ast", model="embedded:phrasebook", source_lang="en", target_lang="ru")
    b.add("subs", "subtitle_sink", path="a.srt")
    b.link("in", "to_16k", "vad", "heard")
    b.link("heard.src_1", "spans")
    b.link("heard", "ast", "subs")
    return b.build()


def shape(graph: Graph) -> Any:
    """All of a graph but where it stands."""
    nodes = [(n.name, n.spec.type, n.settings, n.pads, n.on_error) for n in graph.nodes.values()]
    links = [(link.src, link.sink, link.caps) for link in graph.links]
    return graph.name, graph.description, nodes, links, graph.order


def test_it_is_the_graph_that_yaml_gives() -> None:
    assert shape(built()) == shape(load_graph("built.yaml", text=YAML))


def test_names_come_back_to_link_by() -> None:
    b = GraphBuilder()
    b.link(b.add("in", "test_src"), b.add("out", "fake_sink"))
    assert b.build().order == ("in", "out")


def said(b: GraphBuilder) -> str:
    result = b.check()
    assert result.graph is None
    with pytest.raises(GraphError) as caught:
        b.build()
    assert str(caught.value) == result.format_text().rstrip()
    assert caught.value.diagnostics == result.diagnostics
    return result.format_text()


def test_what_is_wrong_with_an_element_names_it() -> None:
    b = GraphBuilder()
    b.add("in", "test_src", durationms=1, wave="ton")
    b.add("vad", "silero_vda")
    b.add("out", "fake_sink", on_error="stop")
    b.link("in", "vad", "out")
    text = said(b)
    assert "element 'in': error[unknown-field]: test_src has no setting 'durationms'" in text
    assert "= hint: did you mean 'duration_ms'?" in text
    assert "element 'in': error[bad-value]: wave must be one of 'tone'" in text
    assert "element 'vad': error[unknown-type]: no element type named 'silero_vda'" in text
    assert "element 'out': error[bad-value]: on_error must be one of 'fail', 'skip', 'restart', got 'stop'" in text
    assert ":0:" not in text


def test_what_is_wrong_with_a_link_names_it_and_its_pads() -> None:
    b = GraphBuilder()
    b.add("in", "test_src", rate_hz=48000)
    b.add("vad", "silero_vad")
    b.add("out", "fake_sink")
    b.add("lost", "identity")
    b.link("in", "vad", "out")
    b.link("vda", "out")
    b.link("in", "out")
    text = said(b)
    assert "link vda -> out: error[unknown-element]: no element named 'vda'\n     = hint: did you mean 'vad'?\n" in text
    assert "link in -> out: error[pad-already-linked]: in.src is already linked" in text
    assert "= first linked by link in -> vad -> out" in text
    assert "element 'lost': error[unused-element]" in text
    b = GraphBuilder()
    b.link(b.add("in", "test_src", rate_hz=48000), b.add("vad", "silero_vad"), b.add("out", "fake_sink"))
    assert "link in -> vad -> out: error[caps-mismatch]: cannot link in.src -> vad.sink" in said(b)
    b = GraphBuilder()
    b.link(b.add("in", "test_src"), b.add("fork", "tee"))
    assert "element 'fork': error[unlinked-pad]: no src pad of 'fork' is linked" in said(b)


def test_names() -> None:
    b = GraphBuilder("mine")
    assert "graph 'mine': error[bad-value]: the graph has no elements" in said(b)
    b.add("my source", "test_src")
    b.add("out", "fake_sink")
    b.add("out", "fake_sink")
    text = said(b)
    assert "element 'my source': error[bad-value]: 'my source' is not a name for an element" in text
    assert "element 'out': error[duplicate-key]: an element named 'out' was added before" in text


def test_a_hostile_number_of_elements_stops() -> None:
    b = GraphBuilder()
    for number in range(1001):
        b.add(f"e{number}", "test_src")
    assert "error[check-stopped]" in said(b)


def test_values_are_values_and_no_variables() -> None:
    b = GraphBuilder()
    b.link(b.add("in", "file_src", path="${param:input}"), b.add("out", "fake_sink"))
    assert b.build().nodes["in"].settings.path == "${param:input}"  # type: ignore[attr-defined]


def test_programs_are_told_names_too() -> None:
    b = GraphBuilder()
    b.link(b.add("in", "test_src", wave="ton"), b.add("out", "fake_sink"))
    (told,) = json.loads(format_json(b.check().diagnostics))
    assert (told["file"], told["line"], told["column"]) == ("element 'in'", None, None)
    assert format_github(b.check().diagnostics).startswith("::error title=bad-value::wave must be one of")


class DoubleSettings(Settings):
    """Of an element of the program's own."""

    times: float = Field(2.0, description="How much louder.")


class Double(Element):
    """Passes everything on."""


DOUBLE = ElementSpec(
    type="double",
    summary="Pass on.",
    settings=DoubleSettings,
    pads=(Pad.sink(), Pad.src(like="sink")),
    build=f"{__name__}:Double",
)


async def test_an_element_of_the_programs_own_needs_no_package() -> None:
    b = GraphBuilder()
    b.add("in", "test_src", duration_ms=100)
    b.add("a", DOUBLE)
    b.add("b", DOUBLE, times=3)
    b.add("out", "fake_sink")
    b.link("in", "a", "b", "out")
    assert (await GraphRunner(b.build()).run()).ok
    with pytest.raises(RegistryError, match="'tee' is declared twice"):
        b.add("c", replace(DOUBLE, type="tee"))


def test_a_registry_of_its_own() -> None:
    b = GraphBuilder(registry=Registry.builtin().extended(*BOMBS))
    b.link(b.add("in", "script"), b.add("bomb", "bomb"), b.add("out", "collect"))
    assert b.build().order == ("in", "bomb", "out")
