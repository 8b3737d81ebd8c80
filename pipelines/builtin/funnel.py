"""funnel: several streams into one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipelines.element import Element, ElementSpec, Pad, Settings

if TYPE_CHECKING:
    from pipelines.frames import Frame


class FunnelSettings(Settings):
    """funnel has no settings."""


class Funnel(Element):
    """Passes frames of all its sink pads on as they come; ends when all of them have ended."""

    async def start(self) -> None:
        """Make the lock that keeps two pads from pushing at once."""
        self._turn = asyncio.Lock()

    async def process(self, frame: Frame, pad: str) -> None:
        """Push; the element behind must never see two pushes at a time."""
        async with self._turn:
            await self.context.push(frame)


SPEC = ElementSpec(
    type="funnel",
    summary="Merge several streams into one, in order of arrival.",
    doc="Frames are not sorted: behind queues, the order of frames from different inputs depends on timing. Frames of "
    "one input keep their order. End of stream follows when every input has ended.",
    settings=FunnelSettings,
    pads=(Pad.sink(name="sink_%u", request=True), Pad.src(like="sink_%u")),
    build="pipelines.builtin.funnel:Funnel",
    example="{type: funnel}",
)
