"""The ruler itself: a known delay is measured, and what is missing is not made up."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.live.latency import Summary, moments
from tests.integration.webrtc_peer import babble

RATE_HZ = 48_000


def delayed(delay_ms: float, seconds: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    said = babble(seconds)
    return said, np.concatenate([np.zeros(round(delay_ms * 48), np.float32), said])[: len(said)]


@pytest.mark.parametrize("delay_ms", [0.0, 77.25, 375.0])
def test_a_constant_delay_is_measured(delay_ms: float) -> None:
    said, heard = delayed(delay_ms)
    found = moments(said, 0.5 * heard, RATE_HZ)
    assert len(found) >= 9
    assert {m.latency_ms for m in found} == {delay_ms}
    assert Summary.of(found).lost == 0


def test_a_delay_that_grows_in_the_middle_is_seen_from_there_on() -> None:
    said, heard = delayed(100)
    half = len(said) // 2
    heard[half:] = np.concatenate([np.zeros(9600, np.float32), heard[half:]])[: len(said) - half]
    found = moments(said, heard, RATE_HZ)
    assert Summary.of(found, to_s=2.7).highest == 100
    assert Summary.of(found, from_s=3.0).p50 == 300


def test_what_was_not_heard_is_lost_not_late() -> None:
    said, heard = delayed(100)
    heard[: len(heard) // 2] = 0
    found = moments(said, heard, RATE_HZ)
    assert all(m.latency_ms is None for m in found if m.at_s < 2.5)
    assert 0.4 < Summary.of(found, to_s=5).lost < 0.8


def test_noise_is_not_taken_for_an_echo() -> None:
    said, _ = delayed(0)
    assert Summary.of(moments(said, babble(6, seed=8), RATE_HZ)).lost == 1
