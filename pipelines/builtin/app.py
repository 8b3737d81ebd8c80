"""app_src and app_sink: where a program pushes samples into a graph and takes its frames out; their specs.

They are GStreamer's appsrc and appsink. What they reach is made by the program (``tolmach.open``) and stands in
:mod:`tolmach.pipelines.builtin.app_ends`.
"""

from __future__ import annotations

from pydantic import field_validator

from tolmach.pipelines.caps import Caps, Structure
from tolmach.pipelines.element import ElementSpec, Field, Pad, Settings

__all__ = ["APP_SINK", "APP_SRC", "AppSinkSettings", "AppSrcSettings"]

ANY_AUDIO = "audio/raw, rate=[4000, 384000], channels=[1, 8]"
_AUDIO = "audio/raw"


class AppSrcSettings(Settings):
    """Settings of app_src."""

    caps: str = Field(
        ANY_AUDIO,
        min_length=1,
        max_length=1000,
        description="What the program will push, as caps. A single rate (audio/raw, rate=48000, channels=1) is the "
        "rate of a push that names none; a range is narrowed by what is pushed, so the next element must take all of "
        "it (resample does).",
    )
    max_ms: int = Field(
        1000, ge=20, le=3_600_000, description="Audio that may wait for the graph before a push waits, ms."
    )
    max_frames: int = Field(
        500, ge=1, le=1_000_000, description="Frames that may wait for the graph before a push waits."
    )

    @field_validator("caps")
    @classmethod
    def _readable(cls, value: str) -> str:
        caps = Caps.parse(value)
        if caps.is_any or caps.is_empty:
            raise ValueError(
                f"{value!r} does not say what is pushed; say for example audio/raw, rate=48000, channels=1"
            )
        return value

    @property
    def pushed(self) -> Caps:
        """What may be pushed; audio that does not say so is not cut into utterances."""
        return Caps.of(_unsegmented(structure) for structure in Caps.parse(self.caps))


def _unsegmented(structure: Structure) -> Structure:
    if structure.media != _AUDIO or structure.get("segmented") is not None:
        return structure
    return structure.with_fields({"segmented": frozenset({False})})


class AppSinkSettings(Settings):
    """Settings of app_sink."""

    caps: str = Field(
        "ANY", max_length=1000, description="What the program takes, as caps (audio/raw, rate=48000); ANY for whatever."
    )
    max_ms: int = Field(
        10_000, ge=20, le=3_600_000, description="Audio that may wait for the program before the graph waits, ms."
    )
    max_frames: int = Field(
        1000, ge=1, le=1_000_000, description="Frames that may wait for the program before the graph waits."
    )

    @field_validator("caps")
    @classmethod
    def _readable(cls, value: str) -> str:
        if Caps.parse(value).is_empty:
            raise ValueError(f"{value!r} takes nothing; ANY takes everything")
        return value


def _src_pads(settings: AppSrcSettings) -> tuple[Pad, ...]:
    caps = settings.pushed
    return (Pad("src", "src", caps, dynamic=not caps.is_fixed),)


def _sink_pads(settings: AppSinkSettings) -> tuple[Pad, ...]:
    return (Pad("sink", "sink", Caps.parse(settings.caps)),)


APP_SRC = ElementSpec(
    type="app_src",
    summary="Take what a program pushes: samples from a microphone, a socket, an array.",
    settings=AppSrcSettings,
    pads=_src_pads,
    build="tolmach.pipelines.builtin.app_ends:AppSrc",
    doc="""\
`async with tolmach.open(...) as graph` opens a graph inside a program, `await graph["in"].push(samples, rate_hz=48000)`
pushes into the app_src called `in`: float32 or int16, [n] or [n, channels]. A push waits while as much waits already as
`max_ms` and `max_frames` allow (`try_push` says no instead). Time is counted from the samples; `pts_ns` leaves a gap.
`await graph["in"].end()` ends the stream. A rate or a number of channels that the caps do not allow is refused.""",
    example='{type: app_src, caps: "audio/raw, rate=48000, channels=1"}',
)

APP_SINK = ElementSpec(
    type="app_sink",
    summary="Give frames to a program: texts, audio, whatever arrives.",
    settings=AppSinkSettings,
    pads=_sink_pads,
    build="tolmach.pipelines.builtin.app_ends:AppSink",
    doc="""\
`async with tolmach.open(...) as graph` opens a graph inside a program, `async for frame in graph["out"]` takes the
frames of the app_sink called `out`, in order, until the stream ends, and raises what failed the graph. The graph waits
while as much waits for the program as `max_ms` and `max_frames` allow.""",
    example='{type: app_sink, caps: "audio/raw, rate=48000"}',
)
