"""Resampling of one continuous piece of audio that arrives in chunks: the filter, and the stream through it.

The filter is a Kaiser-windowed sinc with integer coefficients. With ``rate_out / rate_in = up / down`` in lowest
terms, output sample ``m`` lies at the time ``m * down / up`` input samples and is the inner product of the inputs
around it with the filter of phase ``(m * down) mod up``.

Inputs are rounded to multiples of 2^-24 and coefficients to multiples of 2^-:attr:`Kernel.coefficient_bits`, chosen so
that no sum can reach 2^53. Every product and every partial sum is then an integer that float64 holds exactly, addition
is associative, and a sample has the same bits in whatever order, block size or vector width BLAS adds it up: the output
cannot depend on chunking, on the machine, or on the number of threads. The rounding itself lies at -130 dB and below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import Samples

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

PASSBAND = 0.9
"""End of the pass band, as a fraction of the lower Nyquist frequency; the stop band begins at 1."""

ATTENUATION_DB = 110.0
"""Designed stop-band attenuation; integer coefficients leave more than 100 dB of it."""

INPUT_BITS = 24
"""Input resolution: 16- and 24-bit recordings are represented exactly."""

INPUT_PEAK = 4.0
"""Larger input values are clipped (12 dB above full scale), which bounds the sums."""

TILE_OUTPUTS = 32
"""Outputs computed by one matrix product: wider wastes products with zeros, narrower wastes calls."""

_EXACT_TABLE_SIZE = 2**20  # coefficients (8 MiB); ratios that need more interpolate in a table of the impulse response
_RESPONSE_POINTS = 2**17  # linear interpolation between them errs by less than -130 dB: (pi * 0.95 * 71 / 2^17)^2 / 8

_GEMM_PRODUCTS = 2**18
# OpenBLAS starts threads above this many products. For matrices of this size they gain nothing, and on a busy machine
# they wait for each other for milliseconds.

_GATHER_SIZE = 2**19
"""Coefficients computed at a time for ratios without tiles (4 MiB)."""


@dataclass(frozen=True)
class Tile:
    """The filters of some consecutive outputs as one matrix.

    Attributes:
        first: First output, counted from the start of the period.
        input_offset: First input of the window, counted from the start of the period.
        matrix: float64[window, outputs], integers.
    """

    first: int
    input_offset: int
    matrix: Float64s


class Kernel:
    """Filters for one ratio.

    Args:
        rate_in_hz: Input rate, Hz.
        rate_out_hz: Output rate, Hz.

    Attributes:
        up: Outputs per period of the ratio.
        down: Inputs per period of the ratio.
        reach: Inputs needed on each side of an output's time; also the latency in input samples.
        coefficient_bits: Coefficients are multiples of 2^-coefficient_bits.
        period: Outputs after which the tiles repeat, a multiple of ``up``.
        tiles: Tiles of one period; empty when the table of all phases would be too large.
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        divisor = math.gcd(rate_in_hz, rate_out_hz)
        self.up, self.down = rate_out_hz // divisor, rate_in_hz // divisor
        # Kaiser's estimate of the length (Oppenheim & Schafer, Discrete-Time Signal Processing, 3rd ed., eq. 7.76),
        # in periods of the lower rate on each side.
        half = math.ceil((ATTENUATION_DB - 7.95) / (2.285 * math.pi * (1 - PASSBAND)) / 2)
        self._beta = 0.1102 * (ATTENUATION_DB - 8.7)  # ibid., eq. 7.75
        self._half = half * max(1.0, self.down / self.up)
        self._cutoff = (1 + PASSBAND) / 2 * min(1.0, self.up / self.down)
        self.reach = math.ceil(self._half)

        exact = self.up * self.taps <= _EXACT_TABLE_SIZE
        phases = np.arange(self.up if exact else min(self.up, 8))
        table = self._impulse(self._times(phases))
        loudest = float(np.abs(table).sum(axis=1).max()) * (1.0 if exact else 1.1)
        # input bits + input peak + coefficient bits + sum of magnitudes stay below 2^53
        self.coefficient_bits = 52 - INPUT_BITS - math.ceil(math.log2(INPUT_PEAK)) - math.ceil(math.log2(loudest))
        self._table = self._integers(table) if exact else None
        self._response = None if exact else self._impulse(np.linspace(0.0, self._half, _RESPONSE_POINTS))
        self.period = self.up * -(-TILE_OUTPUTS // self.up)
        self.tiles = tuple(self._tile(first) for first in range(0, self.period, TILE_OUTPUTS)) if exact else ()

    @property
    def taps(self) -> int:
        """Coefficients per output."""
        return 2 * self.reach

    @property
    def scale(self) -> float:
        """What a sum of integer products is multiplied with."""
        return 2.0 ** -(INPUT_BITS + self.coefficient_bits)

    def first_input(self, output: int) -> int:
        """First input that an output depends on; negative near the start, where inputs count as zero."""
        return output * self.down // self.up - self.reach + 1

    def ready(self, received: int) -> int:
        """Outputs that are complete once ``received`` inputs are known."""
        return max(0, -(-(received - self.reach) * self.up // self.down))

    def total(self, received: int) -> int:
        """Outputs that ``received`` inputs give in the end: all whose time lies before the end of the last input."""
        return -(-received * self.up // self.down)

    def rows(self, outputs: Int64s) -> Float64s:
        """Integer coefficients, float64[outputs, taps], for inputs from :meth:`first_input` on."""
        phases = outputs * self.down % self.up
        if self._table is not None:
            return self._table[phases]
        assert self._response is not None  # noqa: S101 -- one of the two is always there
        at = np.abs(self._times(phases)) * ((_RESPONSE_POINTS - 1) / self._half)
        left = np.minimum(at.astype(np.int64), _RESPONSE_POINTS - 2)
        fraction = np.minimum(at - left, 1.0)  # beyond the window: its last value, which is zero
        return self._integers(self._response[left] * (1 - fraction) + self._response[left + 1] * fraction)

    def _tile(self, first: int) -> Tile:
        outputs = np.arange(first, min(first + TILE_OUTPUTS, self.period))
        bases = outputs * self.down // self.up - first * self.down // self.up
        matrix = np.zeros((int(bases[-1]) + self.taps, len(outputs)))
        for column, (base, row) in enumerate(zip(bases, self.rows(outputs), strict=True)):
            matrix[base : base + self.taps, column] = row
        return Tile(first, self.first_input(first), matrix)

    def _times(self, phases: Int64s) -> Float64s:
        """Output time minus input time, in input samples, for each tap."""
        return (phases / self.up)[:, None] + (self.reach - 1 - np.arange(self.taps))[None, :]

    def _impulse(self, time: Float64s) -> Float64s:
        window = np.i0(self._beta * np.sqrt(np.maximum(0.0, 1 - (time / self._half) ** 2))) / np.i0(self._beta)
        response = self._cutoff * np.sinc(self._cutoff * time) * window
        return np.asarray(np.where(np.abs(time) < self._half, response, 0.0))

    def _integers(self, coefficients: Float64s) -> Float64s:
        return np.rint(coefficients * 2.0**self.coefficient_bits)


@lru_cache(maxsize=16)
def kernel(rate_in_hz: int, rate_out_hz: int) -> Kernel:
    """The kernel of a ratio, designed once per process (a few milliseconds; up to 100 for awkward ratios)."""
    return Kernel(rate_in_hz, rate_out_hz)


class StreamResampler:
    """Resamples what is pushed, bit for bit the same however it is cut.

    Args:
        filters: The kernel of the ratio.
        channels: Number of channels.
    """

    def __init__(self, filters: Kernel, channels: int) -> None:
        self.kernel = filters
        self.channels = channels
        self._margin = -(-TILE_OUTPUTS * filters.down // filters.up) + 2  # inputs that a tile may overhang on each side
        self._silence = np.zeros((channels, self._margin))
        self._restart()

    def push(self, samples: Samples) -> Samples:
        """Take float32[n, channels] and return the outputs that became complete, float32[k, channels].

        Values must be finite; beyond ±4 (12 dB over full scale) they are clipped.
        """
        self._received += len(samples)
        clipped = np.clip(samples.T, -INPUT_PEAK, INPUT_PEAK, dtype=np.float64)
        return self._advance(np.rint(clipped * 2.0**INPUT_BITS), self.kernel.ready(self._received))

    def flush(self) -> Samples:
        """End of the piece: return the outputs still held back and start afresh.

        With ``n`` inputs in all, the outputs of all pushes and this flush are ``ceil(n * up / down)``.
        """
        silence = np.zeros((self.channels, self.kernel.reach))
        rest = self._advance(silence, self.kernel.total(self._received))
        self._restart()
        return rest

    def _restart(self) -> None:
        # Silence before the first sample.
        self._held = np.zeros((self.channels, self.kernel.reach - 1 + self._margin))
        self._held_first = -self._held.shape[1]
        self._received = 0
        self._produced = 0

    def _advance(self, inputs: Float64s, until: int) -> Samples:
        """Append integer inputs, compute outputs up to ``until`` and forget the inputs that no later one needs."""
        held = np.concatenate((self._held, inputs, self._silence), axis=1)
        end = held.shape[1] - self._margin
        if until <= self._produced:
            self._held = held[:, :end]
            return np.zeros((0, self.channels), np.float32)
        compute = self._by_tiles if self.kernel.tiles else self._by_rows
        sums = compute(held, self._produced, until)
        self._produced = until
        first = self.kernel.first_input(until) - self._margin
        self._held = held[:, first - self._held_first : end].copy()
        self._held_first = first
        return np.multiply(sums.T, self.kernel.scale, order="C").astype(np.float32)

    def _by_tiles(self, held: Float64s, begin: int, end: int) -> Float64s:
        """Outputs ``begin`` to ``end`` by matrix products, float64[channels, end - begin].

        A tile at either edge also computes outputs outside the range, from the margins of ``held``; they are thrown
        away. Within the range what lies in the margins only meets coefficients that are zero.
        """
        period = self.kernel.period
        period_in = period // self.kernel.up * self.kernel.down
        start, stop = begin // period, -(-end // period)
        sums = np.empty((self.channels, stop - start, period))
        for tile in self.kernel.tiles:
            window, outputs = tile.matrix.shape
            low = (begin - tile.first - outputs) // period + 1
            high = -(-(end - tile.first) // period)
            step = max(1, _GEMM_PRODUCTS // tile.matrix.size)
            for at in range(low, high, step):
                rows = min(step, high - at)
                offset = (at * period_in + tile.input_offset - self._held_first) * held.itemsize
                strides = (period_in * held.itemsize, held.itemsize)
                for channel in range(self.channels):
                    view: Float64s = np.ndarray((rows, window), np.float64, held[channel], offset, strides)
                    sums[channel, at - start : at - start + rows, tile.first : tile.first + outputs] = (
                        np.ascontiguousarray(view) @ tile.matrix
                    )
        return sums.reshape(self.channels, -1)[:, begin - start * period : end - start * period]

    def _by_rows(self, held: Float64s, begin: int, end: int) -> Float64s:
        """The same for ratios of two large numbers, whose filters are worked out as they are needed (slower)."""
        filters = self.kernel
        sums = np.empty((self.channels, end - begin))
        step = max(1, _GATHER_SIZE // filters.taps)
        for at in range(begin, end, step):
            outputs = np.arange(at, min(at + step, end))
            rows = filters.rows(outputs)
            first = outputs * filters.down // filters.up - filters.reach + 1 - self._held_first
            window = first[:, None] + np.arange(filters.taps)[None, :]
            for channel in range(self.channels):
                sums[channel, at - begin : at - begin + len(outputs)] = np.einsum(
                    "ij,ij->i", rows, held[channel][window]
                )
        return sums


def resample(samples: Samples, rate_in_hz: int, rate_out_hz: int) -> Samples:
    """Resample a whole signal at once.

    Args:
        samples: float32[n, channels] at ``rate_in_hz``, finite.
        rate_in_hz: Its rate, Hz.
        rate_out_hz: The wanted rate, Hz.

    Returns:
        float32[ceil(n * rate_out_hz / rate_in_hz), channels].
    """
    if rate_in_hz == rate_out_hz:
        return samples
    stream = StreamResampler(kernel(rate_in_hz, rate_out_hz), samples.shape[1])
    return np.concatenate((stream.push(samples), stream.flush()))
