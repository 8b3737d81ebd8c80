"""What a speech translation engine answers for one utterance; element and models both know it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tolmach.processors.ast.direction import Likelihoods
from tolmach.processors.ast.policies import Word

__all__ = ["Hypothesis", "Segment"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence of a text with the audio that it translates.

    Attributes:
        text: Stripped; not empty.
        start: First sample of it in the utterance, at 16 kHz.
        end: Just after its last one; behind ``start``.
        source_text: What was understood of it; None where nobody asked.
    """

    text: str
    start: int
    end: int
    source_text: str | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine says of one utterance.

    Attributes:
        text: The text, stripped; may be empty.
        logprob: Mean log-probability of its tokens, end of sequence included (natural log), or None without tokens.
        fault: Why the engine itself distrusts the text ("no speech"), or None.
        retries: Why it was tried again, once for each time ("empty", "wrong script"), whichever try this is.
        words: The text in words, of an answer to a :class:`tolmach.processors.ast.growing.GrowingRequest`: behind the
            prefix, as ``text`` is then too. The last word may still change.
        end_logprob: Log-probability that the text ends where it does (natural log), or None where an engine has none:
            near 0 when the model takes the sentence for finished.
        source_text: What was understood, in the language that was spoken; None unless it was asked for.
        source_lang: Language it was translated from, where the engine was to find it; None where it was given.
        segments: The sentences of ``text`` with their spans, in order; empty unless they were asked for, and where the
            text is one, or has no other span than the utterance's.
        languages: How likely each of the languages is that the engine was to choose from; empty where it was given.
    """

    text: str
    logprob: float | None
    fault: str | None = None
    retries: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    end_logprob: float | None = None
    source_text: str | None = None
    source_lang: str | None = None
    languages: Likelihoods = ()
    segments: tuple[Segment, ...] = ()

    def tried_again(self, why: str) -> Hypothesis:
        """The same, one try more."""
        return replace(self, retries=(*self.retries, why))
