"""What is wrong with a graph, where, and what to do about it.

A :class:`Diagnostic` is a value; the passes of :mod:`tolmach.pipelines.language.check` collect them in
:class:`Diagnostics`, so that every problem of a file is reported at once. Three written forms: text with a caret for
people, JSON for programs, and workflow commands that put annotations on a pull request.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tolmach.pipelines.errors import Diagnostic, Severity, Span

__all__ = [
    "LINE_BREAK",
    "CheckStopped",
    "Diagnostics",
    "did_you_mean",
    "format_github",
    "format_json",
    "format_text",
    "line_of",
    "show_value",
    "split_lines",
    "suggest",
]

MAX_DIAGNOSTICS = 100
"""Problems of one check: who has that many mends the first ones. Each may have cost a search for a like name."""

MAX_EXPANDED_CHARS = 4 << 20
"""Characters that variables may expand to, over all settings of a graph: four times the largest file."""

MAX_INCLUDED_FILES = 32
MAX_INCLUDED_CHARS = 1 << 20
MAX_INCLUDED_VALUES = 20_000
"""All files together that a graph includes: as much again as the largest graph file (``document.MAX_BYTES``)."""

_MAX_TEXT_CHARS = 600
_MAX_LINE_CHARS = 240
_MAX_COMPARED = 60_000  # products of lengths in one search for a like name: 600 names of ten letters


class CheckStopped(Exception):  # noqa: N818 -- no error of ours: it says where to stop
    """A check has done as much as it takes on; the collector has said so."""


class Diagnostics:
    """Collects problems; the same problem is kept once (a bin used twice is wrong once).

    It also keeps the budget of the check. A graph may come from anybody, and a server checks what is saved into its
    folder: work and output are bounded by counting, never by the clock, so that a check ends alike everywhere.

    Args:
        stops: Whether to raise :class:`CheckStopped` at the end of the budget; else what comes after it is left out.
        words: Puts what is said into the words of whoever wrote the graph, where that was not YAML.
    """

    def __init__(self, *, stops: bool = False, words: Callable[[str], str] = str) -> None:
        self._stops = stops
        self._words = words
        self._found: dict[Diagnostic, None] = {}
        self._expanded = 0
        self._included = 0
        self._files = 0

    def spend(self, chars: int, span: Span | None) -> None:
        """Account for characters that a variable at ``span`` expands to.

        Raises:
            CheckStopped: When they are too many, which has been reported.
        """
        self._expanded += chars
        if self._expanded > MAX_EXPANDED_CHARS:
            message = f"the variables of the graph expand to more than {MAX_EXPANDED_CHARS >> 20} MiB"
            self._stop(span, message, "repeat less, or give long values where they are used")

    def take_in(self, chars: int, span: Span | None) -> None:
        """Account for a file that is included at ``span``, before it is parsed.

        Raises:
            CheckStopped: When it is one too many, or all are too long, which has been reported.
        """
        self._files += 1
        self._included += chars
        if self._files > MAX_INCLUDED_FILES:
            self._stop(span, f"the graph includes more than {MAX_INCLUDED_FILES} files", "put bins together in fewer")
        if self._included > MAX_INCLUDED_CHARS:
            message = f"the files that the graph includes are longer than {MAX_INCLUDED_CHARS >> 20} MiB together"
            self._stop(span, message, "include less")

    def take_in_values(self, total: int, span: Span | None) -> None:
        """Bound the values of all included files, ``total`` so far. Raises as :meth:`take_in`."""
        if total > MAX_INCLUDED_VALUES:
            message = f"the files that the graph includes have more than {MAX_INCLUDED_VALUES} values together"
            self._stop(span, message, "include less")

    def _stop(self, span: Span | None, message: str, hint: str) -> None:
        if not any(d.code == "check-stopped" for d in self._found):
            self._found.setdefault(Diagnostic("check-stopped", span, message, hint=hint))
        if self._stops:
            raise CheckStopped(message)

    def add(
        self,
        code: str,
        span: Span | None,
        message: str,
        *,
        notes: Iterable[str] = (),
        hint: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """Report one problem.

        Raises:
            CheckStopped: When there are too many, which has been reported too.
        """
        words = self._words
        said = tuple(_clip(words(note)) for note in notes)
        found = Diagnostic(code, span, _clip(words(message)), said, _clip(words(hint)) if hint else hint, severity)
        if found not in self._found and len(self._found) >= MAX_DIAGNOSTICS:
            message = f"there are more than {MAX_DIAGNOSTICS} problems; the check stopped here"
            self._stop(span, message, "mend those that are shown")
            return
        self._found.setdefault(found)

    @property
    def has_errors(self) -> bool:
        """Whether anything found is an error."""
        return any(d.severity == "error" for d in self._found)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """Everything found, by file, line and column."""
        return tuple(sorted(self._found))


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, or None when none is alike (among as many as are worth comparing)."""
    if len(name) > 80:  # difflib is quadratic, and nobody mistypes a name into this
        return None
    return _most_like(name, tuple(known))


