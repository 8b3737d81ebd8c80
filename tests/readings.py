"""Reads tables of written text and its right readings, and compares a reading with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TABLES = Path(__file__).parent / "data" / "text"

_LETTER_NAMES = dict(
    zip(
        "ay bee see dee ee ef gee aitch eye jay kay el em en oh pee cue ar ess tee you vee ex why zee".split(),  # noqa: SIM905
        "abcdefghijklmnopqrstuvxyz",
        strict=True,
    )
)


def cases(table: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Kind, written text and right readings of each line; ``# kind: name`` opens a kind, other comments are skipped."""
    kind = ""
    for line in table.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "\t" not in line:
            kind = line.partition("kind:")[2].strip() or kind
        elif "\t" in line:
            written, right = line.removeprefix("!").split("\t")[:2]
            yield kind, written, right.split(" | ")


def same_reading(one: str, other: str, lang: str) -> bool:
    """Whether two readings sound alike: case, punctuation, hyphens, stress marks and ё do not count.

    In English the name of a letter counts as the letter: a voice is given "bee", a table may say "b".
    """
    return any(_sound(one, lang, hyphen) == _sound(other, lang, hyphen) for hyphen in (" ", ""))


def _sound(text: str, lang: str, hyphen: str) -> list[str]:
    text = re.sub(r"[+\u0301]", "", text.lower().replace("ё", "е"))
    if lang == "en":
        text = re.sub(r"double[- ]you", "w", text).replace("'s", " s")
    words = re.sub(r"[^\w\s]", "", text.replace("-", hyphen).replace("–", " ")).split()
    return [_LETTER_NAMES.get(word, word) for word in words] if lang == "en" else words
