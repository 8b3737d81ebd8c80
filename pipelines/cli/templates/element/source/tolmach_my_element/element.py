"""The runtime of ``my_element``."""

import numpy as np
from tolmach import AudioFrame, SourceElement, samples_to_ns

from tolmach_my_element.spec import MyElementSettings


class MyElement(SourceElement):
    """Counts samples; what time it is, is never asked."""

    settings: MyElementSettings
    _finished = False

    async def start(self) -> None:
        """Begin afresh, also after a restart."""
        self._finished = False

    async def produce(self) -> None:
        """Push frames of 20 ms; each push waits until there is room for it."""
        rate_hz = self.settings.rate_hz
        total = rate_hz * self.settings.duration_ms // 1000
        at = 0
        while at < total and not self._finished:
            t = np.arange(at, min(at + rate_hz // 50, total)) / rate_hz
            samples = (0.5 * np.sin(2 * np.pi * self.settings.freq_hz * t)).astype(np.float32)[:, None]
            # From the total: the length of one frame in ns is rounded, and the errors would add up.
            await self.context.push(AudioFrame(samples, rate_hz, samples_to_ns(at, rate_hz)))
            at += len(t)

    def finish(self) -> None:
        """End after the frame in hand."""
        self._finished = True
