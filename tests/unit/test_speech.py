from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.pipelines.element import Context, ElementSpec, Field, Pad, Settings
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import AudioFrame, Frame, Samples, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.testing import Harness, tone
from tolmach.processors.tts.element import MAX_TEXT_CHARS, SpeechElement, split_text

RATE_HZ = 1000


class BeepSettings(Settings):
    chunk_ms: int = Field(100, description="Length of the audio frames, ms.")


class Beeps(SpeechElement):
    """A voice that says each character as its code, one block a character, is silent at "." and stumbles over "!"."""

    rate_hz = RATE_HZ

    def __init__(self, settings: BeepSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.gate = asyncio.Event()
        self.gate.set()
        self.made: list[str] = []

    async def synthesise(self, frame: TranslationFrame) -> AsyncIterator[Samples]:
        for char in frame.text:
            await self.gate.wait()
            if char == "!":
                raise ValueError("stumbled")
            self.made.append(char)
            if char != "_":
                yield np.full(70, 0 if char == "." else ord(char) / 1000, np.float32)


SPEC = ElementSpec(
    type="beeps",
    summary="Beep.",
    settings=BeepSettings,
    pads=(Pad.sink("text/x-translation"), Pad.src("audio/raw")),
    build=f"{__name__}:Beeps",
)


def says(number: int, text: str, **fields: object) -> TranslationFrame:
    start_ns = number * 1_000_000_000
    return TranslationFrame(number, start_ns, start_ns + 500_000_000, "en", "ru", text, **fields)  # type: ignore[arg-type]


def kinds(frames: list[Frame]) -> list[str]:
    return [type(f).__name__ for f in frames]


async def test_an_utterance_is_bracketed_and_timed_from_its_source() -> None:
    async with Harness(SPEC) as h:
        await h.push(says(3, "abcd"))
        await h.eos()
        start, *audio, end = h.output()
        assert start == UtteranceStart(3, 3_000_000_000, 3_500_000_000)
        assert end == UtteranceEnd(3, 3_000_000_000, 3_280_000_000)
        frames = [f for f in audio if isinstance(f, AudioFrame)]
        assert [len(f.samples) for f in frames] == [100, 100, 80]
        assert [f.pts_ns for f in frames] == [3_000_000_000, 3_100_000_000, 3_200_000_000]
        assert {f.utterance for f in frames} == {3}
        expected = np.repeat(np.array([ord(c) / 1000 for c in "abcd"], np.float32), 70)
        np.testing.assert_array_equal(h.audio()[:, 0], expected)


@pytest.mark.parametrize(
    "frame",
    [
        says(1, ""),
        says(1, "  \n"),
        says(1, "heard", rejected="not in the phrasebook"),
        says(1, "so far", final=False),
        says(1, "___"),
        says(1, "..."),
    ],
)
async def test_nothing_leaves_when_there_is_nothing_to_say(frame: TranslationFrame) -> None:
    async with Harness(SPEC) as h:
        await h.push(frame)
        await h.eos()
        assert h.output() == []


async def test_silence_before_the_first_sound_is_left_out_and_no_other() -> None:
    async with Harness(SPEC) as h:
        await h.push(says(1, "..a.b."))
        await h.eos()
        expected = np.concatenate((np.zeros(5), *(np.full(70, x) for x in (0.097, 0, 0.098, 0)))).astype(np.float32)
        np.testing.assert_array_equal(h.audio()[:, 0], expected)
        first = next(f for f in h.output() if isinstance(f, AudioFrame))
        assert first.pts_ns == 1_000_000_000


async def test_utterances_stay_in_order_and_the_next_is_made_ahead() -> None:
    async with Harness(SPEC) as h:
        element = h.element
        assert isinstance(element, Beeps)
        await h.push(says(1, "ab"), says(2, "cd"))
        third = asyncio.create_task(h.push(says(3, "e")))
        await h.element.drain()
        await third
        await h.eos()
        assert [f.utterance for f in h.output() if isinstance(f, UtteranceStart)] == [1, 2, 3]
        assert sorted(element.made) == list("abcde")


async def test_a_third_utterance_waits_until_there_is_room() -> None:
    async with Harness(SPEC) as h:
        element = h.element
        assert isinstance(element, Beeps)
        element.gate.clear()
        await h.push(says(1, "a"), says(2, "b"))
        third = asyncio.create_task(h.push(says(3, "c")))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not third.done()
        element.gate.set()
        await third
        await h.eos()
        assert len([f for f in h.output() if isinstance(f, UtteranceEnd)]) == 3


async def test_a_slow_listener_holds_the_engine_back() -> None:
    room = asyncio.Event()
    taken: list[Frame] = []

    async def push(frame: Frame, pad: str = "src") -> None:
        await room.wait()
        taken.append(frame)

    async with Harness(SPEC) as h:
        element = Beeps(BeepSettings(), Context("voice", "harness", push, h.context.post, h.context.spawn))
        await element.process(says(1, "x" * 1000), "sink")  # 70 s of audio
        for _ in range(5000):
            await asyncio.sleep(0)
        assert 10_000 <= 70 * len(element.made) <= 10_300  # ten seconds and a block or two
        room.set()
        await element.drain()
        assert len(element.made) == 1000
        assert isinstance(taken[-1], UtteranceEnd)
        await element.stop()


async def test_a_failure_half_way_closes_the_utterance_and_spares_the_next() -> None:
    async with Harness(SPEC) as h:
        await h.push(says(1, "abc!d"), says(2, "!"), says(3, "e"))
        with pytest.raises(ValueError, match="stumbled"):
            await h.eos()
        frames = h.output()
        assert kinds(frames) == [
            *["UtteranceStart", "AudioFrame", "AudioFrame", "AudioFrame", "UtteranceEnd"],  # what was made is heard
            *["UtteranceStart", "AudioFrame", "UtteranceEnd"],
        ]
        ends = [f for f in frames if isinstance(f, UtteranceEnd)]
        assert [(e.utterance, e.reason) for e in ends] == [(1, "error"), (3, "silence")]
        assert len(h.failures) == 2


async def test_text_without_end_is_refused() -> None:
    async with Harness(SPEC) as h:
        with pytest.raises(ElementError, match="shorter utterances"):
            await h.push(says(1, "a" * (MAX_TEXT_CHARS + 1)))
        await h.push(says(2, "a"))
        await h.eos()
        assert {f.utterance for f in h.output()} == {2}


async def test_only_translations_are_taken() -> None:
    async with Harness(SPEC) as h:
        with pytest.raises(TypeError, match="takes translations"):
            await h.push(tone(0.1))


async def test_stop_cancels_what_is_under_way_and_the_element_can_start_again() -> None:
    async with Harness(SPEC) as h:
        element = h.element
        assert isinstance(element, Beeps)
        element.gate.clear()
        await h.push(says(1, "a"), says(2, "b"))
        await asyncio.sleep(0)
        await h.stop()
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("speech-")]
        element.gate.set()
        await element.start()
        await h.push(says(3, "c"), says(4, "d"), says(5, "e"))
        await h.eos()
        assert [f.utterance for f in h.output() if isinstance(f, UtteranceEnd)] == [3, 4, 5]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("Mr. Smith met Dr. Jones. They left.", ["Mr. Smith met Dr. Jones.", "They left."]),
        ("А. С. Пушкин жил на ул. Мойка. Потом умер.", ["А. С. Пушкин жил на ул. Мойка.", "Потом умер."]),
        ("It costs 3.50 dollars. OK.", ["It costs 3.50 dollars.", "OK."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("и т. д. и т. п.", ["и т. д. и т. п."]),
        ("what... no, wait", ["what... no, wait"]),
        ("你好。再见。", ["你好。", "再见。"]),
        ("", []),
    ],
)
def test_sentences_are_found(text: str, pieces: list[str]) -> None:
    assert split_text(text, 900) == pieces


def test_a_prepared_text_has_no_abbreviations() -> None:
    assert split_text("один. два. а. б", 900, prepared=True) == ["один.", "два.", "а.", "б"]


def test_long_sentences_are_cut_after_a_clause_else_between_words_else_anywhere() -> None:
    assert split_text("first clause, second clause that goes on", 20) == [
        "first clause,",
        "second clause that",
        "goes on",
    ]
    assert split_text("aaaa bbbb cccc", 10) == ["aaaa bbbb", "cccc"]
    assert split_text("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


@given(st.text(max_size=300), st.integers(1, 60), st.booleans())
def test_nothing_but_white_space_is_lost(text: str, limit: int, prepared: bool) -> None:
    pieces = split_text(text, limit, prepared=prepared)
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_a_limit_must_leave_room() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        split_text("a", 0)
