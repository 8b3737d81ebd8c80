from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.until import until
from tolmach.pipelines.bus import SpeculationMessage
from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import Context, ElementSpec, Field, Pad, Settings
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import AudioFrame, Frame, Samples, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.testing import Harness, tone
from tolmach.pipelines.testing.harness import StreamRules, without_chunking
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


async def test_parts_of_one_utterance_are_spoken_in_turn_each_from_its_own_source() -> None:
    """What is final is spoken; what is grey is not, and the empty last part says nothing."""
    second = replace(says(3, "cd", part=1, more=True), pts_ns=3_500_000_000, end_ns=3_900_000_000)
    async with Harness(SPEC) as h:
        await h.push(
            says(3, "ab", part=0, more=True),
            replace(second, text="cx", final=False),
            second,
            says(3, "", part=2),
            says(4, "e"),
        )
        await h.eos()
        rules = StreamRules("beeps.src", Caps.parse("audio/raw, rate=1000, channels=1, segmented=true"))
        for frame in h.output():
            rules.see(frame)
        rules.end()
        starts = [f for f in h.output() if isinstance(f, UtteranceStart)]
        assert starts == [
            UtteranceStart(3, 3_000_000_000, 3_500_000_000),
            UtteranceStart(3, 3_500_000_000, 3_900_000_000),
            UtteranceStart(4, 4_000_000_000, 4_500_000_000),
        ]
        heard = np.concatenate([f.samples[:, 0] for f in h.output() if isinstance(f, AudioFrame)])
        assert "".join(chr(round(1000 * float(sample))) for sample in heard[::70]) == "abcde"


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


# Prepared before it is known whether the speaker has finished ----------------------------------------------------


def maybe(number: int, text: str, **fields: object) -> TranslationFrame:
    return says(number, text, final=False, speculative=True, **fields)


def outcomes(h: Harness) -> list[tuple[int, str]]:
    return [(m.utterance, m.outcome) for m in h.messages if isinstance(m, SpeculationMessage)]


async def made(h: Harness, text: str) -> None:
    element = h.element
    assert isinstance(element, Beeps)
    await until(lambda: "".join(element.made) == text)


async def spoken(*frames: TranslationFrame) -> list[tuple[object, ...]]:
    async with Harness(SPEC) as h:
        await h.push(*frames)
        await h.eos()
        return without_chunking(h.output())


async def test_a_text_that_may_be_whole_is_made_and_not_heard_until_it_is() -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "abc"))
        await made(h, "abc")
        assert h.output() == []
        await h.push(says(1, "abc"))
        await h.eos()
        assert outcomes(h) == [(1, "hit")]
        await made(h, "abc")  # and no second time
        assert without_chunking(h.output()) == await spoken(says(1, "abc"))


@pytest.mark.parametrize(
    "final",
    [
        says(1, "abx"),
        says(1, ""),
        says(1, "", rejected="low confidence"),
        replace(says(1, "abc"), target_lang="uk"),
    ],
)
async def test_what_turned_out_otherwise_is_thrown_away(final: TranslationFrame) -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "abc"))
        await made(h, "abc")
        await h.push(final, says(2, "d"))
        await h.eos()
        assert outcomes(h) == [(1, "miss")]
        assert without_chunking(h.output()) == await spoken(final, says(2, "d"))


async def test_a_newer_text_takes_the_place_of_an_earlier_one_and_the_same_again_changes_nothing() -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "ab"))
        await made(h, "ab")
        await h.push(maybe(1, "ab"), maybe(1, "abc"))
        await made(h, "ababc")
        await h.push(says(1, "abc"))
        await h.eos()
        assert outcomes(h) == [(1, "miss"), (1, "hit")]
        assert without_chunking(h.output()) == await spoken(says(1, "abc"))


async def test_a_partial_text_of_its_place_replaces_it_and_one_of_another_does_not() -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "ab", part=1), says(1, "so", final=False, part=2))
        await made(h, "ab")
        assert outcomes(h) == []
        await h.push(says(1, "so far", final=False, part=1))
        assert outcomes(h) == [(1, "miss")]


