"""Every code has a fixture pair under tests/graphs; TOLMACH_UPDATE_GOLDEN=1 rewrites the expected texts."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.unit.graph_specs import GRAPHS, REGISTRY
from tolmach.pipelines.errors import CODES, Diagnostic, Span
from tolmach.pipelines.language.check import CheckResult, check_graph
from tolmach.pipelines.language.diagnostics import (
    MAX_DIAGNOSTICS,
    Diagnostics,
    did_you_mean,
    format_github,
    format_json,
    format_text,
)
from tolmach.pipelines.language.include import Includes
from tolmach.pipelines.language.launch_line import LaunchLine

WRITTEN = sorted([*GRAPHS.glob("*.yaml"), *GRAPHS.glob("*.line")])
WRONG = [p for p in WRITTEN if p.name.split(".")[0] in CODES]
VALID = [p for p in WRITTEN if p.name.startswith("valid-")]


def check_fixture(path: Path) -> CheckResult:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".line":
        return check_graph(LaunchLine(text.rstrip()), registry=REGISTRY, env={})
    return check_graph(
        path.name,
        text=text,
        registry=REGISTRY,
        env={},
        require_params=path.name.startswith("missing-param"),
        includes=Includes(GRAPHS),
    )


def test_no_code_lacks_a_fixture():
    assert {p.stem for p in WRONG} >= set(CODES)


def test_no_fixture_stands_alone():
    assert {p.stem for p in GRAPHS.glob("*.txt")} == {p.stem for p in WRONG}
    assert set(WRITTEN) == {*WRONG, *VALID}


@pytest.mark.parametrize("path", WRONG, ids=lambda p: p.stem)
def test_a_wrong_graph_says_what_is_wrong(path):
    result = check_fixture(path)
    expected = path.with_suffix(".txt")
    shown = result.format_text()
    if os.environ.get("TOLMACH_UPDATE_GOLDEN") == "1":
        expected.write_text(shown, encoding="utf-8")
    assert {d.code for d in result.diagnostics} == {path.name.split(".")[0]}
    assert (result.graph is None) == any(d.severity == "error" for d in result.diagnostics)
    assert shown == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", VALID, ids=lambda p: p.stem)
def test_a_valid_graph_says_nothing(path):
    result = check_fixture(path)
    assert result.format_text() == ""
    assert result.ok


def test_the_caret_stands_under_the_span():
    text = "links:\n\t- 日本 -> vda\n"
    diagnostic = Diagnostic(
        "unknown-element", Span("g.yaml", 2, 10, 3), "no element named 'vda'", hint="did you mean 'vad'?"
    )
    lines = format_text([diagnostic], {"g.yaml": text}).splitlines()
    assert lines[0] == "g.yaml:2:10: error[unknown-element]: no element named 'vda'"
    assert lines[2] == "  2 | \t- 日本 -> vda"
    assert lines[3] == "    | \t          ^^^"  # two columns for each wide character
    assert lines[4] == "    = hint: did you mean 'vad'?"


def test_without_a_source_or_a_span_the_line_is_left_out():
    bare = Diagnostic("cycle", None, "a -> a", notes=("a note",))
    placed = Diagnostic("cycle", Span("gone.yaml", 3, 1), "a -> a")
    assert format_text([bare], {}) == "error[cycle]: a -> a\n     = a note\n"
    assert format_text([placed], {}) == "gone.yaml:3:1: error[cycle]: a -> a\n"
    assert format_text([], {}) == ""


def test_control_characters_of_a_file_do_not_reach_the_terminal():
    diagnostic = Diagnostic("bad-value", Span("g", 1, 1), "got \x1b[31m", hint="\x07")
    shown = format_text([diagnostic], {"g": "a: \x1b]0;title\x07"})
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_colour_changes_nothing_but_colour():
    diagnostic = Diagnostic("bad-value", Span("g", 1, 1, 2), "m", notes=("n",), hint="h", severity="warning")
    plain = format_text([diagnostic], {"g": "ab: 1"})
    coloured = format_text([diagnostic], {"g": "ab: 1"}, color=True)
    assert "\x1b[1;33m" in coloured
    import re

    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_diagnostics_come_by_file_line_and_column_and_once():
    found = Diagnostics()
    for place in (Span("b", 1, 1), Span("a", 10, 1), Span("a", 9, 7), Span("a", 9, 2), Span("a", 9, 2)):
        found.add("bad-value", place, "wrong")
    places = [(d.span.file, d.span.line, d.span.column) for d in found.sorted() if d.span]
    assert places == [("a", 9, 2), ("a", 9, 7), ("a", 10, 1), ("b", 1, 1)]


def test_a_code_that_is_not_declared_is_a_bug():
    with pytest.raises(ValueError, match="unknown diagnostic code"):
        Diagnostic("no-such-code", None, "m")


def test_json_says_everything():
    diagnostic = Diagnostic("bad-value", Span("g.yaml", 3, 4, 5), "нет", notes=("n",), hint="h", severity="warning")
    assert json.loads(format_json([diagnostic])) == [
        {
            "code": "bad-value",
            "severity": "warning",
            "message": "нет",
            "file": "g.yaml",
            "line": 3,
            "column": 4,
            "length": 5,
            "notes": ["n"],
            "hint": "h",
        }
    ]


def test_github_annotations_are_escaped():
    diagnostic = Diagnostic("bad-value", Span("a,b:c%.yaml", 3, 4, 5), "100%\nsure", notes=("a: b",), hint="x, y")
    assert format_github([diagnostic]) == (
        "::error file=a%2Cb%3Ac%25.yaml,line=3,col=4,endColumn=9,title=bad-value::100%25%0Asure%0Aa: b%0Ahint: x, y"
    )
    assert format_github([Diagnostic("cycle", None, "a", severity="warning")]) == "::warning title=cycle::a"


@pytest.mark.parametrize(("typo", "meant"), [("vda", "vad"), ("VAD", "vad"), ("silero", "silero_vad"), ("qqq", None)])
def test_did_you_mean(typo, meant):
    assert did_you_mean(typo, ["vad", "silero_vad", "Tee"]) == meant


def test_did_you_mean_ignores_absurd_names():
    assert did_you_mean("vad" * 100_000, ["vad"]) is None


def test_a_check_stops_at_a_number_of_problems_and_of_characters():
    links = "".join(f"  - {'n' * 60}{n} -> {'m' * 60}{n}\n" for n in range(3000))
    named = "".join(f"  {'n' * 50}{n:04}x: {{type: identity}}\n" for n in range(900))
    result = check_graph("g.yaml", text=f"version: 1\nelements:\n{named}links:\n{links}", registry=REGISTRY, env={})
    assert len(result.diagnostics) == MAX_DIAGNOSTICS + 1
    assert "check-stopped" in {d.code for d in result.diagnostics}
    assert len(result.format_text()) < 200_000


def test_a_long_line_is_shown_around_the_problem():
    wrong = ", ".join(f"b{n}: 1" for n in range(60))
    padding = "x" * 200_000
    text = f"version: 1\nelements: {{a: {{type: tee, {wrong}, long: {padding}}}}}\nlinks: []\n"
    shown = check_graph("g.yaml", text=text, registry=REGISTRY, env={}).format_text()
    assert "tee has no setting 'b7'" in shown
    assert len(shown) < 100_000
    for block in shown.split("\n\n"):
        lines = block.splitlines()
        if len(lines) > 3 and (named := re.search(r"no setting '(b\d+)'", lines[0])):
            at = lines[3].index("^") - lines[3].index("|")
            assert lines[2][lines[2].index("|") + at :].startswith(named[1])


def test_many_collections_on_one_line_cost_no_more_than_the_line():
    text = "version: 1\nname: [" + "[]," * 15_000 + "x" * 900_000 + "]\n"
    assert not check_graph("g.yaml", text=text, registry=REGISTRY, env={}).ok
