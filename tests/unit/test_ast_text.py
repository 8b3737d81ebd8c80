"""What is wrong with a text whatever engine it came from."""

from __future__ import annotations

import pytest

from tolmach.processors.ast.text import compression_ratio, without_tokens

RUSSIAN = (
    "Сегодня утром я проснулся раньше обычного и решил пойти пешком на работу, потому что погода была замечательная. "
    "По дороге я встретил своего старого друга, с которым мы вместе учились в университете много лет назад. Мы зашли в "
    "небольшое кафе, выпили по чашке кофе и долго вспоминали наши студенческие годы, преподавателей и весёлые истории "
    "из общежития. Потом он рассказал мне о своей новой работе в другом городе, о семье и о планах на будущее. Я тоже "
    "поделился новостями и пригласил его в гости на выходные. Когда мы расстались, часы показывали уже половину "
    "десятого, и мне пришлось взять такси, чтобы не опоздать на важное совещание."
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<|endoftext|> С", "С"),
        ("Где<|spltoken12|> вокзал?", "Где вокзал?"),
        (" a <unk> b ⁇ ", "a b"),
        ("<|0.00|> Hello.<|2.40|>", "Hello."),
        ("<|nospeech|>", ""),
        ("  two  spaces stay ", "two  spaces stay"),
        ("if a < b and c > d | e", "if a < b and c > d | e"),
        ("Really??", "Really??"),
    ],
)
def test_tokens_are_no_text(text: str, clean: str):
    assert without_tokens(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Да, да, да, да, да!",
        "No, no, no, no, no, no.",
        "один, два, три, четыре, пять, шесть, семь, восемь, девять, десять",
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
        "ноль ноль семь, ноль ноль семь, ноль ноль семь",
        "我们今天早上去了学校，然后在图书馆里读了一本关于历史的书，下午和朋友一起打篮球。",
        RUSSIAN[:50],
        RUSSIAN[:300],
        RUSSIAN,
    ],
)
def test_what_people_say_does_not_repeat_itself(text: str):
    assert compression_ratio(text) < 2.0


@pytest.mark.parametrize(
    "text",
    [
        "the train leaves " * 12,
        "поезд уходит в " * 12,
        "ы" * 60,
        RUSSIAN[:200] + "и потом мы пошли домой " * 11,
        RUSSIAN + "и потом " * 31,
        "我们去学校" * 20,
    ],
)
def test_a_loop_does_also_behind_a_good_beginning(text: str):
    assert compression_ratio(text) > 2.4
