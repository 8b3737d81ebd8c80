"""Text normalization: written text as it is read out; numbers, dates, units, abbreviations and signs become words.

The models drop every character they do not know without a word, digits and foreign letters first. So numbers, dates,
units, abbreviations and signs become words here, and letters of other scripts become letters of the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tolmach.processors.text_normalization.common import Prepared, fit_symbols
from tolmach.processors.text_normalization.english import prepare_english
from tolmach.processors.text_normalization.french import prepare_french
from tolmach.processors.text_normalization.german import prepare_german
from tolmach.processors.text_normalization.other_languages import prepare_other
from tolmach.processors.text_normalization.russian import prepare_russian
from tolmach.processors.text_normalization.spanish import prepare_spanish
from tolmach.processors.text_normalization.ukrainian import prepare_ukrainian

__all__ = ["IN_DEPTH", "Prepared", "fit_symbols", "prepare"]


_LANGUAGES: Mapping[str, Callable[[str], Prepared]] = {
    "ru": prepare_russian,
    "en": prepare_english,
    "de": prepare_german,
    "es": prepare_spanish,
    "fr": prepare_french,
    "uk": prepare_ukrainian,
}

IN_DEPTH = frozenset(_LANGUAGES)
"""Languages with tables and a grammar of their own; in the others only numbers become words."""


def prepare(text: str, lang: str) -> Prepared:
    """Text as a model of ``lang`` (BCP-47) reads it best: words and punctuation only, in lower case.

    Russian and English are prepared in depth; German, Spanish, French and Ukrainian in their numbers, dates, times,
    money and units; in other languages numbers become words.
    """
    own = _LANGUAGES.get(lang.partition("-")[0].lower())
    return own(text) if own else prepare_other(text, lang)
