"""Sample formats and rates: what decoders give to float32 at one rate, and back to 16 bits."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import Samples

__all__ = ["OneRate", "stretch", "to_float32", "to_int16"]

_FULL_SCALE = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}


def to_float32(frame: av.AudioFrame) -> Samples:
    """The samples of a decoded frame, float32[n, channels], full scale 1.0, whatever their format."""
    array: npt.NDArray[np.generic] = frame.to_ndarray()
    samples = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    kind = frame.format.name.removesuffix("p")
    floats = samples.astype(np.float32, order="C")
    if kind == "u8":
        floats -= np.float32(128)
    if (scale := _FULL_SCALE[kind]) != 1.0:
        floats *= np.float32(1 / scale)
    return floats


class OneRate:
    """Gives the frames of a recording one sample rate, whatever theirs are; those that have it pass as they are.

    Args:
        rate_hz: The rate, Hz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler: av.AudioResampler | None = None
        self._source: tuple[int, str, str] | None = None

    def push(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        """What is ready once ``frame`` was taken, with timestamps."""
        source = (frame.sample_rate, frame.layout.name, frame.format.name)
        if source != self._source:
            yield from self.flush()
            self._source = source
            if frame.sample_rate != self._rate_hz:
                self._resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=self._rate_hz)
        if self._resampler is None:
            yield frame
        else:
            yield from self._resampler.resample(frame)

    def flush(self) -> Iterator[av.AudioFrame]:
        """The rest."""
        resampler, self._resampler, self._source = self._resampler, None, None
        if resampler is not None:
            yield from resampler.resample(None)


def to_int16(samples: Samples) -> tuple[npt.NDArray[np.int16], int]:
    """Round to 16 bits.

    ``x * 32768`` is the inverse of how 16-bit files are decoded, so that a copy of a recording is the recording.

    Args:
        samples: float32[n, channels], nominal range [-1, 1].

    Returns:
        int16[n, channels], and how many values were outside the range (or not a number) and were clipped (to zero).
    """
    clipped = int(np.count_nonzero(~(np.abs(samples) <= 1.0)))
    scaled = np.rint(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0) * np.float32(32768))
    return np.clip(scaled, -32768, 32767).astype(np.int16), clipped


_TAPS = 16  # samples on each side of a new one


def stretch(samples: Samples, by: int) -> Samples:
    """Make a frame longer or shorter by a few samples, as a clock that ran a little faster or slower would have.

    Windowed-sinc interpolation (Smith, "Digital Audio Resampling", 2002) at evenly spaced places; the first and the
    last 16 samples stay, so that frames join without a seam. A drift of 2 % is a third of a semitone.

    Args:
        samples: float32[n, channels], n at least 64.
        by: Samples to add, or (negative) to leave out; at most a tenth of n.

    Returns:
        float32[n + by, channels].
    """
    inner = len(samples) - 2 * _TAPS
    places = _TAPS + np.arange(inner + by) * (inner / (inner + by))
    before = np.floor(places).astype(np.int64)
    taps = before[:, None] + np.arange(1 - _TAPS, _TAPS + 1)
    distance = places[:, None] - taps
    weights = np.sinc(distance) * np.cos(distance * (np.pi / (2 * _TAPS))) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    moved = np.stack([np.einsum("ij,ij->i", weights, column[taps]) for column in samples.T], axis=1)
    return np.concatenate((samples[:_TAPS], moved.astype(np.float32), samples[-_TAPS:]))
