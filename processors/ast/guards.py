"""Guards against hallucinated text: what is wrong with an utterance, or a text, whatever the engine. Pure functions."""

from __future__ import annotations

import re
import zlib

import numpy as np

from tolmach.pipelines.frames import Samples

__all__ = [
    "EMPTY",
    "FAILED",
    "NO_SPEECH",
    "OTHER",
    "REASONS",
    "REPETITION",
    "RETRIES",
    "TAIL_CHARS",
    "TOO_LONG",
    "UNLIKELY",
    "WRONG_SCRIPT",
    "compression_ratio",
    "has_no_speech",
    "most_chars",
    "without_tokens",
]

NO_SPEECH = "no speech"
REPETITION = "repetition"
UNLIKELY = "low confidence"
TOO_LONG = "more text than speech"
WRONG_SCRIPT = "wrong script"
FAILED = "the engine failed"
"""Why an utterance has no text when its request raised an error, which is on the bus."""

EMPTY = "empty"

REASONS = (NO_SPEECH, REPETITION, UNLIKELY, TOO_LONG, WRONG_SCRIPT, FAILED, "not in the phrasebook")
"""Why a text is rejected, as figures tell it apart."""

RETRIES = (EMPTY, WRONG_SCRIPT)
"""Why an utterance is tried again."""

OTHER = "other"
"""Whatever else: elements may give any reason ("longer than 60 s"), of which figures keep one series."""


# The utterance, before a model is asked ---------------------------------------------------------------------------

LEVEL_MS = 20
"""Length of the pieces whose levels are compared, ms: shorter than a syllable, several periods of the lowest voice."""

SILENT_DB = -90.0
"""Below this in its loudest 20 ms an utterance is silent, dBFS: the last bit of 16-bit sound is -90.3. The softest real
recording at hand (FLEURS) is at -54."""

STEADY_DB = 2.0
"""Below this range of levels (98th less 20th percentile of its 20 ms, dB) an utterance is a steady noise. White noise
has up to 1.0, hum and tones 0.1; 55 recordings of speech have 20 and more, and 3.0 and more when white noise 5 dB
louder than the speech is mixed in, which no engine understands."""

STEADY_AT_LEAST_MS = 1000
"""Shorter utterances may be one vowel: of pieces of half a second cut out of the middle of those recordings 3 of 1114
were as steady, of a second none of 461. (A detector cuts where it is silent, so its utterances begin and end so.)"""


def has_no_speech(samples: Samples, rate_hz: int) -> bool:
    """Whether an utterance is silent, or as steady as nobody speaks.

    Args:
        samples: float32[n], mono, [-1, 1].
        rate_hz: Their rate, Hz.
    """
    size = rate_hz * LEVEL_MS // 1000
    count = len(samples) // size
    if count == 0:
        return not np.any(samples)
    powers = np.square(samples[: count * size].reshape(count, size), dtype=np.float32).mean(axis=1)
    levels_db = 10 * np.log10(np.maximum(powers, 1e-30))
    if levels_db.max() < SILENT_DB:
        return True
    if count * LEVEL_MS < STEADY_AT_LEAST_MS:
        return False
    low, high = np.percentile(levels_db, [20, 98])
    return bool(high - low < STEADY_DB)


# The text ---------------------------------------------------------------------------------------------------------

CHARS_PER_S = 30.0
"""Characters that a second of speech may become. Speakers of the fastest languages make 7.8 syllables a second on
average (Pellegrino, Coupe and Marsico, "Across-language perspective on speech information rate", Language 87, 2011),
and a syllable is written with less than four characters, spaces included, in alphabets; others need fewer. The fastest
of some 120 recordings, or the translation beside it, has 21."""

CHARS_AT_LEAST = 40
"""What an utterance of no length may become: the translation of a short word may be a phrase."""


def most_chars(seconds: float) -> int:
    """Most characters that an utterance may become; more has been made up."""
    return CHARS_AT_LEAST + round(CHARS_PER_S * seconds)


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
