"""A copy of a film with more tracks: what a dub made of it, put back into the container it came from.

Picture, sound and everything else of the original are copied packet by packet, as they are; new sound is encoded, new
subtitles are written as the container wants them. Only packets are looked at, one after the other, so memory stays
flat whatever the length.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, cast

import av
import av.logging
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream

from tolmach.pipelines.errors import Cancelled, MediaError
from tolmach.transports.files.atomic import AtomicFile
from tolmach.transports.files.decode import ANY_TAGS, PROBE_MORE, format_whitelist
from tolmach.transports.files.tracks import three_letters

__all__ = ["CONTAINERS", "NewTrack", "check", "mux"]

av.logging.set_level(None)  # libav writes on stderr otherwise; what went wrong is in the exceptions

_LATE_STREAMS = frozenset({".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob"})
"""Containers that find their streams while they are read."""

_RATE_HZ = 48_000
_BUFFER_BYTES = 1 << 20
_MS = Fraction(1, 1000)

# What the encoder of mov_text wants to know of a style: libavcodec's ASS_DEFAULT_* (ass.h), white on a black outline.
_ASS_HEADER = b"""[Script Info]\r
ScriptType: v4.00+\r
PlayResX: 384\r
PlayResY: 288\r
\r
[V4+ Styles]\r
Format: Name, Fontname, Fontsize, PrimaryColour, OutlineColour, Bold, Italic, Underline, Outline, Alignment\r
Style: Default,Arial,16,&Hffffff,&H0,0,0,0,1,2\r
\r
[Events]\r
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r
"""


@dataclass(frozen=True, slots=True)
class _Container:
    """What a container is called, and what new tracks in it are.

    Attributes:
        muxer: libav's name.
        audio: Codec of new sound.
        text: Codec of new subtitles, or None if it holds no text.
        options: Options of the muxer; ``bitexact`` leaves the version of libav and random numbers out.
    """

    muxer: str
    audio: str
    text: str | None
    options: tuple[tuple[str, str], ...] = (("fflags", "+bitexact"),)


_MP4 = _Container("mp4", "aac", "mov_text")
_MATROSKA = _Container("matroska", "aac", "subrip")
# Without `mpegts_copyts` everything is moved by 1.4 s, the picture as well.
_MPEGTS = _Container("mpegts", "aac", None, (("fflags", "+bitexact"), ("mpegts_copyts", "1")))

CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _Container("mov", "aac", "mov_text"),
    ".mkv": _MATROSKA,
    ".mka": _MATROSKA,
    ".webm": _Container("webm", "libopus", "webvtt"),
    ".ts": _MPEGTS,
    ".m2ts": _Container("mpegts", "aac", None, (*_MPEGTS.options, ("mpegts_m2ts_mode", "1"))),
    ".mts": _Container("mpegts", "aac", None, (*_MPEGTS.options, ("mpegts_m2ts_mode", "1"))),
}
"""Containers that hold several sound tracks, by suffix."""


class NewTrack(Protocol):
    """A track that the copy gets beside those of the original."""

    @property
    def path(self) -> Path:
        """A sound file, or subtitles (.srt, .vtt); its time 0 is that of the original."""

    @property
    def lang(self) -> str:
        """BCP-47 tag, or "" if it is in several languages."""

    @property
    def title(self) -> str:
        """What players show."""

    @property
    def default(self) -> bool:
        """Whether players choose it."""


def check(source: Path, target: Path, sounds: Sequence[NewTrack], subtitles: Sequence[NewTrack]) -> str:
    """Whether the copy can be made; reads headers alone. Blocks.

    Returns:
        "", or one line that says why not and what can hold it.
    """
    problem = _suffix_problem(target, subtitles=bool(subtitles))
    if problem:
        return problem
    try:
        with ExitStack() as opened:
            original = opened.enter_context(_open(source))
            copy = _Copy(opened, original, io.BytesIO(), target, sounds, subtitles, trial=True)
            copy.begin()
    except MediaError as error:
        return str(error)
    return ""


def mux(
    source: Path,
    target: Path,
    sounds: Sequence[NewTrack],
    subtitles: Sequence[NewTrack],
    *,
    overwrite: bool,
    stop: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Write ``target``: all of ``source``, and more tracks. It appears when it is whole. Blocks.

    Args:
        source: The original; it is only read.
        target: The copy; its suffix chooses the container.
        sounds: New sound tracks.
        subtitles: New subtitles.
        overwrite: Whether a file that is there may be replaced.
        stop: Asked at every packet whether to give up.

    Returns:
        What people should know: tracks that could not be kept, where a damaged original ends.

    Raises:
        Cancelled: Once ``stop`` says so; nothing is left behind.
        MediaError: If the original cannot be read, or the container cannot hold it.
        OutputError: If ``target`` cannot be written.
        OSError: If the disk is full.
    """
    if problem := _suffix_problem(target, subtitles=bool(subtitles)):
        raise MediaError(problem, path=str(target))
    output = AtomicFile(target, overwrite=overwrite)
    file = output.open()
    try:
        with ExitStack() as opened:
            original = opened.enter_context(_open(source))
            copy = _Copy(opened, original, file, target, sounds, subtitles)
            copy.begin()
            copy.write(stop)
        output.commit()
    except av.FFmpegError as error:
        raise MediaError(f"{target}: cannot be written: {error.strerror or error}", path=str(target)) from error
    finally:
        output.discard()
    return copy.notes


