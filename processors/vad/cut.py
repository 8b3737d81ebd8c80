"""Where to cut an utterance that grows too long."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

CONTEXT_MS = 50
"""Audio on each side of a possible cut over which its loudness is measured: shorter finds the closure of a plosive
inside a word, longer misses short pauses."""


class CutSearch:
    """Looks for the quietest boundary between windows near the maximum length.

    A boundary in silence beats any boundary in speech; among equals the one with less energy in the
    :data:`CONTEXT_MS` on both sides wins, and of equally quiet ones the later.

    Args:
        context: Samples on each side, :data:`CONTEXT_MS` of them.
        search: How far before the limit a cut may be, samples.

    Attributes:
        best: Where to cut if it has to be now.
        earliest: No cut will be made before this sample.
    """

    def __init__(self, context: int, search: int) -> None:
        self._context = context
        self._search = search
        self._recent: deque[tuple[int, bool, float]] = deque()  # end of window, speech, energy
        self.restart(0, 0)

    def restart(self, limit: int, position: int) -> None:
        """Begin for an utterance that must end by ``limit``; the stream is at ``position``."""
        self._recent.clear()
        self._limit = limit
        self._position = position
        self._quietest: tuple[bool, float] | None = None
        self.best = limit
        self.earliest = limit - self._search

    def push(self, window: npt.NDArray[np.float32], speech: bool) -> None:
        """Look at the next window."""
        self._position += len(window)
        if self._position < self._limit - self._search - self._context:
            return
        self._recent.append((self._position, speech, float(np.square(window, dtype=np.float64).sum())))
        while len(self._recent) > 1 and self._recent[1][0] <= self._position - 2 * self._context - 2 * len(window):
            self._recent.popleft()
        boundary = max((end for end, _, _ in self._recent if end <= self._position - self._context), default=0)
        if not self._limit - self._search <= boundary <= self._limit:
            return
        around = [(s, e) for end, s, e in self._recent if end > boundary - self._context]
        loudness = (any(s for s, _ in around), sum(e for _, e in around))
        if self._quietest is None or loudness <= self._quietest:
            self._quietest = loudness
            self.best = self.earliest = boundary
