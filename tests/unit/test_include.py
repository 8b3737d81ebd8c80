"""`include:`: bins of other files; what may be included, what it costs, and how mistakes are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.graph_specs import REGISTRY
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.check import CheckResult, check_graph
from tolmach.pipelines.language.diagnostics import MAX_INCLUDED_FILES
from tolmach.pipelines.language.include import MAX_DEPTH, Includes

GRAPH = """\
version: 1
include: [{files}]
elements:
  in: {{type: test_src}}
  it: {{type: bin/part}}
  out: {{type: fake_sink}}
links: [in -> it -> out]
"""
PART = """\
version: 1
bins:
  part:
    elements: {x: {type: identity}}
    pads: {sink: x.sink, src: x.src}
"""


def write(folder: Path, *files: str, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(GRAPH.format(files=", ".join(files)), encoding="utf-8")
    return path


def check(path: Path, **more: object) -> CheckResult:
    return check_graph(path, registry=REGISTRY, env={}, **more)  # type: ignore[arg-type]


def said(result: CheckResult) -> list[tuple[str, str]]:
    return [(d.code, d.message) for d in result.diagnostics]


def test_a_bin_of_another_file_is_used_like_an_own_one(tmp_path: Path):
    (tmp_path / "part.yaml").write_text(PART)
    result = check(write(tmp_path, "part.yaml"))
    assert said(result) == []
    assert result.graph is not None
    assert list(result.graph.nodes) == ["in", "it.x", "out"]
    assert result.graph.nodes["it.x"].bin == "it"


@pytest.mark.parametrize("kind", ["file", "folder", "absolute", "parent"])
def test_what_lies_elsewhere_is_not_included_unless_trusted(tmp_path: Path, kind: str):
    outside, inside = tmp_path / "outside", tmp_path / "graphs"
    outside.mkdir()
    inside.mkdir()
    (outside / "part.yaml").write_text(PART)
    (inside / "link.yaml").symlink_to("../outside/part.yaml")
    (inside / "folder").symlink_to(outside)
    named = {
        "file": "link.yaml",
        "folder": "folder/part.yaml",
        "absolute": str(outside / "part.yaml"),
        "parent": "../outside/part.yaml",
    }[kind]
    path = write(inside, named)
    assert said(check(path)) == [("bad-include", f"{named!r} leads out of the folder of this file")]
    assert check(path, includes=Includes(inside, (outside,))).ok
    assert check(path, includes=Includes(inside, (inside,))).graph is None


def test_whether_something_is_there_outside_is_not_told(tmp_path: Path):
    inside = tmp_path / "graphs"
    inside.mkdir()
    assert {m for _, m in said(check(write(inside, "../a", "../b"), includes=Includes(inside)))} == {
        f"'../{name}' leads out of the folder of this file" for name in "ab"
    }


def test_a_file_below_may_not_climb_up_again(tmp_path: Path):
    (tmp_path / "part.yaml").write_text(PART)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "more.yaml").write_text("version: 1\ninclude: [../part.yaml]\n")
    (found,) = check(write(tmp_path, "below/more.yaml")).diagnostics
    assert (found.code, found.span and Path(found.span.file).name) == ("bad-include", "more.yaml")


def test_links_inside_the_folder_are_followed(tmp_path: Path):
    # As Kubernetes mounts a ConfigMap.
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "part.yaml").write_text(PART)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "part.yaml").symlink_to("..data/part.yaml")
    assert check(write(tmp_path, "part.yaml")).ok


def test_a_hundred_megabytes_are_not_read(tmp_path: Path):
    with (tmp_path / "part.yaml").open("wb") as stream:
        stream.truncate(100_000_000)
    result = check(write(tmp_path, "part.yaml"))
    assert said(result) == [("yaml-syntax", "the file is larger than 1 MiB")]
    assert result.diagnostics[0].span == Span(str(tmp_path / "part.yaml"), 1, 1)
    assert sum(len(text) for text in result.sources.values()) < 1000


def test_what_is_no_file_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "ring").symlink_to("ring")
    result = check(write(tmp_path, "pipe", "zero", "ring", '"a\\0b"'))
    assert [d.code for d in result.diagnostics] == ["bad-include"] * 4


def test_files_are_included_to_a_depth(tmp_path: Path):
    def chain(length: int) -> Path:
        for n in range(1, length):
            (tmp_path / f"f{n}.yaml").write_text(f"version: 1\ninclude: [f{n + 1}.yaml]\n")
        (tmp_path / f"f{length}.yaml").write_text(PART)
        return write(tmp_path, "f1.yaml")

    assert check(chain(MAX_DEPTH)).ok
    assert said(check(chain(MAX_DEPTH + 1))) == [("bad-include", "files are included deeper than 8 levels")]


def test_files_text_and_values_are_counted_together(tmp_path: Path):
    names = [f"f{n}.yaml" for n in range(MAX_INCLUDED_FILES + 1)]
    for name in names:
        (tmp_path / name).write_text("version: 1\nbins: {}\n")
    result = check(write(tmp_path, *names))
    assert said(result) == [("check-stopped", "the graph includes more than 32 files")]
    assert len(result.included) == len(names)  # what a server must look at, for it may be mended there
    for name in names[:2]:
        (tmp_path / name).write_text("version: 1\n#" + "x" * 600_000 + "\n")
    stopped = "the files that the graph includes are longer than 1 MiB together"
    assert said(check(write(tmp_path, *names[:2]))) == [("check-stopped", stopped)]
    many = ", ".join("x" for _ in range(11_000))
    for n in (0, 1):
        (tmp_path / names[n]).write_text(f"version: 1\nbins: {{b{n}: {{description: d, links: [{many}]}}}}\n")
    stopped = "the files that the graph includes have more than 20000 values together"
    assert said(check(write(tmp_path, *names[:2]))) == [("check-stopped", stopped)]


def test_a_file_that_is_included_twice_is_there_once(tmp_path: Path):
    (tmp_path / "part.yaml").write_text(PART)
    (tmp_path / "more.yaml").write_text("version: 1\ninclude: [./part.yaml]\nbins: {}\n")
    assert check(write(tmp_path, "part.yaml", "more.yaml", "part.yaml")).ok


def test_two_files_with_a_bin_of_one_name_are_both_named(tmp_path: Path):
    (tmp_path / "part.yaml").write_text(PART)
    (tmp_path / "other.yaml").write_text(PART)
    (found,) = check(write(tmp_path, "part.yaml", "other.yaml")).diagnostics
    assert (found.code, found.message) == ("duplicate-key", "there is a bin 'part' already")
    assert found.span is not None
    assert Path(found.span.file).name == "other.yaml"
    assert found.notes == (f"declared on line 3 of {tmp_path / 'part.yaml'}",)


def test_a_mistake_is_shown_with_the_line_of_its_file(tmp_path: Path):
    (tmp_path / "part.yaml").write_text(PART.replace("identity", "identiti"))
    shown = check(write(tmp_path, "part.yaml")).format_text()
    assert shown.startswith(f"{tmp_path / 'part.yaml'}:4:26: error[unknown-type]: no element type named 'identiti'\n")
    assert "  4 |     elements: {x: {type: identiti}}\n" in shown


def test_a_text_without_a_folder_includes_nothing():
    result = check_graph("typed", text=GRAPH.format(files="part.yaml"), registry=REGISTRY)
    assert said(result) == [("bad-include", "a text without a folder can include nothing")]


def test_a_graph_is_checked_again_with_what_was_found(tmp_path: Path):
    part = tmp_path / "part.yaml"
    part.write_text(PART)
    path = write(tmp_path, "part.yaml")
    first = check(path)
    part.unlink()
    text = path.read_text()
    again = check_graph("a.yaml", text=text, registry=REGISTRY, includes=Includes(tmp_path, found=first.included))
    assert again.graph is not None
    assert list(again.graph.nodes) == ["in", "it.x", "out"]


def test_a_file_of_bins_alone_is_told_what_it_is_for(tmp_path: Path):
    (tmp_path / "part.yaml").write_text(PART)
    assert {d.hint for d in check(tmp_path / "part.yaml").diagnostics} == {
        "a file with bins alone is for `include:` of a graph"
    }


@pytest.mark.parametrize("command", ["check", "graph", "run", "fetch"])
def test_the_command_line_trusts_a_folder(command: str, tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "library").mkdir()
    (tmp_path / "graphs").mkdir()
    (tmp_path / "library" / "part.yaml").write_text(PART)
    path = write(tmp_path / "graphs", "../library/part.yaml")
    path.write_text(path.read_text().replace("test_src", "test_src, duration_ms: 40"))
    monkeypatch.chdir(tmp_path)
    assert main([command, str(path)]) == 2
    said = capsys.readouterr()
    assert "--trust-includes DIR allows another folder" in said.out + said.err
    assert main([command, str(path), "--trust-includes", "library"]) == 0
