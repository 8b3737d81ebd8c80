"""YAML 1.2 text → a tree in which every value knows its place.

The tree is built from ruamel.yaml's events rather than from its composer, so that nothing recurses and everything is
bounded while it is read: size, depth, number of values, and what aliases expand to. The language is the YAML 1.2 core
schema (``no`` is the text "no") less what a graph file has no use for: tags, merge keys and several documents are
refused; anchors and aliases are allowed.

Plain scalars: ``017`` is seventeen, dates are text. What ruamel.yaml says of a mistake is put into the words, and at
the place, of the person who wrote the file: it speaks of tokens ("expected <block end>, but found '<block mapping
start>'") and points where it noticed; the mistakes behind its messages are few: a line out of column, a tab, a missing
quote, brace, comma or space.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.diagnostics import Diagnostics, split_lines, suggest

__all__ = [
    "MAX_BYTES",
    "MAX_VALUES",
    "YamlEntry",
    "YamlMapping",
    "YamlScalar",
    "YamlSequence",
    "YamlValue",
    "check_keys",
    "check_version",
    "count_values",
    "is_null",
    "parse_document",
    "parse_value",
    "read_source",
    "scalar_value",
]

_ScalarValue: TypeAlias = bool | int | float | str | None

_CONSTANTS: Mapping[str, _ScalarValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
_INT = re.compile(r"[-+]?[0-9]{1,100}")
_BASED = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def scalar_value(text: str) -> _ScalarValue:
    """Value of a plain scalar by the core schema (YAML 1.2.2, section 10.3.2).

    Integers of more than 100 digits become floats: Python refuses to write out much longer ones.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Explained(NamedTuple):
    """A syntax error as people read it.

    Attributes:
        line: Where to look, from 0.
        column: Where to look, from 0.
        message: What is wrong.
        notes: More facts.
        hint: What to do about it.
    """

    line: int
    column: int
    message: str
    notes: tuple[str, ...] = ()
    hint: str | None = None


class _Place(NamedTuple):
    """The error and the text around it: where it was noticed and where what it spoils began (lines from 0)."""

    lines: Sequence[str]
    at: tuple[int, int]
    began: tuple[int, int] | None
    problem: str
    context: str

    def text(self, line: int) -> str:
        return self.lines[line] if 0 <= line < len(self.lines) else ""

    def says(self, message: str, hint: str | None = None, *notes: str, began: bool = False) -> _Explained:
        """An explanation at the place of the error, or where what it spoils ``began``."""
        line, column = self.began if began and self.began else self.at
        return _Explained(line, column, message, notes, hint)

    def written_above(self) -> int | None:
        """The nearest line above that is not empty."""
        return next((n for n in range(min(self.at[0], len(self.lines)) - 1, -1, -1) if self.text(n).strip()), None)


def _explain_syntax(error: MarkedYAMLError, lines: Sequence[str]) -> _Explained:
    """Say what a syntax error means.

    Args:
        error: As ruamel.yaml raised it.
        lines: The text, split as the reader counts lines.
    """
    mark = error.problem_mark or error.context_mark
    at = (mark.line, mark.column) if mark else (0, 0)
    began = (error.context_mark.line, error.context_mark.column) if error.context_mark else None
    place = _Place(lines, at, began, str(error.problem or ""), str(error.context or ""))
    for pattern, say in _SAYINGS:
        if found := re.match(pattern, place.problem):
            return say(place, found)
    notes = (place.context,) if place.problem and place.context else ()
    return place.says(place.problem or place.context or "not YAML", None, *notes)


def _no_token(place: _Place, found: re.Match[str]) -> _Explained:
    if found[1] == r"\t":
        return place.says("a tab cannot stand here", "indent with spaces")
    return place.says(f"a text without quotes cannot start with {found[1]}", "put it in quotes")


def _behind_quote(place: _Place) -> _Explained | None:
    line, column = place.at
    if place.text(line)[max(0, column - 1) : column] not in ("'", '"'):
        return None
    hint = 'quote with the other kind of quotes a text that holds one: "Alice\'s talk"'
    return place.says("the text goes on behind a closed quote", hint)


def _block_end(place: _Place, found: re.Match[str]) -> _Explained:
    if found[1] in ("}", "]"):
        return place.says(f"this {found[1]} closes nothing", "remove it, or open it where it belongs")
    if said := _behind_quote(place):
        return said
    kind = "list" if "collection" in place.context else "mapping"
    began = (f"the {kind} begins on line {place.began[0] + 1}",) if place.began else ()
    if found[1] == "-" and kind == "mapping":
        return place.says("a list item cannot stand among the entries of a mapping", "write `key: value`", *began)
    for number in (place.at[0], place.written_above()):
        if number is not None and (odd := re.match(r"[ \t]*([^\S \t])", place.text(number))):
            hint = f"line {number + 1} is indented with U+{ord(odd[1]):04X}; use plain spaces"
            return place.says("this line is not indented like those before it", hint, *began)
    each = "items" if kind == "list" else "entries"
    hint = f"start all {each} of one {kind} in the same column"
    return place.says("this line is not indented like those before it", hint, *began)


