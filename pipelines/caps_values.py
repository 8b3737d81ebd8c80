"""The values a caps field may have: a set of scalars or a range of integers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

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
