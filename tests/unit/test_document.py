"""YAML 1.2 with places, bounded; variables that cannot inject structure."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.diagnostics import Diagnostics
from tolmach.pipelines.language.document import (
    MAX_VALUES,
    YamlMapping,
    YamlScalar,
    parse_document,
    parse_value,
    read_source,
    to_python,
)
from tolmach.pipelines.language.variables import Expanded, Scope, expand


def read(text: str) -> YamlMapping:
    problems = Diagnostics()
    node = parse_document(text, "g.yaml", problems)
    assert problems.sorted() == ()
    assert isinstance(node, YamlMapping)
    return node


def refuse(text: str) -> str:
    problems = Diagnostics()
    parse_document(text, "g.yaml", problems)
    (only,) = problems.sorted()
    assert only.code == "yaml-syntax"
    assert only.span is not None
    return only.message


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'null'", "null"),
        ("12", 12),
        ("-0x1f", "-0x1f"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("2026-01-01", "2026-01-01"),
        ('"\\u0434"', "д"),
    ],
)
def test_scalars_follow_the_core_schema(written, value):
    got = to_python(read(f"a: {written}"))["a"]
    assert got == value
    assert type(got) is type(value)


def test_a_number_of_a_thousand_digits_is_no_trap():
    assert to_python(read("a: " + "9" * 5000))["a"] == math.inf


def test_every_node_knows_its_place():
    root = read("a: 1\nb:\n  - x\n  - {c: 'd e', f: [g]}\n")
    b = root.entries["b"]
    assert b.key_span == Span("g.yaml", 2, 1, 1)
    inner = b.value.items[1]
    assert inner.span == Span("g.yaml", 4, 5, 18)
    assert inner.entries["c"].value.span == Span("g.yaml", 4, 9, 5)
    assert inner.entries["c"].value.part(2, 1) == Span("g.yaml", 4, 12, 1)


def test_a_part_of_a_scalar_that_is_written_otherwise_is_all_of_it():
    folded = read("a: >-\n  one -> two\n  -> three\n").entries["a"].value
    assert folded.text == "one -> two -> three"
    assert folded.part(4, 2) == folded.span


def test_lines_count_as_the_reader_counts_them():
    assert read("a: 1\r\nb: 2\rc: 3\nd: 4\n").entries["d"].key_span.line == 4


def test_aliases_stand_for_what_was_anchored():
    assert to_python(read("a: &x {k: [1, 2]}\nb: *x\n"))["b"] == {"k": [1, 2]}


def test_a_byte_order_mark_is_skipped():
    assert read("\ufeffa: 1").entries["a"].key_span.column == 1


def test_duplicate_keys_are_reported_and_the_first_counts():
    problems = Diagnostics()
    node = parse_document("a: 1\nb: {c: 1, c: 2}\na: 2\n", "g.yaml", problems)
    assert [(d.code, d.span.line, d.notes) for d in problems.sorted() if d.span] == [
        ("duplicate-key", 2, ("previous declaration on line 2",)),
        ("duplicate-key", 3, ("previous declaration on line 1",)),
    ]
    assert node is not None
    assert to_python(node) == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("a: [", "a value is missing here"),
        ("a: !!python/name:os.system", "tags"),
        ("a: !x b", "tags"),
        ("<<: {a: 1}", "merge keys"),
        ("a: *nobody", "no anchor"),
        ("a: &x [*x]", "no anchor"),
        ("? [a]\n: b", "key must be text"),
        ("a: &x b\n*x : 1", "alias cannot be a key"),
        ("a: 1\n---\nb: 2\n", "one document"),
        ("a: \x00", "U+0000"),
        ('a: "\\UFFFFFFFF"', "not YAML"),
        ("[" * 100_000, "nested deeper"),
        ("{a: " * 100_000, "nested deeper"),
        ("- " * 100_000, "nested deeper"),
        ("- x\n" * (MAX_VALUES + 1), "nodes"),
        ("x" * (1 << 20) + "x", "larger than 1 MiB"),
        ("я" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_what_is_not_a_document_is_one_diagnostic(text, said):
    assert said in refuse(text)


def test_aliases_are_bounded_by_what_they_expand_to():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "aliases counted as often as used" in refuse("\n".join(lines))


def test_aliases_do_not_nest_deeper_than_the_bound():
    deep = "[" * 20 + "]" * 20
    assert "nested deeper" in refuse(f"a: &a {deep}\nb: {'[' * 20}*a{']' * 20}\n")


def test_a_file_is_read_with_a_bound(tmp_path):
    problems = Diagnostics()
    big, latin = tmp_path / "big.yaml", tmp_path / "latin.yaml"
    big.write_bytes(b"#" * ((1 << 20) + 1))
    latin.write_bytes("a: 1\nb: й".encode("cp1251"))
    for path in (big, latin, tmp_path / "gone.yaml", tmp_path):
        assert read_source(path, path.name, problems) is None
    said = [(d.span.file, d.span.line, d.message) for d in problems.sorted() if d.span]
    assert ("big.yaml", 1, "the file is larger than 1 MiB") in said
    assert ("latin.yaml", 2, "byte 8 is not UTF-8") in said
    assert ("gone.yaml", 1, "cannot read the file: No such file or directory") in said
    assert len(said) == 4


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_raises(text):
    problems = Diagnostics()
    node = parse_document(text, "g.yaml", problems)
    assert node is not None or problems.has_errors


@settings(deadline=None)
@given(st.text(alphabet="{}[]&*!|>-:?,'\"%@`#ab \n\t\\", max_size=60))
def test_no_soup_of_indicators_raises(text):
    problems = Diagnostics()
    node = parse_document(text, "g.yaml", problems)
    assert node is not None or problems.has_errors


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.6", 0.6),
        ("no", "no"),
        (" 5 ", 5),
        ("C: and # all", "C: and # all"),
        ("'5'", "5"),
        ("[en, ru]", ["en", "ru"]),
        ("", None),
    ],
)
def test_values_from_the_command_line(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["[en", "'open", "{a: !x 1}", "{a: 1, a: 2}"])
def test_broken_values_from_the_command_line_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_value(text)


# Variables ------------------------------------------------------------------------------------------------------------

PLACE = Span("g.yaml", 1, 1)


def expanded(text: str, params: dict[str, object] | None = None, **env: str) -> tuple[object, list[str]]:
    problems = Diagnostics()
    scope = Scope({k: Expanded(v, PLACE) for k, v in (params or {}).items()}, env)
    node = YamlScalar(PLACE, text, text, 0)
    return expand(node, scope, problems).value, [f"{d.code}: {d.message}" for d in problems.sorted()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env:HOME}", "/root"),
        ("${env:HOME}/a/${env:HOME}", "/root/a//root"),
        ("${env:GONE:-baya}", "baya"),
        ("${env:EMPTY:-baya}", "baya"),
        ("${env:EMPTY}", ""),
        ("${env:GONE:-}", ""),
        ("${env:HOME:?set it}", "/root"),
        ("${param:rate}", 16000),
        ("${param:flag}", True),
        ("${param:rate} Hz, ${param:flag}", "16000 Hz, true"),
        ("$${param:rate}", "${param:rate}"),
        ("$$${param:rate}", "$${param:rate}"),
        ("costs $5 and $name", "costs $5 and $name"),
    ],
)
def test_variables(text, value):
    assert expanded(text, {"rate": 16000, "flag": True}, HOME="/root", EMPTY="") == (value, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${env:GONE}", "missing-env: environment variable GONE is not set"),
        ("${env:GONE:?say where}", "missing-env: say where"),
        ("${env:EMPTY:?say where}", "missing-env: say where"),
        ("${param:raet}", "missing-param: the graph has no param named 'raet'"),
        ("${param:rate:-5}", "bad-value: a param takes its default where it is declared"),
        ("${rate}", "bad-value: not a variable"),
        ("${env:", "bad-value: not a variable"),
        ("a ${param:list}", "bad-value: param 'list' is a collection and cannot be part of a text"),
    ],
)
def test_broken_variables_are_reported_once(text, said):
    assert expanded(text, {"rate": 16000, "list": [1]}, EMPTY="")[1] == [said]


def test_the_place_of_a_variable_is_its_own():
    problems = Diagnostics()
    root = read('a: "x/${env:GONE}/y"')
    expand(root, Scope({}, {}), problems)
    assert problems.sorted()[0].span == Span("g.yaml", 1, 7, 11)


@settings(deadline=None)
@given(st.text())
def test_a_value_is_not_expanded_again(value):
    assert expanded("${env:A}", A=value + "${env:B}", B="secret") == (value + "${env:B}", [])
