from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.pipelines.frames import Samples
from tolmach.pipelines.tempo import TempoChanger, change_tempo, changed_length
from tolmach.processors.espeak.element import Request, speak

RATE_HZ = 22050


def vowel(pitch_hz: npt.NDArray[np.float64], rate_hz: int = RATE_HZ) -> Samples:
    """A voiced tone with the harmonics of a voice up to 4 kHz, its pitch given for every sample."""
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    harmonics = np.arange(1, int(4000 / pitch_hz.max()))
    return np.asarray(0.2 * (np.sin(np.outer(phase, harmonics)) / harmonics).sum(axis=1), np.float32)


def pitch_of(samples: Samples, near_hz: float, rate_hz: int = RATE_HZ) -> float:
    """Pitch of a voiced stretch, Hz: the best period within a quarter of an octave, by autocorrelation."""
    x = samples - samples.mean()
    size = 1 << (2 * len(x) - 1).bit_length()
    like = np.fft.irfft(np.abs(np.fft.rfft(x * np.hanning(len(x)), size)) ** 2)
    first, last = int(rate_hz / near_hz / 1.19), int(rate_hz / near_hz * 1.19) + 2
    at = first + int(np.argmax(like[first:last]))
    before, here, after = like[at - 1 : at + 2]
    return float(rate_hz / (at + 0.5 * (before - after) / (before - 2 * here + after)))


@pytest.fixture(scope="module")
def speech() -> Samples:
    """Three seconds of speech, float32[n], 22 050 Hz."""

    async def say() -> Samples:
        request = Request("Good morning everybody, the meeting begins in ten minutes.", "en-us")
        return np.concatenate([block async for block in speak(request)])

    return asyncio.run(say())


@pytest.mark.parametrize("tempo", [0.5, 0.8, 1.1, 1.3, 2.0])
@pytest.mark.parametrize(("pitch_hz", "rate_hz"), [(70.0, 48000), (110.0, 22050), (237.0, 22050), (380.0, 8000)])
def test_a_voice_keeps_its_pitch(pitch_hz: float, rate_hz: int, tempo: float) -> None:
    voice = vowel(np.full(2 * rate_hz, pitch_hz), rate_hz)
    heard = change_tempo(voice, rate_hz, tempo)
    assert len(heard) == changed_length(len(voice), tempo)
    assert pitch_of(heard, pitch_hz, rate_hz) == pytest.approx(pitch_hz, rel=0.01)


def test_a_melody_is_the_same_melody_in_less_time() -> None:
    seconds = np.arange(4 * RATE_HZ) / RATE_HZ
    melody = 160 * 2 ** (0.4 * np.sin(2 * np.pi * 0.5 * seconds))
    heard = change_tempo(vowel(melody), RATE_HZ, 1.3)
    window = RATE_HZ // 20
    for at in range(window, len(heard) - 2 * window, window):
        expected_hz = float(melody[int((at + window / 2) * 1.3)])
        # In a twentieth of a second it moves by up to 4 %.
        assert pitch_of(heard[at : at + window], expected_hz) == pytest.approx(expected_hz, rel=0.05)


@pytest.mark.parametrize("tempo", [0.7, 1.15, 1.3, 2.0])
def test_no_click_is_put_into_speech(speech: Samples, tempo: float) -> None:
    heard = change_tempo(speech, RATE_HZ, tempo)
    assert len(heard) == changed_length(len(speech), tempo)
    assert np.abs(np.diff(heard)).max() <= 1.05 * np.abs(np.diff(speech)).max()
    assert np.abs(heard).max() <= np.abs(speech).max()


def bands_db(samples: Samples) -> Samples:
    """Mean level of 24 bands a third of an octave apart from 100 Hz on, dB."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::256] * np.hanning(1024)
    power = (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0)
    edges = 100 * 2 ** (np.arange(21) / 3) / (RATE_HZ / 1024)
    means = [power[int(low) : int(low) + max(1, int(high - low))].mean() for low, high in pairwise(edges)]
    return np.asarray(10 * np.log10(means), np.float32)


@pytest.mark.parametrize("tempo", [0.8, 1.3])
def test_a_voice_keeps_its_colour(speech: Samples, tempo: float) -> None:
    changed_db = bands_db(change_tempo(speech, RATE_HZ, tempo)) - bands_db(speech)
    assert np.abs(changed_db).mean() < 0.5
    # Played faster as a gramophone would, it is far from that.
    played = np.interp(np.arange(0, len(speech) - 1, tempo), np.arange(len(speech)), speech).astype(np.float32)
    assert np.abs(bands_db(played) - bands_db(speech)).mean() > 2


@settings(max_examples=25, deadline=None)
@given(
    tempo=st.sampled_from([0.5, 0.93, 1.0, 1.07, 1.3, 2.0]),
    length=st.integers(0, 4000),
    cuts=st.lists(st.integers(0, 1500), max_size=8),
    rate_hz=st.sampled_from([1000, 8000, 24000]),
)
def test_blocks_of_any_length_give_the_same_bytes(tempo: float, length: int, cuts: list[int], rate_hz: int) -> None:
    rng = np.random.default_rng(length)
    samples = rng.normal(0, 0.1, length).astype(np.float32)
    changer = TempoChanger(rate_hz, tempo)
    blocks, at = [], 0
    for cut in [*cuts, length]:
        blocks.append(changer.process(samples[at : at + cut]))
        at = min(length, at + cut)
        behind = at - sum(map(len, blocks)) * tempo
        assert behind <= changer.latency + tempo
    blocks.append(changer.flush())
    whole = change_tempo(samples, rate_hz, tempo)
    assert len(whole) == changed_length(length, tempo)
    assert np.concatenate(blocks).tobytes() == whole.tobytes()
    again = np.concatenate((changer.process(samples), changer.flush()))
    assert again.tobytes() == whole.tobytes()


def test_at_its_own_tempo_nothing_is_touched_and_silence_stays_silence(speech: Samples) -> None:
    assert change_tempo(speech, RATE_HZ, 1.0).tobytes() == speech.tobytes()
    assert not change_tempo(np.zeros(RATE_HZ, np.float32), RATE_HZ, 1.3).any()


@pytest.mark.parametrize("tempo", [0.49, 2.01, float("nan")])
def test_a_tempo_beyond_what_can_be_done_well_is_refused(tempo: float) -> None:
    with pytest.raises(ValueError, match=r"0\.5 to 2\.0"):
        TempoChanger(RATE_HZ, tempo)


def test_a_rate_too_low_for_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1000"):
        TempoChanger(999, 1.1)
