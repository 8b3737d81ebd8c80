"""The original low under its translation: levels, edges, peaks, and that nothing depends on when what comes."""

from __future__ import annotations

import asyncio
import math
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.echo_ast import SPEC as ECHO
from tests.unit.handmade import graph
from tolmach.pipelines.bus import PlacedMessage, WarningMessage
from tolmach.pipelines.element import END_NS
from tolmach.pipelines.errors import ElementError, GraphError
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame, Samples, UtteranceEnd, UtteranceStart, samples_to_ns
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.mix.limiter import Limiter
from tolmach.processors.mix.spec import SPEC
from tolmach.processors.mix.spool import Spool

RATE_HZ = 16000
S = NS_PER_S
FORMAT: dict[str, Any] = {"rate_hz": RATE_HZ, "channels": 1}
QUICK: dict[str, Any] = {**FORMAT, "attack_ms": 100, "hold_ms": 200, "release_ms": 300}


def sine(seconds: float, freq_hz: float = 1000, level: float = 0.5, channels: int = 1) -> Samples:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = (level * np.sin(2 * np.pi * freq_hz * t)).astype(np.float32)
    return np.repeat(wave[:, None], channels, axis=1)


def bed(samples: Samples, chunk: int = 1600, start_ns: int = 0) -> list[Frame]:
    return list(chop(AudioFrame(samples, RATE_HZ, start_ns), chunk))


def spoken(number: int, start_s: float, samples: Samples, chunk: int = 800) -> list[Frame]:
    start_ns = round(start_s * S)
    end_ns = start_ns + samples_to_ns(len(samples), RATE_HZ)
    frame = AudioFrame(samples, RATE_HZ, start_ns, number)
    return [UtteranceStart(number, start_ns), *chop(frame, chunk), UtteranceEnd(number, start_ns, end_ns)]


async def mix(voice: Sequence[Frame | int], low: Sequence[Frame], **chosen: Any) -> tuple[Samples, Harness]:
    """The whole mix, float32[n, channels]; numbers are the voice's progress, ns."""
    async with Harness(SPEC, **{**QUICK, **chosen}) as harness:
        for frame in low:
            await harness.push(frame, pad="bed")
        for each in voice:
            if isinstance(each, int):
                await harness.element.progress(each, "voice")
            else:
                await harness.push(each, pad="voice")
        await harness.eos()
    return harness.audio(), harness


def level_db(samples: Samples, freq_hz: float) -> float:
    """How loud a tone is, dB of its amplitude, whatever else sounds."""
    t = np.arange(len(samples)) / RATE_HZ
    window = np.hanning(len(samples))
    amplitude = 2 * abs(np.sum(samples[:, 0] * window * np.exp(-2j * np.pi * freq_hz * t))) / window.sum()
    return 20 * math.log10(amplitude)


# What is heard --------------------------------------------------------------------------------------------------------


async def test_the_bed_is_low_under_speech_and_as_it_came_elsewhere() -> None:
    low, voice = sine(10, 1000, 0.5), sine(2, 3000, 0.25)
    got, harness = await mix(spoken(1, 4, voice), bed(low), duck_gain_db=-18.0)
    assert got.shape == low.shape
    np.testing.assert_array_equal(got[: round(3.9 * RATE_HZ)], low[: round(3.9 * RATE_HZ)])
    np.testing.assert_array_equal(got[round(6.6 * RATE_HZ) :], low[round(6.6 * RATE_HZ) :])
    under = got[4 * RATE_HZ : 6 * RATE_HZ]
    assert level_db(under, 1000) == pytest.approx(20 * math.log10(0.5) - 18, abs=0.05)
    assert level_db(under, 3000) == pytest.approx(20 * math.log10(0.25), abs=0.05)
    assert [m.placed_ns for m in harness.messages if isinstance(m, PlacedMessage)] == [4 * S]


async def test_the_bed_is_down_when_the_voice_begins() -> None:
    got, _ = await mix(spoken(1, 4, sine(1, 3000)), bed(sine(8)))
    before = got[round(3.98 * RATE_HZ) : 4 * RATE_HZ]
    assert np.abs(before).max() < 0.5 * 10 ** (-15 / 20)  # the last 20 ms of 100 ms that lead 20 dB down
    assert np.abs(got[round(3.88 * RATE_HZ) : round(3.9 * RATE_HZ)]).max() > 0.49


