"""What the YAML reader says, in the words and at the place of the person who wrote the file.

The reader speaks of tokens ("expected <block end>, but found '<block mapping start>'") and points where it noticed; the
mistakes behind its messages are few: a line out of column, a tab, a missing quote, brace, comma or space.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ruamel.yaml.error import MarkedYAMLError

__all__ = ["Explained", "explain"]


@dataclass(frozen=True, slots=True)
class Explained:
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


@dataclass(frozen=True, slots=True)
class _Place:
    """The error and the text around it: where it was noticed and where what it spoils began (lines from 0)."""

    lines: Sequence[str]
    at: tuple[int, int]
    began: tuple[int, int] | None
    problem: str
    context: str

    def text(self, line: int) -> str:
        return self.lines[line] if 0 <= line < len(self.lines) else ""

    def says(self, message: str, hint: str | None = None, *notes: str, began: bool = False) -> Explained:
        """An explanation at the place of the error, or where what it spoils ``began``."""
        line, column = self.began if began and self.began else self.at
        return Explained(line, column, message, notes, hint)

    def written_above(self) -> int | None:
        """The nearest line above that is not empty."""
        return next((n for n in range(min(self.at[0], len(self.lines)) - 1, -1, -1) if self.text(n).strip()), None)


def explain(error: MarkedYAMLError, lines: Sequence[str]) -> Explained:
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


def _no_token(place: _Place, found: re.Match[str]) -> Explained:
    if found[1] == r"\t":
        return place.says("a tab cannot stand here", "indent with spaces")
    return place.says(f"a text without quotes cannot start with {found[1]}", "put it in quotes")


def _behind_quote(place: _Place) -> Explained | None:
    line, column = place.at
    if place.text(line)[max(0, column - 1) : column] not in ("'", '"'):
        return None
    hint = 'quote with the other kind of quotes a text that holds one: "Alice\'s talk"'
    return place.says("the text goes on behind a closed quote", hint)


def _block_end(place: _Place, found: re.Match[str]) -> Explained:
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


def _flow(place: _Place, found: re.Match[str]) -> Explained:
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


def _values(place: _Place, found: re.Match[str]) -> Explained:
    above = place.written_above()
    if above is not None and re.match(r"\s*(- +)?[A-Za-z_][\w-]*:[^\s/\\]", place.text(above)):
        return Explained(above, 0, "a ':' needs a space behind it", (), "write `key: value`")
    hint = "quote a text that holds ': ', and start all entries of one mapping in the same column"
    return place.says("a ':' cannot stand here", hint)


def _escape(place: _Place, found: re.Match[str]) -> Explained:
    message = "this backslash begins no escape that double quotes know"
    return place.says(message, "in single quotes a backslash is only a backslash: 'C:\\dir\\file.wav'")


def _end(place: _Place, found: re.Match[str]) -> Explained:
    if "quoted" in place.context:
        return place.says("this quote is not closed", "quotes come in pairs", began=True)
    return place.says("the file ends in the middle of this", None, place.context, began=True)


def _no_value(place: _Place, found: re.Match[str]) -> Explained:
    if found[1].startswith("<"):  # "<stream end>" and other names of tokens
        return place.says("a value is missing here", "is a bracket not closed?")
    return place.says(f"a value is missing before this {found[1]}", "an empty text is written ''")


def _no_name(place: _Place, found: re.Match[str]) -> Explained:
    kind = "anchor" if "anchor" in place.context else "alias"
    message = f"this begins the name of an {kind}, and there is none"
    return place.says(message, "quote a text that starts with & or *", began=True)


def _no_block(place: _Place, found: re.Match[str]) -> Explained:
    if "block scalar" not in place.context:
        return place.says("expected the end of the line", None, place.context)
    return place.says("a text behind | or > begins on the next line", "or put all of it in quotes", began=True)


_SAYINGS: Sequence[tuple[str, Callable[[_Place, re.Match[str]], Explained]]] = (
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
