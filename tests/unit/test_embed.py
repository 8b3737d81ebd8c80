"""``tolmach.open``: a graph inside a program, from its check to its last frame, and whatever goes wrong on the way."""

# ruff: noqa: PT012 -- a block of tolmach.open is what raises

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tolmach
from tests.unit.handmade import chain
from tests.unit.test_runtime import SPECS as BOMBS
from tests.until import no_task_left, until
from tolmach.pipelines.bus import Message
from tolmach.pipelines.embed import RunningGraph
from tolmach.pipelines.errors import Cancelled, ElementError, Ended, GraphError, MediaError
from tolmach.pipelines.frames import AudioFrame
from tolmach.pipelines.registry import Registry

RATE = 16000
STRAIGHT = """\
version: 1
elements:
  in: {type: app_src, caps: "audio/raw, rate=16000, channels=1"}
  out: {type: app_sink, max_ms: 500}
links: [in -> out]
"""
TO_FILE = """\
version: 1
params: {rate: 16000}
elements:
  in: {type: app_src, caps: "audio/raw, rate=${param:rate}, channels=1"}
  out: {type: file_sink, path: out.wav}
links: [in -> out]
"""
FAILS = """\
version: 1
elements:
  in: {type: app_src, caps: "audio/raw, rate=16000, channels=1, segmented=true"}
  bomb: {type: bomb, utterance: 1}
  out: {type: app_sink}
links: [in -> bomb -> out]
"""


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    async with no_task_left():
        yield


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def ones(count: int) -> Any:
    return np.ones(count, np.float32)


def failing() -> RunningGraph:
    return tolmach.open(FAILS, registry=Registry.builtin().extended(*BOMBS))


async def blow_up(graph: RunningGraph) -> None:
    """The second audio frame of utterance 1 is one too many for a bomb."""
    for n in range(2):
        frame = AudioFrame(np.zeros((160, 1), np.float32), RATE, n * 10_000_000, 1)
        await graph["in"].push_frame(frame)


async def test_samples_go_in_and_frames_come_out() -> None:
    async with tolmach.open(STRAIGHT) as graph:
        await graph["in"].push(ones(1600), rate_hz=RATE)
        await graph["in"].end()
        frames = [frame async for frame in graph["out"]]
    assert [len(frame.samples) for frame in frames] == [1600]
    assert graph.result is not None
    assert graph.result.ok