async def test_it_goes_no_further_ahead_than_any_other_text() -> None:
    async with Harness(SPEC) as h:
        element = h.element
        assert isinstance(element, Beeps)
        await h.push(maybe(1, "x" * 1000))  # 70 s of audio
        for _ in range(5000):
            await asyncio.sleep(0)
        assert 10_000 <= 70 * len(element.made) <= 10_300
        await h.push(maybe(1, "y"))
        await until(lambda: element.made[-1] == "y")
        await h.push(says(1, "y"))
        await h.eos()
        assert outcomes(h) == [(1, "miss"), (1, "hit")]


async def test_a_voice_that_was_changed_meanwhile_speaks_with_the_new_one() -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "abc"))
        await made(h, "abc")
        h.element.change_settings(BeepSettings(chunk_ms=50))
        await h.push(says(1, "abc"))
        await h.eos()
        assert outcomes(h) == [(1, "miss")]
        assert [len(f.samples) for f in h.output() if isinstance(f, AudioFrame)] == [50, 50, 50, 50, 10]


async def test_a_failure_while_preparing_is_nobodys_until_the_text_is_final() -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "a!b"))
        await made(h, "a")
        await asyncio.sleep(0)
        assert h.failures == []
        await h.push(says(1, "a!b"), says(2, "c"))
        with pytest.raises(ValueError, match="stumbled"):
            await h.eos()
        assert outcomes(h) == [(1, "failed")]
        assert len(h.failures) == 1
        assert [(f.utterance, f.reason) for f in h.output() if isinstance(f, UtteranceEnd)] == [
            (1, "error"),
            (2, "silence"),
        ]


async def test_what_was_prepared_is_spoken_in_its_turn() -> None:
    async with Harness(SPEC) as h:
        await h.push(says(1, "ab"), says(2, "cd"), maybe(3, "ef"))
        await h.push(says(3, "ef"), maybe(4, "gh"))
        await h.eos()
        expected = await spoken(says(1, "ab"), says(2, "cd"), says(3, "ef"))
        assert without_chunking(h.output()) == expected
        assert outcomes(h) == [(3, "hit"), (4, "miss")]


async def test_a_text_too_long_or_empty_is_not_prepared() -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "a" * (MAX_TEXT_CHARS + 1)), maybe(1, "  "), maybe(1, "", rejected="no speech"))
        await h.eos()
        assert outcomes(h) == []


@pytest.mark.parametrize("utterance", [1, None])
async def test_what_was_prepared_of_a_skipped_utterance_is_forgotten(utterance: int | None) -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "abc"))
        h.element.reset(2)
        assert outcomes(h) == []
        h.element.reset(utterance)
        await h.push(says(1, "abc"))
        await h.eos()
        assert outcomes(h) == [(1, "miss")]
        assert without_chunking(h.output()) == await spoken(says(1, "abc"))


async def test_stop_throws_away_what_was_prepared() -> None:
    async with Harness(SPEC) as h:
        await h.push(maybe(1, "abc"))
        await h.stop()
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("speech-")]
        await h.element.start()
        await h.push(says(1, "abc"))
        await h.eos()
        assert without_chunking(h.output()) == await spoken(says(1, "abc"))


@given(
    plan=st.lists(st.lists(st.sampled_from(["a", "ab", "b", "...", "", "a_"]), min_size=1, max_size=4), max_size=4),
    turns=st.integers(0, 30),
)
def test_what_is_heard_does_not_depend_on_what_was_prepared(plan: list[list[str]], turns: int) -> None:
    finals = [says(number, texts[-1]) for number, texts in enumerate(plan, 1)]

    async def run() -> list[tuple[object, ...]]:
        async with Harness(SPEC) as h:
            for final, texts in zip(finals, plan, strict=True):
                for text in texts:
                    await h.push(maybe(final.utterance, text))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                await h.push(final)
            await h.eos()
            return without_chunking(h.output())

    assert asyncio.run(run()) == asyncio.run(spoken(*finals))


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
