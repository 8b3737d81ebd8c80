"""A graph on one line, in the syntax of gst-launch, → the tree that a YAML document with the same graph would give.

``file_src path=talk.wav ! resample rate_hz=16000 ! silero_vad ! jsonl_sink path=segments.jsonl``

- ``type setting=value …`` declares an element; ``name=t`` names it, else it is called after its type: ``resample0``.
- ``a ! b`` links two elements. ``t.`` stands for the element called ``t``, at either end of a link and also before it
  is declared, ``t.src_1`` for that pad of it. A chain ends where an element follows another without ``!``.
- ``! audio/raw, rate=16000 !`` lets only such frames pass: an element of the type ``capsfilter``.
- A value goes to the next space, and a backslash in it takes the next character as it is; one that begins with a quote,
  ``[`` or ``{`` is read as YAML reads it. Bare ``5``, ``true`` and ``null`` are what they are in YAML.
- Variables are those of files. A param is declared by being mentioned, and needs a value: ``path=${param:input}``.

Only the reading is done here: params, types, settings, links and caps are checked by the passes that check files, so
that both come to the same graph and the same diagnostics, with places in the line.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.diagnostics import LINE_BREAK, Diagnostics
from tolmach.pipelines.language.document import (
    MAX_BYTES,
    MAX_VALUES,
    YamlEntry,
    YamlMapping,
    YamlScalar,
    YamlSequence,
    YamlValue,
    count_values,
    parse_document,
    scalar_value,
)
from tolmach.pipelines.language.variables import mentioned_params

__all__ = ["CAPSFILTER", "LaunchLine", "in_line_words", "is_line", "parse_line"]

CAPSFILTER = "capsfilter"
"""Known by name: what caps between two ``!`` become."""


@dataclass(frozen=True, slots=True)
class LaunchLine:
    """A graph written on one line, where a path could stand that names a graph file.

    Attributes:
        text: The line; it may have several lines.
        include: Files whose bins it uses, ``bin/NAME``; paths start from the current folder.
    """

    text: str
    include: tuple[str, ...] = ()
    name: ClassVar[str] = "line"
    """What its graph is called."""

    def __str__(self) -> str:
        return "<line>"


def is_line(text: str) -> bool:
    """Whether a text can only be meant as a line: it has a ``!`` that stands by itself."""
    return re.search(r"(?:^|\s)!(?:\s|$)", text) is not None


def in_line_words(text: str) -> str:
    """A message, note or hint that speaks in YAML, in the words of a line: ``resample rate_hz=16000``."""
    text = re.sub(r"(?:[\w.-]+: )?\{type: ([^,{}]+)((?:, \w+: [^,{}]+)*)\}", _in_line, text)
    text = re.sub(r"`(\w+): (\S+)`", r"`\1=\2`", text)
    text = re.sub(r"\? declared on line \d+", "?", text)  # it has one
    return text.replace(" -> ", " ! ").replace("joined by ->", "joined by !")


def _in_line(found: re.Match[str]) -> str:
    return found[1] + re.sub(r", (\w+): ", r" \1=", found[2])


def parse_line(line: LaunchLine, file: str, problems: Diagnostics) -> YamlMapping | None:
    """Read a line.

    Args:
        line: The line.
        file: Name used in spans.
        problems: Takes ``line-syntax``, and ``bad-value`` for what is missing; then nothing else of the line is known.
            ``duplicate-key`` for a setting that is given twice.

    Returns:
        What :func:`tolmach.pipelines.language.document.parse_document` gives for the same graph in a file, or None.
    """
    text = line.text
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        problems.add("line-syntax", Span(file, 1, 1), "the line is longer than 1 MiB")
        return None
    return _Reader(line, file, problems).read()


@dataclass(slots=True)
class _Declared:
    """An element as it is read: its type, and what was given."""

    type: YamlScalar
    name: YamlScalar | None = None
    entries: dict[str, YamlEntry] = field(default_factory=dict)
    local: str = ""


@dataclass(frozen=True, slots=True)
class _Mention:
    """An element in a chain: a declaration, or a reference with or without a pad."""

    element: _Declared | str
    pad: str
    span: Span

    @property
    def text(self) -> str:
        name = self.element if isinstance(self.element, str) else self.element.local
        return f"{name}.{self.pad}" if self.pad else name


@dataclass(frozen=True, slots=True)
class _Chain(YamlScalar):
    """A chain as files write it, ``a -> b.pad``, whose parts stand where the line has them."""

    places: tuple[tuple[int, Span], ...] = ()

    def part(self, start: int, length: int) -> Span:
        """Place of the mentions in ``text[start : start + length]``."""
        within = [span for at, span in self.places if start <= at < start + length]
        return _joined(within[0], within[-1]) if within else self.span


def _joined(first: Span, last: Span) -> Span:
    """From one place to another, or the first when they stand on different lines."""
    if first.line != last.line:
        return first
    return replace(first, length=last.column + last.length - first.column)


_TYPE = re.compile(r"(?:bin/)?[A-Za-z_][A-Za-z0-9_-]*")
_REFERENCE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)\.([A-Za-z_][A-Za-z0-9_]*)?")
_SETTING = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=")
_CAPS = re.compile(r"(?!bin/)[a-z][a-z0-9-]*/[a-z]")
_SPACE = re.compile(r"(?:\s|\\\r?\n)*")
_WORD = re.compile(r"(?:[^\s!\\]|\\.)+", re.DOTALL)
_BARE = re.compile(r"(?:[^\s\\]|\\.)+", re.DOTALL)
_CAPS_TEXT = re.compile(r'(?:[^!"]|"(?:[^"\\]|\\.)*")*', re.DOTALL)
_QUOTED = {"'": re.compile(r"'(?:[^']|'')*'"), '"': re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)}
_CLOSES = {"[": "]", "{": "}"}
_IN_FLOW = re.compile(r"[\[\]{},:'\"]|[^\s\[\]{},:'\"]+|\s+")


class _Reader:
    """Reads a line from left to right; every character once."""

    def __init__(self, line: LaunchLine, file: str, problems: Diagnostics) -> None:
        text = self.text = line.text
        self.include, self.file, self.problems = line.include, file, problems
        self.starts = [0, *(found.end() for found in LINE_BREAK.finditer(text))]
        self.at = 0
        self.broken = False
        self.values = 0
        self.declared: list[_Declared] = []
        self.chains: list[list[_Mention]] = []

    def read(self) -> YamlMapping | None:
        """The tree, or None after a mistake."""
        link: Span | None = None  # a "!" that nothing came behind yet
        while self.at < len(self.text) and not self.broken:
            self.at = self.end_of(_SPACE)
            if self.at >= len(self.text):
                break
            begin = self.at
            if self.text[begin] == "!":
                span = self.span(begin, begin + 1)
                if not self.chains or link is not None:
                    self.fail(span, "expected an element in front of this !", "a ! b")
                link, self.at = span, begin + 1
            elif found := _SETTING.match(self.text, begin):
                self.setting(found, link)
            else:
                mention = self.caps(link) if _CAPS.match(self.text, begin) else self.mention()
                if mention is not None and link is not None:
                    self.chains[-1].append(mention)
                elif mention is not None:
                    self.chains.append([mention])
                link = None
        if link is not None and not self.broken:
            self.fail(link, "nothing comes behind this !", "end with a sink: ! file_sink path=out.wav")
        elif not self.chains and not self.broken:
            self.fail(Span(self.file, 1, 1), "the line is empty", "test_src ! fake_sink")
        if self.broken or not self.name_all():
            return None
        return self.tree()

    def end_of(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        return found.end() if found else self.at

    def span(self, start: int, end: int) -> Span:
        """The place of some characters; of those on the first line, when they are on several."""
        line = bisect_right(self.starts, start)
        begins = self.starts[line - 1]
        if line < len(self.starts) and end > self.starts[line]:
            end = begins + len(self.text[begins : self.starts[line]].rstrip())
        return Span(self.file, line, start - begins + 1, max(1, end - start))

    def fail(self, span: Span, message: str, hint: str | None = None, code: str = "line-syntax") -> None:
        self.broken = True
        self.problems.add(code, span, message, hint=hint)

    # Elements ---------------------------------------------------------------------------------------------------------

    def mention(self) -> _Mention | None:
        begin = self.at
        self.at = max(self.end_of(_WORD), begin + 1)
        word, span = self.text[begin : self.at], self.span(begin, self.at)
        if _TYPE.fullmatch(word):
            element = _Declared(YamlScalar(span, word, word, 0))
            self.declared.append(element)
            return _Mention(element, "", span)
        if found := _REFERENCE.fullmatch(word):
            return _Mention(found[1], found[2] or "", span)
        self.fail(span, f"{word[:60]!r} is no element, no reference such as t. and no caps", _advice(word))
        return None

    def caps(self, link: Span | None) -> _Mention | None:
        begin = self.at
        end = self.end_of(_CAPS_TEXT)
        text = self.text[begin:end].rstrip()
        span = self.span(begin, begin + len(text))
        if link is None or self.text[end : end + 1] != "!":
            self.fail(span, "caps stand between two !", "resample ! audio/raw, rate=16000 ! webrtc_vad")
            return None
        self.at = end
        element = _Declared(YamlScalar(span, CAPSFILTER, CAPSFILTER, None))
        element.entries["caps"] = YamlEntry("caps", span, YamlScalar(span, text, text, 0))
        self.declared.append(element)
        return _Mention(element, "", span)

    def setting(self, found: re.Match[str], link: Span | None) -> None:
        name, key = found[1], self.span(found.start(1), found.end(1))
        self.at = found.end()
        if link is not None or not self.chains:
            self.fail(key, f"the setting {name!r} has no element in front of it", f"element {name}=...")
            return
        element = self.chains[-1][-1].element
        if isinstance(element, str):
            self.fail(key, f"{element!r} is declared elsewhere", f"give {name} there, behind name={element}")
            return
        if element.type.text == CAPSFILTER and element.type.offset is None:
            self.fail(key, "caps take no settings", "put a ! behind them")
            return
        value = self.value(name, key)
        if value is None:
            return
        if name == "name":
            if not isinstance(value, YamlScalar) or not value.text:
                self.fail(value.span, "a name is a text without spaces", "name=t", "bad-value")
            elif element.name is not None:
                self.twice(name, key)
            else:
                element.name = value
        elif name in element.entries or name == "type":
            self.twice(name, key)
        else:
            element.entries[name] = YamlEntry(name, key, value)

    def twice(self, name: str, span: Span) -> None:
        hint = "the type stands in front of its settings" if name == "type" else "remove one of them"
        self.problems.add("duplicate-key", span, f"{name!r} is given twice", hint=hint)

    # Values -----------------------------------------------------------------------------------------------------------

    def value(self, name: str, key: Span) -> YamlValue | None:
        begin = self.at
        first = self.text[begin : begin + 1]
        if not first or first.isspace():
            hint = f"{name}=value, without spaces; {name}='' is an empty text, {name}=null is none"
            self.fail(replace(key, length=key.length + 1), f"the setting {name!r} has no value", hint, "bad-value")
            return None
        if first in _QUOTED or first in _CLOSES:
            return self.as_yaml(begin, first)
        found = _BARE.match(self.text, begin)
        self.at = found.end() if found else len(self.text)
        written = self.text[begin : self.at]
        span = self.span(begin, self.at)
        if written.endswith("!") and not written.endswith("\\!"):
            self.fail(self.span(self.at - 1, self.at), "a space goes in front of !", "quote a text that ends in it")
            return None
        if not self.afford(1, span):
            return None
        if "\\" not in written:
            return YamlScalar(span, written, scalar_value(written), 0)
        plain = re.sub(r"\\(.?)", r"\1", written, flags=re.DOTALL)
        return YamlScalar(span, plain, plain, None)

    def as_yaml(self, begin: int, first: str) -> YamlValue | None:
        end = self.close(begin, first)
        if end is None:
            what, hint = (
                ("quote", "quotes come in pairs") if first in _QUOTED else (first, f"end it with {_CLOSES[first]}")
            )
            self.fail(self.span(begin, begin + 1), f"this {what} is not closed", hint)
            return None
        self.at = end
        written, span = self.text[begin:end], self.span(begin, end)
        if end < len(self.text) and not self.text[end].isspace() and self.text[end] != "!":
            closed = "quote" if first in _QUOTED else "bracket"
            self.fail(self.span(end, end + 1), f"the text goes on behind a closed {closed}", "quote all of the value")
            return None
        if first in _QUOTED and not re.search(r"[\\\r\n\x85\u2028\u2029]|''", written[1:-1]):
            # As YAML would read it; a hundred times as fast.
            return YamlScalar(span, written[1:-1], written[1:-1], 1) if self.afford(1, span) else None
        within = Diagnostics()
        value = parse_document(written, self.file, within)
        for found in within.sorted():
            place = self.moved(found.span, begin) if found.span else span
            code = "line-syntax" if found.code == "yaml-syntax" else found.code
            self.fail(place, found.message, found.hint, code)
        if value is None or self.broken or not self.afford(count_values(value), span):
            return None
        return self.all_moved(value, begin)

    def close(self, begin: int, first: str) -> int | None:
        """Where a quoted text or a collection ends; None when it does not."""
        if first in _QUOTED:
            found = _QUOTED[first].match(self.text, begin)
            return found.end() if found else None
        open_ones, at, starts = 0, begin, True
        while at < len(self.text):
            piece = _IN_FLOW.match(self.text, at)
            assert piece is not None  # noqa: S101 -- every character is in one of its classes
            at, word = piece.end(), piece.group()
            if word in _QUOTED and starts:  # elsewhere it is a character of a text without quotes
                found = _QUOTED[word].match(self.text, piece.start())
                if found is None:
                    return None
                at = found.end()
            elif word in _CLOSES:
                open_ones += 1
            elif word in ("]", "}"):
                open_ones -= 1
                if not open_ones:
                    return at
            starts = word in _CLOSES or word in (",", ":") or (starts and word.isspace())
        return None

    def moved(self, span: Span, begin: int) -> Span:
        """A place in a value that begins at ``begin``, as a place in the line."""
        origin = self.span(begin, begin + 1)
        column = span.column + origin.column - 1 if span.line == 1 else span.column
        return replace(span, line=span.line + origin.line - 1, column=column)

    def all_moved(self, value: YamlValue, begin: int) -> YamlValue:
        span = self.moved(value.span, begin)
        if isinstance(value, YamlScalar):
            return replace(value, span=span)
        if isinstance(value, YamlSequence):
            return YamlSequence(span, tuple(self.all_moved(item, begin) for item in value.items))
        return YamlMapping(
            span,
            {e.key: YamlEntry(e.key, self.moved(e.key_span, begin), self.all_moved(e.value, begin)) for e in value},
        )

    def afford(self, values: int, span: Span) -> bool:
        self.values += values
        if self.values > MAX_VALUES:
            self.fail(span, f"the line has more than {MAX_VALUES} values")
        return not self.broken

    # The tree ---------------------------------------------------------------------------------------------------------

    def name_all(self) -> bool:
        """Give every element its name, as GStreamer does: that of its type, counted from 0."""
        given: dict[str, Span] = {}
        for element in self.declared:
            if element.name is None:
                continue
            element.local = element.name.text
            if (first := given.get(element.local)) is not None:
                message = f"two elements are called {element.local!r}"
                note = f"the first one at {first.line}:{first.column}"
                self.problems.add("duplicate-key", element.name.span, message, notes=(note,), hint="name one otherwise")
                return False
            given[element.local] = element.name.span
        counts: dict[str, int] = {}
        for element in self.declared:
            while not element.local:
                kind = element.type.text.removeprefix("bin/")
                number = counts[kind] = counts.get(kind, -1) + 1
                if (name := f"{kind}{number}") not in given:
                    element.local = name
        return True

    def tree(self) -> YamlMapping:
        top = self.span(0, len(self.text))
        elements = {element.local: self.element(element) for element in self.declared}
        params: dict[str, YamlEntry] = {}
        for name, span in self.params(elements):
            params.setdefault(name, YamlEntry(name, span, YamlScalar(span, "", None, None)))
        links = tuple(self.chain(chain) for chain in self.chains if len(chain) > 1 or isinstance(chain[0].element, str))
        parts: dict[str, YamlValue] = {
            "version": YamlScalar(top, "1", 1, None),
            "include": YamlSequence(top, tuple(YamlScalar(top, path, path, None) for path in self.include)),
            "params": YamlMapping(top, params),
            "elements": YamlMapping(top, elements),
            "links": YamlSequence(top, links),
        }
        if not self.include:
            del parts["include"]
        return YamlMapping(top, {key: YamlEntry(key, top, value) for key, value in parts.items()})

    def element(self, element: _Declared) -> YamlEntry:
        span = element.type.span
        kind = YamlEntry("type", span, element.type)
        last = [span, *(entry.value.span for entry in element.entries.values())][-1]
        called = element.name.span if element.name is not None else span
        return YamlEntry(element.local, called, YamlMapping(_joined(span, last), {"type": kind, **element.entries}))

    def params(self, elements: dict[str, YamlEntry]) -> Iterator[tuple[str, Span]]:
        """The params that values mention, in the order of the line."""
        waiting: list[YamlValue] = [entry.value for entry in reversed(elements.values())]
        while waiting:
            value = waiting.pop()
            if isinstance(value, YamlScalar):
                for name, start, length in mentioned_params(value.text):
                    yield name, value.part(start, length)
            else:
                below = value.items if isinstance(value, YamlSequence) else [entry.value for entry in value]
                waiting.extend(reversed(below))

    def chain(self, mentions: list[_Mention]) -> _Chain:
        places = []
        at = 0
        for mention in mentions:
            places.append((at, mention.span))
            at += len(mention.text) + len(" -> ")
        text = " -> ".join(mention.text for mention in mentions)
        return _Chain(_joined(mentions[0].span, mentions[-1].span), text, text, None, tuple(places))


def _advice(word: str) -> str:
    if "->" in word:
        return "in a line elements are joined by !"
    if word[0] in "()":
        return "bins are written in a file: --include FILE, and bin/NAME in the line"
    if word[0] in "'\"":
        return "only values are quoted: path='my talk.wav'"
    if word[0] == ".":
        return "name the element, and write its name in front of the pad: t.src_0"
    if word == "=" or word[0] == "=":
        return "no space goes in front of ="
    if "=" in word or any(quote in word for quote in "'\""):
        return "quote all of a value that has spaces: path='my talk.wav'"
    return "type setting=value ! type"
