"""What a batch run notes down and remembers: ``run.json`` beside each recording's outputs, ``summary.json`` for all.

Both are described in docs/BATCH.md and stay compatible within a ``v``: fields may be added.

``run.json`` is what makes a second run skip finished recordings, and what allows it to replace the half-made outputs of
an interrupted one: a folder whose record says ``owned`` but not ``done`` holds nothing worth keeping.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from tolmach.pipelines.bus import (
    ErrorMessage,
    Message,
    NoticeMessage,
    PlacedMessage,
    PositionMessage,
    StateMessage,
    TranslationMessage,
    UnspokenMessage,
    UtteranceEndMessage,
    VoicePaceMessage,
    WarningMessage,
)
from tolmach.pipelines.errors import OutputError
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, TranslationFrame
from tolmach.pipelines.runtime.runner import MAX_MESSAGES

if sys.platform != "win32":
    import fcntl

T = TypeVar("T")

RECORD_NAME = "run.json"
SUMMARY_NAME = "summary.json"
VERSION = 1

RecordStatus = Literal["running", "done", "failed", "cancelled", "skipped", "stale"]


@dataclass(frozen=True, slots=True)
class RecordedUtterance:
    """One line of the utterance table.

    Attributes:
        utterance: Its number.
        start_ms: Start in the recording, ms.
        end_ms: End in the recording, ms.
        source_lang: What was spoken.
        target_lang: Language of ``text``.
        text: The translation; "" when rejected. Of an utterance in parts all of them, joined.
        rejected: Why there is no text, or None.
        logprob: Mean token log-probability, or None; of several parts the mean weighted by length of text.
        source_text: What was understood, or None where nobody asked.
        language_confidence: Probability that ``source_lang`` was spoken, or None where it was given.
        language_kept: Whether that was too little to go by, and ``source_lang`` is what was spoken before.
        retries: Why the engine was asked again, once for each time.
        unspoken: Whether a voice that was too far behind left it out, or a part of it.
    """

    utterance: int
    start_ms: int
    end_ms: int
    source_lang: str
    target_lang: str
    text: str
    rejected: str | None = None
    logprob: float | None = None
    source_text: str | None = None
    language_confidence: float | None = None
    language_kept: bool = False
    retries: tuple[str, ...] = ()
    unspoken: bool = False

    @classmethod
    def of(cls, frame: TranslationFrame) -> RecordedUtterance:
        """From a text that flowed."""
        return cls(
            utterance=frame.utterance,
            start_ms=round(frame.pts_ns / NS_PER_MS),
            end_ms=round(frame.end_ns / NS_PER_MS),
            source_lang=frame.source_lang,
            target_lang=frame.target_lang,
            text=frame.text,
            rejected=frame.rejected,
            logprob=_rounded(frame.logprob),
            source_text=frame.source_text,
            language_confidence=_rounded(frame.language_confidence),
            language_kept=frame.language_kept,
            retries=frame.retries,
        )

    def joined(self, part: RecordedUtterance) -> RecordedUtterance:
        """The same with one more part of its text."""
        text = _joined(self.text, part.text)
        known = [(len(each.text), each.logprob) for each in (self, part) if each.text and each.logprob is not None]
        total = sum(length for length, _ in known)
        sources = [each.source_text for each in (self, part) if each.source_text is not None]
        return replace(
            self,
            end_ms=max(self.end_ms, part.end_ms),
            text=text,
            rejected=None if text else self.rejected or part.rejected,
            logprob=_rounded(sum(length * logprob for length, logprob in known) / total) if total else self.logprob,
            source_text=_joined(*sources) if sources else None,
            retries=self.retries or part.retries,
            unspoken=self.unspoken or part.unspoken,
        )


def _joined(*texts: str) -> str:
    return " ".join(text.strip() for text in texts if text.strip())


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if value is not None else None


@dataclass(frozen=True, slots=True)
class Record:
    """How the run of one recording ended.

    Attributes:
        name: The job's name.
        input: The recording, or None.
        output: Its output folder.
        status: ``running`` until it ended; ``skipped`` and ``stale`` only appear in summaries.
        fingerprint: What it was made from, see :func:`tolmach.pipelines.cli.batch.jobs.fingerprint`.
        media_s: Media time processed, s.
        wall_s: Wall time while frames flowed, model loading left out, s.
        rtfx: media_s / wall_s.
        lag_ms: Largest lag of a dubbed utterance behind its source, ms, or None without an aligned dub.
        voiced: Texts that voices began to speak.
        unspoken: Texts that voices left out because they were too far behind.
        tempo: How much faster than the voices' own speed the former were spoken, mean; None without any.
        segments: Utterances the VAD cut.
        outputs: Files written, below ``output``.
        errors: What went wrong, for people.
        warnings: What they should know.
        utterances: What was translated.
        source: Absolute path of the recording, links resolved, or None; "" in records of earlier versions.
        settled: Whether nothing would come out better another time: all sinks finished, and what was wrong was wrong
            with the recording (cut off, damaged in places).
        beside: Subtitles put beside the recording, absolute paths.
        muxed: Copies of the recording with dub and subtitles in them, below ``output``; they are not among ``outputs``.
        owned: Whether all its sinks could open, so that files under their names are this run's or an earlier one's,
            and the next run may replace them.
    """

    name: str
    input: str | None
    output: str
    status: RecordStatus
    fingerprint: str
    media_s: float = 0.0
    wall_s: float = 0.0
    rtfx: float | None = None
    lag_ms: int | None = None
    voiced: int = 0
    unspoken: int = 0
    tempo: float | None = None
    segments: int = 0
    outputs: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    utterances: tuple[RecordedUtterance, ...] = field(default=())
    source: str | None = ""
    settled: bool = False
    beside: tuple[str, ...] = ()
    muxed: tuple[str, ...] = ()
    owned: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is left to do for this recording."""
        return self.status in ("done", "skipped")

    @property
    def spoken(self) -> int:
        """Utterances in the recording: a sentence that two branches translate is one."""
        return len({(u.utterance, u.start_ms, u.end_ms) for u in self.utterances}) or self.segments

    @property
    def rejections(self) -> dict[str, int]:
        """Texts that are none, by reason, the most frequent first."""
        return dict(Counter(u.rejected for u in self.utterances if u.rejected).most_common())

    @property
    def retries(self) -> dict[str, int]:
        """How often an engine was asked again, by reason, the most frequent first."""
        return dict(Counter(why for u in self.utterances for why in u.retries).most_common())

    def as_status(self, status: RecordStatus) -> Record:
        """A copy with another status."""
        return replace(self, status=status)


