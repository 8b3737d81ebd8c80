"""A graph on one line: what it comes to, what is wrong with it, and that nobody's line does harm."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.graph_specs import GRAPHS, REGISTRY, check, document
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.describe.written import line_as_yaml
from tolmach.pipelines.errors import CODES
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import CheckResult, check_graph, graph_source
from tolmach.pipelines.language.diagnostics import Diagnostics
from tolmach.pipelines.language.document import MAX_VALUES, parse_value, to_python
from tolmach.pipelines.language.launch_line import LaunchLine, is_line, parse_line
from tolmach.pipelines.shipped import shipped_graph


def check_line(text: str, **more: Any) -> CheckResult:
    return check_graph(LaunchLine(text), **{"registry": REGISTRY, "env": {}, **more})


def graph_of(text: str, **more: Any) -> Graph:
    result = check_line(text, **more)
    assert result.graph is not None, result.format_text()
    return result.graph


def links(graph: Graph) -> list[str]:
    return [f"{link.src} -> {link.sink}" for link in graph.links]


def told(text: str, **more: Any) -> tuple[str, str, str, str | None]:
    """The one problem of a line: what of it is marked, the code, the message and the hint."""
    (found,) = check_line(text, **more).diagnostics
    assert found.span is not None
    marked = text.splitlines()[found.span.line - 1][found.span.column - 1 :][: found.span.length]
    return marked, found.code, found.message, found.hint


# What a line means ----------------------------------------------------------------------------------------------------


def test_a_line_is_the_graph_that_a_file_would_be():
    line = graph_of(
        "file_src name=in path=talk.wav ! resample name=to_16k rate_hz=16000 channels=1 ! silero_vad name=vad "
        "! canary_ast name=ast on_error=fail ! tee name=fork ! espeak_tts name=tts lang=ru ! file_sink name=dub "
        "path=dub.wav fork. ! subtitle_sink name=subs path=talk.srt"
    )
    file = check(
        document(
            {
                "in": "type: file_src, path: talk.wav",
                "to_16k": "type: resample, rate_hz: 16000, channels: 1",
                "vad": "type: silero_vad",
                "ast": "type: canary_ast, on_error: fail",
                "fork": "type: tee",
                "tts": "type: espeak_tts, lang: ru",
                "dub": "type: file_sink, path: dub.wav",
                "subs": "type: subtitle_sink, path: talk.srt",
            },
            "in -> to_16k -> vad -> ast -> fork -> tts -> dub",
            "fork -> subs",
        )
    ).graph
    assert file is not None
    assert same(line, file)
    assert (line.name, line.path) == ("line", None)


def same(one: Graph, other: Graph) -> bool:
    """Whether two graphs are the same but for where they are written and what they are called.

    A line has no bins: ``there.tts`` of a file is ``there_tts`` in it.
    """

    def nodes(graph: Graph) -> list[object]:
        return [(plain(n.name), n.spec.type, n.settings, n.pads, n.on_error) for n in graph.nodes.values()]

    def joined(graph: Graph) -> list[object]:
        return [
            (plain(link.src.node), link.src.pad, plain(link.sink.node), link.sink.pad, link.caps)
            for link in graph.links
        ]

    def plain(name: str) -> str:
        return name.replace(".", "_")

    return (nodes(one), joined(one), [*map(plain, one.order)]) == (
        nodes(other),
        joined(other),
        [*map(plain, other.order)],
    )


def test_elements_are_called_after_their_types_as_in_gstreamer():
    graph = graph_of("test_src ! identity name=identity1 ! identity ! identity ! fake_sink test_src ! fake_sink")
    assert list(graph.nodes) == [
        "test_src0", "identity1", "identity0", "identity2", "fake_sink0", "test_src1", "fake_sink1"
    ]  # fmt: skip


def test_pads_and_references():
    graph = graph_of(
        "test_src ! t.sink tee name=t t.src_2 ! fake_sink t. ! queue ! m.sink_b test_src ! mixer name=m ! fake_sink"
    )
    assert links(graph) == [
        "test_src0.src -> t.sink",
        "t.src_2 -> fake_sink0.sink",
        "t.src_0 -> queue0.sink",
        "queue0.src -> m.sink_b",
        "test_src1.src -> m.sink_a",
        "m.src -> fake_sink1.sink",
    ]


def test_a_chain_goes_on_behind_a_reference():
    graph = graph_of("mixer name=m test_src ! m.sink_b test_src ! m.sink_a ! identity ! fake_sink")
    assert links(graph)[1:] == [
        "test_src1.src -> m.sink_a",
        "m.src -> identity0.sink",
        "identity0.src -> fake_sink0.sink",
    ]


def test_caps_between_two_elements_decide_what_they_left_open():
    line = "test_src ! resample ! audio/raw, rate=8000,\n channels={1, 2} ! fake_sink"
    graph = graph_of(line, registry=None)
    assert links(graph)[1] == "resample0.src -> capsfilter0.sink"
    assert graph.links[-1].caps.value("rate") == 8000
    assert graph.nodes["capsfilter0"].settings.caps == "audio/raw, rate=8000,\n channels={1, 2}"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("talk.wav", "talk.wav"),
        (r"my\ talk.wav", "my talk.wav"),
        (r"\5", "5"),
        (r"a\\b\'", "a\\b'"),
        ("'my talk.wav'", "my talk.wav"),
        ("'it''s'", "it's"),
        ("'C:\\new'", "C:\\new"),
        (r'"tab\tend \"q\" \u00e9"', 'tab\tend "q" é'),
        ("'5'", "5"),
        ("it's!fine=yes", "it's!fine=yes"),
        ("embedded:phrasebook", "embedded:phrasebook"),
        ("${env:HOME}/a.wav", "/home/me/a.wav"),
        ("'${env:NONE:-a b}'", "a b"),
        ("$${x}", "${x}"),
    ],
)  # fmt: skip
def test_texts(written, value):
    graph = graph_of(f"file_src path={written} ! fake_sink", env={"HOME": "/home/me"})
    assert graph.nodes["file_src0"].settings.path == value


@pytest.mark.parametrize(
    ("written", "value"),
    [("[]", []), ("[a, 'b c', \"d\\te\"]", ["a", "b c", "d\te"]), ("[it's, '5',\n '${env:A}']", ["it's", "5", "x"])],
)
def test_lists(written, value):
    graph = graph_of(
        f"test_src ! resample rate_hz=16000 channels=1 ! silero_vad ! canary_ast prompts={written} ! fake_sink",
        env={"A": "x"},
    )
    assert graph.nodes["canary_ast0"].settings.prompts == value


NUMBERS = [st.integers().map(str), st.floats().map(str), st.text("0123456789eE+-._xo~nulltrefas", min_size=1)]


@given(st.one_of(st.sampled_from(["true", "False", "null", "~", "no", "yes", ".5", "0x1F", "0o17", "017"]), *NUMBERS))
def test_a_value_without_quotes_is_what_yaml_says(written):
    problems = Diagnostics()
    tree = parse_line(LaunchLine(f"resample rate_hz={written}"), "x", problems)
    assert tree is not None
    assert problems.sorted() == ()
    elements = to_python(tree)["elements"]
    assert repr(elements) == repr({"resample0": {"type": "resample", "rate_hz": parse_value(written)}})


def test_params_are_declared_by_being_mentioned():
    sink = "file_sink path=${param:output}/$${param:no}.wav"
    line = f"file_src path='${{param:input}}' ! resample rate_hz=8000 channels=1 ! {sink}"
    result = check_line(line, params={"input": "a.wav", "output": "o"}, registry=None, require_params=True)
    assert [(p.name, p.required, p.role) for p in result.params] == [
        ("input", True, "input"),
        ("output", True, "output"),
    ]
    assert told(line, registry=None, require_params=True, params={"output": "o"}) == (
        "input", "missing-param", "param 'input' has no value", "give one with --set input=..."
    )  # fmt: skip


def test_settings_from_outside_hold_for_lines_too():
    line = "file_src path=a rate_hz=8000 ! resample ! fake_sink"
    assert graph_of(line, overrides={"resample0.rate_hz": 16000}).links[-1].caps.value("rate") == 16000


# What can be wrong ----------------------------------------------------------------------------------------------------

BEHIND, FRONT = "nothing comes behind this !", "expected an element in front of this !"
NOTHING = "is no element, no reference such as t. and no caps"
MISTAKES = [
    ("test_src !", "!", "line-syntax", BEHIND),
    ("test_src ! \n", "!", "line-syntax", BEHIND),
    ("! fake_sink", "!", "line-syntax", FRONT),
    ("test_src ! ! fake_sink", "!", "line-syntax", FRONT),
    (" \n ", " ", "line-syntax", "the line is empty"),
    ("test_src -> fake_sink", "->", "line-syntax", f"'->' {NOTHING}"),
    ("test_src ! bin/ ! fake_sink", "bin/", "line-syntax", f"'bin/' {NOTHING}"),
    ("test_src ! ( identity ) ! fake_sink", "(", "line-syntax", f"'(' {NOTHING}"),
    ("test_src ! tee .src_0 ! fake_sink", ".src_0", "line-syntax", f"'.src_0' {NOTHING}"),
    ("resample rate_hz =5", "=5", "line-syntax", f"'=5' {NOTHING}"),
    ("file_src path=a ! fake_sink b.c.d", "b.c.d", "line-syntax", f"'b.c.d' {NOTHING}"),
    ("file_src path= ! fake_sink", "path=", "bad-value", "the setting 'path' has no value"),
    ("file_src path=", "path=", "bad-value", "the setting 'path' has no value"),
    ("path=a.wav ! fake_sink", "path", "line-syntax", "the setting 'path' has no element in front of it"),
    ("test_src ! path=a.wav", "path", "line-syntax", "the setting 'path' has no element in front of it"),
    ("test_src ! tee name=t t. path=a ! fake_sink", "path", "line-syntax", "'t' is declared elsewhere"),
    ("file_src path='a ! fake_sink", "'", "line-syntax", "this quote is not closed"),
    ('file_src path="a\\" ! fake_sink', '"', "line-syntax", "this quote is not closed"),
    ("canary_ast prompts=[a, 'b] ! fake_sink", "[", "line-syntax", "this [ is not closed"),
    ("canary_ast prompts=[a, {b: c] ! fake_sink", "[", "line-syntax", "this [ is not closed"),
    ("file_src path='a'b ! fake_sink", "b", "line-syntax", "the text goes on behind a closed quote"),
    ("canary_ast prompts=[a]b", "b", "line-syntax", "the text goes on behind a closed bracket"),
    ('file_src path="\\q" ! fake_sink', "q", "line-syntax", "this backslash begins no escape that double quotes know"),
    ("canary_ast\n prompts=[a, !!int b]", "!!int b", "line-syntax", "tags are not allowed in a graph file"),
    ("canary_ast prompts={a: 1, a: 2}", "a", "duplicate-key", "'a' appears twice"),
    ("file_src path=a.wav! fake_sink", "!", "line-syntax", "a space goes in front of !"),
    ("test_src ! audio/x-raw ! fake_sink", "audio/x-raw", "bad-value",
     "caps: samples are called audio/raw here, with rate and channels alone"),
    ("audio/raw ! fake_sink", "audio/raw", "line-syntax", "caps stand between two !"),
    ("test_src ! audio/raw, rate=5", "audio/raw, rate=5", "line-syntax", "caps stand between two !"),
    ("test_src ! audio/raw fake_sink", "audio/raw fake_sink", "line-syntax", "caps stand between two !"),
    ("test_src name=a ! fake_sink name=a", "a", "duplicate-key", "two elements are called 'a'"),
    ("test_src ! fake_sink type=tee", "type", "duplicate-key", "'type' is given twice"),
    ("test_src ! resample rate_hz=8000 rate_hz=9 ! fake_sink", "rate_hz", "duplicate-key", "'rate_hz' is given twice"),
    ("test_src name=2x ! fake_sink", "2x", "bad-value", "'2x' is not a name for an element"),
    ("test_src name=[a] ! fake_sink", "[a]", "bad-value", "a name is a text without spaces"),
    ("test_src ! tee name=t t. ! fake_sink herd. ! fake_sink", "herd.", "unknown-element", "no element named 'herd'"),
    ("test_src ! tee name=t t. ! fake_sink t.scr_1 ! fake_sink", "t.scr_1", "unknown-pad", "'t' has no pad 'scr_1'"),
    ("tset_src ! fake_sink", "tset_src", "unknown-type", "no element type named 'tset_src'"),
    ("test_src ! resample rat_hz=5 ! fake_sink", "rat_hz", "unknown-field", "resample has no setting 'rat_hz'"),
    ("test_src ! resample\n rate_hz=x ! fake_sink", "x", "bad-value",
     "rate_hz must be a whole number, at least 8000 and at most 192000, got 'x'"),
    ("test_src ! resample", "resample", "unlinked-pad", "src pad resample0.src is not linked"),
    ("file_src path=${env:GONE} ! fake_sink", "${env:GONE}", "missing-env", "environment variable GONE is not set"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "marked", "code", "message"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_one_message_at_its_place(line, marked, code, message):
    assert told(line)[:3] == (marked, code, message)


def test_every_mistake_of_the_line_says_what_to_do():
    for line, _, code, _ in MISTAKES:
        if code == "line-syntax" and "empty" not in line:
            assert all(d.hint for d in check_line(line).diagnostics), line


def test_hints_are_in_the_words_of_a_line():
    line = "file_src path=a.wav ! silero_vad ! fake_sink"
    assert told(line)[1:] == (
        "caps-mismatch",
        "cannot link file_src0.src ! silero_vad0.sink",
        "put resample rate_hz=16000 channels=1 between them",
    )
    assert told("test_src ! file_sink")[3] == "file_sink path=..."


# Budgets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("test_src ! " + "identity ! " * 1001 + "fake_sink", "the graph grows beyond 1000 elements"),
        ("test_src " + " ".join(f"a{n}=b" for n in range(30_000)), "the line has more than 20000 values"),
        (
            "test_src a=[" + "b," * MAX_VALUES + "]",
            "the document has more than 20000 nodes, aliases counted as often as used",
        ),
        ("test_src a=" + "[" * 40 + "]" * 40, "nested deeper than 32 levels"),
        ("x" * (1 << 20) + " ! y", "the line is longer than 1 MiB"),
        ("nothing " * 900 + "! fake_sink", "there are more than 100 problems; the check stopped here"),
        ("file_src path=${param:a}" + "${param:a}" * 100, "the variables of the graph expand to more than 4 MiB"),
    ],
    ids=["elements", "settings", "nodes", "depth", "length", "problems", "text"],
)
def test_a_line_has_the_bounds_of_a_file(line, message):
    found = check_line(line, params={"a": "x" * 60_000} if "param" in line else {})
    assert message in [d.message for d in found.diagnostics]
    assert found.graph is None


PIECES = [
    "!",
    " ! ",
    " ",
    "t.",
    "t.src_0",
    "tee name=t",
    "identity",
    "test_src",
    "fake_sink",
    "=",
    "a=",
    "'",
    '"',
    "[",
    "]",
]
PIECES += [
    "{a: b}",
    "\\",
    "audio/raw,rate=5",
    ",",
    "\n",
    "\r\n",
    "\u2028",
    "\0",
    "\ud800",
    "😀",
    "${param:x}",
    "${",
    "name=",
    ".",
]
PIECES += ["bin/x", "->", "null", "*a", "&a ", "!!int ", "(", ")", "#"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=25).map("".join))
def test_any_text_is_answered_in_words(text):
    result = check_line(text)
    assert all(d.code in CODES for d in result.diagnostics)
    assert (result.graph is None) == any(d.severity == "error" for d in result.diagnostics)
    rows = text.splitlines() or [""]
    for d in result.diagnostics:
        if d.span is not None and d.span.file == "<line>":
            assert 1 <= d.span.line <= len(rows) + 1
    result.format_text()


def broken(line: str) -> Iterator[str]:
    """The line with a piece cut out, doubled or put in."""
    chance = random.Random(7)
    for _ in range(150):
        a, b = sorted(chance.randrange(len(line) + 1) for _ in range(2))
        yield chance.choice([line[:a] + line[b:], line[:b] + line[a:], line[:a] + chance.choice(PIECES) + line[a:]])


def test_broken_lines_are_answered_in_words():
    for line in broken((GRAPHS / "valid-branches.line").read_text(encoding="utf-8")):
        assert all(d.code in CODES for d in check_line(line).diagnostics)


# What a GRAPH argument is ---------------------------------------------------------------------------------------------


def test_a_line_is_known_by_its_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert graph_source("test_src ! fake_sink") == LaunchLine("test_src ! fake_sink")
    assert graph_source("test_src\n!\nfake_sink" + " " * 5000) == LaunchLine("test_src\n!\nfake_sink" + " " * 5000)
    assert graph_source("phrasebook") == shipped_graph("phrasebook")
    (tmp_path / "hello ! world").write_text("", encoding="utf-8")
    assert str(graph_source("hello ! world")) == "hello ! world"
    assert not is_line("wow!.yaml")


@pytest.mark.parametrize("command", [["check"], ["graph"], ["fetch"], ["bench", "--rounds", "1"], ["run", "-q"]])
def test_commands_take_a_line_where_they_take_a_graph(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "test_src duration_ms=100 ! fake_sink"]) == 0
    assert main([*command, "test_src ! fake_sunk"]) == 2
    shown = capsys.readouterr()
    assert "did you mean 'fake_sink'?" in shown.out + shown.err
    assert "<line>:1:12: error[unknown-type]" in shown.out + shown.err


def test_a_line_runs_over_recordings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = shipped_graph("vad").parent / "demo/clips/en-00.flac"
    sink = "jsonl_sink path=${param:output}/found.jsonl"
    line = f"file_src path=${{param:input}} ! resample rate_hz=16000 ! silero_vad ! {sink}"
    assert main(["run", line, str(clip), "-o", "out", "-q"]) == 0
    assert (tmp_path / "out/en-00/found.jsonl").is_file()


def test_what_is_measured_replaces_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.wav").write_bytes(b"mine")
    for path, said in (("talk.wav", "talk.wav is there already"), ("-", "writes to standard output")):
        assert main(["bench", f"test_src duration_ms=100 ! file_sink path={path}", "--rounds", "1"]) == 2
        assert said in capsys.readouterr().err
    assert (tmp_path / "talk.wav").read_bytes() == b"mine"
    sink = "file_sink path=${param:output}/talk.wav"
    assert main(["bench", f"test_src duration_ms=100 ! {sink}", "--rounds", "2"]) == 0


def test_a_server_is_told_to_take_files(capsys):
    assert main(["serve", "test_src ! fake_sink"]) == 2
    assert "--print-yaml" in capsys.readouterr().err


BINS = """\
version: 1
bins:
  quiet:
    params: {freq: 440}
    elements: {a: {type: identity}, b: {type: capsfilter, caps: "audio/raw, rate=${param:freq}"}}
    links: [a -> b]
    pads: {sink: a.sink, src: b.src}
