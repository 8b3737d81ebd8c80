"""What holds for a text in any language: no digit is lost, only letters come out, twice is once, and it never fails."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tolmach.processors.text_normalization import prepare
from tolmach.processors.text_normalization.common import PUNCTUATION

CANARY = "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk".split()  # noqa: SIM905
IN_FULL = ("en", "ru", "de", "es", "fr", "uk")

SAMPLES = (
    "5|5-й|12.05.2024|99.99.9999|14:30|29:99|1.2.3.4|+7 912 345-67-89|№ 5|$ 5|€5,50|1 250,50 €|$1,250.50|5%|90 km/h|5 "
    "кг|"
    "20 °C|т.е.|и т.д.|2024 г.|IV|Elizabeth II|USB|iPhone 15|Wi-Fi|a1@b.co|https://x.yz/a?b=1|--|…|...|«»|()|'|ё|́|😀|"
    "+|=|/|"
    "\\|_|*|#1|@me2|²|m³|½|2½|٣|５|Ⅳ|一|ß|π|Ї|x̌|1,000|1.000|1 000 000|1e5|0x1F|А. С.|СССР|1st|21st|3.|3.º|1er|2e|5-го|"
    "18e|"
    "am 3. Mai|el 1 de mayo|le 1er mai|3 травня 2024 р.|1990s|'90s|10-20|1941–1945|3:1|1/2|3 1/2|24/7|MP3|COVID-19|5G|"
    "007|"
    "5 ft 10 in|6'2\"|§ 3|No. 5|Nr. 5|n.º 5|n° 5|ст. 5|z. B.|z.B.|p. ex.|p. ej.|Dr.|St.|-5|− 5|.5|5.|,5|1,|$|€|1$1|"
    "1€1|5%5"
)
NASTY = st.lists(st.sampled_from(SAMPLES.split("|")), max_size=8).map(" ".join) | st.lists(
    st.sampled_from("0123456789.,:-–/+%$€№ гкмтеидAaЯяIVX'º°\"mhk"), max_size=25
).map("".join)
TEXTS = st.text(max_size=80) | NASTY


def letters_of(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


@pytest.mark.parametrize("lang", CANARY)
@settings(max_examples=40)
@given(TEXTS)
@example("1" * 400)
@example("0,5 0.5 -0 00 1.000.000 ٣ ５ ² ½ Ⅳ 1Ⅳ ①")
def test_no_digit_is_lost_and_nothing_but_words_comes_out(lang: str, text: str) -> None:
    prepared = prepare(text, lang)
    assert not re.search(r"\d", prepared.text)
    assert not any(c.isdigit() for c in prepared.lost), prepared
    assert not re.search(r"\s\s|^\s|\s$", prepared.text)
    allowed = {c for c in prepared.text if not (c.isalpha() or unicodedata.category(c)[0] == "M")}
    assert allowed <= set(PUNCTUATION + " '+"), allowed
    if any(c.isdigit() for c in text):
        assert letters_of(prepared.text)


@pytest.mark.parametrize("lang", IN_FULL)
@settings(max_examples=40)
@given(NASTY)
def test_what_has_been_prepared_stays(lang: str, text: str) -> None:
    once = prepare(text, lang).text
    if "+" not in once:
        assert prepare(once, lang).text == once


@pytest.mark.parametrize("lang", IN_FULL)
@pytest.mark.parametrize("number", ["7", "17", "23", "100", "1999", "2 000", "45,5", "1234567"])
def test_every_number_is_heard(lang: str, number: str) -> None:
    with_it, without = (prepare(f"abc {middle} def", lang).text for middle in (number, ""))
    assert with_it != without
    heard = {prepare(f"abc {n} def", lang).text for n in ("7", "17", "23", "100", "1999", "45,5", "1234567")}
    assert len(heard) == 7


@pytest.mark.parametrize("lang", ["de", "uk"])
@pytest.mark.parametrize("unit", ["0", "1.", "1 ", "$1", "+7 ", "x:"])
def test_time_grows_no_faster_than_the_text(lang: str, unit: str) -> None:
    # A quadratic pattern would try 10^8 places here, and hang the suite (en and ru: test_text_normalization).
    assert not re.search(r"\d", prepare(unit * (10_000 // len(unit)), lang).text)


@pytest.mark.parametrize("lang", IN_FULL)
def test_a_regional_code_is_the_language(lang: str) -> None:
    assert prepare("5 km", f"{lang}-XX") == prepare("5 km", lang)
