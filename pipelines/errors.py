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
    └── Cancelled            the run was cancelled (Ctrl-C, session closed) exit status 130

A bug is none of these and shows a traceback.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.language.diagnostics import Diagnostic


class TolmachError(Exception):
    """Base of every error Tolmach raises on purpose; its text is meant for people."""


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


class Cancelled(TolmachError):  # noqa: N818 -- a state people ask for, not a fault
    """The run was cancelled before its end."""


def no_such_file(name: str) -> str:
    """Why a recording called ``name``, which is not there, cannot be read; a part of a sentence behind its name."""
    if name == "-":
        return "standard input is not read; write the recording to a file first (… > talk.wav)"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", name):  # a drive of Windows has one letter
        return "is an address, and recordings are read from files alone; download it first (curl -O URL)"
    return "no such file"
