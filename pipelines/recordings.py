"""What counts as a recording, and sets of them with references: a JSONL manifest, or a folder with texts beside them.

Described in docs/EVAL.md. A manifest names files of its own folder, so that a set can be moved and handed on.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tolmach.pipelines.errors import GraphError

MEDIA_SUFFIXES = frozenset(
    (
        *(".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".bwf", ".caf", ".dts", ".eac3", ".flac"),
        *(".gsm", ".m4a", ".m4b", ".mka", ".mp2", ".mp3", ".mpc", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".spx"),
        *(".tta", ".voc", ".w64", ".wav", ".wma", ".wv"),
        *(".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
        *(".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv"),
    )
)
"""What is taken from a folder; a file named directly is tried whatever its suffix."""

MAX_RECORDINGS = 10_000
MAX_SENTENCES = 20_000
"""In one recording: a day of speech."""
MAX_LINE_BYTES = 16 << 20
MAX_TEXT = 20_000
"""Characters of one reference."""
MAX_TOLD = 10
"""Problems told at once."""

_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")
_NO_LANGUAGE = frozenset({"", "none", "zxx", "und"})
"""What says that nobody speaks: ``zxx`` is "no linguistic content" in BCP-47."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is said in one stretch of a recording.

    Attributes:
        start_s: Where it begins, s; None for the whole recording.
        end_s: Where it ends, s; None as above.
        transcript: What is said; "" where nobody wrote it down.
        translation: What it means in the target language; "" where nobody wrote it down.
    """

    start_s: float | None
    end_s: float | None
    transcript: str
    translation: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording and what should come out of it.

    Attributes:
        name: As the set calls it: its path below the set's folder.
        path: The file.
        source_lang: What is spoken, a BCP-47 tag; "" where the set does not say.
        target_lang: Language of the translations, likewise.
        sentences: What is said, in order; empty where nobody speaks.
        kind: What the set says of it ("human", "noise", …), or "".
    """

    name: str
    path: Path
    source_lang: str
    target_lang: str
    sentences: tuple[Sentence, ...]
    kind: str = ""

    @property
    def has_speech(self) -> bool:
        """Whether anybody speaks."""
        return bool(self.sentences)


class BadReference(ValueError):  # noqa: N818 -- told by read_set, never raised out of it
    """One problem of one recording."""


