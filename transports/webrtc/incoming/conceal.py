"""Concealment of lost audio by repetition of the last pitch period.

After ITU-T G.711 Appendix I (09/1999), at 48 kHz: the last period is repeated; after 10 ms the last two, after 20 ms
the last three, so that a long loss does not buzz; from 10 ms on it fades by a fifth each 10 ms and is silent after
60 ms; where audio resumes, the repetition is cross-faded into it. One thing differs: the recommendation delays all
audio by 3.75 ms to smooth the seam at the start of a loss; here the step at the seam is taken away by an offset that
fades in a quarter of a period, which costs no latency.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.opus import RTP_RATE_HZ

_MS = RTP_RATE_HZ // 1000

# The pitch period, by which playout.py shortens as well ---------------------------------------------------------------

MIN_PERIOD = 5 * _MS
"""5 ms, 200 Hz: a higher voice is found at a multiple of its period (ITU-T G.711 Appendix I, I.2.2)."""
MAX_PERIOD = 15 * _MS
"""15 ms, 66 Hz (ITU-T G.711 Appendix I, I.2.2)."""
_TEMPLATE = 20 * _MS
SEARCHED = _TEMPLATE + MAX_PERIOD
"""Samples :func:`find_period` looks at."""
_COARSE = 6  # 8 kHz: pitch lies far below 4 kHz, and the search costs a thirty-sixth


def find_period(signal: Samples) -> tuple[int, float]:
    """The lag at which the end of ``signal`` resembles what came before.

    Normalised cross-correlation over the last 20 ms, coarse at 8 kHz and refined at 48 kHz, as in ITU-T G.711
    Appendix I.

    Args:
        signal: float32[n], n >= SEARCHED, mono, 48 kHz.

    Returns:
        The period in samples, and the correlation there: 1 for a periodic signal, 0 for silence.
    """
    signal = signal[-SEARCHED:].astype(np.float64)
    coarse = signal.reshape(-1, _COARSE).mean(axis=1)
    lag, _ = _best_lag(coarse, _TEMPLATE // _COARSE, MIN_PERIOD // _COARSE, MAX_PERIOD // _COARSE)
    around = lag * _COARSE
    return _best_lag(signal, _TEMPLATE, max(MIN_PERIOD, around - _COARSE + 1), min(MAX_PERIOD, around + _COARSE - 1))


def _best_lag(signal: np.ndarray, length: int, low: int, high: int) -> tuple[int, float]:
    """The lag from ``low`` to ``high`` with the highest normalised correlation of the last ``length`` samples."""
    template = signal[-length:]
    end = len(signal) - low
    windows = sliding_window_view(signal[len(signal) - length - high : end], length)  # lag high first
    energy = np.einsum("ij,ij->i", windows, windows) * np.dot(template, template)
    scores = (windows @ template) / np.sqrt(energy + 1e-12)
    best = int(np.argmax(scores[::-1]))  # the shortest of equals
    return low + best, float(scores[::-1][best])


# Concealment ----------------------------------------------------------------------------------------------------------

_HISTORY = 3 * MAX_PERIOD + MAX_PERIOD // 4  # three periods, and the quarter before them (48.75 ms)
_PLAIN = 10 * _MS  # not yet attenuated
_SILENT = 60 * _MS  # attenuated to nothing
_MAX_OVERLAP = 10 * _MS
_FADE = 5 * _MS  # from sound to the silence of a peer that stopped sending


class Concealer:
    """Follows decoded audio and fills what is missing; mono, float32, 48 kHz."""

    def __init__(self) -> None:
        self._history: Samples = np.zeros(_HISTORY, np.float32)
        self._synthetic: Samples | None = None  # the repetition of the loss under way, already attenuated
        self._run = 0  # samples concealed so far
        self._period = MAX_PERIOD

    def good(self, samples: Samples) -> Samples:
        """Audio that arrived; after a loss its beginning is cross-faded.

        Args:
            samples: float32[n].

        Returns:
            float32[n]; the same array when nothing was lost before it.
        """
        if self._synthetic is not None:
            # A quarter period, and 4 ms more for each 10 ms lost (G.711 Appendix I, I.2.7).
            overlap = min(self._period // 4 + 4 * _MS * self._run // (10 * _MS), _MAX_OVERLAP, len(samples))
            rise = np.arange(1, overlap + 1, dtype=np.float32) / np.float32(overlap + 1)
            samples = samples.copy()
            samples[:overlap] = self._repetition(overlap) * (1 - rise) + samples[:overlap] * rise
            self._synthetic = None
        self._follow(samples)
        return samples

    def lost(self, count: int) -> Samples:
        """Replace ``count`` lost samples; float32[count]."""
        if self._synthetic is None:
            self._synthetic = self._repeat()
            self._run = 0
        samples = self._repetition(count)
        self._run += count
        self._follow(samples)
        return samples

    def silence(self, count: int) -> Samples:
        """``count`` samples in which the peer was silent; float32[count], zeros after a fade of 5 ms."""
        samples = np.zeros(count, np.float32)
        if self._history[-_FADE:].any():
            fade = min(_FADE, count)
            fall = 1 - np.arange(1, fade + 1, dtype=np.float32) / np.float32(fade)
            if self._synthetic is None:
                self._synthetic, self._run = self._repeat(), 0
            samples[:fade] = self._repetition(fade) * fall
        self._synthetic = None
        self._follow(samples)
        return samples

    def _follow(self, samples: Samples) -> None:
        if len(samples) >= _HISTORY:
            self._history = samples[-_HISTORY:].copy()
        elif len(samples):
            self._history = np.concatenate((self._history[len(samples) :], samples))

    def _repetition(self, count: int) -> Samples:
        assert self._synthetic is not None  # noqa: S101 -- made when the loss began
        part = self._synthetic[self._run : self._run + count]
        return np.concatenate((part, np.zeros(count - len(part), np.float32)))

    def _repeat(self) -> Samples:
        """The repetition until it is silent, float32[60 ms]."""
        history = self._history
        if not history.any():
            return np.zeros(_SILENT, np.float32)
        period, _ = find_period(history)
        self._period = period
        quarter = period // 4
        rise = np.arange(1, quarter + 1, dtype=np.float32) / np.float32(quarter + 1)
        made = np.empty(_SILENT, np.float32)
        tail = made[:0]
        at = 0
        for periods, end in ((1, _PLAIN), (2, 2 * _PLAIN), (3, _SILENT)):
            cycle = history[-periods * period :].copy()
            # Its end runs smoothly into its beginning: faded into what came before the beginning.
            before = history[len(history) - periods * period - quarter : len(history) - periods * period]
            cycle[-quarter:] = cycle[-quarter:] * (1 - rise) + before * rise
            # In phase with what came before: all of these are whole periods apart.
            indices = (at % period + np.arange(end - at + quarter)) % len(cycle)
            part = cycle[indices]
            if at:
                part[:quarter] = tail * (1 - rise) + part[:quarter] * rise
            made[at:end] = part[: end - at]
            tail = part[end - at :]
            at = end
        step = history[-1] - history[-period - 1]
        made[:quarter] += step * (1 - rise)
        level = np.ones(_SILENT, np.float32)
        level[_PLAIN:] = np.linspace(1, 0, _SILENT - _PLAIN, dtype=np.float32)
        return made * level
