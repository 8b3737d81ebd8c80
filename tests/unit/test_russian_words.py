"""Russian dates, times, names, abbreviations and foreign words are read as people read them: one table, one test."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization import prepare
from tolmach.tests.readings import TABLES, cases


def bare(text: str) -> str:
    """What two readings are compared by: words, without case, punctuation, stress and hyphens."""
    text = re.sub("[+\u0301-]", "", text.lower().replace("ё", "е"))
    return " ".join(re.sub(r"[^\w\s]", " ", text).split())


def test_all_of_the_table_is_read_as_people_read_it() -> None:
    wrong = []
    for _, written, readings in cases(TABLES / "ru_words.tsv"):
        prepared = prepare(written, "ru")
        if bare(prepared.text) not in map(bare, readings) or prepared.lost:
            wrong.append(f"{written} → {prepared.text} {prepared.lost}")
        if (again := prepare(prepared.text, "ru").text) != prepared.text:
            wrong.append(f"{written} → {prepared.text} → {again}")
    assert not wrong, "\n".join(wrong)
