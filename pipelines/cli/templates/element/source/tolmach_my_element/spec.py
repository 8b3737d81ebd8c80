"""What ``my_element`` is; imports nothing heavy."""

from tolmach import ElementSpec, Field, Pad, Settings


class MyElementSettings(Settings):
    """Settings of my_element."""

    rate_hz: int = Field(16000, ge=8000, le=48000, description="Sample rate, Hz.")
    freq_hz: float = Field(440.0, gt=0, le=4000, description="Frequency of the tone, Hz.")
    duration_ms: int = Field(1000, ge=0, le=3_600_000, description="Length, ms.")


def pads(settings: MyElementSettings) -> tuple[Pad, ...]:
    """What it gives depends on its settings."""
    return (Pad.src(f"audio/raw, rate={settings.rate_hz}, channels=1, segmented=false"),)


SPEC = ElementSpec(
    type="my_element",
    summary="Make a tone.",
    settings=MyElementSettings,
    pads=pads,
    build="tolmach_my_element.element:MyElement",
    example="{type: my_element, freq_hz: 1000}",
)
