"""Russian numerals: cardinals, ordinals and decimal fractions in words, in the case and gender asked for.

num2words declines the number itself; which case and gender are right is chosen by those who call.
"""

from __future__ import annotations

from typing import Literal

from num2words import num2words

from tolmach.processors.text_normalization.common import value_of_digits

Case = Literal["n", "g", "d", "a", "i", "p"]
"""Nominative, genitive, dative, accusative, instrumental, prepositional; num2words' letters."""

Gender = Literal["m", "f", "n"]

_DIGITS = "ноль один два три четыре пять шесть семь восемь девять".split()  # noqa: SIM905
_PARTS = {1: "десят", 2: "сот", 3: "тысячн", 4: "десятитысячн", 5: "стотысячн", 6: "миллионн"}


def digits(number: str) -> str:
    """A run of digits one by one: ``007`` → ноль ноль семь."""
    return " ".join(_DIGITS[int(digit)] for digit in number)


def cardinal(number: str, case: Case = "n", gender: Gender = "m") -> str:
    """A run of digits as a number; leading zeros, and runs longer than any number people name, digit by digit."""
    value = value_of_digits(number)
    if value is None:
        zeros = len(number) - len(number.lstrip("0"))
        if 0 < zeros < len(number) <= 4:
            return f"{digits(number[:zeros])} {cardinal(number[zeros:], case, gender)}"
        return digits(number)
    # The gender is that of the counted things, which thousands and millions have of their own.
    gender = gender if value % 10 in (1, 2) and value % 100 not in (11, 12) else "m"
    return _fix(num2words(value, lang="ru", case=case, gender=gender)) if value < 1000 else _large(value, case, gender)


def _large(value: int, case: Case, gender: Gender) -> str:
    # num2words gives the gender to the millions too ("две миллиона"), so the last three digits go separately.
    head, tail = value - value % 1000, value % 1000
    words = _fix(num2words(head, lang="ru", case=case))
    return f"{words} {_fix(num2words(tail, lang='ru', case=case, gender=gender))}" if tail else words


def ordinal(number: int, case: Case = "n", gender: Gender = "m", *, plural: bool = False) -> str:
    """Which one: 5 → пятый, пятого, пятая, пятые."""
    return _fix(num2words(number, lang="ru", to="ordinal", case=case, gender=gender, plural=plural, animate=False))


def decimal(whole: str, fraction: str) -> str:
    """A decimal fraction: 3,14 → три целых четырнадцать сотых."""
    if len(fraction) not in _PARTS or value_of_digits(whole) is None:
        return f"{cardinal(whole)} запятая {digits(fraction)}"
    parts = _PARTS[len(fraction)] + agree(int(fraction), "ая", "ых", "ых")
    integers = agree(int(whole), "целая", "целых", "целых")
    return f"{cardinal(whole, gender='f')} {integers} {cardinal(str(int(fraction)), gender='f')} {parts}"


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


def _fix(words: str) -> str:
    return words.removeprefix("одна ") if words.startswith("одна тысяча") else words
