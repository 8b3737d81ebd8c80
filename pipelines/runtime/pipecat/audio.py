"""Audio through a pipecat processor to audio: a filter, or a detector that cuts the stream into utterances."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from tolmach.pipelines.element import Context
from tolmach.pipelines.frames import (
    NS_PER_MS,
    NS_PER_S,
    AudioFrame,
    EndReason,
    Frame,
    UtteranceEnd,
    UtteranceStart,
    ns_to_samples,
    samples_to_ns,
)
from tolmach.pipelines.runtime.pipecat.frames import Bridge, Feed, StreamClock, from_pcm, to_pcm
from tolmach.pipelines.runtime.pipecat.spec import PipecatSettings
from tolmach.pipelines.runtime.pipecat_api import (
    InputAudioRawFrame,
    OutputAudioRawFrame,
    PipecatFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

__all__ = ["AudioBridge", "input_audio"]

MAX_ONSET_NS = NS_PER_S
"""Longest time before its decision for which a detector's onset is believed (``start_secs``; 0.2 by default), ns."""
PROGRESS_NS = 100 * NS_PER_MS
"""How often branches that wait for this one hear how far it has come, in media time."""


def input_audio(frame: AudioFrame) -> InputAudioRawFrame:
    """The frame as pipecat's transports give it."""
    made = InputAudioRawFrame(to_pcm(frame.samples), frame.rate_hz, frame.channels)
    made.pts = frame.pts_ns
    return made


