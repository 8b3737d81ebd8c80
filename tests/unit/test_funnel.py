"""funnel: several inputs in the order of media time, however they arrive; and who tells it how far they are."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.handmade import graph
from tolmach.pipelines.builtin.funnel import SPEC as FUNNEL
from tolmach.pipelines.builtin.funnel import Funnel
from tolmach.pipelines.builtin.queue import SPEC as QUEUE
from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.element import END_NS, Element, ElementSpec, Field, Pad, Settings, SourceElement
from tolmach.pipelines.frames import NS_PER_MS, AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.ordered import OrderedJobs
from tolmach.pipelines.runtime.lower import sources_of
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.testing import Harness, chop, tone
from tolmach.processors.vad.spec import SILERO

MS = NS_PER_MS


def text(at_ms: int, said: str, utterance: int = 1) -> TranslationFrame:
    return TranslationFrame(utterance, at_ms * MS, (at_ms + 500) * MS, "en", "ru", said)


def funnel(inputs: int = 2, *, live: bool = False, shared: bool = False, **settings: Any) -> Harness:
    pads = [f"sink_{n}" for n in range(inputs)]
    harness = Harness(FUNNEL, caps=dict.fromkeys([*pads, "src"], "text/x-translation"), **settings)
    object.__setattr__(harness.context, "live", live)
    sources = {pad: frozenset({"in" if shared else pad}) for pad in pads}
    object.__setattr__(harness.context, "sources", sources)
    return harness


def texts(harness: Harness) -> list[str]:
    return [f.text for f in harness.output() if isinstance(f, TranslationFrame)]


async def test_the_earlier_goes_first_however_late_it_arrives() -> None:
    async with funnel() as h:
        await h.push(text(0, "a"), text(2000, "c"), pad="sink_0")
        assert texts(h) == []
        await h.push(text(1000, "b"), pad="sink_1")
        assert texts(h) == ["a", "b"]
        await h.eos()
        assert texts(h) == ["a", "b", "c"]


async def test_a_silent_input_says_how_far_it_has_come() -> None:
    async with funnel() as h:
        await h.push(text(1000, "a"), text(3000, "b"), pad="sink_0")
        await h.element.progress(999 * MS, "sink_1")
        assert texts(h) == []
        await h.element.progress(1000 * MS, "sink_1")
        assert texts(h) == ["a"]  # at equal times the first input goes first
        await h.element.progress(END_NS, "sink_1")
        assert texts(h) == ["a", "b"]


async def test_at_equal_times_a_later_input_waits_for_an_earlier_one() -> None:
    async with funnel() as h:
        await h.push(text(1000, "second"), pad="sink_1")
        await h.element.progress(1000 * MS, "sink_0")
        assert texts(h) == []
        await h.push(text(1000, "first"), pad="sink_0")
        await h.eos()
        assert texts(h) == ["first", "second"]


def spoken(at_ms: int, number: int) -> list[Frame]:
    audio = chop(AudioFrame(np.full((1600, 1), number / 10, np.float32), 16000, at_ms * MS, number), 800)
    return [UtteranceStart(number, at_ms * MS), *audio, UtteranceEnd(number, at_ms * MS, (at_ms + 100) * MS)]


async def test_utterances_stay_whole_and_are_counted_anew() -> None:
    async with funnel() as h:
        left, right = spoken(0, 1), spoken(20, 1)
        for a, b in zip(left, right, strict=True):  # in pieces, one beside the other
            await h.push(b, pad="sink_1")
            await h.push(a, pad="sink_0")
        await h.eos()
        assert [(type(f), f.utterance) for f in h.output()] == [(type(f), n) for n in (1, 2) for f in left]


async def test_branches_of_one_source_keep_their_numbers() -> None:
    async with funnel(shared=True) as h:
        await h.push(text(0, "ru", 7), pad="sink_0")
        await h.push(text(0, "de", 7), pad="sink_1")
        await h.eos()
        assert [f.utterance for f in h.output()] == [7, 7]


async def test_live_the_wait_is_bounded_in_media_time() -> None:
    async with funnel(live=True, max_wait_ms=3000) as h:
        await h.push(text(1000, "a"), pad="sink_0")
        await h.element.progress(4000 * MS, "sink_0")
        assert texts(h) == []
        await h.element.progress(4001 * MS, "sink_0")
        assert texts(h) == ["a"]
        await h.push(text(500, "late"), pad="sink_1")
        assert texts(h) == ["a", "late"]


async def test_an_input_far_ahead_waits_for_one_of_another_source() -> None:
    async with funnel(max_frames=3) as h:
        ahead = asyncio.create_task(h.push(*(text(n * 1000, str(n)) for n in range(5)), pad="sink_0"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not ahead.done()
        assert isinstance(h.element, Funnel)
        assert h.element.waiting == 3
        await h.element.progress(END_NS, "sink_1")
        await ahead
        assert texts(h) == [str(n) for n in range(5)]
        assert h.messages == []


async def test_branches_of_one_source_never_stall_each_other_for_good() -> None:
    async with funnel(shared=True, max_frames=3) as h:
        await h.push(*(text(n * 1000, str(n)) for n in range(5)), pad="sink_0")
        assert texts(h) == ["0", "1"]
        assert [type(m) for m in h.messages] == [WarningMessage]
        await h.push(text(100, "late"), pad="sink_1")
        await h.eos()
        assert texts(h) == ["0", "1", "late", "2", "3", "4"]


async def test_an_overfull_input_lets_go_even_while_another_holds_the_floor() -> None:
    async with funnel(shared=True, max_frames=2) as h:
        await h.push(spoken(0, 1)[0], pad="sink_0")
        await h.element.progress(0, "sink_1")
        await h.push(*(text(10 + n, str(n)) for n in range(4)), pad="sink_1")
        assert texts(h) == ["0", "1"]


async def test_order_of_arrival_is_there_for_who_wants_it() -> None:
    async with funnel(order="arrival") as h:
        await h.push(text(1000, "a"), pad="sink_0")
        await h.push(text(500, "b"), pad="sink_1")
        assert texts(h) == ["a", "b"]


LANES = st.lists(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=6), min_size=1, max_size=3)


@given(lanes=LANES, data=st.data())
async def test_what_comes_out_depends_on_the_inputs_and_not_on_when_they_come(
    lanes: list[list[tuple[int, bool]]], data: st.DataObject
) -> None:
    events: dict[str, list[Frame | int]] = {}
    for number, steps in enumerate(lanes):
        at, found = 0, events.setdefault(f"sink_{number}", [])
        for step, is_frame in steps:
            at += step
            found.append(text(at, f"{number}.{len(found)}") if is_frame else at * MS)
        found.append(END_NS)
    results = [await _merged(events, [name for name in events for _ in events[name]])]
    turns = data.draw(st.permutations([name for name in events for _ in events[name]]))
    results.append(await _merged(events, turns))
    assert results[0] == results[1]
    frames = [e for found in events.values() for e in found if isinstance(e, TranslationFrame)]
    assert sorted(results[0]) == sorted((f.pts_ns, f.text) for f in frames)
    assert [time for time, _ in results[0]] == sorted(f.pts_ns for f in frames)


async def _merged(events: Mapping[str, Sequence[Frame | int]], turns: Sequence[str]) -> list[tuple[int, str]]:
    left = {name: list(found) for name, found in events.items()}
    async with funnel(len(events)) as h:
        for name in turns:
            event = left[name].pop(0)
            if isinstance(event, int):
                await h.element.progress(event, name)
            else:
                await h.push(event, pad=name)
        await h.eos()
        return [(f.pts_ns, f.text) for f in h.output() if isinstance(f, TranslationFrame)]


# --- who says how far they have come ----------------------------------------------------------------------------------


def listened(harness: Harness) -> list[int | Frame]:
    """What comes out, and what is said of progress in between."""
    heard: list[int | Frame] = []

    async def push(frame: Frame, pad: str = "src") -> None:
        heard.append(frame)

    async def progress(time_ns: int, pad: str | None = None) -> None:
        heard.append(time_ns)

    object.__setattr__(harness.context, "push", push)
    object.__setattr__(harness.context, "progress", progress)
    return heard


async def test_a_vad_says_how_far_it_has_come_while_nobody_speaks() -> None:
    h = Harness(SILERO, pre_roll_ms=300)
    heard = listened(h)
    async with h:
        await h.push(*chop(AudioFrame(np.zeros((48000, 1), np.float32), 16000, 5000 * MS), 1600))
    said = [n for n in heard if isinstance(n, int)]
    assert said == heard
    assert all(100 * MS <= b - a <= 300 * MS for a, b in itertools.pairwise(said))
    assert 7500 * MS <= said[-1] <= 7700 * MS  # three seconds on, less the pre-roll that may still be speech


async def test_a_queue_keeps_progress_behind_its_frames() -> None:
    gate = asyncio.Event()
    h = Harness(QUEUE, leaky="downstream", max_frames=2, max_ms=0)
    heard = listened(h)
    take = h.context.push

    async def slow(frame: Frame, pad: str = "src") -> None:
        await take(frame)
        await gate.wait()

    object.__setattr__(h.context, "push", slow)
    async with h:
        await h.push(text(0, "a"))
        await asyncio.sleep(0)
        await h.push(text(1, "dropped"), text(2, "b"))
        await h.element.progress(2, "sink")
        await h.element.progress(3, "sink")
        await h.push(text(4, "c"))
        await h.element.progress(5, "sink")
        gate.set()
        await h.eos()
    assert [e if isinstance(e, int) else getattr(e, "text", "") for e in heard] == ["a", "b", 3, "c", 5]


async def test_ordered_jobs_keep_progress_behind_what_is_under_way() -> None:
    h = Harness(QUEUE)
    heard = listened(h)
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def job() -> str:
        return await answer

    async def emit(said: str) -> None:
        await h.context.push(text(0, said))

    async with h:
        jobs = OrderedJobs(h.context, 4, emit)
        await jobs.progress(1)
        await jobs.submit(job())
        await jobs.progress(2)
        await jobs.progress(3)
        assert heard == [1]
        answer.set_result("a")
        await jobs.drain()
        await jobs.progress(4)
        assert [e if isinstance(e, int) else "a" for e in heard] == [1, "a", 3, 4]


# --- in a graph -------------------------------------------------------------------------------------------------------


class SpeakerSettings(Settings):
    """Who speaks when."""

    at_ms: list[int] = Field(default=[], description="When.")
    turns: int = Field(0, description="Turns of the event loop before each text.")


class Speaker(SourceElement):
    """Texts at their times, as slow as is wished; between them it says nothing."""

    async def produce(self) -> None:
        for number, at_ms in enumerate(self.settings.at_ms, start=1):
            for _ in range(self.settings.turns):
                await asyncio.sleep(0)
            await self.context.push(text(at_ms, f"{self.context.name}{number}", number))


SPEAKER = ElementSpec(
    type="speaker",
    summary="Speak.",
    settings=SpeakerSettings,
    pads=(Pad.src("text/x-translation, lang=ru, script=cyrl"),),
    build="tests.unit.test_funnel:Speaker",
)


class ListSinkSettings(Settings):
    """Nothing to set."""


class ListSink(Element):
    """Remembers what came."""

    taken: list[TranslationFrame] = []  # noqa: RUF012 -- read by the test, one graph at a time

    async def start(self) -> None:
        self.taken.clear()

    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, TranslationFrame)
        self.taken.append(frame)


LIST_SINK = ElementSpec(
    type="list_sink",
    summary="Remember.",
    settings=ListSinkSettings,
    pads=(Pad.sink(),),
    build="tests.unit.test_funnel:ListSink",
)


@pytest.mark.parametrize("turns", [(0, 9), (9, 0), (3, 4)])
async def test_two_speakers_come_out_as_they_spoke(turns: tuple[int, int]) -> None:
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "l": ("speaker", {"at_ms": [0, 4000, 8000], "turns": turns[0]}),
        "r": ("speaker", {"at_ms": [1000, 9000], "turns": turns[1]}),
        "q": ("queue", {}),
        "both": ("funnel", {}),
        "out": ("list_sink", {}),
    }
    made = graph(nodes, ["l -> q -> both", "r -> both", "both -> out"], specs=(SPEAKER, LIST_SINK))
    result = await GraphRunner(made).run()
    assert result.ok
    assert [f.text for f in ListSink.taken] == ["l1", "r1", "l2", "l3", "r2"]
    assert [f.utterance for f in ListSink.taken] == [1, 2, 3, 4, 5]


def test_a_graph_knows_which_source_feeds_which_pad() -> None:
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "a": ("test_src", {}),
        "b": ("test_src", {}),
        "fork": ("tee", {}),
        "q0": ("queue", {}),
        "q1": ("queue", {}),
        "all": ("funnel", {}),
        "out": ("fake_sink", {}),
    }
    links = ["a -> fork", "fork -> q0 -> all", "fork -> q1 -> all", "b -> all", "all -> out"]
    sources = sources_of(graph(nodes, links))
    assert sources["all"] == {"sink_0": {"a"}, "sink_1": {"a"}, "sink_2": {"b"}}
    assert sources["out"] == {"sink": {"a", "b"}}
    assert sources["a"] == {}


async def test_sound_outside_utterances_takes_turns_however_it_is_cut() -> None:
    results = []
    for chunk in (160, 1600, 3000):
        async with funnel() as h:
            for frame in chop(tone(0.5), chunk):
                await h.push(frame, pad="sink_0")
            for frame in chop(tone(0.5, freq_hz=100), chunk):
                await h.push(frame, pad="sink_1")
            await h.eos()
            results.append(h.audio())
    assert len(results[0]) == 16000
    assert all(np.array_equal(r, results[0]) for r in results)
