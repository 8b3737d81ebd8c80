"""From what the user names on the command line to a list of jobs: one input, one output folder."""

from __future__ import annotations

import hashlib
import json
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


def plan_jobs(inputs: Sequence[str | Path], output: Path) -> list[Job]:
    """List the jobs for files and folders, in the order given (folders sorted, subfolders included).

    The output folder of a recording is its name without suffix, below that of its folder: ``talks/a.wav`` given as
    ``talks`` goes to ``OUT/a``. Where that would give two recordings one folder, the suffix is kept (``a.wav``,
    ``a.mp3``), and if that is not enough, a number is added.

    Raises:
        GraphError: If an input does not exist, a folder holds no recordings, or there are too many.
    """
    found: list[tuple[Path, Path]] = []  # file, path below the output root
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in MEDIA_SUFFIXES)
            # A run's own output folder inside the input folder is not input.
            inside = [p for p in inside if not p.resolve().is_relative_to(output.resolve())]
            if not inside:
                raise GraphError(f"no recordings in folder {path} (looked for {', '.join(sorted(MEDIA_SUFFIXES))})")
            found += [(p, p.relative_to(path)) for p in inside]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise GraphError(f"no such file or folder: {path}")
        if len(found) > MAX_INPUTS:
            raise GraphError(f"more than {MAX_INPUTS} recordings; give them in several runs")
    unique = dict.fromkeys(found)
    return [Job(str(below), path, output / below) for path, below in _distinct(unique)]


def _distinct(found: Iterable[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    pairs = list(found)
    counts: dict[Path, int] = {}
    for _, below in pairs:
        stem = below.with_suffix("")
        counts[stem] = counts.get(stem, 0) + 1
    taken: set[Path] = set()
    result = []
    for path, below in pairs:
        stem = below.with_suffix("")
        folder = stem if counts[stem] == 1 else below
        number = 2
        while folder in taken:
            folder = below.with_name(f"{below.name}-{number}")
            number += 1
        taken.add(folder)
        result.append((path, folder))
    return result


def job_params(job: Job, params: Mapping[str, Any], declared: Collection[str]) -> dict[str, Any]:
    """The graph's params for one job: the caller's, ``input`` set to the recording and ``output`` to its folder."""
    values = dict(params)
    if job.input is not None:
        values["input"] = str(job.input)
    if "output" in declared:
        values.setdefault("output", str(job.output))
    return values


def fingerprint(graph_text: str, params: Mapping[str, Any], overrides: Mapping[str, Any], source: Path | None) -> str:
    """What a finished output was made from: graph, settings and recording. Equal fingerprints need no second run.

    The recording counts by size and modification time, not content: hashing hours of video to skip them would cost
    what the skipping saves.
    """
    stat = source.stat() if source is not None else None
    made_from = {
        "graph": graph_text,
        "params": {k: str(v) for k, v in sorted(params.items())},
        "overrides": {k: str(v) for k, v in sorted(overrides.items())},
        "source": [str(source.resolve()), stat.st_size, stat.st_mtime_ns] if source and stat else None,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
