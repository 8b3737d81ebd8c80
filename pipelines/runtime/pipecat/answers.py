"""Utterances and texts put to a pipecat processor, and its answers, texts or voices, in order.

pipecat's frames do not say to which utterance they belong, and a service that heard no words says nothing at all. So
answers are told apart by order: what comes belongs to the oldest utterance without an answer. That an utterance has
been answered is known when its text is called final, when its voice has stopped, when the processor says that it has
worked it through (its processing metrics), when EndFrame has come out, or when nothing comes any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.element import Context
from tolmach.pipelines.frames import AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart, samples_to_ns
from tolmach.pipelines.runtime.pipecat.audio import input_audio
from tolmach.pipelines.runtime.pipecat.frames import Bridge, Feed, from_pcm, is_spoken, language_of
from tolmach.pipelines.runtime.pipecat.spec import AUDIO, PipecatSettings
from tolmach.pipelines.runtime.pipecat_api import (
    EagerTranscriptionFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    PipecatFrame,
    PipecatTranslationFrame,
    ProcessingMetricsData,
    TextFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
    time_now_iso8601,
)

__all__ = ["AnswerBridge"]

AFTER_METRICS_S = 0.25
"""Wall time that a text may come after the processor said that it has worked the utterance through, s: services report
first and push the text behind it, in the same task."""
MAX_CONTEXTS = 1000
"""Voices that are remembered, so that a word that comes too late is not taken for one of the next."""
LOST_UPSTREAM = "lost to a failure upstream"
NO_ANSWER = "no answer"
NO_SPEECH = "no speech"
FAILED = "the engine failed"


@dataclass
class Ask:
    """An utterance, or a text, that the processor is asked about.

    Attributes:
        utterance: Its number.
        pts_ns: Where it starts, ns.
        end_ns: Where it ends, ns; so far.
        source_lang: What is spoken in it, as far as it is known.
        put: Whether all of it has been given to the processor.
        texts: What the processor has said of it.
        answered: Whether nothing more is expected.
        fault: Why it has no text, whatever comes.
        due: When it counts as answered if nothing comes any more, by the loop's clock, s; None for not yet.
        passed: A text that the processor is not asked about, on its way behind what it is.
        context: The ``context_id`` of its voice, once a frame has named one.
        started: Whether its voice has begun.
        spoken: Samples of its voice so far.
    """

    utterance: int
    pts_ns: int
    end_ns: int
    source_lang: str = ""
    put: bool = False
    texts: list[str] = field(default_factory=list)
    answered: bool = False
    fault: str | None = None
    due: float | None = None
    passed: TranslationFrame | None = None
    context: str | None = None
    started: bool = False
    spoken: int = 0


class AnswerBridge(Bridge):
    """Utterances to texts, texts to texts, or texts to voices.

    Args:
        context: The element's.
        feed: Gives the processor a frame.
        settings: The element's.
        asks_audio: Whether utterances are put to the processor, not texts.
    """

    def __init__(self, context: Context, feed: Feed, settings: PipecatSettings, *, asks_audio: bool) -> None:
        super().__init__(context, feed, settings)
        self._asks_audio = asks_audio
        self._speaks = settings.src_caps.media == AUDIO
        self._asks: deque[Ask] = deque()
        self._contexts: deque[str] = deque(maxlen=MAX_CONTEXTS)  # of voices, the last ones
        self._draining = False
        self._hearing: Ask | None = None  # the utterance that goes in
        self._responding = False  # between the ends of a response that comes word by word
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._watching = False
        self._warned = False
        self._engine = settings.processor.partition(":")[2].rpartition(".")[2]
        self._lang = str(_value(context, "src", "lang") or "")
        self._heard_lang = settings.source_lang or str(_value(context, "sink", "lang") or "")
        self._rate_hz = 0

    # In -----------------------------------------------------------------------------------------------------------

    async def take(self, frame: Frame) -> None:
        """Put it to the processor; waits while ``max_in_flight`` are not answered."""
        if isinstance(frame, TranslationFrame):
            await self._take_text(frame)
        elif isinstance(frame, UtteranceStart):
            await self._room()
            self._hearing = Ask(frame.utterance, frame.pts_ns, frame.pts_ns, self._heard_lang)
            self._asks.append(self._hearing)
            await self.feed(VADUserStartedSpeakingFrame())
            await self.feed(UserStartedSpeakingFrame())
        elif isinstance(frame, AudioFrame):
            if self._hearing is not None and frame.utterance == self._hearing.utterance:
                self._hearing.end_ns = frame.end_ns
                await self.feed(input_audio(frame))
        elif isinstance(frame, UtteranceEnd):
            await self._end_of_utterance(frame)

    async def _end_of_utterance(self, frame: UtteranceEnd) -> None:
        ask, self._hearing = self._hearing, None
        if ask is None or ask.utterance != frame.utterance:
            return
        ask.end_ns = frame.end_ns
        if frame.reason == "error":
            ask.fault = LOST_UPSTREAM
        ask.put = True
        self._expect(ask, self.settings.settle_ms if ask.texts else self.settings.answer_timeout_ms)
        await self.feed(VADUserStoppedSpeakingFrame())
        await self.feed(UserStoppedSpeakingFrame())
        await self._deliver()

    async def _take_text(self, frame: TranslationFrame) -> None:
        if self._speaks and not is_spoken(frame):
            return
        if not frame.final:
            return  # of a text that is not final nothing is made that somebody would have to take back
        await self._room()
        ask = Ask(frame.utterance, frame.pts_ns, frame.end_ns, frame.target_lang, put=True)
        self._asks.append(ask)
        if not is_spoken(frame):
            ask.passed, ask.answered = frame, True
            await self._deliver()
            return
        self._expect(ask, self.settings.answer_timeout_ms)
        if self._speaks:
            await self.feed(TTSSpeakFrame(frame.text, append_to_context=False))
            return
        language = language_of(frame.target_lang)
        await self.feed(PipecatTranslationFrame(frame.text, "", time_now_iso8601(), language))
        if ask.texts and not self._responding:
            ask.answered = True
            await self._deliver()

    async def _room(self) -> None:
        while len(self._asks) >= self.settings.max_in_flight:
            await self._changed.wait()

    # Out ----------------------------------------------------------------------------------------------------------

    async def give(self, frame: PipecatFrame) -> None:
        """A text or a voice for the oldest that waits for one."""
        ask = self._oldest()
        if isinstance(frame, MetricsFrame):
            told = any(isinstance(each, ProcessingMetricsData) for each in frame.data)
            if told and ask is not None and ask.put and not self._speaks:  # a voice goes on behind its request
                self._expect(ask, round(AFTER_METRICS_S * 1000), at_most=True)
        elif self._speaks:
            await self._give_voice(frame)
        elif isinstance(frame, LLMFullResponseStartFrame | LLMFullResponseEndFrame):
            self._responding = isinstance(frame, LLMFullResponseStartFrame)
            if ask is not None and not self._responding and ask.put:
                ask.answered = True
        elif isinstance(frame, TextFrame) and not isinstance(frame, EagerTranscriptionFrame | TTSTextFrame):
            await self._give_text(ask, frame)
        await self._deliver()

    async def _give_text(self, ask: Ask | None, frame: TextFrame) -> None:
        if ask is None:
            if frame.text.strip() and not self._warned:
                self._warned = True
                text = f"{self.context.name}: a text came that belongs to no utterance; raise answer_timeout_ms."
                self.context.post(WarningMessage(text))
            return
        if isinstance(frame, InterimTranscriptionFrame):
            await self._push_text(ask, [*ask.texts, frame.text], final=False)
            return
        if self._responding and ask.texts:
            ask.texts[-1] += frame.text
        else:
            ask.texts.append(frame.text)
        if not ask.put:
            return
        if isinstance(frame, TranscriptionFrame) and frame.finalized:
            ask.answered = True
        else:
            self._expect(ask, self.settings.answer_timeout_ms if self._responding else self.settings.settle_ms)

    async def _give_voice(self, frame: PipecatFrame) -> None:
        if isinstance(frame, InterruptionFrame):
            if (ask := self._oldest()) is not None:
                ask.answered, ask.fault = True, FAILED
        elif isinstance(frame, TTSStartedFrame | OutputAudioRawFrame | TTSStoppedFrame):
            ask = self._asked_in(getattr(frame, "context_id", None))
            if ask is None:
                return  # it comes too late
            self._expect(ask, self.settings.answer_timeout_ms)
            if isinstance(frame, OutputAudioRawFrame):
                await self._push_voice(ask, frame)
            elif isinstance(frame, TTSStoppedFrame):
                ask.answered = True

    def _asked_in(self, context: str | None) -> Ask | None:
        """The text that a voice with this ``context_id`` speaks."""
        if context is None:
            return self._oldest()
        if context not in self._contexts:
            ask = next((ask for ask in self._asks if not ask.answered and ask.context is None), None)
            if ask is None:
                return None
            ask.context = context
            self._contexts.append(context)
        return next((ask for ask in self._asks if not ask.answered and ask.context == context), None)

    async def _push_voice(self, ask: Ask, frame: OutputAudioRawFrame) -> None:
        wanted = _value(self.context, "src", "rate")
        if isinstance(wanted, int) and frame.sample_rate != wanted:
            raise self.context.error(
                f"{self.context.name}: the voice has {frame.sample_rate} Hz where src says rate={wanted}; say its rate "
                "there, and put a resample behind it",
                ask.pts_ns,
            )
        samples = from_pcm(frame.audio, frame.num_channels)
        async with self._turn:
            if not len(samples) or ask.answered:
                return
            self._rate_hz = frame.sample_rate
            if not ask.started:
                ask.started = True
                await self.context.push(UtteranceStart(ask.utterance, ask.pts_ns, ask.end_ns))
            pts_ns = ask.pts_ns + samples_to_ns(ask.spoken, frame.sample_rate)
            ask.spoken += len(samples)
            await self.context.push(AudioFrame(samples, frame.sample_rate, pts_ns, ask.utterance))

    # Answers ------------------------------------------------------------------------------------------------------

    def _oldest(self) -> Ask | None:
        return next((ask for ask in self._asks if not ask.answered), None)

    def _expect(self, ask: Ask, wait_ms: int, *, at_most: bool = False) -> None:
        due = asyncio.get_running_loop().time() + wait_ms / 1000
        ask.due = min(due, ask.due) if at_most and ask.due is not None else due
        self._tell()
        if not self._watching:
            self._watching = True
            self.context.spawn(self._watch(), "answers")

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _watch(self) -> None:
        """Answer in the processor's place what it answers no more. Cancelled by: stop."""
        try:
            while (ask := self._oldest()) is not None:
                changed = self._changed
                now = asyncio.get_running_loop().time()
                if ask.due is not None and ask.due <= now:
                    if self._draining:
                        break
                    ask.answered = True
                    await self._deliver()
                    continue
                try:
                    async with asyncio.timeout_at(ask.due):
                        await changed.wait()
                except TimeoutError:
                    pass
        finally:
            self._watching = False
            self._tell()

    async def _deliver(self) -> None:
        """Push the answers that have nothing before them."""
        async with self._turn:
            while self._asks and self._asks[0].answered:
                ask = self._asks[0]
                if ask.passed is not None:
                    await self.context.push(ask.passed)
                elif self._speaks:
                    await self._end_voice(ask)
                else:
                    await self._push_text(ask, ask.texts, final=True)
                if self._asks and self._asks[0] is ask:
                    self._asks.popleft()
                self._tell()

    async def _push_text(self, ask: Ask, texts: list[str], *, final: bool) -> None:
        text = " ".join(each.strip() for each in texts if each.strip())
        rejected = ask.fault or (None if text or not final else self._why_nothing(ask))
        await self.context.push(
            TranslationFrame(
                utterance=ask.utterance,
                pts_ns=ask.pts_ns,
                end_ns=ask.end_ns,
                source_lang=ask.source_lang or self._lang,
                target_lang=self._lang or ask.source_lang,
                text="" if rejected else text,
                final=final,
                rejected=rejected,
                engine=self._engine,
            )
        )

    def _why_nothing(self, ask: Ask) -> str:
        return NO_SPEECH if self._asks_audio else NO_ANSWER

    async def _end_voice(self, ask: Ask) -> None:
        if ask.started:
            end_ns = ask.pts_ns + samples_to_ns(ask.spoken, self._rate_hz)
            await self.context.push(
                UtteranceEnd(ask.utterance, ask.pts_ns, end_ns, "error" if ask.fault else "silence")
            )

    async def settle(self) -> None:
        """Wait for the answers that come by themselves: not every processor keeps EndFrame behind them."""
        self._draining = True
        while self._watching and self._oldest() is not None:
            await self._changed.wait()

    async def finish(self) -> None:
        """The processor has ended: nothing comes any more."""
        for ask in self._asks:
            ask.answered = True
        await self._deliver()

    async def lose(self) -> None:
        """The oldest has no answer; why is on the bus. A voice ends by itself, and an error may come behind its end."""
        ask = self._oldest()
        if ask is not None and ask.put and not self._speaks:
            ask.answered, ask.fault = True, FAILED
            await self._deliver()

    def reset(self, utterance: int | None) -> None:
        """What is forgotten has no answer; the processor is interrupted, and what was asked before it, too."""
        for ask in self._asks:
            if not ask.answered:
                ask.answered, ask.put, ask.fault = True, True, FAILED
                ask.started = False  # the runtime has closed what downstream has seen
        self._hearing = None
        self._responding = False
        self.context.spawn(self._deliver(), "answers")

    @property
    def held_ns(self) -> int | None:
        """Where the oldest without an answer begins, ns."""
        return self._asks[0].pts_ns if self._asks else None


def _value(context: Context, pad: str, name: str) -> str | int | None:
    caps = context.caps.get(pad)
    value = caps.value(name) if caps is not None and not caps.is_any else None
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None
