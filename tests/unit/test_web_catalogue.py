"""The catalogue of live graphs: files that change under it, and what a client may change."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import pytest_asyncio

from tolmach.pipelines.errors import GraphError
from tolmach.web.catalogue import catalogue as catalogue_module
from tolmach.web.catalogue.catalogue import GraphCatalogue
from tolmach.web.catalogue.graph import MAX_FILES
from tolmach.web.catalogue.live_settings import in_words, live_settings
from tolmach.web.errors import ApiError
from tolmach.web.event_loop import LoopLag

LIVE = """\
version: 1
description: For tests.
params:
  source_lang: {default: en, choices: [en, ru], description: What is spoken.}
  target_lang: {default: "${env:TOLMACH_TEST_TARGET:-ru}", description: What is heard.}
  model: {default: "embedded:phrasebook", description: The model.}
  volume: {default: 100, choices: [50, 100]}
elements:
  in:     {type: webrtc_src}
  to_16k: {type: resample, rate_hz: 16000, channels: 1}
  vad:    {type: silero_vad, hangover_ms: 500}
  wait:   {type: queue, max_ms: 60000}
  ast:
    type: canary_ast
    model: "${param:model}"
    source_lang: "${param:source_lang}"
    target_lang: "${param:target_lang}"
  tts:    {type: espeak_tts, lang: "${param:target_lang}", volume: "${param:volume}"}
  out:    {type: webrtc_sink}
links:
  - in -> to_16k -> vad -> wait -> ast -> tts -> out
"""
ECHO = """\
version: 1
elements:
  in: {type: webrtc_src}
  out: {type: webrtc_sink}
links: [in -> out]
"""
HEADLESS = """\
version: 1
elements:
  in: {type: test_src}
  out: {type: fake_sink}
