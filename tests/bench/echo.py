"""Talking while it talks: sentences over translations that come back through loudspeakers, by canceller.

A person says the sentences of config/demo/clips, each of them over two sentences of ours that are played meanwhile and
come back through a simulated room (see :mod:`tests.unit.loudspeakers`). What is left of the microphone goes through the
detector and the engine of config/phrasebook-live.yaml. Counted are the person's sentences that were translated right,
and those of ours that were translated at all.

ERLE is by how much the canceller takes the echo down in the second half, while nobody else speaks; AECMOS is
Microsoft's judge of echo cancellers (PyPI `speechmos`, its models are in the wheel), 1 to 5: what is heard of the echo,
and what has become of the talker. What is not installed is left out: `speechmos`, `pyaec` (Speex), `livekit` (the
canceller of Chrome, AEC3). Nothing here is timed but the cost.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import resample_poly

from tests.bench.accuracy import ROOT
from tests.unit.loudspeakers import call, clip, decoded, echo, fitted, gain, microphone, packets
from tolmach.pipelines.bus import Message, TranslationMessage
from tolmach.pipelines.frames import Samples, TranslationFrame
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.transports.webrtc.echo.gate import PlaybackGate
from tolmach.transports.webrtc.opus import FRAME_SAMPLES, RTP_RATE_HZ

CLIPS = ROOT / "config" / "demo" / "clips"
ENGINE_HZ = 16_000
TURN_S = 6.5
"""From one sentence of the person to the next: the detector has seen the end of the one before."""
AFTER_S = 0.6
"""How long ours has been playing when the person begins."""
GRAPH = """
version: 1
name: overlap
elements:
  in: {{type: file_src, path: "{recording}"}}
  to_16k: {{type: resample, rate_hz: 16000, channels: 1}}
  vad: {{type: silero_vad, hangover_ms: 700, pause_ms: 150, translation: true}}
  ast:
    type: canary_ast
    model: embedded:phrasebook
    source_lang: auto
    target_lang: auto
    languages: [en, ru]
    continue_ms: 500
  out: {{type: jsonl_sink, path: "{events}"}}
links:
  - in -> to_16k -> vad -> ast -> out
"""


@dataclass(frozen=True)
class Scene:
    """Two people and a room; levels are dB over what was played."""

    name: str
    echo_db: float | None
    delay_ms: float = 180
    rt60_s: float = 0.35
    direct_db: float | None = 0
    person_db: float = 0


SCENES = (
    Scene("no echo", None),
    Scene("faint echo, -30 dB", -30),
    Scene("moderate echo, -18 dB", -18),
    Scene("moderate echo, -12 dB", -12),
    Scene("loud echo, -6 dB", -6, rt60_s=0.2, direct_db=5, delay_ms=80),
    Scene("echo as loud as the person, 0 dB", 0),
    Scene("moderate echo, quiet person", -12, person_db=-8),
)


def rows(lang: str) -> list[dict[str, Any]]:
    """The clips in a language."""
    lines = (CLIPS / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for line in lines if (row := json.loads(line))["source_lang"] == lang]


@dataclass(frozen=True)
class Conversation:
    """What is played and what is said, 48 kHz, and the texts to be had of what is said, and of what is played."""

    played: Samples
    said: Samples
    wanted: list[str]
    ours: list[str]


def conversation(turns: int, person_lang: str = "en") -> Conversation:
    """Each sentence of the person begins while two of ours, in the other language, are played."""
    other = {"en": "ru", "ru": "en"}[person_lang]
    theirs, ours = rows(person_lang)[:turns], rows(other)
    size = round((1 + TURN_S * turns) * RTP_RATE_HZ) // FRAME_SAMPLES * FRAME_SAMPLES
    played, said = np.zeros(size, np.float32), np.zeros(size, np.float32)
    texts = []
    for turn, row in enumerate(theirs):
        at = round((0.5 + TURN_S * turn) * RTP_RATE_HZ)
        for number in (2 * turn, 2 * turn + 1):
            mine = ours[number % len(ours)]
            samples = clip(mine["file"].removesuffix(".flac"))
            played[at : at + len(samples)] += samples[: len(played) - at]
            at += len(samples)
            texts.append(mine[person_lang])
        begin = round((0.5 + AFTER_S + TURN_S * turn) * RTP_RATE_HZ)
        samples = clip(row["file"].removesuffix(".flac"))
        said[begin : begin + len(samples)] = samples
    return Conversation(np.clip(played, -1, 1), said, [row[other] for row in theirs], texts)


# Cancellers -----------------------------------------------------------------------------------------------------------

Canceller = Callable[[Samples, Samples], Samples]
"""What was played (as we know it) and the microphone, 48 kHz, to what is left."""


def nothing(_: Samples, heard: Samples) -> Samples:
    return heard


def ours(played: Samples, heard: Samples, *, cancel: bool) -> Samples:
    return fitted(call(PlaybackGate(cancel=cancel), played, heard), len(heard))


def speex(played: Samples, heard: Samples) -> Samples:
    """Speex's echo canceller and preprocessor; it is told neither delay nor gaps, so it has a tail of half a second."""
    aec = importlib.import_module("pyaec").Aec(320, 8192, ENGINE_HZ, True)
    far, near = (_int16(resample_poly(samples, 1, 3)) for samples in (decoded(packets(played)), heard))
    out = [aec.cancel_echo(near[a : a + 320], far[a : a + 320]) for a in range(0, min(len(near), len(far)) - 319, 320)]
    narrow = np.concatenate(out).astype(np.float32) / 32768
    return fitted(resample_poly(narrow, 3, 1).astype(np.float32), len(heard))


