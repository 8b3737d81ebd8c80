"""docs/TUTORIAL.md, run as written from its first line to its last."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

pytestmark = [pytest.mark.models, pytest.mark.slow]

SERVED = "http://127.0.0.1:8123"
SHIMS = {
    "tolmach": "-m tolmach",
    "python": "",
    "pytest": "-m pytest -p no:cacheprovider",
}


@dataclass(frozen=True)
class Step:
    """A command of the tutorial, and the status that it says the command ends with."""

    command: str
    status: int


@dataclass(frozen=True)
class Walk:
    """What came of it: the folder, and what each command printed."""

    folder: Path
    said: dict[str, str]

    def answer(self, beginning: str) -> str:
        """What the only command that begins so has printed."""
        (text,) = [said for command, said in self.said.items() if command.startswith(beginning)]
        return text


def steps(text: str) -> Iterator[Step | tuple[str, str]]:
    """Commands, and files to save: name and contents."""
    for before, language, body in re.findall(r"((?:[^\n]+\n)+)?\n```(\w+)\n(.*?)^```$", text, re.M | re.S):
        if language == "console":
            for line in body.splitlines():
                command, _, status = line.removeprefix("$ ").partition("  # exit status ")
                yield Step(command, int(status or 0))
        else:
            yield re.findall(r"`([\w/]+\.(?:yaml|py))`", before)[-1], body


@pytest.fixture(scope="module")
def walk(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Follow it in a folder where `config` is, with a plug-in folder that `pip install` fills."""
    folder, tools, site = (tmp_path_factory.mktemp(name) for name in ("tutorial", "bin", "site"))
    (folder / "config").symlink_to(root / "config")
    isolation = "--no-build-isolation" if importlib.util.find_spec("hatchling") else ""
    pip = f'-m pip --no-input -q install --no-deps {isolation} --target {shlex.quote(str(site))} "$3"'
    for name, arguments in {**SHIMS, "pip": pip}.items():
        rest = "" if name == "pip" else ' "$@"'
        (tools / name).write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}{rest}\n")
        (tools / name).chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{site}{os.pathsep}{root}",
        "COLUMNS": "120",
    }
    said: dict[str, str] = {}
    for step in steps((root / "docs" / "TUTORIAL.md").read_text(encoding="utf-8")):
        if isinstance(step, tuple):
            path = folder / step[0]
            path.parent.mkdir(exist_ok=True)
            path.write_text(step[1], encoding="utf-8")
        elif step.command.startswith("tolmach serve"):
            said[step.command] = serve(step.command, folder, env)
        else:
            done = subprocess.run(  # noqa: S602 -- the document's own words, which have redirections
                step.command, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
            )
            assert done.returncode == step.status, f"{step.command}\n{done.stdout}\n{done.stderr}"
            said[step.command] = done.stdout + done.stderr
    return Walk(folder, said)


def serve(command: str, folder: Path, env: dict[str, str]) -> str:
    """What a server offers once it is ready; it is ended then."""
    process = subprocess.Popen(["sh", "-c", f"exec {command}"], cwd=folder, env=env)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{SERVED}/readyz").is_success:
                    return httpx.get(f"{SERVED}/api/graphs").text
            except httpx.TransportError:
                pass
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, 143)


def test_one_line_finds_the_speech_and_another_speaks_it(walk: Walk) -> None:
    lines = (walk.folder / "speech.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["utterance"] * 10
    assert len(walk.answer("head").splitlines()) == 2
    voice, _ = soundfile.read(walk.folder / "russian.wav")
    assert np.abs(voice).max() > 0.1
    assert "silero_vad" in walk.said["tolmach inspect"]


def test_an_english_text_does_not_go_into_a_russian_voice(walk: Walk) -> None:
    refused = walk.answer("tolmach check 'test_src")
    assert "error[caps-mismatch]" in refused
    assert "lang=en" in refused
    assert "lang=ru" in refused


def test_a_line_with_a_tee_writes_voice_and_subtitles_and_its_yaml_is_the_same_graph(walk: Walk) -> None:
    assert "Где находится вокзал?" in walk.said["cat branches.srt"]
    assert soundfile.info(walk.folder / "branches.wav").duration > 10
    assert "- t -> " in (walk.folder / "branches.yaml").read_text(encoding="utf-8")


def test_a_file_runs_over_recordings(walk: Walk) -> None:
    assert walk.said["tolmach check talk.yaml"] == "talk.yaml: ok (8 elements, 7 links)\n"
    assert "<svg" in (walk.folder / "talk.svg").read_text(encoding="utf-8")
    assert "Где находится вокзал?" in walk.said["cat dubbed/phrasebook-en/talk.srt"]
    assert (walk.folder / "dubbed" / "phrasebook-en" / "dub.wav").is_file()


def test_a_program_hears_the_texts(walk: Walk) -> None:
    texts = walk.said["python talk.py"].splitlines()
    assert len(texts) == 10
    assert texts[0].split("  ")[-1] == "Доброе утро."


def test_an_element_of_ones_own_hides_a_word_everywhere(walk: Walk) -> None:
    assert "passed" in walk.said["pytest -q tolmach-mask-words"]
    assert walk.said["tolmach inspect mask_words"].startswith("mask_words: ")
    masked = walk.said["cat masked.srt"]
    assert "***" in masked
    assert "where" not in masked.lower()
    assert "***" in walk.answer("tolmach launch 'file_src path=config/demo/phrasebook-ru.flac"), "in the table, too"


def test_the_server_offers_the_graph(walk: Walk) -> None:
    (graph,) = json.loads(walk.said["tolmach serve graphs --port 8123"])["graphs"]
    assert (graph["name"], graph["ok"], graph["missing"]) == ("mine", True, [])
