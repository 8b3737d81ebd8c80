"""What ``my_element`` is; imports nothing heavy."""

from tolmach import ElementSpec, Field, Heard, Pad, Settings

RATE_HZ = 16000
"""Rate that the model takes, Hz."""

TAG = r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*"


class MyElementSettings(Settings):
    """Settings of my_element."""

    source_lang: Heard[str] = Field("en", pattern=f"^{TAG}$", description="Language that is spoken, a BCP-47 tag.")
    target_lang: str = Field("de", pattern=f"^{TAG}$", description="Language of the text, a BCP-47 tag.")
    max_utterance_ms: int = Field(60_000, ge=1000, le=600_000, description="Longest utterance accepted, ms.")
    max_in_flight: int = Field(2, ge=1, le=64, description="Utterances under way at a time before the stream waits.")


def pads(settings: MyElementSettings) -> tuple[Pad, ...]:
    """Utterances in, text out; caps say in which language, so that no voice gets another one."""
    return (
        Pad.sink(f"audio/raw, rate={RATE_HZ}, channels=1, segmented=true"),
        Pad.src(f"text/x-translation, lang={settings.target_lang}"),
    )


SPEC = ElementSpec(
    type="my_element",
    summary="Translate speech.",
    doc="A beginning: it says how long each utterance is. Ask a model in `translate`.",
    settings=MyElementSettings,
    pads=pads,
    build="tolmach_my_element.element:MyElement",
    example="{type: my_element, source_lang: en, target_lang: de}",
)
