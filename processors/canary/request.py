"""What the Canary model is asked about one utterance; element and model both know it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.processors.ast.direction import Direction, Likelihoods

__all__ = ["AlignRequest", "CanaryRequest", "pad_behind", "pad_short", "switch_token", "token_bound"]


@dataclass(frozen=True, slots=True)
class CanaryRequest:
    """One utterance to translate.

    Attributes:
        samples: float32[n], mono, 16 kHz, [-1, 1].
        source_lang: Language that is spoken.
        target_lang: Language of the text; the same as ``source_lang`` transcribes.
        max_tokens: Most tokens of the text, or None for the model's own bound.
        prefix: What the text begins with, in the target language, or its tokens: forced as the first tokens of the
            decoder's output; the answer is what follows it. A text should not end with a full stop, behind which texts
            end.
        context: What was said before, in the target language, or its tokens, for the prompt's slot ``decodercontext``:
            a hint that the model may have learnt to use, where ``prefix`` is a fact it cannot escape.
        words: Whether the answer is wanted in words, with where the sound of each ends. Such a request is about audio
            that grows: there are no second tries.
        directions: Languages one of which is spoken, with the target of each; empty where ``source_lang`` is.
        evidence: What the spoken language is found by (:mod:`tolmach.processors.canary.spoken`).
        spoken: How likely each language is by a classifier, which is then what it is found by; empty without one.
        transcript: Whether what was understood is wanted too.
        pnc: Whether with punctuation and capitals; None as the model is configured.
        itn: Whether with numbers in digits; None as the model is configured.
        beam_size: Hypotheses kept in the search; None as the model is configured. Words need a search of one.
    """

    samples: Samples
    source_lang: str
    target_lang: str
    max_tokens: int | None = None
    prefix: str | tuple[int, ...] = ""
    context: str | tuple[int, ...] = ""
    words: bool = False
    directions: tuple[Direction, ...] = ()
    evidence: Literal["prompt", "transcripts"] = "prompt"
    spoken: Likelihoods = ()
    transcript: bool = False
    pnc: bool | None = None
    itn: bool | None = None
    beam_size: int | None = None

    def padded(self, least: int) -> CanaryRequest:
        """The same with silence on both sides up to a length, samples."""
        return replace(self, samples=pad_short(self.samples, least))


@dataclass(frozen=True, slots=True)
class LanguageRequest:
    """What the classifier of languages is asked about one utterance.

    Attributes:
        samples: float32[n], mono, 16 kHz, [-1, 1].
        languages: Those in question.
    """

    samples: Samples
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AlignRequest:
    """What the aligner is asked about one utterance.

    Attributes:
        samples: float32[n], mono, 16 kHz, [-1, 1].
        text: What was said in it.
    """

    samples: Samples
    text: str


def switch_token(slot: str, on: bool) -> str:
    """The token of a slot that is on or off, as NeMo's ``canary2`` prompt writes it: ``<|pnc|>``, ``<|noitn|>``."""
    return f"<|{'' if on else 'no'}{slot}|>"


def pad_short(samples: Samples, least: int) -> Samples:
    """Silence on both sides, the odd sample behind, as NeMo's transcribe() does for arrays; float32[max(n, least)]."""
    missing = max(0, least - len(samples))
    return np.pad(samples, (missing // 2, missing - missing // 2)) if missing else samples


def pad_behind(samples: Samples, least: int) -> Samples:
    """Silence behind, so that what is said of the audio's samples stays true; float32[max(n, least)]."""
    return np.pad(samples, (0, max(0, least - len(samples))))


TOKENS_PER_S = 8.0
"""Tokens that a second of speech may become. Speakers of the fastest languages make 7.8 syllables a second (Pellegrino,
Coupe and Marsico, "Across-language perspective on speech information rate", Language 87, 2011), and a token of a
vocabulary of 16384 holds a syllable or more."""

TOKENS_AT_LEAST = 24
"""What an utterance of no length may become: translations of short phrases are longer than these."""


def token_bound(seconds: float) -> int:
    """Most tokens of the text of an utterance, so that a model in a loop stops soon after the speech would have.

    NeMo's own bound lets 20 s of audio become 290 tokens, 52 s of a CPU's time; this one 184.
    """
    return TOKENS_AT_LEAST + round(TOKENS_PER_S * seconds)
