"""Files appear whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tolmach.pipelines.errors import OutputError
from tolmach.transports.files.atomic import AtomicFile, is_being_written, resolve_path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_file_appears_with_commit_only(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "dub.wav"
    output = AtomicFile(target, overwrite=True)
    output.open()
    output.write(b"whole")
    (temporary,) = names(target.parent)
    assert temporary.startswith(".dub.wav.part-")
    output.commit()
    assert names(target.parent) == ["dub.wav"]
    assert target.read_bytes() == b"whole"
    output.discard()
    assert target.read_bytes() == b"whole"


def test_discard_leaves_nothing_and_is_safe_twice(tmp_path: Path) -> None:
    output = AtomicFile(tmp_path / "dub.wav", overwrite=True)
    output.open()
    output.write(b"half")
    output.discard()
    output.discard()
    output.commit()
    output.write(b"late")
    assert names(tmp_path) == []


def test_a_file_given_up_before_it_was_opened_is_never_made(tmp_path: Path) -> None:
    output = AtomicFile(tmp_path / "dub.wav", overwrite=True)
    output.discard()
    with pytest.raises(OutputError, match="given up"):
        output.open()
    assert names(tmp_path) == []


def test_an_existing_file_survives_until_commit(tmp_path: Path) -> None:
    target = tmp_path / "dub.wav"
    target.write_bytes(b"old")
    output = AtomicFile(target, overwrite=True)
    output.open()
    output.write(b"new")
    assert target.read_bytes() == b"old"
    output.commit()
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["dub.wav"]


def test_an_existing_file_is_kept_without_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "dub.wav"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        AtomicFile(target, overwrite=False).open()
    assert names(tmp_path) == ["dub.wav"]


def test_a_file_that_comes_meanwhile_is_kept_without_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "dub.wav"
    output = AtomicFile(target, overwrite=False)
    output.open()
    output.write(b"new")
    target.write_bytes(b"somebody else's")
    with pytest.raises(OutputError, match="exists already"):
        output.commit()
    output.discard()
    assert target.read_bytes() == b"somebody else's"
    assert names(tmp_path) == ["dub.wav"]


def test_without_overwrite_a_free_name_is_taken(tmp_path: Path) -> None:
    output = AtomicFile(tmp_path / "dub.wav", overwrite=False)
    output.open()
    output.write(b"new")
    output.commit()
    assert names(tmp_path) == ["dub.wav"]
    assert (tmp_path / "dub.wav").read_bytes() == b"new"


def test_a_folder_is_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "dub.wav").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        AtomicFile(tmp_path / "dub.wav", overwrite=True).open()
    assert names(tmp_path) == ["dub.wav"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dub.wav")
    with pytest.raises(OutputError, match="not a regular file"):
        AtomicFile(tmp_path / "dub.wav", overwrite=True).open()
    assert stat.S_ISFIFO((tmp_path / "dub.wav").stat().st_mode)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match=r"dub\.wav: cannot be written: "):
        AtomicFile(tmp_path / "file" / "dub.wav", overwrite=True).open()


def test_the_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    output = AtomicFile(tmp_path / "dub.wav", overwrite=True)
    output.open()
    output.commit()
    (tmp_path / "usual").touch()
    assert (tmp_path / "dub.wav").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_the_longest_name_fits(tmp_path: Path) -> None:
    target = tmp_path / ("я" * 125 + ".wav")  # 254 bytes, and the cut must not halve a letter
    output = AtomicFile(target, overwrite=True)
    output.open()
    output.commit()
    assert names(tmp_path) == [target.name]


def test_paths_start_from_the_base_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert resolve_path(tmp_path, "out/dub.wav") == tmp_path / "out" / "dub.wav"
    assert resolve_path(tmp_path, "/srv/dub.wav") == Path("/srv/dub.wav")
    assert resolve_path(tmp_path, "~/dub.wav") == Path("/home/ann/dub.wav")


def test_two_outputs_cannot_have_one_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    first = AtomicFile(tmp_path / "real" / "dub.wav", overwrite=True)
    second = AtomicFile(tmp_path / "link" / "dub.wav", overwrite=True)
    first.open()
    with pytest.raises(OutputError, match="is being written already; give each output a path of its own"):
        second.open()
    second.discard()
    assert is_being_written(tmp_path / "link" / "dub.wav")  # the loser does not give up the winner's claim
    first.write(b"first")
    first.commit()
    assert not is_being_written(first.target)
    third = AtomicFile(first.target, overwrite=True)
    third.open()
    third.discard()
    assert not is_being_written(first.target)
    assert first.target.read_bytes() == b"first"


# What killed runs leave -----------------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys
from pathlib import Path
from tolmach.transports.files.atomic import AtomicFile
for name, partial in (("dub.wav", False), ("a.srt", True)):
    output = AtomicFile(Path(sys.argv[1]) / name, overwrite=True, partial=partial)
    output.open()
    output.write(b"half")
    sys.modules[name] = output
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there, the system keeps open files from being removed")
def test_leftovers_of_a_killed_run_are_swept_and_those_of_a_live_one_are_not(tmp_path: Path) -> None:
    (tmp_path / ".notes.part-12345678").mkdir()
    (tmp_path / ".mine.part-1").write_text("another pattern")
    mine = names(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        theirs = names(tmp_path)
        assert len(theirs) == 4
        ours = AtomicFile(tmp_path / "other.wav", overwrite=True)
        ours.open()
        ours.discard()
        assert names(tmp_path) == theirs, "a run that is alive keeps its files"
        with pytest.raises(OutputError, match=r"a\.srt: is being written by another run \(a\.partial\.srt\)"):
            AtomicFile(tmp_path / "a.srt", overwrite=True, partial=True).open()
        other.kill()
    ours = AtomicFile(tmp_path / "other.wav", overwrite=True)
    ours.open()
    ours.discard()
    assert names(tmp_path) == [*mine, "a.partial.srt"]
    assert (tmp_path / "a.partial.srt").read_bytes() == b"half"
    again = AtomicFile(tmp_path / "a.srt", overwrite=False, partial=True)
    again.open()
    again.write(b"whole")
    again.commit()
    assert names(tmp_path) == [*mine, "a.srt"]
    assert (tmp_path / "a.srt").read_bytes() == b"whole"


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_a_partial_name_that_is_no_file_is_not_written_through(tmp_path: Path, what: str) -> None:
    there = tmp_path / "a.partial.srt"
    (tmp_path / "mine").write_text("mine")
    {"link": lambda: there.symlink_to(tmp_path / "mine"), "pipe": lambda: os.mkfifo(there), "folder": there.mkdir}[
        what
    ]()
    with pytest.raises(OutputError, match="cannot be written"):
        AtomicFile(tmp_path / "a.srt", overwrite=True, partial=True).open()
    assert (tmp_path / "mine").read_text() == "mine"
    assert not is_being_written(tmp_path / "a.srt")


def test_the_longest_name_has_a_partial_one(tmp_path: Path) -> None:
    target = tmp_path / ("я" * 125 + ".srt")
    output = AtomicFile(target, overwrite=True, partial=True)
    output.open()
    output.commit()
    assert names(tmp_path) == [target.name]
