"""``tolmach serve``: what the command line becomes, and what it refuses before anything heavy is imported."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.certificates import make_certificate
from tests.unit.test_imports import BLOCKER
from tolmach.pipelines.cli.commands import serve
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.shipped import config_dir
from tolmach.transports.webrtc.signalling.ice_agent import ice_servers_json
from tolmach.web.settings import ServerSettings, normalised_origin

ANYWHERE = "0.0.0.0"  # noqa: S104 -- named, not bound


def settings(*arguments: str, **env: str) -> ServerSettings:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return ServerSettings(**serve.settings_from(parser.parse_args(arguments), env))


@pytest.fixture
def pem(tmp_path: Path) -> tuple[str, str]:
    """A certificate for localhost and its key."""
    certificate, key = make_certificate(tmp_path)
    return str(certificate), str(key)


def test_help_needs_neither_models_nor_the_web_server(root: Path, tmp_path: Path):
    blocker = BLOCKER.replace('"torch",', '"torch", "fastapi", "uvicorn", "watchfiles",')
    assert blocker != BLOCKER
    done = subprocess.run(
        [sys.executable, "-c", blocker, "serve", "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--tls-cert" in done.stdout


def test_without_arguments_this_machine_alone_gets_the_shipped_graphs():
    made = settings()
    assert made.graphs == config_dir()
    assert made.default_graph == "phrasebook-live"
    assert (made.host, made.port, made.token, made.loopback) == ("127.0.0.1", 8000, None, True)
    assert made.url() == "http://127.0.0.1:8000/"
    assert made.warm


def test_a_graph_may_be_a_shipped_name_a_file_or_a_folder(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("version: 1\n")
    assert settings("echo").graphs == config_dir() / "echo.yaml"
    assert settings(str(tmp_path / "mine.yaml")).graphs == tmp_path / "mine.yaml"
    assert settings(str(tmp_path)).graphs == tmp_path
    assert settings("echo").default_graph is None


def test_every_option_arrives(pem: tuple[str, str]):
    made = settings(
        *["echo", "--host", ANYWHERE, "--port", "0", "--token", "long enough".replace(" ", "-")],
        *["--tls-cert", pem[0], "--tls-key", pem[1]],
        *["--allow-origin", "https://Example.org:443/", "--allow-origin", "http://box:8080"],
        *["--max-sessions", "3", "--max-session-minutes", "5", "--idle-minutes", "2"],
        *["--offers-per-minute", "90", "--max-connections", "99", "--max-listeners", "50"],
        *["--ice-server", "stun:stun.example.org:3478", "--ice-server", "turn:turn.example.org"],
        *["--udp-ports", "40000-40100", "--advertise", "192.0.2.7", "--advertise", "2001:db8::7"],
        *["--server-id", "tolmach-0", "--linger-minutes", "7", "--without", "whip"],
        *["--default-graph", "echo", "--no-warm", "--trust-params", "--log-level", "debug"],
        TOLMACH_TURN_USERNAME="me",
        TOLMACH_TURN_CREDENTIAL="secret",
    )
    assert made.url(4321) == "https://127.0.0.1:4321/"
    assert made.token == "long-enough"  # noqa: S105 -- of this test
    assert made.allowed_origins == ("https://example.org", "http://box:8080")
    assert (made.max_sessions, made.max_session_s, made.idle_s, made.offers_per_minute) == (3, 300, 120, 90)
    assert (made.max_connections, made.max_listeners) == (99, 50)
    assert (made.server_id, made.linger_s, made.without) == ("tolmach-0", 420, ("whip",))
    assert ice_servers_json(made.ice().ice_servers) == [
        {"urls": "stun:stun.example.org:3478"},
        {"urls": "turn:turn.example.org", "username": "me", "credential": "secret"},
    ]
    assert made.udp_ports == (40000, 40100)
    assert made.advertised_addresses == ("192.0.2.7", "2001:db8::7")
    assert (made.default_graph, made.warm, made.trust_params, made.log_level) == ("echo", False, True, "debug")


def test_the_token_may_come_from_the_environment():
    assert settings(TOLMACH_TOKEN="from-the-environment").token == "from-the-environment"  # noqa: S105, S106
    assert settings("--token", "from-the-line", TOLMACH_TOKEN="from-the-environment").token == "from-the-line"  # noqa: S105, S106
    assert settings("--no-token", TOLMACH_TOKEN="from-the-environment").token is None  # noqa: S106
    assert settings(TOLMACH_TOKEN="").token is None


def test_secrets_are_not_shown():
    made = settings("--token", "very-secret-token", TOLMACH_TURN_CREDENTIAL="very-secret-credential")
    assert "very-secret" not in repr(made)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "65536"], "--port: must be a whole number between 0 and 65535"),
        (["--port", "http"], "--port: must be a whole number between 0 and 65535"),
        (["--host", ANYWHERE], "0.0.0.0 can be reached from other machines: give --token TEXT"),
        (["--host", "::"], ":: can be reached from other machines"),
        (["--host", "box.example.org"], "box.example.org can be reached from other machines"),
        (["--host", ""], "the host is empty"),
        (["--token", "short"], "the token has 5 characters; at least 8 are needed"),
        (["--token", "with a space in it"], "ASCII characters without spaces"),
        (["--token", "long-enough", "--no-token"], "not allowed with argument"),
        (["--tls-cert", "cert.pem"], "--tls-cert needs --tls-key as well"),
        (["--tls-key", "key.pem"], "--tls-key needs --tls-cert as well"),
        (["--tls-cert", "no.pem", "--tls-key", "no.pem"], "there is no file 'no.pem'"),
        (["--allow-origin", "*"], "'*' is no origin: write SCHEME://HOST"),
        (["--allow-origin", "https://a.org/page"], "'https://a.org/page' is no origin"),
        (["--allow-origin", "https://a.org:port"], "'https://a.org:port' is no origin"),
        (["--max-sessions", "0"], "must be a whole number between 1 and 1000"),
        (["--udp-ports", "40000"], "write it as FIRST-LAST"),
        (["--udp-ports", "40001-40000"], "UDP ports 40001-40000 are no range"),
        (["--advertise", "box.example.org"], "'box.example.org' is not an IP address"),
        (["--ice-server", "stun.example.org"], "the ICE server 'stun.example.org' cannot be used"),
        (["--ice-server", "turn:turn.example.org"], "TOLMACH_TURN_USERNAME and TOLMACH_TURN_CREDENTIAL"),
        (["no-such-graph"], "no graph file 'no-such-graph'"),
        (["interpretr"], "did you mean 'interpreter'?"),
        (["--server-id", "Box"], "'Box' is no name for a server: use lower-case letters"),
        (["--server-id", "a.b"], "'a.b' is no name for a server"),
        (["--server-id", "a" * 64], "is no name for a server"),
        (["--server-id", "a/b"], "is no name for a server"),
        (["--server-id", "a-"], "is no name for a server"),
        (["--server-id", "a\n"], "is no name for a server"),
        (["--server-id", ""], "'' is no name for a server"),
        (["--linger-minutes", "-1"], "must be a whole number between 0 and 1440"),
        (["--log-level", "loud"], "invalid choice: 'loud'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_before_anything_starts(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TOLMACH_TOKEN", raising=False)
    assert main(["serve", *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_key_that_does_not_belong_to_the_certificate_is_refused(pem: tuple[str, str], tmp_path: Path):
    (tmp_path / "other.pem").write_text("not a key\n")
    with pytest.raises(GraphError, match="no PEM certificate and its unencrypted key"):
        settings("--tls-cert", pem[0], "--tls-key", str(tmp_path / "other.pem"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "tolmach.localhost", "LOCALHOST."])
def test_this_machine_alone_needs_no_token(host: str):
    assert settings("--host", host).loopback


def test_a_server_may_be_open_to_all_if_that_is_said():
    made = settings("--host", ANYWHERE, "--no-token")
    assert (made.open_to_all, made.token, made.loopback) == (True, None, False)


def test_numbers_are_checked_when_settings_are_made_in_code(tmp_path: Path):
    for wrong in ({"port": -1}, {"offers_per_minute": 0}, {"idle_s": 0}, {"drain_s": -1}, {"max_kept": -1}):
        with pytest.raises(GraphError):
            ServerSettings(graphs=tmp_path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="there is no graph file or folder"):
        ServerSettings(graphs=tmp_path / "gone")


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("http://localhost:80", "http://localhost"),
        ("https://example.org:8443/", "https://example.org:8443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_origins_are_compared_as_browsers_write_them(written: str, origin: str):
    assert normalised_origin(written) == origin
    assert normalised_origin(origin) == origin
