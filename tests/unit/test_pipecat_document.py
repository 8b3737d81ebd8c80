"""What docs/PIPECAT.md shows is so: its graphs check, its table names frames there are, its programs run."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import jsonschema
import numpy as np
import pipecat.frames.frames as pipecat_frames
import pytest
from ruamel.yaml import YAML

import tolmach.pipelines.bus as tolmach_bus
import tolmach.pipelines.frames as tolmach_frames
from tests.unit.test_documents import blocks
from tolmach.pipelines.describe.schema import graph_schema
from tolmach.pipelines.language.check import check_graph, load_graph
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.runtime.runner import GraphRunner

DOCUMENT = "docs/PIPECAT.md"
GRAPHS = blocks(DOCUMENT, "yaml")
(QUIET,) = [text for text in blocks(DOCUMENT, "python") if text.startswith("# quiet.py")]
_NAME = re.compile(r"\b[A-Z][A-Za-z]+(?:Frame|Start|End|Message)\b")


@pytest.mark.parametrize("text", GRAPHS, ids=range(len(GRAPHS)))
def test_its_graphs_are_sound_for_the_check_and_for_editors(text: str):
    assert check_graph("PIPECAT.md", text=text, env={}).format_text() == ""
    jsonschema.validate(YAML(typ="safe", pure=True).load(text), graph_schema(Registry.builtin()))


def test_the_table_names_frames_that_there_are():
    text = (Path(__file__).resolve().parents[2] / DOCUMENT).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(("| In a graph", "| In a pipeline"))]
    assert len(rows) > 20
    named = {name for row in rows for name in _NAME.findall(row)}
    assert "TTSSpeakFrame" in named
    known = (pipecat_frames, tolmach_frames, tolmach_bus)
    assert {name for name in named if not any(hasattr(module, name) for module in known)} == set()


async def test_the_processor_of_the_page_runs_in_its_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (graph,) = (text for text in GRAPHS if "quiet:Quieter" in text)
    (tmp_path / "quiet.py").write_text(QUIET, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = await GraphRunner(load_graph("PIPECAT.md", text=graph)).run()
    assert result.ok
    with wave.open(str(tmp_path / "quiet.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert 0.9 < len(samples) / 16000 <= 1.1
    assert 100 < abs(samples).max() < 5000
