"""The scripts of the images: what runs first in a container, and what asks whether it is well."""

from __future__ import annotations

import http.server
import importlib.util
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.certificates import make_certificate
from tolmach.web.settings import ServerSettings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"

Container = Callable[..., subprocess.Popen[str]]


def test_shellcheck_and_bash_read_the_entrypoint():
    script = DOCKER / "entrypoint.sh"
    subprocess.run(["bash", "-n", script], check=True)
    done = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["entrypoint.sh", "healthcheck.py"])
def test_scripts_keep_their_line_ends_in_a_checkout_on_windows(name: str):
    """With CRLF the kernel would look for an interpreter named `bash\\r`."""
    done = subprocess.run(["git", "check-attr", "eol", name], cwd=DOCKER, capture_output=True, text=True, check=True)
    assert done.stdout == f"{name}: eol: lf\n"
    assert b"\r" not in (DOCKER / name).read_bytes()


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """Starts the entrypoint with a `tolmach` that says what it was asked; fetching `bad` fails, `slow` takes long."""
    stand_in = tmp_path / "bin" / "tolmach"
    stand_in.parent.mkdir()
    stand_in.write_text(
        '#!/bin/bash\necho "tolmach $*"\n[[ $1 != fetch ]] || { [[ $2 != slow ]] || exec sleep 60; [[ $2 != bad ]]; }\n'
    )
    stand_in.chmod(0o755)

    def start(*arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", DOCKER / "entrypoint.sh", *arguments],
            env={"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "models/tmp"), **env},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def test_it_fetches_what_it_was_told_and_then_serves(container: Container):
    process = container("serve", "/graphs", "--port=8000", TOLMACH_FETCH="interpreter  whisper-live")
    out, _ = process.communicate()
    assert out.splitlines() == [
        "tolmach fetch interpreter", "tolmach fetch whisper-live", "tolmach serve /graphs --port=8000"
    ]  # fmt: skip
    assert process.returncode == 0


@pytest.mark.parametrize("arguments", [("doctor",), ("fetch", "interpreter"), ()])
def test_other_commands_fetch_nothing_of_themselves(container: Container, arguments: tuple[str, ...]):
    out, _ = container(*arguments, TOLMACH_FETCH="interpreter").communicate()
    assert out.splitlines() == [" ".join(("tolmach", *arguments)) + ("" if arguments else " ")]


def test_what_cannot_be_fetched_is_said_and_the_server_starts(container: Container):
    out, err = container("serve", TOLMACH_FETCH="bad interpreter").communicate()
    assert out.splitlines()[-2:] == ["tolmach fetch interpreter", "tolmach serve"]
    assert "models are missing for: bad." in err
    assert "TOLMACH_ALLOW_SHA256" in err
    assert "RUNBOOK" in err


def test_a_volume_that_cannot_be_written_is_said(container: Container, tmp_path: Path):
    (tmp_path / "models").write_text("in the way")
    process = container("serve")
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert "cannot write" in err
    assert "chown" in err


def test_left_over_files_go_and_those_of_today_stay(container: Container, tmp_path: Path):
    old, new = tmp_path / "models/tmp/tolmach-nemo-old", tmp_path / "models/tmp/tolmach-nemo-new"
    for folder in (old, new):
        (folder / "weights").mkdir(parents=True)
    two_days_ago = old.stat().st_mtime - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    container("doctor").communicate()
    assert (old.exists(), new.exists()) == (False, True)


def test_stopping_ends_a_download(container: Container):
    process = container("serve", TOLMACH_FETCH="slow")
    assert process.stdout is not None
    assert process.stdout.readline() == "tolmach fetch slow\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()  # ends when the child that holds the pipe has ended too
    assert process.returncode == 143
    assert "serve" not in out


def test_the_health_check_knows_the_port():
    assert ServerSettings(graphs=ROOT / "config").port == healthcheck().PORT


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_health_check_tells_a_server_that_answers(
    status: int, expected: int, scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    check = healthcheck()
    with serving(status, make_certificate(tmp_path) if scheme == "https" else None) as (port, asked):
        monkeypatch.setattr(check, "PORT", port)
        monkeypatch.setattr(check, "scheme", lambda: scheme)
        assert check.main() == expected
        assert asked == ["/healthz"]


def test_the_health_check_tells_a_server_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    check = healthcheck()
    with serving(200, None) as (port, _):
        pass  # closed again: nobody listens there
    monkeypatch.setattr(check, "PORT", port)
    monkeypatch.setattr(check, "scheme", lambda: "http")
    assert check.main() == 1
    assert "refused" in capsys.readouterr().err


def healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", DOCKER / "healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(status: int, certificate: tuple[Path, Path] | None) -> Iterator[tuple[int, list[str]]]:
    """A server on the loopback that answers everything with a status; gives its port and the paths it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- the name is given
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
