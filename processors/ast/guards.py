"""Guards against hallucinated text: what is wrong with a text whatever engine it came from. Pure functions."""

from __future__ import annotations

import re
import zlib

__all__ = ["TAIL_CHARS", "compression_ratio", "without_tokens"]

_TOKENS = re.compile(r"<\|[^|<>]*\|>|<(?:unk|pad|s|/s|bos|eos)>|⁇")
"""Tokens as engines write them: Whisper's and Canary's ``<|…|>``, SentencePiece's own, and ``⁇``, which it writes for
what it does not know (``unk_surface``)."""

TAIL_CHARS = 240
"""How much of the end is looked at apart: a loop goes on until the decoder is stopped, and a good beginning must not
hide it."""


def without_tokens(text: str) -> str:
    """The text without special tokens, stripped, with single spaces where they stood."""
    if not _TOKENS.search(text):
        return text.strip()
    return re.sub(r"\s+", " ", _TOKENS.sub(" ", text)).strip()


def compression_ratio(text: str) -> float:
    """How many times zlib shortens a text, or its end: above about 2.4 it repeats itself.

    Measure and value are Whisper's (``whisper.decoding``: ``compression_ratio``), but here letters outside ASCII count
    as one byte each, not as UTF-8's two: plain Russian of 800 letters would come to 2.2 for its first bytes alone.
    """
    return max(_ratio(text), _ratio(text[-TAIL_CHARS:]) if len(text) > TAIL_CHARS else 0.0)


def _ratio(text: str) -> float:
    letters = {letter: 128 + index for index, letter in enumerate(dict.fromkeys(c for c in text if ord(c) >= 128))}
    many = len(letters) > 128  # Chinese and the like
    data = text.encode() if many else bytes(letters.get(char) or ord(char) for char in text)
    return len(data) / len(zlib.compress(data)) if data else 0.0
