"""Pauses made shorter, and hurried speech as a whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.pipelines.frames import Samples
from tolmach.pipelines.tempo import changed_length
from tolmach.processors.tts.hurry import Hurry
from tolmach.processors.tts.pace import Pace
from tolmach.processors.tts.pauses import PauseShortener

RATE_HZ = 16000


def sound(ms: int) -> Samples:
    return (0.3 * np.sin(2 * np.pi * 200 * np.arange(RATE_HZ * ms // 1000) / RATE_HZ)).astype(np.float32)


def silence(ms: int, level: float = 0.0) -> Samples:
    return np.random.default_rng(ms).normal(0, level or 1e-12, RATE_HZ * ms // 1000).astype(np.float32)


def shortened(samples: Samples, longest_ms: int) -> Samples:
    shortener = PauseShortener(RATE_HZ, longest_ms)
    return np.concatenate((shortener.process(samples), shortener.flush()))


def test_long_pauses_become_short_and_short_ones_and_sounds_stay() -> None:
    said = np.concatenate([sound(500), silence(600), sound(300), silence(80), sound(200), silence(900)])
    heard = shortened(said, 200)
    expected = np.concatenate([sound(500), silence(200), sound(300), silence(80), sound(200), silence(200)])
    assert len(heard) == len(expected)
    np.testing.assert_allclose(heard, expected, atol=1e-6)


def test_a_pause_with_breath_in_it_is_none_and_a_join_cannot_be_heard() -> None:
    breath = np.concatenate([sound(200), silence(600, 0.01), sound(200)])
    assert shortened(breath, 100).tobytes() == breath.tobytes()
    room = np.concatenate([sound(200), silence(600, 0.001) + np.float32(0.001), sound(200)])
    heard = shortened(room, 100)
    assert len(heard) == len(room) - RATE_HZ // 2
    pause = heard[RATE_HZ // 5 : -RATE_HZ // 5]
    assert np.abs(np.diff(pause)).max() <= np.abs(np.diff(room[RATE_HZ // 5 : -RATE_HZ // 5])).max()


@settings(max_examples=40)
@given(
    pieces=st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=8),
    cuts=st.lists(st.integers(0, 4000), max_size=8),
    longest_ms=st.sampled_from([None, 20, 120, 400]),
    tempo=st.sampled_from([1.0, 1.12, 1.3]),
)
def test_hurried_speech_is_the_same_however_it_is_cut(
    pieces: list[tuple[bool, int]], cuts: list[int], longest_ms: int | None, tempo: float
) -> None:
    parts = [sound(ms) if loud else silence(ms) for loud, ms in pieces]
    said = np.concatenate([*parts, np.zeros(0, np.float32)])
    pace = Pace(0, tempo=tempo, longest_pause_ms=longest_ms)
    whole, cut = Hurry(RATE_HZ, pace), Hurry(RATE_HZ, pace)
    heard = np.concatenate((whole.process(said), whole.flush()))
    at = sorted({0, len(said), *(min(c, len(said)) for c in cuts)})
    blocks = [cut.process(said[a:b]) for a, b in pairwise(at)]
    assert np.concatenate([*blocks, cut.flush()]).tobytes() == heard.tobytes()
    assert len(heard) <= changed_length(len(said), tempo) + 1
    if longest_ms is None:
        assert len(heard) == changed_length(len(said), tempo)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 48000])
def test_it_is_given_out_while_it_is_made(rate_hz: int) -> None:
    hurry = Hurry(rate_hz, Pace(0, tempo=1.3, longest_pause_ms=200))
    rng = np.random.default_rng(1)
    given_ms = sum(len(hurry.process(rng.normal(0, 0.1, rate_hz // 10).astype(np.float32))) for _ in range(10))
    assert given_ms * 1000 / rate_hz > (1000 - 100) / 1.3
