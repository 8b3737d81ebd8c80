"""Sample formats: what decoders give to float32, and back to 16 bits."""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

from pipelines.frames import Samples

__all__ = ["to_float32", "to_int16"]

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
