"""``subtitle_sink``: what was said as subtitles, SubRip or WebVTT: line breaking, timing, and how they are written.

They hold the translation, the text that was understood, or both, one below the other.

The numbers are those of the Netflix Timed Text Style Guide (General Requirements; English Template): 42 characters a
line, two lines, 17 characters a second for adult programmes, at least 5/6 s an event (here a round second), breaks
after punctuation.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import accumulate

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.element import Context
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, Frame, TranslationFrame
from tolmach.transports.files.atomic import TextSink
from tolmach.transports.files.specs import Show, SubtitleSinkSettings

__all__ = [
    "Cue",
    "Layout",
    "SubtitleSink",
    "SubtitleWriter",
    "break_text",
    "break_texts",
    "format_srt",
    "format_vtt",
    "on_one_line",
    "schedule",
]

MIN_CUE_NS = NS_PER_S
"""Shortest time a cue should stay, where there is room."""
FLASH_NS = 500 * NS_PER_MS
"""Shortest time a cue stays even where there is no room at all: less is a flash that nobody reads."""
MAX_HELD = 64
"""Utterances held back at most, against spans that never end."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How much fits on the screen.

    Attributes:
        max_chars_per_line: Longest line, characters.
        max_lines: Most lines of a cue, in each language.
        max_chars_per_s: Reading speed, characters/s, spaces included.
    """

    max_chars_per_line: int = 42
    max_lines: int = 2
    max_chars_per_s: int = 17


@dataclass(frozen=True, slots=True)
class Cue:
    """Some lines on the screen from ``start_ns`` to ``end_ns`` (media time), those of a second language below them."""

    start_ns: int
    end_ns: int
    lines: tuple[str, ...]
    below: tuple[str, ...] = ()


# Breakable white space only: a no-break space (U+00A0, U+202F) keeps "10 000" together, which str.split() would not.
_SPACE = re.compile(r"[ \t\n\v\f\r\x1c-\x1f\x85\u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")


def on_one_line(text: str) -> str:
    """``text`` on one line: white space collapsed, control characters and lone surrogates removed."""
    return _CONTROL.sub("", _SPACE.sub(" ", text)).strip(" \u00a0")


def break_text(text: str, layout: Layout) -> list[tuple[str, ...]]:
    """Cut a text into cues and these into lines.

    Few cues come before even ones; among equally many, breaks after a sentence or a clause and lines of like length
    win. Words longer than a line are cut.

    Args:
        text: Any text; it is cleaned first.
        layout: What fits.

    Returns:
        The lines of each cue; empty when the text is.
    """
    words = _words(on_one_line(text), layout.max_chars_per_line)
    if not words:
        return []
    return [_lines(cue, layout) for cue in _split(words, layout.max_chars_per_line, layout.max_lines)]


def break_texts(text: str, below: str, layout: Layout) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Cut a text in two languages into cues that show the same of both, and these into lines.

    The one that needs more cues is cut as it would be alone, and the other one beside it: into as many pieces, where
    they are in proportion and better after a sentence or a clause. A piece may be empty where one text is much shorter.

    Args:
        text: Any text; it is cleaned first.
        below: The same in another language.
        layout: What fits, of each.

    Returns:
        The lines of each cue: those of ``text`` and those of ``below``.
    """
    limit, most = layout.max_chars_per_line, layout.max_lines
    words, others = _words(on_one_line(text), limit), _words(on_one_line(below), limit)
    cues, beside = [_split(each, limit, most) if each else [] for each in (words, others)]
    if len(cues) < len(beside):
        cues = _split_beside(words, beside, limit, most)
    elif len(beside) < len(cues):
        beside = _split_beside(others, cues, limit, most)
    return [(_lines(cue, layout), _lines(other, layout)) for cue, other in zip(cues, beside, strict=True)]


def _lines(cue: list[str], layout: Layout) -> tuple[str, ...]:
    return tuple(" ".join(line) for line in _split(cue, layout.max_chars_per_line, 1)) if cue else ()


