"""A recording without a text says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tolmach.pipelines.bus import Message, PositionMessage, TranslationMessage, UtteranceEndMessage
from tolmach.pipelines.frames import TranslationFrame, UtteranceEnd
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.runtime.verdict import Verdict

CONFIG = Path(__file__).resolve().parents[2] / "config"


def verdict(graph: str, *messages: Message) -> str | None:
    params = {} if graph.endswith("live") else {"input": "talk.wav"}
    judge = Verdict(load_graph(CONFIG / f"{graph}.yaml", params=params))
    for message in messages:
        judge.take(message)
    return judge.text()


def told(text: str, why: str | None = None) -> Message:
    return TranslationMessage(TranslationFrame(1, 0, 1, "en", "ru", text, rejected=why))


def part(text: str, **more: Any) -> Message:
    return TranslationMessage(TranslationFrame(1, 0, 1, "en", "ru", text, **more))


def rejected(why: str) -> Message:
    return told("", why)


UTTERANCE = UtteranceEndMessage(UtteranceEnd(1, 0, 1))
TEXT = told("Спасибо.")
LOUD = PositionMessage(9_000_000_000, loud_ns=8_000_000_000, element="in")
QUIET = PositionMessage(9_000_000_000, loud_ns=1_000_000_000, element="in")
TRACKS = PositionMessage(9_000_000_000, other_tracks=1, element="in")


def test_ten_rejections_are_explained() -> None:
    text = verdict("phrasebook", *[UTTERANCE, rejected("not in the phrasebook")] * 9, rejected("no speech"), LOUD)
    assert text is not None
    assert text.startswith("All 10 utterances were rejected (9 × not in the phrasebook, 1 × no speech)")
    assert "knows its own sentences only" in text
    assert "another language is spoken than en, set source_lang" in text
    assert "track" not in text


def test_an_utterance_in_parts_is_counted_once() -> None:
    text = verdict(
        "phrasebook", UTTERANCE, part("", more=True, rejected="repetition"), part("", part=1, rejected="wrong script")
    )
    assert text is not None
    assert text.startswith("Its only utterance was rejected (1 × wrong script)")


def test_other_tracks_are_named() -> None:
    text = verdict("phrasebook", TRACKS, UTTERANCE, rejected("low confidence"))
    assert text is not None
    assert text.startswith("Its only utterance was rejected")
    assert "--set in.track=NUMBER" in text


@pytest.mark.parametrize(
    ("graph", "messages"),
    [
        ("phrasebook", [UTTERANCE, rejected("no speech"), UTTERANCE, TEXT, LOUD]),
        ("phrasebook", [part("Спасибо", more=True), part("", part=1)]),
        ("phrasebook", [QUIET]),
        ("phrasebook", []),
        ("vad", [UTTERANCE, LOUD]),
        ("phrasebook-live", [UTTERANCE, rejected("no speech")]),
    ],
)
def test_nothing_is_said_where_nothing_is_wrong(graph: str, messages: list[Message]) -> None:
    assert verdict(graph, *messages) is None


@pytest.mark.parametrize(("level", "warned"), [(0.2, True), (0.001, False)])
async def test_a_loud_recording_without_speech_ends_with_a_warning(tmp_path: Path, level: float, warned: bool) -> None:
    hum = level * np.sin(2 * np.pi * 100 * np.arange(5 * 16000) / 16000)
    soundfile.write(tmp_path / "hum.wav", hum, 16000)
    params = {"input": str(tmp_path / "hum.wav"), "output": str(tmp_path)}
    result = await GraphRunner(load_graph(CONFIG / "vad.yaml", params=params)).run()
    assert result.ok
    texts = [m.text for m in result.warnings]
    assert len(texts) == warned
    assert all("No speech was found, although 5 s of the recording are loud" in text for text in texts)