def suggest(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """A hint at the known name that was most likely meant, or ``otherwise``."""
    close = did_you_mean(name, known)
    return f"did you mean '{close}'?" if close else otherwise


@lru_cache(maxsize=256)  # a bin that is used a thousand times makes its mistake a thousand times
def _most_like(name: str, known: tuple[str, ...]) -> str | None:
    by_lower = {}
    left = _MAX_COMPARED
    for one in known:
        if abs(len(one) - len(name)) * 4 > 3 * max(len(one), len(name)):  # cannot be alike by a ratio of 0.6
            continue
        left -= len(name) * len(one)
        if left < 0:
            break
        by_lower[one.lower()] = one
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_CHARS else text[: _MAX_TEXT_CHARS - 3] + "..."


def line_of(span: Span, seen_from: str) -> str:
    """Where something is, for a message about a place in file ``seen_from``: ``line 7``, or ``line 7 of bins.yaml``."""
    return f"line {span.line}" if span.file == seen_from else f"line {span.line} of {span.file}"


def show_value(value: Any) -> str:
    """A value as people should read it in a message: YAML spelling, quoted text, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = value if isinstance(value, str) else str(value)
    shortened = text if len(text) <= 60 else text[:57] + "..."
    return repr(shortened) if isinstance(value, str) else shortened


LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what the YAML reader counts as one


def split_lines(text: str) -> list[str]:
    """Lines of a source text, counted as the YAML reader counts them."""
    return LINE_BREAK.split(text)


_BOLD, _RED, _YELLOW, _BLUE, _CYAN, _RESET = "\x1b[1m", "\x1b[1;31m", "\x1b[1;33m", "\x1b[34m", "\x1b[36m", "\x1b[0m"


def format_text(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], color: bool = False) -> str:
    """For people: place, code, message, the line with a caret under the span, notes and a hint.

    Args:
        diagnostics: What to show, in this order.
        sources: Text of each file that spans name; without it the line is not shown.
        color: Whether to use ANSI colours.

    Returns:
        Blocks separated by an empty line, ending in a newline; "" when there are none.
    """
    lines: dict[str, list[str]] = {}
    blocks = []
    for diagnostic in diagnostics:
        file = diagnostic.span.file if diagnostic.span else ""
        if file in sources and file not in lines:
            lines[file] = split_lines(sources[file])
        blocks.append(_block(diagnostic, lines.get(file, ()), color))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _block(diagnostic: Diagnostic, lines: Sequence[str], color: bool) -> str:
    def paint(text: str, code: str) -> str:
        return f"{code}{text}{_RESET}" if color else text

    span = diagnostic.span
    place = ""
    if span:
        place = f"{span.file}:{span.line}:{span.column}: " if span.line else f"{span.file}: "
    tone = _RED if diagnostic.severity == "error" else _YELLOW
    out = [
        paint(_printable(place), _BOLD)
        + paint(f"{diagnostic.severity}[{diagnostic.code}]", tone)
        + f": {_printable(diagnostic.message)}"
    ]
    gutter = " " * 5
    if span and 1 <= span.line <= len(lines):
        gutter = " " * (3 + len(str(span.line)))
        source, at = _around(lines[span.line - 1], span.column - 1)
        source = _printable(source).rstrip()
        lead = "".join("\t" if c == "\t" else " " * _width(c) for c in source[:at])
        covered = source[at : at + span.length]
        marks = "^" * max(1, sum(_width(c) for c in covered))
        out.append(paint(f"{gutter}|", _BLUE))
        out.append(paint(f"  {span.line} |", _BLUE) + f" {source}".rstrip())
        out.append(paint(f"{gutter}|", _BLUE) + f" {lead}" + paint(marks, tone))
    out.extend(paint(f"{gutter}=", _BLUE) + f" {_printable(note)}" for note in diagnostic.notes)
    if diagnostic.hint:
        out.append(paint(f"{gutter}=", _BLUE) + " " + paint("hint", _CYAN) + f": {_printable(diagnostic.hint)}")
    return "\n".join(out)


def _around(line: str, at: int) -> tuple[str, int]:
    """A line that is not too long to show, or what of it is around ``at``; and where ``at`` is in that."""
    if len(line) <= _MAX_LINE_CHARS:
        return line, at
    start = max(0, at - _MAX_LINE_CHARS // 3)
    end = start + _MAX_LINE_CHARS
    before = "..." if start else ""
    return before + line[start:end] + ("..." if end < len(line) else ""), at - start + len(before)


def _printable(text: str) -> str:
    # A graph file may come from anybody: its control characters must not reach the terminal.
    return "".join(c if c == "\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def format_json(diagnostics: Iterable[Diagnostic]) -> str:
    """For programs: a JSON array of objects with code, severity, message, file, line, column, length, notes, hint."""
    return json.dumps(
        [
            {
                "code": d.code,
                "severity": d.severity,
                "message": d.message,
                "file": d.span.file if d.span else None,
                "line": d.span.line if d.span and d.span.line else None,
                "column": d.span.column if d.span and d.span.line else None,
                "length": d.span.length if d.span and d.span.line else None,
                "notes": list(d.notes),
                "hint": d.hint,
            }
            for d in diagnostics
        ],
        ensure_ascii=False,
        indent=2,
    )


def format_github(diagnostics: Iterable[Diagnostic]) -> str:
    """For GitHub Actions: one workflow command a line, which becomes an annotation on the graph file.

    The escapes are those of actions/toolkit, packages/core/src/command.ts.
    """
    lines = []
    for d in diagnostics:
        properties = {"title": d.code}
        if d.span and d.span.line:
            end = d.span.column + d.span.length
            properties = {"file": d.span.file, "line": str(d.span.line), "col": str(d.span.column)} | (
                {"endColumn": str(end)} | properties
            )
        text = "\n".join([d.message, *d.notes, *([f"hint: {d.hint}"] if d.hint else [])])
        written = ",".join(f"{name}={_escape_property(value)}" for name, value in properties.items())
        lines.append(f"::{d.severity} {written}::{_escape_data(text)}")
    return "\n".join(lines)


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
