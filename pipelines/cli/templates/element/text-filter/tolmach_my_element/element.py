"""The runtime of ``my_element``."""

import dataclasses
import re

from tolmach import Context, Element, Frame, TranslationFrame

from tolmach_my_element.spec import MyElementSettings


class MyElement(Element):
    """Changes texts, whole ones and the partial ones before them; everything else passes unchanged."""

    settings: MyElementSettings

    def __init__(self, settings: MyElementSettings, context: Context) -> None:
        super().__init__(settings, context)
        words = "|".join(re.escape(word) for word in settings.words)
        self._words = re.compile(rf"\b(?:{words})\b" if words else r"(?!)", re.IGNORECASE)

    async def process(self, frame: Frame, pad: str) -> None:
        """Push the text without the words. Nothing is posted: what is shown is what flows."""
        if isinstance(frame, TranslationFrame):
            frame = dataclasses.replace(frame, text=self._words.sub(lambda _: self.settings.mask, frame.text))
        await self.context.push(frame)
