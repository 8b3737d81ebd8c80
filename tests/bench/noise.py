"""Ten minutes of noise and music through the shipped graphs, and straight into their engines: characters made up.

The graphs have a detector in front, which should let nothing through. Without it each piece of noise is an utterance,
and what keeps the engine silent is its guards: so it is with other detectors, and with a door that sounds like a word.

The sounds are the recordings of ../shared/speech/noise (bird song, music, an almost silent room) where they lie beside
the checkout, played at several speeds and levels, and noises that are made here: white and pink, hum of the mains,
clicks, beeps, footsteps, wind, a chord, digital silence. Nothing of it is speech, so every character is one too many.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.bench.accuracy import ROOT
from tolmach.pipelines.bus import Message, TranslationMessage
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, TranslationFrame, UtteranceEnd, UtteranceStart, samples_to_ns
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.testing import Harness
from tolmach.processors.canary.spec import SPEC as CANARY
from tolmach.processors.whisper.spec import SPEC as WHISPER

RATE_HZ = 16000
Sound = npt.NDArray[np.float32]


def _made(chance: np.random.Generator, seconds: float = 12.0) -> Iterator[tuple[str, Sound]]:
    count = int(seconds * RATE_HZ)
    t = np.arange(count) / RATE_HZ
    white = chance.standard_normal(count)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), count)
    red = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1), count)
    gusts = 0.5 + 0.5 * np.sin(2 * np.pi * 0.3 * t + chance.uniform(0, 6))
    hits = np.zeros(count)
    hits[chance.integers(0, count, 40)] = 1
    steps = np.convolve(hits, np.exp(-np.arange(3200) / 600) * chance.standard_normal(3200))[:count]
    chord = sum(np.sin(2 * np.pi * f * t) / n for f in (220.0, 277.2, 329.6) for n in (1, 2, 3))
    yield "white", white
    yield "pink", pink
    yield "wind", red * gusts
    yield "hum", sum(np.sin(2 * np.pi * 50 * n * t) / n for n in (1, 2, 3, 5))
    yield "clicks", np.convolve(hits, [1, -0.6, 0.3])[:count]
    yield "footsteps", steps
    yield "beeps", np.sin(2 * np.pi * 1000 * t) * (np.sin(2 * np.pi * t) > 0.6)
    yield "siren", np.sin(2 * np.pi * 500 * t + 200 * np.sin(2 * np.pi * 0.4 * t))
    yield "chord", chord * np.exp(-((t * 2) % 1) * 3)
    yield "silence", np.zeros(count)


def sounds(minutes: float, seed: int = 0) -> Iterator[tuple[str, Sound]]:
    """Noises, each at most 40 s and none like another one, with their names, as long as told altogether."""
    import soundfile

    chance = np.random.default_rng(seed)
    left = int(minutes * 60 * RATE_HZ)
    folder = ROOT.parent / "shared" / "speech" / "noise"
    real = []
    for path in sorted(folder.glob("*.*")) if folder.is_dir() else ():
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        real.append((path.name, samples.mean(axis=1), rate))
    while left > 0:
        batch = list(_made(chance))
        for name, samples, rate in real:
            at = int(chance.integers(0, max(1, len(samples) - 40 * rate)))
            step = rate / RATE_HZ * chance.choice([0.8, 1.0, 1.25])
            places = np.arange(at, min(len(samples), at + 40 * rate) - 1, step)
            batch.append((name, np.interp(places, np.arange(len(samples)), samples)))
        for name, sound in batch:
            peak = float(np.abs(sound).max()) or 1.0
            keeps = name.endswith("silent.wav")  # louder it would be another sound
            scaled = (sound if keeps else sound / peak * 10 ** (chance.uniform(-30, -1) / 20)).astype(np.float32)
            yield name, scaled[:left]
            left -= len(scaled[:left])
            if left <= 0:
                return


def write(path: Path, minutes: float, seed: int = 0) -> list[tuple[float, str]]:
    """All of them in one file; returns where each begins, s."""
    import soundfile

    places, at = [], 0
    with soundfile.SoundFile(path, "w", RATE_HZ, 1) as file:
        for name, sound in sounds(minutes, seed):
            places.append((at / RATE_HZ, name))
            file.write(sound)
            at += len(sound)
    return places


async def through_graph(graph: str, recording: Path, output: Path, **params: str) -> list[TranslationFrame]:
    """What a shipped graph says of a recording."""
    found: list[TranslationFrame] = []
    given = {"input": str(recording), "output": str(output), **params}
    runner = GraphRunner(load_graph(ROOT / "config" / f"{graph}.yaml", params=given, require_params=True))

    def take(message: Message) -> None:
        if isinstance(message, TranslationMessage) and message.frame.final:
            found.append(message.frame)

    runner.bus.subscribe(take)
    result = await runner.run()
    if not result.ok:
        raise RuntimeError(str(result.error or result.errors))
    return found


async def into_engine(spec: ElementSpec, recording: Path, seed: int, **settings: object) -> list[TranslationFrame]:
    """What an engine says of a recording that is cut without looking, into utterances of 0.5 to 8 s."""
    import soundfile

    samples = soundfile.read(recording, dtype="float32")[0]
    chance = np.random.default_rng(seed)
    at = number = 0
    async with Harness(spec, **settings) as harness:
        while at < len(samples):
            piece = samples[at : at + int(chance.uniform(0.5, 8) * RATE_HZ)]
            start_ns, end_ns = samples_to_ns(at, RATE_HZ), samples_to_ns(at + len(piece), RATE_HZ)
            await harness.push(
                UtteranceStart(number, start_ns),
                AudioFrame(piece[:, None], RATE_HZ, start_ns, utterance=number),
                UtteranceEnd(number, start_ns, end_ns),
            )
            at, number = at + len(piece), number + 1
        await harness.eos()
        return [frame for frame in harness.output() if isinstance(frame, TranslationFrame)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every utterance")
    parser.add_argument("--engine", choices=("whisper", "phrasebook"), help="one of the two alone")
    args = parser.parse_args()
    print(f"## {args.minutes:g} minutes of noise and music\n")
    print("| engine | in front of it | utterances | characters | rejected |")
    print("|---|---|---:|---:|---|")
    engines: dict[str, tuple[ElementSpec, str]] = {
        "whisper": (WHISPER, "package:base"),
        "phrasebook": (CANARY, "embedded:phrasebook"),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / "noise.flac"
        places = write(recording, args.minutes, args.seed)
        for engine, source, target in (
            ("whisper", "ru", "en"),
            ("whisper", "en", "en"),
            ("phrasebook", "en", "ru"),
            ("phrasebook", "ru", "en"),
        ):
            if args.engine not in (None, engine):
                continue
            spec, model = engines[engine]
            params = {"source_lang": source} | ({"target_lang": target} if engine == "phrasebook" else {})
            direct = into_engine(spec, recording, args.seed, model=model, source_lang=source, target_lang=target)
            ways = {"nothing": direct}
            if source != target:
                output = folder / f"{engine}-{source}"
                ways = {"silero_vad": through_graph(engine, recording, output, **params)} | ways
            for way, task in ways.items():
                frames = asyncio.run(task)
                reasons = Counter(frame.rejected or "passed" for frame in frames)
                said = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
                made_up = sum(len(frame.text) for frame in frames)
                print(f"| {engine}, {source} → {target} | {way} | {len(frames)} | {made_up} | {said} |", flush=True)
                for frame in frames:
                    if frame.text or args.verbose:
                        at_s = frame.pts_ns / NS_PER_S
                        sound = [name for start, name in places if start <= at_s][-1]
                        length_s = (frame.end_ns - frame.pts_ns) / NS_PER_S
                        where = f"{at_s:.1f} s, {length_s:.1f} s of {sound}"
                        print(f"  - {where}: {frame.text!r} {frame.rejected} {frame.logprob}")


if __name__ == "__main__":
    main()
