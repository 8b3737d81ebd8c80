"""Russian numbers in their context: case and gender from what stands around them; money, measures, fractions."""

from __future__ import annotations

import re
from typing import cast

from tolmach.processors.text_normalization.common import Match, Rule, value_of_digits
from tolmach.processors.text_normalization.russian_abbreviations import STOP
from tolmach.processors.text_normalization.russian_numerals import (
    Case,
    Gender,
    agree,
    cardinal,
    decimal,
    first_of_compound,
    ordinal,
)
from tolmach.processors.text_normalization.russian_units import BARE_UNITS, CURRENCIES, UNITS, Unit

_NUMBER = r"(?<!\d)(\d+)(?:[.,](\d+))?"


_ENDINGS: dict[str, tuple[Case, Gender, bool]] = (
    dict.fromkeys(("й", "ый", "ий", "ой"), ("n", "m", False))
    | dict.fromkeys(("я", "ая", "ья"), ("n", "f", False))
    | dict.fromkeys(("ое", "ье"), ("n", "n", False))
    | dict.fromkeys(("го", "ого", "его"), ("g", "m", False))
    | dict.fromkeys(("му", "ому", "ему"), ("d", "m", False))
    | dict.fromkeys(("м", "ом", "ем"), ("p", "m", False))
    | dict.fromkeys(("ым", "им"), ("i", "m", False))
    | dict.fromkeys(("ю", "ую", "ью"), ("a", "f", False))
    | dict.fromkeys(("ые", "ие", "ьи"), ("n", "m", True))
    | dict.fromkeys(("х", "ых", "их"), ("g", "m", True))
    | dict.fromkeys(("ми", "ыми", "ими"), ("i", "m", True))
)


def _with_ending(match: Match) -> str:
    number, ending, noun = match.group(1), match.group(2).lower(), match.group(3) or ""
    value = value_of_digits(number)
    if value is None:
        return f"{cardinal(number)} {ending}"
    if ending in ("х", "ех", "ёх") and value % 10 in (2, 3, 4) and value < 100:
        return cardinal(number, "g")
    if ending in ("ти", "и"):
        return cardinal(number, "g")
    if ending in ("мя", "ью"):
        return cardinal(number, "i")
    if ending == "й" and noun.endswith(("ы", "и", "е")):
        return ordinal(value, "g", "f")  # "с 5-й платформы"
    if ending == "е":
        # "90-е" are years, "5-е" is a place or a day.
        return ordinal(value, plural=True) if value % 10 == 0 and value > 9 else ordinal(value, gender="n")
    if ending in _ENDINGS:
        case, gender, plural = _ENDINGS[ending]
        return ordinal(value, case, gender, plural=plural)
    if value <= 1000 and len(ending) > 3:
        return f"{first_of_compound(value)}{ending}"
    return f"{cardinal(number)} {ending}"


def _money(sign: str, whole: str, fraction: str | None, scale: str | None) -> str:
    unit, hundredth = CURRENCIES[sign]
    if scale:
        return f"{_counted(whole, fraction, UNITS[scale])} {unit.many} "
    if fraction is None or len(fraction) != 2:
        return f"{_counted(whole, fraction, unit)} "
    cents = f" {_counted(str(int(fraction)), None, hundredth)}" if int(fraction) else ""
    return f"{_counted(whole, None, unit)}{cents} "


def _counted(whole: str, fraction: str | None, unit: Unit, case: Case = "n") -> str:
    if fraction is not None:
        return f"{decimal(whole, fraction)} {unit.few}"
    value = value_of_digits(whole)
    if value is None:
        return f"{cardinal(whole)} {unit.many}"
    number = cardinal(whole, case, unit.gender)
    if case == "g":  # "до одного процента", "до двух процентов"
        return f"{number} {agree(value, unit.few, unit.many, unit.many)}"
    return f"{number} {agree(value, unit.one, unit.few, unit.many)}"


def _measured(match: Match) -> str:
    before, whole, fraction, unit = match.group(1, 2, 3, 4)
    case = _case((before or "").strip().lower(), whole, "")
    return f"{before or ''}{_counted(whole, fraction, UNITS[unit], case)} "


def _fraction(match: Match) -> str:
    above, below = match.group(1, 2)
    if len(above) > 2 or len(below) > 2 or not 0 < int(above) < int(below) <= 10:
        return f"{cardinal(above)} дробь {cardinal(below)}"
    parts = ordinal(int(below), gender="f") if int(above) == 1 else ordinal(int(below), "g", plural=True)
    return f"{cardinal(above, gender='f')} {parts}"


