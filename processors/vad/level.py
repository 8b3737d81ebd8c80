"""Level for the detector's ears only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TARGET_PEAK = 0.1
"""Peaks are raised to this (-20 dBFS), where speech of a close microphone peaks anyway."""

HALF_LIFE_S = 10.0
"""How slowly a loud moment is forgotten: longer than a pause between sentences, so that pauses stay quiet."""


class Leveller:
    """Raises the level of quiet audio, never lowers it.

    Detectors judge by absolute level too: a recording that peaks at -44 dBFS opens Silero a third of a second late, and
    hides half of its words from WebRTC's. The gain follows the loudest moment so far, fading with
    :data:`HALF_LIFE_S`; it jumps down at once and creeps up.

    Args:
        max_gain_db: Most amplification, dB.
        window_s: Length of a window, s.
    """

    def __init__(self, max_gain_db: float, window_s: float) -> None:
        self._max_gain = 10 ** (max_gain_db / 20)
        self._fade = 0.5 ** (window_s / HALF_LIFE_S)
        self._peak = 0.0

    def level(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Amplified copies of consecutive windows, float32[count, window]."""
        gains = np.ones((len(windows), 1), np.float32)
        for i, peak in enumerate(np.abs(windows).max(axis=1).tolist()):
            self._peak = max(peak, self._peak * self._fade)
            gains[i] = min(max(TARGET_PEAK / max(self._peak, 1e-9), 1.0), self._max_gain)
        return windows * gains

    def restart(self) -> None:
        """Forget how loud the stream was."""
        self._peak = 0.0
