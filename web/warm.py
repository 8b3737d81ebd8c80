"""Loads the models of a graph before anybody calls, and says how far that is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pipelines.bus import Bus, Message
from pipelines.errors import TolmachError
from pipelines.runtime.runner import GraphRunner
from transports.webrtc.line import Line
from transports.webrtc.sessions import SESSIONS
from web.errors import without_paths
from web.library import GraphLibrary
from web.pool import SessionPool

__all__ = ["Warmer"]

log = logging.getLogger(__name__)


class Warmer:
    """Runs each graph once on a line without a client: its elements start, and end at once; models stay loaded.

    Args:
        library: Has the graphs.
        on_loaded: Takes the name of each that could be loaded.

    Attributes:
        loading: What is being loaded, for people.
        failed: What could not be loaded, and why.
        done: Set when everything was tried.
    """

    def __init__(self, library: GraphLibrary, on_loaded: Callable[[str], None]) -> None:
        self.loading: list[str] = []
        self.failed: list[str] = []
        self.done = asyncio.Event()
        self._library = library
        self._on_loaded = on_loaded

    async def run(self, graphs: list[str]) -> None:
        """Warm these graphs, by name. Cancelled by: the server's end."""
        for name in graphs:
            self.loading = [f"graph {name}"]
            try:
                await self._warm(name)
            except TolmachError as error:
                self.failed.append(without_paths(f"{name}: {error}"))
                log.warning("graph %s cannot be used yet: %s", name, error)
            except Exception:
                self.failed.append(f"{name}: something went wrong; the log says what")
                log.exception("graph %s could not be warmed", name)
        self.loading = []
        self.done.set()

    @property
    def ready(self) -> bool:
        """Whether everything is loaded."""
        return self.done.is_set() and not self.failed

    async def _warm(self, name: str) -> None:
        session = SessionPool.new_id()
        graph = await self._library.load(name, {}, {}, session)
        line = Line()
        SESSIONS.add(session, line)
        bus = Bus()
        bus.subscribe(self._note)
        runner = GraphRunner(graph, bus=bus)
        runner.finish()
        try:
            result = await runner.run()
        finally:
            SESSIONS.remove(session)
            await line.close()
        if result.error is not None:
            raise result.error
        self._on_loaded(name)

    def _note(self, message: Message) -> None:
        if message.kind in ("info", "progress") and message.text:
            self.loading = [message.text]
