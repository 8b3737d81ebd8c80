"""tee: one stream, several branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tolmach.pipelines.element import Element, ElementSpec, Pad, Settings

if TYPE_CHECKING:
    from tolmach.pipelines.frames import Frame


class TeeSettings(Settings):
    """tee has no settings."""


class Tee(Element):
    """Hands each frame to every branch in the order the branches are written.

    A branch takes a frame before the next branch sees it, so a slow branch slows the others unless a ``queue`` stands
    at its head. Frames are immutable and shared, not copied.
    """

    async def start(self) -> None:
        """Learn which branches are linked."""
        self._branches = [name for name in self.context.caps if name != "sink"]

    async def process(self, frame: Frame, pad: str) -> None:
        """Push to every branch."""
        for branch in self._branches:
            await self.context.push(frame, branch)


SPEC = ElementSpec(
    type="tee",
    summary="Copy a stream to several branches.",
    doc="Naming a tee again in `links` makes another branch: `fork -> tts`, `fork -> subs`. Frames are shared between "
    "branches, never copied. Branches run one after another; put a `queue` at the head of a branch that must not hold "
    "up the others.",
    settings=TeeSettings,
    pads=(Pad.sink(), Pad.src(name="src_%u", request=True, like="sink")),
    passthrough=True,
    build="tolmach.pipelines.builtin.tee:Tee",
    example="{type: tee}",
)
