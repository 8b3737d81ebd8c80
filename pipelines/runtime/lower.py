"""Lowering: a checked graph becomes pipecat frame processors. The first place that imports pipecat.

Each element is wrapped in an :class:`~tolmach.pipelines.runtime.processor.ElementProcessor`; a :class:`GraphPipeline`
holds them all and stands where pipecat expects one pipeline. A push is a call (through pipecat's direct mode where its
observers look on, else straight to the next element), so a chain of elements is one task and back-pressure is simply a
push that has not returned yet. Only ``queue`` puts a task boundary (and room) between its two sides, as in GStreamer.
That is why nothing in a graph can grow without bound, although pipecat's own queues can.

End of stream travels along the links (a tee needs it on every branch, a funnel waits for all of them). pipecat's
``EndFrame`` marks only the outer edge: it asks the sources to finish, and leaves the pipeline when every sink has.
Cancel does not travel at all: it stops the tasks, so it overtakes whatever is queued or being computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tolmach.pipelines.bus import Bus, EosMessage, LatencyMessage
from tolmach.pipelines.element import Element, SourceElement
from tolmach.pipelines.errors import Cancelled, GraphError, ModelMissingError, TolmachError
from tolmach.pipelines.graph import Graph, PadRef
from tolmach.pipelines.models.caches import missing_besides
from tolmach.pipelines.runtime.pipecat_api import (
    BasePipeline,
    CancelFrame,
    EndFrame,
    FrameDirection,
    FrameProcessor,
    FrameProcessorSetup,
    PipecatFrame,
    StartFrame,
)
from tolmach.pipelines.runtime.processor import ElementProcessor
from tolmach.pipelines.runtime.taps import Probe, taps_of
from tolmach.pipelines.runtime.tracing import Tracer

MAX_CHAIN = 100
"""Elements in a row without a queue. A push is a call: three Python frames an element, with observers seven, and
Python's stack has 1000."""


def longest_chain(graph: Graph) -> tuple[int, str]:
    """Most elements that one task runs through, and the last of them."""
    depth: dict[str, int] = {}
    for name in graph.order:
        before = max((depth[link.src.node] for link in graph.links_to(name)), default=0)
        depth[name] = 1 if graph.nodes[name].spec.type == "queue" else before + 1
    last = max(depth, key=lambda name: depth[name], default="")
    return depth.get(last, 0), last


