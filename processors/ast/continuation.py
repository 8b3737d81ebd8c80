"""A sentence that was cut in two: its second half is translated as the continuation of what was already said.

Whoever speaks on shortly after an utterance was ended may not have finished. The next utterance is then asked about
with the audio of the last one before it, and with the text of that one forced on the decoder as the beginning of its
answer (a prefix), so what it answers is only what is new, and what was given out is never said again. A last utterance
whose text was rejected, as half a sentence often is, has said nothing: its audio goes before without a text.

Tried and left (demonstration phrasebook, sentences cut in the middle): the second half alone behind the prefix gives
nothing but a full stop, as the decoder has the whole sentence and no audio for it; Canary's ``decodercontext`` slot
changed no text for the better. Of ten pairs of whole sentences joined this way ten gave the second sentence, to the
letter; Whisper base continued all of its cut sentences.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tolmach.pipelines.frames import Samples, ns_to_samples
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.direction import Direction
from tolmach.processors.ast.sentences import ends_sentence

__all__ = ["Before", "Continuations", "Said", "as_prefix", "joined_text", "only_new"]

MOST_S = 30
"""Longest audio of both together, s: what Whisper hears at once (Radford et al. 2022, section 2.2)."""

_END = re.compile(r"[\s.?!…。！？]+$")
_BEGINNING = re.compile(r"^[\s.,;:?!…。，、！？–—-]+")


def as_prefix(text: str) -> str:
    """A text that goes on: without the mark that ends its sentence, behind which a decoder would end its own."""
    return _END.sub("", text)


def only_new(text: str) -> str:
    """What follows a prefix, as a text of its own: ", and yours?" begins with what belongs to the words before it."""
    return _BEGINNING.sub("", text).strip()


def joined_text(prefix: str, text: str) -> str:
    """A text and what follows it."""
    return f"{prefix}{text}" if _BEGINNING.match(text) else f"{prefix} {text}".strip()


@dataclass(frozen=True, slots=True)
class Said:
    """What came of an utterance, for the next one.

    Attributes:
        end_ns: Media time just after its last sample, ns.
        samples: Its audio, float32[n], mono; with that of what it continued before it.
        text: What was given out for these samples; empty when nothing was.
        direction: From which language into which.
        cut: Whether it was ended for its length.
    """

    end_ns: int
    samples: Samples
    text: str
    direction: Direction
    cut: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether what was given out is likely to go on."""
        return bool(self.text) and (self.cut or not ends_sentence(self.text))

    def joined(self, utterance: Utterance, rate_hz: int) -> Utterance | None:
        """An utterance with this before it, the silence between as long as it was; None when that is too long."""
        gap = np.zeros(ns_to_samples(max(0, utterance.pts_ns - self.end_ns), rate_hz), np.float32)
        samples = np.concatenate((self.samples, gap, utterance.samples))
        return replace(utterance, samples=samples) if len(samples) <= MOST_S * rate_hz else None


Before: TypeAlias = "asyncio.Future[Said | None] | None"
"""What an utterance may continue, once it is known; None where it continues nothing."""


class Continuations:
    """Which utterance each one may continue, and what came of that.

    Utterances are told in their order when they end (:meth:`expect`), and what came of them when it has been given out,
    so that a question waits for the text it continues and depends on nothing else.

    Args:
        window_ns: Longest time between the end of an utterance and the start of one that continues it, ns; 0 for never.
    """

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._last: tuple[int, asyncio.Future[Said | None]] | None = None

    def before(self, utterance: Utterance) -> Before:
        """What the utterance may continue, once it is known; None when nothing. Await it shielded."""
        if not self._window_ns or self._last is None or utterance.fault or not len(utterance.samples):
            return None
        end_ns, said = self._last
        return said if 0 <= utterance.pts_ns - end_ns <= self._window_ns else None

    def expect(self, utterance: Utterance) -> Callable[[Said | None], None]:
        """The utterance has ended. Returns what takes the news of it (None: nobody knows); the first news counts."""
        if not self._window_ns:
            return lambda said: None
        future: asyncio.Future[Said | None] = asyncio.get_running_loop().create_future()
        self._last = (utterance.end_ns, future)

        def tell(said: Said | None) -> None:
            if not future.done():
                future.set_result(said)

        return tell

    def forget(self) -> None:
        """What comes continues nothing."""
        self._last = None
