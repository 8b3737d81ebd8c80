"""How well the ends of sentences are found in recordings: false cuts against latency, for each way to find them.

The axes are those of LiveKit's eot-bench (github.com/livekit/eot-bench): a *false cut* is an utterance closed in a
pause after which the speaker goes on, *latency* the silence that is waited for at a true end, both in media time and
without any computing. For each way its settings are swept, and the best false cuts within a mean latency and the best
mean latency within a share of false cuts are told. Silence begins where the detector heard the last speech; how long
after the last sound that is, is told beside it. An utterance closed in the midst of speech counts as a cut pause.

The recordings of a language are heard one after the other like one speaker's, so pauses are learnt across them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tolmach.pipelines.frames import TranslationEvidence
from tolmach.processors.vad.bench.recordings import Recording, Turn, hesitant, make_turn
from tolmach.processors.vad.element import endpointing
from tolmach.processors.vad.ending import OwnPauses
from tolmach.processors.vad.endpointing import Closed, Endpointer, Endpointing, Mono, Paused
from tolmach.processors.vad.silero import OFFSET_BELOW_THRESHOLD, WINDOW, SileroDetector
from tolmach.processors.vad.silero import model_path as silero_path
from tolmach.processors.vad.smart_turn import SmartTurn
from tolmach.processors.vad.smart_turn import model_path as turn_path
from tolmach.processors.vad.spec import RATE_HZ, SileroVadSettings

Translate: TypeAlias = Callable[[Mono], TranslationEvidence | None]
"""What a translator says of an utterance, float32[n] at 16 kHz, that pauses at its end."""

TRANSLATED_MS = 64
"""When a translator has answered, after the pause, ms of media time: two windows, as the embedded model does."""

LATENCY_BUDGETS_MS = (300, 600)
CUT_BUDGETS = (0.05, 0.10)


@dataclass(frozen=True, slots=True)
class Score:
    """What one setting makes of all turns.

    Attributes:
        settings: The setting, as it is written in a graph.
        pauses: Pauses in which an utterance might have been closed.
        cuts: How many of them it was closed in.
        latency_ms: Silence that was waited for at each true end, ms.
        after_sound_ms: From the last sound, found by energy, to the closing, ms.
        fragments: Utterances.
        sentences: Sentences of the transcripts.
    """

    settings: Mapping[str, Any]
    pauses: int
    cuts: int
    latency_ms: tuple[float, ...]
    after_sound_ms: tuple[float, ...]
    fragments: int
    sentences: int

    @property
    def false_cuts(self) -> float:
        """Share of the pauses that were cut, 0 … 1."""
        return self.cuts / max(1, self.pauses)

    @property
    def mean_latency_ms(self) -> float:
        """Mean latency; infinite if no end was found."""
        return float(np.mean(self.latency_ms)) if self.latency_ms else float("inf")

    @property
    def fragments_a_sentence(self) -> float:
        """Utterances a sentence."""
        return self.fragments / max(1, self.sentences)


class Listener:
    """Asks the turn detector, and a translator if there is one, each question once however many settings ask it.

    Args:
        translate: What a translator says of the audio of an utterance up to a pause, or None without one.
    """

    def __init__(self, translate: Translate | None = None) -> None:
        self._translate = translate
        self._translated: dict[tuple[str, int, int], TranslationEvidence | None] = {}
        self._model: SmartTurn | None = None
        self._known: dict[tuple[str, int, int], float] = {}

    @property
    def translates(self) -> bool:
        """Whether there is a translator."""
        return self._translate is not None

    def translated(self, turn: Turn, pause: Paused) -> TranslationEvidence | None:
        """What the translator says at a pause."""
        key = (turn.name, pause.start, pause.end)
        if key not in self._translated and self._translate is not None:
            self._translated[key] = self._translate(turn.samples[pause.start : pause.end])
        return self._translated.get(key)

    def finished(self, turn: Turn, asked: range) -> float:
        """Probability that the speaker has finished at the end of these samples."""
        key = (turn.name, asked.start, asked.stop)
        if key not in self._known:
            self._model = self._model or SmartTurn(turn_path())
            self._known[key] = self._model.probability(turn.samples[asked.start : asked.stop])
        return self._known[key]


def parameters(settings: SileroVadSettings) -> Endpointing:
    """As ``silero_vad`` makes them."""
    return endpointing(
        settings,
        onset_threshold=settings.threshold,
        offset_threshold=settings.threshold - OFFSET_BELOW_THRESHOLD,
        confident_threshold=settings.confident_threshold,
        doubtful_onset_ms=settings.doubtful_onset_ms,
    )


def judge(turns: Sequence[Turn], written: Mapping[str, Any], listener: Listener) -> Score:
    """Run the endpointing of ``silero_vad`` with these settings over the turns, one after the other."""
    made = parameters(SileroVadSettings(**written))
    own = OwnPauses()
    pauses = cuts = fragments = sentences = 0
    latency_ms: list[float] = []
    after_sound_ms: list[float] = []
    for turn in turns:
        machine = Endpointer(made, own_pauses=own)
        closed: list[tuple[int, Closed]] = []
        waiting: Paused | None = None
        done = False
        for i, decision in enumerate(turn.decisions):
            if waiting is not None and machine.heard - waiting.speech_end >= made.samples(made.ask_ms + TRANSLATED_MS):
                if (evidence := listener.translated(turn, waiting)) is not None:
                    machine.judge_translation(waiting.speech_end, evidence)
                waiting = None
            events = machine.push(turn.samples[i * WINDOW : (i + 1) * WINDOW], decision)
            if (asked := machine.asks) is not None:
                events += machine.judge_finished(listener.finished(turn, asked))
            for event in events:
                if isinstance(event, Paused) and written.get("translation"):
                    waiting = event
                elif isinstance(event, Closed):
                    closed.append((machine.heard, event))
                    done = machine.heard >= turn.end
            if done:
                break
        own = machine.own_pauses
        early = [heard for heard, _ in closed if heard < turn.end]
        inside = {pause for heard in early for pause in turn.pauses if pause[0] <= heard <= pause[1] + WINDOW}
        strays = sum(not any(a <= heard <= b + WINDOW for a, b in turn.pauses) for heard in early)
        pauses += len(turn.pauses) + strays
        cuts += len(inside) + strays
        fragments += len(closed)
        sentences += turn.sentences
        if turn.whole and done:
            heard, last = closed[-1]
            latency_ms.append((heard - last.speech_end) * 1000 / RATE_HZ)
            after_sound_ms.append((heard - turn.end) * 1000 / RATE_HZ)
    return Score(written, pauses, cuts, tuple(latency_ms), tuple(after_sound_ms), fragments, sentences)


HANGOVERS_MS = (100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000, 3000)
SHORTEST_MS = (150, 200, 250, 300, 400, 600)
LONGEST_MS = (500, 700, 1000, 1500, 2000, 3000)
THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)


def grids(pause_ms: int, *, translates: bool) -> Mapping[str, list[Mapping[str, Any]]]:
    """The settings that are tried, by the name of the way."""
    bounds: list[Mapping[str, Any]] = [
        {"min_hangover_ms": low, "hangover_ms": high} for low in SHORTEST_MS for high in LONGEST_MS if low <= high
    ]
    heard: list[Mapping[str, Any]] = [
        {**bound, "turn": "smart_turn", "turn_threshold": threshold, "unfinished_threshold": 0.1, "pause_ms": pause_ms}
        for bound in bounds
        for threshold in THRESHOLDS
    ]
    words = {"translation": True, "pause_ms": pause_ms}
    ways: dict[str, list[Mapping[str, Any]]] = {
        "fixed hangover": [{"hangover_ms": ms} for ms in HANGOVERS_MS],
        "smart_turn": heard,
        "adaptive": [{**bound, "adaptive": True} for bound in bounds],
    }
    if translates:
        ways["translator"] = [{**bound, **words} for bound in bounds]
    together = {"adaptive": True, **(words if translates else {})}
    return {**ways, "all together": [{**setting, **together} for setting in heard]}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to find ends, at its best.

    Attributes:
        name: Of the way.
        cuts_within: By latency budget (ms), the setting with the fewest false cuts within it, or None.
        latency_within: By budget of false cuts, the fastest setting within it, or None.
        scores: All that were tried.
    """

    name: str
    cuts_within: Mapping[int, Score | None]
    latency_within: Mapping[float, Score | None]
    scores: tuple[Score, ...] = field(repr=False)


