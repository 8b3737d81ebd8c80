"""Text normalization: written text as it is read out; numbers, dates, units, abbreviations and signs become words.

The models drop every character they do not know without a word, digits and foreign letters first. So numbers, dates,
units, abbreviations and signs become words here, and letters of other scripts become letters of the model's.
"""

from __future__ import annotations

from tolmach.processors.text_normalization.common import Prepared, fit_symbols, prepare_other
from tolmach.processors.text_normalization.english import prepare_english
from tolmach.processors.text_normalization.russian import prepare_russian

__all__ = ["Prepared", "fit_symbols", "prepare"]


def prepare(text: str, lang: str) -> Prepared:
    """Text as a model of ``lang`` (BCP-47) reads it best: words and punctuation only, in lower case.

    Russian and English are prepared in full; in other languages numbers become words where num2words knows how.
    """
    if lang == "ru" or lang.startswith("ru-"):
        return prepare_russian(text)
    if lang == "en" or lang.startswith("en-"):
        return prepare_english(text)
    return prepare_other(text, lang)
