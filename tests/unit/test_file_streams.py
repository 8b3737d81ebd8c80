"""Standard input and output as files are read and written, over pipes of the test's own."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tolmach.pipelines.errors import MediaError
from tolmach.transports.files.decode import Decoder
from tolmach.transports.files.streams import StandardInput, StandardOutput

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot wait for a pipe")

RATE_HZ = 48000
KINDS = {
    "wav": ("pcm_s16le", {}),
    "flac": ("flac", {}),
    "mp3": ("libmp3lame", {}),
    "ogg": ("libopus", {}),
    "matroska": ("libopus", {}),
    "webm": ("libopus", {}),
    "mpegts": ("aac", {}),
    "adts": ("aac", {}),
    "mp4": ("aac", {"movflags": "frag_keyframe+empty_moov"}),
    "mov": ("aac", {"movflags": "faststart"}),
}


def recording(path: Path, container: str, seconds: float = 6.0) -> Path:
    codec, options = KINDS[container]
    samples = np.random.default_rng(5).normal(0, 0.1, (1, round(seconds * RATE_HZ))).astype(np.float32)
    with av.open(str(path), "w", format=container, options=dict(options)) as out:
        stream = out.add_stream(codec, rate=RATE_HZ, layout="mono")
        fmt = stream.codec_context.codec.audio_formats[0].name  # type: ignore[union-attr, index]
        resampler = av.AudioResampler(fmt, "mono", RATE_HZ, stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return path


@contextmanager
def fed(data: bytes, *, closed: bool = True) -> Iterator[StandardInput]:
    """A stream into which a thread writes ``data``, and which it closes or leaves open."""
    read, write = os.pipe()

    def feed() -> None:
        try:
            left = memoryview(data)
            while len(left):
                left = left[os.write(write, left) :]
        except BrokenPipeError:
            return
        finally:
            if closed:
                os.close(write)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield StandardInput(read)
    finally:
        os.close(read)
        thread.join()
        if not closed:
            os.close(write)


def decoded(decoder: Decoder) -> np.ndarray:
    parts = []
    try:
        decoder.open()
        while len(block := decoder.read(RATE_HZ)):
            parts.append(block)
        assert decoder.damage is None, decoder.damage
    finally:
        decoder.close()
    return np.concatenate(parts)


def make(source: Path | StandardInput, start_ms: int = 0, duration_ms: int = 0) -> Decoder:
    return Decoder(source, "-", channel="all", start_ms=start_ms, duration_ms=duration_ms)


@pytest.mark.parametrize("container", KINDS)
def test_a_stream_gives_the_samples_of_the_file(container: str, tmp_path: Path) -> None:
    path = recording(tmp_path / "talk", container)
    with fed(path.read_bytes()) as stream:
        got = decoded(make(stream))
    whole = decoded(make(path))
    assert np.array_equal(got[: len(whole)], whole)
    # Of an mp3 that cannot be sought in libav does not read how much of its last frame is padding.
    assert len(got) - len(whole) < (1152 if container == "mp3" else 1)
    assert abs(len(got) / RATE_HZ - 6.0) < 0.1


def test_a_part_of_a_stream(tmp_path: Path) -> None:
    path = recording(tmp_path / "talk.wav", "wav")
    with fed(path.read_bytes()) as stream:
        got = decoded(make(stream, 1000, 2000))
    assert np.array_equal(got, decoded(make(path, 1000, 2000)))


@pytest.mark.parametrize("sent", [0, 500_000], ids=["nothing", "a part"])
def test_a_read_that_waits_is_called_back(sent: int, tmp_path: Path) -> None:
    data = recording(tmp_path / "talk.wav", "wav").read_bytes()[:sent]
    with fed(data, closed=False) as stream:
        decoder = make(stream)
        said: list[str] = []

        def read() -> None:
            try:
                decoder.open()
                while len(decoder.read(RATE_HZ)) == RATE_HZ:
                    pass
            except MediaError as error:
                said.append(str(error))

        thread = threading.Thread(target=read)
        thread.start()
        deadline = time.monotonic() + 30
        while stream.count < sent and time.monotonic() < deadline:
            time.sleep(0.01)
        decoder.close()
        thread.join(30)
        assert not thread.is_alive()
        assert (stream.count, len(said)) == (sent, int(not sent))


def test_a_stream_has_one_reader_at_a_time() -> None:
    with fed(b"") as first, fed(b"") as second:
        assert first.open() == ""
        assert second.open() == "is read by another element already"
        first.close()
        assert second.open() == ""
        second.close()
        second.close()
        assert second.read(10) == b""


def test_a_write_that_waits_is_called_back() -> None:
    read, write = os.pipe()
    try:
        output = StandardOutput(write).open()
        errors: list[int | None] = []

        def fill() -> None:
            try:
                output.write(b"x" * (1 << 22))
            except OSError as error:
                errors.append(error.errno)

        thread = threading.Thread(target=fill)
        thread.start()
        assert os.read(read, 4096) == b"x" * 4096
        output.interrupt()
        thread.join(30)
        assert errors == [errno.ECANCELED]
        with pytest.raises(OSError, match=os.strerror(errno.ECANCELED)):
            output.write(b"late")
        output.discard()
        output.discard()
    finally:
        os.close(read)
        os.close(write)


def test_what_nobody_reads_is_a_broken_pipe() -> None:
    read, write = os.pipe()
    os.close(read)
    output = StandardOutput(write).open()
    with pytest.raises(BrokenPipeError):
        output.write(b"x")
    output.discard()
    os.close(write)
