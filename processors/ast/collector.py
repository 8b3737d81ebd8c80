"""Collecting an utterance: the frames between its start and its end, put together and bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    samples_to_ns,
)

__all__ = ["Utterance", "UtteranceCollector"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """A whole utterance.

    Attributes:
        number: Its number, as the VAD counted it.
        pts_ns: Media time of the first sample, ns.
        end_ns: Media time just after the last sample, ns.
        samples: float32[n], mono, [-1, 1]; empty when there is a ``fault``.
        fault: Why it cannot be used ("longer than 60 s", …), or None.
        decided_ns: Media time up to which audio had been heard when it was whole, ns, or None.
        cut: Whether it was ended for its length.
    """

    number: int
    pts_ns: int
    end_ns: int
    samples: Samples
    fault: str | None = None
    decided_ns: int | None = None
    cut: bool = False


class UtteranceCollector:
    """Puts the frames between an utterance's start and end together.

    Audio outside an utterance is ignored, and so is the rest of an utterance whose start was dropped.

    Args:
        max_samples: Longest utterance kept, samples; of a longer one only its span is remembered, so that a VAD gone
            wrong cannot fill the memory.
        rate_hz: Rate of the audio, Hz.
    """

    def __init__(self, max_samples: int, rate_hz: int = 16000) -> None:
        self._max_samples = max_samples
        self._rate_hz = rate_hz
        self._start: UtteranceStart | None = None
        self._blocks: list[Samples] = []
        self._total = 0

    @property
    def start_ns(self) -> int | None:
        """Where the open utterance starts, ns; None when none is open."""
        return self._start.pts_ns if self._start is not None else None

    def take(self, frame: Frame) -> Utterance | None:
        """Take the next frame; returns the utterance it completes.

        Raises:
            ValueError: If the audio is not mono at the collector's rate.
        """
        if isinstance(frame, UtteranceStart):
            unfinished = self.flush()
            self._start = frame
            return unfinished
        if self._start is None or frame.utterance != self._start.utterance:
            return None
        if isinstance(frame, AudioFrame):
            self._append(frame)
            return None
        if isinstance(frame, UtteranceEnd):
            fault = "lost to a failure upstream" if frame.reason == "error" else None
            utterance = self._finish(self._start, frame.end_ns, fault, frame.decided_ns)
            return replace(utterance, cut=True) if frame.reason == "maximum" else utterance
        return None

    def so_far(self, pause: UtterancePause) -> Utterance | None:
        """What :meth:`take` will return if the open utterance ends at this pause; None where it is not the open one."""
        if self._start is None or pause.utterance != self._start.utterance:
            return None
        return self._whole(self._start, pause.end_ns, None)

    def flush(self) -> Utterance | None:
        """The utterance that is still open, as far as it came."""
        if self._start is None:
            return None
        return self._finish(self._start, self._start.pts_ns + samples_to_ns(self._total, self._rate_hz), None)

    def drop(self, number: int | None = None) -> None:
        """Forget the open utterance, or only if it has this number."""
        if self._start is not None and number in (None, self._start.utterance):
            self._start = None
            self._blocks = []
            self._total = 0

    def _append(self, frame: AudioFrame) -> None:
        if frame.rate_hz != self._rate_hz or frame.channels != 1:
            raise ValueError(
                f"utterance audio must be mono at {self._rate_hz} Hz, got {frame.channels} channels at "
                f"{frame.rate_hz} Hz; put a resample element before the VAD"
            )
        self._total += len(frame.samples)
        if self._total <= self._max_samples:
            self._blocks.append(frame.samples[:, 0])
        else:
            self._blocks = []

    def _finish(
        self, start: UtteranceStart, end_ns: int, fault: str | None, decided_ns: int | None = None
    ) -> Utterance:
        utterance = self._whole(start, end_ns, fault, decided_ns)
        self.drop()
        return utterance

    def _whole(self, start: UtteranceStart, end_ns: int, fault: str | None, decided_ns: int | None = None) -> Utterance:
        if self._total > self._max_samples:
            fault = f"longer than {self._max_samples / self._rate_hz:g} s"
        whole = fault is None and self._blocks
        samples = np.concatenate(self._blocks) if whole else np.zeros(0, np.float32)
        return Utterance(start.utterance, start.pts_ns, end_ns, samples, fault, decided_ns)
