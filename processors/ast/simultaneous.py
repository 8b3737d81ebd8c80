"""Simultaneous translation: asks the engine while an utterance is open and pushes its text clause by clause.

Steps are counted in samples of media time. Headless, each step is asked and waited for, so the output is the same bytes
however the audio comes and however busy the machine is. Live, nobody waits: a step that is due while the engine is busy
is made as soon as it is free, with all that has been heard by then, and steps in between are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.ordered import OrderedJobs
from tolmach.processors.ast import RATE_HZ, GrowingSettings
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.direction import Decision
from tolmach.processors.ast.growing import Clause, Growing, GrowingRequest, GrowingText
from tolmach.processors.ast.guards import FAILED, NO_SPEECH, has_no_speech
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.ast.policies import AlignAtt, Policy, PolicyName, local_agreement

__all__ = ["SimultaneousTranslation", "growing"]

CONTINUED = "continued in the next utterance"
"""Why an utterance has no text when nothing of it was stable where it was cut; its words are in the next one."""

_JOIN_SAMPLES = 1
"""An utterance that begins this near the end of one that was cut at the longest length goes on with it."""


def growing(settings: GrowingSettings, default: PolicyName) -> Growing:
    """How a text grows, as the settings say.

    Args:
        settings: Of the element.
        default: The better policy for this engine.
    """
    name = default if settings.policy == "auto" else settings.policy
    samples = RATE_HZ // 1000
    policy: Policy = AlignAtt(settings.align_threshold_ms * samples) if name == "align_att" else local_agreement
    return Growing(
        policy,
        max_clause=settings.max_clause_ms * samples,
        max_buffer=settings.max_buffer_ms * samples,
        keep=settings.max_buffer_ms * samples // 2,
    )


LANGUAGE_SAMPLES = RATE_HZ, 2 * RATE_HZ
"""Speech from which its language is found, where it is to be, once for each unbroken stream: from 1 s on if there is
evidence enough (``min_language_confidence``), after 2 s by whatever there is. (Canary's phrasebook, 128 clips: wrong in
7 after 1 s, in 2 after 1.5 s; half of the wrong ones are below 0.8.)"""


class GrowingEngine(Protocol):
    """What is needed of the element around an engine."""

    @property
    def finds_language(self) -> bool:
        """Whether the engine is to find out which language is spoken."""

    @property
    def least_evidence(self) -> float:
        """Probability of a language, 0 … 1, from which it need not be asked for again."""

    async def ask(self, request: GrowingRequest, decision: Decision | None) -> Hypothesis:
        """Ask the engine, in the language that was decided upon. Raises what the engine raises."""

    def decide(self, hypothesis: Hypothesis) -> Decision:
        """Which language is spoken, by what an answer says of it; changes nothing."""

    def confirm(self, utterance: Utterance, decision: Decision) -> None:
        """The utterance was spoken in it and has a text."""

    def judge(self, hypothesis: Hypothesis, decision: Decision | None, samples: Samples = ...) -> str | None:
        """Why a text must not go out, or None; ``samples`` is the audio that it was made from, float32[n]."""

    def frame(
        self,
        utterance: Utterance,
        hypothesis: Hypothesis,
        decision: Decision | None,
        rejected: str | None,
        decided_ns: int,
    ) -> TranslationFrame:
        """A frame of an utterance's span with a text, or with why there is none."""

    def failure(self, utterance: Utterance, error: Exception) -> ElementError:
        """The error of the element that tells of an engine's."""


@dataclass(slots=True)
class _Stream:
    """Speech without a break: an utterance, and those that go on with it where the detector had to cut.

    Attributes:
        text: What is made of it.
        anchor_ns: Media time of its first sample, ns.
        hears: The utterance whose audio comes.
        due: How much is heard when the next step is due, samples.
        cut: The end of ``hears`` when it was cut at the longest length, until it is known whether it goes on.
        step_waits: Whether a step has been submitted that has not begun.
        speaks: The utterance whose parts are pushed; behind ``hears`` while steps are under way.
        part: Number of its next part.
        shown: The partial text that was pushed last.
        rejected: Why what was heard last has no text, or None.
        warned: Whether it was said that a step failed.
        decision: Which language is spoken, where that is found.
    """

    text: GrowingText
    anchor_ns: int
    hears: UtteranceStart
    due: int
    cut: UtteranceEnd | None = None
    step_waits: bool = False
    speaks: UtteranceStart = field(init=False)
    part: int = 0
    shown: str = ""
    rejected: str | None = None
    warned: bool = False
    decision: Decision | None = None

    def __post_init__(self) -> None:
        self.speaks = self.hears

    def at_ns(self, sample: int) -> int:
        """Media time of a sample, ns."""
        return self.anchor_ns + samples_to_ns(sample, RATE_HZ)

    def goes_on_at(self, start: UtteranceStart) -> bool:
        """Whether an utterance follows the one that was cut without a gap."""
        return self.cut is not None and abs(start.pts_ns - self.cut.end_ns) <= samples_to_ns(_JOIN_SAMPLES, RATE_HZ)


