"""Captions as text to which is only ever appended."""

from __future__ import annotations

import doctest
import random
from typing import Any

import pytest

from tolmach.web.doors.openai.realtime import choice, deltas
from tolmach.web.doors.openai.realtime.deltas import Deltas


def caption(text: str, utterance: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "utterance": utterance,
        "target_lang": "ru",
        "source_lang": "en",
        "engine": "e",
        "part": 0,
        "text": text,
        "source_text": None,
        "final": True,
        "replayed": False,
        **fields,
    }


def said(*captions: dict[str, Any]) -> str:
    transcript = Deltas()
    fragments = [transcript.add(each) for each in captions]
    return "".join(fragment.translation for fragment in fragments if fragment is not None)


@pytest.mark.parametrize("module", [deltas, choice])
def test_the_examples_are_true(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def test_what_may_still_change_is_not_said() -> None:
    growing = [caption(text, final=False) for text in ("Добр", "Доброе", "Доброе утро")]
    assert said(*growing) == ""
    assert said(*growing, caption("Доброе утро.")) == "Доброе утро."


def test_parts_and_utterances_follow_each_other_with_one_space() -> None:
    heard = [
        caption("Мне нужен номер", part=0, more=True),
        caption(", на три ночи", part=1, more=True),
        caption("", part=2),
        caption("Спасибо.", 2),
    ]
    assert said(*heard) == "Мне нужен номер, на три ночи Спасибо."


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["你好。", "早上好。"], "你好。早上好。"),
        (["おはよう", "ございます"], "おはようございます"),
        (["สวัสดี", "ครับ"], "สวัสดีครับ"),
        (["안녕하세요.", "네."], "안녕하세요. 네."),
        (["你好。", "Hello."], "你好。 Hello."),
        (["Hello", "—", "yes"], "Hello — yes"),
        (["Hello", "!"], "Hello!"),
    ],
)
def test_scripts_without_spaces_get_none(texts: list[str], whole: str) -> None:
    assert said(*(caption(text, number) for number, text in enumerate(texts))) == whole


def test_a_caption_that_is_told_again_adds_nothing() -> None:
    once = caption("Да.")
    assert said(once, {**once, "unspoken": True}, {**once, "replayed": True}) == "Да."


def test_of_two_translators_the_first_is_heard_through() -> None:
    heard = [
        caption("Да", engine="a", part=0, more=True),
        caption("Ja", engine="b", target_lang="de"),
        caption("конечно.", engine="a", part=1),
        caption("Ja.", 2, engine="b", target_lang="de"),
    ]
    assert said(*heard) == "Да конечно. Ja."


def test_what_was_understood_has_a_text_of_its_own() -> None:
    transcript = Deltas()
    first = transcript.add(caption("Да.", source_text=" Yes. "))
    second = transcript.add(caption("", 2, source_text="No.", rejected="not in the phrasebook"))
    assert first is not None
    assert second is not None
    assert (first.source + second.source, second.translation) == ("Yes. No.", "")
    assert transcript.add(caption("", 3, rejected="no speech")) is None


def test_a_day_of_captions_is_remembered_no_longer_than_needed() -> None:
    transcript, chance = Deltas(), random.Random(1)
    for utterance in range(5_000):
        for part in range(chance.randrange(4)):
            transcript.add(caption("слово", utterance, part=part))
    assert len(transcript._translators) <= 200
    assert len(transcript._said) <= 800
