"""English text preparation: the order in which what is written becomes words.

The tables and their rules are in ``words`` (abbreviations, initialisms, addresses, signs), ``dates``
(dates, times, telephones), ``measures`` (money, units), ``roman`` and ``numbers``. What says
most about a number goes first: a date would lose its year to "a number of four digits".
"""

from __future__ import annotations

import re
import unicodedata

from tolmach.processors.text_normalization.common import (
    Match,
    Prepared,
    Rule,
    bare_apostrophes,
    clean,
    finish,
    letter_name,
    pair_up,
    read_table,
    rewrite,
    say_address,
)
from tolmach.processors.text_normalization.english.dates import DATE_RULES, TELEPHONE_RULES, TIME_RULES
from tolmach.processors.text_normalization.english.measures import MONEY_RULES, UNIT_RULES
from tolmach.processors.text_normalization.english.numbers import (
    FRACTION_RULES,
    NUMBER_RULES,
    RANGE_RULES,
    YEAR_RANGE_RULES,
    YEAR_RULES,
)
from tolmach.processors.text_normalization.english.roman import ROMAN_RULES
from tolmach.processors.text_normalization.english.words import (
    ABBREVIATION_RULES,
    ADDRESS_SIGNS,
    INITIALISM_RULES,
    NET_RULES,
    RESOLUTION_RULES,
    SIGN_RULES,
    VERSION_RULES,
    say_initialisms,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz'"

_CYRILLIC = read_table(
    "а:a б:b в:v г:g д:d е:e ё:yo ж:zh з:z и:i й:y к:k л:l м:m н:n о:o п:p р:r с:s т:t у:u ф:f х:kh ц:ts ч:ch ш:sh "
    "щ:shch ъ: ы:y ь: э:e ю:yu я:ya і:i ї:yi є:ye ґ:g ў:w ј:y љ:ly њ:ny ћ:ch ђ:j џ:j ә:a ғ:g қ:k ң:ng ө:o ұ:u ү:u "
    "һ:h"
)
"""Cyrillic letters in English spelling (BGN/PCGN romanisation, the signs left out)."""
_GREEK = pair_up("αβγδεζηθικλμνξοπρσςτυφχψω", "a v g d e z i th i k l m n x o p r s s t y f ch ps o")
_GREEK_NAMES = pair_up(
    "αβγδεζηθικλμνξοπρστυφχψω",
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega",
)
_SPECIAL = {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "th", "þ": "th", "ı": "i", "ŋ": "ng"}

_FRACTIONS = {c: f"{unicodedata.normalize('NFKC', c).replace(chr(0x2044), '/')}" for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"}


def _inches(match: Match) -> str:
    # A quotation that ends behind a number ("I have 5") has begun before it.
    quoted = match.string.count('"', 0, match.start()) % 2 == 1 or "“" in match.string[: match.start()]
    return match.group() if quoted else f"{match[1]} inches "


_WRITTEN: tuple[Rule, ...] = (
    (re.compile(r"(\d)\s?[′'’]\s?(\d{1,2})\s?(?:[\"″”]|''|′′)"), r"\1 ft \2 inches "),
    (re.compile(r"(\d)\s?[\"″”](?!\w)"), _inches),
    (re.compile(r"(\d)\s?′(?!\w)"), r"\1 ft "),
    (
        re.compile("(\\d)?\\s?([" + "".join(_FRACTIONS) + "])"),
        lambda m: (f"{m[1]} " if m[1] else " ") + _FRACTIONS[m[2]],
    ),
    (re.compile(r"©\s?(?=\d|[A-Z])(?<![Cc]opyright ©)(?<![Cc]opyright © )"), "copyright "),
    (re.compile(r"(?i)https?://(?=\w)"), ""),
)
"""Signs that :func:`clean` would take for others: inches for quotation marks, ½ behind a digit."""

_RULES: tuple[Rule, ...] = (
    *ABBREVIATION_RULES,
    *NET_RULES,
    *ROMAN_RULES,
    *DATE_RULES,
    *VERSION_RULES,
    *TIME_RULES,
    *YEAR_RANGE_RULES,
    *RESOLUTION_RULES,
    *MONEY_RULES,
    *TELEPHONE_RULES,
    *RANGE_RULES,
    *UNIT_RULES,
    *INITIALISM_RULES,
    *FRACTION_RULES,
    *YEAR_RULES,
    *NUMBER_RULES,
    *SIGN_RULES,
)


def prepare_english(text: str) -> Prepared:
    """English text for a Silero model; Cyrillic letters, digits and signs become English words."""
    text = clean(rewrite(text, _WRITTEN))
    text = rewrite(say_address(text, ADDRESS_SIGNS), _RULES)
    text = re.sub(r"(?<!\w)[α-ω](?!\w)", lambda m: _GREEK_NAMES.get(m.group(), m.group()), text)
    text = say_initialisms("".join(map(_romanise, text)))
    return finish(bare_apostrophes(text), LETTERS, _letter)


def _romanise(char: str) -> str:
    lower = char.lower()
    if lower in _SPECIAL:
        return _SPECIAL[lower]
    if lower not in _CYRILLIC:
        return char
    latin = _CYRILLIC[lower]
    return latin.capitalize() if char != lower else latin


def _letter(char: str) -> str:
    if char in _SPECIAL or char in _GREEK:
        return _SPECIAL.get(char) or _GREEK[char]
    base = unicodedata.normalize("NFD", char)[0]
    if base in _GREEK or base in _CYRILLIC or base in LETTERS:
        return _GREEK.get(base) or _CYRILLIC.get(base) or base
    return letter_name(char)