def sources_of(graph: Graph) -> dict[str, dict[str, frozenset[str]]]:
    """For each element the names of the sources that feed each of its sink pads."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    for name in graph.order:
        found[name] = {
            link.sink.pad: frozenset().union(*found[link.src.node].values()) or frozenset({link.src.node})
            for link in graph.links_to(name)
        }
    return found


class GraphPipeline(BasePipeline):
    """A whole graph, as pipecat sees it: one processor that takes StartFrame and gives EndFrame.

    Args:
        graph: The checked graph.
        bus: Where elements post.
        base_dir: Folder that relative paths in settings start from.
        overwrite: Whether sinks may replace existing files.
        tracer: Collects per-element figures; None measures nothing.
        observed: Whether pipecat observers want to see every media frame (costs about a third of the speed).
        resources: What elements find by name.
        probes: What is given the frames that leave a src pad.

    Raises:
        GraphError: If a chain without a queue is too long for one task.
    """

    def __init__(
        self,
        graph: Graph,
        bus: Bus,
        *,
        base_dir: Path,
        overwrite: bool = True,
        tracer: Tracer | None = None,
        observed: bool = False,
        resources: Mapping[str, object] | None = None,
        probes: Mapping[PadRef, Probe] | None = None,
    ) -> None:
        super().__init__(name=graph.name, enable_direct_mode=True)  # type: ignore[no-untyped-call]
        self.graph = graph
        self._base_dir = base_dir
        self.bus = bus
        self.observed = observed
        self.error: TolmachError | None = None
        self.cancelled = False
        self.finishing = False
        chain, last = longest_chain(graph)
        if chain > MAX_CHAIN:
            raise GraphError(f"{chain} elements in a row end in {last!r}; put a queue in between (at most {MAX_CHAIN})")
        sources = sources_of(graph)
        self._elements = {
            name: ElementProcessor(graph.nodes[name], graph, self, base_dir, overwrite, sources[name], resources or {})
            for name in graph.order
        }
        for link in graph.links:
            self._elements[link.src.node].connect(link.src.pad, self._elements[link.sink.node], link.sink.pad)
        for pad, tap in taps_of(graph).items():
            self._elements[pad.node].listen(pad.pad, tap)
        for pad, probe in (probes or {}).items():
            self._elements[pad.node].probe(pad.pad, probe)
        for name in reversed(graph.order):
            self._elements[name].tell_progress()
        if tracer is not None:
            for name, processor in self._elements.items():
                processor.stats = tracer.element(name)
        self._pending_sinks = {name for name, p in self._elements.items() if p.node.is_sink}
        self._sources: list[asyncio.Task[None]] = []
        self._drained = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.on_drained: Callable[[], None] | None = None

    @property
    def processors(self) -> Sequence[FrameProcessor]:  # type: ignore[override]
        """The element processors, in topological order."""
        return list(self._elements.values())

    def element(self, name: str) -> Element:
        """The running element called ``name``. Raises KeyError."""
        return self._elements[name].element

    @property
    def latency_ns(self) -> int:
        """Media time that the slowest path from a source to a sink holds back, ns, as far as its elements know yet."""
        behind: dict[str, int] = {}
        for name in self.graph.order:
            before = max((behind[link.src.node] for link in self.graph.links_to(name)), default=0)
            behind[name] = before + self._elements[name].element.latency_ns
        return max(behind.values(), default=0)

    def at_rest(self) -> bool:
        """Whether no element is in the middle of an utterance."""
        return not any(processor.element.mid_utterance for processor in self._elements.values())

    @property
    def ended(self) -> bool:
        """Whether the run is over: finished, failed or cancelled."""
        return self._drained.is_set()

    @property
    def failure(self) -> TolmachError | None:
        """What the graph ends with, if not well: what failed it, or that it was cancelled."""
        if self.error is None and self.cancelled:
            return Cancelled(f"the graph {self.graph.name!r} was cancelled")
        return self.error

    # Life ---------------------------------------------------------------------------------------------------------

    async def start_elements(self, *, warm: bool = False) -> None:
        """Start every element, sinks first, so that nothing is pushed to one that is not ready.

        Args:
            warm: Whether each also runs once (:meth:`Element.warm`).

        Raises:
            TolmachError: What the first element that cannot start says; those already started are stopped again.
        """
        for name in reversed(self.graph.order):
            processor = self._elements[name]
            try:
                await processor.element.start()
                if warm:
                    await processor.element.warm()
            except Exception as error:
                await self.stop_elements()
                failure = processor.cannot_start(await self._with_all_missing(error, name))
                if failure is error:
                    raise
                raise failure from error
            except BaseException:
                await self.stop_elements()
                raise
            if self.ended:  # a task of an element failed already: why load the rest
                return

    async def _with_all_missing(self, error: Exception, name: str) -> Exception:
        """Nobody is to fetch gigabytes only to hear what else is missing."""
        if isinstance(error, ModelMissingError):
            besides = await asyncio.to_thread(missing_besides, self.graph, name, self._base_dir)
            if besides:
                return ModelMissingError(f"{error}\n{besides}")
        return error

    async def stop_elements(self) -> None:
        """Stop everything: sources first, so that nobody pushes to a stopped element."""
        for task in self._sources:
            task.cancel()
        await asyncio.gather(*self._sources, return_exceptions=True)
        for name in self.graph.order:
            await self._elements[name].halt()

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as pipecat's own do
        """Set up all processors (pipecat's own lifecycle; models load in :meth:`start_elements`)."""
        await super().setup(setup)
        self._setup_finished()  # type: ignore[no-untyped-call]
        await self._setup_processors(self.processors, setup)

    async def cleanup(self) -> None:
        """Clean up all processors."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._cleanup_processors(self.processors)

    async def process_frame(self, frame: PipecatFrame, direction: FrameDirection) -> None:
        """StartFrame starts the sources, EndFrame ends them gracefully, CancelFrame at once; all pass through."""
        await super().process_frame(frame, direction)
        if direction is FrameDirection.UPSTREAM:
            await self.push_frame(frame, direction)
            return
        if isinstance(frame, StartFrame):
            for processor in self._elements.values():
                await processor.queue_frame(frame)
            for processor in self._elements.values():
                if processor.node.is_source:
                    name = f"{processor.node.name}:produce"
                    self._sources.append(asyncio.create_task(processor.run_source(), name=name))
        elif isinstance(frame, EndFrame):
            self.finish()
            # Waiting here would block pipecat's push queue, and a cancel behind it.
            self._ending = asyncio.create_task(self._end_when_drained(frame), name="end-when-drained")
            return
        elif isinstance(frame, CancelFrame):
            self.cancel()
        await self.push_frame(frame, direction)

    async def _end_when_drained(self, frame: EndFrame) -> None:
        await self._drained.wait()
        await self.push_frame(frame)

    def change(self, graph: Graph) -> None:
        """Let the elements take the settings of a graph that is ours but for them: all of them, or none.

        Raises:
            TolmachError: What an element says that cannot.
        """
        taken: list[tuple[Element, object]] = []
        try:
            for name, node in graph.nodes.items():
                element = self._elements[name].element
                if node.settings is not self.graph.nodes[name].settings:
                    taken.append((element, element.settings))
                    element.change_settings(node.settings)
        except BaseException:
            taken.pop()  # which has changed nothing
            for element, settings in reversed(taken):
                element.change_settings(settings)
            raise
        self.graph = graph

    # End ----------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Ask all sources to end; what is under way is finished and written. A source not begun never will be."""
        self.finishing = True
        for processor in self._elements.values():
            if isinstance(processor.element, SourceElement):
                processor.element.finish()

    def cancel(self) -> None:
        """Stop all tasks now, overtaking everything that is queued."""
        if not self._drained.is_set():
            self.cancelled = True
        self._end()

    def fail(self, error: TolmachError) -> None:
        """The graph cannot go on; the first error is the one reported."""
        if self.error is None and not self.cancelled:
            self.error = error
        self._end()

    def sink_finished(self, name: str) -> None:
        """A sink has written everything; the last one ends the run."""
        self._pending_sinks.discard(name)
        if not self._pending_sinks and not self._drained.is_set():
            self.post_latency()
            self.bus.post(EosMessage(graph=self.graph.name))
            self._end()

    def post_latency(self) -> None:
        """Say what the graph holds back: when it begins, and at its end, when every element knows."""
        self.bus.post(LatencyMessage(self.latency_ns, graph=self.graph.name))

    def _end(self) -> None:
        if self._pending_sinks:  # not a natural end
            for processor in self._elements.values():
                processor.kill()
            for task in self._sources:
                task.cancel()
        if not self._drained.is_set():
            self._drained.set()
            if self.on_drained is not None:
                self.on_drained()
