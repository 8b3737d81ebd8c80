"""Captions as append-only text: what OpenAI's ``transcript.delta`` events say one after another.

A caption may be replaced while it grows (:class:`~tolmach.web.sessions.transcript.Caption`), and each utterance has a
text of its own. A delta cannot be taken back, so only what is final is said: a part of an utterance as soon as its
engine has settled it, which of one that translates while somebody speaks is word by word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Deltas", "Fragment", "separator"]

_REMEMBERED = 200
"""Utterances whose translator is remembered; far more than are under way at a time."""

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # CJK radicals, symbols and punctuation, kana, bopomofo
    (0x31A0, 0x9FFF),  # bopomofo and kana extensions, Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFE30, 0xFE4F),  # CJK compatibility forms
    (0xFF00, 0xFFEF),  # full-width forms
    (0x1B000, 0x1B16F),  # kana supplement
    (0x20000, 0x323AF),  # Han extensions
)
"""Blocks of scripts that put no spaces between words (Unicode 16, Blocks.txt)."""
_ATTACHED = frozenset(".,;:!?…)]}»”’%。，、！？；：）】」』")
"""Marks that belong to the word before them."""


def separator(before: str, text: str) -> str:
    """What stands between a text and the one that follows it: a space, or nothing.

    >>> separator("Good morning.", "Доброе утро."), separator("", "Hello"), separator("你好。", "早上好")
    (' ', '', '')

    Args:
        before: What was said so far, or its end; empty for nothing.
        text: What follows, not empty.
    """
    if not before or text[0] in _ATTACHED or (_is_unspaced(before[-1]) and _is_unspaced(text[0])):
        return ""
    return " "


def _is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _UNSPACED)


class Fragment:
    """What one caption adds to a transcript.

    Attributes:
        translation: Text to be appended to the translation; empty for nothing.
        source: Text to be appended to what was understood; empty for nothing.
        target_lang: BCP-47 tag of the translation.
        source_lang: BCP-47 tag of what was spoken.
    """

    __slots__ = ("source", "source_lang", "target_lang", "translation")

    def __init__(self, translation: str, source: str, target_lang: str, source_lang: str) -> None:
        self.translation = translation
        self.source = source
        self.target_lang = target_lang
        self.source_lang = source_lang


class Deltas:
    """The two transcripts of a session, as they grow.

    Where several translators have made a text of one utterance, the first one's is taken, all of it: their texts would
    stand between each other.
    """

    def __init__(self) -> None:
        self._translators: dict[int, tuple[str, str]] = {}  # by utterance
        self._said: dict[tuple[int, int], None] = {}  # utterance and part
        self._translation_end = ""
        self._source_end = ""

    def add(self, caption: Mapping[str, Any]) -> Fragment | None:
        """Take a ``caption`` message of docs/LIVE.md; None where it adds nothing."""
        if not caption["final"] or caption["replayed"]:
            return None
        utterance, translator = caption["utterance"], (caption["target_lang"], caption["engine"])
        if self._translators.setdefault(utterance, translator) != translator:
            return None
        key = utterance, caption["part"]
        if key in self._said:  # told again for something else than its text
            return None
        self._said[key] = None
        if len(self._translators) > _REMEMBERED:
            oldest = next(iter(self._translators))
            del self._translators[oldest]
            self._said = {key: None for key in self._said if key[0] != oldest}
        translation, source = (caption["text"] or "").strip(), (caption["source_text"] or "").strip()
        fragment = Fragment("", "", caption["target_lang"], caption["source_lang"])
        if translation:
            fragment.translation = separator(self._translation_end, translation) + translation
            self._translation_end = translation[-1]
        if source:
            fragment.source = separator(self._source_end, source) + source
            self._source_end = source[-1]
        return fragment if translation or source else None