class AudioBridge(Bridge):
    """Audio in, audio out.

    Args:
        context: The element's.
        feed: Gives the processor a frame.
        settings: The element's; they say whether the processor cuts.
        numbers: Numbers of the utterances it finds; a restarted element goes on counting.
    """

    def __init__(self, context: Context, feed: Feed, settings: PipecatSettings, numbers: Iterator[int]) -> None:
        super().__init__(context, feed, settings)
        self._clock = StreamClock()
        self._taken_from: int | None = None  # the utterance of what goes in
        self._segmented = False
        self._open: UtteranceStart | None = None  # the utterance that the processor has found
        self._numbers = numbers
        self._recent: deque[AudioFrame] = deque()  # audio before an onset that is not known yet
        self._recent_ns = 0
        self._keep_ns = settings.pre_roll_ms * NS_PER_MS + MAX_ONSET_NS
        self._said_ns = 0
        caps = context.caps.get("src")
        self._rate_hz = caps.value("rate") if caps is not None and not caps.is_any else None

    async def take(self, frame: Frame) -> None:
        """In step: what the processor makes of it at once has been pushed when this returns."""
        if isinstance(frame, AudioFrame):
            before_ns = self._clock.now_ns
            if self._clock.take(frame) and self.settings.cuts:
                await self._end("silence", 0.0, before_ns)  # what lies between was not heard
                self._recent.clear()
                self._recent_ns = 0
            await self.feed(input_audio(frame))
        elif isinstance(frame, UtteranceStart):
            self._taken_from, self._segmented = frame.utterance, True
            await self.context.push(frame)
            await self.feed(VADUserStartedSpeakingFrame())
            await self.feed(UserStartedSpeakingFrame())
        elif isinstance(frame, UtteranceEnd):
            await self.feed(VADUserStoppedSpeakingFrame())
            await self.feed(UserStoppedSpeakingFrame())
            self._taken_from = None
            await self.context.push(frame)
        else:
            await self.context.push(frame)
        if self.settings.cuts and self._open is None and self._clock.now_ns - self._said_ns >= PROGRESS_NS:
            self._said_ns = self._clock.now_ns
            await self.context.progress(self.held_ns or self._clock.now_ns)

    async def give(self, frame: PipecatFrame) -> None:
        """Audio passes on with its media time; a detector's word opens and closes utterances."""
        if isinstance(frame, InputAudioRawFrame | OutputAudioRawFrame):
            await self._pass_on(frame)
        elif not self.settings.cuts:
            return
        elif isinstance(frame, VADUserStartedSpeakingFrame | UserStartedSpeakingFrame):
            await self._begin(getattr(frame, "start_secs", 0.0))
        elif isinstance(frame, VADUserStoppedSpeakingFrame | UserStoppedSpeakingFrame):
            await self._end("silence", getattr(frame, "stop_secs", 0.0))

    async def finish(self) -> None:
        """Close the utterance that is open."""
        await self._end("eos", 0.0)

    async def lose(self) -> None:
        """Of audio nothing is waited for."""

    def reset(self, utterance: int | None) -> None:
        """Forget what was held; the runtime has closed what downstream has seen."""
        self._open = None
        self._recent.clear()
        self._recent_ns = 0

    @property
    def held_ns(self) -> int | None:
        """Where the audio begins that an onset may still claim, ns."""
        if self._open is not None:
            return self._open.pts_ns
        return self._recent[0].pts_ns if self._recent else None

    @property
    def mid_utterance(self) -> bool:
        """Whether the processor has found speech and not its end."""
        return self._open is not None

    async def _pass_on(self, frame: InputAudioRawFrame | OutputAudioRawFrame) -> None:
        if isinstance(self._rate_hz, int) and frame.sample_rate != self._rate_hz:
            raise self.context.error(
                f"{self.context.name}: the processor gave audio at {frame.sample_rate} Hz where src says "
                f"rate={self._rate_hz}; say its rate there, and put a resample behind it",
                self._clock.now_ns,
            )
        samples = from_pcm(frame.audio, frame.num_channels)
        if not len(samples):
            return
        pts_ns = self._clock.give(len(samples), frame.sample_rate)
        audio = AudioFrame(samples, frame.sample_rate, pts_ns, self._taken_from)
        if not self.settings.cuts:
            if self._taken_from is not None or not self._segmented:  # too late for its utterance otherwise
                await self.context.push(audio)
        elif self._open is not None:
            await self._push(audio)
        else:
            self._recent.append(audio)
            self._recent_ns += audio.duration_ns
            while self._recent_ns - self._recent[0].duration_ns >= self._keep_ns:
                self._recent_ns -= self._recent.popleft().duration_ns

    async def _push(self, audio: AudioFrame) -> None:
        if self._open is not None:
            number = self._open.utterance
            await self.context.push(AudioFrame(audio.samples, audio.rate_hz, audio.pts_ns, number))

    async def _begin(self, onset_s: float) -> None:
        if self._open is not None:
            return
        back_ns = min(round(onset_s * NS_PER_S), MAX_ONSET_NS) + self.settings.pre_roll_ms * NS_PER_MS
        begin_ns = self._clock.now_ns - back_ns
        held, first = list(self._recent), True
        self._recent.clear()
        self._recent_ns = 0
        for audio in held:
            skip = max(0, ns_to_samples(begin_ns - audio.pts_ns, audio.rate_hz)) if begin_ns > audio.pts_ns else 0
            if skip >= len(audio.samples):
                continue
            pts_ns = audio.pts_ns + samples_to_ns(skip, audio.rate_hz)
            if first:
                await self._open_at(pts_ns)
                first = False
            await self._push(AudioFrame(audio.samples[skip:], audio.rate_hz, pts_ns))
        if first:
            await self._open_at(self._clock.now_ns)

    async def _open_at(self, pts_ns: int) -> None:
        self._open = UtteranceStart(next(self._numbers), pts_ns)
        await self.context.push(self._open)

    async def _end(self, reason: EndReason, hangover_s: float, end_ns: int | None = None) -> None:
        begun, self._open = self._open, None
        if begun is None:
            return
        end_ns = self._clock.now_ns if end_ns is None else end_ns
        speech_end_ns = max(begun.pts_ns, end_ns - round(hangover_s * NS_PER_S)) if reason == "silence" else None
        await self.context.push(UtteranceEnd(begun.utterance, begun.pts_ns, end_ns, reason, speech_end_ns))
