"""The server's figures for Prometheus.

What running sessions count is read when somebody scrapes; what ended sessions counted is added up, so that counters
never go down. Labels are names of graphs and elements, never of sessions: the number of series does not grow with use.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tolmach.pipelines.cli.main import distribution_version
from tolmach.processors.ast.guards import OTHER, REASONS, RETRIES
from tolmach.processors.hosting.figures import BOUNDS_S, HostFigures, Times

__all__ = ["Metrics", "Places", "Snapshot"]

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
_OUTCOMES = ("hit", "miss", "failed")
_WASTED = "wasted_s"
_SPOKEN = ("spoken", "hurried", "unspoken")
_REPEATED = "repeated"
_QUEUE_NOW = {
    "ms": ("waiting_seconds", "Audio that waits in a queue.", 1e-3),
    "frames": ("waiting_frames", "Frames that wait in a queue.", 1.0),
}
_STATES: tuple[tuple[str, str, Callable[[Snapshot], float | None]], ...] = (
    ("receiver_jitter", "Interarrival jitter (RFC 3550).", lambda f: f.receiver.get("jitter_ms")),
    ("receiver_target", "How long packets are waited for.", lambda f: f.receiver.get("target_ms")),
    ("receiver_depth", "Audio that waits in the jitter buffer.", lambda f: f.receiver.get("depth_ms")),
    ("sender_depth", "Audio that waits to be played.", lambda f: f.sender.get("depth_ms")),
    ("round_trip", "Round trip to the client.", lambda f: f.round_trip_ms),
)
_LABELS = ("graph", "element")
_FIRST_AUDIO_S = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
_VOICE_LAG_S = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 30.0)
_LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a session, its connection or one of its graphs has counted so far; parts may be left out.

    Attributes:
        graph: Name of its graph.
        receiver: :meth:`tolmach.transports.webrtc.incoming.receiver.Receiver.stats`.
        sender: :meth:`tolmach.transports.webrtc.outgoing.sender.Sender.stats`.
        round_trip_ms: Round trip to the client, ms; None until it is known.
        elements: :meth:`tolmach.pipelines.runtime.tracing.Tracer.table`.
        queues: What waits in each queue now (``frames``, ``ms``), and how many frames it has ``dropped``.
        speculations: By element, how many there were of each outcome of
            :class:`tolmach.pipelines.bus.SpeculationMessage`, and ``wasted_s``.
        voices: By element, how many texts a voice has ``spoken`` at its own tempo, ``hurried`` and left ``unspoken``,
            and how many pieces of them were ``repeated`` from its memory.
        rejected: Texts that were rejected, by reason.
        retries: Times that an engine was asked again, by reason.
    """

    graph: str
    receiver: Mapping[str, float] = field(default_factory=dict)
    sender: Mapping[str, float] = field(default_factory=dict)
    round_trip_ms: float | None = None
    elements: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    queues: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    speculations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    voices: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Places:
    """How full a server is, for whoever starts and stops servers.

    Attributes:
        most: Sessions that may be connected at a time.
        free: How many more may begin now; 0 while it is stopping.
        ready: Whether its models are warm and it goes on.
        draining: Whether it is stopping.
    """

    most: int
    free: int
    ready: bool
    draining: bool


