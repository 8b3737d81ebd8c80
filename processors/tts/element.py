"""What all voices share: translations in, bracketed audio out, in order, streamed and with a bounded look-ahead."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tolmach.pipelines.bus import RepeatedMessage, SpeculationMessage, UnspokenMessage, VoicePaceMessage
from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.listener import Listener
from tolmach.pipelines.ordered import OrderedJobs
from tolmach.processors.languages import ABBREVIATIONS
from tolmach.processors.tts import MAX_TEMPO
from tolmach.processors.tts.cache import SpeechCache
from tolmach.processors.tts.hurry import Hurry
from tolmach.processors.tts.pace import Budget, Pace, Pacer

__all__ = ["MAX_TEXT_CHARS", "SpeechElement", "begin_early", "split_text"]

MAX_TEXT_CHARS = 10_000
"""Longest text of one utterance, characters: more than ten minutes of speech, far beyond any utterance."""

_AHEAD = 2
"""Utterances under way at once: the one that is pushed and the one that is synthesised behind it."""

_AHEAD_S = 10
"""Seconds of audio an engine may be ahead of what was pushed, before its next block."""

_SILENT_PEAK = 10 ** (-60 / 20)
"""-60 dB full scale: forty below speech, above what engines leave between words."""

_LEAD_MS = 5
"""Kept before the first sound, which may fade in."""


class SpeechElement(Element):
    """Base of the voices: speaks every final, non-empty :class:`TranslationFrame`.

    Each utterance leaves as UtteranceStart, AudioFrames of ``chunk_ms`` and UtteranceEnd. Its media time starts at the
    source utterance's and runs with the samples. Silence before its first sound is left out: somebody waits for that
    sound. An utterance whose engine yields no sound leaves nothing. A failure half-way still closes the utterance
    (``reason="error"``) before it meets the element's failure policy.

    A speculative partial text (:attr:`TranslationFrame.speculative`) is prepared and not spoken: its first blocks are
    made, as far ahead as of any other text, and nothing leaves. The final text of that utterance takes them over if it
    is the same; a different one, or a newer partial one, throws them away, and so do other settings. What is heard is
    therefore the same with or without it, and begins earlier.

    A voice that has fallen behind its speaker hurries, and at last leaves a text out, as
    :mod:`tolmach.processors.tts.pace` says. That is decided when a text's turn has come, from media time, on what the
    engine has made at its own speed; so it does not depend on chunks, load, or what was prepared. Where a live listener
    is known (:class:`tolmach.pipelines.listener.Listener`) it is he who says how long speech waits.

    Subclasses set :attr:`rate_hz` before the first frame and write :meth:`synthesise`; their settings are
    :class:`tolmach.processors.tts.SpeechSettings`, or at least have ``chunk_ms``.
    """

    rate_hz: int = 0
    """Sample rate of the voice, Hz."""
    languages: tuple[str, ...] = ("",)
    """Languages that may come, of a voice that speaks several; the one of each text is its ``target_lang``."""

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self._jobs: OrderedJobs[_Speech] = OrderedJobs(context, _AHEAD, self._deliver)
        self._speeches: set[_Speech] = set()
        self._prepared: _Speech | None = None
        self._pacer = Pacer()
        self.cache: SpeechCache[Any] = SpeechCache()
        self._listeners = [each for each in context.resources.values() if isinstance(each, Listener)]

    def synthesise(self, frame: TranslationFrame) -> AsyncIterator[Samples]:
        """Speak ``frame.text``; blocks of any length, float32[n], mono, [-1, 1], at :attr:`rate_hz`.

        An async generator. Cancelled by: cancel of the graph.
        """
        raise NotImplementedError  # pragma: no cover - abstract

    def made_before(self, frame: TranslationFrame, key: Hashable) -> Any:
        """What :meth:`synthesise` has put into :attr:`cache` for a piece of a text, or None.

        A voice whose engine takes its time asks before each piece, with all that has a say in the sound as the key:
        settings may change and change back.
        """
        found = self.cache.get(key)
        if found is not None:
            self.context.post(RepeatedMessage(frame.utterance, pts_ns=frame.end_ns))
        return found

    async def warm(self) -> None:
        """Speak three numbers to nobody; every voice can say them."""
        for lang in self.languages:
            async for _ in self.synthesise(TranslationFrame(0, 0, 0, "", lang, "1, 2, 3.")):
                pass

    async def process(self, frame: Frame, pad: str) -> None:
        """Start to speak a translation, or prepare it; waits while two utterances are under way.

        Raises:
            ElementError: If the text is longer than :data:`MAX_TEXT_CHARS`.
            TypeError: If the frame is no translation, which caps rule out.
        """
        if not isinstance(frame, TranslationFrame):
            raise TypeError(f"{self.context.name}: a voice takes translations, not {type(frame).__name__}")
        if not frame.final:
            self._prepare(frame)
            return
        prepared = self._take(frame)
        if not _is_spoken(frame):
            return
        if len(frame.text) > MAX_TEXT_CHARS:
            raise self.context.error(
                f"utterance {frame.utterance} has {len(frame.text)} characters of text; a voice speaks at most "
                f"{MAX_TEXT_CHARS}: cut the source into shorter utterances (the VAD's maximum length)",
                frame.pts_ns,
            )
        await self._jobs.submit(self._speech(frame, prepared))

    async def progress(self, time_ns: int, pad: str) -> None:
        """Pass it on behind what is being spoken."""
        await self._jobs.progress(time_ns, pad)

    async def drain(self) -> None:
        """Wait until everything has been spoken."""
        await self._jobs.drain()
        self._discard("miss")

    async def stop(self) -> None:
        """Silence: throw away what is under way."""
        self._prepared = None
        self._pacer = Pacer()
        speeches = list(self._speeches)
        for speech in speeches:
            speech.task.cancel()
        await self._jobs.close()
        await asyncio.gather(*(speech.task for speech in speeches), return_exceptions=True)

    def reset(self, utterance: int | None) -> None:
        """Forget what was prepared of an utterance."""
        if self._prepared is not None and utterance in (None, self._prepared.frame.utterance):
            self._discard("miss")

    def change_settings(self, settings: Any) -> None:
        """Speak otherwise from the next utterance on, one that is only prepared included."""
        if settings != self.settings:
            self._discard("miss")
        super().change_settings(settings)

    def _prepare(self, frame: TranslationFrame) -> None:
        """Begin to make a text that may become final; an earlier one of its place is thrown away."""
        held = self._prepared
        if held is not None and not held.failed and _is_same(held.frame, frame):
            return
        if held is not None and (frame.speculative or _place(held.frame) == _place(frame)):
            self._discard("miss")
        if frame.speculative and _is_spoken(frame) and len(frame.text) <= MAX_TEXT_CHARS:
            self._prepared = self._begin(frame)

    def _take(self, frame: TranslationFrame) -> _Speech | None:
        """What was prepared of a final text, if it was just this; another of its place is thrown away."""
        held = self._prepared
        if held is None or _place(held.frame) != _place(frame):
            return None
        if held.failed or not _is_spoken(frame) or not _is_same(held.frame, frame):
            self._discard("failed" if held.failed else "miss")
            return None
        self._prepared = None
        self._count(held, "hit")
        held.frame = frame
        return held

    def _discard(self, outcome: Literal["miss", "failed"]) -> None:
        held, self._prepared = self._prepared, None
        if held is not None:
            held.task.cancel()
            self._count(held, outcome)

    def _count(self, speech: _Speech, outcome: Literal["hit", "miss", "failed"]) -> None:
        frame, wasted_s = speech.frame, 0.0 if outcome == "hit" else speech.made_in_s
        self.context.post(SpeculationMessage(frame.utterance, outcome, wasted_s, pts_ns=frame.end_ns))

    def _begin(self, frame: TranslationFrame) -> _Speech:
        speech = _Speech(frame, self.synthesise(frame), self.rate_hz * _AHEAD_S)
        self._speeches.add(speech)
        speech.task.add_done_callback(lambda _: self._speeches.discard(speech))
        return speech

    async def _speech(self, frame: TranslationFrame, prepared: _Speech | None) -> _Speech:
        return prepared or self._begin(frame)

    async def _deliver(self, speech: _Speech) -> None:
        frame = speech.frame
        pace = self._pace(frame)
        if not pace.spoken:
            speech.task.cancel()
            self.context.post(UnspokenMessage(frame.utterance, frame.part, pace.lag_ns, pts_ns=frame.end_ns))
            return
        said = _Said(frame, self.rate_hz)
        try:
            await self._say(speech, pace, said)
            await speech.task
        except Exception:
            if said.samples:
                await self.context.push(UtteranceEnd(frame.utterance, frame.pts_ns, said.end_ns, "error"))
            raise
        finally:
            speech.task.cancel()
            self._pacer.spoke(samples_to_ns(said.samples, self.rate_hz))
        if said.samples:
            await self.context.push(UtteranceEnd(frame.utterance, frame.pts_ns, said.end_ns))

    def _pace(self, frame: TranslationFrame) -> Pace:
        """How a text whose turn has come is spoken."""
        settings = self.settings
        max_lag_ms, max_tempo = getattr(settings, "max_lag_ms", None), getattr(settings, "max_tempo", MAX_TEMPO)
        budget = Budget.of(max_lag_ms, max_tempo, live=self.context.live)
        known_ns, free_ns = frame.end_ns if frame.decided_ns is None else frame.decided_ns, None
        for listener in self._listeners:
            now_ns = listener.now_ns()
            known_ns = max(known_ns, now_ns)
            free_ns = max(free_ns or 0, now_ns + listener.waiting_ns())
        return self._pacer.next(frame.end_ns, known_ns, budget, free_ns)

    async def _say(self, speech: _Speech, pace: Pace, said: _Said) -> None:
        """Push what is heard of a text: from its first sound on, hurried if need be, in frames of ``chunk_ms``."""
        frame, context = speech.frame, self.context
        chunk = max(1, self.rate_hz * self.settings.chunk_ms // 1000)
        hurry = Hurry(self.rate_hz, pace) if pace.hurries else None
        held = np.zeros(0, np.float32)
        ended = sounding = False
        while not ended:
            block = await speech.next()
            ended = block is None
            if not sounding:
                held = held if block is None else np.concatenate((held, block))
                held, sounding = _from_first_sound(held, self.rate_hz)
                if not sounding:
                    continue
                block, held = held, held[:0]
            if hurry is not None:
                block = hurry.process(held[:0] if block is None else block)
                block = np.concatenate((block, hurry.flush())) if ended else block
            held = held if block is None else np.concatenate((held, block))
            while len(held) >= chunk or (ended and len(held)):
                if not said.samples:
                    place = frame.utterance, frame.part
                    context.post(VoicePaceMessage(*place, pace.lag_ns, pace.tempo, pts_ns=frame.end_ns))
                    await context.push(UtteranceStart(frame.utterance, frame.pts_ns, frame.end_ns))
                samples, held = held[:chunk, None].copy(), held[chunk:]
                pts_ns = said.end_ns
                said.samples += len(samples)
                await context.push(AudioFrame(samples, self.rate_hz, pts_ns, frame.utterance))


@dataclass(slots=True)
class _Said:
    """How much of a text has been pushed."""

    frame: TranslationFrame
    rate_hz: int
    samples: int = 0

    @property
    def end_ns(self) -> int:
        """Media time behind it, running with the samples from where its source began, ns."""
        return self.frame.pts_ns + samples_to_ns(self.samples, self.rate_hz)


def _is_spoken(frame: TranslationFrame) -> bool:
    """Whether there is anything to say of it."""
    return frame.rejected is None and bool(frame.text.strip())


def _place(frame: TranslationFrame) -> tuple[int, int]:
    """What of the whole a text is: a later frame of one place replaces an earlier one."""
    return frame.utterance, frame.part


def _is_same(one: TranslationFrame, other: TranslationFrame) -> bool:
    """Whether two texts are one to a voice."""
    return (*_place(one), one.text, one.target_lang) == (*_place(other), other.text, other.target_lang)


def _from_first_sound(samples: Samples, rate_hz: int) -> tuple[Samples, bool]:
    """What of float32[n] need be heard, and whether there is any sound in it."""
    loud = np.abs(samples) > _SILENT_PEAK
    sounding = bool(loud.any())
    first = int(np.argmax(loud)) if sounding else len(samples)
    return samples[max(0, first - rate_hz * _LEAD_MS // 1000) :], sounding


class _Speech:
    """An utterance whose blocks are made in a task of its own, a bounded number ahead of who takes them.

    Attributes:
        frame: Whose text it is.
        task: Makes the blocks.
    """

    def __init__(self, frame: TranslationFrame, blocks: AsyncIterator[Samples], most_samples: int) -> None:
        self.frame = frame
        self._most_samples = most_samples
        self._held_samples = 0
        self._room = asyncio.Event()
        self._blocks: asyncio.Queue[Samples | None] = asyncio.Queue()
        self._made_in_s = 0.0
        self._waiting_since_s: float | None = time.monotonic()
        self.task = asyncio.create_task(self._produce(blocks), name=f"speech-{frame.utterance}")

    @property
    def made_in_s(self) -> float:
        """How long the engine has been waited for so far, s."""
        since_s = self._waiting_since_s
        return self._made_in_s + (0.0 if since_s is None else time.monotonic() - since_s)

    @property
    def failed(self) -> bool:
        """Whether making it has failed."""
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None)

    async def next(self) -> Samples | None:
        """The next block, or None after the last (or when making them failed: await :attr:`task`)."""
        block = await self._blocks.get()
        if block is not None:
            self._held_samples -= len(block)
            self._room.set()
        return block

    async def _produce(self, blocks: AsyncIterator[Samples]) -> None:
        try:
            async for block in blocks:
                self._made_in_s, self._waiting_since_s = self.made_in_s, None
                while self._held_samples >= self._most_samples:
                    self._room.clear()
                    await self._room.wait()
                self._held_samples += len(block)
                self._blocks.put_nowait(block)
                self._waiting_since_s = time.monotonic()
        finally:
            self._made_in_s, self._waiting_since_s = self.made_in_s, None
            self._blocks.put_nowait(None)
            close = getattr(blocks, "aclose", None)
            if close is not None:
                await close()


_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'»”’)\]]*(?=\s)|[。！？]+")
_CLAUSE_END = re.compile(r"[,;:–—](?=\s)|[、，；：]")
_SPACE = re.compile(r"\s+")
_ABBREVIATION = re.compile(
    rf"(?:^|[\s(«\"])(?:{ABBREVIATIONS}|т\.\s?[екндп]|и т\.\s?[дп]|просп|пл|кв)$",
    re.IGNORECASE,
)


def split_text(text: str, limit: int, *, prepared: bool = False) -> list[str]:
    """Cut a text into pieces that a voice speaks one after the other; nothing but white space is lost.

    Pieces end with a sentence; a sentence longer than ``limit`` is cut after a clause, else between words, else
    (one word without an end) anywhere.

    Args:
        text: What to speak; runs of white space count as one space.
        limit: Longest piece, characters.
        prepared: The text holds no abbreviations any more, so every full stop before a space ends a sentence; otherwise
            the next one must not go on in lower case, nor may a known abbreviation or an initial stand before it.

    Raises:
        ValueError: If ``limit`` is not positive.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    text = _SPACE.sub(" ", text).strip()
    pieces: list[str] = []
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if prepared or _ends_sentence(text[start : end.start()], end.group(), text[end.end() : end.end() + 8]):
            pieces += _fit(text[start : end.end()].strip(), limit)
            start = end.end()
    pieces += _fit(text[start:].strip(), limit)
    return pieces


