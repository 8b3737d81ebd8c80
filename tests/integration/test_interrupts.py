"""What ends ``tolmach run`` from outside, with real process groups, a real terminal and real pipes.

In each, two recordings run at a time: a short one and one of minutes at the pace of the wall clock, so that only being
ended can end it. What must hold is the same for all: an end within seconds, whole files, records that say so.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
GRAPH = """
version: 1
name: copy
params: {input: {default: , description: recording}, output: out}
elements:
  in:  {type: file_src, path: "${param:input}", pace: realtime}
  to:  {type: resample, rate_hz: 8000, channels: 1}
  out: {type: file_sink, path: "${param:output}/copy.wav"}
links: [in -> to -> out]
"""
TIMEOUT_S = 60
"""Far more than the seconds it may take, for a busy machine; before, it took for ever."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups, terminals and their signals are POSIX")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "copy.yaml").write_text(GRAPH)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/a.wav", np.zeros(800), 8000)
    soundfile.write(tmp_path / "in/z.wav", np.zeros(8000 * 600), 8000)
    return tmp_path


def start(folder: Path, **streams: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tolmach", "run", "copy.yaml", "in", "-o", "out", "--jobs", "2"]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, process_group=0, **streams
    )  # type: ignore[call-overload,no-any-return]


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: the end people sit at, and the end programs write to."""
    near, far = os.openpty()
    try:
        yield near, far
    finally:
        for descriptor in (near, far):
            try:
                os.close(descriptor)
            except OSError:  # closed by the test
                continue


def read_until(descriptor: int, *texts: bytes) -> bytes:
    said = b""
    while not all(text in said for text in texts):
        ready, _, _ = select.select([descriptor], [], [], TIMEOUT_S)
        piece = os.read(descriptor, 4096) if ready else b""
        assert piece, f"ended before it said {texts}: {said!r}"
        said += piece
    return said


def ended(process: subprocess.Popen[bytes], folder: Path) -> int:
    status = process.wait(TIMEOUT_S)
    runs = {run["name"]: run["status"] for run in json.loads((folder / "out/summary.json").read_text())["runs"]}
    assert runs == {"a": "done", "z": "cancelled"}
    assert json.loads((folder / "out/z/run.json").read_text())["status"] == "cancelled"
    written = sorted(p.relative_to(folder / "out").as_posix() for p in (folder / "out").rglob("*") if p.is_file())
    assert written == ["a/copy.wav", "a/run.json", "summary.json", "z/run.json"]
    assert soundfile.info(folder / "out/a/copy.wav").frames == 800
    return status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal(folder: Path, number: signal.Signals) -> None:
    process = start(folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    read_until(process.stderr.fileno(), b"] a: done", b"z: started")
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert ended(process, folder) == 128 + number
    assert b"cancelled" in out
    assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda n: n.name)
def test_text_survives(folder: Path, number: signal.Signals) -> None:
    (folder / "copy.yaml").write_text(
        "version: 1\nparams: {input: {default: , description: recording}, output: out}\n"
        'elements:\n  in: {type: file_src, path: "${param:input}", pace: realtime}\n'
        "  to: {type: resample, rate_hz: 16000, channels: 1}\n  vad: {type: webrtc_vad, hangover_ms: 300}\n"
        '  out: {type: jsonl_sink, path: "${param:output}/events.jsonl"}\nlinks: [in -> to -> vad -> out]\n'
    )
    bursts = np.random.default_rng(1).normal(0, 0.3, 16000 * 60) * (np.arange(16000 * 60) // 12000 % 2)
    soundfile.write(folder / "in/z.wav", bursts, 16000)
    partial = folder / "out/z/events.partial.jsonl"
    process = start(folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not partial.exists() or not partial.stat().st_size:
        assert process.poll() is None
    os.killpg(process.pid, number)
    process.communicate(timeout=TIMEOUT_S)
    assert json.loads(partial.read_text().splitlines()[0])["event"] == "utterance"
    record = json.loads((folder / "out/z/run.json").read_text())
    assert (record["status"], record["outputs"]) == (
        ("running", []) if number == signal.SIGKILL else ("cancelled", ["events.partial.jsonl"])
    )


def test_the_terminal_closes_and_the_job_in_its_background_is_sent_nothing(folder: Path) -> None:
    with terminal() as (near, far):
        process = start(folder, stdin=far, stdout=far, stderr=far)
        os.close(far)
        # The short recording finishes while nobody reads: what it says of that must break nothing.
        read_until(near, b"opening")
        os.close(near)
    assert ended(process, folder) == 129


def close_stdout(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    process.stdout.close()


def close_stderr(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    process.stderr.close()


@pytest.mark.parametrize("close", [close_stdout, close_stderr])
def test_nobody_reads_any_more(folder: Path, close: Callable[[subprocess.Popen[bytes]], None]) -> None:
    process = start(folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    read_until(process.stderr.fileno(), b"] a: done", b"z: started")
    close(process)
    assert ended(process, folder) == 141


def test_a_terminal_that_stops_jobs_in_the_background_stops_none(folder: Path) -> None:
    """``stty tostop``: a write from the background is SIGTTOU, which stops a process that does not ignore it."""
    (folder / "in/z.wav").unlink()
    script = (
        "import os, subprocess, sys, termios\n"
        "os.setsid(); terminal = os.open(os.ttyname(0), os.O_RDWR)\n"  # becomes our controlling terminal
        "mode = termios.tcgetattr(terminal); mode[3] |= termios.TOSTOP\n"
        "termios.tcsetattr(terminal, termios.TCSANOW, mode)\n"
        "process = subprocess.Popen(sys.argv[1:], process_group=0)\n"
        "pid, status = os.waitpid(process.pid, os.WUNTRACED)\n"
        "stopped = os.WIFSTOPPED(status)\n"
        "process.kill() if stopped else None\n"
        "sys.exit(99 if stopped else os.waitstatus_to_exitcode(status))\n"
    )
    command = [sys.executable, "-m", "tolmach", "run", "copy.yaml", "in", "-o", "out"]
    with terminal() as (near, far):
        process = subprocess.Popen(
            [sys.executable, "-c", script, *command], cwd=folder, stdin=far, stdout=far, stderr=far,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        os.close(far)
        said = read_until(near, b"summary", b"copy.wav")
        assert process.wait(TIMEOUT_S) == 0, said
    assert b"\x1b[?25l" not in said, "no live bars from the background"
