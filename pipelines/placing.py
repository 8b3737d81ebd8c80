"""Where speech is laid on the time line of a recording: what a dubbed file and a mix have in common.

A voice knows nothing of source time: its utterances say when their source began and how much there is to hear. A
:class:`Timeline` turns that into silences and runs of samples, one behind the other from media time 0; a
:class:`Placer` feeds it with frames, and fits speech into the room it has. Both are pure: they count samples, never
look at a clock, and what comes out does not depend on how the input was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tolmach.pipelines.bus import PlacedMessage
from tolmach.pipelines.element import END_NS
from tolmach.pipelines.frames import (
    NS_PER_MS,
    NS_PER_S,
    AudioFrame,
    Frame,
    Samples,
    UtteranceEnd,
    UtteranceStart,
    ns_to_samples,
    samples_to_ns,
)
from tolmach.pipelines.tempo import change_tempo, changed_length

__all__ = ["MAX_SILENCE_NS", "Fit", "PlacedUtterance", "Placement", "Placer", "Timeline"]

Fit = Literal["none", "slot"]
"""Whether speech is made to fit: not at all, or into its slot, which ends where the source of the next one begins."""

MAX_SILENCE_NS = 24 * 3600 * NS_PER_S
"""The longest gap that is filled. More is a broken timestamp, and would fill the disk with silence."""

MAX_HELD_S = 1200
"""Speech of one utterance that waits to be fitted, s; more than ten thousand characters take. Bounds memory."""

_MAX_OPEN = 256  # utterances announced but not heard yet; bounds memory against elements that never close them

_SILENT_PEAK = 10 ** (-60 / 20)  # as in what voices leave out before their first sound


@dataclass(frozen=True, slots=True)
class PlacedUtterance:
    """An utterance that got its place on the time line.

    Attributes:
        utterance: Its number.
        source_start_ns: When its source started, ns.
        placed_ns: Where it starts, ns.
        tempo: How much faster than it came it is spoken there.
    """

    utterance: int
    source_start_ns: int
    placed_ns: int
    tempo: float = 1.0

    @property
    def lag_ns(self) -> int:
        """How much later than its source it starts, ns (never negative)."""
        return self.placed_ns - self.source_start_ns

    @property
    def message(self) -> PlacedMessage:
        """The same for the bus."""
        start_ns = self.source_start_ns
        return PlacedMessage(self.utterance, start_ns, self.placed_ns, self.lag_ns, self.tempo, pts_ns=start_ns)


class Timeline:
    """Decides how much silence goes before each run of samples. Pure: counts samples only.

    ``aligned``: an utterance starts at its source's start, or right behind what was written already if that is later;
    within it samples follow each other whatever their timestamps (a voice knows nothing of source time). Audio outside
    utterances goes to its own timestamp, or right behind. ``compact``: ``gap_ms`` between utterances, no other silence.

    Args:
        mode: ``aligned`` or ``compact``.
        gap_ms: Silence between utterances in ``compact``, ms.
    """

    def __init__(self, mode: Literal["aligned", "compact"], gap_ms: int) -> None:
        self._aligned = mode == "aligned"
        self._gap_ns = gap_ms * NS_PER_MS
        self._current: int | None = None
        self._starts: dict[int, int] = {}
        self.position = 0
        """Samples placed so far, silence included."""

    def start(self, utterance: int, source_start_ns: int) -> None:
        """An utterance is announced; it takes its place with its first sample, so that an empty one takes none."""
        if self._current == utterance:
            self._current = None
        self._starts.pop(utterance, None)
        if len(self._starts) >= _MAX_OPEN:
            del self._starts[next(iter(self._starts))]
        self._starts[utterance] = source_start_ns

    def end(self, utterance: int) -> None:
        """An utterance is over; the next samples of the same number are another one."""
        if self._current == utterance:
            self._current = None
        self._starts.pop(utterance, None)

    def place(
        self, samples: int, rate_hz: int, pts_ns: int, utterance: int | None
    ) -> tuple[int, PlacedUtterance | None]:
        """Place a run of consecutive samples.

        Args:
            samples: How many.
            rate_hz: The file's sample rate, Hz; the same in every call.
            pts_ns: Media time of the first one, ns.
            utterance: What they belong to, or None outside utterances.

        Returns:
            The silence to write before them, in samples, and the utterance if it starts here on an aligned timeline.

        Raises:
            ValueError: If a gap of more than :data:`MAX_SILENCE_NS` would have to be filled.
        """
        opened = None
        if utterance is None:
            silence = self._until(pts_ns, rate_hz) if self._aligned else 0
        elif utterance == self._current:
            silence = 0
        else:
            source_start_ns = self._starts.get(utterance, pts_ns)
            if self._aligned:
                silence = self._until(source_start_ns, rate_hz)
                placed_ns = samples_to_ns(self.position + silence, rate_hz)
                # Rounding to the sample may put it half a sample early; nobody is earlier than his source.
                opened = PlacedUtterance(utterance, source_start_ns, max(placed_ns, source_start_ns))
            else:
                silence = ns_to_samples(self._gap_ns, rate_hz) if self.position else 0
        self._current = utterance
        self.position += silence + samples
        return silence, opened

    def until(self, time_ns: int, rate_hz: int) -> int:
        """Silence up to a moment, in samples; none if that is over. It counts as placed.

        Raises:
            ValueError: As :meth:`place`.
        """
        silence = self._until(time_ns, rate_hz)
        self.position += silence
        return silence

    def skip(self, position: int) -> int:
        """Silence up to a sample, in samples; none if that is over. It counts as placed."""
        silence = max(0, position - self.position)
        self.position += silence
        return silence

    def _until(self, time_ns: int, rate_hz: int) -> int:
        silence = max(0, ns_to_samples(time_ns, rate_hz) - self.position)
        if silence > ns_to_samples(MAX_SILENCE_NS, rate_hz):
            hours = samples_to_ns(silence, rate_hz) / NS_PER_S / 3600
            raise ValueError(f"the timestamps jump ahead by {hours:.0f} hours")
        return silence


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A run of samples that got its place, behind the one before.

    Attributes:
        silence: Samples of silence before it.
        samples: What is heard there, float32[n, channels], at the tempo it came in.
        rate_hz: Sample rate, Hz.
        tempo: How much faster it is to be.
        placed: The utterance, if one starts here.
    """

    silence: int
    samples: Samples
    rate_hz: int
    tempo: float = 1.0
    placed: PlacedUtterance | None = None

    def render(self) -> Samples:
        """What is heard, float32[m, channels]; blocks for about a hundredth of its length where the tempo changes."""
        if self.tempo == 1.0:
            return self.samples
        return change_tempo(self.samples[:, 0], self.rate_hz, self.tempo)[:, None]


