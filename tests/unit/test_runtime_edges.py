"""The runtime at its awkward moments: start-up, failing sources and tasks, cancel twice, end of stream out of step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from tests.unit.handmade import chain, graph
from tolmach.pipelines.bus import Bus, EosMessage, ErrorMessage, LatencyMessage, Message, StateMessage
from tolmach.pipelines.element import Element, ElementSpec, Pad, Settings, SourceElement
from tolmach.pipelines.errors import ElementError, GraphError, MediaError
from tolmach.pipelines.frames import AudioFrame, Frame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.ordered import OrderedJobs
from tolmach.pipelines.runtime import runner as runner_module
from tolmach.pipelines.runtime import tracing
from tolmach.pipelines.runtime.pipecat_api import BaseObserver
from tolmach.pipelines.runtime.runner import MAX_MESSAGES, GraphRunner, RunResult

Hook = Callable[[Any], Awaitable[None]]
HOOKS: dict[str, Any] = {}
"""What the scripted elements of the test at hand do, by name of the hook."""

TAKEN: dict[str, list[Frame]] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    HOOKS.clear()
    TAKEN.clear()


class NoSettings(Settings):
    """Nothing to set."""


class Source(SourceElement):
    """Produces as the hook says."""

    async def start(self) -> None:
        if "source_start" in HOOKS:
            await HOOKS["source_start"](self)

    async def produce(self) -> None:
        await HOOKS["produce"](self)


class Middle(Element):
    """Starts, processes and stops as the hooks say."""

    async def start(self) -> None:
        if "start" in HOOKS:
            await HOOKS["start"](self)

    async def process(self, frame: Frame, pad: str) -> None:
        if "process" in HOOKS:
            await HOOKS["process"](self, frame)
        else:
            await self.context.push(frame)

    async def stop(self) -> None:
        if "stop" in HOOKS:
            await HOOKS["stop"](self)

    @property
    def latency_ns(self) -> int:
        return 30_000_000


class Sink(Element):
    """Keeps its frames."""

    async def process(self, frame: Frame, pad: str) -> None:
        TAKEN.setdefault(self.context.name, []).append(frame)

    async def drain(self) -> None:
        if "drain" in HOOKS:
            await HOOKS["drain"](self)


def _spec(kind: str, runtime: str, *pads: Pad) -> ElementSpec:
    return ElementSpec(type=kind, summary=kind, settings=NoSettings, pads=pads, build=f"{__name__}:{runtime}")


AUDIO = "audio/raw, rate=16000, channels=1, segmented=true"
SPECS = (
    _spec("source", "Source", Pad.src(AUDIO)),
    _spec("middle", "Middle", Pad.sink("audio/raw"), Pad.src(like="sink")),
    _spec("sink", "Sink", Pad.sink()),
    ElementSpec(type="absent", summary="x", settings=NoSettings, pads=(Pad.sink(),), build="no_such_package:Absent"),
)


def audio(number: int = 0, utterance: int | None = None) -> AudioFrame:
    return AudioFrame(np.zeros((160, 1), np.float32), 16000, number * 10_000_000, utterance)


async def nothing(element: Any) -> None:
    """Produces nothing."""


async def ten(element: Any) -> None:
    for number in range(10):
        await element.context.push(audio(number))


def line(*elements: object) -> Graph:
    return chain(*elements, specs=SPECS)  # type: ignore[arg-type]


async def run(*elements: object) -> RunResult:
    return await asyncio.wait_for(GraphRunner(line(*elements)).run(), 30)


# Start-up -----------------------------------------------------------------------------------------------------------


async def test_a_task_that_fails_while_others_start_fails_the_run() -> None:
    async def fail(element: Any) -> None:
        raise MediaError("the device went away", at_ns=5)

    async def slow(element: Any) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def start(element: Any) -> None:
        element.context.spawn(fail(element), "watch")

    HOOKS.update(start=start, source_start=slow, produce=ten)
    result = await run("source", "middle", "sink")
    assert result.status == "failed"
    assert result.errors[0].pts_ns == 5, "the error's own media time stands in the message"
    assert not TAKEN


async def test_a_bug_in_start_is_an_error_of_that_element() -> None:
    async def start(element: Any) -> None:
        raise KeyError("weights")

    HOOKS.update(start=start, produce=ten)
    bus = Bus()
    errors: list[Message] = []
    bus.subscribe(lambda m: errors.append(m) if isinstance(m, ErrorMessage) else None)
    with pytest.raises(ElementError, match="'e1' failed: KeyError: 'weights'") as caught:
        await GraphRunner(line("source", "middle", "sink"), bus=bus).run()
    assert isinstance(caught.value.__cause__, KeyError)
    assert [e.element for e in errors] == ["e1"]


async def test_an_element_whose_package_is_missing_is_told() -> None:
    HOOKS.update(produce=ten)
    bus = Bus()
    with pytest.raises(GraphError, match=r"'e1' cannot be loaded: No module named 'no_such_package'"):
        await GraphRunner(line("source", "absent"), bus=bus).run()
    assert bus._subscribers == [], "a run that cannot begin leaves nobody on the bus"


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_cancel_while_a_model_loads_however_often(times: int) -> None:
    stopped: list[str] = []

    async def start(element: Any) -> None:
        for _ in range(times):  # the later ones arrive while the elements are stopped
            asyncio.get_running_loop().call_soon(runner.cancel)
        await asyncio.Event().wait()

    async def stop(element: Any) -> None:
        await asyncio.sleep(0)
        runner.cancel()
        await asyncio.sleep(0)
        stopped.append(element.context.name)

    HOOKS.update(start=start, stop=stop, produce=ten)
    runner = GraphRunner(line("source", "middle", "sink"))
    task = asyncio.create_task(runner.run())
    result = await asyncio.wait_for(task, 30)
    assert result.status == "cancelled"
    assert stopped
    assert task.cancelling() == 0, "the caller's task was never cancelled"


async def test_cancel_from_a_subscriber_in_the_last_step_of_start() -> None:
    async def start(element: Any) -> None:
        runner.cancel()

    HOOKS.update(start=start, produce=ten)
    runner = GraphRunner(line("source", "middle", "sink"))
    result = await asyncio.wait_for(runner.run(), 30)
    assert result.status == "cancelled"
    assert not TAKEN


@pytest.mark.parametrize("state", ["ready", "playing"])
async def test_cancel_at_every_state(state: str) -> None:
    HOOKS.update(produce=ten)
    runner = GraphRunner(line("source", "queue", "sink"))
    runner.bus.subscribe(lambda m: runner.cancel() if isinstance(m, StateMessage) and m.state == state else None)
    before = asyncio.all_tasks()
    result = await asyncio.wait_for(runner.run(), 30)
    assert result.status == "cancelled"
    assert asyncio.all_tasks() - before == set()


async def test_finish_during_start_up_is_not_forgotten() -> None:
    # test_src clears its own flag in start(), as any source may.
    runner = GraphRunner(line(("test_src", {"duration_ms": 0}), "middle", "sink"))

    async def start(element: Any) -> None:
        runner.finish()

    HOOKS.update(start=start)
    result = await asyncio.wait_for(runner.run(), 30)
    assert result.status == "done"


async def test_finish_before_the_run_holds() -> None:
    runner = GraphRunner(line(("test_src", {"duration_ms": 0}), "sink"))
    runner.finish()
    assert (await asyncio.wait_for(runner.run(), 30)).status == "done"


async def test_a_runner_runs_once() -> None:
    HOOKS.update(produce=nothing)
    runner = GraphRunner(line("source", "sink"))
    assert (await runner.run()).ok
    with pytest.raises(RuntimeError, match="runs once"):
        await runner.run()


# Failure ------------------------------------------------------------------------------------------------------------


async def test_a_source_under_skip_ends_its_stream_instead_of_failing_for_ever() -> None:
    calls = 0

    async def produce(element: Any) -> None:
        nonlocal calls
        calls += 1
        await element.context.push(audio())
        raise MediaError("broken")

    HOOKS.update(produce=produce)
    result = await run(("source", {"on_error": "skip"}), "sink")
    assert (result.status, result.ok, calls) == ("done", False, 1)
    assert len(TAKEN["e1"]) == 1


async def test_a_source_under_restart_begins_again_a_few_times() -> None:
    calls = 0

    async def produce(element: Any) -> None:
        nonlocal calls
        calls += 1
        raise MediaError("broken")

    HOOKS.update(produce=produce)
    result = await run(("source", {"on_error": "restart"}), "sink")
    assert result.status == "failed"
    assert calls == 6


async def test_skipping_one_utterance_leaves_another_open_that_is_still_on_its_way_out() -> None:
    async def produce(element: Any) -> None:
        await element.context.push(UtteranceStart(1, 0))
        await element.context.push(UtteranceStart(2, 50))

    async def process(element: Any, frame: Frame) -> None:
        if frame.utterance == 2:
            raise ValueError("boom")
        await element.context.push(frame)

    HOOKS.update(produce=produce, process=process)
    result = await run("source", ("middle", {"on_error": "skip"}), "sink")
    assert [e.error for e in result.errors] == ["ValueError"]
    assert result.errors[0].text == "ValueError: boom"
    assert TAKEN["e2"] == [UtteranceStart(1, 0)]


async def test_a_task_that_fails_closes_every_open_utterance() -> None:
    async def produce(element: Any) -> None:
        await element.context.push(UtteranceStart(1, 10))
        await done.wait()

    async def process(element: Any, frame: Frame) -> None:
        await element.context.push(frame)
        element.context.spawn(fail(), "job")

    async def fail() -> None:
        done.set()
        raise ValueError("boom")

    done = asyncio.Event()
    HOOKS.update(produce=produce, process=process)
    await run("source", ("middle", {"on_error": "skip"}), "sink")
    assert TAKEN["e2"] == [UtteranceStart(1, 10), UtteranceEnd(1, 10, 10, "error")]


async def test_restart_ends_the_tasks_of_the_element() -> None:
    alive = 0
    most = 0

    async def pump() -> None:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        try:
            await asyncio.Event().wait()
        finally:
            alive -= 1

    async def start(element: Any) -> None:
        element.context.spawn(pump(), "pump")

    async def process(element: Any, frame: Frame) -> None:
        await asyncio.sleep(0)
        if frame.pts_ns == 30_000_000:
            raise ValueError("boom")
        await element.context.push(frame)

    HOOKS.update(start=start, process=process, produce=ten)
    result = await run("source", ("middle", {"on_error": "restart"}), "sink")
    assert result.status == "done"
    assert (most, alive) == (1, 0)
    assert len(TAKEN["e2"]) == 9


@pytest.mark.parametrize("policy", ["skip", "restart"])
async def test_an_element_that_cannot_recover_fails_the_graph(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(element: Middle, utterance: int | None = None) -> None:
        raise KeyError("state")

    async def process(element: Any, frame: Frame) -> None:
        monkeypatch.setattr(Middle, "reset", broken)
        HOOKS["start"] = broken
        raise ValueError("boom")

    HOOKS.update(process=process, produce=ten)
    result = await run("source", ("middle", {"on_error": policy}), "sink")
    assert result.status == "failed"
    assert [e.error for e in result.errors] == ["ValueError", "KeyError"]


@pytest.mark.filterwarnings("error")
async def test_a_task_stopped_before_its_first_step_leaves_no_warning() -> None:
    async def never() -> None:
        raise AssertionError("must not run")

    async def start(element: Any) -> None:
        element.context.spawn(never(), "never")
        raise MediaError("cannot open")

    HOOKS.update(start=start, produce=ten)
    with pytest.raises(MediaError, match="cannot open"):
        await GraphRunner(line("source", "middle", "sink")).run()


async def test_a_task_spawned_while_the_element_stops_is_not_left_behind() -> None:
    async def late() -> None:
        await asyncio.Event().wait()

    async def stop(element: Any) -> None:
        element.context.spawn(late(), "late")

    HOOKS.update(stop=stop, produce=ten)
    before = asyncio.all_tasks()
    assert (await run("source", "middle", "sink")).ok
    assert asyncio.all_tasks() - before == set()


async def test_of_two_sinks_one_fails_in_drain() -> None:
    async def drain(element: Any) -> None:
        if element.context.name == "bad":
            raise MediaError("disk full")

    HOOKS.update(drain=drain, produce=ten)
    for policy, status in (("fail", "failed"), ("skip", "done")):
        g = graph(
            {"in": ("source", {}), "t": ("tee", {}), "bad": ("sink", {"on_error": policy}), "good": ("sink", {})},
            ["in -> t -> bad", "t -> good"],
            specs=SPECS,
        )
        result = await asyncio.wait_for(GraphRunner(g).run(), 30)
        assert (result.status, result.ok) == (status, False)
        assert [e.element for e in result.errors] == ["bad"]


async def test_an_element_that_fails_on_every_frame_does_not_fill_the_memory() -> None:
    async def produce(element: Any) -> None:
        for number in range(MAX_MESSAGES + 50):
            await element.context.push(audio(number))

    async def process(element: Any, frame: Frame) -> None:
        raise MediaError("again")

    HOOKS.update(produce=produce, process=process)
    result = await run("source", ("middle", {"on_error": "skip"}), "sink")
    assert len(result.errors) == MAX_MESSAGES


# Cancel and what others see -----------------------------------------------------------------------------------------


async def test_a_caller_that_survived_a_cancel_of_its_own_may_run_a_graph() -> None:
    HOOKS.update(produce=ten)

    async def survivor() -> RunResult:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await GraphRunner(line("source", "sink")).run()

    task = asyncio.create_task(survivor())
    await asyncio.sleep(0)
    task.cancel()
    assert (await asyncio.wait_for(task, 30)).ok


@pytest.mark.parametrize("how", ["cancel", "task", "finish"])
async def test_a_run_ends_clean_at_whatever_moment_it_is_stopped(how: str) -> None:
    before = asyncio.all_tasks()
    for moment in range(40):
        runner = GraphRunner(line(("test_src", {"duration_ms": 3000}), ("queue", {"max_frames": 2}), "sink"))
        task = asyncio.create_task(runner.run())
        for _ in range(moment):
            await asyncio.sleep(0)
        stops: dict[str, Callable[[], object]] = {
            "cancel": runner.cancel, "task": task.cancel, "finish": runner.finish
        }  # fmt: skip
        stops[how]()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
        assert asyncio.all_tasks() - before == set(), moment


async def test_cancel_while_a_full_queue_holds_the_source_up() -> None:
    full = asyncio.Event()

    async def process(element: Any, frame: Frame) -> None:
        full.set()
        await asyncio.Event().wait()

    HOOKS.update(process=process, produce=ten)
    runner = GraphRunner(line("source", ("queue", {"max_frames": 1}), "middle", "sink"))
    before = asyncio.all_tasks()
    task = asyncio.create_task(runner.run())
    await full.wait()
    runner.cancel()
    runner.cancel()
    assert (await asyncio.wait_for(task, 30)).status == "cancelled"
    assert asyncio.all_tasks() - before == set()


async def test_latency_is_that_of_the_slowest_path() -> None:
    HOOKS.update(produce=ten)
    g = graph(
        {"in": ("source", {}), "t": ("tee", {}), "a": ("middle", {}), "b": ("middle", {}), "slow": ("sink", {}),
         "fast": ("sink", {})},
        ["in -> t -> a -> b -> slow", "t -> fast"],
        specs=SPECS,
    )  # fmt: skip
    heard: list[Message] = []
    runner = GraphRunner(g)
    runner.bus.subscribe(lambda m: heard.append(m) if isinstance(m, LatencyMessage | EosMessage) else None)
    assert (await runner.run()).ok
    (graph_name,) = {m.graph for m in heard}
    latency = LatencyMessage(60_000_000, graph=graph_name)
    assert heard == [latency, latency, EosMessage(graph=graph_name)]


async def test_a_pipecat_observer_sees_every_media_frame() -> None:
    seen: list[str] = []

    class Watch(BaseObserver):
        async def on_process_frame(self, data: Any) -> None:
            seen.append(type(data.frame).__name__)

        async def on_push_frame(self, data: Any) -> None:
            pass

    HOOKS.update(produce=ten)
    runner = GraphRunner(line("source", "middle", "sink"), observers=[Watch()])
    assert (await runner.run()).ok
    assert seen.count("MediaFrame") == 22, "ten frames and the end of stream, at two elements"


async def test_a_run_ends_although_every_task_of_the_loop_is_cancelled_at_once() -> None:
    """As ``asyncio.run`` does when its main coroutine raises: those that carry pipecat's CancelFrame too."""
    playing = asyncio.Event()

    async def endless(source: Any) -> None:
        playing.set()
        await asyncio.Event().wait()

    HOOKS.update(produce=endless)
    before = asyncio.all_tasks()
    run = asyncio.create_task(GraphRunner(line("source", ("queue", {"max_frames": 1}), "middle", "sink")).run())
    await playing.wait()
    for task in asyncio.all_tasks() - before:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 30)
    assert asyncio.all_tasks() - before == set()


