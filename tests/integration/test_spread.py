"""``tolmach run --ray``: the same files as on one machine, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.ray_cluster import address_of
from tests.unit.deadly import DEADLY
from tests.unit.deadly import SPEC as DEADLY_SPEC
from tests.unit.loudness_ast import SPEC as LOUDNESS_SPEC
from tolmach.pipelines.cli.batch.batch import Batch
from tolmach.pipelines.cli.batch.console import Quiet
from tolmach.pipelines.cli.batch.jobs import Job, plan_jobs
from tolmach.pipelines.cli.batch.records import Record
from tolmach.pipelines.cli.batch.spread import begin, shipping
from tolmach.pipelines.cli.batch.spread import workers as workers_module
from tolmach.pipelines.cli.batch.spread.begin import Spread, spread_over
from tolmach.pipelines.cli.batch.spread.player import SpreadPlayer
from tolmach.pipelines.cli.batch.spread.spool import Spool
from tolmach.pipelines.cli.batch.spread.worker import Sight
from tolmach.pipelines.cli.batch.spread.workers import Reserve, Workers, room_for
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.cluster import ClusterError, here
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.model_host import THREADS, chosen
from tolmach.pipelines.registry import Registry
from tolmach.processors.hosting import HOSTS

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ROOT / "config/demo/clips"
RATE = 16000
GRAPH = """
version: 1
name: cut
params: {input: {default: , description: recording}, output: out, pace: asap}
elements:
  in:   {type: file_src, path: "${param:input}", pace: "${param:pace}"}
  to:   {type: resample, rate_hz: 16000, channels: 1}
  fork: {type: tee}
  vad:  {type: webrtc_vad, hangover_ms: 300}
  lines: {type: jsonl_sink, path: "${param:output}/lines.jsonl"}
  copy: {type: file_sink, path: "${param:output}/copy.flac"}
