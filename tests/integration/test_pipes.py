"""``path=-``: recordings through real pipes between real processes, and who ends what."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60
"""Far more than the seconds it may take, for a busy machine."""
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
EVEN = "resample rate_hz=16000 channels=1"
MAGIC = {"wav": b"RIFF", "flac": b"fLaC", "opus": b"OggS", "ogg": b"OggS"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="waits for pipes as POSIX has them")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tolmach", *arguments]


def start(folder: Path, *arguments: str, **streams: object) -> subprocess.Popen[bytes]:
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(command(*arguments), cwd=folder, env=ENV, process_group=0, **streams)  # type: ignore[call-overload,no-any-return]


def launch(folder: Path, line: str, data: bytes = b"", **streams: object) -> tuple[int, bytes, str]:
    process = start(folder, "launch", line, **streams)
    out, err = process.communicate(data if "stdin" not in streams else None, timeout=TIMEOUT_S)
    return process.returncode, out or b"", (err or b"").decode()


def noise(seconds: float, rate_hz: int = 16000) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.1, round(seconds * rate_hz)).astype(np.float32)


def wav(samples: np.ndarray, rate_hz: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, "PCM_16", format="WAV")
    return file.getvalue()


def endless(data: bytes) -> bytes:
    """A wav as ffmpeg writes it into a pipe: its length unknown."""
    at = data.index(b"data") + 4
    return data[:4] + b"\xff\xff\xff\xff" + data[8:at] + b"\xff\xff\xff\xff" + data[at + 4 :]


def samples_of(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        return np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])


def read_until(stream: object, *texts: bytes) -> bytes:
    descriptor = stream.fileno()  # type: ignore[attr-defined]
    said = b""
    while not all(text in said for text in texts):
        ready, _, _ = select.select([descriptor], [], [], TIMEOUT_S)
        piece = os.read(descriptor, 4096) if ready else b""
        assert piece, f"ended before it said {texts}: {said!r}"
        said += piece
    return said


# What goes through ----------------------------------------------------------------------------------------------------


def test_a_recording_of_unknown_length_comes_out_as_it_went_in(tmp_path: Path) -> None:
    data = wav(noise(3.3))
    status, out, err = launch(tmp_path, f"file_src path=- ! {EVEN} ! file_sink path=-", endless(data))
    assert (status, "done: 0:03" in err) == (0, True), err
    assert out[:8] == b"RIFF\xff\xff\xff\xff"
    assert np.array_equal(samples_of(out), samples_of(data))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", MAGIC)
def test_every_format_can_be_written_without_going_back(tmp_path: Path, name: str) -> None:
    line = f"file_src path=- ! {EVEN} ! tee name=t ! file_sink path=- format={name} t. ! file_sink path=whole.{name}"
    status, out, err = launch(tmp_path, line, wav(noise(2.0)))
    assert status == 0, err
    assert out.startswith(MAGIC[name])
    assert "summary" in err  # the table stands where it disturbs nobody
    assert np.array_equal(samples_of(out), samples_of((tmp_path / f"whole.{name}").read_bytes()))


def test_graphs_are_joined_by_a_shell(tmp_path: Path) -> None:
    first = " ".join(command("launch", "-q", "'test_src duration_ms=2000 ! file_sink path=- format=opus'"))
    second = " ".join(command("launch", "-q", "'file_src path=- ! resample rate_hz=16000 ! file_sink path=out.wav'"))
    done = subprocess.run(
        ["bash", "-c", f"{first} | {second}"], cwd=tmp_path, env=ENV, capture_output=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert soundfile.info(tmp_path / "out.wav").frames == 32000


def test_a_file_behind_standard_input_may_be_sought_in(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "talk.mp4"), "w") as container:  # its index stands at the end
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise(20.0)[None, :], format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    line = "file_src path=- ! resample rate_hz=8000 channels=1 ! file_sink path=out.wav"
    with (tmp_path / "talk.mp4").open("rb") as file:
        status, _, err = launch(tmp_path, line, stdin=file)
    assert status == 0, err
    assert abs(soundfile.info(tmp_path / "out.wav").duration - 20.0) < 0.2
    status, _, err = launch(tmp_path, line.replace("out", "again"), (tmp_path / "talk.mp4").read_bytes())
    assert status == 1
    assert "an mp4 whose index stands at its end can be read from a file alone" in err


def test_lines_of_json_and_nothing_else(tmp_path: Path) -> None:
    clip = (ROOT / "config/demo/clips/en-00.flac").read_bytes()
    line = "file_src path=- ! resample rate_hz=16000 channels=1 ! webrtc_vad ! jsonl_sink path=-"
    status, out, err = launch(tmp_path, line, clip)
    assert status == 0, err
    assert [json.loads(text)["event"] for text in out.splitlines()] == ["utterance"]


def test_what_libraries_print_is_kept_out(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading, time\n"
        "def chat():\n"
        "    while True:\n"
        "        print('hello', flush=True); time.sleep(0.05)\n"
        "def soon():\n"
        "    while 'tolmach.transports.files.file_sink' not in sys.modules: time.sleep(0.01)\n"
        "    chat()\n"
        "threading.Thread(target=soon, daemon=True).start()\n"
    )
    line = "test_src duration_ms=1000 pace=realtime ! file_sink path=-"
    env = {**ENV, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(command("launch", line), cwd=tmp_path, env=env, capture_output=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert b"hello" in done.stderr
    assert len(samples_of(done.stdout)) == 16000
    assert b"hello" not in done.stdout


def test_a_graph_file_writes_there_too_each_time(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(
        "version: 1\nparams: {output: out}\nelements:\n  in: {type: test_src, duration_ms: 500}\n"
        '  out: {type: file_sink, path: "-", format: flac}\nlinks: [in -> out]\n'
    )
    for _ in range(2):
        process = start(tmp_path, "run", "g.yaml", "-q")
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, err) == (0, b"")
        assert len(samples_of(out)) == 8000


@pytest.mark.parametrize(("name", "least"), [("wav", 160_000), ("flac", 120_000), ("opus", 30_000)])
def test_what_came_is_passed_on_before_more_comes(tmp_path: Path, name: str, least: int) -> None:
    process = start(tmp_path, "launch", "-q", f"file_src path=- ! {EVEN} ! file_sink path=- format={name}")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(endless(wav(noise(6.0))))  # libav begins with 64 KiB, in which it looks for DTS
    process.stdin.flush()
    heard = b""
    while len(heard) < least:  # five seconds of it
        ready, _, _ = select.select([process.stdout], [], [], TIMEOUT_S)
        assert ready, f"{len(heard)} bytes came of six seconds"
        heard += os.read(process.stdout.fileno(), 4096)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (0, b"")
    assert len(samples_of(heard + out)) in (96_000, 288_000)  # Opus is decoded at 48 kHz


# What is wrong with it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "-: standard input is empty: nothing was written to it"),
        (b"no recording at all " * 500, "-: standard input is no recording that can be decoded"),
        (wav(noise(2.0))[:40_000], "the stream is cut off; its headers promise 24044 bytes more"),
    ],
    ids=["empty", "text", "cut off"],
)
def test_what_is_wrong_with_a_stream(tmp_path: Path, data: bytes, said: str) -> None:
    status, _, err = launch(tmp_path, "file_src path=- ! fake_sink", data)
    assert status == 1
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (
            ["launch", "file_src path=- ! fake_sink file_src path=- ! fake_sink"],
            1,
            "is read by another element already",
        ),
        (["launch", "test_src ! tee name=t ! file_sink path=- t. ! file_sink path=-"], 2, "duplicate-output"),
        (["run", "vad", "-"], 2, "standard input is one stream, not recordings"),
    ],
)
def test_one_stream_is_for_one(tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    process = start(tmp_path, *arguments)
    _, err = process.communicate(wav(noise(1.0)), timeout=TIMEOUT_S)
    assert (process.returncode, said in err.decode()) == (status, True), err


@contextmanager
def terminal() -> Iterator[int]:
    near, far = os.openpty()
    try:
        yield far
    finally:
        os.close(near)
        os.close(far)


def test_terminals_are_no_recordings(tmp_path: Path) -> None:
    with terminal() as far:
        status, _, err = launch(tmp_path, "file_src path=- ! fake_sink", stdin=far)
        assert (status, "standard input is a terminal; pipe a recording into it" in err) == (1, True), err
        status, _, err = launch(tmp_path, "test_src ! file_sink path=-", stdout=far)
        assert (status, "standard output is a terminal" in err) == (1, True), err


# Who waits, and who ends it -------------------------------------------------------------------------------------------


def test_the_writer_waits_for_the_graph(tmp_path: Path) -> None:
    process = start(tmp_path, "launch", "file_src path=- pace=realtime ! fake_sink")
    assert process.stdin is not None
    assert process.stderr is not None
    feed = process.stdin.fileno()
    os.set_blocking(feed, False)
    data = endless(wav(noise(600.0)))
    written, idle_since = 0, time.monotonic()
    while time.monotonic() - idle_since < 3:
        try:
            written += os.write(feed, data[written:])
            idle_since = time.monotonic() if written < 500_000 else idle_since
        except BlockingIOError:
            time.sleep(0.05)
    assert 0 < written < 1_000_000  # of 19 MB: the pipe, libav's buffer, and some seconds of audio
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 130


@pytest.mark.parametrize("sent", [b"", wav(noise(1.0))], ids=["before anything", "in the middle"])
def test_ctrl_c_while_nobody_writes(tmp_path: Path, sent: bytes) -> None:
    process = start(tmp_path, "launch", f"file_src path=- ! {EVEN} ! file_sink path=out.wav")
    assert process.stdin is not None
    process.stdin.write(endless(sent) if sent else b"")
    process.stdin.flush()
    read_until(process.stderr, b"started")
    time.sleep(1.0)  # to be in the middle of a read, not of an import
    asked = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    status = process.wait(TIMEOUT_S)
    assert (status, time.monotonic() - asked < 10) == (130, True)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_nobody_reads(tmp_path: Path) -> None:
    process = start(tmp_path, "launch", "test_src duration_ms=600000 ! file_sink path=-")
    read_until(process.stderr, b"started")
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 130
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("pace", ["asap", "realtime"])
def test_a_reader_that_goes_away(tmp_path: Path, pace: str) -> None:
    process = start(tmp_path, "launch", f"test_src duration_ms=600000 pace={pace} ! file_sink path=-")
    assert process.stdout is not None
    assert process.stderr is not None
    assert os.read(process.stdout.fileno(), 4) == b"RIFF"
    process.stdout.close()
    assert process.wait(TIMEOUT_S) == 141
    said = process.stderr.read()
    assert b"Traceback" not in said
    assert b"error" not in said
    assert b"Exception ignored" not in said


def test_a_pipeline_ends_with_its_last_reader(tmp_path: Path) -> None:
    first = " ".join(command("launch", "-q", "'test_src duration_ms=600000 ! file_sink path=-'"))
    done = subprocess.run(
        ["bash", "-c", f"{first} | head -c 100000 | wc -c; echo ${{PIPESTATUS[0]}}"],
        cwd=tmp_path, env=ENV, capture_output=True, timeout=120,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == ([b"100000", b"141"], b"")
