"""Whether what we have played comes back through the microphone, how late, and how loud."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.echo.lag_search import (
    BLOCK,
    NARROW_HZ,
    WHITE_HOP,
    Decimator,
    LagSearch,
    Peak,
    narrow_index,
    whiten,
)

# What we have played lately, as the search for its echo needs it ------------------------------------------------------

SLOT = NARROW_HZ // 100
"""Loudness is known for each 10 ms."""
AUDIBLE = 10**-6.5
"""Mean square from which sound matters: -65 dB after pre-emphasis, which is speech of about -57 dBFS. The echo of
what is quieter is quieter still, no detector takes it for speech, and whoever wears headphones need not pay for a
search."""
_LATE = NARROW_HZ // 100
"""Half a packet: what is sent so much late is late; what is later still comes after silence that was sent."""


class LatestValues:
    """The latest values of something measured at a steady rate, by number; what was never written is 0.

    Args:
        length: How many values back from the newest are kept at least.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._values: Samples = np.zeros(2 * length, np.float32)
        self._first = 0  # number of _values[0]
        self.end = 0
        """Number behind the newest value."""

    def write(self, start: int, values: Samples) -> None:
        """Put values at ``start``, which is not before the oldest one kept; fewer than ``length`` at once."""
        stop = start + len(values)
        if stop > self._first + len(self._values):
            begin = stop - self._length
            kept = self._values[begin - self._first :].copy()
            self._values[: len(kept)] = kept
            self._values[len(kept) :] = 0
            self._first = begin
        self._values[start - self._first : stop - self._first] = values
        self.end = max(self.end, stop)

    def read(self, start: int, stop: int) -> Samples:
        """Values ``start`` to ``stop``, float32[stop - start]; a view where that is possible."""
        low, high = start - self._first, stop - self._first
        if low >= 0 and high <= len(self._values):
            return self._values[low:high]
        out = np.zeros(stop - start, np.float32)
        inside = self._values[max(low, 0) : max(high, 0)]
        out[max(-low, 0) : max(-low, 0) + len(inside)] = inside
        return out


