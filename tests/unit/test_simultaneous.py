"""Translation while somebody speaks: parts in time, in order, once; any chunking; cuts; failures; slow engines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.reading_ast import SPEC, ReadingAst, spoken, written
from tests.until import until
from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import (
    AudioFrame,
    EndReason,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.testing import Harness, check_element, chop
from tolmach.processors.ast.simultaneous import CONTINUED, FAILED

RATE = 16000
WORD = RATE // 2


def utterance(
    number: int, samples: Samples, start: int = 0, *, reason: EndReason = "silence", chunk: int = 512
) -> list[Frame]:
    pts_ns, end_ns = samples_to_ns(start, RATE), samples_to_ns(start + len(samples), RATE)
    audio = chop(AudioFrame(samples[:, None], RATE, pts_ns, number), chunk) if len(samples) else []
    end = UtteranceEnd(number, pts_ns, end_ns, reason, decided_ns=end_ns + 1)
    return [UtteranceStart(number, pts_ns), *audio, end]


def words(first: int, last: int) -> str:
    return "".join(map(written, range(first, last + 1))).strip()


def texts(harness: Harness) -> list[TranslationFrame]:
    return [frame for frame in harness.output() if isinstance(frame, TranslationFrame)]


def finals(frames: Sequence[TranslationFrame]) -> list[TranslationFrame]:
    return [frame for frame in frames if frame.final]


def joined(frames: Sequence[TranslationFrame]) -> str:
    return " ".join(frame.text for frame in finals(frames) if frame.text)


async def run(*frames: Frame, **settings: Any) -> list[TranslationFrame]:
    async with Harness(SPEC, mode="simultaneous", **settings) as harness:
        await harness.push(*frames)
        await harness.eos()
        return texts(harness)


async def test_the_contract_of_elements():
    await check_element(SPEC, {"mode": "simultaneous"})


async def test_the_first_clause_goes_out_while_the_speaker_goes_on():
    *heard, end = utterance(1, spoken(range(1, 25), WORD))
    async with Harness(SPEC, mode="simultaneous") as harness:
        await harness.push(*heard)
        early = finals(texts(harness))
        assert [frame.text for frame in early] == [words(1, 7), words(8, 14), words(15, 21)]
        assert all(frame.more for frame in early)
        await harness.push(end)
        await harness.eos()
        frames = finals(texts(harness))
    assert frames[:3] == early
    assert joined(frames) == words(1, 24)
    assert [frame.part for frame in frames] == list(range(len(frames)))
    assert [frame.more for frame in frames] == [True] * (len(frames) - 1) + [False]
    # Each part has the span of its own words, and says how much had been heard when it was settled.
    ends = np.cumsum([len(frame.text.split()) for frame in frames]) * WORD
    assert [frame.end_ns for frame in frames] == [samples_to_ns(int(n), RATE) for n in ends]
    assert [frame.decided_ns for frame in early] == [s * 10**9 for s in (5, 9, 12)]
    assert frames[-1].decided_ns == 12 * 10**9 + 1


async def test_what_is_grey_is_the_rest_and_what_was_final_stays():
    frames = await run(*utterance(1, spoken(range(1, 25), WORD)))
    sent: list[str] = []
    for frame in frames:
        assert frame.part == len(sent)
        if frame.final:
            sent.append(frame.text)
        else:
            assert frame.more
            assert frame.text.split()[0].strip(".,") == f"w{len(' '.join(sent).split()) + 1}"
    assert any(not frame.final for frame in frames)


@pytest.mark.parametrize("policy", ["local_agreement", "align_att"])
async def test_any_chunking_gives_the_same_frames(policy: str):
    speech = spoken(range(1, 60), WORD - 37)
    first = await run(*utterance(1, speech), policy=policy)
    for chunk in (100, RATE, 7 * RATE):
        assert await run(*utterance(1, speech, chunk=chunk), policy=policy) == first


async def test_speech_that_the_detector_had_to_cut_goes_on():
    """The cut falls into a word; no utterance has half of it, and none has it twice."""
    speech = spoken(range(1, 50), WORD)
    cut = 12 * RATE + 4000
    frames = await run(
        *utterance(1, speech[:cut], reason="maximum"),
        *utterance(2, speech[cut:], cut),
        *utterance(3, spoken([9]), 10**6),
    )
    assert joined([f for f in frames if f.utterance < 3]) == words(1, 49)
    assert joined([f for f in frames if f.utterance == 3]) == "w9"
    for number in (1, 2, 3):
        parts = finals([f for f in frames if f.utterance == number])
        assert [f.part for f in parts] == list(range(len(parts)))
        assert [f.more for f in parts] == [True] * (len(parts) - 1) + [False]


async def test_a_cut_behind_the_last_word_is_an_end():
    speech = spoken(range(1, 10), WORD)
    async with Harness(SPEC, mode="simultaneous") as harness:
        await harness.push(*utterance(1, speech, reason="maximum"))
        assert "w9" not in joined(texts(harness))
        end_ns = samples_to_ns(len(speech), RATE)
        await harness.element.progress(end_ns, "sink")
        assert "w9" not in joined(texts(harness))  # it may still go on
        await harness.element.progress(end_ns + 10**9, "sink")
        assert joined(texts(harness)) == words(1, 9)
        assert not finals(texts(harness))[-1].more


async def test_an_utterance_that_is_cut_before_anything_is_stable_says_where_its_words_are():
    speech = spoken([1, 2], 6 * RATE // 10)
    frames = await run(
        *utterance(1, speech[:8000], reason="maximum"), *utterance(2, speech[8000:], 8000), step_ms=10_000
    )
    assert [(f.utterance, f.text, f.rejected, f.more) for f in frames] == [
        (1, "", CONTINUED, False),
        (2, "w1 w2", None, False),
    ]


async def test_an_utterance_without_a_word_leaves_its_trace():
    [frame] = await run(*utterance(4, np.zeros(3 * RATE, np.float32)))
    assert (frame.utterance, frame.text, frame.rejected, frame.part, frame.more) == (4, "", "no speech", 0, False)


async def test_what_repeats_itself_is_not_committed():
    """As engines do on noise: the same words as long as there is audio."""
    loop = np.tile(spoken(range(1, 6), RATE // 20), 60)
    frames = await run(*utterance(1, loop), policy="align_att", align_threshold_ms=0, max_compression_ratio=1.5)
    assert "repetition" in {frame.rejected for frame in frames}
    assert len(joined(frames).split()) < 20


async def test_more_text_than_speech_goes_nowhere_and_silence_is_not_asked_about():
    babble = spoken(range(1, 200), RATE // 100)
    frames = await run(*utterance(1, babble), max_compression_ratio=20)
    assert [(frame.text, frame.rejected, frame.final) for frame in frames] == [("", "more text than speech", True)]
    async with Harness(SPEC, mode="simultaneous") as harness:
        await harness.push(*utterance(1, np.zeros(4 * RATE, np.float32)))
        await harness.eos()
        assert [frame.rejected for frame in texts(harness)] == ["no speech"]
        assert isinstance(harness.element, ReadingAst)
        assert harness.element.model.asked == 0


async def test_a_step_that_fails_costs_nothing_but_time():
    async with Harness(SPEC, mode="simultaneous") as harness:
        element = harness.element
        assert isinstance(element, ReadingAst)
        good, times = element.model.run, iter(range(100))

        def run_badly(items: Any) -> Any:
            if next(times) in (2, 3, 4):
                raise OverflowError("not now")
            return good(items)

        element.model.run = run_badly  # type: ignore[method-assign]
        await harness.push(*utterance(1, spoken(range(1, 25), WORD)))
        await harness.eos()
        assert joined(texts(harness)) == words(1, 24)
        [warning] = [m for m in harness.messages if isinstance(m, WarningMessage)]
        assert "not now" in warning.text


async def test_an_end_that_fails_says_so_and_keeps_what_was_sent():
    speech = spoken(range(1, 25), WORD)
    broken = np.concatenate([speech, np.full(4000, np.nan, np.float32)])
    async with Harness(SPEC, mode="simultaneous") as harness:
        await harness.push(*utterance(1, broken), *utterance(2, spoken([5], WORD), 10**6))
        with pytest.raises(ElementError, match="utterance 1 could not be translated"):
            await harness.eos()
        frames = finals(texts(harness))
    assert frames[0].text == words(1, 7)
    last = [f for f in frames if f.utterance == 1][-1]
    assert (last.text, last.rejected, last.more) == ("", FAILED, False)
    assert joined([f for f in frames if f.utterance == 2]) == "w5."[:2]


@pytest.mark.parametrize("evidence", [0.95, 0.55])
async def test_the_language_is_found_once_when_there_is_evidence_enough(evidence: float):
    """German by the first second; Russian, as sure as may be, by two."""
    languages = {"source_lang": "auto", "target_lang": "en", "languages": ["ru", "de"], "min_language_confidence": 0.8}
    async with Harness(SPEC, mode="simultaneous", step_ms=500, **languages) as harness:
        element = harness.element
        assert isinstance(element, ReadingAst)
        good = element.model.run

        def run_unsure(items: Any) -> Any:
            german = evidence if len(items[0].samples) < 2 * RATE else 0.1
            spoken = "de" if german > 0.5 else "ru"
            found = (("ru", 1 - german), ("de", german))
            return [replace(each, languages=found, source_lang=spoken) for each in good(items)]

        element.model.run = run_unsure  # type: ignore[method-assign]
        await harness.push(*utterance(1, spoken(range(1, 25), WORD)))
        await harness.eos()
        frames = texts(harness)
        expected = "de" if evidence > 0.8 else "ru"
        assert joined(frames) == words(1, 24)
        assert {frame.source_lang for frame in frames} == {expected}
        assert {direction.source_lang for direction in element.directions} == {expected}
        assert {round(frame.language_confidence or 0, 2) for frame in frames} == {0.95 if expected == "de" else 0.9}


async def test_live_a_slow_engine_is_asked_about_the_latest_and_nobody_waits():
    gate, begun = threading.Event(), threading.Event()
    async with Harness(SPEC, mode="simultaneous", live=True) as harness:
        element = harness.element
        assert isinstance(element, ReadingAst)
        good = element.model.run

        def run_slowly(items: Any) -> Any:
            begun.set()
            assert gate.wait(30)
            return good(items)

        element.model.run = run_slowly  # type: ignore[method-assign]
        *heard, end = utterance(1, spoken(range(1, 49), WORD))
        async with asyncio.timeout(10):
            await harness.push(*heard[:40])
            await until(begun.is_set)
            await harness.push(*heard[40:])  # 24 steps are due, and the engine has not answered once
        gate.set()
        await until(lambda: element.model.asked == 2)
        await harness.push(end)
        await harness.eos()
        assert element.model.asked == 3  # the first step, the latest one, the end
        assert joined(texts(harness)) == words(1, 48)


async def test_a_failure_upstream_is_told_and_what_was_stable_stays():
    frames = finals(await run(*utterance(1, spoken(range(1, 25), WORD), reason="error")))
    assert frames[0].text == words(1, 7)
    assert (frames[-1].text, frames[-1].rejected, frames[-1].more) == ("", "lost to a failure upstream", False)


async def test_a_skipped_utterance_is_forgotten_and_the_next_one_is_whole():
    async with Harness(SPEC, mode="simultaneous") as harness:
        await harness.push(*utterance(1, spoken(range(1, 9), WORD))[:-1])
        harness.element.reset(1)
        await harness.push(*utterance(2, spoken(range(1, 4), WORD), 10**6))
        await harness.eos()
        assert joined([f for f in texts(harness) if f.utterance == 2]) == words(1, 3)


async def test_progress_goes_no_further_than_what_may_still_come():
    told: list[int] = []

    async def tell(time_ns: int, pad: str | None = None) -> None:
        told.append(time_ns)

    harness = Harness(SPEC, mode="simultaneous")
    harness.element = ReadingAst(harness.settings, replace(harness.context, progress=tell))
    async with harness:
        *heard, end = utterance(1, spoken(range(1, 25), WORD))
        await harness.push(*heard)
        await harness.element.progress(12 * 10**9, "sink")
        assert told[-1] == finals(texts(harness))[-1].end_ns
        await harness.push(end)
        await harness.element.progress(13 * 10**9, "sink")
        assert told[-1] == 13 * 10**9
