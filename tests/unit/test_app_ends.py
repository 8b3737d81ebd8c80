"""app_src and app_sink: what a program pushes and takes, bounds, time, ends, failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from tests.unit.handmade import chain, graph
from tests.unit.test_runtime import SPECS as BOMBS
from tests.until import no_task_left, until
from tolmach.pipelines.builtin.app import APP_SINK, APP_SRC
from tolmach.pipelines.builtin.app_ends import AppInput, AppOutput
from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.errors import Cancelled, ElementError, Ended, GraphError
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult
from tolmach.pipelines.testing.spec_checks import check_spec

MONO_16K = "audio/raw, rate=16000, channels=1"
RATE = 16000


@asynccontextmanager
async def running(g: Graph) -> AsyncIterator[tuple[AppInput, AppOutput, asyncio.Task[RunResult]]]:
    """A graph whose first element is an app_src and whose last an app_sink, playing."""
    first, last = g.order[0], g.order[-1]
    source, sink = AppInput(), AppOutput()
    async with no_task_left():
        runner = GraphRunner(g, resources={first: source, last: sink})
        run = asyncio.create_task(runner.run())
        try:
            yield source, sink, run
        finally:
            runner.cancel()
            await asyncio.gather(run, return_exceptions=True)


def straight(*between: Any, specs: tuple[ElementSpec, ...] = (), **settings: Any) -> Graph:
    given = {"caps": MONO_16K, **settings}
    out = {name.removeprefix("out_"): given.pop(name) for name in tuple(given) if name.startswith("out_")}
    return chain(("app_src", given), *between, ("app_sink", out), specs=specs)


def ramp(count: int, at: int = 0) -> np.ndarray[Any, Any]:
    return (np.arange(at, at + count, dtype=np.float32) % 1000) / 1000


def joined(frames: Sequence[Frame]) -> np.ndarray[Any, Any]:
    return np.concatenate([frame.samples for frame in frames if isinstance(frame, AudioFrame)])


@pytest.mark.parametrize("spec", [APP_SRC, APP_SINK], ids=lambda spec: spec.type)
def test_the_specs_keep_the_rules(spec: ElementSpec) -> None:
    check_spec(spec)


async def test_what_is_pushed_comes_out_in_order_and_ends() -> None:
    async with running(straight()) as (source, sink, run):
        await source.push(ramp(8000))
        await source.push(ramp(8000, 8000), RATE)
        await source.end()
        frames = [frame async for frame in sink]
        assert (await run).ok
    assert np.array_equal(joined(frames)[:, 0], ramp(16000))
    assert [frame.pts_ns for frame in frames] == [n * NS_PER_S // 10 for n in range(10)]
    assert {frame.samples.dtype for frame in frames if isinstance(frame, AudioFrame)} == {np.dtype(np.float32)}
    assert (await run).media_ns == NS_PER_S


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([-32768, 0, 16384], np.int16), [[-1.0], [0.0], [0.5]]),
        (np.array([[0.25], [0.5]], np.float64), [[0.25], [0.5]]),
        (np.zeros(0, np.float32), []),
    ],
    ids=["int16", "float64", "nothing"],
)
async def test_samples_of_several_types(samples: Any, expected: list[list[float]]) -> None:
    async with running(straight()) as (source, sink, _):
        await source.push(samples)
        await source.end()
        frames = [frame async for frame in sink]
    assert (joined(frames).tolist() if frames else []) == expected


async def test_an_array_may_be_used_again_once_it_was_pushed() -> None:
    async with running(straight()) as (source, sink, _):
        block = np.ones(160, np.float32)
        await source.push(block)
        block[:] = 0
        await source.end()
        assert joined([frame async for frame in sink]).min() == 1


async def test_any_rate_that_the_caps_allow() -> None:
    g = chain("app_src", ("resample", {"rate_hz": RATE, "channels": 1}), "app_sink")
    async with running(g) as (source, sink, _):
        await source.push(np.zeros((44100, 2), np.float32), 44100)
        await source.push(np.zeros(48000, np.int16), 48000)
        await source.end()
        frames = [frame async for frame in sink]
    assert len(joined(frames)) == 2 * RATE
    assert {frame.rate_hz for frame in frames if isinstance(frame, AudioFrame)} == {RATE}


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ((np.zeros(10, np.float32), 48000), ValueError, r"e0 takes audio/raw, .*rate=16000.*rate=48000.*resample"),
        ((np.zeros((10, 2), np.float32), RATE), ValueError, r"channels=2"),
        ((np.zeros((2, 1000), np.float32), RATE), ValueError, r"\[n, channels\]: transpose"),
        ((np.zeros((1, 2, 3), np.float32), RATE), ValueError, r"got the shape \(1, 2, 3\)"),
        ((np.zeros(10, np.int32), RATE), TypeError, r"samples of int32 .* float32 .* int16"),
    ],
    ids=["rate", "channels", "transposed", "dimensions", "type"],
)
async def test_what_does_not_fit_is_refused_in_words(arguments: Any, kind: type[Exception], words: str) -> None:
    async with running(straight()) as (source, sink, run):
        with pytest.raises(kind, match=words):
            await source.push(*arguments)
        with pytest.raises(kind, match=words):
            source.try_push(*arguments)
        await source.push(ramp(160))  # and the stream goes on
        await source.end()
        assert len(joined([frame async for frame in sink])) == 160
        assert (await run).ok


async def test_a_push_without_a_rate_needs_one_in_the_caps() -> None:
    g = chain("app_src", ("resample", {"rate_hz": RATE, "channels": 1}), "app_sink")
    async with running(g) as (source, _, _):
        with pytest.raises(ValueError, match=r"rate_hz=48000"):
            await source.push(ramp(10))


async def test_time_is_counted_and_may_jump_but_not_go_back() -> None:
    async with running(straight()) as (source, sink, _):
        for _ in range(3):  # 100 samples are 6.25 ms: no rounding may add up
            await source.push(ramp(100))
        assert source.end_ns == 18_750_000
        await source.push(ramp(100), pts_ns=source.end_ns + 20_000)  # a third of a sample: rounding, no gap
        await source.push(ramp(100), pts_ns=NS_PER_S)
        with pytest.raises(ValueError, match=r"pts_ns=900000000 goes back.*1006250000"):
            await source.push(ramp(100), pts_ns=900_000_000)
        await source.push(ramp(100))
        await source.end()
        times = [frame.pts_ns async for frame in sink]
    assert times == [0, 6_250_000, 12_500_000, 18_750_000, NS_PER_S, NS_PER_S + 6_250_000]


async def test_a_push_waits_while_the_graph_is_full_and_a_try_says_no() -> None:
    g = straight(max_ms=200, out_max_ms=300)
    async with running(g) as (source, sink, _):
        second = asyncio.create_task(source.push(ramp(RATE)))
        await until(lambda: source.waiting_ms == 200 and sink.waiting_ms == 300)
        await asyncio.sleep(0.02)
        assert not second.done()
        assert (source.waiting_ms, sink.waiting_ms) == (200, 300)
        assert source.try_push(ramp(160)) is False  # somebody waits before us
        taken = [await anext(sink) for _ in range(10)]
        await second
        assert source.try_push(ramp(160)) is True
        await source.end()
        taken += [frame async for frame in sink]
    assert np.array_equal(joined(taken)[:, 0], np.concatenate([ramp(RATE), ramp(160)]))


async def test_a_try_that_finds_no_room_takes_nothing() -> None:
    async with running(straight(max_ms=200, out_max_ms=20)) as (source, sink, _):
        await until(lambda: source.try_push(ramp(160)))
        assert await anext(sink)
        said = [source.try_push(ramp(1600, 1600 * n)) for n in range(6)]
        assert True in said
        assert False in said
        with pytest.raises(ValueError, match="500 ms at once never fit into max_ms=200"):
            source.try_push(ramp(8000))
        await source.end()
        frames = [frame async for frame in sink]
    assert len(joined(frames)) == 1600 * said.count(True)


async def test_two_that_push_at_once_do_not_mix() -> None:
    async with running(straight(max_ms=100)) as (source, sink, _):
        pushes = [source.push(np.full(8000, value, np.float32)) for value in (0.25, 0.5)]
        pushing = asyncio.gather(*pushes)
        values = []
        for _ in range(10):
            frame = await anext(sink)
            assert isinstance(frame, AudioFrame)
            values.append(float(frame.samples[0, 0]))
        await pushing
    assert values == [0.25] * 5 + [0.5] * 5


async def test_a_stream_that_has_ended_takes_nothing_more() -> None:
    async with running(straight()) as (source, sink, run):
        await source.push(ramp(160))
        await source.end()
        await source.end()
        with pytest.raises(Ended, match="e0: the stream has ended"):
            await source.push(ramp(160))
        with pytest.raises(Ended):
            source.try_push(ramp(160))
        assert len([frame async for frame in sink]) == 1
        assert [frame async for frame in sink] == []  # and stays at its end
        await run


async def test_what_was_pushed_before_a_graceful_end_comes_out() -> None:
    g = straight(out_max_ms=60_000, max_ms=60_000)
    source, sink = AppInput(), AppOutput()
    runner = GraphRunner(g, resources={"e0": source, "e1": sink})
    run = asyncio.create_task(runner.run())
    await source.push(ramp(5 * RATE))
    runner.finish()
    assert (await run).ok
    assert len(joined([frame async for frame in sink])) == 5 * RATE
    with pytest.raises(Ended):
        await source.push(ramp(160))


async def test_a_push_into_a_graph_that_never_plays_is_told_so() -> None:
    source = AppInput()
    runner = GraphRunner(straight(), resources={"e0": source, "e1": AppOutput()})
    runner.finish()
    run = asyncio.create_task(runner.run())
    assert source.try_push(ramp(160)) is False
    with pytest.raises(Ended):
        await source.push(ramp(160))
    assert (await run).ok


async def test_a_failure_of_the_graph_is_raised_at_both_ends_behind_what_came_before() -> None:
    g = straight(("bomb", {"utterance": 1}), caps=f"{MONO_16K}, segmented=true", specs=BOMBS)
    async with running(g) as (source, sink, run):
        with pytest.raises(ValueError, match=r"takes .*segmented=true, and this is .*segmented=false"):
            await source.push(ramp(160))
        for n in range(2):
            await source.push_frame(AudioFrame(np.zeros((160, 1), np.float32), RATE, n * 10_000_000, 1))
        assert await anext(sink)
        with pytest.raises(ElementError, match="boom"):
            await anext(sink)
        with pytest.raises(ElementError, match="boom"):
            await source.push(ramp(160))
        with pytest.raises(ElementError, match="boom"):
            source.try_push(ramp(160))
        with pytest.raises(ElementError, match="boom"):
            await source.end()
        assert (await run).status == "failed"


async def test_a_cancel_reaches_whoever_waits() -> None:
    g = straight(max_ms=100, out_max_ms=100)
    source, sink = AppInput(), AppOutput()
    runner = GraphRunner(g, resources={"e0": source, "e1": sink})
    run = asyncio.create_task(runner.run())
    pushing = asyncio.create_task(source.push(ramp(10 * RATE)))
    await until(lambda: sink.waiting_ms == 100)
    runner.cancel()
    with pytest.raises(Cancelled, match="'handmade' was cancelled"):
        await pushing
    assert await anext(sink)
    with pytest.raises(Cancelled, match="'handmade' was cancelled"):
        await anext(sink)
    assert (await run).status == "cancelled"


async def test_frames_go_in_as_they_are_where_the_caps_allow_them() -> None:
    g = straight(caps="text/x-translation, lang=ru, script=cyrl")
    text = TranslationFrame(1, 0, NS_PER_S, "en", "ru", "Привет.")
    async with running(g) as (source, sink, _):
        await source.push_frame(text)
        await source.end()
        assert [frame async for frame in sink] == [text]


async def test_utterances_go_in_where_the_caps_say_so() -> None:
    g = straight(caps="audio/raw, rate=16000, channels=1, segmented=true")
    frames = [
        UtteranceStart(1, 0),
        AudioFrame(np.zeros((160, 1), np.float32), RATE, 0, 1),
        UtteranceEnd(1, 0, 10_000_000),
    ]
    async with running(g) as (source, sink, _):
        for frame in frames:
            await source.push_frame(frame)
        await source.end()
        assert [frame async for frame in sink] == frames


async def test_without_a_program_it_says_what_to_do() -> None:
    for elements in ((("app_src", {"caps": MONO_16K}), "fake_sink"), ("test_src", "app_sink")):
        with pytest.raises(ElementError, match=r"element 'e\d' .* tolmach\.open\(\) .* put a file_"):
            await GraphRunner(chain(*elements)).run()


async def test_an_end_is_used_once() -> None:
    source, sink = AppInput(), AppOutput()
    await source.end()
    assert (await GraphRunner(straight(), resources={"e0": source, "e1": sink}).run()).ok
    with pytest.raises(ElementError, match="AppOutput has been used by another run"):
        await GraphRunner(straight(), resources={"e0": AppInput(), "e1": sink}).run()


@pytest.mark.parametrize(
    ("caps", "words"),
    [
        ("ANY", "does not say what is pushed"),
        ("audio/raw, rate=", "expected a value at character 17"),
    ],
)
def test_caps_that_say_nothing_are_refused(caps: str, words: str) -> None:
    with pytest.raises(GraphError, match=words):
        straight(caps=caps)


def test_the_caps_are_checked_with_the_graph() -> None:
    with pytest.raises(GraphError, match="caps-mismatch"):
        graph({"in": ("app_src", {"caps": "audio/raw, rate=48000, channels=1"}), "vad": ("silero_vad", {}),
               "out": ("app_sink", {})}, ["in -> vad -> out"])  # fmt: skip
    fixed = straight().nodes["e0"].pads[0]
    assert (fixed.caps, fixed.dynamic) == (Caps.parse(f"{MONO_16K}, segmented=false"), False)


async def test_a_reader_that_was_cancelled_loses_nothing() -> None:
    async with running(straight()) as (source, sink, _):
        reading = asyncio.create_task(anext(sink))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await source.push(ramp(160))
        await source.end()
        assert len([frame async for frame in sink]) == 1
