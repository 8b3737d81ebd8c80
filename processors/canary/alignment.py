"""Which audio each word of a Canary text is made from, by where the decoder looked when it chose the word's tokens.

A model that translates has no timestamps for its own words, and its decoder's attention is the one trace of them. Good
enough to know which words may still change when more is heard (AlignAtt, :mod:`tolmach.processors.ast.policies`); times
for subtitles come from an aligner (:mod:`.aligner`).

Whether the attention tells anything depends on the model: that of the embedded phrasebook looks at the last frame
within two or three tokens, whatever was said, so with it AlignAtt waits for the end (``docs/adr/0031``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from tolmach.processors.ast.policies import Word

SINK_FRAMES = 8
"""Frames at the start that do not count: decoders look there when they look at nothing (NeMo's
``AEDStreamingDecodingConfig.exclude_sink_frames``)."""

WORD_START = "▁"
"""SentencePiece's mark of a space."""


def looked_at(attention: Tensor) -> list[int]:
    """The frame that each token is most made from.

    As NeMo's ``GreedyBatchedStreamingAEDComputer``: the greatest of the mean over the heads, :data:`SINK_FRAMES` at the
    start left out, half the frames where there are fewer than twice as many.

    Args:
        attention: float32[tokens, frames].
    """
    frames = attention.shape[1]
    skipped = min(SINK_FRAMES, frames // 2)
    return [int(frame) + skipped for frame in attention[:, skipped:].argmax(dim=1)]


def words_of(
    tokens: Sequence[int],
    pieces: Sequence[str],
    logprobs: Sequence[float],
    frames: Sequence[int],
    frame_samples: int,
    heard: int,
    text_of: Callable[[Sequence[int]], str],
) -> tuple[Word, ...]:
    """Tokens as words, with where their sound ends.

    Args:
        tokens: Of the text, without special ones.
        pieces: What SentencePiece writes for each.
        logprobs: Of each, natural logarithm.
        frames: Of the encoder that each looks at most.
        frame_samples: Samples that a frame stands for.
        heard: Samples that were heard; no word ends behind them.
        text_of: The text of some first tokens, as it stands behind the prefix.
    """
    starts = [n for n, piece in enumerate(pieces) if n == 0 or piece.startswith(WORD_START)]
    words = []
    before = ""
    for start, end in pairwise([*starts, len(tokens)]):
        text = text_of(tokens[:end])
        # A word is made from all that its tokens are made from; nothing is known before the last of it was heard.
        sound = min((max(frames[start:end]) + 1) * frame_samples, heard)
        words.append(Word(text[len(before) :], tuple(tokens[start:end]), sound, sum(logprobs[start:end])))
        before = text
    return tuple(words)
