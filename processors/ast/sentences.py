"""Where a text may be cut: whether a sentence ends with it, and which of its words make whole clauses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tolmach.processors.languages import ABBREVIATIONS

__all__ = ["MIN_CLAUSE_CHARS", "clause_lengths", "ends_sentence"]

MIN_CLAUSE_CHARS = 25
"""A comma ends a clause of at least this length: voices make a pause behind what they are given, and a list of single
words with pauses is hard to follow."""

_SENTENCE_END = re.compile(r"[.!?…。！？؟।][\"'»”’)\]}]*$")
_CLAUSE_END = re.compile(r"[,;:–—、，；：][\"'»”’)\]}]*$")
_ABBREVIATION = re.compile(
    rf"^[\"'«“(]*(?:{ABBREVIATIONS})\.$",
    re.IGNORECASE,
)


def ends_sentence(text: str) -> bool:
    """Whether a text ends like a sentence: a full stop, question or exclamation mark, whatever closes behind it.

    An abbreviation or an initial as its last word ends none.
    """
    last = (text.split() or [""])[-1]
    return bool(_SENTENCE_END.search(last)) and not _ABBREVIATION.match(last)


def clause_lengths(words: Sequence[str]) -> list[int]:
    """How many words each whole clause has; words behind the last one are not counted."""
    lengths: list[int] = []
    count = chars = 0
    for word in words:
        count += 1
        chars += len(word)
        if ends_sentence(word) or (chars >= MIN_CLAUSE_CHARS and _CLAUSE_END.search(word.strip())):
            lengths.append(count)
            count = chars = 0
    return lengths
