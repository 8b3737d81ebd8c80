"""The server's figures for Prometheus.

What running sessions count is read when somebody scrapes; what ended sessions counted is added up, so that counters
never go down. Labels are names of graphs and elements, never of sessions: the number of series does not grow with use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

__all__ = ["Figures", "Metrics", "Snapshot"]

MAX_LABELS = 2000
"""Pairs of graph and element that are told apart; further ones are counted as ``other``. A folder holds at most 100
graphs, but they may be renamed for as long as the server runs."""

_RECEIVER = {
    "received": "Packets that arrived, duplicates and late ones included.",
    "lost": "Packets known to be missing when their time came.",
    "late": "Packets that arrived when their time had been concealed.",
    "duplicates": "Packets that had arrived before.",
    "reordered": "Packets that arrived after one sent later.",
    "overflowed": "Packets thrown away because nobody took them in time.",
    "discarded": "Packets far outside the stream.",
    "damaged": "Packets that could not be decoded.",
    "restarts": "Times the timeline of a sender began anew.",
    "media_samples": "Samples released from packets, at 48 kHz.",
    "concealed_samples": "Samples concealed, at 48 kHz.",
    "silence_samples": "Samples of silence put where a peer sent none, at 48 kHz.",
}
_SENDER = {
    "sent": "Packets sent.",
    "skipped": "Packets not sent because a stall had passed their time.",
    "underruns": "Times the queue ran dry in the middle of a stream.",
    "played_samples": "Samples played, at 48 kHz.",
    "shed_samples": "Samples of silence left out to lose latency, at 48 kHz.",
    "shortened_samples": "Samples of sound left out to lose latency, at 48 kHz.",
    "dropped_samples": "Live samples thrown away because too many had piled up, at 48 kHz.",
}
_ELEMENT = {
    "busy_s": ("busy_seconds", "Time spent in an element, less what its downstream took."),
    "audio_s": ("audio_seconds", "Audio an element was given."),
    "frames": ("frames", "Frames an element was given."),
}
_QUEUE_NOW = {
    "ms": ("waiting_seconds", "Audio that waits in a queue.", 1e-3),
    "frames": ("waiting_frames", "Frames that wait in a queue.", 1.0),
}
_FIRST_AUDIO_S = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
_LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Figures(Protocol):
    """What one session has counted so far.

    Attributes:
        graph: Name of its graph.
        receiver: :meth:`transports.webrtc.receiver.Receiver.stats`.
        sender: :meth:`transports.webrtc.sender.Sender.stats`.
        round_trip_ms: Round trip to the client, ms; None until it is known.
        elements: :meth:`pipelines.runtime.tracing.Tracer.table`.
        queues: What waits in each queue now (``frames``, ``ms``) and how many frames it has ``dropped``.
    """

    graph: str
    receiver: Mapping[str, float]
    sender: Mapping[str, float]
    round_trip_ms: float | None
    elements: Mapping[str, Mapping[str, float | None]]
    queues: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """:class:`Figures` as plain values; parts may be left out."""

    graph: str
    receiver: Mapping[str, float] = field(default_factory=dict)
    sender: Mapping[str, float] = field(default_factory=dict)
    round_trip_ms: float | None = None
    elements: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    queues: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Metrics(Collector):
    """All figures of one server.

    Args:
        provider: Gives the figures of the sessions that run now.
        loop_lag_s: The greatest lateness of the event loop in the last second, s.
    """

    def __init__(
        self, provider: Callable[[], Iterable[Figures]], *, loop_lag_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        raise NotImplementedError

    def session_ended(self, outcome: str) -> None:
        """Count a session; ``outcome`` is one of a few words, such as ``closed``, ``idle`` or ``failed``."""

    def first_audio(self, seconds: float) -> None:
        """Note how long after the end of an utterance its translation began to be heard, s."""

    def lag(self, seconds: float) -> None:
        """Note one lateness of the event loop, s; for :class:`web.looplag.LoopLag`."""

    def retire(self, figures: Figures) -> None:
        """Add up what a session, its connection or its graph has counted, now that it ends.

        From the same turn of the event loop on, the provider must not give these counters any more. A part that goes
        on is left out: a session that changes its graph retires a :class:`Snapshot` of ``elements`` and ``queues``
        alone, one that connects again those of ``receiver`` and ``sender``.
        """

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Everything as text, and its content type.

        Args:
            accept: The request's ``Accept``; Prometheus asks for OpenMetrics with it.
        """
        raise NotImplementedError

    def collect(self) -> Iterator[Metric]:
        """The families that are read at the moment of a scrape."""
        raise NotImplementedError
