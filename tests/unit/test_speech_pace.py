"""A voice that falls behind: what is heard, what is told, and that nothing else decides it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.pipelines.bus import Message, UnspokenMessage, VoicePaceMessage
from tolmach.pipelines.element import Context, ElementSpec, Pad
from tolmach.pipelines.frames import AudioFrame, Frame, Samples, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.listener import Listener
from tolmach.pipelines.testing import Harness
from tolmach.pipelines.testing.harness import without_chunking
from tolmach.processors.tts import LIVE_BUDGET_MS, SpeechSettings
from tolmach.processors.tts.element import SpeechElement

RATE_HZ = 8000
S = 1_000_000_000


class Hums(SpeechElement):
    """Hums half a second a letter, in blocks of :attr:`block` samples, and is silent for as long at a full stop."""

    rate_hz = RATE_HZ
    block = 700
    pauses = 0

    def __init__(self, settings: SpeechSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.begun: list[str] = []

    async def synthesise(self, frame: TranslationFrame) -> AsyncIterator[Samples]:
        self.begun.append(frame.text)
        hum = 0.3 * np.sin(2 * np.pi * 150 * np.arange(RATE_HZ // 2) / RATE_HZ)
        said = np.concatenate([hum if char != "." else 0 * hum for char in frame.text]).astype(np.float32)
        for at in range(0, len(said), self.block):
            for _ in range(self.pauses):
                await asyncio.sleep(0)
            yield said[at : at + self.block]


SPEC = ElementSpec(
    type="hums",
    summary="Hum.",
    settings=SpeechSettings,
    pads=(Pad.sink("text/x-translation"), Pad.src("audio/raw")),
    build=f"{__name__}:Hums",
)


def says(number: int, text: str, end_s: float, **fields: Any) -> TranslationFrame:
    return TranslationFrame(number, round((end_s - 1) * S), round(end_s * S), "en", "ru", text, **fields)


def told(messages: list[Message]) -> list[tuple[Any, ...]]:
    kept = [message for message in messages if isinstance(message, VoicePaceMessage | UnspokenMessage)]
    return [
        (m.utterance, m.part, round(m.lag_ns / S, 3), m.tempo if isinstance(m, VoicePaceMessage) else "unspoken")
        for m in kept
    ]


def lengths_s(frames: list[Frame]) -> dict[int, float]:
    """How long each utterance is heard, s."""
    found: dict[int, int] = {}
    for frame in frames:
        if isinstance(frame, AudioFrame):
            found[frame.utterance or 0] = found.get(frame.utterance or 0, 0) + len(frame.samples)
    return {number: samples / RATE_HZ for number, samples in found.items()}


BACKLOG = [says(n, "abcdefgh.", 1 + 3.5 * n) for n in range(1, 12)]
"""4.5 s to say, half a second of it a pause, every 3.5 s."""


async def test_a_voice_with_a_budget_speaks_faster_and_without_one_falls_behind() -> None:
    async with Harness(SPEC, max_lag_ms=6000) as h:
        await h.push(*BACKLOG)
        await h.eos()
        hurried = told(h.messages)
        heard = lengths_s(h.output())
    async with Harness(SPEC) as h:
        await h.push(*BACKLOG)
        await h.eos()
        plain = told(h.messages)
        assert set(lengths_s(h.output()).values()) == {4.5}
    assert [entry[3] for entry in plain] == [1.0] * 11
    assert plain[-1][2] == pytest.approx(10.0)
    tempos = [entry[3] for entry in hurried]
    assert tempos[0] == 1.0
    assert 1.0 < max(tempos) <= 1.3
    assert max(entry[2] for entry in hurried) < 6
    # First the pause goes, then the tempo rises, and it is heard as it is told.
    assert heard[1] == 4.5
    assert heard[2] < 4.5
    assert tempos[1] == 1.0
    for number, _, _, tempo in hurried[2:]:
        assert 4.0 / tempo <= heard[number] <= 4.5 / tempo + 0.01


async def test_a_text_that_comes_too_late_is_left_out_and_told_and_the_rest_is_heard_in_order() -> None:
    texts = [says(1, "a" * 30, 2), says(2, "bb", 4, part=3), says(3, "cc", 13), says(4, "dd", 14)]
    async with Harness(SPEC, max_lag_ms=5000, max_tempo=1.0) as h:
        await h.push(*texts)
        await h.eos()
        assert told(h.messages) == [(1, 0, 0.0, 1.0), (2, 3, 13.0, "unspoken"), (3, 0, 4.0, 1.0), (4, 0, 4.0, 1.0)]
        assert [f.utterance for f in h.output() if isinstance(f, UtteranceStart)] == [1, 3, 4]
        assert [f.utterance for f in h.output() if isinstance(f, UtteranceEnd)] == [1, 3, 4]


async def test_the_time_at_which_a_text_was_known_counts() -> None:
    async with Harness(SPEC, max_lag_ms=5000) as h:
        await h.push(says(1, "a", 2, decided_ns=5 * S), says(2, "b", 5, decided_ns=5 * S + S // 4))
        await h.eos()
        # The first ends at 5.5; the second has waited a quarter of a second for it.
        assert told(h.messages) == [(1, 0, 3.0, 1.0), (2, 0, 0.5, 1.0)]


async def test_what_was_prepared_and_comes_too_late_is_thrown_away() -> None:
    late = says(2, "bb", 4)
    maybe = says(2, "bb", 4, final=False, speculative=True)
    async with Harness(SPEC, max_lag_ms=5000) as h:
        await h.push(says(1, "a" * 30, 2), maybe, late)
        await h.eos()
        assert told(h.messages)[1] == (2, 0, 13.0, "unspoken")
        assert set(lengths_s(h.output())) == {1}
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("speech-")]


async def test_nothing_is_told_of_a_text_without_a_sound() -> None:
    async with Harness(SPEC, max_lag_ms=5000) as h:
        await h.push(says(1, "...", 2), says(2, "a", 2))
        await h.eos()
        assert told(h.messages) == [(2, 0, 0.0, 1.0)]


@settings(max_examples=8, deadline=None)
@given(
    block=st.integers(100, 5000),
    pauses=st.integers(0, 3),
    turns=st.integers(0, 5),
    prepared=st.booleans(),
    chunk_ms=st.integers(10, 300),
)
def test_what_is_heard_depends_on_media_time_alone(
    block: int, pauses: int, turns: int, prepared: bool, chunk_ms: int
) -> None:
    async def run(block: int, pauses: int, turns: int, prepared: bool, chunk_ms: int) -> tuple[Any, ...]:
        async with Harness(SPEC, max_lag_ms=3000, chunk_ms=chunk_ms) as h:
            element = h.element
            assert isinstance(element, Hums)
            element.block, element.pauses = block, pauses
            for text in BACKLOG[:4]:
                for _ in range(turns):
                    await asyncio.sleep(0)
                if prepared:
                    await h.push(says(text.utterance, text.text, text.end_ns / S, final=False, speculative=True))
                await h.push(text)
            await h.eos()
            return without_chunking(h.output()), told(h.messages)

    expected = asyncio.run(run(4000, 0, 0, False, 100))
    assert asyncio.run(run(block, pauses, turns, prepared, chunk_ms)) == expected


class Somebody(Listener):
    """Hears what he is given at his own pace."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits_s = 0.0

    def now_ns(self) -> int:
        return round(self.now_s * S)

    def waiting_ns(self) -> int:
        return round(self.waits_s * S)


