"""The servers under test, each a process of its own on 127.0.0.1: Tolmach, pipecat, bare aiortc."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[3]
Stack = Literal["tolmach", "pipecat", "aiortc"]
_READY_WITHIN_S = 180.0
"""Models load meanwhile."""


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        stack: What it is made of.
        url: ``http://127.0.0.1:PORT``.
        process: For its CPU time and memory.
        log: What it printed.
    """

    stack: Stack
    url: str
    process: psutil.Process
    log: Path

    def lose_one(self) -> None:
        """Lose the next packet of each call; only with ``lossy``."""
        self.process.send_signal(signal.SIGUSR1)

    def toggle_loss(self) -> None:
        """Begin or end losing two packets in a hundred; only with ``lossy``."""
        self.process.send_signal(signal.SIGUSR2)

    def cpu_s(self) -> float:
        """CPU time it and its children have used, s."""
        total = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def command(stack: Stack, port: int, options: Sequence[str] = ()) -> list[str]:
    """Module and arguments of a server."""
    if stack == "tolmach":
        return ["tolmach", "serve", str(ROOT / "config"), "--port", str(port), *options]
    return [f"tests.bench.live.{stack}_echo", str(port)]


@contextlib.contextmanager
def serve(
    stack: Stack, *, lossy: bool = False, core: int | None = None, options: Sequence[str] = ()
) -> Iterator[Server]:
    """Run a server until the block ends.

    Args:
        stack: Which.
        lossy: Put it behind :mod:`tests.bench.live.lossy`.
        core: The only core it may run on; any by default.
        options: More of the command line (Tolmach alone).

    Raises:
        RuntimeError: If it ends, or does not get ready; with the end of its log.
    """
    port = _free_port()
    module = ["tests.bench.live.lossy"] if lossy else []
    argv = [sys.executable, "-m", *module, *command(stack, port, options)]
    if core is not None:
        argv = ["taskset", "--cpu-list", str(core), *argv]
    with tempfile.TemporaryDirectory(prefix="tolmach-bench-") as folder:
        log = Path(folder) / "log.txt"
        with log.open("wb") as sink:
            process = subprocess.Popen(argv, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            server = Server(stack, f"http://127.0.0.1:{port}", psutil.Process(process.pid), log)
            _await_ready(server, process)
            yield server
        finally:
            _end(process)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _await_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    path = "/readyz" if server.stack == "tolmach" else "/docs"
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(server.url + path, timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    tail = server.log.read_text("utf-8", "replace")[-2000:]
    raise RuntimeError(f"the {server.stack} server did not get ready:\n{tail}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
