"""What we have played lately, in the telephone band and on the clock that the microphone is compared on."""

from __future__ import annotations

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


# The phase transform --------------------------------------------------------------------------------------------------

WHITE_HOP = NARROW_HZ // 50
"""Frames of 40 ms every 20 ms; 20 to 64 ms do as well."""
_WINDOW = np.sin(np.pi * (np.arange(2 * WHITE_HOP) + 0.5) / (2 * WHITE_HOP)).astype(np.float32)
_BINS_HZ = np.fft.rfftfreq(2 * WHITE_HOP, 1 / NARROW_HZ)
_BAND = ((_BINS_HZ > 150) & (_BINS_HZ < 3650)).astype(np.float32)
_RELATIVE_FLOOR = 0.1
"""Bins this far below the mean of their frame are noise rather than speech; 0.05 to 0.3 do as well."""
_ABSOLUTE_FLOOR = 1e-5
"""Silence stays silent: about -110 dBFS."""


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
