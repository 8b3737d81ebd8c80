"""Russian numbers are read in the case and gender that their sentence wants: a table for linguists, and the grammar."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.processors.text_normalization import prepare
from tolmach.processors.text_normalization.russian.agreement import Reading, agreement
from tolmach.processors.text_normalization.russian.numerals import CASES, cardinal, decimal, fraction, ordinal
from tolmach.tests.readings import TABLES, cases, same_reading

TABLE = list(cases(TABLES / "ru_numbers.tsv"))


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in TABLE}))
def test_a_number_agrees_with_its_sentence(kind: str) -> None:
    wrong = []
    for _, written, right in (case for case in TABLE if case[0] == kind):
        prepared = prepare(written, "ru")
        if prepared.lost or not any(same_reading(prepared.text, reading, "ru") for reading in right):
            wrong.append(f"{written}\n    read:  {prepared.text}\n    right: {' | '.join(right)}")
        assert prepare(prepared.text, "ru").text == prepared.text
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("number", "words"),
    {
        "0": "ноль нуля нулю ноль нулём нуле",
        "1": "один одного одному один одним одном",
        "2": "два двух двум два двумя двух",
        "5": "пять пяти пяти пять пятью пяти",
        "8": "восемь восьми восьми восемь восемью восьми",
        "40": "сорок сорока сорока сорок сорока сорока",
        "50": "пятьдесят пятидесяти пятидесяти пятьдесят пятьюдесятью пятидесяти",
        "90": "девяносто девяноста девяноста девяносто девяноста девяноста",
        "100": "сто ста ста сто ста ста",
        "200": "двести двухсот двумстам двести двумястами двухстах",
        "500": "пятьсот пятисот пятистам пятьсот пятьюстами пятистах",
        "1000": "тысяча тысячи тысяче тысячу тысячей тысяче",
        "1000000": "один_миллион одного_миллиона одному_миллиону один_миллион одним_миллионом одном_миллионе",
    }.items(),
)
def test_numerals_are_declined(number: str, words: str) -> None:
    assert [cardinal(number, case).replace(" ", "_") for case in CASES] == words.split()


def test_gender_and_life_are_heard_where_russian_has_them() -> None:
    assert cardinal("21", "a", "f") == "двадцать одну"
    assert cardinal("2", "a", "f", animate=True) == "двух"
    assert cardinal("22", "a", "m", animate=True) == "двадцать двух"
    assert cardinal("2002", "a", "f") == "две тысячи две"
    assert cardinal("2000000", "n", "f") == "два миллиона"
    assert ordinal(3, "a", "f") == "третью"
    assert ordinal(1, "a", "m", animate=True) == "первого"
    assert decimal("1", "5", "a") == "одну целую пять десятых"
    assert decimal("2", "25", "d") == "двум целым двадцати пяти сотым"
    assert fraction(2, 3, "g") == "двух третей"
    assert fraction(5, 6) == "пять шестых"


def test_what_a_sentence_says_of_a_number() -> None:
    assert agreement("Мы живём на ", 3, " этаже.") == Reading("ordinal", "p", "m", governed=("a", "p"))
    assert agreement("Не хватает ", 5, " рублей").case == "g"
    assert agreement("Он пригласил ", 2, " девушек").say("2") == "двух"
    assert agreement("У них ", 2, " детей").say("2") == "двое"
    assert agreement("", 7, "").say("007") == "ноль ноль семь"


WORDS = (
    "нет не хватает до от с по в на к о за и или дом девушек этаже класса книгу рублей людьми ряду 2 3,5 21 1000 1/2 "
    "5-10 5-й 10% $5 7 кг , – новых последние больше чем часть минут"
)


@given(st.lists(st.sampled_from(WORDS.split()), max_size=14).map(" ".join))
def test_no_sentence_is_too_odd(text: str) -> None:
    prepared = prepare(text, "ru")
    assert not any(char.isdigit() for char in prepared.text)
    assert prepared.lost == ""
    assert prepare(prepared.text, "ru").text == prepared.text


def test_the_dictionary_waits_for_the_first_number() -> None:
    program = (
        "import sys; from tolmach.processors.text_normalization import prepare; import tolmach.processors.silero.spec\n"
        "assert 'pymorphy3' not in sys.modules; prepare('Добрый день', 'ru'); assert 'pymorphy3' not in sys.modules\n"
        "assert prepare('5 дней', 'ru').text == 'пять дней' and 'pymorphy3' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
