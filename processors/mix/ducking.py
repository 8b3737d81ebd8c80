"""How loud the bed is while somebody speaks over it: a gain with attack, hold and release, a value a sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Ducker"]

_NEVER = -(2**62)


class Ducker:
    """Follows a key signal and says how loud the bed is.

    The gain wants down where the key is heard anywhere from ``hold`` samples before to ``look_ahead`` samples after a
    sample, and up elsewhere. It gets there in equal steps of dB: the whole way down in ``attack``, the whole way up in
    ``release`` samples; so with a look-ahead as long as the attack it has arrived when the key begins.

    Args:
        attack: Samples from up to down.
        hold: Samples behind the key in which it stays down.
        release: Samples from down to up.
        look_ahead: Samples by which the key is known before the bed.
    """

    def __init__(self, attack: int, hold: int, release: int, look_ahead: int) -> None:
        self._attack, self._hold, self._release, self._look_ahead = attack, hold, release, look_ahead
        self._at = 0
        self._heard_at = _NEVER
        self._gain_db: float | None = None

    def begin(self, heard: npt.NDArray[np.bool_]) -> None:
        """The key's first ``look_ahead`` samples: whether it is heard, bool[look_ahead]."""
        found = np.flatnonzero(heard)
        if len(found):
            self._heard_at = int(found[-1])

    def gains_db(self, heard: npt.NDArray[np.bool_], up_db: float, down_db: float) -> npt.NDArray[np.float64] | float:
        """The gain of the next samples of the bed, dB: one for all where it does not move.

        Args:
            heard: Whether the key is, ``look_ahead`` samples later, bool[n].
            up_db: Where nothing is heard, dB.
            down_db: Where it is, dB.

        Returns:
            float64[n], or one number.
        """
        count, first = len(heard), self._at
        self._at += count
        gain_db = up_db if self._gain_db is None else self._gain_db
        if not heard.any():
            still_down = min(count, max(0, self._heard_at + self._hold + 1 - first))
            edges = [0, still_down, count] if still_down else [0, count]
            down = [True, False] if still_down else [False]
        else:
            at = np.arange(first, first + count)
            last = np.maximum.accumulate(np.where(heard, at + self._look_ahead, _NEVER))
            wanted = np.maximum(last, self._heard_at) >= at - self._hold
            self._heard_at = max(self._heard_at, int(last[-1]))
            edges = [0, *(np.flatnonzero(np.diff(wanted)) + 1).tolist(), count]
            down = [bool(wanted[edge]) for edge in edges[:-1]]
        way_db = abs(up_db - down_db)
        runs: list[npt.NDArray[np.float64]] = []
        moving = False
        for start, end, is_down in zip(edges, edges[1:], down, strict=False):
            target = down_db if is_down else up_db
            moving = moving or gain_db != target
            steps = np.arange(1, end - start + 1, dtype=np.float64)
            # Settings may change on the way: the step is never nothing, or it would not arrive.
            per_sample = max(way_db, 1.0) / (self._attack if target < gain_db else self._release)
            if target < gain_db:
                run = np.maximum(target, gain_db - per_sample * steps)
            else:
                run = np.minimum(target, gain_db + per_sample * steps)
            runs.append(run)
            gain_db = float(run[-1]) if len(run) else gain_db
        self._gain_db = gain_db
        return np.concatenate(runs) if moving or len(set(down)) > 1 else gain_db
