"""An element that ends its process when it meets a certain sound: a recording that kills whoever decodes it."""

from __future__ import annotations

import os
import signal

from tolmach.pipelines.element import Element, ElementSpec, Pad, Settings
from tolmach.pipelines.frames import AudioFrame, Frame

DEADLY = 0.75
"""The first sample of a recording that kills."""


class DeadlySettings(Settings):
    """It has none."""


class Deadly(Element):
    """Passes on what does not kill it."""

    async def process(self, frame: Frame, pad: str) -> None:
        if isinstance(frame, AudioFrame) and frame.pts_ns == 0 and frame.samples.flat[0] == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        await self.context.push(frame)


SPEC = ElementSpec(
    type="deadly",
    summary="Die of a sound.",
    settings=DeadlySettings,
    pads=(Pad.sink("audio/raw"), Pad.src(like="sink")),
    build="tests.unit.deadly:Deadly",
    example="{type: deadly}",
)
