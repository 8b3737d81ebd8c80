"""Recordings that went wrong for other people come out right.

The recordings lie beside the checkout (``../shared/faults``, its README says what is right); where they are missing,
the tests that need them are skipped, and those that make their own go on.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import av
import numpy as np
import pytest

from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT.parent / "shared" / "faults"
CLIPS = ROOT / "config" / "demo" / "clips"

pytestmark = pytest.mark.models


@pytest.fixture
def faults() -> Path:
    if not FAULTS.is_dir():
        pytest.skip("the recordings are not here (../shared/faults)")
    return FAULTS


def cues(path: Path) -> list[tuple[float, float, str]]:
    """Start and end of each cue of a SubRip file, s, and its text."""

    def seconds(clock: str) -> float:
        hours, minutes, rest = clock.replace(",", ".").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)

    found = re.findall(r"(\S+) --> (\S+)\n(.+?)\n\n", path.read_text(encoding="utf-8"), re.DOTALL)
    return [(seconds(start), seconds(end), text) for start, end, text in found]


TWO_SPEAKERS = """
version: 1
params: {input: , output: }
elements:
  inL:  {type: file_src, path: "${param:input}", channel: 0}
  inR:  {type: file_src, path: "${param:input}", channel: 1}
  rsL:  {type: resample, rate_hz: 16000, channels: 1}
  rsR:  {type: resample, rate_hz: 16000, channels: 1}
  vadL: {type: silero_vad}
  vadR: {type: silero_vad}
  astL: {type: canary_ast, model: embedded:phrasebook, source_lang: en, target_lang: ru}
  astR: {type: canary_ast, model: embedded:phrasebook, source_lang: en, target_lang: ru}
  both: {type: funnel}
  fork: {type: tee}
  srt:  {type: subtitle_sink, path: "${param:output}/s.srt"}
  events: {type: jsonl_sink, path: "${param:output}/events.jsonl"}
links:
  - inL -> rsL -> vadL -> astL -> both
  - inR -> rsR -> vadR -> astR -> both
  - both -> fork -> srt
  - fork -> events
"""


def clip(name: str) -> np.ndarray:
    """A demonstration clip, float32[n], 16 kHz mono."""
    with av.open(str(CLIPS / f"{name}.flac")) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
        blocks = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(blocks).astype(np.float32)


def write_call(path: Path) -> list[float]:
    """A call in stereo: mostly the left one speaks, late the right one, once both at a time. Returns the starts, s."""
    turns = [(0, 1.0, "en-00"), (0, 5.0, "en-05"), (0, 10.0, "en-08"), (1, 15.0, "en-09"), (0, 19.0, "en-12")]
    turns.append((1, 19.5, "en-00"))
    sound = np.zeros((25 * 16000, 2), np.float32)
    for channel, at_s, name in turns:
        samples = clip(name)
        sound[round(at_s * 16000) :][: len(samples), channel] = samples
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=16000, layout="stereo")
        packed = np.ascontiguousarray((sound * 32767).astype(np.int16).reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return [at_s for _, at_s, _ in turns]


async def run_call(text: str, recording: Path, output: Path, chunk_ms: int, batch: int = 1) -> dict[str, bytes]:
    graph = load_graph(
        "call.yaml",
        text=text,
        params={"input": str(recording), "output": str(output)},
        overrides={
            "inL.chunk_ms": chunk_ms,
            "inR.chunk_ms": 57 - chunk_ms,
            "astL.batch_utterances": batch,
            "astR.batch_utterances": 1,
        },
        require_params=True,
    )
    result = await GraphRunner(graph).run()
    assert result.ok, result.error or result.errors
    return await asyncio.to_thread(lambda: {p.name: p.read_bytes() for p in sorted(output.iterdir())})


async def test_two_speakers_come_out_as_they_spoke(tmp_path: Path) -> None:
    starts = write_call(tmp_path / "call.flac")
    first = await run_call(TWO_SPEAKERS, tmp_path / "call.flac", tmp_path / "a", 20)
    again = await run_call(TWO_SPEAKERS, tmp_path / "call.flac", tmp_path / "b", 37, batch=4)
    assert first == again
    found = cues(tmp_path / "a" / "s.srt")
    assert [start for start, _, _ in found] == pytest.approx(starts, abs=0.6)
    assert all(end - start >= 0.8 for start, end, _ in found)
    numbers = [int(n) for n in re.findall(r'"utterance": ?(\d+)', (tmp_path / "a" / "events.jsonl").read_text())]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, len(starts) + 1))


async def test_a_call_of_two_speakers(faults: Path, tmp_path: Path) -> None:
    text = (faults / "5-two-speakers.yaml").read_text()
    first = await run_call(text, faults / "5-two-speakers.flac", tmp_path / "a", 20)
    assert first == await run_call(text, faults / "5-two-speakers.flac", tmp_path / "b", 37)
    found = cues(tmp_path / "a" / "s.srt")
    right = [1.25 + 4 * n for n in range(22)] + [95.2, 120.25, 130.2, 140.25, 150.25]
    assert [start for start, _, _ in found] == pytest.approx(right, abs=0.5)
    assert all(end - start >= 0.8 for start, end, _ in found)