links: [in -> out]
"""
BROKEN = ECHO.replace("in -> out", "in -> oud")

Open = Callable[..., Any]


@pytest_asyncio.fixture
async def open_catalogue() -> AsyncIterator[Open]:
    """Opens catalogues, and stops them at the end."""
    opened: list[GraphCatalogue] = []

    async def opener(graphs: Path, **options: Any) -> GraphCatalogue:
        catalogue = GraphCatalogue(graphs, **options)
        opened.append(catalogue)
        await catalogue.start()
        return catalogue

    yield opener
    for catalogue in opened:
        await catalogue.stop()


async def change(catalogue: GraphCatalogue, action: Callable[[], Any], until: Callable[[], bool]) -> None:
    """Do something to the files and wait until the catalogue has seen it."""
    async with asyncio.timeout(60):
        revision = catalogue.revision
        action()
        while not until():
            revision = await catalogue.wait_changed(revision)


def write(path: Path, text: str) -> Callable[[], None]:
    """Puts a file in place as careful editors do."""

    def put() -> None:
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)

    return put


# Files ----------------------------------------------------------------------------------------------------------------


async def test_only_live_graphs_are_offered(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "live.yaml").write_text(LIVE)
    (tmp_path / "echo.yml").write_text(ECHO)
    (tmp_path / "headless.yaml").write_text(HEADLESS)
    (tmp_path / "broken-headless.yaml").write_text(HEADLESS.replace("-> out", "-> oud"))
    (tmp_path / ".hidden.yaml").write_text(ECHO)
    (tmp_path / "echo.txt").write_text(ECHO)
    (tmp_path / "folder.yaml").mkdir()
    catalogue = await open_catalogue(tmp_path)
    assert [(e.name, e.file, e.ok, e.stale) for e in catalogue.graphs()] == [
        ("echo", "echo.yml", True, False),
        ("live", "live.yaml", True, False),
    ]
    assert catalogue.default == "echo"
    with pytest.raises(ApiError, match=r"there is no graph 'ecko'; did you mean 'echo'\?") as caught:
        catalogue.find("ecko")
    assert caught.value.status_code == 404


async def test_a_mistake_does_not_take_a_graph_away(tmp_path: Path, open_catalogue: Open):
    path = tmp_path / "live.yaml"
    path.write_text(LIVE)
    catalogue = await open_catalogue(tmp_path)
    await change(
        catalogue,
        write(path, LIVE.replace("type: silero_vad", "type: silero_wad")),
        lambda: catalogue.find("live").stale,
    )
    live = catalogue.find("live")
    assert live.ok
    assert [d.code for d in live.diagnostics] == ["unknown-type"]
    assert "live.yaml:11:18: error[unknown-type]" in live.diagnostics_text
    assert str(tmp_path) not in live.diagnostics_text
    graph = await catalogue.load("live", {}, {})
    assert graph.nodes["vad"].spec.type == "silero_vad"

    mended = LIVE.replace("hangover_ms: 500", "hangover_ms: 600")
    await change(catalogue, write(path, mended), lambda: not catalogue.find("live").stale)
    assert catalogue.find("live").diagnostics == ()
    after = await catalogue.load("live", {}, {})
    assert after.nodes["vad"].settings.hangover_ms == 600
    assert graph.nodes["vad"].settings.hangover_ms == 500  # a running session keeps the graph it was given


async def test_graphs_come_and_go_while_the_server_runs(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "echo.yaml").write_text(ECHO)
    catalogue = await open_catalogue(tmp_path)

    def names() -> list[str]:
        return [live.name for live in catalogue.graphs()]

    await change(catalogue, write(tmp_path / "live.yaml", LIVE), lambda: names() == ["echo", "live"])
    await change(catalogue, (tmp_path / "echo.yaml").unlink, lambda: names() == ["live"])
    assert catalogue.default == "live"
    await change(catalogue, write(tmp_path / "live.yaml", HEADLESS), lambda: names() == [])
    assert catalogue.default is None
    assert catalogue.as_json() == {"default": None, "revision": catalogue.revision, "graphs": []}


async def test_a_new_graph_that_is_wrong_is_shown_with_what_is_wrong(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "echo.yaml").write_text(ECHO)
    catalogue = await open_catalogue(tmp_path)
    await change(catalogue, write(tmp_path / "new.yaml", BROKEN), lambda: len(catalogue.graphs()) == 2)
    shown = catalogue.as_json()["graphs"][1]
    assert (shown["name"], shown["ok"], shown["stale"], shown["settings"]) == ("new", False, False, [])
    assert [d["code"] for d in shown["diagnostics"]] == ["unknown-element"]
    with pytest.raises(GraphError, match="no element named 'oud'") as caught:
        await catalogue.load("new", {}, {})
    assert [d.code for d in caught.value.diagnostics] == ["unknown-element"]


async def test_one_file_alone_is_watched_through_its_replacement(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "other.yaml").write_text(ECHO)
    path = tmp_path / "mine.yaml"
    path.write_text(ECHO)
    catalogue = await open_catalogue(path)
    assert [live.name for live in catalogue.graphs()] == ["mine"]
    for name in ("first", "second"):
        text = ECHO.replace("version: 1", f"version: 1\ndescription: {name}")
        await change(catalogue, write(path, text), lambda: catalogue.as_json()["graphs"][0]["description"] == name)  # noqa: B023


async def test_an_editor_that_writes_in_place_is_seen_too(tmp_path: Path, open_catalogue: Open):
    path = tmp_path / "echo.yaml"
    path.write_text(ECHO)
    catalogue = await open_catalogue(tmp_path)
    text = ECHO.replace("version: 1", "version: 1\ndescription: in place")
    await change(catalogue, lambda: path.write_text(text), lambda: "in place" in str(catalogue.as_json()))


async def test_polling_sees_what_a_mounted_folder_does_not_tell(
    tmp_path: Path, open_catalogue: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "true")
    (tmp_path / "echo.yaml").write_text(ECHO)
    catalogue = await open_catalogue(tmp_path)
    await change(catalogue, write(tmp_path / "live.yaml", LIVE), lambda: len(catalogue.graphs()) == 2)


async def test_a_folder_that_is_replaced_is_found_again(
    tmp_path: Path, open_catalogue: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(catalogue_module, "RESCAN_MS", 100)
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "echo.yaml").write_text(ECHO)
    catalogue = await open_catalogue(folder)
    new = tmp_path / "new"
    new.mkdir()
    (new / "live.yaml").write_text(LIVE)

    def replace() -> None:
        folder.rename(tmp_path / "old")
        new.rename(folder)

    await change(catalogue, replace, lambda: [e.name for e in catalogue.graphs()] == ["live"])


async def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path, open_catalogue: Open):
    folder = tmp_path / "graphs"
    version = folder / "..2025"  # as Kubernetes mounts a ConfigMap
    version.mkdir(parents=True)
    (version / "inside.yaml").write_text(ECHO)
    (folder / "inside.yaml").symlink_to(version / "inside.yaml")
    (tmp_path / "secret.yaml").write_text(ECHO)
    (folder / "outside.yaml").symlink_to(tmp_path / "secret.yaml")
    (folder / "dangling.yaml").symlink_to(tmp_path / "gone.yaml")
    catalogue = await open_catalogue(folder)
    assert [live.name for live in catalogue.graphs()] == ["inside"]


async def test_two_suffixes_do_not_hide_each_other(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "a.yaml").write_text(ECHO)
    (tmp_path / "a.yml").write_text(LIVE)
    catalogue = await open_catalogue(tmp_path, default="a.yml")
    assert [graph["name"] for graph in catalogue.as_json()["graphs"]] == ["a", "a.yml"]
    assert "vad" in (await catalogue.load("a.yml", {}, {})).nodes
    assert catalogue.default == "a.yml"


async def test_what_is_read_is_bounded(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "0.yaml").write_text(ECHO)
    for number in range(MAX_FILES):
        (tmp_path / f"n{number}.yaml").write_text("version: 1\n")
    (tmp_path / "z.yaml").write_text(ECHO)
    (tmp_path / "1.yaml").write_text(ECHO + "# " + "x" * 2**20)
    catalogue = await open_catalogue(tmp_path)
    assert [live.name for live in catalogue.graphs()] == ["0"]


async def test_a_server_without_a_graph_does_not_start(tmp_path: Path, open_catalogue: Open):
    with pytest.raises(GraphError, match="no live graph here; one begins with webrtc_src and ends with webrtc_sink"):
        await open_catalogue(tmp_path)
    (tmp_path / "headless.yaml").write_text(HEADLESS)
    with pytest.raises(GraphError, match="no live graph here"):
        await open_catalogue(tmp_path / "headless.yaml")
    (tmp_path / "broken.yaml").write_text("version: [")
    with pytest.raises(GraphError, match=r"broken.yaml:\d+:\d+: error\[yaml-syntax\]") as caught:
        await open_catalogue(tmp_path / "broken.yaml")
    assert caught.value.diagnostics
    (tmp_path / "wrong.yaml").write_text(BROKEN)
    with pytest.raises(GraphError, match="no element named 'oud'"):
        await open_catalogue(tmp_path)
    (tmp_path / "echo.yaml").write_text(ECHO)
    with pytest.raises(GraphError, match=r"no live graph is named 'ecco'; did you mean 'echo'\?"):
        await open_catalogue(tmp_path, default="ecco")


async def test_stopping_is_safe_at_any_time(tmp_path: Path):
    (tmp_path / "echo.yaml").write_text(ECHO)
    catalogue = GraphCatalogue(tmp_path)
    await catalogue.stop()
    await catalogue.start()
    await catalogue.start()
    await catalogue.stop()
    await catalogue.stop()
    assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []


@pytest.mark.realtime
async def test_the_loop_goes_on_while_a_large_graph_is_checked(tmp_path: Path, open_catalogue: Open):
    names = [f"e{n}" for n in range(900)]
    large = ECHO.replace("elements:", "elements:\n" + "\n".join(f"  {name}: {{type: identity}}" for name in names))
    large = large.replace("in -> out", f"in -> {' -> '.join(names)} -> out")
    (tmp_path / "echo.yaml").write_text(ECHO)
    catalogue = await open_catalogue(tmp_path)
    late: list[float] = []
    lag = LoopLag(late.append)
    lag.start()
    await change(catalogue, write(tmp_path / "large.yaml", large), lambda: len(catalogue.graphs()) == 2)
    await catalogue.load("large", {}, {})
    await lag.stop()
    assert max(late) < 0.1  # the check itself takes many times that


# What a session gets --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def catalogue(tmp_path: Path, open_catalogue: Open) -> GraphCatalogue:
    (tmp_path / "live.yaml").write_text(LIVE)
    opened: GraphCatalogue = await open_catalogue(tmp_path)
    return opened


async def test_a_session_gets_its_params_and_settings(catalogue: GraphCatalogue):
    graph = await catalogue.load(
        "live",
        {"source_lang": "ru", "target_lang": "en", "volume": 50},
        {"vad.hangover_ms": 900, "tts.pitch": 70, "ast.min_logprob": -0.5},
    )
    assert graph.nodes["vad"].settings.hangover_ms == 900
    assert (graph.nodes["tts"].settings.lang, graph.nodes["tts"].settings.pitch) == ("en", 70)
    assert graph.nodes["tts"].settings.volume == 50
    assert (graph.nodes["ast"].settings.source_lang, graph.nodes["ast"].settings.min_logprob) == ("ru", -0.5)
    assert [str(link.src) for link in graph.links_from("tts")] == ["tts.src"]


async def test_elements_inside_bins_get_the_settings_of_a_session_too(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "bins.yaml").write_text("""\
version: 1
bins:
  ears:
    elements:
      mic: {type: webrtc_src}
      to_16k: {type: resample, rate_hz: 16000}
      vad: {type: webrtc_vad}
    links: [mic -> to_16k -> vad]
    pads: {src: vad.src}
