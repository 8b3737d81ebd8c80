"""Where models are kept, and what is new there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tolmach.pipelines.models.caches import added, cache_dir, cache_folders, files_in, size_text


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOLMACH_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "NEMO_CACHE_DIR", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/user")


def test_the_user_s_cache_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch):
    assert cache_dir() == Path("/home/user/.cache/tolmach")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() == Path("/home/user/.cache/tolmach")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_dir() == Path("/var/cache/tolmach")
    monkeypatch.setenv("TOLMACH_CACHE", "~/models")
    assert cache_dir() == Path("/home/user/models")


@pytest.mark.parametrize(
    ("variable", "value", "keeper", "folder"),
    [
        ("HF_HOME", "/hf", "hugging face", "/hf/hub"),
        ("HF_HUB_CACHE", "/hub", "hugging face", "/hub"),
        ("NEMO_CACHE_DIR", "/nemo", "nemo", "/nemo"),
        ("TORCH_HOME", "/torch", "torch", "/torch/hub"),
    ],
)
def test_libraries_keep_theirs_where_they_are_told(
    variable: str, value: str, keeper: str, folder: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, value)
    assert cache_folders()[keeper] == Path(folder)


def test_what_is_new_is_found_and_links_are_not_counted(tmp_path: Path):
    (tmp_path / "old").write_bytes(b"1")
    (tmp_path / "grown").write_bytes(b"1")
    before = files_in(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "new").write_bytes(b"123")
    (tmp_path / "grown").write_bytes(b"12")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    assert added(before, files_in(tmp_path)) == {tmp_path / "deep" / "new": 3, tmp_path / "grown": 2}
    assert files_in(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (4_718_592, "4.5 MiB"), (6_871_947_674, "6.4 GiB")],
)
def test_sizes_for_people(size: int, text: str):
    assert size_text(size) == text