def clock(seconds: float | None) -> str:
    """``1:02:03`` or ``2:03``; ``?`` for None."""
    if seconds is None:
        return "?"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def describe(record: Record) -> str:
    """How a recording ended, in one line."""
    if record.status == "skipped":
        said = "skipped: finished earlier"
        return f"{said}; {record.warnings[0]}" if record.settled and record.warnings else said
    if record.status == "done":
        speed = f", {record.rtfx:.1f}x real time" if record.rtfx else ""
        left_out = f", {record.unspoken} not spoken" if record.unspoken else ""
        return f"done: {clock(record.media_s)}, {record.spoken} utterances{left_out}{speed}"
    return f"{record.status}: {'; '.join(record.errors) or 'stopped before its end'}"


def load_record(folder: Path) -> Record | None:
    """The record in ``folder``; None when there is none that this version can read."""
    try:
        data = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
        if data.pop("v", None) != VERSION:
            return None
        utterances = tuple(
            _read(RecordedUtterance, {**u, "retries": tuple(u.get("retries", ()))}) for u in data.pop("utterances")
        )
        for name in ("outputs", "errors", "warnings", "beside", "muxed"):
            data[name] = tuple(data.get(name, ()))
        return _read(Record, {**data, "utterances": utterances})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _read(kind: type[T], data: Mapping[str, Any]) -> T:
    # A later version may have added fields; a missing one is a TypeError.
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # both kinds are dataclasses
    return kind(**{name: value for name, value in data.items() if name in known})


def source_of(folder: Path) -> str | None:
    """The recording whose results lie in ``folder``: its absolute path, links resolved; None without a record."""
    record = load_record(folder)
    if record is None or record.input is None:
        return None
    return record.source or os.path.realpath(record.input)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Keep other processes from running into ``folder``, which is made; blocks while the folder is opened.

    A lock on the folder itself: it leaves no file behind and ends with the process, however that ends. Where there is
    none (Windows, some network file systems) nothing is locked.

    Yields:
        False if another process has it.

    Raises:
        OSError: If the folder cannot be made or opened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        ours = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            ours = False
        except OSError:  # a file system without locks
            ours = True
        yield ours
    finally:
        os.close(descriptor)


def is_whole(folder: Path, record: Record) -> bool:
    """Whether everything the run wrote is still in ``folder``."""
    return all((folder / name).is_file() for name in record.outputs)


def save_record(folder: Path, record: Record) -> None:
    """Write ``run.json``, whole or not at all."""
    _write_json(folder / RECORD_NAME, {"v": VERSION, **asdict(record)})


