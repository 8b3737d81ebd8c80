"""What ``my_element`` is; imports nothing heavy."""

from tolmach import ElementSpec, Field, Pad, Settings


class MyElementSettings(Settings):
    """Settings of my_element."""

    words: tuple[str, ...] = Field(
        ("damn",), max_length=1000, description="What to hide, in small letters or capitals."
    )
    mask: str = Field("***", max_length=100, description="What stands there instead.")


SPEC = ElementSpec(
    type="my_element",
    summary="Hide words in translations.",
    doc="Voices, subtitles and captions behind it have the text without them.",
    settings=MyElementSettings,
    pads=(Pad.sink("text/x-translation"), Pad.src("text/x-translation", like="sink")),
    build="tolmach_my_element.element:MyElement",
    example="{type: my_element, words: [damn, hell]}",
)
