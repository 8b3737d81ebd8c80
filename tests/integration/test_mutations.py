"""Damaged recordings of every container: each ends in whole outputs and a word on where it broke, or in one clear line.

A few hundred in every run, any number by hand: ``TOLMACH_MUTATIONS=5000 pytest tests/integration/test_mutations.py``.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.unit.test_file_src import signal, two_tracks, write
from tolmach.pipelines.bus import ErrorMessage, InfoMessage, Message, PositionMessage, WarningMessage
from tolmach.pipelines.errors import MediaError
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult
from tolmach.pipelines.testing import Harness
from tolmach.transports.files.specs import FILE_SRC

EACH = max(1, int(os.environ.get("TOLMACH_MUTATIONS", "320")) // 10)
SECONDS = 2.0

CONTAINERS: dict[str, tuple[str, int, int, str]] = {
    "talk.wav": ("pcm_s16le", 16000, 2, "s16"),
    "talk.mp3": ("libmp3lame", 44100, 2, "s16p"),
    "talk.ogg": ("libopus", 48000, 2, "s16"),
    "talk.opus": ("libopus", 48000, 1, "s16"),
    "talk.flac": ("flac", 44100, 2, "s16"),
    "talk.m4a": ("aac", 44100, 1, "fltp"),
    "talk.mkv": ("aac", 44100, 2, "fltp"),
    "talk.ts": ("aac", 48000, 2, "fltp"),
    "tracks.ts": ("", 0, 0, ""),
    "tracks.mkv": ("", 0, 0, ""),
}

GRAPH = """
version: 1
params: {input: , output: }
elements:
  in:     {type: file_src, path: "${param:input}"}
  to_16k: {type: resample, rate_hz: 16000, channels: 1}
  out:    {type: file_sink, path: "${param:output}"}
links: [in -> to_16k -> out]
"""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    for name, (codec, rate_hz, channels, encoder_format) in CONTAINERS.items():
        if codec:
            write(folder / name, codec, signal(rate_hz, channels, SECONDS), rate_hz, encoder_format=encoder_format)
        else:
            two_tracks(folder / name, "rus", "eng")
    return {name: (folder / name).read_bytes() for name in CONTAINERS}


def mutated(original: bytes, rng: np.random.Generator) -> bytes:
    """One to four injuries: bytes changed, cleared, lost, doubled or strange; half of the time near the start."""
    data = bytearray(original)
    for _ in range(rng.integers(1, 5)):
        reach = len(data) if rng.random() < 0.5 else min(len(data), 2000)
        at = int(rng.integers(0, max(1, reach)))
        length = int(min(len(data) - at, 2 ** rng.integers(0, 12)))
        kind = rng.integers(0, 7)
        if kind == 0:
            for place in rng.integers(0, max(1, reach), 8):
                data[place] = rng.integers(0, 256)
        elif kind == 1:
            data[at : at + length] = bytes(length)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            data[at:at] = rng.bytes(length)
        elif kind == 5:
            data[at : at + length] = b"\xff" * length
        else:
            del data[max(1, at) :]
        if len(data) < 4:
            return original[: len(original) // 2]
    return bytes(data)


def check(messages: list[Message], path: Path) -> None:
    for message in messages:
        assert isinstance(message, InfoMessage | WarningMessage | ErrorMessage), message
        assert "\n" not in message.text
        if isinstance(message, ErrorMessage):
            assert message.text.startswith(f"{path}: broken at ")
            assert message.data["at_ns"] >= 0
            assert not message.fatal


@pytest.mark.parametrize("name", CONTAINERS)
async def test_damaged_recordings(
    originals: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    refused = said = whole = 0
    for seed in range(EACH):
        rng = np.random.default_rng([seed, *name.encode()])
        path = tmp_path / f"{seed}-{name}"
        path.write_bytes(mutated(originals[name], rng))
        settings: dict[str, Any] = {"channel": "mix"} if rng.random() < 0.5 else {}
        harness = Harness(FILE_SRC, path=str(path), languages_behind=("en",), **settings)
        refusal = await run(harness)
        if refusal is not None:
            assert refusal.startswith(f"{path}: ")
            assert "\n" not in refusal
            refused += 1
        else:
            check([m for m in harness.messages if not isinstance(m, PositionMessage)], path)
            audio = harness.audio()
            assert np.isfinite(audio).all()
            assert len(audio) < 120 * 48000, "a broken timestamp filled the stream with silence"
            told = any(isinstance(m, ErrorMessage) for m in harness.messages)
            said, whole = said + told, whole + (not told)
        path.unlink()
    gc.collect()
    assert capfd.readouterr() == ("", ""), "libav or PyAV wrote on the terminal"
    assert said + whole, "every mutation was refused: nothing was tested"


@pytest.mark.parametrize("name", CONTAINERS)
async def test_the_outputs_of_a_damaged_recording_are_whole(
    originals: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    for seed in range(max(1, EACH // 10)):
        path, output = tmp_path / f"{seed}-{name}", tmp_path / f"{seed}.wav"
        path.write_bytes(mutated(originals[name], np.random.default_rng([seed, 7, *name.encode()])))
        graph = load_graph(tmp_path / "graph.yaml", params={"input": str(path), "output": str(output)})
        result = await run_graph(GraphRunner(graph))
        if result is None:
            assert not output.exists()
            continue
        assert result.status == "done", result.error
        check(list(result.errors), path)
        assert soundfile.info(output).duration == pytest.approx(result.media_ns / 1e9 or 0.02, abs=0.001)


async def run(harness: Harness) -> str | None:
    """Read a recording; returns why it was refused, or None."""
    try:
        async with harness:
            await harness.run()
    except MediaError as error:
        return str(error)
    return None


async def run_graph(runner: GraphRunner) -> RunResult | None:
    """None when the recording was refused."""
    try:
        return await runner.run()
    except MediaError:
        return None