links: [in -> to -> fork -> vad -> lines, fork -> copy]
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's workers are killed by POSIX signals here")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cut.yaml").write_text(GRAPH)
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(1)
    for name, seconds in (("a", 3), ("b", 2), ("c", 2)):
        bursts = rng.normal(0, 0.3, RATE * seconds) * (np.arange(RATE * seconds) // 12000 % 2)
        soundfile.write(tmp_path / "in" / f"{name}.wav", bursts.clip(-0.7, 0.7), RATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cluster(ray_cluster: Any) -> Iterator[Any]:
    yield ray_cluster
    # Workers are let go: nothing of a batch stays on the cluster.
    deadline = time.monotonic() + 30
    while ray_cluster.available_resources().get("CPU") != ray_cluster.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, "a worker was left behind"
        time.sleep(0.1)


def written(output: Path) -> dict[str, bytes]:
    """Every file below a folder, but for what two runs of the same must differ in: folder, speed and their digest."""
    found = {}
    for path in sorted(p for p in output.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".json":
            data = re.sub(rb'"(output|fingerprint|wall_s|rtfx)": [^\n]*', b"", data).replace(output.name.encode(), b"")
        found[path.relative_to(output).as_posix()] = data
    return found


def statuses(output: Path) -> dict[str, str]:
    return {run["name"]: run["status"] for run in json.loads((output / "summary.json").read_text())["runs"]}


def test_the_same_bytes_and_a_second_run_makes_nothing_again(
    folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "cut.yaml", "in", "-o", "here", "-q"]) == 0
    assert main(["run", "cut.yaml", "in", "-o", "there", "-q", "--ray", "--jobs", "2"]) == 0
    assert written(folder / "there") == written(folder / "here")
    assert "a/copy.flac" in written(folder / "there")
    with monkeypatch.context() as patched:  # nothing is to be done, so nobody is asked for
        patched.setattr(begin, "connect", None)
        assert main(["run", "cut.yaml", "in", "-o", "there", "-q", "--ray", "--jobs", "2"]) == 0
    assert set(statuses(folder / "there").values()) == {"skipped"}
    # Two are gone: they alone are made again. No folder is needed that both sides see, and only what is small is sent.
    monkeypatch.setattr(shipping, "MAX_SENT_BYTES", 70_000)
    (folder / "there/a/copy.flac").unlink()
    (folder / "there/b/copy.flac").unlink()
    made = (folder / "there/c/copy.flac").stat().st_mtime_ns
    assert main(["run", "cut.yaml", "in", "-o", "there", "-q", "--ray", "--ray-ship", "--jobs", "1"]) == 1
    assert statuses(folder / "there") == {"a": "failed", "b": "done", "c": "skipped"}
    assert "put it where all machines see it" in capsys.readouterr().err
    assert (folder / "there/c/copy.flac").stat().st_mtime_ns == made
    assert (folder / "there/b/copy.flac").read_bytes() == (folder / "here/b/copy.flac").read_bytes()
    # What was sent is gone, and so is what a killed worker had left.
    left = Spool()
    left.folder.joinpath("talk.wav").touch()
    os.close(left._lock)
    new = Spool()
    assert [path for path in new.folder.parent.iterdir() if path.is_dir()] == [new.folder]
    new.close()
    assert list(new.folder.parent.iterdir()) == []


@pytest.mark.models
def test_the_phrasebook(folder: Path, cluster: Any) -> None:
    pytest.importorskip("nemo.collections.asr", reason="needs NeMo")
    clips = [str(CLIPS / name) for name in ("en-00.flac", "en-08.flac")]
    assert main(["run", "phrasebook", *clips, "-o", "here", "-q"]) == 0
    assert main(["run", "phrasebook", *clips, "-o", "there", "-q", "--ray", "--jobs", "1"]) == 0
    assert written(folder / "there") == written(folder / "here")
    assert json.loads((folder / "there/en-08/run.json").read_text())["utterances"][0]["text"]


class Following(Quiet):
    """Follows a batch: what was said, and a call for each position."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.moved: Callable[[int], None] = lambda position_ns: None

    def progress(self, job: Job, position_ns: int, duration_ns: int | None) -> None:
        self.moved(position_ns)

    def info(self, job: Job, text: str) -> None:
        self.said.append(text)


def batch_over(folder: Path, watcher: Quiet, output: str = "out", **more: Any) -> Batch:
    declared = check_graph("cut.yaml", text=(folder / "cut.yaml").read_text(), registry=more.get("registry")).params
    jobs = plan_jobs([folder / "in"], folder / output)
    options: dict[str, Any] = {"params": {}, "overrides": {}} | more
    return Batch(folder / "cut.yaml", jobs, declared=declared, watcher=watcher, **options)


async def spread_run(batch: Batch, jobs: int, folder: Path) -> dict[str, Record]:
    (folder / "out").mkdir(exist_ok=True)
    async with asyncio.timeout(120), spread_over(batch, Spread("", Reserve(), jobs), folder / "out"):
        return {record.name: record for record in await batch.run()}


async def test_a_worker_that_is_killed(folder: Path, cluster: Any) -> None:
    (folder / "in/b.wav").unlink()  # a takes three seconds, c two
    watcher = Following()
    batch = batch_over(folder, watcher, params={"pace": "realtime"})
    killed: list[int] = []

    def kill_once(position_ns: int) -> None:
        # In the midst of it: frames flow, both files are open.
        if not killed and 0 < position_ns < 2_500_000_000:
            assert isinstance(batch.player, SpreadPlayer)
            [worker] = batch.player.workers.hired
            killed.append(worker.seen.pid)
            os.kill(worker.seen.pid, signal.SIGKILL)

    watcher.moved = kill_once
    records = await spread_run(batch, 1, folder)
    assert len(killed) == 1
    assert {name: record.status for name, record in records.items()} == {"a": "done", "c": "done"}
    assert any("another one takes over" in said for said in watcher.said)
    await batch_over(folder, Quiet(), "here").run()
    for name in ("a/copy.flac", "a/lines.jsonl", "c/lines.jsonl"):
        assert (folder / "out" / name).read_bytes() == (folder / "here" / name).read_bytes()


async def test_a_recording_that_kills_its_workers(folder: Path, cluster: Any) -> None:
    (folder / "cut.yaml").write_text(
        GRAPH.replace("to:   {", "die: {type: deadly}\n  to:   {").replace("in -> to", "in -> die -> to")
    )
    soundfile.write(folder / "in/b.wav", np.full(RATE, DEADLY), RATE)
    watcher = Following()
    batch = batch_over(folder, watcher, registry=Registry.default().extended(DEADLY_SPEC))
    records = await spread_run(batch, 1, folder)
    assert {name: record.status for name, record in records.items()} == {"a": "done", "b": "failed", "c": "done"}
    assert "2 workers were lost over it" in records["b"].errors[0]
    assert sum("another one takes over" in said for said in watcher.said) == 1
    assert json.loads((folder / "out/b/run.json").read_text())["status"] == "failed"


async def test_one_recording_has_its_utterances_spread(folder: Path, cluster: Any) -> None:
    (folder / "cut.yaml").write_text(
        GRAPH.replace("fork: {", "ast: {type: loudness_ast, heard: heard}\n  fork: {").replace(
            "vad ->", "vad -> ast ->"
        )
    )
    for name in "bc":
        (folder / f"in/{name}.wav").unlink()
    bursts = np.random.default_rng(1).normal(0, 0.3, RATE * 12) * (np.arange(RATE * 12) // 12000 % 2)
    soundfile.write(folder / "in/a.wav", bursts.clip(-0.7, 0.7), RATE)
    registry = Registry.default().extended(LOUDNESS_SPEC)
    heard = {}
    for output in ("here", "out"):
        (folder / output).mkdir()
        overrides = {"ast.heard": str(folder / output), "ast.copies": 2 if output == "out" else 1}
        batch = batch_over(folder, Quiet(), output, registry=registry, overrides=overrides)
        spread = spread_over(batch, Spread("", Reserve(), 2), folder / "out")
        async with asyncio.timeout(120), spread if output == "out" else contextlib.nullcontext():
            [record] = await batch.run()
        assert record.status == "done"
        assert record.spoken == 8
        heard[output] = {path.name for path in (folder / output).iterdir() if path.name.isdecimal()}
    assert heard["here"] == {str(os.getpid())}
    assert len(heard["out"]) == 2
    assert str(os.getpid()) not in heard["out"]
    for name in ("a/copy.flac", "a/lines.jsonl"):
        assert (folder / "out" / name).read_bytes() == (folder / "here" / name).read_bytes()
    assert chosen() is THREADS
    HOSTS.unload_idle()


def test_ctrl_c(folder: Path, cluster: Any) -> None:
    soundfile.write(folder / "in/z.wav", np.zeros(8000 * 600), 8000)
    (folder / "in/b.wav").unlink()
    (folder / "in/c.wav").unlink()
    command = [sys.executable, "-m", "tolmach", "run", "cut.yaml", "in", "-o", "out", "--set", "pace=realtime"]
    process = subprocess.Popen(
        [*command, "--jobs", "1", f"--ray={address_of(cluster)}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        process_group=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    while "] a: done" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert statuses(folder / "out") == {"a": "done", "z": "cancelled"}
    assert json.loads((folder / "out/z/run.json").read_text())["status"] == "cancelled"
    assert "Traceback" not in said + err
    assert "ray" not in out.lower()
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a", "summary.json", "z"]


async def test_a_worker_that_cannot_do_the_work(folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(recordings: dict[str, int]) -> str:
        workers = Workers(cluster, sight(recordings), count=1, reserve=Reserve(), say=print)
        try:
            with pytest.raises(ClusterError) as error:
                await asyncio.wait_for(workers.open(), 60)
            return str(error.value)
        finally:
            await workers.close()

    def sight(recordings: dict[str, int]) -> Sight:
        return Sight(str(folder), False, recordings, str(folder), "token", "probe")

    (folder / "probe").write_text("token")
    assert re.search(
        r"does not see /nowhere/talk\.wav: No such file.*--ray-ship", await refused({"/nowhere/talk.wav": 7})
    )
    mine = here()
    monkeypatch.setattr(workers_module, "here", lambda: replace(mine, exact={**mine.exact, "code": "another"}))
    assert "is not of this version: code another here" in await refused({})


def test_what_no_machine_has_is_said_before_anything_is_begun(folder: Path, cluster: Any) -> None:
    with pytest.raises(ClusterError, match="no machine of the Ray cluster has 1 CPU and 2 GPU"):
        room_for(cluster, Reserve(gpus=2))
    assert room_for(cluster, Reserve(cpus=2)) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--ray", "in"], "a recording goes before --ray"),
        (["--ray-ship"], "add it"),
        (["--ray", "--ray-gpus", "1.5"], "whole above 1"),
    ],
)
def test_a_wrong_command(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str) -> None:
    assert main(["run", "cut.yaml", "in", *options]) == 2
    assert says in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_without_ray_it_says_how_to_install_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["run", "cut.yaml", "in", "--ray"]) == 2
    assert "pip install 'tolmach[ray]'" in capsys.readouterr().err
    assert not (folder / "out").exists()
