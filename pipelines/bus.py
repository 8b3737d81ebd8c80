"""The bus: what elements tell the world while a graph runs.

Elements post; the runner, the page and the logs subscribe. Posting never blocks and never raises into the element: a
subscriber that fails is reported once and unsubscribed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

log = logging.getLogger(__name__)

MessageKind = Literal[
    "state",
    "progress",
    "error",
    "warning",
    "info",
    "latency",
    "speech",
    "utterance",
    "translation",
    "dropped",
    "eos",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One message on the bus.

    Attributes:
        kind: What happened.
        element: Name of the element that posted it ("" for the graph itself).
        graph: Name of the graph.
        pts_ns: Media time it speaks of, ns, or None.
        text: For people; complete sentence for errors and warnings.
        data: For programs; plain JSON values only. What subscribers rely on: ``progress`` has ``position_ns`` (length
            of media read so far) and ``duration_ns`` (or None), and of a recording ``loud_ns`` (how much of it is not
            silence); ``speech`` has ``active`` and ``utterance``
            and is posted when an utterance opens or closes; ``utterance`` has ``utterance``, ``pts_ns``, ``end_ns``,
            ``speech_end_ns`` (end of its last speech, before any post-roll) and ``reason``; ``translation`` has the
            fields of a :class:`~tolmach.pipelines.frames.TranslationFrame`; a sink's ``latency`` has ``utterance`` and
            ``lag_ns``.
    """

    kind: MessageKind
    element: str
    graph: str
    pts_ns: int | None = None
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


Subscriber = Callable[[Message], None]


class Bus:
    """Synchronous publish/subscribe inside one event loop."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` for every later message; returns a function that ends the subscription."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def post(self, message: Message) -> None:
        """Deliver ``message`` to all subscribers, in the order they subscribed."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(message)
            except Exception:
                log.exception("a bus subscriber failed on %s and is unsubscribed", message.kind)
                if subscriber in self._subscribers:
                    self._subscribers.remove(subscriber)
