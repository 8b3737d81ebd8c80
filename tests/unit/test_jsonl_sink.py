"""The lines of ``jsonl_sink`` and the document that describes them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.pipelines.errors import ElementError, OutputError
from tolmach.pipelines.frames import AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.testing import Harness, chop, tone
from tolmach.transports.files.jsonl_sink import dumps, translation_event
from tolmach.transports.files.specs import JSONL_SINK

DOCUMENT = Path(__file__).parents[2] / "docs" / "EVENTS.md"
S = 1_000_000_000

TRANSLATION = TranslationFrame(
    1, S, 3 * S, "en", "ru", "Где вокзал?", logprob=-0.123456, engine="demonstration phrasebook"
)


def utterance(number: int, start_ns: int, seconds: float, reason: Any = "silence", chunk: int = 512) -> list[Frame]:
    wave = tone(seconds, freq_hz=400)
    audio = AudioFrame(wave.samples, 16000, start_ns, number)
    return [UtteranceStart(number, start_ns), *chop(audio, chunk), UtteranceEnd(number, start_ns, audio.end_ns, reason)]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def lines_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


async def save(path: Path, *frames: Frame) -> list[dict[str, Any]]:
    async with Harness(JSONL_SINK, path=str(path)) as harness:
        await harness.push(*frames)
        await harness.eos()
    assert names(path.parent) == [path.name]
    return lines_of(path)


async def test_behind_a_vad_there_is_a_line_per_utterance(tmp_path: Path) -> None:
    await save(tmp_path / "vad.jsonl", *utterance(1, S, 0.5), *utterance(2, 4 * S, 1, "eos"))
    assert (tmp_path / "vad.jsonl").read_text() == (
        '{"v":1,"event":"utterance","utterance":1,"start_ns":1000000000,"end_ns":1500000000,"reason":"silence",'
        '"audio":{"samples":8000,"rate_hz":16000,"channels":1,"duration_ns":500000000,"peak":0.5},'
        '"cut_by":null,"cut":"","decided_ns":null}\n'
        '{"v":1,"event":"utterance","utterance":2,"start_ns":4000000000,"end_ns":5000000000,"reason":"eos",'
        '"audio":{"samples":16000,"rate_hz":16000,"channels":1,"duration_ns":1000000000,"peak":0.5},'
        '"cut_by":null,"cut":"","decided_ns":null}\n'
    )


async def test_behind_a_translator_there_is_a_line_per_translation(tmp_path: Path) -> None:
    rejected = TranslationFrame(2, 4 * S, 5 * S, "en", "ru", "", None, rejected="no speech", engine="canary-1b-v2")
    marks = [UtteranceStart(1, S), UtteranceEnd(1, S, 3 * S)]
    await save(tmp_path / "text.jsonl", marks[0], TRANSLATION, marks[1], rejected)
    assert (tmp_path / "text.jsonl").read_text() == (
        '{"v":1,"event":"translation","utterance":1,"start_ns":1000000000,"end_ns":3000000000,"source_lang":"en",'
        '"target_lang":"ru","text":"Где вокзал?","logprob":-0.1235,"final":true,"rejected":null,'
        '"engine":"demonstration phrasebook","part":0,"more":false,"source_text":null,"language_confidence":null,'
        '"language_kept":false}\n'
        '{"v":1,"event":"utterance","utterance":1,"start_ns":1000000000,"end_ns":3000000000,"reason":"silence",'
        '"audio":null,"cut_by":null,"cut":"","decided_ns":null}\n'
        '{"v":1,"event":"translation","utterance":2,"start_ns":4000000000,"end_ns":5000000000,"source_lang":"en",'
        '"target_lang":"ru","text":"","logprob":null,"final":true,"rejected":"no speech","engine":"canary-1b-v2",'
        '"part":0,"more":false,"source_text":null,"language_confidence":null,"language_kept":false}\n'
    )


async def test_it_is_told_why_an_utterance_was_cut_where_it_was(tmp_path: Path) -> None:
    end = UtteranceEnd(1, S, 3 * S, "silence", 2 * S, 3 * S + 5, "turn", "finished (0.93), 224 ms of silence")
    (line,) = await save(tmp_path / "a.jsonl", end)
    assert (line["reason"], line["cut_by"], line["cut"]) == ("silence", "turn", "finished (0.93), 224 ms of silence")
    assert line["decided_ns"] == 3 * S + 5


async def test_parts_stand_in_lines_of_their_own_and_guesses_in_none(tmp_path: Path) -> None:
    first = replace(TRANSLATION, text="Где", end_ns=2 * S, more=True, source_text="Where is")
    guess = replace(TRANSLATION, text="вокзал", pts_ns=2 * S, part=1, final=False, speculative=True)
    last = replace(
        guess, text="вокзал?", final=True, speculative=False, language_confidence=0.98765, language_kept=True
    )
    lines = await save(tmp_path / "text.jsonl", first, guess, last)
    told = ("part", "more", "start_ns", "end_ns", "text", "source_text", "language_confidence", "language_kept")
    assert [tuple(line[name] for name in told) for line in lines] == [
        (0, True, S, 2 * S, "Где", "Where is", None, False),
        (1, False, 2 * S, 3 * S, "вокзал?", None, 0.9877, True),
    ]


async def test_the_document_shows_what_is_written(tmp_path: Path) -> None:
    """The examples of docs/EVENTS.md have the fields, in the order, that the sink writes; its tables name them all."""
    document = DOCUMENT.read_text(encoding="utf-8")
    shown = {}
    for example in re.findall(r"```json\n(.*?)\n```", document, re.DOTALL):
        event = json.loads(example)
        assert dumps(event) == example + "\n", "not in the written form"
        shown[event["event"]] = event
    written = {
        line["event"]: line for line in await save(tmp_path / "a.jsonl", tone(0.1), TRANSLATION, *utterance(1, S, 0.5))
    }
    assert shown.keys() == written.keys()
    for kind, event in written.items():
        assert list(shown[kind]) == list(event)
        if "audio" in event:
            assert list(shown[kind]["audio"]) == list(event["audio"])
        for field in event.keys() - {"v", "event"}:
            assert f"`{field}`" in document


@pytest.mark.parametrize("chunk", [1, 160, 592, 1600, 100_000])
async def test_chunks_do_not_show(tmp_path: Path, chunk: int) -> None:
    loose = chop(tone(0.7, pts_ns=20 * S), chunk)
    await save(tmp_path / "a.jsonl", *utterance(1, S, 1.3, chunk=chunk), *loose)
    await save(tmp_path / "b" / "a.jsonl", *utterance(1, S, 1.3), tone(0.7, pts_ns=20 * S))
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b" / "a.jsonl").read_bytes()


async def test_a_stream_that_is_not_cut_is_one_line(tmp_path: Path) -> None:
    (line,) = await save(tmp_path / "a.jsonl", *chop(tone(2.5, channels=2, rate_hz=44100), 1000))
    assert line["event"] == "audio"
    assert (line["start_ns"], line["end_ns"]) == (0, 2.5 * S)
    assert line["audio"] == {
        "samples": 110250,
        "rate_hz": 44100,
        "channels": 2,
        "duration_ns": 2.5 * S,
        "peak": 0.5,
    }


async def test_a_gap_or_another_format_starts_a_new_stretch(tmp_path: Path) -> None:
    lines = await save(
        tmp_path / "a.jsonl", tone(1), tone(1, pts_ns=S), tone(1, pts_ns=5 * S), tone(1, pts_ns=6 * S, rate_hz=8000)
    )
    assert [(x["start_ns"] // S, x["end_ns"] // S, x["audio"]["rate_hz"]) for x in lines] == [
        (0, 2, 16000),
        (5, 6, 16000),
        (6, 7, 8000),
    ]


async def test_an_utterance_that_breaks_off_is_not_lost(tmp_path: Path) -> None:
    lines = await save(tmp_path / "a.jsonl", *utterance(1, S, 0.5)[:-1])
    assert [(x["utterance"], x["start_ns"], x["end_ns"], x["reason"]) for x in lines] == [(1, S, None, None)]
    assert lines[0]["audio"]["samples"] == 8000


async def test_an_utterance_without_its_start_is_told_all_the_same(tmp_path: Path) -> None:
    lines = await save(tmp_path / "a.jsonl", *utterance(1, S, 0.5)[1:], UtteranceEnd(2, 3 * S, 4 * S))
    assert [(x["utterance"], x["start_ns"], x["end_ns"]) for x in lines] == [(1, S, 1.5 * S), (2, 3 * S, 4 * S)]


async def test_utterances_that_never_end_do_not_grow_memory(tmp_path: Path) -> None:
    async with Harness(JSONL_SINK, path=str(tmp_path / "a.jsonl")) as harness:
        await harness.push(*(UtteranceStart(i, i) for i in range(5000)))
        assert len(harness.element._open) < 1000  # type: ignore[attr-defined]
        await harness.eos()
    assert [x["utterance"] for x in lines_of(tmp_path / "a.jsonl")] == list(range(5000))


async def test_a_change_of_rate_within_an_utterance_is_an_error(tmp_path: Path) -> None:
    other = AudioFrame(tone(0.1, rate_hz=8000).samples, 8000, 2 * S, 1)
    with pytest.raises(ElementError, match="utterance 1 changes from 16000 Hz, 1 channels to 8000 Hz"):
        await save(tmp_path / "a.jsonl", *utterance(1, S, 0.5)[:-1], other)
    assert names(tmp_path) == ["a.partial.jsonl"]


@pytest.mark.parametrize("chunk", [1, 2, 4])
async def test_broken_audio_gives_valid_json(tmp_path: Path, chunk: int) -> None:
    samples = np.array([[0.5], [np.nan], [np.inf], [0.25]], np.float32)
    (line,) = await save(tmp_path / "a.jsonl", *chop(AudioFrame(samples, 8000, 0), chunk))
    assert line["audio"]["peak"] is None


@given(
    text=st.text(max_size=50) | st.sampled_from(["a\u2028b\u2029c\x85d", "\ud800", '"\\\n\r\t\x00']),
    logprob=st.none() | st.floats(),
)
def test_any_text_and_number_is_one_valid_line(text: str, logprob: float | None) -> None:
    line = dumps(translation_event(TranslationFrame(1, 0, 1, "en", "ru", text, logprob)))
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    read = json.loads(line, parse_constant=pytest.fail)
    assert read["text"] == text
    assert str(read["logprob"]) != "-0.0"


async def test_a_lone_surrogate_does_not_stop_the_run(tmp_path: Path) -> None:
    frame = TranslationFrame(1, 0, 1, "en", "ru", "a\ud800b")
    (line,) = await save(tmp_path / "a.jsonl", frame)
    assert line["text"] == "a?b"


async def test_text_is_on_the_disk_as_it_comes_and_stays_when_the_run_breaks_off(tmp_path: Path) -> None:
    async with Harness(JSONL_SINK, path=str(tmp_path / "a.jsonl")) as harness:
        assert written_lines(tmp_path / "a.partial.jsonl") == []
        for count in (1, 2, 3):
            await harness.push(TRANSLATION)
            assert len(written_lines(tmp_path / "a.partial.jsonl")) == count
        await harness.push(*utterance(7, S, 0.5)[:-1])
    assert names(tmp_path) == ["a.partial.jsonl"]
    *texts, broken = written_lines(tmp_path / "a.partial.jsonl")
    assert [line["event"] for line in texts] == ["translation"] * 3
    assert (broken["utterance"], broken["end_ns"], broken["reason"]) == (7, None, None)


async def test_a_run_that_never_wrote_leaves_nothing(tmp_path: Path) -> None:
    async with Harness(JSONL_SINK, path=str(tmp_path / "a.jsonl")):
        pass
    assert names(tmp_path) == []


async def test_what_an_earlier_run_wrote_goes_only_when_there_is_more(tmp_path: Path) -> None:
    partial = tmp_path / "a.partial.jsonl"
    partial.write_text("hours of text\n")
    async with Harness(JSONL_SINK, path=str(tmp_path / "a.jsonl")):  # another element cannot start, perhaps
        assert partial.read_text() == "hours of text\n"
    assert partial.read_text() == "hours of text\n"
    async with Harness(JSONL_SINK, path=str(tmp_path / "a.jsonl")) as harness:
        await harness.push(TRANSLATION)
        assert len(written_lines(partial)) == 1
        await harness.eos()
    assert names(tmp_path) == ["a.jsonl"]


def written_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        await save(tmp_path)


async def test_it_can_start_again_after_stop(tmp_path: Path) -> None:
    async with Harness(JSONL_SINK, path=str(tmp_path / "a.jsonl")) as harness:
        await harness.push(*utterance(1, S, 0.5)[:-1], tone(1))
        await harness.element.stop()
        await harness.element.start()
        await harness.push(TRANSLATION)
        await harness.eos()
    assert [x["event"] for x in lines_of(tmp_path / "a.jsonl")] == ["translation"]
