"""The images and compose files, as far as it goes without an engine: read, linted, and held against the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from docker.utils.build import exclude_paths
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from tests.unit.certificates import make_certificate
from tests.unit.documented import parse
from tolmach.pipelines.cli.commands.serve import settings_from
from tolmach.pipelines.models.caches import cache_folders
from tolmach.web.settings import ServerSettings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = ("Dockerfile", "Dockerfile.cpu")
COMPOSE_FILES = ("compose.yaml", "compose.lan.yaml", "compose.host.yaml", "compose.many.yaml")
TOKEN = "0123456789"  # noqa: S105 -- of nothing
DEFAULTS = ServerSettings(graphs=ROOT / "config")

Instruction = tuple[str, str]


def instructions(name: str) -> list[Instruction]:
    with (DOCKER / name).open("rb") as file:
        structure = DockerfileParser(fileobj=file).structure
    return [(each["instruction"], each["value"]) for each in structure if each["instruction"] != "COMMENT"]


def final_stage(name: str) -> list[Instruction]:
    all_of_it = instructions(name)
    start = max(n for n, (kind, _) in enumerate(all_of_it) if kind == "FROM")
    return all_of_it[start:]


def last(name: str, kind: str) -> str:
    return [value for each, value in final_stage(name) if each == kind][-1]


def environment(name: str) -> dict[str, str]:
    pairs = [shlex.split(value) for kind, value in final_stage(name) if kind == "ENV"]
    return {key: value for words in pairs for key, _, value in (word.partition("=") for word in words)}


def compose(name: str) -> dict[str, Any]:
    yaml = YAML(typ="safe")
    yaml.constructor.add_constructor("!reset", lambda constructor, node: None)
    found: dict[str, Any] = yaml.load((DOCKER / name).read_text())
    return found


def filled_in(text: str, env: Mapping[str, str]) -> str:
    """Compose's interpolation, as far as these files use it."""

    def value(found: re.Match[str]) -> str:
        name, operator, operand = found.groups()
        if env.get(name):
            return env[name]
        assert operator == ":-", f"{name} is wanted: {operand}"
        return operand

    return re.sub(r"\$\{(\w+)(:[-?])?([^}]*)\}", value, text)


def server_settings(arguments: list[str], env: Mapping[str, str]) -> ServerSettings:
    """The settings of a command as the server would make them, with folders of the container put here."""
    assert arguments[0] == "serve"
    return ServerSettings(**settings_from(parse(arguments), env))


