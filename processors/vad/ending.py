"""How much silence ends an utterance: one decision on what is known of a pause.

The hangover is the most that is ever waited for. Evidence that the speaker has finished shortens it: the judgement of a
turn detector, the speaker's own pauses, a translation that is whole. All of it is optional, all times are media time,
and nothing here knows models, frames, clocks or event loops.
"""

from __future__ import annotations

from dataclasses import dataclass

from tolmach.pipelines.frames import CutBy, TranslationEvidence

MEAN_WEIGHT = 0.9
"""What a learnt mean keeps of itself at each new pause: ``alpha`` of LiveKit's DynamicEndpointing
(livekit-agents/livekit/agents/voice/endpointing.py)."""

DEVIATION_WEIGHT = 0.75
"""The same of the mean deviation, which has to follow faster: 1 - beta of TCP's retransmission timer (RFC 6298)."""


SURE_END_LOGPROB = -0.7
"""A translation ends surely if its end was likelier than any other token together: ln 0.5."""

LEAST_PAUSE_MS = 100
"""Shorter silences are sounds, the closures of plosives, and no pauses: ``min_silence`` of LiveKit's eot-bench."""


LEAST_MARGIN_MS = 100
"""What is waited for above the mean at least, however evenly somebody pauses; RFC 6298 has the clock's granularity
here."""


@dataclass(frozen=True, slots=True)
class OwnPauses:
    """The pauses inside a speaker's sentences, learnt by moving average.

    LiveKit waits for the mean alone, and so cuts at every second pause; here the mean deviation is learnt too, as TCP's
    retransmission timer does for the same question, how long to wait for what usually comes (RFC 6298).

    Attributes:
        count: How many were heard.
        mean_ms: Their moving average, ms.
        deviation_ms: Their mean deviation from it, ms.
    """

    count: int = 0
    mean_ms: float = 0.0
    deviation_ms: float = 0.0

    def heard(self, pause_ms: float) -> OwnPauses:
        """With one pause more, after which the speaker went on."""
        if not self.count:
            return OwnPauses(1, pause_ms, pause_ms / 2)
        # The first ones count in full, or a mean that began at the first pause would stay there for ten more.
        keep = min(MEAN_WEIGHT, self.count / (self.count + 1))
        deviation_ms = DEVIATION_WEIGHT * self.deviation_ms + (1 - DEVIATION_WEIGHT) * abs(pause_ms - self.mean_ms)
        return OwnPauses(self.count + 1, keep * self.mean_ms + (1 - keep) * pause_ms, deviation_ms)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a pause so far; None and False where nothing is.

    Attributes:
        finished: Probability that the speaker has finished, by a turn detector, 0 … 1.
        own_pauses: What was learnt of the speaker.
        translation: What a translator says of the audio so far; None while it has said nothing, or cannot.
    """

    finished: float | None = None
    own_pauses: OwnPauses = OwnPauses()
    translation: TranslationEvidence | None = None

    def of_next_pause(self, pause_ms: float | None) -> Evidence:
        """What stays known when the speaker goes on, after a pause of ``pause_ms`` (None: not after one)."""
        own = self.own_pauses
        if pause_ms is not None and pause_ms >= LEAST_PAUSE_MS:
            own = own.heard(pause_ms)
        return Evidence(own_pauses=own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How much silence ends an utterance, by what is known.

    Attributes:
        shortest_ms: Least silence, whatever is known.
        longest_ms: Silence that ends it whatever is known: the hangover.
        turn_threshold: Probability from which the speaker counts as finished; None: no turn detector is asked.
        unfinished_threshold: Probability below which the speaker surely goes on, so that nothing else shortens the
            wait.
        adaptive: Whether the speaker's own pauses count.
        own_pauses_deviations: How many mean deviations above the mean of the speaker's pauses are waited for.
        least_pauses: Pauses that must have been heard before they count.
    """

    shortest_ms: int
    longest_ms: int
    turn_threshold: float | None = None
    unfinished_threshold: float = 0.0
    adaptive: bool = False
    own_pauses_deviations: float = 3.0
    least_pauses: int = 3


@dataclass(frozen=True, slots=True)
class Wait:
    """The decision.

    Attributes:
        silence_ms: Silence that ends the utterance, ms.
        by: What it was decided by.
    """

    silence_ms: int
    by: CutBy

    def words(self, evidence: Evidence, silence_ms: int) -> str:
        """Why, for people, after ``silence_ms`` of silence."""
        own = evidence.own_pauses
        why = {
            "pause": "",
            "turn": f"heard as finished ({evidence.finished or 0:.2f}), ",
            "own_pauses": f"longer than the speaker's own pauses ({own.mean_ms:.0f} ± {own.deviation_ms:.0f} ms), ",
            "translation": "translated as a whole sentence, ",
        }
        return f"{why[self.by]}{silence_ms} ms of silence"


def is_whole(translation: TranslationEvidence) -> bool:
    """Whether a text is a whole sentence: trusted, ending like one, and surely so."""
    sure = translation.end_logprob is None or translation.end_logprob >= SURE_END_LOGPROB
    return translation.ends_sentence and sure and not translation.rejected


def silence_needed(ending: Ending, evidence: Evidence) -> Wait:
    """How much silence ends an utterance with what is known of its pause now.

    A translator knows the words and a turn detector the intonation only, so a translator that has spoken outranks it:
    a whole sentence ends at the shortest pause unless it is surely to go on, of half a sentence the longest is waited
    for. Otherwise one that is heard as finished ends at the shortest pause, and of one that surely goes on the longest
    is waited for. In doubt the speaker's own pauses decide, if they may and are known.
    """
    finished = evidence.finished if ending.turn_threshold is not None else None
    unfinished = finished is not None and finished < ending.unfinished_threshold
    translation = evidence.translation
    if translation is not None:
        if is_whole(translation) and not unfinished:
            return Wait(ending.shortest_ms, "translation")
        unfinished = True
    elif finished is not None and ending.turn_threshold is not None and finished >= ending.turn_threshold:
        return Wait(ending.shortest_ms, "turn")
    own = evidence.own_pauses
    if ending.adaptive and not unfinished and own.count >= ending.least_pauses:
        margin_ms = max(LEAST_MARGIN_MS, ending.own_pauses_deviations * own.deviation_ms)
        wanted_ms = round(own.mean_ms + margin_ms)
        if wanted_ms < ending.longest_ms:
            return Wait(max(ending.shortest_ms, wanted_ms), "own_pauses")
    return Wait(ending.longest_ms, "pause")
