"""The runtime of ``espeak_tts``."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing

from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.frames import Samples, TranslationFrame
from tolmach.processors.espeak import engine
from tolmach.processors.espeak.spec import RATE_HZ, EspeakSettings
from tolmach.processors.tts.element import SpeechElement, split_text

PIECE_CHARS = 400
"""Longest text given to the library at once: other graphs wait for it, and its audio (under a minute at the slowest
rate, 5 MB) may have to wait in memory."""

_AUDIBLE = re.compile(r"\w|[^\w\s.,;:!?…'\"«»„“”‘’()\[\]{}–—‒―\-_*/\\|~^`]")


class EspeakTts(SpeechElement):
    """Speaks translations with espeak-ng."""

    settings: EspeakSettings

    rate_hz = RATE_HZ

    async def start(self) -> None:
        """Load the library and look up the voice.

        Raises:
            GraphError: If the library has no such voice.
            ModelError: If the library is missing or does not start.
        """
        await engine.check_voice(self.settings.voice_name)
        rate_hz = await engine.rate_hz()
        if rate_hz != RATE_HZ:
            raise ModelError(
                f"this espeak-ng speaks at {rate_hz} Hz, not at the {RATE_HZ} Hz the graph was checked for"
            )

    async def synthesise(self, frame: TranslationFrame) -> AsyncIterator[Samples]:
        """Speak sentence by sentence. See :meth:`SpeechElement.synthesise`."""
        settings = self.settings
        pieces = [p for p in split_text(engine.sanitise(frame.text), PIECE_CHARS) if _AUDIBLE.search(p)]
        for at, piece in enumerate(pieces):
            pause = at + 1 < len(pieces) and piece.rstrip("\"'»”’)]").endswith((".", "!", "?", "…"))
            request = engine.Request(
                piece, settings.voice_name, settings.rate_wpm, settings.pitch, settings.volume, end_pause=pause
            )
            async with aclosing(engine.speak(request)) as blocks:
                async for block in blocks:
                    yield block
