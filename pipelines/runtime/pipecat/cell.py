"""One pipecat processor by itself: set up, fed one frame at a time, drained, cancelled.

It stands between two ends of our own in a pipecat ``Pipeline``, without pipecat's worker: no queue of its own but the
one every processor has, which never holds more than the frame it is fed. Only public parts of pipecat are used.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from tolmach.pipelines.runtime.pipecat_api import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    FrameDirection,
    FrameProcessor,
    FrameProcessorSetup,
    InterruptionFrame,
    PipecatFrame,
    Pipeline,
    PipelineSink,
    PipelineSource,
    PipelineWorker,
    StartFrame,
    SystemClock,
    TaskManager,
)

__all__ = ["Cell", "NotStartedError"]

START_TIMEOUT_S = 60.0
"""Wall time for a processor to be set up and to pass StartFrame on, s; pipecat's own worker allows 20 for each."""
CANCEL_TIMEOUT_S = 0.5
"""Wall time for CancelFrame to pass, s; after it the processor's tasks are cancelled anyway."""


class NotStartedError(Exception):
    """The processor could not be set up, or did not pass StartFrame on."""


class Cell:
    """A processor, alone.

    Args:
        processor: The processor; it belongs to the cell from now on and is used once.
        on_frame: Takes each frame it pushes downstream, in order; what this waits for, the processor waits for.
        on_error: Takes the errors it reports, but for those that :meth:`feed` raises.
        rate_in_hz: Rate of audio that goes in, Hz.
        rate_out_hz: Rate of audio that should come out, Hz.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        on_frame: Callable[[PipecatFrame], Awaitable[None]],
        on_error: Callable[[ErrorFrame], None],
        rate_in_hz: int,
        rate_out_hz: int,
    ) -> None:
        self.processor = processor
        self._on_frame = on_frame
        self._on_error = on_error
        self._rates_hz = rate_in_hz, rate_out_hz
        self._tasks: TaskManager | None = None
        self._pipeline: Pipeline | None = None
        self._fed: dict[int, asyncio.Future[None]] = {}
        self._raised: list[Exception] = []  # by feed(), so that pipecat's report of the same says nothing new
        self._refusal: ErrorFrame | None = None  # the first error while it was set up
        self._started = asyncio.Event()
        self._ended = asyncio.Event()
        self._cancelled = asyncio.Event()
        self._signs_of_life = 0

    async def start(self) -> None:
        """Set the processor up and start it.

        Raises:
            NotStartedError: If it reports an error, or takes longer than START_TIMEOUT_S.

        Cancelled by: the caller, who then calls :meth:`close`.
        """
        self._watch()
        source = PipelineSource(self._take_upstream, name=f"{self.processor.name}::from-graph")
        sink = PipelineSink(self._take_downstream, name=f"{self.processor.name}::to-graph")
        pipeline = self._pipeline = Pipeline([self.processor], source=source, sink=sink)
        self._tasks = TaskManager()
        clock = SystemClock()
        clock.start()
        rate_in_hz, rate_out_hz = self._rates_hz
        setup = FrameProcessorSetup(
            clock=clock,
            task_manager=self._tasks,
            # Never run; it is what a processor may ask for `app_resources`.
            pipeline_worker=PipelineWorker(
                pipeline, enable_rtvi=False, enable_turn_tracking=False, idle_timeout_secs=None
            ),
            audio_in_sample_rate=rate_in_hz,
            audio_out_sample_rate=rate_out_hz,
            # Services say with them that an utterance has been worked through, whether there was a text or not.
            enable_metrics=True,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await pipeline.setup(setup)
                await pipeline.queue_frame(StartFrame())
                await self._started.wait()
        except TimeoutError:
            said = f": {self._refusal.error}" if self._refusal is not None else ""
            raise NotStartedError(f"it did not pass StartFrame on within {START_TIMEOUT_S:g} s{said}") from None
        if self._refusal is not None and not self.processor.is_usable:
            raise NotStartedError(self._refusal.error) from self._refusal.exception

    async def feed(self, frame: PipecatFrame) -> None:
        """Give the processor a frame; returns when it has processed it.

        What it does later, in a task of its own, is not waited for.

        Raises:
            Exception: What its ``process_frame`` raises.

        Cancelled by: the caller.
        """
        if self._pipeline is None or self._cancelled.is_set():
            return
        done = self._fed[frame.id] = asyncio.get_running_loop().create_future()
        try:
            await self.processor.queue_frame(frame, FrameDirection.DOWNSTREAM)
            await done
        finally:
            self._fed.pop(frame.id, None)

    async def end(self, patience_s: float) -> bool:
        """Send EndFrame and wait until it has come out, behind everything that the processor still held.

        Args:
            patience_s: Wall time without a frame from the processor after which it is given up, s.

        Returns:
            Whether it came out.
        """
        if self._pipeline is None:
            return True
        await self._pipeline.queue_frame(EndFrame())
        while not self._ended.is_set():
            before = self._signs_of_life
            try:
                async with asyncio.timeout(patience_s):
                    await self._ended.wait()
            except TimeoutError:
                if self._signs_of_life == before:
                    return False
        return True

    async def close(self) -> None:
        """Cancel the processor, unless it has ended, and clean up. Safe at any moment and twice."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        self._release_fed()
        if self._started.is_set() and not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_TIMEOUT_S):
                    await pipeline.queue_frame(CancelFrame())
                    await self._cancelled.wait()
        await pipeline.cleanup()
        left = [task for task in self._tasks.current_tasks() if not task.done()] if self._tasks is not None else []
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _watch(self) -> None:
        """See each frame through ``process_frame``, which pipecat itself would tell of only when it went well."""
        process = self.processor.process_frame

        async def process_frame(frame: PipecatFrame, direction: FrameDirection) -> None:
            try:
                await process(frame, direction)
            except Exception as error:
                done = self._fed.get(frame.id)
                if done is not None and not done.done():
                    self._raised.append(error)
                    done.set_exception(error)
                raise
            finally:
                done = self._fed.get(frame.id)
                if done is not None and not done.done():
                    done.set_result(None)

        self.processor.process_frame = process_frame  # type: ignore[method-assign]

    async def _take_downstream(self, frame: PipecatFrame, direction: FrameDirection) -> None:
        self._signs_of_life += 1
        if isinstance(frame, StartFrame):
            self._started.set()
        elif isinstance(frame, EndFrame):
            self._ended.set()
        elif isinstance(frame, CancelFrame):
            self._cancelled.set()
        elif isinstance(frame, ErrorFrame):
            self._report(frame)
        elif self._pipeline is not None:
            if isinstance(frame, InterruptionFrame):
                self._release_fed()
            await self._on_frame(frame)

    async def _take_upstream(self, frame: PipecatFrame, direction: FrameDirection) -> None:
        if isinstance(frame, ErrorFrame):
            self._report(frame)

    def _report(self, error: ErrorFrame) -> None:
        if error.exception in self._raised:
            self._raised.remove(error.exception)
            return
        if not self._started.is_set():
            self._refusal = self._refusal or error
        elif self._pipeline is not None:
            self._on_error(error)

    def _release_fed(self) -> None:
        # An interruption of the processor's own throws away what waits in its queue: nobody will ever process it.
        for done in self._fed.values():
            if not done.done():
                done.set_result(None)
