"""Russian numerals in words: cardinals, ordinals, collectives, decimals and fractions, in every case and gender.

num2words declines the numeral; what it gets wrong is mended here. Which case and gender a sentence wants is decided in
``agreement``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

from num2words import num2words

from tolmach.processors.text_normalization.common import value_of_digits

Case = Literal["n", "g", "d", "a", "i", "p"]
"""Nominative, genitive, dative, accusative, instrumental, prepositional; num2words' letters."""

Gender = Literal["m", "f", "n"]

CASES: tuple[Case, ...] = get_args(Case)

_DIGITS = "ноль один два три четыре пять шесть семь восемь девять".split()  # noqa: SIM905
_PARTS = {1: "десят", 2: "сот", 3: "тысячн", 4: "десятитысячн", 5: "стотысячн", 6: "миллионн"}


def digits(number: str) -> str:
    """A run of digits one by one: ``007`` → ноль ноль семь."""
    return " ".join(_DIGITS[int(digit)] for digit in number)


def cardinal(number: str, case: Case = "n", gender: Gender = "m", *, animate: bool = False) -> str:
    """A run of digits as a number; leading zeros, and runs longer than any number people name, digit by digit.

    Args:
        number: ASCII digits.
        case: The numeral's case.
        gender: Of what is counted; heard in 1 and 2 alone.
        animate: Whether living beings are counted; heard in the accusative alone (двух девушек, одного студента).
    """
    value = value_of_digits(number)
    if value is None:
        zeros = len(number) - len(number.lstrip("0"))
        if 0 < zeros < len(number) <= 4:
            return f"{digits(number[:zeros])} {cardinal(number[zeros:], case, gender, animate=animate)}"
        return digits(number)
    return _cardinal(value, case, gender, animate)


@lru_cache(maxsize=4096)
def _cardinal(value: int, case: Case, gender: Gender, animate: bool) -> str:
    # num2words gives gender and animacy to the millions too ("две миллиона", "двух тысячи"), so the last three digits
    # go separately.
    head, tail = value - value % 1000, value % 1000
    words = [_thousands(head, case)] if head else []
    if tail or not head:
        words.append(_below_thousand(tail, case, gender if tail % 10 in (1, 2) else "m", animate))
    return " ".join(words)


def _below_thousand(value: int, case: Case, gender: Gender, animate: bool) -> str:
    if value == 0:
        return {"n": "ноль", "g": "нуля", "d": "нулю", "a": "ноль", "i": "нулём", "p": "нуле"}[case]
    words: str = num2words(value, lang="ru", case=case, gender=gender, animate=animate)
    if case == "i" and value % 10 == 1 and value % 100 > 20:
        # People decline the last word alone when it is one (ADR 36): с двадцать одним участником.
        rest: str = num2words(value - 1, lang="ru")
        return f"{rest} {words.split()[-1]}"
    return words


def _thousands(value: int, case: Case) -> str:
    words: str = num2words(value, lang="ru", case=case, animate=False)
    first, _, rest = words.partition(" ")
    # "Тысяча рублей", not "одна тысяча рублей"; millions are counted.
    return rest if first in ("одна", "одной", "одну") and rest.startswith("тысяч") else words


def ordinal(number: int, case: Case = "n", gender: Gender = "m", *, plural: bool = False, animate: bool = False) -> str:
    """Which one: 5 → пятый, пятого, пятая, пятые."""
    return _ordinal(number, case, gender, plural, animate)


@lru_cache(maxsize=4096)
def _ordinal(number: int, case: Case, gender: Gender, plural: bool, animate: bool) -> str:
    words: str = num2words(number, lang="ru", to="ordinal", case=case, gender=gender, plural=plural, animate=animate)
    first, _, rest = words.partition(" ")
    return rest if first == "одна" and rest.startswith("тысяча") else words


