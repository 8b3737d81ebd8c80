"""Subtitles: line breaking, timing, the two file formats, and the sink."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.testing import Harness, tone
from tolmach.transports.files.specs import SUBTITLE_SINK
from tolmach.transports.files.subtitles import (
    FLASH_NS,
    Cue,
    Layout,
    break_text,
    break_texts,
    format_srt,
    format_vtt,
    on_one_line,
    schedule,
)

S = NS_PER_S
LAYOUT = Layout()
texts = st.text(st.sampled_from("aбв .,!?—\n\u00a0-<>&\x07"), max_size=400) | st.text(max_size=200)
layouts = st.builds(Layout, st.integers(10, 60), st.integers(1, 3), st.integers(5, 40))

LONG = (
    "Мы приехали в город поздно вечером, когда все магазины были уже закрыты. Поэтому нам пришлось идти в ресторан "
    "при гостинице, где было очень дорого и не слишком вкусно, но зато тепло и светло."
)


def said(number: int, start_s: float, end_s: float, text: str, **more: Any) -> TranslationFrame:
    return TranslationFrame(number, round(start_s * S), round(end_s * S), "en", "ru", text, **more)


# --- lines ------------------------------------------------------------------------------------------------------------


def test_short_text_is_one_line() -> None:
    assert break_text("Где находится вокзал?", LAYOUT) == [("Где находится вокзал?",)]


def test_lines_are_balanced() -> None:
    assert break_text("the quick brown fox jumps over the lazy old dog", LAYOUT) == [
        ("the quick brown fox jumps", "over the lazy old dog")
    ]


def test_a_line_breaks_after_punctuation_when_that_is_near_the_middle() -> None:
    (lines,) = break_text("If you are tired, we can take a taxi to the hotel.", LAYOUT)
    assert lines == ("If you are tired,", "we can take a taxi to the hotel.")


def test_cues_break_between_sentences() -> None:
    first, *others = break_text(LONG, LAYOUT)
    assert first == ("Мы приехали в город поздно вечером,", "когда все магазины были уже закрыты.")
    assert " ".join(line for cue in others for line in cue) == LONG.partition("закрыты. ")[2]


def test_a_word_longer_than_a_line_is_cut() -> None:
    lines = [line for cue in break_text("x" * 100, LAYOUT) for line in cue]
    assert [len(line) for line in lines] == [42, 42, 16]


def test_numbers_keep_their_no_break_space() -> None:
    text = "Билет на ночной поезд до Москвы стоит 10\u00a0000 рублей"
    assert any("10\u00a0000" in line for cue in break_text(text, LAYOUT) for line in cue)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00\x07", "\u00a0"])
def test_nothing_to_say_gives_no_cue(text: str) -> None:
    assert break_text(text, LAYOUT) == []


@given(texts, layouts)
def test_every_line_fits_and_no_character_is_lost(text: str, layout: Layout) -> None:
    cues = break_text(text, layout)
    for cue in cues:
        assert 1 <= len(cue) <= layout.max_lines
        for line in cue:
            assert 1 <= len(line) <= layout.max_chars_per_line
            assert line.strip(" ") == line
            assert len(line.splitlines()) == 1
    assert "".join(line for cue in cues for line in cue).replace(" ", "") == on_one_line(text).replace(" ", "")


@given(texts, layouts)
def test_no_more_cues_than_greedy_filling_needs(text: str, layout: Layout) -> None:
    words = [
        word[at : at + layout.max_chars_per_line]
        for word in on_one_line(text).split(" ")
        for at in range(0, len(word), layout.max_chars_per_line)
    ]
    lines = 0
    width = layout.max_chars_per_line
    for word in words:
        if width + 1 + len(word) > layout.max_chars_per_line:
            lines, width = lines + 1, len(word)
        else:
            width += 1 + len(word)
    assert len(break_text(text, layout)) <= -(-lines // layout.max_lines)


# --- times ------------------------------------------------------------------------------------------------------------


def test_a_cue_lasts_as_long_as_its_utterance() -> None:
    assert schedule([("Hello.",)], S, 4 * S, 9 * S, LAYOUT) == [Cue(S, 4 * S, ("Hello.",))]


def test_a_short_cue_stays_a_second() -> None:
    assert schedule([("Да.",)], S, S + S // 5, None, LAYOUT) == [Cue(S, 2 * S, ("Да.",))]


def test_a_long_text_stays_until_it_can_be_read() -> None:
    (cue,) = schedule([("x" * 34,)], S, 2 * S, 9 * S, LAYOUT)
    assert cue.end_ns == 3 * S  # 34 characters at 17 a second


def test_the_next_utterance_ends_it() -> None:
    (cue,) = schedule([("x" * 34,)], S, 2 * S, 2 * S + 1, LAYOUT)
    assert cue.end_ns == 2 * S + 1


def test_cues_share_the_time_in_proportion() -> None:
    cues = schedule([("x" * 40,), ("x" * 20,)], 0, 6 * S, None, LAYOUT)
    assert [(c.start_ns, c.end_ns) for c in cues] == [(0, 4 * S), (4 * S, 6 * S)]


@given(
    sizes=st.lists(st.integers(1, 84), min_size=1, max_size=6),
    start_ns=st.integers(0, 100 * S),
    length_ns=st.integers(0, 40 * S),
    pause_ns=st.none() | st.integers(-10 * S, 20 * S),
    layout=layouts,
)
def test_times_are_ordered_readable_and_never_over_the_next(
    sizes: list[int], start_ns: int, length_ns: int, pause_ns: int | None, layout: Layout
) -> None:
    end_ns = start_ns + length_ns
    next_ns = None if pause_ns is None else end_ns + pause_ns
    cues = schedule([("x" * size,) for size in sizes], start_ns, end_ns, next_ns, layout)
    assert cues[0].start_ns == start_ns
    for cue, following in itertools.pairwise(cues):
        assert cue.end_ns == following.start_ns
    assert all(cue.end_ns > cue.start_ns for cue in cues)
    needs = [max(S, size * S / layout.max_chars_per_s) for size in sizes]
    room_ns = None if next_ns is None else next_ns - start_ns
    if room_ns is None or room_ns >= sum(needs) + len(sizes):
        assert cues[-1].end_ns >= end_ns or cues[-1].end_ns == next_ns
        for cue, need in zip(cues, needs, strict=True):
            assert cue.end_ns - cue.start_ns >= need - 2
    assert cues[-1].end_ns - start_ns >= FLASH_NS * len(sizes)
    if room_ns is not None and room_ns >= FLASH_NS * len(sizes):
        assert next_ns is not None
        assert cues[-1].end_ns <= next_ns


# --- formats ----------------------------------------------------------------------------------------------------------


def test_srt() -> None:
    cue = Cue(3_725_004 * NS_PER_MS, 3_726_000 * NS_PER_MS - 1, ("one", "<b> --> & two"))
    assert format_srt(7, cue) == "7\n01:02:05,004 --> 01:02:06,000\none\n<b> → & two\n\n"


def test_vtt() -> None:
    cue = Cue(0, 100 * 3600 * S, ('1 < 2 & 3 --> 4 "5"',))
    assert format_vtt(cue) == '00:00:00.000 --> 100:00:00.000\n1 &lt; 2 &amp; 3 --&gt; 4 "5"\n\n'


# --- the sink ---------------------------------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def written_in(path: Path) -> str:
    return path.read_bytes().decode()


async def save(path: Path, *frames: Any, **chosen: Any) -> str:
    async with Harness(SUBTITLE_SINK, path=str(path), **chosen) as harness:
        await harness.push(*frames)
        await harness.eos()
    assert names(path.parent) == [path.name]
    return written_in(path)


async def test_srt_file(tmp_path: Path) -> None:
    written = await save(
        tmp_path / "a.srt",
        UtteranceStart(1, S),
        said(1, 1, 3, "Привет", final=False),
        said(1, 1, 3, "Привет, мир!"),
        UtteranceEnd(1, S, 3 * S),
        said(2, 3.5, 4, "", rejected="not in the phrasebook"),
        said(3, 4, 4.2, "Да."),
        said(4, 4.6, 12, LONG),
    )
    assert written == (
        "1\n00:00:01,000 --> 00:00:03,000\nПривет, мир!\n\n"
        "2\n00:00:04,000 --> 00:00:04,600\nДа.\n\n"
        "3\n00:00:04,600 --> 00:00:08,835\n"
        "Мы приехали в город поздно вечером,\nкогда все магазины были уже закрыты.\n\n"
        "4\n00:00:08,835 --> 00:00:11,835\nПоэтому нам пришлось идти\nв ресторан при гостинице,\n\n"
        "5\n00:00:11,835 --> 00:00:15,718\nгде было очень дорого и не слишком вкусно,\nно зато тепло и светло.\n\n"
    )


async def test_each_final_part_of_an_utterance_is_a_cue_at_its_own_time(tmp_path: Path) -> None:
    written = await save(
        tmp_path / "a.srt",
        said(1, 1, 3, "Мы приехали", more=True),
        said(1, 3, 4, "по", part=1, final=False),
        said(1, 3, 5.5, "поздно вечером.", part=1, more=True),
        said(1, 5.5, 6, "", part=2),
    )
    assert written == (
        "1\n00:00:01,000 --> 00:00:03,000\nМы приехали\n\n2\n00:00:03,000 --> 00:00:05,500\nпоздно вечером.\n\n"
    )


async def test_vtt_file(tmp_path: Path) -> None:
    written = await save(tmp_path / "a.VTT", said(1, 1, 3, "Fish & chips"))
    assert written == "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\nFish &amp; chips\n\n"


@pytest.mark.parametrize(("name", "want"), [("a.srt", ""), ("a.vtt", "WEBVTT\n\n")])
async def test_nothing_said_is_a_valid_file(tmp_path: Path, name: str, want: str) -> None:
    assert await save(tmp_path / name, said(1, 0, 1, "", rejected="no speech"), said(2, 1, 2, " ")) == want


def shown(written: str) -> list[tuple[str, str, str]]:
    return re.findall(r"\d\d:\d\d:(\S+) --> \d\d:\d\d:(\S+)\n(.+)", written)


async def test_people_who_speak_at_once_are_read_at_once(tmp_path: Path) -> None:
    written = await save(tmp_path / "a.srt", said(1, 1, 3, "One."), said(2, 1, 3, "Two."), said(3, 1.1, 3, "Three."))
    assert shown(written) == [
        ("01,000", "03,000", "One."),
        ("01,000", "03,000", "Two."),
        ("01,100", "03,000", "Three."),
    ]


async def test_who_has_been_read_makes_room_for_who_interrupts_him(tmp_path: Path) -> None:
    written = await save(tmp_path / "a.srt", said(1, 1, 9, "x" * 34), said(2, 5, 7, "Two."), said(3, 9, 10, "Three."))
    assert shown(written) == [
        ("01,000", "05,000", "x" * 34),
        ("05,000", "07,000", "Two."),
        ("09,000", "10,000", "Three."),
    ]


async def test_a_long_text_under_short_ones_stays_in_order_and_at_its_time(tmp_path: Path) -> None:
    written = await save(
        tmp_path / "a.srt", said(1, 0, 20, LONG), said(2, 1, 2, "Да."), said(3, 12, 13, "Нет."), said(4, 30, 31, "Все.")
    )
    cues = shown(written)
    starts = [start for start, _, _ in cues]
    assert starts == sorted(starts)
    assert ("01,000", "02,000", "Да.") in cues
    assert ("12,000", "13,000", "Нет.") in cues
    assert cues[-1] == ("30,000", "31,000", "Все.")
    assert re.findall(r"(?m)^(\d+)$", written) == [str(n + 1) for n in range(len(cues))]


async def test_the_settings_shape_the_lines(tmp_path: Path) -> None:
    written = await save(
        tmp_path / "a.srt", said(1, 0, 1, "one two three four"), max_chars_per_line=10, max_lines=1, max_chars_per_s=5
    )
    assert written == ("1\n00:00:00,000 --> 00:00:01,400\none two\n\n2\n00:00:01,400 --> 00:00:03,400\nthree four\n\n")


@pytest.mark.parametrize("path", ["a.txt", "a", "", ".srt"])
def test_other_suffixes_are_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        SUBTITLE_SINK.settings(path=path)


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
async def test_an_interrupted_run_keeps_its_subtitles_under_a_name_that_says_so(tmp_path: Path, suffix: str) -> None:
    whole = await save(tmp_path / f"a.{suffix}", said(1, 0, 1, "One."), said(2, 1, 2, "Two."))
    (tmp_path / f"a.{suffix}").unlink()
    async with Harness(SUBTITLE_SINK, path=str(tmp_path / f"a.{suffix}")) as harness:
        await harness.push(said(1, 0, 1, "One."), said(2, 1, 2, "Two."))
        # The last one is held back: how long it stays is known when the next one starts.
        assert written_in(tmp_path / f"a.partial.{suffix}") == whole[: whole.index("One.\n\n") + len("One.\n\n")]
    assert names(tmp_path) == [f"a.partial.{suffix}"]
    assert written_in(tmp_path / f"a.partial.{suffix}") == whole


async def test_a_run_interrupted_before_anything_was_said_leaves_nothing(tmp_path: Path) -> None:
    async with Harness(SUBTITLE_SINK, path=str(tmp_path / "a.vtt")):
        pass
    assert names(tmp_path) == []


async def test_it_can_start_again_after_stop(tmp_path: Path) -> None:
    async with Harness(SUBTITLE_SINK, path=str(tmp_path / "a.srt")) as harness:
        await harness.push(said(1, 0, 9, "One."), said(2, 9, 10, "Two."))
        await harness.element.stop()
        await harness.element.start()
        await harness.push(said(3, 1, 2, "Three."))
        await harness.eos()
    assert (tmp_path / "a.srt").read_text() == "1\n00:00:01,000 --> 00:00:02,000\nThree.\n\n"


async def test_a_skipped_utterance_is_left_out(tmp_path: Path) -> None:
    async with Harness(SUBTITLE_SINK, path=str(tmp_path / "a.srt")) as harness:
        await harness.push(said(1, 0, 1, "One."), said(2, 1, 2, "Two."))
        harness.element.reset(2)
        harness.element.reset(1)
        await harness.eos()
    assert (tmp_path / "a.srt").read_text() == "1\n00:00:00,000 --> 00:00:01,000\nOne.\n\n"


async def test_audio_is_ignored(tmp_path: Path) -> None:
    assert await save(tmp_path / "a.srt", tone(0.1)) == ""


# --- two languages ----------------------------------------------------------------------------------------------------

LONG_EN = (
    "We came to the city late in the evening, when all the shops were already closed. So we had to go to the "
    "restaurant of the hotel, which was very expensive and not very tasty, but warm and light."
)


def joined(lines: Iterable[tuple[str, ...]]) -> str:
    return " ".join(line for cue in lines for line in cue)


def test_both_languages_of_a_cue_say_the_same() -> None:
    cues = break_texts(LONG, LONG_EN, LAYOUT)
    assert joined(a for a, _ in cues) == LONG
    assert joined(b for _, b in cues) == LONG_EN
    assert cues[0] == (
        ("Мы приехали в город поздно вечером,", "когда все магазины были уже закрыты."),
        ("We came to the city late in the evening,", "when all the shops were already closed."),
    )


def test_a_short_text_beside_a_long_one_is_spread_over_its_cues() -> None:
    cues = break_texts(LONG, "Late; closed. We ate badly, but warm.", LAYOUT)
    assert len(cues) == len(break_text(LONG, LAYOUT))
    assert cues[0][1] == ("Late; closed.",)
    assert joined(below for _, below in cues) == "Late; closed. We ate badly, but warm."
    flipped = break_texts("Late; closed. We ate badly, but warm.", LONG, LAYOUT)
    assert flipped == [(below, above) for above, below in cues]


@given(texts, texts, layouts)
def test_two_texts_fit_and_lose_nothing(text: str, below: str, layout: Layout) -> None:
    cues = break_texts(text, below, layout)
    for number, whole in enumerate((text, below)):
        mine = [cue[number] for cue in cues]
        assert all(len(lines) <= layout.max_lines for lines in mine)
        assert all(1 <= len(line) <= layout.max_chars_per_line for lines in mine for line in lines)
        assert "".join(line for lines in mine for line in lines).replace(" ", "") == on_one_line(whole).replace(" ", "")
    assert len(cues) == max(len(break_text(text, layout)), len(break_text(below, layout)))
    assert all(above or under for above, under in cues)


def test_words_that_do_not_pack_are_cut_all_the_same() -> None:
    """One text whose words fill lines badly in its first half, far from where they stand in the other."""
    bad = " ".join(["x" * 22] * 40 + ["y"] * 440)
    even = " ".join(["слово"] * 360)
    cues = break_texts(bad, even, LAYOUT)
    assert joined(a for a, _ in cues) == bad
    assert all(len(lines) <= 2 for cue in cues for lines in cue)


async def test_a_bilingual_file(tmp_path: Path) -> None:
    frames = [
        said(1, 1, 3, "Привет, мир!", source_text="Hello & <b>welcome</b>"),
        said(2, 4, 5, "Да.", source_text=None),
        said(3, 6, 7, "", source_text="unsure", rejected="low confidence"),
        said(4, 8, 9, "", part=1, source_text="and so on"),
    ]
    assert await save(tmp_path / "1" / "a.srt", *frames, show="both") == (
        "1\n00:00:01,000 --> 00:00:03,000\nПривет, мир!\n<i>Hello & <b>welcome</b></i>\n\n"
        "2\n00:00:04,000 --> 00:00:05,000\nДа.\n\n"
        "3\n00:00:08,000 --> 00:00:09,000\n<i>and so on</i>\n\n"
    )
    assert await save(tmp_path / "2" / "a.vtt", *frames, show="both") == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\nПривет, мир!\n<i>Hello &amp; &lt;b&gt;welcome&lt;/b&gt;</i>\n\n"
        "00:00:04.000 --> 00:00:05.000\nДа.\n\n"
        "00:00:08.000 --> 00:00:09.000\n<i>and so on</i>\n\n"
    )
    assert await save(tmp_path / "3" / "a.srt", *frames, show="source") == (
        "1\n00:00:01,000 --> 00:00:03,000\nHello & <b>welcome</b>\n\n2\n00:00:08,000 --> 00:00:09,000\nand so on\n\n"
    )


@pytest.mark.parametrize(
    ("show", "asked", "warned"), [("both", False, 1), ("both", True, 0), ("translation", False, 0)]
)
async def test_a_translator_that_was_not_asked_for_the_source_is_told_of(
    tmp_path: Path, show: str, asked: bool, warned: int
) -> None:
    async with Harness(SUBTITLE_SINK, path=str(tmp_path / "a.srt"), show=show) as harness:
        await harness.push(said(1, 1, 3, "Привет", source_text="Hello" if asked else None))
        await harness.eos()
        told = [message.text for message in harness.messages if isinstance(message, WarningMessage)]
    assert len(told) == warned
    assert all("transcript: true" in text for text in told)
