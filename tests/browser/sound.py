"""Recordings for Chromium's microphone, cut from the shipped demonstration."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import resample_poly

LEAD_S = 3.0
"""Silence before the first word: Chromium opens the microphone before the call is up."""
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
    samples, rate_hz = soundfile.read(root / f"config/demo/phrasebook-{lang}.flac", dtype="float32")
    parts = [np.zeros(round(LEAD_S * rate_hz), np.float32)]
    if phrases is None:
        parts.append(samples)
    else:
        said = reference(root, lang)
        for number in phrases:
            begin, end = said[number]["start_s"] - 0.2, said[number]["end_s"] + 0.2
            parts += [
                samples[round(begin * rate_hz) : round(end * rate_hz)],
                np.zeros(round(pause_s * rate_hz), np.float32),
            ]
    name = f"{lang}-{'all' if phrases is None else '-'.join(map(str, phrases))}.wav"
    soundfile.write(folder / name, resample_poly(np.concatenate(parts), _RATE_HZ, rate_hz), _RATE_HZ, "PCM_16")
    return folder / name
