"""A translation that grows while somebody speaks: what the engine is asked next, and what of its answers goes out.

Everything here is a pure state machine on sample counts; it knows no frames, event loops or models.
:mod:`tolmach.processors.ast.simultaneous` runs it in a graph.

::

    audio       ├── dropped ──┤├──────────── kept: what the engine is asked about ────────────┤
    text         context       prefix: committed, the decoder begins with it     tail: may change
                 └────────────── sent, part by part ──────────────┘└─ waits for its clause ─┘

What is committed is never changed, so what is sent is not either. Audio is dropped where a sentence of the committed
text ends, and one whole sentence stays behind the cut: where exactly its sound began is known only to some tenths of
a second, and a decoder that begins with that sentence neither repeats nor loses a word of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.processors.ast import RATE_HZ
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.ast.policies import Answer, Policy, Word, mean_logprob
from tolmach.processors.ast.sentences import clause_lengths, ends_sentence

__all__ = [
    "Clause",
    "Growing",
    "GrowingRequest",
    "GrowingText",
    "quietest",
]


@dataclass(frozen=True, slots=True)
class GrowingRequest:
    """What an engine is asked about audio that still grows.

    The answer is a :class:`tolmach.processors.ast.hypothesis.Hypothesis` with ``words``: the text behind the prefix.

    Attributes:
        samples: float32[n], mono, 16 kHz, [-1, 1]: the audio that is kept.
        prefix: Tokens of what was committed as the translation of the front of ``samples`` (:attr:`Word.tokens`,
            joined): the decoder is forced to begin with them.
        context: Tokens of what was committed before ``samples`` begin; for an engine that can be shown earlier text
            without being made to repeat it. Bounded.
        complete: No audio follows: the speaker has finished, or the audio was cut here.
    """

    samples: Samples
    prefix: tuple[int, ...] = ()
    context: tuple[int, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of the text with the audio that it translates.

    Attributes:
        text: Stripped; not empty.
        start: Its first sample, counted from the start of the stream.
        end: Just after its last one.
        logprob: Mean log-probability of its tokens (natural log), or None.
    """

    text: str
    start: int
    end: int
    logprob: float | None


@dataclass(frozen=True, slots=True)
class Growing:
    """How a text grows; lengths in samples at 16 kHz.

    Attributes:
        policy: What is stable.
        max_clause: How long a stable word may wait for the end of its clause.
        max_buffer: The most audio that one request holds.
        keep: From which length on audio is dropped in front: with less of it the engine knows too little of what went
            before, more of it costs time.
        max_context: Most tokens of earlier text that the engine is shown.
    """

    policy: Policy
    max_clause: int = 4 * RATE_HZ
    max_buffer: int = 25 * RATE_HZ
    keep: int = 12 * RATE_HZ
    max_context: int = 64


@dataclass(frozen=True, slots=True)
class _Committed:
    """A word that stays.

    Attributes:
        word: It.
        end: Where its sound ends, counted from the start of the stream: never before the word in front of it, never
            behind what was heard.
        known: Whether the engine said so.
        heard: What had been heard when it was committed, samples.
    """

    word: Word
    end: int
    known: bool
    heard: int


