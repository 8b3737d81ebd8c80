"""YAML 1.2 text → a tree in which every node knows its place.

The tree is built from ruamel.yaml's events rather than from its composer, so that nothing recurses and everything is
bounded while it is read: size, depth, number of nodes, and what aliases expand to. The language is the YAML 1.2 core
schema (``no`` is the text "no") less what a graph file has no use for: tags, merge keys and several documents are
refused; anchors and aliases are allowed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from pipelines.graph import Span
from pipelines.language.diagnostics import Diagnostics, split_lines
from pipelines.language.scalars import ScalarValue, resolve
from pipelines.language.yaml_words import explain

__all__ = ["Entry", "MappingNode", "Node", "ScalarNode", "SequenceNode", "parse_document", "parse_value", "read_source"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 20_000
"""Bounds of a document; a graph of a thousand elements has about ten thousand nodes. Nodes count as often as aliases
repeat them, which is what stops the "billion laughs"."""


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A scalar.

    Attributes:
        span: Where it stands, quotes included.
        text: As written, escapes resolved.
        value: Its YAML 1.2 core schema value.
        offset: Columns from the start of ``span`` to the first character of ``text`` when the file shows the text
            verbatim on one line, else None.
    """

    span: Span
    text: str
    value: ScalarValue
    offset: int | None

    def part(self, start: int, length: int) -> Span:
        """Place of ``text[start : start + length]``, or of the whole scalar when it is written otherwise."""
        if self.offset is None:
            return self.span
        return Span(self.span.file, self.span.line, self.span.column + self.offset + start, max(1, length))


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list."""

    span: Span
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping and its value."""

    key: str
    key_span: Span
    value: Node


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping with text keys, in written order."""

    span: Span
    entries: Mapping[str, Entry]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def get(self, key: str) -> Entry | None:
        """The entry of ``key``, or None."""
        return self.entries.get(key)


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


def read_source(path: Path, file: str, problems: Diagnostics) -> str | None:
    """The text of a graph file; None (and a diagnostic) when it cannot be read, is too large or is not UTF-8."""
    place = Span(file, 1, 1)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        problems.add("yaml-syntax", place, f"cannot read the file: {error.strerror or error}")
        return None
    if len(data) > MAX_BYTES:
        problems.add("yaml-syntax", place, "the file is larger than 1 MiB")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte {error.start} is not UTF-8"
        problems.add("yaml-syntax", Span(file, line, 1), message, hint="save the file as UTF-8")
        return None


def parse_document(text: str, file: str, problems: Diagnostics) -> Node | None:
    """Read one YAML document.

    Args:
        text: The document.
        file: Name used in spans.
        problems: Takes ``yaml-syntax`` and ``duplicate-key``; after the former nothing else of the file is known.

    Returns:
        The root node, or None when the text is not one YAML document.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        problems.add("yaml-syntax", Span(file, 1, 1), "the file is larger than 1 MiB")
        return None
    try:
        return _Builder(text, file, problems).build()
    except _Refused as refused:
        problems.add("yaml-syntax", refused.span, refused.message, hint=refused.hint)
    except ReaderError as error:
        before = text[: error.position]
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character[:1])
        problems.add("yaml-syntax", Span(file, line, column), f"character U+{code:04X} is not allowed in YAML")
    except MarkedYAMLError as error:
        said = explain(error, split_lines(text))
        span = Span(file, said.line + 1, said.column + 1)
        problems.add("yaml-syntax", span, said.message, notes=said.notes, hint=said.hint)
    except (YAMLError, ValueError, OverflowError, IndexError) as error:
        # ruamel.yaml 0.19 lets a few built-in errors escape on broken escapes and directives ("\UFFFFFFFF").
        problems.add("yaml-syntax", Span(file, 1, 1), f"not YAML: {error}")
    return None


def parse_value(text: str) -> Any:
    """Read the value of ``--set name=value`` as YAML 1.2.

    Quoted text and flow collections are parsed; anything else is one plain scalar to its last character, so that a
    path may hold ``: `` and `` #``.

    Raises:
        ValueError: If quoted text or a flow collection is broken.
    """
    if text[:1] not in ("'", '"', "[", "{"):
        return resolve(text.strip())
    problems = Diagnostics()
    node = parse_document(text, "<command line>", problems)
    if node is None or problems.has_errors:
        raise ValueError("; ".join(d.message for d in problems.sorted()))
    return to_python(node)


