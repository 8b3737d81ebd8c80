"""From what the user names on the command line to a list of jobs: one input, one output folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tolmach.pipelines.cli.batch.records import RECORD_NAME, SUMMARY_NAME, source_of
from tolmach.pipelines.errors import GraphError, no_such_file
from tolmach.pipelines.language.variables import ParamDef, param_with_role
from tolmach.pipelines.recordings import MEDIA_SUFFIXES

MAX_INPUTS = 100_000

RESERVED = frozenset({RECORD_NAME, SUMMARY_NAME})
"""Names of files the batch writes beside the folders of recordings; no such folder may have one."""

log = logging.getLogger("tolmach.pipelines.cli.batch")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the graph.

    Attributes:
        name: What tables call it: the output folder's path below the output root; "" for a graph without input.
        input: The recording, or None for a graph that makes its own audio.
        output: Folder for everything it writes.
        problem: Why it cannot be run (no such file, a link to nothing), or "".
        params: Values of the graph's params for this job alone.
    """

    name: str
    input: Path | None
    output: Path
    problem: str = ""
    params: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def is_unicode(self) -> bool:
        """Whether its paths are Unicode text; on Linux a file name may be any bytes."""
        try:
            f"{self.input}{self.output}".encode()
        except UnicodeEncodeError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Found:
    """A recording, or what cannot be one.

    Attributes:
        path: As the user named it.
        below: Its path below the output root, suffix included.
        source: Its absolute path, links resolved.
        problem: See :class:`Job`.
    """

    path: Path
    below: Path
    source: str = ""
    problem: str = ""


def plan_jobs(inputs: Sequence[str | Path], output: Path) -> list[Job]:
    """List the jobs for files and folders, in the order given (folders sorted, subfolders included).

    Hidden files and folders are left out, as are files that macOS leaves beside others (``._talk.wav``). Links are
    followed, each folder is searched once, and a recording that several paths lead to runs once.

    The output folder of a recording is its name without suffix, below that of its folder: ``talks/a.wav`` given as
    ``talks`` goes to ``OUT/a``. Recordings that would share one keep their suffix (``a.wav``, ``a.mp3``), and if that
    is not enough get the beginning of a digest of their path; never a number, which would depend on their order. A
    folder that holds the results of a recording stays that recording's, whatever is put beside it later.

    Returns:
        The jobs; those with a ``problem`` stand for what cannot be read.

    Raises:
        GraphError: If there is no recording at all, or there are too many.
    """
    found: list[_Found] = []
    for given in inputs:
        found += _given(given, output)
        if len(found) > MAX_INPUTS:
            raise GraphError(f"more than {MAX_INPUTS} recordings; give them in several runs")
    # A link beside its recording, a folder and a file in it: the same recording is one job.
    recordings: dict[str, _Found] = {}
    for each in found:
        recordings.setdefault(each.source or f"\0{each.path}", each)
    if all(each.problem for each in recordings.values()):
        raise GraphError("\n".join(each.problem for each in recordings.values()))
    return [Job(str(below), f.path, output / below, f.problem) for f, below in _named([*recordings.values()], output)]


def _given(given: str | Path, output: Path) -> list[_Found]:
    path = Path(given)
    if not str(given):
        # Path("") is the current folder, which nobody means who passes an empty variable.
        return [_Found(path, Path("empty"), problem='an empty INPUT (""); the current folder is called .')]
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return [_Found(path, Path(path.name or "input"), problem=_why(path, error, str(given)))]
    if not stat.S_ISDIR(mode):
        return [_Found(path, Path(path.name), _source(path))]
    return _in_folder(path, output)


def _why(path: Path, error: OSError, given: str = "") -> str:
    if isinstance(error, FileNotFoundError):
        if (why := no_such_file(given)) != no_such_file(""):
            return f"{given}: {why}"
        return f"{path}: is a link to nothing" if path.is_symlink() else f"no such file or folder: {path}"
    return f"{path}: {error.strerror or error}"


