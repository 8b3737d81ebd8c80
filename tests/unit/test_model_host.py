"""Where models run: what a graph and a command line may say of it, and who is heard."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tolmach.pipelines.cli.commands import serve
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.builder import GraphBuilder
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.model_host import THREADS, HostPlace, choose, chosen

GRAPH = """\
version: 1
host: {host}
params:
  where: {{default: "ray:auto"{choices}}}
elements:
  in: {{type: test_src, duration_ms: 10}}
  out: {{type: fake_sink}}
links: [in -> out]
"""


@pytest.fixture(autouse=True)
def nobody_chose() -> Iterator[None]:
    choose(None)
    yield
    choose(None)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("thread", THREADS),
        ("ray", HostPlace("ray")),
        ("ray:local", HostPlace("ray", "local")),
        ("ray,replicas=2", HostPlace("ray", replicas=2)),
        (
            "ray:10.0.0.5:6379, replicas=4, num_gpus=0.25, models=/mnt/models",
            HostPlace("ray", "10.0.0.5:6379", 4, 0.25, models="/mnt/models"),
        ),
    ],
)
def test_places_are_read_and_written(text: str, place: HostPlace):
    assert HostPlace.parse(text) == place
    assert HostPlace.parse(str(place)) == place


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rey", "is neither thread nor ray"),
        ("ray:", "is neither thread nor ray"),
        ("thread:4", "thread takes no address"),
        ("ray,replica=2", "did you mean replicas"),
        ("ray,replicas", "has no option 'replicas'"),
        ("ray,replicas=two", "replicas must be a whole number, got 'two'"),
        ("ray,replicas=0", "replicas of a model host must be between 1 and 1000"),
        ("ray,num_gpus=nan", "num_gpus of a model host must be between"),
        ("ray,num_gpus=1.5", "must be a whole number"),
        ("ray:ray://10.0.0.5:10001", "run this on a machine of the cluster"),
        ("ray:somewhere", "no address of a Ray cluster"),
    ],
)
def test_what_is_no_place_is_refused_in_words(text: str, why: str):
    with pytest.raises(GraphError, match=why):
        HostPlace.parse(text)


def graph_of(host: str, choices: str = "", **given: Any) -> Graph:
    found = check_graph("g.yaml", text=GRAPH.format(host=host, choices=choices), **given)
    assert found.graph is not None, found.format_text()
    return found.graph


def test_a_graph_says_it_and_a_command_line_goes_before():
    two = HostPlace("ray", "auto", 2)
    assert graph_of("ray:auto,replicas=2").host == two
    assert graph_of("~").host is None
    assert graph_of("${env:WHERE}", env={"WHERE": "ray:auto,replicas=2"}).host == two
    assert chosen() == THREADS
    assert chosen(two) == two
    choose(HostPlace("ray", "local"))
    assert chosen(two) == chosen() == HostPlace("ray", "local")


def test_whoever_gives_params_may_not_send_models_where_they_like():
    found = check_graph("g.yaml", text=GRAPH.format(host='"${param:where}"', choices=""))
    [problem] = found.diagnostics
    assert (problem.code, problem.span.line) == ("bad-value", 2)
    assert "may be anything" in problem.message
    assert graph_of('"${param:where}"', choices=', choices: ["ray:auto", thread]').host == HostPlace("ray", "auto")


def test_a_graph_that_a_program_builds_says_it_too():
    builder = GraphBuilder(host="ray:auto,replicas=2")
    builder.add("in", "test_src", duration_ms=10)
    builder.add("out", "fake_sink")
    builder.link("in", "out")
    assert builder.build().host == HostPlace("ray", "auto", 2)
    with pytest.raises(GraphError, match="did you mean replicas"):
        GraphBuilder(host="ray,replica=2")


def test_a_wrong_place_in_a_graph_has_its_line():
    [problem] = check_graph("g.yaml", text=GRAPH.format(host="ray,replica=2", choices="")).diagnostics
    assert (problem.code, problem.span.line) == ("bad-value", 2)
    assert "did you mean replicas" in problem.message


def test_a_wrong_place_on_a_command_line_exits_with_2(capsys: pytest.CaptureFixture[str]):
    assert main(["run", "vad", "--host", "ray,replica=2"]) == 2
    assert "did you mean replicas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "address", "models"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0", None),  # noqa: S104
        (["--host", "ray:local"], "127.0.0.1", "ray:local"),
        (["--host", "::1", "--model-host", "ray"], "::1", "ray"),
    ],
)
def test_a_server_tells_where_to_listen_from_where_models_run(
    options: list[str], address: str, models: str | None, monkeypatch: pytest.MonkeyPatch
):
    seen: list[str] = []
    monkeypatch.setattr(serve, "run", lambda args: seen.append(args.host) or 0)
    assert main(["serve", *options]) == 0
    assert seen == [address]
    assert str(chosen()) == (models or "thread")


def test_without_ray_it_says_what_installs_it(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "ray", None)
    recording = root / "config" / "demo" / "phrasebook-en.flac"
    assert main(["run", "phrasebook", str(recording), "-o", str(tmp_path), "--host", "ray", "-q"]) == 2
    assert "pip install 'tolmach[ray]'" in capsys.readouterr().err
