"""What stands between a graph's frames and those of the processor in an element ``pipecat``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tolmach.pipelines.element import Context
from tolmach.pipelines.frames import Frame
from tolmach.pipelines.runtime.pipecat.spec import PipecatSettings
from tolmach.pipelines.runtime.pipecat_api import PipecatFrame

__all__ = ["Bridge", "Feed"]

Feed: TypeAlias = Callable[[PipecatFrame], Awaitable[None]]
"""Gives the processor a frame and returns when it has processed it; raises what it raises."""


class Bridge(ABC):
    """Maps frames both ways.

    Args:
        context: The element's.
        feed: Gives the processor a frame.
        settings: The element's.
    """

    def __init__(self, context: Context, feed: Feed, settings: PipecatSettings) -> None:
        self.context = context
        self.feed = feed
        self.settings = settings

    @abstractmethod
    async def take(self, frame: Frame) -> None:
        """A frame of the graph, for the processor."""

    @abstractmethod
    async def give(self, frame: PipecatFrame) -> None:
        """A frame of the processor, for the graph."""

    async def settle(self) -> None:
        """The stream has ended, and the processor has not: wait for what comes by itself."""
        return

    @abstractmethod
    async def finish(self) -> None:
        """The processor has ended: close what is open."""

    @abstractmethod
    async def lose(self) -> None:
        """The processor has reported an error from which it may recover: what it had in hand is lost."""

    @abstractmethod
    def reset(self, utterance: int | None) -> None:
        """Forget an utterance (None: all)."""

    @property
    def held_ns(self) -> int | None:
        """The earliest media time that may still be pushed, ns; None when nothing is held."""
        return None

    @property
    def mid_utterance(self) -> bool:
        """Whether somebody is heard to speak whose end has not been heard."""
        return False
