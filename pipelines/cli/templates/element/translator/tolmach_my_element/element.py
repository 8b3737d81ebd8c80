"""The runtime of ``my_element``: utterances translated in threads, in order."""

import asyncio

import numpy as np
import numpy.typing as npt
from tolmach import AudioFrame, Context, Element, Frame, OrderedJobs, TranslationFrame, UtteranceEnd, UtteranceStart

from tolmach_my_element.spec import (
    RATE_HZ,
    MyElementSettings,
)


def translate(samples: npt.NDArray[np.float32], source_lang: str, target_lang: str) -> str:
    """The text of one utterance. Called in a thread; ask your model here.

    Args:
        samples: float32[n], mono at ``RATE_HZ``.
        source_lang: What is spoken.
        target_lang: The language of the answer.
    """
    return f"{source_lang} → {target_lang}: {len(samples) / RATE_HZ:.1f} s"


class MyElement(Element):
    """One text for each utterance. It pushes and posts nothing: captions and transcripts are made from what flows."""

    settings: MyElementSettings
    _open: UtteranceStart | None
    _blocks: list[npt.NDArray[np.float32]]

    def __init__(self, settings: MyElementSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._most = settings.max_utterance_ms * RATE_HZ // 1000
        self._jobs: OrderedJobs[TranslationFrame] = OrderedJobs(context, settings.max_in_flight, context.push)
        self.reset(None)

    async def process(self, frame: Frame, pad: str) -> None:
        """Collect; at the end of an utterance begin its translation, which waits when too many are under way."""
        if isinstance(frame, UtteranceStart):
            self.reset(None)
            self._open = frame
        elif self._open is None or frame.utterance != self._open.utterance:
            pass  # the rest of an utterance that failed
        elif isinstance(frame, AudioFrame):
            self._count += len(frame.samples)
            if self._count <= self._most:
                self._blocks.append(frame.samples[:, 0])
        elif isinstance(frame, UtteranceEnd):
            too_long, blocks = self._count > self._most, self._blocks
            self.reset(None)
            await self._jobs.submit(self._translated(frame, [] if too_long else blocks))

    async def progress(self, time_ns: int, pad: str) -> None:
        """Pass it on behind what is under way, and no further than the utterance that is open."""
        await self._jobs.progress(min(time_ns, self._open.pts_ns) if self._open else time_ns, pad)

    async def drain(self) -> None:
        """Push what is under way."""
        await self._jobs.drain()

    async def stop(self) -> None:
        """Throw away what is under way."""
        self.reset(None)
        await self._jobs.close()

    def reset(self, utterance: int | None) -> None:
        """Forget what was collected."""
        self._open = None
        self._blocks = []
        self._count = 0

    async def _translated(self, end: UtteranceEnd, blocks: list[npt.NDArray[np.float32]]) -> TranslationFrame:
        source, target = self.settings.source_lang, self.settings.target_lang
        text = ""
        if blocks:
            text = await asyncio.to_thread(translate, np.concatenate(blocks), source, target)
        rejected = None if blocks else f"empty, or longer than {self.settings.max_utterance_ms / 1000:g} s"
        return TranslationFrame(
            end.utterance,
            end.pts_ns,
            end.end_ns,
            source,
            target,
            text,
            rejected=rejected,
            engine="my_element",
            decided_ns=end.decided_ns,
        )
