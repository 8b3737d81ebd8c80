"""A translation engine that can read: its speech is samples that are numbers, and it knows which word each one is.

A word is a run of samples of one value, ``number / 4096``; silence is zero. Of a word that the audio ends in, the
engine guesses something else, as real engines do. It goes on behind the last word of the prefix.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tolmach.pipelines.element import ElementSpec, Field, Heard
from tolmach.pipelines.frames import Samples
from tolmach.processors.ast import RATE_HZ, GrowingSettings, ast_pads
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.direction import Direction
from tolmach.processors.ast.element import SpeechTranslation
from tolmach.processors.ast.growing import GrowingRequest
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.ast.policies import Word
from tolmach.processors.hosting import HostKey, HostPool, Lease

SCALE = 4096


def spoken(numbers: Iterable[int], word: int = RATE_HZ // 3) -> Samples:
    """Speech of these words, float32[n]."""
    return np.concatenate([np.zeros(0, np.float32), *(np.full(word, n / SCALE, np.float32) for n in numbers)])


def written(number: int) -> str:
    """A word as it is written: each seventh ends a sentence, each third of a sentence is followed by a comma."""
    return f" w{number}" + ("." if number % 7 == 0 else "," if number % 7 == 3 else "")


def read(request: GrowingRequest, *, times: bool = True) -> Hypothesis:
    """What the engine says."""
    values = np.rint(request.samples * SCALE).astype(int)
    edges = np.flatnonzero(np.diff(values, prepend=-1, append=-1))
    runs = [(int(values[a]), int(b)) for a, b in itertools.pairwise(edges) if values[a]]
    last = request.prefix[-1] if request.prefix else 0
    words = []
    for number, end in runs:
        if number <= last:
            continue
        text = written(number)
        if end == len(values) and not request.complete:
            text = f" guess{len(values)}"
        words.append(Word(text, (number,), end if times else None, -0.1))
    return Hypothesis("".join(word.text for word in words).strip(), -0.1 if words else None, words=tuple(words))


class ReadingSettings(GrowingSettings):
    """It writes Latin letters."""

    finds_language = True

    source_lang: Heard[str] = Field("ru", description="Not heard.")
    target_lang: str = Field("en", description="Of the text.")


class ReadingModel:
    """Answers requests; counts them and remembers the longest."""

    def __init__(self) -> None:
        self.longest = 0
        self.asked = 0

    @property
    def info(self) -> Mapping[str, Any]:
        return {}

    def warm(self, items: Sequence[GrowingRequest] = ()) -> None:
        pass

    def run(self, items: Sequence[GrowingRequest]) -> list[Hypothesis]:
        self.asked += len(items)
        self.longest = max([self.longest, *(len(item.samples) for item in items)])
        if any(np.isnan(item.samples).any() for item in items):
            raise OverflowError("no number")
        return [read(item) for item in items]


class ReadingAst(SpeechTranslation[GrowingRequest]):
    """Reads."""

    settings: ReadingSettings

    async def open(self) -> Lease[GrowingRequest, Hypothesis]:
        self.engine = "reader"
        self.model = ReadingModel()
        self.directions: list[Direction] = []
        self.pool = HostPool()
        return await self.pool.acquire(HostKey("reader", "reader", "cpu"), lambda: self.model)

    def request(self, utterance: Utterance) -> GrowingRequest:
        return GrowingRequest(utterance.samples, complete=True)

    def growing_request(self, request: GrowingRequest) -> GrowingRequest:
        return request

    def directed(self, item: GrowingRequest, direction: Direction) -> GrowingRequest:
        self.directions.append(direction)
        return item

    async def stop(self) -> None:
        await super().stop()
        if hasattr(self, "pool"):
            self.pool.unload_idle()


SPEC = ElementSpec(
    type="reading_ast",
    summary="Read.",
    settings=ReadingSettings,
    pads=ast_pads,
    build="tests.unit.reading_ast:ReadingAst",
)
