"""What a batch notes down about one recording while it runs, from what its bus says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tolmach.pipelines.bus import (
    ErrorMessage,
    Message,
    NoticeMessage,
    PlacedMessage,
    PositionMessage,
    StateMessage,
    TranslationMessage,
    UtteranceEndMessage,
    WarningMessage,
)
from tolmach.pipelines.cli.batch.records import RECORD_NAME, Record, RecordedUtterance, RecordStatus
from tolmach.pipelines.errors import OutputError
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S
from tolmach.pipelines.runtime.runner import MAX_MESSAGES


class Notes:
    """Collects what the bus says about one recording."""

    def __init__(self) -> None:
        self.utterances: list[RecordedUtterance] = []
        self.warnings: list[str] = []
        self.segments = 0
        self.position_ns = 0
        self.lag_ns: int | None = None
        self.opened = False

    def take(self, message: Message) -> None:
        """Subscribe this to the bus."""
        match message:
            case TranslationMessage(frame=frame) if frame.final:
                self.utterances.append(RecordedUtterance.of(frame))
            case UtteranceEndMessage():
                self.segments += 1
            case PositionMessage():
                self.position_ns = max(self.position_ns, message.position_ns)
            case PlacedMessage():
                self.lag_ns = max(message.lag_ns, self.lag_ns or 0)
            case StateMessage():
                self.opened = self.opened or message.state == "ready"
            case WarningMessage() if len(self.warnings) < MAX_MESSAGES:
                self.warnings.append(describe_message(message))
            case ErrorMessage(error=OutputError.__name__):  # somebody else's file took the name while it ran
                self.opened = False

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


def describe_message(message: NoticeMessage) -> str:
    """An error or warning with its element and media time."""
    if not message.element:
        return message.text
    at = f" at {message.pts_ns / NS_PER_S:.3f} s" if message.pts_ns is not None else ""
    return f"{message.element}{at}: {message.text.removeprefix(f'{message.element}: ')}"