"""


def test_a_line_uses_bins_of_files_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "bins.yaml").write_text(BINS, encoding="utf-8")
    line = LaunchLine(
        "test_src rate_hz=8000 ! bin/quiet freq=8000 ! bin/quiet name=q freq=8000 ! fake_sink", ("shared/bins.yaml",)
    )
    result = check_graph(line)
    assert result.format_text() == ""
    assert result.graph is not None
    assert list(result.graph.nodes) == ["test_src0", "quiet0.a", "quiet0.b", "q.a", "q.b", "fake_sink0"]
    wrong = check_graph(replace(line, text=line.text.replace("freq=8000 ! fake", "frq=8000 ! fake")))
    assert "did you mean 'freq'?" in wrong.format_text()
    (tmp_path / "line.yaml").write_text(line_as_yaml(line), encoding="utf-8")
    from_file = check_graph(tmp_path / "line.yaml").graph
    assert from_file is not None
    assert list(from_file.nodes) == list(result.graph.nodes)
    assert main(["launch", "--include", "shared/bins.yaml", "--print-yaml", line.text]) == 0
    assert capsys.readouterr().out == line_as_yaml(line)
    assert main(["launch", "-q", "--include", "shared/bins.yaml", line.text, "--set", "test_src0.duration_ms=100"]) == 0


def test_a_bin_that_no_file_holds_is_unknown() -> None:
    (found,) = check_graph(LaunchLine("test_src ! bin/quiet ! fake_sink")).diagnostics
    assert (found.code, found.span.column if found.span else 0) == ("unknown-type", 12)
    (found,) = check_graph(LaunchLine("test_src ! fake_sink", ("nowhere.yaml",))).diagnostics
    assert found.code == "bad-include"
