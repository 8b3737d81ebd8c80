"""What ``my_element`` is; imports nothing heavy."""

from tolmach import ElementSpec, Field, Live, Pad, Settings


class MyElementSettings(Settings):
    """Settings of my_element."""

    gain_db: Live[float] = Field(0.0, ge=-60, le=40, description="How much louder, dB.")


SPEC = ElementSpec(
    type="my_element",
    summary="Make audio louder or quieter.",
    doc="Samples that would leave [-1, 1] are clipped.",
    settings=MyElementSettings,
    pads=(Pad.sink("audio/raw"), Pad.src("audio/raw", like="sink")),
    build="tolmach_my_element.element:MyElement",
    example="{type: my_element, gain_db: 6}",
)
