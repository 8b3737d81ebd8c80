"""Telephone-band copies of audio on a common clock: what echo is looked for in.

Echo is found and measured at 8 kHz: speech has its energy there, and a search over lags costs a sixth per sample and a
sixth of the lags. Samples are numbered on the monotonic clock, so that the number of a sample is its time.
"""

from __future__ import annotations

import numpy as np

from tolmach.pipelines.frames import NS_PER_S, Samples
from tolmach.transports.webrtc.opus import RTP_RATE_HZ

NARROW_HZ = 8000
FACTOR = RTP_RATE_HZ // NARROW_HZ
_TAPS = 127
_CUTOFF_HZ = 3700
_KAISER_BETA = 5.0
"""With 127 taps at 48 kHz: flat to 3.1 kHz, 54 dB down from 4.3 kHz (Kaiser's formulas; Oppenheim & Schafer, 7.6)."""
_PREEMPHASIS = 0.9
"""Against the 6 dB an octave by which speech falls; it also takes 20 dB off hum and rumble, which are not ours."""


def narrow_index(time_ns: int) -> int:
    """The number of the sample at a time of the monotonic clock, 8 kHz."""
    return time_ns * NARROW_HZ // NS_PER_S


def _design() -> Samples:
    """Low-pass and pre-emphasis in one, float32[133], last tap first."""
    low_hz = 2 * _CUTOFF_HZ / RTP_RATE_HZ
    low_pass = low_hz * np.sinc(low_hz * (np.arange(_TAPS) - _TAPS // 2)) * np.kaiser(_TAPS, _KAISER_BETA)
    emphasis = np.zeros(FACTOR + 1)
    emphasis[0], emphasis[-1] = 1, -_PREEMPHASIS
    taps: Samples = np.convolve(low_pass, emphasis)[::-1].astype(np.float32)
    return taps


_FILTER = _design()


class Decimator:
    """48 kHz to 8 kHz with a low-pass and pre-emphasis, piece by piece; 1.4 ms late."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget the past; what comes next follows silence."""
        self._held: Samples = np.zeros(len(_FILTER) - 1, np.float32)

    def push(self, samples: Samples) -> Samples:
        """float32[n] at 48 kHz to float32[m] at 8 kHz; after n samples in all, ceil(n / 6) have been given."""
        held: Samples = np.concatenate((self._held, samples), dtype=np.float32)
        count = max(0, (len(held) - len(_FILTER)) // FACTOR + 1)
        self._held = held[count * FACTOR :]
        step = held.itemsize
        windows: Samples = np.ndarray((count, len(_FILTER)), np.float32, held, strides=(FACTOR * step, step))
        # Copied into rows: BLAS takes no overlapping ones, and without it this takes three times as long.
        made: Samples = np.ascontiguousarray(windows) @ _FILTER
        return made


class Timeline:
    """The latest values of something measured at a steady rate, by number; what was never written is 0.

    Args:
        length: How many values back from the newest are kept at least.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._values: Samples = np.zeros(2 * length, np.float32)
        self._first = 0  # number of _values[0]
        self.end = 0
        """Number behind the newest value."""

    def write(self, start: int, values: Samples) -> None:
        """Put values at ``start``, which is not before the oldest one kept; fewer than ``length`` at once."""
        stop = start + len(values)
        if stop > self._first + len(self._values):
            begin = stop - self._length
            kept = self._values[begin - self._first :].copy()
            self._values[: len(kept)] = kept
            self._values[len(kept) :] = 0
            self._first = begin
        self._values[start - self._first : stop - self._first] = values
        self.end = max(self.end, stop)

    def read(self, start: int, stop: int) -> Samples:
        """Values ``start`` to ``stop``, float32[stop - start]; a view where that is possible."""
        low, high = start - self._first, stop - self._first
        if low >= 0 and high <= len(self._values):
            return self._values[low:high]
        out = np.zeros(stop - start, np.float32)
        inside = self._values[max(low, 0) : max(high, 0)]
        out[max(-low, 0) : max(-low, 0) + len(inside)] = inside
        return out
