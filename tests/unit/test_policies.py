"""What of a growing translation is stable: both policies on words alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tolmach.processors.ast.policies import AlignAtt, Answer, Word, local_agreement

SECOND = 16000


def answer(text: str, heard_s: float = 10.0, ends_s: tuple[float | None, ...] = ()) -> Answer:
    ends = [None if end is None else round(end * SECOND) for end in ends_s] or [None] * len(text.split())
    words = tuple(Word(f" {word}", end=end) for word, end in zip(text.split(), ends, strict=True))
    return Answer(words, round(heard_s * SECOND))


def test_local_agreement_takes_what_two_answers_begin_with_alike():
    assert local_agreement(answer("My grandfather was"), answer("My grandfather worked at the")) == 2
    assert local_agreement(answer("My grandfather"), answer("My grandfather worked")) == 2


def test_local_agreement_needs_two_answers():
    assert local_agreement(None, answer("My grandfather worked")) == 0


def test_a_word_with_another_mark_behind_it_is_another_word():
    assert local_agreement(answer("Good morning."), answer("Good morning, Mister")) == 1


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_local_agreement_is_the_longest_common_beginning(former: list[str], latest: list[str]):
    stable = local_agreement(answer(" ".join(former)), answer(" ".join(latest)))
    assert former[:stable] == latest[:stable]
    assert stable == min(len(former), len(latest)) or former[stable] != latest[stable]


def test_align_att_stops_at_the_first_word_made_from_the_end_of_the_audio():
    # "thirty" was heard at 9.7 of 10 s; "years" looks back, but what stands before it may still change.
    latest = answer("for thirty years", 10.0, (8.0, 9.7, 9.0))
    assert AlignAtt(SECOND // 2)(None, latest) == 1
    assert AlignAtt(SECOND // 10)(None, latest) == 3


def test_align_att_trusts_no_word_without_a_place_in_the_audio():
    assert AlignAtt(0)(None, answer("for thirty years", 10.0, (8.0, None, 9.0))) == 1


@given(st.lists(st.floats(0, 10), max_size=8), st.floats(0, 3), st.floats(0, 3))
def test_a_larger_threshold_never_takes_more(ends_s: list[float], one_s: float, other_s: float):
    latest = answer(" ".join("a" * len(ends_s)), 10.0, tuple(ends_s))
    small, large = sorted((round(one_s * SECOND), round(other_s * SECOND)))
    assert AlignAtt(large)(None, latest) <= AlignAtt(small)(None, latest)
