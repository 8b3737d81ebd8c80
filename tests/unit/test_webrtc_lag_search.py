"""Narrow-band audio on a clock, and the search for one sound in another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.loudspeakers import PERSON, TTS, noise, speech
from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.echo.echo_path import BLOCK, LagSearch
from tolmach.transports.webrtc.echo.reference import WHITE_HOP, Decimator, LatestValues, whiten
from tolmach.transports.webrtc.opus import RTP_RATE_HZ

FIRST, LAST = -160, 8000


@given(cuts=st.lists(st.integers(1, 2000), min_size=1, max_size=8))
def test_decimation_does_not_depend_on_pieces(cuts: list[int]) -> None:
    signal = noise(sum(cuts), -10)
    whole, pieces = Decimator(), Decimator()
    parts = [pieces.push(part) for part in np.split(signal, np.cumsum(cuts)[:-1])]
    assert sum(map(len, parts)) == -(-len(signal) // 6)
    np.testing.assert_allclose(np.concatenate(parts), whole.push(signal), atol=1e-6)


def test_decimation_keeps_speech_and_takes_out_what_would_fold() -> None:
    at_s = np.arange(RTP_RATE_HZ) / RTP_RATE_HZ

    def level(hz: float) -> float:
        return float(np.std(Decimator().push(np.sin(2 * np.pi * hz * at_s).astype(np.float32))[100:]) * np.sqrt(2))

    for hz in (300, 1000, 3000):
        emphasis = abs(1 - 0.9 * np.exp(-2j * np.pi * hz / 8000))
        assert level(hz) == pytest.approx(emphasis, rel=0.02)
    assert level(4500) < 0.01
    assert level(9000) < 0.01
    assert level(50) < 0.12


@given(writes=st.lists(st.tuples(st.integers(-30, 150), st.integers(1, 39)), min_size=1, max_size=20))
def test_the_latest_values_are_kept(writes: list[tuple[int, int]]) -> None:
    length = 40
    latest = LatestValues(length)
    truth: dict[int, float] = {}
    end = 0
    for n, (step, count) in enumerate(writes):
        start = max(0, end + max(step, -length // 2))
        latest.write(start, np.full(count, n + 1, np.float32))
        truth.update(dict.fromkeys(range(start, start + count), float(n + 1)))
        end = max(end, start + count)
        assert latest.end == end
        kept = range(end - length, end)
        assert latest.read(kept.start, kept.stop).tolist() == [truth.get(i, 0.0) for i in kept]
    assert not latest.read(end + 200, end + 210).any()


@pytest.mark.parametrize("lag", [-150, 0, 1234, 7990])
def test_the_search_finds_a_lag_to_the_millisecond(lag: int) -> None:
    signal = noise(10 * BLOCK + LAST + 1000 + 2 * WHITE_HOP, -20)
    signal = signal[: len(signal) // WHITE_HOP * WHITE_HOP]
    white = whiten(signal)
    search = LagSearch(FIRST, LAST, slow=0.95, fast=0.85)
    for n in range(8):
        at = LAST + n * BLOCK
        search.add(white[at - lag : at - lag + BLOCK], white[at - LAST : at - FIRST + BLOCK])
    slow, fast = search.peaks()
    assert slow.lag == fast.lag == pytest.approx(lag, abs=8)
    assert slow.height > 3
    search.shift(5)
    assert search.peaks()[0].lag == slow.lag + 5


def test_two_talkers_do_not_look_alike() -> None:
    search = LagSearch(FIRST, LAST, slow=0.95, fast=0.85)

    def narrow(names: tuple[str, ...]) -> Samples:
        signal = Decimator().push(speech(names, pause_s=0.1, before_s=0))
        return whiten(signal[: len(signal) // WHITE_HOP * WHITE_HOP])

    ours, theirs = narrow(TTS), narrow(PERSON)
    heights = []
    for at in range(LAST, min(len(ours), len(theirs)) - BLOCK + FIRST, BLOCK):
        search.add(theirs[at : at + BLOCK], ours[at - LAST : at - FIRST + BLOCK])
        heights.append(max(peak.height for peak in search.peaks()))
    assert len(heights) > 100
    assert max(heights) < 2.6
