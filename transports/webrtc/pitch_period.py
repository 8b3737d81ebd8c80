"""The pitch period of a piece of voice, for concealment and for shortening."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.opus import RTP_RATE_HZ

MIN_PERIOD = 5 * RTP_RATE_HZ // 1000
"""5 ms, 200 Hz: a higher voice is found at a multiple of its period (ITU-T G.711 Appendix I, I.2.2)."""
MAX_PERIOD = 15 * RTP_RATE_HZ // 1000
"""15 ms, 66 Hz (ITU-T G.711 Appendix I, I.2.2)."""
_TEMPLATE = 20 * RTP_RATE_HZ // 1000
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
