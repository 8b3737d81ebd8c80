"""The graphs a server offers: read from a folder, watched, and never taken away by a typing mistake.

The last good text of each file stands until a better one is saved. Files are read and checked in a thread, one scan at
a time; what the event loop sees are finished values.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from watchfiles import awatch

from tolmach.pipelines.describe.svg import to_svg
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.diagnostics import did_you_mean
from tolmach.web.catalogue.graph import MAX_FILES, SINK, SRC, GraphFile, LiveGraph, named, read_files
from tolmach.web.errors import ApiError

__all__ = ["GraphCatalogue"]

log = logging.getLogger(__name__)

DEBOUNCE_MS = 200
"""An editor that saves writes more than once."""
RESCAN_MS = 5000
"""How often to look without having been told: a folder that was replaced has lost its watch."""


class GraphCatalogue:
    """The live graphs of one file or folder.

    Args:
        graphs: A graph file, or a folder of ``*.yaml`` and ``*.yml``.
        default: Name of the graph a page begins with; None for the first that a session can have.
        trust_params: Whether clients may give every param, see :class:`tolmach.web.settings.ServerSettings`.
        rooms: Whether there are rooms: graphs for several people are not offered where nobody can open one.
    """

    def __init__(
        self, graphs: Path, *, default: str | None = None, trust_params: bool = False, rooms: bool = True
    ) -> None:
        self._path = graphs
        self._default = default
        self._trust_params = trust_params
        self._rooms = rooms
        self._files: Mapping[Path, GraphFile] = {}
        self._live: dict[str, LiveGraph] = {}
        self._json: dict[str, Any] = {}
        self._revision = 0
        self._changed = asyncio.Event()
        self._scanning = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read everything, then watch.

        Raises:
            GraphError: If the files cannot be read, no graph can be used, or there is no graph ``default``.
        """
        if self._watching is not None:
            return
        # The watch begins first: what is saved during the first scan is found by the second.
        self._watching = asyncio.create_task(self._watch(), name="graph-catalogue")
        await asyncio.sleep(0)
        try:
            await self._scan()
            self._require_usable()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop watching; safe twice and without start."""
        task, self._watching = self._watching, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    @property
    def revision(self) -> int:
        """Grows when any file changed."""
        return self._revision

    @property
    def default(self) -> str | None:
        """Name of the graph a page begins with; None while none can be used."""
        if self._default in self._live:
            return self._default
        usable = [live for live in self.graphs() if live.ok]
        return next((live.name for live in sorted(usable, key=lambda live: live.for_room)), None)

    async def wait_changed(self, revision: int) -> int:
        """Wait until :attr:`revision` is another one than ``revision``; returns it."""
        while self._revision == revision:
            await self._changed.wait()
        return self._revision

    def graphs(self) -> list[LiveGraph]:
        """All live graphs, by name."""
        return [self._live[name] for name in sorted(self._live)]

    def find(self, name: str) -> LiveGraph:
        """One live graph.

        Raises:
            ApiError: 404 if there is none of that name.
        """
        try:
            return self._live[name]
        except KeyError:
            close = did_you_mean(name, self._live)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ApiError(404, "not-found", f"there is no graph {name[:80]!r}{hint}") from None

    def as_json(self) -> dict[str, Any]:
        """The answer to ``GET /api/graphs``, see docs/LIVE.md. Looks for models on disk: for a thread."""
        return {
            "default": self.default,
            "revision": self._revision,
            "graphs": [
                {**self._json[live.name], **live.missing_json()}
                for live in self.graphs()
                if self._rooms or not live.for_room
            ],
        }

    async def load(self, name: str, params: Mapping[str, Any], settings: Mapping[str, Any]) -> Graph:
        """The graph for one session.

        Args:
            name: Name of the graph.
            params: Values of its params, from the client.
            settings: Values of its live settings by ``element.setting``, from the client.

        Raises:
            ApiError: 404 if there is no such graph.
            GraphError: If a param or setting may not be given or is wrong, or the graph has never been right.
        """
        live, trust = self.find(name), self._trust_params
        return await asyncio.to_thread(live.for_session, params, settings, trust_params=trust)

    async def drawing(self, name: str, params: Mapping[str, Any] | None = None) -> str:
        """The graph as an SVG document. Raises as :meth:`load`."""
        live, trust = self.find(name), self._trust_params
        return await asyncio.to_thread(lambda: to_svg(live.for_drawing(params or {}, trust_params=trust)))

    def _require_usable(self) -> None:
        if self._default is not None and self._default not in self._live:
            close = did_you_mean(self._default, self._live)
            hint = f"did you mean {close!r}?" if close else f"there is {', '.join(sorted(self._live)) or 'none'}"
            raise GraphError(f"no live graph is named {self._default!r}; {hint}")
        if any(live.ok for live in self._live.values()):
            return
        # The first that wants to be live and is not says more than a count of files.
        broken = next(iter(self.graphs()), None)
        if broken is not None:
            raise GraphError(broken.diagnostics_text.rstrip(), broken.diagnostics)
        for file in self._files.values():
            if not file.result.ok and not self._path.is_dir():
                raise GraphError(file.result.format_text().rstrip(), file.result.diagnostics)
        raise GraphError(f"{self._path}: no live graph here; one begins with {SRC} and ends with {SINK}")

    async def _watch(self) -> None:
        failed = ""
        polling: bool | None = None  # as the environment says, WATCHFILES_FORCE_POLLING
        while True:
            try:
                watched = self._watched()
                changes = awatch(
                    *watched,
                    watch_filter=None,  # a mounted ConfigMap changes by the name ..data alone
                    debounce=DEBOUNCE_MS,
                    rust_timeout=RESCAN_MS,
                    yield_on_timeout=True,
                    force_polling=polling,
                    recursive=False,
                )
                async with contextlib.aclosing(changes):
                    async for _ in changes:
                        await self._scan_again()
                        if self._watched() != watched:
                            break
                if self._watched() != watched:
                    continue  # what graphs include lies elsewhere now
            except (OSError, RuntimeError) as error:  # no more inotify watches, or a file system without
                log.warning("cannot watch %s (%s); looking at it now and then instead", self._path, error)
                polling = True
            except Exception as error:  # such as a name that is no UTF-8: the next change is watched for all the same
                if str(error) != failed:
                    failed = str(error)
                    log.warning("watching %s was interrupted (%s)", self._path, _causes(error))
            await self._scan_again()
            await asyncio.sleep(RESCAN_MS / 1000)
            await self._scan_again()

    def _watched(self) -> set[Path]:
        # A file by itself is watched through its folder: editors put another file in its place.
        own = self._path
        folders = {own} if own.is_dir() else {own.absolute().parent, own.resolve().parent}
        included = {Path(path).parent for file in self._files.values() for path in file.result.included}
        return folders | {folder for folder in included if folder.is_dir()}

    async def _scan_again(self) -> None:
        try:
            await self._scan()
        except Exception:  # a folder that is locked, or a bug: nobody waits for this task, and it must go on
            log.exception("cannot read %s; the graphs known so far stand", self._path)

    async def _scan(self) -> None:
        async with self._scanning:
            files = await asyncio.to_thread(read_files, self._path, self._files, self._trust_params)
            if files == self._files:
                return
            by_name = named(files)
            live = {name: replace(file.live, name=name) for name, file in by_name.items() if file.live}
            if len(files) >= MAX_FILES:
                log.warning("%s: at most %d graph files are read", self._path, MAX_FILES)
            self._log_changes(live)
            self._files, self._live = files, live
            self._json = {name: {**file.shown, "name": name} for name, file in by_name.items()}
            self._revision += 1
            self._changed.set()
            self._changed = asyncio.Event()

    def _log_changes(self, now: Mapping[str, LiveGraph]) -> None:
        for name, live in now.items():
            if live == self._live.get(name):
                continue
            if live.ok and not live.stale:
                lacks = live.missing_json()["missing_text"]
                log.log(logging.WARNING if lacks else logging.INFO, "graph %s %s", name, lacks or "is ready")
            else:
                stands = "; the last good one stands" if live.stale else ""
                log.warning("graph %s cannot be used%s\n%s", name, stands, live.diagnostics_text.rstrip())
        for name in self._live.keys() - now.keys():
            log.info("graph %s is gone", name)


def _causes(error: BaseException) -> str:
    """What went wrong, without the group that a task group makes of it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_causes(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"
