"""What a speech translation engine answers for one utterance; element and models both know it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tolmach.processors.ast.direction import Likelihoods
from tolmach.processors.ast.policies import Word

__all__ = ["Hypothesis"]


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

    def tried_again(self, why: str) -> Hypothesis:
        """The same, one try more."""
        return replace(self, retries=(*self.retries, why))
