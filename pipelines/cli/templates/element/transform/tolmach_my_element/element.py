"""The runtime of ``my_element``."""

import dataclasses

import numpy as np
from tolmach import AudioFrame, Element, Frame

from tolmach_my_element.spec import MyElementSettings


class MyElement(Element):
    """Multiplies samples by 10^(gain_db/20); everything else passes unchanged."""

    settings: MyElementSettings

    async def process(self, frame: Frame, pad: str) -> None:
        """Scale a frame's samples into an array of its own: a tee shares the one that came in."""
        if isinstance(frame, AudioFrame):
            factor = np.float32(10 ** (self.settings.gain_db / 20))
            frame = dataclasses.replace(frame, samples=np.clip(frame.samples * factor, -1, 1))
        await self.context.push(frame)
