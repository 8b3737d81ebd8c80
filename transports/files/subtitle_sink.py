"""``subtitle_sink``: translations as SubRip or WebVTT."""

from __future__ import annotations

from pipelines.element import Context
from pipelines.frames import Frame, TranslationFrame
from transports.files.specs import SubtitleSinkSettings
from transports.files.subtitles import Layout, break_text, format_srt, format_vtt, schedule
from transports.files.text_sink import TextSink

__all__ = ["SubtitleSink"]


class SubtitleSink(TextSink):
    """Writes final translations as cues.

    One utterance is held back: how long its cues may stay is known only when the next one starts.
    """

    settings: SubtitleSinkSettings

    def __init__(self, settings: SubtitleSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._layout = Layout(settings.max_chars_per_line, settings.max_lines, settings.max_chars_per_s)
        self._vtt = settings.path.lower().endswith(".vtt")
        self._forget()

    def _forget(self) -> None:
        self._held: TranslationFrame | None = None
        self._number = 0
        self._busy_until_ns = 0

    async def start(self) -> None:
        """Open the file under its temporary name.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        await super().start()
        self._forget()
        if self._vtt:
            await self.write("WEBVTT\n\n")

    async def process(self, frame: Frame, pad: str) -> None:
        """Take a translation; partial, rejected and empty ones and other frames are left out."""
        if isinstance(frame, TranslationFrame) and frame.final and frame.rejected is None and frame.text.strip():
            await self._write_held(frame.pts_ns)
            self._held = frame

    async def drain(self) -> None:
        """Write the last cues and give the file its name."""
        await self._write_held(None)
        await super().drain()

    def reset(self, utterance: int | None) -> None:
        """Forget the utterance that is held back."""
        if self._held is not None and utterance in (None, self._held.utterance):
            self._held = None

    async def _write_held(self, next_start_ns: int | None) -> None:
        if self._held is None:
            return
        frame, self._held = self._held, None
        start_ns = max(frame.pts_ns, self._busy_until_ns)
        lines = break_text(frame.text, self._layout)
        for cue in schedule(lines, start_ns, frame.end_ns, next_start_ns, self._layout):
            self._number += 1
            self._busy_until_ns = cue.end_ns
            await self.write(format_vtt(cue) if self._vtt else format_srt(self._number, cue))
