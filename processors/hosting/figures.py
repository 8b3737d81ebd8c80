"""What model hosts count: requests that wait, how long they waited and how long their answers took. Plain values."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

__all__ = ["BOUNDS_S", "HostCounts", "HostFigures", "Times"]

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes that times are counted in, s: from a step of a small model to a sentence that a large one
translates on a CPU."""


@dataclass(frozen=True, slots=True)
class Times:
    """A histogram of times.

    Attributes:
        counts: How many were in each class of :data:`BOUNDS_S`, and above the last bound.
        sum_s: All of them together, s.
    """

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    sum_s: float = 0.0

    def with_time(self, seconds: float) -> Times:
        """The same with one time more."""
        at = bisect_left(BOUNDS_S, seconds)
        return Times((*self.counts[:at], self.counts[at] + 1, *self.counts[at + 1 :]), self.sum_s + seconds)

    def __add__(self, other: Times) -> Times:
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Times(counts, self.sum_s + other.sum_s)


@dataclass(frozen=True, slots=True)
class HostFigures:
    """One host's figures.

    Attributes:
        model: Which model, without the path it was loaded from ("canary phrasebook on cpu").
        waiting: Requests that wait for their first step now.
        under_way: Requests that have begun and are not answered now.
        dropped: Requests so far whose caller was gone before the answer.
        waits: Of all requests, from being asked to their first step.
        answers: Of all requests that were answered, from being asked to the answer.
        busy_s: Time that the model has computed for requests, s.
        lost: Requests so far whose process died with them, on hosts elsewhere; each is asked once more.
    """

    model: str
    waiting: int = 0
    under_way: int = 0
    dropped: int = 0
    waits: Times = field(default_factory=Times)
    answers: Times = field(default_factory=Times)
    busy_s: float = 0.0
    lost: int = 0

    def __add__(self, other: HostFigures) -> HostFigures:
        return HostFigures(
            self.model,
            self.waiting + other.waiting,
            self.under_way + other.under_way,
            self.dropped + other.dropped,
            self.waits + other.waits,
            self.answers + other.answers,
            self.busy_s + other.busy_s,
            self.lost + other.lost,
        )


@dataclass(slots=True)
class HostCounts:
    """What one host has counted so far; whoever changes it holds the host's lock."""

    dropped: int = 0
    waits: Times = field(default_factory=Times)
    answers: Times = field(default_factory=Times)
    busy_s: float = 0.0
    lost: int = 0

    def figures(self, model: str, waiting: int, under_way: int) -> HostFigures:
        """The figures with what is the case now."""
        return HostFigures(model, waiting, under_way, self.dropped, self.waits, self.answers, self.busy_s, self.lost)