async def test_a_file_and_its_params(tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(TO_FILE)
    async with tolmach.open(path, params={"rate": 8000}, base_dir=tmp_path) as graph:
        await graph["in"].push(ones(8000), 8000)
    assert (tmp_path / "out.wav").stat().st_size == pytest.approx(8000 * 2, abs=200)
    async with tolmach.open(str(path), settings={"out.path": "b.flac"}, base_dir=tmp_path) as graph:
        await graph["in"].push(ones(100))
    assert (tmp_path / "b.flac").exists()


async def test_a_shipped_graph_by_its_name(root: Path, tmp_path: Path) -> None:
    params = {"input": str(root / "config/demo/clips/en-03.flac"), "output": str(tmp_path)}
    seen: list[Message] = []
    bus = tolmach.Bus()
    bus.subscribe(seen.append)
    async with tolmach.open("vad", params=params, bus=bus, trace=True) as graph:
        assert graph.bus is bus
        result = await graph.wait()
    assert result.ok
    assert result.elements["vad"]["frames"] > 0
    assert (tmp_path / "segments.jsonl").read_text().count("\n") >= 1
    assert any(isinstance(message, tolmach.UtteranceEndMessage) for message in seen)


@pytest.mark.parametrize("ends", [" ", "\n"], ids=["one line", "several"])
async def test_a_launch_line(ends: str) -> None:
    line = f"app_src name=in caps='audio/raw, rate=16000, channels=1'{ends}! identity{ends}! app_sink name=out"
    async with tolmach.open(line) as graph:
        await graph["in"].push(ones(160))
        assert await anext(graph["out"])


async def test_a_document_may_hold_exclamation_marks() -> None:
    async with tolmach.open(STRAIGHT.replace("version: 1", "version: 1\ndescription: Hello ! World")) as graph:
        assert graph.graph.description == "Hello ! World"


async def test_a_graph_that_is_checked_already(tmp_path: Path) -> None:
    checked = tolmach.load_graph("a", text=STRAIGHT)
    async with tolmach.open(checked) as graph:
        assert graph.graph is checked
    with pytest.raises(GraphError, match="built already"):
        await tolmach.open(checked, params={"a": 1}).start()


async def test_what_is_wrong_with_a_graph_is_said_before_anything_starts() -> None:
    with pytest.raises(GraphError, match=r"no graph file 'phrasbook'.*did you mean 'phrasebook'\?"):
        await tolmach.open("phrasbook").start()
    with pytest.raises(GraphError, match=r"<string>:3:29: error\[bad-value\]: caps: ") as caught:
        await tolmach.open(STRAIGHT.replace("audio/raw", "audio")).start()
    assert [d.code for d in caught.value.diagnostics] == ["bad-value"]
    with pytest.raises(GraphError, match="param 'input' has no value"):
        await tolmach.open("vad").start()


async def test_what_cannot_start_is_raised_by_the_block() -> None:
    with pytest.raises(MediaError, match=r"nowhere\.wav"):
        async with tolmach.open("vad", params={"input": "nowhere.wav"}):
            pytest.fail("nothing plays")


async def test_leaving_the_block_drains() -> None:
    async with tolmach.open(STRAIGHT) as graph:
        out = graph["out"]
        reading = asyncio.create_task(collect(out))
        for _ in range(20):
            await graph["in"].push(ones(1600))
    assert sum(len(frame.samples) for frame in await reading) == 20 * 1600
    with pytest.raises(Ended):
        await graph["in"].push(ones(1))


async def test_frames_that_nobody_takes_hold_up_no_end(tmp_path: Path) -> None:
    async with tolmach.open(STRAIGHT) as graph:
        await graph["in"].push(ones(RATE))  # twice as much as may wait at the sink
    assert graph.result is not None
    assert graph.result.ok
    assert sum(len(frame.samples) for frame in await collect(graph["out"])) == RATE  # and nothing is lost


async def collect(out: tolmach.AppOutput) -> list[AudioFrame]:
    return [frame async for frame in out if isinstance(frame, AudioFrame)]


async def test_an_exception_of_the_program_cancels(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with tolmach.open(TO_FILE, base_dir=tmp_path) as graph:
            await graph["in"].push(ones(1600))
            raise ZeroDivisionError
    assert graph.result is not None
    assert graph.result.status == "cancelled"
    assert files(tmp_path) == []
    with pytest.raises(Cancelled):
        await graph["in"].push(ones(1))


async def test_a_failure_is_raised_at_the_end_that_is_awaited() -> None:
    with pytest.raises(ElementError, match="boom"):
        async with failing() as graph:
            await blow_up(graph)
            async for _ in graph["out"]:
                pass
    assert graph.result is not None
    assert graph.result.status == "failed"


async def test_a_failure_ends_a_block_that_awaits_something_else() -> None:
    with pytest.raises(ElementError, match="boom"):
        async with failing() as graph:
            await blow_up(graph)
            await asyncio.sleep(3600)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0  # nothing of it is left on the program's task
    await asyncio.sleep(0)


async def test_a_failure_after_the_last_await_is_raised_by_the_block() -> None:
    with pytest.raises(ElementError, match="boom"):
        async with failing() as graph:
            await blow_up(graph)


async def test_a_failure_that_another_task_was_told_ends_the_block_too() -> None:
    async with asyncio.timeout(10):
        with pytest.raises(ElementError, match="boom"):
            async with failing() as graph:
                reading = asyncio.create_task(collect(graph["out"]))
                await blow_up(graph)
                await asyncio.Event().wait()
        with pytest.raises(ElementError, match="boom"):
            await reading


async def test_a_failure_inside_a_group_of_tasks_leaves_no_cancel_behind() -> None:
    async def read(graph: RunningGraph) -> None:
        await collect(graph["out"])

    with pytest.raises(ExceptionGroup) as caught:
        async with failing() as graph, asyncio.TaskGroup() as tasks:
            tasks.create_task(read(graph))
            await blow_up(graph)
            await asyncio.sleep(3600)
    assert caught.group_contains(ElementError, match="boom")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_graph_that_fails_as_soon_as_it_plays() -> None:
    line = "script fail_at=1 ! collect"
    with pytest.raises(MediaError, match="breaks off"):
        async with tolmach.open(line, registry=Registry.builtin().extended(*BOMBS)):
            await asyncio.sleep(3600)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_whoever_cancels_all_tasks_of_the_loop_ends_it_too() -> None:
    graph = await tolmach.open(STRAIGHT).start()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    with pytest.raises(Cancelled):
        await graph.wait()
    with pytest.raises(Cancelled):
        await anext(graph["out"])


async def test_a_time_limit_of_the_program_holds() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), tolmach.open(STRAIGHT) as graph:
            await anext(graph["out"])
    assert graph.result is not None
    assert graph.result.status == "cancelled"


async def test_a_failure_that_the_program_dealt_with_is_not_raised_again() -> None:
    async with failing() as graph:
        await blow_up(graph)
        with pytest.raises(ElementError, match="boom"):
            await collect(graph["out"])
        await asyncio.sleep(0.01)
    with pytest.raises(ElementError, match="boom"):
        await graph.wait()


async def test_a_failure_is_noted_on_another_error_of_the_program() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with failing() as graph:
            await blow_up(graph)
            try:
                await asyncio.sleep(3600)
            finally:
                raise ZeroDivisionError
    assert "boom" in caught.value.__notes__[0]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancel_from_outside_stays_one() -> None:
    inside: list[RunningGraph] = []

    async def program() -> None:
        async with tolmach.open(STRAIGHT) as graph:
            inside.append(graph)
            await asyncio.sleep(3600)

    task = asyncio.create_task(program())
    await until(lambda: bool(inside))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert inside[0].result is not None
    assert inside[0].result.status == "cancelled"


async def test_a_cancel_while_it_drains_stops_it() -> None:
    text = STRAIGHT.replace("app_src, caps: ", "test_src, pace: realtime, chunk_ms: 1000, duration_ms: 0} #")

    async def program() -> None:
        async with tolmach.open(text):
            await asyncio.sleep(0.05)  # the source now waits for the end of its first second
            leaving.set()

    leaving = asyncio.Event()
    task = asyncio.create_task(program())
    await leaving.wait()
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancel_during_the_start_leaves_nothing() -> None:
    task = asyncio.create_task(tolmach.open(STRAIGHT).start())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_twice_in_one_loop_and_several_at_once() -> None:
    async def program(samples: int) -> int:
        async with tolmach.open(STRAIGHT) as graph:
            await graph["in"].push(ones(samples))
            await graph["in"].end()
            return sum(len(frame.samples) for frame in await collect(graph["out"]))

    assert [await program(100), await program(200)] == [100, 200]
    assert await asyncio.gather(*(program(n) for n in range(300, 308))) == list(range(300, 308))


async def test_one_that_fails_is_nothing_to_another() -> None:
    async with tolmach.open(STRAIGHT) as healthy:
        with pytest.raises(ElementError, match="boom"):
            async with failing() as graph:
                await blow_up(graph)
                await asyncio.sleep(3600)
        await healthy["in"].push(ones(160))
        assert await anext(healthy["out"])


async def test_without_a_block() -> None:
    graph = await tolmach.open(STRAIGHT).start()
    await graph.input("in").push(ones(160))
    assert await anext(graph.output("out"))
    result = await graph.close()
    assert result.ok
    assert await graph.close() is result
    with pytest.raises(RuntimeError, match="opened once"):
        await graph.start()


async def test_without_a_block_a_failure_waits_to_be_told() -> None:
    graph = await failing().start()
    await blow_up(graph)
    await asyncio.sleep(0.01)
    with pytest.raises(ElementError, match="boom"):
        await graph.close()


async def test_what_was_not_started_says_so() -> None:
    graph = tolmach.open(STRAIGHT)
    for attempt in (graph.wait, graph.close):
        with pytest.raises(RuntimeError, match="not started"):
            await attempt()
    with pytest.raises(RuntimeError, match="not started"):
        graph["in"]


async def test_a_program_may_cancel() -> None:
    async with tolmach.open(STRAIGHT) as graph:
        graph.cancel()
        with pytest.raises(Cancelled):
            await anext(graph["out"])
        assert (await graph.wait()).status == "cancelled"


async def test_names_that_lead_nowhere() -> None:
    async with tolmach.open(STRAIGHT) as graph:
        with pytest.raises(GraphError, match=r"no app_src or app_sink named 'outt'; did you mean 'out'\?"):
            graph["outt"]
        with pytest.raises(GraphError, match="element 'out' is of type app_sink"):
            graph.input("out")
    async with tolmach.open(chain("test_src", "fake_sink")) as graph:
        with pytest.raises(GraphError, match=r"'e1' is of type fake_sink.*it has none"):
            graph["e1"]


async def test_a_resource_of_the_programs_own() -> None:
    with pytest.raises(GraphError, match="a resource cannot be called 'in'"):
        await tolmach.open(STRAIGHT, resources={"in": 1}).start()
