"""Where utterances begin and end, as a pure state machine on speech decisions.

::

            speech for (doubtful_)onset_ms    min_utterance_ms of speech
    idle ───────────────────────► tentative ──────────────────────────► open ──► max_utterance_ms: cut, stay open
     ▲                                │ silence for hangover_ms           │ silence for hangover_ms, or for less if
     │                                │                                   │ what is known says that it was the end
     └────────────────────────────────┴───────────────────────────────────┘

How much silence ends an utterance is decided in :mod:`tolmach.processors.vad.ending`. What it is decided on, the
machine asks for at a window (:attr:`Endpointer.asks`) and is told before the next.

Time is counted in samples from the start of the stream. Decisions come for consecutive windows of any length; nothing
here knows detectors, frames, clocks or event loops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import CutBy, EndReason, TranslationEvidence
from tolmach.processors.vad.ending import Ending, Evidence, OwnPauses, Wait, silence_needed

CONTEXT_MS = 50
"""Audio on each side of a possible cut over which its loudness is measured: shorter finds the closure of a plosive
inside a word, longer misses short pauses."""

Mono: TypeAlias = npt.NDArray[np.float32]
"""float32[n], mono, [-1, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpointing:
    """Parameters.

    Attributes:
        rate_hz: Sample rate, Hz.
        onset_threshold: Decision from which a window of silence becomes speech.
        offset_threshold: Decision below which speech becomes silence again; at most ``onset_threshold``.
        confident_threshold: Decision that leaves no doubt.
        onset_ms: Unbroken speech that may begin an utterance, if a decision in it leaves no doubt.
        doubtful_onset_ms: Unbroken speech that may begin an utterance otherwise.
        min_utterance_ms: Speech it must hold before it opens.
        hangover_ms: Silence that closes it, whatever is known.
        pre_roll_ms: Audio before the onset that belongs to it, as far as no earlier utterance owns it.
        post_roll_ms: Audio after its last speech that belongs to it; at most ``hangover_ms``.
        max_utterance_ms: Longest utterance.
        cut_search_ms: Where a longer one may be cut: this much before ``max_utterance_ms``.
        pause_ms: Silence at which an open utterance is said to pause, at least ``post_roll_ms``, or None.
        ending: What closes it earlier, or None.
        ask_ms: Silence at which a turn detector is asked, if the ending wants one.
    """

    rate_hz: int
    onset_threshold: float
    offset_threshold: float
    confident_threshold: float
    onset_ms: int
    doubtful_onset_ms: int
    min_utterance_ms: int
    hangover_ms: int
    pre_roll_ms: int
    post_roll_ms: int
    max_utterance_ms: int
    cut_search_ms: int
    pause_ms: int | None = None
    ending: Ending | None = None
    ask_ms: int = 0

    def samples(self, duration_ms: int) -> int:
        """Sample periods in a duration, rounded down."""
        return duration_ms * self.rate_hz // 1000


@dataclass(frozen=True, slots=True)
class Opened:
    """Utterance ``utterance`` begins at sample ``start``; its audio follows."""

    utterance: int
    start: int


@dataclass(frozen=True, slots=True)
class Passed:
    """The next samples of an utterance, the first of them at sample ``start`` of the stream."""

    utterance: int
    start: int
    samples: Mono


@dataclass(frozen=True, slots=True)
class Paused:
    """All samples from ``start`` up to ``end`` have passed, where the utterance ends if no speech follows.

    Said once in each silence, unless the utterance ends at the same window.
    """

    utterance: int
    start: int
    end: int
    speech_end: int


@dataclass(frozen=True, slots=True)
class Closed:
    """All samples from ``start`` up to, not including, ``end`` have passed; the last speech ended at ``speech_end``."""

    utterance: int
    start: int
    end: int
    speech_end: int
    reason: EndReason
    cut_by: CutBy | None = None
    cut: str = ""


Event: TypeAlias = Opened | Passed | Paused | Closed


class Endpointer:
    """The state machine.

    Args:
        parameters: Where to cut.
        first_utterance: Number of the first utterance.
        own_pauses: What was learnt of the speaker before.
    """

    def __init__(
        self, parameters: Endpointing, *, first_utterance: int = 1, own_pauses: OwnPauses | None = None
    ) -> None:
        self._cut = CutSearch(parameters.samples(CONTEXT_MS), 0)
        self._adopt(parameters)
        self._utterance = first_utterance
        self._state: Literal["idle", "tentative", "open"] = "idle"
        self._held = _Held()
        self._start = 0  # of the utterance in hand
        self._speech = 0  # samples of speech in the run (idle) or in the utterance (tentative)
        self._speech_end = 0  # end of the last window of speech
        self._onset_at = 0  # where the speech began that may be, or is, an utterance
        self._confident = False  # whether a decision in the run left no doubt
        self._paused_at = -1  # end of the speech whose pause was told
        self._asked_at = -1  # end of the speech about which a turn detector was asked
        self._last_speech_end = -1  # of the utterance before
        self._evidence = Evidence(own_pauses=own_pauses or OwnPauses())

    def _adopt(self, parameters: Endpointing) -> None:
        samples = parameters.samples
        self._wanted: Endpointing | None = None
        self._parameters = parameters
        self._onset = samples(parameters.onset_ms)
        self._doubtful_onset = max(self._onset, samples(parameters.doubtful_onset_ms))
        self._minimum = samples(parameters.min_utterance_ms)
        self._hangover = samples(parameters.hangover_ms)
        ending = parameters.ending
        self._ask = samples(parameters.ask_ms) if ending is not None and ending.turn_threshold is not None else None
        self._pre_roll = samples(parameters.pre_roll_ms)
        self._post_roll = samples(parameters.post_roll_ms)
        pause_ms = parameters.pause_ms
        self._pause = None if pause_ms is None else max(samples(pause_ms), self._post_roll)
        self._maximum = samples(parameters.max_utterance_ms)
        self._cut.search = samples(parameters.cut_search_ms)

    def change(self, parameters: Endpointing) -> None:
        """Cut otherwise from the next utterance on; one that is open, or about to be, ends as it began."""
        self._wanted = parameters

    @property
    def utterance(self) -> int:
        """Number of the utterance in hand, or of the next one."""
        return self._utterance

    @property
    def is_open(self) -> bool:
        """Whether an utterance is open."""
        return self._state == "open"

    @property
    def at_rest(self) -> bool:
        """Whether there is no sign of speech: no utterance open, and the last window was silent."""
        return self._state == "idle" and not self._speech

    @property
    def own_pauses(self) -> OwnPauses:
        """What was learnt of the speaker so far."""
        return self._evidence.own_pauses

    @property
    def asks(self) -> range | None:
        """The samples about which a turn detector is to be asked before the next window; None if it is not.

        They are those of the utterance so far, the silence at its end included: the same for the same stream. Asked
        once in each silence; the answer goes to :meth:`judge_finished`.
        """
        if self._ask is None or self._state != "open" or self._asked_at == self._speech_end:
            return None
        silence = self._held.end - self._speech_end
        return range(self._start, self._held.end) if silence >= max(self._ask, 1) else None

    def judge_finished(self, probability: float) -> list[Event]:
        """Take a turn detector's answer (0 goes on … 1 finished); return what follows from it."""
        self._asked_at = self._speech_end
        self._evidence = replace(self._evidence, finished=probability)
        return list(self._close("silence")) if self._state == "open" and self._is_over() else []

    def judge_translation(self, speech_end: int, evidence: TranslationEvidence) -> None:
        """Take what a translator says of the silence behind ``speech_end``; it counts from the next window on.

        It may come late: when the speaker goes on already, it is of no use any more.
        """
        if self._state == "open" and self._speech_end == speech_end:
            self._evidence = replace(self._evidence, translation=evidence)

    @property
    def heard(self) -> int:
        """Samples of the stream that were decided on."""
        return self._held.end

    @property
    def settled(self) -> int:
        """No later event starts before this sample: what lies before it was passed on or thrown away."""
        return self._held.start

    def push(self, window: Mono, decision: float) -> list[Event]:
        """Take the next window and what the detector thinks of it (0 silence … 1 speech); return what follows from it.

        The window must not be written to afterwards: events hold views of it.
        """
        return list(self._push(window, decision)) if len(window) else []

    def finish(self, reason: EndReason = "eos") -> list[Event]:
        """End of the stream: close what is open. Another stream needs another machine."""
        return list(self._finish(reason))

    def _push(self, window: Mono, decision: float) -> Iterator[Event]:
        if self._wanted is not None and self._state == "idle":
            self._adopt(self._wanted)
        self._held.append(window)
        threshold = self._parameters.onset_threshold if self._state == "idle" else self._parameters.offset_threshold
        speech = decision >= threshold
        if speech:
            if self._state == "open" and self._speech_end < self._held.end - len(window):
                self._resume(self._held.end - len(window) - self._speech_end)
            self._speech += len(window)
            self._speech_end = self._held.end
        if self._state == "idle":
            self._idle(speech, decision)
        silent = not speech and self._is_over()
        if self._state == "tentative":
            if self._speech >= self._minimum:
                yield self._open(self._start)
                yield from self._release()
            elif silent:
                self._rest()
        elif self._state == "open":
            self._cut.push(window, speech)
            if silent:
                yield from self._close("silence")
            else:
                yield from self._release()
                yield from self._tell_pause()

    def _is_over(self) -> bool:
        """Whether there was as much silence as ends the utterance with what is known."""
        silence = self._held.end - self._speech_end
        if silence >= self._hangover:
            return True
        ending = self._parameters.ending
        if ending is None or self._state != "open":
            return False
        return silence >= self._parameters.samples(silence_needed(ending, self._evidence).silence_ms)

    def _resume(self, pause: int) -> None:
        """The speaker goes on after so many samples of silence."""
        pause_ms = pause * 1000 / self._parameters.rate_hz
        self._evidence = self._evidence.of_next_pause(pause_ms)

    def _finish(self, reason: EndReason) -> Iterator[Event]:
        if self._state == "tentative" and self._speech_end == self._held.end:
            # Cut off in mid-word: what began as speech is kept even if it is short.
            yield self._open(self._start)
        if self._state == "open":
            yield from self._close(reason)
        self._rest()

    def _idle(self, speech: bool, decision: float) -> None:
        if speech:
            self._confident = self._confident or decision >= self._parameters.confident_threshold
        else:
            self._speech = 0
            self._confident = False
        onset = self._held.end - self._speech
        self._held.drop(onset - self._pre_roll)
        if speech and self._speech >= (self._onset if self._confident else self._doubtful_onset):
            self._state = "tentative"
            self._start = self._held.start
            self._onset_at = onset

    def _open(self, start: int) -> Opened:
        self._state = "open"
        self._start = start
        self._evidence = self._evidence.of_next_pause(None)
        pause = self._onset_at - self._last_speech_end
        if self._last_speech_end >= 0 and 0 < pause < self._hangover:
            self._resume(pause)  # the end before this one was none: the hangover would have kept both together
        self._last_speech_end = -1
        self._cut.restart(start + self._maximum, self._held.end)
        return Opened(self._utterance, start)

    def _release(self) -> Iterator[Event]:
        """Pass on what belongs to the utterance whatever follows."""
        while self._state == "open" and self._held.end - self._start >= self._maximum:
            yield from self._cut_here()
        if self._state == "open":
            # Silence past the post-roll belongs to it only if speech resumes, audio past the best cut only if a later
            # cut is found.
            yield from self._pass(min(self._owned(), self._cut.earliest))

    def _tell_pause(self) -> Iterator[Event]:
        if self._pause is None or self._state != "open" or self._paused_at == self._speech_end:
            return
        if self._held.end - self._speech_end < self._pause:
            return
        end = self._owned()
        if end - self._start > self._maximum:
            return  # it is about to be cut before that
        self._paused_at = self._speech_end
        self._cut.pass_by(end)
        yield from self._pass(end)
        yield Paused(self._utterance, self._start, end, self._speech_end)

    def _pass(self, until: int) -> Iterator[Event]:
        for start, samples in self._held.take(until):
            yield Passed(self._utterance, start, samples)

    def _owned(self) -> int:
        """End of the utterance if no speech follows."""
        return min(self._held.end, self._speech_end + self._post_roll)

    def _close(self, reason: EndReason) -> Iterator[Event]:
        # The last window, or all that was held back until the utterance opened, may reach beyond the maximum.
        while self._state == "open" and self._owned() - self._start > self._maximum:
            yield from self._cut_here()
        if self._state == "open":
            yield from self._finish_at(self._owned(), reason)
            self._rest()

    def _cut_here(self) -> Iterator[Event]:
        cut = min(self._cut.best, self._owned())
        yield from self._finish_at(cut, "maximum")
        if self._speech_end > cut:
            yield self._open(cut)
        else:
            self._rest()

    def _finish_at(self, end: int, reason: EndReason) -> Iterator[Event]:
        yield from self._pass(end)
        speech_end = min(self._speech_end, end)
        cut_by, cut = self._why(reason)
        yield Closed(self._utterance, self._start, end, speech_end, reason, cut_by, cut)
        self._last_speech_end = speech_end
        self._utterance += 1
        if self._wanted is not None:
            self._adopt(self._wanted)

    def _why(self, reason: EndReason) -> tuple[CutBy | None, str]:
        silence_ms = (self._held.end - self._speech_end) * 1000 // self._parameters.rate_hz
        if reason != "silence":
            return None, ""
        if not self._is_over():
            return None, "a gap in the stream"
        ending = self._parameters.ending
        wait = Wait(self._parameters.hangover_ms, "pause")
        if ending is not None:
            wait = silence_needed(ending, self._evidence)
        return wait.by, wait.words(self._evidence, silence_ms)

    def _rest(self) -> None:
        self._state = "idle"
        self._speech = 0
        self._confident = False
        self._held.drop(self._held.end - self._pre_roll)


class _Held:
    """Samples not passed on yet: a queue of windows that knows its place in the stream."""

    def __init__(self) -> None:
        self._windows: deque[Mono] = deque()
        self.start = 0
        self.end = 0

    def append(self, window: Mono) -> None:
        self._windows.append(window)
        self.end += len(window)

    def take(self, until: int) -> Iterator[tuple[int, Mono]]:
        """Remove and return what lies before ``until``, window by window."""
        while self.start < min(until, self.end):
            window = self._windows.popleft()
            room = until - self.start
            if len(window) > room:
                self._windows.appendleft(window[room:])
                window = window[:room]
            self.start += len(window)
            yield self.start - len(window), window

    def drop(self, until: int) -> None:
        """Remove what lies before ``until``."""
        for _ in self.take(until):
            pass


class CutSearch:
    """Looks for the quietest boundary between windows near the maximum length.

    A boundary in silence beats any boundary in speech; among equals the one with less energy in the
    :data:`CONTEXT_MS` on both sides wins, and of equally quiet ones the later.

    Args:
        context: Samples on each side, :data:`CONTEXT_MS` of them.
        search: How far before the limit a cut may be, samples.

    Attributes:
        search: The same; may be changed before :meth:`restart`.
        best: Where to cut if it has to be now.
        earliest: No cut will be made before this sample.
    """

    def __init__(self, context: int, search: int) -> None:
        self._context = context
        self.search = search
        self._recent: deque[tuple[int, bool, float]] = deque()  # end of window, speech, energy
        self.restart(0, 0)

    def restart(self, limit: int, position: int) -> None:
        """Begin for an utterance that must end by ``limit``; the stream is at ``position``."""
        self._recent.clear()
        self._limit = limit
        self._position = position
        self._passed = 0
        self._quietest: tuple[bool, float] | None = None
        self.best = limit
        self.earliest = limit - self.search

    def pass_by(self, position: int) -> None:
        """Audio up to ``position``, in silence, passes on now: cut there at the earliest."""
        self._passed = position
        self.best = max(self.best, position)
        self.earliest = max(self.earliest, position)

    def push(self, window: Mono, speech: bool) -> None:
        """Look at the next window."""
        self._position += len(window)
        if self._position < self._limit - self.search - self._context:
            return
        self._recent.append((self._position, speech, float(np.square(window, dtype=np.float64).sum())))
        while len(self._recent) > 1 and self._recent[1][0] <= self._position - 2 * self._context - 2 * len(window):
            self._recent.popleft()
        boundary = max((end for end, _, _ in self._recent if end <= self._position - self._context), default=0)
        if not max(self._limit - self.search, self._passed) <= boundary <= self._limit:
            return
        around = [(s, e) for end, s, e in self._recent if end > boundary - self._context]
        loudness = (any(s for s, _ in around), sum(e for _, e in around))
        if self._quietest is None or loudness <= self._quietest:
            self._quietest = loudness
            self.best = self.earliest = boundary
