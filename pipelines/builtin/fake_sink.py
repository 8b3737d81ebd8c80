"""fake_sink: takes everything and keeps only counts."""

from __future__ import annotations

from tolmach.pipelines.bus import InfoMessage
from tolmach.pipelines.element import Element, ElementSpec, Field, Pad, Settings
from tolmach.pipelines.frames import AudioFrame, Frame, TranslationFrame, UtteranceEnd


class FakeSinkSettings(Settings):
    """Settings of fake_sink."""

    report: bool = Field(False, description="Post the counts on the bus at end of stream.")


class FakeSink(Element):
    """Throws frames away and counts them.

    Attributes:
        frames: Frames of any kind.
        samples: Audio samples per channel.
        utterances: Utterances that ended.
        translations: Final translations with text.
    """

    frames = 0
    samples = 0
    utterances = 0
    translations = 0

    async def process(self, frame: Frame, pad: str) -> None:
        """Count."""
        self.frames += 1
        if isinstance(frame, AudioFrame):
            self.samples += len(frame.samples)
        elif isinstance(frame, UtteranceEnd):
            self.utterances += 1
        elif isinstance(frame, TranslationFrame) and frame.final and frame.text:
            self.translations += 1

    async def drain(self) -> None:
        """Report, if asked to."""
        if self.settings.report:
            counts = {
                "frames": self.frames,
                "samples": self.samples,
                "utterances": self.utterances,
                "translations": self.translations,
            }
            text = ", ".join(f"{value} {name}" for name, value in counts.items())
            self.context.post(InfoMessage(f"took {text}", counts))


SPEC = ElementSpec(
    type="fake_sink",
    summary="Take everything, keep nothing but counts.",
    doc="Ends a branch whose output nobody wants: for benchmarks, and while a graph is being built.",
    settings=FakeSinkSettings,
    pads=(Pad.sink(),),
    build="tolmach.pipelines.builtin.fake_sink:FakeSink",
    example="{type: fake_sink, report: true}",
)
