"""Audio to files: what is in them, when they appear, and that their bytes depend on the audio alone."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import resource
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.echo_ast import SPEC as ECHO
from tests.unit.handmade import chain
from tolmach.pipelines.bus import PlacedMessage, WarningMessage
from tolmach.pipelines.errors import ElementError, OutputError
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
from tolmach.pipelines.placing import MAX_SILENCE_NS, PlacedUtterance, Timeline
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.testing import Harness, chop, tone
from tolmach.transports.files.encode import to_int16
from tolmach.transports.files.specs import FILE_SINK, FILE_SRC

RATE_HZ = 16000
S = NS_PER_S
SUFFIXES = ["wav", "flac", "opus", "ogg"]


def noise(count: int, channels: int = 1, seed: int = 0) -> Samples:
    """Values that 16 bits hold exactly."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-20000, 20000, (count, channels)) / 32768).astype(np.float32)


def decode(path: Path) -> tuple[Samples, int]:
    """All samples and the rate, read with PyAV directly."""
    blocks = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for frame in container.decode(stream):
            array = frame.to_ndarray()
            planar = frame.format.is_planar
            block = array.T if planar else array.reshape(-1, frame.layout.nb_channels)
            blocks.append(block.astype(np.float32) / (32768 if array.dtype == np.int16 else 1))
        return np.concatenate(blocks), int(stream.codec_context.sample_rate)


def utterance(number: int, start_ns: int, samples: Samples, rate_hz: int = 16000) -> list[Frame]:
    frame = AudioFrame(samples, rate_hz, start_ns, number)
    end_ns = start_ns + samples_to_ns(len(samples), rate_hz)
    return [UtteranceStart(number, start_ns), *chop(frame, 333), UtteranceEnd(number, start_ns, end_ns)]


async def save(path: Path, *frames: Frame, **chosen: Any) -> Harness:
    async with Harness(FILE_SINK, path=str(path), **chosen) as harness:
        await harness.push(*frames)
        await harness.eos()
    return harness


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# --- what is in the file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
async def test_sixteen_bits_come_back_exactly(tmp_path: Path, suffix: str, channels: int, rate_hz: int) -> None:
    samples = noise(rate_hz + 7, channels)
    samples[0], samples[1] = -1.0, 32767 / 32768
    await save(tmp_path / f"a.{suffix}", *chop(AudioFrame(samples, rate_hz, 0), 441))
    got, got_rate_hz = decode(tmp_path / f"a.{suffix}")
    assert got_rate_hz == rate_hz
    np.testing.assert_array_equal(got, samples)


