"""Every command of docs/LAUNCH.md does what the page says, in a real shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/LAUNCH.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh)?\n(.*?)^```$", PAGE, re.M | re.S)
SHELL = [text for language, text in BLOCKS if language == "sh"]
SHOWN = [text for language, text in BLOCKS if not language]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the page is written for a POSIX shell")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    clip = ROOT / "config/demo/clips/en-00.flac"
    shutil.copy(clip, tmp_path / "talk.wav")  # what it is, its bytes say
    shutil.copy(clip, tmp_path / "talk.mp4")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/tolmach"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tolmach "$@"\n')
    script.chmod(0o755)
    return tmp_path


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-e", "-o", "pipefail", "-c", text]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_the_page_has_commands() -> None:
    assert len(SHELL) >= 9
    assert len(SHOWN) == 2


@pytest.mark.parametrize("text", SHELL, ids=range(len(SHELL)))
def test_commands_work(text: str, folder: Path) -> None:
    if "ffmpeg" in text and shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg on this machine")
    done = run(text, folder)
    # With `| head -n 1` the last writer may find nobody: that is 141, and said nowhere.
    assert done.returncode in ((0, 141) if "head" in text else (0,)), done.stderr
    assert "error" not in done.stderr
    for path in re.findall(r"(?<=[ /=])[\w]+\.(?:jsonl|flac|yaml)\b", text):
        assert any(found.stat().st_size for found in folder.rglob(path)), path
    if "jsonl_sink path=-" in text:
        assert done.stdout.startswith('{"')


@pytest.mark.parametrize("text", SHOWN, ids=range(len(SHOWN)))
def test_what_is_shown_is_what_is_said(text: str, folder: Path) -> None:
    command, _, output = text.partition("\n")
    done = run(command.removeprefix("$ "), folder)
    assert (done.returncode, done.stdout) == (2, output)


README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^(?:\.venv/bin/)?(tolmach launch '[^']+')", README, re.M)


@pytest.mark.models
def test_the_first_line_of_the_readme_speaks_russian(folder: Path) -> None:
    done = run(LINES[0].replace("config/demo", shlex.quote(str(ROOT / "config/demo"))), folder)
    assert done.returncode == 0, done.stderr
    assert "Где" in done.stdout
    assert (folder / "ru.wav").stat().st_size > 100_000
