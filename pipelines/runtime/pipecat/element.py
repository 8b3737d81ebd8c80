"""The element ``pipecat``: any frame processor of pipecat between two elements of a graph."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from tolmach.pipelines.bus import ErrorMessage, WarningMessage
from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.frames import Frame
from tolmach.pipelines.runtime.pipecat.answers import AnswerBridge
from tolmach.pipelines.runtime.pipecat.audio import AudioBridge
from tolmach.pipelines.runtime.pipecat.cell import Cell, NotStartedError
from tolmach.pipelines.runtime.pipecat.frames import Bridge
from tolmach.pipelines.runtime.pipecat.spec import AUDIO, TEXT, PipecatSettings, called, load, made
from tolmach.pipelines.runtime.pipecat_api import (
    ErrorFrame,
    FrameProcessor,
    InterruptionFrame,
    PipecatFrame,
    UserStoppedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

__all__ = ["PipecatElement"]

DEFAULT_IN_HZ, DEFAULT_OUT_HZ = 16_000, 24_000
"""What a processor is told where no audio goes in or comes out: pipecat's own defaults, Hz."""


class PipecatElement(Element):
    """Runs a pipecat processor; docs/PIPECAT.md has the table of frames.

    The processor is fed in step: a frame of the graph has been taken when the processor has processed it, so order and
    back-pressure are the graph's. What comes later, from tasks of the processor, is bounded in utterances.
    """

    settings: PipecatSettings

    def __init__(self, settings: PipecatSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._cell: Cell | None = None
        self._numbers = itertools.count(1)
        self._bridge = self._make_bridge()
        self._forget = False  # the processor is to be interrupted before it gets anything else
        self._failure: Exception | None = None

    async def start(self) -> None:
        """Import, make and start the processor.

        Raises:
            GraphError: If there is no such class, or it takes no such arguments.
            ElementError: If it cannot be set up.

        Cancelled by: cancel of the graph.
        """
        processor = await self._processor()
        self._bridge, self._forget, self._failure = self._make_bridge(), False, None
        cell = self._cell = Cell(
            processor,
            on_frame=self._take,
            on_error=self._hear,
            rate_in_hz=self._rate_hz("sink", DEFAULT_IN_HZ),
            rate_out_hz=self._rate_hz("src", DEFAULT_OUT_HZ),
        )
        try:
            await cell.start()
        except BaseException as error:
            await self.stop()
            if isinstance(error, NotStartedError):
                raise self.context.error(f"{self._words} cannot start: {error}") from error
            raise

    async def process(self, frame: Frame, pad: str) -> None:
        """Give it to the processor; returns when that has processed it."""
        await self._bridge.take(frame)

    async def progress(self, time_ns: int, pad: str) -> None:
        """Pass it on behind what the processor holds."""
        held_ns = self._bridge.held_ns
        await self.context.progress(time_ns if held_ns is None else min(time_ns, held_ns), pad)

    async def drain(self) -> None:
        """End the processor, and push what it still had."""
        await self._bridge.settle()
        if self._cell is not None and not await self._cell.end(self.settings.answer_timeout_ms / 1000):
            text = f"{self._words} did not pass EndFrame on; what it still held is lost."
            self.context.post(WarningMessage(text))
        await self._bridge.finish()

    async def stop(self) -> None:
        """Cancel the processor; what it holds is thrown away."""
        cell, self._cell = self._cell, None
        if cell is not None:
            await cell.close()

    def reset(self, utterance: int | None) -> None:
        """Interrupt the processor before it gets anything else."""
        self._forget = True
        self._failure = None
        self._bridge.reset(utterance)

    @property
    def mid_utterance(self) -> bool:
        """Whether the processor, as a detector, hears somebody speak."""
        return self._bridge.mid_utterance

    # The processor ------------------------------------------------------------------------------------------------

    async def _processor(self) -> FrameProcessor:
        settings = self.settings

        def make() -> Any:
            return called(settings.processor, load(settings.processor), made(settings.arguments))

        try:
            try:
                # pipecat's local services load their models in the constructor.
                found = await asyncio.to_thread(make)
            except RuntimeError as error:
                if "event loop" not in str(error):
                    raise
                found = make()
        except GraphError as error:
            raise GraphError(f"element {self.context.name!r}: {error}") from error
        except Exception as error:
            text = f"{self._words} cannot be made: {type(error).__name__}: {error}"
            raise self.context.error(text) from error
        if not isinstance(found, FrameProcessor):
            raise GraphError(
                f"element {self.context.name!r}: {settings.processor} gives a {type(found).__name__}, which is no "
                "pipecat.processors.frame_processor.FrameProcessor"
            )
        return found

    def _make_bridge(self) -> Bridge:
        settings, context = self.settings, self.context
        if settings.sink_caps.media == settings.src_caps.media == AUDIO:
            return AudioBridge(context, self._feed, settings, self._numbers)
        return AnswerBridge(context, self._feed, settings, asks_audio=settings.sink_caps.media != TEXT)

    async def _feed(self, frame: PipecatFrame) -> None:
        cell = self._cell
        if cell is None:
            raise self.context.error(f"{self._words} was not started")
        self._raise_failure()
        if self._forget:
            self._forget = False
            for each in (InterruptionFrame(), *self._end_of_speech()):
                await cell.feed(each)
        if not cell.processor.is_usable:
            raise self.context.error(f"{self._words} is no longer usable")
        await cell.feed(frame)
        self._raise_failure()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _end_of_speech(self) -> tuple[PipecatFrame, ...]:
        """A service that waits for the end of what was skipped would put it before the next utterance."""
        takes_audio = self.settings.sink_caps.media == AUDIO and not self.settings.cuts
        return (VADUserStoppedSpeakingFrame(), UserStoppedSpeakingFrame()) if takes_audio else ()

    async def _take(self, frame: PipecatFrame) -> None:
        try:
            await self._bridge.give(frame)
        except Exception as error:  # pipecat would report it as an error of the processor
            self._fail(error)

    def _hear(self, error: ErrorFrame) -> None:
        """An error that the processor reports."""
        said = f"{self._words}: {error.error}"
        if not self._cell or not self._cell.processor.is_usable:
            failure = self.context.error(f"{said} (it is no longer usable)")
            failure.__cause__ = error.exception
            self._fail(failure)
            return
        kind = type(error.exception).__name__ if error.exception is not None else ""
        self.context.post(ErrorMessage(said, error=kind))
        self.context.spawn(self._bridge.lose(), "error")

    def _fail(self, error: Exception) -> None:
        """Have it meet the element's failure policy."""
        if self._failure is not None:
            return
        self._failure = error
        self.context.spawn(self._raise(error), "failure")

    async def _raise(self, error: Exception) -> None:
        await asyncio.sleep(0)  # whoever feeds the processor raises it with the frame in hand, if anybody does
        if self._failure is error:
            self._failure = None
            raise error

    @property
    def _words(self) -> str:
        return f"{self.context.name}: {self.settings.processor.partition(':')[2]}"

    def _rate_hz(self, pad: str, default: int) -> int:
        caps = self.context.caps.get(pad)
        rate_hz = caps.value("rate") if caps is not None and not caps.is_any else None
        return rate_hz if isinstance(rate_hz, int) else default