def _suffix_problem(target: Path, *, subtitles: bool) -> str:
    suffix = target.suffix.lower()
    container = CONTAINERS.get(suffix)
    if container is None:
        known = ", ".join(sorted(CONTAINERS))
        said = f"a {suffix} file" if suffix else "a file without a suffix"
        return f"{target.name}: {said} cannot hold more tracks; --mux-to mkv can ({known} are known)"
    if subtitles and container.text is None:
        return f"{target.name}: a {suffix} file holds no subtitles as text; --mux-to mkv or mp4 does"
    return ""


def _open(source: Path) -> InputContainer:
    # What ffmpeg asks for, too: otherwise the size of a picture that begins late is not found.
    more = {**PROBE_MORE, "scan_all_pmts": "1"} if source.suffix.lower() in _LATE_STREAMS else {}
    options = {"protocol_whitelist": "file", "format_whitelist": format_whitelist(), **more}
    try:
        container: InputContainer = av.open(f"file:{source}", options=options, **ANY_TAGS)
    except av.FFmpegError as error:
        raise MediaError(f"{source}: cannot be read: {error.strerror or error}", path=str(source)) from error
    return container


class _Copy:
    """One copy while it is made.

    Args:
        opened: Closes what is opened on the way.
        original: The container that is copied.
        file: What is written to.
        target: How the copy is called.
        sounds: New sound tracks.
        subtitles: New subtitles.
        trial: Whether new tracks need not exist yet, as only the header is to be tried.
    """

    def __init__(
        self,
        opened: ExitStack,
        original: InputContainer,
        file: Any,
        target: Path,
        sounds: Sequence[NewTrack],
        subtitles: Sequence[NewTrack],
        *,
        trial: bool = False,
    ) -> None:
        self.notes: list[str] = []
        self._opened = opened
        self._original = original
        self._target = target
        self._kind = CONTAINERS[target.suffix.lower()]
        self._sounds, self._subtitles, self._trial = sounds, subtitles, trial
        self._out: OutputContainer = opened.enter_context(
            av.open(
                file,
                "w",
                format=self._kind.muxer,
                container_options=dict(self._kind.options),
                buffer_size=_BUFFER_BYTES,
            )
        )
        self._streams: dict[int, Stream] = {}
        self._last: dict[int, int] = {}
        self._lines: list[_Line] = []
        # Media time counts from the earliest stream; its timestamp need not be 0.
        start = cast("int | None", original.start_time)
        self._start_s = Fraction(start or 0, av.time_base)

    def begin(self) -> None:
        """Make the tracks and write the header.

        Raises:
            MediaError: If the container cannot hold a track.
        """
        self._out.metadata.update(self._original.metadata)
        dubbed = any(sound.default for sound in self._sounds)
        for stream in self._original.streams:
            self._keep(stream, dubbed=dubbed)
        for track in self._sounds:
            self._add_sound(track)
        for track in self._subtitles:
            self._add_subtitles(track)
        if chapters := self._original.chapters():
            self._out.set_chapters(chapters)
        try:
            self._out.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise self._cannot(", ".join(sorted({_codec(s) for s in self._original.streams})), reason) from error

    def write(self, stop: Callable[[], bool]) -> None:
        """Write all packets, in the order of time.

        Raises:
            Cancelled: Once ``stop`` says so.
            av.FFmpegError: If they cannot be written.
        """
        damaged = 0
        for packet in self._packets():
            stream = self._streams.get(packet.stream_index)
            if stop():
                raise Cancelled(f"{self._target} was given up")
            if stream is None:
                continue
            time_s = self._in_order(packet)
            for line in self._lines:
                self._out.mux(line.until(time_s))
            packet.stream = stream
            try:
                self._out.mux_one(packet)
            except av.error.InvalidDataError:  # damaged: another container wants to know more of it than this one did
                damaged += 1
        for line in self._lines:
            self._out.mux(line.until(None))
        if damaged:
            self.notes.append(f"{self._target.name}: {damaged} damaged packets of the original are not in the copy")

    def _keep(self, stream: Stream, *, dubbed: bool) -> None:
        name = f"{stream.type} track {stream.index}"
        if stream.type not in ("video", "audio", "subtitle", "attachment"):
            self.notes.append(f"{self._target.name}: {name} ({stream.type}) is not in the copy")
            return
        if stream.type == "audio" and not cast("AudioStream", stream).codec_context.sample_rate:
            self.notes.append(f"{self._target.name}: {name} is not in the copy, as its format was not found")
            return
        try:
            kept = self._out.add_stream_from_template(stream)
        except (av.FFmpegError, ValueError) as error:
            if stream.type in ("video", "audio"):
                raise self._cannot(_codec(stream), error) from error
            self.notes.append(
                f"{self._target.name}: {name} ({_codec(stream)}) is not in the copy, as the container cannot hold it"
            )
            return
        kept.metadata.update(stream.metadata)
        disposition = stream.disposition
        if dubbed and stream.type == "audio":
            disposition &= ~Disposition.default
        kept.disposition = disposition
        kept.time_base = stream.time_base
        self._streams[stream.index] = kept

    def _add_sound(self, track: NewTrack) -> None:
        stream = cast("AudioStream", self._out.add_stream(self._kind.audio, rate=_RATE_HZ, layout="stereo"))
        stream.codec_context.flags |= 1 << 23  # AV_CODEC_FLAG_BITEXACT: no version of libav in it
        self._tag(stream, track)
        if not self._trial:
            sound = self._opened.enter_context(_open(track.path))
            self._lines.append(_Line(_encoded(sound, stream, self._start_s)))

    def _add_subtitles(self, track: NewTrack) -> None:
        assert self._kind.text is not None  # noqa: S101 -- _suffix_problem comes first
        if self._kind.text == "mov_text":
            # Through its encoder, which alone knows what stands in the header of such a track.
            stream = cast("SubtitleStream", self._out.add_stream(self._kind.text))
            stream.codec_context.subtitle_header = _ASS_HEADER
            stream.codec_context.time_base = _MS
        else:
            stream = cast("SubtitleStream", self._out.add_mux_stream(self._kind.text))
        stream.time_base = _MS
        self._tag(stream, track)
        if not self._trial:
            text = track.path.read_text(encoding="utf-8", errors="replace")
            self._lines.append(_Line(_cues(text, stream, self._kind.text, self._start_s)))

    def _tag(self, stream: Stream, track: NewTrack) -> None:
        stream.metadata["language"] = three_letters(track.lang) if track.lang else "mul"
        # MP4 has no title of a track that players show, but the name of its handler.
        stream.metadata["handler_name" if self._kind.text == "mov_text" else "title"] = track.title
        stream.disposition = Disposition.default if track.default else Disposition(0)

    def _packets(self) -> Iterator[Packet[Any]]:
        packets = self._original.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                at = max((line.at_s for line in self._lines), default=Fraction(0)) - self._start_s
                self.notes.append(f"the original cannot be read beyond {float(at):.3f} s: {error.strerror or error}")
                return
            except IndexError:
                return  # PyAV flushes a stream that it does not know
            if packet is None:
                return
            if packet.size and (packet.dts is not None or packet.pts is not None):
                yield packet

    def _in_order(self, packet: Packet[Any]) -> Fraction:
        """Give a packet a time after that of the one before, as ffmpeg does; muxers refuse others. Returns it, s."""
        dts = packet.dts if packet.dts is not None else packet.pts
        assert dts is not None  # noqa: S101 -- _packets leaves out what has none
        last = self._last.get(packet.stream_index)
        if last is not None and dts <= last:
            dts = last + 1
            packet.pts = dts if packet.pts is None else max(packet.pts, dts)
        packet.dts = self._last[packet.stream_index] = dts
        return Fraction(dts) * packet.time_base

    def _cannot(self, what: str, reason: object) -> MediaError:
        suffix = self._target.suffix.lower()
        other = "mkv" if self._kind.muxer != "matroska" else "mp4"
        text = f"{self._target.name}: a {suffix} file cannot hold {what} ({reason}); try --mux-to {other}"
        return MediaError(text, path=str(self._target))


