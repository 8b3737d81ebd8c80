"""A graph in a pipecat pipeline: what goes in, what comes out, what passes, what ends it."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    MetricsFrame,
    TextFrame,
    TranscriptionFrame,
    TranslationFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import ProcessingMetricsData, TTFBMetricsData
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from tests.until import no_task_left, until
from tolmach import GraphProcessor
from tolmach.pipelines.bus import TranslationMessage

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000
INTERPRETER = """\
version: 1
name: interpreter
params: {target: ru}
elements:
  in:    {type: app_src, caps: "audio/raw, rate=16000, channels=1"}
  vad:
    type: pipecat
    processor: "house_processors.processors:Loud"
    src: "audio/raw, segmented=true"
    pre_roll_ms: 20
  stt:
    type: pipecat
    processor: "house_processors.processors:Recogniser"
    sink: "audio/raw, rate=16000, channels=1, segmented=true"
    src: "text/x-translation, lang=${param:target}"
    source_lang: en
  fork:  {type: tee}
  texts: {type: app_sink}
  tts:
    type: pipecat
    processor: "house_processors.processors:Voice"
    sink: text/x-translation
    src: "audio/raw, rate=24000"
  sound: {type: app_sink}
links:
  - in -> vad -> stt -> fork -> texts
  - fork -> tts -> sound
"""


@pytest.fixture(autouse=True)
def house(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "data" / "house_processors"))
    logger.disable("pipecat")  # it was imported before Tolmach, as in a program of pipecat's
    return importlib.import_module("house_processors.processors")


def speech(length_ms: int) -> list[InputAudioRawFrame]:
    """Something loud, and a quiet frame behind it; 20 ms each."""
    loud = np.full(RATE // 50, 8000, "<i2").tobytes()
    quiet = bytes(len(loud))
    return [InputAudioRawFrame(loud if n else quiet, RATE, 1) for n in [1] * (length_ms // 20) + [0]]


class End(FrameProcessor):
    """The other end of the pipeline."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM:
            self.frames.append(frame)
        await self.push_frame(frame, direction)

    def of(self, *kinds: type[Frame]) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kinds)]


class Run:
    """A pipeline of one graph and an end, running."""

    def __init__(self, processor: GraphProcessor, **options: Any) -> None:
        self.end = End()
        self.errors: list[ErrorFrame] = []
        self.worker = PipelineWorker(
            Pipeline([processor, self.end]), enable_rtvi=False, idle_timeout_secs=None, **options
        )

        @self.worker.event_handler("on_pipeline_error")
        async def on_pipeline_error(_: PipelineWorker, frame: ErrorFrame) -> None:
            self.errors.append(frame)

    async def all(self, *frames: Frame) -> None:
        """Everything through to its end."""
        await self.worker.queue_frames([*frames, EndFrame()])

    async def over(self) -> None:
        await until(self.worker.has_finished)


@asynccontextmanager
async def running(processor: GraphProcessor, **options: Any) -> AsyncIterator[Run]:
    run = Run(processor, **options)
    async with no_task_left():
        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(run.worker)
        playing = asyncio.create_task(runner.run())
        try:
            async with asyncio.timeout(20):
                yield run
                await playing
        finally:
            if not playing.done():
                await run.worker.cancel()
                await playing


async def test_speech_goes_in_and_texts_and_a_voice_come_out():
    async with running(GraphProcessor(INTERPRETER, user_id="ann")) as run:
        await run.all(*speech(200), *speech(100))
    texts = run.end.of(TextFrame)
    assert [(type(t), t.text, t.language, t.user_id) for t in texts] == [
        (TranslationFrame, "220 ms", "ru", "ann"),
        (TranslationFrame, "120 ms", "ru", "ann"),
    ]
    assert texts[1].metadata["tolmach"] == {"utterance": 2, "pts_ns": 220_000_000, "end_ns": 340_000_000}
    assert texts[0].skip_tts  # the graph says it itself
    voice = run.end.of(TTSStartedFrame, TTSAudioRawFrame, TTSStoppedFrame)
    assert [(kind.__name__, len(list(run))) for kind, run in groupby(voice, type)] == [
        ("TTSStartedFrame", 1),
        ("TTSAudioRawFrame", 6),
        ("TTSStoppedFrame", 1),
    ] * 2
    assert {f.context_id for f in voice[:8]} != {f.context_id for f in voice[8:]}
    sound = run.end.of(TTSAudioRawFrame)[0]
    assert (sound.sample_rate, sound.num_channels) == (24_000, 1)
    assert np.frombuffer(sound.audio, "<i2")[0] == ord("2")
    assert isinstance(run.end.frames[-1], EndFrame)
    assert not run.errors


