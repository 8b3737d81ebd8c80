"""Recordings to samples, in blocks, with PyAV: one track, in one format, on one time line."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import av
import av.logging
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer

from tolmach.pipelines.channels import ChannelMixer, Layout, layout_for
from tolmach.pipelines.errors import MediaError, no_such_file
from tolmach.pipelines.frames import NS_PER_MS, Samples, ns_to_samples, samples_to_ns
from tolmach.transports.files.integrity import missing_bytes, missing_from_stream, ogg_links, tags_inside
from tolmach.transports.files.specs import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from tolmach.transports.files.streams import StandardInput
from tolmach.transports.files.timestamps import MediaClock, stretch
from tolmach.transports.files.tracks import TrackChoice, choose_track, tracks

__all__ = ["ANY_TAGS", "PROBE_MORE", "Damage", "Decoder", "Findings", "format_whitelist"]

av.logging.set_level(None)  # libav writes on stderr otherwise; what went wrong is in the exceptions

_NOT_RECORDINGS = frozenset(
    {
        "concat",
        "concatf",
        "dash",
        "ffmetadata",
        "hls",
        "image2",
        "image2pipe",
        "imf",
        "lavfi",
        "rtp",
        "rtsp",
        "sap",
        "sdp",
        "tee",
        "tty",
        "webm_dash_manifest",
    }
)
"""Demuxers that read *other* files or addresses a text file names, or that take any text for pictures."""

ANY_TAGS: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
"""Before release 19 PyAV refuses a recording over a tag that is no UTF-8 unless told otherwise; since then it never
does (such bytes become lone surrogates, as in ``os.fsdecode``), and the argument is gone."""

PROBE_MORE = {"probesize": str(100 << 20), "analyzeduration": str(120_000_000)}
"""A second look, at 100 MiB and two minutes, for a recording in whose beginning no audio was found (bytes, µs)."""

_FRAMED_BY_SYNC = frozenset({"mp3", "aac", "ac3", "eac3", "loas", "dts"})
"""Bare streams of frames: without timestamps, and a tag is found only by looking for it."""

_FEWEST_BYTES_PER_S = 500  # no audio codec in use needs less: how long a start that does not decode may be

_LOUD = 10 ** (-45 / 10)  # mean square of a block in which one should hear somebody

_MPEG = frozenset({"mpegts", "mpeg"})
_MPEG_WRAP_BITS, _MPEG_HZ = 33, 90_000  # ISO/IEC 13818-1, section 2.4.3.7

_FULL_SCALE = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}

_TIMED = frozenset({"matroska", "mov", "mpegts", "flv", "avi", "asf"})
"""Containers in which a jump of the timestamps is an honest pause (a recorder was muted) and not damage."""


@dataclass(slots=True)
class Damage:
    """Something wrong with a recording, and how often.

    Attributes:
        at_ns: Media time of the first place, ns.
        what: What was found there, for people.
        places: In how many places something was found.
    """

    at_ns: int
    what: str
    places: int = 1


@dataclass(slots=True)
class Findings:
    """What was noticed about a recording that is no damage.

    Attributes:
        choice: Which track is read, and which others there are.
        pauses: Pauses in the container's timestamps that were filled with silence.
        changes: Changes of sample rate or channels that were evened out.
        inserted: Samples by which audio was lengthened to follow its timestamps.
        removed: Samples by which it was shortened.
        opposed_at_ns: Media time from which channels cancelled each other until one was turned round, ns, or None.
    """

    choice: TrackChoice | None = None
    pauses: Damage | None = None
    changes: Damage | None = None
    inserted: int = 0
    removed: int = 0
    opposed_at_ns: int | None = None


class Decoder:
    """Decodes one recording. All methods block; :meth:`close` may be called from any thread at any moment.

    What comes out has the format of the first frame, whatever follows (docs/adr/0012).

    Args:
        path: The file, or standard input, of which one thing is known at a time: what has been read.
        name: The file as the user named it, for messages.
        track: Which audio track: its number, its language, or ``auto``.
        languages: What the graph expects to hear, for ``auto``.
        channel: ``all`` channels, their ``mix``, or the index of one.
        start_ms: Where to begin, ms.
        duration_ms: How much to read, ms; 0 for everything.

    Attributes:
        rate_hz: Sample rate, Hz; known after :meth:`open`.
        channels: Channels that :meth:`read` gives.
        layout: The loudspeaker of each of them, or empty when there is nothing to tell.
        start_samples: Number of the first sample that :meth:`read` gives, counted from the start of the recording.
        expected: How many samples :meth:`read` will give altogether if the headers are right; None if they do not say.
        damage: What was wrong, as far as it is known yet; None while nothing is.
        findings: What else was noticed so far.
        loud_samples: How much of what :meth:`read` gave was louder than -45 dB of full scale (all channels together),
            block by block.
    """

    def __init__(
        self,
        path: Path | StandardInput,
        name: str,
        *,
        channel: Literal["mix", "all"] | int,
        start_ms: int,
        duration_ms: int,
        track: int | str = "auto",
        languages: Sequence[str] = (),
    ) -> None:
        self.rate_hz = 0
        self.channels = 0
        self.layout: Layout = ()
        self.start_samples = 0
        self.expected: int | None = None
        self.damage: Damage | None = None
        self.findings = Findings()
        self.loud_samples = 0
        self._path = path if isinstance(path, Path) else None
        self._stream = None if isinstance(path, Path) else path
        self._name = name
        self._track = track
        self._languages = tuple(languages)
        self._channel = channel
        self._start_ms = start_ms
        self._duration_ms = duration_ms
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._container: InputContainer | None = None
        self._source: Iterator[Samples] = iter(())
        self._rest: Samples = np.zeros((0, 1), np.float32)
        self._at = 0  # samples placed (or filled in) since the start of the recording
        self._waiting: deque[av.AudioFrame] = deque()  # decoded, but not placed yet
        self._waiting_samples = 0
        self._damaged_at = -1
        self._counted = False  # the container has no timestamps, libav counts frames
        self._untimed = False  # and has lost count
        self._format: tuple[int, str] = (0, "")
        self._links: list[range] = []  # of a chained Ogg file, the one that is read and those behind it
        self._mixers: dict[Layout, ChannelMixer] = {}

    def open(self) -> None:
        """Read the headers and decode the first frame.

        Raises:
            MediaError: If there is nothing to decode; one line that says why.
        """
        with self._lock:
            if self._closing.is_set():
                raise self._error("was closed before it was opened")
            if self._path is not None:
                self._check_file(self._path)
                links = ogg_links(self._path)
                self._links = links if len(links) > 1 else []
            elif self._stream is not None and (why := self._stream.open()):
                raise self._error(f"standard input {why}")
            self._container = self._open_container({})
            # It begins late, or behind damage; of a pipe there is no second look.
            if self._path is not None and not any(t.known for t in tracks(self._container)):
                self._container.close()
                self._container = self._open_container(PROBE_MORE)
            self._open_track(self._container)

    def read(self, count: int) -> Samples:
        """The next samples.

        Returns:
            float32[n, channels] with n = ``count``, or fewer at the end of the recording (0 when it was reached).
        """
        with self._lock:
            parts = [self._rest]
            have = len(self._rest)
            while have < count and (block := next(self._source, None)) is not None:
                parts.append(block)
                have += len(block)
            joined = np.concatenate(parts) if len(parts) > 1 else parts[0]
            self._rest = joined[count:]
            block = joined[:count]
            flat = block.ravel()
            with np.errstate(over="ignore"):  # a damaged file of floats holds any number
                if np.dot(flat, flat) > _LOUD * len(block):
                    self.loud_samples += len(block)
            return block

    def close(self) -> None:
        """Release the file; a :meth:`read` under way ends soon. Safe twice."""
        self._closing.set()
        if self._stream is not None:
            self._stream.interrupt()
        with self._lock:
            self._source = iter(())
            if self._container is not None:
                self._container.close()
                self._container = None
            if self._stream is not None:
                self._stream.close()

    def _check_file(self, path: Path) -> None:
        # libav would wait for ever on a pipe, and "file:" opens anything.
        if path.is_dir():
            raise self._error("is a folder, not a recording")
        if not path.exists():
            raise self._error(no_such_file(self._name))
        if not path.is_file():
            raise self._error("is not a regular file")
        if path.stat().st_size == 0:
            raise self._error("is empty (0 bytes)")

    def _open_container(self, options: dict[str, str]) -> InputContainer:
        if self._stream is not None:
            return self._open_stream(self._stream)
        url, protocols = f"file:{self._path}", "file"
        if self._links:
            link = self._links[0]
            url, protocols = f"subfile,,start,{link.start},end,{link.stop},,:{url}", "file,subfile"
        try:
            container: InputContainer = av.open(
                url,
                options={"protocol_whitelist": protocols, "format_whitelist": format_whitelist(), **options},
                **ANY_TAGS,
            )
        except av.FFmpegError as error:
            raise self._error(f"is no recording that can be decoded ({_reason(error)}){self._cut_off()}") from error
        return container

    def _open_stream(self, stream: StandardInput) -> InputContainer:
        try:
            # No protocol at all: what a recording says of other files is nothing to a pipe.
            options = {"protocol_whitelist": "none", "format_whitelist": format_whitelist()}
            container: InputContainer = av.open(stream, options=options, **ANY_TAGS)
        except av.FFmpegError as error:
            if not stream.count:
                why = f" ({stream.error.strerror})" if stream.error is not None else ""
                raise self._error(f"standard input is empty: nothing was written to it{why}") from error
            why = f"{_reason(error)}){self._cut_off()}"
            raise self._error(f"standard input is no recording that can be decoded ({why}") from error
        return container

    def _open_track(self, container: InputContainer) -> None:
        found = tracks(container)
        if not found:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "none"
            raise self._error(f"has no audio stream (streams: {kinds}){self._cut_off()}")
        try:
            choice = self.findings.choice = choose_track(found, self._track, self._languages)
        except LookupError as error:
            raise self._error(f"has {error.args[0]}") from error
        if not choice.track.decodable:
            raise self._error("holds audio in a codec that this build of PyAV (FFmpeg) cannot decode")
        stream = choice.track.stream
        try:
            # Not left to the first packet: PyAV 19 forgets the codec when it does not open, and the second packet then
            # meets a null pointer.
            stream.codec_context.open(strict=False)
        except av.FFmpegError as error:
            raise self._error(f"holds audio that cannot be decoded ({_reason(error)}){self._cut_off()}") from error
        frames = self._frames(container, stream)
        if self._links:
            frames = chain(frames, self._later_links(choice.track.number))
        first = next(frames, None)
        if first is None:
            why = f" ({self.damage.what})" if self.damage is not None else ""
            raise self._error(f"holds no audio that can be decoded{why}{self._cut_off()}")
        self._check_format(first)
        rate_hz = self.rate_hz
        self.start_samples = ns_to_samples(self._start_ms * NS_PER_MS, rate_hz)
        stop = ns_to_samples((self._start_ms + self._duration_ms) * NS_PER_MS, rate_hz) if self._duration_ms else None
        declared = None if self._links else _declared_samples(container, stream, rate_hz)
        if declared is not None:
            self.expected = max(0, min(declared, stop or declared) - self.start_samples)
        elif stop is not None:
            self.expected = stop - self.start_samples
        self._rest = np.zeros((0, self.channels), np.float32)
        self._source = self._blocks(container, stream, chain([first], frames), declared, stop)

    def _check_format(self, first: av.AudioFrame) -> None:
        rate_hz, channels = first.sample_rate, first.layout.nb_channels
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise self._error(f"has a sample rate of {rate_hz} Hz; {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz can be read")
        if self._channel == "all" and channels > MAX_CHANNELS:
            raise self._error(f"has {channels} channels, more than {MAX_CHANNELS}; choose `channel: mix` or one index")
        if isinstance(self._channel, int) and self._channel >= channels:
            last = f"channels 0 to {channels - 1}" if channels > 1 else "channel 0 only"
            raise self._error(f"has {last}; `channel: {self._channel}` is not there")
        self.rate_hz = rate_hz
        self.channels = channels if self._channel == "all" else 1
        self.layout = _layout(first) if self._channel == "all" else ()
        self._format = (rate_hz, first.layout.name)

    def _frames(self, container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
        """Everything that decodes; notes what does not."""
        name = container.format.name
        unframed = stream.codec_context.name.startswith("pcm_") and name != "wav"
        self._counted = name in _FRAMED_BY_SYNC
        tags = tags_inside(self._path) if self._counted and self._path is not None else []
        packets = container.demux(stream)
        while not self._closing.is_set():
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._note(_reason(error))
                return
            except IndexError:
                # PyAV 14 to 18 flush streams that appeared while reading, of which they know nothing; ours came before.
                return
            if packet is None:
                return
            if tags and packet.pos is not None and _lies_in(packet.pos, tags):
                self._untimed = True  # libav has counted it as audio
                continue
            if unframed and packet.is_corrupt:  # cut off inside the last block; wav has its own check
                self._note("the file is cut off")
            try:
                frames = packet.decode()
            except av.error.EOFError:
                continue
            except av.FFmpegError as error:
                self._note(_reason(error))
                continue
            for frame in frames:
                if isinstance(frame, av.AudioFrame) and frame.samples:
                    yield frame

    def _later_links(self, number: int) -> Iterator[av.AudioFrame]:
        """The other links of a chained Ogg file; their timestamps begin again."""
        while len(self._links) > 1 and not self._closing.is_set():
            del self._links[0]
            assert self._container is not None  # noqa: S101 -- close() ends this iteration first
            self._container.close()
            try:
                self._container = self._open_container({})
                found = [track for track in tracks(self._container) if track.decodable]
                if found:
                    stream = found[min(number, len(found) - 1)].stream
                    stream.codec_context.open(strict=False)
            except (MediaError, av.FFmpegError):
                found = []
            if found:
                yield from self._frames(self._container, stream)
            else:
                self._note("a part of the chained file has no audio that can be decoded")

    def _even(self, frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
        """The frames at one sample rate; notes changes."""
        evener = OneRate(self.rate_hz)
        last = self._format
        for frame in frames:
            found = (frame.sample_rate, frame.layout.name)
            if found != last:
                if not MIN_RATE_HZ <= found[0] <= MAX_RATE_HZ or frame.layout.nb_channels > 64:
                    self._note(f"the audio claims to have {_words(found)}; such parts are left out")
                    continue
                self._note_change(last, found)
                self._untimed |= self._counted and found[0] != last[0]  # libav goes on counting at the first rate
                last = found
            yield from evener.push(frame)
        yield from evener.flush()

    def _blocks(
        self,
        container: InputContainer,
        stream: AudioStream,
        frames: Iterator[av.AudioFrame],
        declared: int | None,
        stop: int | None,
    ) -> Iterator[Samples]:
        """The samples from ``start_samples`` to ``stop``, gaps filled, drift followed."""
        clock, origin = self._clock(container, stream, declared)
        timed = bool(_TIMED & set(container.format.name.split(",")))
        rate_hz = self.rate_hz
        waiting = self._waiting
        for frame in chain(self._even(frames), [None]):
            if frame is None:
                placements = clock.finish()
            else:
                time, base = None, frame.time_base
                if frame.pts is not None and base is not None and not self._untimed:
                    time = (2 * frame.pts * base.numerator * rate_hz // base.denominator + 1) // 2 - origin
                placements = clock.place(time, frame.samples)
                waiting.append(frame)
                self._waiting_samples += frame.samples
            for placement in placements:
                ready = waiting.popleft()
                self._waiting_samples -= ready.samples
                pause = placement.silence
                if pause and self._at:
                    self._note_pause(pause, timed=timed)
                while pause > 0:
                    yield from self._cut(np.zeros((min(pause, rate_hz), self.channels), np.float32), stop)
                    pause -= rate_hz
                if self._at + ready.samples + placement.stretch <= self.start_samples:
                    self._at += ready.samples + placement.stretch
                else:
                    samples = self._chosen(ready)
                    yield from self._cut(stretch(samples, placement.stretch) if placement.stretch else samples, stop)
                if stop is not None and self._at >= stop:
                    return
            self.findings.inserted, self.findings.removed = clock.inserted, clock.removed
        if not self._closing.is_set():
            self._check_end(declared if container.format.name == "flac" else None)

    def _clock(self, container: InputContainer, stream: AudioStream, declared: int | None) -> tuple[MediaClock, int]:
        """The clock, and the timestamp at which it says 0, in samples."""
        rate_hz = self.rate_hz
        own_s = None if stream.start_time is None else Fraction(stream.start_time) * (stream.time_base or 0)
        # PyAV's types say it is never None; for a wav it is.
        start = cast("int | None", container.start_time)
        # Of the earliest stream: audio that starts later than the picture begins with silence.
        start_s = own_s or Fraction(0) if start is None else Fraction(start, av.time_base)
        origin = round(start_s * rate_hz)
        mpeg = bool(_MPEG & set(container.format.name.split(",")))
        wrap = round((1 << _MPEG_WRAP_BITS) * rate_hz / _MPEG_HZ) if mpeg else 0
        own_origin = own_s is None or abs(own_s - start_s) < Fraction(1, 1000)
        lead = None if self._path is None else self._path.stat().st_size * rate_hz // _FEWEST_BYTES_PER_S
        return MediaClock(rate_hz, declared=declared, wrap=wrap, own_origin=own_origin, lead=lead), origin

    def _cut(self, block: Samples, stop: int | None) -> Iterator[Samples]:
        first = max(0, self.start_samples - self._at)
        last = len(block) if stop is None else min(len(block), stop - self._at)
        self._at += len(block)
        if first < last:
            yield block[first:last]

    def _chosen(self, frame: av.AudioFrame) -> Samples:
        samples = to_float32(frame)
        if not np.isfinite(samples).all():  # only in floating-point files
            self._note("samples that are not numbers")
            samples = np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if isinstance(self._channel, int) and self._channel < samples.shape[1]:
            return np.ascontiguousarray(samples[:, self._channel : self._channel + 1])
        if samples.shape[1] == self.channels:
            return samples
        layout = _layout(frame)
        mixer = self._mixers.get(layout)
        if mixer is None:
            mixer = self._mixers[layout] = ChannelMixer(layout, self.channels, self.rate_hz)
        mixed = mixer.push(samples)
        if mixer.opposed_at is not None and self.findings.opposed_at_ns is None:
            self.findings.opposed_at_ns = samples_to_ns(self._at, self.rate_hz)
        return mixed

    def _check_end(self, exact: int | None) -> None:
        cut = ""
        if missing := self._missing_bytes():
            cut = f"the {self._kind} is cut off; its headers promise {missing} bytes more"
        elif exact is not None and self._at < exact:
            cut = f"the {self._kind} is cut off; its header promises {exact / self.rate_hz:.3f} s"
        elif self._stream is not None and self._stream.error is not None:
            cut = f"standard input could not be read on: {self._stream.error.strerror}"
        if cut and self.damage is not None and self.damage.places == 1 and self._damaged_at == self._at:
            self.damage.what = cut  # why the last packet did not decode
        elif cut:
            self._note(cut)
        if self._at <= self.start_samples and self._start_ms:
            self._note(f"start_ms={self._start_ms} lies behind its end", always=True)

    def _note(self, what: str, *, always: bool = False) -> None:
        at = self._at + self._waiting_samples
        if not always and self.rate_hz and at < self.start_samples:
            return  # damage in a part nobody asked for
        if self.damage is None:
            self.damage = Damage(samples_to_ns(at, self.rate_hz) if self.rate_hz else 0, what)
        elif at > self._damaged_at:  # a run of bad packets is one place
            self.damage.places += 1
        self._damaged_at = at

    def _note_change(self, before: tuple[int, str], after: tuple[int, str]) -> None:
        at_ns = samples_to_ns(self._at + self._waiting_samples, self.rate_hz)
        if self.findings.changes is None:
            what = f"the audio changes from {_words(before)} to {_words(after)}"
            self.findings.changes = Damage(at_ns, what)
        else:
            self.findings.changes.places += 1

    def _note_pause(self, pause: int, *, timed: bool) -> None:
        if not timed:
            self._note(f"{pause / self.rate_hz:.3f} s of audio are missing")
        elif self.findings.pauses is None:
            what = f"{pause / self.rate_hz:.3f} s without audio"
            self.findings.pauses = Damage(samples_to_ns(self._at, self.rate_hz), what)
        else:
            self.findings.pauses.places += 1

    @property
    def _kind(self) -> str:
        return "file" if self._path is not None else "stream"

    def _missing_bytes(self) -> int | None:
        if self._stream is not None:
            return missing_from_stream(self._stream.head, self._stream.count)
        return missing_bytes(self._path) if self._path is not None else None

    def _cut_off(self) -> str:
        if self._stream is not None and self._stream.head[4:8] == b"ftyp":  # of a file none is kept
            return "; an mp4 whose index stands at its end can be read from a file alone"
        missing = self._missing_bytes()
        return f"; it is cut off, its headers promise {missing} bytes more" if missing else ""

    def _error(self, text: str) -> MediaError:
        return MediaError(f"{self._name}: {text}", path=self._name)


class OneRate:
    """Gives the frames of a recording one sample rate, whatever theirs are; those that have it pass as they are.

    Args:
        rate_hz: The rate, Hz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler: av.AudioResampler | None = None
        self._source: tuple[int, str, str] | None = None

    def push(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        """What is ready once ``frame`` was taken, with timestamps."""
        source = (frame.sample_rate, frame.layout.name, frame.format.name)
        if source != self._source:
            yield from self.flush()
            self._source = source
            if frame.sample_rate != self._rate_hz:
                self._resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=self._rate_hz)
        if self._resampler is None:
            yield frame
        else:
            yield from self._resampler.resample(frame)

    def flush(self) -> Iterator[av.AudioFrame]:
        """The rest."""
        resampler, self._resampler, self._source = self._resampler, None, None
        if resampler is not None:
            yield from resampler.resample(None)


