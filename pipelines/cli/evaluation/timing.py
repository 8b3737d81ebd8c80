"""How late texts come behind the end of speech, and when a listener would hear the voice.

A dub in a file lies where it fits; what is worked out here is what a listener hears live: an utterance's voice begins
when its text is there and the one before it has been said. Offsets are those of SimulEval's speech metrics: StartOffset
from where the source begins to where its voice does, EndOffset from end to end. If the voice is slower than the
speaker, the end offset grows: its drift is the slope over the recording.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tolmach.pipelines.cli.evaluation.observation import Cut, Observation, Spoken, Text

MIN_DRIFT = 3
"""Utterances from which a slope is told."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Many values in a few.

    Attributes:
        count: How many.
        mean: Their mean.
        p50: Their median.
        p95: What one in twenty exceeds.
        most: The largest.
    """

    count: int
    mean: float
    p50: float
    p95: float
    most: float


def distribution(values: Iterable[float]) -> Distribution | None:
    """What values come to, rounded to milliseconds; None without any."""
    ordered = sorted(values)
    if not ordered:
        return None
    mean = statistics.fmean(ordered)
    numbers = (mean, quantile(ordered, 0.5), quantile(ordered, 0.95), ordered[-1])
    return Distribution(len(ordered), *(round(number, 3) for number in numbers))


def quantile(ordered: Sequence[float], share: float) -> float:
    """A quantile of sorted values, between two of them by their distance (numpy's default)."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def decided_s(text: Text, cuts: Sequence[Cut]) -> float:
    """Up to where the recording had been heard when a text was settled, s.

    As it says itself, else when its utterance was closed, else the end of its span.
    """
    if text.decided_s is not None:
        return text.decided_s
    cut = next((c for c in cuts if c.utterance == text.utterance), None)
    return cut.decided_s if cut is not None and cut.decided_s is not None else text.end_s


@dataclass(frozen=True, slots=True)
class Lag:
    """How long after the end of its speech the last text of an utterance came, s.

    Attributes:
        unaware_s: Computing left out.
        aware_s: Computing included; None where nobody knows.
    """

    unaware_s: float
    aware_s: float | None


def text_lags(seen: Observation, texts: Sequence[Text]) -> list[Lag]:
    """For each utterance with a text, how long after its speech its text was whole."""
    last: dict[int, Text] = {}
    for text in texts:
        if text.text:
            last[text.utterance] = text
    ends = {c.utterance: c.speech_end_s if c.speech_end_s is not None else c.end_s for c in seen.cuts}
    return [
        Lag(
            round(decided_s(text, seen.cuts) - ends[number], 3),
            None if text.aware_s is None else round(text.aware_s - ends[number], 3),
        )
        for number, text in last.items()
        if number in ends
    ]


@dataclass(frozen=True, slots=True)
class Heard:
    """When a listener hears an utterance's voice.

    Attributes:
        spoken: What is said.
        text: The text that was given to the voice; "" where it cannot be told.
        start_s: When it begins, computing left out, s.
        aware_s: When it begins, computing included, s.
        start_offset_s: From the begin of its source, computing left out, s.
        end_offset_s: From the end of its source to its own, likewise, s.
        aware_start_offset_s: As ``start_offset_s``, computing included, s.
        aware_end_offset_s: As ``end_offset_s``, computing included, s.
    """

    spoken: Spoken
    text: str
    start_s: float
    aware_s: float
    start_offset_s: float
    end_offset_s: float
    aware_start_offset_s: float
    aware_end_offset_s: float


def play_out(seen: Observation, texts: Sequence[Text]) -> list[Heard]:
    """Let the voice speak as a listener would hear it."""
    waiting: dict[int, list[Text]] = {}
    for each in texts:
        if each.text.strip():
            waiting.setdefault(each.utterance, []).append(each)
    heard: list[Heard] = []
    free_s = aware_free_s = 0.0
    for spoken in seen.spoken:
        mine = waiting.get(spoken.utterance, [])
        text = mine.pop(0) if len(mine) > 1 else mine[0] if mine else None
        end_s = spoken.source_end_s if spoken.source_end_s is not None else spoken.source_start_s
        decided = decided_s(text, seen.cuts) if text is not None else end_s
        aware = text.aware_s if text is not None and text.aware_s is not None else decided
        start_s = max(decided, free_s)
        aware_s = max(spoken.heard_s if spoken.heard_s is not None else aware, aware_free_s)
        free_s, aware_free_s = start_s + spoken.duration_s, aware_s + spoken.duration_s
        heard.append(
            Heard(
                spoken=spoken,
                text=text.text if text is not None else "",
                start_s=round(start_s, 3),
                aware_s=round(aware_s, 3),
                start_offset_s=round(start_s - spoken.source_start_s, 3),
                end_offset_s=round(free_s - end_s, 3),
                aware_start_offset_s=round(aware_s - spoken.source_start_s, 3),
                aware_end_offset_s=round(aware_free_s - end_s, 3),
            )
        )
    return heard


def drift_s_per_min(heard: Sequence[Heard]) -> float | None:
    """By how much the end offset grows, s a minute of recording (least squares); None for too few utterances."""
    if len(heard) < MIN_DRIFT:
        return None
    at = [h.spoken.source_start_s / 60 for h in heard]
    if max(at) - min(at) <= 0:
        return None
    return round(statistics.linear_regression(at, [h.end_offset_s for h in heard]).slope, 3)
