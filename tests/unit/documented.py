"""What the documents and the files of docker/ tell people to type, as the commands that it is."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tolmach.pipelines.cli.main import _parse

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_SHELLS = ("sh", "powershell")
_INLINE = re.compile(r"`([^`\n]+)`")
_SPLITS = re.compile(r"\s*(?:&&|\|\||[|;])\s*")


def shell_lines(markdown: str) -> Iterator[str]:
    """The command lines of all shell blocks, continued lines joined, comments and prompts left out."""
    for block in _FENCE.finditer(markdown):
        if block["language"] in _SHELLS:
            for line in block["text"].replace("\\\n", " ").splitlines():
                command = line.partition(" #")[0].strip().removeprefix("$ ")
                if command and not command.startswith("#"):
                    yield command


def inline_code(markdown: str) -> Iterator[str]:
    """Code inside sentences and tables."""
    for found in _INLINE.finditer(_FENCE.sub("", markdown)):
        yield found[1]


def words_of(line: str) -> list[list[str]]:
    """The commands of one line, each as words; assignments in front of a command and `sudo` are left out."""
    commands = []
    for part in _SPLITS.split(line):
        words = shlex.split(part)
        while words and (words[0] == "sudo" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
            words = words[1:]
        if words:
            commands.append(words)
    return commands


def commands(markdown: str, program: str) -> Iterator[list[str]]:
    """What is done with a program, in blocks and in sentences, without its name; a bare mention is no command."""
    for line in (*shell_lines(markdown), *inline_code(markdown)):
        if program not in line or "…" in line:
            continue
        for words in words_of(line):
            if Path(words[0]).name == program and len(words) > 1:
                yield words[1:]


def parse(arguments: list[str]) -> argparse.Namespace:
    """Arguments of `tolmach`, read by its own parsers.

    Raises:
        AssertionError: If they would be refused.
    """
    try:
        return _parse(list(arguments))[1]
    except SystemExit as error:
        if error.code in (0, None):  # --help
            return argparse.Namespace()
        raise AssertionError(f"`tolmach {shlex.join(arguments)}` is refused") from error
