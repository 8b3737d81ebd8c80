"""What the documents show is so: graphs check, messages are those of the tool, links lead somewhere."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from tolmach.pipelines.cli.commands.new import write_element
from tolmach.pipelines.cli.main import COMMANDS, main
from tolmach.pipelines.describe.schema import graph_schema
from tolmach.pipelines.errors import CODES
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.language.launch_line import LaunchLine
from tolmach.pipelines.registry import Registry

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


def test_the_reference_includes_bins_of_another_file(tmp_path):
    for text in blocks("docs/GRAPHS.md", "yml"):
        path = tmp_path / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        jsonschema.validate(YAML(typ="safe", pure=True).load(text), graph_schema(Registry.builtin()))
    result = check_graph(tmp_path / "talk.yaml", env={})
    assert result.format_text() == ""
    assert len(result.included) == 1


def test_the_reference_has_graphs():
    assert len(GRAPHS) >= 5


def test_the_graph_of_the_readme_is_sound():
    (text,) = blocks("README.md", "yaml")
    result = check_graph("README.md", text=f"version: 1\nparams: {{input: , output: out}}\n{text}", env={})
    assert result.format_text() == ""


def test_the_lines_of_the_documents_are_sound():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/LAUNCH.md")]
    lines = re.findall(r"tolmach launch (?:-q )?'([^']+)'", "\n".join(texts))
    assert len(lines) >= 9
    for line in lines:
        if "…" not in line:
            assert check_graph(LaunchLine(line), env={}).format_text() == "", line


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
    assert named == set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


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


WRITTEN = {"hush": "denoiser", "mask_words": "text-filter", "beep": "source", "interpret": "translator"}
"""Elements of the guide that `tolmach new` writes, and their kinds."""


def part_of_the_guide(name: str, part: str) -> str:
    heading = f"# tolmach_{name}/{part}.py\n"
    (text,) = (t for t in blocks("docs/ELEMENTS.md", "python") if t.startswith(heading))
    return text.removeprefix(heading)


def test_the_guide_shows_what_new_writes(tmp_path):
    guide = ROOT / "docs" / "ELEMENTS.md"
    text = guide.read_text(encoding="utf-8")
    for name, kind in WRITTEN.items():
        write_element(name, kind, tmp_path / name)
        for part in ("spec", "element"):
            code = (tmp_path / name / f"tolmach_{name}" / f"{part}.py").read_text(encoding="utf-8")
            heading = f"```python\n# tolmach_{name}/{part}.py\n"
            before, found, rest = text.partition(heading)
            assert found, heading
            text = before + found + code + rest[rest.index("```\n") :]
    if os.environ.get("TOLMACH_UPDATE_GOLDEN"):
        guide.write_text(text, encoding="utf-8")
    assert guide.read_text(encoding="utf-8") == text


def test_the_elements_of_the_guide_pass_the_tests_that_new_writes(tmp_path):
    for name, kind in WRITTEN.items():
        write_element(name, kind, tmp_path / name)
        for part in ("spec", "element"):
            path = tmp_path / name / f"tolmach_{name}" / f"{part}.py"
            path.write_text(part_of_the_guide(name, part), encoding="utf-8")
    folders = [tmp_path / name for name in WRITTEN]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT)))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(folders[0] / "pyproject.toml")]
    done = subprocess.run([*command, *map(str, folders)], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 3 * len(WRITTEN)
