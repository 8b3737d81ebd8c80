"""From the end of a sentence to the first sound of its translation, in Chrome, with graph ``phrasebook-live``.

The ten sentences of config/demo/phrasebook-en.flac, with pauses in which each translation is heard out, so that none
waits for the one before. What the server says of its parts (``timeline`` messages) stands beside what Chrome heard:
both ends are taken from the recording of microphone and remote track, which have one clock.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import correlate, resample_poly

from tests.bench.live.chrome import RATE_HZ, Recording, call, write_wav
from tests.bench.live.latency import ANALYSIS_HZ
from tests.bench.live.machine import noise_noted
from tests.bench.live.servers import ROOT, serve
from tolmach.pipelines.frames import Samples

DEMO = ROOT / "config" / "demo" / "phrasebook-en.flac"
GRAPH = "phrasebook-live"
PARAMS = {"source_lang": "en", "target_lang": "ru"}
LOAD_WITHIN_S = 180.0
GOAL_MS = (400, 550)
"""First sound in Chrome after the end of a complete sentence: the middle one, and 19 of 20."""
ROUNDS = 3
LEAD_S, PAUSE_S = 3.0, 4.5
_AUDIBLE = 10 ** (-50 / 20)
"""RMS of 10 ms above which something sounds; speech has about -20 dB, the pauses of recording and call are silent."""


@dataclass(frozen=True)
class Answer:
    """One sentence and its translation; ms.

    Attributes:
        vad_ms: From the end of the speech as the detector places it to its decision, by the server's clock: the silence
            that was waited for, and what audio takes to the detector.
        ast_ms: From the decision to the text.
        tts_ms: From the text to the first audio.
        server_ms: From the end as the detector places it to the first packet of sound, by the server's clock.
        heard_ms: From the end of the sentence in Chrome's microphone, as the reference of the recording gives it, to
            the first audible moment of the remote track.
        audible_ms: The same from the last audible moment of the sentence.
        cut_by: What found that it was the end.
    """

    vad_ms: float
    ast_ms: float
    tts_ms: float
    server_ms: float
    heard_ms: float
    audible_ms: float
    cut_by: str

    @property
    def rest_ms(self) -> float:
        """What was not detector, recogniser or voice."""
        return self.heard_ms - self.vad_ms - self.ast_ms - self.tts_ms

    @property
    def server_rest_ms(self) -> float:
        """The part of it by the server's clock: the sender."""
        return self.server_ms - self.vad_ms - self.ast_ms - self.tts_ms