elements:
  ears: {type: bin/ears}
  out: {type: webrtc_sink}
links: [ears -> out]
""")
    catalogue = await open_catalogue(tmp_path)
    graph = await catalogue.load("bins", {}, {"ears.vad.mode": 3, "ears.mic.gate_playback": False})
    assert not graph.nodes["ears.mic"].settings.gate_playback
    assert graph.nodes["ears.vad"].settings.mode == 3


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"model": "/etc/passwd"}, "param 'model' cannot be given by a client"),
        ({"model": "somebody/model"}, "the server allows it with --trust-params"),
        ({"source_lang": "fr"}, "source_lang must be one of 'en', 'ru', got 'fr'"),
        ({"target_lang": "../../etc/passwd"}, "'../../etc/passwd' is not a language tag"),
        ({"target_lang": "en\n"}, "is not a language tag"),
        ({"target_lang": "xx"}, "xx"),
        ({"target_lang": 5}, "5 is not a language tag"),
        ({"volume": 75}, "volume must be one of 50, 100, got 75"),
        ({"volume": "50"}, "volume must be one of 50, 100, got '50'"),
        ({"target_long": "en"}, "did you mean 'target_lang'?"),
        ({"source_lang": ["en"]}, "the value of 'source_lang' must be one value, got a list"),
        ({"source_lang": {"a": 1}}, "must be one value, got a mapping"),
        ({"target_lang": "e" * 201}, "the value of 'target_lang' has more than 200 characters"),
        ({"p" * 201: 1}, "the name of a param has more than 200 characters"),
        ({"volume": float("nan")}, "the value of 'volume' is too large"),
        ({"volume": float("inf")}, "the value of 'volume' is too large"),
        ({"volume": 10**400}, "the value of 'volume' is too large"),
        ({f"p{n}": n for n in range(201)}, "more than 200 values were given"),
        ({"\ud800": "\udfff"}, "the graph has no param named"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
async def test_params_that_a_client_may_not_give(catalogue: GraphCatalogue, params: dict[str, Any], said: str):
    with pytest.raises(GraphError) as caught:
        await catalogue.load("live", params, {})
    assert said in str(caught.value)
    assert caught.value.diagnostics
    with pytest.raises(GraphError):
        await catalogue.drawing("live", params)


async def test_a_client_may_say_what_holds_anyway(catalogue: GraphCatalogue):
    graph = await catalogue.load("live", {"model": "embedded:phrasebook", "volume": None}, {})
    assert graph.nodes["ast"].settings.model == "embedded:phrasebook"
    assert graph.nodes["tts"].settings.volume == 100


RENAMED = (
    LIVE.replace("  source_lang: {", "  from: {role: source_lang, ")
    .replace("  target_lang: {", "  to: {role: target_lang, ")
    .replace("param:source_lang}", "param:from}")
    .replace("param:target_lang}", "param:to}")
)


async def test_languages_are_known_by_their_roles(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "live.yaml").write_text(RENAMED)
    (tmp_path / "locked.yaml").write_text(LIVE.replace("  target_lang: {", "  target_lang: {role: none, "))
    catalogue = await open_catalogue(tmp_path)
    shown, locked = catalogue.as_json()["graphs"]
    assert [(p["name"], p["role"], p["locked"]) for p in shown["params"]] == [
        ("from", "source_lang", False),
        ("to", "target_lang", False),
        ("model", None, True),
        ("volume", None, False),
    ]
    graph = await catalogue.load("live", {"from": "ru", "to": "en"}, {})
    assert graph.nodes["ast"].settings.source_lang == "ru"
    assert graph.nodes["tts"].settings.lang == "en"
    with pytest.raises(GraphError, match="is not a language tag"):
        await catalogue.load("live", {"to": "../../etc/passwd"}, {})
    assert [p["name"] for p in locked["params"] if p["locked"]] == ["target_lang", "model"]
    with pytest.raises(GraphError, match="param 'target_lang' cannot be given by a client"):
        await catalogue.load("locked", {"target_lang": "en"}, {})


async def test_a_server_may_trust_its_clients(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "live.yaml").write_text(LIVE)
    catalogue = await open_catalogue(tmp_path, trust_params=True)
    graph = await catalogue.load("live", {"model": "/models/mine.nemo"}, {})
    assert graph.nodes["ast"].settings.model == "/models/mine.nemo"
    assert not any(param["locked"] for param in catalogue.as_json()["graphs"][0]["params"])


@pytest.mark.parametrize(
    "target",
    [
        "ast.model",
        "ast.device",
        "ast.cpu_threads",
        "ast.max_in_flight",
        "ast.batch_utterances",
        "ast.merge",
        "ast.source_lang",
        "ast.on_error",
        "tts.lang",
        "tts.voice",
        "tts.chunk_ms",
        "to_16k.rate_hz",
        "wait.max_ms",
        "in.hold_ms",
        "vad.no_such",
        "vad",
        "",
        "hangover_ms",
        ".hangover_ms",
    ],
)
async def test_settings_that_a_client_may_not_change(catalogue: GraphCatalogue, target: str):
    with pytest.raises(GraphError) as caught:
        await catalogue.load("live", {}, {target: 1})
    assert f"{target!r} cannot be set by a client" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vad.hangover_ms": 1}, "hangover_ms"),
        ({"vad.hangover_ms": "long"}, "hangover_ms"),
        ({"vad.hangover_ms": [1]}, "must be one value, got a list"),
        ({"vad.threshold": 1.0}, "threshold"),
        ({"in.gate_playback": "loud"}, "gate_playback"),
        ({"vad.post_roll_ms": 9000}, "post_roll_ms (9000) must not exceed hangover_ms (500)"),
        ({"vad.hangover_m": 600}, "did you mean 'vad.hangover_ms'?"),
    ],
    ids=str,
)
async def test_settings_are_checked_like_those_of_a_file(
    catalogue: GraphCatalogue, settings: dict[str, Any], said: str
):
    with pytest.raises(GraphError) as caught:
        await catalogue.load("live", {}, settings)
    assert said in str(caught.value)


async def test_a_setting_may_mend_what_a_param_alone_would_break(tmp_path: Path, open_catalogue: Open):
    text = LIVE.replace("{type: espeak_tts, lang: ", "{type: silero_tts, speaker: baya, model: ").replace(
        'model: "${param:target_lang}", volume: "${param:volume}"', 'model: "${param:who}"'
    )
    text = text.replace(
        "  volume: {default: 100, choices: [50, 100]}", "  who: {default: v4_ru, choices: [v4_ru, v3_en]}"
    )
    (tmp_path / "silero.yaml").write_text(text)
    catalogue = await open_catalogue(tmp_path)
    params = {"source_lang": "ru", "target_lang": "en", "who": "v3_en"}
    with pytest.raises(GraphError, match="v3_en has no speaker 'baya'"):
        await catalogue.load("silero", params, {})
    graph = await catalogue.load("silero", params, {"tts.speaker": "en_0"})
    assert graph.nodes["tts"].settings.speaker == "en_0"


async def test_a_param_that_is_required_must_be_given(tmp_path: Path, open_catalogue: Open):
    text = LIVE.replace('target_lang: {default: "${env:TOLMACH_TEST_TARGET:-ru}"', "target_lang: {default: ")
    (tmp_path / "live.yaml").write_text(text)
    catalogue = await open_catalogue(tmp_path)
    assert catalogue.as_json()["graphs"][0]["params"][1]["required"]
    with pytest.raises(GraphError, match="param 'target_lang' has no value"):
        await catalogue.load("live", {}, {})
    assert (await catalogue.load("live", {"target_lang": "ru"}, {})).nodes["tts"].settings.lang == "ru"


# What the API tells ---------------------------------------------------------------------------------------------------


async def test_the_api_tells_what_can_be_chosen(tmp_path: Path, open_catalogue: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOLMACH_TEST_TARGET", "en")
    (tmp_path / "live.yaml").write_text(LIVE)
    catalogue = await open_catalogue(tmp_path)
    answer = catalogue.as_json()
    assert (answer["default"], answer["revision"]) == ("live", catalogue.revision)
    (graph,) = answer["graphs"]
    assert json.loads(json.dumps(graph, allow_nan=False)) == json.loads(json.dumps(graph))
    assert (graph["name"], graph["file"], graph["description"]) == ("live", "live.yaml", "For tests.")
    assert [(p["name"], p["default"], p["choices"], p["locked"]) for p in graph["params"]] == [
        ("source_lang", "en", ["en", "ru"], False),
        ("target_lang", "en", [], False),
        ("model", "embedded:phrasebook", [], True),
        ("volume", 100, [50, 100], False),
    ]
    assert [(li["element"], li["type"]) for li in graph["licences"]] == [
        ("vad", "silero_vad"),
        ("ast", "canary_ast"),
        ("tts", "espeak_tts"),
    ]
    settings = {s["target"]: s for s in graph["settings"]}
    assert settings["vad.hangover_ms"] == {
        "target": "vad.hangover_ms",
        "element": "vad",
        "role": "detector",
        "name": "hangover_ms",
        "title": "Pause that ends an utterance",
        "description": "Silence that closes an utterance; shorter pauses stay inside it, unless something else finds "
        "that it was the end, ms.",
        "type": "integer",
        "nullable": False,
        "minimum": 50,
        "maximum": 10_000,
        "exclusive_minimum": False,
        "exclusive_maximum": False,
        "choices": [],
        "unit": "ms",
        "value": 500,
    }
    assert settings["tts.pitch"]["title"] == "Pitch", "made from the name where the field declares none"
    assert [p["title"] for p in graph["params"]] == ["Source lang", "Target lang", "Model", "Volume"]
    threshold = settings["vad.threshold"]
    assert (threshold["type"], threshold["minimum"], threshold["maximum"]) == ("number", 0, 1)
    assert threshold["exclusive_minimum"]
    assert threshold["exclusive_maximum"]
    assert (settings["ast.min_logprob"]["nullable"], settings["ast.min_logprob"]["value"]) == (True, None)
    gate = settings.pop("in.gate_playback")
    assert (gate["type"], gate["value"]) == ("boolean", True)
    assert {t.partition(".")[0] for t in settings} == {"vad", "ast", "tts"}


async def test_a_graph_has_the_revision_of_its_last_good_text(tmp_path: Path, open_catalogue: Open):
    path = tmp_path / "echo.yaml"
    path.write_text(ECHO)
    catalogue = await open_catalogue(tmp_path)

    def revision() -> str | None:
        told: str | None = catalogue.as_json()["graphs"][0]["revision"]
        return told

    first = hashlib.sha256(ECHO.encode()).hexdigest()[:12]
    assert revision() == first
    await change(catalogue, write(path, BROKEN), lambda: catalogue.find("echo").stale)
    assert revision() == first
    mended = ECHO + "# mended\n"
    await change(catalogue, write(path, mended), lambda: not catalogue.find("echo").stale)
    assert revision() == hashlib.sha256(mended.encode()).hexdigest()[:12]
    await change(catalogue, write(tmp_path / "a-new-one.yaml", BROKEN), lambda: len(catalogue.graphs()) == 2)
    assert revision() is None


async def test_every_setting_that_is_told_of_may_be_changed(catalogue: GraphCatalogue):
    graph = catalogue.find("live").graph
    assert graph is not None
    for setting in live_settings(graph):
        assert not re.search(r"_|^$|^[a-zа-я]", setting.title), f"{setting.target} has a title in words"
        changed = await catalogue.load("live", {}, {setting.target: setting.value})
        assert getattr(changed.nodes[setting.element].settings, setting.name) == setting.value


@pytest.mark.parametrize(
    ("name", "unit", "words"),
    [
        ("doubtful_onset_ms", "ms", "Doubtful onset"),
        ("max_chars_per_s", "characters/s", "Maximum chars"),
        ("min_logprob", "", "Minimum log-probability"),
        ("ms", "ms", "Ms"),
        ("__", "", ""),
    ],
)
def test_names_are_told_in_words(name: str, unit: str, words: str):
    assert in_words(name, unit) == words


async def test_speakers_are_listed(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "silero.yaml").write_text("""\
version: 1
elements:
  in: {type: webrtc_src}
  to_16k: {type: resample}
  vad: {type: silero_vad}
  ast: {type: canary_ast, model: "embedded:phrasebook", source_lang: en, target_lang: ru}
  tts: {type: silero_tts, model: v4_ru}
  out: {type: webrtc_sink}
