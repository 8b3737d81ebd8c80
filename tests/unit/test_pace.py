"""How a voice keeps up with a speaker, decided without a sound."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.processors.tts import LIVE_BUDGET_MS
from tolmach.processors.tts.pace import SHORTEST_PAUSE_MS, Budget, Pace, Pacer, pace_for

S = 1_000_000_000
BUDGET = Budget(10 * S, 1.3)


def test_a_voice_that_keeps_up_is_left_alone() -> None:
    pacer = Pacer()
    for at_s in range(0, 100, 5):
        pace = pacer.next(at_s * S, at_s * S + 700_000_000, BUDGET)
        assert pace == Pace(700_000_000)
        assert not pace.hurries
        pacer.spoke(4 * S)


def test_what_is_done_comes_step_by_step_and_no_step_is_taken_back_as_the_wait_grows() -> None:
    paces = [pace_for(wait * S // 10, wait * S // 10, BUDGET, last_tempo=1.15) for wait in range(101)]
    shortened = next(n for n, pace in enumerate(paces) if pace.longest_pause_ms is not None)
    free = [pace_for(wait * S // 10, wait * S // 10, Budget(10 * S, 1.3), last_tempo=1.0) for wait in range(101)]
    faster = next(n for n, pace in enumerate(free) if pace.tempo > 1)
    assert 0 < shortened < faster < 50
    pauses = [pace.longest_pause_ms for pace in paces[shortened:]]
    assert all(pause is not None for pause in pauses)
    assert pauses == sorted(pauses, key=lambda pause: -(pause or 0))
    assert pauses[-1] == SHORTEST_PAUSE_MS
    assert [pace.tempo for pace in paces] == sorted(pace.tempo for pace in paces)
    assert all(pace.spoken for pace in paces)
    assert not pace_for(10 * S + 1, 10 * S + 1, BUDGET).spoken


def test_the_tempo_rises_and_falls_in_small_steps_up_to_its_bound() -> None:
    tempo, rising = 1.0, []
    for _ in range(10):
        tempo = pace_for(9 * S, 9 * S, BUDGET, tempo).tempo
        rising.append(tempo)
    assert rising[0] < 1.1
    assert max(rising) == rising[-1] == 1.3
    falling = [tempo := pace_for(0, 0, BUDGET, tempo).tempo for _ in range(6)]
    assert falling[0] > 1.2
    assert falling[-1] == 1.0
    assert pace_for(9 * S, 9 * S, Budget(10 * S, 1.0), 1.0).tempo == 1.0


def test_a_slow_translator_is_no_reason_to_hurry_or_to_leave_anything_out() -> None:
    """What is late for another reason than other speech is not helped by less speech."""
    assert pace_for(30 * S, 0, BUDGET) == Pace(30 * S)
    assert not pace_for(30 * S, 1, BUDGET).spoken
    # The less is left of the budget, the more a wait uses up of it.
    assert pace_for(8 * S, 1 * S, BUDGET).tempo > pace_for(1 * S, 1 * S, BUDGET).tempo


def test_without_a_bound_nothing_is_done_and_the_lag_is_told() -> None:
    assert pace_for(500 * S, 500 * S, Budget(None)) == Pace(500 * S)


def test_what_a_setting_left_empty_means_depends_on_whether_anybody_waits() -> None:
    assert Budget.of(None, 1.3, live=True) == Budget(LIVE_BUDGET_MS * 1_000_000, 1.3)
    assert Budget.of(None, 1.3, live=False) == Budget(None, 1.3)
    assert Budget.of(0, 1.3, live=True) == Budget(None, 1.3)
    assert Budget.of(1500, 1.2, live=False) == Budget(1_500_000_000, 1.2)


def test_the_oldest_text_that_waits_is_left_out_and_the_next_one_begins_in_its_place() -> None:
    pacer = Pacer()
    assert pacer.next(1 * S, 1 * S, BUDGET).spoken
    pacer.spoke(13 * S)  # until 14
    late = pacer.next(3 * S, 3 * S, BUDGET)
    assert (late.spoken, late.lag_ns) == (False, 11 * S)
    following = pacer.next(6 * S, 6 * S, BUDGET)
    assert (following.spoken, following.lag_ns) == (True, 8 * S)


def test_a_listener_who_skipped_what_waited_is_not_hurried() -> None:
    pacer = Pacer()
    pacer.next(1 * S, 1 * S, BUDGET)
    pacer.spoke(30 * S)
    assert pacer.next(5 * S, 6 * S, BUDGET, free_ns=6 * S) == Pace(1 * S)
    pacer.spoke(2 * S)
    # And one who hears everything later than the books say has to wait longer.
    assert pacer.next(6 * S, 6 * S, BUDGET, free_ns=12 * S).lag_ns == 6 * S


@settings(max_examples=60)
@given(
    faster=st.floats(0.8, 2.5),
    budget_ms=st.integers(2000, 30_000),
    max_tempo=st.floats(1.0, 2.0),
    seed=st.integers(0, 1000),
)
def test_what_is_spoken_is_never_later_than_the_budget(
    faster: float, budget_ms: int, max_tempo: float, seed: int
) -> None:
    rng = random.Random(seed)
    budget = Budget.of(budget_ms, max_tempo, live=False)
    pacer, end_ns, free_ns = Pacer(), 0, 0
    for _ in range(200):
        own_ns = round(rng.uniform(0.5, 12) * S)
        end_ns += round(own_ns / faster)
        pace = pacer.next(end_ns, end_ns, budget)
        assert 1.0 <= pace.tempo <= max_tempo
        if pace.spoken:
            begins_ns = max(free_ns, end_ns)
            assert begins_ns - end_ns == pace.lag_ns <= budget_ms * 1_000_000
            took_ns = round(own_ns / pace.tempo)
            pacer.spoke(took_ns)
            free_ns = begins_ns + took_ns


@pytest.mark.parametrize(("faster", "least"), [(1.1, 1.0), (1.2, 0.99), (1.25, 0.97)])
def test_a_speaker_who_is_faster_than_the_voice_is_kept_up_with(faster: float, least: float) -> None:
    """An hour of sentences of two to eight seconds; tempo alone, no pause to shorten."""
    rng = random.Random(3)
    pacer, end_ns, spoken, tempos = Pacer(), 0, 0, []
    lengths_ns = [round(rng.uniform(2, 8) * S) for _ in range(700)]
    for own_ns in lengths_ns:
        end_ns += round(own_ns / faster)
        pace = pacer.next(end_ns, end_ns + S, BUDGET)
        if pace.spoken:
            spoken += 1
            tempos.append(pace.tempo)
            pacer.spoke(round(own_ns / pace.tempo))
    assert spoken >= least * len(lengths_ns)
    assert faster - 0.03 < sum(tempos) / len(tempos) <= 1.3
