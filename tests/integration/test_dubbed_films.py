"""`tolmach run --mux`: films in, copies with dub and subtitles out; what was done is not done again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from tests.unit.echo_ast import SPEC as ECHO
from tests.unit.test_mux import film, packets
from tolmach.pipelines.cli.batch.batch import Batch
from tolmach.pipelines.cli.batch.console import Quiet
from tolmach.pipelines.cli.batch.jobs import plan_jobs
from tolmach.pipelines.cli.batch.muxing import Mux, dubs_of, subtitles_of
from tolmach.pipelines.cli.batch.records import Record
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.language.check import check_graph, load_graph
from tolmach.pipelines.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = Registry.builtin().extended(ECHO)
GRAPH = """
version: 1
name: films
params: {input: , output: out, say: один}
elements:
  in:    {type: file_src, path: "${param:input}"}
  sound: {type: tee}
  heard: {type: queue}
  mono:  {type: resample, rate_hz: 16000, channels: 1}
  vad:   {type: webrtc_vad, mode: 0}
  ast:   {type: echo_ast, answer: "${param:say}"}
  fork:  {type: tee}
  tts:   {type: espeak_tts, lang: ru}
  spoken: {type: tee}
  dub:   {type: file_sink, path: "${param:output}/dub.wav"}
  key:   {type: queue}
  voice: {type: resample}
  low:   {type: queue}
  bed:   {type: resample}
  mix:   {type: mix}
  mixed: {type: file_sink, path: "${param:output}/mix.flac"}
  subs:  {type: subtitle_sink, path: "${param:output}/subtitles.srt"}
links:
  - in -> sound -> heard -> mono -> vad -> ast -> fork -> tts -> spoken -> dub
  - spoken -> key -> voice -> mix.voice
  - sound -> low -> bed -> mix.bed
  - mix -> mixed
  - fork -> subs
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[Record]]:
    (tmp_path / "films.yaml").write_text(GRAPH)
    declared = check_graph("films.yaml", text=GRAPH, registry=REGISTRY).params

    def batch(*inputs: Path, mux: str | None = "", say: str = "один", **more: Any) -> list[Record]:
        jobs = plan_jobs(inputs, tmp_path / "out")
        chosen = Mux(mux) if mux is not None else None
        made = Batch(
            tmp_path / "films.yaml", jobs, {"say": say}, {}, declared, Quiet(), mux=chosen, registry=REGISTRY, **more
        )
        return asyncio.run(made.run())

    return batch


def tracks(path: Path) -> list[tuple[str, str]]:
    with av.open(str(path)) as container:
        return [(s.type, s.language or "") for s in container.streams]


def test_a_film_comes_back_with_mix_dub_and_subtitles(tmp_path: Path, run: Callable[..., list[Record]]) -> None:
    source = film(tmp_path / "talk.mkv")
    (record,) = run(source)
    assert record.status == "done", record.errors
    assert record.muxed == ("talk.ru.mkv",)
    assert record.outputs == ("dub.wav", "mix.flac", "subtitles.srt")
    copy = tmp_path / "out" / "talk" / "talk.ru.mkv"
    assert tracks(copy) == [("video", ""), ("audio", "eng"), ("audio", "rus"), ("audio", "rus"), ("subtitle", "rus")]
    with av.open(str(copy)) as container:
        titles = [s.metadata.get("title") for s in container.streams.audio]
        assert titles == [None, "Translation over the original", "Translation"]
    assert packets(copy, "video") == packets(source, "video")
    for name in ("dub.wav", "mix.flac"):
        with av.open(str(copy.with_name(name))) as container:
            stream = container.streams.audio[0]
            seconds = sum(frame.samples for frame in container.decode(stream)) / stream.rate
        assert seconds == pytest.approx(3.0, abs=0.05)  # as long as the film, whose last frame of AAC is not full


def test_the_copy_alone_is_made_where_the_rest_is_there(tmp_path: Path, run: Callable[..., list[Record]]) -> None:
    source, folder = film(tmp_path / "talk.mp4"), tmp_path / "out" / "talk"
    assert run(source, mux=None)[0].status == "done"
    dub = (folder / "dub.wav").stat().st_mtime_ns
    assert not (folder / "talk.ru.mp4").exists()
    (record,) = run(source)
    assert (record.status, record.muxed) == ("skipped", ("talk.ru.mp4",))
    made = (folder / "talk.ru.mp4").stat().st_mtime_ns
    run(source)  # it is there
    assert (folder / "talk.ru.mp4").stat().st_mtime_ns == made
    (folder / "talk.ru.mp4").unlink()
    run(source)
    assert (folder / "talk.ru.mp4").exists()
    assert (folder / "dub.wav").stat().st_mtime_ns == dub
    assert json.loads((folder / "run.json").read_text())["muxed"] == ["talk.ru.mp4"]


