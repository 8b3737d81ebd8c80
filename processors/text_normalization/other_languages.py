"""Text preparation for languages without a module of their own: their numbers become words, nothing else is touched."""

from __future__ import annotations

import re
import unicodedata

from tolmach.processors.text_normalization.cardinals import cardinal
from tolmach.processors.text_normalization.common import (
    Match,
    Prepared,
    bare_apostrophes,
    clean,
    finish,
    value_of_digits,
)


def prepare_other(text: str, lang: str) -> Prepared:
    """Text of any language; a number in a language that nobody here can count in is lost, and said to be."""
    text = "".join(map(_digits_of, text))
    text = re.sub(r"(?<![\d.,])\d{1,3}(?:[.\u00a0\u202f ]\d{3}){1,5}(?![\d])", _joined, clean(text))
    text = re.sub(r"(?<!\w)-(?=\d)", "–", text)
    text = re.sub(r"\d+", lambda m: _number(m.group(), lang), text)
    letters = "".join(sorted({c for c in text.lower() if unicodedata.category(c)[0] in "LM"} | {"'"}))
    return finish(bare_apostrophes(text), letters)


def _digits_of(char: str) -> str:
    """Powers and fractions as the digits that are in them: ² as 2, ½ as 1 2."""
    if unicodedata.category(char) != "No":
        return char
    return f" {' '.join(re.findall('[0-9]+', unicodedata.normalize('NFKC', char)))} "


def _joined(match: Match) -> str:
    return re.sub(r"\D", "", match.group())


def _number(number: str, lang: str) -> str:
    value = value_of_digits(number)
    try:
        words = [cardinal(value, lang)] if value is not None else [cardinal(int(digit), lang) for digit in number]
    except NotImplementedError:
        return number
    return f" {' '.join(words)} "