async def test_short_pauses_do_not_bring_the_bed_back() -> None:
    voice = [*spoken(1, 2, sine(1, 3000)), *spoken(2, 3.15, sine(1, 3000)), *spoken(3, 6, sine(1, 3000))]
    got, _ = await mix(voice, bed(sine(9)))
    short, long = (got[round(a * RATE_HZ) : round(b * RATE_HZ)] for a, b in ((3.0, 3.15), (4.8, 5.8)))
    assert np.abs(short).max() <= 0.0501
    assert np.abs(long).max() == pytest.approx(0.5, abs=0.001)


async def test_no_edge_of_the_ducking_can_be_heard() -> None:
    """What a step of the gain would add far from the tone, dB below full scale, is not there."""
    quiet = np.concatenate((sine(1, 50, 0.004), np.zeros((RATE_HZ, 1), np.float32)))  # opens it, adds nothing above
    got, _ = await mix(spoken(1, 3, quiet), bed(sine(8, 503.3)))
    reference = sine(8, 503.3)[:, 0] * np.where((np.arange(8 * RATE_HZ) // RATE_HZ == 3), 0.1, 1.0)

    def splash_db(samples: Any) -> float:
        frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::256] * np.blackman(1024)
        spectrum = np.abs(np.fft.rfft(frames, axis=1)) / np.blackman(1024).sum() * 2
        return float(20 * np.log10(spectrum[:, 192:].max() + 1e-12))  # 3 kHz and above

    assert splash_db(reference) > -60
    assert splash_db(got[:, 0]) < -95


async def test_nothing_clips_and_nothing_exceeds_the_ceiling() -> None:
    rng = np.random.default_rng(0)
    loud = rng.uniform(-1, 1, (6 * RATE_HZ, 1)).astype(np.float32)
    got, _ = await mix(spoken(1, 1, sine(3, 200, 1.0)), bed(loud), duck_gain_db=0.0, bed_gain_db=6.0)
    assert np.abs(got).max() <= 10 ** (-1 / 20) + 1e-6
    assert np.abs(got).max() > 0.8


@settings(deadline=None, max_examples=30)
@example(peaks=[(3, 4.0)], cuts=[])
@example(peaks=[(3000, -4.0)], cuts=[1, 1, 79, 80, 81])
@given(
    peaks=st.lists(st.tuples(st.integers(0, 3000), st.floats(-8, 8)), max_size=12),
    cuts=st.lists(st.integers(1, 900), max_size=6),
)
def test_the_limiter_never_lets_a_peak_through(peaks: list[tuple[int, float]], cuts: list[int]) -> None:
    signal = 0.3 * np.sin(np.arange(3001) / 9.0)[:, None]
    for at, value in peaks:
        signal[at] = value

    limiter = Limiter(RATE_HZ, 1, -1.0)
    out = [limiter.process(block) for block in np.split(signal, np.minimum(np.cumsum(cuts), len(signal)))]
    got = np.concatenate([*out, limiter.flush()])
    assert len(got) == len(signal)
    assert np.abs(got).max() <= 10 ** (-1 / 20) * (1 + 1e-9)
    if all(abs(value) <= 0.89 for _, value in peaks):
        np.testing.assert_array_equal(got, signal)
    else:
        heard = np.abs(signal[:, 0]) > 1e-300  # less cannot be made softer: it is the least that a float holds
        assert (got[heard, 0] / signal[heard, 0] > 0).all()


# How long, and where --------------------------------------------------------------------------------------------------


async def test_a_mix_is_as_long_as_the_recording() -> None:
    got, _ = await mix([*spoken(1, 1, sine(1)), 9 * S], bed(sine(9.03)))
    assert len(got) == round(9.03 * RATE_HZ)


async def test_the_last_speech_is_kept_or_cut_softly() -> None:
    voice, low = spoken(1, 1, sine(3, 3000)), np.zeros((2 * RATE_HZ, 1), np.float32)
    kept, harness = await mix(voice, bed(low))
    assert len(kept) == 4 * RATE_HZ
    assert "2.00 s beyond the end of the recording and is kept" in str(harness.messages[-1])
    cut, harness = await mix(voice, bed(low), length="exact")
    assert len(cut) == 2 * RATE_HZ
    assert np.abs(cut[-8:]).max() < 0.03
    assert np.abs(cut[round(1.5 * RATE_HZ) :]).max() > 0.49
    assert "is cut there" in str(harness.messages[-1])


async def test_a_part_of_a_recording_begins_where_it_begins() -> None:
    low = bed(sine(3), start_ns=60 * S)
    got, harness = await mix(spoken(1, 61, sine(0.5, 3000)), low)
    first = next(f for f in harness.output("src") if isinstance(f, AudioFrame))
    assert first.pts_ns == 60 * S
    assert len(got) == 3 * RATE_HZ
    assert level_db(got[RATE_HZ : RATE_HZ + RATE_HZ // 2], 3000) == pytest.approx(20 * math.log10(0.5), abs=0.1)


async def test_speech_is_fitted_as_in_a_dub() -> None:
    voice = [*spoken(1, 1, sine(2.4, 300)), *spoken(2, 3, sine(1, 300)), 6 * S]
    _, harness = await mix(voice, bed(sine(6)), fit="slot")
    placed = [m for m in harness.messages if isinstance(m, PlacedMessage)]
    assert [(m.placed_ns, round(m.tempo, 3)) for m in placed] == [(S, 1.2), (3 * S, 1.0)]


async def test_a_voice_without_a_bed_and_a_bed_without_a_voice() -> None:
    voice, _ = await mix(spoken(1, 1, sine(1)), [])
    assert len(voice) == 2 * RATE_HZ
    np.testing.assert_array_equal(voice[RATE_HZ:], sine(1))
    low, _ = await mix([], bed(sine(2)))
    np.testing.assert_array_equal(low, sine(2))


async def test_a_mono_voice_stands_in_the_middle() -> None:
    low = np.zeros((2 * RATE_HZ, 2), np.float32)
    got, _ = await mix(spoken(1, 0.5, sine(1)), bed(low), channels=2)
    np.testing.assert_array_equal(got[:, 0], got[:, 1])


async def test_another_rate_says_what_to_put_before_it() -> None:
    with pytest.raises(ElementError, match=r"bed gets 8000 Hz, 1 channels and takes 16000 Hz, 1; put .*resample"):
        await mix([], [AudioFrame(sine(0.1), 8000, 0)])


# When what comes ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(order=st.lists(st.booleans(), max_size=60), chunk=st.integers(300, 5000), told=st.booleans())
def test_the_mix_does_not_depend_on_when_what_comes(order: list[bool], chunk: int, told: bool) -> None:
    voice, low = sine(1.5, 700, 0.7), sine(5, 1000, 0.6)

    async def run(order: list[bool], chunk: int, told: bool) -> Samples:
        voices: list[Frame | int] = []
        for number, start_s in enumerate((0.4, 1.5, 4.4)):
            voices += [round(start_s * S)] * told + spoken(number, start_s, voice, chunk)
        lows = bed(low, chunk)
        async with Harness(SPEC, **QUICK) as harness:
            for first in [*order, *[True] * len(voices), *[False] * len(lows)]:
                if first and voices:
                    each = voices.pop(0)
                    if isinstance(each, int):
                        await harness.element.progress(each, "voice")
                    else:
                        await harness.push(each, pad="voice")
                elif not first and lows:
                    await harness.push(lows.pop(0), pad="bed")
                if told and not voices:
                    await harness.element.progress(END_NS, "voice")
            await harness.eos()
        return harness.audio()

    np.testing.assert_array_equal(asyncio.run(run(order, chunk, told)), asyncio.run(run([], 777, False)))


async def test_it_goes_on_as_far_as_the_voice_is_known() -> None:
    async with Harness(SPEC, **QUICK) as harness:
        await harness.push(*bed(sine(10)), pad="bed")
        assert harness.output("src") == []
        await harness.element.progress(4 * S, "voice")
        assert 3.7 * RATE_HZ < len(harness.audio()) <= 3.9 * RATE_HZ


async def test_what_waits_is_bounded_in_memory() -> None:
    """Five minutes of the bed wait for the voice: on disk, byte for byte."""
    low = sine(60)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with Harness(SPEC, **QUICK, max_bytes=65_536) as harness:
        for minute in range(5):
            await harness.push(*bed(low, 8000, minute * 60 * S), pad="bed")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 12_000  # kB; all of it would be 19 200
        await harness.element.progress(2 * S, "voice")
        await harness.push(*spoken(1, 100, sine(1)), pad="voice")
        await harness.eos()
    got = harness.audio()
    assert len(got) == 300 * RATE_HZ
    np.testing.assert_array_equal(got[: 60 * RATE_HZ], low)
    np.testing.assert_array_equal(got[-60 * RATE_HZ :], low)


def test_a_spool_gives_back_what_it_took() -> None:
    spool = Spool(2, 1000)
    rng = np.random.default_rng(1)
    parts = [rng.uniform(-1, 1, (int(n), 2)).astype(np.float32) for n in rng.integers(1, 90, 40)]
    want = []
    for part in parts:
        spool.append(part)
        spool.append_silence(5)
        want += [part, np.zeros((5, 2), np.float32)]
    assert spool.on_disk
    line = np.concatenate(want)
    spool.skip(33)
    got = [spool.take(n) for n in (1, 100, 777)]
    spool.append(parts[0])
    rest = spool.take(spool.count + 3)
    line = np.concatenate([line[33:], parts[0], np.zeros((3, 2), np.float32)])
    np.testing.assert_array_equal(np.concatenate([*got, rest]), line)
    assert (spool.count, spool.on_disk) == (0, False)
    spool.close()


# In a graph -----------------------------------------------------------------------------------------------------------


def dubbing(path: Path, sources: str, **chosen: Any) -> Any:
    tone = {"wave": "speech", "rate_hz": 16000, "duration_ms": 3700}
    nodes: dict[str, Any] = {
        "in": ("test_src", tone),
        "vad": ("webrtc_vad", {}),
        "ast": ("echo_ast", {"answer": "one", "group": 4}),
        "tts": ("espeak_tts", {"lang": "ru"}),
        "to": ("resample", {}),
        "bed": ("resample", {}),
        "mix": ("mix", {"rate_hz": 24000, **chosen}),
        "out": ("file_sink", {"path": str(path)}),
    }
    links = ["tts -> to -> mix.voice", "bed -> mix.bed", "mix -> out"]
    if sources == "one":
        nodes |= {"fork": ("tee", {}), "a": ("queue", {}), "b": ("queue", {})}
        links += ["in -> fork", "fork -> a -> vad -> ast -> tts", "fork -> b -> bed"]
    else:
        nodes["again"] = ("test_src", tone)
        links += ["in -> vad -> ast -> tts", "again -> bed"]
    return graph(nodes, links, specs=(ECHO,))


async def test_one_source_or_two_give_the_same_file(tmp_path: Path) -> None:
    made: list[Path] = []
    for sources, most in (("one", 65_536), ("two", 65_536), ("one", 2**26)):
        path = tmp_path / f"{sources}-{most}.wav"
        made.append(path)
        result = await GraphRunner(dubbing(path, sources, max_bytes=most)).run()
        assert result.ok, result.errors
    assert len({path.read_bytes() for path in made}) == 1
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        count = sum(frame.samples for frame in container.decode(stream))
        assert (stream.rate, stream.codec_context.channels) == (24000, 2)
        assert count == round(3.7 * 24000)


def test_a_wrong_format_is_found_before_anything_runs() -> None:
    nodes: dict[str, Any] = {
        "v": ("test_src", {"rate_hz": 16000}),
        "b": ("test_src", {"rate_hz": 48000, "channels": 2}),
        "mix": ("mix", {}),
        "out": ("fake_sink", {}),
    }
    with pytest.raises(GraphError, match=r"cannot link v\.src -> mix\.voice[\s\S]*resample"):
        graph(nodes, ["v -> mix.voice", "b -> mix.bed", "mix -> out"])


async def test_a_late_voice_is_told_once() -> None:
    voice = [*spoken(1, 0, sine(5, 300)), *spoken(2, 1, sine(1, 300)), 9 * S]
    _, harness = await mix(voice, bed(sine(9)), fit="slot")
    told = [m.text for m in harness.messages if isinstance(m, WarningMessage)]
    assert len(told) == 1
    assert "do not fit their slots even 1.3 times as fast" in told[0]
