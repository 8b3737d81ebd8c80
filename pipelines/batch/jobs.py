"""From what the user names on the command line to a list of jobs: one input, one output folder."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import GraphError

MEDIA_SUFFIXES = frozenset(
    (
        *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".m4b", ".aac", ".wma", ".aif", ".aiff", ".amr"),
        *(
            ".au",
            ".caf",
            ".wv",
            ".mka",
            ".mkv",
            ".mp4",
            ".m4v",
            ".mov",
            ".webm",
            ".avi",
            ".mpg",
            ".mpeg",
            ".ts",
            ".3gp",
        ),
    )
)
"""What is taken from a folder; a file named directly is tried whatever its suffix."""

MAX_INPUTS = 100_000


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the graph.

    Attributes:
        name: What tables call it: the output folder's path below the output root; "" for a graph without input.
        input: The recording, or None for a graph that makes its own audio.
        output: Folder for everything it writes.
    """

    name: str
    input: Path | None
    output: Path

    @property
    def is_unicode(self) -> bool:
        """Whether its paths are Unicode text; on Linux a file name may be any bytes."""
        try:
            f"{self.input}{self.output}".encode()
        except UnicodeEncodeError:
            return False
        return True


def plan_jobs(inputs: Sequence[str | Path], output: Path) -> list[Job]:
    """List the jobs for files and folders, in the order given (folders sorted, subfolders included).

    The output folder of a recording is its name without suffix, below that of its folder: ``talks/a.wav`` given as
    ``talks`` goes to ``OUT/a``. Where that would give two recordings one folder, the suffix is kept (``a.wav``,
    ``a.mp3``), and if that is not enough, a number is added.

    Raises:
        GraphError: If an input does not exist or cannot be read, a folder holds no recordings, or there are too many.
    """
    found: list[tuple[Path, Path]] = []  # file, path below the output root
    for given in inputs:
        path = Path(given)
        try:
            found += _recordings(path, output)
        except OSError as error:
            raise GraphError(f"{path}: {error.strerror or error}") from error
        if len(found) > MAX_INPUTS:
            raise GraphError(f"more than {MAX_INPUTS} recordings; give them in several runs")
    unique = dict.fromkeys(found)
    return [Job(str(below), path, output / below) for path, below in _distinct(unique)]


def _recordings(path: Path, output: Path) -> list[tuple[Path, Path]]:
    if not path.is_dir():
        if not path.exists():
            raise GraphError(f"no such file or folder: {path}")
        return [(path, Path(path.name))]
    inside = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in MEDIA_SUFFIXES)
    # A run's own output folder inside the input folder is not input.
    root = output.resolve()
    mine = [p for p in inside if not p.resolve().is_relative_to(root)]
    if inside and not mine:
        raise GraphError(f"all recordings in folder {path} lie in the output folder {output}; name another with -o")
    if not mine:
        raise GraphError(f"no recordings in folder {path} (looked for {', '.join(sorted(MEDIA_SUFFIXES))})")
    return [(p, p.relative_to(path)) for p in mine]


def _distinct(found: Iterable[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    pairs = list(found)
    counts: dict[str, int] = {}
    for _, below in pairs:
        counts[_key(_stem(below))] = counts.get(_key(_stem(below)), 0) + 1
    taken: set[str] = set()
    result = []
    for path, below in pairs:
        folder = _stem(below) if counts[_key(_stem(below))] == 1 else below
        number = 2
        while _key(folder) in taken:
            folder = below.with_name(f"{below.name}-{number}")
            number += 1
        taken.add(_key(folder))
        result.append((path, folder))
    return result


def _stem(below: Path) -> Path:
    # ``..wav`` without its suffix would be the folder itself, and ``...wav`` the one above.
    return below.with_name(below.stem) if below.stem.strip(".") else below


def _key(folder: Path) -> str:
    # Two names that differ only in case or Unicode form are one folder on macOS and Windows.
    return unicodedata.normalize("NFC", str(folder)).casefold()


def job_params(job: Job, params: Mapping[str, Any], declared: Collection[str]) -> dict[str, Any]:
    """The graph's params for one job: the caller's, ``input`` set to the recording and ``output`` to its folder."""
    values = dict(params)
    if job.input is not None:
        values["input"] = str(job.input)
    if "output" in declared:
        values.setdefault("output", str(job.output))
    return values


def fingerprint(graph: str, params: Mapping[str, Any], overrides: Mapping[str, Any], source: Path | None) -> str:
    """What a finished output was made from: graph, settings and recording. Equal fingerprints need no second run.

    The recording counts by size and modification time, not content: hashing hours of video to skip them would cost
    what the skipping saves.
    """
    stat = source.stat() if source is not None else None
    made_from = {
        "graph": graph,
        "params": {k: str(v) for k, v in sorted(params.items())},
        "overrides": {k: str(v) for k, v in sorted(overrides.items())},
        "source": [str(source.resolve()), stat.st_size, stat.st_mtime_ns] if source and stat else None,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
