"""Concealment is heard as little as the recommendation promises, and never as a click."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.incoming.conceal import MAX_PERIOD, MIN_PERIOD, Concealer, find_period

RATE = 48_000
FRAME = 960


def voice(seconds: float, pitch_hz: float = 120.0) -> Samples:
    """Harmonics of a falling spectrum, like a sustained vowel."""
    t = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(sum(0.2 / k * np.sin(2 * np.pi * pitch_hz * k * t + k) for k in range(1, 12)), np.float32)


@pytest.mark.parametrize("pitch_hz", [75.0, 100.0, 120.0, 160.0, 190.0])
def test_the_period_of_a_voice_is_found(pitch_hz: float) -> None:
    period, correlation = find_period(voice(0.05, pitch_hz))
    multiple = period * pitch_hz / RATE
    assert abs(multiple - round(multiple)) < 0.02
    assert MIN_PERIOD <= period <= MAX_PERIOD
    assert correlation > 0.99


def test_silence_has_no_period() -> None:
    assert find_period(np.zeros(3000, np.float32))[1] == 0


def test_without_loss_audio_passes_untouched() -> None:
    concealer = Concealer()
    signal = voice(0.2)
    assert concealer.good(signal) is signal


@pytest.mark.parametrize("pitch_hz", [90.0, 120.0, 180.0, 440.0])
def test_one_lost_frame_of_a_steady_voice_is_rebuilt(pitch_hz: float) -> None:
    signal = voice(0.4, pitch_hz)
    concealer = Concealer()
    concealer.good(signal[: 10 * FRAME])
    filled = concealer.lost(FRAME)
    wanted = signal[10 * FRAME : 11 * FRAME]
    plain = filled[:480]  # not attenuated yet
    assert np.sqrt(np.mean((plain - wanted[:480]) ** 2)) < 0.15 * np.sqrt(np.mean(wanted[:480] ** 2))


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_no_click_at_either_seam(frames: int) -> None:
    signal = voice(0.5)
    concealer = Concealer()
    out = [concealer.good(signal[: 10 * FRAME])]
    out += [concealer.lost(FRAME) for _ in range(frames)]
    out.append(concealer.good(signal[(10 + frames) * FRAME :]))
    steps = np.abs(np.diff(np.concatenate(out)))
    assert steps.max() < 1.5 * np.abs(np.diff(signal)).max()


def test_it_is_silent_after_60_ms_and_stays_bounded() -> None:
    concealer = Concealer()
    concealer.good(voice(0.2))
    filled = concealer.lost(10 * FRAME)
    assert not filled[60 * 48 :].any()
    assert np.abs(filled).max() < 1.2 * np.abs(voice(0.2)).max()
    levels = [float(np.sqrt(np.mean(filled[i : i + 480] ** 2))) for i in range(0, 60 * 48, 480)]
    assert levels == sorted(levels, reverse=True) or max(np.diff(levels)) < 0.01


def test_recovery_ends_in_the_real_samples() -> None:
    signal = voice(0.5)
    concealer = Concealer()
    concealer.good(signal[: 10 * FRAME])
    concealer.lost(FRAME)
    back = concealer.good(signal[11 * FRAME : 13 * FRAME])
    np.testing.assert_array_equal(back[480:], signal[11 * FRAME + 480 : 13 * FRAME])


def test_silence_of_the_peer_fades_in_5_ms() -> None:
    concealer = Concealer()
    concealer.good(voice(0.2))
    quiet = concealer.silence(FRAME)
    assert quiet[:48].any()
    assert not quiet[240:].any()
    assert not concealer.silence(FRAME).any()


def test_a_loss_in_silence_is_silence() -> None:
    concealer = Concealer()
    assert not concealer.lost(FRAME).any()


@given(cuts=st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_concealment_does_not_depend_on_how_it_is_asked_for(cuts: list[int]) -> None:
    whole, parts = Concealer(), Concealer()
    signal = voice(0.1, 110.0)
    whole.good(signal)
    parts.good(signal)
    np.testing.assert_array_equal(np.concatenate([parts.lost(n) for n in cuts]), whole.lost(sum(cuts)))
