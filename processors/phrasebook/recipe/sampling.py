"""Plans training samples: which clips, of which kind, how long.

The plan is a function of (seed, step) alone. Samples come in pools that are sorted by length and dealt out as batches;
a batch can be rendered knowing only its number, so the order of the data does not depend on the number of loader
processes, and a resumed run goes on with the very batch it would have come to.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from .config import MixSettings, TrainSettings, stable_seed
from .library import ENGINE_WEIGHTS, ClipLibrary

SampleKind = Literal["phrase", "wrong_language", "damaged", "unknown_voice", "unknown_human", "noise"]
_MAX_PHRASES_SECONDS = 7.5


@dataclass(frozen=True, slots=True)
class Plan:
    """A sample before it is rendered.

    Attributes:
        kind: What it is.
        clips: Numbers of the clips it is made of.
        seconds: About how long it will be.
        seed: Seed of everything else about it.
    """

    kind: SampleKind
    clips: tuple[int, ...]
    seconds: float
    seed: int


def generator(*parts: object) -> Generator:
    """Returns a numpy generator seeded by a name."""
    return np.random.default_rng(stable_seed(*parts))


def _pick(rng: Generator, items: Sequence[str] | Sequence[int]) -> int:
    return int(rng.integers(len(items)))


class Planner:
    """Deals plans out of a library."""

    def __init__(self, library: ClipLibrary, mix: MixSettings, settings: TrainSettings) -> None:
        """Keeps the library and precomputes weights."""
        self._library, self._mix, self._settings = library, mix, settings
        human = {name: sum(map(library.seconds, clips)) for name, clips in sorted(library.human.items())}
        # The square root evens out a short source with many voices against a long one; the two languages matter most.
        weights = {
            name: seconds**0.5 * (2.0 if library.clips[library.human[name][0]].language else 1.0)
            for name, seconds in human.items()
        }
        self._human = (list(weights), np.array(list(weights.values())) / max(1e-9, sum(weights.values())))
        self._unknown = sorted(library.unknown)
        self._languages = sorted(library.templates)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - lives as long as the process
    def pool(self, number: int) -> tuple[tuple[Plan, ...], ...]:
        """Returns the batches of a pool: samples of like length together, the batches in random order."""
        rng = generator(self._settings.seed, "pool", number)
        size, batches = self._settings.batch, self._settings.pool_batches
        plans = sorted((self._plan(rng) for _ in range(size * batches)), key=lambda plan: plan.seconds)
        dealt = [tuple(plans[i * size : (i + 1) * size]) for i in range(batches)]
        return tuple(dealt[i] for i in rng.permutation(batches))

    def batch(self, step: int) -> tuple[Plan, ...]:
        """Returns the plans of the batch of a step, counted from 0."""
        pool, place = divmod(step, self._settings.pool_batches)
        return self.pool(pool)[place]

    def _plan(self, rng: Generator) -> Plan:
        mix, library = self._mix, self._library
        kinds: tuple[SampleKind, ...] = ("wrong_language", "damaged", "unknown_voice", "unknown_human", "noise")
        shares = [mix.wrong_language, mix.damaged, mix.unknown_voice, mix.unknown_human, mix.noise]
        draw = rng.random()
        kind: SampleKind = "phrase"
        for name, limit in zip(kinds, np.cumsum(shares), strict=True):
            if draw < limit:
                kind = name
                break
        seed = int(rng.integers(2**62))
        if kind == "unknown_human" and self._human[0]:
            return Plan(kind, *self._human_clips(rng), seed)
        if kind == "unknown_voice" and self._unknown:
            part = library.unknown[self._unknown[_pick(rng, self._unknown)]]
            number = part[_pick(rng, part)]
            return Plan(kind, (number,), min(8.0, library.seconds(number)) + 0.3, seed)
        if kind == "noise":
            music = library.music if library.music and rng.random() < 0.35 else []
            clips = (music[_pick(rng, music)],) if music else ()
            return Plan(kind, clips, float(rng.uniform(0.6, 5.0)), seed)
        language = self._languages[_pick(rng, self._languages)]
        numbers = [self._phrase(rng, language)]
        if kind == "phrase" and rng.random() < mix.several:
            numbers += self._more(rng, numbers[0])
        plain: SampleKind = kind if kind in ("wrong_language", "damaged") else "phrase"
        return Plan(plain, tuple(numbers), sum(map(library.seconds, numbers)) + 0.4 * len(numbers), seed)

    def _human_clips(self, rng: Generator) -> tuple[tuple[int, ...], float]:
        """Draws human clips and the length to cut out: mostly 0.8 to 6 s of one, at times up to 11 s of several."""
        library, (names, weights) = self._library, self._human
        source = library.human[names[int(rng.choice(len(names), p=weights))]]
        wanted = float(np.exp(rng.uniform(np.log(0.8), np.log(6.0))))
        if rng.random() < 0.12:
            wanted = float(rng.uniform(5.0, 11.0))
        # A prompt shorter than the cut is followed by others of the same voice, now and then at least.
        chosen = [source[_pick(rng, source)]]
        while sum(map(library.seconds, chosen)) < wanted and len(chosen) < 6 and rng.random() < 0.8:
            chosen.append(source[_pick(rng, source)])
        return tuple(chosen), min(wanted, sum(map(library.seconds, chosen)))

    def _phrase(self, rng: Generator, language: str) -> int:
        library = self._library
        groups = library.templates[language]
        beside = library.companions.get(language, [])
        if beside and rng.random() < self._mix.companions:
            text = beside[_pick(rng, beside)]
        elif library.fixed[language] and (rng.random() < self._mix.fixed or not groups):
            text = library.fixed[language][_pick(rng, library.fixed[language])]
        elif (
            rng.random() < 0.4
        ):  # by template, so that a template of ten sentences is heard beside one of three hundred
            group = groups[list(groups)[_pick(rng, list(groups))]]
            text = group[_pick(rng, group)]
        else:
            texts = [text for group in groups.values() for text in group]
            text = texts[_pick(rng, texts)]
        engines = {e: w for e, w in ENGINE_WEIGHTS[language].items() if (language, text, e) in library.phrases}
        weights = np.array(list(engines.values()))
        engine = list(engines)[int(rng.choice(len(engines), p=weights / weights.sum()))]
        numbers = library.phrases[language, text, engine]
        return numbers[_pick(rng, numbers)]

    def _more(self, rng: Generator, first: int) -> list[int]:
        """Draws one or two more phrases of the same language and engine."""
        library, clip = self._library, self._library.clips[first]
        chosen: list[int] = []
        total = library.seconds(first)
        for _ in range(8):
            number = self._phrase(rng, clip.language)
            same = library.clips[number].voice.partition(":")[0] == clip.voice.partition(":")[0]
            if same and total + library.seconds(number) < _MAX_PHRASES_SECONDS:
                chosen.append(number)
                total += library.seconds(number)
            if len(chosen) == (2 if first % 3 == 0 else 1):
                break
        return chosen
