"""Channel mix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.frames import Samples


def mixing_matrix(channels_in: int, channels_out: int) -> npt.NDArray[np.float64]:
    """Gains from inputs to outputs.

    More inputs than outputs: output ``j`` averages the inputs ``j, j + M, j + 2M, …`` (so mono is the average of all,
    and interleaved pairs fold onto the pair). Otherwise output ``j`` copies input ``j mod N``. Caps carry no speaker
    layout, so the matrix cannot know about centre or LFE channels.

    Returns:
        float64[channels_out, channels_in]; each row sums to 1, hence no output can exceed the loudest input.
    """
    outputs, inputs = np.arange(channels_out), np.arange(channels_in)
    if channels_in > channels_out:
        picked = inputs[None, :] % channels_out == outputs[:, None]
    else:
        picked = inputs[None, :] == outputs[:, None] % channels_in
    return np.asarray(picked / picked.sum(axis=1, keepdims=True), np.float64)


def mix(samples: Samples, channels_out: int) -> Samples:
    """Mix to another number of channels.

    Every output sample is a sum over its own inputs in channel order, so the result does not depend on how the stream
    was cut into frames.

    Args:
        samples: float32[n, channels_in].
        channels_out: At least 1.

    Returns:
        float32[n, channels_out]; ``samples`` itself when nothing changes.
    """
    channels_in = samples.shape[1]
    if channels_in == channels_out:
        return samples
    mixed = np.zeros((len(samples), channels_out))
    for j, gains in enumerate(mixing_matrix(channels_in, channels_out)):
        for i in np.flatnonzero(gains):
            mixed[:, j] += gains[i] * samples[:, i]
    return mixed.astype(np.float32)
