"""What we have played lately, as the search for its echo needs it."""

from __future__ import annotations

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.echo.lag_search import WHITE_HOP, whiten
from tolmach.transports.webrtc.echo.telephone_band import NARROW_HZ, Decimator, Timeline, narrow_index

SLOT = NARROW_HZ // 100
"""Loudness is known for each 10 ms."""
_ACTIVE = 10**-6.5
"""Mean square from which a slot has sound that matters: -65 dB after pre-emphasis, which is speech of about -57 dBFS.
Its echo is quieter still, and no detector takes it for speech."""
_LATE = NARROW_HZ // 100
"""Half a packet: what is sent so much late is late; what is later still comes after silence that was sent."""


class Reference:
    """Our own playback on the clock it was sent by, 8 kHz.

    Args:
        length: Samples kept.

    Attributes:
        last_active: Number of the sample behind the last slot with sound that matters.
    """

    def __init__(self, length: int) -> None:
        self._decimator = Decimator()
        self._signal = Timeline(length)
        self._white = Timeline(length)
        self._loudness = Timeline(length // SLOT)
        self.last_active = 0

    def played(self, samples: Samples, sent_ns: int) -> None:
        """Take note of a packet.

        Args:
            samples: float32[n], mono, 48 kHz.
            sent_ns: When it was sent, monotonic clock, ns. Packets sent at once after a stall follow each other.
        """
        start = narrow_index(sent_ns)
        if start - self._signal.end > _LATE:
            self._decimator.restart()
        else:
            start = self._signal.end
        made = self._decimator.push(samples)
        if len(made):
            self._signal.write(start, made)
            self._measure(start, made)

    def _measure(self, start: int, made: Samples) -> None:
        first, inside = divmod(start, SLOT)
        borders = np.arange(-inside, len(made), SLOT)
        borders[0] = 0
        energies: Samples = (np.add.reduceat(np.square(made), borders) / SLOT).astype(np.float32)
        energies[0] += self._loudness.read(first, first + 1)[0]  # the packet before ended in this slot
        self._loudness.write(first, energies)
        active = np.flatnonzero(energies > _ACTIVE)
        if len(active):
            self.last_active = (first + int(active[-1]) + 1) * SLOT

    def loudness(self, first: int, stop: int) -> Samples:
        """Mean squares of the slots ``first`` to ``stop``, float32[stop - first]."""
        return self._loudness.read(first, stop)

    def active_slots(self, start: int, stop: int) -> int:
        """How many slots that touch the samples ``start`` to ``stop`` have sound that matters."""
        return int(np.count_nonzero(self._loudness.read(start // SLOT, -(-stop // SLOT)) > _ACTIVE))

    def white(self, start: int, stop: int) -> Samples:
        """Samples ``start`` to ``stop``, whitened, float32[stop - start].

        What was played in the 40 ms behind them must be known; what is asked for once does not change any more.
        """
        begin = max(self._white.end, start // WHITE_HOP * WHITE_HOP)
        end = -(-stop // WHITE_HOP) * WHITE_HOP
        if begin < end:
            self._white.write(begin, whiten(self._signal.read(begin - WHITE_HOP, end + WHITE_HOP)))
        return self._white.read(start, stop)
