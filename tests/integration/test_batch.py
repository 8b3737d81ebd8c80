"""``tolmach run`` as a user runs it: many files, broken ones among them, twice, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
GRAPH = """
version: 1
name: copy
params:
  input: {default: , description: recording}
  output: out
  rate: 8000
elements:
  in:  {type: file_src, path: "${param:input}"}
  to:  {type: resample, rate_hz: "${param:rate}", channels: 1}
  out: {type: file_sink, path: "${param:output}/copy.wav"}
links: [in -> to -> out]
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "copy.yaml"
    path.write_text(GRAPH)
    return path


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        soundfile.write(folder / f"{name}.wav", rng.uniform(-0.5, 0.5, 16000), 16000)
    return folder


def tolmach(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tolmach", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300
    )


def statuses(output: Path) -> dict[str, str]:
    data = json.loads((output / "summary.json").read_text())
    return {run["name"]: run["status"] for run in data["runs"]}


def test_a_folder_of_recordings_one_of_them_broken(tmp_path: Path, graph: Path, recordings: Path) -> None:
    (recordings / "broken.wav").write_text("this is no audio")
    done = tolmach("run", graph, recordings, "-o", "out", "--jobs", 2, cwd=tmp_path)
    assert done.returncode == 1
    assert statuses(tmp_path / "out") == {"a": "done", "b": "done", "broken": "failed", "c": "done"}
    assert "broken.wav" in done.stdout
    assert "Traceback" not in done.stderr
    for name in "abc":
        audio, rate = soundfile.read(tmp_path / "out" / name / "copy.wav")
        assert (len(audio), rate) == (8000, 8000)
    assert not (tmp_path / "out" / "broken" / "copy.wav").exists()


def test_finished_recordings_are_skipped_until_told(tmp_path: Path, graph: Path, recordings: Path) -> None:
    assert tolmach("run", graph, recordings, "-o", "out", cwd=tmp_path).returncode == 0
    made = (tmp_path / "out/a/copy.wav").stat().st_mtime_ns
    again = tolmach("run", graph, recordings, "-o", "out", cwd=tmp_path)
    assert again.returncode == 0
    assert set(statuses(tmp_path / "out").values()) == {"skipped"}
    assert (tmp_path / "out/a/copy.wav").stat().st_mtime_ns == made
    # Other settings: what lies there is not what was asked for, and not ours to replace unasked.
    other = tolmach("run", graph, recordings, "-o", "out", "--set", "rate=16000", cwd=tmp_path)
    assert other.returncode == 1
    assert set(statuses(tmp_path / "out").values()) == {"stale"}
    assert "--overwrite" in other.stdout
    forced = tolmach("run", graph, recordings, "-o", "out", "--set", "rate=16000", "--overwrite", cwd=tmp_path)
    assert forced.returncode == 0
    assert soundfile.info(tmp_path / "out/a/copy.wav").samplerate == 16000