_Pushed = TranslationFrame | ElementError


class SimultaneousTranslation:
    """What a speech translation element does in ``mode: simultaneous``; it has the element's methods.

    Args:
        context: Of the element.
        growing: How texts grow.
        engine: Who answers and judges.
        step: Audio between steps, samples.
        limit: Most requests that wait before the stream does.
    """

    def __init__(self, context: Context, growing: Growing, engine: GrowingEngine, *, step: int, limit: int) -> None:
        self._context = context
        self._growing = growing
        self._engine = engine
        self._step = step
        self._stream: _Stream | None = None
        self._turn = asyncio.Lock()  # steps follow each other, first come first served
        self._jobs: OrderedJobs[list[_Pushed]] = OrderedJobs(context, limit, self._push)

    async def process(self, frame: Frame) -> None:
        """Take the next frame; headless, wait for the steps that it makes due. Cancelled by: cancel of the graph.

        Raises:
            ValueError: If the audio is not mono at 16 kHz.
        """
        stream = self._stream
        if isinstance(frame, UtteranceStart):
            if stream is not None and stream.goes_on_at(frame):
                stream.hears, stream.cut = frame, None
                await self._submit(partial(self._turn_page, stream, frame))
                return
            await self._finish()
            self._stream = _Stream(GrowingText(self._growing), frame.pts_ns, frame, self._step)
        elif stream is None or frame.utterance != stream.hears.utterance:
            return
        elif isinstance(frame, AudioFrame):
            await self._hear(stream, frame)
        elif isinstance(frame, UtteranceEnd):
            stream.cut = frame
            if frame.reason != "maximum":
                await self._finish()

    async def progress(self, time_ns: int, pad: str) -> None:
        """Pass it on behind what is under way, and no further than what may still be pushed."""
        stream = self._stream
        if stream is not None and stream.cut is not None and time_ns > stream.cut.end_ns:
            await self._finish()  # it was cut, and nothing goes on with it
            stream = None
        open_ns = time_ns if stream is None else stream.at_ns(stream.text.sent_until)
        await self._jobs.progress(min(time_ns, open_ns), pad)

    async def drain(self) -> None:
        """Translate what is open to its end and push it."""
        await self._finish()
        await self._jobs.drain()

    async def stop(self) -> None:
        """Throw away what is open and under way."""
        self._stream = None
        await self._jobs.close()

    def reset(self, utterance: int | None) -> None:
        """Forget an utterance that failed; its parts so far have gone out. None is a request that failed: see there."""
        if self._stream is not None and utterance == self._stream.hears.utterance:
            self._stream = None

    async def _hear(self, stream: _Stream, frame: AudioFrame) -> None:
        if frame.rate_hz != RATE_HZ or frame.channels != 1:
            raise ValueError(
                f"utterance audio must be mono at {RATE_HZ} Hz, got {frame.channels} channels at {frame.rate_hz} Hz; "
                "put a resample element before the VAD"
            )
        samples, text = frame.samples[:, 0], stream.text
        while len(samples):
            now, samples = samples[: stream.due - text.heard], samples[stream.due - text.heard :]
            text.hear(now)
            if text.heard < stream.due:
                return
            stream.due += self._step
            if self._engine.finds_language and text.heard < LANGUAGE_SAMPLES[0]:
                continue
            if not self._context.live:
                await self._submit(partial(self._make_step, stream))
            elif not stream.step_waits:
                stream.step_waits = True
                await self._submit(partial(self._make_step, stream))
            elif text.kept > 2 * self._growing.max_buffer:
                # Too slow altogether: the stream waits, and the queue in front knows what to do.
                await self._jobs.drain()

    async def _finish(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await self._submit(partial(self._make_end, stream))

    async def _submit(self, job: Callable[[], Awaitable[list[_Pushed]]]) -> None:
        async def in_turn() -> list[_Pushed]:
            async with self._turn:
                return await job()

        await self._jobs.submit(in_turn())
        if not self._context.live:
            await self._jobs.drain()

    async def _make_step(self, stream: _Stream) -> list[_Pushed]:
        stream.step_waits = False
        frames: list[_Pushed] = []
        text = stream.text
        if self._context.live and stream.cut is not None and stream is not self._stream:
            return frames  # its end waits behind this and asks about all of it
        again = True
        while again:
            request = text.ask()
            error = await self._learn(stream, request)
            if error is not None and not stream.warned:
                stream.warned = True
                words = f"A step of utterance {stream.speaks.utterance} failed ({type(error).__name__}: {error})."
                self._context.post(WarningMessage(words, pts_ns=stream.at_ns(text.asked_until)))
            frames += [self._part(stream, clause, more=True) for clause in text.send()]
            again = request.complete and text.is_full
        if grey := self._partial(stream):
            frames.append(grey)
        return frames

    async def _make_end(self, stream: _Stream) -> list[_Pushed]:
        error: Exception | None = None
        text, clauses = stream.text, list[Clause]()
        while text.kept and error is None:
            error = await self._learn(stream, text.ask(ended=True))
            clauses += text.send()
        clauses += text.send(everything=True)
        end = stream.cut
        rejected = FAILED if error is not None else stream.rejected
        if end is not None and end.reason == "error":
            rejected = "lost to a failure upstream"
        frames: list[_Pushed] = [*self._last_parts(stream, clauses, end, rejected)]
        if error is not None:
            frames.append(
                self._engine.failure(self._span(stream, stream.speaks.pts_ns, stream.at_ns(text.heard)), error)
            )
        return frames

    async def _turn_page(self, stream: _Stream, following: UtteranceStart) -> list[_Pushed]:
        """Close the parts of an utterance that was cut; what may still change goes out with the next one."""
        clauses = stream.text.send(everything=True)
        frames: list[_Pushed] = [*self._last_parts(stream, clauses, None, None if stream.part else CONTINUED)]
        stream.speaks, stream.part, stream.shown, stream.rejected = following, 0, "", None
        return frames

    async def _learn(self, stream: _Stream, request: GrowingRequest) -> Exception | None:
        """Ask, judge and learn. Returns what the engine raised; nothing is learnt then but where the audio ends."""
        text, engine = stream.text, self._engine
        if has_no_speech(request.samples, RATE_HZ):
            stream.rejected = None if stream.part or request.prefix else NO_SPEECH
            text.learn(request, ())
            return None
        try:
            hypothesis = await engine.ask(request, stream.decision)
            if hypothesis.languages and stream.decision is None:
                decision = engine.decide(hypothesis)
                too_little = not request.complete and len(request.samples) < LANGUAGE_SAMPLES[1]
                if too_little and decision.evidence < engine.least_evidence:
                    text.learn(request, ())
                    return None
                stream.decision = decision
                if decision.language != hypothesis.source_lang:
                    hypothesis = await engine.ask(request, decision)
        except Exception as error:  # whatever an engine raises
            text.learn(request, ())
            return error
        stream.rejected = hypothesis.fault
        if hypothesis.words:
            stream.rejected = engine.judge(text.in_place(hypothesis), stream.decision, request.samples)
        text.learn(request, () if stream.rejected else hypothesis.words)
        return None

    def _last_parts(
        self, stream: _Stream, clauses: list[Clause], end: UtteranceEnd | None, rejected: str | None
    ) -> list[TranslationFrame]:
        decided_ns = end.decided_ns if end is not None else None
        frames = [self._part(stream, clause, more=True, decided_ns=decided_ns) for clause in clauses]
        if frames and rejected is None:
            return [*frames[:-1], replace(frames[-1], more=False)]
        start_ns = stream.at_ns(stream.text.sent_until)
        span = self._span(stream, start_ns, max(start_ns, end.end_ns if end is not None else start_ns))
        if not stream.part and rejected is None:
            rejected = self._engine.judge(Hypothesis("", None), stream.decision)
        decided_ns = decided_ns if decided_ns is not None else stream.at_ns(stream.text.asked_until)
        last = self._engine.frame(span, Hypothesis("", None), stream.decision, rejected, decided_ns)
        return [*frames, replace(last, part=stream.part)]

    def _part(self, stream: _Stream, clause: Clause, *, more: bool, decided_ns: int | None = None) -> TranslationFrame:
        span = self._span(stream, stream.at_ns(clause.start), stream.at_ns(clause.end))
        decided_ns = stream.at_ns(stream.text.asked_until) if decided_ns is None else decided_ns
        frame = self._engine.frame(span, Hypothesis(clause.text, clause.logprob), stream.decision, None, decided_ns)
        if stream.decision is not None and not stream.part:
            self._engine.confirm(span, stream.decision)
        stream.part += 1
        stream.shown = ""
        return replace(frame, part=stream.part - 1, more=more)

    def _partial(self, stream: _Stream) -> TranslationFrame | None:
        rest = stream.text.rest
        if rest is None or rest.text == stream.shown:
            return None
        stream.shown = rest.text
        span = self._span(stream, stream.at_ns(rest.start), stream.at_ns(rest.end))
        decided_ns = stream.at_ns(stream.text.asked_until)
        frame = self._engine.frame(span, Hypothesis(rest.text, rest.logprob), stream.decision, None, decided_ns)
        return replace(frame, part=stream.part, more=True, final=False)

    def _span(self, stream: _Stream, start_ns: int, end_ns: int) -> Utterance:
        return Utterance(stream.speaks.utterance, start_ns, end_ns, np.zeros(0, np.float32))

    async def _push(self, frames: list[_Pushed]) -> None:
        for frame in frames:
            if isinstance(frame, ElementError):
                raise frame
            await self._context.push(frame)