@pytest.mark.parametrize("suffix", ["opus", "ogg"])
@pytest.mark.parametrize("rate_hz", [8000, 12000, 16000, 22050, 24000, 44100, 48000])
async def test_opus_keeps_length_and_place(tmp_path: Path, suffix: str, rate_hz: int) -> None:
    frame = tone(1.5, rate_hz=rate_hz, freq_hz=330)
    silence = AudioFrame(np.zeros((rate_hz // 2, 1), np.float32), rate_hz, 0)
    shifted = dataclasses.replace(frame, pts_ns=S // 2)
    await save(tmp_path / f"a.{suffix}", *chop(silence, 160), *chop(shifted, 160))
    got, got_rate_hz = decode(tmp_path / f"a.{suffix}")
    assert got_rate_hz == 48000
    assert abs(len(got) - 2 * 48000) <= 2
    want = tone(1.5, rate_hz=48000, freq_hz=330).samples
    assert np.abs(got[: 48000 // 2 - 960]).max() < 0.01
    assert np.corrcoef(got[30000:90000, 0], want[6000:66000, 0])[0, 1] > 0.99


async def test_a_copy_of_a_recording_is_the_recording(tmp_path: Path) -> None:
    samples = noise(44100, 2)
    await save(tmp_path / "first.wav", AudioFrame(samples, 44100, 0))
    async with Harness(FILE_SRC, path=str(tmp_path / "first.wav")) as source:
        await source.run()
    await save(tmp_path / "second.wav", *source.output())
    assert (tmp_path / "first.wav").read_bytes() == (tmp_path / "second.wav").read_bytes()


async def test_aligned_places_utterances_and_reports_their_lag(tmp_path: Path) -> None:
    first, second, third = noise(32000, seed=1), noise(16000, seed=2), noise(8000, seed=3)
    harness = await save(
        tmp_path / "dub.wav", *utterance(1, S, first), *utterance(2, 2 * S, second), *utterance(3, 10 * S, third)
    )
    want = np.zeros((168000, 1), np.float32)
    want[16000:48000], want[48000:64000], want[160000:168000] = first, second, third
    np.testing.assert_array_equal(decode(tmp_path / "dub.wav")[0], want)
    assert harness.messages == [
        PlacedMessage(1, S, S, 0, element="file_sink", graph="harness", pts_ns=S),
        PlacedMessage(2, 2 * S, 3 * S, S, element="file_sink", graph="harness", pts_ns=2 * S),
        PlacedMessage(3, 10 * S, 10 * S, 0, element="file_sink", graph="harness", pts_ns=10 * S),
    ]


async def dub(path: Path, told_ns: int, *frames: Frame, **chosen: Any) -> Harness:
    """Save frames of a recording that is as long as ``told_ns``."""
    async with Harness(FILE_SINK, path=str(path), **chosen) as harness:
        await harness.push(*frames)
        await harness.element.progress(told_ns, "sink")
        await harness.eos()
    return harness


@pytest.mark.parametrize("length", ["recording", "exact"])
async def test_a_dub_is_as_long_as_its_recording(tmp_path: Path, length: str) -> None:
    await dub(tmp_path / "dub.wav", 9 * S, *utterance(1, S, noise(16000)), length=length)
    got, _ = decode(tmp_path / "dub.wav")
    assert len(got) == 9 * 16000
    np.testing.assert_array_equal(got[16000:32000], noise(16000))
    assert not got[32000:].any()


async def test_a_dub_of_a_recording_in_which_nobody_speaks_is_silence_of_its_length(tmp_path: Path) -> None:
    await dub(tmp_path / "dub.wav", 3 * S)
    got, rate_hz = decode(tmp_path / "dub.wav")
    assert len(got) == 3 * rate_hz
    assert not got.any()


async def test_speech_that_outlasts_the_recording_is_kept_and_told(tmp_path: Path) -> None:
    harness = await dub(tmp_path / "dub.wav", 2 * S, *utterance(1, S, noise(32000)))
    assert len(decode(tmp_path / "dub.wav")[0]) == 3 * 16000
    assert "1.00 s beyond the end of the recording and is kept" in harness.messages[-1].text  # type: ignore[attr-defined]


@pytest.mark.parametrize("chunk", [160, 5000])
async def test_speech_that_outlasts_the_recording_is_cut_softly_on_wish(tmp_path: Path, chunk: int) -> None:
    samples = np.full((32000, 1), 0.5, np.float32)
    frames = [UtteranceStart(1, S), *chop(AudioFrame(samples, 16000, S, 1), chunk), UtteranceEnd(1, S, 3 * S)]
    harness = await dub(tmp_path / "dub.wav", 2 * S + 1, *frames, length="exact")
    got = decode(tmp_path / "dub.wav")[0][:, 0]
    assert len(got) == 2 * 16000
    assert (got[16000:31840] == 0.5).all()
    assert np.abs(np.diff(got[31800:])).max() < 0.005  # no step
    assert got[-1] == 0
    assert "is cut there" in harness.messages[-1].text  # type: ignore[attr-defined]


async def test_a_file_may_end_with_its_last_sound(tmp_path: Path) -> None:
    await dub(tmp_path / "dub.wav", 9 * S, *utterance(1, S, noise(16000)), length="speech")
    assert len(decode(tmp_path / "dub.wav")[0]) == 2 * 16000


async def test_speech_fits_its_slot_and_says_how(tmp_path: Path) -> None:
    first, second = tone(2.4, rate_hz=16000).samples, tone(1.0, rate_hz=16000).samples
    frames = [*utterance(1, S, first), *utterance(2, 3 * S, second)]
    harness = await dub(tmp_path / "dub.wav", 5 * S, *frames, fit="slot")
    placed = [m for m in harness.messages if isinstance(m, PlacedMessage)]
    assert [(m.placed_ns, m.lag_ns, round(m.tempo, 3)) for m in placed] == [(S, 0, 1.2), (3 * S, 0, 1.0)]
    got, _ = decode(tmp_path / "dub.wav")
    assert len(got) == 5 * 16000
    assert np.abs(got[3 * 16000 : 4 * 16000] - second).max() < 1e-4


async def test_speech_that_cannot_fit_is_told(tmp_path: Path) -> None:
    frames = [*utterance(1, 0, noise(64000)), *utterance(2, S, noise(16000))]
    harness = await dub(tmp_path / "dub.wav", 5 * S, *frames, fit="slot", max_tempo=1.25)
    text = harness.messages[-1].text  # type: ignore[attr-defined]
    assert "1 utterances do not fit their slots even 1.25 times as fast; what follows begins up to 2.2 s late" in text


async def test_a_compact_file_has_no_slots() -> None:
    with pytest.raises(ValidationError, match="timeline: aligned"):
        FILE_SINK.settings(path="a.wav", fit="slot", timeline="compact")  # type: ignore[call-arg]


async def test_the_whole_graph_says_how_long_the_recording_is(tmp_path: Path) -> None:
    graph = chain(
        ("test_src", {"wave": "speech", "rate_hz": 16000, "duration_ms": 3700}),
        "webrtc_vad",
        ("echo_ast", {"answer": "one", "group": 4}),
        "queue",
        ("espeak_tts", {"lang": "ru"}),
        ("file_sink", {"path": str(tmp_path / "dub.wav")}),
        specs=(ECHO,),
    )
    assert (await GraphRunner(graph).run()).ok
    got, rate_hz = decode(tmp_path / "dub.wav")
    assert len(got) == round(3.7 * rate_hz)
    assert np.abs(got).max() > 0.1


async def test_compact_puts_utterances_one_after_the_other(tmp_path: Path) -> None:
    first, second = noise(3200, seed=1), noise(1600, seed=2)
    harness = await save(
        tmp_path / "dub.wav",
        *utterance(1, 5 * S, first),
        *utterance(2, 90 * S, second),
        timeline="compact",
        gap_ms=100,
    )
    want = np.concatenate([first, np.zeros((1600, 1), np.float32), second])
    np.testing.assert_array_equal(decode(tmp_path / "dub.wav")[0], want)
    assert harness.messages == []


async def test_a_long_silence_is_written(tmp_path: Path) -> None:
    await save(tmp_path / "dub.flac", *utterance(1, 600 * S, noise(800), 8000))
    got, _ = decode(tmp_path / "dub.flac")
    assert len(got) == 600 * 8000 + 800
    assert not got[: 600 * 8000].any()


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_no_audio_gives_a_short_silent_file(tmp_path: Path, suffix: str) -> None:
    caps = {"sink": "audio/raw, rate=24000, channels=2"}
    marks = [UtteranceStart(1, S), UtteranceEnd(1, S, 2 * S)]
    harness = await save(tmp_path / f"a.{suffix}", *marks, caps=caps)
    got, rate_hz = decode(tmp_path / f"a.{suffix}")
    assert got.shape == (rate_hz // 50, 2)
    assert rate_hz == (48000 if suffix in ("opus", "ogg") else 24000)
    assert not got.any()
    assert harness.messages == []


async def test_loud_samples_are_clipped_and_counted(tmp_path: Path) -> None:
    samples = np.array([[0.5], [1.0], [1.5], [-1.0], [-7.0], [np.nan], [np.inf], [-0.25]], np.float32)
    harness = await save(tmp_path / "loud.wav", AudioFrame(samples, 8000, 0))
    got, _ = decode(tmp_path / "loud.wav")
    top = 32767 / 32768
    np.testing.assert_array_equal(got[:, 0], np.float32([0.5, top, top, -1, -1, 0, top, -0.25]))
    (message,) = harness.messages
    assert isinstance(message, WarningMessage)
    assert message.data["clipped"] == 4
    assert "4 values" in message.text


def test_rounding_is_to_the_nearest() -> None:
    values = np.array([[0.4], [0.6], [-0.4], [-0.6], [1.5]], np.float32) / np.float32(32768)
    assert to_int16(values)[0].ravel().tolist() == [0, 1, 0, -1, 2]


# --- the bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "rate_hz"), [(s, r) for s in SUFFIXES for r in (16000, 44100)])
async def test_bytes_depend_on_the_audio_alone(tmp_path: Path, suffix: str, rate_hz: int) -> None:
    samples = noise(3 * rate_hz, 2)
    written = []
    for number, chunk in enumerate([rate_hz // 100, rate_hz // 50, rate_hz * 37 // 1000, rate_hz // 10, 3 * rate_hz]):
        path = tmp_path / f"{number}.{suffix}"
        speech = AudioFrame(samples, rate_hz, 2 * S, 1)
        await save(path, UtteranceStart(1, 2 * S), *chop(speech, chunk), UtteranceEnd(1, 2 * S, 5 * S))
        written.append(path.read_bytes())
    assert len(set(written)) == 1
    assert b"Lavf" not in written[0]
    assert b"Lavc" not in written[0]


# --- when it appears --------------------------------------------------------------------------------------------------


async def test_the_file_appears_when_the_stream_has_ended(tmp_path: Path) -> None:
    async with Harness(FILE_SINK, path="out/deep/dub.wav", base_dir=tmp_path) as harness:
        await harness.push(tone(3.0))
        assert not (tmp_path / "out/deep/dub.wav").exists()
        await harness.eos()
        assert names(tmp_path / "out/deep") == ["dub.wav"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("seconds", [0.0, 0.1, 3.0])
async def test_stop_before_the_end_leaves_nothing(tmp_path: Path, suffix: str, seconds: float) -> None:
    async with Harness(FILE_SINK, path=str(tmp_path / f"dub.{suffix}")) as harness:
        await harness.push(*chop(tone(seconds), 160))
    await harness.stop()
    assert names(tmp_path) == []


class Placing(Harness):
    """Says when an utterance got its place: what goes before it is then being written in the thread."""

    def __init__(self, *arguments: Any, **chosen: Any) -> None:
        self.placed = asyncio.Event()
        super().__init__(*arguments, **chosen)

    def _post(self, *arguments: Any, **more: Any) -> None:
        super()._post(*arguments, **more)
        self.placed.set()


async def test_cancel_while_the_thread_writes_leaves_nothing(tmp_path: Path) -> None:
    harness = Placing(FILE_SINK, path=str(tmp_path / "dub.flac"))
    await harness.element.start()
    twenty_hours = utterance(1, 72000 * S, noise(16000))
    task = asyncio.create_task(harness.push(*twenty_hours))
    await harness.placed.wait()
    task.cancel()
    assert await asyncio.gather(task, return_exceptions=True) != [None]
    await harness.stop()
    assert names(tmp_path) == []


async def test_an_old_file_is_untouched_by_a_cancelled_run(tmp_path: Path) -> None:
    (tmp_path / "dub.wav").write_bytes(b"old")
    async with Harness(FILE_SINK, path=str(tmp_path / "dub.wav")) as harness:
        await harness.push(tone(3.0))
    assert (tmp_path / "dub.wav").read_bytes() == b"old"
    assert names(tmp_path) == ["dub.wav"]


async def test_an_old_file_is_kept_unless_overwriting_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "dub.wav").write_bytes(b"old")
    harness = Harness(FILE_SINK, path=str(tmp_path / "dub.wav"))
    harness.element.context = dataclasses.replace(harness.context, overwrite=False)
    with pytest.raises(OutputError, match="exists already"):
        await harness.element.start()
    await harness.stop()
    assert (tmp_path / "dub.wav").read_bytes() == b"old"


async def test_it_can_start_again_after_stop(tmp_path: Path) -> None:
    async with Harness(FILE_SINK, path=str(tmp_path / "dub.wav")) as harness:
        await harness.push(*utterance(1, 0, noise(8000)))
        await harness.element.stop()
        await harness.element.start()
        await harness.push(*utterance(1, S, noise(1600), 8000))
        await harness.eos()
    got, rate_hz = decode(tmp_path / "dub.wav")
    assert (len(got), rate_hz) == (9600, 8000)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["dub.mp3", "dub", "", "wav", ".wav", "a\0.wav"])
def test_other_suffixes_are_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        FILE_SINK.settings(path=path)


def test_the_message_names_the_suffixes() -> None:
    with pytest.raises(ValidationError, match=r"\.wav, \.flac, \.opus, \.ogg; 'dub.mp3' has '\.mp3'"):
        FILE_SINK.settings(path="dub.mp3")


@pytest.mark.parametrize("second", [tone(0.1, rate_hz=24000), tone(0.1, rate_hz=16000, channels=2)])
async def test_a_change_of_format_is_refused(tmp_path: Path, second: AudioFrame) -> None:
    with pytest.raises(ElementError, match="the audio changes from 16000 Hz, 1 channel to") as caught:
        await save(tmp_path / "dub.wav", tone(0.1), dataclasses.replace(second, pts_ns=S))
    assert caught.value.pts_ns == S
    assert "resample" in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("frame", [tone(0.1, rate_hz=96000), tone(0.1, rate_hz=4000), tone(0.1, channels=6)])
async def test_a_format_no_file_can_have_is_refused(tmp_path: Path, frame: AudioFrame) -> None:
    with pytest.raises(ElementError, match="cannot hold"):
        await save(tmp_path / "dub.wav", frame)
    assert names(tmp_path) == []


async def test_a_broken_timestamp_does_not_fill_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ElementError, match="jump ahead by"):
        await save(tmp_path / "dub.wav", dataclasses.replace(tone(0.1), pts_ns=1000 * 3600 * S))
    assert names(tmp_path) == []


@pytest.mark.parametrize("room", [0, 2000, 30_000])
@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_full_disk_is_one_clear_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, room: int
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(ElementError, match=rf"dub\.{suffix}: cannot be written: ") as caught:
            await save(tmp_path / f"dub.{suffix}", *chop(AudioFrame(noise(160000), 16000, 0), 8000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    assert capfd.readouterr().err == "", "tracebacks of what libav tried on its way out"
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


# Where it lands -------------------------------------------------------------------------------------------------------


def test_an_utterance_waits_for_its_source() -> None:
    timeline = Timeline("aligned", 200)
    timeline.start(1, 2 * S)
    assert timeline.place(RATE_HZ, RATE_HZ, 0, 1) == (2 * RATE_HZ, PlacedUtterance(1, 2 * S, 2 * S))
    assert timeline.position == 3 * RATE_HZ


def test_a_late_utterance_follows_the_previous_one() -> None:
    timeline = Timeline("aligned", 200)
    timeline.start(1, S)
    timeline.place(3 * RATE_HZ, RATE_HZ, S, 1)
    timeline.end(1)
    timeline.start(2, 2 * S)
    silence, placed = timeline.place(RATE_HZ, RATE_HZ, 2 * S, 2)
    assert silence == 0
    assert placed == PlacedUtterance(2, 2 * S, 4 * S)
    assert placed.lag_ns == 2 * S


def test_within_an_utterance_timestamps_do_not_matter() -> None:
    timeline = Timeline("aligned", 200)
    timeline.start(1, 0)
    timeline.place(100, RATE_HZ, 0, 1)
    assert timeline.place(100, RATE_HZ, 50 * S, 1) == (0, None)


def test_the_same_number_again_is_another_utterance() -> None:
    # Two directions of a conversation, each counting from 1, through a funnel.
    timeline = Timeline("aligned", 200)
    for start_ns in (S, 5 * S):
        timeline.start(1, start_ns)
        _, placed = timeline.place(RATE_HZ, RATE_HZ, start_ns, 1)
        assert placed == PlacedUtterance(1, start_ns, start_ns)
        timeline.end(1)


def test_an_utterance_without_audio_takes_no_place() -> None:
    for mode in ("aligned", "compact"):
        timeline = Timeline(mode, 200)  # type: ignore[arg-type]
        timeline.start(1, 9 * S)
        timeline.end(1)
        assert timeline.position == 0


def test_an_utterance_that_was_not_announced_starts_at_its_audio() -> None:
    assert Timeline("aligned", 0).place(10, RATE_HZ, S, 7) == (RATE_HZ, PlacedUtterance(7, S, S))


def test_compact_puts_a_gap_between_utterances_only() -> None:
    timeline = Timeline("compact", 200)
    silences = []
    for number in (1, 2, 3):
        timeline.start(number, number * 100 * S)
        silences += [timeline.place(80, RATE_HZ, 0, number) for _ in range(2)]
        timeline.end(number)
    gap = 200 * RATE_HZ // 1000
    assert silences == [(0, None), (0, None), (gap, None), (0, None), (gap, None), (0, None)]


def test_gaps_of_uncut_audio_are_kept_aligned_and_dropped_compact() -> None:
    aligned, compact = Timeline("aligned", 200), Timeline("compact", 200)
    assert [t.place(RATE_HZ, RATE_HZ, 0, None)[0] for t in (aligned, compact)] == [0, 0]
    assert [t.place(RATE_HZ, RATE_HZ, 3 * S, None)[0] for t in (aligned, compact)] == [2 * RATE_HZ, 0]
    assert [t.place(RATE_HZ, RATE_HZ, 2 * S, None)[0] for t in (aligned, compact)] == [0, 0]


def test_a_jump_of_days_is_refused() -> None:
    with pytest.raises(ValueError, match="jump ahead by 48 hours"):
        Timeline("aligned", 0).place(1, RATE_HZ, 2 * MAX_SILENCE_NS, None)


def test_utterances_that_are_never_closed_do_not_grow_memory() -> None:
    timeline = Timeline("aligned", 0)
    for number in range(100_000):
        timeline.start(number, number)
    assert len(timeline._starts) < 1000


@given(
    rate_hz=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]),
    utterances=st.lists(st.tuples(st.integers(0, 30 * S), st.integers(1, 100_000)), max_size=30),
)
def test_utterances_never_overlap_and_are_never_early(rate_hz: int, utterances: list[tuple[int, int]]) -> None:
    timeline = Timeline("aligned", 0)
    at = 0
    for number, (start_ns, samples) in enumerate(sorted(utterances), 1):
        timeline.start(number, start_ns)
        silence, placed = timeline.place(samples, rate_hz, start_ns, number)
        assert silence >= 0
        assert placed is not None
        assert placed.lag_ns >= 0
        # No silence but what it takes to wait for the source.
        assert at + silence == max(at, ns_to_samples(start_ns, rate_hz))
        assert abs(placed.placed_ns - samples_to_ns(at + silence, rate_hz)) <= S // rate_hz
        at += silence + samples
        assert timeline.position == at
        timeline.end(number)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.sampled_from([8000, 22050, 44100]))
def test_continuous_audio_gets_no_silence_however_it_is_chopped(sizes: list[int], rate_hz: int) -> None:
    timeline = Timeline("aligned", 200)
    at = ns_to_samples(700 * NS_PER_MS, rate_hz)
    silences = []
    for size in sizes:
        silences.append(timeline.place(size, rate_hz, samples_to_ns(at, rate_hz), None)[0])
        at += size
    assert silences[0] == ns_to_samples(700 * NS_PER_MS, rate_hz)
    assert not any(silences[1:])
    assert timeline.position == at
