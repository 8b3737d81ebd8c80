"""Where audio lands in a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, ns_to_samples, samples_to_ns
from tolmach.transports.files.file_sink import MAX_SILENCE_NS, Placed, Timeline

RATE_HZ = 16000
S = NS_PER_S


def test_an_utterance_waits_for_its_source() -> None:
    timeline = Timeline("aligned", 200)
    timeline.start(1, 2 * S)
    assert timeline.place(RATE_HZ, RATE_HZ, 0, 1) == (2 * RATE_HZ, Placed(1, 2 * S, 2 * S))
    assert timeline.position == 3 * RATE_HZ


def test_a_late_utterance_follows_the_previous_one() -> None:
    timeline = Timeline("aligned", 200)
    timeline.start(1, S)
    timeline.place(3 * RATE_HZ, RATE_HZ, S, 1)
    timeline.end(1)
    timeline.start(2, 2 * S)
    silence, placed = timeline.place(RATE_HZ, RATE_HZ, 2 * S, 2)
    assert silence == 0
    assert placed == Placed(2, 2 * S, 4 * S)
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
        assert placed == Placed(1, start_ns, start_ns)
        timeline.end(1)


def test_an_utterance_without_audio_takes_no_place() -> None:
    for mode in ("aligned", "compact"):
        timeline = Timeline(mode, 200)  # type: ignore[arg-type]
        timeline.start(1, 9 * S)
        timeline.end(1)
        assert timeline.position == 0


def test_an_utterance_that_was_not_announced_starts_at_its_audio() -> None:
    assert Timeline("aligned", 0).place(10, RATE_HZ, S, 7) == (RATE_HZ, Placed(7, S, S))


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
