"""What a model and its host promise each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

Outcome: TypeAlias = Result | Exception
"""What became of one item: its result, or why it has none."""


class HostKey(NamedTuple):
    """Which model a host holds; graphs that ask for an equal key share it.

    Attributes:
        engine: Implementation ("canary", "whisper").
        model: What was loaded: an absolute path with what else identifies it, or a hub name.
        device: Where it runs, resolved ("cpu", "cuda:0").
        variant: What else makes it another model in memory ("int8", "2 threads").
    """

    engine: str
    model: str
    device: str
    variant: str = ""

    def __str__(self) -> str:
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.engine} {self.model} on {self.device}{variant}"


class Model(Protocol[ItemIn, ResultOut]):
    """A loaded model. All its methods are called from one thread, the host's."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What callers may want to know of it (languages, rate, …), plain values only."""

    def warm(self) -> None:
        """Run once on nothing in particular, so that the first real request is not the slow one."""

    def run(self, items: Sequence[ItemIn]) -> Sequence[ResultOut]:
        """One result an item, in order. An exception fails the whole batch; the host then tries the items singly."""


class ModelHost(ABC, Generic[Item, Result]):
    """Runs a model somewhere; safe to use from several event loops and threads."""

    key: HostKey

    @property
    @abstractmethod
    def info(self) -> Mapping[str, Any]:
        """What the model says of itself; empty until it is loaded."""

    @property
    @abstractmethod
    def failed(self) -> bool:
        """Whether loading has failed; such a host is of no more use."""

    @abstractmethod
    async def loaded(self) -> None:
        """Wait until the model is loaded, starting to load it if nobody did.

        Cancelled by: the caller; loading goes on for those who also wait. Raises what loading raised.
        """

    @abstractmethod
    async def warm(self) -> None:
        """Run the model once, so that the first real request is not the slow one."""

    @abstractmethod
    async def submit(self, items: Sequence[Item], *, merge: bool = False) -> list[Outcome[Result]]:
        """Run items as one batch (in pieces of the host's largest batch, always cut at the same places).

        Requests are served first come, first served.

        Args:
            items: What to run. Must not change until this returns.
            merge: Allow requests that wait at the same time to share a batch. Faster on a GPU, but the last digits of
                the results then depend on timing.

        Returns:
            One outcome an item, in order: a request never fails because of another one, nor an item because of its
            neighbours.

        Cancelled by: the caller. A request that still waits is taken out; one that runs is finished and thrown away.
        """

    @abstractmethod
    def close(self) -> None:
        """Refuse new requests, cancel those that wait, and free the model after the one that runs. Does not block."""
