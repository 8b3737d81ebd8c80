"""A graph as one of pipecat's processors: between the two ends of a transport, or anywhere in a pipeline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tolmach.pipelines import embed
from tolmach.pipelines.builtin.app_ends import AppOutput
from tolmach.pipelines.bus import Bus, ErrorMessage, Message, UtteranceEndMessage, UtteranceStartMessage
from tolmach.pipelines.errors import Cancelled, GraphError, TolmachError
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.runtime.pipecat.frames import is_spoken, language_of, to_pcm
from tolmach.pipelines.runtime.pipecat_api import (
    CancelFrame,
    EndFrame,
    FrameCallback,
    FrameDirection,
    FrameProcessor,
    FrameProcessorSetup,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    PipecatFrame,
    PipecatTranslationFrame,
    TextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
    time_now_iso8601,
)

__all__ = ["GraphProcessor"]

MAX_TOLD = 1000
"""Words of the graph's bus that may wait to be told to the pipeline; it takes them at once."""
METADATA = "tolmach"
"""Key under which a frame's metadata have its utterance and its span of media time."""


class GraphProcessor(FrameProcessor):
    """A whole graph in a pipecat pipeline, for observers, metrics and the worker one processor.

    The graph begins with one ``app_src``, which is given the pipeline's InputAudioRawFrames, and ends with ``app_sink``
    elements, from which come texts and voices; docs/PIPECAT.md has the table. All other frames pass on in order.
    Models are loaded while the pipeline is set up: let ``PipelineWorker(setup_timeout_secs=...)`` allow for it.

    Args:
        graph: What ``tolmach.open`` takes: path of a YAML file, name of a shipped graph, YAML text, or a checked graph.
        params: Values of its params.
        settings: Settings by ``element.setting``.
        resources: What elements find by name, besides the ends.
        base_dir: Folder that relative paths in settings start from; the current folder by default.
        warm: Whether each model runs once before the pipeline starts, so that the first sentence is not the slow one.
        leaky: Whether audio that finds no room (``max_ms`` of the app_src) is thrown away and told of, for a live
            transport. Otherwise the processor waits, and what comes meanwhile waits in pipecat's own queue.
        audio_passthrough: Whether the audio also passes on.
        speech_frames: Whether the graph's detector is told to the pipeline (VADUserStarted-, StoppedSpeakingFrame).
        user_id: Who speaks, for texts.
        bus: The graph's bus, to subscribe to; a new one by default.
        **kwargs: As for every processor of pipecat (``name``).

    Attributes:
        bus: The graph's bus.
    """

    def __init__(
        self,
        graph: embed.Source,
        *,
        params: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        resources: Mapping[str, object] | None = None,
        base_dir: Path | None = None,
        warm: bool = True,
        leaky: bool = False,
        audio_passthrough: bool = False,
        speech_frames: bool = True,
        user_id: str = "",
        bus: Bus | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bus = bus or Bus()
        self._graph = embed.open(
            graph, params=params, settings=settings, resources=resources, base_dir=base_dir, warm=warm, bus=self.bus
        )
        self._leaky = leaky
        self._audio_passthrough = audio_passthrough
        self._speech_frames = speech_frames
        self._user_id = user_id
        self._input = ""
        self._started = False  # whether there is a graph to end
        self._begun = False  # whether it is given audio
        self._over = False  # whether nothing more is given to it
        self._first = True
        self._dropped = False
        self._has_voice = False
        self._interrupted_ns = -1  # what was said before this is not spoken any more
        self._told: asyncio.Queue[Message] = asyncio.Queue(MAX_TOLD)
        self._work: list[asyncio.Task[Any]] = []
        self._pumps: list[asyncio.Task[Any]] = []

    # Life ---------------------------------------------------------------------------------------------------------

    def can_generate_metrics(self) -> bool:
        """From the end of an utterance to its text (processing) and to its voice (time to first byte)."""
        return True

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as pipecat's own do
        """Check the graph, load its models, start it.

        Raises:
            TolmachError: What is wrong with the graph, or what cannot start; pipecat makes it a permanent error.

        Cancelled by: pipecat, when setting up takes too long.
        """
        await super().setup(setup)
        self.bus.subscribe(self._note)
        await self._graph.start()
        self._started = True
        self._find_ends()
        self._begun = True
        outputs = [name for name, node in self._graph.graph.nodes.items() if node.spec.type == "app_sink"]
        self._pumps = [self._task(self._give_all(self._graph.output(name)), f"from-{name}") for name in outputs]
        self._work = [self._task(self._tell_all(), "bus"), self._task(self._wait(), "graph")]

    def _find_ends(self) -> None:
        graph = self._graph.graph
        sources = [name for name, node in graph.nodes.items() if node.spec.type == "app_src"]
        if len(sources) != 1:
            found = ", ".join(sources) or "none"
            raise GraphError(f"a graph in a pipeline begins with one app_src, and {graph.name!r} has {found}")
        self._input = sources[0]
        sinks = {name for name, node in graph.nodes.items() if node.spec.type == "app_sink"}
        self._has_voice = any(link.sink.node in sinks and link.carries("audio") for link in graph.links)

    async def cleanup(self) -> None:
        """Cancel the graph, unless it has ended, and release it."""
        await self._abandon()
        for task in (*self._pumps, *self._work):
            if not task.done():
                await self.cancel_task(task)
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def _abandon(self) -> None:
        self._over = True
        self._graph.cancel()
        if self._started:
            with contextlib.suppress(TolmachError, RuntimeError):
                await self._graph.wait()

    def _task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        return self.create_task(coroutine, f"{self}::{name}")

    # In -----------------------------------------------------------------------------------------------------------

    async def queue_frame(
        self,
        frame: PipecatFrame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        """Queue a frame; cancel and interruption act now, whatever waits before them."""
        if isinstance(frame, CancelFrame):
            self._over = True
            self._graph.cancel()
        elif isinstance(frame, InterruptionFrame):
            self._interrupt()
        await super().queue_frame(frame, direction, callback)

    async def process_frame(self, frame: PipecatFrame, direction: FrameDirection) -> None:
        """Audio goes into the graph; everything else passes on, EndFrame behind all that the graph still says."""
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM:
            if isinstance(frame, InputAudioRawFrame):
                await self._hear(frame)
                if not self._audio_passthrough:
                    return
            elif isinstance(frame, InterruptionFrame):
                self._interrupt()
            elif isinstance(frame, EndFrame):
                await self._finish()
        await self.push_frame(frame, direction)

    async def _hear(self, frame: InputAudioRawFrame) -> None:
        if self._over or not self._begun:
            return
        usable = len(frame.audio) - len(frame.audio) % (2 * frame.num_channels)
        samples = np.frombuffer(frame.audio[:usable], "<i2").reshape(-1, frame.num_channels)
        entry = self._graph.input(self._input)
        try:
            if not self._leaky or self._first:  # before the app_src takes, try_push finds no room
                self._first = False
                await entry.push(samples, frame.sample_rate)
            elif not entry.try_push(samples, frame.sample_rate) and not self._dropped:
                self._dropped = True
                await self.push_error(
                    f"{self._input}: the graph is slower than the audio that comes; some of it is thrown away"
                )
        except TolmachError:
            self._over = True  # what failed the graph is told where its end is waited for
        except ValueError as error:
            self._over = True
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)

    def _interrupt(self) -> None:
        if self._begun and not self._over:
            self._interrupted_ns = self._graph.input(self._input).end_ns

    async def _finish(self) -> None:
        """End the graph; returns when all that it has to say has been pushed. Cancelled by: CancelFrame."""
        if not self._begun:
            return
        self._over = True
        with contextlib.suppress(TolmachError):  # told where its end is waited for
            await self._graph.close()
        await asyncio.gather(*self._pumps)
        await self._told.join()

    # Out ----------------------------------------------------------------------------------------------------------

    def _note(self, message: Message) -> None:
        kinds = (UtteranceStartMessage, UtteranceEndMessage, ErrorMessage)
        if isinstance(message, kinds) and not self._told.full():
            self._told.put_nowait(message)

    async def _tell_all(self) -> None:
        while True:
            message = await self._told.get()
            try:
                await self._tell(message)
            finally:
                self._told.task_done()

    async def _tell(self, message: Message) -> None:
        if isinstance(message, UtteranceStartMessage):
            if self._speech_frames:
                await self.broadcast_frame(VADUserStartedSpeakingFrame)
        elif isinstance(message, UtteranceEndMessage):
            frame = message.frame
            hangover_ns = frame.end_ns - frame.speech_end_ns if frame.speech_end_ns is not None else 0
            await self.start_processing_metrics()
            await self.start_ttfb_metrics()
            if self._speech_frames:
                await self.broadcast_frame(VADUserStoppedSpeakingFrame, stop_secs=hangover_ns / NS_PER_S)
        elif isinstance(message, ErrorMessage) and not message.fatal:
            await self.push_error(f"{message.element}: {message.text}")

    async def _wait(self) -> None:
        """Say what failed the graph."""
        try:
            await self._graph.wait()
        except Cancelled:
            return
        except TolmachError as error:
            self._over = True
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)

    async def _give_all(self, output: AppOutput) -> None:
        voice = _Voice()
        with contextlib.suppress(TolmachError):  # told where the end of the graph is waited for
            async for frame in output:
                if isinstance(frame, TranslationFrame):
                    await self._give_text(frame)
                else:
                    await self._give_sound(voice, frame)
        await self._end_voice(voice)

    async def _give_text(self, frame: TranslationFrame) -> None:
        if not frame.text:
            return
        stamp, language = time_now_iso8601(), language_of(frame.target_lang)
        text: TextFrame
        if not frame.final:
            text = InterimTranscriptionFrame(frame.text, self._user_id, stamp, language)
        elif _primary(frame.source_lang) == _primary(frame.target_lang):
            text = TranscriptionFrame(frame.text, self._user_id, stamp, language, finalized=True)
        else:
            text = PipecatTranslationFrame(frame.text, self._user_id, stamp, language)
        # A voice of pipecat's behind us is not to say what the graph says itself.
        text.skip_tts = self._has_voice or None
        text.metadata[METADATA] = _stamp(frame.utterance, frame.pts_ns, frame.end_ns)
        if is_spoken(frame):
            await self.stop_processing_metrics()
        await self.push_frame(text)

    async def _give_sound(self, voice: _Voice, frame: Frame) -> None:
        if isinstance(frame, UtteranceStart):
            await self._end_voice(voice)
            voice.utterance, voice.begun = frame, False
        elif isinstance(frame, UtteranceEnd):
            await self._end_voice(voice)
        elif isinstance(frame, AudioFrame):
            if voice.utterance is None:
                sound: OutputAudioRawFrame = OutputAudioRawFrame(to_pcm(frame.samples), frame.rate_hz, frame.channels)
                await self.push_frame(sound)
            elif self._is_wanted(voice.utterance):
                await self._speak(voice, voice.utterance, frame)
            elif voice.begun:
                await self._end_voice(voice, keep=True)

    async def _speak(self, voice: _Voice, utterance: UtteranceStart, frame: AudioFrame) -> None:
        context = f"{self.name}-{utterance.utterance}"
        if not voice.begun:
            voice.begun = True
            await self.stop_ttfb_metrics()
            await self.push_frame(TTSStartedFrame(context_id=context))
        sound = TTSAudioRawFrame(to_pcm(frame.samples), frame.rate_hz, frame.channels, context_id=context)
        sound.metadata[METADATA] = _stamp(utterance.utterance, utterance.pts_ns, utterance.source_end_ns)
        await self.push_frame(sound)

    async def _end_voice(self, voice: _Voice, *, keep: bool = False) -> None:
        utterance, begun = voice.utterance, voice.begun
        voice.begun = False
        if not keep:
            voice.utterance = None
        if utterance is not None and begun:
            await self.push_frame(TTSStoppedFrame(context_id=f"{self.name}-{utterance.utterance}"))

    def _is_wanted(self, utterance: UtteranceStart) -> bool:
        """Whether it was not over when somebody interrupted: who interrupts by speaking is to be translated."""
        end_ns = utterance.pts_ns if utterance.source_end_ns is None else utterance.source_end_ns
        return end_ns > self._interrupted_ns


class _Voice:
    """What one app_sink is in the middle of."""

    def __init__(self) -> None:
        self.utterance: UtteranceStart | None = None
        self.begun = False


def _stamp(utterance: int, pts_ns: int, end_ns: int | None) -> dict[str, int | None]:
    # Not in `pts`: a transport waits with such frames until its own clock has come so far.
    return {"utterance": utterance, "pts_ns": pts_ns, "end_ns": end_ns}


def _primary(tag: str) -> str:
    return tag.partition("-")[0].lower()
