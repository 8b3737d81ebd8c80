"""Runs one graph from first frame to last on pipecat's worker and runner.

States, as in GStreamer: ``null`` → ``ready`` (elements started, models loaded) → ``playing`` → ``null``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tolmach.pipelines.bus import Bus, ErrorMessage, Message, PositionMessage, StateMessage, WarningMessage
from tolmach.pipelines.element import Element
from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.graph import Graph, PadRef
from tolmach.pipelines.language.builder import change_settings
from tolmach.pipelines.runtime.lower import GraphPipeline
from tolmach.pipelines.runtime.pipecat_api import BaseObserver, PipelineWorker, WorkerRunner
from tolmach.pipelines.runtime.taps import Probe
from tolmach.pipelines.runtime.tracing import Tracer
from tolmach.pipelines.runtime.verdict import Verdict

Status = Literal["done", "failed", "cancelled"]

MAX_MESSAGES = 1000
"""Errors and warnings a result keeps, each: an element that fails on every frame must not fill the memory."""

SETTLE_S = 1.0
"""Wall time that pipecat has to end by itself once the graph was cancelled, s; it needs some milliseconds."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        status: ``done`` (every sink finished), ``failed`` or ``cancelled``.
        error: What failed the graph, or None.
        errors: Error messages posted on the bus, those that did not stop the graph included; the first MAX_MESSAGES.
        warnings: Warning messages posted on the bus; the first MAX_MESSAGES.
        media_ns: Length of media the furthest source has read, ns.
        wall_s: Wall time from start (models included) to end, s.
        playing_s: Wall time while frames flowed, s.
        elements: Figures per element when traced; their ``share_s`` and ``waiting_s`` add up to ``playing_s``.
        waiting_s: Wall time in which no element was at work, s, when traced.
    """

    status: Status
    error: TolmachError | None
    errors: tuple[ErrorMessage, ...]
    warnings: tuple[WarningMessage, ...]
    media_ns: int
    wall_s: float
    playing_s: float
    elements: dict[str, dict[str, Any]] = field(default_factory=dict)
    waiting_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all media went through and no element reported an error."""
        return self.status == "done" and not self.errors


