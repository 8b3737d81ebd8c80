"""docs/PYTHON.md: every example runs as it stands, and prints what it says."""

from __future__ import annotations

import ast
import asyncio
import re
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.contract.test_registry_contract import LIVE
from tolmach.pipelines.builtin.trial_ends import _speech_sample
from tolmach.pipelines.language.check import check_graph

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "PYTHON.md").read_text(encoding="utf-8")
RATE = 48000


class Example(NamedTuple):
    """An example, and what it prints."""

    section: str
    code: str
    output: str


def blocks() -> list[tuple[str, str, str]]:
    """Section, language and text of every fenced block."""
    found, section = [], ""
    for heading, language, text in re.findall(r"^## ([^\n]+)$|^```(\w*)\n(.*?)^```$", GUIDE, re.M | re.S):
        section = heading or section
        if not heading:
            found.append((section, language, text))
    return found


def examples() -> list[Example]:
    found = blocks()
    followers = [*found[1:], ("", "", "")]
    return [
        Example(section, text, after[2] if after[1] == "text" else "")
        for (section, language, text), after in zip(found, followers, strict=True)
        if language == "python"
    ]


GRAPHS = {text.split()[1]: text for _, language, text in blocks() if language == "yaml"}


def parameters() -> list[object]:
    shown = []
    for example in examples():
        loads = "phrasebook" in example.code or any(name in example.code for name in GRAPHS)
        shown.append(pytest.param(example, id=example.section, marks=[pytest.mark.models] if loads else []))
    return shown


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the guide says that its examples run."""
    for name, text in GRAPHS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((_speech_sample(RATE)[: round(4.5 * RATE)] * 32767).astype("<i2").tobytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_has_examples() -> None:
    assert len(examples()) >= 8
    assert list(GRAPHS) == ["captions.yaml"]


@pytest.mark.parametrize("name", GRAPHS)
def test_its_graphs_are_sound(name: str) -> None:
    assert check_graph(name, text=GRAPHS[name], env={}).format_text() == ""


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("example", parameters())
def test_an_example_runs_and_prints_what_it_says(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    # Notebooks let a cell await, and so do these.
    code = compile(example.code, "docs/PYTHON.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    cell = eval(code, {"__name__": "__main__"})  # noqa: S307 -- our own document
    if asyncio.iscoroutine(cell):
        asyncio.run(cell)
    assert capsys.readouterr().out == example.output


def test_when_each_live_setting_is_taken_is_told() -> None:
    told: dict[str, set[str]] = {}
    for elements, settings, when in re.findall(r"^\| (`\w+`.*?) \| (`\w+`.*?) \| (.+) \|$", GUIDE, re.M):
        assert when
        for element in re.findall(r"`(\w+)`", elements):
            told.setdefault(element, set()).update(re.findall(r"`(\w+)`", settings))
    assert told == LIVE


def test_samples_of_the_recording_are_no_silence() -> None:
    assert np.abs(_speech_sample(RATE)[: round(4.5 * RATE)]).max() > 0.1
