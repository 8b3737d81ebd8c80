"""Level for the detector's ears only."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

TARGET_PEAK = 0.1
"""Peaks are raised to this (-20 dBFS), where speech of a close microphone peaks anyway."""

HOLD_S = 1.0
"""How long a loud moment counts in full: longer than the pauses inside a sentence, so that these stay quiet."""

BANG_S = 0.15
"""What is much louder than before and no longer than this is a bang, not speech, and is forgotten without a hold."""

HALF_LIFE_S = 0.12
"""How fast it is forgotten then: 30 dB in 0.6 s."""

MAX_FLOOR = 10 ** (-60 / 20)
"""The noise between the words is not raised above this (RMS, -60 dBFS): louder, Silero takes some of it for speech."""

FLOOR_RISE_DB_S = 3.0
"""How fast the noise floor may rise, dB/s: slower than a sentence, so that it rests on the pauses."""

_SILENCE = 1e-7  # -140 dBFS, below one step of 24 bits; keeps digital silence from being a floor of nothing


class Leveller:
    """Raises the level of quiet audio, never lowers it.

    Detectors judge by absolute level too: a recording that peaks at -44 dBFS opens Silero a third of a second late, and
    hides half of its words from WebRTC's. The gain follows the loudest moment of the last :data:`HOLD_S`; it jumps down
    at once, and up when that is over. Two speakers 30 dB apart so each get their own gain.

    The constants were chosen with ``tests/bench/vad_bench.py`` and recordings made from its clips (a speaker 30 dB
    below another, quiet words after a bang): with a half-life of 10 s and no hold Silero missed 23 s of the softer
    speaker, with these 3 s; false speech in noise and music stayed the same.

    Args:
        max_gain_db: Most amplification, dB.
        window_s: Length of a window, s.
        half_life_s: How fast a loud moment is forgotten once it no longer counts in full.
        hold_s: How long it counts in full, s.
        max_floor: RMS above which the noise between the words is not raised, or None for no such bound.
    """

    def __init__(
        self,
        max_gain_db: float,
        window_s: float,
        *,
        half_life_s: float = HALF_LIFE_S,
        hold_s: float = HOLD_S,
        max_floor: float | None = MAX_FLOOR,
    ) -> None:
        self._max_gain = 10 ** (max_gain_db / 20)
        self._window_s = window_s
        self._fade = 0.5 ** (window_s / half_life_s)
        self._hold_s = hold_s
        self._max_floor = max_floor
        self._rise = 10 ** (FLOOR_RISE_DB_S * window_s / 20)
        self.restart()

    def restart(self) -> None:
        """Forget how loud the stream was."""
        self._peak: float = 0.0
        self._loud_s: float = 0.0
        self._since_s: float = 0.0
        self._heard_s: float = 0.0
        self._floor: float = 1.0

    def level(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Amplified copies of consecutive windows, float32[count, window]."""
        levelled = np.empty_like(windows)
        for window, output in zip(windows, levelled, strict=True):
            # One window a call is the rule: whole-array functions with an axis would cost twice as much.
            peak = max(float(window.max()), -float(window.min()))
            wide = window.astype(np.float64)
            rms = math.sqrt(float(wide @ wide) / len(wide))
            if peak >= self._peak / 2:  # about as loud: vowels differ, and each renews the hold
                self._loud_s = self._window_s if peak > self._peak * 2 else self._loud_s + self._window_s
                self._since_s = 0.0
            else:
                self._since_s += self._window_s
            hold_s = self._hold_s if self._loud_s > BANG_S else 0.0
            self._peak = max(peak, self._peak * self._fade if self._since_s > hold_s else self._peak)
            self._floor = max(_SILENCE, min(rms, self._floor * self._rise))
            self._heard_s += self._window_s
            most = self._max_gain
            if self._max_floor is not None and self._heard_s > HOLD_S:
                # A stream may begin in the middle of a word: its floor is known once there was room for a pause.
                most = self._max_floor / self._floor
            gain = max(1.0, min(TARGET_PEAK / max(self._peak, _SILENCE), most, self._max_gain))
            np.multiply(window, np.float32(gain), out=output)
        return levelled
