"""Russian dates, times, names, abbreviations and foreign words are read as people read them: one table, one test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tolmach.processors.text_normalization import prepare

TABLE = Path(__file__).parents[1] / "data" / "text" / "ru_words.tsv"


def read_table(path: Path) -> list[tuple[str, list[str]]]:
    """What is written, and the readings that are right."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [(written, read.split("|")) for written, _, read in (line.partition("\t") for line in lines)]


def bare(text: str) -> str:
    """What two readings are compared by: words, without case, punctuation, stress and hyphens."""
    text = re.sub("[+\u0301-]", "", text.lower().replace("ё", "е"))
    return " ".join(re.sub(r"[^\w\s]", " ", text).split())


@pytest.mark.parametrize(("written", "readings"), read_table(TABLE))
def test_it_is_read_as_people_read_it(written: str, readings: list[str]) -> None:
    prepared = prepare(written, "ru")
    assert bare(prepared.text) in [bare(each) for each in readings], prepared.text
    assert prepared.lost == ""
