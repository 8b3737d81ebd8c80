"""Every command, whatever its output goes to: a code page without Cyrillic, a closed stream, a full disk, a log."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tolmach.pipelines.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
GRAPH = """\
version: 1
name: тон
description: Подпись → по-русски
params: {input: {default: , description: "Запись"}, output: out}
elements:
  in: {type: file_src, path: "${param:input}"}
  to: {type: resample, rate_hz: 8000, channels: 1}
  out: {type: file_sink, path: "${param:output}/дубляж.wav"}
links: [in -> to -> out]
"""
COMMAND_LINES: dict[str, list[str]] = {
    "run": ["ж.yaml", "речь.flac", "-o", "out", "--trace"],
    "launch": ["file_src path=речь.flac ! resample rate_hz=8000 channels=1 ! file_sink path=дубль.wav", "--overwrite"],
    "serve": ["нет такого.yaml"],
    "voices": ["ru"],
    "speak": ["Привет!", "--lang", "ru", "--voice", "espeak_tts", "-o", "привет.wav", "--overwrite"],
    "check": ["ж.yaml", "нет такого.yaml"],
    "inspect": ["silero_tts"],
    "graph": ["ж.yaml"],
    "schema": [],
    "fetch": ["ж.yaml"],
    "doctor": ["--quick"],
    "bench": ["ж.yaml", "речь.flac", "--rounds", "1"],
    "eval": ["набор", "ж.yaml", "-o", "оценка"],
    "new": ["element", "louder", "-o", "громче"],
}
EACH = [pytest.param(n, marks=pytest.mark.models) if n == "doctor" else n for n in COMMANDS]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ж.yaml").write_text(GRAPH, encoding="utf-8")
    (tmp_path / "речь.flac").symlink_to(ROOT / "config/demo/clips/en-00.flac")
    (tmp_path / "набор").mkdir()
    (tmp_path / "набор/речь.flac").symlink_to(ROOT / "config/demo/clips/en-00.flac")
    (tmp_path / "набор/речь.txt").write_text("Какой сегодня день?", encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def test_every_command_is_tried() -> None:
    assert set(COMMAND_LINES) == set(COMMANDS)


def tolmach(arguments: Sequence[object], **streams: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tolmach", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, text=True, env=env, timeout=120, **{"stderr": subprocess.PIPE, **streams})  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("name", EACH)
def test_a_code_page_that_lacks_the_letters_raises_nothing(
    name: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {n: io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for n in ("stdout", "stderr")}
    for stream, wrapper in shown.items():
        monkeypatch.setattr(sys, stream, wrapper)
    assert main([name, *COMMAND_LINES[name]]) in (0, 1, 2)
    assert main([name, "--help"]) == 0
    for wrapper in shown.values():
        wrapper.flush()
    said = b"".join(wrapper.buffer.getvalue() for wrapper in shown.values())  # type: ignore[attr-defined]
    assert said
    assert b"Traceback" not in said


def test_windows_code_page_in_a_real_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    done = tolmach(["run", *COMMAND_LINES["run"]], stdout=subprocess.PIPE, encoding="cp1252")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert Path("out/речь/дубляж.wav").is_file()


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("doctor", "serve", "fetch", "bench")])
def test_a_reader_that_goes_away_is_no_traceback(name: str) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = tolmach([name, *COMMAND_LINES[name]], stdout=write)
    finally:
        os.close(write)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to stand for a full disk")
def test_a_full_disk_behind_the_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = tolmach(["inspect"], stdout=full)
    assert (done.returncode, done.stderr) == (1, "tolmach: error: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are closed by a POSIX shell")
def test_streams_closed_from_the_start_take_no_file_of_ours() -> None:
    line = f"exec '{sys.executable}' -m tolmach run ж.yaml речь.flac -o out <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)
    assert done.returncode == 0
    assert Path("out/речь/дубляж.wav").read_bytes()[:4] == b"RIFF"


def test_help_survives_a_reader_that_goes_away() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = tolmach(["run", "--help"], stdout=write)
    finally:
        os.close(write)
    assert done.stderr == ""


def test_an_error_of_the_system_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", unreadable)
    assert main(["check", "locked/g.yaml"]) == 2
    shown = capsys.readouterr()
    assert "locked/g.yaml: Permission denied" in shown.out + shown.err
    assert "Traceback" not in shown.err
    assert main(["graph", "locked/g.yaml"]) == 2
    assert capsys.readouterr().err == "tolmach: error: locked/g.yaml: Permission denied\n"


# Logs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "doctor"])
def test_every_command_logs_where_it_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    handlers = list(logging.getLogger().handlers)
    assert main([name, *COMMAND_LINES[name], "--log-file", "log.txt", "--log-level", "debug"]) in (0, 1, 2)
    assert Path("log.txt").is_file()
    assert logging.getLogger().handlers == handlers
    assert "Traceback" not in capsys.readouterr().err


def test_the_log_of_a_run_says_what_became_of_each_recording(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.wav").write_text("no audio")
    assert main(["run", "ж.yaml", "речь.flac", "x.wav", "-o", "out", "--log-file", "log.txt", "-q"]) == 1
    log = Path("log.txt").read_text(encoding="utf-8")
    assert " INFO tolmach.pipelines.cli.batch: речь: started" in log
    assert " INFO tolmach.pipelines.cli.batch: речь: done: 0:0" in log
    assert " ERROR tolmach.pipelines.cli.batch: x: failed: " in log
    assert capsys.readouterr().out == ""


def test_a_log_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "tee", "--log-file", "no/such/log.txt"]) == 2
    shown = capsys.readouterr()
    assert shown.err == "tolmach: error: cannot write the log no/such/log.txt: No such file or directory\n"


def test_quiet_says_nothing_on_success(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "ж.yaml", "речь.flac", "-o", "out", "-q"]) == 0
    assert main(["run", "ж.yaml", "речь.flac", "-o", "out", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_quiet_still_says_what_failed(capfd: pytest.CaptureFixture[str]) -> None:
    Path("x.wav").write_text("no audio")
    assert main(["run", "ж.yaml", "x.wav", "-o", "out", "-q"]) == 1
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "x.wav" in shown.err
