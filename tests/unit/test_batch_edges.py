"""A batch among hostile files: whose file may be replaced, what cannot be written, names, races of an interrupt."""

from __future__ import annotations

import asyncio
import collections
import importlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tolmach.pipelines.bus import ErrorMessage
from tolmach.pipelines.cli.batch import batch as batch_module
from tolmach.pipelines.cli.batch.batch import Batch
from tolmach.pipelines.cli.batch.console import Bars, Quiet
from tolmach.pipelines.cli.batch.interrupts import Interrupts
from tolmach.pipelines.cli.batch.jobs import Job, plan_jobs
from tolmach.pipelines.cli.batch.records import Record, load_record, save_record, save_summary
from tolmach.pipelines.cli.commands.bench import _print as print_bench
from tolmach.pipelines.cli.commands.run import _save_summary
from tolmach.pipelines.errors import GraphError, MediaError
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.runtime.runner import RunResult

ROOT = Path(__file__).resolve().parents[2]
GRAPH = """
version: 1
name: tone
params: {input: {default: , description: recording}, output: out, level: -12}
elements:
  in:   {type: test_src, duration_ms: 200, level_db: "${param:level}"}
  fork: {type: tee}
  dub:  {type: file_sink, path: "${param:output}/dub.wav"}
  more: {type: file_sink, path: "${param:output}/more.wav"}
links: [in -> fork -> dub, fork -> more]
"""
DECLARED = check_graph("tone.yaml", text=GRAPH).params


@pytest.fixture
def make(tmp_path: Path) -> Any:
    (tmp_path / "tone.yaml").write_text(GRAPH)

    def batch(*names: str, **more: Any) -> Batch:
        jobs = []
        for name in names or ("a",):
            source = tmp_path / f"{name}.wav"
            source.touch()
            os.utime(source, (1, 1))
            jobs.append(Job(name, source, tmp_path / "out" / name))
        options: dict[str, Any] = {"params": {}, "overrides": {}, "declared": DECLARED, "watcher": Quiet()}
        return Batch(tmp_path / "tone.yaml", jobs, **(options | more))

    return batch


async def statuses(batch: Batch) -> list[str]:
    return [r.status for r in await asyncio.wait_for(batch.run(), 60)]


async def test_a_users_own_file_is_not_replaced_however_often_one_tries(make: Any, tmp_path: Path) -> None:
    mine = tmp_path / "out/a/more.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for _ in range(3):
        assert await statuses(make()) == ["failed"]
        assert mine.read_text() == "mine"
    assert await statuses(make(overwrite=True)) == ["done"]
    assert mine.read_bytes() != b"mine"


async def test_a_run_that_is_interrupted_before_it_begins_claims_no_file(make: Any, tmp_path: Path) -> None:
    mine = tmp_path / "out/a/more.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    batch = make()
    batch.watcher.started = lambda job: batch.cancel()
    assert await statuses(batch) == ["cancelled"]
    assert await statuses(make()) == ["failed"]
    assert mine.read_text() == "mine"


async def test_what_an_earlier_run_left_unfinished_is_replaced(make: Any, tmp_path: Path) -> None:
    assert await statuses(make()) == ["done"]
    record = load_record(tmp_path / "out/a")
    assert record is not None
    save_record(tmp_path / "out/a", record.as_status("failed"))
    assert await statuses(make()) == ["done"]


async def test_an_output_that_was_deleted_is_made_again(make: Any, tmp_path: Path) -> None:
    assert await statuses(make()) == ["done"]
    (tmp_path / "out/a/dub.wav").unlink()
    assert await statuses(make()) == ["done"]
    assert (tmp_path / "out/a/dub.wav").is_file()
    assert await statuses(make()) == ["skipped"]


