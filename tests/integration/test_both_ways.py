"""A conversation in two languages through a shipped graph, headless: nobody says which language comes next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from tolmach.pipelines.frames import Samples
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.shipped import shipped_graph

pytestmark = pytest.mark.models

RATE = 16000
TURNS = ("en-00", "ru-01", "en-03", "en-09", "ru-05", "ru-16", "en-22", "ru-23")


def read(path: Path) -> Samples:
    """A recording, float32[n], mono, 16 kHz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        blocks = [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampler.resample(f)]
    return np.concatenate(blocks).astype(np.float32)


@pytest.fixture(scope="module")
def conversation(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A recording of the turns, a second and a half between them, and what is said."""
    folder = root / "config" / "demo" / "clips"
    rows = {
        (row := json.loads(line))["file"].removesuffix(".flac"): row
        for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    }
    pause = np.zeros(RATE * 3 // 2, np.float32)
    path = tmp_path_factory.mktemp("both") / "conversation.wav"
    soundfile.write(path, np.concatenate([b for turn in TURNS for b in (pause, read(folder / f"{turn}.flac"))]), RATE)
    return path, [rows[turn] for turn in TURNS]


async def run(recording: Path, output: Path, **params: str) -> list[dict[str, Any]]:
    """The translations of a run of the shipped phrasebook."""
    graph = load_graph(shipped_graph("phrasebook"), params={"input": str(recording), "output": str(output), **params})
    result = await GraphRunner(graph).run()
    assert result.ok, result.error
    events = [json.loads(line) for line in (output / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return [event for event in events if event["event"] == "translation"]


async def test_each_sentence_goes_into_the_other_language_and_is_spoken_by_its_voice(
    conversation: tuple[Path, list[dict[str, Any]]], tmp_path: Path
):
    recording, said = conversation
    found = await run(recording, tmp_path / "auto", source_lang="auto", target_lang="auto")
    spoken = [row["source_lang"] for row in said]
    other = {"en": "ru", "ru": "en"}
    assert [(f["source_lang"], f["target_lang"]) for f in found] == [(lang, other[lang]) for lang in spoken]
    assert [f["text"] for f in found] == [row[other[lang]] for row, lang in zip(said, spoken, strict=True)]
    assert min(f["language_confidence"] for f in found) > 0.9
    dub, rate = soundfile.read(tmp_path / "auto" / "dub.wav", dtype="float32")
    for lang in ("en", "ru"):
        given = await run(recording, tmp_path / lang, source_lang=lang, target_lang=other[lang])
        alone, _ = soundfile.read(tmp_path / lang / "dub.wav", dtype="float32")
        for each, same in zip(found, given, strict=True):
            if each["source_lang"] == lang:
                assert each["text"] == same["text"]
                # Where it is due, until the next one is: the very samples that the language's own voice makes.
                start, length = round(each["start_ns"] * rate / 1e9), rate
                assert np.array_equal(dub[start : start + length], alone[start : start + length])
                assert np.abs(dub[start : start + length]).max() > 0.1


async def test_the_directions_are_the_same_in_every_run(
    conversation: tuple[Path, list[dict[str, Any]]], tmp_path: Path
):
    recording, _ = conversation
    for name in ("first", "second"):
        await run(recording, tmp_path / name, source_lang="auto", target_lang="auto")
    for file in ("events.jsonl", "subtitles.srt", "dub.wav"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
