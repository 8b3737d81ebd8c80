"""Keeps Python's garbage collector out of the calls.

A full collection looks at every object there is, and PyTorch and NeMo bring 700 000: it takes 0.6 s, in which no call
of the process hears anything. It also comes rarely, for it waits until a quarter as many new objects have gathered;
until then ended sessions, whose parts refer to each other, keep their memory, their codecs and the threads of these.

So once models are loaded, everything there is is declared permanent (``gc.freeze``), and a collection looks at what
sessions have made: 6 ms with four of them. Some time after a session has ended, one is made.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time

__all__ = ["Garbage"]

log = logging.getLogger(__name__)

SWEEP_S = 2.0
"""After the end of a session: its connection has closed by then, and sessions that end together are one sweep."""


class Garbage:
    """The collector of a server; used from its event loop."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._frozen = False

    def loaded(self, graph: str) -> None:
        """A graph runs; if it is the first of its name, its models have just been loaded and are here to stay."""
        if graph not in self._known:
            self._known.add(graph)
            began = time.perf_counter()
            gc.collect()
            gc.freeze()
            self._frozen = True
            log.debug("%d objects are permanent (%.2f s)", gc.get_freeze_count(), time.perf_counter() - began)

    def session_ended(self) -> None:
        """What it was made of may go."""
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._collect)

    def _collect(self) -> None:
        self._sweep = None
        if self._frozen:  # else it would take what it is meant to save
            gc.collect()

    def stop(self) -> None:
        """Give the collector back as it was. Safe twice."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._frozen:
            self._frozen = False
            gc.unfreeze()
