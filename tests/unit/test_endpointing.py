"""Endpointing: where utterances begin and end, and that not a sample is lost or passed twice."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.pipelines.frames import TranslationEvidence
from tolmach.processors.vad.ending import Ending
from tolmach.processors.vad.endpointing import Closed, Endpointer, Endpointing, Event, Opened, Passed, Paused

RATE_HZ = 1000  # one sample a millisecond: the tests read in milliseconds
WINDOW = 10

PARAMETERS = Endpointing(
    rate_hz=RATE_HZ,
    onset_threshold=0.5,
    offset_threshold=0.3,
    confident_threshold=0.9,
    onset_ms=30,
    doubtful_onset_ms=60,
    min_utterance_ms=50,
    hangover_ms=200,
    pre_roll_ms=100,
    post_roll_ms=80,
    max_utterance_ms=2000,
    cut_search_ms=500,
)


def stream_of(samples: int) -> np.ndarray:
    """Samples that tell where they are."""
    return np.arange(samples, dtype=np.float32)


def decisions_of(*parts: tuple[int, float]) -> list[float]:
    """(milliseconds, decision) → one decision per window."""
    return [decision for ms, decision in parts for _ in range(ms // WINDOW)]


def run(
    decisions: list[float], parameters: Endpointing = PARAMETERS, *, stream: np.ndarray | None = None
) -> list[Event]:
    audio = stream_of(len(decisions) * WINDOW) if stream is None else stream
    machine = Endpointer(parameters)
    events: list[Event] = []
    for i, decision in enumerate(decisions):
        events += machine.push(audio[i * WINDOW : (i + 1) * WINDOW], decision)
    return events + machine.finish()


def closed(events: list[Event]) -> list[tuple[int, int, str]]:
    return [(e.start, e.end, e.reason) for e in events if isinstance(e, Closed)]


def check(events: list[Event], stream: np.ndarray, parameters: Endpointing) -> None:
    """What holds for every sequence of events."""
    number, previous_end = 0, 0
    open_since: int | None = None
    passed: list[np.ndarray] = []
    at = 0
    paused_at = -1
    for event in events:
        if isinstance(event, Opened):
            assert open_since is None
            number += 1
            assert event.utterance == number
            assert event.start >= previous_end, "a sample belongs to two utterances"
            open_since = at = event.start
            passed = []
        elif isinstance(event, Passed):
            assert event.utterance == number
            assert event.start == at, "samples are missing or out of order"
            assert len(event.samples)
            at += len(event.samples)
            passed.append(event.samples)
        elif isinstance(event, Paused):
            assert (event.utterance, event.start, event.end) == (number, open_since, at), "not all of it has passed"
            assert paused_at < event.speech_end <= event.end, "a silence is told of once"
            paused_at = event.speech_end
        else:
            assert (event.utterance, event.start, event.end) == (number, open_since, at)
            assert np.array_equal(np.concatenate(passed), stream[event.start : event.end])
            assert 0 < event.end - event.start <= parameters.samples(parameters.max_utterance_ms)
            previous_end, open_since = event.end, None
    assert open_since is None, "an utterance was never closed"


def test_pre_roll_post_roll_and_hangover():
    events = run(decisions_of((500, 0.0), (300, 1.0), (500, 0.0)))
    assert closed(events) == [(400, 880, "silence")]


def test_a_pause_shorter_than_the_hangover_stays_inside():
    assert closed(run(decisions_of((500, 0), (300, 1), (190, 0), (300, 1), (400, 0)))) == [(400, 1370, "silence")]
    assert closed(run(decisions_of((500, 0), (300, 1), (200, 0), (300, 1), (400, 0)))) == [
        (400, 880, "silence"),
        (900, 1380, "silence"),
    ]


def pauses(events: list[Event]) -> list[tuple[int, int, int]]:
    return [(e.start, e.end, e.speech_end) for e in events if isinstance(e, Paused)]


TELLING = replace(PARAMETERS, pause_ms=100)


def test_a_pause_is_told_when_what_may_be_the_end_has_passed():
    """Confirmed by an end at the same place, refuted by more audio."""
    events = run(decisions_of((500, 0), (300, 1), (150, 0), (300, 1), (400, 0)), TELLING)
    check(events, stream_of(1650), TELLING)
    assert pauses(events) == [(400, 880, 800), (400, 1330, 1250)]
    assert closed(events) == [(400, 1330, "silence")]
    first, second = (events.index(e) for e in events if isinstance(e, Paused))
    assert isinstance(events[first + 1], Passed)
    assert isinstance(events[second + 1], Closed)


def test_pauses_change_no_utterance_that_is_not_too_long():
    decisions = decisions_of((500, 0), (300, 1), (150, 0), (400, 1), (110, 0), (300, 1), (400, 0))
    told = run(decisions, TELLING)
    assert len(pauses(told)) == 3
    assert closed(told) == closed(run(decisions))


def test_silence_shorter_than_the_pause_is_not_told():
    assert pauses(run(decisions_of((300, 1), (90, 0), (300, 1), (90, 0)), TELLING)) == []


def test_a_pause_told_at_the_place_for_cuts_is_not_cut_in_two():
    """What passed with the pause cannot be given to the next utterance any more."""
    audio = np.ones(4000, np.float32)
    audio[1600:1750] = 0.0
    decisions = decisions_of((1600, 1.0), (150, 0.1), (1500, 1.0), (400, 0.0))
    events = run(decisions, TELLING, stream=audio)
    check(events, audio, TELLING)
    assert pauses(events)[0] == (0, 1680, 1600)
    assert closed(events)[0] == (0, 1700, "maximum")


ENDING = Ending(shortest_ms=100, longest_ms=400, turn_threshold=0.9, unfinished_threshold=0.1)
ASKING = replace(PARAMETERS, hangover_ms=400, post_roll_ms=50, ask_ms=80, ending=ENDING)


def answered(
    decisions: list[float],
    answers: list[float],
    parameters: Endpointing = ASKING,
    translations: dict[int, tuple[int, TranslationEvidence]] | None = None,
) -> tuple[list[Event], list[range]]:
    """Run with a turn detector that gives these answers, and a translator that answers at these samples, of speech that
    ended at those."""
    machine = Endpointer(parameters)
    audio = stream_of(len(decisions) * WINDOW)
    events: list[Event] = []
    asked: list[range] = []
    left = iter(answers)
    for i, decision in enumerate(decisions):
        if (translated := (translations or {}).get(i * WINDOW)) is not None:
            machine.judge_translation(*translated)
        events += machine.push(audio[i * WINDOW : (i + 1) * WINDOW], decision)
        if (wanted := machine.asks) is not None:
            asked.append(wanted)
            events += machine.judge_finished(next(left))
            assert machine.asks is None, "asked once in each silence"
    events += machine.finish()
    check(events, audio, parameters)
    return events, asked


def why(events: list[Event]) -> list[tuple[int, str | None, str]]:
    return [(e.end, e.cut_by, e.cut) for e in events if isinstance(e, Closed)]


def test_what_is_heard_as_finished_ends_at_the_shortest_pause():
    decisions = decisions_of((300, 1), (200, 0), (300, 1), (600, 0))
    events, asked = answered(decisions, [0.5, 0.95])
    assert asked == [range(0, 380), range(0, 880)]
    assert why(events) == [(850, "turn", "heard as finished (0.95), 100 ms of silence")]


def test_an_answer_that_comes_when_enough_silence_has_passed_ends_at_once():
    events, asked = answered(decisions_of((300, 1), (600, 0)), [0.95], replace(ASKING, ask_ms=200))
    assert asked == [range(0, 500)]
    assert why(events) == [(350, "turn", "heard as finished (0.95), 200 ms of silence")]


def test_what_is_not_finished_ends_at_the_hangover():
    events, _ = answered(decisions_of((300, 1), (390, 0), (300, 1), (400, 0)), [0.5, 0.02])
    assert why(events) == [(1040, "pause", "400 ms of silence")]


def test_a_finished_sentence_that_goes_on_is_asked_about_anew():
    """What was heard of one pause says nothing of the next."""
    events, asked = answered(decisions_of((300, 1), (90, 0), (300, 1), (600, 0)), [0.95, 0.3])
    assert len(asked) == 2
    assert why(events) == [(740, "pause", "400 ms of silence")]


def test_a_translator_counts_from_the_next_window_on_and_for_its_own_silence_alone():
    decisions = decisions_of((300, 1), (150, 0), (300, 1), (600, 0))
    whole = TranslationEvidence(ends_sentence=True)
    soon, _ = answered(decisions, [0.5, 0.5], translations={420: (300, whole)})
    assert why(soon)[0] == (350, "translation", "translated as a whole sentence, 130 ms of silence")
    late, _ = answered(decisions, [0.5, 0.5], translations={820: (300, whole)})
    assert why(late) == [(800, "pause", "400 ms of silence")]


def test_a_speakers_own_pauses_are_learnt_even_where_they_were_taken_for_ends():
    learning = replace(ASKING, max_utterance_ms=20_000, ending=Ending(shortest_ms=100, longest_ms=400, adaptive=True))
    talk = decisions_of(*[(300, 1.0), (150, 0.0)] * 12, (300, 1.0), (600, 0.0))
    events, asked = answered(talk, [], learning)
    assert asked == []
    (end,) = why(events)
    assert end[1] == "own_pauses"
    assert end[2].startswith("longer than the speaker's own pauses (150 ± ")
    # Then somebody who pauses a little longer is cut once or twice, and no more.
    slower = decisions_of(*[(300, 1.0), (150, 0.0)] * 12, *[(300, 1.0), (250, 0.0)] * 12, (300, 1.0), (600, 0.0))
    ends = [end for end, _, _ in why(answered(slower, [], learning)[0])]
    assert 2 <= len(ends) <= 4
    assert ends[-2] < 8000 < ends[-1]


def test_without_an_ending_nobody_is_asked():
    _, asked = answered(decisions_of((300, 1), (300, 0), (300, 1)), [], replace(ASKING, ending=None))
    assert asked == []


def test_pre_roll_never_takes_samples_of_the_utterance_before():
    short = replace(PARAMETERS, hangover_ms=100)
    events = run(decisions_of((200, 0), (300, 1), (110, 0), (300, 1), (200, 0)), short)
    assert closed(events) == [(100, 580, "silence"), (580, 990, "silence")]


def test_the_start_of_the_stream_bounds_the_pre_roll():
    assert closed(run(decisions_of((40, 0), (300, 1), (300, 0)))) == [(0, 420, "silence")]


def test_onset_needs_unbroken_speech():
    broken = decisions_of(*[(20, 1.0), (10, 0.0)] * 20, (300, 0))
    assert run(broken) == []


def test_doubtful_speech_needs_longer():
    assert run(decisions_of((300, 0), (50, 0.6), (300, 0))) == []
    assert closed(run(decisions_of((300, 0), (60, 0.6), (300, 0)))) == [(200, 440, "silence")]
    assert closed(run(decisions_of((300, 0), (20, 0.6), (10, 0.95), (20, 0.6), (300, 0)))) == [(200, 430, "silence")]


def test_doubt_is_forgotten_with_the_run():
    """One confident window long ago does not vouch for a murmur now."""
    assert run(decisions_of((300, 0), (20, 0.95), (50, 0), (40, 0.6), (300, 0))) == []


def test_too_little_speech_is_no_utterance():
    assert run(decisions_of((300, 0), (40, 1.0), (400, 0))) == []
    assert closed(run(decisions_of((300, 0), (40, 1.0), (150, 0), (10, 1.0), (400, 0)))) == [(200, 580, "silence")]


def test_what_was_discarded_is_still_pre_roll():
    events = run(decisions_of((300, 0), (40, 1.0), (200, 0), (60, 1.0), (400, 0)))
    assert closed(events) == [(440, 680, "silence")]


def test_hysteresis():
    assert closed(run(decisions_of((300, 0), (100, 1.0), (400, 0.4), (300, 0.2)))) == [(200, 880, "silence")]
    assert run(decisions_of((300, 0), (400, 0.4), (300, 0))) == []


def test_an_utterance_open_at_the_end_is_closed_not_lost():
    assert closed(run(decisions_of((300, 0), (300, 1)))) == [(200, 600, "eos")]
    assert closed(run(decisions_of((300, 0), (300, 1), (40, 0)))) == [(200, 640, "eos")]
    assert closed(run(decisions_of((300, 0), (300, 1), (150, 0)))) == [(200, 680, "eos")]


def test_a_word_cut_off_by_the_end_is_kept():
    assert closed(run(decisions_of((300, 0), (40, 1)))) == [(200, 340, "eos")]


def test_an_incomplete_last_window_passes_too():
    machine = Endpointer(PARAMETERS)
    audio = stream_of(307)
    events: list[Event] = []
    for at in range(0, 307, WINDOW):
        events += machine.push(audio[at : at + WINDOW], 1.0)
    events += machine.finish()
    check(events, audio, PARAMETERS)
    assert closed(events) == [(0, 307, "eos")]


def test_audio_passes_as_it_comes():
    machine = Endpointer(PARAMETERS)
    audio = stream_of(2000)
    passed = 0
    for at in range(0, 1000, WINDOW):
        passed += sum(len(e.samples) for e in machine.push(audio[at : at + WINDOW], 1.0) if isinstance(e, Passed))
        if at + WINDOW >= 50:
            assert passed == at + WINDOW
    assert machine.is_open


def test_silence_passes_up_to_the_post_roll_and_the_rest_only_if_speech_resumes():
    machine = Endpointer(PARAMETERS)
    audio = stream_of(2000)
    ends = []
    passed = 0
    for i, decision in enumerate(decisions_of((300, 1.0), (150, 0.0), (10, 1.0))):
        events = machine.push(audio[i * WINDOW : (i + 1) * WINDOW], decision)
        passed += sum(len(e.samples) for e in events if isinstance(e, Passed))
        ends.append(passed)
    assert ends[29] == 300
    assert ends[44] == 380
    assert ends[45] == 460


def test_the_longest_utterance_is_cut_at_its_quietest_point():
    audio = np.ones(4000, np.float32)
    audio[1700:1800] = 0.01  # a breath, within the last 500 ms
    audio[1000:1200] = 0.0  # quieter, but too early
    events = run(decisions_of((3000, 1.0), (500, 0.0)), stream=audio)
    check(events, audio, PARAMETERS)
    (first, second) = closed(events)
    assert first[0] == 0
    assert first[2] == "maximum"
    assert 1740 <= first[1] <= 1760
    assert second == (first[1], 3080, "silence")


def test_silence_beats_quiet_speech_as_the_place_to_cut():
    audio = np.ones(4000, np.float32)
    audio[1900:2000] = 0.0
    decisions = decisions_of((1600, 1.0), (120, 0.1), (1500, 1.0), (400, 0.0))
    events = run(decisions, stream=audio)
    check(events, audio, PARAMETERS)
    assert 1600 <= closed(events)[0][1] <= 1720


def test_equally_quiet_points_are_cut_late():
    events = run(decisions_of((3000, 1.0), (500, 0.0)), stream=np.ones(3500, np.float32))
    assert 1900 <= closed(events)[0][1] <= 2000


def test_endless_speech_loses_nothing():
    audio = np.random.default_rng(3).standard_normal(20_000).astype(np.float32)
    events = run([1.0] * 2000, stream=audio)
    check(events, audio, PARAMETERS)
    spans = closed(events)
    assert spans[0][0] == 0
    assert spans[-1][1] == 20_000
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert all(1500 <= end - start <= 2000 for start, end, _ in spans[:-1])


def test_a_maximum_reached_in_silence_ends_the_utterance():
    """Nothing is spoken after the cut, so no second utterance opens for it."""
    events = run(decisions_of((1900, 1.0), (600, 0.0)), stream=np.ones(2500, np.float32))
    assert [reason for *_, reason in closed(events)] == ["maximum"]
    assert closed(events)[0][1] in range(1900, 1981)


def test_numbers_go_on_where_they_are_told_to():
    machine = Endpointer(PARAMETERS, first_utterance=41)
    events = [e for i in range(30) for e in machine.push(stream_of(300)[i * 10 : i * 10 + 10], 1.0)]
    assert {e.utterance for e in events} == {41}
    assert machine.utterance == 41


def test_empty_windows_are_nothing():
    machine = Endpointer(PARAMETERS)
    assert machine.push(np.zeros(0, np.float32), 1.0) == []
    assert machine.finish() == []


parameters = st.builds(
    lambda onset, doubtful, least, post, more, pre, longest, part, pause: Endpointing(
        rate_hz=RATE_HZ,
        onset_threshold=0.5,
        offset_threshold=0.3,
        confident_threshold=0.9,
        onset_ms=onset,
        doubtful_onset_ms=onset + doubtful,
        min_utterance_ms=least,
        hangover_ms=max(10, post + more),
        pre_roll_ms=pre,
        post_roll_ms=post,
        max_utterance_ms=longest,
        cut_search_ms=longest // part,
        pause_ms=pause,
    ),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 100),
    st.integers(0, 200),
    st.integers(0, 200),
    st.integers(0, 300),
    st.integers(600, 2000),
    st.integers(2, 4),
    st.none() | st.integers(0, 300),
)
speech = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.95])), min_size=1, max_size=40
).map(lambda runs: [decision for length, decision in runs for _ in range(length)])


@settings(max_examples=300, deadline=None)
@given(parameters=parameters, decisions=speech, window=st.integers(1, 40), seed=st.integers(0, 9))
def test_whatever_comes_utterances_are_whole_and_apart(parameters, decisions, window, seed):
    audio = np.random.default_rng(seed).standard_normal(len(decisions) * window).astype(np.float32)
    machine = Endpointer(parameters)
    events: list[Event] = []
    for i, decision in enumerate(decisions):
        events += machine.push(audio[i * window : (i + 1) * window], decision)
    check(events + machine.finish(), audio, parameters)


@settings(max_examples=200, deadline=None)
@given(parameters=parameters, decisions=speech)
def test_no_speech_long_enough_to_open_is_lost(parameters, decisions):
    """Every window of a confident run that lasts is in some utterance."""
    needed = max(parameters.onset_ms, parameters.min_utterance_ms) // WINDOW + 1
    events = run(decisions, parameters)
    covered = np.zeros(len(decisions) * WINDOW, bool)
    for start, end, _ in closed(events):
        covered[start:end] = True
    begin = 0
    for i in range(len(decisions) + 1):
        if i == len(decisions) or decisions[i] != 0.95:
            if i - begin >= needed:
                assert covered[begin * WINDOW : i * WINDOW].all()
            begin = i + 1


@pytest.mark.parametrize("seed", range(3))
def test_decisions_alone_decide_where_no_cut_is_needed(seed):
    """Loudness matters to the maximum cut and to nothing else."""
    decisions = decisions_of((300, 0.0), (400, 1.0), (300, 0.0), (100, 0.7), (400, 0.0))
    audio = np.random.default_rng(seed).standard_normal(1500).astype(np.float32)
    assert closed(run(decisions, stream=audio)) == closed(run(decisions))


def test_a_pre_roll_longer_than_the_maximum_is_cut_too():
    parameters = replace(PARAMETERS, pre_roll_ms=1500, max_utterance_ms=600, cut_search_ms=200)
    audio = stream_of(2700)
    events = run(decisions_of((2000, 0.0), (300, 1.0), (400, 0.0)), parameters)
    check(events, audio, parameters)
    spans = closed(events)
    assert (spans[0][0], spans[-1][1]) == (500, 2380)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
