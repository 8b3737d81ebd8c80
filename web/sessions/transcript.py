"""What was said in a session: its captions, numbered through whatever graphs and connections come and go."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from tolmach.pipelines.frames import NS_PER_MS, TranslationFrame
from tolmach.transports.files.specs import Show
from tolmach.transports.files.subtitles import Layout, SubtitleWriter

__all__ = ["Caption", "Numbers", "Transcript"]

MAX_CAPTIONS = 20_000
"""More than a session of a day can hold; the oldest go first."""
MAX_CHARACTERS = 4_000_000
"""Of the texts together: a speech of a day has a quarter of it; what an engine that babbles makes is cut there."""
_CAPTION_BYTES = 300
"""A caption without its text takes about so much."""
_REMEMBERED = 1000
"""Utterances of one run whose numbers are remembered; what comes later for an older one has long been heard."""


CaptionKey = tuple[int, str, str, int]
"""Utterance, target language, engine and part: two translators of one utterance give two captions."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A ``caption`` message of docs/LIVE.md: a part of what was said; times are media time of the session, ms."""

    utterance: int
    start_ms: int
    end_ms: int
    source_lang: str
    target_lang: str
    text: str
    final: bool
    rejected: str | None
    logprob: float | None
    engine: str
    part: int
    more: bool
    speculative: bool
    source_text: str | None
    language_confidence: float | None
    language_kept: bool
    unspoken: bool = False
    speaker: str = ""

    @classmethod
    def of(cls, frame: TranslationFrame, utterance: int, speaker: str = "") -> Caption:
        """From a text that flowed, under the session's number; ``speaker`` is whose seat it is, in a room.

        Whatever an engine makes can be told as JSON: halves of characters become question marks, numbers that are none
        are left out.
        """
        return cls(
            utterance=utterance,
            start_ms=frame.pts_ns // NS_PER_MS,
            end_ms=frame.end_ns // NS_PER_MS,
            source_lang=frame.source_lang,
            target_lang=frame.target_lang,
            text=_tellable(frame.text),
            final=frame.final,
            rejected=frame.rejected,
            logprob=_number(frame.logprob),
            engine=frame.engine,
            part=frame.part,
            more=frame.more,
            speculative=frame.speculative,
            source_text=None if frame.source_text is None else _tellable(frame.source_text),
            language_confidence=_number(frame.language_confidence),
            language_kept=frame.language_kept,
            speaker=speaker,
        )

    @property
    def key(self) -> CaptionKey:
        """What it is a caption of: a later one with this key replaces it."""
        return self.utterance, self.target_lang, self.engine, self.part

    def outdates(self, other: Caption) -> bool:
        """Whether the partial text ``other`` means nothing any more. The page has the same rule (captions.js).

        The last part of an utterance ends what was expected behind it, and an engine that has found another language
        than at first has withdrawn what it made of that.
        """
        if other.final or (other.utterance, other.engine) != (self.utterance, self.engine):
            return False
        ended = self.final and not self.more and other.target_lang == self.target_lang and other.part > self.part
        return ended or other.source_lang != self.source_lang

    @property
    def characters(self) -> int:
        """Length of its texts."""
        return len(self.text) + len(self.source_text or "")

    def as_json(self) -> dict[str, Any]:
        """The fields of the message."""
        return asdict(self)


def _tellable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


class Numbers:
    """Numbers of a session's utterances: each run of a graph counts from 1, the session goes on."""

    def __init__(self) -> None:
        self._last = 0

    def of_run(self) -> RunNumbers:
        """The numbering for one run."""
        return RunNumbers(self)

    def next(self) -> int:
        """The next number."""
        self._last += 1
        return self._last


class RunNumbers:
    """From the numbers of one run to those of the session."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._known: dict[int, int] = {}

    def __getitem__(self, utterance: int) -> int:
        if utterance not in self._known:
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[utterance] = self._numbers.next()
        return self._known[utterance]


class Transcript:
    """Captions in the order of their utterances and parts; of those with one key the last stands."""

    def __init__(self) -> None:
        self._captions: dict[CaptionKey, Caption] = {}
        self._partial: dict[int, dict[CaptionKey, Caption]] = {}  # those that are not final, by utterance
        self._characters = 0

    def add(self, caption: Caption) -> None:
        """Take a caption; partial ones that it outdates go, and the oldest when there is no room."""
        partial = self._partial.get(caption.utterance, {})
        for outdated in [key for key, other in partial.items() if caption.outdates(other)]:
            self._remove(outdated)
        former = self._captions.get(caption.key)
        self._characters += caption.characters - (former.characters if former else 0)
        self._captions[caption.key] = caption
        if caption.final:
            self._forget_partial(caption.key)
        else:
            self._partial.setdefault(caption.utterance, {})[caption.key] = caption
        while len(self._captions) > MAX_CAPTIONS or (self._characters > MAX_CHARACTERS and len(self._captions) > 1):
            self._remove(next(iter(self._captions)))

    def _remove(self, key: CaptionKey) -> None:
        self._characters -= self._captions.pop(key).characters
        self._forget_partial(key)

    def _forget_partial(self, key: CaptionKey) -> None:
        utterance = key[0]
        partial = self._partial.get(utterance, {})
        if partial.pop(key, None) is not None and not partial:
            del self._partial[utterance]

    def mark_unspoken(self, utterance: int, part: int) -> list[Caption]:
        """The captions of a part that no voice will speak, so marked; those that are marked already are left out."""
        found = [
            replace(caption, unspoken=True)
            for caption in self._captions.values()
            if (caption.utterance, caption.part) == (utterance, part) and caption.text and not caption.unspoken
        ]
        for caption in found:
            self._captions[caption.key] = caption
        return found

    def get(self, key: CaptionKey) -> Caption | None:
        """The caption with this key, or None."""
        return self._captions.get(key)

    @property
    def size(self) -> int:
        """What it keeps, bytes, about."""
        return 2 * self._characters + _CAPTION_BYTES * len(self._captions)

    def __iter__(self) -> Iterator[Caption]:
        return iter(
            sorted(self._captions.values(), key=lambda caption: (caption.start_ms, caption.utterance, caption.part))
        )

    def __len__(self) -> int:
        return len(self._captions)

    def as_json(self) -> list[dict[str, Any]]:
        """All captions, as messages hold them."""
        return [caption.as_json() for caption in self]

    def subtitles(self, *, vtt: bool, show: Show = "translation") -> str:
        """A subtitle file of the final texts, of what was understood, or of both: WebVTT, or else SubRip."""
        writer = SubtitleWriter(Layout(), vtt=vtt, show=show)
        parts = [writer.head]
        for caption in self:
            if caption.final and caption.rejected is None:
                start_ns, end_ns = caption.start_ms * NS_PER_MS, caption.end_ms * NS_PER_MS
                parts.append(writer.add(caption.utterance, start_ns, end_ns, caption.text, caption.source_text))
        return "".join([*parts, writer.finish()])