def _flow(place: _Place, found: re.Match[str]) -> _Explained:
    close = found[1]
    opening = "{" if close == "}" else "["
    line, column = place.at
    if place.text(line)[max(0, column - 1) : column + 1] == "${":
        return place.says("a variable needs quotes here", 'write "${...}"')
    if said := _behind_quote(place):
        return said
    if place.began and place.began[0] != line:
        if re.search(r"\s#", place.text(place.began[0])):
            return place.says(f"this {opening} is not closed", "' #' begins a comment; is the end in it?", began=True)
        hint = f"look on line {place.began[0] + 1} for a missing {close}, comma or quote"
        return place.says(f"this {opening} is not closed", hint, began=True)
    advice = "put a comma between entries, and quote a text that holds ': '" if found[2] == ":" else None
    return place.says(f"expected ',' or '{close}' here", advice)


def _values(place: _Place, found: re.Match[str]) -> _Explained:
    above = place.written_above()
    if above is not None and re.match(r"\s*(- +)?[A-Za-z_][\w-]*:[^\s/\\]", place.text(above)):
        return _Explained(above, 0, "a ':' needs a space behind it", (), "write `key: value`")
    hint = "quote a text that holds ': ', and start all entries of one mapping in the same column"
    return place.says("a ':' cannot stand here", hint)


def _escape(place: _Place, found: re.Match[str]) -> _Explained:
    message = "this backslash begins no escape that double quotes know"
    return place.says(message, "in single quotes a backslash is only a backslash: 'C:\\dir\\file.wav'")


def _end(place: _Place, found: re.Match[str]) -> _Explained:
    if "quoted" in place.context:
        return place.says("this quote is not closed", "quotes come in pairs", began=True)
    return place.says("the file ends in the middle of this", None, place.context, began=True)


def _no_value(place: _Place, found: re.Match[str]) -> _Explained:
    if found[1].startswith("<"):  # "<stream end>" and other names of tokens
        return place.says("a value is missing here", "is a bracket not closed?")
    return place.says(f"a value is missing before this {found[1]}", "an empty text is written ''")


def _no_name(place: _Place, found: re.Match[str]) -> _Explained:
    kind = "anchor" if "anchor" in place.context else "alias"
    message = f"this begins the name of an {kind}, and there is none"
    return place.says(message, "quote a text that starts with & or *", began=True)


def _no_block(place: _Place, found: re.Match[str]) -> _Explained:
    if "block scalar" not in place.context:
        return place.says("expected the end of the line", None, place.context)
    return place.says("a text behind | or > begins on the next line", "or put all of it in quotes", began=True)


_SAYINGS: Sequence[tuple[str, Callable[[_Place, re.Match[str]], _Explained]]] = (
    (r"found character '(.+)' that cannot start any token", _no_token),
    (r"expected <block end>, but found '(.+)'", _block_end),
    (r"expected ',' or '([}\]])', but got '(.+)'", _flow),
    (r"mapping values are not allowed", _values),
    (r"found unknown escape character|expected escape sequence", _escape),
    (r"found unexpected end of stream", _end),
    (r"expected the node content, but found '(.+)'", _no_value),
    (r"expected alphabetic or numeric character", _no_name),
    (r"expected (a comment or a line break|chomping or indentation indicators)", _no_block),
    (
        r"expected '<document start>'",
        lambda place, _: place.says("this does not belong to what is before it", "is its indentation right?"),
    ),
    (
        r"could not find expected ':'",
        lambda place, _: place.says("expected `key: value`", "is a ':' missing, or the indentation wrong?", began=True),
    ),
    (
        r"sequence entries are not allowed",
        lambda place, _: place.says("a list item cannot start here", "start the list on the next line"),
    ),
)


MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 20_000
"""Bounds of a document; a graph of a thousand elements has about ten thousand values. They count as often as aliases
repeat them, which is what stops the "billion laughs"."""


@dataclass(frozen=True, slots=True)
class YamlScalar:
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
    value: _ScalarValue
    offset: int | None

    def part(self, start: int, length: int) -> Span:
        """Place of ``text[start : start + length]``, or of the whole scalar when it is written otherwise."""
        if self.offset is None:
            return self.span
        return Span(self.span.file, self.span.line, self.span.column + self.offset + start, max(1, length))


@dataclass(frozen=True, slots=True)
class YamlSequence:
    """A list."""

    span: Span
    items: tuple[YamlValue, ...]


@dataclass(frozen=True, slots=True)
class YamlEntry:
    """One key of a mapping and its value."""

    key: str
    key_span: Span
    value: YamlValue


@dataclass(frozen=True, slots=True)
class YamlMapping:
    """A mapping with text keys, in written order."""

    span: Span
    entries: Mapping[str, YamlEntry]

    def __iter__(self) -> Iterator[YamlEntry]:
        return iter(self.entries.values())

    def get(self, key: str) -> YamlEntry | None:
        """The entry of ``key``, or None."""
        return self.entries.get(key)


