"""capsfilter: lets only what it is told to over a link, and so chooses where elements around it leave a choice."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import Element, ElementSpec, Field, Pad, Settings


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


SPEC = ElementSpec(
    type="capsfilter",
    summary="Let only such audio or text pass over a link.",
    doc="""\
Changes nothing: it takes part in negotiation. Where the element before it has a choice, as `resample` has, it decides;
where it has none and gives something else, `tolmach check` says so. In a line it is what stands between two `!`:
`resample ! audio/raw, rate=16000, channels=1 ! webrtc_vad`.""",
    settings=CapsFilterSettings,
    pads=_pads,
    passthrough=True,
    build="tolmach.pipelines.builtin.capsfilter:CapsFilter",
    example='{type: capsfilter, caps: "audio/raw, rate=16000, channels=1"}',
)