# Dockerfiles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_has_no_complaint(name: str):
    done = subprocess.run([tool("hadolint"), DOCKER / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_base_images_are_one_and_pinned(name: str):
    bases = {value.split()[0] for kind, value in instructions(name) if kind == "FROM"}
    assert bases == {"python:3.11.14-slim-bookworm"}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_everything_copied_is_there_and_reaches_the_builder(name: str):
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    context = exclude_paths(str(ROOT), patterns)
    for source in copied(name):
        assert (ROOT / source).exists()
        assert source in context


def test_the_builder_gets_nothing_private_or_large():
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    context = exclude_paths(str(ROOT), patterns)
    tops = {Path(path).parts[0] for path in context}
    assert tops.isdisjoint({".git", ".venv", "tests", "build", "out"})
    assert {path for path in context if path.startswith("docker/")} <= {
        "docker/entrypoint.sh", "docker/healthcheck.py", "docker/requirements.txt"
    }  # fmt: skip
    assert not [path for path in context if "__pycache__" in path]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_all_packages_of_the_distribution_go_in(name: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert {path.partition("/")[0] for path in packed} <= set(copied(name))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_it_does_not_run_as_root(name: str):
    user = last(name, "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    made = next(value for kind, value in final_stage(name) if kind == "RUN" and "useradd" in value)
    assert f"--uid {user.partition(':')[0]} " in made


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_cache_lies_in_the_volume(name: str, monkeypatch: pytest.MonkeyPatch):
    (volume,) = json.loads(last(name, "VOLUME"))
    env = environment(name)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    for key in ("TOLMACH_CACHE", "HF_HOME", "NEMO_CACHE_DIR", "TORCH_HOME"):
        monkeypatch.setenv(key, env[key])
    folders = list(cache_folders().values())
    assert all(folder.is_relative_to(volume) for folder in folders)
    assert Path(env["TMPDIR"]).is_relative_to(volume)
    assert not any(Path(env["TMPDIR"]).is_relative_to(folder) for folder in folders)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_nothing_is_written_into_the_image(name: str):
    """With a read-only root only the volume and /tmp can be written."""
    env = environment(name)
    for key in ("HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "TMPDIR"):
        assert env[key].startswith(("/tmp/", "/models/"))  # noqa: S108 -- of the container


@pytest.mark.parametrize("name", DOCKERFILES)
def test_its_own_command_serves_and_ports_agree(name: str):
    settings = server_settings(json.loads(last(name, "CMD")), {"TOLMACH_TOKEN": TOKEN})
    assert settings.udp_ports is not None
    low, high = settings.udp_ports
    assert last(name, "EXPOSE").split() == [f"{settings.port}/tcp", f"{low}-{high}/udp"]
    assert settings.port == DEFAULTS.port
    assert not settings.loopback  # a port that is mapped does not reach the container's own loopback


@pytest.mark.parametrize("name", DOCKERFILES)
def test_scripts_are_copied_to_where_they_are_called(name: str):
    targets = {Path(value.split()[-1]).name for kind, value in final_stage(name) if kind == "COPY"}
    assert json.loads(last(name, "ENTRYPOINT"))[0] in targets
    probe = last(name, "HEALTHCHECK").partition("CMD ")[2]
    assert json.loads(probe)[0] in targets


def test_both_images_are_the_same_but_for_the_gpu():
    gpu, cpu = final_stage("Dockerfile"), final_stage("Dockerfile.cpu")
    extra = [each for each in gpu if each not in cpu]
    assert [each for each in cpu if each not in gpu] == []
    assert {kind for kind, _ in extra} == {"ARG", "ENV"}
    assert all("CUDA" in value for _, value in extra)


def test_requirements_are_what_the_project_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {}
    for line in (DOCKER / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pinned[canonicalize_name(name)] = version
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *extras["canary"], *extras["silero"], *extras["whisper-offline"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text


def copied(name: str) -> list[str]:
    """Sources that come from the checkout."""
    sources: list[str] = []
    for kind, value in instructions(name):
        if kind == "COPY" and "--from=" not in value:
            sources += [word for word in value.split()[:-1] if not word.startswith("--")]
    return sources


# Compose --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_files_follow_the_specification(name: str):
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    found = compose(name)
    for service in found["services"].values():
        for key in [key for key, value in service.items() if value is None]:
            del service[key]  # `!reset`, which the schema has no notion of
    jsonschema.validate(found, json.loads(vendored.read_text()))


@pytest.mark.skipif(
    not shutil.which("docker")
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="docker compose is not installed",
)
@pytest.mark.parametrize("override", [None, "compose.lan.yaml", "compose.host.yaml"])
def test_docker_compose_reads_them(override: str | None):
    chosen = ["-f", "compose.yaml", *(["-f", override] if override else [])]
    done = subprocess.run(
        ["docker", "compose", *chosen, "--profile", "cpu", "config", "--format", "json"],
        cwd=DOCKER, capture_output=True, text=True, check=False,
        env={**os.environ, "TOLMACH_TOKEN": TOKEN, "TOLMACH_ADDRESS": "192.0.2.1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert set(services) == {"gpu", "cpu"}
    for service in services.values():
        assert bool(service.get("ports")) == (override != "compose.host.yaml")


@pytest.mark.parametrize("service", ["gpu", "cpu"])
@pytest.mark.parametrize("override", [None, "compose.lan.yaml", "compose.host.yaml"])
def test_commands_of_services_make_a_server(service: str, override: str | None, tmp_path: Path):
    env = {"TOLMACH_TOKEN": TOKEN, "TOLMACH_ADDRESS": "192.0.2.1"}
    merged = {**compose("compose.yaml")["services"][service]}
    merged |= compose(override)["services"][service] if override else {}
    command = [filled_in(word, env) for word in merged["command"]]
    parsed = server_settings(in_a_checkout(command, tmp_path), env)
    assert parsed.token == TOKEN
    assert parsed.default_graph == "phrasebook-live"
    assert (ROOT / "config" / f"{parsed.default_graph}.yaml").is_file()
    if override != "compose.host.yaml":
        assert parsed.advertised_addresses == ("192.0.2.1",)
        assert not parsed.loopback
    assert (parsed.scheme == "https") == (override == "compose.lan.yaml")
    assert seconds(merged.get("stop_grace_period", "45s")) > parsed.drain_s


@pytest.mark.parametrize("service", ["gpu", "cpu"])
def test_published_ports_are_those_the_server_uses_and_of_this_computer_alone(service: str):
    found = compose("compose.yaml")["services"][service]
    udp = next(word.partition("=")[2] for word in found["command"] if word.startswith("--udp-ports="))
    ports = [filled_in(port, {}) for port in found["ports"]]
    assert ports == [f"127.0.0.1:{DEFAULTS.port}:{DEFAULTS.port}", f"127.0.0.1:{udp}:{udp}/udp"]
    low, high = map(int, udp.split("-"))
    # One for each connection, two while ICE restarts (transports/webrtc/signalling/ice_agent.py).
    assert high - low + 1 >= 2 * DEFAULTS.max_sessions


@pytest.mark.parametrize("service", ["gpu", "cpu"])
def test_containers_may_do_little(service: str):
    found = compose("compose.yaml")["services"][service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["pids_limit"] > 0
    assert found["mem_limit"]
    assert all(mount.endswith(":ro") for mount in found["volumes"] if not mount.startswith("models:"))
    assert not {"privileged", "devices", "cap_add", "pid", "ipc"} & set(found)


def test_only_one_service_wants_a_gpu_and_starts_by_itself():
    services = compose("compose.yaml")["services"]
    assert "profiles" not in services["gpu"]
    assert services["gpu"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert services["cpu"]["profiles"] == ["cpu"]
    assert "deploy" not in services["cpu"]
    for service in services.values():
        context = DOCKER / service["build"]["context"]
        assert (context / service["build"]["dockerfile"]).is_file()


def test_an_address_for_other_devices_and_a_token_must_be_given():
    text = (DOCKER / "compose.yaml").read_text() + (DOCKER / "compose.lan.yaml").read_text()
    assert "${TOLMACH_TOKEN:?" in text
    assert "--advertise=${TOLMACH_ADDRESS:?" in text


def test_every_setting_of_the_compose_files_is_in_the_example():
    used = set()
    for name in COMPOSE_FILES:
        text = (DOCKER / name).read_text()
        used |= set(re.findall(r"\$\{(\w+)", text)) | set(re.findall(r"^    ([A-Z]\w+):$", text, re.MULTILINE))
    example = (DOCKER / "env.example").read_text()
    offered = set(re.findall(r"^#?([A-Z]\w+)=", example, re.MULTILINE))
    # Files of a certificate have their own place, and polling has one right value.
    assert used - offered == {"TOLMACH_CERTS", "WATCHFILES_FORCE_POLLING"}
    assert offered <= used


def in_a_checkout(command: list[str], tmp_path: Path) -> list[str]:
    """A container's command with its folders replaced by what is mounted there."""
    certificate = make_certificate(tmp_path)
    places = {"/graphs": ROOT / "config", "/certs/cert.pem": certificate[0], "/certs/key.pem": certificate[1]}
    for inside, outside in places.items():
        command = [re.sub(rf"(^|=){inside}$", rf"\g<1>{outside}", word) for word in command]
    return command


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def tool(name: str) -> Path:
    """A program that pip has put beside this Python."""
    return Path(sys.executable).parent / name
