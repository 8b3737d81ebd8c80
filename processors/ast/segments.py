"""The sentences of a text with the audio they translate, from when its words were said; pure.

A translation's own words were never said, so their times mean little: a forced alignment puts them somewhere into the
speech. Where the transcript has as many sentences as the translation, each sentence is given the time of its original;
where it has not, that of its own words, which is what NeMo does (``transcribe(timestamps=True)`` of a translation, for
which canary-1b-v2's model card promises times of segments alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tolmach.processors.ast.hypothesis import Segment
from tolmach.processors.ast.sentences import ends_sentence

__all__ = ["WordTime", "WordTimes", "segments_of", "sentences_of", "to_align", "with_sources"]


class WordTime(NamedTuple):
    """When a word was said.

    Attributes:
        start: First sample.
        end: Just after the last one.
    """

    start: int
    end: int


WordTimes = tuple[WordTime | None, ...]
"""Of each word of a text; None of one that the alignment passed over; empty where it found nothing."""


def sentences_of(text: str) -> list[str]:
    """The sentences of a text: cut where a word ends one (``?``, ``!``, ``.``, ``…`` with what closes behind it).

    As NeMo cuts (``segment_separators``), and so that a single letter with a full stop ends none ("A. P. Chekhov").
    """
    found: list[list[str]] = [[]]
    for word in text.split():
        found[-1].append(word)
        letters = sum(map(str.isalnum, word))
        if ends_sentence(word) and (letters > 1 or word.rstrip("\"'»”’)]}")[-1:] != "."):
            found.append([])
    return [" ".join(words) for words in found if words]


def to_align(text: str, transcript: str | None) -> str:
    """What to align so that the sentences of a text have spans; empty where it is one sentence."""
    count = len(sentences_of(text))
    if count < 2:
        return ""
    return transcript if transcript and len(sentences_of(transcript)) == count else text


def segments_of(
    text: str, aligned: str, times: WordTimes, heard: int, source_lang_text: str | None = None
) -> tuple[Segment, ...]:
    """The sentences of a text with their spans, which follow each other and lie in the audio.

    Args:
        text: The translation.
        aligned: What was aligned: the transcript, or the text itself; as many sentences as the text.
        times: Of each word of ``aligned``.
        heard: Length of the audio, samples.
        source_lang_text: What was understood, if it is wanted beside the segments.

    Returns:
        Empty where the text is one sentence, or nothing is known of one: it then has the span of the whole.
    """
    sentences, originals = sentences_of(text), sentences_of(aligned)
    if len(sentences) < 2 or len(originals) != len(sentences) or len(times) != len(aligned.split()):
        return ()
    segments: list[Segment] = []
    at = before = 0
    for sentence, original in zip(sentences, originals, strict=True):
        count = len(original.split())
        known = [each for each in times[at : at + count] if each is not None]
        at += count
        if not known:
            return ()
        start = min(max(known[0].start, before), heard)
        before = min(known[-1].end, heard)
        if before <= start:
            return ()
        segments.append(Segment(sentence, start, before))
    return with_sources(segments, source_lang_text)


def with_sources(segments: Sequence[Segment], understood: str | None) -> tuple[Segment, ...]:
    """Segments with what was understood of each: sentence by sentence, or all of it with the first one."""
    if not understood:
        return tuple(segments)
    sources: Sequence[str | None] = sentences_of(understood)
    if len(sources) != len(segments):
        sources = [understood, *[None] * (len(segments) - 1)]
    return tuple(replace(segment, source_text=source) for segment, source in zip(segments, sources, strict=False))
