"""docs/DOORS.md: every example runs as it stands against a server, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from tests.integration.test_serve_process import serving
from tolmach.web.doors import _MODULES
from tolmach.web.settings import DOORS

ADDRESS = "127.0.0.1:8000"
LANGUAGES = {"python": [sys.executable], "sh": ["bash", "-eu"]}


class Example(NamedTuple):
    """An example, and what it prints."""

    door: str
    language: str
    code: str
    output: str


def text() -> str:
    return (Path(__file__).resolve().parents[2] / "docs" / "DOORS.md").read_text(encoding="utf-8")


def examples() -> list[Example]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text(), re.M | re.S)
    found = []
    for (language, code), (kind, printed) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if named := re.match(r"# door: (\S+)\n", code):
            found.append(Example(named[1], language, code, printed if kind == "text" else ""))
    return found


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``hello.wav``."""
    folder = tmp_path_factory.mktemp("doors")
    recording, rate_hz = soundfile.read(root / "config" / "demo" / "phrasebook-en.flac", dtype="float32")
    hello = np.concatenate([recording[: 2 * rate_hz], np.zeros(2 * rate_hz, np.float32)])
    soundfile.write(folder / "hello.wav", resample_poly(hello, 48_000 // rate_hz, 1), 48_000, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def address(root: Path, folder: Path) -> Iterator[str]:
    with serving(root, folder / "log", "--offers-per-minute", "600") as (_, url):
        deadline_s = time.monotonic() + 120
        while not httpx.get(f"{url}readyz").json()["ready"]:
            assert time.monotonic() < deadline_s, (folder / "log").read_text()
            time.sleep(0.2)
        yield url.removeprefix("http://").rstrip("/")


@pytest.mark.models
@pytest.mark.parametrize("example", [pytest.param(each, id=f"{each.door}-{each.language}") for each in examples()])
def test_an_example_prints_what_it_says(example: Example, address: str, folder: Path, root: Path) -> None:
    code = example.code.replace(ADDRESS, address)
    assert example.output, "an example is followed by what it prints"
    assert code != example.code, f"it talks to {ADDRESS}"
    done = subprocess.run(
        [*LANGUAGES[example.language], "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == example.output


def test_every_door_has_an_example_and_a_row() -> None:
    shown = {example.door.partition("-")[0] for example in examples()}
    assert shown <= {"webrtc", *DOORS}
    assert {"webrtc", *_MODULES} <= shown
