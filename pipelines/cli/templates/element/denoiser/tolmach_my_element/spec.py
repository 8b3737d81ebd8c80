"""What ``my_element`` is; imports nothing heavy."""

from tolmach import ElementSpec, Field, Live, Pad, Settings


class MyElementSettings(Settings):
    """Settings of my_element."""

    threshold_db: Live[float] = Field(
        -50.0, ge=-120, le=0, description="What is quieter counts as noise: RMS of a block, dB full scale."
    )
    reduction_db: Live[float] = Field(20.0, ge=0, le=80, description="How much quieter noise becomes, dB.")


SPEC = ElementSpec(
    type="my_element",
    summary="Turn down what is quieter than speech.",
    doc="Audio is judged in blocks of 512 samples, so it comes out up to a block later. Put it before the detector.",
    settings=MyElementSettings,
    pads=(Pad.sink("audio/raw, channels=1, segmented=false"), Pad.src("audio/raw", like="sink")),
    build="tolmach_my_element.element:MyElement",
    example="{type: my_element, threshold_db: -45}",
)