YamlValue: TypeAlias = YamlScalar | YamlSequence | YamlMapping


def is_null(value: YamlValue) -> bool:
    """Whether nothing is written where a value may stand, or ``null`` is."""
    return isinstance(value, YamlScalar) and value.value is None


def check_keys(mapping: YamlMapping, known: Sequence[str], owner: str, problems: Diagnostics) -> None:
    """Report ``unknown-field`` for each key that ``owner`` ("a graph", "a bin") does not have."""
    for entry in mapping:
        if entry.key not in known:
            hint = suggest(entry.key, known, f"{owner} has {', '.join(known)}")
            problems.add("unknown-field", entry.key_span, f"{owner} has no {entry.key!r}", hint=hint)


def check_version(root: YamlMapping, owner: str, problems: Diagnostics) -> None:
    """Report ``bad-value`` when a document ("the graph", "an included file") is not of version 1."""
    version = root.get("version")
    if version is None:
        top = Span(root.span.file, root.span.line, root.span.column)
        problems.add("bad-value", top, f"{owner} has no version", hint="start with `version: 1`")
    elif not isinstance(version.value, YamlScalar) or version.value.value != 1 or version.value.value is True:
        problems.add("bad-value", version.value.span, "version must be 1", hint="this release reads version 1")


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


def parse_document(text: str, file: str, problems: Diagnostics) -> YamlValue | None:
    """Read one YAML document.

    Args:
        text: The document.
        file: Name used in spans.
        problems: Takes ``yaml-syntax`` and ``duplicate-key``; after the former nothing else of the file is known.

    Returns:
        The outermost value, or None when the text is not one YAML document.
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
        said = _explain_syntax(error, split_lines(text))
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
        return scalar_value(text.strip())
    problems = Diagnostics()
    value = parse_document(text, "<command line>", problems)
    if value is None or problems.has_errors:
        raise ValueError("; ".join(d.message for d in problems.sorted()))
    return to_python(value)


def count_values(value: YamlValue) -> int:
    """How many nodes a tree has, keys left out."""
    if isinstance(value, YamlScalar):
        return 1
    below = value.items if isinstance(value, YamlSequence) else [entry.value for entry in value]
    return 1 + sum(count_values(each) for each in below)


def to_python(value: YamlValue) -> Any:
    """The plain value of a tree."""
    if isinstance(value, YamlScalar):
        return value.value
    if isinstance(value, YamlSequence):
        return [to_python(item) for item in value.items]
    return {entry.key: to_python(entry.value) for entry in value}


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
    items: list[YamlValue] = field(default_factory=list)
    entries: dict[str, YamlEntry] = field(default_factory=dict)
    key: tuple[str, Span] | None = None
    size: int = 1
    height: int = 1


class _Anchored(NamedTuple):
    value: YamlValue
    size: int
    height: int


class _Builder:
    """Turns events into values with an explicit stack."""

    def __init__(self, text: str, file: str, problems: Diagnostics) -> None:
        self.text, self.file, self.problems = text, file, problems
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Anchored] = {}
        self.root: YamlValue | None = None
        self.documents = 0
        self.breaks = [match.start() for match in re.finditer("\n", text)] + [len(text)]
        starts = [0, *(at + 1 for at in self.breaks[:-1])]
        self.ends = [a + len(text[a:b].rstrip()) for a, b in zip(starts, self.breaks, strict=True)]

    def build(self) -> YamlValue:
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
                self.anchors[event.anchor] = _Anchored(YamlScalar(span, text, text, offset), 1, 0)
            return
        value = YamlScalar(span, text, scalar_value(text) if plain else text, offset)
        self.place(value, 1, 0, event.anchor)

    def alias(self, event: Any) -> None:
        found = self.anchors.get(event.anchor)
        if found is None:
            raise _Refused(self.span(event), f"no anchor named {event.anchor!r} ends before this alias")
        if self.stack and self.stack[-1].is_mapping and self.stack[-1].key is None:
            raise _Refused(self.span(event), "an alias cannot be a key")
        if len(self.stack) + found.height > MAX_DEPTH:
            self.too_deep(self.span(event))
        self.place(found.value, found.size, found.height, None)

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
        value: YamlValue = (
            YamlMapping(done.span, done.entries) if done.is_mapping else YamlSequence(done.span, tuple(done.items))
        )
        self.place(value, done.size, done.height, done.anchor)

    def place(self, value: YamlValue, size: int, height: int, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = _Anchored(value, size, height)
        if not self.stack:
            self.root = value
            return
        parent = self.stack[-1]
        parent.size += size
        parent.height = max(parent.height, height + 1)
        if sum(o.size for o in self.stack) > MAX_VALUES:
            raise _Refused(
                value.span, f"the document has more than {MAX_VALUES} nodes, aliases counted as often as used"
            )
        if not parent.is_mapping:
            parent.items.append(value)
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
            parent.entries[key] = YamlEntry(key, span, value)
