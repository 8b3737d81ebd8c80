"""Russian words with their grammar: part of speech, case, number, gender, life; from pymorphy3's dictionary.

The dictionary (OpenCorpora, 390 000 lemmas) takes a tenth of a second and 25 MB, so it is loaded when the first number
is read, never when a graph is checked. A word costs some 150 µs, and texts repeat their words: they are cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from tolmach.processors.text_normalization.russian.numerals import Case, Gender

if TYPE_CHECKING:
    import pymorphy3

_CASES: dict[str, Case] = {
    "nomn": "n", "gent": "g", "gen2": "g", "gen1": "g", "datv": "d", "accs": "a", "acc2": "a", "ablt": "i",
    "loct": "p", "loc1": "p", "loc2": "p", "voct": "n",
}  # fmt: skip
_GENDERS: dict[str, Gender] = {"masc": "m", "femn": "f", "neut": "n"}


@dataclass(frozen=True, slots=True)
class Form:
    """One way to understand a word.

    Attributes:
        part: OpenCorpora's part of speech (NOUN, ADJF, VERB, PREP, …).
        lemma: The dictionary form, ё as е.
        score: How likely this understanding is among all of the word, 0-1.
        case: None for what has none.
        plural: Whether it stands in the plural.
        gender: Of a noun, or of an adjective in the singular.
        animate: Of a noun: a living being.
        marks: All grammemes of OpenCorpora, for the rarer questions (``tran``, ``Pltm``, ``Fixd``).
    """

    part: str
    lemma: str
    score: float
    case: Case | None
    plural: bool
    gender: Gender | None
    animate: bool
    marks: frozenset[str]


@cache
def _analyzer() -> pymorphy3.MorphAnalyzer:
    import pymorphy3

    return pymorphy3.MorphAnalyzer(lang="ru")


@lru_cache(maxsize=20_000)
def forms(word: str) -> tuple[Form, ...]:
    """All ways to understand a word, likeliest first; names of people and places count like other nouns."""
    # A longer word is none; the dictionary would only take its time over it.
    return tuple(
        Form(
            part=str(parse.tag.POS or ""),
            lemma=parse.normal_form.replace("ё", "е"),
            score=parse.score,
            case=_CASES.get(str(parse.tag.case)),
            plural=parse.tag.number == "plur",
            gender=_GENDERS.get(str(parse.tag.gender)),
            animate=parse.tag.animacy == "anim",
            marks=frozenset(parse.tag.grammemes),
        )
        for parse in _analyzer().parse(word[:64].lower())
    )


def is_part(word: str, *parts: str, at_least: float = 0.5) -> bool:
    """Whether a word most likely is one of these parts of speech."""
    return sum(form.score for form in forms(word) if form.part in parts) >= at_least


_CASE_NAMES: dict[Case, str] = {"n": "nomn", "g": "gent", "d": "datv", "a": "accs", "i": "ablt", "p": "loct"}


@lru_cache(maxsize=4096)
def decline(noun: str, case: Case, *, plural: bool) -> str:
    """A noun in another case, from its nominative singular; as it is when the dictionary does not decline it."""
    for parse in _analyzer().parse(noun):
        if parse.tag.POS == "NOUN" and parse.tag.case == "nomn" and parse.tag.number == "sing":
            other = parse.inflect({_CASE_NAMES[case], "plur" if plural else "sing"})
            if other is not None:
                return str(other.word)
    return noun
