"""Caps: what may travel over a link, and the algebra on it.

A :class:`Caps` is a set of alternatives (:class:`Structure`), each a media type with constrained fields. A field that
is absent is unconstrained, as in GStreamer (design/caps.md of the GStreamer documentation, from which the words
intersect, subset and fixate are taken).

Written form::

    audio/raw, rate=16000, channels=1, segmented=true
    audio/raw, rate={8000, 24000, 48000}, channels=[1, 8]
    text/x-translation, lang=ru, script=cyrl ; text/x-translation, lang=kk, script=cyrl
    ANY
    EMPTY
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

__all__ = [
    "Caps",
    "FieldValue",
    "IntRange",
    "Scalar",
    "Structure",
    "format_value",
    "intersect_values",
    "is_fixed_value",
    "value_is_subset",
]

WORD = re.compile(r"[A-Za-z0-9_.+:-]+")
INTEGER = re.compile(r"-?[0-9]{1,18}")

Scalar: TypeAlias = bool | int | str


@dataclass(frozen=True, slots=True)
class IntRange:
    """All integers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"empty range [{self.low}, {self.high}]")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low}, {self.high}]"


FieldValue: TypeAlias = frozenset[Scalar] | IntRange
"""A non-empty set of allowed values, or an integer range."""


def sort_key(value: Scalar) -> tuple[str, str | int]:
    """Orders scalars of any kind."""
    return (type(value).__name__, value if isinstance(value, str) else int(value))


def _tagged(values: Iterable[Scalar]) -> set[tuple[type, Scalar]]:
    # True == 1 in Python; in caps a boolean and an integer never match.
    return {(type(v), v) for v in values}


def normal(value: FieldValue) -> FieldValue:
    """One form for one set of values: without it {1, 2} and [1, 2] would be different alternatives."""
    if isinstance(value, IntRange):
        return frozenset({value.low}) if value.low == value.high else value
    integers = [v for v in value if isinstance(v, int) and not isinstance(v, bool)]
    if len(value) > 1 and len(integers) == len(value) and max(integers) - min(integers) == len(value) - 1:
        return IntRange(min(integers), max(integers))
    return value


def intersect_values(a: FieldValue, b: FieldValue) -> FieldValue | None:
    """Values allowed by both, or None when there are none."""
    if isinstance(a, IntRange) and isinstance(b, IntRange):
        low, high = max(a.low, b.low), min(a.high, b.high)
        if low > high:
            return None
        return frozenset({low}) if low == high else IntRange(low, high)
    if isinstance(a, IntRange):
        a, b = b, a
    if isinstance(a, frozenset) and isinstance(b, IntRange):
        kept = frozenset(v for v in a if v in b)
        return kept or None
    assert isinstance(a, frozenset)  # noqa: S101 -- both sets now; tells the type checker
    assert isinstance(b, frozenset)  # noqa: S101
    both = _tagged(a) & _tagged(b)
    return frozenset(v for _, v in both) or None


def value_is_subset(a: FieldValue, b: FieldValue) -> bool:
    """Whether every value of ``a`` is in ``b``."""
    if isinstance(a, IntRange):
        if isinstance(b, IntRange):
            return b.low <= a.low and a.high <= b.high
        return a.high - a.low < len(b) and all(v in b for v in range(a.low, a.high + 1))
    if isinstance(b, IntRange):
        return all(v in b for v in a)
    return _tagged(a) <= _tagged(b)


def is_fixed_value(value: FieldValue) -> bool:
    """Whether exactly one value is left."""
    return (isinstance(value, frozenset) and len(value) == 1) or (
        isinstance(value, IntRange) and value.low == value.high
    )


def format_value(value: FieldValue) -> str:
    """The written form of a field value."""
    if isinstance(value, IntRange):
        return str(value)
    items = [_format_scalar(v) for v in sorted(value, key=sort_key)]
    return items[0] if len(items) == 1 else "{" + ", ".join(items) + "}"


def _format_scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if WORD.fullmatch(value) and not INTEGER.fullmatch(value) and value not in ("true", "false"):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


