"""Public harness for element authors, in the spirit of GstHarness: one element alone, fed and read by hand.

async with Harness(SPEC, hangover_ms=300) as h:
await h.push(tone(1.0))
await h.eos()
assert [type(f).__name__ for f in h.output()] == [...]
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tolmach.pipelines.bus import Message
from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import Context, ElementSpec, Settings, SourceElement
from tolmach.pipelines.frames import AudioFrame, Frame, Samples, samples_to_ns
from tolmach.pipelines.registry import load_runtime


class Harness:
    """Runs one element without a graph.

    Args:
        spec: The element's spec.
        caps: Negotiated caps by pad name, as the graph would give them; written form or :class:`Caps`.
        base_dir: Folder that relative paths start from.
        languages: What the elements behind it expect to hear.
        resources: What it finds by name, as :class:`tolmach.pipelines.runtime.runner.GraphRunner` would be handed it.
        **settings: Settings of the element.
    """

    def __init__(
        self,
        spec: ElementSpec,
        *,
        caps: Mapping[str, Caps | str] | None = None,
        base_dir: Path | None = None,
        languages: tuple[str, ...] = (),
        resources: Mapping[str, object] | None = None,
        **settings: Any,
    ) -> None:
        self.spec = spec
        self.settings = self._validated(settings)
        self.messages: list[Message] = []
        self.failures: list[BaseException] = []
        self._output: dict[str, list[Frame]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.context = Context(
            name=spec.type,
            graph="harness",
            push=self._take,
            post=self._post,
            spawn=self._spawn,
            caps={k: Caps.parse(v) if isinstance(v, str) else v for k, v in (caps or {}).items()},
            base_dir=base_dir or Path.cwd(),
            languages=languages,
            resources=resources or {},
        )
        self.element = load_runtime(spec)(self.settings, self.context)

    def _validated(self, settings: Mapping[str, Any]) -> Settings:
        return self.spec.settings(**settings)

    async def __aenter__(self) -> Harness:
        await self.element.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def push(self, *frames: Frame, pad: str = "sink") -> None:
        """Feed frames to a sink pad, in order."""
        for frame in frames:
            await self.element.process(frame, pad)

    async def run(self) -> None:
        """Let a source produce until its end."""
        if not isinstance(self.element, SourceElement):
            raise TypeError(f"{self.spec.type} is not a source")
        await self.element.produce()

    async def eos(self) -> None:
        """End of stream on all sink pads: the element drains. Raises what a spawned task failed with."""
        await self.element.drain()
        await asyncio.sleep(0)  # a task that failed just now is recorded by its callback, one turn later
        if self.failures:
            raise self.failures[0]

    async def stop(self) -> None:
        """Stop the element and cancel the tasks it spawned."""
        await self.element.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def output(self, pad: str = "src") -> list[Frame]:
        """What came out of a src pad so far, in order."""
        return list(self._output.get(pad, ()))

    def audio(self, pad: str = "src") -> Samples:
        """All audio of a src pad in one array, float32[n, channels]."""
        blocks = [f.samples for f in self.output(pad) if isinstance(f, AudioFrame)]
        return np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)

    async def _take(self, frame: Frame, pad: str = "src") -> None:
        self._output.setdefault(pad, []).append(frame)

    def _post(self, message: Message) -> None:
        self.messages.append(replace(message, element=self.spec.type, graph="harness"))

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.failures.append(error)


def tone(
    duration_s: float, *, rate_hz: int = 16000, channels: int = 1, freq_hz: float = 440.0, pts_ns: int = 0
) -> AudioFrame:
    """A sine of amplitude 0.5, the same in all channels."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    mono = (0.5 * np.sin(2 * np.pi * freq_hz * t)).astype(np.float32)
    return AudioFrame(np.repeat(mono[:, None], channels, axis=1), rate_hz, pts_ns)


def chop(frame: AudioFrame, chunk: int) -> list[AudioFrame]:
    """Cut a frame into frames of ``chunk`` samples (the last one shorter), with exact ``pts_ns``."""
    return [
        AudioFrame(
            frame.samples[at : at + chunk],
            frame.rate_hz,
            frame.pts_ns + samples_to_ns(at, frame.rate_hz),
            frame.utterance,
            frame.layout,
        )
        for at in range(0, len(frame.samples), chunk)
    ]
