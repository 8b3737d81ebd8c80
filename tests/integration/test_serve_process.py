"""``tolmach serve`` as a process of its own: how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.integration.served_peer import ServedPeer
from tests.integration.webrtc_peer import babble


@contextmanager
def serving(root: Path, log: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and its address; what it says is in ``log``."""
    command = [sys.executable, "-m", "tolmach", "serve", "--port", "0", *arguments]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.mark.models
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_models_load_ends_the_server_at_once(root: Path, tmp_path: Path, number: signal.Signals):
    log = tmp_path / "log"
    with serving(root, log, "phrasebook-live") as (process, url):
        assert httpx.get(f"{url}readyz").json()["status"] == "loading"
        process.send_signal(number)
        assert process.wait(60) == 0
    said = log.read_text()
    assert " loaded " not in said, "it has waited for the model"
    assert "Traceback" not in said


@pytest.mark.models
async def test_nor_does_a_session_that_waits_for_its_model_hold_it_up(root: Path, tmp_path: Path):
    log = tmp_path / "log"
    with serving(root, log, "--no-warm") as (process, url):
        async with httpx.AsyncClient(base_url=url) as http:
            peer = ServedPeer(babble(10), SimpleNamespace(http=http))  # type: ignore[arg-type]
            try:
                await peer.join({"graph": "phrasebook-live"})
                process.send_signal(signal.SIGTERM)
                assert (await peer.until("bye"))["reason"] == "the server is stopping"
                assert await asyncio.to_thread(process.wait, 60) == 0
            finally:
                await peer.close()
    said = log.read_text()
    assert "finishing 1 sessions" in said
    assert " loaded " not in said
    assert "Traceback" not in said
