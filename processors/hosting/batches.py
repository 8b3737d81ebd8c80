"""Requests to a model, and batches of them that have begun; for :class:`tolmach.processors.hosting.host.ThreadHost`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Generic, TypeAlias, TypeVar

__all__ = ["MAX_PADDING", "BegunBatch", "HostRequest", "Outcome", "joinable"]

Item = TypeVar("Item")
Result = TypeVar("Result")

Outcome: TypeAlias = Result | Exception
"""What became of one item: its result, or why it has none."""

MAX_PADDING = 2.0
"""How many times longer than another one a request of its batch may be. A batch is computed at the length of its
longest item, so this is how many times its own cost a short request may cost those who wait."""


class HostRequest(Generic[Item, Result]):
    """Items that one caller wants run as one batch.

    Args:
        items: What to run.
        merge: Whether requests of others may be in its batch.
        owner: Who asks.
        size: How long the longest item is, in whatever unit.
        spent: Called once, when the host is done with it, with the seconds that it has cost.

    Attributes:
        began_s: When its first step began, on the monotonic clock; None before.
    """

    __slots__ = ("abandoned", "began_s", "came_s", "future", "items", "merge", "owner", "size", "spent", "spent_s")

    def __init__(
        self,
        items: Sequence[Item],
        merge: bool,
        owner: Hashable,
        size: float,
        spent: Callable[[float], None] | None,
    ) -> None:
        self.items = tuple(items)
        self.merge = merge
        self.owner = owner
        self.size = size
        self.spent = spent
        self.spent_s = 0.0
        self.came_s = time.monotonic()
        self.began_s: float | None = None
        self.abandoned = False
        self.future: Future[list[Outcome[Result]]] = Future()

    def fits(self, other: HostRequest[Item, Result]) -> bool:
        """Whether the two may share a batch."""
        small, large = sorted((self.size, other.size))
        return self.merge and other.merge and large <= MAX_PADDING * small

    def leave(self) -> None:
        """The host is done with it, one way or the other."""
        if self.spent is not None:
            self.spent(self.spent_s)


def joinable(
    first: HostRequest[Item, Result], others: Iterable[HostRequest[Item, Result]], max_batch: int
) -> list[HostRequest[Item, Result]]:
    """``first``, and those of the others that its batch has room for, in their order."""
    batch, count = [first], len(first.items)
    for other in others:
        # With each of them: sizes of 1, 2 and 4 fit one after the other, and the first would be padded to four.
        if count + len(other.items) <= max_batch and all(other.fits(each) for each in batch):
            batch.append(other)
            count += len(other.items)
    return batch


class BegunBatch(Generic[Item, Result]):
    """Requests that are one batch and have begun.

    Args:
        requests: Whose items they are, in order.
        steps: Computes; each step gives what is final by then, by the index of the item in the batch.
    """

    __slots__ = ("_found", "_steps", "pending")

    def __init__(
        self,
        requests: Iterable[HostRequest[Item, Result]],
        steps: Generator[Mapping[int, Outcome[Result]], None, None],
    ) -> None:
        self._steps = steps
        self._found: dict[int, Outcome[Result]] = {}
        self.pending: dict[HostRequest[Item, Result], range] = {}  # requests without an answer, and their items
        at = 0
        for request in requests:
            self.pending[request] = range(at, at + len(request.items))
            at += len(request.items)

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for one of its answers."""
        return any(not request.abandoned for request in self.pending)

    def step(self) -> None:
        """Take a step; who shares the batch shares its time. No step is left when nothing is pending."""
        began_s = time.monotonic()
        self._found.update(next(self._steps))
        seconds = time.monotonic() - began_s
        items = sum(len(request.items) for request in self.pending)
        for request in self.pending:
            request.spent_s += seconds * len(request.items) / items

    def take_whole(self) -> dict[HostRequest[Item, Result], list[Outcome[Result]]]:
        """Take out the requests whose results are all there, with these."""
        found = self._found
        whole = [request for request, numbers in self.pending.items() if all(n in found for n in numbers)]
        return {request: [found.pop(n) for n in self.pending.pop(request)] for request in whole}

    def close(self) -> None:
        """Compute nothing more."""
        self._steps.close()
