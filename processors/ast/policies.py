"""How much of a translation that still grows is stable: LocalAgreement-2 and AlignAtt, as pure functions.

While somebody speaks, an engine is asked again and again about the audio so far, its answer forced to begin with what
was committed before. A policy says how many of the words behind that are not going to change. It knows no model, no
frame and no clock: it sees the last answer and the one before.

- :func:`local_agreement` works with any engine: what two answers in a row agree on is stable. (LocalAgreement-2: Liu et
  al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis Selection"; Polák
  et al. 2022, "CUNI-KIT System for Simultaneous Speech Translation Task at IWSLT 2022"; Macháček et al. 2023, "Turning
  Whisper into Real-Time Transcription System".)
- :class:`AlignAtt` needs an engine that knows which audio each word is made from: what is made from audio that lies
  ``threshold`` behind its end is stable. (Papi et al. 2023, "AlignAtt: Using Attention-based Audio-Translation
  Alignments as a Guide for Simultaneous Speech Translation", section 3.)

Words and not tokens: nobody reads half a word out, and the tokens that the decoder is forced to begin with next time
must not end inside one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["AlignAtt", "Answer", "Policy", "PolicyName", "Word", "local_agreement", "mean_logprob"]

PolicyName = Literal["local_agreement", "align_att"]


@dataclass(frozen=True, slots=True)
class Word:
    """The least that may be shown by itself: a word with its punctuation, or a character of a script without spaces.

    Attributes:
        text: As it is written, with the space before it if it has one: texts of words are joined as they are.
        tokens: The engine's tokens of it, which it is forced to begin with next time.
        end: Where in the audio of the request the latest sound that it is made from ends, samples; None where the
            engine does not know. Need not grow from word to word.
        logprob: Sum of the log-probabilities of its tokens (natural log), or None.
    """

    text: str
    tokens: tuple[int, ...] = ()
    end: int | None = None
    logprob: float | None = None


def mean_logprob(words: Sequence[Word]) -> float | None:
    """Mean log-probability of a token of these words (natural log), or None where one is not known."""
    known = [word.logprob for word in words if word.logprob is not None]
    tokens = sum(len(word.tokens) for word in words)
    return sum(known) / tokens if tokens and len(known) == len(words) else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine said of the audio so far.

    Attributes:
        words: Behind what was committed when it was asked.
        heard: How much audio it was asked about, samples.
    """

    words: tuple[Word, ...]
    heard: int


class Policy(Protocol):
    """How much of a growing text is stable. Pure: the same answers give the same number."""

    def __call__(self, former: Answer | None, latest: Answer) -> int:
        """How many words at the front of ``latest`` are stable.

        Args:
            former: The answer before, less what was committed since; None for the first one, and where it says nothing
                any more (the audio in front was dropped).
            latest: The last answer.
        """


def local_agreement(former: Answer | None, latest: Answer) -> int:
    """The longest common beginning of the two, in words; see :class:`Policy`."""
    if former is None:
        return 0
    pairs = zip(former.words, latest.words, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a.text != b.text), min(len(former.words), len(latest.words)))


@dataclass(frozen=True, slots=True)
class AlignAtt:
    """What is made from audio that is well behind the end of the audio; see :class:`Policy`.

    Attributes:
        threshold: How near the end of the audio a word's sound may not come, samples (the paper's ``f`` frames).
    """

    threshold: int

    def __call__(self, former: Answer | None, latest: Answer) -> int:
        """The words before the first one that may change, or of which nobody knows what it is made from."""
        limit = latest.heard - self.threshold
        return len(_while_before(latest.words, limit))


def _while_before(words: Sequence[Word], limit: int) -> Sequence[Word]:
    for at, word in enumerate(words):
        if word.end is None or word.end >= limit:
            return words[:at]
    return words
