"""A graph written as a line, and a line written as a file, come to the same graph again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.graph_specs import GRAPHS, REGISTRY, graph_of
from tests.unit.test_launch_line import check_line, same
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.describe.written import line_as_yaml, quoted, to_line
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import check_graph, load_graph
from tolmach.pipelines.language.launch_line import LaunchLine
from tolmach.pipelines.shipped import shipped_graphs

WORDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(
        ["5", "null", "~", "true", "a b", "it's", "${env:HOME}", "$${", "a!", "!", "[a]", "\\", "é\u2028", "- x"]
    ),
    st.text("${}:'\"\\!, []#&*", min_size=1, max_size=8),
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,5}|(tee|identity|queue)[0-3]", fullmatch=True)


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """A sound graph file: sources, filters, forks and joins, declared and linked in any order."""
    names: set[str] = set()
    elements: dict[str, str] = {}
    links: list[tuple[str, str]] = []

    def element(kind: str, given: str = "") -> str:
        name = draw(NAMES.filter(lambda n: n not in names))
        names.add(name)
        elements[name] = f"{{type: {kind}{given}}}"
        return name

    def link(src: str, sink: str) -> None:
        links.append((src, sink))

    ends = [element("test_src") for _ in range(draw(st.integers(1, 2)))]
    for _ in range(draw(st.integers(0, 6))):
        at = ends.pop(draw(st.integers(0, len(ends) - 1)))
        kind = draw(st.sampled_from(["identity", "queue", "resample", "tee", "tee", "funnel", "splitter", "mixer"]))
        if kind == "tee":
            fork = element(kind)
            link(at, fork)
            numbers = draw(st.one_of(st.none(), st.lists(st.integers(0, 12), min_size=1, max_size=3, unique=True)))
            ends += [fork] * draw(st.integers(1, 3)) if numbers is None else [f"{fork}.src_{n}" for n in numbers]
        elif kind == "splitter":
            split = element(kind)
            link(at, split)
            ends += [f"{split}.left", f"{split}.right"]
        elif kind in ("funnel", "mixer"):
            join = element(kind)
            sinks = ["sink_a", "sink_b"] if kind == "mixer" else draw(st.sampled_from([["", ""], ["sink_4", "sink_1"]]))
            for n, src in enumerate([at, ends.pop()] if ends else [at]):
                wait = element("queue")
                link(src, wait)
                link(wait, f"{join}.{sinks[n]}" if sinks[n] else join)
            ends.append(join)
        else:
            # Streams that join must be alike, so nothing here makes another number of channels.
            given = draw(st.sampled_from(["", ", channels: 1"])) if kind == "resample" else ""
            policy = draw(st.sampled_from(["", ", on_error: skip", ", on_error: fail"]))
            name = element(kind, given + policy)
            link(at, name)
            ends.append(name)
    for at in ends:
        link(at, element("fake_sink"))
    path = quoted(draw(WORDS).replace("${", "$${"))
    link(element("file_src", f", path: {path}, rate_hz: 16000"), element("fake_sink"))
    order = draw(st.permutations(list(elements)))
    declared = "".join(f"  {name}: {elements[name]}\n" for name in order)
    chains = "".join(f"  - {src} -> {sink}\n" for src, sink in draw(st.permutations(links)))
    return f"version: 1\nelements:\n{declared}links:\n{chains}"


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_a_graph_comes_back_from_its_line(text):
    graph = graph_of(text)
    again = again_from(to_line(graph))
    assert same(again, graph), to_line(graph)
    assert same(graph_of(line_as_yaml(LaunchLine(to_line(graph)))), graph)
    assert "'" not in to_line(graph)  # which lets it stand in single quotes


def again_from(line: str, **more: Any) -> Graph:
    result = check_line(line, **more)
    assert result.graph is not None, f"{line}\n{result.format_text()}"
    return result.graph


@given(WORDS)
def test_texts_come_back_as_they_were(text):
    file = (
        "version: 1\nelements: {a: {type: file_src, path: x, rate_hz: 16000}, b: {type: fake_sink}}\nlinks: [a -> b]\n"
    )
    graph = graph_of(file, overrides={"a.path": text})
    assert graph.nodes["a"].settings.path == text
    assert again_from(to_line(graph)).nodes["a"].settings.path == text


SHIPPED = shipped_graphs()


@pytest.mark.parametrize("path", SHIPPED, ids=[p.stem for p in SHIPPED])
def test_the_shipped_graphs_come_back_from_their_lines(path):
    takes_a_recording = any(param.role == "input" for param in check_graph(path).params)
    params = {"input": "my talk.wav", "output": "out"} if takes_a_recording else {}
    graph = load_graph(path, params=params, require_params=True)
    line = to_line(graph)
    assert same(load_graph(LaunchLine(line)), graph)
    assert same(load_graph("g.yaml", text=line_as_yaml(LaunchLine(line))), graph)


def test_bins_are_written_as_what_is_in_them():
    path = GRAPHS / "valid-conversation.yaml"
    graph = load_graph(path, registry=REGISTRY, env={})
    again = again_from(to_line(graph))
    assert [name.replace(".", "_") for name in graph.nodes] == list(again.nodes)
    assert [link.caps for link in graph.links] == [link.caps for link in again.links]
    assert [node.on_error for node in graph.nodes.values()] == [node.on_error for node in again.nodes.values()]


def test_a_line_as_a_file_keeps_variables_and_declares_params():
    line = "file_src path='${param:input}' ! resample rate_hz=0x1F40 ! file_sink name=out path=${env:DIR:-.}/a.wav"
    assert line_as_yaml(LaunchLine(line)) == (
        "version: 1\n"
        "params:\n"
        "  input:\n"
        "elements:\n"
        '  file_src0: {type: file_src, path: "${param:input}"}\n'
        "  resample0: {type: resample, rate_hz: 0x1F40}\n"
        '  out:       {type: file_sink, path: "${env:DIR:-.}/a.wav"}\n'
        "links:\n"
        "  - file_src0 -> resample0 -> out\n"
    )


# Commands -------------------------------------------------------------------------------------------------------------


def test_there_and_back_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    caps = "resample channels=1 ! audio/raw, rate=8000"
    line = f'file_src path="my talk.wav" ! {caps} ! tee name=t ! fake_sink t. ! fake_sink'
    assert main(["launch", line, "--print-yaml"]) == 0
    (tmp_path / "g.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["check", "g.yaml"]) == 0
    assert capsys.readouterr().out == "g.yaml: ok (6 elements, 5 links)\n"
    assert main(["graph", "--as-launch", "g.yaml"]) == 0
    written = capsys.readouterr().out
    assert same(load_graph(LaunchLine(written)), load_graph(LaunchLine(line)))
    assert shlex.split(f"tolmach launch '{written}'")[2] == written


def test_what_is_written_as_a_line_needs_values(capsys):
    assert main(["graph", "--as-launch", "vad"]) == 2
    assert "give one with --set input=..." in capsys.readouterr().err
    assert main(["graph", "--as-launch", "vad", "--set", "input=talk.wav", "-o", "/dev/stdout"]) == 0


def test_a_line_runs_and_leaves_only_what_its_sinks_write(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["test_src", "duration_ms=200", "!", "file_sink", "path=my file.wav"]
    assert main(["launch", *words]) == 0
    shown = capsys.readouterr()
    assert [p.name for p in tmp_path.iterdir()] == ["my file.wav"]
    assert "my file.wav" in shown.out
    assert "[1/1] graph: done: 0:00" in shown.err
    assert main(["launch", *words, "-q"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["launch", *words, "-q", "--overwrite", "--set", "test_src0.wave=silence"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("test_src !", 2, "<line>:1:10: error[line-syntax]: nothing comes behind this !"),
        ("test_src ! fake_sunk", 2, "did you mean 'fake_sink'?"),
        ("file_src path=${param:input} ! fake_sink", 2, "give one with --set input=..."),
        ("phrasebook", 2, "phrasebook is a graph file: tolmach run phrasebook"),
        ("file_src path=gone.wav ! fake_sink", 1, "gone.wav: no such file"),
    ],
)
def test_what_is_wrong_with_a_line(line, status, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["launch", line]) == status
    shown = capsys.readouterr()
    assert said in shown.err + shown.out
    assert list(Path().iterdir()) == []
