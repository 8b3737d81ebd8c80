"""Which case a Russian preposition asks for, and what words stand before a match.

Only a few words back are looked at, so that a rule stays linear in the length of the text.
"""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match
from tolmach.processors.text_normalization.russian.government import PREPOSITIONS as ALL_PREPOSITIONS
from tolmach.processors.text_normalization.russian.morphology import is_part
from tolmach.processors.text_normalization.russian.numerals import Case

_REACH = 48
"""Characters before a match that are looked at; two long words."""


def _cases(entries: dict[Case, str]) -> dict[str, Case]:
    return {word: case for case, words in entries.items() for word in words.split()}


PREPOSITIONS: dict[str, Case] = _cases(
    {
        "g": "от до из с со без у около после кроме вместо ранее раньше позже позднее накануне недалеко",
        "d": "к ко по благодаря согласно вопреки навстречу подобно соответственно",
        "a": "через про сквозь за спустя",
        "i": "над под перед между",
        "p": "в во на о об обо при",
    }
)
"""The case after a preposition of place or time; "с" out of, "за" the time it takes, "по" along. The rarer ones, which
have but one meaning, are those of ``government``."""


def word_set(words: str) -> frozenset[str]:
    """A set written as words with spaces between them."""
    return frozenset(words.split())


def text_before(match: Match) -> str:
    """What stands before a match, lower case, its last few words."""
    start = match.start()
    return re.sub(r"\s+", " ", match.string[max(0, start - _REACH) : start].lower())


def word_before(match: Match) -> str:
    """The word right before a match, lower case; "" where a sign or nothing stands between."""
    found = re.search(r"(?<![\w-])([а-яё]+(?:-[а-яё]+)?)\s$", text_before(match))
    return found[1] if found else ""


def text_after(match: Match) -> str:
    """What stands behind a match, its first few words."""
    return match.string[match.end() : match.end() + _REACH]


def preposition_case(before: str) -> tuple[Case, ...]:
    """The cases that the last word of a text asks for, likeliest first; () when it is no preposition."""
    found = re.search(r"(?<![\w-])([а-яё]+(?:-[а-яё]+)?)\s?$", before)
    word = found[1] if found else ""
    if word in _TWO_CASES:
        return _TWO_CASES[word]
    if word in PREPOSITIONS:
        return (PREPOSITIONS[word],)
    return ALL_PREPOSITIONS.get(word.replace("ё", "е"), ())


_TWO_CASES: dict[str, tuple[Case, ...]] = {
    "в": ("p", "a"), "во": ("p", "a"), "на": ("p", "a"), "с": ("g", "i"), "со": ("g", "i"), "за": ("a", "i"),
    "под": ("i", "a"), "по": ("d", "a"),
}  # fmt: skip


def noun_case(match: Match) -> Case:
    """The case of a noun in a match's place: the preposition's, the genitive after a noun, else the nominative."""
    cases = preposition_case(text_before(match))
    if cases:
        return cases[0]
    return "g" if is_noun(word_before(match)) else "n"


def is_noun(word: str) -> bool:
    """Whether a word most likely is a noun, which governs a genitive behind it."""
    return len(word) > 2 and is_part(word, "NOUN", at_least=0.4)
