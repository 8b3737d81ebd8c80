"""The runtime: order, back-pressure, end of stream, failure policies, cancel; real pipecat underneath."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from tests.unit.handmade import chain, graph
from tolmach.pipelines.bus import Bus, EosMessage, Message, PositionMessage
from tolmach.pipelines.element import Element, ElementSpec, Field, Pad, Settings, SourceElement
from tolmach.pipelines.errors import GraphError, MediaError
from tolmach.pipelines.frames import AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult

RATE = 16000


class ScriptSettings(Settings):
    """What the scripted source sends."""

    utterances: int = Field(3, ge=0, description="Utterances to send.")
    fail_at: int = Field(0, ge=0, description="Raise after this utterance; 0 for never.")


class ScriptSource(SourceElement):
    """Utterances of three 10 ms frames each."""

    async def produce(self) -> None:
        for number in range(1, self.settings.utterances + 1):
            start = number * 1_000_000_000
            await self.context.push(UtteranceStart(number, start))
            for i in range(3):
                samples = np.full((160, 1), number, np.float32)
                await self.context.push(AudioFrame(samples, RATE, start + i * 10_000_000, number))
            await self.context.push(UtteranceEnd(number, start, start + 30_000_000))
            if number == self.settings.fail_at:
                raise MediaError("the script breaks off here", at_ns=start)


class BombSettings(Settings):
    """When the bomb goes off."""

    utterance: int = Field(2, description="Utterance whose second audio frame fails.")
    times: int = Field(1, description="How often.")


class Bomb(Element):
    """Passes everything on until it meets its utterance."""

    starts = 0
    stops = 0

    async def start(self) -> None:
        type(self).starts += 1
        self._seen = 0
        self._left = getattr(self, "_left", self.settings.times)

    async def stop(self) -> None:
        type(self).stops += 1

    async def process(self, frame: Frame, pad: str) -> None:
        if isinstance(frame, AudioFrame) and frame.utterance == self.settings.utterance:
            self._seen += 1
            if self._seen == 2 and self._left > 0:
                self._left -= 1
                raise ValueError("boom")
        await self.context.push(frame)


class CollectSettings(Settings):
    """Nothing to set."""


class Collect(Element):
    """Keeps all frames; tests read them through :data:`COLLECTED`."""

    async def start(self) -> None:
        COLLECTED[self.context.name] = self.frames = []
        ENDED.discard(self.context.name)

    async def process(self, frame: Frame, pad: str) -> None:
        self.frames.append(frame)

    async def drain(self) -> None:
        ENDED.add(self.context.name)


COLLECTED: dict[str, list[Frame]] = {}
ENDED: set[str] = set()


def _spec(kind: str, runtime: str, settings: type[Settings], pads: tuple[Pad, ...]) -> ElementSpec:
    return ElementSpec(type=kind, summary=kind, settings=settings, pads=pads, build=f"{__name__}:{runtime}")


AUDIO = "audio/raw, rate=16000, channels=1, segmented=true"
SPECS = (
    _spec("script", "ScriptSource", ScriptSettings, (Pad.src(AUDIO),)),
    _spec("bomb", "Bomb", BombSettings, (Pad.sink(AUDIO), Pad.src(AUDIO))),
    _spec("collect", "Collect", CollectSettings, (Pad.sink(),)),
)


async def run(*elements: object, bus: Bus | None = None) -> RunResult:
    return await GraphRunner(chain(*elements, specs=SPECS), bus=bus).run()  # type: ignore[arg-type]


def kinds(frames: Sequence[Frame]) -> list[tuple[str, int | None]]:
    return [(type(f).__name__, f.utterance) for f in frames]


async def test_frames_arrive_in_order_and_end_of_stream_reaches_the_sink() -> None:
    result = await run(("script", {"utterances": 2}), "identity", "queue", "collect")
    assert result.ok
    one = ["UtteranceStart", "AudioFrame", "AudioFrame", "AudioFrame", "UtteranceEnd"]
    assert kinds(COLLECTED["e3"]) == [(k, 1) for k in one] + [(k, 2) for k in one]
    assert "e3" in ENDED


async def test_every_branch_of_a_tee_gets_every_frame_and_its_own_end() -> None:
    g = graph(
        {"in": ("script", {"utterances": 5}), "fork": ("tee", {}), "q": ("queue", {"max_frames": 1}),
         "a": ("collect", {}), "b": ("collect", {})},
        ["in -> fork -> q -> a", "fork -> b"],
        specs=SPECS,
    )  # fmt: skip
    result = await GraphRunner(g).run()
    assert result.ok
    assert kinds(COLLECTED["a"]) == kinds(COLLECTED["b"])
    assert len(COLLECTED["a"]) == 25
    assert {"a", "b"} <= ENDED


async def test_a_funnel_ends_only_after_all_its_inputs() -> None:
    g = graph(
        {"short": ("script", {"utterances": 1}), "long": ("script", {"utterances": 20}), "join": ("funnel", {}),
         "out": ("collect", {})},
        ["short -> join -> out", "long -> join"],
        specs=SPECS,
    )  # fmt: skip
    result = await GraphRunner(g).run()
    assert result.ok
    assert len(COLLECTED["out"]) == 5 + 100


async def test_an_element_that_fails_fails_the_graph_and_says_where() -> None:
    result = await run("script", "bomb", "collect")
    assert result.status == "failed"
    (error,) = result.errors
    assert error.element == "e1"
    assert error.pts_ns == 2_010_000_000
    assert error.policy == "fail"
    assert "e1" in str(result.error)
    assert "boom" in str(result.error)
    assert not ENDED & {"e2"}, "a sink of a failed graph must not believe its file whole"


async def test_skip_drops_the_rest_of_the_utterance_and_closes_it_downstream() -> None:
    result = await run("script", ("bomb", {"on_error": "skip"}), "collect")
    assert result.status == "done"
    assert not result.ok, "a skipped utterance is reported, not hidden"
    frames = COLLECTED["e2"]
    whole = ["UtteranceStart", "AudioFrame", "AudioFrame", "AudioFrame", "UtteranceEnd"]
    assert kinds(frames) == (
        [(k, 1) for k in whole]
        + [("UtteranceStart", 2), ("AudioFrame", 2), ("UtteranceEnd", 2)]
        + [(k, 3) for k in whole]
    )
    assert [f.reason for f in frames if isinstance(f, UtteranceEnd)] == ["silence", "error", "silence"]


async def test_restart_stops_and_starts_the_element_again() -> None:
    Bomb.starts = Bomb.stops = 0
    result = await run("script", ("bomb", {"on_error": "restart"}), "collect")
    assert result.status == "done"
    assert Bomb.starts == 2
    assert any("restarted" in w.text for w in result.warnings)
    assert [f.utterance for f in COLLECTED["e2"] if isinstance(f, UtteranceEnd)] == [1, 2, 3]


async def test_an_element_that_never_recovers_is_not_restarted_for_ever() -> None:
    class_bombs = ("bomb", {"on_error": "restart", "times": 1000, "utterance": 1})
    # Each restart re-arms the bomb for the next run of the same utterance number.
    g = graph(
        {**{f"s{i}": ("script", {"utterances": 1}) for i in range(8)}, "join": ("funnel", {}),
         "bomb": class_bombs, "out": ("collect", {})},
        [*(f"s{i} -> join" for i in range(8)), "join -> bomb -> out"],
        specs=SPECS,
    )  # fmt: skip
    result = await GraphRunner(g).run()
    assert result.status in ("failed", "done")
    assert sum("restarted" in w.text for w in result.warnings) <= 5


async def test_a_source_that_breaks_off_fails_the_graph_with_its_own_words() -> None:
    result = await run(("script", {"fail_at": 2}), "collect")
    assert result.status == "failed"
    assert isinstance(result.error, MediaError)


async def test_cancel_overtakes_a_full_queue_and_leaves_no_task() -> None:
    runner = GraphRunner(chain(("test_src", {"duration_ms": 0}), ("queue", {"max_ms": 100}), "collect", specs=SPECS))
    before = asyncio.all_tasks()

    def cancel_soon(message: Message) -> None:
        if isinstance(message, PositionMessage):
            runner.cancel()

    runner.bus.subscribe(cancel_soon)
    result = await runner.run()
    assert result.status == "cancelled"
    assert "e2" not in ENDED
    assert asyncio.all_tasks() - before == set()


async def test_finish_ends_an_endless_source_gracefully() -> None:
    runner = GraphRunner(chain(("test_src", {"duration_ms": 0}), "queue", "collect", specs=SPECS))
    runner.bus.subscribe(lambda m: runner.finish() if isinstance(m, PositionMessage) else None)
    result = await runner.run()
    assert result.status == "done"
    assert "e2" in ENDED


async def test_cancelling_the_task_that_runs_a_graph_stops_its_elements() -> None:
    runner = GraphRunner(chain(("test_src", {"duration_ms": 0}), "identity", "collect", specs=SPECS))
    playing = asyncio.Event()
    runner.bus.subscribe(lambda m: playing.set() if isinstance(m, PositionMessage) else None)
    before = asyncio.all_tasks()
    task = asyncio.create_task(runner.run())
    await playing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() - before == set()


async def test_an_element_that_cannot_start_raises_and_the_others_are_stopped() -> None:
    class Never(Bomb):
        async def start(self) -> None:
            raise MediaError("cannot open")

    spec = ElementSpec(
        type="never", summary="x", settings=BombSettings, pads=(Pad.src(AUDIO),), build=f"{__name__}:NEVER"
    )
    globals()["NEVER"] = Never
    Bomb.stops = 0
    runner = GraphRunner(chain("never", "bomb", "collect", specs=(*SPECS, spec)))
    with pytest.raises(MediaError, match="cannot open"):
        await runner.run()
    assert Bomb.stops == 2, "the element that failed and the one that had started"


async def test_a_source_does_not_starve_the_event_loop() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(tick())
    await run(("test_src", {"duration_ms": 20_000}), "identity", "collect")
    other.cancel()
    assert ticks > 10


async def test_a_long_chain_runs_and_one_too_long_for_the_stack_is_refused() -> None:
    result = await run(("test_src", {"duration_ms": 100}), *["identity"] * 95, "collect")
    assert result.ok
    assert len(COLLECTED["e96"]) == 5
    with pytest.raises(GraphError, match="put a queue in between"):
        await run("test_src", *["identity"] * 200, "collect")
    result = await run(("test_src", {"duration_ms": 100}), *["identity"] * 90, "queue", *["identity"] * 90, "collect")
    assert len(COLLECTED["e182"]) == 5


async def test_a_frame_that_pipecat_cannot_deliver_fails_the_graph() -> None:
    # A recursion error rises in pipecat's own code between two elements, where pipecat would log it and go on.
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 120)
    try:
        result = await run(("test_src", {"duration_ms": 100}), *["identity"] * 90, "collect")
    finally:
        sys.setrecursionlimit(limit)
    assert result.status == "failed"
    assert "RecursionError" in str(result.error)


async def test_memory_stays_flat_over_a_long_stream() -> None:
    g = chain(("test_src", {"duration_ms": 600_000, "wave": "silence"}), "queue", "fake_sink")
    counts: list[int] = []
    COLLECTED.clear()

    def count(message: Message) -> None:
        if isinstance(message, PositionMessage) and message.pts_ns and message.pts_ns % 60_000_000_000 < 1_000_000_000:
            gc.collect()
            counts.append(sum(isinstance(o, AudioFrame) for o in gc.get_objects()))

    runner = GraphRunner(g)
    runner.bus.subscribe(count)
    assert (await runner.run()).ok
    assert max(counts, default=0) <= 60, "at most what the queue may hold is alive"


async def test_two_graphs_in_one_loop_do_not_touch_each_other() -> None:
    bad = GraphRunner(chain("script", "bomb", "collect", specs=SPECS))
    good = GraphRunner(graph({"in": ("script", {"utterances": 50}), "o": ("collect", {})}, ["in -> o"], specs=SPECS))
    failed, done = await asyncio.gather(bad.run(), good.run())
    assert failed.status == "failed"
    assert done.ok
    assert len(COLLECTED["o"]) == 250


async def test_a_subscriber_that_fails_does_not_hurt_the_graph() -> None:
    bus = Bus()
    heard: list[Message] = []

    def broken(message: Message) -> None:
        raise RuntimeError("subscriber")

    bus.subscribe(broken)
    bus.subscribe(heard.append)
    result = await run("script", "collect", bus=bus)
    assert result.ok
    assert any(isinstance(m, EosMessage) for m in heard)


async def test_translation_frames_travel_too() -> None:
    frame = TranslationFrame(1, 0, 1, "en", "ru", "привет")
    assert frame.final
    result = await run(("test_src", {"duration_ms": 40}), "collect")
    assert result.ok