_EARLY_CHARS = 80
"""A sentence at least as long is worth beginning early: five seconds of speech."""

_LEAST_CLAUSE_CHARS = 15
"""Less is over before the rest is made, and is an introductory word rather than a clause."""


def begin_early(sentence: str) -> list[str]:
    """A long sentence as its first clause, which is soon made, and the rest in one piece, whose melody stays whole.

    A voice says a clause that ends in a comma as one that goes on. Sentences that are short, or have no clause in
    front that leaves time to make the rest, are one piece.
    """
    if len(sentence) < _EARLY_CHARS:
        return [sentence]
    last = len(sentence) // 2
    cut = next((m.end() for m in _CLAUSE_END.finditer(sentence) if _LEAST_CLAUSE_CHARS <= m.end() <= last), None)
    return [sentence] if cut is None else [sentence[:cut], sentence[cut:].lstrip()]


def _ends_sentence(before: str, mark: str, after: str) -> bool:
    following = after.lstrip(" \"'«“„(–—-")[:1]
    if following.islower():
        return False
    # The last twelve characters hold the longest abbreviation and what stands before it.
    return mark.strip("\"'»”’)]") != "." or not _ABBREVIATION.search(before[-12:])


def _fit(sentence: str, limit: int) -> list[str]:
    pieces: list[str] = []
    while len(sentence) > limit:
        clauses = [m.end() for m in _CLAUSE_END.finditer(sentence[: limit + 1]) if m.end() <= limit]
        # A clause that leaves a crumb in front is worse than a cut between words.
        cut = clauses[-1] if clauses and clauses[-1] >= limit // 4 else sentence.rfind(" ", 1, limit + 1)
        cut = cut if cut > 0 else limit
        pieces.append(sentence[:cut].rstrip())
        sentence = sentence[cut:].lstrip()
    return [*pieces, sentence] if sentence else pieces
