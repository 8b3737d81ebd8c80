"""The engine's own elements, alone."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from tolmach.pipelines.builtin.queue import SPEC as QUEUE
from tolmach.pipelines.builtin.queue import Queue
from tolmach.pipelines.builtin.trial_ends import FAKE_SINK, TEST_SRC
from tolmach.pipelines.bus import DroppedMessage, InfoMessage, PositionMessage
from tolmach.pipelines.frames import AudioFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.testing import Harness, chop, tone


@pytest.mark.parametrize("wave", ["tone", "silence", "noise"])
@pytest.mark.parametrize("chunk_ms", [10, 37, 100, 1000])
async def test_test_src_makes_the_same_samples_whatever_the_chunk(wave: str, chunk_ms: int) -> None:
    async with Harness(TEST_SRC, wave=wave, duration_ms=3000, chunk_ms=20) as reference:
        await reference.run()
    async with Harness(TEST_SRC, wave=wave, duration_ms=3000, chunk_ms=chunk_ms) as h:
        await h.run()
    assert np.array_equal(h.audio(), reference.audio())
    assert h.audio().shape == (48000, 1)
    frames = [f for f in h.output() if isinstance(f, AudioFrame)]
    assert all(a.end_ns == b.pts_ns for a, b in itertools.pairwise(frames))


async def test_test_src_levels_are_what_they_say() -> None:
    async with Harness(TEST_SRC, wave="tone", level_db=-6.0, duration_ms=1000) as h:
        await h.run()
    assert np.max(np.abs(h.audio())) == pytest.approx(10 ** (-6 / 20), rel=1e-3)
    async with Harness(TEST_SRC, wave="noise", level_db=-20.0, duration_ms=5000) as h:
        await h.run()
    assert np.sqrt(np.mean(h.audio() ** 2)) == pytest.approx(0.1, rel=0.02)


async def test_test_src_reports_its_position() -> None:
    async with Harness(TEST_SRC, duration_ms=2500) as h:
        await h.run()
    positions = [m.pts_ns for m in h.messages if isinstance(m, PositionMessage)]
    assert positions[-1] == 2_500_000_000
    assert positions == sorted(positions)


async def test_queue_makes_the_producer_wait_when_full() -> None:
    gate = asyncio.Event()
    h = Harness(QUEUE, max_frames=2, max_ms=0)
    taken: list[object] = []

    async def slow(frame: object, pad: str = "src") -> None:
        await gate.wait()
        taken.append(frame)

    object.__setattr__(h.context, "push", slow)
    async with h:
        feeder = asyncio.create_task(h.push(*chop(tone(0.1), 160)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not feeder.done()
        assert isinstance(h.element, Queue)
        assert h.element.depth[0] == 2
        gate.set()
        await feeder
        await h.eos()
    assert len(taken) == 10


@pytest.mark.parametrize(("leaky", "kept"), [("upstream", [0, 1, 2]), ("downstream", [0, 8, 9])])
async def test_leaky_queue_drops_the_new_or_the_old_and_counts(leaky: str, kept: list[int]) -> None:
    gate = asyncio.Event()
    h = Harness(QUEUE, max_frames=2, max_ms=0, leaky=leaky)
    taken: list[int] = []

    async def slow(frame: AudioFrame, pad: str = "src") -> None:
        taken.append(frame.pts_ns // 10_000_000)
        await gate.wait()

    object.__setattr__(h.context, "push", slow)
    async with h:
        frames = chop(tone(0.1), 160)
        await h.push(frames[0])
        await asyncio.sleep(0)  # the pump takes the first frame and waits at the gate
        await h.push(*frames[1:])
        gate.set()
        await h.eos()
        assert taken == kept
        (dropped,) = [m for m in h.messages if isinstance(m, DroppedMessage)]
        assert dropped.data == {"frames": 7, "media_ns": 70_000_000}


async def test_leaky_queue_never_drops_utterance_marks() -> None:
    gate = asyncio.Event()
    h = Harness(QUEUE, max_frames=1, leaky="downstream")
    taken: list[str] = []

    async def slow(frame: object, pad: str = "src") -> None:
        await gate.wait()
        taken.append(type(frame).__name__)

    object.__setattr__(h.context, "push", slow)
    async with h:
        await h.push(UtteranceStart(1, 0), *chop(tone(0.2), 160), UtteranceEnd(1, 0, 200_000_000))
        gate.set()
        await h.eos()
    assert taken.count("UtteranceStart") == 1
    assert taken.count("UtteranceEnd") == 1


async def test_queue_takes_a_frame_larger_than_its_limit() -> None:
    async with Harness(QUEUE, max_ms=10) as h:
        await h.push(tone(1.0), tone(1.0))
        await h.eos()
    assert len(h.output()) == 2


async def test_fake_sink_counts_and_reports() -> None:
    async with Harness(FAKE_SINK, report=True) as h:
        await h.push(UtteranceStart(1, 0), tone(0.5), UtteranceEnd(1, 0, 500_000_000))
        await h.eos()
    (info,) = [m for m in h.messages if isinstance(m, InfoMessage)]
    assert info.data == {"frames": 3, "samples": 8000, "utterances": 1, "translations": 0}


def test_queue_with_no_limit_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="must not all be 0"):
        QUEUE.settings(max_ms=0, max_frames=0, max_bytes=0)


@pytest.mark.parametrize(
    ("written", "room"),
    [
        ({"max_ms": 60_000}, 6000),  # a minute of frames of 10 ms, twelve times the default of 500
        ({"max_ms": 60_000, "max_frames": 700}, 700),
        ({"max_frames": 3000}, 3000),
        ({"max_bytes": 64_000}, 100),
        ({}, 100),  # the defaults: a second
        ({"max_ms": 0}, 500),  # no limit is no wish: the other defaults hold
    ],
)
async def test_bounds_nobody_wrote_do_not_undercut_those_that_were_written(written: dict[str, int], room: int) -> None:
    h = Harness(QUEUE, leaky="upstream", **written)
    gate = asyncio.Event()

    async def never(frame: object, pad: str = "src") -> None:
        await gate.wait()

    object.__setattr__(h.context, "push", never)
    async with h:
        frames = chop(tone(70.0), 160)
        await h.push(frames[0])
        await asyncio.sleep(0)  # the first is on its way out
        await h.push(*frames[1:])
        assert isinstance(h.element, Queue)
        assert h.element.depth[0] == room


async def test_marks_have_a_bound_too_where_only_ms_is_written() -> None:
    h = Harness(QUEUE, leaky="no", max_ms=60_000)
    object.__setattr__(h.context, "push", lambda frame, pad="src": asyncio.sleep(3600))
    async with h:
        feeder = asyncio.create_task(h.push(*(UtteranceStart(n, n) for n in range(5000))))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not feeder.done()
        assert isinstance(h.element, Queue)
        assert h.element.depth[0] == 1200
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