class _Line:
    """The packets of a new track, handed out as the copy gets there."""

    def __init__(self, packets: Iterator[Packet[Any]]) -> None:
        self._packets = packets
        self._next: Packet[Any] | None = next(packets, None)
        self.at_s = Fraction(0)

    def until(self, time_s: Fraction | None) -> list[Packet[Any]]:
        """All before a moment, s; all that are left without one."""
        found: list[Packet[Any]] = []
        if time_s is not None:
            self.at_s = max(self.at_s, time_s)
        while (packet := self._next) is not None:
            dts = packet.dts if packet.dts is not None else 0
            if time_s is not None and Fraction(dts) * packet.time_base > time_s:
                break
            found.append(packet)
            self._next = next(self._packets, None)
        return found


def _encoded(sound: InputContainer, stream: AudioStream, start_s: Fraction) -> Iterator[Packet[Any]]:
    """A sound file as packets of a new track; its first sample has the time ``start_s``."""
    resampler = av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=_RATE_HZ)
    at = round(start_s * _RATE_HZ)
    queue: deque[av.AudioFrame] = deque()
    for frame in _with_end(sound.decode(audio=0)):
        if frame is not None:
            frame.pts = None
        queue += resampler.resample(frame)
        while queue:
            ready = queue.popleft()
            ready.pts, ready.time_base = at, Fraction(1, _RATE_HZ)
            at += ready.samples
            yield from stream.encode(ready)
    yield from stream.encode(None)


