"""``jsonl_sink``: what passes, as JSON lines."""

from __future__ import annotations

from dataclasses import dataclass

from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import NS_PER_MS, AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.transports.files.events import AudioSummary, audio_event, dumps, translation_event, utterance_event
from tolmach.transports.files.specs import JsonlSinkSettings
from tolmach.transports.files.text_sink import TextSink

__all__ = ["JsonlSink"]

_MAX_OPEN = 256  # utterances open at once; an element that never closes its utterances must not grow our memory


@dataclass(slots=True)
class _Open:
    """An utterance that has started."""

    start_ns: int
    audio: AudioSummary | None = None


class JsonlSink(TextSink):
    """Writes a line per utterance when it ends, and per translation when it comes."""

    settings: JsonlSinkSettings

    def __init__(self, settings: JsonlSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._open: dict[int, _Open] = {}
        self._stream: AudioSummary | None = None

    async def start(self, head: str = "") -> None:
        """Open the file under its partial name.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        await super().start(head)
        self.reset(None)

    async def process(self, frame: Frame, pad: str) -> None:
        """Note the frame.

        Raises:
            ElementError: If the rate or the channels change within an utterance, or the disk refuses the lines.
        """
        if isinstance(frame, TranslationFrame):
            await self.write(dumps(translation_event(frame)))
        elif isinstance(frame, UtteranceStart):
            await self._begin(frame.utterance, frame.pts_ns)
        elif isinstance(frame, UtteranceEnd):
            await self._end(frame)
        elif frame.utterance is None:
            await self._add_to_stream(frame)
        else:
            if frame.utterance not in self._open:
                await self._begin(frame.utterance, frame.pts_ns)
            self._add_to_utterance(frame, frame.utterance)

    async def drain(self) -> None:
        """Write what is still open and give the file its name."""
        await self.write(self.unwritten())
        await super().drain()

    def unwritten(self) -> str:
        """What is still open."""
        lines = [dumps(utterance_event(n, found.start_ns, None, found.audio)) for n, found in self._open.items()]
        if self._stream is not None:
            lines.append(dumps(audio_event(self._stream)))
        self.reset(None)
        return "".join(lines)

    def reset(self, utterance: int | None) -> None:
        """Forget an open utterance (None: everything that is open)."""
        if utterance is None:
            self._open = {}
            self._stream = None
        else:
            self._open.pop(utterance, None)

    async def _begin(self, utterance: int, start_ns: int) -> None:
        if utterance in self._open:
            await self._break_off(utterance)
        elif len(self._open) >= _MAX_OPEN:
            await self._break_off(next(iter(self._open)))
        self._open[utterance] = _Open(start_ns)

    async def _end(self, frame: UtteranceEnd) -> None:
        found = self._open.pop(frame.utterance, None) or _Open(frame.pts_ns)
        await self.write(dumps(utterance_event(frame.utterance, found.start_ns, frame, found.audio)))

    async def _break_off(self, utterance: int) -> None:
        found = self._open.pop(utterance)
        await self.write(dumps(utterance_event(utterance, found.start_ns, None, found.audio)))

    async def _add_to_stream(self, frame: AudioFrame) -> None:
        if self._stream is not None and not _follows(self._stream, frame):
            await self.write(dumps(audio_event(self._stream)))
            self._stream = None
        if self._stream is None:
            self._stream = AudioSummary(frame.pts_ns, frame.rate_hz, frame.channels)
        self._stream.add(frame)

    def _add_to_utterance(self, frame: AudioFrame, utterance: int) -> None:
        found = self._open[utterance]
        if found.audio is None:
            found.audio = AudioSummary(frame.pts_ns, frame.rate_hz, frame.channels)
        elif not _alike(found.audio, frame):
            raise ElementError(
                f"utterance {utterance} changes from {found.audio.rate_hz} Hz, {found.audio.channels} channels to "
                f"{frame.rate_hz} Hz, {frame.channels} channels; put a resample before {self.context.name}",
                element=self.context.name,
                graph=self.context.graph,
                pts_ns=frame.pts_ns,
            )
        found.audio.add(frame)


def _alike(audio: AudioSummary, frame: AudioFrame) -> bool:
    return (audio.rate_hz, audio.channels) == (frame.rate_hz, frame.channels)


def _follows(audio: AudioSummary, frame: AudioFrame) -> bool:
    # A gap of a millisecond is no rounding any more.
    return _alike(audio, frame) and abs(frame.pts_ns - audio.end_ns) < NS_PER_MS