async def test_a_folder_that_another_run_writes_into_is_left_alone(make: Any, tmp_path: Path) -> None:
    holder = (
        "import sys; from pathlib import Path; from tolmach.pipelines.cli.batch.records import locked\n"
        "with locked(Path(sys.argv[1])) as ours: print(ours, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(tmp_path / "out/a")]
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
    try:
        assert other.stdout is not None
        assert await other.stdout.readline() == b"True\n"
        records = await make("a", "b").run()
        assert [r.status for r in records] == ["failed", "done"]
        assert "is being written by another run" in records[0].errors[0]
        assert not (tmp_path / "out/a/run.json").exists()
    finally:
        other.kill()  # however it ends, the lock ends with it
        await other.wait()
    assert await statuses(make("a", "b")) == ["done", "skipped"]


async def test_a_damaged_recording_is_not_done_again_for_ever(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tolmach.pipelines.builtin.trial_ends import TestSrc

    whole = TestSrc.produce

    async def damaged(self: TestSrc) -> None:
        await whole(self)
        self.context.post(ErrorMessage("a.wav: broken at 1.500 s: the file is cut off"))

    monkeypatch.setattr(TestSrc, "produce", damaged)
    (first,) = await make().run()
    assert (first.status, first.settled, first.outputs) == ("failed", True, ("dub.wav", "more.wav"))
    (second,) = await make().run()
    assert (second.status, second.ok, second.errors) == ("skipped", True, ())
    assert "cut off" in second.warnings[0]
    (forced,) = await make(overwrite=True).run()
    assert forced.status == "failed"


async def test_a_failure_of_an_element_is_tried_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tolmach.pipelines.builtin.trial_ends import TestSrc

    whole = TestSrc.produce

    async def stumbles(self: TestSrc) -> None:
        await whole(self)
        self.context.post(ErrorMessage("out of memory", policy="skip"))

    monkeypatch.setattr(TestSrc, "produce", stumbles)
    assert await statuses(make()) == ["failed"]
    monkeypatch.undo()
    assert await statuses(make()) == ["done"]


async def test_what_the_environment_says_makes_finished_outputs_stale(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLMACH_TEST_FREQ", "440")
    text = GRAPH.replace("duration_ms: 200", "duration_ms: 200, freq_hz: '${env:TOLMACH_TEST_FREQ}'")
    (tmp_path / "tone.yaml").write_text(text)
    assert await statuses(make()) == ["done"]
    monkeypatch.setenv("TOLMACH_TEST_FREQ", "220")
    assert await statuses(make()) == ["stale"]
    monkeypatch.setenv("TOLMACH_TEST_FREQ", "440")
    (tmp_path / "tone.yaml").write_text(text + "# a comment changes nothing\n")
    assert await statuses(make()) == ["skipped"]


async def test_a_file_where_a_folder_should_be_fails_its_recording_only(make: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("a file")
    records = await make("a", "b").run()
    assert [r.status for r in records] == ["failed", "done"]
    assert str(tmp_path / "out/a") in records[0].errors[0]


async def test_a_recording_that_vanished_fails_alone(make: Any, tmp_path: Path) -> None:
    batch = make("a", "b")
    (tmp_path / "a.wav").unlink()
    records = await batch.run()
    assert [r.status for r in records] == ["failed", "done"]
    assert "a.wav: No such file" in records[0].errors[0]


@pytest.mark.parametrize("parallel", [1, 2, 64])
async def test_more_workers_than_recordings(make: Any, parallel: int) -> None:
    assert await statuses(make("a", "b", parallel=parallel)) == ["done", "done"]


async def test_an_interrupt_while_a_record_is_written_starts_nothing_more(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make("a", "b")

    def interrupted(folder: Path, record: Record) -> None:
        batch.cancel()
        save_record(folder, record)

    monkeypatch.setattr(batch_module, "save_record", interrupted)
    assert await statuses(batch) == ["cancelled"]


def run_interrupted(batch: Batch, *numbers: signal.Signals) -> tuple[list[Record], int | None, list[int]]:
    """Run a batch that is sent signals with its first progress; its records, what it would end with, and at once."""
    left: list[int] = []
    sent = iter(numbers)
    batch.watcher.progress = lambda *_: collections.deque(map(signal.raise_signal, sent), maxlen=0)  # type: ignore[method-assign]

    async def attached(interrupts: Interrupts) -> list[Record]:
        interrupts.attach(batch.cancel)
        return await asyncio.wait_for(batch.run(), 60)

    with Interrupts(left.append) as interrupts:
        records = asyncio.run(attached(interrupts))
    return records, interrupts.status, left


@pytest.mark.parametrize(
    ("numbers", "status", "left"),
    [
        ([signal.SIGINT], 130, []),
        ([signal.SIGTERM], 143, []),
        ([signal.SIGHUP], 129, []),
        ([signal.SIGINT, signal.SIGTERM], 130, [143]),
        ([signal.SIGHUP, signal.SIGHUP, signal.SIGHUP], 129, []),
        ([signal.SIGHUP, signal.SIGTERM], 129, [143]),
    ],
    ids=["INT", "TERM", "HUP", "INT+TERM", "HUP+HUP+HUP", "HUP+TERM"],
)
def test_a_first_signal_ends_in_order_and_a_second_at_once(
    make: Any, numbers: list[signal.Signals], status: int, left: list[int]
) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    batch = make("a", "b", overrides={"in.duration_ms": 0})
    records, ended, at_once = run_interrupted(batch, *numbers)
    assert [r.status for r in records] == ["cancelled"]
    assert (ended, at_once) == (status, left)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_nohup_is_respected(make: Any) -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        records, ended, _ = run_interrupted(make("a"), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, old)
    assert [r.status for r in records] == ["done"]
    assert ended is None


async def test_when_one_worker_breaks_the_others_end_and_close_their_files(make: Any, tmp_path: Path) -> None:
    batch = make("a", "b", parallel=2, overrides={"in.duration_ms": 0})

    def bug(job: Job) -> None:
        if job.name == "b":
            raise ZeroDivisionError

    batch.watcher.started = bug
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(batch.run(), 60)
    assert not list((tmp_path / "out").rglob("*.part-*"))


async def test_a_file_whose_name_is_not_utf8_fails_alone(make: Any, tmp_path: Path) -> None:
    batch = make("a")
    name = os.fsdecode(b"caf\xe9")
    batch.jobs = [Job(name, tmp_path / f"{name}.wav", tmp_path / "out" / name), *batch.jobs]
    records = await batch.run()
    assert [r.status for r in records] == ["failed", "done"]
    assert "not UTF-8" in records[0].errors[0]


async def test_a_file_name_that_is_not_utf8_is_remembered(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    record = Record(name, f"{name}.wav", str(tmp_path / name), "done", "f", outputs=("дубляж.wav",))
    save_record(tmp_path / name, record)
    assert load_record(tmp_path / name) == record
    path = save_summary(tmp_path, "g", [record])
    assert "дубляж.wav" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8"))["runs"][0]["name"] == name


def test_a_summary_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "summary.json cannot be written" in _save_summary(tmp_path / "file", "g", [])
    assert _save_summary(tmp_path, "g", []) == ""


def test_names_and_errors_are_not_taken_for_markup_by_the_bars() -> None:
    out = io.StringIO()
    job = Job("[/b]", Path("[/b].wav"), Path("out"))
    with Bars(2, Console(file=out, width=120, force_terminal=True, color_system=None)) as bars:
        bars.started(job)
        bars.progress(job, 1, 2)
        bars.finished(job, Record("[/b]", None, "out", "failed", "f", errors=("[mp3 @ 0x1] no [/x] frame",)))
    assert "[/b]: failed: [mp3 @ 0x1] no [/x] frame" in out.getvalue()


def test_a_round_that_broke_off_is_not_the_fastest() -> None:
    def round_(status: Any, playing_s: float) -> RunResult:
        return RunResult(status, None, (), (), 10_000_000_000, playing_s + 1, playing_s)

    out = io.StringIO()
    print_bench(Console(file=out, width=120), "g", Path("[b]x.wav"), [round_("failed", 0.01), round_("done", 2.0)])
    assert "RTFx 5.0" in out.getvalue()
    assert "[b]x.wav" in out.getvalue()
    print_bench(Console(file=out, width=120), "g", None, [round_("failed", 0.01)])


async def test_outputs_of_a_folder_within_are_not_counted_twice(make: Any, tmp_path: Path) -> None:
    batch = make("a")
    inner = Job("a/b", tmp_path / "a.wav", tmp_path / "out/a/b")
    batch.jobs = [inner, batch.jobs[0]]
    records = await batch.run()
    assert [r.outputs for r in records] == [("dub.wav", "more.wav")] * 2


async def test_an_error_names_element_and_media_time(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tolmach.pipelines.builtin.trial_ends import TestSrc

    async def breaks(self: TestSrc) -> None:
        raise MediaError("a.wav: broken", at_ns=1_500_000_000)

    monkeypatch.setattr(TestSrc, "produce", breaks)
    (record,) = await make().run()
    assert record.errors == ("in at 1.500 s: a.wav: broken",)
    assert not (tmp_path / "out/a/dub.wav").exists()


# Planning -----------------------------------------------------------------------------------------------------------


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_output_folders_stay_below_the_root_and_apart_whatever_the_names(tmp_path: Path) -> None:
    names = ["..wav", "...wav", ".wav", "a.wav", "A.WAV", "a.wav.flac", "a b.mp3", "й.wav", "и\u0306.wav", "[x].ogg"]
    touch(*(tmp_path / "in" / n for n in names))
    jobs = plan_jobs([tmp_path / "in" / n for n in names], tmp_path / "out")
    folders = [j.output.resolve() for j in jobs]
    assert all(f.parent == (tmp_path / "out").resolve() for f in folders)
    assert len({str(f).casefold() for f in folders}) == len(names)


def test_a_name_too_long_for_the_system_is_told(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="too long"):
        plan_jobs(["a" * 5000], tmp_path)


def test_recordings_that_all_lie_in_the_output_folder_are_explained(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    with pytest.raises(GraphError, match="lie in the output folder"):
        plan_jobs([tmp_path], tmp_path)


def test_a_link_to_a_recording_is_a_recording_and_a_broken_one_is_not(tmp_path: Path) -> None:
    touch(tmp_path / "real.wav")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link.wav").symlink_to(tmp_path / "real.wav")
    (tmp_path / "in/broken.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out")
    assert [j.name for j in jobs if not j.problem] == ["link"]
    assert [j.problem for j in jobs if j.problem] == [f"{tmp_path / 'in/broken.wav'}: is a link to nothing"]


# Subtitles beside recordings ------------------------------------------------------------------------------------------

SPEAKS = """
from tolmach.pipelines.element import Element, ElementSpec, Heard, Pad, Settings
from tolmach.pipelines.frames import TranslationFrame

class S(Settings):
    source_lang: Heard[str] = "de"
    target_lang: str = "ru"

class Says(Element):
    async def drain(self):
        said = TranslationFrame(1, 0, 1_000_000_000, "de", self.settings.target_lang, "!", source_text="Ach!")
        await self.context.push(said)
    async def process(self, frame, pad):
        pass

def pads(s):
    return (Pad.sink("audio/raw"), Pad.src(f"text/x-translation, lang={s.target_lang}, script=latn"))

SPEC = ElementSpec(type="says", summary="Says one thing.", settings=S, pads=pads, build="speaking_plugin:Says")
"""
SUBTITLED = """
version: 1
name: subtitled
params: {input: {default: , description: recording}, output: out}
elements:
  in:   {type: test_src, duration_ms: 100}
  fork: {type: tee}
  en:   {type: says, target_lang: en}
  de:   {type: says, target_lang: pt-br}
  subs: {type: subtitle_sink, path: "${param:output}/subtitles.srt"}
  vtt:  {type: subtitle_sink, path: "${param:output}/other.VTT"}
links: [in -> fork -> en -> subs, fork -> de -> vtt]
"""


@pytest.fixture
def subtitled(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "speaking_plugin.py").write_text(SPEAKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.import_module("speaking_plugin").SPEC
    (tmp_path / "tone.yaml").write_text(SUBTITLED)
    registry = Registry.builtin().extended(spec)
    return lambda **more: make("talk", registry=registry, declared=DECLARED, **more)


def beside_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("talk.*.*"))


async def test_subtitles_are_put_beside_the_recording_for_players(subtitled: Any, tmp_path: Path) -> None:
    assert await statuses(subtitled()) == ["done"]
    assert beside_of(tmp_path) == []
    (record,) = await subtitled(beside=True).run()  # also what was finished before
    assert (record.status, record.warnings) == ("skipped", ())
    beside = [tmp_path / "talk.en.srt", tmp_path / "talk.pt-br.vtt"]
    assert beside_of(tmp_path) == beside
    assert beside[0].read_bytes() == (tmp_path / "out/talk/subtitles.srt").read_bytes()
    assert beside[1].read_text().startswith("WEBVTT")
    # What was understood is in the language that was spoken.
    graph = tmp_path / "tone.yaml"
    graph.write_text(SUBTITLED.replace('other.VTT"', 'other.VTT", show: source'))
    await subtitled(beside=True, overwrite=True).run()
    assert (tmp_path / "talk.de.vtt").read_text().endswith("Ach!\n\n")
    (tmp_path / "talk.de.vtt").unlink()
    graph.write_text(SUBTITLED)
    await subtitled(beside=True, overwrite=True).run()
    # What we put there is ours to replace.
    beside[0].write_text("an earlier translation")
    (record,) = await subtitled(beside=True).run()
    assert record.warnings == ()
    assert beside[0].read_bytes() == (tmp_path / "out/talk/subtitles.srt").read_bytes()


async def test_a_users_own_subtitles_are_kept(subtitled: Any, tmp_path: Path) -> None:
    mine = tmp_path / "talk.en.srt"
    mine.write_text("mine")
    (record,) = await subtitled(beside=True).run()
    assert record.status == "done"
    assert "talk.en.srt exists already and was not replaced" in record.warnings[0]
    assert mine.read_text() == "mine"
    assert (tmp_path / "talk.pt-br.vtt").is_file()
    (record,) = await subtitled(beside=True, overwrite=True).run()
    assert record.warnings == ()
    assert mine.read_text() != "mine"