links: [in -> to_16k -> vad -> ast -> tts -> out]
""")
    catalogue = await open_catalogue(tmp_path)
    settings = {s["name"]: s for s in catalogue.as_json()["graphs"][0]["settings"] if s["element"] == "tts"}
    assert (settings["speaker"]["type"], settings["speaker"]["nullable"]) == ("enum", True)
    assert "baya" in settings["speaker"]["choices"]
    assert settings["put_accent"]["type"] == "boolean"
    assert not {"rate_hz", "device", "cpu_threads", "model", "sha256", "lang"} & set(settings)


async def test_numbers_that_json_does_not_know_are_told_as_text(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "odd.yaml").write_text(ECHO.replace("elements:", "params: {odd: {default: .inf}}\nelements:", 1))
    catalogue = await open_catalogue(tmp_path)
    assert json.loads(json.dumps(catalogue.as_json(), allow_nan=False))["graphs"][0]["params"][0]["default"] == "inf"


async def test_a_graph_is_drawn_as_it_would_run(catalogue: GraphCatalogue):
    drawn = ElementTree.fromstring(await catalogue.drawing("live", {"source_lang": "ru", "target_lang": "en"}))  # noqa: S314
    elements = {g.get("data-element") for g in drawn.iter() if g.get("data-element")}
    assert elements == {"in", "to_16k", "vad", "wait", "ast", "tts", "out"}
    assert "lang: en" in "".join(drawn.itertext())
    with pytest.raises(ApiError):
        await catalogue.drawing("no-such")


async def test_the_shipped_live_graphs_can_be_used(root: Path, open_catalogue: Open):
    catalogue = await open_catalogue(root / "config", default="phrasebook-live")
    assert {"echo", "interpreter", "phrasebook-live", "simultaneous", "whisper-live", "whisper-simultaneous"} <= {
        e.name for e in catalogue.graphs() if e.ok
    }
    assert os.fspath(root) not in json.dumps(catalogue.as_json())


async def test_a_name_that_is_no_text_ends_neither_the_watch_nor_the_list(
    tmp_path: Path, open_catalogue: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(catalogue_module, "RESCAN_MS", 200)
    (tmp_path / "echo.yaml").write_text(ECHO)
    catalogue = await open_catalogue(tmp_path)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.yaml"))

    def write_odd(n: int) -> None:
        odd.write_text(ECHO + "# changed\n" * n)

    with caplog.at_level(logging.WARNING, "tolmach.web"):
        for n in range(3):
            write_odd(n)
            name = f"new{n}"
            await change(
                catalogue, write(tmp_path / f"{name}.yaml", ECHO), lambda name=name: name in named_in(catalogue)
            )
    assert named_in(catalogue) == ["echo", "new0", "new1", "new2"]
    assert json.loads(json.dumps(catalogue.as_json()).encode("utf-8"))["graphs"]
    assert caplog.text.count("its name is no UTF-8") == 1


def named_in(catalogue: GraphCatalogue) -> list[str]:
    return [live.name for live in catalogue.graphs()]


async def test_links_in_a_circle_are_passed_over(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "echo.yaml").write_text(ECHO)
    (tmp_path / "a.yaml").symlink_to(tmp_path / "b.yaml")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "a.yaml")
    (tmp_path / "self.yaml").symlink_to(tmp_path)
    catalogue = await open_catalogue(tmp_path)
    assert named_in(catalogue) == ["echo"]


# Included files -------------------------------------------------------------------------------------------------------

INCLUDING = """\
version: 1
include: [shared/bins.yaml]
elements:
  in: {type: webrtc_src}
  way: {type: bin/way}
  out: {type: webrtc_sink}
