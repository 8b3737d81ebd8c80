"""``webrtc_src`` and ``webrtc_sink``: the two ends of a live graph, on one line, or on those of a room's seats."""

from __future__ import annotations

import dataclasses

import numpy as np

from tolmach.pipelines.bus import DroppedMessage, HeardMessage, PositionMessage
from tolmach.pipelines.element import Context, Element, SourceElement
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, AudioFrame, Frame, Samples, UtteranceEnd, UtteranceStart
from tolmach.transports.mono import MonoConverter
from tolmach.transports.webrtc.incoming.jitter import JitterSettings
from tolmach.transports.webrtc.session_line import Line, Microphone, Speaker, line_resource
from tolmach.transports.webrtc.spec import WebrtcSinkSettings, WebrtcSrcSettings

__all__ = ["CaptionSink", "WebrtcSink", "WebrtcSrc"]

_NOTHING: Samples = np.zeros(0, np.float32)


def _line_of(context: Context, seat: str) -> Line:
    """The line of the session that the graph runs for, or of a seat of its room.

    Raises:
        ElementError: If it runs for none; says what to do.
    """
    line = context.resource(line_resource(seat), Line)
    if line is None:
        text = "it has no live session; run this graph with `tolmach serve`, which gives it one"
        if seat:
            text = f"nobody can be at its seat {seat!r}; run this graph with `tolmach serve` and open a room with it"
        raise context.error(f"element {context.name!r}: {text}")
    return line


class WebrtcSrc(SourceElement):
    """Pushes what the line's microphone gives; reading it here is what drives the jitter buffer."""

    settings: WebrtcSrcSettings

    def __init__(self, settings: WebrtcSrcSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._microphone: Microphone | None = None

    async def start(self) -> None:
        """Take a place at the line's microphone. Raises ElementError if there is no such session."""
        line = _line_of(self.context, self.settings.seat)
        s = self.settings
        jitter = dataclasses.replace(
            JitterSettings(),
            min_target_ms=s.min_target_ms,
            max_target_ms=s.max_target_ms,
            hold_ms=s.hold_ms,
            paced=s.paced,
        )
        self._microphone = line.microphone(jitter, gated=s.gate_playback)

    async def produce(self) -> None:
        """Push the peer's audio until its connection ends or the next graph takes over.

        Cancelled by: cancel of the graph.

        Raises:
            ElementError: If the element was not started.
        """
        microphone = self._microphone
        if microphone is None:
            raise self.context.error("it was not started")
        overflowed, reported_ns = 0, -NS_PER_S
        while (frame := await microphone.read()) is not None:
            lost, overflowed = microphone.overflowed - overflowed, microphone.overflowed
            if lost > 0:  # else another connection counts from 0
                what = "1 packet was" if lost == 1 else f"{lost} packets were"
                text = f"{what} thrown away: the graph did not take what it heard in time."
                self.context.post(DroppedMessage(text, {"packets": lost}, pts_ns=frame.pts_ns))
            await self.context.push(frame)
            if frame.end_ns - reported_ns >= NS_PER_S:
                reported_ns = frame.end_ns
                self.context.post(PositionMessage(frame.end_ns, pts_ns=frame.end_ns))
            if self.context.at_rest():
                microphone.at_rest(frame)
                if microphone.wanted:
                    break
            else:
                microphone.in_speech()
        microphone.release()

    def change_settings(self, settings: WebrtcSrcSettings) -> None:
        """Open or close the gate, from the next frame on."""
        super().change_settings(settings)
        if self._microphone is not None:
            self._microphone.gated = settings.gate_playback

    def finish(self) -> None:
        """End after the frame in hand."""
        if self._microphone is not None:
            self._microphone.release()

    async def stop(self) -> None:
        """Let go of the line; it belongs to the server."""
        self.finish()
        self._microphone = None

    @property
    def latency_ns(self) -> int:
        """What packets are made to wait in a calm network, ns."""
        return self.settings.min_target_ms * NS_PER_MS if self.settings.paced else 0


class WebrtcSink(Element):
    """Hands audio to the line's speaker."""

    settings: WebrtcSinkSettings

    def __init__(self, settings: WebrtcSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._line: Line | None = None
        self._speaker: Speaker | None = None
        self._converter: MonoConverter | None = None
        self._starting: UtteranceStart | None = None

    async def start(self) -> None:
        """Take a place at the line's speaker. Raises ElementError if there is no such session."""
        self._line = _line_of(self.context, self.settings.seat)
        self._speaker = self._line.speaker(cushion_ms=self.settings.cushion_ms)
        self._converter = None
        self._starting = None

    async def process(self, frame: Frame, pad: str) -> None:
        """Queue audio for playing; speech waits for its turn and for room, live audio never."""
        line, speaker = self._line, self._speaker
        if line is None or speaker is None:
            return
        if isinstance(frame, UtteranceStart):
            self._starting = frame
        elif isinstance(frame, UtteranceEnd):
            await self._write(speaker, self._flush(), live=False)
            line.sender.end_utterance()
        elif isinstance(frame, AudioFrame):
            if self._starting is not None:
                start, self._starting = self._starting, None
                await speaker.turn()
                line.sender.when_played(lambda _: self._report(line, start))
            converter = self._converter
            if converter is None or converter.rate_hz != frame.rate_hz:
                await self._write(speaker, self._flush(), live=frame.utterance is None)
                converter = self._converter = MonoConverter(frame.rate_hz)
            await self._write(speaker, converter.convert(frame.samples), live=frame.utterance is None)

    async def drain(self) -> None:
        """Wait until everything was played, or nobody is there to hear it."""
        if self._speaker is not None:
            self._speaker.write_live(self._flush())
            await self._speaker.drain()

    async def stop(self) -> None:
        """Throw away what was not played; the line belongs to the server."""
        if self._speaker is not None:
            self._speaker.hang_up()
        self._line = self._speaker = self._converter = None

    def reset(self, utterance: int | None) -> None:
        """Forget the resampler's past."""
        self._converter = None
        self._starting = None

    @property
    def latency_ns(self) -> int:
        """The cushion, ns."""
        return self.settings.cushion_ms * NS_PER_MS

    async def _write(self, speaker: Speaker, samples: Samples, *, live: bool) -> None:
        if live:
            speaker.write_live(samples)
        else:
            await speaker.write_utterance(samples)

    def _flush(self) -> Samples:
        converter, self._converter = self._converter, None
        return converter.flush() if converter is not None else _NOTHING

    def _report(self, line: Line, start: UtteranceStart) -> None:
        """Say that the utterance begins to be heard, on the clock its source was captured with."""
        heard_ns = line.now_ns()
        source_end_ns = start.pts_ns if start.source_end_ns is None else start.source_end_ns
        self.context.post(HeardMessage(start.utterance, heard_ns, heard_ns - source_end_ns, pts_ns=start.pts_ns))


class CaptionSink(Element):
    """Takes texts; whoever reads them is told by the runtime, as they flow here."""

    async def process(self, frame: Frame, pad: str) -> None:
        """Nothing is left to do."""
