"""What is heard sooner: the first clause of a long sentence, and what was said before."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_speech_pace import S
from tolmach.pipelines.bus import RepeatedMessage
from tolmach.pipelines.frames import AudioFrame, TranslationFrame
from tolmach.pipelines.testing import Harness
from tolmach.processors.espeak.spec import SPEC as ESPEAK
from tolmach.processors.tts.cache import SpeechCache
from tolmach.processors.tts.element import SpeechElement, begin_early

LONG = "When the meeting had come to its end, we went back to the station and waited for the last train of the day."


def test_a_long_sentence_begins_at_its_first_clause_and_the_rest_is_one_piece() -> None:
    assert begin_early(LONG) == [LONG[:37], LONG[38:]]
    assert begin_early(LONG)[0].endswith("its end,")
    two = LONG.replace("station and", "station, and")
    assert begin_early(two) == [LONG[:37], two[38:]]


@pytest.mark.parametrize(
    "sentence",
    [
        "Well, we waited.",
        LONG.replace(",", ""),
        "Yes, " + LONG.replace(",", ""),
        LONG.replace(",", "").removesuffix(" of the day.") + ", it said.",
    ],
)
def test_what_would_not_be_heard_sooner_stays_whole(sentence: str) -> None:
    assert begin_early(sentence) == [sentence]


@given(st.text(alphabet="ab ,;:–", max_size=300))
def test_beginning_early_loses_nothing(sentence: str) -> None:
    pieces = begin_early(sentence)
    assert "".join("".join(pieces).split()) == "".join(sentence.split())
    assert len(pieces) <= 2


async def say(h: Harness, number: int, text: str) -> bytes:
    before = len(h.output())
    await h.push(TranslationFrame(number, number * 100 * S, number * 100 * S + 1, "xx", "en", text))
    await h.element.drain()
    return b"".join(f.samples.tobytes() for f in h.output()[before:] if isinstance(f, AudioFrame))


def repeats(h: Harness) -> list[int]:
    return [message.utterance for message in h.messages if isinstance(message, RepeatedMessage)]


async def test_what_was_said_before_sounds_the_same_and_is_not_made_anew() -> None:
    async with Harness(ESPEAK) as h:
        element = h.element
        assert isinstance(element, SpeechElement)
        once = await say(h, 1, "Thank you. Good night!")
        assert await say(h, 2, "Thank you. Good night!") == once
        assert repeats(h) == [2, 2]
        await say(h, 3, "Good night!")
        await say(h, 4, "Good morning!")
        assert repeats(h) == [2, 2, 3]
        assert (element.cache.hits, element.cache.misses) == (3, 3)


async def test_a_voice_that_was_changed_says_it_with_the_new_one_and_remembers_the_old() -> None:
    async def said(*rates: int) -> tuple[list[bytes], list[int]]:
        async with Harness(ESPEAK) as h:
            heard = []
            for number, rate_wpm in enumerate(rates, 1):
                h.element.change_settings(type(h.element.settings)(rate_wpm=rate_wpm))
                heard.append(await say(h, number, "Thank you."))
            return heard, repeats(h)

    (slow, fast, again), repeated = await said(120, 300, 120)
    assert slow == again != fast
    assert repeated == [3]


async def test_what_was_broken_off_is_not_remembered() -> None:
    async with Harness(ESPEAK) as h:
        element = h.element
        assert isinstance(element, SpeechElement)
        frame = TranslationFrame(1, 0, 1, "xx", "en", "A sentence that nobody will hear to its end.")
        await h.push(replace(frame, final=False, speculative=True))
        await asyncio.sleep(0)
        await h.stop()
        assert len(element.cache) == 0
        await h.element.start()
        assert await say(h, 2, frame.text)
        assert repeats(h) == []


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60)), max_size=60))
def test_a_cache_is_never_larger_than_it_may_be_and_keeps_what_is_used(puts: list[tuple[int, int]]) -> None:
    cache: SpeechCache[int] = SpeechCache(100)
    cache.put("used", -1, 10)
    for key, size in puts:
        cache.put(key, size, size)
        assert cache.bytes <= 100
        assert cache.get("used") == -1
        assert cache.get(key) == (size if size <= 25 else cache.get(key))
    assert cache.bytes == 10 + sum(cache.get(key) or 0 for key in range(13))


def test_what_is_too_long_to_come_twice_is_not_kept() -> None:
    cache: SpeechCache[str] = SpeechCache(100)
    cache.put(1, "short", 25)
    cache.put(2, "long", 26)
    assert (cache.get(1), cache.get(2), len(cache)) == ("short", None, 1)