def read_set(path: Path) -> list[Recording]:
    """The recordings of a manifest or a folder, in their order.

    Raises:
        GraphError: With every problem, up to ten, each with its line.
    """
    if path.is_dir():
        return _read_folder(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise GraphError(f"no such manifest or folder: {path}") from None
    except OSError as error:
        raise GraphError(f"{path}: {error.strerror or error}") from error
    if path.suffix.lower() in MEDIA_SUFFIXES:
        raise GraphError(f"{path} is a recording; give its folder, with a .txt or .srt beside it, or a manifest")
    found: list[Recording] = []
    problems: list[str] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            recording = _row(_json(line), path.parent)
            real = os.path.realpath(recording.path)
            if (earlier := lines.setdefault(real, number)) != number:
                raise BadReference(f"{recording.name} stands in line {earlier} already")
            found.append(recording)
        except BadReference as problem:
            problems.append(f"{path}:{number}: {problem}")
        if len(found) > MAX_RECORDINGS:
            raise GraphError(f"{path}: more than {MAX_RECORDINGS} recordings")
    _tell(problems)
    if not found:
        raise GraphError(f"{path}: no recordings; each line is an object such as " + _EXAMPLE)
    return found


_EXAMPLE = '{"file": "a.wav", "language": "ru", "transcript": "…", "translation": "…"}'


def _tell(problems: Sequence[str]) -> None:
    if problems:
        more = [f"and {len(problems) - MAX_TOLD} more problems"] if len(problems) > MAX_TOLD else []
        raise GraphError("\n".join([*problems[:MAX_TOLD], *more]))


def _json(line: bytes) -> Mapping[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise BadReference(f"longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadReference(f"not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise BadReference(f"not JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise BadReference("nested too deeply") from None
    if not isinstance(row, dict):
        raise BadReference(f"not an object such as {_EXAMPLE}")
    return row


def _row(row: Mapping[str, Any], folder: Path) -> Recording:
    name = row.get("file")
    if not isinstance(name, str) or not name:
        raise BadReference('no "file", the path of a recording from the manifest\'s folder')
    below = os.path.normpath(name)
    if os.path.isabs(below) or Path(below).parts[0] == os.pardir:  # noqa: PTH117 -- a string
        raise BadReference(f'"file": {name} does not lie in the folder of the manifest')
    path = folder / below
    if not path.is_file():
        raise BadReference(f"no such recording: {path}")
    source = _tag(row, "source_lang") or _tag(row, "language")
    target = _tag(row, "target_lang")
    segments = row.get("segments")
    if segments is None:
        whole = Sentence(None, None, *_texts(row, source, target))
        sentences: tuple[Sentence, ...] = (whole,) if whole.transcript or whole.translation else ()
    elif isinstance(segments, list) and len(segments) <= MAX_SENTENCES:
        sentences = _checked(tuple(_segment(each, at, source, target) for at, each in enumerate(segments, 1)))
    else:
        raise BadReference(f'"segments" must be a list of at most {MAX_SENTENCES}')
    kind = row.get("kind")
    return Recording(below, path, source, target, sentences, kind[:40] if isinstance(kind, str) else "")


def _tag(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None or (isinstance(value, str) and value.lower() in _NO_LANGUAGE):
        return ""
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise BadReference(f'"{key}" must be a BCP-47 tag such as ru, or none')
    return value.lower()


def _texts(row: Mapping[str, Any], source: str, target: str) -> tuple[str, str]:
    """Transcript and translation, under these names or under the tags of their languages."""
    return _text(row, "transcript", source), _text(row, "translation", target)


def _text(row: Mapping[str, Any], key: str, lang: str) -> str:
    name = key if key in row or not lang else lang
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadReference(f'"{name}" must be text')
    if len(value) > MAX_TEXT:
        raise BadReference(f'"{name}" is longer than {MAX_TEXT} characters; give "segments"')
    return " ".join(value.split())


def _segment(each: Any, at: int, source: str, target: str) -> Sentence:
    if not isinstance(each, dict):
        raise BadReference(f"segment {at} is no object")
    times: list[float] = []
    for key in ("start_s", "end_s"):
        value = each.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e7:
            raise BadReference(f'segment {at}: "{key}" must be seconds from the start of the recording')
        times.append(float(value))
    try:
        return Sentence(times[0], times[1], *_texts(each, source, target))
    except BadReference as problem:
        raise BadReference(f"segment {at}: {problem}") from None


def _checked(sentences: tuple[Sentence, ...]) -> tuple[Sentence, ...]:
    before = 0.0
    for at, sentence in enumerate(sentences, 1):
        start, end = sentence.start_s or 0.0, sentence.end_s or 0.0
        if end <= start:
            raise BadReference(f"segment {at} ends at {end:g} s, and begins at {start:g} s")
        if start < before:
            raise BadReference(f"segment {at} begins at {start:g} s, before the one above it")
        before = start
    return sentences


# A folder ----------------------------------------------------------------------------------------------------------


def _read_folder(folder: Path) -> list[Recording]:
    found: list[Recording] = []
    problems: list[str] = []
    bare = 0
    for path in sorted(_media(folder)):
        try:
            translation = _beside(path, "")
            if translation is None:
                bare += 1
                continue
            sentences = _paired(translation, _beside(path, ".source"))
            found.append(Recording(path.relative_to(folder).as_posix(), path, "", "", sentences))
        except BadReference as problem:
            problems.append(str(problem))
        if len(found) > MAX_RECORDINGS:
            raise GraphError(f"{folder}: more than {MAX_RECORDINGS} recordings")
    _tell(problems)
    if not found:
        manifests = sorted(folder.glob("*.jsonl"))
        said = f"none of its {bare} recordings has a .srt or .txt beside it" if bare else "it has no recordings"
        hint = f"; did you mean {manifests[0]}?" if manifests else ""
        raise GraphError(f"{folder}: {said}{hint}")
    return found


def _media(folder: Path) -> Iterator[Path]:
    for at, (here, folders, files) in enumerate(os.walk(folder)):
        if at > MAX_RECORDINGS:
            raise GraphError(f"{folder}: more than {MAX_RECORDINGS} folders")
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield from (Path(here, f) for f in files if not f.startswith(".") and Path(f).suffix.lower() in MEDIA_SUFFIXES)


def _beside(path: Path, infix: str) -> list[Sentence] | None:
    """What stands in ``talk.srt`` or ``talk.txt``, as translations; None without one."""
    for suffix in (".srt", ".txt"):
        file = path.with_name(f"{path.stem}{infix}{suffix}")
        if not file.is_file():
            continue
        try:
            if file.stat().st_size > MAX_LINE_BYTES:
                raise BadReference(f"{file}: longer than {MAX_LINE_BYTES >> 20} MiB")
            text = file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadReference(f"{file}: not UTF-8 at byte {error.start + 1}") from None
        except OSError as error:
            raise BadReference(f"{file}: {error.strerror or error}") from None
        if suffix == ".srt":
            return list(_checked(tuple(read_srt(text, str(file)))))
        if len(text) > MAX_TEXT:
            raise BadReference(f"{file}: longer than {MAX_TEXT} characters; a .srt gives each sentence its place")
        return [Sentence(None, None, "", " ".join(text.split()))]
    return None


def _paired(translations: list[Sentence], transcripts: list[Sentence] | None) -> tuple[Sentence, ...]:
    said = [s.translation for s in transcripts or ()]
    if len(said) != len(translations):  # cut otherwise: shown with the first, scored with none
        said = [" ".join(said)] + [""] * (len(translations) - 1) if translations else []
    return tuple(
        Sentence(s.start_s, s.end_s, text, s.translation)
        for s, text in zip(translations, said, strict=True)
        if s.translation
    )


_CUE = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->\s*(\d+):(\d\d):(\d\d)[,.](\d{1,3})")


def read_srt(text: str, name: str) -> Iterator[Sentence]:
    """The cues of SubRip subtitles, as translations.

    Raises:
        BadReference: With the line.
    """
    cue: tuple[float, float] | None = None
    said: list[str] = []
    lines = text.splitlines()
    for number, line in enumerate([*lines, ""], 1):
        if (times := _CUE.match(line.strip())) is not None:
            if cue is not None:  # no empty line between two cues: the number of this one stood with the texts
                yield Sentence(*cue, "", " ".join(" ".join(said[:-1]).split()))
                said = []
            h, m, s, ms, *end = times.groups()
            h2, m2, s2, ms2 = end
            cue = (_seconds(h, m, s, ms), _seconds(h2, m2, s2, ms2))
        elif "-->" in line:
            raise BadReference(f"{name}:{number}: times are written 00:01:02,500 --> 00:01:04,000")
        elif not line.strip() and cue is not None:
            yield Sentence(*cue, "", " ".join(" ".join(said).split()))
            cue, said = None, []
        elif cue is not None:
            said.append(re.sub(r"<[^<>]*>", "", line))
        elif line.strip() and not line.strip().isdecimal() and number > 1:
            raise BadReference(f"{name}:{number}: text without a time")


def _seconds(h: str, m: str, s: str, ms: str) -> float:
    return int(h) * 3600 + int(m) * 60 + int(s) + int(ms.ljust(3, "0")) / 1000
