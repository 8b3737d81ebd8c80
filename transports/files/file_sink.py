"""``file_sink``: audio to a file that appears when it is whole, and where in the file it lands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import av

from tolmach.pipelines.bus import PlacedMessage, WarningMessage
from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import (
    NS_PER_MS,
    NS_PER_S,
    AudioFrame,
    Frame,
    Samples,
    UtteranceEnd,
    UtteranceStart,
    ns_to_samples,
    samples_to_ns,
)
from tolmach.pipelines.stdio import STDIO
from tolmach.transports.files.atomic import AtomicFile, resolve_path
from tolmach.transports.files.encode import Encoder, Writable
from tolmach.transports.files.specs import FileSinkSettings
from tolmach.transports.files.streams import StandardOutput, standard_output

__all__ = ["MAX_SILENCE_NS", "FileSink", "PlacedUtterance", "Timeline"]

MAX_SILENCE_NS = 24 * 3600 * NS_PER_S
"""The longest gap that is filled. More is a broken timestamp, and would fill the disk with silence."""

_MAX_OPEN = 256  # utterances announced but not heard yet; bounds memory against elements that never close them


@dataclass(frozen=True, slots=True)
class PlacedUtterance:
    """An utterance that got its place in the file.

    Attributes:
        utterance: Its number.
        source_start_ns: When its source started, ns.
        placed_ns: Where it starts in the file, ns.
    """

    utterance: int
    source_start_ns: int
    placed_ns: int

    @property
    def lag_ns(self) -> int:
        """How much later than its source it starts, ns (never negative)."""
        return self.placed_ns - self.source_start_ns


class Timeline:
    """Decides how much silence goes before each run of samples. Pure: counts samples only.

    ``aligned``: an utterance starts at its source's start, or right behind what was written already if that is later;
    within it samples follow each other whatever their timestamps (a voice knows nothing of source time). Audio outside
    utterances goes to its own timestamp, or right behind. ``compact``: ``gap_ms`` between utterances, no other silence.

    Args:
        mode: ``aligned`` or ``compact``.
        gap_ms: Silence between utterances in ``compact``, ms.
    """

    def __init__(self, mode: Literal["aligned", "compact"], gap_ms: int) -> None:
        self._aligned = mode == "aligned"
        self._gap_ns = gap_ms * NS_PER_MS
        self._current: int | None = None
        self._starts: dict[int, int] = {}
        self.position = 0
        """Samples placed so far, silence included."""

    def start(self, utterance: int, source_start_ns: int) -> None:
        """An utterance is announced; it takes its place with its first sample, so that an empty one takes none."""
        if self._current == utterance:
            self._current = None
        self._starts.pop(utterance, None)
        if len(self._starts) >= _MAX_OPEN:
            del self._starts[next(iter(self._starts))]
        self._starts[utterance] = source_start_ns

    def end(self, utterance: int) -> None:
        """An utterance is over; the next samples of the same number are another one."""
        if self._current == utterance:
            self._current = None
        self._starts.pop(utterance, None)

    def place(
        self, samples: int, rate_hz: int, pts_ns: int, utterance: int | None
    ) -> tuple[int, PlacedUtterance | None]:
        """Place a run of consecutive samples.

        Args:
            samples: How many.
            rate_hz: The file's sample rate, Hz; the same in every call.
            pts_ns: Media time of the first one, ns.
            utterance: What they belong to, or None outside utterances.

        Returns:
            The silence to write before them, in samples, and the utterance if it starts here on an aligned timeline.

        Raises:
            ValueError: If a gap of more than :data:`MAX_SILENCE_NS` would have to be filled.
        """
        opened = None
        if utterance is None:
            silence = self._until(pts_ns, rate_hz) if self._aligned else 0
        elif utterance == self._current:
            silence = 0
        else:
            source_start_ns = self._starts.get(utterance, pts_ns)
            if self._aligned:
                silence = self._until(source_start_ns, rate_hz)
                placed_ns = samples_to_ns(self.position + silence, rate_hz)
                # Rounding to the sample may put it half a sample early; nobody is earlier than his source.
                opened = PlacedUtterance(utterance, source_start_ns, max(placed_ns, source_start_ns))
            else:
                silence = ns_to_samples(self._gap_ns, rate_hz) if self.position else 0
        self._current = utterance
        self.position += silence + samples
        return silence, opened

    def _until(self, time_ns: int, rate_hz: int) -> int:
        silence = max(0, ns_to_samples(time_ns, rate_hz) - self.position)
        if silence > ns_to_samples(MAX_SILENCE_NS, rate_hz):
            hours = samples_to_ns(silence, rate_hz) / NS_PER_S / 3600
            raise ValueError(f"the timestamps jump ahead by {hours:.0f} hours")
        return silence


_PARTS_A_SECOND, _PARTS_A_SECOND_STREAMED = 2, 10  # that many thread hops for a second of audio
_EMPTY_FORMAT = (16000, 1)  # of a file for which neither a frame nor the negotiated caps say rate and channels
_MIN_RATE_HZ, _MAX_RATE_HZ, _MAX_CHANNELS = 8000, 48000, 2


class FileSink(Element):
    """Places audio on the file's timeline and writes it, half a second a thread hop (a tenth where it is streamed)."""

    settings: FileSinkSettings

    def __init__(self, settings: FileSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._output: AtomicFile | StandardOutput | None = None
        self._encoder: Encoder | None = None
        self._forget()

    def _forget(self) -> None:
        self._file: Writable | None = None
        self._format: tuple[int, int] | None = None
        self._timeline = Timeline(self.settings.timeline, self.settings.gap_ms)
        self._parts: list[Samples | int] = []
        self._pending = 0  # samples in _parts that hold memory

    async def start(self) -> None:
        """Open the file under its temporary name.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        await self.stop()
        if self.settings.path == STDIO:
            self._output = standard_output(self.context, binary=True)
        else:
            target = resolve_path(self.context.base_dir, self.settings.path)
            self._output = AtomicFile(target, overwrite=self.context.overwrite)
        self._file = await asyncio.to_thread(self._output.open)

    async def process(self, frame: Frame, pad: str) -> None:
        """Take audio and the marks of utterances; other frames are ignored.

        Raises:
            ElementError: If rate or channels change or are none that a file can have, timestamps jump by days, or the
                disk refuses the audio.
        """
        if isinstance(frame, UtteranceStart):
            self._timeline.start(frame.utterance, frame.pts_ns)
        elif isinstance(frame, UtteranceEnd):
            self._timeline.end(frame.utterance)
            if self.settings.path == STDIO:  # somebody may be listening
                await self._flush()
        elif isinstance(frame, AudioFrame) and len(frame.samples):
            await self._take(frame)

    async def drain(self) -> None:
        """Write the rest and give the file its name.

        Raises:
            ElementError: If the disk refuses the rest.
            OutputError: If the name was taken meanwhile and may not be replaced.
        """
        if self._output is None:
            return
        await self._flush()
        encoder = self._encoder or self._make_encoder(self._format or self._negotiated())
        await self._in_thread(encoder.close)
        await self._in_thread(self._output.commit)
        if encoder.clipped:
            text = f"{self.settings.path}: {encoder.clipped} values were louder than full scale and were clipped"
            self.context.post(WarningMessage(text, {"path": self.settings.path, "clipped": encoder.clipped}))

    async def stop(self) -> None:
        """Remove what was not finished."""
        output, self._output = self._output, None
        encoder, self._encoder = self._encoder, None
        self._forget()
        if isinstance(output, StandardOutput):
            output.interrupt()  # a write that waits for a reader would keep the encoder
        if encoder is not None:
            await asyncio.to_thread(encoder.abort)
        if output is not None:
            await asyncio.to_thread(output.discard)

    async def _take(self, frame: AudioFrame) -> None:
        self._check_format(frame)
        try:
            silence, placed = self._timeline.place(len(frame.samples), frame.rate_hz, frame.pts_ns, frame.utterance)
        except ValueError as error:
            raise self._failure(str(error), frame.pts_ns) from error
        if silence:
            self._parts.append(silence)
        self._parts.append(frame.samples)
        self._pending += len(frame.samples)
        if placed is not None:
            self._post_lag(placed)
        most = frame.rate_hz // (_PARTS_A_SECOND_STREAMED if self.settings.path == STDIO else _PARTS_A_SECOND)
        if self._pending >= most or silence > frame.rate_hz:
            await self._flush()

    def _check_format(self, frame: AudioFrame) -> None:
        found = (frame.rate_hz, frame.channels)
        if self._format is None:
            if not (_MIN_RATE_HZ <= found[0] <= _MAX_RATE_HZ and 1 <= found[1] <= _MAX_CHANNELS):
                raise self._failure(
                    f"cannot hold {_words(found)} (8000 to 48000 Hz, 1 or 2 channels); put a resample before it",
                    frame.pts_ns,
                )
            self._format = found
        elif self._format != found:
            raise self._failure(
                f"the audio changes from {_words(self._format)} to {_words(found)}, which a file cannot; "
                "put a resample with rate_hz and channels before it",
                frame.pts_ns,
            )

    def _post_lag(self, placed: PlacedUtterance) -> None:
        start_ns = placed.source_start_ns
        message = PlacedMessage(placed.utterance, start_ns, placed.placed_ns, placed.lag_ns, pts_ns=start_ns)
        self.context.post(message)

    def _negotiated(self) -> tuple[int, int]:
        caps = self.context.caps.get("sink")
        rate_hz, channels = (caps.value("rate"), caps.value("channels")) if caps is not None else (None, None)
        return (
            rate_hz if isinstance(rate_hz, int) else _EMPTY_FORMAT[0],
            channels if isinstance(channels, int) else _EMPTY_FORMAT[1],
        )

    async def _flush(self) -> None:
        parts, self._parts, self._pending = self._parts, [], 0
        if not parts or self._format is None:
            return
        encoder = self._encoder or self._make_encoder(self._format)
        await self._in_thread(encoder.write, parts)

    def _make_encoder(self, audio_format: tuple[int, int]) -> Encoder:
        assert self._file is not None  # noqa: S101 -- start() opened it; without start there is no process()
        self._encoder = Encoder(self._file, self.settings.suffix, *audio_format)
        return self._encoder

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            await asyncio.to_thread(function, *arguments)
        except (OSError, av.FFmpegError) as error:
            raise self._failure(f"cannot be written: {error.strerror or error}", None) from error

    def _failure(self, text: str, pts_ns: int | None) -> ElementError:
        return self.context.error(f"{self.settings.path}: {text}", pts_ns)


def _words(audio_format: tuple[int, int]) -> str:
    rate_hz, channels = audio_format
    return f"{rate_hz} Hz, {channels} channel{'s' if channels != 1 else ''}"
