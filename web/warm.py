"""Loads and warms the models of a graph before anybody calls, and says how far that is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from tolmach.pipelines.bus import Bus, InfoMessage, LoadingMessage, Message
from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.transports.webrtc.session_line import RESOURCE, Line
from tolmach.web.catalogue.catalogue import GraphCatalogue
from tolmach.web.errors import ApiError, without_paths

__all__ = ["Warmer"]

log = logging.getLogger(__name__)

RETRY_S, MAX_RETRY_S = 30.0, 600.0
"""When what has failed is tried again; the time doubles. A model that was fetched meanwhile is found so also where no
session can begin, because an orchestrator sends nobody to a server that is not ready."""


class Warmer:
    """Runs each graph once on a line without a client: its elements start, each model answers once, and they end.

    Models stay loaded.

    Args:
        catalogue: Has the graphs.
        on_loaded: Takes the name of each that could be loaded.

    Attributes:
        loading: What is being loaded, for people.
        done: Set when everything was tried.
    """

    def __init__(self, catalogue: GraphCatalogue, on_loaded: Callable[[str], None]) -> None:
        self.loading: list[str] = []
        self._failed: dict[str, str] = {}  # by graph
        self.done = asyncio.Event()
        self._catalogue = catalogue
        self._on_loaded = on_loaded

    async def run(self, graphs: list[str]) -> None:
        """Warm these graphs, by name; those that fail are tried again later, and when a graph file has changed.

        Cancelled by: the server's end.
        """
        for name in graphs:
            await self._try(name)
        self.loading = []
        self.done.set()
        wait_s = RETRY_S
        while self._failed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._catalogue.wait_changed(self._catalogue.revision)
            wait_s = min(2 * wait_s, MAX_RETRY_S)
            for name in tuple(self._failed):
                await self._try(name)
            self.loading = []

    @property
    def ready(self) -> bool:
        """Whether everything is loaded."""
        return self.done.is_set() and not self._failed

    @property
    def failed(self) -> list[str]:
        """What could not be loaded, and why, in words for anybody: without paths of this machine."""
        return [without_paths(f"{name}: {reason}") for name, reason in self._failed.items()]

    def loaded(self, name: str) -> None:
        """A graph has started in a session: what it needs is there by now."""
        self._failed.pop(name, None)

    async def _try(self, name: str) -> None:
        self.loading = [f"graph {name}"]
        try:
            await self._warm(name)
        except ApiError:
            self._failed.pop(name, None)  # its file is gone
        except TolmachError as error:
            self._failed[name] = str(error)
            log.warning("graph %s cannot be used yet: %s", name, error)
        except Exception:
            self._failed[name] = "something went wrong; the log says what"
            log.exception("graph %s could not be warmed", name)
        else:
            self._failed.pop(name, None)

    async def _warm(self, name: str) -> None:
        graph = await self._catalogue.load(name, {}, {})
        line = Line()
        bus = Bus()
        bus.subscribe(self._note)
        runner = GraphRunner(graph, bus=bus, warm=True, resources={RESOURCE: line})
        runner.finish()
        try:
            result = await runner.run()
        finally:
            await line.close()
        if result.error is not None:
            raise result.error
        self._on_loaded(name)

    def _note(self, message: Message) -> None:
        if isinstance(message, InfoMessage | LoadingMessage):
            self.loading = [without_paths(message.text)]
