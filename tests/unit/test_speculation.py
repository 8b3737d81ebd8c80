"""Translations begun at a pause: used when the speaker had finished, never heard of when not, and counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.echo_ast import SPEC, EchoAst, EchoModel
from tests.unit.handmade import chain
from tests.until import until
from tolmach.pipelines.bus import ErrorMessage, Message, SpeculationMessage, TranslationMessage
from tolmach.pipelines.element import ElementSpec, Pad, Settings, SourceElement
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    PauseAnswer,
    Samples,
    TranslationEvidence,
    TranslationFrame,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.ast.sentences import ends_sentence

RATE = 16000
PIECE = 800


def speech(
    number: int, levels: list[float], *, pauses: bool = True, reason: Any = "silence", start: int = 0, chunk: int = 160
) -> list[Frame]:
    """An utterance of pieces of 50 ms, one a level, a pause told of after each."""
    start_ns = samples_to_ns(start, RATE)
    frames: list[Frame] = [UtteranceStart(number, start_ns)]
    for at, level in enumerate(levels):
        begin_ns, end_ns = (samples_to_ns(start + n * PIECE, RATE) for n in (at, at + 1))
        frames += chop(AudioFrame(np.full((PIECE, 1), level, np.float32), RATE, begin_ns, number), chunk)
        if pauses:
            frames.append(UtterancePause(number, start_ns, end_ns, end_ns, PauseAnswer()))
    return [*frames, UtteranceEnd(number, start_ns, end_ns, reason, end_ns)]


def outcomes(harness: Harness) -> list[tuple[int, str]]:
    return [(m.utterance, m.outcome) for m in harness.messages if isinstance(m, SpeculationMessage)]


def texts(harness: Harness) -> list[tuple[int, str, bool]]:
    return [(f.utterance, f.text, f.final) for f in harness.output() if isinstance(f, TranslationFrame)]


def gate_of(harness: Harness) -> threading.Event:
    assert isinstance(harness.element, EchoAst)
    return harness.element.model.gate


def asked(harness: Harness) -> int:
    assert isinstance(harness.element, EchoAst)
    return len(harness.element.model.batches)


async def test_an_utterance_that_ends_at_its_pause_is_translated_once_and_early():
    *begin, end = speech(1, [0.5])
    async with Harness(SPEC) as harness:
        await harness.push(*begin)
        await until(lambda: asked(harness) == 1)
        assert harness.output() == []  # headless, nothing is said before its time
        await harness.push(end)
        await harness.eos()
    assert texts(harness) == [(1, "50% of 800", True)]
    assert asked(harness) == 1
    assert outcomes(harness) == [(1, "hit")]
    assert [m.wasted_s for m in harness.messages if isinstance(m, SpeculationMessage)] == [0.0]


async def test_what_was_begun_is_thrown_away_when_the_speaker_goes_on():
    async with Harness(SPEC) as harness:
        for frame in speech(1, [0.5, 0.25, 0.75]):
            await harness.push(frame)
            if isinstance(frame, UtterancePause):
                already = asked(harness)
                await until(lambda already=already: asked(harness) > already)
        await harness.eos()
        await until(lambda: len(outcomes(harness)) == 3)
    assert texts(harness) == [(1, "75% of 2400", True)]
    assert outcomes(harness) == [(1, "miss"), (1, "miss"), (1, "hit")]
    wasted_s = [m.wasted_s for m in harness.messages if isinstance(m, SpeculationMessage)]
    assert all(seconds > 0 for seconds in wasted_s[:2])
    assert wasted_s[2] == 0


async def test_a_request_that_waits_is_taken_out_and_one_that_runs_ends_and_is_counted():
    async with Harness(SPEC) as harness:
        gate_of(harness).clear()
        await harness.push(*speech(1, [0.5], pauses=False))
        *begin, end = speech(2, [0.5, 0.25], start=RATE)
        await harness.push(*begin)  # its first speculation never gets the model
        await harness.push(end)
        assert outcomes(harness) == [(2, "miss")]
        gate_of(harness).set()
        await harness.eos()
        assert texts(harness) == [(1, "50% of 800", True), (2, "50% of 1600", True)]
        assert asked(harness) == 2
        assert outcomes(harness) == [(2, "miss"), (2, "hit")]

        gate_of(harness).clear()
        *begin, end = speech(3, [0.5, 0.25], start=2 * RATE)
        await harness.push(*begin[:7])
        assert isinstance(begin[6], UtterancePause)
        await asyncio.sleep(0.05)  # the model is busy with it
        await harness.push(*begin[7:], end)
        assert len(outcomes(harness)) == 2  # what it costs is not known yet
        gate_of(harness).set()
        await harness.eos()
        await until(lambda: len(outcomes(harness)) == 4)
    missed = next(m for m in harness.messages if isinstance(m, SpeculationMessage) and m.utterance == 3)
    assert (missed.outcome, missed.wasted_s > 0.02) == ("miss", True)
    assert texts(harness)[2:] == [(3, "50% of 1600", True)]


@given(
    plan=st.lists(st.lists(st.integers(1, 99).map(lambda n: n / 100), min_size=1, max_size=4), min_size=1, max_size=4),
    chunk=st.integers(1, 900),
    turns=st.integers(0, 3),
)
def test_the_output_is_that_of_no_speculation_whatever_the_timing(plan: list[list[float]], chunk: int, turns: int):
    async def run(*, pauses: bool, chunk: int, turns: int) -> list[Frame]:
        async with Harness(SPEC) as harness:
            for number, levels in enumerate(plan, 1):
                for frame in speech(number, levels, pauses=pauses, start=number * RATE, chunk=chunk):
                    await harness.push(frame)
                    for _ in range(turns):
                        await asyncio.sleep(0)
            await harness.eos()
            return harness.output()

    plain = asyncio.run(run(pauses=False, chunk=160, turns=0))
    assert asyncio.run(run(pauses=True, chunk=chunk, turns=turns)) == plain


async def test_live_the_text_is_there_before_the_end_behind_earlier_ones_and_takes_no_part_of_theirs():
    *begin, end = speech(2, [0.5], start=RATE)
    async with Harness(SPEC, live=True) as harness:
        gate_of(harness).clear()
        await harness.push(*speech(1, [0.25], pauses=False), *begin)
        gate_of(harness).set()
        await until(lambda: len(harness.output()) == 2)
        await harness.push(end)
        await harness.eos()
    first, early, final = harness.output()
    assert isinstance(early, TranslationFrame)
    assert isinstance(final, TranslationFrame)
    assert (first.utterance, early.utterance) == (1, 2)
    assert (early.text, early.final, early.speculative) == ("50% of 800", False, True)
    assert (final.text, final.final, final.speculative) == ("50% of 800", True, False)
    assert (early.pts_ns, early.end_ns) == (final.pts_ns, final.end_ns)


async def test_live_a_text_that_was_refuted_on_its_way_is_not_pushed():
    taken = asyncio.Event()
    async with Harness(SPEC, live=True) as harness:
        busy, kept = harness.element._jobs._emit, []

        async def slow(answer: Any) -> None:
            kept.append(answer)
            await taken.wait()
            await busy(answer)

        harness.element._jobs._emit = slow  # somebody downstream is slow
        await harness.push(*speech(1, [0.25], pauses=False))
        *begin, end = speech(2, [0.5, 0.75], start=RATE)
        await harness.push(*begin[:7])
        await until(lambda: asked(harness) == 2)
        await asyncio.sleep(0.01)  # the text waits behind the first one
        await harness.push(*begin[7:-1], end)
        taken.set()
        await harness.eos()
    assert texts(harness) == [(1, "25% of 800", True), (2, "75% of 1600", True)]


@pytest.mark.parametrize("level", [0.7, 0.9])
async def test_live_a_text_that_would_be_rejected_is_never_shown(level: float):
    *begin, end = speech(1, [level])
    async with Harness(SPEC, live=True, min_logprob=-0.6) as harness:
        await harness.push(*begin)
        await until(lambda: asked(harness) == 1)
        await asyncio.sleep(0.01)
        assert harness.output() == []
        await harness.push(end)
        await harness.eos()
    assert [t[1:] for t in texts(harness)] == [("", True)]


async def test_a_speculation_that_fails_is_asked_again_and_that_decides():
    *begin, end = speech(1, [2.0])
    async with Harness(SPEC) as harness:
        await harness.push(*begin)
        await until(lambda: asked(harness) == 1)
        await harness.push(end)
        with pytest.raises(ElementError, match="OverflowError: clipped"):
            await harness.eos()
    assert asked(harness) == 2
    assert outcomes(harness) == [(1, "failed")]
    assert [f.rejected for f in harness.output() if isinstance(f, TranslationFrame)] == ["the engine failed"]


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_failure_of_the_moment_costs_nothing_but_time(goes_on: bool, monkeypatch: pytest.MonkeyPatch):
    hear, failures = EchoModel._hear, iter([MemoryError("just now")])

    def fail_once(self: EchoModel, samples: Samples) -> Hypothesis:
        for failure in failures:
            raise failure
        return hear(self, samples)

    monkeypatch.setattr(EchoModel, "_hear", fail_once)
    frames = speech(1, [0.5, 0.25] if goes_on else [0.5])
    async with Harness(SPEC) as harness:
        await harness.push(*frames[:7])
        await until(lambda: asked(harness) == 1)
        await harness.push(*frames[7:])
        await harness.eos()
        await until(lambda: len(outcomes(harness)) == 1 + goes_on)
    assert texts(harness) == [(1, f"50% of {1600 if goes_on else 800}", True)]
    assert outcomes(harness) == ([(1, "miss"), (1, "hit")] if goes_on else [(1, "failed")])


@pytest.mark.parametrize("reason", ["eos", "maximum"])
async def test_whatever_ended_it_a_hit_is_a_hit(reason: str):
    async with Harness(SPEC) as harness:
        await harness.push(*speech(1, [0.5], reason=reason))
        await harness.eos()
    assert outcomes(harness) == [(1, "hit")]


async def test_an_utterance_lost_upstream_takes_no_answer_and_one_still_open_at_the_end_does():
    async with Harness(SPEC) as harness:
        await harness.push(*speech(1, [0.5], reason="error"), *speech(2, [0.5], start=RATE)[:-1])
        await harness.eos()
        await until(lambda: len(outcomes(harness)) == 2)
    assert texts(harness) == [(1, "", True), (2, "50% of 800", True)]
    assert sorted(outcomes(harness)) == [(1, "miss"), (2, "hit")]


async def test_a_changed_setting_is_asked_with():
    *begin, end = speech(1, [0.5])
    async with Harness(SPEC) as harness:
        await harness.push(*begin)
        await until(lambda: asked(harness) == 1)
        harness.element.change_settings(harness.settings.model_copy(update={"min_logprob": -0.1}))
        await harness.push(end)
        await harness.eos()
        await until(lambda: len(outcomes(harness)) == 1)
    assert asked(harness) == 2
    assert outcomes(harness) == [(1, "miss")]
    assert [f.rejected for f in harness.output() if isinstance(f, TranslationFrame)] == ["low confidence"]


async def test_groups_of_several_and_what_cannot_be_asked_about_are_not_speculated_on():
    grouped = [*speech(1, [0.5]), *speech(2, [0.25], start=RATE)]
    async with Harness(SPEC, group=2) as harness:
        await harness.push(*grouped)
        await harness.eos()
    assert outcomes(harness) == []
    pauses = [f for f in grouped if isinstance(f, UtterancePause)]
    assert [(f.answer.given, f.answer.evidence) for f in pauses if f.answer] == [(True, None)] * 2
    async with Harness(SPEC, max_utterance_ms=1000) as harness:
        frames = speech(3, [0.5] * 21)
        await harness.push(*frames)
        await harness.eos()
    assert [f.rejected for f in harness.output() if isinstance(f, TranslationFrame)] == ["longer than 1 s"]
    assert (3, "hit") not in outcomes(harness)


@pytest.mark.parametrize("moment", ["asked", "confirmed", "answered"])
async def test_stop_leaves_nothing_behind_at_any_moment(moment: str):
    *begin, end = speech(1, [0.5])
    harness = Harness(SPEC, live=True)
    await harness.element.start()
    if moment != "answered":
        gate_of(harness).clear()
    await harness.push(*begin)
    if moment == "confirmed":
        await harness.push(end)
    elif moment == "answered":
        await until(lambda: len(harness.output()) == 1)
    gate = gate_of(harness)
    await harness.stop()
    gate.set()
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("speculation-")]
    await harness.stop()
    assert outcomes(harness) in ([], [(1, "hit")])
    await harness.element.start()
    await harness.push(*speech(2, [0.25], start=RATE))
    await harness.eos()
    assert texts(harness)[-1] == (2, "25% of 800", True)
    await harness.stop()


async def test_the_detector_finds_what_the_translator_makes_of_the_audio_so_far():
    frames = speech(1, [0.5, 0.0, 0.25])
    pauses = [f for f in frames if isinstance(f, UtterancePause)]
    answers = [f.answer for f in pauses if f.answer is not None]
    async with Harness(SPEC) as harness:
        for frame in frames[:-1]:
            await harness.push(frame)
            if frame in (pauses[0], pauses[2]):
                answer = answers[pauses.index(frame)]
                await until(lambda answer=answer: answer.given)
        await harness.eos()
    assert [answer.given for answer in answers] == [True] * 3
    assert answers[0].evidence == TranslationEvidence(ends_sentence=False)
    assert answers[1].evidence is None  # the speaker went on before it was there


class Speaker(SourceElement):
    """Three utterances with pauses, of which the echo fails on the second; waits for the news of it."""

    failed = asyncio.Event()
    """Somebody has noticed, or the graph has ended."""

    async def produce(self) -> None:
        for frame in (*speech(1, [0.5, 0.25]), *speech(2, [0.5, 2.0], start=RATE)):
            await self.context.push(frame)
        await self.failed.wait()
        for frame in speech(3, [0.5, 0.75], start=2 * RATE):
            await self.context.push(frame)


SPEAKER = ElementSpec(
    type="speaker",
    summary="Speak.",
    settings=Settings,
    pads=(Pad.src("audio/raw, rate=16000, channels=1, segmented=true"),),
    build=f"{__name__}:Speaker",
)


@pytest.mark.parametrize("policy", ["skip", "restart"])
async def test_a_failure_meets_the_policy_of_the_element_and_the_next_utterance_is_speculated_on(policy: str):
    Speaker.failed = asyncio.Event()
    runner = GraphRunner(chain("speaker", ("echo_ast", {"on_error": policy}), "fake_sink", specs=(SPEAKER, SPEC)))
    heard: list[TranslationFrame] = []
    outcomes: list[tuple[int, str]] = []

    def note(message: Message) -> None:
        if isinstance(message, TranslationMessage):
            heard.append(message.frame)
        elif isinstance(message, SpeculationMessage):
            outcomes.append((message.utterance, message.outcome))
        elif isinstance(message, ErrorMessage):
            asyncio.get_running_loop().call_later(0.05, Speaker.failed.set)

    runner.bus.subscribe(note)
    assert (await runner.run()).status == "done"
    assert [f.text or f.rejected for f in heard] == ["50% of 1600", "the engine failed", "75% of 1600"]
    assert (1, "hit") in outcomes
    assert (2, "failed") in outcomes
    assert (3, "hit") in outcomes


async def test_cancel_ends_a_graph_in_the_middle_of_a_speculation(monkeypatch: pytest.MonkeyPatch):
    Speaker.failed, over, answer = asyncio.Event(), threading.Event(), EchoModel.run

    def slow(self: EchoModel, items: Sequence[Samples]) -> list[Hypothesis]:
        assert over.wait(30)
        return answer(self, items)

    monkeypatch.setattr(EchoModel, "run", slow)
    runner = GraphRunner(chain("speaker", "echo_ast", "fake_sink", specs=(SPEAKER, SPEC)))
    running = asyncio.create_task(runner.run())
    await until(lambda: any(t.get_name().startswith("speculation-") for t in asyncio.all_tasks()))
    runner.cancel()
    assert (await running).status == "cancelled"
    over.set()
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("speculation-")]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Где вокзал?", True),
        ("Он сказал: «Нет.»", True),
        ('"Stop!" ', True),
        ("Ну…", True),
        ("好。", True),
        ("Where is the", False),
        ("And then,", False),
        ("", False),
        ("...)", True),
    ],
)
def test_sentences_end_with_their_marks(text: str, ends: bool):
    assert ends_sentence(text) is ends
