"""From what was said and what was heard, on one clock: when each moment was heard. Pure; no server is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate, resample_poly

from tolmach.pipelines.frames import Samples

ANALYSIS_HZ = 8_000
"""The babble lies below 3 kHz; a sixth of 48 kHz keeps it, and 0.125 ms of resolution."""
RECOGNISED = 0.4
"""Normalised correlation above which a window is taken for found. Noise of this band and 200 ms reaches about 0.15 by
chance over 2 s of lags; a window half of which was lost reaches 0.7."""
_LOUD = 0.02
"""RMS of a window of babble (about 0.1) that is not in its pause."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One window of what was said.

    Attributes:
        at_s: When it began, s on the clock of the recording.
        latency_ms: How much later it was heard; None if it was not.
    """

    at_s: float
    latency_ms: float | None


def moments(
    said: Samples, heard: Samples, rate_hz: int, *, window_s: float = 0.2, longest_s: float = 2.0
) -> list[Moment]:
    """When each loud window of ``said`` comes in ``heard``.

    Args:
        said: float32[n], mono.
        heard: float32[n], mono, on the same clock.
        rate_hz: Of both, a multiple of 8 kHz.
        window_s: Length of a window, s; windows do not overlap.
        longest_s: Latency after which a window counts as not heard, s.

    Returns:
        One entry for every window that is loud throughout.
    """
    said, heard = (resample_poly(x, 1, rate_hz // ANALYSIS_HZ) for x in (said, heard))
    size, reach = round(window_s * ANALYSIS_HZ), round(longest_s * ANALYSIS_HZ)
    energy = np.concatenate(([0.0], np.cumsum(heard.astype(np.float64) ** 2)))
    found = []
    for at in range(0, min(len(said), len(heard)) - size - reach + 1, size):
        window = said[at : at + size]
        if min(_rms(part) for part in np.array_split(window, 4)) < _LOUD:
            continue
        match = correlate(heard[at : at + size + reach], window, mode="valid", method="fft")
        lag = int(np.argmax(match))
        norm = np.sqrt(energy[at + lag + size] - energy[at + lag]) * np.linalg.norm(window)
        known = match[lag] > RECOGNISED * norm and norm > 0
        found.append(Moment(at / ANALYSIS_HZ, 1000 * lag / ANALYSIS_HZ if known else None))
    return found


def _rms(samples: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@dataclass(frozen=True, slots=True)
class Summary:
    """Latency of some moments, ms; ``lost`` is the share that was not heard, 0 to 1."""

    p50: float
    p95: float
    highest: float
    lost: float

    @classmethod
    def of(cls, found: Sequence[Moment], from_s: float = 0.0, to_s: float = float("inf")) -> Summary:
        """Of the moments that began between two times, s."""
        chosen = [m for m in found if from_s <= m.at_s < to_s]
        ms = [m.latency_ms for m in chosen if m.latency_ms is not None]
        if not ms:
            return cls(float("nan"), float("nan"), float("nan"), 1.0)
        return cls(float(np.median(ms)), float(np.percentile(ms, 95)), max(ms), 1 - len(ms) / len(chosen))
