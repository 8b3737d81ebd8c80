"""The errors people see.

::

    TolmachError
    ├── GraphError           the graph, a setting or the command is wrong   exit status 2
    ├── MediaError           a recording is broken or unreadable            that input failed, exit status 1
    ├── OutputError          an output cannot be written                    that input failed, exit status 1
    ├── ModelError           a model is missing, refused or unusable
    │   ├── ModelMissingError    not on this machine; says which command fetches it
    │   └── ModelRefusedError    its SHA-256 is neither pinned nor allowed
    ├── ElementError         an element failed while running; names element, graph and media time
    ├── Ended                pushed into a stream that has ended
    └── Cancelled            the run was cancelled (Ctrl-C, session closed) exit status 130

A bug is none of these and shows a traceback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Severity = Literal["error", "warning"]

CODES: Mapping[str, str] = MappingProxyType(
    {
        "yaml-syntax": "The file cannot be read as one YAML 1.2 document.",
        "line-syntax": "The line cannot be read as elements that are joined by `!`.",
        "duplicate-key": "A key appears twice in one mapping.",
        "unknown-field": "A key or setting does not exist.",
        "bad-value": "A value has the wrong type, is out of range, or is missing.",
        "bad-include": "An included file is not there, lies elsewhere, or includes itself.",
        "missing-env": "An environment variable without a default is not set.",
        "missing-param": "A param is not declared, or is required and has no value.",
        "unknown-type": "No element type or bin has this name.",
        "unknown-element": "A link or a setting names an element that is not declared.",
        "unknown-pad": "An element has no such pad, or more than one could be meant.",
        "pad-already-linked": "A pad is linked a second time.",
        "unlinked-pad": "A pad that must be linked is not.",
        "caps-mismatch": "What one pad gives is not what the other pad takes.",
        "cycle": "Elements feed themselves, or a bin contains itself.",
        "missing-queue": "Branches part and meet again without a queue on each.",
        "check-stopped": "The graph asks for more work, or has more problems, than a check takes on.",
        "terms": "What an element would load may not be used as the graph says.",
        "duplicate-output": "Two elements write the same file.",
        "unordered-merge": "A funnel does not sort what a sink lays out by media time.",
        "unused-element": "An element or a bin is declared and never used.",
    }
)
"""Code → what it means, in one line. Codes are stable; messages are not."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A place in a graph file.

    Attributes:
        file: As the user named it; ``<string>`` for text given directly.
        line: First line, counted from 1; 0 where there is no text, and ``file`` says what is meant ("element 'vad'").
        column: First character, counted from 1.
        length: Characters covered on that line, at least 1.
    """

    file: str
    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem.

    Attributes:
        code: One of :data:`CODES`.
        span: Where it is, or None when it has no place in a file.
        message: What is wrong, one line without a full stop.
        notes: More facts, one line each.
        hint: What to do about it.
        severity: A ``warning`` does not stop the graph from running.
    """

    code: str
    span: Span | None
    message: str
    notes: tuple[str, ...] = ()
    hint: str | None = None
    severity: Severity = "error"

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"unknown diagnostic code {self.code!r}")

    def __lt__(self, other: Diagnostic) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[str, int, int, str, str]:
        span = self.span or Span("", 0, 0)
        return (span.file, span.line, span.column, self.code, self.message)


class TolmachError(Exception):
    """Base of every error Tolmach raises on purpose; its text is meant for people. It can be pickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """As an exception does, without calling ``__init__``, which may want more than the text."""
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: type[TolmachError], args: tuple[Any, ...]) -> TolmachError:
    return kind.__new__(kind, *args)


class GraphError(TolmachError):
    """The graph document, a setting or the command line is wrong.

    Attributes:
        diagnostics: Every problem found, sorted by place; may be empty when the text says it all.
    """

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


class MediaError(TolmachError):
    """A recording cannot be read, or breaks off.

    Attributes:
        path: The file, as the user named it.
        at_ns: Media time up to which the file could be decoded, ns; None when nothing could.
    """

    def __init__(self, message: str, *, path: str = "", at_ns: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.at_ns = at_ns


class OutputError(TolmachError):
    """An output cannot be written: it exists already, its folder is not writable, the disk is full."""


class ModelError(TolmachError):
    """A model cannot be used: missing, refused, or not what the graph asks of it."""


class ModelMissingError(ModelError):
    """The model is not on this machine and could not be fetched."""


class ModelRefusedError(ModelError):
    """The file holds code (pickle, torch package) and its SHA-256 is neither pinned nor allowed."""


class ElementError(TolmachError):
    """An element failed while the graph ran.

    Attributes:
        element: Name of the element in the graph.
        graph: Name of the graph.
        pts_ns: Media time of the frame in hand, ns; None outside a frame.
    """

    def __init__(self, message: str, *, element: str, graph: str, pts_ns: int | None = None) -> None:
        super().__init__(message)
        self.element = element
        self.graph = graph
        self.pts_ns = pts_ns


class Ended(TolmachError):  # noqa: N818 -- a state, not a fault
    """A program pushed into a stream that has ended, or into a graph that has."""


class Cancelled(TolmachError):  # noqa: N818 -- a state people ask for, not a fault
    """The run was cancelled before its end."""


def no_such_file(name: str) -> str:
    """Why a recording called ``name``, which is not there, cannot be read; a part of a sentence behind its name."""
    if name == "-":
        return "standard input is one stream, not recordings: … | tolmach launch 'file_src path=- ! …'"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", name):  # a drive of Windows has one letter
        return "is an address, and recordings are read from files alone; download it first (curl -O URL)"
    return "no such file"