_GENITIVE = ("от", "до", "около", "после", "более", "менее", "больше", "меньше", "свыше", "без", "для", "из")
_LOCATIVE = ("в", "во", "на", "о", "об", "при")


def _plain(match: Match) -> str:
    before, whole, fraction, after = match.group(1, 2, 3, 4)
    if fraction is not None:
        return f"{before or ''}{decimal(whole, fraction)}"
    case = _case((before or "").strip().lower(), whole, after or "")
    return f"{before or ''}{cardinal(whole, case, _gender(whole, after or '', case))}"


def _case(before: str, number: str, noun: str) -> Case:
    # The noun's plural ending tells most; else the preposition; "в 1 классе" has neither plural nor neuter.
    for endings, case in ((("ах", "ях"), "p"), (("ам", "ям"), "d"), (("ами", "ями"), "i")):
        if noun.endswith(endings):
            return cast("Case", case)
    if before in _LOCATIVE and number.endswith("1") and noun.endswith("е"):
        return "p"
    return "g" if before in _GENITIVE else "d" if before in ("к", "ко") else "n"


def _gender(number: str, noun: str, case: Case) -> Gender:
    # After 1 the noun's own ending tells; after 2 the genitive's does: две минуты, but два часа and два окна.
    if len(noun) < 3:  # a preposition
        return "m"
    feminine, neuter = (("а", "я"), ("о", "е")) if number.endswith("1") else (("ы", "и"), ())
    if case != "n":
        feminine, neuter = ("ы", "и"), ()
    return "f" if noun.endswith(feminine) else "n" if neuter and noun.endswith(neuter) else "m"


_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_CURRENCY = "[" + "".join(map(re.escape, CURRENCIES)) + "]"
_SCALE = "тыс|млн|млрд|трлн"

_NUMBERED = r"(?i:пункт|раздел|верси|параграф|таблиц|рисун|част|стать|глав)[а-яё]*\s"
"""What is followed by the number of a part, not by a decimal fraction."""


PART_RULES: tuple[Rule, ...] = (
    (
        re.compile(rf"(?<!\w)({_NUMBERED})(\d+)\.(\d+)(?![.,]?\d)"),
        lambda m: f"{m[1]}{cardinal(m[2])} точка {cardinal(m[3])}",
    ),
)
"""Numbers of parts, before anything takes them for dates."""

NUMBER_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<=\d)[ ](?=\d{3}(?!\d))(?<!\d{4} )"), ""),
    (
        re.compile(r"(?<![\d.,])\d{1,3}(?:([.,])\d{3})(?:\1\d{3})+(?![.,]?\d)"),
        lambda m: re.sub("[.,]", "", m.group()),
    ),
    (re.compile(r"(?<!\d)\d+(?:\.\d+){2,}"), lambda m: " точка ".join(map(cardinal, m.group().split(".")))),
    (re.compile(r"(?<![\w.,])(\d+)-([а-яёА-ЯЁ]+)(?=\s+([а-яё]+))?"), _with_ending),
    (re.compile(rf"({_CURRENCY})\s?{_NUMBER}(?:\s?({_SCALE}){STOP})?"), lambda m: _money(*m.group(1, 2, 3, 4))),
    (re.compile(rf"{_NUMBER}(?:\s?({_SCALE}){STOP})?\s?({_CURRENCY})"), lambda m: _money(*m.group(4, 1, 2, 3))),
    (re.compile(r"(?<![\w.,])(\d+)(?:[-–]| [-–] )(?=\d)"), lambda m: f"{cardinal(m[1])} – "),
    (re.compile(r"(?<![\w.,])-(?=\d)"), " минус "),
    (re.compile(rf"((?<!\w)(?:{'|'.join(_GENITIVE)})\s)?(?<![\d.,]){_NUMBER}\s?({_UNIT}){STOP}"), _measured),
    *BARE_UNITS,
    (re.compile(r"(?<![\d.,/])(\d+)\s?/\s?(\d+)(?![\d/]|[.,]\d)"), _fraction),
    (re.compile(r"(?<=\d)\s?/\s?(?=\d)"), " дробь "),
)
"""Numbers that a sign, an ending or a unit explains."""

PLAIN_NUMBER_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"), " "),
    (re.compile(rf"((?<!\w)[а-яёА-ЯЁ]+\s)?(?<![\d]){_NUMBER}(?=\s+([а-яё]+))?"), _plain),
)
"""All numbers that are left."""