def aec3(played: Samples, heard: Samples) -> Samples:
    """The canceller of WebRTC, and so of Chrome, without its noise suppression and gain control."""
    rtc = importlib.import_module("livekit.rtc")
    apm = rtc.AudioProcessingModule(echo_cancellation=True)
    far, near = _int16(decoded(packets(played))), _int16(heard)
    out = []
    for at in range(0, min(len(near), len(far)) - 479, 480):
        frames = [rtc.AudioFrame(bytearray(x[at : at + 480].tobytes()), RTP_RATE_HZ, 1, 480) for x in (far, near)]
        apm.process_reverse_stream(frames[0])
        apm.set_stream_delay_ms(0)
        apm.process_stream(frames[1])
        out.append(np.frombuffer(bytes(frames[1].data), np.int16))
    return fitted(np.concatenate(out).astype(np.float32) / 32768, len(heard))


def _int16(samples: Samples) -> Any:
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16)


def cancellers() -> Iterator[tuple[str, Canceller]]:
    """Those that can be had here."""
    yield "none", nothing
    yield "gate", partial(ours, cancel=False)
    yield "gate and filter", partial(ours, cancel=True)
    for name, module, canceller in (("Speex", "pyaec", speex), ("AEC3", "livekit.rtc", aec3)):
        try:
            importlib.import_module(module)
        except ImportError:
            print(f"({name} left out: no {module.split('.')[0]})")
        else:
            yield name, canceller


# Judges ---------------------------------------------------------------------------------------------------------------


async def texts_of(samples: Samples) -> list[str]:
    """What would be said of a microphone."""
    found: list[TranslationFrame] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "heard.wav", resample_poly(samples, 1, 3), ENGINE_HZ)
        graph = folder / "overlap.yaml"
        graph.write_text(GRAPH.format(recording=folder / "heard.wav", events=folder / "events.jsonl"))
        runner = GraphRunner(load_graph(graph))

        def take(message: Message) -> None:
            if isinstance(message, TranslationMessage) and message.frame.final:
                found.append(message.frame)

        runner.bus.subscribe(take)
        result = await runner.run()
        if not result.ok:
            raise RuntimeError(str(result.error or result.errors))
    return [frame.text for frame in found if frame.text and not frame.rejected]


def in_order(wanted: Sequence[str], found: Sequence[str]) -> int:
    """The length of their longest common subsequence."""
    best = [0] * (len(found) + 1)
    for text in wanted:
        before = 0
        for n, other in enumerate(found, 1):
            before, best[n] = best[n], before + 1 if text == other else max(best[n], best[n - 1])
    return best[-1]


