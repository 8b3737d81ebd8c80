"""Runs one graph once and keeps nothing of it but what its sinks write: no folder, no ``run.json``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tolmach.pipelines.bus import Bus, InfoMessage, LoadingMessage, Message, PositionMessage
from tolmach.pipelines.cli.batch.batch import Watcher
from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.records import Notes, Record, RecordStatus, describe_message
from tolmach.pipelines.element import output_paths
from tolmach.pipelines.errors import GraphError, ModelError, TolmachError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult
from tolmach.pipelines.stdio import STDIO, STDOUT

__all__ = ["Once"]


class Once:
    """One run of a graph, told to a watcher as a batch tells its own.

    Args:
        graph: The checked graph.
        watcher: Follows it.
        overwrite: Whether sinks may replace files.
        trace: Whether to collect per-element figures.
        resources: What its elements find by name.

    Attributes:
        result: How it ended; None when it could not begin.
        unread: Whether it ended because nobody reads what it writes to standard output.
    """

    def __init__(
        self,
        graph: Graph,
        watcher: Watcher,
        *,
        overwrite: bool,
        trace: bool = False,
        resources: Mapping[str, object] | None = None,
    ) -> None:
        self.result: RunResult | None = None
        self.unread = False
        self._writes_stdout = STDOUT in (resources or {})
        self._graph, self._watcher = graph, watcher
        self._job = Job("", None, Path())
        self._notes = Notes()
        bus = Bus()
        bus.subscribe(self._notes.take)
        bus.subscribe(self._report)
        self._runner = GraphRunner(graph, bus=bus, overwrite=overwrite, trace=trace, resources=resources)

    def cancel(self) -> None:
        """Stop now. Safe to call from a signal handler of the loop."""
        self._runner.cancel()

    async def run(self) -> Record:
        """Run the graph.

        Returns:
            What became of it; failures are in it.

        Raises:
            GraphError: If a setting turns out to be wrong.
            ModelError: If a model that it needs is missing or cannot be used.
        """
        started = time.perf_counter()
        self._watcher.started(self._job)
        try:
            result = self.result = await self._runner.run()
        except (GraphError, ModelError):
            raise
        except TolmachError as error:
            return self._ended("failed", time.perf_counter() - started, (str(error),))
        if isinstance(result.error, ModelError):
            raise result.error
        self.unread = self._writes_stdout and _is_broken_pipe(result.error)
        if self.unread:
            return self._ended("cancelled", result.playing_s, ())
        status: RecordStatus = "done" if result.ok else "cancelled" if result.status == "cancelled" else "failed"
        errors = tuple(describe_message(message) for message in result.errors)
        if result.error is not None and not errors:
            errors = (str(result.error),)
        return self._ended(status, result.playing_s, errors)

    def _ended(self, status: RecordStatus, wall_s: float, errors: tuple[str, ...]) -> Record:
        begun = Record(name="", input=None, output="", status="running", fingerprint="")
        paths = (path for node in self._graph.nodes.values() for path in output_paths(node.settings).values())
        outputs = tuple(path for path in paths if path != STDIO and Path(path).expanduser().is_file())
        record = self._notes.record(begun, status, wall_s, errors, outputs=outputs if status == "done" else ())
        self._watcher.finished(self._job, record)
        return record

    def _report(self, message: Message) -> None:
        if isinstance(message, PositionMessage):
            self._watcher.progress(self._job, message.position_ns, message.duration_ns)
        elif isinstance(message, InfoMessage | LoadingMessage):
            self._watcher.info(self._job, message.text)


def _is_broken_pipe(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, BrokenPipeError):
        error = error.__cause__
    return error is not None
