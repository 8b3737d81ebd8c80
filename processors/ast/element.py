"""The element around a speech translation model: collects utterances, asks the host, pushes the texts in order."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from tolmach.pipelines.bus import InfoMessage, LoadingMessage, WarningMessage
from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import (
    NS_PER_MS,
    AudioFrame,
    Frame,
    Samples,
    TranslationEvidence,
    TranslationFrame,
    UtterancePause,
    samples_to_ns,
)
from tolmach.pipelines.ordered import OrderedJobs
from tolmach.processors.ast import RATE_HZ, AstSettings, GrowingSettings
from tolmach.processors.ast.collector import Utterance, UtteranceCollector
from tolmach.processors.ast.continuation import Before, Continuations, Said, as_prefix, joined_text, only_new
from tolmach.processors.ast.direction import Decision, Direction, DirectionFinder
from tolmach.processors.ast.growing import GrowingRequest
from tolmach.processors.ast.guards import (
    FAILED,
    NO_SPEECH,
    REPETITION,
    TOO_LONG,
    UNLIKELY,
    WRONG_SCRIPT,
    compression_ratio,
    has_no_speech,
    most_chars,
    without_tokens,
)
from tolmach.processors.ast.hypothesis import Hypothesis, Segment
from tolmach.processors.ast.policies import PolicyName
from tolmach.processors.ast.sentences import ends_sentence
from tolmach.processors.ast.simultaneous import SimultaneousTranslation, growing
from tolmach.processors.ast.speculation import Speculation, Speculations
from tolmach.processors.hosting import Lease, Outcome
from tolmach.processors.languages import is_in_script, language_name, script_of

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _UtteranceOutcome:
    utterance: Utterance
    outcome: Hypothesis | Exception
    item: Any = None  # what was asked; None where nothing was
    said: Said | None = None  # what it is to the next one, where that is more than its own audio and text
    tell: Callable[[Said | None], None] = lambda said: None  # the next one waits for it


_Answers: TypeAlias = list[_UtteranceOutcome]


@dataclass(frozen=True, slots=True)
class _Early:
    """A text that is there before it is known whether the utterance has ended."""

    speculation: Speculation[_Answers]
    answer: _UtteranceOutcome


class SpeechTranslation(Element, Generic[Item]):
    """Base of the speech translation elements.

    Utterances are grouped by counting alone, ``group_size`` at a time and the rest at the end of the stream, and each
    group is one request to the host. What is batched with what therefore depends on the recording only, never on
    timing, and neither does the output.

    Where the detector tells of pauses, an utterance that may have ended is asked about at once
    (:mod:`tolmach.processors.ast.speculation`); groups of more than one would gain nothing by it. In live graphs the
    text is pushed as a partial one for voices to prepare as soon as it is there. Headless nothing is: whether it came
    in time would be for the machine's load to say.

    With :class:`GrowingSettings` and ``mode: simultaneous`` nothing is collected: the engine is asked while an
    utterance is open (:mod:`tolmach.processors.ast.simultaneous`).

    Attributes:
        default_policy: Which words of a growing text are stable, if the settings leave it to the engine.
    """

    settings: AstSettings
    default_policy: PolicyName = "local_agreement"
    can_continue = False
    """Whether a beginning can be forced on the engine's text (:meth:`continued`)."""

    def __init__(self, settings: AstSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.engine = ""
        self.default_min_logprob: float | None = None
        self.rejection = UNLIKELY
        self.group_size = 1
        self.merge = False
        self._lease: Lease[Item, Hypothesis] | None = None
        self._collector = UtteranceCollector(settings.max_utterance_ms * RATE_HZ // 1000, RATE_HZ)
        self._group: list[Utterance] = []
        self._directions = {each.source_lang: each for each in settings.directions}
        self._finder = DirectionFinder()
        self._jobs: OrderedJobs[_Answers | _Early] = OrderedJobs(context, settings.max_in_flight, self._emit)
        self._speculations: Speculations[_Answers] = Speculations(context, self._speculate, self._consider)
        self._simultaneous: SimultaneousTranslation | None = None
        if isinstance(settings, GrowingSettings) and settings.mode == "simultaneous":
            grows = growing(settings, self.default_policy)
            step, limit = settings.step_ms * RATE_HZ // 1000, settings.max_in_flight
            self._simultaneous = SimultaneousTranslation(context, grows, _Growing(self), step=step, limit=limit)
            self.wants_progress = True  # whether an utterance that was cut goes on is known by it
        self._continuations = Continuations(settings.continue_ms * NS_PER_MS)

    @abstractmethod
    async def open(self) -> Lease[Item, Hypothesis]:
        """Acquire the model; also sets what it decides (``engine``, ``default_min_logprob``, ``rejection``)."""

    @abstractmethod
    def request(self, utterance: Utterance) -> Item:
        """What the model is asked about an utterance."""

    def directed(self, item: Item, direction: Direction) -> Item:
        """The same request with the direction given; written by engines that find the language.

        An answer to a request that leaves the language open says which one was taken (:attr:`Hypothesis.source_lang`)
        and how likely each was (:attr:`Hypothesis.languages`). Where another one is decided upon, this is asked.
        """
        raise NotImplementedError(f"{type(self).__name__} finds languages and has no directed()")

    def growing_request(self, request: GrowingRequest) -> Item:
        """What the model is asked about an utterance that is still spoken; written by engines that answer in words."""
        raise NotImplementedError(f"{type(self).__name__} translates whole utterances alone")

    def continued(self, item: Item, text: str) -> Item:
        """The same request with a text forced on the decoder as its beginning; the answer is what follows it.

        Written by engines with :attr:`can_continue`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no continued()")

    async def start(self) -> None:
        """Acquire the model."""
        if self._lease is None:
            self._lease = await self.open()

    async def warm(self) -> None:
        """Have the model translate a second of noise between this element's languages, once a process."""
        if self._lease is None:
            return
        settings = self.settings
        noise = (0.05 * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.float32)
        self.context.post(LoadingMessage(f"warming {self.engine}"))
        item = self.request(Utterance(0, 0, samples_to_ns(RATE_HZ, RATE_HZ), noise))
        between = " ".join([f"{settings.source_lang} to {settings.target_lang}", *settings.languages])
        await self._lease.warm([item], once=between)

    async def process(self, frame: Frame, pad: str) -> None:
        """Collect; when a group is complete, hand it to the host (waits when too many are under way)."""
        if isinstance(frame, UtterancePause):
            self._pause(frame)
            return
        if self._simultaneous is not None:
            try:
                await self._simultaneous.process(frame)
            except ValueError as error:
                raise self.context.error(f"{self.context.name}: {error}", frame.pts_ns) from None
            return
        if isinstance(frame, AudioFrame):
            self._speculations.refute(frame.utterance)
        try:
            utterance = self._collector.take(frame)
        except ValueError as error:
            raise self.context.error(f"{self.context.name}: {error}", frame.pts_ns) from None
        if utterance is not None:
            await self._add(utterance)

    async def progress(self, time_ns: int, pad: str) -> None:
        """Pass it on behind what is under way, and no further than what is still collected."""
        if self._simultaneous is not None:
            await self._simultaneous.progress(time_ns, pad)
            return
        held = [u.pts_ns for u in self._group[:1]]
        if self._collector.start_ns is not None:
            held.append(self._collector.start_ns)
        await self._jobs.progress(min([time_ns, *held]), pad)

    async def drain(self) -> None:
        """Translate what is still open or waits for its group, and push everything."""
        if self._simultaneous is not None:
            await self._simultaneous.drain()
        utterance = self._collector.flush()
        if utterance is not None:
            self._group.append(utterance)
        await self._submit()
        await self._jobs.drain()

    async def stop(self) -> None:
        """Throw away what is under way and release the model, which stays loaded for the next graph."""
        self._collector.drop()
        self._group = []
        if self._simultaneous is not None:
            await self._simultaneous.stop()
        await self._jobs.close()
        await self._speculations.close()
        self._continuations.forget()
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def reset(self, utterance: int | None) -> None:
        """Forget what was collected of an utterance.

        None is a request that failed: its utterances have left their traces, and what was collected since has nothing
        to do with it. Forgetting that too would lose good utterances, and which ones would depend on timing.
        """
        if self._simultaneous is not None:
            self._simultaneous.reset(utterance)
        if utterance is not None:
            self._speculations.refute(utterance)
            self._collector.drop(utterance)
            self._group = [u for u in self._group if u.number != utterance]

    def change_settings(self, settings: Any) -> None:
        """Ask and judge otherwise from the next utterance on, one that is open included."""
        if settings != self.settings:
            self._speculations.refute()  # asked with the former ones
        super().change_settings(settings)

    def _pause(self, pause: UtterancePause) -> None:
        so_far = self._collector.so_far(pause)
        if so_far is not None and _usable(so_far) and self.group_size == 1:
            self._speculations.begin(so_far, pause.answer)
        elif pause.answer is not None:
            pause.answer.give(None)

    def _speculate(self, speculation: Speculation[_Answers]) -> Coroutine[Any, Any, _Answers]:
        # What it may continue is settled at the pause: by the time the question is asked, the utterance may have ended.
        before = self._continuations.before(speculation.utterance)

        async def ask() -> _Answers:
            return [await self._ask_behind(before, speculation.utterance, speculation)]

        return ask()

    def _consider(self, speculation: Speculation[_Answers], answers: _Answers) -> None:
        """A speculation has its answer, and the speaker has neither gone on nor finished."""
        [answer] = answers
        if isinstance(answer.outcome, Exception):
            speculation.answered(None)
            return
        hypothesis = _clean(answer.outcome)
        rejected = self._judge(answer.utterance, hypothesis, self._direction(hypothesis.source_lang).target_lang)
        ends = ends_sentence(hypothesis.text)
        speculation.answered(TranslationEvidence(ends, hypothesis.end_logprob, rejected is not None))
        if self.context.live and not rejected:
            self.context.spawn(self._offer(_Early(speculation, answer)), "offer")

    async def _offer(self, early: _Early) -> None:
        """Have it pushed behind the texts of earlier utterances."""

        async def there() -> _Early:
            return early

        await self._jobs.submit(there())

    async def _answer(
        self,
        utterance: Utterance,
        before: Before,
        speculation: Speculation[_Answers] | None,
        tell: Callable[[Said | None], None],
    ) -> _Answers:
        """What becomes of an utterance that has ended: what a speculation has found, or what is asked now."""
        try:
            answer = await self._confirmed(speculation) if speculation is not None else None
            if answer is None:
                answer = await self._ask_behind(before, utterance)
        except BaseException:
            tell(None)
            raise
        # Judged by all that was heard for it.
        heard = replace(utterance, samples=answer.utterance.samples) if _usable(utterance) else utterance
        return [replace(answer, utterance=heard, tell=tell)]

    async def _confirmed(self, speculation: Speculation[_Answers]) -> _UtteranceOutcome | None:
        """The answer to a question that was asked rightly; None when it failed, and is to be asked in earnest."""
        assert speculation.task is not None  # noqa: S101 -- it was begun
        try:
            [answer] = await speculation.task
        except Exception:
            answer = None
        if answer is None or isinstance(answer.outcome, Exception):
            speculation.settle("failed")
            return None
        speculation.settle("hit")
        return answer

    async def _add(self, utterance: Utterance) -> None:
        self._group.append(utterance)
        if len(self._group) >= self.group_size:
            await self._submit()

    async def _submit(self) -> None:
        if self._group:
            group, self._group = self._group, []
            if self.group_size > 1:
                await self._jobs.submit(self._ask(group))
                return
            [utterance] = group
            speculation = self._speculations.confirm(utterance)
            before = self._continuations.before(utterance)
            tell = self._continuations.expect(utterance)
            await self._jobs.submit(self._answer(utterance, before, speculation, tell))

    async def _ask_behind(
        self, before: Before, utterance: Utterance, speculation: Speculation[_Answers] | None = None
    ) -> _UtteranceOutcome:
        """Ask about an utterance that may go on with the one before it, once it is known what came of that.

        Both are asked about together only where the text of that one does not end a sentence, or was rejected, or this
        one makes no sense alone. Behind one that was rejected the likelier text of the two counts: of a whole sentence
        behind half of another the model makes up what it did not hear, and is less sure of it. Where the language is
        found, it is first heard whether it is still the same.
        """
        said = await asyncio.shield(before) if before is not None else None
        joined = said.joined(utterance, RATE_HZ) if said is not None else None
        if said is None or joined is None or (said.text and not self.can_continue):
            return (await self._ask([utterance], speculation))[0]
        alone: _UtteranceOutcome | None = None
        if not said.unfinished or len(self._directions) > 1:
            [alone] = await self._ask([utterance], speculation)
            spoken = alone.outcome.source_lang if isinstance(alone.outcome, Hypothesis) else None
            finished = bool(said.text) and not said.unfinished
            if spoken not in (None, said.direction.source_lang) or (finished and self._is_accepted(alone)):
                return alone
        together = await self._ask_together(said, joined, alone, speculation)
        if self._is_accepted(together):
            if alone is None or said.text or not self._is_accepted(alone):
                return together
            return together if _logprob(together) > _logprob(alone) else alone
        if alone is None:
            [alone] = await self._ask([utterance], speculation)
        if not said.text and not self._is_accepted(alone):
            alone = replace(alone, said=together.said)  # a third piece may make sense of all
        return alone

    async def _ask_together(
        self,
        said: Said,
        joined: Utterance,
        alone: _UtteranceOutcome | None,
        speculation: Speculation[_Answers] | None,
    ) -> _UtteranceOutcome:
        item = self.request(joined)
        if len(self._directions) > 1:
            item = self.directed(item, said.direction)
        prefix = as_prefix(said.text)
        if prefix:
            item = self.continued(item, prefix)
        spent = speculation.spent() if speculation is not None else None
        [outcome] = await self._answers([item], spent, len(joined.samples))
        both = replace(said, end_ns=joined.end_ns, samples=joined.samples)
        if isinstance(outcome, Exception):
            return _UtteranceOutcome(joined, outcome, said=both)
        found = replace(_clean(outcome), segments=())  # whose spans are of other audio
        both = replace(both, text=joined_text(prefix, found.text))
        if prefix:  # of what was understood, nobody knows where the new begins
            found = replace(found, text=only_new(found.text), source_text=None)
        if alone is not None and isinstance(alone.outcome, Hypothesis):
            found = replace(found, source_lang=alone.outcome.source_lang, languages=alone.outcome.languages)
        return _UtteranceOutcome(joined, found, alone.item if alone is not None else None, both)

    def _is_accepted(self, answer: _UtteranceOutcome) -> bool:
        if isinstance(answer.outcome, Exception):
            return False
        found = _clean(answer.outcome)
        return self._judge(answer.utterance, found, self._direction(found.source_lang).target_lang) is None

    async def _ask(self, group: Sequence[Utterance], speculation: Speculation[_Answers] | None = None) -> _Answers:
        items = [self.request(utterance) for utterance in group if _usable(utterance)]
        size = max(len(utterance.samples) for utterance in group)
        spent = speculation.spent() if speculation is not None else None
        answers = iter(zip(items, await self._answers(items, spent, size), strict=True))
        silent = Hypothesis("", None, NO_SPEECH)
        found: _Answers = []
        for utterance in group:
            item, outcome = next(answers) if _usable(utterance) else (None, silent)
            found.append(_UtteranceOutcome(utterance, outcome, item))
        return found

    async def _answers(
        self, items: Sequence[Item], spent: Callable[[float], None] | None = None, size: float = 1.0
    ) -> list[Outcome[Hypothesis]]:
        if self._lease is None:
            raise RuntimeError(f"{self.context.name} was not started")
        return await self._lease.submit(items, merge=self.merge, size=size, spent=spent)

    async def _emit(self, answers: _Answers | _Early) -> None:
        if isinstance(answers, _Early):
            await self._emit_early(answers)
            return
        failure: ElementError | None = None
        # A text waits for the last utterance of its group.
        decided_ns = max((a.utterance.decided_ns for a in answers if a.utterance.decided_ns is not None), default=None)
        for answer in answers:
            try:
                outcome, decision = await self._directed(answer)
            except BaseException:
                answer.tell(None)
                raise
            if isinstance(outcome, Exception):
                # It leaves a trace, and its neighbours come out before the failure: one bad utterance costs one.
                await self._push(answer, Hypothesis("", None, FAILED), decided_ns, decision)
                failure = failure or self._failure(answer.utterance, outcome)
            else:
                if outcome is not answer.outcome and answer.said is not None:  # asked again, of this one alone
                    answer.tell(None)
                await self._push(answer, _clean(outcome), decided_ns, decision)
        if failure is not None:
            raise failure

    async def _directed(self, answer: _UtteranceOutcome) -> tuple[Outcome[Hypothesis], Decision | None]:
        """The answer in the direction that is decided upon, and the decision; None where the language is given.

        Called in the order of the utterances, one at a time: a decision rests on the one before. It is not confirmed
        here.
        """
        outcome = answer.outcome
        if isinstance(outcome, Exception) or not outcome.languages:
            return outcome, None
        decision = self._finder.decide(outcome.languages, self.settings.min_language_confidence)
        if decision.language != outcome.source_lang and answer.item is not None:
            item = self.directed(answer.item, self._directions[decision.language])
            [outcome] = await self._answers([item], size=len(answer.utterance.samples))
        return outcome, decision

    async def _emit_early(self, early: _Early) -> None:
        # Behind the texts of earlier utterances, so it is decided from what the text itself will be decided from.
        outcome, decision = await self._directed(early.answer)
        if isinstance(outcome, Exception) or not early.speculation.open:
            return
        frame = self._frame(early.answer.utterance, _clean(outcome), decision)
        if not frame.rejected:
            first = _parts(frame, outcome.segments)[0]
            await self.context.push(replace(first, final=False, speculative=True))

    def _direction(self, source_lang: str | None) -> Direction:
        """From a language, or from the last one that was spoken, into the one that follows from it."""
        spoken = source_lang or self._finder.last
        return self._directions.get(spoken or "", self.settings.directions[0])

    def _tell_kept(self, utterance: Utterance, decision: Decision) -> None:
        sounded, kept = language_name(decision.likeliest), language_name(decision.language)
        text = (
            f"Utterance {utterance.number} sounded more like {sounded} than {kept} ({decision.evidence:.2f}), but "
            f"not enough to turn the direction round (min_language_confidence): taken for {kept}, as before."
        )
        data = {
            "utterance": utterance.number,
            "source_lang": decision.language,
            "likeliest": decision.likeliest,
            "confidence": round(decision.confidence, 4),
            "evidence": round(decision.evidence, 4),
        }
        self.context.post(InfoMessage(text, data, pts_ns=utterance.pts_ns))

    def _failure(self, utterance: Utterance, error: Exception) -> ElementError:
        text = f"utterance {utterance.number} could not be translated: {type(error).__name__}: {error}"
        failure = self.context.error(f"{self.context.name}: {text}", utterance.pts_ns)
        failure.__cause__ = error
        return failure

    def _judge(self, utterance: Utterance, hypothesis: Hypothesis, target_lang: str) -> str | None:
        if utterance.fault or hypothesis.fault:
            return utterance.fault or hypothesis.fault
        if not hypothesis.text:
            return self.empty_rejection
        if compression_ratio(hypothesis.text) > self.settings.max_compression_ratio:
            return REPETITION
        heard = len(utterance.samples)
        if heard and len(hypothesis.text) > most_chars(heard / RATE_HZ):
            return TOO_LONG
        gate, logprob = self.min_logprob, hypothesis.logprob
        if gate is not None and logprob is not None and logprob < gate:
            return self.rejection
        # Both engines may answer in the source language; the src pad has promised another script.
        return None if is_in_script(hypothesis.text, script_of(target_lang)) else WRONG_SCRIPT

    @property
    def min_logprob(self) -> float | None:
        """The gate: what the settings say now, else the model's own."""
        own = self.settings.min_logprob
        return self.default_min_logprob if own is None else own

    @property
    def empty_rejection(self) -> str:
        """Why there is no text when the model gave none."""
        return NO_SPEECH

    async def _push(
        self, answer: _UtteranceOutcome, hypothesis: Hypothesis, decided_ns: int | None, decision: Decision | None
    ) -> None:
        utterance = answer.utterance
        frame = self._frame(utterance, hypothesis, decision, decided_ns)
        if utterance.fault:
            text = f"Utterance {utterance.number} was not translated: {utterance.fault}."
            self.context.post(WarningMessage(text, pts_ns=frame.pts_ns))
        if decision is not None:
            if decision.kept:
                self._tell_kept(utterance, decision)
            if frame.rejected is None:
                self._finder.confirm(decision)  # what has no text may have been no speech
        answer.tell(_what_was_said(answer, frame) if _usable(utterance) else None)
        for part in _parts(frame, hypothesis.segments):
            await self.context.push(part)

    def _frame(
        self, utterance: Utterance, hypothesis: Hypothesis, decision: Decision | None, decided_ns: int | None = None
    ) -> TranslationFrame:
        _, target_lang = self._direction(decision.language if decision else None)
        rejected = self._judge(utterance, hypothesis, target_lang)
        return self._judged_frame(utterance, hypothesis, decision, rejected, decided_ns)

    def _judged_frame(
        self,
        utterance: Utterance,
        hypothesis: Hypothesis,
        decision: Decision | None,
        rejected: str | None,
        decided_ns: int | None,
    ) -> TranslationFrame:
        source_lang, target_lang = self._direction(decision.language if decision else None)
        return TranslationFrame(
            utterance=utterance.number,
            pts_ns=utterance.pts_ns,
            end_ns=utterance.end_ns,
            source_lang=source_lang,
            target_lang=target_lang,
            text="" if rejected else hypothesis.text,
            logprob=hypothesis.logprob,
            rejected=rejected,
            engine=self.engine,
            source_text=hypothesis.source_text if self.settings.transcript and not rejected else None,
            language_confidence=decision.confidence if decision else None,
            language_kept=decision.kept if decision else False,
            decided_ns=decided_ns,
            retries=hypothesis.retries,
        )


_NOTHING = np.zeros(0, np.float32)


class _Growing:
    """What :class:`SimultaneousTranslation` needs of the element."""

    def __init__(self, element: SpeechTranslation[Any]) -> None:
        self._element = element

    @property
    def finds_language(self) -> bool:
        return len(self._element.settings.directions) > 1

    @property
    def least_evidence(self) -> float:
        return self._element.settings.min_language_confidence

    async def ask(self, request: GrowingRequest, decision: Decision | None) -> Hypothesis:
        element = self._element
        item = element.growing_request(request)
        if decision is not None:
            item = element.directed(item, element._direction(decision.language))
        [outcome] = await element._answers([item], size=len(request.samples))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def decide(self, hypothesis: Hypothesis) -> Decision:
        return self._element._finder.decide(hypothesis.languages, self._element.settings.min_language_confidence)

    def confirm(self, utterance: Utterance, decision: Decision) -> None:
        if decision.kept:
            self._element._tell_kept(utterance, decision)
        self._element._finder.confirm(decision)

    def judge(self, hypothesis: Hypothesis, decision: Decision | None, samples: Samples = _NOTHING) -> str | None:
        target_lang = self._element._direction(decision.language if decision else None).target_lang
        return self._element._judge(Utterance(0, 0, 0, samples), hypothesis, target_lang)

    def frame(
        self,
        utterance: Utterance,
        hypothesis: Hypothesis,
        decision: Decision | None,
        rejected: str | None,
        decided_ns: int,
    ) -> TranslationFrame:
        return self._element._judged_frame(utterance, _clean(hypothesis), decision, rejected, decided_ns)

    def failure(self, utterance: Utterance, error: Exception) -> ElementError:
        return self._element._failure(utterance, error)


def _parts(frame: TranslationFrame, segments: Sequence[Segment]) -> list[TranslationFrame]:
    """A frame for each segment, with its own span; the frame itself where there is none."""
    if frame.rejected or not segments:
        return [frame]
    return [
        replace(
            frame,
            pts_ns=frame.pts_ns + samples_to_ns(segment.start, RATE_HZ),
            end_ns=frame.pts_ns + samples_to_ns(segment.end, RATE_HZ),
            text=segment.text,
            source_text=None if frame.source_text is None else segment.source_text,
            part=n,
            more=n + 1 < len(segments),
        )
        for n, segment in enumerate(segments)
    ]


def _what_was_said(answer: _UtteranceOutcome, frame: TranslationFrame) -> Said:
    utterance = answer.utterance
    direction = Direction(frame.source_lang, frame.target_lang)
    if answer.said is None:
        return Said(utterance.end_ns, utterance.samples, frame.text, direction, utterance.cut)
    return replace(answer.said, text=answer.said.text if frame.text else "", direction=direction, cut=utterance.cut)


def _logprob(answer: _UtteranceOutcome) -> float:
    outcome = answer.outcome
    return -math.inf if isinstance(outcome, Exception) or outcome.logprob is None else outcome.logprob


def _clean(hypothesis: Hypothesis) -> Hypothesis:
    """Whatever the engine: a token that is no text must not be read out."""
    return replace(hypothesis, text=without_tokens(hypothesis.text))


def _usable(utterance: Utterance) -> bool:
    """Whether a model is to be asked about it."""
    return utterance.fault is None and not has_no_speech(utterance.samples, RATE_HZ)
