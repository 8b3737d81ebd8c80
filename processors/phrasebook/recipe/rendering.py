"""Renders training samples: the audio of a plan, and what the model should answer to it."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from . import augment
from .library import ClipLibrary
from .sampling import Plan, generator
from .voices import SAMPLE_RATE_HZ, Audio


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing to decode from a sample: prompt languages, and the text that should come (possibly none)."""

    source: str
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A rendered sample.

    Attributes:
        audio: float32[n], 16 kHz mono, [-1, 1].
        answers: Two things to decode.
        transcript: What the CTC head should read; None to leave it out.
        language: Spoken language, empty if it is neither.
    """

    audio: Audio
    answers: tuple[Answer, ...]
    transcript: str | None
    language: str


def render(library: ClipLibrary, plan: Plan, strength: float) -> Sample:
    """Makes the audio and the answers of a plan.

    Args:
        library: Where the clips are.
        plan: What to make.
        strength: Augmentation strength, 0 to 1.

    Returns:
        The sample; the same arguments give the same one.
    """
    rng = generator(plan.seed, "render")
    babble = library.samples(int(rng.integers(len(library.clips)))) if rng.random() < 0.15 else None
    if plan.kind == "noise":
        audio = _noise(library, plan, rng)
        return Sample(audio, _silent(rng, ""), "", "")
    clips = [library.clips[number] for number in plan.clips]
    language = clips[0].language
    if plan.kind in ("unknown_human", "unknown_voice"):
        pieces = [_paced(library.samples(number), rng, 0.18) for number in plan.clips]
        audio = _cut(_joined(pieces, rng), plan.seconds, rng)
        audio = augment.disturb(augment.edges(audio, rng, strength), rng, max(strength, 0.7), babble)
        return Sample(audio, _silent(rng, language), "", language)
    pieces = [_paced(library.samples(number), rng, 0.10) for number in plan.clips]
    if plan.kind == "damaged":
        audio = _damaged(pieces[0], clips[0].en in library.whole, rng)
        audio = augment.disturb(augment.edges(audio, rng, strength), rng, strength, babble)
        return Sample(audio, _silent(rng, language), None, language)
    audio = augment.edges(_joined(pieces, rng), rng, strength)
    audio = augment.disturb(audio, rng, strength, babble)
    en, ru = " ".join(clip.en for clip in clips), " ".join(clip.ru for clip in clips)
    transcript = en if language == "en" else ru
    if plan.kind == "wrong_language":
        other = "ru" if language == "en" else "en"
        return Sample(audio, (Answer(other, "en", ""), Answer(other, "ru", "")), transcript, language)
    return Sample(audio, (Answer(language, "en", en), Answer(language, "ru", ru)), transcript, language)


def _silent(rng: Generator, language: str) -> tuple[Answer, ...]:
    """Asks for nothing with both source languages; the targets vary."""
    targets = rng.permutation(["en", "ru"]) if rng.random() < 0.7 else [language or "en"] * 2
    return Answer("en", str(targets[0]), ""), Answer("ru", str(targets[1]), "")


def _paced(audio: Audio, rng: Generator, spread: float) -> Audio:
    if rng.random() < 0.5:
        audio = augment.speed(audio, float(rng.uniform(1 - spread, 1 + spread)))
    if rng.random() < 0.25:
        audio = augment.tempo(audio, float(rng.uniform(0.85, 1.25)))
    return audio


def _joined(pieces: list[Audio], rng: Generator) -> Audio:
    joined = pieces[0]
    for piece in pieces[1:]:
        pause = np.zeros(int(SAMPLE_RATE_HZ * rng.uniform(0.05, 0.7)), dtype=np.float32)
        joined = np.concatenate([joined, pause, piece])
    return joined


def _cut(audio: Audio, seconds: float, rng: Generator) -> Audio:
    size = int(seconds * SAMPLE_RATE_HZ)
    start = int(rng.integers(0, max(1, len(audio) - size)))
    return audio[start : start + size]


def _noise(library: ClipLibrary, plan: Plan, rng: Generator) -> Audio:
    size = int(plan.seconds * SAMPLE_RATE_HZ)
    level = 10 ** rng.uniform(-3.5, -0.1)
    if plan.clips:
        music = _cut(augment.speed(library.samples(plan.clips[0]), float(rng.uniform(0.7, 1.3))), plan.seconds, rng)
        return augment.disturb(music, rng, 1.0)
    draw = rng.random()
    if draw < 0.12:
        return np.zeros(size, dtype=np.float32)
    if draw < 0.5:
        return augment.disturb(augment.tones(size, rng), rng, 1.0)
    noise = augment.coloured_noise(size, rng)
    if draw < 0.65:  # clicks, claps and bursts
        noise = noise * (rng.random(size) < 0.001) * 10 + 0.01 * noise
    return np.asarray(np.clip(noise / max(1.0, float(np.abs(noise).max())) * level, -1, 1), dtype=np.float32)


def _damaged(audio: Audio, cuttable: bool, rng: Generator) -> Audio:
    """Spoils phrasebook speech so that it says nothing: backwards, its parts mixed, or its middle or one half only."""
    draw = rng.random()
    if draw < 0.35 or (draw >= 0.7 and not cuttable):
        return audio[::-1].copy()
    if draw < 0.7 or len(audio) < SAMPLE_RATE_HZ:
        span = int(SAMPLE_RATE_HZ * rng.uniform(0.12, 0.3))
        parts = [audio[i : i + span] for i in range(0, len(audio), span)]
        return np.concatenate([parts[i] for i in rng.permutation(len(parts))])
    share = rng.uniform(0.3, 0.65)
    size = int(len(audio) * share)
    start = 0 if rng.random() < 0.6 else int(rng.integers(0, len(audio) - size))
    return audio[start : start + size]