def save_summary(output: Path, graph: str, records: Sequence[Record]) -> Path:
    """Write ``summary.json``: totals and every record."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
    data = {
        "v": VERSION,
        "graph": graph,
        "counts": counts,
        "media_s": round(sum(r.media_s for r in records), 3),
        "utterances": sum(r.spoken for r in records),
        "texts": sum(1 for r in records for u in r.utterances if u.text),
        "rejected": dict(sum((Counter(r.rejections) for r in records), Counter[str]()).most_common()),
        "retries": dict(sum((Counter(r.retries) for r in records), Counter[str]()).most_common()),
        "runs": [asdict(r) for r in records],
    }
    path = output / SUMMARY_NAME
    _write_json(path, data)
    return path


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file name that is not UTF-8 reaches us as lone surrogates; escaped like \\udcff they are still JSON.
    text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
    write_whole(path, text.encode("utf-8", errors="backslashreplace"))


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file whole or not at all, in place of one of that name; raises what gives the data, too.

    Its name until then is one that file sinks sweep when a killed run has left it, and know by its lock while it is
    being written.

    Raises:
        OSError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name[:100]}.part-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            if sys.platform != "win32":
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            if sys.platform != "win32":  # which renames no open file
                temporary.replace(path)
        if sys.platform == "win32":
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


_LOOK_BACK = 1000


class Notes:
    """Collects what the bus says about one recording."""

    def __init__(self) -> None:
        self.utterances: list[RecordedUtterance] = []
        self._open: dict[tuple[str, int, str, str], int] = {}  # place of those of which further parts are expected
        self.warnings: list[str] = []
        self.segments = 0
        self.position_ns = 0
        self.lag_ns: int | None = None
        self.voiced = self.unspoken = 0
        self.tempos = 0.0
        self.opened = False

    def take(self, message: Message) -> None:
        """Subscribe this to the bus."""
        match message:
            case TranslationMessage(frame=frame) if frame.final:
                self._note(message.element, frame)
            case UtteranceEndMessage():
                self.segments += 1
            case PositionMessage():
                self.position_ns = max(self.position_ns, message.position_ns)
            case PlacedMessage():
                self.lag_ns = max(message.lag_ns, self.lag_ns or 0)
            case VoicePaceMessage():
                self.voiced += 1
                self.tempos += message.tempo
            case UnspokenMessage():
                self.unspoken += 1
                self._mark_unspoken(message.utterance)
            case StateMessage():
                self.opened = self.opened or message.state == "ready"
            case WarningMessage() if len(self.warnings) < MAX_MESSAGES:
                self.warnings.append(describe_message(message))
            case ErrorMessage(error=OutputError.__name__):  # somebody else's file took the name while it ran
                self.opened = False

    def _note(self, element: str, frame: TranslationFrame) -> None:
        key, noted = (element, frame.utterance, frame.target_lang, frame.engine), RecordedUtterance.of(frame)
        place = self._open.pop(key, None)
        if frame.part == 0 or place is None:
            place = len(self.utterances)
            self.utterances.append(noted)
        else:
            self.utterances[place] = self.utterances[place].joined(noted)
        if frame.more:
            self._open[key] = place

    def _mark_unspoken(self, utterance: int) -> None:
        # A voice is some utterances behind at most.
        for place in range(len(self.utterances) - 1, max(-1, len(self.utterances) - _LOOK_BACK), -1):
            if self.utterances[place].utterance == utterance:
                self.utterances[place] = replace(self.utterances[place], unspoken=True)

    def record(
        self,
        record: Record,
        status: RecordStatus,
        wall_s: float,
        errors: tuple[str, ...],
        *,
        settled: bool = False,
        outputs: tuple[str, ...] | None = None,
    ) -> Record:
        """The finished record; ``outputs`` are the files in its folder unless they are given."""
        media_s = self.position_ns / NS_PER_S
        return replace(
            record,
            status=status,
            media_s=round(media_s, 3),
            wall_s=round(wall_s, 3),
            rtfx=round(media_s / wall_s, 2) if wall_s > 0 else None,
            lag_ms=round(self.lag_ns / NS_PER_MS) if self.lag_ns is not None else None,
            voiced=self.voiced,
            unspoken=self.unspoken,
            tempo=round(self.tempos / self.voiced, 3) if self.voiced else None,
            segments=self.segments,
            outputs=files_of(Path(record.output), record.muxed) if outputs is None else outputs,
            errors=errors,
            warnings=tuple(self.warnings),
            utterances=tuple(self.utterances),
            settled=settled,
            owned=record.owned or self.opened,
        )


def files_of(folder: Path, but: Sequence[str]) -> tuple[str, ...]:
    """What a run wrote into its folder, less ``but``: relative paths, sorted; hidden files and records left out."""
    if not folder.is_dir():
        return ()
    # ``a.wav`` and ``a/b.wav`` go to ``OUT/a`` and ``OUT/a/b``: what lies beside another record is that one's.
    others = {p.parent for p in folder.rglob(RECORD_NAME)} - {folder}
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and p.name != RECORD_NAME)
    names = (p.relative_to(folder).as_posix() for p in files if others.isdisjoint(p.parents))
    return tuple(sorted(name for name in names if name not in but))


def describe_message(message: NoticeMessage) -> str:
    """An error or warning with its element and media time."""
    if not message.element:
        return message.text
    at = f" at {message.pts_ns / NS_PER_S:.3f} s" if message.pts_ns is not None else ""
    return f"{message.element}{at}: {message.text.removeprefix(f'{message.element}: ')}"
