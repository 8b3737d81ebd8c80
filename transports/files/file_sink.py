"""``file_sink``: audio to a file that appears when it is whole, and where in the file it lands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import av
import numpy as np

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame, Samples, UtteranceEnd, ns_to_samples, samples_to_ns
from tolmach.pipelines.placing import Placement, Placer
from tolmach.pipelines.stdio import STDIO
from tolmach.transports.files.atomic import AtomicFile, resolve_path
from tolmach.transports.files.encode import Encoder, Writable
from tolmach.transports.files.specs import FileSinkSettings
from tolmach.transports.files.streams import StandardOutput, standard_output

__all__ = ["FileSink"]

_PARTS_A_SECOND, _PARTS_A_SECOND_STREAMED = 2, 10  # that many thread hops for a second of audio
_EMPTY_FORMAT = (16000, 1)  # of a file for which neither a frame nor the negotiated caps say rate and channels
_MIN_RATE_HZ, _MAX_RATE_HZ, _MAX_CHANNELS = 8000, 48000, 2
_FADE_MS = 10  # over which speech that is cut at the end of the recording fades, so that it does not click


class FileSink(Element):
    """Places audio on the file's timeline and writes it, half a second a thread hop (a tenth where it is streamed)."""

    settings: FileSinkSettings
    wants_progress = True  # at its end it is the length of the recording

    def __init__(self, settings: FileSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._output: AtomicFile | StandardOutput | None = None
        self._encoder: Encoder | None = None
        self._forget()

    def _forget(self) -> None:
        self._file: Writable | None = None
        self._format: tuple[int, int] | None = None
        chosen = self.settings
        self._placer = Placer(chosen.timeline, chosen.gap_ms, chosen.fit, chosen.max_tempo)
        self._parts: list[Placement | int] = []
        self._pending = 0  # samples in _parts that hold memory
        self._beyond: list[Samples | int] = []  # what may be cut, as the recording has not been seen to reach so far
        self._written = 0  # samples that went to the encoder

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
        if isinstance(frame, AudioFrame):
            self._check_format(frame)
        try:
            placements = self._placer.take(frame)
        except ValueError as error:
            raise self._failure(str(error), frame.pts_ns) from error
        await self._take(placements)
        if isinstance(frame, UtteranceEnd) and self.settings.path == STDIO:  # somebody may be listening
            await self._flush()

    async def progress(self, time_ns: int, pad: str) -> None:
        """The stream has come this far, at its end as far as the recording is long.

        Raises:
            ElementError: If the disk refuses the audio.
        """
        await self._take(self._placer.reach(time_ns))

    async def drain(self) -> None:
        """Write the rest and give the file its name.

        Raises:
            ElementError: If the disk refuses the rest.
            OutputError: If the name was taken meanwhile and may not be replaced.
        """
        if self._output is None:
            return
        self._format = self._format or self._negotiated()
        await self._take(self._placer.finish())
        if self.settings.length != "speech":
            try:
                silence = self._placer.rest(self._format[0])
            except ValueError as error:
                raise self._failure(str(error), None) from error
            self._parts += [silence] if silence else []
        await self._flush(last=True)
        encoder = self._encoder or self._make_encoder(self._format)
        await self._in_thread(encoder.close)
        await self._in_thread(self._output.commit)
        if encoder.clipped:
            text = f"{self.settings.path}: {encoder.clipped} values were louder than full scale and were clipped"
            self.context.post(WarningMessage(text, {"path": self.settings.path, "clipped": encoder.clipped}))
        self._tell_of_length(self._format[0])

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

    async def _take(self, placements: Sequence[Placement]) -> None:
        for placement in placements:
            rate_hz, count = placement.rate_hz, len(placement.samples)
            if placement.silence:
                self._parts.append(placement.silence)
            self._parts.append(placement)
            self._pending += count
            if placement.placed is not None:
                self.context.post(placement.placed.message)
            most = rate_hz // (_PARTS_A_SECOND_STREAMED if self.settings.path == STDIO else _PARTS_A_SECOND)
            if self._pending >= most or placement.silence > rate_hz:
                await self._flush()

    def _tell_of_length(self, rate_hz: int) -> None:
        path, placer = self.settings.path, self._placer
        if placer.late:
            text = (
                f"{path}: {placer.late} utterances do not fit their slots even {self.settings.max_tempo:g} times as "
                f"fast; what follows begins up to {placer.latest_ns / NS_PER_S:.1f} s late"
            )
            self.context.post(WarningMessage(text, {"path": path, "late": placer.late}))
        over_ns = samples_to_ns(placer.position, rate_hz) - placer.reached_ns
        if self.settings.timeline == "aligned" and placer.reached_ns and over_ns > NS_PER_S // 100:
            cut = self.settings.length == "exact"
            text = f"{path}: the last speech reaches {over_ns / NS_PER_S:.2f} s beyond the end of the recording " + (
                "and is cut there" if cut else "and is kept (length: exact cuts it)"
            )
            self.context.post(WarningMessage(text, {"path": path, "over_ns": over_ns}))

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

    def _negotiated(self) -> tuple[int, int]:
        caps = self.context.caps.get("sink")
        rate_hz, channels = (caps.value("rate"), caps.value("channels")) if caps is not None else (None, None)
        return (
            rate_hz if isinstance(rate_hz, int) else _EMPTY_FORMAT[0],
            channels if isinstance(channels, int) else _EMPTY_FORMAT[1],
        )

    async def _flush(self, *, last: bool = False) -> None:
        parts, self._parts, self._pending = self._parts, [], 0
        if not (parts or (last and self._beyond)) or self._format is None:
            return
        encoder = self._encoder or self._make_encoder(self._format)
        if self.settings.length == "exact" and self.settings.timeline == "aligned":
            # Where nothing says how long the recording is, nothing is cut.
            end = ns_to_samples(self._placer.reached_ns, self._format[0]) or (self._placer.position if last else 0)
            fade = self._format[0] * _FADE_MS // 1000
            await self._in_thread(self._write_up_to, encoder, parts, end, fade, last)
        else:
            await self._in_thread(lambda: encoder.write(_rendered(parts)))

    def _write_up_to(self, encoder: Encoder, parts: Sequence[Placement | int], end: int, fade: int, last: bool) -> None:
        """Write what the recording is known to reach, and in the end no more than that; runs in a thread."""
        held = [*self._beyond, *_rendered(parts)]
        writable, self._beyond = _split(held, (end if last else max(0, end - fade)) - self._written)
        if last and self._beyond:
            writable = _faded(writable, fade)
        self._written += sum(_length(part) for part in writable)
        encoder.write(writable)

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


def _rendered(parts: Sequence[Placement | int]) -> list[Samples | int]:
    return [part if isinstance(part, int) else part.render() for part in parts]


def _length(part: Samples | int) -> int:
    return part if isinstance(part, int) else len(part)


def _split(parts: Sequence[Samples | int], count: int) -> tuple[list[Samples | int], list[Samples | int]]:
    """The first ``count`` samples of some parts, and the rest."""
    first: list[Samples | int] = []
    for at, part in enumerate(parts):
        length = _length(part)
        if length > count:
            count = max(0, count)
            if isinstance(part, int):
                return [*first, count], [part - count, *parts[at + 1 :]]
            return [*first, part[:count]], [part[count:], *parts[at + 1 :]]
        first.append(part)
        count -= length
    return first, []


def _faded(parts: list[Samples | int], fade: int) -> list[Samples | int]:
    """The same, its last ``fade`` samples ending in silence where they are sound."""
    end = len(parts)
    while end and not isinstance(parts[end - 1], int):
        end -= 1
    sound = [part for part in parts[end:] if not isinstance(part, int)]
    if not sound:
        return parts
    samples = np.concatenate(sound)
    ramp = np.linspace(1.0, 0.0, min(fade, len(samples)), dtype=np.float32)[:, None]
    kept = len(samples) - len(ramp)
    return [*parts[:end], np.concatenate((samples[:kept], samples[kept:] * ramp))]
