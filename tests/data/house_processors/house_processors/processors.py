"""A gain, a filter in blocks, a word mask, a recogniser, a voice, and processors that break in several ways."""

import asyncio
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService

DOWN = FrameDirection.DOWNSTREAM


class Gain(FrameProcessor):
    """Makes audio louder by a factor."""

    def __init__(self, *, factor: float, api_key: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._factor = float(factor)
        self.api_key = api_key

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            samples = np.frombuffer(frame.audio, "<i2") * self._factor
            audio = np.clip(samples, -32768, 32767).astype("<i2").tobytes()
            frame = InputAudioRawFrame(audio, frame.sample_rate, frame.num_channels)
        await self.push_frame(frame, direction)


class Blocks(FrameProcessor):
    """A filter that works on blocks of 10 ms and gives the rest at the end."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._held = b""
        self._rate = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._rate = frame.sample_rate
            self._held += frame.audio
            size = frame.sample_rate // 100 * 2
            while len(self._held) >= size:
                block, self._held = self._held[:size], self._held[size:]
                await self.push_frame(InputAudioRawFrame(block, frame.sample_rate, 1))
            return
        if isinstance(frame, EndFrame) and self._held:
            await self.push_frame(InputAudioRawFrame(self._held, self._rate, 1))
        await self.push_frame(frame, direction)


class Mask(FrameProcessor):
    """Hides a word in texts."""

    def __init__(self, *, word: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._word = word

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, TextFrame):
            frame = TextFrame(frame.text.replace(self._word, "***"))
        await self.push_frame(frame, direction)


class Recogniser(FrameProcessor):
    """Says how many milliseconds it has heard, in a task of its own, the longer the later, once the gate is open."""

    gate: asyncio.Event | None = None

    def __init__(self, *, silent_below_ms: int = 0, finalized: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._heard = 0
        self._rate = 16000
        self._silent_below_ms = silent_below_ms
        self._finalized = finalized
        self._asked = asyncio.Queue()
        self._worker = None

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self._heard = 0
        elif isinstance(frame, InputAudioRawFrame):
            self._heard += frame.num_frames
            self._rate = frame.sample_rate
            return
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self._asked.put_nowait(self._heard * 1000 // self._rate)
            if self._worker is None:
                self._worker = self.create_task(self._answer())
        elif isinstance(frame, EndFrame):
            await self._asked.join()
        await self.push_frame(frame, direction)

    async def _answer(self) -> None:
        while True:
            heard_ms = await self._asked.get()
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(heard_ms / 100_000)
            if heard_ms >= self._silent_below_ms:
                said = TranscriptionFrame(f"{heard_ms} ms", "", "", finalized=self._finalized)
                await self.push_frame(said)
            self._asked.task_done()

    async def cleanup(self):
        await super().cleanup()
        if self._worker is not None:
            await self.cancel_task(self._worker)


class Loud(FrameProcessor):
    """A detector: speech is what is loud, and its end a quiet frame."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._speaking = False

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            loud = bool(abs(np.frombuffer(frame.audio, "<i2").astype(int)).max() > 1000)
            if loud != self._speaking:
                self._speaking = loud
                await self.push_frame(VADUserStartedSpeakingFrame() if loud else VADUserStoppedSpeakingFrame())


class Voice(FrameProcessor):
    """Beeps a text, 10 ms a letter, once the gate is open."""

    gate: asyncio.Event | None = None

    def __init__(self, *, rate_hz: int = 24000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rate_hz = rate_hz

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if not isinstance(frame, TTSSpeakFrame):
            await self.push_frame(frame, direction)
            return
        if self.gate is not None:
            await self.gate.wait()
        await self.push_frame(TTSStartedFrame())
        for letter in frame.text:
            block = np.full(self._rate_hz // 100, ord(letter), "<i2").tobytes()
            await self.push_frame(TTSAudioRawFrame(block, self._rate_hz, 1))
        await self.push_frame(TTSStoppedFrame())


class Tardy(FrameProcessor):
    """Beeps, and says once more that a text is over while it speaks the next one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._before = "none"

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if not isinstance(frame, TTSSpeakFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(TTSStartedFrame(context_id=frame.text))
        for _ in range(2):
            await self.push_frame(TTSAudioRawFrame(bytes(480), 24000, 1, context_id=frame.text))
            await self.push_frame(TTSStoppedFrame(context_id=self._before))
        await self.push_frame(TTSStoppedFrame(context_id=frame.text))
        self._before = frame.text


class Service(TTSService):
    """The same beeps as a service of pipecat: its base class queues, starts and stops them. "-" has no sound."""

    def __init__(self, **kwargs: Any) -> None:
        settings = TTSSettings(model=None, voice=None, language=None)
        super().__init__(push_start_frame=True, push_stop_frames=True, settings=settings, **kwargs)

    async def run_tts(self, text: str, context_id: str):
        for letter in text:
            await asyncio.sleep(0)
            if letter != "-":
                block = np.full(self.sample_rate // 100, ord(letter), "<i2").tobytes()
                yield TTSAudioRawFrame(block, self.sample_rate, 1, context_id=context_id)


class Translator(FrameProcessor):
    """Answers a text word by word, as language models do, in a task of its own."""

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, TextFrame):
            self._answering = self.create_task(self._answer(frame.text))
        else:
            await self.push_frame(frame, direction)

    async def _answer(self, text: str) -> None:
        await self.push_frame(LLMFullResponseStartFrame())
        for word in text.upper().split(" "):
            await asyncio.sleep(0.001)
            await self.push_frame(LLMTextFrame(word + " "))
        await self.push_frame(LLMFullResponseEndFrame())


class Once(FrameProcessor):
    """Breaks for good at its first audio, unless another one has before."""

    broken = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and not type(self).broken:
            type(self).broken += 1
            await self.push_error("the connection is lost", force_treat_as_permanent=True)
        await self.push_frame(frame, direction)


class Stumbling(FrameProcessor):
    """Raises at audio that is too loud."""

    def __init__(self, *, limit: int = 32767, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._limit = limit

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and np.frombuffer(frame.audio, "<i2").max() >= self._limit:
            raise ValueError("it is too loud")
        await self.push_frame(frame, direction)


class Reporting(FrameProcessor):
    """Reports an error at each text, permanent or not."""

    def __init__(self, *, permanent: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._permanent = permanent

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, TextFrame) and frame.text == "bad":
            await self.push_error("the key was refused", force_treat_as_permanent=self._permanent)
            return
        await self.push_frame(frame, direction)


class Unready(FrameProcessor):
    """Cannot be set up."""

    async def setup(self, setup):
        await super().setup(setup)
        raise ConnectionError("nobody answers")

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


class Connecting(FrameProcessor):
    """Never gets its connection."""

    async def setup(self, setup):
        await super().setup(setup)
        await asyncio.Event().wait()

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


class Hanging(FrameProcessor):
    """Never comes back from its first frame of audio."""

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await asyncio.Event().wait()
        await self.push_frame(frame, direction)


class Forgetful(FrameProcessor):
    """Keeps audio until it is told that speech has ended, and remembers how it was interrupted."""

    interruptions = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            type(self).interruptions += 1
        await self.push_frame(frame, direction)


def make_gain(factor: float = 1.0) -> Gain:
    """A function that makes a processor will do as well."""
    return Gain(factor=factor)
