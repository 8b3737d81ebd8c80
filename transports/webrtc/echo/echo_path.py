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
import numpy.typing as npt

from tolmach.pipelines.frames import NS_PER_S, Samples
from tolmach.transports.webrtc.opus import RTP_RATE_HZ

# The telephone band ---------------------------------------------------------------------------------------------------

NARROW_HZ = 8000
"""Echo is found and measured at 8 kHz: speech has its energy there, and a search over lags costs a sixth per sample and
a sixth of the lags. Samples are numbered on the monotonic clock, so that the number of a sample is its time."""
FACTOR = RTP_RATE_HZ // NARROW_HZ
_TAPS = 127
_CUTOFF_HZ = 3700
_KAISER_BETA = 5.0
"""With 127 taps at 48 kHz: flat to 3.1 kHz, 54 dB down from 4.3 kHz (Kaiser's formulas; Oppenheim & Schafer, 7.6)."""
_PREEMPHASIS = 0.9
"""Against the 6 dB an octave by which speech falls; it also takes 20 dB off hum and rumble, which are not ours."""


def narrow_index(time_ns: int) -> int:
    """The number of the sample at a time of the monotonic clock, 8 kHz."""
    return time_ns * NARROW_HZ // NS_PER_S


def _design() -> Samples:
    """Low-pass and pre-emphasis in one, float32[133], last tap first."""
    low_hz = 2 * _CUTOFF_HZ / RTP_RATE_HZ
    low_pass = low_hz * np.sinc(low_hz * (np.arange(_TAPS) - _TAPS // 2)) * np.kaiser(_TAPS, _KAISER_BETA)
    emphasis = np.zeros(FACTOR + 1)
    emphasis[0], emphasis[-1] = 1, -_PREEMPHASIS
    taps: Samples = np.convolve(low_pass, emphasis)[::-1].astype(np.float32)
    return taps


_FILTER = _design()


class Decimator:
    """48 kHz to 8 kHz with a low-pass and pre-emphasis, piece by piece; 1.4 ms late."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget the past; what comes next follows silence."""
        self._held: Samples = np.zeros(len(_FILTER) - 1, np.float32)

    def push(self, samples: Samples) -> Samples:
        """float32[n] at 48 kHz to float32[m] at 8 kHz; after n samples in all, ceil(n / 6) have been given."""
        held: Samples = np.concatenate((self._held, samples), dtype=np.float32)
        count = max(0, (len(held) - len(_FILTER)) // FACTOR + 1)
        self._held = held[count * FACTOR :]
        step = held.itemsize
        windows: Samples = np.ndarray((count, len(_FILTER)), np.float32, held, strides=(FACTOR * step, step))
        # Copied into rows: BLAS takes no overlapping ones, and without it this takes three times as long.
        made: Samples = np.ascontiguousarray(windows) @ _FILTER
        return made


# The search -----------------------------------------------------------------------------------------------------------

WHITE_HOP = NARROW_HZ // 50
"""Frames of 40 ms every 20 ms; 20 to 64 ms do as well."""
_WINDOW = np.sin(np.pi * (np.arange(2 * WHITE_HOP) + 0.5) / (2 * WHITE_HOP)).astype(np.float32)
_BINS_HZ = np.fft.rfftfreq(2 * WHITE_HOP, 1 / NARROW_HZ)
_BAND = ((_BINS_HZ > 150) & (_BINS_HZ < 3650)).astype(np.float32)
_RELATIVE_FLOOR = 0.1
"""Bins this far below the mean of their frame are noise rather than speech; 0.05 to 0.3 do as well."""
_ABSOLUTE_FLOOR = 1e-5
"""Silence stays silent: about -110 dBFS."""

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


def whiten(signal: Samples) -> Samples:
    """The phase transform of each frame, overlapped and added: equally loud everywhere, silent where it was.

    Args:
        signal: float32[n + 2 * WHITE_HOP], n a multiple of WHITE_HOP.

    Returns:
        float32[n]: the middle.
    """
    halves = signal.reshape(-1, WHITE_HOP)
    spectra = np.fft.rfft(np.concatenate((halves[:-1], halves[1:]), axis=1) * _WINDOW, axis=1)
    size = np.abs(spectra)
    floor = _RELATIVE_FLOOR * size.mean(axis=1, keepdims=True) + _ABSOLUTE_FLOOR
    frames = np.fft.irfft(spectra * (_BAND / (size + floor)), axis=1) * _WINDOW
    out: Samples = (frames[:-1, WHITE_HOP:] + frames[1:, :WHITE_HOP]).astype(np.float32).reshape(-1)
    return out


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
