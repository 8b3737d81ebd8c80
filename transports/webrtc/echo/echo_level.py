"""How loud the echo of what we play is to be expected, so that what is louder is somebody who speaks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.echo.reference import SLOT, Reference

_LEVEL_HOPS = 100
_DECAY_DB = 1.2
"""Of a room, in 10 ms: a reverberation time (60 dB) of 0.5 s, the upper end of furnished rooms."""
_LOUD_DB = 15.0
_LOUD_HOPS = 15
"""The gain is measured where the reference is within 15 dB of its loudest, in at least so many hops of the second."""
_START_GAIN_DB = 6.0
"""More than any room gives: nothing passes for a talker before the gain was measured."""
_GAIN_STEP_DB = 3.0
"""Most that the gain may rise in a block; an automatic gain control rises by some 10 dB a second."""
_FOLLOWS = 0.5
"""Correlation of the levels (dB) of microphone and reference from which the microphone holds mostly echo: without a
talker it is 0.75 to 0.97 (in a bare room 0.57), while one speaks it falls to 0 and below."""


class EchoLevel:
    """Compares the levels of a signal that holds an echo with those of what was played, one hop of 10 ms at a time.

    Args:
        reference: What we played.

    Attributes:
        gain_db: The signal's level over the reference's, both after pre-emphasis, dB.
        noise: Mean square of the signal's quiet moments.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self.noise = 0.0
        self.restart()
        self.pause()

    def restart(self) -> None:
        """The echo has another way from now on."""
        self.gain_db = _START_GAIN_DB

    def pause(self) -> None:
        """The signal will not be listened to for a while."""
        self._energies: deque[float] = deque([0.0] * _LEVEL_HOPS, _LEVEL_HOPS)
        self._envelope = 0.0  # mean square of the reference where the signal is, with reverberation

    @property
    def expected(self) -> float:
        """Mean square of the echo that the last hop should hold."""
        return float(self._envelope * 10 ** (self.gain_db / 10))

    def hear(self, energy: float, end: int, lags: Sequence[int]) -> None:
        """Take in the next hop.

        Args:
            energy: Its mean square after pre-emphasis.
            end: Number of the sample behind it on the monotonic clock, 8 kHz.
            lags: After how many samples what was played may be in it; none if there is no echo.
        """
        self._energies.append(energy)
        loudest = max((float(self._loudest(end, 1, lag)[0]) for lag in lags), default=0.0)
        self._envelope = max(loudest, self._envelope * 10 ** (-_DECAY_DB / 10))

    def measure(self, end: int, lag: int) -> None:
        """Compare the levels of the second before ``end`` (8 kHz), which an echo reaches after ``lag``."""
        heard = 10 * np.log10(np.array(self._energies) + 1e-12)
        # The quietest tenth is taken for noise: speech has more pauses than that.
        self.noise = float(10 ** (np.sort(heard)[len(heard) // 10] / 10))
        played = 10 * np.log10(self._loudest(end, len(heard), lag).astype(np.float64) + 1e-12)
        fall = _DECAY_DB * np.arange(len(heard))
        envelope = np.maximum.accumulate(played + fall) - fall
        self._envelope = float(10 ** (envelope[-1] / 10))
        loud = np.flatnonzero((played > envelope.max() - _LOUD_DB) & (heard > -90))
        if len(loud) < _LOUD_HOPS:
            return
        level = float(np.sort(heard[loud] - envelope[loud])[len(loud) // 2])
        # An echo is never louder than what is heard, whoever speaks; that it has grown is true only without a talker.
        if level < self.gain_db:
            self.gain_db = level
        elif _correlation(heard, envelope, envelope > envelope.max() - 2 * _LOUD_DB) >= _FOLLOWS:
            self.gain_db = min(level, self.gain_db + _GAIN_STEP_DB)

    def _loudest(self, end: int, count: int, lag: int) -> Samples:
        """What was played ``lag`` before the last hops, or 10 ms beside it; mean squares, float32[count]."""
        first = (end - count * SLOT - lag + SLOT // 2) // SLOT
        slots = self._reference.loudness(first - 1, first + count + 1)
        out: Samples = np.maximum(np.maximum(slots[:-2], slots[1:-1]), slots[2:])
        return out


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], where: npt.NDArray[np.bool_]) -> float:
    """Pearson's coefficient of two series where asked; 0 if one of them is constant."""
    a = a[where] - a[where].mean()
    b = b[where] - b[where].mean()
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b) + 1e-12))