async def test_texts_in_the_language_that_was_spoken_are_transcriptions():
    async with running(GraphProcessor(INTERPRETER, params={"target": "en"})) as run:
        await run.all(*speech(100))
    (text,) = run.end.of(TextFrame)
    assert isinstance(text, TranscriptionFrame)
    assert text.finalized


async def test_the_pipeline_is_told_who_speaks_both_ways():
    seen: list[tuple[str, FrameDirection]] = []

    class Watch(BaseObserver):
        async def on_push_frame(self, data: FramePushed) -> None:
            if isinstance(data.source, GraphProcessor):
                seen.append((type(data.frame).__name__, data.direction))

    processor = GraphProcessor(INTERPRETER)
    async with running(processor, observers=[Watch()]) as run:
        await run.all(*speech(100))
    for kind in (VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame):
        assert {d for name, d in seen if name == kind.__name__} == set(FrameDirection)
    quiet = GraphProcessor(INTERPRETER, speech_frames=False)
    async with running(quiet) as run:
        await run.all(*speech(100))
    assert not run.end.of(VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame)
    assert run.end.of(TextFrame)


async def test_other_frames_pass_in_order_and_audio_only_on_request():
    others = [TextFrame(str(number)) for number in range(5)]
    async with running(GraphProcessor(INTERPRETER, audio_passthrough=True)) as run:
        await run.all(*others[:3], *speech(100), *others[3:])
    assert [f for f in run.end.frames if f in others] == others
    assert len(run.end.of(InputAudioRawFrame)) == 6
    async with running(GraphProcessor(INTERPRETER)) as run:
        await run.all(*speech(100))
    assert not run.end.of(InputAudioRawFrame)


async def test_metrics_are_those_of_one_processor():
    processor = GraphProcessor(INTERPRETER, name="interpreter")
    async with running(processor, params=PipelineParams(enable_metrics=True)) as run:
        await run.all(*speech(200))
    data = [each for frame in run.end.of(MetricsFrame) for each in frame.data if each.processor == "interpreter"]
    measured = [each for each in data if isinstance(each, TTFBMetricsData | ProcessingMetricsData) and each.value > 0]
    assert {type(each) for each in measured} == {TTFBMetricsData, ProcessingMetricsData}


async def test_an_interruption_throws_away_what_waits_to_be_spoken(house: Any, monkeypatch: pytest.MonkeyPatch):
    """Its text stays; what is said after the interruption is spoken."""
    gate = asyncio.Event()
    monkeypatch.setattr(house.Voice, "gate", gate)
    processor = GraphProcessor(INTERPRETER)
    async with running(processor) as run:
        await run.worker.queue_frames(speech(200))
        await until(lambda: bool(run.end.of(TextFrame)))
        await run.worker.queue_frames([InterruptionFrame()])
        await until(lambda: bool(run.end.of(InterruptionFrame)))
        gate.set()
        await run.all(*speech(100))
    assert [t.text for t in run.end.of(TextFrame)] == ["220 ms", "120 ms"]
    assert {f.metadata["tolmach"]["utterance"] for f in run.end.of(TTSAudioRawFrame)} == {2}
    assert len(run.end.of(TTSStartedFrame)) == len(run.end.of(TTSStoppedFrame)) == 1


async def test_cancel_overtakes_what_waits(house: Any, monkeypatch: pytest.MonkeyPatch):
    """The graph is stuck, its room is full, and pipecat's queue holds minutes."""
    monkeypatch.setattr(house.Voice, "gate", asyncio.Event())
    async with running(GraphProcessor(INTERPRETER)) as run:
        await run.worker.queue_frames([f for _ in range(200) for f in speech(200)])
        await until(lambda: bool(run.end.of(TextFrame)))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(5):
            await run.worker.cancel()
            await run.over()
    assert not run.end.of(TTSAudioRawFrame)
    assert run.end.of(CancelFrame)


