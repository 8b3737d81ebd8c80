"""Recordings to samples, in blocks, with PyAV."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import av
import av.logging
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer

from pipelines.errors import MediaError
from pipelines.frames import NS_PER_MS, Samples, ns_to_samples, samples_to_ns
from transports.files.integrity import missing_bytes
from transports.files.pcm import to_float32
from transports.files.specs import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from transports.files.timestamps import Timestamps, declared_samples

__all__ = ["Damage", "Decoder"]

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

_ANY_TAGS: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
"""Before release 19 PyAV refuses a recording over a tag that is no UTF-8 unless told otherwise; since then it never
does (such bytes become lone surrogates, as in ``os.fsdecode``), and the argument is gone."""

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


class Decoder:
    """Decodes one recording. All methods block; :meth:`close` may be called from any thread at any moment.

    Args:
        path: The file.
        name: The file as the user named it, for messages.
        channel: ``all`` channels, their ``mix``, or the index of one.
        start_ms: Where to begin, ms.
        duration_ms: How much to read, ms; 0 for everything.

    Attributes:
        rate_hz: Sample rate, Hz; known after :meth:`open`.
        channels: Channels that :meth:`read` gives.
        start_samples: Number of the first sample that :meth:`read` gives, counted from the start of the recording.
        expected: How many samples :meth:`read` will give altogether if the headers are right; None if they do not say.
        damage: What was wrong, as far as it is known yet; None while nothing is.
        pauses: Pauses in the container's timestamps that were filled with silence.
    """

    def __init__(
        self, path: Path, name: str, *, channel: Literal["mix", "all"] | int, start_ms: int, duration_ms: int
    ) -> None:
        self.rate_hz = 0
        self.channels = 0
        self.start_samples = 0
        self.expected: int | None = None
        self.damage: Damage | None = None
        self.pauses: Damage | None = None
        self._path = path
        self._name = name
        self._channel = channel
        self._start_ms = start_ms
        self._duration_ms = duration_ms
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._container: InputContainer | None = None
        self._source: Iterator[Samples] = iter(())
        self._rest: Samples = np.zeros((0, 1), np.float32)
        self._at = 0  # samples decoded (or filled in) since the start of the recording
        self._damaged_at = -1

    def open(self) -> None:
        """Read the headers and decode the first frame.

        Raises:
            MediaError: If there is nothing to decode; one line that says why.
        """
        with self._lock:
            if self._closing.is_set():
                raise self._error("was closed before it was opened")
            self._check_file()
            try:
                self._container = av.open(
                    f"file:{self._path}",
                    options={"protocol_whitelist": "file", "format_whitelist": _format_whitelist()},
                    **_ANY_TAGS,
                )
            except av.FFmpegError as error:
                raise self._error(f"is no recording that can be decoded ({_reason(error)}){self._cut_off()}") from error
            self._open_stream(self._container)

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
            return joined[:count]

    def close(self) -> None:
        """Release the file; a :meth:`read` under way ends soon. Safe twice."""
        self._closing.set()
        with self._lock:
            self._source = iter(())
            if self._container is not None:
                self._container.close()
                self._container = None

    def _check_file(self) -> None:
        # libav would wait for ever on a pipe, and "file:" opens anything.
        if self._path.is_dir():
            raise self._error("is a folder, not a recording")
        if not self._path.exists():
            raise self._error("no such file")
        if not self._path.is_file():
            raise self._error("is not a regular file")
        if self._path.stat().st_size == 0:
            raise self._error("is empty (0 bytes)")

    def _open_stream(self, container: InputContainer) -> None:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "none"
            raise self._error(f"has no audio stream (streams: {kinds}){self._cut_off()}")
        if cast("AudioCodecContext | None", stream.codec_context) is None:
            raise self._error("holds audio in a codec that this build of PyAV (FFmpeg) cannot decode")
        try:
            # Not left to the first packet: PyAV 19 forgets the codec when it does not open, and the second packet then
            # meets a null pointer.
            stream.codec_context.open(strict=False)
        except av.FFmpegError as error:
            raise self._error(f"holds audio that cannot be decoded ({_reason(error)}){self._cut_off()}") from error
        frames = self._frames(container, stream)
        first = next(frames, None)
        if first is None:
            why = f" ({self.damage.what})" if self.damage is not None else ""
            raise self._error(f"holds no audio that can be decoded{why}{self._cut_off()}")
        self._check_format(first)
        rate_hz = self.rate_hz
        self.start_samples = ns_to_samples(self._start_ms * NS_PER_MS, rate_hz)
        stop = ns_to_samples((self._start_ms + self._duration_ms) * NS_PER_MS, rate_hz) if self._duration_ms else None
        declared = declared_samples(container, stream, rate_hz)
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
        self._format = (rate_hz, channels)

    def _frames(self, container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
        """Everything that decodes; notes what does not."""
        unframed = stream.codec_context.name.startswith("pcm_") and container.format.name != "wav"
        packets = container.demux(stream)
        while not self._closing.is_set():
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._note(_reason(error))
                return
            if packet is None:
                return
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

    def _blocks(
        self,
        container: InputContainer,
        stream: AudioStream,
        frames: Iterator[av.AudioFrame],
        declared: int | None,
        stop: int | None,
    ) -> Iterator[Samples]:
        """The samples from ``start_samples`` to ``stop``, pauses filled."""
        clock = Timestamps(container, stream, self.rate_hz, declared)
        timed = bool(_TIMED & set(container.format.name.split(",")))
        for frame in frames:
            found = (frame.sample_rate, frame.layout.nb_channels)
            if found != self._format:
                # One broken MP3 header can claim anything, so what follows is still looked at.
                self._note(f"the audio changes from {_words(self._format)} to {_words(found)}; such parts are left out")
                continue
            pause = clock.pause(frame, self._at)
            if pause and self._at:
                self._note_pause(pause, timed=timed)
            while pause > 0:
                yield from self._cut(np.zeros((min(pause, self.rate_hz), self.channels), np.float32), stop)
                pause -= self.rate_hz
            if self._at + frame.samples <= self.start_samples:
                self._at += frame.samples
            else:
                yield from self._cut(self._chosen(frame), stop)
            if stop is not None and self._at >= stop:
                return
        if not self._closing.is_set():
            self._check_end(declared if container.format.name == "flac" else None)

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
        if self._channel == "mix":
            mixed: Samples = samples.mean(axis=1, keepdims=True, dtype=np.float32)
            return mixed
        if self._channel == "all":
            return samples
        return np.ascontiguousarray(samples[:, self._channel : self._channel + 1])

    def _check_end(self, exact: int | None) -> None:
        cut = ""
        if missing := missing_bytes(self._path):
            cut = f"the file is cut off; its headers promise {missing} bytes more"
        elif exact is not None and self._at < exact:
            cut = f"the file is cut off; its header promises {exact / self.rate_hz:.3f} s"
        if cut and self.damage is not None and self.damage.places == 1 and self._damaged_at == self._at:
            self.damage.what = cut  # why the last packet did not decode
        elif cut:
            self._note(cut)
        if self._at <= self.start_samples and self._start_ms:
            self._note(f"start_ms={self._start_ms} lies behind its end", always=True)

    def _note(self, what: str, *, always: bool = False) -> None:
        if not always and self.rate_hz and self._at < self.start_samples:
            return  # damage in a part nobody asked for
        if self.damage is None:
            self.damage = Damage(samples_to_ns(self._at, self.rate_hz) if self.rate_hz else 0, what)
        elif self._at > self._damaged_at:  # a run of bad packets is one place
            self.damage.places += 1
        self._damaged_at = self._at

    def _note_pause(self, pause: int, *, timed: bool) -> None:
        if not timed:
            self._note(f"{pause / self.rate_hz:.3f} s of audio are missing")
        elif self.pauses is None:
            self.pauses = Damage(samples_to_ns(self._at, self.rate_hz), f"{pause / self.rate_hz:.3f} s without audio")
        else:
            self.pauses.places += 1

    def _cut_off(self) -> str:
        missing = missing_bytes(self._path)
        return f"; it is cut off, its headers promise {missing} bytes more" if missing else ""

    def _error(self, text: str) -> MediaError:
        return MediaError(f"{self._name}: {text}", path=self._name)


@cache
def _format_whitelist() -> str:
    return ",".join(sorted(n for n in av.formats_available if not _NOT_RECORDINGS & set(n.split(","))))


def _reason(error: av.FFmpegError) -> str:
    return str(error.strerror or error)


def _words(audio_format: tuple[int, int]) -> str:
    return f"{audio_format[0]} Hz, {audio_format[1]} channel{'s' if audio_format[1] != 1 else ''}"
