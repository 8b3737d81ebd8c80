"""Recordings in: every format, every chunking, and every way a file can be broken."""

from __future__ import annotations

import asyncio
import os
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tolmach.pipelines.bus import ErrorMessage, InfoMessage, PositionMessage, WarningMessage
from tolmach.pipelines.cli.batch.jobs import plan_jobs
from tolmach.pipelines.errors import GraphError, MediaError
from tolmach.pipelines.frames import AudioFrame, Frame, Samples, samples_to_ns
from tolmach.pipelines.recordings import MEDIA_SUFFIXES
from tolmach.pipelines.testing import Harness
from tolmach.transports.files.atomic import AtomicFile
from tolmach.transports.files.specs import FILE_SRC

SPEECH = Path(__file__).parents[2].parent / "shared" / "speech"
SECONDS = 1.5

# name: (codec, muxer options, sample rate, channels, format of the encoder, lossless)
FORMATS: dict[str, tuple[str, dict[str, str], int, int, str, bool]] = {
    "phone.wav": ("pcm_s16le", {}, 8000, 1, "s16", True),
    "cd.wav": ("pcm_s16le", {}, 44100, 2, "s16", True),
    "studio.wav": ("pcm_s24le", {}, 48000, 2, "s32", True),
    "float.wav": ("pcm_f32le", {}, 44100, 2, "flt", True),
    "byte.wav": ("pcm_u8", {}, 11025, 1, "u8", False),
    "tape.flac": ("flac", {}, 44100, 2, "s16", True),
    "song.mp3": ("libmp3lame", {}, 44100, 2, "s16p", False),
    "call.ogg": ("libopus", {}, 48000, 2, "s16", False),
    "note.opus": ("libopus", {}, 24000, 1, "s16", False),
    "memo.m4a": ("aac", {"movflags": "+faststart"}, 44100, 1, "fltp", False),
    "clip.mp4": ("aac", {"movflags": "+faststart"}, 48000, 2, "fltp", False),
    "film.mkv": ("aac", {}, 44100, 2, "fltp", False),
    "page.webm": ("libopus", {}, 48000, 1, "s16", False),
}
CUTTABLE = [name for name in FORMATS if name != "byte.wav"]


def signal(rate_hz: int, channels: int, seconds: float = SECONDS) -> Samples:
    """A chirp, another one in each channel: any shift in time shows."""
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    tones = [0.5 * np.sin(2 * np.pi * (300 + 200 * c + 150 * t) * t) for c in range(channels)]
    return np.rint(np.stack(tones, axis=1) * 32767).astype(np.float32) / np.float32(32768)


def write(
    path: Path,
    codec: str,
    samples: Samples,
    rate_hz: int,
    *,
    encoder_format: str = "s16",
    options: dict[str, str] | None = None,
    pts: Any = lambda at: at,
) -> Path:
    layout = {1: "mono", 2: "stereo", 6: "5.1", 16: "hexadecagonal"}[samples.shape[1]]
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        stream.codec_context.layout = layout
        stream.codec_context.format = encoder_format
        stream.codec_context.time_base = Fraction(1, rate_hz)
        resampler = av.AudioResampler(format=encoder_format, layout=layout, rate=rate_hz)
        for at in range(0, len(samples), 960):
            block = np.ascontiguousarray(samples[at : at + 960])
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate = rate_hz
            for ready in resampler.resample(frame):
                ready.pts = pts(at)
                container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for name, (codec, options, rate_hz, channels, encoder_format, _) in FORMATS.items():
        write(folder / name, codec, signal(rate_hz, channels), rate_hz, encoder_format=encoder_format, options=options)
    return folder


async def read(path: Path, **chosen: Any) -> Harness:
    async with Harness(FILE_SRC, path=str(path), **chosen) as harness:
        await harness.run()
    return harness


async def attempt(path: Path) -> Harness | None:
    """None when the file was refused, as a broken one may be, in one line that names it."""
    refusal = ""
    try:
        return await read(path)
    except MediaError as error:
        refusal = str(error)
    assert refusal.startswith(f"{path}: ")
    assert "\n" not in refusal
    return None


def errors(harness: Harness) -> list[str]:
    return [m.text for m in harness.messages if isinstance(m, ErrorMessage)]


