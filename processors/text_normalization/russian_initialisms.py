"""Russian initialisms: which are spelt letter by letter, which are read as words, and what the letters are called."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Rule, pair_up

LETTER_NAMES = pair_up(
    "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
    "а бэ вэ гэ дэ е жэ зэ и и-краткое ка эл эм эн о пэ эр эс тэ у эф ха цэ чэ ша ща твёрдый-знак ы мягкий-знак э ю я "
    "ё",
)
_READ_OTHERWISE = {"США": "сэ-шэ-а", "ФБР": "фэ-бэ-эр", "ГИБДД": "ги-бэ-дэ-дэ", "НЛО": "эн-эл-о"}
_SPELLED = frozenset("ООН ООО ОАО ЗАО МГУ ЕС КНДР ОАЭ АЭС ЦРУ МЧС".split())  # noqa: SIM905


def spell(word: str) -> str | None:
    """Letter names of a Russian acronym that is not read as a word: ``СССР`` → эс-эс-эс-эр; None for other words."""
    if word in _READ_OTHERWISE:
        return _READ_OTHERWISE[word]
    if word in _SPELLED or not set(word) & set("АЕЁИОУЫЭЮЯ"):
        return "-".join(LETTER_NAMES[c] for c in word.lower())
    return None


INITIALS_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\w)([А-ЯЁ])\.\s?(?=[А-ЯЁ](?:\.|[а-яё]))"), lambda m: f"{LETTER_NAMES[m[1].lower()]} "),
)
"""Initials before a name: А. С. Пушкин."""
