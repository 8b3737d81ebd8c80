"""Text preparation for languages without a module of their own: numbers become words, signs go."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

from tolmach.processors.silero.text.common import Prepared, clean, finish, whole_number

__all__ = ["prepare_other"]


def prepare_other(text: str, lang: str) -> Prepared:
    """Text of any language; a number in a language that num2words does not know is lost, and said to be."""
    text = re.sub(r"\d+", lambda m: _number(m.group(), lang), clean(text))
    lower = text.lower()
    letters = "".join(sorted({c for c in lower if unicodedata.category(c)[0] in "LM"} | {"'"}))
    return finish(text, letters)


def _number(number: str, lang: str) -> str:
    value = whole_number(number)
    try:
        words = [num2words(value, lang=lang)] if value is not None else [num2words(int(d), lang=lang) for d in number]
    except NotImplementedError:
        return number
    return f" {' '.join(words)} "