links: [in -> way -> out]
"""
BINS = """\
version: 1
bins:
  way:
    elements: {x: {type: queue, max_ms: 1000}}
    pads: {sink: x.sink, src: x.src}
"""


async def test_a_graph_is_checked_again_when_a_file_it_includes_changes(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "shared").mkdir()
    bins = tmp_path / "shared" / "bins.yaml"
    bins.write_text(BINS)
    (tmp_path / "live.yaml").write_text(INCLUDING)
    catalogue = await open_catalogue(tmp_path)
    first = catalogue.find("live")
    assert first.ok
    await change(catalogue, write(bins, BINS.replace("1000", "2000")), lambda: catalogue.find("live") != first)
    assert catalogue.find("live").revision != first.revision
    assert (await catalogue.load("live", {}, {})).nodes["way.x"].settings.max_ms == 2000

    await change(catalogue, write(bins, BINS.replace("queue", "queu")), lambda: catalogue.find("live").stale)
    stale = catalogue.find("live")
    assert stale.diagnostics_text.startswith("shared/bins.yaml:4:26: error[unknown-type]")
    assert (await catalogue.load("live", {}, {})).nodes["way.x"].settings.max_ms == 2000  # the last good one stands

    await change(catalogue, bins.unlink, lambda: "is no file" in catalogue.find("live").diagnostics_text)
    assert (await catalogue.load("live", {}, {})).nodes["way.x"].settings.max_ms == 2000
    await change(catalogue, write(bins, BINS.replace("1000", "3000")), lambda: not catalogue.find("live").stale)
    assert (await catalogue.load("live", {}, {})).nodes["way.x"].settings.max_ms == 3000


async def test_a_graph_whose_includes_come_later_can_be_used_then(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "live.yaml").write_text(INCLUDING)
    (tmp_path / "echo.yaml").write_text(ECHO)
    catalogue = await open_catalogue(tmp_path)
    assert not catalogue.find("live").ok
    (tmp_path / "shared").mkdir()
    await change(catalogue, write(tmp_path / "shared" / "bins.yaml", BINS), lambda: catalogue.find("live").ok)


async def test_the_server_includes_nothing_from_outside_its_folder(tmp_path: Path, open_catalogue: Open):
    graphs = tmp_path / "graphs"
    graphs.mkdir()
    (tmp_path / "bins.yaml").write_text(BINS)
    (graphs / "shared").symlink_to(tmp_path)
    (graphs / "live.yaml").write_text(INCLUDING)
    (graphs / "echo.yaml").write_text(ECHO)
    catalogue = await open_catalogue(graphs)
    assert not catalogue.find("live").ok
    assert "'shared/bins.yaml' leads out of the folder of this file" in catalogue.find("live").diagnostics_text


async def test_a_file_of_bins_beside_the_graphs_is_no_broken_graph(tmp_path: Path, open_catalogue: Open):
    (tmp_path / "ends.yaml").write_text(BINS.replace("queue, max_ms: 1000", "webrtc_src").replace("sink: x.sink, ", ""))
    (tmp_path / "live.yaml").write_text(
        INCLUDING.replace("shared/bins.yaml", "ends.yaml")
        .replace("  in: {type: webrtc_src}\n", "")
        .replace("in -> way", "way")
    )
    catalogue = await open_catalogue(tmp_path)
    assert [(each.name, each.ok) for each in catalogue.graphs()] == [("live", True)]