def sentences() -> list[Samples]:
    """The recording cut into its sentences, float32[n], 48 kHz."""
    recording, rate_hz = soundfile.read(DEMO, dtype="float32")
    spans = json.loads(DEMO.with_suffix(".json").read_text("utf-8"))
    at_48k = np.asarray(resample_poly(recording, RATE_HZ // rate_hz, 1), np.float32)
    return [at_48k[round(s["start_s"] * RATE_HZ) : round(s["end_s"] * RATE_HZ)] for s in spans]


def microphone(spoken: Sequence[Samples]) -> Samples:
    """All sentences with pauses."""
    parts = [np.zeros(round(LEAD_S * RATE_HZ), np.float32)]
    for sentence in spoken:
        parts += [sentence, np.zeros(round(PAUSE_S * RATE_HZ), np.float32)]
    return np.concatenate(parts)


def _audible(samples: Samples, rate_hz: int) -> np.ndarray:
    """Whether each 10 ms sounds."""
    size = rate_hz // 100
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    return np.sqrt(np.mean(frames**2, axis=1)) > _AUDIBLE


def answers(recording: Recording, spoken: Sequence[Samples]) -> list[Answer]:
    """What became of each sentence.

    Raises:
        RuntimeError: If one was not translated, or its translation was not heard before the next sentence.
    """
    said, heard = (
        np.asarray(resample_poly(x, 1, RATE_HZ // ANALYSIS_HZ), np.float32) for x in (recording.said, recording.heard)
    )
    timelines: dict[int, Mapping[str, Any]] = {}
    for message in recording.messages:
        if message["type"] == "timeline":
            timelines[message["utterance"]] = message  # the last one is complete
    if len(timelines) != len(spoken):
        raise RuntimeError(f"{len(spoken)} sentences were said, {len(timelines)} utterances told of")
    result = []
    for sentence, (_, told) in zip(spoken, sorted(timelines.items()), strict=True):
        wanted = np.asarray(resample_poly(sentence, 1, RATE_HZ // ANALYSIS_HZ), np.float32)
        end = int(np.argmax(correlate(said, wanted, mode="valid", method="fft"))) + len(wanted)
        quiet_ms = 1000 * len(sentence) / RATE_HZ - 10 * (np.flatnonzero(_audible(sentence, RATE_HZ))[-1] + 1)
        sounds = np.flatnonzero(_audible(heard[end : end + round(PAUSE_S * ANALYSIS_HZ)], ANALYSIS_HZ))
        if not len(sounds) or told["heard_ms"] is None:
            raise RuntimeError(f"a translation was not heard: {told}")
        result.append(
            Answer(
                vad_ms=told["vad_ms"],
                ast_ms=told["ast_ms"] - told["vad_ms"],
                tts_ms=told["tts_ms"] - told["ast_ms"],
                server_ms=told["heard_ms"],
                heard_ms=(heard_ms := 10.0 * sounds[0]),
                audible_ms=heard_ms + quiet_ms,
                cut_by=str(told["cut_by"]),
            )
        )
    return result


async def measure() -> list[Answer]:
    """All sentences, some times."""
    spoken = sentences()
    signal = microphone(spoken)
    found: list[Answer] = []
    with tempfile.TemporaryDirectory(prefix="tolmach-bench-") as folder, serve("tolmach") as server:
        wav = write_wav(Path(folder) / "sentences.wav", signal)
        async with call(server, wav, "tolmach", GRAPH, PARAMS) as c:  # loads what is not loaded yet
            await c.told(LOAD_WITHIN_S, type="graph", state="current")
        for _ in range(ROUNDS):
            async with call(server, wav, "tolmach", GRAPH, PARAMS) as c:
                await asyncio.sleep(len(signal) / RATE_HZ + 1)
                recording = await c.end()
            found += answers(recording, spoken)
    return found


def print_table(found: Sequence[Answer]) -> None:
    rows = {
        "the detector's decision": [a.vad_ms for a in found],
        "text after it (begun in the pause)": [a.ast_ms for a in found],
        "first audio of the voice after it": [a.tts_ms for a in found],
        "the rest: network, jitter buffers, sender": [a.rest_ms for a in found],
        "of it by the server's clock": [a.server_rest_ms for a in found],
        f"**first sound in Chrome** (goal: {GOAL_MS[0]} ms, p95 {GOAL_MS[1]} ms)": [a.heard_ms for a in found],
        "the same from the last audible moment (-50 dB)": [a.audible_ms for a in found],
        "first packet of sound, as the server tells it": [a.server_ms for a in found],
    }
    print("| from the end of a sentence | p50 | p95 | highest |")
    print("|---|---:|---:|---:|")
    for name, ms in rows.items():
        print(f"| {name} | {np.median(ms):.0f} ms | {np.percentile(ms, 95):.0f} ms | {max(ms):.0f} ms |")
    cuts = Counter(a.cut_by for a in found)
    print(f"\n{len(found)} sentences; ended by: " + ", ".join(f"{by} {n}" for by, n in cuts.most_common()) + ".")


def main() -> None:
    print(f"## From the end of a sentence to the first sound of its translation (`{GRAPH}`)\n")
    with noise_noted():
        print_table(asyncio.run(measure()))


if __name__ == "__main__":
    main()
