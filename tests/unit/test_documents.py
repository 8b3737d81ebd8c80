"""What the documents show is so: graphs check, messages are those of the tool, links lead somewhere."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
from ruamel.yaml import YAML

from tolmach.pipelines.cli.main import COMMANDS, main
from tolmach.pipelines.describe.schema import graph_schema
from tolmach.pipelines.errors import CODES
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.testing.checks import check_element

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(document: str, language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / document).read_text(encoding="utf-8"), re.M | re.S)
    return [text for named, text in fenced if named == language]


GRAPHS = blocks("docs/GRAPHS.md", "yaml")


@pytest.mark.parametrize("text", GRAPHS, ids=range(len(GRAPHS)))
def test_every_graph_of_the_reference_is_sound(text):
    assert check_graph("GRAPHS.md", text=text, env={}).format_text() == ""


@pytest.mark.parametrize("text", GRAPHS, ids=range(len(GRAPHS)))
def test_editors_find_nothing_wrong_with_the_graphs_of_the_reference(text):
    jsonschema.validate(YAML(typ="safe", pure=True).load(text), graph_schema(Registry.builtin()))


def test_the_reference_has_graphs():
    assert len(GRAPHS) >= 5


def test_the_graph_of_the_readme_is_sound():
    (text,) = blocks("README.md", "yaml")
    result = check_graph("README.md", text=f"version: 1\nparams: {{input: , output: out}}\n{text}", env={})
    assert result.format_text() == ""


def test_the_reference_lists_every_code_and_what_it_means():
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", (ROOT / "docs/GRAPHS.md").read_text(encoding="utf-8"), re.M)
    assert dict(rows) == dict(CODES)


def test_the_readme_shows_what_check_says(monkeypatch, capsys):
    # A voice that was not changed along with the language, in the shipped graph, from the root of a checkout.
    shown = next(b for b in blocks("README.md", "") if "caps-mismatch" in b)
    command, _, output = shown.partition("\n")
    assert command.startswith("$ tolmach check ")
    monkeypatch.chdir(ROOT)
    assert main(command.split()[2:]) == 2
    assert capsys.readouterr().out == output


def test_the_readme_knows_the_commands():
    named = set(re.findall(r"^(?:\.venv/bin/)?tolmach ([a-z]+)", "\n".join(blocks("README.md", "sh")), re.M))
    assert (
        {"serve", "run", "launch", "check", "inspect", "graph", "schema", "fetch", "doctor", "bench", "new"}
        == named
        == set(COMMANDS)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


BEEP = """
from tolmach.pipelines.element import ElementSpec, Field, Pad, Settings


class BeepSettings(Settings):
    \"\"\"Settings of beep.\"\"\"

    rate_hz: int = Field(44100, ge=8000, le=48000, description="Sample rate, Hz.")
    duration_ms: int = Field(1000, ge=0, le=10000, description="Length, ms.")


SPEC = ElementSpec(
    type="beep",
    summary="Beep.",
    settings=BeepSettings,
    pads=lambda settings: (Pad.src(f"audio/raw, rate={settings.rate_hz}, channels=1, segmented=false"),),
    build="tolmach_beep.element:Beep",
)
"""
BLOCKS = """
from tolmach.pipelines.element import ElementSpec, Pad, Settings


class BlocksSettings(Settings):
    \"\"\"Settings of blocks.\"\"\"


SPEC = ElementSpec(
    type="blocks",
    summary="Cut audio into blocks.",
    settings=BlocksSettings,
    pads=(Pad.sink("audio/raw, channels=1, segmented=false"), Pad.src("audio/raw", like="sink")),
    build="tolmach_blocks.element:Blocks",
)
"""


@pytest.mark.parametrize(("name", "spec", "settings"), [("beep", BEEP, {"duration_ms": 333}), ("blocks", BLOCKS, {})])
async def test_the_other_elements_of_the_guide_keep_the_contract(name, spec, settings, tmp_path, monkeypatch):
    package = tmp_path / f"tolmach_{name}"
    package.mkdir()
    (text,) = (t for t in blocks("docs/ELEMENTS.md", "python") if t.startswith(f"# tolmach_{name}/element.py"))
    (package / "element.py").write_text(text, encoding="utf-8")
    (package / "spec.py").write_text(spec, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    pushed = await check_element(importlib.import_module(f"tolmach_{name}.spec").SPEC, settings)
    assert pushed["src"] > 0


async def test_a_finished_source_of_the_guide_ends(tmp_path, monkeypatch):
    (text,) = (t for t in blocks("docs/ELEMENTS.md", "python") if t.startswith("# tolmach_beep/element.py"))
    (tmp_path / "beep_of_the_guide.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    beep = importlib.import_module("beep_of_the_guide").Beep
    pushed = []

    async def push(frame, pad="src") -> None:
        pushed.append(frame)
        if len(pushed) == 3:
            element.finish()

    element = beep(SimpleNamespace(rate_hz=44100, duration_ms=10_000), SimpleNamespace(push=push))
    await element.produce()
    assert [frame.pts_ns for frame in pushed] == [0, 20_000_000, 40_000_000]


def test_the_choices_of_the_guide_follow_from_another_setting(tmp_path, monkeypatch):
    (text,) = (t for t in blocks("docs/ELEMENTS.md", "python") if t.startswith("# tolmach_voice/spec.py"))
    (tmp_path / "voice_of_the_guide.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = importlib.import_module("voice_of_the_guide").VoiceSettings
    assert settings().choices_of("speaker") == ("anna",)
    assert settings(model="large").choices_of("speaker") == ("anna", "boris")
    assert settings().choices_of("model") == ()


async def test_the_element_that_is_written_in_the_guide_passes_its_own_tests(tmp_path, monkeypatch):
    package = tmp_path / "tolmach_gain"
    package.mkdir()
    for text in blocks("docs/ELEMENTS.md", "python"):
        if found := re.match(r"# (?:tolmach_gain/)?(spec|element|test_gain)\.py", text):
            (package / f"{found[1]}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    # The name is that of the example distribution, which another test may have loaded.
    for name in [n for n in sys.modules if n.partition(".")[0] == "tolmach_gain"]:
        monkeypatch.delitem(sys.modules, name)
    guide = importlib.import_module("tolmach_gain.test_gain")
    await guide.test_contract()
    await guide.test_louder()
    for name in [n for n in sys.modules if n.partition(".")[0] == "tolmach_gain"]:
        del sys.modules[name]
