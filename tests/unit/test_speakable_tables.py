"""Tables of written sentences and how they are read out: a file for each language in tests/data/text, for linguists.

To add a case, add a line: what is written, a tab, the readings that are right, separated by `` | ``.
"""

from __future__ import annotations

import re

import pytest

from tolmach.processors.text_normalization import prepare
from tolmach.tests.readings import TABLES, cases, same_reading

LANGUAGES = sorted(path.stem for path in TABLES.glob("??.tsv"))
"""Russian has several tables and tests of its own (test_russian_*.py)."""


@pytest.mark.parametrize("table", LANGUAGES)
def test_what_is_written_is_read_as_the_table_says(table: str) -> None:
    wrong = []
    total = 0
    for kind, written, readings in cases(TABLES / f"{table}.tsv"):
        total += 1
        prepared = prepare(written, table)
        if prepared.lost or not any(same_reading(prepared.text, reading, table) for reading in readings):
            wrong.append(f"[{kind}] {written}\n    read:  {prepared.text}\n    right: {' | '.join(readings)}")
    assert total >= 50
    assert not wrong, f"{len(wrong)} of {total} are read wrong:\n" + "\n".join(wrong)


@pytest.mark.parametrize("table", LANGUAGES)
def test_a_right_reading_is_read_as_it_stands(table: str) -> None:
    for _, written, readings in cases(TABLES / f"{table}.tsv"):
        once = prepare(written, table).text
        assert re.search(r"\d", once) is None
        if "+" not in once:  # a stress mark of the text is a plus sign the second time
            assert prepare(once, table).text == once, (written, readings)
