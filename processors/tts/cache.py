"""What a voice has made before, kept for the next time that it is to say the same: LRU, bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["CACHE_BYTES", "SpeechCache"]

CACHE_BYTES = 8 * 1024 * 1024
"""44 s of speech at 48 kHz, some twenty short answers. Each voice of each session has so much of its own, so that
nobody learns from how soon a sentence is heard what was said in another session."""

_LARGEST_SHARE = 4
"""What takes more than one part in so many is not kept: long sentences do not come twice, and would throw all out."""

_Made = TypeVar("_Made")


class SpeechCache(Generic[_Made]):
    """Sound by what it was made of: text, voice, speaker and whatever else has a say in it.

    Args:
        max_bytes: Most that is kept.

    Attributes:
        hits: How often something was found.
        misses: How often not.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.hits = 0
        self.misses = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._made: OrderedDict[Hashable, tuple[_Made, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._made)

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return self._bytes

    def get(self, key: Hashable) -> _Made | None:
        """What was made of it, or None. Whoever takes it leaves it as it is."""
        found = self._made.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._made.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, made: _Made, size_bytes: int) -> None:
        """Keep it, if it is not too large; what was used least lately makes room."""
        if size_bytes > self._max_bytes // _LARGEST_SHARE:
            return
        if key in self._made:
            self._bytes -= self._made.pop(key)[1]
        self._made[key] = (made, size_bytes)
        self._bytes += size_bytes
        while self._bytes > self._max_bytes:
            _, (_, freed) = self._made.popitem(last=False)
            self._bytes -= freed
