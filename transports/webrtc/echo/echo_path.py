"""Whether what we have played comes back through the microphone, how late, and how loud.

At which lag one signal comes back in another, and how surely, says a correlation that speech cannot fool: the
generalised cross-correlation with phase transform (Knapp & Carter, "The generalized correlation method for
estimation of time delay", IEEE Trans. ASSP 24, 1976), made robust in four ways:

* The phase transform works on frames of 40 ms, not on the whole: all moments and frequencies weigh the same.
* Each block of 100 ms is divided by what chance would give at each lag, known from the energies of the two signals
  there, so that the edges of a sentence make no peaks.
* What one block says is clipped: two vowels of nearly the same pitch look alike for as long as they last.
* Power is averaged over 10 ms of lags, for a room without a direct path spreads the echo over more than that.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.echo.echo_level import EchoLevel
from tolmach.transports.webrtc.echo.reference import AUDIBLE, NARROW_HZ, SLOT, WHITE_HOP, Reference, whiten

# The search -----------------------------------------------------------------------------------------------------------

BLOCK = NARROW_HZ // 10
_STEP = NARROW_HZ // 100
"""Lags over which the energies, and with them what chance gives, are taken as constant."""
_BIN = _STEP // 4
_BINS = 4
"""Bins of 2.5 ms, of which four are averaged. Of 5, 10 and 20 ms, 10 does best by rooms with and without a direct
path taken together."""
_CLIP = 2.5
"""Standard deviations; 1.5 to 4 do as well."""
_LEAST_WEIGHT = 3.0
"""Blocks that must have spoken for a lag to count in full: chance has no higher peaks in the first blocks then."""
_VALID = 0.02
"""Of the largest energy; at lags with less, nothing was played."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Where the correlation is highest.

    Attributes:
        lag: Samples at 8 kHz by which the microphone is later than the reference.
        height: Mean power over 10 ms of lags; 1 is what chance gives on average.
    """

    lag: int
    height: float


class _Memory:
    """Correlation over a past that fades.

    Args:
        fade: What is left of a block after the next one.
        lags: How many lags there are.
    """

    def __init__(self, fade: float, lags: int) -> None:
        self._fade = np.float32(fade)
        self.sum: Samples = np.zeros(lags, np.float32)
        self.weight: Samples = np.zeros(lags // _STEP + 1, np.float32)  # of each step: blocks in it

    def add(self, scores: Samples, valid: Samples) -> None:
        self.sum *= self._fade
        self.sum += scores
        self.weight *= self._fade**2
        self.weight += valid

    def peak(self) -> tuple[int, float]:
        """Index of the peak, and its height as in :class:`Peak`."""
        weight = np.maximum(np.repeat(self.weight, _STEP // _BIN)[_BINS // 2 :][: len(self.sum) // _BIN], _LEAST_WEIGHT)
        power = np.square(self.sum).reshape(-1, _BIN).mean(axis=1) / weight
        smooth = np.convolve(power, np.full(_BINS, 1 / _BINS), "valid")
        at = int(np.argmax(smooth))
        heard = np.sort(smooth[weight[: len(smooth)] > _LEAST_WEIGHT])
        chance = max(1.0, float(heard[len(heard) // 2])) if len(heard) else 1.0
        # The direct path, if there is one: the highest of all lags of the peak.
        start = at * _BIN
        lag = start + int(np.argmax(np.abs(self.sum[start : start + _BINS * _BIN])))
        return lag, float(smooth[at]) / chance


class LagSearch:
    """Looks for a reference in a microphone, block by block.

    Args:
        first: Smallest lag, samples at 8 kHz; may be negative.
        last: Largest lag; a multiple of 10 ms away from ``first``.
        slow: Fade of a long memory per block, which finds what is weak.
        fast: Fade of a short one, which sees what moves.
    """

    def __init__(self, first: int, last: int, *, slow: float, fast: float) -> None:
        self._first = first
        self._lags = last - first
        self._size = _fft_size(BLOCK + self._lags)
        self._slow = _Memory(slow, self._lags)
        self._fast = _Memory(fast, self._lags)

    def add(self, microphone: Samples, reference: Samples) -> None:
        """Correlate one block.

        Args:
            microphone: float32[BLOCK], whitened, from time t on.
            reference: float32[BLOCK + last - first], whitened, from time t - last on.
        """
        mine = np.square(microphone).reshape(-1, _STEP).sum(axis=1)
        theirs = np.square(reference).reshape(-1, _STEP).sum(axis=1)
        # The variance of the correlation of unrelated signals with these energies, the smallest lag first.
        chance = np.convolve(theirs, mine[::-1], "valid")[::-1]
        valid = chance > _VALID * chance.max()
        scale = np.where(valid, 1 / np.sqrt(np.maximum(chance, 1e-9)), 0).astype(np.float32)
        spectrum = np.conj(np.fft.rfft(microphone, self._size)) * np.fft.rfft(reference, self._size)
        found = np.fft.irfft(spectrum, self._size)[self._lags : 0 : -1]
        scores: Samples = (found * np.repeat(scale, _STEP)[_STEP // 2 :][: self._lags]).astype(np.float32, copy=False)
        # Speech is not white even so: its own spread is the measure. 0.8 is the mean size of a normal deviate.
        spread = float(np.abs(scores).sum()) / (0.8 * _STEP * max(1, int(np.count_nonzero(valid))))
        if spread > 0:
            np.clip(scores, -_CLIP * spread, _CLIP * spread, out=scores)
            scores *= 1 / spread
            spoke: Samples = valid.astype(np.float32)
            for memory in (self._slow, self._fast):
                memory.add(scores, spoke)

    def peaks(self) -> tuple[Peak, Peak]:
        """The peaks of the long and of the short memory."""
        (slow, height), (fast, fast_height) = self._slow.peak(), self._fast.peak()
        return Peak(self._first + slow, height), Peak(self._first + fast, fast_height)

    def shift(self, lags: int) -> None:
        """All lags have grown by ``lags``."""
        for memory in (self._slow, self._fast):
            memory.sum = np.roll(memory.sum, lags)

    def forget_slowly_known(self) -> None:
        """Let the long memory know no more than the short one."""
        self._slow.sum[:] = self._fast.sum
        self._slow.weight[:] = self._fast.weight


def _fft_size(least: int) -> int:
    """The smallest number from ``least`` on whose only factors are 2, 3 and 5."""
    size = least
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1


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
_HEARD_BLOCKS, _HEARD_SOUNDING = 15, 9
"""Blocks since the first sound, and with sound, in which an echo would have been found, weak network and busy browser
included. What is held meanwhile passes if there is none, so that a talker with headphones waits for it once."""
_SHORT_BLOCKS, _SHORT_SOUNDING = 8, 5
"""Blocks that do where what was played is over before those have come."""
_PATIENCE = 20
"""Blocks with sound after which a mere suspicion no longer holds the gate."""
_QUIET_BLOCKS = 10
_QUIET_SLOTS = 20
_QUIET_DELAY = 700 * _MS
"""A microphone quiet for a second, though 0.2 s of sound were played more than 0.7 s ago, hears none of it. Delays of
browsers are 0.1 to 0.5 s, Bluetooth loudspeakers included; a later echo is found though the gate is open."""
_LOST_BLOCKS = 30
"""Three seconds in which an echo was due and none was found."""
_DUE_SLOTS = 5

Known = Literal["unknown", "absent", "present"]


class EchoPath:
    """Follows the path from our playback to the microphone, one hop of 10 ms at a time.

    Args:
        reference: What we played.
        max_delay: Longest delay looked for, samples at 8 kHz, a multiple of 10 ms.

    Attributes:
        known: What is known of it.
        lag: Its delay while it is present, samples at 8 kHz.
        level: The microphone's level against the reference's.
    """

    def __init__(self, reference: Reference, max_delay: int) -> None:
        self._reference = reference
        self._max_delay = max_delay
        self.level = EchoLevel(reference)
        self.restart()

    def restart(self) -> None:
        """Forget everything: another peer, another room."""
        self.known: Known = "unknown"
        self.lag = 0
        self.level.restart()
        self._search = LagSearch(FIRST_LAG, self._max_delay, slow=_SLOW, fast=_FAST)
        self._candidate: Peak | None = None
        self._height = 0.0
        self._since_sound = self._sounding = self._quiet = self._missed = 0  # blocks
        self.pause()

    def pause(self) -> None:
        """The microphone will not be listened to for a while."""
        self._hops: deque[Samples] = deque([np.zeros(SLOT, np.float32)] * _HELD_HOPS, _HELD_HOPS)
        self._energies: deque[float] = deque([0.0] * _HELD_HOPS, _HELD_HOPS)
        self.level.pause()

    def shift(self, lags: int) -> None:
        """The microphone's clock was set, by so many samples at 8 kHz: all comes back so much later by it."""
        self.lag += lags
        self._search.shift(lags)

    @property
    def lags(self) -> tuple[int, ...]:
        """The delays at which an echo may come back now: more than one while it may be moving."""
        if self.known != "present":
            return ()
        return (self.lag,) if self._candidate is None else (self.lag, self._candidate.lag)

    @property
    def unlikely(self) -> bool:
        """Whether nothing speaks for an echo, though it is too early to say that there is none."""
        heard = self._since_sound >= _SHORT_BLOCKS and self._sounding >= _SHORT_SOUNDING
        return self.known == "unknown" and heard and self._height < _CLEAR

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
        self.level.hear(energy, end, self.lags)
        if number % _BLOCK_HOPS == 0:
            self._judge(end)
        return energy

    # The delay ----------------------------------------------------------------------------------------------------

    def _judge(self, end: int) -> None:
        """Look for an echo in the block that ended a little ago."""
        start = end - _BEHIND - BLOCK
        first, last = start - self._max_delay, start + BLOCK - FIRST_LAG
        if not self._reference.active_slots(first, last):
            return
        hops = list(self._hops)[: (WHITE_HOP + BLOCK + WHITE_HOP) // SLOT]
        energies = list(self._energies)[WHITE_HOP // SLOT :][:_BLOCK_HOPS]
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
            self._candidate = None
            self.level.restart()
        elif self.known == "unknown":
            self._doubt(max(slow.height, fast.height), sum(e > _SOUNDING for e in energies) >= 2, start + BLOCK)
        if self.known == "present":
            self.level.measure(end, self.lag)

    def _seen_twice(self, peak: Peak | None) -> bool:
        """Whether there is a high peak, and was one at the same lag the time before."""
        before, self._candidate = self._candidate, peak
        return before is not None and peak is not None and abs(before.lag - peak.lag) <= _SAME

    def _doubt(self, height: float, sounds: bool, end: int) -> None:
        """Decide whether an echo would have been found by now."""
        self._height = height
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
