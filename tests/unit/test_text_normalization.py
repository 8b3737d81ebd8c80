"""What a Silero model is given to read: nothing is lost, and it is said as people say it."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tolmach.processors.text_normalization import fit_symbols, prepare

RUSSIAN_SYMBOLS = "_~абвгдеёжзийклмнопрстуфхцчшщъыьэюя +.,!?…:;–"
ENGLISH_SYMBOLS = "_~abcdefghijklmnopqrstuvwxyz .,!?…:;–"

RUSSIAN = {
    # numbers: agreement, case, decimals, digit by digit
    "2 книги, 2 стола, 22 недели": "две книги, два стола, двадцать две недели",
    "1 час, 1 минута, 21 окно": "один час, одна минута, двадцать одно окно",
    "в 2 минутах от 5 до 10, к 5 часам": "в двух минутах от пяти до десяти, к пяти часам",
    "около 21 дня": "около двадцати одного дня",
    "3,14 и 2.5, 0,001": "три целых четырнадцать сотых и две целых пять десятых, ноль целых одна тысячная",
    "1 000 000 и 1,000,000 людей": "один миллион и один миллион людей",
    "2 000 000": "два миллиона",
    "007": "ноль ноль семь",
    "код 1234567890123456": "код один два три четыре пять шесть семь восемь девять ноль один два три четыре пять шесть",
    "10-15 человек": "десять – пятнадцать человек",
    "-5 и 3": "минус пять и три",
    "1/2, ½, 2/3, 24/7": "одна вторая, одна вторая, две трети, двадцать четыре на семь",
    "версия 1.2.3": "версия один точка два точка три",
    # ordinals
    "с 5-й платформы на 7-е место": "с пятой платформы на седьмое место",
    "5-й дом, 3-я улица, 2-го мая": "пятый дом, третья улица, второго мая",
    "в 90-е годы, 1990-х": "в девяностые годы, тысяча девятьсот девяностых",
    "5-этажный, 100-процентный": "пятиэтажный, стопроцентный",
    "из 2-х и 5-ти": "из двух и пяти",
    "1000-летие, приказ 12-а": "тысячелетие, приказ двенадцать а",
    "XVIII–XIX веков, глава IV": "восемнадцатого – девятнадцатого веков, глава четвёртая",
    "XIX век, в XXI веке, Екатерина II": "девятнадцатый век, в двадцать первом веке, екатерина вторая",
    # dates, times, telephones
    "в 14:30 и в 9:05, 18:00": "в четырнадцать тридцать и в девять ноль пять, восемнадцать ноль ноль",
    "12.05.2024": "двенадцатого мая две тысячи двадцать четвёртого года",
    "2024-05-12": "двенадцатого мая две тысячи двадцать четвёртого года",
    "9 мая 1945 года": "девятого мая тысяча девятьсот сорок пятого года",
    "в 2023 году и в 2024 г. было": "в две тысячи двадцать третьем году и в две тысячи двадцать четвёртом году было",
    "с 1 по 5 мая, 3-4 июня": "с первого по пятое мая, третьего – четвёртого июня",
    "с 2019 по 2021 год": "с две тысячи девятнадцатого по две тысячи двадцать первый год",
    "В 2020-2021 гг. шло": "в две тысячи двадцатом – две тысячи двадцать первом годах шло",
    "на 2023 г.": "на две тысячи двадцать третий год",
    "к 2030 году": "к две тысячи тридцатому году",
    "счёт 3:2": "счёт три два",
    "99.99.2024": "девяносто девять точка девяносто девять точка две тысячи двадцать четыре",
    "+7 912 345-67-89": "плюс семь девятьсот двенадцать триста сорок пять шестьдесят семь восемьдесят девять",
    # money, units, per cent
    "5% и 3,5 %, 21%": "пять процентов и три целых пять десятых процента, двадцать один процент",
    "$100, €5,50, 1 ₽": "сто долларов, пять евро пятьдесят центов, один рубль",
    "$5 млн и 2 тыс. руб. за всё": "пять миллионов долларов и две тысячи рублей за всё",
    "60 км/ч, 5 кг, 50 м²": "шестьдесят километров в час, пять килограммов, пятьдесят квадратных метров",
    "до 50%, около 1 кг": "до пятидесяти процентов, около одного килограмма",
    "-5 °C": "минус пять градусов цельсия",
    "Вес 5 кг. Рост 2 м.": "вес пять килограммов. рост два метра.",
    "№5, §3": "номер пять, параграф три",
    # abbreviations
    "т.е. хлеб и т.д. и т. п.": "то есть хлеб и так далее и тому подобное.",
    "ул. Ленина, д. 5, кв. 12": "улица ленина, дом пять, квартира двенадцать",
    "А. С. Пушкин": "а эс пушкин",
    "СССР, США, НАТО": "эс-эс-эс-эр, сэ-шэ-а, нато",
    "ВНИМАНИЕ! ГДЕ ФСБ?": "внимание! где эф-эс-бэ?",
    # Latin and other letters
    "USB-кабель и Wi-Fi": "ю-эс-би кабель и вай-фай",
    "Google, YouTube, iPhone 15": "гугл, ютуб, айфон пятнадцать",
    "Manchester, Steve, Mike, café": "манчестер, стив, майк, кафе",
    "COVID-19, MP3, 5G": "ковид девятнадцать, эм-пи три, пять джи",
    "info@example.com": "инфо собака экзампл точка ком",
    "O'Neil, Łódź, π": "онейл, лодз, пи",
    "Київ, Қазақстан": "кийив, казакстан",
    # signs
    "C#, .NET, А4": "си-шарп, точка нет, а четыре",
    "Пункт 2.1": "пункт два точка один",
    "2+2=4, A&B": "два плюс два равно четыре, эй и би",
    "за́мок и замо́к": "з+амок и зам+ок",
    "всё ещё": "всё ещё",
    "«Кто-то» (он) — там…": "кто-то, он, там…",
    "Ура!!! 😀 Да?!": "ура! да?!",
    "- Да - нет": "да – нет",
    "Да.Нет,но": "да. нет, но",
}

ENGLISH = {
    "In 2024, 1250 people": "in twenty twenty-four, one thousand two hundred and fifty people",
    "$1,250.50 and £1": "one thousand two hundred and fifty dollars fifty cents and one pound",
    "at 14:30, 10:05 am and 5 pm": "at fourteen thirty, ten oh five ay em and five pee em",
    "May 12, 2024; 2024-05-12": "may twelfth, twenty twenty-four; may twelfth twenty twenty-four",
    "the 21st of the 1990s": "the twenty-first of the nineteen nineties",
    "3.5% of 1 km, 20°C": "three point five percent of one kilometer, twenty degrees celsius",
    "+1 555 123-4567": "plus one, five five five, one two three, four five six seven",
    "from 1999 to 2005, 3:2": "from nineteen ninety-nine to two thousand and five, three to two",
    "J. R. Smith, Ph.D., in the '90s": "jay ar smith, pee aitch dee, in the nineties",
    "Mr. Smith, e.g. Dr. No.": "mister smith, for example doctor no.",
    "USB, HTML and NATO in the U.S.A.": "you ess bee, aitch tee em el and nato in the you ess ay",
    "A & B, 2+2=4, #1": "a and b, two plus two equals four, number one",
    "Нижний Новгород": "nizhniy novgorod",
    "don't, naïve, Łódź": "don't, naive, lodz",
    "info@example.com": "info at example dot com",
    "007 -5 10-15": "zero zero seven minus five ten to fifteen",
}


@pytest.mark.parametrize(("text", "spoken"), RUSSIAN.items())
def test_russian_is_said_as_people_say_it(text: str, spoken: str) -> None:
    prepared = prepare(text, "ru")
    assert (prepared.text, prepared.lost) == (spoken, "")


@pytest.mark.parametrize(("text", "spoken"), ENGLISH.items())
def test_english_is_said_as_people_say_it(text: str, spoken: str) -> None:
    prepared = prepare(text, "en")
    assert (prepared.text, prepared.lost) == (spoken, "")


def test_letters_nobody_can_say_are_named() -> None:
    assert prepare("Город 北京, ok", "ru").lost == "北京"
    assert prepare("the word שלום", "en").lost == "שלום"


def test_other_languages_get_their_numbers() -> None:
    assert prepare("Hallo, 5 Leute & ich!", "de").text == "hallo, fünf leute und ich!"
    assert prepare("5 5", "tlh").lost == "55"


def test_a_models_own_symbols_are_the_last_word() -> None:
    fitted = fit_symbols("кто-то ещё – з+амок…", "абвгдежзийклмнопрстуфхцчшщъыьэюя .,")
    assert (fitted.text, fitted.lost) == ("кто то еще , замок.", "")
    assert fit_symbols("щука", "абвук ").lost == "щ"
    assert fit_symbols("as it is", None).text == "as it is"


# Properties --------------------------------------------------------------------------------------------------------

ANYTHING = st.text(max_size=120)
SAMPLES = (
    "5 5-й 12.05.2024 99.99.9999 14:30 29:99 1.2.3.4 +7 912 345-67-89 № $ €5 % км/ч 5кг °C т.е. и т.д. г. 2024 г. IV "
    "USB iPhone Wi-Fi a@b.co https://x.yz/a?b=1 -- … ... «» () ' ё ́ 😀 + = / \\ | _ * # @ ² ½ ٣ ５ Ⅳ 一 ß π Ї x̌ "
    "1,000 1 000 000 1e5 0x1F А. С. СССР"
)
NASTY = st.lists(st.sampled_from(SAMPLES.split(" ")), max_size=12).map(" ".join) | st.lists(
    st.sampled_from("0123456789.,:-–/+%$№ гкмтеидAaЯя'"), max_size=25
).map("".join)
TEXTS = ANYTHING | NASTY


def check_nothing_is_lost(text: str, lang: str, symbols: str, ours: str) -> None:
    prepared = prepare(text, lang)
    allowed = set(symbols) | set("-+'")
    assert set(prepared.text) <= allowed, set(prepared.text) - allowed
    assert not re.search(r"\s\s|^\s|\s$", prepared.text)
    for char in prepared.lost:
        names = {unicodedata.name(c, "").split(" ")[0] for c in unicodedata.normalize("NFKD", char)}
        assert not names & {"LATIN", "CYRILLIC", "DIGIT", "GREEK"}, char
    if any((c.isascii() and c.isalnum()) or c.lower() in ours for c in text):
        assert any(c.isalpha() for c in prepared.text)


@given(TEXTS)
@example("12.05.2024г.")
@example("1" * 400)
def test_russian_never_loses_a_digit_or_a_letter(text: str) -> None:
    check_nothing_is_lost(text, "ru", RUSSIAN_SYMBOLS, "абвгдежзийклмнопрстуфхцчшщыэюя")


@given(TEXTS)
@example("1" * 400)
def test_english_never_loses_a_digit_or_a_letter(text: str) -> None:
    check_nothing_is_lost(text, "en", ENGLISH_SYMBOLS, "abcdefghijklmnopqrstuvwxyz")


WORDS = st.from_regex(
    r"[а-яё]{1,8}|[A-Za-z]{1,8}|[А-Я][а-я]{1,6}|\d{1,5}|\d{1,3},\d|\d{1,2}%|\d{1,2}-й|USB|№\d", fullmatch=True
)


@given(st.lists(WORDS, min_size=1, max_size=8), st.data())
@pytest.mark.parametrize("lang", ["ru", "en"])
def test_every_word_is_heard(lang: str, words: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(words) - 1))
    assume(any(c not in "ъь" for c in words[at]))
    without = words[:at] + words[at + 1 :]
    assert len(prepare(" ".join(words), lang).text) != 0
    assert prepare(" ".join(words), lang).text != prepare(" ".join(without), lang).text


@given(st.lists(WORDS, min_size=1, max_size=8))
@pytest.mark.parametrize("lang", ["ru", "en"])
def test_a_prepared_text_is_prepared(lang: str, words: list[str]) -> None:
    once = prepare(" ".join(words), lang).text
    assume("+" not in once)
    assert prepare(once, lang).text == once


@pytest.mark.parametrize(
    "unit", ["0", "1,", "1 ", "1.", "a.", "a-", "a@", "А. ", "(", ", ", "-", " - ", "1-", "+7 ", "т.", "$", "x:"]
)
def test_time_grows_no_faster_than_the_text(unit: str) -> None:
    # A quadratic pattern would try 10^8 places here, and hang the suite.
    for lang in ("ru", "en"):
        assert not re.search("[0-9А-Я]", prepare(unit * (20_000 // len(unit)), lang).text)
