"""Measures a model: exact answers on the test sets, silence on what it does not know, and the gate between the two."""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .corpus import Clip, read_part
from .decode import ClipDecoder, Decoded
from .ood import SOURCES, read_recording
from .sentences import LANGUAGES
from .voices import SAMPLE_RATE_HZ, Audio

logger = logging.getLogger(__name__)

TEST_SETS = {
    "A": "held-out sentences, voices heard in training",
    "B": "held-out sentences, held-out voices",
    "C": "training sentences, held-out voices",
}
_MAX_UNKNOWN_SECONDS = 12
_UNKNOWN_EVERY = 2
_MAX_UNKNOWN_PASSED = 0.002
_MAX_RIGHT_LOST = 0.02


@dataclass(frozen=True, slots=True)
class Trial:
    """A clip to decode in one direction.

    Attributes:
        audio: float32[n], 16 kHz mono.
        source: Language of the prompt.
        target: Language of the answer.
        reference: What should come; empty for unknown speech.
        voice: Voice or source, for tables.
    """

    audio: Audio
    source: str
    target: str
    reference: str
    voice: str


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A trial and what came of it."""

    trial: Trial
    answer: Decoded

    @property
    def exact(self) -> bool:
        """Whether text, case and punctuation are right."""
        return self.answer.text == self.trial.reference


def decode_all(decoder: ClipDecoder, trials: Sequence[Trial]) -> list[TrialResult]:
    """Decodes trials, those of one direction together."""
    results: dict[int, TrialResult] = {}
    directions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, trial in enumerate(trials):
        directions[trial.source, trial.target].append(i)
    for (source, target), numbers in directions.items():
        answers = decoder([trials[i].audio for i in numbers], source, target)
        results.update((i, TrialResult(trials[i], answer)) for i, answer in zip(numbers, answers, strict=True))
    return [results[i] for i in range(len(trials))]


def _samples(audio: Any) -> Audio:
    return np.asarray(audio, dtype=np.float32) / np.float32(32768)


def corpus_trials(corpus: Path, name: str, *, recognise: bool = False) -> list[Trial]:
    """Lists the trials of a test set: each clip into the other language, or into its own."""
    trials = []
    for clip, audio in read_part(corpus / f"test-{name}"):
        target = clip.language if recognise else ("ru" if clip.language == "en" else "en")
        reference = clip.en if target == "en" else clip.ru
        trials.append(Trial(_samples(audio), clip.language, target, reference, voice_group(clip.voice)))
    return trials


def unknown_trials(corpus: Path, every: int = 1) -> list[Trial]:
    """Lists the trials of the development set of unknown speech: every clip asked for in both directions."""
    clips: list[tuple[Clip, Any]] = []
    for folder in sorted(corpus.glob("dev-*")):
        clips += list(read_part(folder))[::every]
    limit = _MAX_UNKNOWN_SECONDS * SAMPLE_RATE_HZ
    return [
        Trial(_samples(audio[:limit]), source, target, "", voice_group(clip.voice))
        for clip, audio in clips
        for source, target in (LANGUAGES, LANGUAGES[::-1])
    ]


def clip_trials(manifest: Path) -> list[Trial]:
    """Lists the trials of a folder of clips.

    Args:
        manifest: JSON lines with ``file``, ``source_lang``, ``target_lang``, ``en``, ``ru`` and ``voice``; empty
        texts mean
            that nothing should come. Files are beside the manifest.

    Raises:
        OSError: The manifest cannot be read.
        KeyError: A line lacks one of these.
    """
    trials = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        audio = read_recording(manifest.parent / row["file"])
        trials.append(Trial(audio, row["source_lang"], row["target_lang"], row[row["target_lang"]], row["voice"]))
    return trials


def voice_group(voice: str) -> str:
    """Shortens a voice name for tables: all variants of espeak-ng are one."""
    engine, _, name = voice.partition(":")
    if engine == "espeak":
        return engine
    return f"{engine} {name}" if name else engine


def exact_table(results: Iterable[TrialResult]) -> dict[str, dict[str, Any]]:
    """Counts exact answers by direction and voice.

    Returns:
        ``{"en-ru": {"clips": ..., "exact": ..., "voices": {...}}, ...}``, shares from 0 to 1 with three digits.
    """
    groups: dict[str, list[TrialResult]] = defaultdict(list)
    for result in results:
        groups[f"{result.trial.source}-{result.trial.target}"].append(result)
    table: dict[str, dict[str, Any]] = {}
    for direction, members in groups.items():
        voices: dict[str, list[bool]] = defaultdict(list)
        for result in members:
            voices[result.trial.voice].append(result.exact)
        table[direction] = {
            "clips": len(members),
            "exact": round(float(np.mean([result.exact for result in members])), 3),
            "voices": {voice: round(float(np.mean(hits)), 3) for voice, hits in sorted(voices.items())},
        }
    return table


def passed(results: Iterable[TrialResult], gate: float) -> list[TrialResult]:
    """Returns the results that give text and pass the gate."""
    return [result for result in results if result.answer.text and result.answer.score >= gate]


def choose_gate(right: Sequence[float], unknown: Sequence[float], trials: int) -> float:
    """Chooses the score below which an answer is dropped.

    The lowest gate that lets at most 0.2 % of the unknown clips through, but none that drops more than 2 % of the right
    answers: a demonstration that is silent on its own phrases shows nothing.

    Args:
        right: Scores of right answers.
        unknown: Scores of the texts that unknown clips gave.
        trials: How many unknown trials there were, silent ones included.

    Returns:
        Mean log-probability, a multiple of 0.01.
    """
    gate = -1.0
    for step in range(-100, 0):
        candidate = step / 100
        if np.mean(np.asarray(right) < candidate) > _MAX_RIGHT_LOST:
            break
        gate = candidate
        if np.sum(np.asarray(unknown) >= candidate) <= _MAX_UNKNOWN_PASSED * max(1, trials):
            break
    return gate


def evaluate(model: Any, work: Path, clips: Sequence[Path] = ()) -> dict[str, Any]:
    """Runs every test set of the corpus, and clips given by manifests.

    Args:
        model: NeMo model in evaluation mode.
        work: Working folder with the rendered corpus.
        clips: Manifests as for :func:`clip_trials`.

    Returns:
        ``min_logprob``, ``exact`` by set and direction, ``recognition`` likewise, ``unknown`` by source and ``clips``
        by manifest. Exact answers are counted without the gate, and again after it (``kept``).
    """
    corpus, decoder = work / "corpus", ClipDecoder(model)
    results = {name: decode_all(decoder, corpus_trials(corpus, name)) for name in TEST_SETS}
    unknown = decode_all(decoder, unknown_trials(corpus, _UNKNOWN_EVERY))
    right = [result.answer.score for name in ("A", "C") for result in results[name] if result.exact]
    gate = choose_gate(right, [r.answer.score for r in unknown if r.answer.text], len(unknown))
    report: dict[str, Any] = {"min_logprob": gate, "exact": {}, "clips": {}}
    for name, members in results.items():
        report["exact"][name] = exact_table(members)
        for direction, row in report["exact"][name].items():
            mine = [r for r in members if f"{r.trial.source}-{r.trial.target}" == direction]
            row["kept"] = round(sum(r.exact for r in passed(mine, gate)) / len(mine), 3)
        logger.info("%s (%s): %s", name, TEST_SETS[name], {k: v["exact"] for k, v in report["exact"][name].items()})
    spoken = exact_table(decode_all(decoder, corpus_trials(corpus, "A", recognise=True)))
    report["recognition"] = {"A": {key: row["exact"] for key, row in spoken.items()}}
    names = {source.name for source in SOURCES}
    human = [r for r in unknown if r.trial.voice in names]
    synthetic = [r for r in unknown if r.trial.voice not in names]
    report["unknown"] = {
        kind: {
            "trials": len(members),
            "text": sum(bool(r.answer.text) for r in members),
            "passed": len(passed(members, gate)),
        }
        for kind, members in (("synthetic", synthetic), ("human", human))
    }
    logger.info("unknown speech: %s with the gate at %.2f", report["unknown"], gate)
    for manifest in clips:
        members = decode_all(decoder, clip_trials(manifest))
        report["clips"][manifest.parent.name] = exact_table(members)
        for result in members:
            if not result.exact:
                logger.info(
                    "%s: %r, not %r (%.2f)",
                    result.trial.voice,
                    result.answer.text,
                    result.trial.reference,
                    result.answer.score,
                )
    return report
