"""Audio to a wav, flac, Opus, MP3 or AAC file, streamed, with bytes that depend on the samples alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from io import IOBase
from itertools import groupby
from typing import Protocol

import av
import av.logging
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream

from tolmach.pipelines.frames import Samples

__all__ = ["Encoder", "Writable", "to_int16"]

av.logging.set_level(None)  # libav writes on stderr otherwise; what went wrong is in the exceptions

_OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)  # RFC 6716, section 2
_LAYOUTS = {1: "mono", 2: "stereo"}
_PAGE_US = 100_000  # what a page of Ogg holds in a stream, µs; in files it is libav's second
_EMPTY_MS = 20  # what a file without audio holds: one Opus frame; FLAC and WAV readers dislike files with no sample


@dataclass(frozen=True, slots=True)
class _Format:
    """How libav calls a format.

    Attributes:
        container: Muxer.
        codec: Encoder.
        options: Options of the muxer. ``bitexact`` leaves the version of libav out and fixes Ogg's serial number;
            ``rf64=auto`` keeps wav files over 4 GiB valid.
        samples: What the encoder takes.
    """

    container: str
    codec: str
    options: tuple[tuple[str, str], ...] = (("fflags", "+bitexact"),)
    samples: str = "s16"


_FORMATS = {
    ".wav": _Format("wav", "pcm_s16le", (("fflags", "+bitexact"), ("rf64", "auto"))),
    ".flac": _Format("flac", "flac"),
    ".opus": _Format("ogg", "libopus"),
    ".ogg": _Format("ogg", "libopus"),
    ".mp3": _Format("mp3", "libmp3lame", (("fflags", "+bitexact"), ("write_xing", "0")), "s16p"),
    ".aac": _Format("adts", "aac", samples="fltp"),
}


class Writable(Protocol):
    """What is written to: a file, or standard output."""

    def write(self, data: bytes, /) -> int:
        """Write all of it. Raises OSError."""

    def seekable(self) -> bool:
        """Whether it has ``seek``."""


class Encoder:
    """Writes one file. All methods block; they may be called from any thread, and :meth:`abort` at any moment.

    Args:
        file: Open for writing, and for seeking if it is ``seekable()``; closed by whoever opened it. In one that is
            not, headers say that the length is unknown, as ffmpeg writes them, and nothing is held back.
        suffix: ``.wav``, ``.flac``, ``.opus`` or ``.ogg``; ``.mp3`` and ``.aac`` for players, for they lose more.
        rate_hz: Sample rate, Hz, 8000 to 48000.
        channels: 1 or 2.
    """

    def __init__(self, file: Writable, suffix: str, rate_hz: int, channels: int) -> None:
        self._file = file
        self._format = _FORMATS[suffix]
        self._rate_hz = rate_hz
        self._channels = channels
        self._lock = threading.Lock()
        self._closed = False
        self._muxer: _Muxer | None = None
        self._written = 0
        self.clipped = 0
        """How many values were clipped so far."""

    def write(self, parts: Iterable[Samples | int]) -> None:
        """Append runs of samples (float32[n, channels]) and silences (a number of samples).

        Raises:
            OSError: If the disk refuses them.
        """
        with self._lock:
            for silent, run in groupby(parts, key=lambda part: isinstance(part, int)):
                if self._closed:
                    return
                if silent:
                    self._write_silence(sum(part for part in run if isinstance(part, int)))
                else:
                    # As one block: frames of 20 ms one by one cost twice as much.
                    block, clipped = to_int16(np.concatenate([part for part in run if not isinstance(part, int)]))
                    self.clipped += clipped
                    self._encode(block)

    def close(self) -> None:
        """Finish the file; the caller may then give it its name.

        Raises:
            OSError: If the disk refuses the rest.
        """
        with self._lock:
            if self._closed:
                return
            if not self._written:
                self._write_silence(self._rate_hz * _EMPTY_MS // 1000)
            self._closed = True
            if self._muxer is not None:
                self._muxer.finish()

    def abort(self) -> None:
        """Release libav's memory; the file is worthless afterwards. Safe twice, and after :meth:`close`."""
        self._closed = True  # before the lock: a write under way (hours of silence, perhaps) ends at its next block
        with self._lock:
            if self._muxer is not None:
                with contextlib.suppress(OSError, ValueError, av.FFmpegError):  # nobody will read the file
                    self._muxer.container.close()
                self._muxer = None

    def _write_silence(self, count: int) -> None:
        block = np.zeros((min(count, self._rate_hz), self._channels), np.int16)
        while count > 0 and not self._closed:
            self._encode(block[:count])
            count -= len(block)

    def _encode(self, block: npt.NDArray[np.int16]) -> None:
        if not len(block):
            return
        if self._muxer is None:
            self._muxer = _Muxer(self._file, self._format, self._rate_hz, self._channels)
        self._muxer.encode(block, self._written)
        self._written += len(block)


