"""Who hears a live graph, as far as those who speak to them need to know: when sound written now will be heard."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Listener"]


class Listener(ABC):
    """A live listener; what a runner hands its elements (:attr:`tolmach.pipelines.element.Context.resources`) is one.

    A graph that plays to nobody in particular (a file, a program) has none; media time alone then says how far its
    voice is behind.
    """

    @abstractmethod
    def now_ns(self) -> int:
        """Media time at this moment on the clock that the graph's source stamps with, ns; 0 before it begins."""

    @abstractmethod
    def waiting_ns(self) -> int:
        """How much speech was written and waits to be heard, ns."""
