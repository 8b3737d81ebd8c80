"""Roman numerals in Russian text: centuries, reigns, and numbers of parts."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match, Rule
from tolmach.processors.text_normalization.russian_numerals import Case, cardinal, ordinal

_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def _roman(numeral: str) -> int:
    values = [_ROMAN[c] for c in numeral]
    return sum(-v if any(w > v for w in values[i + 1 : i + 2]) else v for i, v in enumerate(values))


_CENTURY: dict[str, Case] = {"век": "n", "века": "g", "веку": "d", "веком": "i", "веке": "p", "веков": "g"}


def _century(match: Match) -> str:
    first, numeral, word = match.group(1, 2, 3)
    case = _CENTURY.get(word)
    if case is None:
        return match.group()
    return (f"{ordinal(_roman(first), case)} – " if first else "") + f"{ordinal(_roman(numeral), case)} {word}"


def _reign(match: Match) -> str:
    name, numeral = match.group(1, 2)
    return f"{name} {ordinal(_roman(numeral), gender='f' if name.endswith(('а', 'я')) else 'm')}"


ROMAN_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\w)(?:([IVXLC]{1,7})\s?[-–]\s?)?([IVXLC]{1,7})\s+(век\w*)"), _century),
    (re.compile(r"(?<!\w)([А-ЯЁ][а-яё]{2,})\s+([IVX]{1,5})(?!\w)"), _reign),
    (re.compile(r"(?<!\w)[IVX]{2,7}(?!\w)"), lambda m: cardinal(str(_roman(m.group())))),
)
