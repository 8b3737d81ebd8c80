"""Pauses in speech shortened: a stretch of silence longer than allowed loses its middle.

Pure and deterministic: silence is judged in blocks counted from the first sample, so the output does not depend on how
the input is cut.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from tolmach.pipelines.frames import Samples

__all__ = ["PauseShortener"]

_BLOCK_MS = 10

_SILENCE = 10 ** (-50 / 10)
"""-50 dB full scale, mean square: voices speak at about -20, what neural ones leave between words lies below -55."""


class PauseShortener:
    """Blocks in, blocks out, at the most half of the longest pause and 10 ms behind.

    Args:
        rate_hz: Sample rate, Hz.
        longest_ms: What longer pauses are shortened to, ms; rounded to 20.
    """

    def __init__(self, rate_hz: int, longest_ms: int) -> None:
        self._block = max(1, rate_hz * _BLOCK_MS // 1000)
        self._half = max(1, longest_ms // (2 * _BLOCK_MS))  # blocks kept at each end
        self._rest = np.zeros(0, np.float32)
        self._forget()

    def _forget(self) -> None:
        self._run = 0  # silent blocks in a row that were given out already
        self._tail: deque[Samples] = deque()
        self._left_out: Samples | None = None  # the first block that was

    def process(self, samples: Samples) -> Samples:
        """Take float32[n]; returns what is settled, float32[m]."""
        held = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        blocks = held[: len(held) // self._block * self._block].reshape(-1, self._block)
        self._rest = held[blocks.size :].copy()
        silent = np.mean(np.square(blocks), axis=1) < _SILENCE
        out: list[Samples] = []
        for block, is_silent in zip(blocks, silent, strict=True):
            if not is_silent:
                out += [*self._end_of_run(), block]
                self._forget()
            elif self._run < self._half:
                self._run += 1
                out.append(block)
            else:
                self._tail.append(block)
                if len(self._tail) > self._half:
                    dropped = self._tail.popleft()
                    self._left_out = dropped if self._left_out is None else self._left_out
        return np.concatenate(out) if out else np.zeros(0, np.float32)

    def flush(self) -> Samples:
        """Nothing follows; returns the rest, float32[m]. The shortener is new again."""
        rest = np.concatenate([*self._end_of_run(), self._rest])
        self._rest = np.zeros(0, np.float32)
        self._forget()
        return rest

    def _end_of_run(self) -> list[Samples]:
        """What is kept of the end of a pause; where something was left out, faded into it."""
        tail = list(self._tail)
        if self._left_out is not None:
            rise = np.linspace(0, 1, self._block, dtype=np.float32)
            tail[0] = self._left_out * (1 - rise) + tail[0] * rise
        return tail