def rate_of(harness: Harness) -> int:
    (rate_hz,) = {f.rate_hz for f in harness.output() if isinstance(f, AudioFrame)}
    return rate_hz


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
async def test_every_format_gives_its_audio(recordings: Path, name: str) -> None:
    _, _, rate_hz, channels, _, lossless = FORMATS[name]
    harness = await read(recordings / name)
    got, want = harness.audio(), signal(rate_hz, channels)
    assert {type(m) for m in harness.messages} == {PositionMessage}
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    if lossless:
        assert rate_of(harness) == rate_hz
        np.testing.assert_array_equal(got, want)
        return
    rate_out_hz = rate_of(harness)
    want = signal(rate_out_hz, channels)
    # AAC pads its last frame: nothing may be missing, little may be added.
    assert 0 <= len(got) - len(want) <= 2048
    inside = slice(rate_out_hz // 4, rate_out_hz)
    for channel in range(channels):
        heard, played = got[inside, channel], want[inside, channel]
        assert np.corrcoef(heard, played)[0, 1] > 0.99, "shifted in time, or another channel"


@pytest.mark.parametrize("name", FORMATS)
async def test_timestamps_count_samples(recordings: Path, name: str) -> None:
    harness = await read(recordings / name, chunk_ms=7)
    at = 0
    for frame in harness.output():
        assert isinstance(frame, AudioFrame)
        assert frame.utterance is None
        assert frame.pts_ns == samples_to_ns(at, frame.rate_hz)
        at += len(frame.samples)


@pytest.mark.parametrize("name", ["cd.wav", "song.mp3", "call.ogg", "film.mkv"])
@pytest.mark.parametrize("chunk_ms", [1, 10, 37, 100, 999])
async def test_the_chunk_size_changes_nothing(recordings: Path, name: str, chunk_ms: int) -> None:
    whole = await read(recordings / name)
    chopped = await read(recordings / name, chunk_ms=chunk_ms)
    np.testing.assert_array_equal(whole.audio(), chopped.audio())
    longest = max(len(f.samples) for f in chopped.output() if isinstance(f, AudioFrame))
    assert abs(longest - chunk_ms * rate_of(chopped) / 1000) < 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["cd.wav", "tape.flac", "song.mp3", "call.ogg", "memo.m4a", "page.webm"]),
    start_ms=st.integers(0, 1400),
    duration_ms=st.one_of(st.none(), st.integers(0, 1700)),
    chunk_ms=st.sampled_from([10, 20, 37, 100]),
)
def test_start_and_duration_are_exact_to_the_sample(
    recordings: Path, name: str, start_ms: int, duration_ms: int | None, chunk_ms: int
) -> None:
    async def both() -> tuple[Harness, Harness]:
        path = recordings / name
        return (
            await read(path),
            await read(path, start_ms=start_ms, duration_ms=duration_ms, chunk_ms=chunk_ms),
        )

    whole, part = asyncio.run(both())
    rate_hz = rate_of(whole)
    first = (start_ms * rate_hz + 500) // 1000
    last = ((start_ms + duration_ms) * rate_hz + 500) // 1000 if duration_ms else len(whole.audio())
    np.testing.assert_array_equal(part.audio(), whole.audio()[first:last])
    frame = part.output()[0]
    assert frame.pts_ns == samples_to_ns(first, rate_hz)
    assert errors(part) == []


async def test_a_start_behind_the_end_is_an_error(recordings: Path) -> None:
    harness = await read(recordings / "cd.wav", start_ms=60_000)
    assert harness.output() == []
    (text,) = errors(harness)
    assert "start_ms=60000 lies behind its end" in text


async def test_channels_can_be_chosen_and_mixed(recordings: Path) -> None:
    stereo = (await read(recordings / "cd.wav")).audio()
    right = (await read(recordings / "cd.wav", channel=1)).audio()
    mixed = (await read(recordings / "cd.wav", channel="mix")).audio()
    np.testing.assert_array_equal(right, stereo[:, 1:])
    np.testing.assert_allclose(mixed[:, 0], stereo.mean(axis=1), atol=1e-7)


async def test_a_channel_that_is_not_there_is_refused(recordings: Path) -> None:
    with pytest.raises(MediaError, match=r"cd\.wav: has channels 0 to 1; `channel: 2` is not there"):
        await read(recordings / "cd.wav", channel=2)


async def test_more_than_eight_channels_need_a_choice(tmp_path: Path) -> None:
    path = write(tmp_path / "array.wav", "pcm_s16le", signal(8000, 16), 8000)
    with pytest.raises(MediaError, match="has 16 channels, more than 8"):
        await read(path)
    assert (await read(path, channel=15)).audio().shape == (12000, 1)
    assert (await read(path, channel="mix")).audio().shape == (12000, 1)


@pytest.mark.parametrize("chosen", ["left", -1, 64, None])
def test_wrong_channel_settings_are_refused(chosen: Any) -> None:
    with pytest.raises(ValidationError):
        FILE_SRC.settings(path="a.wav", channel=chosen)


async def test_relative_paths_start_from_the_base_folder(recordings: Path) -> None:
    async with Harness(FILE_SRC, path="cd.wav", base_dir=recordings) as harness:
        await harness.run()
    assert len(harness.audio())


async def test_progress_comes_every_second_and_at_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", "pcm_s16le", signal(8000, 1, 5.25), 8000)
    harness = await read(path, start_ms=1000, chunk_ms=20)
    seen = [(m.pts_ns, m.position_ns, m.duration_ns) for m in harness.messages if isinstance(m, PositionMessage)]
    s = 1_000_000_000
    assert seen == [(s + p, p, 4.25 * s) for p in (s, 2 * s, 3 * s, 4 * s, 4.25 * s)]


