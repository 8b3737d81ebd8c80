"""How a voice keeps up with a speaker: from how far it is behind to what it does about it. Pure, in media time.

A translation often takes longer to say than what it translates, and a voice that says everything at its own speed falls
behind for as long as somebody speaks without a break. :class:`Pacer` keeps the books: each text begins where the one
before it ended, and no earlier than it was known; how much later than the end of its source that is, is its lag. With a
budget for the lag, four things are done one after the other as the wait for the voice uses the budget up:

1. pauses inside a text and at its end become shorter (:mod:`tolmach.processors.tts.pauses`), down to
   :data:`SHORTEST_PAUSE_MS`, so that waiting texts run on as one speech;
2. the tempo rises, the pitch kept (:mod:`tolmach.pipelines.tempo`), in small steps from text to text, up to the
   declared bound;
3. a text that would begin too late even so is not spoken. It is the oldest that waits, for texts are spoken in order.

Only what waits for the voice counts. A translator that takes long makes the lag longer, but speaking faster, or less,
would bring nobody nearer: nothing is done about that.
"""

from __future__ import annotations

from dataclasses import dataclass

from tolmach.pipelines.frames import NS_PER_MS
from tolmach.processors.tts import LIVE_BUDGET_MS, MAX_TEMPO

__all__ = [
    "LONGEST_PAUSE_MS",
    "SHORTEST_PAUSE_MS",
    "Budget",
    "Pace",
    "Pacer",
    "pace_for",
]

LONGEST_PAUSE_MS = 400
"""What pauses are shortened to at first: few inside a sentence are longer."""

SHORTEST_PAUSE_MS = 120
"""What pauses are shortened to at last. The silence before a released plosive lasts up to 100 ms and belongs to it."""

_PAUSES_FROM, _PAUSES_TO = 0.10, 0.35
_TEMPO_FROM, _TEMPO_TO = 0.25, 0.75
"""Shares of the budget between which each goes from nothing to all it can do. The tempo is at its bound well before the
budget is used up, for the texts behind a long one come close together."""

_STEP = 0.08
"""Most by which the tempo changes from one text to the next: a change of speaking rate under a tenth is hardly heard
(H. Quené, "On the just noticeable difference for tempo in speech", J. Phonetics 35, 2007: about 5 %)."""

_LEAST_TEMPO = 1.02
"""Less is not worth touching the sound for."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a voice may do to keep up.

    Attributes:
        max_lag_ns: How much later than its source ended a text may begin to be heard, ns; None: as late as it comes,
            and nothing is done.
        max_tempo: How much faster than its own speed it may speak.
    """

    max_lag_ns: int | None
    max_tempo: float = MAX_TEMPO

    @classmethod
    def of(cls, max_lag_ms: int | None, max_tempo: float, *, live: bool) -> Budget:
        """From a voice's settings: None is :data:`LIVE_BUDGET_MS` in live graphs and no bound in others, 0 no bound."""
        if max_lag_ms is None:
            max_lag_ms = LIVE_BUDGET_MS if live else 0
        return cls(max_lag_ms * NS_PER_MS or None, max_tempo)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a text is spoken.

    Attributes:
        lag_ns: How much later than its source ended it begins to be heard, ns.
        spoken: Whether it is spoken at all.
        tempo: How much faster than the voice's own speed.
        longest_pause_ms: What longer pauses are shortened to, ms; None leaves them as they are.
    """

    lag_ns: int
    spoken: bool = True
    tempo: float = 1.0
    longest_pause_ms: int | None = None

    @property
    def hurries(self) -> bool:
        """Whether it is not as the voice speaks by itself."""
        return self.tempo != 1.0 or self.longest_pause_ms is not None


def pace_for(lag_ns: int, waits_ns: int, budget: Budget, last_tempo: float = 1.0) -> Pace:
    """How to speak a text that would begin with this lag.

    Args:
        lag_ns: How much later than its source ended it would begin, ns.
        waits_ns: How much of that it waits for the voice, ns.
        budget: What may be done.
        last_tempo: Tempo of the text before it.
    """
    most_ns = budget.max_lag_ns
    if most_ns is None:
        return Pace(lag_ns)
    if waits_ns > 0 and lag_ns > most_ns:
        return Pace(lag_ns, spoken=False, tempo=last_tempo)
    # What the wait has used up of what the rest of the lag leaves.
    used = waits_ns / max(1, most_ns - (lag_ns - waits_ns)) if waits_ns > 0 else 0.0
    pause_ms = LONGEST_PAUSE_MS - _share(used, _PAUSES_FROM, _PAUSES_TO) * (LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS)
    wanted = 1 + _share(used, _TEMPO_FROM, _TEMPO_TO) * (budget.max_tempo - 1)
    tempo = min(round(min(max(wanted, last_tempo - _STEP), last_tempo + _STEP), 2), budget.max_tempo)
    return Pace(
        lag_ns,
        tempo=tempo if tempo >= _LEAST_TEMPO else 1.0,
        longest_pause_ms=round(pause_ms) if used > _PAUSES_FROM else None,
    )


def _share(value: float, first: float, last: float) -> float:
    """How much of the way from ``first`` to ``last`` a value has come, 0 … 1."""
    return min(max((value - first) / (last - first), 0.0), 1.0)


class Pacer:
    """Keeps the books of one voice: when it will have said what it was given, and how the next text is spoken."""

    def __init__(self) -> None:
        self._free_ns = 0  # media time at which everything so far will have been said
        self._begins_ns = 0
        self._tempo = 1.0

    def next(self, end_ns: int, known_ns: int, budget: Budget, free_ns: int | None = None) -> Pace:
        """How the next text is spoken.

        Args:
            end_ns: Media time at which its source ended, ns.
            known_ns: Media time at which its text was known, ns.
            budget: What may be done.
            free_ns: When a live listener will have heard everything so far, ns, in place of what the books say: he may
                have skipped some of it, or hear all of it later.
        """
        free_ns = self._free_ns if free_ns is None else free_ns
        earliest_ns = max(end_ns, known_ns)
        self._begins_ns = max(earliest_ns, free_ns)
        pace = pace_for(self._begins_ns - end_ns, self._begins_ns - earliest_ns, budget, self._tempo)
        self._tempo = pace.tempo
        return pace

    def spoke(self, duration_ns: int) -> None:
        """The text that was asked about last took this long, ns."""
        self._free_ns = self._begins_ns + duration_ns
