"""`tolmach schema --install`: the schema in the user's data folder, and what editors are told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tolmach.pipelines.cli.main import main
from tolmach.pipelines.describe.schema import schema_text
from tolmach.pipelines.language.check import check_graph

GRAPH = """\
version: 1
elements:
  in: {type: test_src}
  out: {type: fake_sink}
links:
  - in -> out
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that is not there yet; its name needs quoting in a URI."""
    folder = tmp_path / "my data"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


def test_it_is_written_and_both_ways_to_name_it_are_said(data: Path, capsys):
    assert main(["schema", "--install"]) == 0
    path = data / "tolmach" / "graph.schema.json"
    assert path.read_text(encoding="utf-8") == schema_text()
    assert path.stat().st_mode & 0o777 == 0o644
    said = capsys.readouterr().out
    assert said.startswith(f"{path}: written (the types that ship")
    (uri,) = re.findall(r"^# yaml-language-server: \$schema=(.+)$", said, re.M)
    assert Path(unquote(urlparse(uri).path)) == path
    assert json.loads(said[said.index("\n{") :])["yaml.schemas"] == {uri: ["graphs/*.yaml"]}


def test_once_more_replaces_it(data: Path):
    path = data / "tolmach" / "graph.schema.json"
    path.parent.mkdir(parents=True)
    path.write_text("old")
    assert main(["schema", "--install", "--plugins"]) == 0
    assert json.loads(path.read_text(encoding="utf-8"))["title"] == "Tolmach graph"
    assert [p.name for p in path.parent.iterdir()] == ["graph.schema.json"]


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (GRAPH, GRAPH),
        (f"# yaml-language-server: $schema=./graph.schema.json\n{GRAPH}", GRAPH),
        (f"# mine\n{GRAPH}", f"# mine\n{GRAPH}"),
        ("", ""),
        ("# yaml-language-server: $schema=x", ""),
        (GRAPH.replace("\n", "\r\n"), GRAPH.replace("\n", "\r\n")),
        (f"\ufeff{GRAPH}", GRAPH),
    ],
    ids=["none", "another", "a comment", "empty", "nothing else", "windows", "bom"],
)
def test_the_first_line_of_a_graph_is_set_and_the_rest_stays(data: Path, tmp_path: Path, before: str, kept: str):
    graph = tmp_path / "my.yaml"
    graph.write_bytes(before.encode())
    for _ in range(2):  # twice is once
        assert main(["schema", "--install", str(graph)]) == 0
        text = graph.read_bytes().decode()
        first, _, rest = text.partition("\n")
        assert first.rstrip("\r").removeprefix("\ufeff").startswith("# yaml-language-server: $schema=file:///")
        assert first.endswith("\r") == ("\r" in before)
        assert rest == kept
    if "version" in kept:
        assert check_graph(graph).ok


def test_a_graph_that_is_a_link_stays_one(data: Path, tmp_path: Path):
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text(GRAPH)
    real.chmod(0o600)
    link.symlink_to("real.yaml")
    assert main(["schema", "--install", str(link)]) == 0
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8").endswith(GRAPH)
    assert real.stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_when_a_graph_cannot_be_read(data: Path, tmp_path: Path, capsys):
    graph = tmp_path / "my.yaml"
    graph.write_text(GRAPH)
    assert main(["schema", "--install", str(graph), str(tmp_path / "none.yaml")]) == 2
    assert "cannot read" in capsys.readouterr().err
    assert graph.read_text() == GRAPH
    assert not data.exists()


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert main(["schema", "--install"]) == 2
    assert "cannot make" in capsys.readouterr().err


def test_one_thing_at_a_time(data: Path, tmp_path: Path, capsys):
    assert main(["schema", "--install", "-o", str(tmp_path / "x")]) == 2
    assert "choose one" in capsys.readouterr().err
    assert not data.exists()