class _Disk:
    """A file as libav sees it: it never raises, but keeps the first error.

    libav writes on after an error, and PyAV prints the traceback of every further exception that comes out of a file.
    """

    def __init__(self, file: Writable) -> None:
        self._file = file
        self._at = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of it, or nothing once an error came."""
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        self._at += len(data)
        return len(data)

    def seekable(self) -> bool:
        """Whether libav may go back to fill in a header."""
        return self._file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go somewhere else."""
        if self.error is None and isinstance(self._file, IOBase):
            try:
                self._at = self._file.seek(offset, whence)
            except OSError as error:  # what was buffered does not fit
                self.error = error
        return self._at

    def tell(self) -> int:
        """The place in the file, kept here: asking a file on a full disk may fail as well."""
        return self._at

    def check(self) -> None:
        """Raise the OSError that was kept."""
        if self.error is not None:
            raise self.error


class _Muxer:
    """libav's side: container, encoder and, for rates Opus does not know or other samples, a resampler."""

    def __init__(self, file: Writable, chosen: _Format, rate_hz: int, channels: int) -> None:
        self._disk = _Disk(file)
        options = dict(chosen.options)
        if not file.seekable():  # somebody may be listening
            options["flush_packets"] = "1"
            if chosen.container == "ogg":
                options["page_duration"] = str(_PAGE_US)
        self.container = av.open(self._disk, "w", format=chosen.container, options=options)
        self._rate_hz = rate_hz
        self._layout = _LAYOUTS[channels]
        converted = chosen.codec == "libopus" and rate_hz not in _OPUS_RATES_HZ
        stream = self.container.add_stream(
            chosen.codec, rate=48000 if converted else rate_hz, options={"flags": "+bitexact"}
        )
        assert isinstance(stream, AudioStream)  # noqa: S101 -- tells the type checker
        self._stream = stream
        self._stream.codec_context.layout = self._layout
        self._stream.codec_context.format = chosen.samples
        to_hz = 48000 if converted else rate_hz
        resampled = converted or chosen.samples != "s16"
        self._resampler = (
            av.AudioResampler(format=chosen.samples, layout=self._layout, rate=to_hz) if resampled else None
        )

    def encode(self, block: npt.NDArray[np.int16], at: int) -> None:
        """Encode int16[n, channels], whose first sample has the number ``at``."""
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block).reshape(1, -1), format="s16", layout=self._layout
        )
        frame.sample_rate = self._rate_hz
        frame.pts = at
        frame.time_base = Fraction(1, self._rate_hz)
        for ready in [frame] if self._resampler is None else self._resampler.resample(frame):
            self.container.mux(self._stream.encode(ready))
        self._disk.check()

    def finish(self) -> None:
        """Flush and write the trailer."""
        if self._resampler is not None:
            for ready in self._resampler.resample(None):
                self.container.mux(self._stream.encode(ready))
        self.container.mux(self._stream.encode(None))
        self.container.close()
        self._disk.check()


def to_int16(samples: Samples) -> tuple[npt.NDArray[np.int16], int]:
    """Round to 16 bits.

    ``x * 32768`` is the inverse of how 16-bit files are decoded, so that a copy of a recording is the recording.

    Args:
        samples: float32[n, channels], nominal range [-1, 1].

    Returns:
        int16[n, channels], and how many values were outside the range (or not a number) and were clipped (to zero).
    """
    clipped = int(np.count_nonzero(~(np.abs(samples) <= 1.0)))
    scaled = np.rint(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0) * np.float32(32768))
    return np.clip(scaled, -32768, 32767).astype(np.int16), clipped
