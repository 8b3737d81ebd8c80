"""Which file a graph's name stands for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tolmach.pipelines import shipped
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.shipped import config_dir, shipped_file, shipped_graph, shipped_graphs


@pytest.mark.parametrize("name", ["phrasebook", "phrasebook.yaml", "config/phrasebook.yaml", "config/phrasebook"])
def test_every_spelling_names_the_shipped_graph(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert shipped_graph(name) == config_dir() / "phrasebook.yaml"


def test_an_existing_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("phrasebook").write_text("")
    assert shipped_graph("phrasebook") == Path("phrasebook")
    Path("config").mkdir()
    Path("config/vad.yaml").write_text("")
    assert shipped_graph("config/vad.yaml") == Path("config/vad.yaml")


@pytest.mark.parametrize(
    "name",
    [
        "../pyproject.toml",
        "config/../phrasebook.yaml",
        "./phrasebook/..",
        "/phrasebook",
        "config/config/phrasebook.yaml",
        "graph.schema.json",
        "config",
        "..",
        ".",
        "",
        "phrasebook.json",
        "elsewhere/phrasebook.yaml",
    ],
)
def test_nothing_else_is_reached_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GraphError):
        shipped_graph(name)


def test_a_mistyped_name_gets_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GraphError, match="did you mean 'phrasebook'"):
        shipped_graph("phrasbook.yaml")
    with pytest.raises(GraphError, match="shipped graphs: "):
        shipped_graph("zzz")


def test_data_files_stay_inside_the_folder():
    assert shipped_file("demo/clip.flac") == config_dir() / "demo" / "clip.flac"
    for name in ("../pyproject.toml", "/etc/hostname", "demo/../../pyproject.toml"):
        with pytest.raises(GraphError, match="leads out"):
            shipped_file(name)


def test_an_installation_without_its_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "pipelines" / "shipped.py"))
    with pytest.raises(GraphError, match="install it again"):
        config_dir()


def test_the_folder_is_found_where_a_wheel_puts_it(tmp_path: Path, root: Path):
    """Rooms and config in one package of another folder, as in site-packages."""
    for name in ("pipelines", "config"):
        shutil.copytree(root / name, tmp_path / "tolmach" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "tolmach" / "__init__.py", tmp_path / "tolmach")
    script = "from tolmach.pipelines.shipped import shipped_graph; print(shipped_graph('vad'))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == tmp_path / "tolmach" / "config" / "vad.yaml"


def test_graphs_are_listed_by_name():
    names = [p.stem for p in shipped_graphs()]
    assert names == sorted(names)
    assert {"phrasebook", "recording", "subtitles", "vad", "whisper"} <= set(names)
