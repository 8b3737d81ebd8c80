"""A sentence that was cut in two is said to its end, and no word of it twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.until import until
from tolmach.pipelines.bus import SpeculationMessage
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import (
    AudioFrame,
    EndReason,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.ast import AstSettings, ast_pads
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.continuation import MOST_S, as_prefix, joined_text, only_new
from tolmach.processors.ast.element import SpeechTranslation
from tolmach.processors.ast.guards import most_chars
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.hosting import HostKey, HostPool, Lease

RATE = 16000
PIECE = 800
WORDS = ["", "Where", "is", "the", "station?", "My", "name", "is", "Anna.", "Stop", "boom"]


@dataclass(frozen=True)
class Reading:
    """What the reader is asked: the audio, and how its text begins."""

    samples: Samples
    prefix: str = ""


class ReaderSettings(AstSettings):
    """Settings of the reader."""

    strict: bool = False
    group: int = 1


class Reader:
    """Reads each piece of 50 ms as the word of its level; "boom" is an error. A strict one takes whole sentences."""

    def __init__(self, strict: bool) -> None:
        self.asked: list[str] = []
        self.strict = strict

    @property
    def info(self) -> Mapping[str, Any]:
        return {}

    def run(self, items: Sequence[Reading]) -> list[Hypothesis]:
        return [self._read(item) for item in items]

    def _read(self, item: Reading) -> Hypothesis:
        levels = np.rint(item.samples[PIECE // 2 :: PIECE] * 16).astype(int)
        text = " ".join(WORDS[level] for level in levels if level)
        self.asked.append(f"{item.prefix}|{text}" if item.prefix else text)
        logprob = -0.2 if "Stop" in text else -0.1
        if "boom" in text:
            raise OverflowError("boom")
        whole = text.endswith((".", "?")) and text[:1].isupper()
        if not item.prefix:
            return Hypothesis(text, logprob, "half a sentence" if self.strict and not whole else None)
        follows = text.startswith(item.prefix)
        return Hypothesis(text.removeprefix(item.prefix).strip() if follows else ".", -0.1)


class ReaderAst(SpeechTranslation[Reading]):
    """Reads."""

    settings: ReaderSettings
    can_continue = True

    async def open(self) -> Lease[Reading, Hypothesis]:
        self.group_size = self.settings.group
        self.model = Reader(self.settings.strict)
        self.pool = HostPool()
        return await self.pool.acquire(HostKey("reader", "reader", "cpu"), lambda: self.model)

    def request(self, utterance: Utterance) -> Reading:
        return Reading(utterance.samples)

    def continued(self, item: Reading, text: str) -> Reading:
        return replace(item, prefix=text)

    async def stop(self) -> None:
        await super().stop()
        if hasattr(self, "pool"):
            self.pool.unload_idle()


SPEC = ElementSpec(
    type="reader", summary="Read.", settings=ReaderSettings, pads=ast_pads, build=f"{__name__}:ReaderAst"
)


def says(number: int, text: str, at: int, *, reason: EndReason = "silence", chunk: int = 160) -> list[Frame]:
    """An utterance that starts at piece ``at``, a pause told of behind each word."""
    start_ns, frames = samples_to_ns(at * PIECE, RATE), list[Frame]()
    frames.append(UtteranceStart(number, start_ns))
    end_ns = start_ns
    for n, word in enumerate(text.split(), at):
        begin_ns, end_ns = samples_to_ns(n * PIECE, RATE), samples_to_ns((n + 1) * PIECE, RATE)
        samples = np.full((PIECE, 1), WORDS.index(word) / 16, np.float32)
        frames += [*chop(AudioFrame(samples, RATE, begin_ns, number), chunk)]
        frames.append(UtterancePause(number, start_ns, end_ns, end_ns))
    return [*frames, UtteranceEnd(number, start_ns, end_ns, reason, end_ns)]


async def heard(*frames: Sequence[Frame], pauses: bool = False, **settings: Any) -> tuple[list[str], list[str]]:
    """Texts (or reasons for none, in brackets) and what was asked."""
    wanted = {"target_lang": "en", "continue_ms": 200, **settings}
    async with Harness(SPEC, **wanted) as harness:
        for part in frames:
            await harness.push(*(f for f in part if pauses or not isinstance(f, UtterancePause)))
        await harness.eos()
        assert isinstance(harness.element, ReaderAst)
        texts = [f for f in harness.output() if isinstance(f, TranslationFrame)]
        return [f"[{f.rejected}]" if f.rejected else f.text for f in texts], harness.element.model.asked


async def test_the_second_half_goes_on_with_a_sentence_that_was_not_finished():
    texts, asked = await heard(says(1, "My name", 0), says(2, "is Anna.", 4))
    assert texts == ["My name", "is Anna."]
    assert asked == ["My name", "My name|My name is Anna."]


async def test_two_sentences_are_two_sentences():
    texts, asked = await heard(says(1, "My name is Anna.", 0), says(2, "Where is the station?", 5))
    assert texts == ["My name is Anna.", "Where is the station?"]
    assert asked == texts


async def test_half_a_sentence_that_was_rejected_is_heard_again_with_its_other_half():
    texts, asked = await heard(says(1, "Where is", 0), says(2, "the station?", 4), strict=True)
    assert texts == ["[half a sentence]", "Where is the station?"]
    assert asked == ["Where is", "the station?", "Where is the station?"]


async def test_a_sentence_in_three_pieces():
    three = says(1, "Where is", 0), says(2, "the", 3), says(3, "station?", 6)
    texts, _ = await heard(*three, strict=True)
    assert texts == ["[half a sentence]", "[half a sentence]", "Where is the station?"]
    texts, asked = await heard(*three)
    assert texts == ["Where is", "the", "station?"]
    assert asked[-1] == "Where is the|Where is the station?"


async def test_a_whole_sentence_behind_half_of_another_is_not_put_together_with_it():
    texts, asked = await heard(says(1, "Stop", 0), says(2, "Where is the station?", 3), strict=True)
    assert texts == ["[half a sentence]", "Where is the station?"]
    assert asked == ["Stop", "Where is the station?", "Stop Where is the station?"]  # which is less likely


async def test_one_that_makes_no_sense_alone_goes_on_with_a_sentence_that_seemed_finished():
    texts, asked = await heard(says(1, "My name is Anna.", 0), says(2, "Stop", 5), strict=True)
    assert texts == ["My name is Anna.", "Stop"]
    assert asked == ["My name is Anna.", "Stop", "My name is Anna|My name is Anna. Stop"]


async def test_after_a_longer_pause_or_without_the_setting_each_stands_for_itself():
    late = says(1, "My name", 0), says(2, "is Anna.", 7)
    assert (await heard(*late))[1] == ["My name", "is Anna."]
    assert (await heard(*late, continue_ms=250))[1][1] == "My name|My name is Anna."
    assert (await heard(*late, continue_ms=0))[1] == ["My name", "is Anna."]
    assert (await heard(*late, continue_ms=250, group=2))[1] == ["My name", "is Anna."]


async def test_what_was_cut_for_its_length_goes_on_whatever_its_end_looks_like():
    cut = says(1, "My name is Anna.", 0, reason="maximum"), says(2, "Where is the station?", 4)
    texts, asked = await heard(*cut)
    assert texts == ["My name is Anna.", "Where is the station?"]
    assert asked == ["My name is Anna.", "My name is Anna|My name is Anna. Where is the station?"]


async def test_what_is_too_long_together_is_asked_about_alone():
    long = " ".join(["My", "Anna."] * (MOST_S * 10))
    _, asked = await heard(says(1, long, 0), says(2, "is Anna.", MOST_S * 20), max_compression_ratio=1000)
    assert asked == [long, "is Anna."]


async def test_a_text_of_both_is_no_more_than_both_can_have_said():
    first = "Where is the station? My name is Stop"
    texts, _ = await heard(says(1, first, 0), says(2, "is Anna.", 9), strict=True)
    assert texts == ["[half a sentence]", f"{first} is Anna."]
    assert len(texts[1]) > most_chars(0.1)  # what the second half alone can have said


async def test_an_engine_that_cannot_be_made_to_begin_so_joins_only_what_nothing_was_said_of(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(ReaderAst, "can_continue", False)
    assert (await heard(says(1, "My name", 0), says(2, "is Anna.", 4)))[1] == ["My name", "is Anna."]
    texts, _ = await heard(says(1, "Where is", 0), says(2, "the station?", 4), strict=True)
    assert texts == ["[half a sentence]", "Where is the station?"]


async def test_a_failure_is_of_its_utterance_and_the_next_one_waits_for_nothing():
    async with Harness(SPEC, target_lang="en", continue_ms=200) as harness:
        await harness.push(*says(1, "boom", 0), *says(2, "is Anna.", 3), *says(3, "Stop", 6))
        with pytest.raises(ElementError, match="OverflowError: boom"):
            await harness.eos()
        await harness.element.drain()
        texts = [f.text for f in harness.output() if isinstance(f, TranslationFrame)]
    assert texts == ["", "is Anna.", "Stop"]


async def test_an_utterance_that_was_lost_is_continued_by_nothing():
    lost = says(1, "My name", 0, reason="error")
    texts, asked = await heard(lost, says(2, "is Anna.", 4))
    assert texts == ["[lost to a failure upstream]", "is Anna."]
    assert asked == ["is Anna."]


async def test_speculation_asks_what_the_end_asks():
    halves = says(1, "My name", 0), says(2, "is Anna.", 4)
    async with Harness(SPEC, target_lang="en", continue_ms=200) as harness:
        for frame in (*halves[0], *halves[1]):
            await harness.push(frame)
            await asyncio.sleep(0.002 * isinstance(frame, UtterancePause))
        await harness.eos()
        outcomes = [m.outcome for m in harness.messages if isinstance(m, SpeculationMessage)]
        await until(lambda: len([m for m in harness.messages if isinstance(m, SpeculationMessage)]) == 4)
        texts = [f.text for f in harness.output() if isinstance(f, TranslationFrame)]
    assert texts == ["My name", "is Anna."]
    assert outcomes.count("hit") == 2


@given(
    words=st.lists(st.sampled_from(WORDS[1:-1]), min_size=1, max_size=8).filter(
        lambda words: len(" ".join(words)) <= most_chars(len(words) * PIECE / RATE)  # more is rejected
    ),
    cuts=st.sets(st.integers(1, 7), max_size=4),
    strict=st.booleans(),
    chunk=st.integers(1, 900),
    turns=st.integers(0, 3),
)
@example(
    words=["Where", "Where", "station?"], cuts={2}, strict=True, chunk=1, turns=0
)  # the end comes before the question
def test_the_output_is_the_same_whatever_the_timing_and_says_no_word_twice(
    words: list[str], cuts: set[int], strict: bool, chunk: int, turns: int
):
    async def run(*, pauses: bool, chunk: int, turns: int) -> list[Frame]:
        settings = {"target_lang": "en", "continue_ms": 200, "strict": strict, "max_compression_ratio": 1000}
        async with Harness(SPEC, **settings) as harness:
            at = 0
            edges = [0, *sorted(cut for cut in cuts if cut < len(words)), len(words)]
            for number, (first, last) in enumerate(pairwise(edges), 1):
                for frame in says(number, " ".join(words[first:last]), at, chunk=chunk):
                    if pauses or not isinstance(frame, UtterancePause):
                        await harness.push(frame)
                        for _ in range(turns):
                            await asyncio.sleep(0)
                at += last - first + 2
            await harness.eos()
            return harness.output()

    plain = asyncio.run(run(pauses=False, chunk=160, turns=0))
    assert asyncio.run(run(pauses=True, chunk=chunk, turns=turns)) == plain
    spoken = " ".join(f.text for f in plain if isinstance(f, TranslationFrame)).split()
    if not strict:
        assert spoken == words
    else:  # what was rejected may be missing; nothing is said twice, nothing out of its order
        rest = iter(words)
        assert all(word in rest for word in spoken)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("Меня зовут Катя.", "Меня зовут Катя"),
        ("Где вокзал?", "Где вокзал"),
        ("Ну…", "Ну"),
        ("и тогда,", "и тогда,"),
        ("", ""),
    ],
)
def test_a_text_that_goes_on_has_no_end(text: str, prefix: str):
    assert as_prefix(text) == prefix


@pytest.mark.parametrize(
    ("prefix", "text", "new", "whole"),
    [
        ("Меня зовут Катя", ", я из Франции.", "я из Франции.", "Меня зовут Катя, я из Франции."),
        ("Styles in the West", "could lag.", "could lag.", "Styles in the West could lag."),
        ("Да", ". Где вокзал?", "Где вокзал?", "Да. Где вокзал?"),
        ("Да", ".", "", "Да."),
        ("", "Да.", "Да.", "Да."),
    ],
)
def test_what_is_new_is_a_text_of_its_own(prefix: str, text: str, new: str, whole: str):
    assert only_new(text) == new
    assert joined_text(prefix, text) == whole
