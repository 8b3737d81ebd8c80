"""A look-ahead peak limiter: no sample leaves above a ceiling, and the gain never jumps.

P. Hämäläinen, "Smoothing of the control signal without clipped output in digital peak limiters", DAFx-02, pp. 195-198:
the gain that each sample needs is replaced by the least of those in a window ahead of it, and that is smoothed by a
filter over the same window. Every value that the filter averages is at most what the sample in the middle needs, so
the average is, too: nothing is clipped, whatever the signal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Limiter"]

Signal = npt.NDArray[np.float64]

_LOOK_AHEAD_MS = 5
"""How long the gain takes to go down, ms: a period of 200 Hz; shorter is heard as distortion."""

_RELEASE_DB_S = 100.0
"""How fast it comes back, dB/s: 6 dB in 60 ms, so that it does not follow the periods of a deep voice."""


class Limiter:
    """Takes blocks and gives them back :attr:`latency` samples later.

    Args:
        rate_hz: Sample rate, Hz.
        channels: Channels; all have the same gain, so that the picture does not move.
        ceiling_db: What no sample exceeds, dB full scale.
    """

    def __init__(self, rate_hz: int, channels: int, ceiling_db: float) -> None:
        self._window = max(1, rate_hz * _LOOK_AHEAD_MS // 1000)
        self._ceiling = 10 ** (ceiling_db / 20)
        self._rise_db = _RELEASE_DB_S / rate_hz
        # Before the first sample there is a window of silence, in which the gain may go down; it does not leave.
        self._lead = self.latency
        self._delayed: Signal = np.zeros((self.latency, channels))
        self._needed_db: Signal = np.zeros(self.latency)  # of what is delayed
        self._least_db: Signal = np.zeros(self._window - 1)  # of what left last
        self._resting = True

    @property
    def latency(self) -> int:
        """Samples that are held back."""
        return self._window - 1

    def process(self, block: Signal) -> Signal:
        """Take float64[n, channels]; returns what is finished, float64[m, channels]."""
        peak = np.abs(block).max(axis=1, initial=0.0)
        needed_db = np.zeros(len(block))
        loud = peak > self._ceiling
        if loud.any():
            self._resting = False
            needed_db[loud] = 20 * np.log10(self._ceiling / peak[loud])
        delayed = np.concatenate((self._delayed, block))
        needed_db = np.concatenate((self._needed_db, needed_db))
        ready = max(0, len(delayed) - self.latency)
        self._delayed, self._needed_db = delayed[ready:].copy(), needed_db[ready:].copy()
        done = delayed[:ready]
        if not self._resting and ready:
            done = done * 10 ** (self._gains_db(needed_db, ready)[:, None] / 20)
        lead = min(self._lead, ready)
        self._lead -= lead
        return done[lead:]

    def flush(self) -> Signal:
        """Nothing follows; returns the rest."""
        return self.process(np.zeros((self.latency, self._delayed.shape[1])))

    def _gains_db(self, needed_db: Signal, ready: int) -> Signal:
        window = self._window
        least = np.lib.stride_tricks.sliding_window_view(needed_db, window).min(axis=1)
        # It goes down at once and comes back slowly: e[n] = min(c[n], e[n - 1] + rise), all at a time.
        steps = np.arange(1, ready + 1) * self._rise_db
        last = self._least_db[-1] if len(self._least_db) else 0.0
        least = np.minimum(np.minimum.accumulate(least - steps), last) + steps
        least = np.minimum(least, 0.0)
        history = np.concatenate((self._least_db, least))
        self._least_db = history[len(history) - window + 1 :].copy()
        self._resting = not (self._least_db.any() or self._needed_db.any())
        smooth: Signal = np.lib.stride_tricks.sliding_window_view(history, window).mean(axis=1)
        return smooth