class Metrics(Collector):
    """All figures of one server.

    Args:
        provider: Gives the figures of what runs now. A session may give several: one for its connection, and one for
            each graph while it changes from one to another.
        sessions: How many sessions there are; by default one for each that ``provider`` gives.
        places: How full the server is; None leaves these figures out.
        listeners: How many hear the sessions of others.
        hosts: The figures of the model hosts.
        loop_lag_s: The greatest lateness of the event loop in the last second, s.

    Attributes:
        rooms: How many rooms are open; of the door that keeps them.
        jobs: By kind of work that requests wait for, how much is in which state; of the doors that do it.
    """

    def __init__(
        self,
        provider: Callable[[], Iterable[Snapshot]],
        *,
        sessions: Callable[[], int] | None = None,
        places: Callable[[], Places] | None = None,
        listeners: Callable[[], int] = lambda: 0,
        hosts: Callable[[], Iterable[HostFigures]] = tuple,
        loop_lag_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._provider = provider
        self._sessions = sessions
        self._places = places
        self._listeners = listeners
        self.rooms: Callable[[], int] = lambda: 0
        self.jobs: dict[str, Callable[[], Mapping[str, int]]] = {}
        self._hosts = hosts
        self._loop_lag_s = loop_lag_s
        self._ended = _Totals()
        self._labels: set[tuple[str, str]] = set()
        # A registry of our own: two servers in one process, as in tests, must not meet in the global one.
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        Info("tolmach_build", "What runs here.", registry=self._registry).info({"version": distribution_version()})
        self._outcomes = Counter(
            "tolmach_sessions", "Sessions that have ended, by how.", ["outcome"], registry=self._registry
        )
        self._first_audio = Histogram(
            "tolmach_first_audio_seconds",
            "From the end of an utterance to the first sound of its translation; 0 where that was heard before.",
            buckets=_FIRST_AUDIO_S,
            registry=self._registry,
        )
        self._voice_lag = Histogram(
            "tolmach_voice_lag_seconds",
            "How much later than its source ended a text began to be spoken.",
            buckets=_VOICE_LAG_S,
            registry=self._registry,
        )
        self._lag = Histogram(
            "tolmach_loop_lag_seconds", "Lateness of the event loop.", buckets=_LAG_S, registry=self._registry
        )

    def session_ended(self, outcome: str) -> None:
        """Count a session; ``outcome`` is one of a few words, such as ``closed``, ``idle`` or ``failed``."""
        self._outcomes.labels(outcome).inc()

    def first_audio(self, seconds: float) -> None:
        """Note how long after the end of an utterance its translation began to be heard, s.

        Less than 0 where it began before, which counts as 0: a sum that falls would look like a restart.
        """
        self._first_audio.observe(max(0.0, seconds))

    def voice_lag(self, seconds: float) -> None:
        """Note how far a voice was behind when it began a text, s; less than 0 counts as 0, as above."""
        self._voice_lag.observe(max(0.0, seconds))

    def lag(self, seconds: float) -> None:
        """Note one lateness of the event loop, s; for :class:`tolmach.web.event_loop.LoopLag`."""
        self._lag.observe(seconds)

    def retire(self, figures: Snapshot) -> None:
        """Add up what a session, its connection or its graph has counted, now that it ends.

        From the same turn of the event loop on, the provider must not give these counters any more. A part that goes
        on is left out: a session that changes its graph retires a :class:`Snapshot` of ``elements`` and ``queues``
        alone, one that connects again those of ``receiver`` and ``sender``.
        """
        self._ended.add(figures, self._label)

    def render(self) -> tuple[bytes, str]:
        """Everything as Prometheus text, and its content type."""
        encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """The families that are read at the moment of a scrape."""
        running = list(self._provider())
        totals = _Totals()
        totals.merge(self._ended)
        for figures in running:
            totals.add(figures, self._label)
        sessions = len(running) if self._sessions is None else self._sessions()
        yield GaugeMetricFamily("tolmach_sessions", "Sessions that run now.", value=sessions)
        if self._places is not None:
            yield from _fullness(self._places())
        yield GaugeMetricFamily(
            "tolmach_listeners", "Those who hear the sessions of others now.", value=self._listeners()
        )
        yield GaugeMetricFamily("tolmach_rooms", "Rooms that are open.", value=self.rooms())
        jobs = GaugeMetricFamily("tolmach_jobs", "Files and texts that requests wait for.", labels=("kind", "state"))
        for kind, states in self.jobs.items():
            for state, count in states().items():
                jobs.add_metric((kind, state), count)
        yield jobs
        yield GaugeMetricFamily(
            "tolmach_loop_lag_max_seconds", "Greatest lateness of the last second.", value=self._loop_lag_s()
        )
        yield GaugeMetricFamily("tolmach_tasks", "Tasks of the event loop.", value=_tasks())
        for end, counts, described in (("receiver", totals.receiver, _RECEIVER), ("sender", totals.sender, _SENDER)):
            for name, text in described.items():
                yield CounterMetricFamily(f"tolmach_{end}_{name}", text, value=counts[name])
        for key, (name, text) in _ELEMENT.items():
            yield self._by_element(CounterMetricFamily(f"tolmach_element_{name}", text, labels=_LABELS), totals, key)
        dropped = CounterMetricFamily("tolmach_queue_dropped_frames", "Frames that queues dropped.", labels=_LABELS)
        yield self._by_element(dropped, totals, "dropped")
        yield from self._speculations(totals)
        yield self._voices(totals)
        repeats = CounterMetricFamily(
            "tolmach_voice_repeats",
            "Pieces of texts that a voice had said before and did not make anew.",
            labels=_LABELS,
        )
        yield self._by_element(repeats, totals, _REPEATED)
        yield _by_reason("tolmach_rejected", "Texts that were rejected, by why.", totals.rejected, REASONS)
        yield _by_reason("tolmach_retries", "Times that an engine was asked again, by why.", totals.retries, RETRIES)
        yield from self._waiting(running)
        yield from _states(running)
        yield from _models(self._hosts())

    def _label(self, graph: str, element: str) -> tuple[str, str]:
        label = (graph, element)
        if label not in self._labels and len(self._labels) >= MAX_LABELS:
            return ("other", "other")
        self._labels.add(label)
        return label

    def _by_element(self, family: CounterMetricFamily, totals: _Totals, key: str) -> Metric:
        for label, counts in totals.elements.items():
            if key in counts:
                family.add_metric(label, counts[key])
        return family

    def _speculations(self, totals: _Totals) -> Iterator[Metric]:
        counts = CounterMetricFamily(
            "tolmach_speculations",
            "Work begun at a pause, by what came of it: used (hit), thrown away (miss), done again (failed).",
            labels=(*_LABELS, "outcome"),
        )
        for label, found in totals.elements.items():
            for outcome in _OUTCOMES:
                if outcome in found:
                    counts.add_metric((*label, outcome), found[outcome])
        yield counts
        wasted = CounterMetricFamily(
            "tolmach_speculation_wasted_seconds", "Computing that was thrown away with it.", labels=_LABELS
        )
        yield self._by_element(wasted, totals, _WASTED)

    def _voices(self, totals: _Totals) -> Metric:
        family = CounterMetricFamily(
            "tolmach_voice_texts",
            "Texts that voices were given: spoken, spoken faster to catch up (hurried), or left out (unspoken).",
            labels=(*_LABELS, "outcome"),
        )
        for label, found in totals.elements.items():
            for outcome in _SPOKEN:
                if outcome in found:
                    family.add_metric((*label, outcome), found[outcome])
        return family

    def _waiting(self, running: Iterable[Snapshot]) -> Iterator[Metric]:
        for key, (name, text, unit) in _QUEUE_NOW.items():
            now: defaultdict[tuple[str, str], float] = defaultdict(float)
            for figures in running:
                for element, figure in figures.queues.items():
                    now[self._label(figures.graph, element)] += figure.get(key, 0.0) * unit
            family = GaugeMetricFamily(f"tolmach_queue_{name}", text, labels=_LABELS)
            for label, value in now.items():
                family.add_metric(label, value)
            yield family


class _Totals:
    """Counters added up."""

    def __init__(self) -> None:
        self.receiver: defaultdict[str, float] = defaultdict(float)
        self.sender: defaultdict[str, float] = defaultdict(float)
        self.elements: defaultdict[tuple[str, str], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.rejected: Counts[str] = Counts()
        self.retries: Counts[str] = Counts()

    def add(self, figures: Snapshot, label: Callable[[str, str], tuple[str, str]]) -> None:
        for name in _RECEIVER:
            self.receiver[name] += figures.receiver.get(name, 0)
        for name in _SENDER:
            self.sender[name] += figures.sender.get(name, 0)
        for element, counts in figures.elements.items():
            for name in _ELEMENT:
                self.elements[label(figures.graph, element)][name] += counts.get(name) or 0
        for element, queue in figures.queues.items():
            self.elements[label(figures.graph, element)]["dropped"] += queue.get("dropped", 0)
        for element, counts in figures.speculations.items():
            for name in (*_OUTCOMES, _WASTED):
                self.elements[label(figures.graph, element)][name] += counts.get(name, 0)
        for element, texts in figures.voices.items():
            for name in (*_SPOKEN, _REPEATED):
                self.elements[label(figures.graph, element)][name] += texts.get(name, 0)
        self.rejected.update(figures.rejected)
        self.retries.update(figures.retries)

    def merge(self, other: _Totals) -> None:
        for name, value in other.receiver.items():
            self.receiver[name] += value
        for name, value in other.sender.items():
            self.sender[name] += value
        for label, counts in other.elements.items():
            for name, value in counts.items():
                self.elements[label][name] += value
        self.rejected.update(other.rejected)
        self.retries.update(other.retries)


def _by_reason(name: str, text: str, counts: Mapping[str, int], known: Iterable[str]) -> Metric:
    """A counter of few series: reasons that figures do not know are one, since elements may give any."""
    found = dict.fromkeys((*known, OTHER), 0)
    for reason, count in counts.items():
        found[reason if reason in found else OTHER] += count
    family = CounterMetricFamily(name, text, labels=["reason"])
    for reason, count in found.items():
        family.add_metric([reason], count)
    return family


def _fullness(places: Places) -> Iterator[Metric]:
    """What an autoscaler adds up over all servers; see docs/SCALE.md."""
    yield GaugeMetricFamily("tolmach_places", "Sessions that may be connected at a time.", value=places.most)
    yield GaugeMetricFamily(
        "tolmach_places_free", "Sessions that may begin now; 0 while the server is stopping.", value=places.free
    )
    yield GaugeMetricFamily("tolmach_ready", "1 when models are warm and sessions may begin.", value=places.ready)
    yield GaugeMetricFamily("tolmach_draining", "1 while the server is stopping.", value=places.draining)


def _tasks() -> int:
    """Tasks of the running event loop; 0 outside one. One that stays behind a session is a leak, and shows here."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


def _states(running: Iterable[Snapshot]) -> Iterator[Metric]:
    """Mean and maximum over all sessions: one bad connection must show beside many good ones."""
    for name, text, read in _STATES:
        values = [value / 1000 for figures in running if (value := read(figures)) is not None]
        family = GaugeMetricFamily(f"tolmach_{name}_seconds", text, labels=["over_sessions"])
        if values:
            family.add_metric(["mean"], sum(values) / len(values))
            family.add_metric(["max"], max(values))
        yield family


def _models(hosts: Iterable[HostFigures]) -> Iterator[Metric]:
    """What waits for the models, and how long it had to; a series a model, whoever asks it."""
    now = {
        "waiting": GaugeMetricFamily("tolmach_model_waiting", "Requests that wait for a model.", labels=["model"]),
        "under_way": GaugeMetricFamily(
            "tolmach_model_under_way", "Requests that a model has begun to answer.", labels=["model"]
        ),
    }
    dropped = CounterMetricFamily(
        "tolmach_model_dropped", "Requests whose caller was gone before the answer.", labels=["model"]
    )
    lost = CounterMetricFamily(
        "tolmach_model_lost", "Requests that were lost with a worker of a cluster.", labels=["model"]
    )
    busy = CounterMetricFamily(
        "tolmach_model_busy_seconds", "Time that a model has computed for requests.", labels=["model"]
    )
    times = {
        "waits": HistogramMetricFamily(
            "tolmach_model_wait_seconds", "From a request to a model to its first step.", labels=["model"]
        ),
        "answers": HistogramMetricFamily(
            "tolmach_model_answer_seconds", "From a request to a model to its answer.", labels=["model"]
        ),
    }
    for host in hosts:
        for name, gauge in now.items():
            gauge.add_metric([host.model], getattr(host, name))
        dropped.add_metric([host.model], host.dropped)
        lost.add_metric([host.model], host.lost)
        busy.add_metric([host.model], host.busy_s)
        for name, histogram in times.items():
            found: Times = getattr(host, name)
            counts = accumulate(found.counts)
            bounds = [*map(str, BOUNDS_S), "+Inf"]
            histogram.add_metric([host.model], list(zip(bounds, counts, strict=True)), found.sum_s)
    yield from (*now.values(), dropped, lost, busy, *times.values())
