"""``subtitle_sink``: translations as SubRip or WebVTT."""

from __future__ import annotations

from tolmach.pipelines.element import Context
from tolmach.pipelines.frames import Frame, TranslationFrame
from tolmach.transports.files.specs import SubtitleSinkSettings
from tolmach.transports.files.subtitles import Layout, SubtitleWriter
from tolmach.transports.files.text_sink import TextSink

__all__ = ["SubtitleSink"]


class SubtitleSink(TextSink):
    """Writes final translations as cues."""

    settings: SubtitleSinkSettings

    def __init__(self, settings: SubtitleSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._writer = self._new_writer()

    def _new_writer(self) -> SubtitleWriter:
        s = self.settings
        layout = Layout(s.max_chars_per_line, s.max_lines, s.max_chars_per_s)
        return SubtitleWriter(layout, vtt=s.path.lower().endswith(".vtt"))

    async def start(self, head: str = "") -> None:
        """Open the file under its partial name.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        writer = self._new_writer()
        await super().start(head or writer.head)
        self._writer = writer

    async def process(self, frame: Frame, pad: str) -> None:
        """Take a translation; partial, rejected and empty ones and other frames are left out."""
        if isinstance(frame, TranslationFrame) and frame.final and frame.rejected is None and frame.text.strip():
            await self.write(self._writer.add(frame.utterance, frame.pts_ns, frame.end_ns, frame.text))

    async def drain(self) -> None:
        """Write the last cues and give the file its name."""
        await self.write(self._writer.finish())
        await super().drain()

    def unwritten(self) -> str:
        """The cues that are held back."""
        return self._writer.finish()

    def reset(self, utterance: int | None) -> None:
        """Forget the utterance that is held back."""
        self._writer.drop(utterance)