def sweep(turns: Sequence[Turn], listener: Listener, pause_ms: int = 150) -> list[Way]:
    """Try all settings of all ways."""
    ways = []
    for name, settings in grids(pause_ms, translates=listener.translates).items():
        scores = tuple(judge(turns, written, listener) for written in settings)
        ways.append(
            Way(
                name,
                {
                    budget: min(
                        (s for s in scores if s.mean_latency_ms <= budget),
                        key=lambda s: (s.false_cuts, s.mean_latency_ms),
                        default=None,
                    )
                    for budget in LATENCY_BUDGETS_MS
                },
                {
                    budget: min(
                        (s for s in scores if s.false_cuts <= budget),
                        key=lambda s: (s.mean_latency_ms, s.false_cuts),
                        default=None,
                    )
                    for budget in CUT_BUDGETS
                },
                scores,
            )
        )
    return ways


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one set of turns.

    Attributes:
        language: Their language.
        kind: ``as recorded``, or ``hesitant``.
        turns: How many there are.
        whole: How many of them end with the end of a sentence.
        pauses: How many pauses they have that count.
        ways: The ways, at their best.
        pinned: What single settings make of them, by name.
    """

    language: str
    kind: str
    turns: int
    whole: int
    pauses: int
    ways: Sequence[Way]
    pinned: Mapping[str, Score]


def measure(
    recordings: Sequence[Recording],
    *,
    hesitations: int = 2,
    pause_ms: int = 150,
    pinned: Mapping[str, Mapping[str, Any]] | None = None,
    translator: Callable[[str], Translate] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Report]:
    """Measure all ways on recordings, language by language, as recorded and made hesitant.

    Args:
        recordings: Turns.
        hesitations: How many hesitant ones are made of each; 0 for none.
        pause_ms: Silence at which smart_turn is asked, ms.
        pinned: Settings that are measured besides, by name.
        translator: Gives what translates from a language, if a translator is to be heard too.
        say: Told what is under way.
    """
    detector = SileroDetector(silero_path())
    reports = []
    for language in dict.fromkeys(recording.language for recording in recordings):
        listener = Listener(translator(language) if translator is not None else None)
        spoken = [recording for recording in recordings if recording.language == language]
        sets = {"as recorded": spoken}
        if hesitations:
            sets["hesitant"] = [hesitant(r, seed) for seed in range(hesitations) for r in spoken]
        for kind, these in sets.items():
            say(f"{language}, {kind}: {len(these)} recordings")
            turns = [turn for recording in these if (turn := make_turn(recording, detector)) is not None]
            single = {name: judge(turns, written, listener) for name, written in (pinned or {}).items()}
            ways = sweep(turns, listener, pause_ms)
            pauses = sum(len(turn.pauses) for turn in turns)
            reports.append(Report(language, kind, len(turns), sum(t.whole for t in turns), pauses, ways, single))
    return reports
