"""test_src and fake_sink: audio out of nothing, and a sink that only counts; for trying graphs and for benchmarks."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Literal

import numpy as np

from tolmach.pipelines.bus import InfoMessage, PositionMessage
from tolmach.pipelines.element import Element, ElementSpec, Field, Pad, Settings, SourceElement
from tolmach.pipelines.errors import MediaError
from tolmach.pipelines.frames import (
    NS_PER_MS,
    NS_PER_S,
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    samples_to_ns,
)
from tolmach.pipelines.shipped import shipped_file

SPEECH_SAMPLE = "demo/phrasebook-en.flac"
_NOISE_BLOCK = 1 << 14


class TestSrcSettings(Settings):
    """Settings of test_src."""

    wave: Literal["tone", "silence", "noise", "speech"] = Field(
        "tone",
        description="What to make: a sine, nothing, white noise, or the shipped English speech sample in a loop.",
    )
    duration_ms: int = Field(10_000, ge=0, le=86_400_000, description="Length of the stream, ms; 0 for endless.")
    rate_hz: int = Field(16000, ge=8000, le=192_000, description="Sample rate, Hz.")
    channels: int = Field(1, ge=1, le=8, description="Channels; all carry the same signal.")
    chunk_ms: int = Field(20, ge=1, le=1000, description="Length of a frame, ms.")
    freq_hz: float = Field(440.0, gt=0, le=20_000, description="Frequency of the tone, Hz.")
    level_db: float = Field(-12.0, ge=-120, le=0, description="Peak of tone and speech, RMS of noise, dB full scale.")
    seed: int = Field(1, ge=0, description="Seed of the noise.")
    pace: Literal["asap", "realtime"] = Field(
        "asap", description="`asap` makes frames as fast as they are taken; `realtime` one every chunk_ms."
    )


class TestSrc(SourceElement):
    """Generates audio; the same settings give the same samples, whatever the chunk size."""

    __test__ = False  # pytest: not a test case
    _finish = False

    async def start(self) -> None:
        """Load the speech sample if it is wanted."""
        self._finish = False
        self._sample: Samples | None = None
        if self.settings.wave == "speech":
            self._sample = await asyncio.to_thread(_speech_sample, self.settings.rate_hz)

    async def produce(self) -> None:
        """Push ``duration_ms`` of audio."""
        s = self.settings
        chunk = max(1, s.rate_hz * s.chunk_ms // 1000)
        total = s.rate_hz * s.duration_ms // 1000 if s.duration_ms else None
        at = 0
        began = time.monotonic()
        reported = -NS_PER_S
        while not self._finish and (total is None or at < total):
            count = chunk if total is None else min(chunk, total - at)
            mono = self._signal(at, count)
            pts_ns = samples_to_ns(at, s.rate_hz)
            if s.pace == "realtime":
                # A live edge: frame n is due when its last sample would have been captured.
                due = began + (at + count) / s.rate_hz
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            samples = np.ascontiguousarray(np.repeat(mono[:, None], s.channels, axis=1))
            await self.context.push(AudioFrame(samples, s.rate_hz, pts_ns))
            at += count
            if pts_ns - reported >= NS_PER_S:
                reported = pts_ns
                self._report(at)
        self._report(at)

    def finish(self) -> None:
        """End after the frame in hand."""
        self._finish = True

    def _report(self, at: int) -> None:
        position = samples_to_ns(at, self.settings.rate_hz)
        duration = self.settings.duration_ms * NS_PER_MS or None
        self.context.post(PositionMessage(position, duration, pts_ns=position))

    def _signal(self, at: int, count: int) -> Samples:
        s = self.settings
        gain = 10.0 ** (s.level_db / 20)
        if s.wave == "silence":
            return np.zeros(count, np.float32)
        if s.wave == "tone":
            # Phase from the absolute sample number modulo a whole second of cycles keeps hours of tone exact.
            n = (np.arange(at, at + count, dtype=np.float64) * s.freq_hz / s.rate_hz) % 1.0
            return np.asarray(gain * np.sin(2 * math.pi * n), np.float32)
        if s.wave == "noise":
            return np.asarray(gain * self._noise(at, count), np.float32)
        assert self._sample is not None  # noqa: S101 -- start() loaded it
        index = np.arange(at, at + count) % len(self._sample)
        peak = float(np.max(np.abs(self._sample)))
        return np.asarray(self._sample[index] * (gain / peak), np.float32)

    def _noise(self, at: int, count: int) -> Samples:
        # Blocks seeded by their number: any chunking cuts the same sequence.
        first, last = at // _NOISE_BLOCK, (at + count - 1) // _NOISE_BLOCK
        blocks = [
            np.random.default_rng((self.settings.seed, block)).standard_normal(_NOISE_BLOCK, dtype=np.float32)
            for block in range(first, last + 1)
        ]
        start = at - first * _NOISE_BLOCK
        return np.concatenate(blocks)[start : start + count]


def _speech_sample(rate_hz: int) -> Samples:
    """The shipped speech sample, float32[n] at ``rate_hz``.

    Raises:
        MediaError: If the sample is missing from this installation.
    """
    import av
    from scipy.signal import resample_poly

    path = shipped_file(SPEECH_SAMPLE)
    if not path.is_file():
        raise MediaError(f"the speech sample {path} is missing: install tolmach again", path=str(path))
    with av.open(str(path)) as container:
        native = container.streams.audio[0].rate
        resampler = av.AudioResampler(format="flt", layout="mono")
        blocks = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    mono = np.concatenate(blocks).astype(np.float32)
    if native == rate_hz:
        return mono
    divisor = math.gcd(native, rate_hz)
    return np.asarray(resample_poly(mono, rate_hz // divisor, native // divisor), np.float32)


def _pads(settings: TestSrcSettings) -> tuple[Pad, ...]:
    return (Pad.src(f"audio/raw, rate={settings.rate_hz}, channels={settings.channels}, segmented=false"),)


TEST_SRC = ElementSpec(
    type="test_src",
    summary="Make a tone, silence, noise or speech.",
    settings=TestSrcSettings,
    pads=_pads,
    build="tolmach.pipelines.builtin.trial_ends:TestSrc",
    example="{type: test_src, wave: speech, duration_ms: 30000}",
)


class FakeSinkSettings(Settings):
    """Settings of fake_sink."""

    report: bool = Field(False, description="Post the counts on the bus at end of stream.")


class FakeSink(Element):
    """Throws frames away and counts them.

    Attributes:
        frames: Frames of any kind.
        samples: Audio samples per channel.
        utterances: Utterances that ended.
        translations: Final translations with text.
    """

    frames = 0
    samples = 0
    utterances = 0
    translations = 0

    async def process(self, frame: Frame, pad: str) -> None:
        """Count."""
        self.frames += 1
        if isinstance(frame, AudioFrame):
            self.samples += len(frame.samples)
        elif isinstance(frame, UtteranceEnd):
            self.utterances += 1
        elif isinstance(frame, TranslationFrame) and frame.final and frame.text:
            self.translations += 1

    async def drain(self) -> None:
        """Report, if asked to."""
        if self.settings.report:
            counts = {
                "frames": self.frames,
                "samples": self.samples,
                "utterances": self.utterances,
                "translations": self.translations,
            }
            text = ", ".join(f"{value} {name}" for name, value in counts.items())
            self.context.post(InfoMessage(f"took {text}", counts))


FAKE_SINK = ElementSpec(
    type="fake_sink",
    summary="Take everything, keep nothing but counts.",
    doc="Ends a branch whose output nobody wants: for benchmarks, and while a graph is being built.",
    settings=FakeSinkSettings,
    pads=(Pad.sink(),),
    build="tolmach.pipelines.builtin.trial_ends:FakeSink",
    example="{type: fake_sink, report: true}",
)