class GraphRunner:
    """One run of one graph; use it once.

    Args:
        graph: The checked graph.
        bus: Bus to post on; a new one by default. Subscribe before :meth:`run`.
        base_dir: Folder that relative paths in settings start from; the current folder by default.
        overwrite: Whether sinks may replace existing files.
        trace: Whether to collect per-element figures.
        observers: pipecat observers; giving any makes every media frame visible to them.
        warm: Whether to run each model once before the graph plays (:meth:`tolmach.pipelines.element.Element.warm`).
        resources: What elements of this run find by name (:meth:`tolmach.pipelines.element.Context.resource`): what an
            application has and a graph file cannot hold.
        probes: What is given every frame that leaves a src pad, by the pad; where the points lie that texts, utterances
            and voices pass: :func:`tolmach.pipelines.runtime.taps.points_of`.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        bus: Bus | None = None,
        base_dir: Path | None = None,
        overwrite: bool = True,
        trace: bool = False,
        observers: Sequence[BaseObserver] = (),
        warm: bool = False,
        resources: Mapping[str, object] | None = None,
        probes: Mapping[PadRef, Probe] | None = None,
    ) -> None:
        self.graph = graph
        self.bus = bus or Bus()
        self._observers = list(observers)
        self._warm = warm
        self._resources = dict(resources or {})
        self._probes = dict(probes or {})
        self._tracer = Tracer() if trace else None
        self._pipeline: GraphPipeline | None = None
        self._base_dir = base_dir or Path.cwd()
        self._overwrite = overwrite
        self._cancel_asked = False
        self._finish_asked = False
        self._run_task: asyncio.Task[Any] | None = None
        self._starting: asyncio.Task[None] | None = None

    async def run(self) -> RunResult:
        """Run to the end.

        Returns:
            The result; failures of elements are in it, not raised.

        Raises:
            TolmachError: If an element cannot start (missing file or model, unreadable recording).
            RuntimeError: If it has run before.

        Cancelled by: :meth:`cancel`, or cancelling the task, which first stops all elements.
        """
        if self._run_task is not None:
            raise RuntimeError("a GraphRunner runs once; make another one")
        task = self._run_task = asyncio.current_task()
        cancels = task.cancelling() if task is not None else 0
        started = time.perf_counter()
        errors: list[ErrorMessage] = []
        warnings: list[WarningMessage] = []
        position = [0]

        def note(message: Message) -> None:
            if isinstance(message, ErrorMessage) and len(errors) < MAX_MESSAGES:
                errors.append(message)
            elif isinstance(message, WarningMessage) and len(warnings) < MAX_MESSAGES:
                warnings.append(message)
            elif isinstance(message, PositionMessage):
                position[0] = max(position[0], message.position_ns)

        pipeline = GraphPipeline(
            self.graph,
            self.bus,
            base_dir=self._base_dir,
            overwrite=self._overwrite,
            tracer=self._tracer,
            observed=bool(self._observers),
            resources=self._resources,
            probes=self._probes,
        )
        self._pipeline = pipeline
        if self._finish_asked:
            pipeline.finish()
        unsubscribe = self.bus.subscribe(note)
        verdict = Verdict(self.graph)
        unsubscribe_verdict = self.bus.subscribe(verdict.take)
        playing = started
        try:
            if self._cancel_asked:
                pipeline.cancel()
            else:
                # A task of its own, so that cancel() ends the start-up and never the caller's task.
                self._starting = asyncio.create_task(pipeline.start_elements(warm=self._warm), name="start-elements")
                await self._starting
            playing = time.perf_counter()
            if self._tracer is not None:
                self._tracer.start()
            if not pipeline.ended:  # cancelled, or a task of an element failed while others started
                self._post_state("ready")
            if not pipeline.ended:  # a subscriber may have cancelled at the news
                await self._play(pipeline)
        except asyncio.CancelledError:
            # Our own cancel during start-up is a result, not an exception; somebody else's goes on.
            pipeline.cancel()
            if not self._cancel_asked or (task is not None and task.cancelling() > cancels):
                raise
        finally:
            ended = time.perf_counter()
            if self._tracer is not None:
                self._tracer.stop()
            await pipeline.stop_elements()
            if not pipeline.cancelled and pipeline.error is None and (why := verdict.text()):
                self.bus.post(WarningMessage(why, graph=self.graph.name))
            self._post_state("null")
            unsubscribe()
            unsubscribe_verdict()
        status: Status = "cancelled" if pipeline.cancelled else "failed" if pipeline.error else "done"
        return RunResult(
            status=status,
            error=pipeline.error,
            errors=tuple(errors),
            warnings=tuple(warnings),
            media_ns=position[0],
            wall_s=ended - started,
            playing_s=ended - playing,
            elements=self.figures(),
            waiting_s=self._tracer.waiting_s if self._tracer is not None else 0.0,
        )

    def element(self, name: str) -> Element:
        """The element called ``name`` of a running graph. Raises KeyError, or RuntimeError before :meth:`run`."""
        if self._pipeline is None:
            raise RuntimeError("the graph is not running")
        return self._pipeline.element(name)

    def set(self, values: Mapping[str, Any]) -> None:
        """Change settings that are declared :data:`~tolmach.pipelines.element.Live`, before or while the graph plays.

        Args:
            values: Values by ``element.setting``; those that only fit together are given together.

        Raises:
            GraphError: If a setting may not change or a value is not right, with a diagnostic for each.
            TolmachError: If an element cannot take it. Nothing has changed then, as above.
        """
        changed = change_settings(self.graph, values)
        if self._pipeline is not None:
            self._pipeline.change(changed)
        self.graph = changed

    def figures(self) -> dict[str, dict[str, Any]]:
        """Figures per element so far; empty unless traced."""
        return self._tracer.table() if self._tracer else {}

    def finish(self) -> None:
        """End gracefully: sources stop, everything under way is translated and written. Holds for a run to come too."""
        self._finish_asked = True
        if self._pipeline is not None:
            self._pipeline.finish()

    def cancel(self) -> None:
        """Stop now: unfinished outputs are thrown away. :meth:`run` returns with status ``cancelled``. Safe twice."""
        if self._cancel_asked:
            return
        self._cancel_asked = True
        if self._pipeline is not None:
            self._pipeline.cancel()
        if self._starting is not None:
            self._starting.cancel()

    async def _play(self, pipeline: GraphPipeline) -> None:
        # rtvi and turn tracking are for voice agents and halve the speed; idle time-outs and wall-clock limits have no
        # place in a run that is as long as its recording.
        worker = PipelineWorker(
            pipeline,
            enable_rtvi=False,
            enable_turn_tracking=False,
            idle_timeout_secs=None,
            check_dangling_tasks=False,
            observers=self._observers or None,
        )
        ending: set[asyncio.Task[None]] = set()

        def drained() -> None:
            # The graph has ended by itself (all sinks finished, failed or cancelled): pipecat may end too.
            ending.add(asyncio.create_task(worker.stop_when_done(), name="stop-when-done"))

        pipeline.on_drained = drained
        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False, check_dangling_tasks=False)
        await runner.add_workers(worker)
        self._post_state("playing")
        pipeline.post_latency()
        # A task of its own: WorkerRunner.run() swallows a cancel at one moment and leaks its worker at another. Here it
        # ends the graph, and pipecat with it.
        playing = asyncio.create_task(runner.run(), name="play")
        try:
            await asyncio.shield(playing)
        except asyncio.CancelledError:
            pipeline.cancel()
            await _settle(playing)
            raise
        finally:
            for task in ending:
                await _settle(task)

    def _post_state(self, state: Literal["ready", "playing", "null"]) -> None:
        self.bus.post(StateMessage(state, graph=self.graph.name))


async def _settle(task: asyncio.Task[Any]) -> None:
    """Wait for a task of pipecat's that has been told to end.

    Whoever cancels *all* tasks of a loop (``asyncio.run`` does when its main coroutine raises) also cancels those that
    carry pipecat's frames, and its worker then waits for a CancelFrame that can no longer arrive. Each further cancel
    ends one such wait.
    """
    while not task.done():
        await asyncio.wait({task}, timeout=SETTLE_S)
        task.cancel()
