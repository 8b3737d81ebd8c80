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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipelines.caps_values import (
    FieldValue,
    IntRange,
    Scalar,
    format_value,
    intersect_values,
    is_fixed_value,
    normal,
    sort_key,
    value_is_subset,
)

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
        from pipelines.caps_text import parse

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
