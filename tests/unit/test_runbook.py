"""What the runbook and the page on audio routing tell people to do can be done."""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.unit.documented import commands, inline_code, parse, shell_lines
from tolmach.pipelines.cli.commands import serve
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.shipped import shipped_graphs
from tolmach.processors.hosting.figures import HostFigures
from tolmach.web.metrics import Metrics, Places, Snapshot
from tolmach.web.security import PROBES
from tolmach.web.settings import ServerSettings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
RUNBOOK = (ROOT / "docs" / "RUNBOOK.md").read_text(encoding="utf-8")
ROUTING = (ROOT / "docs" / "AUDIO_ROUTING.md").read_text(encoding="utf-8")
BOTH = {"RUNBOOK.md": RUNBOOK, "AUDIO_ROUTING.md": ROUTING}
CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for room in ("pipelines", "processors", "transports", "web")
    for path in (ROOT / room).rglob("*.py")
)
PAGE = " ".join(
    re.sub(r"[\"“”]\s*\+\s*\"?", "", path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "web" / "static").glob("*"))
    if path.suffix in (".js", ".html")
)

TOLMACH = [words for text in BOTH.values() for words in commands(text, "tolmach")]
COMPOSE = [words[1:] for words in commands(RUNBOOK, "docker") if words[0] == "compose"]


@pytest.mark.parametrize("arguments", TOLMACH, ids=" ".join)
def test_tolmach_takes_the_commands_that_are_told(arguments: list[str]):
    parse(arguments)


def test_there_are_commands_to_check():
    assert {words[0] for words in TOLMACH} >= {"serve", "fetch", "doctor", "check"}
    assert len(COMPOSE) > 6


@pytest.mark.parametrize("words", COMPOSE, ids=" ".join)
def test_compose_commands_name_files_and_services_that_are_there(words: list[str]):
    parser = argparse.ArgumentParser()
    parser.add_argument("-f", action="append", required=True)
    parser.add_argument("verb", choices=["up", "run", "stop", "logs"])
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    found = parser.parse_args(words)
    assert all((ROOT / name).is_file() for name in found.f)
    services = YAML(typ="safe").load(DOCKER / "compose.yaml")["services"]
    service, *arguments = list(itertools.dropwhile(lambda word: word.startswith("-"), found.rest)) or [None]
    assert service is None or service in services
    if found.verb == "run":
        parse(arguments)


@pytest.mark.parametrize("name", BOTH)
def test_variables_are_read_by_somebody(name: str):
    configured = CODE + "".join(path.read_text() for path in DOCKER.iterdir() if path.is_file())
    for variable in set(re.findall(r"\bTOLMACH_\w+|\bHF_\w+|\bORT_\w+", BOTH[name])):
        assert variable in configured, variable


def test_files_of_docker_name_variables_that_are_read_by_somebody():
    compose = "".join(path.read_text() for path in DOCKER.glob("compose*.yaml"))
    script = (DOCKER / "entrypoint.sh").read_text()
    for path in DOCKER.iterdir():
        if not path.is_file():
            continue
        for variable in set(re.findall(r"\bTOLMACH_\w+", path.read_text())):
            assert variable in CODE or f"${{{variable}" in compose + script, (path.name, variable)


def test_every_option_of_the_server_is_explained():
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    for option in options - {"--help"}:
        assert f"`{option}" in RUNBOOK, option


def test_defaults_are_those_of_the_server():
    arguments = parse(["serve"])
    assert f"| {arguments.host}, {arguments.port} |" in RUNBOOK
    assert f"| `--max-sessions N` | {arguments.max_sessions} |" in RUNBOOK
    assert f"| `--max-session-minutes N` | {arguments.max_session_minutes} |" in RUNBOOK
    assert f"| `--idle-minutes N` | {arguments.idle_minutes} |" in RUNBOOK
    assert f"| `--log-level` | `{arguments.log_level}` |" in RUNBOOK
    assert f"| `--offers-per-minute N` | {arguments.offers_per_minute} |" in RUNBOOK
    settings = ServerSettings(graphs=ROOT / "config")
    assert f"have {settings.drain_s:g} s to" in RUNBOOK
    assert settings.max_sessions_per_address is None
    assert set(PROBES) == {"/healthz", "/readyz"}


def test_metrics_are_given():
    busy = {"tts": {"busy_s": 1.0, "audio_s": 1.0, "frames": 1.0}}
    snapshot = Snapshot(
        "g",
        elements=busy,
        queues={"wait": {"ms": 1.0, "frames": 1.0, "dropped": 0.0}},
        round_trip_ms=1.0,
        speculations={"ast": {"hit": 1.0}},
        voices={"tts": {"spoken": 1}},
    )
    places = Places(8, 8, ready=True, draining=False)
    metrics = Metrics(lambda: [snapshot], hosts=lambda: [HostFigures("m")], places=lambda: places)
    metrics.jobs["recordings"] = lambda: {"working": 1, "waiting": 0}
    metrics.session_ended("closed")
    text = metrics.render()[0].decode()
    for name in re.findall(r"`(tolmach_\w+)`", RUNBOOK):
        assert re.search(rf"^{name}(_bucket|_count)?[ {{]", text, re.MULTILINE), name


@pytest.mark.parametrize("name", BOTH)
def test_links_within_and_between_lead_to_headings(name: str):
    for target, anchor in re.findall(r"\]\(([\w./]*)#([\w-]+)\)", BOTH[name]):
        text = (ROOT / "docs" / (target or name)).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert anchor in slugs, anchor


def test_what_the_page_is_quoted_to_say_it_says():
    symptoms = re.findall(r"^\| (\"[^|]+) \|", RUNBOOK, re.MULTILINE)
    quoted = [text for cell in symptoms for text in re.findall(r'"([^"]+)"', cell)]
    elsewhere = CODE + "\n" + (DOCKER / "entrypoint.sh").read_text()
    foreign = ("libcublas", "module 'tarfile'", "unsatisfied condition", "could not select device driver", "nvidia")
    for text in quoted:
        if text.startswith(foreign):
            continue
        known = text.removesuffix(", port 8000").removesuffix("127.0.0.1")
        assert known in PAGE or known in elsewhere, text


def test_names_of_the_page_are_those_it_shows():
    for text in ("Also share tab audio", "A tab, a window or the whole system", "Default microphone"):
        assert text in ROUTING
        assert text in PAGE
    html = (ROOT / "web" / "static" / "index.html").read_text()
    for label in (
        "Source",
        "I wear headphones",
        "Silence the original",
        "Loudspeaker",
        "Timing",
        "Connection",
        "Setup",
    ):
        assert label in html
        assert label.lower() in (RUNBOOK + ROUTING).lower()


def test_graphs_and_their_settings_are_there():
    graphs = {path.stem: check_graph(path).graph for path in shipped_graphs()}
    for name in ("phrasebook-live", "whisper-live", "whisper-simultaneous", "echo", "interpreter", "simultaneous"):
        assert name in graphs
        assert f"`{name}`" in RUNBOOK
    live = graphs["phrasebook-live"]
    assert live is not None
    for element, setting in (code.split(".") for code in inline_code(RUNBOOK) if re.fullmatch(r"vad\.\w+", code)):
        assert setting in type(live.nodes[element].settings).model_fields


def test_the_linux_cables_are_the_ones_that_were_tried():
    lines = [line for line in shell_lines(ROUTING) if line.startswith("pactl load-module module-remap-source")]
    sinks = re.findall(r"sink_name=(\w+)", ROUTING)
    assert [re.search(r"master=(\w+)\.monitor", line)[1] for line in lines[:2]] == sinks  # type: ignore[index]
