"""Which graphs can run here is known before anybody runs them."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tolmach.pipelines.element import Extra, Missing
from tolmach.pipelines.errors import ModelMissingError
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.models.caches import cache_dir, cache_folders, missing_in, missing_text
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.shipped import shipped_graph, shipped_graphs
from tolmach.processors.silero.voices import MODELS
from tolmach.web.errors import without_paths

CANARY = Missing("nvidia/canary-1b-v2", 6_358_958_080)
COMMIT = "0" * 40


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path / "tolmach"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def lacks(name: str, **params: str) -> str:
    return missing_text(name, missing_in(load_graph(shipped_graph(name), params=params)))


def put(path: Path, size_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size_bytes)  # sparse: it only looks large


def put_canary() -> None:
    snapshot = cache_folders()["hugging face"] / "models--nvidia--canary-1b-v2" / "snapshots" / COMMIT
    assert CANARY.size_bytes is not None
    put(snapshot / "canary-1b-v2.nemo", CANARY.size_bytes)


def test_everything_that_is_missing_is_named_at_once() -> None:
    canary = "needs `tolmach fetch interpreter`: nvidia/canary-1b-v2 (5.9 GiB), "
    assert lacks("interpreter") == f"{canary}v3_en (54.5 MiB), v5_5_ru (138.7 MiB)"
    assert lacks("interpreter", source_lang="ru", target_lang="en") == f"{canary}v3_en (54.5 MiB)"
    assert lacks("interpreter", source_lang="en", voice="v4_ru") == f"{canary}v4_ru (39.9 MiB)"
    graph = load_graph(shipped_graph("interpreter"), params={"source_lang": "en"})
    assert missing_in(graph) == {CANARY: ["ast"], Missing("v5_5_ru", 145_420_684): ["tts"]}


def test_what_is_on_disk_is_not_missing(tmp_path: Path) -> None:
    put_canary()
    into_russian = partial(lacks, "interpreter", source_lang="en")
    assert into_russian() == "needs `tolmach fetch interpreter`: v5_5_ru (138.7 MiB)"
    from tolmach.processors.silero.files import expected_at
    from tolmach.processors.silero.spec import SileroTtsSettings

    voice = expected_at(SileroTtsSettings(model="v5_5_ru"), tmp_path)
    assert voice.is_relative_to(cache_dir())
    put(voice, 1000)
    assert "v5_5_ru" in into_russian(), "a file of another length is no voice"
    put(voice, MODELS["v5_5_ru"].size_bytes or 0)
    assert into_russian() == ""
    assert lacks("interpreter") == "needs `tolmach fetch interpreter`: v3_en (54.5 MiB)"


async def test_a_run_that_cannot_start_names_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    put(tmp_path / "talk.wav", 0)
    params = {"input": "talk.wav", "output": "out", "model": str(tmp_path / "mine.nemo"), "voice": "v5_5_ru"}
    graph = load_graph(shipped_graph("recording"), params=params)
    monkeypatch.setitem(MODELS, "v5_5_ru", replace(MODELS["v5_5_ru"], url="http://127.0.0.1:9/v5_5_ru.pt"))
    with pytest.raises(ModelMissingError) as raised:
        await GraphRunner(graph, base_dir=tmp_path).run()
    assert "v5_5_ru could not be downloaded" in str(raised.value)
    assert "Missing besides: mine.nemo: there is no such file" in str(raised.value)


@pytest.mark.parametrize("name", ["phrasebook", "phrasebook-live", "echo", "vad"])
def test_graphs_that_need_nothing_can_run(name: str) -> None:
    assert lacks(name) == ""


def test_a_file_of_ones_own_is_named_without_its_folder(tmp_path: Path) -> None:
    text = lacks("interpreter", model=str(tmp_path / "secret" / "mine.nemo"), voice="v5_5_ru")
    assert "mine.nemo: there is no such file" in text
    assert "secret" not in text


def test_the_question_is_cheap() -> None:
    """No model library, no hub client: it is asked for every graph, by every reload of the page."""
    program = (
        "import sys; from tolmach.pipelines.language.check import load_graph\n"
        "from tolmach.pipelines.models.caches import missing_in\n"
        f"for path in {[str(path) for path in shipped_graphs()]!r}: missing_in(load_graph(path))\n"
        "heavy = ('torch', 'nemo', 'faster_whisper', 'huggingface_hub', 'av', 'pipecat')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_the_api_tells_it_and_no_path(tmp_path: Path) -> None:
    from tolmach.web.catalogue.catalogue import GraphCatalogue

    catalogue = GraphCatalogue(shipped_graph("interpreter").parent)
    await catalogue.start()
    try:
        shown = {graph["name"]: graph for graph in catalogue.as_json()["graphs"]}
        assert shown["interpreter"]["missing"][0] == {
            "what": "nvidia/canary-1b-v2",
            "size_bytes": CANARY.size_bytes,
            "remedy": "",
            "elements": ["ast"],
        }
        assert shown["interpreter"]["missing_text"].startswith("needs `tolmach fetch interpreter`: nvidia/canary-1b-v2")
        assert (shown["echo"]["missing"], shown["echo"]["missing_text"]) == ([], "")
        assert str(tmp_path) not in json.dumps(shown)
        put_canary()
        (again,) = (graph for graph in catalogue.as_json()["graphs"] if graph["name"] == "interpreter")
        assert "canary" not in again["missing_text"], "what was fetched meanwhile counts without a restart"
    finally:
        await catalogue.stop()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no model file /srv/secret/m.nemo; give", "no model file …/m.nemo; give"),
        ("cannot read '/home/a b/x.pt': gone", "cannot read '…/x.pt': gone"),
        ("~/.cache/tolmach/silero/v.pt is damaged", "…/v.pt is damaged"),
        ("C:\\Users\\me\\m.nemo is gone", "…/m.nemo is gone"),
        ("from https://models.silero.ai/models/tts/ru/v5_5_ru.pt (refused)", None),
        ("use nvidia/canary-1b-v2 and/or text/x-translation, 16 kHz / mono", None),
        ("(/var/lib/tolmach/x.yaml:3:7)", "(…/x.yaml:3:7)"),
    ],
)
def test_clients_read_no_path_of_the_server(said: str, told: str | None) -> None:
    assert without_paths(said) == (said if told is None else told)


async def test_an_extra_that_is_not_installed_is_missing_and_said_at_start(tmp_path: Path) -> None:
    registry = Registry.builtin()
    identity = registry.get("identity")
    extra = Extra("tolmach[canary]", ("no_such_module_here", "sys"))
    assert not extra.installed
    assert Extra("tolmach[silero]", ("sys",)).installed
    lacking = registry.without("identity").extended(replace(identity, extra=extra), origin="tests")
    path = tmp_path / "g.yaml"
    elements = "{in: {type: test_src}, i: {type: identity}, out: {type: fake_sink}}"
    path.write_text(f"version: 1\nelements: {elements}\nlinks: [in -> i -> out]\n")
    graph = load_graph(path, registry=lacking)  # it is checked all the same
    assert missing_text("g", missing_in(graph)) == "tolmach[canary]: pip install 'tolmach[canary]'"
    with pytest.raises(ModelMissingError, match=r"identity needs packages .*: pip install 'tolmach\[canary\]'"):
        await GraphRunner(graph).run()


def test_torch_and_nemo_belong_to_extras(root: Path) -> None:
    """A plain installation runs the engine, the server, the page, Whisper and espeak."""
    registry = Registry.builtin()
    needing = {name: registry.get(name).extra for name in registry if registry.get(name).extra}
    assert {name: extra.requirement for name, extra in needing.items() if extra} == {
        "canary_ast": "tolmach[canary]",
        "silero_tts": "tolmach[silero]",
    }
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not [line for line in project["dependencies"] if line.startswith(("torch", "nemo", "silero"))]
    extras = project["optional-dependencies"]
    assert {"tolmach[canary]", "tolmach[silero]"} <= {f"tolmach[{name}]" for name in extras}