def _in_folder(folder: Path, output: Path) -> list[_Found]:
    found: list[_Found] = []
    # A run's own output folder inside the input folder is not input.
    skipped, root = 0, os.path.realpath(output)
    searched: set[tuple[int, int]] = set()
    # Links to folders come after all real ones, so that a recording has the name of its own place.
    folders, links = [folder], list[Path]()
    while folders or links:
        here = (folders or links).pop()
        try:
            state = here.stat()
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            below = here.relative_to(folder)
            name = below if below.name else Path(folder.name or "folder")
            found.append(_Found(here, name, problem=f"{here}: the folder cannot be read: {error.strerror or error}"))
            continue
        if (state.st_dev, state.st_ino) in searched:
            log.warning("%s: leads to a folder that is searched already; it is not searched twice", here)
            continue
        searched.add((state.st_dev, state.st_ino))
        for entry in reversed(entries):
            if entry.name.startswith("."):
                continue
            path = here / entry.name
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            elif path.suffix.lower() in MEDIA_SUFFIXES:
                each = _recording(path, folder)
                if each is not None and _is_below(each.source, root):
                    skipped += 1
                elif each is not None:
                    found.append(each)
    if not found and skipped:
        raise GraphError(f"all recordings in folder {folder} lie in the output folder {output}; name another with -o")
    if not found:
        looked_for = ", ".join(sorted(MEDIA_SUFFIXES))
        problem = f"no recordings in folder {folder} (looked for {looked_for})"
        return [_Found(folder, Path(folder.name or "folder"), problem=problem)]
    # A link sorts behind what it may lead to, for plan_jobs() keeps the first; then all are put in order again.
    unique: dict[str, _Found] = {}
    for each in sorted(found, key=lambda each: (each.path.is_symlink(), each.path)):
        unique.setdefault(each.source or str(each.path), each)
    return sorted(unique.values(), key=lambda each: each.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _recording(path: Path, folder: Path) -> _Found | None:
    below = path.relative_to(folder)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return _Found(path, below, problem=_why(path, error))
    return _Found(path, below, _source(path)) if stat.S_ISREG(mode) else None


def _source(path: Path) -> str:
    return os.path.realpath(path)


def _is_below(source: str, root: str) -> bool:
    return source == root or source.startswith(root.rstrip(os.sep) + os.sep)


def _named(found: Sequence[_Found], output: Path) -> list[tuple[_Found, Path]]:
    """Each recording with its folder below the output root."""
    pure = _distinct(found)
    kept = {each: old for each, names in pure.items() if (old := _kept(each, names, output)) is not None}
    taken = {_key(folder) for folder in kept.values()}
    result = []
    for each, names in pure.items():
        folder = kept.get(each)
        if folder is None:
            free = (n for n in names if _key(n) not in taken and not _is_anothers(output / n, each))
            folder = next(free, names[-1])
            taken.add(_key(folder))
        result.append((each, folder))
    return result


def _distinct(found: Sequence[_Found]) -> dict[_Found, list[Path]]:
    """The names each recording may have, best first: those it shares with another one left out, but for the last."""
    choices = {each: [_free(_stem(each.below)), _free(each.below), _digested(each)] for each in found}
    counts: Counter[str] = Counter()
    for names in choices.values():
        counts.update({_key(name) for name in names})
    return {each: [n for n in names[:-1] if counts[_key(n)] == 1] + names[-1:] for each, names in choices.items()}


def _digested(each: _Found) -> Path:
    digest = hashlib.sha256((each.source or str(each.path)).encode(errors="surrogateescape")).hexdigest()
    return _free(each.below.with_name(f"{each.below.name}-{digest[:12]}"))


def _kept(each: _Found, names: Sequence[Path], output: Path) -> Path | None:
    """Where results of this recording lie already, under a name of today or of an earlier version (``a.wav-2``)."""
    if not each.source:
        return None
    below = each.below
    numbered = []
    with contextlib.suppress(OSError):
        there = os.listdir((output / below).parent)  # noqa: PTH208 -- names only
        pattern = re.compile(re.escape(below.name) + r"-\d{1,6}")
        numbered = sorted(name for name in there if pattern.fullmatch(name))
    candidates = [*names, _stem(below), below, *(below.with_name(name) for name in numbered)]
    return next((n for n in dict.fromkeys(candidates) if source_of(output / n) == each.source), None)


def _is_anothers(folder: Path, each: _Found) -> bool:
    """Whether results of another recording lie there, one that still exists (one that was moved leaves its place)."""
    source = source_of(folder)
    return source is not None and source != each.source and os.path.exists(source)  # noqa: PTH110 -- a string


def _free(below: Path) -> Path:
    # ``summary.json.flac`` without its suffix is a file of ours.
    return Path(*(f"{part}_" if part.casefold() in RESERVED else part for part in below.parts))


def _stem(below: Path) -> Path:
    # ``..wav`` without its suffix would be the folder itself, and ``...wav`` the one above.
    return below.with_name(below.stem) if below.stem.strip(".") else below


def _key(folder: Path) -> str:
    # Two names that differ only in case or Unicode form are one folder on macOS and Windows.
    return unicodedata.normalize("NFC", str(folder)).casefold()


def job_params(job: Job, params: Mapping[str, Any], declared: Sequence[ParamDef]) -> dict[str, Any]:
    """The graph's params for one job: the caller's, its own, its recording and folder for those with these roles."""
    values = {**params, **job.params}
    recording, folder = param_with_role(declared, "input"), param_with_role(declared, "output")
    if job.input is not None and recording is not None:
        values[recording.name] = str(job.input)
    if folder is not None:
        values.setdefault(folder.name, str(job.output))
    return values


def fingerprint(graph: str, params: Mapping[str, Any], overrides: Mapping[str, Any], source: Path | None) -> str:
    """What a finished output was made from: graph, settings and recording. Equal fingerprints need no second run.

    The recording counts by size and modification time, not content: hashing hours of video to skip them would cost
    what the skipping saves.

    Raises:
        OSError: If the recording is not there or may not be read.
    """
    state = source.stat() if source is not None else None
    if source is not None and state is not None and stat.S_ISREG(state.st_mode):
        source.open("rb").close()  # a recording that may not be read is told here, in the words of the system
    made_from = {
        "graph": graph,
        "params": {k: str(v) for k, v in sorted(params.items())},
        "overrides": {k: str(v) for k, v in sorted(overrides.items())},
        "source": [str(source.resolve()), state.st_size, state.st_mtime_ns] if source and state else None,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
