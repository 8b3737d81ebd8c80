"""What a batch notes down about one recording while it runs, from what its bus says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tolmach.pipelines.bus import Message
from tolmach.pipelines.cli.batch.records import RECORD_NAME, Record, RecordStatus, Utterance
from tolmach.pipelines.errors import OutputError
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S
from tolmach.pipelines.runtime.runner import MAX_MESSAGES

_TRANSLATION_FIELDS = frozenset({"utterance", "pts_ns", "end_ns", "source_lang", "target_lang", "text"})


class Notes:
    """Collects what the bus says about one recording."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self.warnings: list[str] = []
        self.segments = 0
        self.position_ns = 0
        self.lag_ns: int | None = None
        self.opened = False

    def take(self, message: Message) -> None:
        """Subscribe this to the bus."""
        handlers: dict[str, Callable[[Message], None]] = {
            "translation": self._translation,
            "utterance": self._utterance,
            "warning": self._warning,
            "latency": self._latency,
            "progress": self._progress,
            "state": self._state,
            "error": self._error,
        }
        if handler := handlers.get(message.kind):
            handler(message)

    def _translation(self, message: Message) -> None:
        data = message.data
        if not data.get("final", True) or not data.keys() >= _TRANSLATION_FIELDS:
            return  # a partial one, or somebody's own message that is not for the table
        logprob = data.get("logprob")
        self.utterances.append(
            Utterance(
                utterance=int(data["utterance"]),
                start_ms=round(int(data["pts_ns"]) / NS_PER_MS),
                end_ms=round(int(data["end_ns"]) / NS_PER_MS),
                source_lang=str(data["source_lang"]),
                target_lang=str(data["target_lang"]),
                text=str(data["text"]),
                rejected=data.get("rejected"),
                logprob=round(float(logprob), 4) if logprob is not None else None,
            )
        )

    def _utterance(self, message: Message) -> None:
        self.segments += 1

    def _warning(self, message: Message) -> None:
        if len(self.warnings) < MAX_MESSAGES:
            self.warnings.append(describe_message(message))

    def _state(self, message: Message) -> None:
        self.opened = self.opened or message.text == "ready"

    def _error(self, message: Message) -> None:
        if message.data.get("error") == OutputError.__name__:  # somebody else's file took the name while it ran
            self.opened = False

    def _latency(self, message: Message) -> None:
        lag = message.data.get("lag_ns")
        if isinstance(lag, int):
            self.lag_ns = max(lag, self.lag_ns or 0)

    def _progress(self, message: Message) -> None:
        self.position_ns = max(self.position_ns, int(message.data.get("position_ns", 0)))

    def record(
        self,
        record: Record,
        status: RecordStatus,
        wall_s: float,
        errors: tuple[str, ...],
        *,
        settled: bool = False,
    ) -> Record:
        """The finished record."""
        media_s = self.position_ns / NS_PER_S
        return replace(
            record,
            status=status,
            media_s=round(media_s, 3),
            wall_s=round(wall_s, 3),
            rtfx=round(media_s / wall_s, 2) if wall_s > 0 else None,
            lag_ms=round(self.lag_ns / NS_PER_MS) if self.lag_ns is not None else None,
            segments=self.segments,
            outputs=_files(Path(record.output)),
            errors=errors,
            warnings=tuple(self.warnings),
            utterances=tuple(self.utterances),
            settled=settled,
            owned=record.owned or self.opened,
        )


def _files(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    # ``a.wav`` and ``a/b.wav`` go to ``OUT/a`` and ``OUT/a/b``: what lies beside another record is that one's.
    others = {p.parent for p in folder.rglob(RECORD_NAME)} - {folder}
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and p.name != RECORD_NAME)
    return tuple(sorted(p.relative_to(folder).as_posix() for p in files if others.isdisjoint(p.parents)))


def describe_message(message: Message) -> str:
    """An error or warning with its element and media time."""
    if not message.element:
        return message.text
    at = f" at {message.pts_ns / NS_PER_S:.3f} s" if message.pts_ns is not None else ""
    return f"{message.element}{at}: {message.text.removeprefix(f'{message.element}: ')}"
