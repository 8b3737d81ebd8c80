"""The runtime of ``my_element``: audio in blocks of one size, however it comes."""

import numpy as np
import numpy.typing as npt
from tolmach import AudioFrame, Context, Element, Frame, samples_to_ns

from tolmach_my_element.spec import MyElementSettings

BLOCK = 512
"""Samples that are worked on at a time."""

JOIN_NS = 1_000_000
"""Frames that are less apart follow each other; more is a gap."""


class MyElement(Element):
    """Holds what does not fill a block; time is that of what was pushed, so any chunking gives the same output."""

    settings: MyElementSettings
    _held: npt.NDArray[np.float32]
    _begin_ns: int | None

    def __init__(self, settings: MyElementSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._rate_hz = 0
        self.reset(None)

    async def process(self, frame: Frame, pad: str) -> None:
        """Push the blocks that are full."""
        if not isinstance(frame, AudioFrame):
            await self.drain()  # nothing may overtake the audio in front of it
            await self.context.push(frame)
            return
        if self._begin_ns is None or abs(frame.pts_ns - self._time_ns(len(self._held))) > JOIN_NS:
            await self.drain()
            self._begin_ns, self._rate_hz = frame.pts_ns, frame.rate_hz
        self._held = np.concatenate([self._held, frame.samples])
        while len(self._held) >= BLOCK:
            await self._push(BLOCK)

    async def progress(self, time_ns: int, pad: str) -> None:
        """The stream has come no further than what is still held."""
        await self.context.progress(min(time_ns, self._time_ns()) if len(self._held) else time_ns, pad)

    async def drain(self) -> None:
        """Push the last block, which is not full, and begin anew."""
        if len(self._held):
            await self._push(len(self._held))
        self.reset(None)

    async def stop(self) -> None:
        """Throw away what is held."""
        self.reset(None)

    def reset(self, utterance: int | None) -> None:
        """Forget the stream so far."""
        self._held = np.zeros((0, 1), np.float32)
        self._begin_ns = None
        self._pushed = 0
        self._gain = 1.0

    @property
    def latency_ns(self) -> int:
        """The last sample of a block waits for nothing, the first for the whole block."""
        return samples_to_ns(BLOCK, self._rate_hz) if self._rate_hz else 0

    def _time_ns(self, samples: int = 0) -> int:
        """Media time of a sample that is held, from the total: what is rounded once does not add up."""
        return (self._begin_ns or 0) + samples_to_ns(self._pushed + samples, self._rate_hz or 1)

    async def _push(self, count: int) -> None:
        block, self._held = self._held[:count], self._held[count:]
        pts_ns = self._time_ns()
        self._pushed += count
        await self.context.push(AudioFrame(self._denoised(block), self._rate_hz, pts_ns))

    def _denoised(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The block, turned down when it is quiet; the gain changes along it, a step would click."""
        rms = float(np.sqrt(np.mean(np.square(block, dtype=np.float64))))
        is_noise = rms < 10 ** (self.settings.threshold_db / 20)
        before, self._gain = self._gain, 10 ** (-self.settings.reduction_db / 20) if is_noise else 1.0
        return block * np.linspace(before, self._gain, len(block), dtype=np.float32)[:, None]