def aecmos(played: Samples, heard: Samples, left: Samples, talk: str) -> tuple[float, float] | None:
    """Mean opinion scores of echo and of everything else, over pieces of 13 s; None without `speechmos`."""
    try:
        judge = importlib.import_module("speechmos.aecmos")
    except ImportError:
        return None
    narrow = [np.clip(resample_poly(x, 1, 3), -1, 1).astype(np.float32) for x in (played, heard, left)]
    size = round(2 * TURN_S * ENGINE_HZ)
    scores = []
    for at in range(len(narrow[0]) // 2, len(narrow[0]) - size + 1, size):
        far, near, out = (x[at : at + size] for x in narrow)
        scores.append(judge.run({"lpb": far, "mic": near, "enh": out}, ENGINE_HZ, talk))
    return tuple(float(np.mean([s[key] for s in scores])) for key in ("echo_mos", "deg_mos"))  # type: ignore[return-value]


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-10))


async def measure(scene: Scene, name: str, canceller: Canceller, talk: Conversation) -> list[str]:
    """A row of the table."""
    silent = np.zeros_like(talk.said)
    back = silent if scene.echo_db is None else _echo(scene, talk.played)
    person = gain(talk.said, scene.person_db)
    heard = microphone(back, person, noise_db=-60)
    started = time.process_time()
    left = canceller(talk.played, heard)
    cost_ms = 1000 * (time.process_time() - started) / (len(heard) / RTP_RATE_HZ)
    found = await texts_of(left)
    right = in_order(talk.wanted, found)
    own = sum(text in talk.ours for text in found)
    cells = [scene.name, name, f"{10 * right / len(talk.wanted):.1f}", str(own), str(len(found) - right - own)]
    alone = microphone(back, noise_db=-60)
    left_alone = canceller(talk.played, alone)
    half = len(alone) // 2
    heard_alone = await texts_of(left_alone)
    cells.append(str(len(heard_alone)))
    cells.append("–" if scene.echo_db is None else f"{level_db(alone[half:]) - level_db(left_alone[half:]):.0f}")
    single = aecmos(talk.played, alone, left_alone, "st") if scene.echo_db is not None else None
    double = aecmos(talk.played, heard, left, "dt")
    cells.append("–" if single is None else f"{single[0]:.1f}")
    cells.append("–" if double is None else f"{double[0]:.1f} / {double[1]:.1f}")
    cells.append(f"{cost_ms:.0f}")
    return cells


def _echo(scene: Scene, played: Samples) -> Samples:
    assert scene.echo_db is not None
    return echo(played, delay_ms=scene.delay_ms, level_db=scene.echo_db, rt60_s=scene.rt60_s, direct_db=scene.direct_db)


HEAD = (
    ("room", "---"),
    ("canceller", "---"),
    ("sentences right, of 10", "---:"),
    ("of ours translated", "---:"),
    ("other texts", "---:"),
    ("texts while nobody speaks", "---:"),
    ("ERLE, dB", "---:"),
    ("AECMOS echo, alone", "---:"),
    ("AECMOS echo / talker, both", "---:"),
    ("cost, ms a second", "---:"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=24, help="sentences of the person (%(default)s)")
    parser.add_argument("--lang", choices=("en", "ru"), default="en", help="that the person speaks")
    parser.add_argument("--only", nargs="*", help="cancellers, by name")
    parser.add_argument("--scenes", nargs="*", type=int, help="rooms, by number")
    args = parser.parse_args()
    talk = conversation(args.turns, args.lang)
    print("## Talking while it talks\n")
    for line in zip(*HEAD, strict=True):
        print(f"| {' | '.join(line)} |", flush=True)
    for number, scene in enumerate(SCENES):
        if args.scenes and number not in args.scenes:
            continue
        for name, canceller in cancellers():
            if not args.only or name in args.only:
                cells = asyncio.run(measure(scene, name, canceller, talk))
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