# Figures --------------------------------------------------------------------------------------------------------------


class Clock:
    """Stands for the wall clock; work takes as long as the element says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        for module in (tracing, runner_module):
            monkeypatch.setattr(module, "time", self)

    def perf_counter(self) -> float:
        return self.now_s

    def takes(self, seconds: float) -> None:
        self.now_s += seconds


async def test_work_on_a_host_belongs_to_its_element_and_shares_add_up_to_the_wall_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    answered = asyncio.Event()

    async def inference(frame: AudioFrame) -> AudioFrame:
        await asyncio.sleep(0)
        clock.takes(5.0)
        return frame

    async def start(element: Any) -> None:
        async def emit(frame: AudioFrame) -> None:
            answered.set()
            await element.context.push(frame)

        element.jobs = OrderedJobs(element.context, 1, emit)

    async def process(element: Any, frame: AudioFrame) -> None:
        clock.takes(0.25)
        await element.jobs.submit(inference(frame))

    async def produce(element: Any) -> None:
        clock.takes(1.0)
        await element.context.push(audio(0))
        # Until the answer is there this source waits, and is at work as far as anybody can tell; a host is, too.
        await answered.wait()

    HOOKS.update(start=start, process=process, produce=produce)
    result = await GraphRunner(line("source", "middle", "sink"), trace=True).run()
    assert result.ok
    source, middle, sink = result.elements.values()
    assert result.playing_s == pytest.approx(6.25)
    assert middle["busy_s"] == pytest.approx(5.25)
    assert middle["share_s"] + source["share_s"] == pytest.approx(6.25)
    assert source["share_s"] == pytest.approx(1.0 + 2.5), "two at work share the moment"
    assert sink["share_s"] == 0
    assert sum(s["share_s"] for s in result.elements.values()) + result.waiting_s == pytest.approx(result.playing_s)


async def test_time_in_which_no_element_works_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    runner = GraphRunner(line("source", "middle", "sink"), trace=True)
    runner.bus.subscribe(lambda m: clock.takes(3.0) if isinstance(m, StateMessage) and m.state == "playing" else None)
    HOOKS.update(produce=ten)
    result = await runner.run()
    assert (result.waiting_s, result.playing_s) == (pytest.approx(3.0), pytest.approx(3.0))
    assert all(figures["share_s"] == 0 for figures in result.elements.values())
