"""How much silence ends an utterance: what is known decides, within the declared bounds, and without any model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.pipelines.frames import TranslationEvidence
from tolmach.processors.vad.ending import Ending, Evidence, OwnPauses, Wait, is_whole, silence_needed

FIXED = Ending(shortest_ms=200, longest_ms=700)
HEARD = replace(FIXED, turn_threshold=0.9, unfinished_threshold=0.1)
LEARNING = replace(HEARD, adaptive=True)

WHOLE = TranslationEvidence(ends_sentence=True, end_logprob=-0.1)
HALF = TranslationEvidence(ends_sentence=False)


def learnt(*pauses_ms: float) -> OwnPauses:
    own = OwnPauses()
    for pause_ms in pauses_ms:
        own = own.heard(pause_ms)
    return own


STEADY = learnt(*[250.0] * 20)


@pytest.mark.parametrize(
    ("ending", "evidence", "wait"),
    [
        (FIXED, Evidence(), Wait(700, "pause")),
        (FIXED, Evidence(finished=0.99, own_pauses=STEADY), Wait(700, "pause")),  # nobody asked for either
        (HEARD, Evidence(), Wait(700, "pause")),
        (HEARD, Evidence(finished=0.9), Wait(200, "turn")),
        (HEARD, Evidence(finished=0.89), Wait(700, "pause")),
        (LEARNING, Evidence(finished=0.5, own_pauses=learnt(250, 250)), Wait(700, "pause")),  # too few to know
        (LEARNING, Evidence(finished=0.05, own_pauses=STEADY), Wait(700, "pause")),  # surely goes on
        (LEARNING, Evidence(finished=0.95, own_pauses=STEADY), Wait(200, "turn")),
        (FIXED, Evidence(translation=WHOLE), Wait(200, "translation")),
        (HEARD, Evidence(finished=0.5, translation=WHOLE), Wait(200, "translation")),
        (HEARD, Evidence(finished=0.05, translation=WHOLE), Wait(700, "pause")),
        (HEARD, Evidence(finished=0.99, translation=HALF), Wait(700, "pause")),  # the words outrank the intonation
    ],
)
def test_what_is_known_decides(ending: Ending, evidence: Evidence, wait: Wait) -> None:
    assert silence_needed(ending, evidence) == wait


def test_a_text_is_whole_when_it_ends_like_a_sentence_surely_and_is_trusted() -> None:
    assert is_whole(TranslationEvidence(ends_sentence=True))
    assert not is_whole(TranslationEvidence(ends_sentence=True, end_logprob=-1.5))
    assert not is_whole(TranslationEvidence(ends_sentence=True, rejected=True))
    assert not is_whole(TranslationEvidence(ends_sentence=False, end_logprob=-0.01))


def test_who_pauses_briefly_is_waited_for_briefly_and_who_hesitates_longer() -> None:
    brief = silence_needed(LEARNING, Evidence(own_pauses=learnt(*[150.0, 180.0, 160.0] * 4)))
    slow = silence_needed(LEARNING, Evidence(own_pauses=learnt(*[300.0, 450.0, 380.0] * 4)))
    assert (brief.by, slow.by) == ("own_pauses", "own_pauses")
    assert 200 < brief.silence_ms < 300
    assert 450 < slow.silence_ms < 700


def test_one_long_pause_does_not_decide_for_long() -> None:
    calm = learnt(*[200.0] * 10)
    startled = calm.heard(650)
    later = startled
    for _ in range(10):
        later = later.heard(200)
    waits = [silence_needed(LEARNING, Evidence(own_pauses=own)).silence_ms for own in (calm, startled, later)]
    assert waits[0] < waits[2] < waits[1]
    assert waits[2] - waits[0] < (waits[1] - waits[0]) / 3


@given(
    finished=st.none() | st.floats(0, 1),
    pauses=st.lists(st.floats(100, 5000), max_size=20),
    translation=st.none() | st.builds(TranslationEvidence, st.booleans(), st.none() | st.floats(-9, 0), st.booleans()),
    adaptive=st.booleans(),
    turn=st.none() | st.floats(0.01, 1),
    bounds=st.tuples(st.integers(30, 10_000), st.integers(30, 10_000)).map(sorted),
)
def test_whatever_is_known_the_bounds_hold(finished, pauses, translation, adaptive, turn, bounds) -> None:
    ending = Ending(shortest_ms=bounds[0], longest_ms=bounds[1], turn_threshold=turn, adaptive=adaptive)
    evidence = Evidence(finished, learnt(*pauses), translation)
    wait = silence_needed(ending, evidence)
    assert bounds[0] <= wait.silence_ms <= bounds[1]
    assert wait.words(evidence, wait.silence_ms).endswith(f"{wait.silence_ms} ms of silence")
