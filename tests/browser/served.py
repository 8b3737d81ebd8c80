"""A real `tolmach serve` in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

START_S = 120
"""Importing torch and NeMo takes 20 s on two busy cores."""


@contextlib.contextmanager
def served(graphs: Path | str, log: Path, *arguments: str, python_path: str | None = None) -> Iterator[str]:
    """Serve on a free port; gives the address of the page once models are loaded.

    Args:
        graphs: A folder, a file, or the name of a shipped graph.
        log: Where the server's log is kept.
        arguments: Further ones of the command.
        python_path: Where else its Python looks for packages.
    """
    command = [sys.executable, "-m", "tolmach", "serve", str(graphs), "--port", "0", *arguments]
    environment = os.environ | ({} if python_path is None else {"PYTHONPATH": python_path})
    with (
        log.open("w") as writes,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writes, text=True, env=environment) as process,
    ):
        try:
            assert process.stdout is not None
            greeting = process.stdout.readline()
            found = re.search(r"http://\S+", greeting)
            assert found, f"the server did not start:\n{log.read_text()}"
            _wait_until_ready(found[0], process, log)
            yield found[0]
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(address: str, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}readyz", timeout=5) as answer:  # noqa: S310 -- our own server
                if json.load(answer)["ready"]:
                    return
        except urllib.error.HTTPError:
            pass  # 503: still loading
        time.sleep(0.1)
    raise AssertionError(f"the server did not become ready:\n{log.read_text()}")
