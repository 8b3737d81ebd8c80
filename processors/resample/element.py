"""The ``resample`` element: keeps time and cuts the stream where it breaks; the arithmetic is in its neighbour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.channels import OPPOSED_PHASE, ChannelMixer, layout_for, mix
from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.processors.resample.spec import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, ResampleSettings
from tolmach.processors.resample.stream import StreamResampler, kernel

_INLINE_PRODUCTS = 4_000_000
"""Multiplications that fit into half a millisecond; more goes to a thread."""

_UNTILED_COST = 25
"""How much more a multiplication costs for ratios whose filters are worked out as they are needed."""

_BLOCK_SAMPLES = 1 << 16
"""Longest piece worked on at once, which bounds memory whatever the size of a frame."""


class Resample(Element):
    """Runtime of ``resample``."""

    settings: ResampleSettings

    def __init__(self, settings: ResampleSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._rate_hz = settings.rate_hz or self._negotiated("rate")
        self._channels = settings.channels or self._negotiated("channels")
        self._latency_ns = 0
        self._warned = False
        self._opposed = False
        self._mixer: ChannelMixer | None = None
        self._mixer_rate_hz = 0
        self._mixer_from_ns = 0
        self._forget()

    async def start(self) -> None:
        """Design the filter when the input rate is known beforehand."""
        caps = self.context.caps.get("sink")
        rate_hz = caps.value("rate") if caps else None
        if isinstance(rate_hz, int) and self._rate_hz and rate_hz != self._rate_hz:
            filters = await asyncio.to_thread(kernel, rate_hz, self._rate_hz)
            self._latency_ns = samples_to_ns(filters.reach, rate_hz)

    async def process(self, frame: Frame, pad: str) -> None:
        """Convert audio; flush at the borders of utterances; pass everything else on in its place."""
        if isinstance(frame, AudioFrame):
            await self._audio(frame)
            return
        if isinstance(frame, UtterancePause):
            return  # the filter holds the last samples: what would belong to the utterance has not passed here
        if isinstance(frame, UtteranceStart | UtteranceEnd):
            await self._flush()
        await self.context.push(frame)

    async def drain(self) -> None:
        """Push the filter's tail."""
        await self._flush()

    async def stop(self) -> None:
        """Throw the filter's state away."""
        self._mixer = None
        self._forget()

    def reset(self, utterance: int | None) -> None:
        """Throw the filter's state away; the next frame starts afresh."""
        self._mixer = None
        self._forget()

    @property
    def latency_ns(self) -> int:
        """Half the length of the filter; zero while rates agree or before the input rate is known."""
        return self._latency_ns

    def _negotiated(self, name: str) -> int | None:
        caps = self.context.caps.get("src")
        value = caps.value(name) if caps else None
        return value if isinstance(value, int) else None

    def _forget(self) -> None:
        self._stream: StreamResampler | None = None
        self._last: AudioFrame | None = None
        self._anchor_ns = 0
        self._received = 0
        self._produced = 0

    async def _audio(self, frame: AudioFrame) -> None:
        self._check(frame)
        rate_hz = self._rate_hz or frame.rate_hz
        channels = self._channels or frame.channels
        if not self._continues(frame):
            await self._flush()
        if rate_hz == frame.rate_hz:
            self._latency_ns = 0
            if channels == frame.channels:
                self._mixer = None
                await self.context.push(frame)
                return
            mixed = mix(self._mixed_down(frame, channels)(frame.samples), channels)
            self._tell_phase()
            await self.context.push(replace(frame, samples=mixed, layout=()))
            return
        if self._stream is None:
            filters = await asyncio.to_thread(kernel, frame.rate_hz, rate_hz)
            # Filter the fewer channels: mix down before, up after.
            self._stream = StreamResampler(filters, min(channels, frame.channels))
            self._latency_ns = samples_to_ns(filters.reach, frame.rate_hz)
            self._anchor_ns = frame.pts_ns
        self._last = frame
        self._received += len(frame.samples)
        mixed_down = self._mixed_down(frame, self._stream.channels)
        for at in range(0, len(frame.samples), _BLOCK_SAMPLES):
            block = self._finite(frame.samples[at : at + _BLOCK_SAMPLES], frame.pts_ns)
            converted = await self._convert(self._stream, block, mixed_down)
            self._tell_phase()
            await self._push(converted, rate_hz, channels)

    def _mixed_down(self, frame: AudioFrame, channels: int) -> Callable[[Samples], Samples]:
        """Mixes blocks of ``frame`` to at most ``channels`` channels; what it knows of their phase outlives gaps."""
        layout = layout_for(frame.channels, frame.layout)
        channels = min(channels, frame.channels)
        mixer = self._mixer
        if (
            mixer is None
            or (mixer.layout, mixer.channels_out) != (layout, channels)
            or self._mixer_rate_hz != frame.rate_hz
        ):
            mixer = self._mixer = ChannelMixer(layout, channels, frame.rate_hz)
            self._mixer_rate_hz, self._mixer_from_ns = frame.rate_hz, frame.pts_ns
        return mixer.push

    def _tell_phase(self) -> None:
        if self._opposed or self._mixer is None or self._mixer.opposed_at is None:
            return
        self._opposed = True
        pts_ns = self._mixer_from_ns + samples_to_ns(self._mixer.opposed_at, self._mixer_rate_hz)
        self.context.post(WarningMessage(f"{OPPOSED_PHASE[0].upper()}{OPPOSED_PHASE[1:]}.", pts_ns=pts_ns))

    async def _convert(
        self, stream: StreamResampler, block: Samples, mixed_down: Callable[[Samples], Samples]
    ) -> Samples:
        def work() -> Samples:
            return stream.push(mixed_down(block))

        filters = stream.kernel
        products = filters.total(len(block)) * filters.taps * stream.channels * (1 if filters.tiles else _UNTILED_COST)
        return work() if products <= _INLINE_PRODUCTS else await asyncio.to_thread(work)

    async def _flush(self) -> None:
        stream, last = self._stream, self._last
        if stream is not None and last is not None:
            rate_hz = self._rate_hz or last.rate_hz
            await self._push(stream.flush(), rate_hz, self._channels or last.channels)
        self._forget()

    async def _push(self, samples: Samples, rate_hz: int, channels: int) -> None:
        if not len(samples):
            return
        assert self._last is not None  # noqa: S101 -- output exists only after input
        pts_ns = self._anchor_ns + samples_to_ns(self._produced, rate_hz)
        self._produced += len(samples)
        layout = self._last.layout if channels == self._last.channels else ()
        await self.context.push(AudioFrame(mix(samples, channels), rate_hz, pts_ns, self._last.utterance, layout))

    def _continues(self, frame: AudioFrame) -> bool:
        """Whether ``frame`` follows the last one without a gap of a sample or more, in the same format."""
        last = self._last
        if last is None:
            return True
        expected_ns = self._anchor_ns + samples_to_ns(self._received, last.rate_hz)
        return (
            frame.rate_hz == last.rate_hz
            and frame.channels == last.channels
            and frame.layout == last.layout
            and frame.utterance == last.utterance
            and abs(frame.pts_ns - expected_ns) <= samples_to_ns(1, last.rate_hz)
        )

    def _finite(self, samples: Samples, pts_ns: int) -> Samples:
        if np.isfinite(samples).all():
            return samples
        if not self._warned:
            self._warned = True
            text = "The audio holds samples that are not numbers (NaN or infinite); they are replaced by silence."
            self.context.post(WarningMessage(text, pts_ns=pts_ns))
        return np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)

    def _check(self, frame: AudioFrame) -> None:
        problem = ""
        if frame.samples.ndim != 2 or not 1 <= frame.channels <= MAX_CHANNELS:
            problem = (
                f"samples of shape {frame.samples.shape}; it takes [n, channels] with 1 to {MAX_CHANNELS} channels"
            )
        elif not MIN_RATE_HZ <= frame.rate_hz <= MAX_RATE_HZ:
            problem = f"audio at {frame.rate_hz} Hz; it takes {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
        if problem:
            text = f"got {problem}. The element before it breaks the caps it announced."
            raise self.context.error(f"{self.context.name}: {text}", frame.pts_ns)
