"""The bus: what a running graph tells the world, one kind of message a class.

Elements and the runtime post; the runner, the page and the logs subscribe. Posting never blocks and never raises into
the element: a subscriber that fails is reported once and unsubscribed.

What flows is told by the runtime, which sees the frames pass (:mod:`tolmach.pipelines.runtime.taps`); elements post
what only they know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    # Not at run time: frames bring numpy.
    from tolmach.pipelines.frames import TranslationFrame, UtteranceEnd, UtteranceStart

__all__ = [
    "Bus",
    "DroppedMessage",
    "EosMessage",
    "ErrorMessage",
    "HeardMessage",
    "InfoMessage",
    "LatencyMessage",
    "LoadingMessage",
    "Message",
    "NoticeMessage",
    "PlacedMessage",
    "PositionMessage",
    "RepeatedMessage",
    "SpeculationMessage",
    "StateMessage",
    "Subscriber",
    "TranslationMessage",
    "UnspokenMessage",
    "UtteranceEndMessage",
    "UtteranceStartMessage",
    "VoiceMessage",
    "VoicePaceMessage",
    "WarningMessage",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message on the bus; its class says what happened.

    Attributes:
        element: Name of the element it comes from ("" for the graph itself); filled in when an element posts.
        graph: Name of the graph; filled in likewise.
        pts_ns: Media time it speaks of, ns, or None.
    """

    element: str = ""
    graph: str = ""
    pts_ns: int | None = None


# What people should read --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoticeMessage(Message):
    """Words for people: clients of a live server read them, too.

    Attributes:
        text: A complete sentence for errors and warnings.
        data: The same for programs, plain JSON values.
    """

    kind: ClassVar[Literal["error", "warning", "info", "dropped"]]

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorMessage(NoticeMessage):
    """Something went wrong. A run with one is not ``ok``.

    Attributes:
        error: Name of the exception's class, "" without one.
        policy: What the runtime does about a failure of an element, None when it is none: a source's word on a damaged
            recording.
        fatal: Whether the graph cannot go on.
    """

    kind = "error"

    error: str = field(default="", kw_only=True)
    policy: Literal["fail", "skip", "restart"] | None = field(default=None, kw_only=True)
    fatal: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class WarningMessage(NoticeMessage):
    """Something may not be as it should."""

    kind = "warning"


@dataclass(frozen=True, slots=True)
class InfoMessage(NoticeMessage):
    """Something worth knowing."""

    kind = "info"


@dataclass(frozen=True, slots=True)
class DroppedMessage(NoticeMessage):
    """Media was thrown away."""

    kind = "dropped"


# How the run goes on ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateMessage(Message):
    """The graph has changed its state."""

    state: Literal["ready", "playing", "null"]


@dataclass(frozen=True, slots=True)
class LoadingMessage(Message):
    """A model is being loaded or warmed, and how far that is.

    Attributes:
        text: For people.
    """

    text: str


@dataclass(frozen=True, slots=True)
class PositionMessage(Message):
    """How much a source has read; about once a second.

    Attributes:
        position_ns: Length of media read so far, ns.
        duration_ns: Length of the whole, ns, or None.
        loud_ns: How much of what was read is not silence, ns.
        other_tracks: Audio tracks of the recording that are not read.
    """

    position_ns: int
    duration_ns: int | None = None
    loud_ns: int = 0
    other_tracks: int = 0


@dataclass(frozen=True, slots=True)
class LatencyMessage(Message):
    """Media time that the slowest path through the graph holds back, ns."""

    latency_ns: int


@dataclass(frozen=True, slots=True)
class EosMessage(Message):
    """Every sink has written everything."""


@dataclass(frozen=True, slots=True)
class SpeculationMessage(Message):
    """What became of work that an element began at a pause, before it was known whether the speaker had finished.

    Attributes:
        utterance: Number of the utterance.
        outcome: ``hit`` (the speaker had finished, and it was used), ``miss`` (it was thrown away) or ``failed`` (it
            was done again).
        wasted_s: What was thrown away has taken of a model's time, s; of a voice: until it was thrown away.
    """

    utterance: int
    outcome: Literal["hit", "miss", "failed"]
    wasted_s: float = 0.0


# What flows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UtteranceStartMessage(Message):
    """Somebody begins to speak: an utterance was opened where a stream is cut."""

    frame: UtteranceStart


@dataclass(frozen=True, slots=True)
class UtteranceEndMessage(Message):
    """Somebody has stopped speaking: an utterance was closed where a stream is cut."""

    frame: UtteranceEnd


@dataclass(frozen=True, slots=True)
class TranslationMessage(Message):
    """A text as listeners and readers get it: it is on its way into a voice, a file or a peer."""

    frame: TranslationFrame


@dataclass(frozen=True, slots=True)
class VoiceMessage(Message):
    """A voice begins to give the sound of an utterance."""

    frame: UtteranceStart


@dataclass(frozen=True, slots=True)
class VoicePaceMessage(Message):
    """How far a voice is behind the speaker, and what it does about it; for each text that it begins to speak.

    Attributes:
        utterance: Number of the utterance.
        part: Which of its texts, as :attr:`~tolmach.pipelines.frames.TranslationFrame.part`.
        lag_ns: How much later than its source ended it begins to be heard, by media time, ns.
        tempo: How much faster than its own speed it is spoken, the pitch kept; 1.0 when nothing is done.
    """

    utterance: int
    part: int
    lag_ns: int
    tempo: float = 1.0


@dataclass(frozen=True, slots=True)
class RepeatedMessage(Message):
    """A voice was to say what it had said before, and need not make it anew: one for each piece of a text.

    Attributes:
        utterance: Number of the utterance.
    """

    utterance: int


@dataclass(frozen=True, slots=True)
class UnspokenMessage(Message):
    """A text is not spoken because the voice has fallen too far behind; its caption stays, and is marked.

    Attributes:
        utterance: Number of the utterance.
        part: Which of its texts.
        lag_ns: How late it would have been, ns.
    """

    utterance: int
    part: int
    lag_ns: int


@dataclass(frozen=True, slots=True)
class PlacedMessage(Message):
    """A dubbed utterance has its place in a file.

    Attributes:
        utterance: Its number.
        source_start_ns: Where its source begins, ns.
        placed_ns: Where it begins in the file, ns.
        lag_ns: How much later, ns.
        tempo: How much faster than the voice gave it it is spoken there, to fit.
    """

    utterance: int
    source_start_ns: int
    placed_ns: int
    lag_ns: int
    tempo: float = 1.0


@dataclass(frozen=True, slots=True)
class HeardMessage(Message):
    """A translated utterance begins to be heard by a live listener.

    Attributes:
        utterance: Its number.
        heard_ns: The capture clock of its source at that moment, ns.
        lag_ns: Time since the source utterance ended, ns.
    """

    utterance: int
    heard_ns: int
    lag_ns: int


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
                log.exception("a bus subscriber failed on %s and is unsubscribed", type(message).__name__)
                if subscriber in self._subscribers:
                    self._subscribers.remove(subscriber)