class Placer:
    """Lays frames out behind each other on a :class:`Timeline`, from media time 0, and fits speech if asked.

    ``fit: slot`` holds an utterance until it is known where the source of the next one begins. Speech that would reach
    beyond that first loses the silence at its end and then becomes faster, up to ``max_tempo``. What is still too long
    is neither cut nor laid over the next one: the next begins right behind it, later than its source, and has so much
    less room, so that a delay is caught up as soon as there is room again. :attr:`late` says how often that was needed.

    Args:
        mode: ``aligned`` or ``compact``.
        gap_ms: Silence between utterances in ``compact``, ms.
        fit: Whether speech is fitted; on an aligned time line alone.
        max_tempo: How much faster speech may become.
    """

    def __init__(
        self, mode: Literal["aligned", "compact"], gap_ms: int = 0, fit: Fit = "none", max_tempo: float = 1.3
    ) -> None:
        self._timeline = Timeline(mode, gap_ms)
        self._aligned = mode == "aligned"
        self._fits = fit == "slot" and self._aligned
        self._max_tempo = max_tempo
        self._held: _Utterance | None = None
        self._reached_ns = 0
        self.late = 0
        """Utterances that reach beyond their slot even at the highest tempo."""
        self.latest_ns = 0
        """By how much at most, ns."""

    @property
    def position(self) -> int:
        """Samples placed so far, silence included."""
        return self._timeline.position

    @property
    def reached_ns(self) -> int:
        """How far the stream is known to have come, ns: at its end the length of the recording."""
        return self._reached_ns

    def settled(self, rate_hz: int) -> int:
        """Up to which sample of the time line everything is known: nothing will be placed before it any more."""
        held = self._held
        if held is not None:
            return max(self.position, ns_to_samples(held.start_ns, rate_hz))
        return max(self.position, ns_to_samples(self._reached_ns, rate_hz))

    def take(self, frame: Frame) -> list[Placement]:
        """Take a frame; returns what got its place by it, in order.

        Raises:
            ValueError: If timestamps jump ahead by more than :data:`MAX_SILENCE_NS`, or speech that is to be fitted has
                several channels.
        """
        if isinstance(frame, UtteranceStart):
            placed = self._release(frame.pts_ns)
            self._timeline.start(frame.utterance, frame.pts_ns)
            if self._fits:
                self._held = _Utterance(frame.utterance, frame.pts_ns)
            return placed
        if isinstance(frame, UtteranceEnd):
            return self._closed(frame.utterance)
        if not isinstance(frame, AudioFrame) or not len(frame.samples):
            return []
        held = self._held
        if held is None or held.utterance != frame.utterance:
            return [*self._release(frame.pts_ns), self._placed(frame)]
        if frame.channels != 1:
            raise ValueError(
                "speech of several channels cannot be fitted; put a resample with channels: 1 before it, or fit: none"
            )
        held.take(frame)
        if held.count > MAX_HELD_S * frame.rate_hz:
            return self._release(None)
        return []

    def reach(self, time_ns: int) -> list[Placement]:
        """No frame with an earlier ``pts_ns`` follows (:data:`END_NS`: none at all). Returns what got its place."""
        if time_ns >= END_NS:
            return self._release(self._reached_ns or None)
        self._reached_ns = max(self._reached_ns, time_ns)
        return self._release_if_it_fits()

    def silence(self, position: int) -> int:
        """Whoever listens goes on without waiting: silence up to a sample, in samples. Nothing is placed before it."""
        return self._timeline.skip(position)

    def finish(self) -> list[Placement]:
        """Nothing follows: place what is held, in the room up to the end of the recording."""
        return self.reach(END_NS)

    def rest(self, rate_hz: int) -> int:
        """After :meth:`finish`: the silence up to the end of the recording, in samples; it counts as placed.

        Raises:
            ValueError: As :meth:`take`.
        """
        return self._timeline.until(self._reached_ns, rate_hz) if self._aligned else 0

    def _placed(self, frame: AudioFrame) -> Placement:
        if frame.utterance is None:  # it tells the time itself
            self._reached_ns = max(self._reached_ns, frame.end_ns)
        silence, placed = self._timeline.place(len(frame.samples), frame.rate_hz, frame.pts_ns, frame.utterance)
        return Placement(silence, frame.samples, frame.rate_hz, placed=placed)

    def _closed(self, utterance: int) -> list[Placement]:
        held = self._held
        if held is None or held.utterance != utterance:
            self._timeline.end(utterance)
            return []
        held.closed = True
        return self._release_if_it_fits()

    def _release_if_it_fits(self) -> list[Placement]:
        held = self._held
        if held is None or not held.closed:
            return []
        if held.count:
            end = max(self.position, ns_to_samples(held.start_ns, held.rate_hz)) + held.count
            if ns_to_samples(self._reached_ns, held.rate_hz) < end:
                return []
        return self._release(None)

    def _release(self, slot_end_ns: int | None) -> list[Placement]:
        """Place what is held; its slot ends there, or nowhere."""
        held, self._held = self._held, None
        if held is None:
            return []
        if not held.count:
            self._timeline.end(held.utterance)
            return []
        samples, rate_hz, tempo, end = held.whole(), held.rate_hz, 1.0, None
        if slot_end_ns is not None:
            end = ns_to_samples(slot_end_ns, rate_hz)
            room = end - max(self.position, ns_to_samples(held.start_ns, rate_hz))
            samples = samples[: max(room, _sounding(samples))]
            if len(samples) > room:
                tempo = min(self._max_tempo, len(samples) / max(room, 1))
        if not len(samples):
            self._timeline.end(held.utterance)
            return []
        length = changed_length(len(samples), tempo)
        silence, placed = self._timeline.place(length, rate_hz, held.start_ns, held.utterance)
        self._timeline.end(held.utterance)
        if placed is not None:
            placed = PlacedUtterance(placed.utterance, placed.source_start_ns, placed.placed_ns, tempo)
        if end is not None and self.position > end:
            self.late += 1
            self.latest_ns = max(self.latest_ns, samples_to_ns(self.position - end, rate_hz))
        return [Placement(silence, samples, rate_hz, tempo, placed)]


class _Utterance:
    """Speech that waits for its slot to be known."""

    def __init__(self, utterance: int, start_ns: int) -> None:
        self.utterance = utterance
        self.start_ns = start_ns
        self.rate_hz = 0
        self.count = 0
        self.closed = False
        self._blocks: list[Samples] = []

    def take(self, frame: AudioFrame) -> None:
        self.rate_hz = frame.rate_hz
        self.count += len(frame.samples)
        self._blocks.append(frame.samples)

    def whole(self) -> Samples:
        return np.concatenate(self._blocks)


def _sounding(samples: Samples) -> int:
    """How many samples there are up to the last that can be heard."""
    loud = np.flatnonzero(np.abs(samples[:, 0]) > _SILENT_PEAK)
    return int(loud[-1]) + 1 if len(loud) else 0
