"""One graph of a session, from loading its models to its last word."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tolmach.pipelines.bus import (
    Bus,
    InfoMessage,
    LoadingMessage,
    Message,
    PositionMessage,
    RepeatedMessage,
    SpeculationMessage,
    StateMessage,
    TranslationMessage,
    UnspokenMessage,
    VoicePaceMessage,
)
from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.frames import NS_PER_MS
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.web.errors import without_paths
from tolmach.web.metrics import Snapshot
from tolmach.web.sessions.transcript import RunNumbers

__all__ = ["Choice", "Run", "RunState"]

log = logging.getLogger(__name__)

RunState = Literal["loading", "waiting", "current", "ended", "failed"]
"""``loading`` models, ``waiting`` for a pause in which the microphone can be handed over, ``current`` since then."""


class Choice:
    """What a client asked for.

    Attributes:
        graph: Name of the graph in the catalogue.
        params: Its params, as the client gave them.
        settings: Live settings by ``element.setting``, as the client gave them.
    """

    def __init__(self, graph: str, params: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.graph = graph
        self.params = dict(params)
        self.settings = dict(settings)

    def as_json(self) -> dict[str, Any]:
        """As messages hold it."""
        return {"graph": self.graph, "params": self.params, "settings": self.settings}


class Run:
    """A graph on a session's line, or on those of a room.

    Args:
        choice: What it was made from.
        graph: The checked graph.
        resources: The line, or the lines, by the names under which elements find them.
        numbers: Session numbers of its utterances.
        on_message: Takes every message of its bus.
        on_state: Called at every change of :attr:`state`.
    """

    def __init__(
        self,
        choice: Choice,
        graph: Graph,
        resources: Mapping[str, object],
        numbers: RunNumbers,
        on_message: Callable[[Run, Message], None],
        on_state: Callable[[Run], None],
    ) -> None:
        self.choice = choice
        self.graph = graph
        self.numbers = numbers
        self.state: RunState = "loading"
        self.text = ""
        self.error: TolmachError | None = None
        self.hears_speech = any(link.segmented for link in graph.links)
        self._on_message = on_message
        self._on_state = on_state
        self._seen: dict[str, int] = {}
        self._speculations: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._voices: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._rejected: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        bus = Bus()
        bus.subscribe(self._note)
        self._runner = GraphRunner(graph, bus=bus, trace=True, resources=resources)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin: load models, then wait for the microphone."""
        self._task = asyncio.create_task(self._main(), name=f"run-{self.graph.name}")

    def finish(self) -> None:
        """End gracefully: what is under way is translated and heard."""
        self._runner.finish()

    def cancel(self) -> None:
        """End now."""
        self._runner.cancel()

    async def ended(self) -> None:
        """Wait for its end."""
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.state in ("ended", "failed")

    async def _main(self) -> None:
        try:
            result = await self._runner.run()
            self.error = result.error
        except TolmachError as error:
            self.error = error
        except Exception:
            log.exception("graph %r failed", self.graph.name)
            self.error = TolmachError("something went wrong inside the graph; the server's log says what")
        if self.error is not None:
            self.text = without_paths(str(self.error))
        self._set("failed" if self.error is not None else "ended")

    def _note(self, message: Message) -> None:
        if isinstance(message, StateMessage) and message.state == "playing":
            self._set("waiting")
        elif isinstance(message, PositionMessage) and self.state == "waiting":
            self._set("current")  # its source has read the first frame: it has the microphone
        elif isinstance(message, InfoMessage | LoadingMessage) and self.state == "loading":
            self.text = message.text
            self._on_state(self)
        elif isinstance(message, SpeculationMessage):
            counts = self._speculations[message.element]
            counts[message.outcome] += 1
            counts["wasted_s"] += message.wasted_s
        elif isinstance(message, VoicePaceMessage):
            self._voices[message.element]["hurried" if message.tempo > 1 else "spoken"] += 1
        elif isinstance(message, UnspokenMessage):
            self._voices[message.element]["unspoken"] += 1
        elif isinstance(message, RepeatedMessage):
            self._voices[message.element]["repeated"] += 1
        elif isinstance(message, TranslationMessage) and message.frame.final and not message.frame.more:
            self._retries.update(message.frame.retries)
            if message.frame.rejected:
                self._rejected[message.frame.rejected] += 1
        self._on_message(self, message)

    def _set(self, state: RunState) -> None:
        self.state = state
        if state in ("waiting", "current"):
            self.text = ""
        self._on_state(self)

    def flowed(self) -> list[str]:
        """Names of the elements that were given frames, or gave some, since the last call."""
        frames = {name: int(figures["frames"]) for name, figures in self._runner.figures().items()}
        for name in self.graph.order:  # a source is given none; it has worked when what follows it has
            if self.graph.nodes[name].is_source:
                frames[name] = sum(frames.get(link.sink.node, 0) for link in self.graph.links_from(name))
        moved = [name for name, count in frames.items() if count > self._seen.get(name, 0)]
        self._seen = frames
        return [name for name in self.graph.order if name in moved]

    def guesses(self) -> dict[str, dict[str, float]]:
        """What came of the work that was begun at pauses, by element, as a ``stats`` message has it."""
        return {
            element: {outcome: round(count, 3) for outcome, count in counts.items()}
            for element, counts in self._speculations.items()
        }

    def snapshot(self) -> Snapshot:
        """What its elements have done, and what waits in its queues; what they have dropped counts on after its end."""
        return Snapshot(
            self.choice.graph,
            elements=self._runner.figures(),
            queues=self._queues(),
            speculations=self._speculations,
            voices=self._voices,
            rejected=self._rejected,
            retries=self._retries,
        )

    def _queues(self) -> dict[str, dict[str, float]]:
        """What waits in each queue now, and what it has dropped in all."""
        found: dict[str, dict[str, float]] = {}
        if self.state == "loading":
            return found
        for name, node in self.graph.nodes.items():
            if node.spec.type == "queue" and (queue := self._queue(name)) is not None:
                frames, waiting_ns, _ = (0, 0, 0) if self.over else queue.depth
                found[name] = {"frames": frames, "ms": waiting_ns / NS_PER_MS, "dropped": queue.dropped}
        return found

    def _queue(self, name: str) -> Any:
        try:
            return self._runner.element(name)
        except (KeyError, RuntimeError):  # it has failed before its elements were made
            return None