def test_a_users_own_file_is_not_replaced(tmp_path: Path, graph: Path, recordings: Path) -> None:
    mine = tmp_path / "out/a/copy.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    done = tolmach("run", graph, recordings / "a.wav", "-o", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nograph.yaml"], "no graph file"),
        (["copy.yaml", "missing.wav"], "no such file"),
        (["copy.yaml"], "input"),
        (["copy.yaml", "in/a.wav", "--set", "nothing=1"], "nothing"),
        (["copy.yaml", "in/a.wav", "--set", "to.rate_hz=-5"], "rate_hz"),
        (["copy.yaml", "in/a.wav", "--set", "in.wrong=1"], "wrong"),
        (["copy.yaml", "in/a.wav", "--jobs", "0"], "--jobs"),
    ],
)
def test_a_wrong_command_exits_with_2_and_writes_nothing(
    tmp_path: Path, graph: Path, recordings: Path, arguments: list[str], says: str
) -> None:
    done = tolmach("run", *arguments, "-o", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_params_may_be_called_as_one_likes(tmp_path: Path, recordings: Path) -> None:
    renamed = GRAPH.replace("  input: {default: ,", "  clip: {role: input,").replace("param:input}", "param:clip}")
    renamed = renamed.replace("  output: out", "  made: {default: out, role: output}").replace(
        "param:output}", "param:made}"
    )
    (tmp_path / "renamed.yaml").write_text(renamed)
    done = tolmach("run", "renamed.yaml", recordings, "-o", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.parent.name for path in (tmp_path / "results").rglob("copy.wav")) == ["a", "b", "c"]


def test_a_graph_that_needs_no_recording_runs_without_one(tmp_path: Path) -> None:
    (tmp_path / "tone.yaml").write_text(
        "version: 1\nparams: {output: out}\n"
        "elements:\n  in: {type: test_src, duration_ms: 500}\n"
        "  out: {type: file_sink, path: '${param:output}/t.flac'}\n"
        "links: [in -> out]\n"
    )
    done = tolmach("run", "tone.yaml", "-o", "made", "--trace", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "made/t.flac").frames == 8000
    assert "busy s" in done.stdout


def test_interrupt_leaves_whole_files_and_a_second_run_finishes(tmp_path: Path, graph: Path, recordings: Path) -> None:
    # The endless one is paced by the wall clock, so the interrupt surely meets it half-way.
    long = tmp_path / "in/z.wav"
    soundfile.write(long, np.zeros(16000 * 60), 16000)
    command = [sys.executable, "-m", "tolmach", "run", str(graph), str(recordings), "-o", "out"]
    command += ["--set", "in.pace=realtime"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("z: started"):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert statuses(tmp_path / "out") == {"a": "done", "b": "done", "c": "done", "z": "cancelled"}
    leftovers = [p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name not in ("run.json", "summary.json")]
    assert sorted(p.parent.name for p in leftovers) == ["a", "b", "c"], "no half-written file is left"
    long.unlink()
    soundfile.write(long, np.zeros(16000), 16000)
    again = tolmach("run", graph, recordings, "-o", "out", "--set", "in.pace=realtime", cwd=tmp_path)
    assert again.returncode == 0, again.stdout
    assert statuses(tmp_path / "out") == {"a": "skipped", "b": "skipped", "c": "skipped", "z": "done"}


def test_progress_goes_to_stderr_and_the_table_to_stdout(tmp_path: Path, graph: Path, recordings: Path) -> None:
    done = tolmach("run", graph, recordings / "a.wav", "-o", "out", cwd=tmp_path)
    assert "a: started" in done.stderr
    assert "summary" in done.stdout
    quiet = tolmach("run", graph, recordings / "a.wav", "-o", "out2", "-q", cwd=tmp_path)
    assert quiet.stderr == ""


BOUND = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; 24 is PR_CAPBSET_DROP (linux/capability.h, prctl.h)
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) != 0:
        sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Runs Python bound by permission bits, which root, as whom tests may run, is not."""


@pytest.mark.skipif(sys.platform != "linux", reason="root is bound by permission bits through Linux capabilities")
def test_what_may_not_be_read_is_named_without_a_traceback(tmp_path: Path, graph: Path, recordings: Path) -> None:
    def bound(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BOUND, *map(str, arguments)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=300)

    (recordings / "b.wav").chmod(0)
    (recordings / "locked").mkdir()
    soundfile.write(recordings / "locked/d.wav", np.zeros(16000), 16000)
    (recordings / "locked").chmod(0)
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs/copy.yaml").write_text(GRAPH)
    (tmp_path / "graphs").chmod(0)
    if bound("-c", "open('in/b.wav')").returncode in (0, 77):
        pytest.skip("this user reads what nobody may")
    done = bound("-m", "tolmach", "run", "copy.yaml", "in", "-o", "out")
    assert done.returncode == 1, done.stderr
    assert statuses(tmp_path / "out") == {"a": "done", "b": "failed", "c": "done", "locked": "failed"}
    assert "b: in/b.wav: Permission denied" in done.stdout
    assert "locked: in/locked: the folder cannot be read: Permission denied" in done.stdout
    assert "Traceback" not in done.stderr
    only = bound("-m", "tolmach", "run", "copy.yaml", "in/locked", "-o", "out2")
    said = "tolmach: error: in/locked: the folder cannot be read: Permission denied\n"
    assert (only.returncode, only.stderr) == (2, said)
    graphs = bound("-m", "tolmach", "run", "graphs/copy.yaml", "in", "-o", "out3")
    assert (graphs.returncode, graphs.stderr) == (2, "tolmach: error: graphs/copy.yaml: Permission denied\n")
