"""A speaker who pauses in the middle of a sentence: translated early, spoken once, and not broken by a wrong cut."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.integration.served_peer import server
from tolmach.pipelines.bus import SpeculationMessage, TranslationMessage
from tolmach.pipelines.frames import Samples
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.shipped import shipped_graph

pytestmark = pytest.mark.models

RATE = 16000
CLIPS = Path(__file__).resolve().parents[2] / "config" / "demo" / "clips"
BUS, NAME = "en-17", "en-23"
"""The bus leaves at five o'clock; my name is Kate, I am from France."""


def hesitant(*clips: str, pause_ms: int) -> Samples:
    """Sentences with a pause in the middle of each, at the quietest moment there, and 1.5 s behind each."""
    parts = [np.zeros(RATE // 2, np.float32)]
    for clip in clips:
        samples, _ = soundfile.read(CLIPS / f"{clip}.flac", dtype="float32")
        middle = range(len(samples) * 35 // 100, len(samples) * 65 // 100, 160)
        at = min(middle, key=lambda at: float(np.square(samples[at - 400 : at + 400], dtype=np.float64).sum()))
        pause = np.zeros(pause_ms * RATE // 1000, np.float32)
        parts += [samples[:at], pause, samples[at:], np.zeros(3 * RATE // 2, np.float32)]
    return np.concatenate(parts)


async def dubbed(recording: Path, output: Path, **settings: Any) -> tuple[list[str], Counter[str], dict[str, str]]:
    """Texts, what became of speculations, and the SHA-256 of each file that the shipped phrasebook makes of it."""
    graph = load_graph(
        shipped_graph("phrasebook"),
        params={"input": str(recording), "output": str(output)},
        overrides={"ast.batch_utterances": 1, "vad.post_roll_ms": 150, **settings},
        require_params=True,
    )
    runner = GraphRunner(graph)
    texts: list[str] = []
    outcomes: Counter[str] = Counter()

    def note(message: object) -> None:
        if isinstance(message, TranslationMessage):
            assert message.frame.final, "headless, nothing is told before its time"
            texts.append(message.frame.text or f"[{message.frame.rejected}]")
        elif isinstance(message, SpeculationMessage):
            outcomes[message.outcome] += 1

    runner.bus.subscribe(note)
    result = await runner.run()
    assert result.ok, result.error or result.errors
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in output.iterdir()}  # noqa: ASYNC240
    return texts, outcomes, files


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "hesitant.wav", hesitant(BUS, NAME, pause_ms=450), RATE)
    return tmp_path / "hesitant.wav"


async def test_speculation_changes_no_byte_of_any_file(recording: Path, tmp_path: Path) -> None:
    patient = {"vad.hangover_ms": 800}
    texts, none, files = await dubbed(recording, tmp_path / "plain", **patient)
    assert texts == ["Автобус отправляется в пять часов.", "Меня зовут Катя, я из Франции."]
    assert not none
    asked = {**patient, "vad.pauses": True, "vad.pause_ms": 150}
    for chunk_ms in (10, 37, 100):
        again = await dubbed(recording, tmp_path / str(chunk_ms), **{"in.chunk_ms": chunk_ms}, **asked)
        assert (again[0], again[2]) == (texts, files)
        assert again[1]["hit"] == 2
        assert again[1]["miss"] >= 2, "each sentence has a pause in it"


async def test_a_sentence_that_was_cut_in_two_is_said_to_its_end_and_nothing_twice(
    recording: Path, tmp_path: Path
) -> None:
    hasty = {"vad.hangover_ms": 300}
    texts, _, _ = await dubbed(recording, tmp_path / "cut", **hasty)
    assert texts[2:] == ["Меня зовут Катя.", "[not in the phrasebook]"]
    texts, _, files = await dubbed(recording, tmp_path / "whole", **hasty, **{"ast.continue_ms": 500})
    assert texts == [
        "[not in the phrasebook]",
        "Автобус отправляется в пять часов.",
        "Меня зовут Катя.",
        "я из Франции.",
    ]
    asked = {**hasty, "ast.continue_ms": 500, "vad.pauses": True, "vad.pause_ms": 150}
    for chunk_ms in (20, 37):
        again = await dubbed(recording, tmp_path / str(chunk_ms), **{"in.chunk_ms": chunk_ms}, **asked)
        assert (again[0], again[2]) == (texts, files)
        assert again[1]["hit"] == 4


async def test_a_live_listener_hears_a_sentence_once_although_its_speaker_pauses_in_the_middle(
    root: Path, tmp_path: Path
) -> None:
    from scipy.signal import resample_poly

    text = (root / "config" / "phrasebook-live.yaml").read_text()
    vad = next(line for line in text.splitlines() if line.startswith("  vad:"))
    patient = "  vad:    {type: silero_vad, hangover_ms: 800, pauses: true, pause_ms: 150}"
    (tmp_path / "patient.yaml").write_text(text.replace(vad, patient))
    said = np.asarray(resample_poly(hesitant(NAME, pause_ms=450), 3, 1), np.float32)
    async with server(tmp_path, warm=True) as client:
        peer = await client.call(said, "patient", params={"source_lang": "en", "target_lang": "ru"})
        final = await peer.until("caption", lambda m: m["final"])
        heard = await peer.until("timeline", lambda m: m["heard_ms"] is not None)
        await asyncio.sleep(4)  # whatever else there might be to say
        metrics = (await client.http.get("/metrics")).text
        answer = await client.http.get(f"{peer.url}/dub.wav")
        dub, rate_hz = soundfile.read(io.BytesIO(answer.content))
        await peer.close()
    assert final["text"] == "Меня зовут Катя, я из Франции."
    assert heard["utterance"] == final["utterance"]
    captions = [m for m in peer.told if m["type"] == "caption"]
    assert [m["text"] for m in captions if m["final"]] == [final["text"]]
    assert len([m for m in peer.told if m["type"] == "timeline" and m["heard_ms"] is not None]) == 1
    # One sentence of some two seconds; twice, or half of it before, would be more.
    sounding = np.abs(dub) > 0.01
    assert 1.0 < np.ptp(np.flatnonzero(sounding)) / rate_hz < 4.0
    counts = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line[0] != "#"}

    def count(element: str, outcome: str) -> float:
        labels = f'element="{element}",graph="patient",outcome="{outcome}"'
        return counts[f"tolmach_speculations_total{{{labels}}}"]

    assert count("ast", "hit") == 1
    assert count("ast", "miss") >= 1
