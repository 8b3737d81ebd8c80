"""Resampling of one continuous piece of audio that arrives in chunks."""

from __future__ import annotations

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.processors.resample.kernel import INPUT_BITS, INPUT_PEAK, TILE_OUTPUTS, Float64s, Kernel, kernel

_GEMM_PRODUCTS = 2**18
# OpenBLAS starts threads above this many products. For matrices of this size they gain nothing, and on a busy machine
# they wait for each other for milliseconds.

_GATHER_SIZE = 2**19
"""Coefficients computed at a time for ratios without tiles (4 MiB)."""


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
