"""Where audio lands in a file: silence before it, and how late an utterance is. Pure, counts samples only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, ns_to_samples, samples_to_ns

__all__ = ["MAX_SILENCE_NS", "Placed", "Timeline"]

MAX_SILENCE_NS = 24 * 3600 * NS_PER_S
"""The longest gap that is filled. More is a broken timestamp, and would fill the disk with silence."""

_MAX_OPEN = 256  # utterances announced but not heard yet; bounds memory against elements that never close them


@dataclass(frozen=True, slots=True)
class Placed:
    """An utterance that got its place in the file.

    Attributes:
        utterance: Its number.
        source_start_ns: When its source started, ns.
        placed_ns: Where it starts in the file, ns.
    """

    utterance: int
    source_start_ns: int
    placed_ns: int

    @property
    def lag_ns(self) -> int:
        """How much later than its source it starts, ns (never negative)."""
        return self.placed_ns - self.source_start_ns


class Timeline:
    """Decides how much silence goes before each run of samples.

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

    def place(self, samples: int, rate_hz: int, pts_ns: int, utterance: int | None) -> tuple[int, Placed | None]:
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
                opened = Placed(utterance, source_start_ns, max(placed_ns, source_start_ns))
            else:
                silence = ns_to_samples(self._gap_ns, rate_hz) if self.position else 0
        self._current = utterance
        self.position += silence + samples
        return silence, opened

    def _until(self, time_ns: int, rate_hz: int) -> int:
        silence = max(0, ns_to_samples(time_ns, rate_hz) - self.position)
        if silence > ns_to_samples(MAX_SILENCE_NS, rate_hz):
            hours = samples_to_ns(silence, rate_hz) / NS_PER_S / 3600
            raise ValueError(f"the timestamps jump ahead by {hours:.0f} hours")
        return silence
