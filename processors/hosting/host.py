"""What a model and its host promise each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
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

    def warm(self, items: Sequence[ItemIn] = ()) -> None:
        """Run once, so that the first real request is not the slow one.

        Args:
            items: Requests like those to come; empty for nothing in particular. A model that may answer them with
                nothing at all does a handful of steps nevertheless.
        """

    def run(self, items: Sequence[ItemIn]) -> Sequence[ResultOut] | Generator[None, None, Sequence[ResultOut]]:
        """One result an item, in order. An exception fails the whole batch; the host then tries the items singly.

        A model whose requests take long is a generator: each ``yield`` ends a step, after which another caller's
        request may have its own, and the results are returned. No step may depend on what happens between steps.
        """


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
        """Whether the model could not be loaded; such a host is of no use."""

    @abstractmethod
    async def loaded(self, on_progress: Callable[[str], None] | None = None) -> None:
        """Wait until the model is loaded, starting to load it if nobody did.

        Args:
            on_progress: Takes lines of progress, for people, on the host's thread.

        Cancelled by: the caller; loading goes on for those who also wait. Raises what loading raised.
        """

    @abstractmethod
    async def warm(self, items: Sequence[Item] = (), *, once: Hashable = None) -> None:
        """Run the model, so that the first real request is not the slow one.

        Args:
            items: Requests like those to come (:meth:`Model.warm`).
            once: What is warmed by it ("en to ru"): done once for each, whoever asks; all who ask wait for it.

        Cancelled by: the caller; it goes on. Raises what the model raised.
        """

    @abstractmethod
    async def submit(
        self, items: Sequence[Item], *, merge: bool = False, owner: Hashable = None
    ) -> list[Outcome[Result]]:
        """Run items as one batch (in pieces of the host's largest batch, always cut at the same places).

        An owner's requests are served first come, first served, one at a time; owners take turns, a step each
        (:meth:`Model.run`). Before its own first step an owner waits for one step of every other owner at most.

        Args:
            items: What to run. Must not change until this returns.
            owner: Who asks.
            merge: Allow requests that wait at the same time to share a batch. Faster on a GPU, but the last digits of
                the results then depend on timing.

        Returns:
            One outcome an item, in order: a request never fails because of another one, nor an item because of its
            neighbours.

        Cancelled by: the caller. A request that still waits is taken out; one that runs ends with its step.
        """

    @abstractmethod
    def close(self) -> None:
        """Refuse new requests, cancel those that wait, and free the model after the one that runs. Does not block."""
