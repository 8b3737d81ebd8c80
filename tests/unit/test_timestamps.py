"""The clock of a recording (docs/adr/0012), by traces of timestamps as recorders and broadcasts write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.transports.files.timestamps import MediaClock, Placement

RATE_HZ = 16_000
MS = RATE_HZ // 1000
WRAP = round((1 << 33) * RATE_HZ / 90_000)

frame_lengths = st.sampled_from([128, 160, 320, 400, 1024, 1152, 1600, 4096])
seeds = st.integers(0, 2**32 - 1)


@dataclass
class Placed:
    """Where each frame landed, in samples, and what was done to it."""

    starts: list[int]
    placements: list[Placement]
    total: int
    clock: MediaClock

    def error_ms(self, truth: Sequence[float]) -> np.ndarray:
        return (np.array(self.starts) - np.array(truth)) / MS


def place(times: Sequence[int | None], samples: int, **options: object) -> Placed:
    clock = MediaClock(RATE_HZ, **options)  # type: ignore[arg-type]
    placements: list[Placement] = []
    held = 0
    for number, time in enumerate(times):
        placements += clock.place(time, samples)
        held = max(held, number + 1 - len(placements))
    placements += clock.finish()
    assert len(placements) == len(times), "every frame is placed, once"
    assert held * samples <= 5000 * MS, "no frame waits for more than five seconds of audio"
    starts, at = [], 0
    for placement in placements:
        assert placement.silence >= 0
        assert samples + placement.stretch > 0
        at += placement.silence
        starts.append(at)
        at += samples + placement.stretch
    assert at == clock.placed
    return Placed(starts, placements, at, clock)


def steady(samples: int, seconds: float) -> list[int]:
    return [k * samples for k in range(round(seconds * RATE_HZ / samples))]


@given(samples=frame_lengths, seed=seeds, jitter_ms=st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_jitter_changes_nothing(samples: int, seed: int, jitter_ms: int) -> None:
    truth = steady(samples, 40)
    jitter = np.random.default_rng(seed).integers(-jitter_ms * MS, jitter_ms * MS + 1, len(truth))
    placed = place([t + int(j) for t, j in zip(truth, jitter, strict=True)], samples)
    assert all(p == Placement() for p in placed.placements)


@given(samples=frame_lengths, seed=seeds, jitter_ms=st.integers(50, 300))
@settings(max_examples=20, deadline=None)
def test_stamps_that_scatter_wildly_move_nothing_far(samples: int, seed: int, jitter_ms: int) -> None:
    truth = steady(samples, 60)
    jitter = np.random.default_rng(seed).integers(-jitter_ms * MS, jitter_ms * MS + 1, len(truth))
    placed = place([t + int(j) for t, j in zip(truth, jitter, strict=True)], samples)
    assert abs(placed.error_ms(truth)).max() < 2 * jitter_ms, "a random walk, or a ratchet"


@given(
    samples=frame_lengths,
    where=st.floats(0, 1),
    off_ms=st.integers(60, 20_000) | st.integers(-20_000, -60),
    stamps=st.integers(1, 3),
)
@settings(max_examples=80, deadline=None)
def test_a_wrong_timestamp_moves_nothing(samples: int, where: float, off_ms: int, stamps: int) -> None:
    times = steady(samples, 30)
    first = int(where * (len(times) - 1))
    for number in range(first, min(first + stamps, len(times))):
        times[number] += off_ms * MS
    placed = place(times, samples)
    if len(times) - first <= stamps or (first == 0 and off_ms > 0):
        return  # the last ones, or a start: nothing tells a mistake from a gap there; see below
    assert all(p == Placement() for p in placed.placements)


@pytest.mark.parametrize("off_ms", [5000, -5000])
def test_a_packet_of_many_frames_with_one_wrong_timestamp_moves_nothing(off_ms: int) -> None:
    """One MPEG-TS packet at 16 kb/s: 1.5 s of audio share its timestamp."""
    times = steady(320, 30)
    for number in range(500, 575):
        times[number] += off_ms * MS
    assert all(p == Placement() for p in place(times, 320).placements)


@pytest.mark.parametrize("off_ms", [4000, -4000])
def test_a_wrong_first_timestamp_sets_no_origin(off_ms: int) -> None:
    """libav takes time 0 from the first timestamp, so that all the others seem to be off."""
    times = [0, *(t - off_ms * MS for t in steady(400, 20)[1:])]
    placed = place(times, 400, own_origin=True)
    assert all(p == Placement() for p in placed.placements)


def test_a_wrong_last_timestamp_adds_no_silence() -> None:
    times = steady(400, 20)
    times[-1] += 3000 * MS
    assert place(times, 400).total == 20 * RATE_HZ


@given(
    samples=frame_lengths,
    where=st.integers(0, 20),
    gap_ms=st.integers(60, 30_000),
    jitter_ms=st.integers(0, 1),
    seed=seeds,
)
@settings(max_examples=60, deadline=None)
def test_a_gap_is_as_long_as_its_timestamps_say(
    samples: int, where: int, gap_ms: int, jitter_ms: int, seed: int
) -> None:
    truth = [t if t < where * RATE_HZ else t + gap_ms * MS for t in steady(samples, 30)]
    jitter = np.random.default_rng(seed).integers(-jitter_ms * MS, jitter_ms * MS + 1, len(truth))
    placed = place([t + int(j) for t, j in zip(truth, jitter, strict=True)], samples)
    assert abs(placed.error_ms(truth)).max() <= 2 * jitter_ms
    assert sum(p.silence > 0 for p in placed.placements) == 1


def test_pieces_between_gaps_keep_their_places() -> None:
    """A push-to-talk recorder: 300 ms now and then. None is long enough to be sure of; together they are."""
    truth = [piece * 1700 * MS + t for piece in range(20) for t in steady(480, 0.3)]
    assert place(truth, 480).starts == truth


@given(samples=frame_lengths, length_ms=st.integers(40, 3000), gap_ms=st.integers(100, 5000))
@settings(max_examples=40, deadline=None)
def test_a_gap_before_the_end_is_kept_if_enough_follows(samples: int, length_ms: int, gap_ms: int) -> None:
    before, after = steady(samples, 5), max(1, length_ms * MS // samples)
    truth = before + [len(before) * samples + gap_ms * MS + k * samples for k in range(after)]
    placed = place(truth, samples)
    if after * samples >= 200 * MS:
        assert placed.starts == truth
    else:
        assert placed.total in (truth[-1] + samples, len(truth) * samples)


@pytest.mark.parametrize("seconds", [0.1, 0.5, 10.0])
def test_a_late_start_begins_with_silence(seconds: float) -> None:
    truth = [t + 1400 * MS for t in steady(320, seconds)]
    assert place(truth, 320).starts == truth


@given(samples=frame_lengths, percent=st.floats(-2, 2), jitter_ms=st.integers(0, 8), seed=seeds)
@settings(max_examples=40, deadline=None)
def test_a_drift_is_followed(samples: int, percent: float, jitter_ms: int, seed: int) -> None:
    truth = [t * (1 + percent / 100) for t in steady(samples, 120)]
    jitter = np.random.default_rng(seed).uniform(-jitter_ms * MS, jitter_ms * MS, len(truth))
    placed = place([round(t + j) for t, j in zip(truth, jitter, strict=True)], samples)
    assert abs(placed.error_ms(truth)).max() < 65
    assert not any(p.silence for p in placed.placements), "a drift is no gap"
    if abs(percent) > 0.1:
        net = placed.clock.inserted - placed.clock.removed
        assert net == pytest.approx(percent / 100 * 120 * RATE_HZ, abs=65 * MS)


@given(percent=st.floats(-2, 2), gap_ms=st.integers(200, 5000), off_ms=st.integers(-9000, 9000))
@settings(max_examples=30, deadline=None)
def test_a_gap_and_a_wrong_stamp_in_a_drifting_recording(percent: float, gap_ms: int, off_ms: int) -> None:
    truth = [t * (1 + percent / 100) + (gap_ms * MS if t >= 20 * RATE_HZ else 0) for t in steady(400, 60)]
    times = [round(t) for t in truth]
    times[400] += off_ms * MS
    placed = place(times, 400)
    assert abs(placed.error_ms(truth)).max() < 70


@given(samples=frame_lengths, start=st.integers(0, 25), seconds=st.integers(40, 60))
@settings(max_examples=20, deadline=None)
def test_mpeg_timestamps_wrap(samples: int, start: int, seconds: int) -> None:
    truth = steady(samples, seconds)
    offset = WRAP - start * RATE_HZ
    wrapped = [(t + offset) % WRAP - offset for t in truth]
    assert place(wrapped, samples, wrap=WRAP).starts == truth


def test_a_gap_over_the_wrap_is_kept() -> None:
    truth = [t if t < 10 * RATE_HZ else t + 3 * RATE_HZ for t in steady(400, 30)]
    offset = WRAP - 11 * RATE_HZ
    assert place([(t + offset) % WRAP - offset for t in truth], 400, wrap=WRAP).starts == truth


@given(samples=frame_lengths, back_ms=st.integers(100, 20_000))
@settings(max_examples=20, deadline=None)
def test_timestamps_that_start_again_lose_and_add_nothing(samples: int, back_ms: int) -> None:
    """Joined broadcasts: the second part says its own times."""
    times = [t if t < 20 * RATE_HZ else t - back_ms * MS for t in steady(samples, 40)]
    assert all(p == Placement() for p in place(times, samples).placements)


def test_a_gap_longer_than_the_recording_is_a_broken_timestamp() -> None:
    times = [t if t < 10 * RATE_HZ else t + 900 * RATE_HZ for t in steady(400, 30)]
    assert place(times, 400, declared=30 * RATE_HZ).total == 30 * RATE_HZ


def test_frames_without_timestamps_follow_the_others() -> None:
    truth = [t if t < 10 * RATE_HZ else t + 2 * RATE_HZ for t in steady(400, 30)]
    placed = place([t if number % 3 == 0 else None for number, t in enumerate(truth)], 400)
    assert sum(p.silence for p in placed.placements) == 2 * RATE_HZ
    assert place([None] * 100, 400).total == 100 * 400


def test_a_start_that_did_not_decode_is_no_longer_than_its_bytes() -> None:
    """Damage in front may leave a first timestamp of anything; the frames behind it agree with each other alone."""
    for late, expected in ((30 * RATE_HZ, 30 * RATE_HZ), (11_000 * RATE_HZ, 0)):
        placed = place([t + late for t in steady(400, 10)], 400, own_origin=True, lead=80 * RATE_HZ)
        assert placed.starts[0] == expected


def test_a_jump_by_hours_just_before_the_end_is_a_mistake() -> None:
    times = [t if t < 19 * RATE_HZ else t + 11_000 * RATE_HZ for t in steady(400, 20)]
    assert place(times, 400, declared=12_000 * RATE_HZ).total == 20 * RATE_HZ
