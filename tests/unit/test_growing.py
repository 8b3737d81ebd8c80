"""A translation that grows: append-only, nothing lost, nothing twice, bounded; pure, without models or frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.reading_ast import SCALE, read, spoken, written
from tolmach.processors.ast.growing import (
    Clause,
    Growing,
    GrowingRequest,
    GrowingText,
    quietest,
)
from tolmach.processors.ast.policies import AlignAtt, Policy, Word, local_agreement
from tolmach.processors.ast.sentences import clause_lengths, ends_sentence

RATE = 16000
POLICIES: list[Policy] = [local_agreement, AlignAtt(RATE // 4)]


def interpret(audio: np.ndarray, growing: Growing, step: int, *, times: bool = True) -> tuple[list[Clause], int]:
    """All clauses that go out of an utterance, and the longest request."""
    text, clauses, longest = GrowingText(growing), list[Clause](), 0
    for at in range(0, len(audio), step):
        text.hear(audio[at : at + step])
        request = text.ask()
        longest = max(longest, len(request.samples))
        text.learn(request, read(request, times=times).words)
        clauses += text.send()
    while text.kept:
        request = text.ask(ended=True)
        longest = max(longest, len(request.samples))
        text.learn(request, read(request, times=times).words)
    return clauses + text.send(everything=True), longest


def joined(clauses: list[Clause]) -> str:
    return " ".join(clause.text for clause in clauses)


def expected(count: int) -> str:
    return "".join(map(written, range(1, count + 1))).strip()


@pytest.mark.parametrize("policy", POLICIES)
@given(st.integers(1, 120), st.integers(RATE // 5, 3 * RATE), st.integers(RATE // 8, RATE))
@settings(max_examples=60, deadline=None)
def test_every_word_goes_out_once_and_in_order(policy: Policy, count: int, step: int, word: int):
    clauses, longest = interpret(spoken(range(1, count + 1), word), Growing(policy), step)
    assert joined(clauses) == expected(count)
    assert longest <= Growing(policy).max_buffer
    spans = [time for clause in clauses for time in (clause.start, clause.end)]
    assert spans == sorted(spans)
    assert spans[0] >= 0
    assert spans[-1] <= count * word


def test_an_hour_without_a_pause_neither_grows_nor_drifts_nor_loses_a_word():
    policy = AlignAtt(RATE // 4)
    count, word = 9000, 6400  # 0.4 s each: one hour
    text, clauses, most = GrowingText(Growing(policy)), list[Clause](), 0
    for at in range(0, count * word, RATE):
        text.hear(spoken_part(at, min(at + RATE, count * word), word))
        request = text.ask()
        most = max(most, len(request.samples))
        text.learn(request, read_modulo(request))
        clauses += text.send()
    request = text.ask(ended=True)
    text.learn(request, read_modulo(request))
    clauses += text.send(everything=True)
    words = joined(clauses).replace(".", "").replace(",", "").split()
    assert words == [f"w{n % 4000 + 1}" for n in range(count)]
    assert most <= 25 * RATE
    # Each clause ends where its last word does, also the last ones of the hour.
    ends = np.cumsum([len(clause.text.split()) for clause in clauses]) * word
    assert [clause.end for clause in clauses] == list(ends)


def spoken_part(start: int, end: int, word: int) -> np.ndarray:
    """Words 1 … 4000, again and again."""
    return ((np.arange(start, end) // word % 4000 + 1) / SCALE).astype(np.float32)


def read_modulo(request: GrowingRequest) -> tuple[Word, ...]:
    """As ``read``, where numbers begin again after 4000."""
    values = np.rint(request.samples * SCALE).astype(int)
    values = np.where(values < values[0], values + 4000, values) if len(values) else values
    prefix = tuple(n + 4000 if n < values[0] else n for n in request.prefix)
    unrolled = replace(request, samples=(values / SCALE).astype(np.float32), prefix=prefix)
    found = []
    for each in read(unrolled).words:
        number = (each.tokens[0] - 1) % 4000 + 1
        text = each.text if "guess" in each.text else written(number)
        found.append(replace(each, text=text, tokens=(number,)))
    return tuple(found)


def test_without_times_audio_is_dropped_only_when_there_is_no_more_room():
    audio = spoken(range(1, 201))
    clauses, longest = interpret(audio, Growing(local_agreement), RATE, times=False)
    assert 20 * RATE < longest <= 25 * RATE
    # Where nothing says which audio a word is made from, the cut may fall into one, which is then read twice.
    words = joined(clauses).replace(".", "").replace(",", "").split()
    assert list(dict.fromkeys(words)) == [f"w{n}" for n in range(1, 201)]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["a", "b,", "c."]), st.integers(0, 16000)), max_size=6), max_size=12),
    st.sampled_from(POLICIES),
)
@settings(deadline=None)
def test_whatever_an_engine_says_what_was_sent_stays(answers: list[list[tuple[str, int]]], policy: Policy):
    """Also an engine that contradicts itself, and says that words end where they cannot."""
    text, sent = GrowingText(Growing(policy, max_buffer=4 * RATE, keep=2 * RATE)), list[Clause]()
    committed: list[int] = []
    token = 0
    for answer in answers:
        text.hear(np.zeros(RATE, np.float32))
        request = text.ask()
        assert len(request.samples) <= 4 * RATE
        # The decoder is forced to begin with what was committed last.
        assert list(request.prefix) == committed[len(committed) - len(request.prefix) :]
        words = [Word(f" {t}", (token := token + 1,), end) for t, end in answer]
        text.learn(request, words)
        prefix = text.ask().prefix
        known = set(committed)
        committed += [t for t in prefix if t not in known]
        sent += text.send()
    spans = [time for clause in sent for time in (clause.start, clause.end)]
    assert spans == sorted(spans)
    assert all(time <= text.heard for time in spans)


def test_a_clause_waits_for_its_end_but_not_for_ever():
    growing = Growing(AlignAtt(0), max_clause=2 * RATE)
    text = GrowingText(growing)
    for second in range(1, 5):
        text.hear(np.zeros(RATE, np.float32))
        request = text.ask()
        text.learn(request, [Word(f" word{second}", (second,), len(request.samples) - 1)])
        if second < 3:
            assert text.send() == []
            assert text.rest is not None
            assert text.rest.text == " ".join(f"word{n}" for n in range(1, second + 1))
        else:
            break
    [clause] = text.send()
    assert clause.text == "word1 word2 word3"
    assert text.rest is None


def test_a_word_that_trails_off_may_go_on():
    """Whisper ends a text in "..." where the audio ends in the middle of a sentence."""
    text = GrowingText(Growing(AlignAtt(0)))
    text.hear(np.zeros(RATE, np.float32))
    text.learn(text.ask(), [Word(" My", (1,), 5000), Word(" grandfather...", (2,), 9000)])
    assert text.send() == []
    assert text.ask().prefix == (1,)
    text.learn(text.ask(ended=True), [Word(" grandfather...", (2,), 9000)])
    assert [clause.text for clause in text.send()] == ["My grandfather..."]


@pytest.mark.parametrize(
    ("words", "lengths"),
    [
        ("Good morning. How are", [2]),
        ("Well, that is a list, of short, pieces", [7]),  # "Well," alone would be a crumb
        ("Mr. Brown said no. 7 was his.", [7]),
        ("Wait… She said “yes.” Then", [1, 3]),
        ("no end in sight", []),
    ],
)
def test_clauses_end_at_marks(words: str, lengths: list[int]):
    assert clause_lengths([f" {word}" for word in words.split()]) == lengths


def test_an_initial_ends_no_sentence():
    assert not ends_sentence(" J.")
    assert ends_sentence(" 1945.")


def test_a_full_buffer_is_cut_where_it_is_quietest():
    audio = np.full(4 * RATE, 0.3, np.float32)
    audio[3 * RATE : 3 * RATE + 2000] = 0.001
    assert 3 * RATE <= quietest(audio, 2 * RATE, 4 * RATE) <= 3 * RATE + 2000


def test_what_was_just_sent_is_not_shown_again_as_what_may_change():
    said = [Word(f" {word}", (n,), 1000 * (n + 1)) for n, word in enumerate(["I", "need", "a", "room."])]
    text = GrowingText(Growing(AlignAtt(RATE // 2)))
    text.hear(np.zeros(2 * RATE, np.float32))
    text.learn(text.ask(), said)
    assert [clause.text for clause in text.send()] == ["I need a room."]
    text.hear(np.zeros(RATE, np.float32))
    text.learn(text.ask(), [replace(word, end=3 * RATE) for word in said[:3]])
    assert text.rest is None
    text.learn(text.ask(), [Word(" And breakfast", (9,), 3 * RATE)])
    assert text.rest is not None
    assert text.rest.text == "And breakfast"
