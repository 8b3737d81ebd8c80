"""identity, tee and capsfilter: frames pass as they came; to one branch, to several, or only if caps allow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import Element, ElementSpec, Field, Pad, Settings

if TYPE_CHECKING:
    from tolmach.pipelines.frames import Frame


class IdentitySettings(Settings):
    """identity has no settings."""


class Identity(Element):
    """Passes everything on; the contract's default behaviour is all it needs."""


IDENTITY = ElementSpec(
    type="identity",
    summary="Pass everything on unchanged.",
    settings=IdentitySettings,
    pads=(Pad.sink(), Pad.src(like="sink")),
    passthrough=True,
    build="tolmach.pipelines.builtin.pass_through:Identity",
    example="{type: identity}",
)


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


TEE = ElementSpec(
    type="tee",
    summary="Copy a stream to several branches.",
    doc="Naming a tee again in `links` makes another branch: `fork -> tts`, `fork -> subs`. Frames are shared between "
    "branches, never copied. Branches run one after another; put a `queue` at the head of a branch that must not hold "
    "up the others.",
    settings=TeeSettings,
    pads=(Pad.sink(), Pad.src(name="src_%u", request=True, like="sink")),
    passthrough=True,
    build="tolmach.pipelines.builtin.pass_through:Tee",
    example="{type: tee}",
)


def _caps(text: str) -> str:
    caps = Caps.parse(text)
    if caps.is_empty:
        raise ValueError("nothing could pass; write caps such as audio/raw, rate=16000")
    if any(structure.media == "audio/x-raw" for structure in caps):
        raise ValueError("samples are called audio/raw here, with rate and channels alone")
    return text


class CapsFilterSettings(Settings):
    """Settings of capsfilter."""

    caps: Annotated[str, AfterValidator(_caps)] = Field(
        "ANY", description="What may pass: a media type with fields, as `tolmach inspect` shows those of pads."
    )


class CapsFilter(Element):
    """Passes everything on: what may come was settled by negotiation, before anything ran."""


def _pads(settings: CapsFilterSettings) -> tuple[Pad, ...]:
    return (Pad.sink(settings.caps), Pad.src(like="sink"))


CAPSFILTER = ElementSpec(
    type="capsfilter",
    summary="Let only such audio or text pass over a link.",
    doc="""\
Changes nothing: it takes part in negotiation. Where the element before it has a choice, as `resample` has, it decides;
where it has none and gives something else, `tolmach check` says so. In a line it is what stands between two `!`:
`resample ! audio/raw, rate=16000, channels=1 ! webrtc_vad`.""",
    settings=CapsFilterSettings,
    pads=_pads,
    passthrough=True,
    build="tolmach.pipelines.builtin.pass_through:CapsFilter",
    example='{type: capsfilter, caps: "audio/raw, rate=16000, channels=1"}',
)