def _with_end(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame | None]:
    yield from frames
    yield None


_TIMES = re.compile(r"^(?:(\d+):)?(\d\d):(\d\d)[,.](\d\d\d) +--> +(?:(\d+):)?(\d\d):(\d\d)[,.](\d\d\d)")
_MARKUP = re.compile(r"</?[a-zA-Z][^>]*>")


def _cues(text: str, stream: SubtitleStream, codec: str, start_s: Fraction) -> Iterator[Packet[Any]]:
    """SubRip or WebVTT text as packets."""
    start_ms = round(start_s * 1000)
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        lines = block.strip("\n").split("\n")
        at = next((n for n, line in enumerate(lines) if "-->" in line), None)
        times = _TIMES.match(lines[at]) if at is not None else None
        if at is None or times is None:
            continue
        begin_ms, end_ms = _ms(times.groups()[:4]), _ms(times.groups()[4:])
        shown = "\n".join(lines[at + 1 :]).strip("\n")
        if not shown or end_ms <= begin_ms:
            continue
        data = shown.encode("utf-8", errors="replace")
        if codec == "mov_text":  # plain text behind its length (3GPP TS 26.245, section 5.17)
            data = _MARKUP.sub("", shown).encode("utf-8", errors="replace")[:65_535]
            data = len(data).to_bytes(2, "big") + data
        packet: Packet[Any] = Packet(data)
        packet.stream = stream
        packet.time_base = _MS
        packet.pts = packet.dts = start_ms + begin_ms
        packet.duration = end_ms - begin_ms
        packet.is_keyframe = True
        yield packet


def _ms(clock: Sequence[str | None]) -> int:
    hours, minutes, seconds, thousandths = (int(part or 0) for part in clock)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths


def _codec(stream: Stream) -> str:
    # PyAV's types say there is always one.
    context = cast("Any", stream.codec_context)
    return context.name if context is not None else stream.type
