"""Plays a graph over one recording and says what became of it: in this process, or on a worker of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tolmach.pipelines.bus import Bus, ErrorMessage, Message
from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.records import Notes, Record, RecordStatus, describe_message
from tolmach.pipelines.errors import GraphError, ModelError, TolmachError
from tolmach.pipelines.graph import Graph, PadRef
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult
from tolmach.pipelines.runtime.taps import Probe

__all__ = ["GraphRun", "Played", "Player", "Run"]


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one recording.

    Attributes:
        record: Its record, finished.
        result: How the graph ended; None when it could not begin.
    """

    record: Record
    result: RunResult | None


class Run(Protocol):
    """One recording's graph, which plays somewhere."""

    def cancel(self) -> None:
        """Stop now. Safe to call before it runs, more than once, and from a signal handler of the loop."""

    async def run(self) -> Played:
        """Play to the end.

        Raises:
            GraphError: If a setting turns out to be wrong, which would fail every recording alike.
            ModelError: If a model that it needs is missing or cannot be used, likewise.
        """


class Player(Protocol):
    """Where the graphs of a batch play, if not in its own process."""

    def begin(self, job: Job, graph: Graph, record: Record, *, overwrite: bool, tell: Callable[[Message], None]) -> Run:
        """A run of ``graph``; whoever wants to follow it is told of positions, notices and loading models."""


class GraphRun:
    """A recording's graph, played in this process.

    Args:
        graph: The checked graph.
        record: The record, begun.
        bus: What is posted on; subscribe before :meth:`run`.
        overwrite: Whether sinks may replace files.
        trace: Whether to collect per-element figures.
        resources: What elements find by name.
        probes: What is given the frames at which pads.
    """

    def __init__(
        self,
        graph: Graph,
        record: Record,
        *,
        bus: Bus,
        overwrite: bool,
        trace: bool = False,
        resources: Mapping[str, object] | None = None,
        probes: Mapping[PadRef, Probe] | None = None,
    ) -> None:
        self._graph, self._record = graph, record
        self._notes = Notes()
        bus.subscribe(self._notes.take)
        self._runner = GraphRunner(graph, bus=bus, overwrite=overwrite, trace=trace, resources=resources, probes=probes)

    def cancel(self) -> None:
        """See :class:`Run`."""
        self._runner.cancel()

    async def run(self) -> Played:
        """See :class:`Run`. Cancelled by: :meth:`cancel`."""
        started = time.perf_counter()
        try:
            result = await self._runner.run()
        except (GraphError, ModelError):
            raise
        except TolmachError as error:
            wall_s = time.perf_counter() - started
            return Played(self._notes.record(self._record, "failed", wall_s, (str(error),)), None)
        if isinstance(result.error, ModelError):
            raise result.error
        status: RecordStatus = "done" if result.ok else "cancelled" if result.status == "cancelled" else "failed"
        errors = tuple(describe_message(m) for m in result.errors)
        if result.error is not None and not errors:
            errors = (str(result.error),)
        about = all(_about_recording(self._graph, message) for message in result.errors)
        settled = status == "failed" and result.status == "done" and about
        return Played(self._notes.record(self._record, status, result.playing_s, errors, settled=settled), result)


def _about_recording(graph: Graph, message: ErrorMessage) -> bool:
    """Whether an error is a source's word on what it reads, and no failure of an element."""
    node = graph.nodes.get(message.element)
    return node is not None and node.is_source and not message.fatal and message.policy is None
