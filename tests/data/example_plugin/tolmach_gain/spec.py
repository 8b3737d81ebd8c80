"""What ``gain`` is; imports nothing heavy."""

from tolmach import ElementSpec, Field, Pad, Settings


class GainSettings(Settings):
    """Settings of gain."""

    gain_db: float = Field(0.0, ge=-60, le=40, description="How much louder, dB.")


SPEC = ElementSpec(
    type="gain",
    summary="Make audio louder or quieter.",
    doc="Samples that would leave [-1, 1] are clipped.",
    settings=GainSettings,
    pads=(Pad.sink("audio/raw"), Pad.src("audio/raw", like="sink")),
    build="tolmach_gain.element:Gain",
    example="{type: gain, gain_db: 6}",
)
