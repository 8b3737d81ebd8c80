"""Which loudspeaker a channel is for, and how channels are mixed: what every element that downmixes shares.

Weights are those of ITU-R BS.775-3, table 2 (low-frequency effects are left out, as its annex 7 advises), scaled so
that no output can exceed the loudest input. A mix to mono also watches for channels in opposite phase (a microphone or
a plug wired the wrong way round): their plain sum is silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import Samples

__all__ = ["DEFAULT_LAYOUTS", "OPPOSED_PHASE", "ChannelMixer", "Layout", "layout_for", "mix", "mixing_matrix"]

Layout: TypeAlias = tuple[str, ...]
"""A loudspeaker for each channel, in FFmpeg's short names (``FL``, ``FR``, ``FC``, ``LFE``, ``SL``, …)."""

DEFAULT_LAYOUTS: dict[int, Layout] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "LFE"),
    4: ("FL", "FR", "FC", "BC"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""What a number of channels means when nothing says it (libavutil, ``av_channel_layout_default``)."""

OPPOSED_PHASE = (
    "left and right are in opposite phase and would cancel each other in the mix to one channel; "
    "the right one was turned round"
)
"""What people are told when a mix was mended."""

_HALF_POWER = np.sqrt(0.5)
_SIDES = {"SL": "BL", "SR": "BR", "BL": "SL", "BR": "SR"}  # "5.1" and "5.1(side)" are one thing to a listener
_PAIRS = (("FL", "FR"), ("SL", "SR"), ("BL", "BR"), ("FLC", "FRC"), ("DL", "DR"))

_BLOCK_MS = 20
_MEMORY_BLOCKS = 25  # half a second, in which the evidence for opposite phase fades to 1/e
_OPPOSED, _ALIGNED = -0.5, 0.0
"""Correlation below which one of a pair is turned round, and above which it is turned back. Between them either mix
keeps at least a quarter of the power; stereo music seldom lies below -0.5 for long, reversed wiring lies near -1."""
_SAID_BLOCKS = 25  # sound in opposite phase that is worth a word
_BROKEN = 1e12  # mean square of a block that is no sound
_QUIET = 1e-7  # mean square of a block (-70 dB) that says nothing about phase


def layout_for(channels: int, layout: Layout = ()) -> Layout:
    """``layout`` if it fits the number of channels, else the default one; channels nobody named are all alike ("")."""
    if len(layout) == channels:
        return layout
    return DEFAULT_LAYOUTS.get(channels, ("",) * channels)


def mix(samples: Samples, channels_out: int, layout: Layout = ()) -> Samples:
    """Mix to another number of channels by fixed weights.

    Every output sample is a sum over its own inputs in channel order, so the result does not depend on how the stream
    was cut into frames.

    Args:
        samples: float32[n, channels_in].
        channels_out: At least 1.
        layout: What the inputs are; the default layout of their number when empty.

    Returns:
        float32[n, channels_out]; ``samples`` itself when nothing changes.
    """
    channels_in = samples.shape[1]
    if channels_in == channels_out:
        return samples
    return _weighted(samples, mixing_matrix(layout_for(channels_in, layout), channels_out))


@lru_cache(maxsize=64)
def mixing_matrix(layout: Layout, channels_out: int) -> npt.NDArray[np.float64]:
    """Gains from the channels of ``layout`` to the default layout of ``channels_out`` channels.

    To mono: left and right at -3 dB, centre at 0 dB, each surround at -6 dB. To stereo: centre and surrounds at -3 dB.
    To more: a channel that has its own loudspeaker goes there, another one to its neighbours. More outputs than inputs:
    output ``j`` copies input ``j mod N``.

    Returns:
        float64[channels_out, channels_in], to be left as it is. Rows sum to 1, so what all channels share stays as loud
        as it is; an output that nothing feeds (LFE) is silent.
    """
    channels_in = len(layout)
    gains = np.zeros((channels_out, channels_in))
    if channels_in <= channels_out:
        gains[np.arange(channels_out), np.arange(channels_out) % channels_in] = 1.0
        return gains
    if channels_out == 1:
        gains[0] = _to_stereo(layout).sum(axis=0) * _HALF_POWER
    elif channels_out == 2:
        gains[:] = _to_stereo(layout)
    else:
        targets = layout_for(channels_out)
        stereo = _to_stereo(layout)
        for i, speaker in enumerate(layout):
            own = speaker if speaker in targets else _SIDES.get(speaker, "")
            if own in targets:
                gains[targets.index(own), i] = 1.0
            else:  # the first two of every default layout beyond mono are the front pair
                gains[:2, i] = stereo[:, i]
    if not gains.any():  # nothing but an effects channel
        gains[:] = 1.0
    sums = gains.sum(axis=1, keepdims=True)
    return np.asarray(gains / np.where(sums > 0, sums, 1.0), np.float64)


def _to_stereo(layout: Layout) -> npt.NDArray[np.float64]:
    """BS.775 weights to left and right before scaling, float64[2, channels_in]."""
    gains = np.zeros((2, len(layout)))
    for i, speaker in enumerate(layout):
        name = speaker.upper()
        if name.startswith("LFE"):
            continue
        if name in ("FL", "FLC", "DL"):
            gains[0, i] = 1.0
        elif name in ("FR", "FRC", "DR"):
            gains[1, i] = 1.0
        elif name == "FC":
            gains[:, i] = _HALF_POWER
        elif name.endswith("L"):
            gains[0, i] = _HALF_POWER
        elif name.endswith("R"):
            gains[1, i] = _HALF_POWER
        else:  # one surround in the back or above, or a channel nobody named: both sides, -3 dB each of a surround's
            gains[:, i] = 0.5
    return gains


def _weighted(samples: Samples, gains: Sequence[npt.NDArray[np.float64]] | npt.NDArray[np.float64]) -> Samples:
    mixed = np.zeros((len(samples), len(gains)))
    for j, row in enumerate(gains):
        for i in np.flatnonzero(row):
            mixed[:, j] += row[i] * samples[:, i]
    return mixed.astype(np.float32)


class ChannelMixer:
    """Mixes a stream, and keeps a mono mix of channels in opposite phase from cancelling.

    The phase of each pair of loudspeakers (left and right, the surrounds) is measured in blocks of 20 ms counted from
    the first sample; the sign of the right one follows from the blocks before, over one block, without any delay. The
    output is the same however the stream is cut.

    Args:
        layout: What the inputs are.
        channels_out: How many channels to give.
        rate_hz: Sample rate, Hz.

    Attributes:
        opposed_at: Number of the first sample of a stretch in opposite phase that was heard for half a second and
            mended, or None; not for layouts with a centre, where it is intended.
    """

    def __init__(self, layout: Layout, channels_out: int, rate_hz: int) -> None:
        self.layout = layout
        self.channels_out = channels_out
        self.opposed_at: int | None = None
        self._gains = mixing_matrix(layout, channels_out)
        self._block = max(1, rate_hz * _BLOCK_MS // 1000)
        self._pairs = [
            _Pair(layout.index(a), layout.index(b))
            for a, b in _PAIRS
            if channels_out == 1 < len(layout) and a in layout and b in layout
        ]
        self._pending: Samples = np.zeros((0, len(layout)), np.float32)
        self._done = 0  # samples before the block under way

    def push(self, samples: Samples) -> Samples:
        """Mix float32[n, channels_in], finite, to float32[n, channels_out]; the same array when nothing changes."""
        if len(self.layout) == self.channels_out:
            return samples
        if not self._pairs:
            return _weighted(samples, self._gains)
        joined = np.concatenate((self._pending, samples)) if len(self._pending) else samples
        whole = len(joined) // self._block
        blocks = joined[: whole * self._block]
        signs = {pair.right: self._follow(pair, blocks, len(joined)) for pair in self._pairs}
        self._pending = joined[len(blocks) :].copy()
        self._done += len(blocks)
        turned = {right: sign[-len(samples) :] for right, sign in signs.items() if sign is not None and len(samples)}
        if not turned:
            return _weighted(samples, self._gains)
        mixed = np.zeros((len(samples), 1))
        for i in np.flatnonzero(self._gains[0]).tolist():
            gain = self._gains[0, i] * turned[i] if i in turned else self._gains[0, i]
            mixed[:, 0] += gain * samples[:, i]
        return mixed.astype(np.float32)

    def _follow(self, pair: _Pair, blocks: Samples, total: int) -> npt.NDArray[np.float64] | None:
        """Signs of the right channel for the ``total`` samples from the block under way on; None while all are 1."""
        ramps = [(pair.sign_before, pair.sign)]
        if len(blocks):
            left, right = (
                np.ascontiguousarray(blocks[:, i].reshape(-1, self._block), np.float64) for i in (pair.left, pair.right)
            )
            products = (left * right).mean(axis=1).tolist()
            powers = ((left * left).mean(axis=1) + (right * right).mean(axis=1)).tolist()
            for k, (product, power) in enumerate(zip(products, powers, strict=True)):
                pair.learn(product, power / 2)
                # A film uses opposite phase for what shall come from nowhere; its dialogue is in the centre.
                if pair.heard == _SAID_BLOCKS and self.opposed_at is None and "FC" not in self.layout:
                    self.opposed_at = max(0, self._done + (k + 1 - _SAID_BLOCKS) * self._block)
                ramps.append((pair.sign_before, pair.sign))
        if all(ramp == (1.0, 1.0) for ramp in ramps):
            return None
        slope = np.arange(self._block) / self._block
        signs = np.concatenate([a + (b - a) * slope for a, b in ramps])
        return signs[:total]


class _Pair:
    """What is known of the phase between two channels."""

    def __init__(self, left: int, right: int) -> None:
        self.left = left
        self.right = right
        self.sign = 1.0
        self.sign_before = 1.0
        self.heard = 0  # blocks in opposite phase that were loud enough to be heard
        self._product = 0.0
        self._power = 0.0

    def learn(self, product: float, power: float) -> None:
        """Take the mean product and the mean power of a block; decides the sign of the next one."""
        self.sign_before = self.sign
        if not 0 <= power < _BROKEN:  # samples that are not numbers
            return
        fade = 1 - 1 / _MEMORY_BLOCKS
        self._product = fade * self._product + product
        self._power = fade * self._power + power
        if power < _QUIET:
            return
        if self._product < _OPPOSED * self._power:
            self.sign = -1.0
        elif self._product > _ALIGNED * self._power:
            self.sign = 1.0
        if product < _OPPOSED * power:
            self.heard += 1