def test_another_dub_makes_another_copy(tmp_path: Path, run: Callable[..., list[Record]]) -> None:
    source = film(tmp_path / "talk.mkv")
    run(source)
    copy = tmp_path / "out" / "talk" / "talk.ru.mkv"
    first = copy.read_bytes()
    (record,) = run(source, say="два, три", overwrite=True)
    assert record.status == "done"
    assert copy.read_bytes() != first


def test_a_file_of_the_user_is_not_replaced_and_told_before_the_work(
    tmp_path: Path, run: Callable[..., list[Record]]
) -> None:
    source, folder = film(tmp_path / "talk.mkv"), tmp_path / "out" / "talk"
    folder.mkdir(parents=True)
    (folder / "talk.ru.mkv").write_text("mine")
    (record,) = run(source)
    assert record.status == "failed"
    assert "talk.ru.mkv exists already and is no copy of an earlier run; --overwrite replaces it" in record.errors[0]
    assert [p.name for p in folder.iterdir()] == ["talk.ru.mkv"]
    assert (folder / "talk.ru.mkv").read_text() == "mine"


def test_a_container_that_cannot_is_told_before_the_work_and_another_may_be_chosen(
    tmp_path: Path, run: Callable[..., list[Record]]
) -> None:
    source = film(tmp_path / "talk.avi")
    other = film(tmp_path / "other.mkv")
    bad, good = run(source, other)
    assert (bad.status, good.status) == ("failed", "done")
    assert "talk.ru.avi: a .avi file cannot hold more tracks; --mux-to mkv can" in bad.errors[0]
    assert list((tmp_path / "out" / "talk").iterdir()) == []
    (record,) = run(source, mux=".mkv")
    assert record.muxed == ("talk.ru.mkv",)


def test_an_interrupted_copy_leaves_the_dub_and_nothing_half_made(
    tmp_path: Path, run: Callable[..., list[Record]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = film(tmp_path / "talk.mkv"), tmp_path / "out" / "talk"
    make = Mux.make

    def interrupted(self: Mux, *given: Any, **more: Any) -> Any:
        return make(self, *given, **{**more, "stop": lambda: True})

    with monkeypatch.context() as patched:
        patched.setattr(Mux, "make", interrupted)
        (record,) = run(source)
    assert (record.status, record.muxed) == ("done", ())
    assert sorted(p.name for p in folder.iterdir()) == ["dub.wav", "mix.flac", "run.json", "subtitles.srt"]
    assert run(source)[0].muxed == ("talk.ru.mkv",)


def test_what_goes_back_is_found_in_the_graph() -> None:
    graph = load_graph(ROOT / "config" / "dubbing.yaml", params={"input": "a.mkv", "output": "o"})
    assert [(t.path.name, t.lang, t.default) for t in dubs_of(graph)] == [("mix.wav", "ru", True)]
    assert [(t.path.name, t.lang, t.title) for t in subtitles_of(graph)] == [("subtitles.srt", "ru", "Translation")]
    demo = load_graph(ROOT / "config" / "phrasebook.yaml", params={"input": "a.mkv", "output": "o"})
    assert [(t.path.name, t.lang) for t in dubs_of(demo)] == [("dub.wav", "ru")]
    compact = {"dub.timeline": "compact"}
    demo = load_graph(ROOT / "config" / "phrasebook.yaml", params={"input": "a", "output": "o"}, overrides=compact)
    assert dubs_of(demo) == []
    vad = load_graph(ROOT / "config" / "vad.yaml", params={"input": "a.mkv", "output": "o"})
    assert (dubs_of(vad), subtitles_of(vad)) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "vad", "talk.mkv", "--mux"], "writes neither a dub nor subtitles"),
        (["run", "phrasebook", "--set", "input=talk.mkv", "--mux"], "--mux makes copies of recordings; name one"),
        (["run", "phrasebook", "talk.mkv", "--mux-to", "avi"], "invalid choice: 'avi'"),
    ],
)
def test_a_wrong_command_ends_with_2(
    tmp_path: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.mkv").touch()
    try:
        status = main(arguments)
    except SystemExit as error:  # argparse
        status = int(str(error.code))
    assert status == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