_MEDIA = re.compile(r"[a-z][a-z0-9-]*/[a-z][a-z0-9.+-]*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Structure:
    """One alternative: a media type and its constrained fields (sorted by name)."""

    media: str
    fields: tuple[tuple[str, FieldValue], ...] = ()

    @classmethod
    def of(cls, media: str, fields: Mapping[str, FieldValue]) -> Structure:
        """Build from a mapping; the order of fields does not matter, nor whether integers come as a set or a range."""
        return cls(media, tuple(sorted((name, normal(value)) for name, value in fields.items())))

    def get(self, name: str) -> FieldValue | None:
        """The allowed values of a field, or None when it is unconstrained."""
        return dict(self.fields).get(name)

    def intersect(self, other: Structure) -> Structure | None:
        """What both allow, or None."""
        if self.media != other.media:
            return None
        merged = dict(self.fields)
        for name, value in other.fields:
            if name in merged:
                both = intersect_values(merged[name], value)
                if both is None:
                    return None
                merged[name] = both
            else:
                merged[name] = value
        return Structure.of(self.media, merged)

    def is_subset(self, other: Structure) -> bool:
        """Whether everything this allows, ``other`` allows too."""
        if self.media != other.media:
            return False
        mine = dict(self.fields)
        return all(name in mine and value_is_subset(mine[name], value) for name, value in other.fields)

    @property
    def is_fixed(self) -> bool:
        """Whether every constrained field has one value."""
        return all(is_fixed_value(v) for _, v in self.fields)

    def with_fields(self, fields: Mapping[str, FieldValue]) -> Structure:
        """A copy in which ``fields`` replace those of the same name."""
        return Structure.of(self.media, {**dict(self.fields), **fields})

    def without_fields(self, names: Iterable[str]) -> Structure:
        """A copy in which ``names`` are unconstrained."""
        dropped = set(names)
        return Structure(self.media, tuple((n, v) for n, v in self.fields if n not in dropped))

    def __str__(self) -> str:
        return ", ".join([self.media, *(f"{n}={format_value(v)}" for n, v in self.fields)])


@dataclass(frozen=True, slots=True)
class Caps:
    """A set of alternatives; ``None`` structures stand for ANY, an empty set for EMPTY.

    Two caps are equal when they hold the same alternatives, whatever their written order; alternatives that are a
    subset of another one are dropped on construction, which makes intersection idempotent.
    """

    structures: frozenset[Structure] | None

    @classmethod
    def any(cls) -> Caps:
        """Everything."""
        return cls(None)

    @classmethod
    def empty(cls) -> Caps:
        """Nothing."""
        return cls(frozenset())

    @classmethod
    def of(cls, structures: Iterable[Structure]) -> Caps:
        """From alternatives, simplified."""
        unique = set(structures)
        kept = {s for s in unique if not any(s != o and s.is_subset(o) for o in unique)}
        return cls(frozenset(kept))

    @classmethod
    def parse(cls, text: str) -> Caps:
        """Read the written form.

        Raises:
            ValueError: If the text is not caps; says at which character.
        """
        # Here, not at the top: the parser makes Caps.
        return parse(text)

    @property
    def is_any(self) -> bool:
        """Whether everything is allowed."""
        return self.structures is None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is allowed."""
        return self.structures is not None and not self.structures

    @property
    def is_fixed(self) -> bool:
        """Whether one alternative with one value a field is left."""
        return self.structures is not None and len(self.structures) == 1 and all(s.is_fixed for s in self.structures)

    def __iter__(self) -> Iterator[Structure]:
        return iter(sorted(self.structures or (), key=str))

    def intersect(self, other: Caps) -> Caps:
        """What both allow. Commutative, associative and idempotent."""
        if self.structures is None:
            return other
        if other.structures is None:
            return self
        pairs = (a.intersect(b) for a in self.structures for b in other.structures)
        return Caps.of(s for s in pairs if s is not None)

    def can_intersect(self, other: Caps) -> bool:
        """Whether anything is allowed by both."""
        return not self.intersect(other).is_empty

    def is_subset(self, other: Caps) -> bool:
        """Whether each alternative lies within one of ``other``'s (sufficient, not necessary, as in GStreamer)."""
        if other.structures is None:
            return True
        if self.structures is None:
            return False
        return all(any(a.is_subset(b) for b in other.structures) for a in self.structures)

    def fixate(self, prefer: Mapping[str, Scalar] | None = None) -> Caps:
        """Choose one value for everything.

        Args:
            prefer: Wanted values by field. A set takes the wanted value if it holds it; ranges and sets of integers
                take the nearest (the greater of two); what is not wanted takes the smallest or alphabetically first.

        Returns:
            Fixed caps within these; ANY and EMPTY return themselves.
        """
        if not self.structures:
            return self
        wanted = dict(prefer or {})
        candidates = sorted(self.structures, key=lambda s: (-_matches(s, wanted), str(s)))
        first = candidates[0]
        fields = {name: frozenset({_pick(value, wanted.get(name))}) for name, value in first.fields}
        return Caps.of([Structure.of(first.media, fields)])

    def map(self, function: Mapping[str, FieldValue], drop: Iterable[str] = ()) -> Caps:
        """Every alternative with some fields dropped, then others replaced."""
        if self.structures is None:
            return self
        return Caps.of(s.without_fields(drop).with_fields(function) for s in self.structures)

    def value(self, name: str) -> Scalar | None:
        """The value of a field when it is the same single one in all alternatives, else None."""
        found: set[Scalar] = set()
        for structure in self.structures or ():
            value = structure.get(name)
            if value is None or not is_fixed_value(value):
                return None
            found.add(value.low if isinstance(value, IntRange) else next(iter(value)))
        return found.pop() if len(found) == 1 else None

    def __str__(self) -> str:
        if self.structures is None:
            return "ANY"
        return " ; ".join(str(s) for s in self) or "EMPTY"


def _matches(structure: Structure, wanted: Mapping[str, Scalar]) -> int:
    return sum(
        1 for name, value in structure.fields if name in wanted and value_is_subset(frozenset({wanted[name]}), value)
    )


def _pick(value: FieldValue, wanted: Scalar | None) -> Scalar:
    if isinstance(value, IntRange):
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            return min(max(wanted, value.low), value.high)
        return value.low
    if wanted is not None and value_is_subset(frozenset({wanted}), value):
        return wanted
    integers = [v for v in value if isinstance(v, int) and not isinstance(v, bool)]
    if isinstance(wanted, int) and not isinstance(wanted, bool) and integers:
        return min(integers, key=lambda v: (abs(v - wanted), -v))
    return min(value, key=sort_key)


def parse(text: str) -> Caps:
    """Read caps.

    Raises:
        ValueError: If the text is not caps; says at which character.
    """
    return _Parser(text).caps()


class _Parser:
    """Recursive descent over the written form."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def caps(self) -> Caps:
        stripped = self.text.strip()
        if stripped == "ANY":
            return Caps.any()
        if stripped in ("EMPTY", ""):
            return Caps.empty()
        structures = [self.structure()]
        while self.take(";"):
            structures.append(self.structure())
        self.space()
        if self.at != len(self.text):
            self.fail("end of caps")
        return Caps.of(structures)

    def structure(self) -> Structure:
        media = self.match(_MEDIA, "a media type such as audio/raw")
        fields: dict[str, FieldValue] = {}
        while self.take(","):
            name = self.match(_NAME, "a field name")
            if name in fields:
                raise ValueError(f"caps {self.text!r}: field {name!r} appears twice")
            if not self.take("="):
                self.fail("'='")
            fields[name] = self.value()
        return Structure.of(media, fields)

    def value(self) -> FieldValue:
        if self.take("["):
            low = self.integer()
            if not self.take(","):
                self.fail("','")
            high = self.integer()
            if not self.take("]"):
                self.fail("']'")
            if low > high:
                raise ValueError(f"caps {self.text!r}: range [{low}, {high}] is empty")
            return IntRange(low, high)
        if self.take("{"):
            values = [self.scalar()]
            while self.take(","):
                values.append(self.scalar())
            if not self.take("}"):
                self.fail("'}'")
            return frozenset(values)
        return frozenset({self.scalar()})

    def integer(self) -> int:
        return int(self.match(INTEGER, "an integer"))

    def scalar(self) -> Scalar:
        self.space()
        if quoted := _STRING.match(self.text, self.at):
            self.at = quoted.end()
            return re.sub(r"\\(.)", r"\1", quoted.group(1))
        word = self.match(WORD, "a value")
        if word in ("true", "false"):
            return word == "true"
        return int(word) if INTEGER.fullmatch(word) else word

    def match(self, pattern: re.Pattern[str], what: str) -> str:
        self.space()
        found = pattern.match(self.text, self.at)
        if found is None:
            self.fail(what)
        self.at = found.end()
        return found.group()

    def take(self, token: str) -> bool:
        self.space()
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def fail(self, what: str) -> NoReturn:
        raise ValueError(f"caps {self.text!r}: expected {what} at character {self.at + 1}")
