"""Speech hurried: shorter pauses, then a higher tempo, as :mod:`tolmach.processors.tts.pace` says; streamed."""

from __future__ import annotations

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.pipelines.tempo import TempoChanger
from tolmach.processors.tts.pace import Pace
from tolmach.processors.tts.pauses import PauseShortener

__all__ = ["Hurry"]


class Hurry:
    """Blocks in, blocks out, under a tenth of a second and half a pause behind.

    Args:
        rate_hz: Sample rate, Hz.
        pace: How the text is spoken.
    """

    def __init__(self, rate_hz: int, pace: Pace) -> None:
        self._pauses = None if pace.longest_pause_ms is None else PauseShortener(rate_hz, pace.longest_pause_ms)
        self._tempo = None if pace.tempo == 1.0 else TempoChanger(rate_hz, pace.tempo)

    def process(self, samples: Samples) -> Samples:
        """Take float32[n]; returns what is finished, float32[m]."""
        if self._pauses is not None:
            samples = self._pauses.process(samples)
        return samples if self._tempo is None else self._tempo.process(samples)

    def flush(self) -> Samples:
        """Nothing follows; returns the rest, float32[m]."""
        rest = np.zeros(0, np.float32) if self._pauses is None else self._pauses.flush()
        return rest if self._tempo is None else np.concatenate((self._tempo.process(rest), self._tempo.flush()))
