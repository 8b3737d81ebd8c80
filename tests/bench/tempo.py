"""What a recogniser understands of speech at another tempo: our WSOLA beside libraries that happen to be installed.

Sentences of the phrasebook, spoken by espeak-ng in English and heard by Whisper base; word errors and the time that a
second of audio takes. ``pip install audiotsm pytsmod pedalboard`` into some environment brings the others.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import time
from collections.abc import Callable, Mapping

import numpy as np
from scipy.signal import resample_poly

from tests.bench.whisper_quality import word_errors
from tolmach.pipelines.frames import Samples
from tolmach.pipelines.tempo import change_tempo
from tolmach.processors.espeak.element import Request, speak
from tolmach.processors.phrasebook.recipe.sentences import build

RATE_HZ = 22050
JUDGE_HZ = 16000
TEMPOS = (1.0, 1.15, 1.3, 1.5, 1.8)

Change = Callable[[Samples, float], Samples]


def changers() -> Mapping[str, Change]:
    """By name, what makes float32[n] faster."""
    found: dict[str, Change] = {"own WSOLA": lambda samples, tempo: change_tempo(samples, RATE_HZ, tempo)}
    if importlib.util.find_spec("audiotsm"):
        from audiotsm import wsola
        from audiotsm.io.array import ArrayReader, ArrayWriter

        def tsm(samples: Samples, tempo: float) -> Samples:
            writer = ArrayWriter(1)
            wsola(1, speed=tempo).run(ArrayReader(samples[None]), writer)
            return np.asarray(writer.data[0], np.float32)

        found["audiotsm (WSOLA)"] = tsm
    if importlib.util.find_spec("pytsmod"):
        import pytsmod

        found["pytsmod (WSOLA)"] = lambda samples, tempo: np.asarray(pytsmod.wsola(samples, 1 / tempo), np.float32)
        found["pytsmod (phase vocoder)"] = lambda samples, tempo: np.asarray(
            pytsmod.phase_vocoder(samples, 1 / tempo), np.float32
        )
    if importlib.util.find_spec("pedalboard"):
        import pedalboard

        found["Rubber Band (pedalboard)"] = lambda samples, tempo: pedalboard.time_stretch(
            samples[None], RATE_HZ, stretch_factor=tempo
        )[0]
    return found


async def spoken(count: int) -> list[tuple[str, Samples]]:
    """Sentences and how they sound."""
    rng = random.Random(4)
    texts = [" ".join(s.en for s in rng.sample(build(), 3)) for _ in range(count)]
    return [(text, np.concatenate([block async for block in speak(Request(text, "en-us"))])) for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tempo", description=__doc__)
    parser.add_argument("--texts", type=int, default=20, help="of three sentences each")
    args = parser.parse_args()
    from faster_whisper import WhisperModel

    from tolmach.processors.whisper.weights import joined_model

    judge = WhisperModel(str(joined_model()), device="cpu", compute_type="int8")
    said = asyncio.run(spoken(args.texts))
    print("## Speech at another tempo (words that Whisper base misheard, of espeak-ng's English)\n")
    print(f"| | {' | '.join(f'{tempo:g}' for tempo in TEMPOS)} | real-time factor |")
    print(f"|---|{'---:|' * (len(TEMPOS) + 1)}")
    for name, change in changers().items():
        cells, took_s, audio_s = [], 0.0, 0.0
        for tempo in TEMPOS:
            wrong = words = 0
            for text, samples in said:
                begun_s = time.perf_counter()
                heard = change(samples, tempo)
                took_s += time.perf_counter() - begun_s
                audio_s += len(samples) / RATE_HZ
                audio = resample_poly(heard, 320, 441).astype(np.float32)
                segments, _ = judge.transcribe(audio, language="en", vad_filter=True)
                errors, count = word_errors(text, " ".join(segment.text for segment in segments))
                wrong, words = wrong + errors, words + count
            cells.append(f"{100 * wrong / words:.1f} %")
        print(f"| {name} | {' | '.join(cells)} | {took_s / audio_s:.4f} |", flush=True)


if __name__ == "__main__":
    main()
