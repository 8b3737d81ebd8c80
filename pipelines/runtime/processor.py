"""One element as a pipecat frame processor: pads routed, ends counted, failures met by policy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tolmach.pipelines.bus import Bus, ErrorMessage, Message, WarningMessage
from tolmach.pipelines.element import END_NS, Context, Element, SourceElement
from tolmach.pipelines.errors import ElementError, GraphError, MediaError, TolmachError
from tolmach.pipelines.frames import AudioFrame, Frame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.graph import Graph, Node
from tolmach.pipelines.registry import load_runtime
from tolmach.pipelines.runtime.pipecat_api import DataFrame, FrameDirection, FrameProcessor, PipecatFrame
from tolmach.pipelines.runtime.taps import Probe, Tap
from tolmach.pipelines.runtime.tracing import ElementStats

log = logging.getLogger(__name__)

MAX_RESTARTS = 5
"""Restarts of one element in one run; after that its failure fails the graph, or a broken model would loop for ever."""


YIELD_EVERY = 32
"""Pushes of a source between two visits to the event loop: a push is a call, so without them a source whose chain never
waits would starve everything else on the loop. A visit costs about 1 µs."""


class Host(Protocol):
    """What a processor needs from the pipeline that holds it."""

    bus: Bus
    observed: bool
    finishing: bool

    @property
    def failure(self) -> TolmachError | None:
        """What the graph ends with, if not well."""

    def fail(self, error: TolmachError) -> None:
        """The graph cannot go on."""

    def sink_finished(self, name: str) -> None:
        """A sink has reached its end."""

    def at_rest(self) -> bool:
        """Whether no element is in the middle of an utterance."""


@dataclass
class MediaFrame(DataFrame):
    """The envelope in which a media frame travels between processors.

    Attributes:
        media: The frame; None at end of stream, or with ``progress_ns``.
        pad: Sink pad it is meant for.
        progress_ns: How far the stream has come, instead of a frame
            (:meth:`tolmach.pipelines.element.Element.progress`), ns.
    """

    media: Frame | None = None
    pad: str = "sink"
    progress_ns: int | None = None


class ElementProcessor(FrameProcessor):
    """One element as a pipecat frame processor: routes its pads, counts its ends, and applies its failure policy."""

    wants_progress = False

    def __init__(
        self,
        node: Node,
        graph: Graph,
        pipeline: Host,
        base_dir: Path,
        overwrite: bool,
        sources: Mapping[str, frozenset[str]],
        resources: Mapping[str, object],
    ) -> None:
        super().__init__(name=node.name, enable_direct_mode=True)
        self.node = node
        self.stats: ElementStats | None = None
        self._pipeline = pipeline
        self._graph = graph
        self._peers: dict[str, tuple[ElementProcessor, str]] = {}
        self._taps: dict[str, Tap] = {}
        self._probes: dict[str, Probe] = {}
        self._open_sinks = {link.sink.pad for link in graph.links_to(node.name)}
        self._reached = dict.fromkeys(self._open_sinks, -END_NS)  # how far each sink pad has come
        self._progressed_ns = -END_NS
        self._furthest_ns = -END_NS  # of all that sink pads said before their end
        self._told: list[tuple[ElementProcessor, str]] = []  # peers that want to know how far the stream has come
        self._open_utterances: dict[str, UtteranceStart] = {}
        self._skipped: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._restarts = 0
        self._dead = False
        self._drained = False
        self._pushes_left = YIELD_EVERY if node.is_source else -1
        caps = {link.sink.pad: link.caps for link in graph.links_to(node.name)}
        caps |= {link.src.pad: link.caps for link in graph.links_from(node.name)}
        self.element: Element = _runtime(node)(
            node.settings,
            Context(
                name=node.name,
                graph=graph.name,
                push=self.push,
                post=self.post,
                spawn=self.spawn,
                caps=caps,
                base_dir=base_dir,
                overwrite=overwrite,
                languages=graph.languages_behind(node.name),
                at_rest=pipeline.at_rest,
                busy=self._busy,
                progress=self.progress,
                sources=sources,
                live=any(graph.nodes[name].spec.live for found in sources.values() for name in found),
                resources=resources,
                failure=lambda: pipeline.failure,
                host=graph.host,
            ),
        )

    def connect(self, src_pad: str, peer: ElementProcessor, sink_pad: str) -> None:
        """Link one of our src pads to a sink pad of ``peer``."""
        self._peers[src_pad] = (peer, sink_pad)

    def listen(self, src_pad: str, tap: Tap) -> None:
        """Post what ``tap`` says of the frames that leave by a src pad."""
        self._taps[src_pad] = tap

    def probe(self, src_pad: str, probe: Probe) -> None:
        """Give ``probe`` every frame that leaves by a src pad, before anybody else."""
        self._probes[src_pad] = probe

    def tell_progress(self) -> bool:
        """Settle which peers are told how far the stream has come; returns whether we want to know it ourselves.

        Called once all links are made, for whatever is behind an element before the element.
        """
        self._told = [(peer, pad) for peer, pad in self._peers.values() if peer.wants_progress]
        self.wants_progress = self.element.wants_progress or bool(self._told)
        return self.wants_progress

    # What the element calls ---------------------------------------------------------------------------------------

    async def push(self, frame: Frame, pad: str = "src") -> None:
        """Hand a frame to the peer of ``pad``; an unlinked optional pad drops it."""
        peer = self._peers.get(pad)
        if self._dead:
            # The run is over and our task is being cancelled: let it happen here, or a busy source never notices.
            await asyncio.sleep(0)
            return
        if peer is None:
            return
        if self._probes and (probe := self._probes.get(pad)) is not None:
            await probe(frame)
        if not isinstance(frame, AudioFrame):
            if isinstance(frame, UtteranceStart):
                self._open_utterances[pad] = frame
            elif isinstance(frame, UtteranceEnd):
                self._open_utterances.pop(pad, None)
            if (tap := self._taps.get(pad)) is not None and (message := tap(frame)) is not None:
                self.post(message)
        target, sink_pad = peer
        # pipecat's envelope, queue and events are for its observers; without any they cost half of an element's time.
        observed = self._pipeline.observed
        taken = target.queue_frame(MediaFrame(frame, sink_pad)) if observed else target.take(frame, sink_pad)
        if self.stats is None:
            await taken
        else:
            with self.stats.downstream():
                await taken
        if self._pushes_left >= 0:
            self._pushes_left -= 1
            if self._pushes_left < 0:
                self._pushes_left = YIELD_EVERY
                await asyncio.sleep(0)

    async def progress(self, time_ns: int, pad: str | None = None) -> None:
        """Tell whoever wants to know that nothing earlier than ``time_ns`` comes from here any more."""
        if not self._told or self._dead:
            return
        if pad is not None:
            self._reached[pad] = max(time_ns, self._reached.get(pad, -END_NS))
            time_ns = min(self._reached.values())
        if time_ns > self._progressed_ns:
            self._progressed_ns = time_ns
            for peer, sink_pad in self._told:
                await peer.queue_frame(MediaFrame(None, sink_pad, time_ns))

    def post(self, message: Message) -> None:
        """Post on the graph's bus under this element's name."""
        self._pipeline.bus.post(replace(message, element=self.node.name, graph=self._graph.name))

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task of the element; its failure meets the element's failure policy."""
        if self._dead:  # nobody would ever end it
            coroutine.close()
            return
        task = asyncio.create_task(self._guard(coroutine), name=f"{self.node.name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task cancelled before its first step never awaits what it guards, and Python would complain.
        task.add_done_callback(lambda _: coroutine.close())

    async def _guard(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception as error:  # whatever an element raises is its failure; the policy decides what it costs
            await self._failed(error, None)

    def _busy(self) -> Callable[[], None]:
        return self.stats.busy() if self.stats is not None else _nothing

    def _at_work(self) -> AbstractContextManager[None]:
        return self.stats.working() if self.stats is not None else nullcontext()

    # What pipecat calls -------------------------------------------------------------------------------------------

    async def process_frame(self, frame: PipecatFrame, direction: FrameDirection) -> None:
        """Give a media frame to the element; everything else is pipecat's own business."""
        if type(frame) is not MediaFrame:
            await super().process_frame(frame, direction)
            return
        if self._dead:
            return
        if self._pipeline.observed:
            await super().process_frame(frame, direction)
        if frame.media is not None:
            await self.take(frame.media, frame.pad)
        elif frame.progress_ns is None:
            await self._end_of_stream(frame.pad)
        else:
            await self._has_come_to(frame.progress_ns, frame.pad)

    async def take(self, media: Frame, pad: str) -> None:
        """Give a frame to the element; a failure meets its policy."""
        if self._dead or (self._skipped and self._is_skipped(media)):
            return
        try:
            if self.stats is None:
                await self.element.process(media, pad)
            else:
                with self.stats.processing(media):
                    await self.element.process(media, pad)
        except Exception as error:  # see _guard
            await self._failed(error, media)

    async def push_error(  # type: ignore[override]  # pipecat passes categories by keyword; ours need none
        self, error_msg: str, exception: Exception | None = None, **kwargs: Any
    ) -> None:
        """What pipecat could not deliver is a failure of this element; pipecat itself would only log it."""
        await self._failed(exception or ElementError(error_msg, element=self.node.name, graph=self._graph.name), None)

    # End of stream ------------------------------------------------------------------------------------------------

    async def run_source(self) -> None:
        """Let a source produce, then end its stream."""
        element = self.element
        if not isinstance(element, SourceElement):
            raise TypeError(f"{self.node.name} is not a source")
        while not (self._dead or self._pipeline.finishing):
            try:
                with self._at_work():
                    await element.produce()
            except Exception as error:  # see _guard
                # Under `skip` there is nothing behind what it failed on: its stream ends here.
                if await self._failed(error, None) and self.node.on_error == "restart":
                    continue
            break
        await self._end_of_stream(None)

    async def _has_come_to(self, time_ns: int, pad: str) -> None:
        if time_ns < END_NS:
            self._furthest_ns = max(self._furthest_ns, time_ns)
        try:
            await self.element.progress(time_ns, pad)
        except Exception as error:  # see _guard
            await self._failed(error, None)

    async def _end_of_stream(self, pad: str | None) -> None:
        if pad is not None:
            self._open_sinks.discard(pad)
            if self._open_sinks and not self._dead and self.wants_progress:
                await self._has_come_to(END_NS, pad)  # nobody need wait for it
        if self._open_sinks or self._drained or self._dead:
            return
        self._drained = True
        try:
            with self._at_work():
                await self.element.drain()
        except Exception as error:  # see _guard
            if not await self._failed(error, None):
                return
        # Nothing is held any more that could come before it: so whoever is behind learns how long the stream was.
        await self.progress(self._furthest_ns)
        for peer, sink_pad in self._peers.values():
            await peer.queue_frame(MediaFrame(None, sink_pad))
        if self.node.is_sink:
            self._pipeline.sink_finished(self.node.name)

    # Failure ------------------------------------------------------------------------------------------------------

    def _is_skipped(self, media: Frame) -> bool:
        if media.utterance not in self._skipped:
            return False
        if isinstance(media, UtteranceEnd) and media.utterance is not None:
            self._skipped.discard(media.utterance)
        return True

    async def _failed(self, error: Exception, media: Frame | None) -> bool:
        """Apply the failure policy. Returns whether the element goes on."""
        if self._dead:
            return False
        pts_ns = media.pts_ns if media is not None else _time_of(error)
        policy = self.node.on_error
        if policy == "restart" and self._restarts >= MAX_RESTARTS:
            policy = "fail"
        if not isinstance(error, TolmachError | OSError):  # what the system refuses is no bug: its words will do
            log.error("element %r failed", self.node.name, exc_info=error)
        self.post(
            ErrorMessage(
                str(error) if isinstance(error, TolmachError) else _words(error),
                pts_ns=pts_ns,
                error=type(error).__name__,
                policy=policy,
                fatal=policy == "fail",
            )
        )
        if policy == "fail":
            self._dead = True
            self._pipeline.fail(self._as_element_error(error, pts_ns))
            return False
        utterance = media.utterance if media is not None else None
        if utterance is not None and not isinstance(media, UtteranceEnd):
            self._skipped.add(utterance)
        await self._close_open_utterances(utterance if policy == "skip" else None, pts_ns)
        try:
            if policy == "restart":
                await self._restart(pts_ns)
            else:
                self.element.reset(utterance)
        except Exception as again:  # it cannot come back: the graph cannot either
            failure = self.cannot_start(again)
            self._dead = True
            self._pipeline.fail(failure)
            return False
        return True

    async def _restart(self, pts_ns: int | None) -> None:
        self._restarts += 1
        await self._end_tasks()
        await self.element.stop()
        await self.element.start()
        text = f"restarted after a failure ({self._restarts} of {MAX_RESTARTS})"
        self.post(WarningMessage(text, pts_ns=pts_ns))

    async def _close_open_utterances(self, utterance: int | None, pts_ns: int | None) -> None:
        # Downstream has seen these begin and must not wait for their end. When only one utterance is skipped, another
        # may be on its way out of a task of the element (OrderedJobs) and will be closed by it.
        for pad, start in tuple(self._open_utterances.items()):
            if utterance is not None and start.utterance != utterance:
                continue
            end_ns = max(start.pts_ns, pts_ns if pts_ns is not None else start.pts_ns)
            await self.push(UtteranceEnd(start.utterance, start.pts_ns, end_ns, "error"), pad)

    def cannot_start(self, error: Exception) -> TolmachError:
        """What to raise because ``start`` (or ``reset``) raised ``error``; posts it."""
        if not isinstance(error, TolmachError | OSError):  # what the system refuses is no bug: its words will do
            log.error("element %r cannot start", self.node.name, exc_info=error)
        failure = self._as_element_error(error, None)
        self.post(ErrorMessage(str(failure), error=type(error).__name__, fatal=True))
        return failure

    def _as_element_error(self, error: Exception, pts_ns: int | None) -> TolmachError:
        if isinstance(error, TolmachError):
            return error
        wrapped = ElementError(
            f"element {self.node.name!r} failed: {_words(error)}",
            element=self.node.name,
            graph=self._graph.name,
            pts_ns=pts_ns,
        )
        wrapped.__cause__ = error
        return wrapped

    # Stop ---------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """Take and give nothing from now on; synchronous, so that it overtakes everything."""
        self._dead = True

    async def halt(self) -> None:
        """Cancel the element's tasks and stop it. Safe at any moment and twice."""
        self.kill()
        await self._end_tasks()
        try:
            await self.element.stop()
        except Exception:
            log.exception("element %r failed to stop", self.node.name)

    async def _end_tasks(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _runtime(node: Node) -> type[Element]:
    try:
        return load_runtime(node.spec)
    except ImportError as error:
        raise GraphError(
            f"element {node.name!r} cannot be loaded: {error}; `tolmach doctor` says what is missing"
        ) from error


def _nothing() -> None:
    """Nobody measures."""


def _time_of(error: Exception) -> int | None:
    """Media time an error names itself, ns."""
    if isinstance(error, ElementError):
        return error.pts_ns
    return error.at_ns if isinstance(error, MediaError) else None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