async def test_a_live_listener_says_how_long_speech_waits() -> None:
    listener = Somebody()
    async with Harness(SPEC, live=True, resources={"line": listener}) as h:

        async def say(text: TranslationFrame, now_s: float, waits_s: float) -> tuple[Any, ...]:
            listener.now_s, listener.waits_s = now_s, waits_s
            await h.push(text)
            await h.element.drain()
            return told(h.messages)[-1]

        # Nothing waits: he is late because the translator is.
        assert await say(says(1, "a", 2), 9, 0) == (1, 0, 7.0, 1.0)
        assert await say(says(2, "b", 8), 9, 1) == (2, 0, 2.0, 1.0)
        waited = await say(says(3, "c", 9), 10, 15)
        assert waited == (3, 0, 16.0, 1.08)
        assert await say(says(4, "d", 10), 11, 0) == (4, 0, 1.0, 1.0)  # he has skipped it all
        assert await say(says(5, "e", 10), 11, LIVE_BUDGET_MS / 1000) == (5, 0, 21.0, "unspoken")


async def test_the_budget_and_the_bound_may_change_while_it_speaks() -> None:
    async with Harness(SPEC, max_lag_ms=0) as h:
        await h.push(*BACKLOG[:6])
        await h.element.drain()
        assert {entry[3] for entry in told(h.messages)} == {1.0}
        h.element.change_settings(SpeechSettings(max_lag_ms=8000, max_tempo=1.05))
        await h.push(*BACKLOG[6:])
        await h.eos()
        assert {entry[3] for entry in told(h.messages)[6:]} == {1.05}
