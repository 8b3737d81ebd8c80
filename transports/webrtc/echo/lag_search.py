"""At which lag one signal comes back in another, and how surely: a correlation that speech cannot fool.

The generalised cross-correlation with phase transform (Knapp & Carter, "The generalized correlation method for
estimation of time delay", IEEE Trans. ASSP 24, 1976), made robust in four ways:

* The phase transform works on frames of 40 ms, not on the whole: all moments and frequencies weigh the same.
* Each block of 100 ms is divided by what chance would give at each lag, known from the energies of the two signals
  there, so that the edges of a sentence make no peaks.
* What one block says is clipped: two vowels of nearly the same pitch look alike for as long as they last.
* Power is averaged over 10 ms of lags, for a room without a direct path spreads the echo over more than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