class GrowingText:
    """The text of one unbroken stream of speech.

    ``hear`` audio; ``ask`` when a step is due; ``learn`` the answer; ``send`` what is ready. One request at a time;
    audio may be heard while it is under way.

    Attributes:
        start: First sample that is kept, counted from the start of the stream.
        heard: Samples heard so far.
        asked_until: Where the audio of the last request ended, counted from the start of the stream.
        sent_until: No clause that is sent later begins before this sample of the stream.
    """

    def __init__(self, growing: Growing) -> None:
        self._growing = growing
        self.start = 0
        self.heard = 0
        self.asked_until = 0
        self.sent_until = 0
        self._audio: list[Samples] = []
        self._prefix: list[_Committed] = []
        self._unsent: list[_Committed] = []
        self._context: tuple[int, ...] = ()
        self._former: Answer | None = None
        self._tail: tuple[Word, ...] = ()
        self._said = ""  # the clause that was sent last

    @property
    def kept(self) -> int:
        """Audio that is kept, samples."""
        return self.heard - self.start

    @property
    def is_full(self) -> bool:
        """Whether the engine must be asked at once: no more audio fits into a request."""
        return self.kept >= self._growing.max_buffer

    def hear(self, samples: Samples) -> None:
        """Take audio that follows what was heard, float32[n]."""
        self._audio.append(samples)
        self.heard += len(samples)

    def ask(self, *, ended: bool = False) -> GrowingRequest:
        """What to ask now.

        What is longer than a request may be is cut at its quietest place in the last third, and the request is about
        what stands before that, for good.

        Args:
            ended: No audio follows.
        """
        audio = self._joined()
        longest = self._growing.max_buffer
        if len(audio) > longest or (len(audio) == longest and not ended):
            audio, ended = audio[: quietest(audio, longest * 2 // 3, longest)], True
        self.asked_until = self.start + len(audio)
        prefix = tuple(token for each in self._prefix for token in each.word.tokens)
        return GrowingRequest(audio, prefix, self._context, ended)

    def in_place(self, hypothesis: Hypothesis) -> Hypothesis:
        """An answer with what stands before it in the request, for guards to judge.

        The words at the end of audio that was cut anywhere are unlikely ones, and there may be no others; and a loop is
        seen when what is repeated is seen too.
        """
        words = (*(each.word for each in self._prefix), *hypothesis.words)
        return replace(hypothesis, text="".join(word.text for word in words).strip(), logprob=mean_logprob(words))

    def learn(self, request: GrowingRequest, words: Sequence[Word]) -> None:
        """Take the answer to the last request: commit what is stable, all of it if the request was complete."""
        latest = Answer(tuple(words), len(request.samples))
        stable = len(words) if request.complete else min(self._growing.policy(self._former, latest), _settled(words))
        for word in latest.words[:stable]:
            self._commit(word)
        self._tail = latest.words[stable:]
        self._former = replace(latest, words=self._tail)
        if request.complete:
            self._drop(len(self._prefix), self.asked_until)
            self._former = None
        elif cut := self._where_to_drop():
            self._drop(cut, self._prefix[cut - 1].end)

    def send(self, *, everything: bool = False) -> list[Clause]:
        """Clauses that are ready and were not sent yet; ``everything``: all that was committed."""
        lengths = clause_lengths([each.word.text for each in self._unsent])
        rest = self._unsent[sum(lengths) :]
        if rest and (everything or self.heard - rest[0].heard >= self._growing.max_clause):
            lengths.append(len(rest))
        sent = []
        for length in lengths:
            words, self._unsent = self._unsent[:length], self._unsent[length:]
            start, self.sent_until = self.sent_until, max(self.sent_until, words[-1].end)
            if clause := _clause([each.word for each in words], start, self.sent_until):
                sent.append(clause)
                self._said = clause.text
        return sent

    @property
    def rest(self) -> Clause | None:
        """What is not sent yet, as it looks now: what waits for the end of its clause, and what may change.

        None where that only says again what was sent last: a decoder that knows nothing more begins anew, and whoever
        does repeat a sentence is shown it when it is stable.
        """
        words = [*(each.word for each in self._unsent), *self._tail]
        clause = _clause(words, self.sent_until, max(self.heard, self.sent_until))
        again = clause is not None and len(words) >= _REPEATED_WORDS and self._said.startswith(clause.text)
        return None if again else clause

    def _joined(self) -> Samples:
        audio = self._audio[0] if len(self._audio) == 1 else np.concatenate([np.zeros(0, np.float32), *self._audio])
        self._audio = [audio]
        return audio

    def _commit(self, word: Word) -> None:
        before = self._unsent[-1].end if self._unsent else self.sent_until
        at = self.asked_until if word.end is None else self.start + word.end
        end = max(before, min(at, self.asked_until))
        committed = _Committed(word, end, word.end is not None, self.asked_until)
        self._prefix.append(committed)
        self._unsent.append(committed)

    def _where_to_drop(self) -> int:
        """How many words at the front of the prefix to drop with their audio."""
        growing, prefix = self._growing, self._prefix
        if self.kept < growing.keep:
            return 0
        # What stays must begin with committed words, and with a whole sentence if there is room for one.
        cuts = [n for n in range(1, len(prefix)) if prefix[n - 1].known and prefix[n - 1].end > self.start]
        sentences = [n for n in cuts if ends_sentence(prefix[n - 1].word.text)]
        behind = [n for n in sentences if any(n < other for other in sentences) or ends_sentence(prefix[-1].word.text)]
        if behind:
            return behind[-1]
        if self.kept < growing.max_buffer * 4 // 5:
            return 0
        return (sentences or cuts[: len(cuts) // 2] or [0])[-1]

    def _drop(self, words: int, until: int) -> None:
        gone, self._prefix = self._prefix[:words], self._prefix[words:]
        tokens = [token for each in gone for token in each.word.tokens]
        self._context = (*self._context, *tokens)[-self._growing.max_context :] if self._growing.max_context else ()
        self._audio = [self._joined()[until - self.start :].copy()]
        self.start = until


_REPEATED_WORDS = 3
"""From how many words on a repetition is none by chance: "No. No." is said."""


def _settled(words: Sequence[Word]) -> int:
    """How many words may be stable at all: not the last one where it trails off, as Whisper writes where audio ends."""
    trails_off = bool(words) and words[-1].text.rstrip().endswith(("...", "…", "-", "–", "—"))
    return len(words) - trails_off


def _clause(words: Sequence[Word], start: int, end: int) -> Clause | None:
    text = "".join(word.text for word in words).strip()
    return Clause(text, start, end, mean_logprob(words)) if text else None


def quietest(audio: Samples, low: int, high: int) -> int:
    """The middle of the quietest 50 ms of float32[n] between two samples; the last of those that are alike."""
    width = RATE_HZ // 20
    if high - low <= width:
        return high
    energy = np.concatenate([[0.0], np.cumsum(np.square(audio[low:high], dtype=np.float64))])
    loudness = energy[width:] - energy[:-width]
    return low + len(loudness) - 1 - int(np.argmin(loudness[::-1])) + width // 2