class Reference:
    """Our own playback on the clock it was sent by, 8 kHz.

    Args:
        length: Samples kept.

    Attributes:
        last_active: Number of the sample behind the last slot with sound that matters.
    """

    def __init__(self, length: int) -> None:
        self._decimator = Decimator()
        self._signal = LatestValues(length)
        self._white = LatestValues(length)
        self._loudness = LatestValues(length // SLOT)
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
        active = np.flatnonzero(energies > AUDIBLE)
        if len(active):
            self.last_active = (first + int(active[-1]) + 1) * SLOT

    def loudness(self, first: int, stop: int) -> Samples:
        """Mean squares of the slots ``first`` to ``stop``, float32[stop - first]."""
        return self._loudness.read(first, stop)

    def active_slots(self, start: int, stop: int) -> int:
        """How many slots that touch the samples ``start`` to ``stop`` have sound that matters."""
        return int(np.count_nonzero(self._loudness.read(start // SLOT, -(-stop // SLOT)) > AUDIBLE))

    def white(self, start: int, stop: int) -> Samples:
        """Samples ``start`` to ``stop``, whitened, float32[stop - start].

        What was played in the 40 ms behind them must be known; what is asked for once does not change any more.
        """
        begin = max(self._white.end, start // WHITE_HOP * WHITE_HOP)
        end = -(-stop // WHITE_HOP) * WHITE_HOP
        if begin < end:
            self._white.write(begin, whiten(self._signal.read(begin - WHITE_HOP, end + WHITE_HOP)))
        return self._white.read(start, stop)


# The path -------------------------------------------------------------------------------------------------------------

_MS = NARROW_HZ // 1000
_BLOCK_HOPS = BLOCK // SLOT

# The search. Figures are of the clips in config/demo/clips: two unrelated talkers for 56 minutes, or echoes in rooms.
FIRST_LAG = -20 * _MS
"""An echo cannot come before its cause; packets sent late after a stall make it look so."""
_BEHIND = 2 * WHITE_HOP
"""A block is judged 40 ms after its end: what was played in it is known by then, and can be whitened."""
_HELD_HOPS = (WHITE_HOP + BLOCK + _BEHIND) // SLOT
_SLOW, _FAST = 0.95, 0.85
"""Fades per block: a memory of 2 s finds the weakest echo, one of 0.65 s sees it move."""
_FOUND_SLOW, _FOUND_FAST = 2.6, 3.0
"""Heights of the peaks that are an echo, twice at one lag. Unrelated talkers reach 2.4 and 2.6 once in 56 minutes; an
echo of -6 to -20 dB in a room without a direct path passes after 0.4 to 1.0 s, one of -30 dB in noise of -50 dBFS (as
loud as itself) after 0.5 to 3 s."""
_CONFIRMED = 2.0
"""Height that confirms a known delay: unrelated talkers reach it in 3 blocks of 1000."""
_CLEAR = 1.8
"""Height below which nothing speaks for an echo: unrelated talkers stay below it in 97 blocks of 100."""
_SAME = 10 * _MS
_NEAR = 20 * _MS
"""How far two peaks in a row, and a peak from the known delay, may lie apart: the first strong reflections."""

# The decision that there is no path.
_SOUNDING = 10**-5.2
"""Mean square of a hop that is no silence: -52 dB after pre-emphasis, 4 dB over white room noise of -50 dBFS."""
_SILENT = 1e-9
"""Mean square of digital silence, with some dither, -90 dB: a muted microphone says nothing about the room."""
_HEARD_BLOCKS, _HEARD_SOUNDING = 8, 5
"""Blocks since the first sound, and with sound, in which an echo would have been found: what a talker with headphones
loses, once, is 0.8 to 1.1 s."""
_PATIENCE = 16
"""Blocks with sound after which a mere suspicion no longer holds the gate."""
_QUIET_BLOCKS = 10
_QUIET_SLOTS = 20
_QUIET_DELAY = 700 * _MS
"""A microphone quiet for a second, though 0.2 s of sound were played more than 0.7 s ago, hears none of it. Delays of
browsers are 0.1 to 0.5 s, Bluetooth loudspeakers included; a later echo is found though the gate is open."""
_LOST_BLOCKS = 30
"""Three seconds in which an echo was due and none was found."""
_DUE_SLOTS = 5

# Levels.
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

Known = Literal["unknown", "absent", "present"]


class EchoPath:
    """Follows the path from our playback to the microphone, one hop of 10 ms at a time.

    Args:
        reference: What we played.
        max_delay: Longest delay looked for, samples at 8 kHz, a multiple of 10 ms.

    Attributes:
        known: What is known of it.
        lag: Its delay while it is present, samples at 8 kHz.
        gain_db: The microphone's level over the reference's, both after pre-emphasis, dB.
        noise: Mean square of the microphone's quiet moments.
    """

    def __init__(self, reference: Reference, max_delay: int) -> None:
        self._reference = reference
        self._max_delay = max_delay
        self.restart()

    def restart(self) -> None:
        """Forget everything: another peer, another room."""
        self.known: Known = "unknown"
        self.lag = 0
        self.gain_db = _START_GAIN_DB
        self.noise = 0.0
        self._search = LagSearch(FIRST_LAG, self._max_delay, slow=_SLOW, fast=_FAST)
        self._candidate: Peak | None = None
        self._since_sound = self._sounding = self._quiet = self._missed = 0  # blocks
        self.pause()

    def pause(self) -> None:
        """The microphone will not be listened to for a while."""
        self._hops: deque[Samples] = deque([np.zeros(SLOT, np.float32)] * _HELD_HOPS, _HELD_HOPS)
        self._energies: deque[float] = deque([0.0] * _LEVEL_HOPS, _LEVEL_HOPS)
        self._envelope = 0.0  # mean square of the reference where the microphone is, with reverberation

    def shift(self, lags: int) -> None:
        """The microphone's clock was set, by so many samples at 8 kHz: all comes back so much later by it."""
        self.lag += lags
        self._search.shift(lags)

    @property
    def expected(self) -> float:
        """Mean square of the echo that the last hop should hold."""
        return float(self._envelope * 10 ** (self.gain_db / 10)) if self.known == "present" else 0.0

    def hear(self, hop: Samples, end: int, number: int) -> float:
        """Take in the next hop of the microphone.

        Args:
            hop: float32[SLOT].
            end: Number of the sample behind it on the monotonic clock.
            number: Number of the hop; each tenth is a time to judge.

        Returns:
            Its mean square.
        """
        energy = float(np.dot(hop, hop)) / SLOT
        self._hops.append(hop)
        self._energies.append(energy)
        if self.known == "present":
            loudest = float(self._loudest(end, 1, self.lag)[0])
            if self._candidate is not None:  # it may be moving
                loudest = max(loudest, float(self._loudest(end, 1, self._candidate.lag)[0]))
            self._envelope = max(loudest, self._envelope * 10 ** (-_DECAY_DB / 10))
        if number % _BLOCK_HOPS == 0:
            self._judge(end)
        return energy

    def _loudest(self, end: int, count: int, lag: int) -> Samples:
        """What was played ``lag`` before the last hops, or 10 ms beside it; mean squares, float32[count]."""
        first = (end - count * SLOT - lag + SLOT // 2) // SLOT
        slots = self._reference.loudness(first - 1, first + count + 1)
        out: Samples = np.maximum(np.maximum(slots[:-2], slots[1:-1]), slots[2:])
        return out

    # The delay ----------------------------------------------------------------------------------------------------

    def _judge(self, end: int) -> None:
        """Look for an echo in the block that ended a little ago."""
        start = end - _BEHIND - BLOCK
        first, last = start - self._max_delay, start + BLOCK - FIRST_LAG
        if not self._reference.active_slots(first, last):
            return
        hops = list(self._hops)[: (WHITE_HOP + BLOCK + WHITE_HOP) // SLOT]
        energies = list(self._energies)[-_HELD_HOPS:][WHITE_HOP // SLOT :][:_BLOCK_HOPS]
        if self.known == "absent" and max(energies) < AUDIBLE:
            return
        if max(energies) > _SILENT:
            self._search.add(whiten(np.concatenate(hops)), self._reference.white(first, last))
        slow, fast = self._search.peaks()
        if self.known == "present":
            self._follow(slow, fast, max(energies) > _SILENT, start)
        elif self._seen_twice(slow if slow.height >= _FOUND_SLOW else fast if fast.height >= _FOUND_FAST else None):
            assert self._candidate is not None  # noqa: S101 -- it is what was seen; for the type checker
            self.known, self.lag, self._missed = "present", self._candidate.lag, 0
            self.gain_db, self._candidate = _START_GAIN_DB, None
        elif self.known == "unknown":
            self._doubt(max(slow.height, fast.height), sum(e > _SOUNDING for e in energies) >= 2, start + BLOCK)
        if self.known == "present":
            self._measure(end)

    def _seen_twice(self, peak: Peak | None) -> bool:
        """Whether there is a high peak, and was one at the same lag the time before."""
        before, self._candidate = self._candidate, peak
        return before is not None and peak is not None and abs(before.lag - peak.lag) <= _SAME

    def _doubt(self, height: float, sounds: bool, end: int) -> None:
        """Decide whether an echo would have been found by now."""
        self._quiet = 0 if sounds else self._quiet + 1
        self._sounding += sounds
        self._since_sound += self._sounding > 0
        quiet_since = end - min(self._quiet, 2 * _QUIET_BLOCKS) * BLOCK
        in_vain = self._reference.active_slots(quiet_since, max(quiet_since, end - _QUIET_DELAY)) >= _QUIET_SLOTS
        quiet = self._quiet >= _QUIET_BLOCKS and in_vain
        heard = self._since_sound >= _HEARD_BLOCKS and self._sounding >= _HEARD_SOUNDING
        if (quiet or heard) and (height < _CLEAR or self._sounding >= _PATIENCE):
            self.known = "absent"

    def _follow(self, slow: Peak, fast: Peak, audible: bool, start: int) -> None:
        """Keep to the delay, or see that it has changed or the echo has gone."""
        near = [p for p in (slow, fast) if abs(p.lag - self.lag) <= _NEAR and p.height >= _CONFIRMED]
        if fast in near:
            self._missed = 0
        elif audible and self._reference.active_slots(start - self.lag, start + BLOCK - self.lag) >= _DUE_SLOTS:
            self._missed += 1
        if near:
            self.lag = max(near, key=lambda peak: peak.height).lag
        if abs(fast.lag - self.lag) <= _NEAR:
            self._candidate = None
        elif self._seen_twice(fast if fast.height >= _FOUND_FAST else None):
            self.lag, self._missed, self._candidate = fast.lag, 0, None
            self._search.forget_slowly_known()
        if self._missed >= _LOST_BLOCKS and not near:
            self.known, self._candidate = "absent", None

    # The level ----------------------------------------------------------------------------------------------------

    def _measure(self, end: int) -> None:
        """Compare the levels of the last second."""
        heard = 10 * np.log10(np.array(self._energies) + 1e-12)
        # The quietest tenth is taken for noise: speech has more pauses than that.
        self.noise = float(10 ** (np.sort(heard)[len(heard) // 10] / 10))
        played = 10 * np.log10(self._loudest(end, len(heard), self.lag).astype(np.float64) + 1e-12)
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


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], where: npt.NDArray[np.bool_]) -> float:
    """Pearson's coefficient of two series where asked; 0 if one of them is constant."""
    a = a[where] - a[where].mean()
    b = b[where] - b[where].mean()
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b) + 1e-12))