async def test_a_pause_in_a_film_becomes_silence(tmp_path: Path) -> None:
    rate_hz = 48000
    path = write(
        tmp_path / "muted.mkv",
        "pcm_s16le",
        signal(rate_hz, 1),
        rate_hz,
        pts=lambda at: at if at < rate_hz // 2 else at + 2 * rate_hz,
    )
    harness = await read(path)
    audio, (warning,) = harness.audio(), [m for m in harness.messages if not isinstance(m, PositionMessage)]
    assert isinstance(warning, WarningMessage)
    assert "2.000 s without audio at 0.500 s" in warning.text
    np.testing.assert_array_equal(audio[: rate_hz // 2], signal(rate_hz, 1)[: rate_hz // 2])
    assert not audio[rate_hz // 2 : 5 * rate_hz // 2].any()
    np.testing.assert_array_equal(audio[5 * rate_hz // 2 :], signal(rate_hz, 1)[rate_hz // 2 :])


async def test_sound_that_starts_after_the_picture_keeps_its_place(tmp_path: Path) -> None:
    path, rate_hz = tmp_path / "film.mkv", 16000
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=rate_hz)
        audio.codec_context.layout = "mono"
        for number in range(15):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            picture.pts = number
            picture.time_base = Fraction(1, 10)
            container.mux(video.encode(picture))
        block = np.full((1, rate_hz // 2), 8192, np.int16)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, rate_hz, Fraction(1, rate_hz)
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
        container.mux(video.encode(None))
    harness = await read(path)
    assert errors(harness) == []
    np.testing.assert_array_equal(harness.audio()[:rate_hz], np.zeros((rate_hz, 1)))
    np.testing.assert_array_equal(harness.audio()[rate_hz:], np.full((rate_hz // 2, 1), 0.25))


async def test_sound_that_is_first_met_late_is_found_and_keeps_its_place(tmp_path: Path) -> None:
    """libav looks at the first five seconds, and then knows an audio stream of which it knows nothing."""
    path, rate_hz = tmp_path / "broadcast.ts", 48000
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg2video", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("mp2", rate=rate_hz)
        audio.codec_context.layout = "mono"
        audio.codec_context.format = "s16"
        for number in range(12 * 25):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(video.encode(picture))
            if number < 9 * 25 or number % 25:
                continue
            for at in range(number // 25 * rate_hz, (number // 25 + 1) * rate_hz, 1152)[:41]:
                frame = av.AudioFrame.from_ndarray(np.full((1, 1152), 8192, np.int16), format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate_hz, at, Fraction(1, rate_hz)
                container.mux(audio.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.best("audio") is None, "or it tests nothing"
    harness = await read(path)
    sound = np.flatnonzero(np.abs(harness.audio()[:, 0]) > 0.1)
    assert sound[0] / rate_hz == pytest.approx(9.0, abs=0.05)
    assert errors(harness) == []


# --- pace, end, cancel ------------------------------------------------------------------------------------------------


class Probe(Harness):
    """Calls a function with each frame."""

    on_frame: Any = None

    async def _take(self, frame: Frame, pad: str = "src") -> None:
        await super()._take(frame, pad)
        if self.on_frame is not None:
            await self.on_frame(frame)


async def test_real_time_is_not_faster_than_time(recordings: Path) -> None:
    loop = asyncio.get_running_loop()
    late_s: list[float] = []

    async with Probe(FILE_SRC, path=str(recordings / "cd.wav"), pace="realtime", duration_ms=200) as harness:
        began_s = loop.time()

        async def note(frame: Frame) -> None:
            assert isinstance(frame, AudioFrame)
            late_s.append(loop.time() - began_s - frame.end_ns / 1e9)

        harness.on_frame = note
        await harness.run()
    # A lower bound only: a busy machine may be later, but no frame comes before its last sample was heard.
    assert len(late_s) == 10
    assert min(late_s) > -1e-3
    np.testing.assert_array_equal(harness.audio(), signal(44100, 2)[:8820])


@pytest.mark.parametrize("pace", ["asap", "realtime"])
async def test_finish_ends_after_the_frame_in_hand(recordings: Path, pace: str) -> None:
    async with Probe(FILE_SRC, path=str(recordings / "cd.wav"), pace=pace) as harness:

        async def finish(_: Frame) -> None:
            if len(harness.output()) == 3:
                harness.element.finish()  # type: ignore[attr-defined]

        harness.on_frame = finish
        await harness.run()
    assert len(harness.output()) == 3
    assert errors(harness) == []


async def test_cancel_closes_the_file(recordings: Path) -> None:
    path = recordings / "song.mp3"
    harness = Probe(FILE_SRC, path=str(path))
    first = asyncio.Event()

    async def block(_: Frame) -> None:
        first.set()
        await asyncio.Event().wait()

    harness.on_frame = block
    await harness.element.start()
    assert str(path) in open_files()
    task = asyncio.create_task(harness.run())
    await first.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await harness.stop()
    await harness.stop()
    assert str(path) not in open_files()


def open_files() -> set[str]:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to see which files are open")
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(entry.readlink()))
        except OSError:  # closed meanwhile
            continue
    return found


async def test_it_can_start_again_after_stop(recordings: Path) -> None:
    async with Harness(FILE_SRC, path=str(recordings / "cd.wav")) as harness:
        await harness.run()
        once = len(harness.audio())
        await harness.element.stop()
        await harness.element.start()
        await harness.run()
    assert len(harness.audio()) == 2 * once


# --- broken files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CUTTABLE)
async def test_a_file_that_is_cut_off_gives_its_beginning_and_an_error(
    recordings: Path, tmp_path: Path, name: str
) -> None:
    data = (recordings / name).read_bytes()
    whole = (await read(recordings / name)).audio()
    path = tmp_path / name
    decoded = 0
    positions = np.random.default_rng(7).integers(1, len(data) - 100, 25)
    for size in sorted({*map(int, positions), len(data) // 2, len(data) - 100}):
        path.write_bytes(data[:size])
        if (harness := await attempt(path)) is None:
            continue
        got = harness.audio()
        assert len(got) <= len(whole)
        # What is there is right; a frame that leans on its cut-off neighbour may differ.
        kept = max(0, len(got) - 4800)
        np.testing.assert_array_equal(got[:kept], whole[:kept])
        (message,) = [m for m in harness.messages if isinstance(m, ErrorMessage)]
        assert message.data == {"path": str(path), "at_ns": message.pts_ns}
        assert not message.fatal
        assert str(path) in message.text
        assert 0 <= message.data["at_ns"] <= samples_to_ns(len(got), rate_of(harness) if len(got) else 8000)
        decoded += 1
    assert decoded, "no cut gave any audio"


@pytest.mark.parametrize("declared", [0xFFFFFFFF, 0x7FFFFFFF, 0, 24000 + 44])
async def test_a_wav_whose_length_is_a_placeholder_is_whole(tmp_path: Path, declared: int) -> None:
    path = write(tmp_path / "pipe.wav", "pcm_s16le", signal(8000, 1), 8000, options={"fflags": "+bitexact"})
    data = bytearray(path.read_bytes())
    assert data[36:40] == b"data"
    data[40:44] = declared.to_bytes(4, "little")
    path.write_bytes(data)
    harness = await read(path)
    assert errors(harness) == []
    np.testing.assert_array_equal(harness.audio(), signal(8000, 1))


async def test_a_long_wav_with_64_bit_sizes_is_checked_too(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", "pcm_s16le", signal(8000, 1), 8000, options={"rf64": "always"})
    assert path.read_bytes()[:4] == b"RF64"
    assert errors(await read(path)) == []
    path.write_bytes(path.read_bytes()[:10_000])
    assert "cut off" in errors(await read(path))[0]


@pytest.mark.parametrize("tag_counted", [False, True])
async def test_an_mp3_with_a_tag_in_front_is_whole(recordings: Path, tmp_path: Path, tag_counted: bool) -> None:
    data = bytearray((recordings / "song.mp3").read_bytes())
    tag_bytes = 10 + (data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9])
    field = data.find(b"Info") + 12 if b"Info" in data else data.find(b"Xing") + 12
    if tag_counted:
        data[field : field + 4] = (int.from_bytes(data[field : field + 4], "big") + tag_bytes).to_bytes(4, "big")
    path = tmp_path / "tagged.mp3"
    path.write_bytes(data)
    assert errors(await read(path)) == []
    path.write_bytes(data[: len(data) // 2])
    assert "cut off" in errors(await read(path))[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(FORMATS)), seed=st.integers(0, 2**32 - 1), header=st.booleans())
def test_damaged_bytes_never_give_anything_but_audio_or_a_media_error(
    recordings: Path, tmp_path: Path, name: str, seed: int, header: bool
) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray((recordings / name).read_bytes())
    reach = min(len(data), 400) if header else len(data)
    for at in rng.integers(0, reach, rng.integers(1, 12)):
        data[at] = rng.integers(0, 256)
    path = tmp_path / name
    path.write_bytes(data)
    if (harness := asyncio.run(attempt(path))) is None:
        return
    audio = harness.audio()
    assert np.isfinite(audio).all()
    assert len(audio) < 600 * 48000, "a broken timestamp filled the stream with silence"


async def test_a_hole_in_an_ogg_keeps_the_time_behind_it(tmp_path: Path) -> None:
    rate_hz = 48000
    path = write(tmp_path / "talk.ogg", "libopus", signal(rate_hz, 1, 6.0), rate_hz)
    whole = (await read(path)).audio()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    harness = await read(path)
    got, (text,) = harness.audio(), errors(harness)
    assert "of audio are missing" in text
    assert len(got) == len(whole)
    np.testing.assert_allclose(got[5 * rate_hz :], whole[5 * rate_hz :], atol=0.05)


# --- recordings whose format changes, with several tracks, with channels that cancel ----------------------------------


def tone_at(samples: Samples, rate_hz: int, second: float, freq_hz: float) -> float:
    """Amplitude of a frequency in half a second of the first channel."""
    part = samples[round(second * rate_hz) :][: rate_hz // 2, 0]
    t = np.arange(len(part)) / rate_hz
    return float(2 * abs(np.mean(part * np.exp(-2j * np.pi * freq_hz * t))))


def sine(rate_hz: int, channels: int, freq_hz: float, seconds: float = 2.0) -> Samples:
    wave = 0.5 * np.sin(2 * np.pi * freq_hz * np.arange(round(rate_hz * seconds)) / rate_hz)
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


JOINED = {
    "joined.mp3": ("libmp3lame", "s16p", 22050, 44100),
    "chained.ogg": ("libopus", "s16", 48000, 48000),
    "chained-flac.ogg": ("flac", "s16", 22050, 44100),
    "joined.aac": ("aac", "fltp", 22050, 44100),
    "joined.flac": ("flac", "s16", 16000, 16000),
    "joined.ts": ("mp2", "s16", 32000, 48000),
}


@pytest.mark.parametrize("channels", [(1, 2), (2, 1)])
@pytest.mark.parametrize("name", JOINED)
async def test_all_of_a_recording_comes_out_in_its_first_format(
    tmp_path: Path, name: str, channels: tuple[int, int]
) -> None:
    codec, encoder_format, first_hz, second_hz = JOINED[name]
    joined = tmp_path / name
    joined.touch()
    for number, rate_hz, freq_hz in ((0, first_hz, 500.0), (1, second_hz, 900.0)):
        samples = sine(rate_hz, channels[number], freq_hz)
        part = write(tmp_path / f"{number}-{name}", codec, samples, rate_hz, encoder_format=encoder_format)
        joined.write_bytes(joined.read_bytes() + part.read_bytes())
    harness = await read(joined)
    audio, rate_hz = harness.audio(), rate_of(harness)
    assert rate_hz == first_hz
    assert audio.shape[1] == channels[0]
    assert len(audio) / rate_hz == pytest.approx(4.0, abs=0.15)
    assert tone_at(audio, rate_hz, 1.0, 500) == pytest.approx(0.5, abs=0.05)
    assert tone_at(audio, rate_hz, 3.0, 900) == pytest.approx(0.5, abs=0.05)
    assert errors(harness) == []
    (told,) = [m for m in harness.messages if isinstance(m, InfoMessage)]
    assert "the audio changes from" in told.text


async def test_tags_in_the_middle_of_a_joined_mp3_are_not_audio(tmp_path: Path) -> None:
    first = write(tmp_path / "one.mp3", "libmp3lame", sine(44100, 2, 500), 44100, encoder_format="s16p").read_bytes()
    second = write(tmp_path / "two.mp3", "libmp3lame", sine(44100, 2, 900), 44100, encoder_format="s16p").read_bytes()
    body = second[10 + (second[6] << 21 | second[7] << 14 | second[8] << 7 | second[9]) :]
    frame = body[:400]  # a picture may hold anything, even what begins like audio
    picture = b"".join(bytes([n % 256]) * 7 + frame for n in range(100))
    size = len(picture)
    id3 = b"ID3\x03\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + picture
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (500 + 32).to_bytes(4, "little") + bytes(4)
    ape_tag = ape + (0xA0000000).to_bytes(4, "little") + bytes(8) + bytes(500)
    ape_tag += ape + (0x80000000).to_bytes(4, "little") + bytes(8)
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(first + ape_tag + id3 + body)
    harness = await read(joined)
    audio = harness.audio()
    assert errors(harness) == []
    assert len(audio) / 44100 == pytest.approx(4.0, abs=0.15)
    assert tone_at(audio, 44100, 3.0, 900) == pytest.approx(0.5, abs=0.05)


async def test_a_change_to_surround_is_mixed_with_its_weights(tmp_path: Path) -> None:
    """A broadcast: two channels, then six with the speech in the centre and the rest in opposite phase to it."""
    joined = tmp_path / "joined.ts"
    speech = sine(48000, 1, 900)
    surround = np.concatenate([speech * g for g in (0, 0, 1, -1, 0, 0)], axis=1).astype(np.float32)
    for number, samples in enumerate((sine(48000, 2, 500), surround)):
        part = write(tmp_path / f"{number}.ts", "ac3", samples, 48000, encoder_format="fltp")
        joined.write_bytes((joined.read_bytes() if number else b"") + part.read_bytes())
    audio = (await read(joined)).audio()
    assert audio.shape[1] == 2
    assert len(audio) / 48000 == pytest.approx(4.0, abs=0.1)
    assert tone_at(audio, 48000, 3.0, 900) == pytest.approx(0.5 * 0.7071 / 2.4142, abs=0.02), "LFE would cancel it"


def move_stamp(path: Path, number: int, by: int) -> None:
    """Add to the timestamp of one PES packet of a transport stream, in 90 kHz (ISO/IEC 13818-1, section 2.4.3.6)."""
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(number + 1):
        at = data.index(b"\0\0\1\xc0", at + 1)
    field = data[at + 9 : at + 14]
    pts = (field[0] >> 1 & 7) << 30 | field[1] << 22 | field[2] >> 1 << 15 | field[3] << 7 | field[4] >> 1
    pts = (pts + by) % (1 << 33)
    data[at + 9 : at + 14] = bytes(
        [0x21 | pts >> 30 << 1, pts >> 22 & 255, pts >> 14 & 254 | 1, pts >> 7 & 255, (pts << 1 & 254) | 1]
    )
    path.write_bytes(data)


@pytest.mark.parametrize("seconds", [5, -5, 0.3, -0.3])
@pytest.mark.parametrize("number", [0, 40])
async def test_one_wrong_timestamp_of_a_transport_stream_moves_nothing(
    tmp_path: Path, seconds: float, number: int
) -> None:
    path = write(tmp_path / "broadcast.ts", "mp2", signal(48000, 1, 10.0), 48000)
    whole = (await read(path)).audio()
    move_stamp(path, number, round(90_000 * seconds))
    harness = await read(path)
    np.testing.assert_array_equal(harness.audio(), whole)
    assert errors(harness) == []


async def test_a_drifting_clock_in_a_real_container(tmp_path: Path) -> None:
    rate_hz, whole = 16000, signal(16000, 1, 12.0)
    path = write(tmp_path / "drift.mkv", "pcm_s16le", whole, rate_hz, pts=lambda at: round(at * 0.98))
    harness = await read(path)
    audio = harness.audio()
    assert len(audio) / rate_hz == pytest.approx(12 * 0.98, abs=0.065)
    (told,) = [m for m in harness.messages if isinstance(m, WarningMessage)]
    assert "its audio runs faster than its timestamps, by 0.2" in told.text
    for second in (4.9, 9.8):
        chirp_hz = 300 + 150 * 2 * second / 0.98  # of signal(), at its own time
        assert tone_near(audio, rate_hz, second, chirp_hz)


def tone_near(audio: Samples, rate_hz: int, second: float, freq_hz: float) -> bool:
    part = audio[round((second - 0.05) * rate_hz) : round((second + 0.05) * rate_hz), 0]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return bool(abs(np.argmax(spectrum) * rate_hz / len(part) - freq_hz) < 0.02 * freq_hz)


def two_tracks(path: Path, *langs: str, default: int | None = 0) -> Path:
    with av.open(str(path), "w") as container:
        streams = []
        for number, lang in enumerate(langs):
            stream = container.add_stream("flac" if path.suffix == ".mkv" else "mp2", rate=16000)
            stream.codec_context.layout = "mono"
            stream.codec_context.format = "s16"
            if lang:
                stream.metadata["language"] = lang
            stream.disposition = Disposition.default if number == default else Disposition(0)
            streams.append(stream)
        for number, stream in enumerate(streams):
            block = np.full((1, 32000), 3276 * (number + 1), np.int16)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
            fifo = av.AudioFifo()
            fifo.write(frame)
            while (part := fifo.read(1152, partial=True)) is not None:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("langs", "default", "languages", "track", "taken", "kind"),
    [
        (("rus", "eng"), 0, ("en",), "auto", 1, "info"),
        (("rus", "eng"), 0, ("ru",), "auto", 0, "info"),
        (("rus", "eng"), 1, ("de",), "auto", 1, "warning"),
        (("rus", "eng"), 1, (), "auto", 1, "warning"),
        (("rus", "eng"), None, ("en", "ru"), "auto", 0, "warning"),
        (("", ""), None, ("en",), "auto", 0, "warning"),
        (("ger", "fre"), 0, ("en",), "fr-FR", 1, "info"),
        (("ger", "fre"), 0, ("en",), "deu", 0, "info"),
        (("ger", "ger"), 0, ("de",), 1, 1, "info"),
        (("eng",), 0, ("ru",), "auto", 0, None),
    ],
)
async def test_the_track_in_the_graphs_language_is_read(
    tmp_path: Path,
    langs: tuple[str, ...],
    default: int | None,
    languages: tuple[str, ...],
    track: int | str,
    taken: int,
    kind: str | None,
) -> None:
    path = two_tracks(tmp_path / "film.mkv", *langs, default=default)
    async with Harness(FILE_SRC, path=str(path), track=track, languages_behind=languages) as harness:
        await harness.run()
    assert np.median(harness.audio()) == pytest.approx(0.1 * (taken + 1), abs=0.01)
    told = [m for m in harness.messages if not isinstance(m, PositionMessage)]
    assert [m.kind for m in told] == [kind] * (kind is not None)
    for message in told:
        assert f"audio track {taken} " in message.text
        assert f"there is also {1 - taken} " in message.text


@pytest.mark.parametrize("track", [2, "de"])
async def test_a_track_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, track: int | str) -> None:
    path = two_tracks(tmp_path / "film.mkv", "rus", "eng")
    with pytest.raises(MediaError, match=rf"has the audio tracks 0 ru \(default\), 1 en; .*`track: {track}`"):
        await read(path, track=track)


@pytest.mark.parametrize("name", ["first.ts", "last.ts"])
async def test_a_track_that_is_seen_late_is_none_of_another_kind(tmp_path: Path, name: str) -> None:
    """Which stream of a transport stream is met first depends on where the recorder began."""
    path = two_tracks(tmp_path / name, "rus", "eng")
    data = path.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    pids = [(p[1] & 0x1F) << 8 | p[2] for p in packets]
    audio = [0x100, 0x101]
    early, late = audio if name == "last.ts" else audio[::-1]
    tables = [p for p, pid in zip(packets, pids, strict=True) if pid < 0x100 or pid not in audio]
    order = tables[:3] + [p for p, pid in zip(packets, pids, strict=True) if pid == early]
    order += [p for p, pid in zip(packets, pids, strict=True) if pid == late]
    path.write_bytes(b"".join(order))
    async with Harness(FILE_SRC, path=str(path), languages_behind=("en",)) as harness:
        await harness.run()
    assert np.median(harness.audio()) == pytest.approx(0.2, abs=0.01), "the English one"


async def test_channels_in_opposite_phase_are_mended_and_said(tmp_path: Path) -> None:
    samples = signal(16000, 2, 3.0)
    samples[:, 1] = -samples[:, 0]
    path = write(tmp_path / "plug.wav", "pcm_s16le", samples, 16000)
    harness = await read(path, channel="mix")
    np.testing.assert_allclose(harness.audio()[1600:, 0], samples[1600:, 0], atol=1e-3)
    (told,) = [m for m in harness.messages if isinstance(m, WarningMessage)]
    assert "opposite phase" in told.text


async def test_values_that_are_not_numbers_become_silence(tmp_path: Path) -> None:
    samples = signal(16000, 1)
    samples[8000:8010] = np.nan
    samples[9000] = np.inf
    path = write(tmp_path / "nan.wav", "pcm_f32le", samples, 16000, encoder_format="flt")
    harness = await read(path)
    want = np.nan_to_num(samples, nan=0.0, posinf=0.0)
    np.testing.assert_array_equal(harness.audio(), want)
    assert "not numbers" in errors(harness)[0]


def text_file(path: Path) -> Path:
    path.write_text("Dear diary, today nobody recorded anything.\n" * 20)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


def playlist(path: Path) -> Path:
    write(path.with_name("secret.wav"), "pcm_s16le", signal(8000, 1), 8000)
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nsecret.wav\n#EXT-X-ENDLIST\n")
    return path


def concat_list(path: Path) -> Path:
    write(path.with_name("secret.wav"), "pcm_s16le", signal(8000, 1), 8000)
    path.write_text("ffconcat version 1.0\nfile 'secret.wav'\n")
    return path


def header_only(path: Path) -> Path:
    path.write_bytes(write(path, "pcm_s16le", signal(8000, 1), 8000).read_bytes()[:30])
    return path


def silent_film(path: Path) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(video.encode(None))
    return path


def crowd(path: Path) -> Path:
    data = bytearray(write(path, "pcm_u8", signal(8000, 1), 8000, encoder_format="u8").read_bytes())
    data[22:24] = (52_481).to_bytes(2, "little")
    path.write_bytes(data)
    return path


def high_rate(path: Path) -> Path:
    data = bytearray(write(path, "pcm_s16le", signal(8000, 1), 8000).read_bytes())
    data[24:28] = (2_000_000).to_bytes(4, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "no such file"),
        (folder, "is a folder"),
        (empty, r"is empty \(0 bytes\)"),
        (text_file, "is no recording that can be decoded"),
        (playlist, "is no recording that can be decoded"),
        (concat_list, "is no recording that can be decoded"),
        (header_only, "is no recording|holds no audio|has no audio"),
        (silent_film, r"has no audio stream \(streams: video\)"),
        (high_rate, "sample rate of 2000000 Hz"),
        (crowd, "has no audio stream|holds audio that cannot be decoded"),
    ],
)
async def test_what_cannot_be_decoded_is_one_clear_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Any, said: str
) -> None:
    path = make(tmp_path / "diary.wav")
    with pytest.raises(MediaError, match=said) as caught:
        await read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.path == str(path)
    assert capfd.readouterr() == ("", "")


async def test_a_tag_in_an_old_code_page_is_no_reason_to_refuse_the_sound(tmp_path: Path) -> None:
    want = signal(8000, 1)
    path = write(tmp_path / "song.wav", "pcm_s16le", want, 8000)
    data = path.read_bytes()
    body = b"INFOINAM" + (6).to_bytes(4, "little") + "Песня".encode("cp1251") + b"\0"
    tagged = data[:36] + b"LIST" + len(body).to_bytes(4, "little") + body + data[36:]
    path.write_bytes(tagged[:4] + (len(tagged) - 8).to_bytes(4, "little") + tagged[8:])
    np.testing.assert_array_equal((await read(path)).audio(), want)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("https://example.org/talk.mp3", "https://example.org/talk.mp3: is an address, and recordings are read from"),
        ("rtsp://10.0.0.7/door", "rtsp://10.0.0.7/door: is an address"),
        ("talk.mp3", "talk.mp3: no such file"),
    ],
)
async def test_what_is_no_file_is_not_called_a_missing_one(tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(MediaError) as caught:
        async with Harness(FILE_SRC, path=path, base_dir=tmp_path):
            pass
    assert str(caught.value).startswith(said)
    with pytest.raises(GraphError) as planned:
        plan_jobs([path], tmp_path / "out")
    assert str(planned.value).startswith(said.replace("talk.mp3: no such file", "no such file or folder: talk.mp3"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
async def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(MediaError, match="not a regular file"):
        await read(tmp_path / "pipe.wav")


@pytest.mark.parametrize("name", ["song.mp3", "tape.flac", "memo.m4a", "film.mkv"])
async def test_libav_does_not_write_on_the_terminal(
    recordings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    data = bytearray((recordings / name).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(range(250)) * 2
    (tmp_path / name).write_bytes(data)
    await read(tmp_path / name)
    assert capfd.readouterr() == ("", "")


async def test_real_recordings_decode() -> None:
    if not SPEECH.is_dir():
        warnings.warn(f"no real recordings at {SPEECH}: not tested", stacklevel=1)
        pytest.skip(f"no real recordings at {SPEECH}")
    paths = sorted(p for p in SPEECH.rglob("*") if p.suffix in (".wav", ".flac", ".ogg", ".mp3", ".m4a"))
    assert paths
    for path in paths:
        harness = await read(path, channel="mix")
        assert errors(harness) == [], path
        last = harness.messages[-1]
        assert isinstance(last, PositionMessage)
        assert last.duration_ns is not None
        assert last.position_ns == samples_to_ns(len(harness.audio()), rate_of(harness))
        assert abs(last.position_ns - last.duration_ns) < 50_000_000, path


async def test_a_recording_that_an_output_would_replace_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "diary.wav"
    write(path, "pcm_s16le", signal(16000, 1), 16000)
    before = path.read_bytes()
    output = AtomicFile(path, overwrite=True)  # as file_sink opens it; sinks start before sources
    output.open()
    with pytest.raises(MediaError, match="is this recording and an output too; write the output elsewhere"):
        await read(path)
    output.discard()
    assert await read(path)
    assert path.read_bytes() == before


DEMUXERS = {
    **dict.fromkeys((".m4a", ".m4b", ".mov", ".qt", ".mp4", ".m4v", ".3gp", ".3g2"), "mov"),
    **dict.fromkeys((".aif", ".aiff", ".aifc"), "aiff"),
    **dict.fromkeys((".au", ".snd"), "au"),
    **dict.fromkeys((".asf", ".wma", ".wmv"), "asf"),
    **dict.fromkeys((".f4v", ".flv"), "flv"),
    **dict.fromkeys((".mka", ".mkv", ".webm"), "matroska"),
    **dict.fromkeys((".mpg", ".mpeg", ".vob"), "mpeg"),
    **dict.fromkeys((".ts", ".m2ts", ".mts"), "mpegts"),
    **dict.fromkeys((".ogg", ".oga", ".ogv", ".opus", ".spx"), "ogg"),
    **dict.fromkeys((".wav", ".bwf", ".rf64"), "wav"),
    ".mp2": "mp3",
}
"""FFmpeg's demuxer of a suffix where it is not the suffix itself. FFmpeg's own lists of suffixes are no help: WAV, TS,
CAF and W64 have none, and text files are among them."""


@pytest.mark.parametrize("suffix", sorted(MEDIA_SUFFIXES))
def test_what_is_taken_from_folders_is_what_ffmpeg_reads(suffix: str) -> None:
    assert DEMUXERS.get(suffix, suffix[1:]) in {name for n in av.formats_available for name in n.split(",")}


@pytest.mark.parametrize("name", ["a.w64", "a.caf", "a.ts", "a.m2ts", "a.aiff", "a.mka", "a.mov", "a.AU"])
async def test_other_containers_are_read_and_found(tmp_path: Path, name: str) -> None:
    codec = {"a.ts": "mp2", "a.m2ts": "mp2", "a.aiff": "pcm_s16be", "a.AU": "pcm_s16be"}.get(name, "pcm_s16le")
    rate_hz = 48000
    path = write(tmp_path / name, codec, signal(rate_hz, 1), rate_hz)
    harness = await read(path)
    assert errors(harness) == []
    assert len(harness.audio()) >= SECONDS * rate_hz
    assert [job.input for job in plan_jobs([tmp_path], tmp_path / "out")] == [path]