def to_python(node: Node) -> Any:
    """The plain value of a tree."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, SequenceNode):
        return [to_python(item) for item in node.items]
    return {entry.key: to_python(entry.value) for entry in node}


class _Refused(Exception):  # noqa: N818 -- leaves the builder from any depth; never seen outside this module
    def __init__(self, span: Span, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.span, self.message, self.hint = span, message, hint


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    span: Span
    anchor: str | None
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    key: tuple[str, Span] | None = None
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    size: int
    height: int


class _Builder:
    """Turns events into nodes with an explicit stack."""

    def __init__(self, text: str, file: str, problems: Diagnostics) -> None:
        self.text, self.file, self.problems = text, file, problems
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Anchored] = {}
        self.root: Node | None = None
        self.documents = 0
        self.breaks = [match.start() for match in re.finditer("\n", text)] + [len(text)]
        starts = [0, *(at + 1 for at in self.breaks[:-1])]
        self.ends = [a + len(text[a:b].rstrip()) for a, b in zip(starts, self.breaks, strict=True)]

    def build(self) -> Node:
        for event in YAML(typ="safe", pure=True).parse(self.text):
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                self.documents += 1
                if self.documents > 1:
                    raise _Refused(self.span(event), "a graph file holds one document", "split it into two files")
            elif kind == "ScalarEvent":
                self.refuse_tag(event)
                self.scalar(event)
            elif kind == "AliasEvent":
                self.alias(event)
            elif kind in ("MappingStartEvent", "SequenceStartEvent"):
                self.refuse_tag(event)
                self.open(event, kind == "MappingStartEvent")
            elif kind in ("MappingEndEvent", "SequenceEndEvent"):
                self.close(event)
        if self.root is None:
            raise _Refused(Span(self.file, 1, 1), "the file is empty", "start with `version: 1`")
        return self.root

    def span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else self.rest_of_line(start.index)
        return Span(self.file, start.line + 1, start.column + 1, max(1, length))

    def rest_of_line(self, at: int) -> int:
        # Looked up, not searched: thousands of collections may begin on one line of a megabyte.
        return max(0, self.ends[bisect_left(self.breaks, at)] - at)

    def refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            raise _Refused(
                self.span(event), "tags are not allowed in a graph file", "quote a text that starts with '!'"
            )

    def scalar(self, event: Any) -> None:
        span, text = self.span(event), event.value
        raw = self.text[event.start_mark.index : event.end_mark.index]
        offset = 0 if raw == text else 1 if raw[1:-1] == text and event.style in ("'", '"') else None
        plain = event.style is None
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.key is not None and not raw and span.line != parent.key[1].line:
            span, offset = parent.key[1], None  # the reader puts an empty value where the next token begins
        if parent is not None and parent.is_mapping and parent.key is None:
            if plain and text == "<<":
                raise _Refused(span, "merge keys are not YAML 1.2", "write the settings out, or use a bin with params")
            parent.key = (text, span)
            if event.anchor:
                self.anchors[event.anchor] = _Anchored(ScalarNode(span, text, text, offset), 1, 0)
            return
        node = ScalarNode(span, text, resolve(text) if plain else text, offset)
        self.place(node, 1, 0, event.anchor)

    def alias(self, event: Any) -> None:
        found = self.anchors.get(event.anchor)
        if found is None:
            raise _Refused(self.span(event), f"no anchor named {event.anchor!r} ends before this alias")
        if self.stack and self.stack[-1].is_mapping and self.stack[-1].key is None:
            raise _Refused(self.span(event), "an alias cannot be a key")
        if len(self.stack) + found.height > MAX_DEPTH:
            self.too_deep(self.span(event))
        self.place(found.node, found.size, found.height, None)

    def open(self, event: Any, is_mapping: bool) -> None:
        mark = event.start_mark
        span = Span(self.file, mark.line + 1, mark.column + 1, max(1, self.rest_of_line(mark.index)))
        if self.stack and self.stack[-1].is_mapping and self.stack[-1].key is None:
            raise _Refused(span, "a key must be text", "quote a text that starts with '{' or '['")
        if len(self.stack) >= MAX_DEPTH:
            self.too_deep(span)
        self.stack.append(_Open(span, event.anchor, is_mapping))

    def too_deep(self, span: Span) -> None:
        raise _Refused(span, f"nested deeper than {MAX_DEPTH} levels")

    def close(self, event: Any) -> None:
        done = self.stack.pop()
        end = event.end_mark
        if end.line + 1 == done.span.line:
            done.span = replace(done.span, length=max(1, end.column + 1 - done.span.column))
        node: Node = (
            MappingNode(done.span, done.entries) if done.is_mapping else SequenceNode(done.span, tuple(done.items))
        )
        self.place(node, done.size, done.height, done.anchor)

    def place(self, node: Node, size: int, height: int, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = _Anchored(node, size, height)
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.size += size
        parent.height = max(parent.height, height + 1)
        if sum(o.size for o in self.stack) > MAX_NODES:
            raise _Refused(node.span, f"the document has more than {MAX_NODES} nodes, aliases counted as often as used")
        if not parent.is_mapping:
            parent.items.append(node)
            return
        assert parent.key is not None  # noqa: S101 -- YAML events alternate key and value
        key, span = parent.key
        parent.key = None
        if key in parent.entries:
            previous = parent.entries[key].key_span.line
            self.problems.add(
                "duplicate-key",
                span,
                f"{key!r} appears twice",
                notes=(f"previous declaration on line {previous}",),
                hint="remove or rename one of them",
            )
        else:
            parent.entries[key] = Entry(key, span, node)