async def test_audio_that_finds_no_room_is_thrown_away_where_that_was_asked(
    house: Any, monkeypatch: pytest.MonkeyPatch
):
    gate = asyncio.Event()
    monkeypatch.setattr(house.Voice, "gate", gate)
    processor = GraphProcessor(INTERPRETER, leaky=True)
    async with running(processor) as run:
        for _ in range(100):  # 22 s, with a second of room
            await run.worker.queue_frames(speech(200))
            await asyncio.sleep(0)
        await until(lambda: bool(run.errors))
        gate.set()
        await run.all(TextFrame("behind"))
    assert [e.error for e in run.errors] == [
        "in: the graph is slower than the audio that comes; some of it is thrown away"
    ]
    assert 1 <= len(run.end.of(TranslationFrame)) < 100
    assert processor.is_usable


async def test_what_an_element_loses_is_told_and_the_graph_goes_on():
    stumbling = INTERPRETER.replace("processors:Recogniser", "processors:Stumbling").replace(
        "    source_lang: en",
        "    source_lang: en\n    arguments: {limit: 9000}\n    answer_timeout_ms: 100\n    on_error: skip",
    )
    loud = [InputAudioRawFrame(f.audio.replace(b"\x40\x1f", b"\x40\x2f"), RATE, 1) for f in speech(100)]
    processor = GraphProcessor(stumbling)
    async with running(processor) as run:
        await run.all(*speech(100), *loud, *speech(100))
    assert [e.error for e in run.errors] == ["stt: ValueError: it is too loud"]
    assert processor.is_usable


async def test_what_fails_the_graph_is_a_permanent_error_and_the_pipeline_decides():
    failing = INTERPRETER.replace("processors:Recogniser", "processors:Stumbling").replace(
        "    source_lang: en", "    source_lang: en\n    arguments: {limit: 7000}"
    )
    processor = GraphProcessor(failing)
    async with running(processor, processor_unusable_policy=ProcessorUnusablePolicy.CANCEL) as run:
        await run.worker.queue_frames(speech(100))
        await run.over()
    assert "it is too loud" in run.errors[0].error
    assert not processor.is_usable


async def test_audio_of_another_rate_is_told_what_to_do():
    processor = GraphProcessor(INTERPRETER)
    async with running(processor) as run:
        await run.all(InputAudioRawFrame(bytes(1920), 48_000, 1), TextFrame("behind"))
    assert "in takes audio/raw" in run.errors[0].error
    assert "resample" in run.errors[0].error
    assert [t.text for t in run.end.of(TextFrame)] == ["behind"]


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ("no-such-graph", "no-such-graph"),
        (INTERPRETER.replace("type: tee", "type: tea"), "no element type named 'tea'"),
        (INTERPRETER.replace("processors:Voice", "processors:Vioce"), "did you mean 'Voice'"),
        (
            INTERPRETER.replace(
                '{type: app_src, caps: "audio/raw, rate=16000, channels=1"}', "{type: test_src, rate_hz: 16000}"
            ),
            "begins with one app_src, and 'interpreter' has none",
        ),
    ],
)
async def test_a_graph_that_cannot_start_is_told_and_the_pipeline_passes_frames(graph: str, said: str):
    processor = GraphProcessor(graph)
    async with running(processor) as run:
        await run.all(*speech(100), TextFrame("behind"))
    assert said in run.errors[0].error
    assert not processor.is_usable
    assert [t.text for t in run.end.of(TextFrame)] == ["behind"]


async def test_a_pipeline_can_be_cancelled_while_the_graph_starts():
    processor = GraphProcessor(INTERPRETER.replace("processors:Voice", "processors:Connecting"))
    async with running(processor) as run:
        await asyncio.sleep(0.3)
        async with asyncio.timeout(5):
            await run.worker.cancel()
            await run.over()
    assert not run.end.frames


async def test_setting_up_that_takes_too_long_is_given_up_by_pipecat():
    processor = GraphProcessor(INTERPRETER.replace("processors:Voice", "processors:Connecting"))
    async with running(processor, setup_timeout_secs=0.5) as run, asyncio.timeout(10):
        await run.over()
    assert not run.end.frames


async def test_the_graphs_bus_can_be_heard():
    processor, said = GraphProcessor(INTERPRETER), []
    processor.bus.subscribe(said.append)
    async with running(processor) as run:
        await run.all(*speech(100))
    assert [m.frame.text for m in said if isinstance(m, TranslationMessage)] == ["120 ms"]