def to_float32(frame: av.AudioFrame) -> Samples:
    """The samples of a decoded frame, float32[n, channels], full scale 1.0, whatever their format."""
    array: npt.NDArray[np.generic] = frame.to_ndarray()
    samples = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    kind = frame.format.name.removesuffix("p")
    floats = samples.astype(np.float32, order="C")
    if kind == "u8":
        floats -= np.float32(128)
    if (scale := _FULL_SCALE[kind]) != 1.0:
        floats *= np.float32(1 / scale)
    return floats


@cache
def format_whitelist() -> str:
    """The demuxers that read the one file they are given."""
    return ",".join(sorted(n for n in av.formats_available if not _NOT_RECORDINGS & set(n.split(","))))


def _reason(error: av.FFmpegError) -> str:
    return str(error.strerror or error)


def _words(audio_format: tuple[int, str]) -> str:
    return f"{audio_format[0]} Hz {audio_format[1]}"


def _layout(frame: av.AudioFrame) -> Layout:
    """The loudspeaker of each channel, as the file says or as their number has it."""
    names = tuple(channel.name for channel in frame.layout.channels)
    return layout_for(frame.layout.nb_channels, () if "NONE" in names else names)


def _lies_in(pos: int, ranges: Sequence[range]) -> bool:
    number = bisect_right(ranges, pos, key=lambda r: r.start)
    return number > 0 and pos in ranges[number - 1]


def _declared_samples(container: InputContainer, stream: AudioStream, rate_hz: int) -> int | None:
    """How long the headers say a recording is, in samples; None when they do not say."""
    if stream.duration is not None and stream.time_base is not None:
        start, late_s = cast("int | None", container.start_time), Fraction(0)
        if start is not None and stream.start_time is not None:  # audio may begin after the picture
            late_s = max(late_s, stream.start_time * stream.time_base - Fraction(start, av.time_base))
        return round((late_s + stream.duration * stream.time_base) * rate_hz)
    if container.duration is not None:
        return round(Fraction(container.duration, av.time_base) * rate_hz)
    return None
