"""Where speech lands on the time line of a recording, and how it is made to fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.pipelines.element import END_NS
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame, Samples, UtteranceEnd, UtteranceStart, samples_to_ns
from tolmach.pipelines.placing import Placement, Placer
from tolmach.pipelines.testing import chop

RATE_HZ = 8000
S = NS_PER_S


def sound(seconds: float, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, (round(seconds * RATE_HZ), 1)).astype(np.float32)


def spoken(number: int, start_s: float, samples: Samples, chunk: int = 160) -> list[Frame]:
    start_ns = round(start_s * S)
    end_ns = start_ns + samples_to_ns(len(samples), RATE_HZ)
    frame = AudioFrame(samples, RATE_HZ, start_ns, number)
    return [UtteranceStart(number, start_ns), *chop(frame, chunk), UtteranceEnd(number, start_ns, end_ns)]


def place(placer: Placer, *frames: Frame | int) -> tuple[Samples, list[Placement]]:
    """The whole time line; numbers are progress, ns."""
    found: list[Placement] = []
    for each in frames:
        found += placer.reach(each) if isinstance(each, int) else placer.take(each)
    found += placer.finish()
    parts = [part for p in found for part in (np.zeros((p.silence, 1), np.float32), p.render())]
    parts.append(np.zeros((placer.rest(RATE_HZ), 1), np.float32))
    return np.concatenate(parts), found


def starts_s(found: Sequence[Placement]) -> list[float]:
    return [p.placed.placed_ns / S for p in found if p.placed is not None]


def slots(**more: Any) -> Placer:
    return Placer("aligned", fit="slot", **more)


def test_a_time_line_is_as_long_as_the_recording() -> None:
    line, _ = place(Placer("aligned"), *spoken(1, 1, sound(1)), 30 * S, END_NS)
    assert len(line) == 30 * RATE_HZ
    np.testing.assert_array_equal(line[RATE_HZ : 2 * RATE_HZ], sound(1))
    assert not line[2 * RATE_HZ :].any()


def test_speech_that_fits_is_left_alone() -> None:
    first, second = sound(1.9), sound(0.9, 1)
    line, found = place(slots(), *spoken(1, 1, first), *spoken(2, 3, second), 4 * S)
    assert [p.tempo for p in found] == [1.0, 1.0]
    np.testing.assert_array_equal(line[RATE_HZ : RATE_HZ + len(first)], first)
    np.testing.assert_array_equal(line[3 * RATE_HZ : 3 * RATE_HZ + len(second)], second)


def test_speech_becomes_faster_just_as_much_as_its_slot_wants() -> None:
    line, found = place(slots(), *spoken(1, 1, sound(2.4)), *spoken(2, 3, sound(0.5, 1)), 4 * S)
    assert found[0].tempo == pytest.approx(1.2)
    assert len(found[0].render()) == 2 * RATE_HZ
    assert starts_s(found) == [1, 3]
    assert len(line) == 4 * RATE_HZ


def test_the_last_one_has_the_room_up_to_the_end_of_the_recording() -> None:
    line, found = place(slots(), *spoken(1, 1, sound(2.4)), 3 * S, END_NS)
    assert found[0].tempo == pytest.approx(1.2)
    assert len(line) == 3 * RATE_HZ


def test_silence_at_the_end_of_speech_goes_first() -> None:
    trailing = np.concatenate((sound(1.8), np.zeros((RATE_HZ, 1), np.float32)))
    _, found = place(slots(), *spoken(1, 1, trailing), *spoken(2, 3, sound(0.5, 1)), 4 * S)
    assert found[0].tempo == 1.0
    assert starts_s(found) == [1, 3]


def test_beyond_the_bound_the_next_one_begins_late_and_what_follows_catches_up() -> None:
    placer = slots(max_tempo=1.25)
    line, found = place(
        placer, *spoken(1, 0, sound(5)), *spoken(2, 2, sound(2.5, 1)), *spoken(3, 5, sound(1, 2)), 9 * S
    )
    assert [p.tempo for p in found] == [1.25, 1.25, 1.0]
    assert starts_s(found) == [0, 4, 6]  # 5 s and 2.5 s at 1.25 are 4 and 2
    assert (placer.late, placer.latest_ns) == (2, 2 * S)
    assert len(line) == 9 * RATE_HZ


def test_speech_of_two_channels_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="channels: 1"):
        place(slots(), UtteranceStart(1, 0), AudioFrame(np.zeros((10, 2), np.float32), RATE_HZ, 0, 1))


def test_what_is_settled_never_moves_back_and_nothing_is_placed_before_it() -> None:
    placer = slots()
    settled = 0
    frames: list[Frame | int] = [*spoken(1, 0, sound(5)), 3 * S, *spoken(2, 4, sound(2.5, 1)), 9 * S, END_NS]
    for each in frames:
        for found in placer.reach(each) if isinstance(each, int) else placer.take(each):
            if found.placed is not None:
                assert round(found.placed.placed_ns * RATE_HZ / S) >= settled
        assert placer.settled(RATE_HZ) >= settled
        settled = placer.settled(RATE_HZ)


utterances = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 24)), max_size=6)


@settings(deadline=None, max_examples=40)
@given(gaps_and_lengths=utterances, chunk=st.integers(50, 3000), told=st.booleans())
def test_speech_never_overlaps_and_no_cutting_changes_anything(
    gaps_and_lengths: list[tuple[int, int]], chunk: int, told: bool
) -> None:
    """However frames are cut and whether progress is told in between, the time line is the same; nothing is early."""
    lines = []
    for size, tell in ((400, False), (chunk, told)):
        placer = slots()
        frames: list[Frame | int] = []
        at_s = 0.0
        for number, (gap, length) in enumerate(gaps_and_lengths):
            at_s += gap / 8
            frames += [round(at_s * S)] * tell + spoken(number, at_s, sound(length / 8, number), size)
        line, found = place(placer, *frames, round((at_s + 1) * S), END_NS)
        lines.append(line)
        assert len(line) >= round((at_s + 1) * RATE_HZ)
        assert all(p.placed.lag_ns >= 0 for p in found if p.placed is not None)
    np.testing.assert_array_equal(*lines)
