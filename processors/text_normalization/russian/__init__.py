"""Russian text preparation.

The order of the rules matters: what is longest and surest comes first (addresses, telephones, dates), plain numbers and
single signs last. Rules produce words, so later rules find nothing to misread.
"""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import (
    Prepared,
    Rule,
    clean,
    finish,
    mark_stress,
    rewrite,
    say_address,
)
from tolmach.processors.text_normalization.latin import greek_word, letter_to_cyrillic, to_cyrillic
from tolmach.processors.text_normalization.russian.abbreviations import ABBREVIATIONS
from tolmach.processors.text_normalization.russian.dates import DATE_RULES, ROMAN_MONTH
from tolmach.processors.text_normalization.russian.designations import DESIGNATION_RULES
from tolmach.processors.text_normalization.russian.initialisms import INITIALS_RULES, say_initialisms
from tolmach.processors.text_normalization.russian.numbers import (
    NUMBER_RULES,
    PART_RULES,
    PLAIN_NUMBER_RULES,
    RATIO_RULES,
)
from tolmach.processors.text_normalization.russian.numerals import cardinal
from tolmach.processors.text_normalization.russian.roman import ROMAN_RULES
from tolmach.processors.text_normalization.russian.signs import ADDRESS_RULES, ADDRESS_SIGNS, SIGN_RULES
from tolmach.processors.text_normalization.russian.times import TELEPHONE_RULES, TIME_RULES

LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"


def prepare_russian(text: str) -> Prepared:
    """Russian text for a Silero model; Latin letters, digits and signs become Russian words."""
    text = mark_stress(clean(text))
    text = rewrite(say_address(rewrite(text, (ROMAN_MONTH, *ADDRESS_RULES)), ADDRESS_SIGNS, cardinal), _RULES)
    text = _WORD.sub(lambda m: _word(m.group()), say_initialisms(text))
    return finish(text, LETTERS, letter_to_cyrillic)


_RULES: tuple[Rule, ...] = (
    *ABBREVIATIONS,
    *PART_RULES,
    *INITIALS_RULES,
    *DESIGNATION_RULES,
    *TELEPHONE_RULES,
    *RATIO_RULES,
    *DATE_RULES,
    *TIME_RULES,
    (re.compile(r"(?<=\d):(?=\d)"), " "),  # a score
    *ROMAN_RULES,
    *NUMBER_RULES,
    *PLAIN_NUMBER_RULES,
    *SIGN_RULES,
)


_LATIN = "A-Za-zÀ-ÖØ-öø-ʯḀ-ỿ"
_WORD = re.compile(rf"[{_LATIN}]+(?:['-][{_LATIN}]+)*|[\u0370-\u03ff\u1f00-\u1fff]+")


def _word(word: str) -> str:
    if re.match(rf"[{_LATIN}]", word):
        return f" {to_cyrillic(word)} " if word else ""
    return f" {greek_word(word)} "