def schedule(
    cues: Sequence[tuple[str, ...]],
    start_ns: int,
    end_ns: int,
    next_start_ns: int | None,
    layout: Layout,
    overlap_ns: int | None = None,
) -> list[Cue]:
    """Give the cues of one utterance their times.

    They share the utterance's time in proportion to their length. Where that is shorter than a reader needs, they stay
    into the silence behind it, but not over the next utterance. Where somebody else begins to speak before the end,
    they make room for him as soon as they can have been read; until then both are on the screen, which players stack.

    Args:
        cues: The lines of each cue, as from :func:`break_text`.
        start_ns: Start of the utterance, ns.
        end_ns: End of the utterance, ns.
        next_start_ns: Start of the first utterance that begins at its end or later, ns; None when there is none.
        layout: The reading speed.
        overlap_ns: Start of the first utterance that begins while this one is spoken, ns; None when there is none.

    Returns:
        Cues in order that do not overlap each other; each stays at least :data:`FLASH_NS`.
    """
    if not cues:
        return []
    # What a reader needs, in characters: a short cue counts as one that takes the shortest time to read.
    shortest = layout.max_chars_per_s * MIN_CUE_NS // NS_PER_S
    weights = [max(shortest, sum(len(line) for line in lines) + len(lines) - 1) for lines in cues]
    needed = -(-sum(weights) * NS_PER_S // layout.max_chars_per_s)
    total = max(end_ns - start_ns, needed)
    if next_start_ns is not None:
        total = min(total, next_start_ns - start_ns)
    if overlap_ns is not None and overlap_ns - start_ns >= needed:
        total = min(total, overlap_ns - start_ns)
    total = max(total, FLASH_NS * len(cues))
    ends = [start_ns + total * done // sum(weights) for done in accumulate(weights)]
    starts = [start_ns, *ends[:-1]]
    return [Cue(a, b, lines) for a, b, lines in zip(starts, ends, cues, strict=True)]


def format_srt(number: int, cue: Cue) -> str:
    """A cue in SubRip form, with the empty line behind it. ``number`` counts from 1."""
    # SubRip has no escapes; an arrow inside a text would be read as a time line.
    lines = "\n".join(line.replace("-->", "→") for line in (*cue.lines, *_slanted(cue.below)))
    return f"{number}\n{_clock(cue.start_ns, ',')} --> {_clock(cue.end_ns, ',')}\n{lines}\n\n"


def format_vtt(cue: Cue) -> str:
    """A cue in WebVTT form, with the empty line behind it; ``&``, ``<`` and ``>`` are escaped (W3C WebVTT, 4.2.2)."""
    below = _slanted([html.escape(line, quote=False) for line in cue.below])
    lines = "\n".join((*(html.escape(line, quote=False) for line in cue.lines), *below))
    return f"{_clock(cue.start_ns, '.')} --> {_clock(cue.end_ns, '.')}\n{lines}\n\n"


def _slanted(lines: Sequence[str]) -> list[str]:
    return [f"<i>{line}</i>" for line in lines]  # a tag of WebVTT, which players of SubRip know as well


def _clock(time_ns: int, point: str) -> str:
    ms = (time_ns + NS_PER_MS // 2) // NS_PER_MS
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _words(text: str, limit: int) -> list[str]:
    return [word[at : at + limit] for word in text.split(" ") for at in range(0, len(word), limit)]


def _split(words: list[str], line: int, lines: int) -> list[list[str]]:
    """Cut ``words`` into the fewest groups of at most ``lines`` lines of ``line`` characters, well broken.

    Dynamic programming over the word at which a group starts, as Knuth and Plass break paragraphs (Software: Practice
    and Experience 11, 1981): the cost of a group is (groups, badness), badness the square of what it is shorter than
    an even share plus a penalty where it does not end a clause.
    """
    count = len(words)
    at = [0, *accumulate(len(word) + 1 for word in words)]  # where each word starts in the joined text
    even = (at[count] - 1) / _fewest(words, line, lines)
    best: list[tuple[int, float, int]] = [(0, 0.0, count)] * (count + 1)
    for start in range(count - 1, -1, -1):
        options = []
        for end in range(start + 1, _reach(words, start, line, lines) + 1):
            groups, badness, _ = best[end]
            size = at[end] - at[start] - 1
            badness += (size - even) ** 2 + (0.0 if end == count else _penalty(words[end - 1], even))
            options.append((groups + 1, badness, end))
        best[start] = min(options)
    groups_found, start = [], 0
    while start < count:
        end = best[start][2]
        groups_found.append(words[start:end])
        start = end
    return groups_found


def _split_beside(words: list[str], cues: list[list[str]], line: int, lines: int) -> list[list[str]]:
    """Cut ``words`` into as many groups as there are ``cues``, which need at least as many as they do.

    The same dynamic programming, over the group and the word at which it starts. A group ends near where its cue does
    in the other text: a cue's length away at most, or further where words do not fit otherwise.
    """
    at = [0, *accumulate(len(word) + 1 for word in words)]
    sizes = list(accumulate(sum(len(word) + 1 for word in cue) for cue in cues))
    wanted = [size * at[-1] / sizes[-1] for size in sizes]
    even = at[-1] / len(cues)
    last, away = len(cues) - 1, line * lines
    while True:
        best: list[dict[int, tuple[float, int]]] = [{} for _ in cues]  # by start: badness from there on, end
        for group in range(last, -1, -1):
            starts = _near(at, wanted[group - 1], away) if group else range(1)
            ends = _near(at, wanted[group], away) if group < last else range(len(words), len(words) + 1)
            for start in starts:
                options = []
                for end in range(max(start, ends.start), min(_reach(words, start, line, lines) + 1, ends.stop)):
                    if group < last and end not in best[group + 1]:
                        continue
                    onward = best[group + 1][end][0] if group < last else 0.0
                    broken = 0.0 if end in (start, len(words)) else _penalty(words[end - 1], even)
                    options.append(((at[end] - wanted[group]) ** 2 + broken + onward, end))
                if options:
                    best[group][start] = min(options)
        if 0 in best[0]:
            break
        away *= 2
    groups_found, start = [], 0
    for found in best:
        end = found[start][1]
        groups_found.append(words[start:end])
        start = end
    return groups_found


def _near(at: list[int], wanted: float, away: int) -> range:
    """Indexes of ``at``, which grows, that are no further than ``away`` from ``wanted``."""
    return range(bisect_left(at, wanted - away), bisect_right(at, wanted + away))


def _penalty(word: str, even: float) -> float:
    """What a break behind ``word`` costs, in squared characters, for groups of about ``even`` characters."""
    ending = word.rstrip("\"'»”’)]}")[-1:]
    if ending in tuple(".!?…。！？"):
        return 0.0
    if ending in tuple(",;:—–、，；"):
        return (even / 8) ** 2
    return (even / 2) ** 2


def _reach(words: list[str], start: int, line: int, lines: int) -> int:
    """The index behind the last word that fits when ``words[start]`` begins a group (lines filled greedily)."""
    at = start
    for _ in range(lines):
        width = -1
        while at < len(words) and width + 1 + len(words[at]) <= line:
            width += 1 + len(words[at])
            at += 1
    return at


def _fewest(words: list[str], line: int, lines: int) -> int:
    at, groups = 0, 0
    while at < len(words):
        at = _reach(words, at, line, lines)
        groups += 1
    return groups


@dataclass(frozen=True, slots=True)
class _HeldText:
    number: int
    start_ns: int
    end_ns: int
    text: str
    below: str


class SubtitleWriter:
    """Utterances in, the text of a subtitle file out.

    Every cue stands at its own time; those of people who speak at once overlap. An utterance is held back until one
    begins that it does not overlap with: only then is it known how long its cues may stay. The file is in the order of
    time if the utterances come in the order of their starts.

    Args:
        layout: What fits on the screen.
        vtt: WebVTT instead of SubRip.
        show: What stands in it: the translation, the text that was understood, or the latter below the former.
    """

    def __init__(self, layout: Layout, *, vtt: bool, show: Show = "translation") -> None:
        self.head = "WEBVTT\n\n" if vtt else ""
        self._layout = layout
        self._vtt = vtt
        self._show = show
        self._held: list[_HeldText] = []
        self._ready: list[tuple[int, int, Cue]] = []  # a heap: start, count, cue that an earlier one may still precede
        self._scheduled = 0
        self._number = 0

    def add(self, utterance: int, start_ns: int, end_ns: int, text: str, source_text: str | None = None) -> str:
        """Take an utterance's span (media time, ns), its text and what was understood; returns what may be written."""
        source = source_text or ""
        text, below = {"translation": (text, ""), "source": (source, ""), "both": (text, source)}[self._show]
        if not (on_one_line(text) or on_one_line(below)):
            return ""
        self._held.append(_HeldText(utterance, start_ns, end_ns, text, below))
        while len(self._held) > 1 and (self._held[0].end_ns <= start_ns or len(self._held) > MAX_HELD):
            self._schedule()
        # Behind one that is spoken on, others may be over already; they wait for it, which keeps the order.
        return self._write(min(held.start_ns for held in self._held))

    def finish(self) -> str:
        """The last cues."""
        while self._held:
            self._schedule()
        return self._write(None)

    def drop(self, utterance: int | None) -> None:
        """Forget the youngest utterance that is held back, or the one of this number."""
        if utterance is None:
            del self._held[-1:]
        else:
            self._held = [held for held in self._held if held.number != utterance]

    def _schedule(self) -> None:
        first = self._held.pop(0)
        starts = [held.start_ns for held in self._held]
        following = min((s for s in starts if s >= max(first.end_ns, first.start_ns + 1)), default=None)
        overlap = min((s for s in starts if first.start_ns <= s < first.end_ns), default=None)
        cues = break_texts(first.text, first.below, self._layout)
        # Who reads needs the time for one of them, the longer one.
        read = [max(both, key=lambda lines: sum(len(line) for line in lines)) for both in cues]
        timed = schedule(read, first.start_ns, first.end_ns, following, self._layout, overlap)
        for cue, (lines, below) in zip(timed, cues, strict=True):
            self._scheduled += 1
            heappush(self._ready, (cue.start_ns, self._scheduled, replace(cue, lines=lines, below=below)))

    def _write(self, until_ns: int | None) -> str:
        """Cues that start no later than ``until_ns``, where no earlier one can come any more."""
        written = []
        while self._ready and (until_ns is None or self._ready[0][0] <= until_ns):
            _, _, cue = heappop(self._ready)
            self._number += 1
            written.append(format_vtt(cue) if self._vtt else format_srt(self._number, cue))
        return "".join(written)


class SubtitleSink(TextSink):
    """Writes final translations as cues, or what was understood, or both."""

    settings: SubtitleSinkSettings

    def __init__(self, settings: SubtitleSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._writer = self._new_writer()
        self._taken = self._understood = 0

    def _new_writer(self) -> SubtitleWriter:
        s = self.settings
        layout = Layout(s.max_chars_per_line, s.max_lines, s.max_chars_per_s)
        return SubtitleWriter(layout, vtt=s.path.lower().endswith(".vtt"), show=s.show)

    async def start(self, head: str = "") -> None:
        """Open the file under its partial name.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        writer = self._new_writer()
        await super().start(head or writer.head)
        self._writer = writer
        self._taken = self._understood = 0

    async def process(self, frame: Frame, pad: str) -> None:
        """Take a translation; partial, rejected and empty ones and other frames are left out."""
        if isinstance(frame, TranslationFrame) and frame.final and frame.rejected is None:
            self._taken += 1
            self._understood += frame.source_text is not None
            source = frame.source_text
            await self.write(self._writer.add(frame.utterance, frame.pts_ns, frame.end_ns, frame.text, source))

    async def drain(self) -> None:
        """Write the last cues and give the file its name."""
        if self.settings.show != "translation" and self._taken and not self._understood:
            text = f"No text of what was spoken came to {self.context.name}, which was to show it (show: "
            self.context.post(
                WarningMessage(f"{text}{self.settings.show}). Ask the translator for it: transcript: true.")
            )
        await self.write(self._writer.finish())
        await super().drain()

    def unwritten(self) -> str:
        """The cues that are held back."""
        return self._writer.finish()

    def reset(self, utterance: int | None) -> None:
        """Forget the utterance that is held back."""
        self._writer.drop(utterance)
