"""Recordings for Chromium's microphone, cut from the shipped demonstration."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import resample_poly

from tolmach.pipelines.frames import AudioFrame, Samples, TranslationFrame
from tolmach.pipelines.testing import Harness
from tolmach.processors.espeak.spec import SPEC as ESPEAK

LEAD_S = 3.0
"""Silence before the first word: Chromium opens the microphone before the call is up."""
SPEECH_HZ = 16_000
"""Rate of the demonstration, Hz."""
_RATE_HZ = 48_000


def audible_s(wav: bytes, threshold: float = 0.01) -> float:
    """How long something is to be heard in a wav: pieces of 40 ms with an RMS over the threshold, s."""
    samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float32", always_2d=True)
    size = rate_hz // 25
    pieces = samples[: len(samples) // size * size, 0].reshape(-1, size)
    return 0.04 * int((np.sqrt(np.square(pieces).mean(axis=1)) > threshold).sum())


def reference(root: Path, lang: str) -> list[dict[str, Any]]:
    """What is said in `phrasebook-LANG.flac`, phrase by phrase."""
    entries: list[dict[str, Any]] = json.loads((root / f"config/demo/phrasebook-{lang}.json").read_text())
    return entries


def spoken(root: Path, folder: Path, lang: str, phrases: Sequence[int] | None = None, pause_s: float = 4.0) -> Path:
    """A wav of the demonstration, or of some of its phrases with pauses between them; 48 kHz, mono, 16 bit."""
    if phrases is not None:
        return in_turn(root, folder, [(lang, number) for number in phrases], pause_s)
    return microphone(folder / f"{lang}-all.wav", [_recording(root, lang)])


def in_turn(root: Path, folder: Path, turns: Sequence[tuple[str, int]], pause_s: float = 4.0) -> Path:
    """A wav of phrases of the demonstration, each with its language, with pauses between them."""
    parts = [part for lang, number in turns for part in (phrase(root, lang, number), silence(pause_s))]
    return microphone(folder / f"{'-'.join(f'{lang}{number}' for lang, number in turns)}.wav", parts)


def phrase(root: Path, lang: str, number: int) -> Samples:
    """A phrase of the demonstration and what of silence is around it, float32[n], 16 kHz."""
    said = reference(root, lang)[number]
    begin, end = said["start_s"] - 0.2, said["end_s"] + 0.2
    return _recording(root, lang)[round(begin * SPEECH_HZ) : round(end * SPEECH_HZ)]


def silence(seconds: float) -> Samples:
    """Nothing, float32[n], 16 kHz."""
    return np.zeros(round(seconds * SPEECH_HZ), np.float32)


def microphone(path: Path, parts: Sequence[Samples]) -> Path:
    """Write what Chromium's microphone is to hear, behind :data:`LEAD_S` of silence.

    Args:
        path: The wav to write; 48 kHz, mono, 16 bit.
        parts: What follows each other, float32[n], 16 kHz.
    """
    samples = np.concatenate([silence(LEAD_S), *parts])
    soundfile.write(path, resample_poly(samples, _RATE_HZ, SPEECH_HZ), _RATE_HZ, "PCM_16")
    return path


def voiced(text: str, lang: str) -> tuple[Samples, int]:
    """What the voice of phrasebook-live makes of a text in a language: float32[n], and its rate, Hz."""

    async def speak() -> tuple[Samples, int]:
        async with Harness(ESPEAK, voices={"en": "en+f2", "ru": "ru+f2"}) as harness:
            await harness.push(TranslationFrame(1, 0, 1, "", lang, text))
            await harness.eos()
            rate_hz = next(frame.rate_hz for frame in harness.output() if isinstance(frame, AudioFrame))
            return harness.audio()[:, 0], rate_hz

    with ThreadPoolExecutor(1) as thread:  # Playwright's loop has this one
        return thread.submit(asyncio.run, speak()).result()


def _recording(root: Path, lang: str) -> Samples:
    samples, rate_hz = soundfile.read(root / f"config/demo/phrasebook-{lang}.flac", dtype="float32")
    assert rate_hz == SPEECH_HZ
    return np.asarray(samples)