def decimal(whole: str, fraction: str, case: Case = "n") -> str:
    """A decimal fraction: 3,14 → три целых четырнадцать сотых, трёх целых четырнадцати сотых."""
    if len(fraction) not in _PARTS or value_of_digits(whole) is None:
        return f"{cardinal(whole)} запятая {digits(fraction)}"
    parts = _PARTS[len(fraction)] + _ending(int(fraction), case)
    integers = "цел" + _ending(int(whole), case)
    return f"{cardinal(whole, case, 'f')} {integers} {cardinal(str(int(fraction)), case, 'f')} {parts}"


_ONE_PART: dict[Case, str] = {"n": "ая", "g": "ой", "d": "ой", "a": "ую", "i": "ой", "p": "ой"}
_PARTS_OF: dict[Case, str] = {"n": "ых", "g": "ых", "d": "ым", "a": "ых", "i": "ыми", "p": "ых"}


def _ending(count: int, case: Case) -> str:
    return agree(count, _ONE_PART[case], _PARTS_OF[case], _PARTS_OF[case])


def one_and_a_half(case: Case, gender: Gender) -> str:
    """1,5 before a noun: полтора литра, полторы тысячи, около полутора часов."""
    if case in ("n", "a"):
        return "полторы" if gender == "f" else "полтора"
    return "полутора"


_THIRDS: dict[int, dict[Case, tuple[str, str]]] = {
    3: {
        "n": ("треть", "трети"), "g": ("трети", "третей"), "d": ("трети", "третям"),
        "a": ("треть", "трети"), "i": ("третью", "третями"), "p": ("трети", "третях"),
    },
    4: {
        "n": ("четверть", "четверти"), "g": ("четверти", "четвертей"), "d": ("четверти", "четвертям"),
        "a": ("четверть", "четверти"), "i": ("четвертью", "четвертями"), "p": ("четверти", "четвертях"),
    },
}  # fmt: skip


def fraction(above: int, below: int, case: Case = "n") -> str:
    """A common fraction: 1/2 → одна вторая, 2/3 → две трети, около двух третей, 3/8 → три восьмых."""
    count = cardinal(str(above), case, "f")
    one = above % 10 == 1 and above % 100 != 11
    if below in _THIRDS:
        single, several = _THIRDS[below][case]
        if above % 10 in (0, 5, 6, 7, 8, 9) and case in ("n", "a"):
            several = _THIRDS[below]["g"][1]
        return f"{count} {single if one else several}"
    if one:
        return f"{count} {ordinal(below, case, 'f')}"
    return f"{count} {ordinal(below, 'g' if case in ('n', 'a') else case, plural=True)}"


_COLLECTIVE = {2: "двое", 3: "трое", 4: "четверо"}


def collective(value: int, case: Case, *, animate: bool) -> str | None:
    """Двое детей, трое суток; None where the language wants no collective (22, or a case in which it is not heard).

    Args:
        value: How many.
        case: The numeral's case.
        animate: In the accusative: воспитывает двоих детей, but купил двое ножниц.
    """
    if value not in _COLLECTIVE:
        return None
    if case == "n" or (case == "a" and not animate):
        return _COLLECTIVE[value]
    return {2: "двоих", 3: "троих", 4: "четверых"}[value] if case == "a" else None


def agree(count: int, one: str, few: str, many: str) -> str:
    """The form of a noun after a number: 1 час, 2 часа, 5 часов."""
    if count % 100 in (11, 12, 13, 14):
        return many
    return one if count % 10 == 1 else few if count % 10 in (2, 3, 4) else many


def first_of_compound(number: int) -> str:
    """The first part of a compound: 5 → пяти(этажный), 100 → сто(процентный)."""
    if number in (1, 1000):
        return "одно" if number == 1 else "тысяче"
    words = cardinal(str(number), "g").split()
    exceptions = {"ста": "сто", "девяноста": "девяносто", "одного": "одно"}
    return "".join(exceptions.get(word, word) for word in words)
