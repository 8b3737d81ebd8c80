"""Which language is spoken: what a Canary model knows of it, from the encoder's states that it translates from anyway.

Canary has no language head. There are two ways to ask it:

* **The prompt** holds the spoken language behind a few tokens that are the same for all (``canary2``: context, start,
  emotion). The decoder, given those and the audio, has a probability for each token that could come next, so also for
  ``<|en|>`` and ``<|ru|>``. One step of four tokens. It tells only of a model that has learnt to say what stands in its
  prompt, which the embedded phrasebook has (``use_loss_mask_for_prompt: false``) and the published models may not have.
* **Transcripts**: written down in each language in question, the speech is likelier in the one that was spoken. A
  wrong source language gives fluent text, but text the model is less sure of. One search for each language.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from tolmach.processors.ast.direction import Likelihoods

if TYPE_CHECKING:
    from tolmach.processors.canary.decoding import GreedyDecoder

__all__ = ["TRANSCRIPT_TOKENS", "by_prompt", "by_transcripts"]

TRANSCRIPT_TOKENS = 24
"""Most tokens of a transcript that is made for its likelihood alone: two or three seconds of speech."""

TOKENS_THAT_COUNT = 8.0
"""How many tokens the mean log-probability of a transcript speaks for, when transcripts are weighed against each other:
fewer than they have, for tokens of one text are no independent witnesses. Chosen, not measured on the published models,
for want of the weights."""


def by_prompt(
    decoder: GreedyDecoder, states: Tensor, mask: Tensor, prompts: Sequence[Tensor], langs: Sequence[str]
) -> Likelihoods:
    """Probability of each language's token where the prompt names the spoken one.

    Args:
        decoder: Of the model.
        states: Of the encoder for one utterance, [1, frames, width].
        mask: Theirs, [1, frames].
        prompts: For each language a prompt that names it, int64[p]; they first differ in that token.
        langs: The languages, all different.
    """
    slot = next(at for at in range(len(prompts[0])) if len({int(prompt[at]) for prompt in prompts}) > 1)
    logprobs = decoder.next_logprobs(states, mask, [prompts[0][:slot]])[0].double()
    return _weighed(langs, [float(logprobs[int(prompt[slot])]) for prompt in prompts])


def by_transcripts(langs: Sequence[str], logprobs: Sequence[float | None]) -> Likelihoods:
    """How likely each language is, by the mean log-probability (natural log) of a transcript in it; None of no tokens.

    Args:
        langs: The languages.
        logprobs: Of a transcript in each.
    """
    means = [-math.inf if each is None else each for each in logprobs]
    if not any(map(math.isfinite, means)):
        means = [0.0] * len(langs)
    return _weighed(langs, [TOKENS_THAT_COUNT * each for each in means])


def _weighed(langs: Sequence[str], logs: Sequence[float]) -> Likelihoods:
    """Log-likelihoods as probabilities of these languages and no others."""
    most = max(logs)
    weights = [math.exp(each - most) for each in logs]
    return tuple((lang, weight / sum(weights)) for lang, weight in zip(langs, weights, strict=True))
