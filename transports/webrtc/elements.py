"""``webrtc_src`` and ``webrtc_sink``: the two ends of a live graph, on one connection."""

from __future__ import annotations

import dataclasses

from pipelines.element import Context, Element, SourceElement
from pipelines.errors import ElementError
from pipelines.frames import NS_PER_MS, NS_PER_S, AudioFrame, Frame, Samples, UtteranceEnd, UtteranceStart
from transports.webrtc.connection import Connection
from transports.webrtc.jitter import JitterSettings
from transports.webrtc.mono import MonoConverter
from transports.webrtc.sessions import SESSIONS
from transports.webrtc.spec import WebrtcSinkSettings, WebrtcSrcSettings

__all__ = ["WebrtcSink", "WebrtcSrc"]


class WebrtcSrc(SourceElement):
    """Pushes what the session's receiver gives; reading it here is what drives the jitter buffer."""

    settings: WebrtcSrcSettings

    def __init__(self, settings: WebrtcSrcSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._connection: Connection | None = None
        self._finishing = False

    async def start(self) -> None:
        """Find the connection. Raises ElementError if there is no such session."""
        self._finishing = False
        connection = SESSIONS.find(self.settings.session, self.context)
        s = self.settings
        connection.receiver.configure(
            dataclasses.replace(
                JitterSettings(), min_target_ms=s.min_target_ms, max_target_ms=s.max_target_ms, hold_ms=s.hold_ms
            )
        )
        self._connection = connection

    async def produce(self) -> None:
        """Push the peer's audio until the session ends.

        Cancelled by: cancel of the graph.

        Raises:
            ElementError: If the element was not started.
        """
        connection = self._connection
        if connection is None:
            raise ElementError("it was not started", element=self.context.name, graph=self.context.graph)
        overflowed, reported_ns = connection.receiver.overflowed, -NS_PER_S
        while not (self._finishing or connection.closed.is_set()):
            frame = await connection.receiver.read()
            if frame is None:
                continue  # closed or interrupted: the loop's condition says which
            if connection.receiver.overflowed > overflowed:
                lost, overflowed = connection.receiver.overflowed - overflowed, connection.receiver.overflowed
                self.context.post(
                    "dropped",
                    f"{lost} packets were thrown away: the graph did not take them in time.",
                    pts_ns=frame.pts_ns,
                    data={"packets": lost},
                )
            await self.context.push(frame)
            if frame.end_ns - reported_ns >= NS_PER_S:
                reported_ns = frame.end_ns
                self.context.post(
                    "progress", pts_ns=frame.end_ns, data={"position_ns": frame.end_ns, "duration_ns": None}
                )
        if connection.closed.is_set():
            self.context.post("info", f"The session has ended: {connection.close_reason}.")

    def finish(self) -> None:
        """End after the frame in hand."""
        self._finishing = True
        if self._connection is not None:
            self._connection.receiver.interrupt()

    async def stop(self) -> None:
        """Let go of the connection; it belongs to the server."""
        self._connection = None

    @property
    def latency_ns(self) -> int:
        """What packets are made to wait in a calm network, ns."""
        return self.settings.min_target_ms * NS_PER_MS


class WebrtcSink(Element):
    """Hands audio to the session's sender."""

    settings: WebrtcSinkSettings

    def __init__(self, settings: WebrtcSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._connection: Connection | None = None
        self._converter: MonoConverter | None = None
        self._starting: UtteranceStart | None = None

    async def start(self) -> None:
        """Find the connection. Raises ElementError if there is no such session."""
        connection = SESSIONS.find(self.settings.session, self.context)
        connection.sender.configure(cushion_ms=self.settings.cushion_ms)
        self._connection = connection
        self._converter = None
        self._starting = None

    async def process(self, frame: Frame, pad: str) -> None:
        """Queue audio for playing; speech waits for room, live audio never."""
        connection = self._connection
        if connection is None:
            return
        if isinstance(frame, UtteranceStart):
            self._starting = frame
        elif isinstance(frame, UtteranceEnd):
            await self._write(connection, self._flush(), live=False)
            connection.sender.end_utterance()
        elif isinstance(frame, AudioFrame):
            if self._starting is not None:
                self._report(connection, self._starting)
                self._starting = None
            converter = self._converter
            if converter is None or converter.rate_hz != frame.rate_hz:
                await self._write(connection, self._flush(), live=frame.utterance is None)
                converter = self._converter = MonoConverter(frame.rate_hz)
            await self._write(connection, converter.convert(frame.samples), live=frame.utterance is None)

    async def drain(self) -> None:
        """Wait until everything was played, or the session is over."""
        connection = self._connection
        if connection is not None:
            connection.sender.write_live(self._flush())
            await connection.sender.drained()

    async def stop(self) -> None:
        """Throw away what was not played; the connection belongs to the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.sender.clear()

    def reset(self, utterance: int | None) -> None:
        """Forget the resampler's past."""
        self._converter = None
        self._starting = None

    @property
    def latency_ns(self) -> int:
        """The cushion, ns."""
        return self.settings.cushion_ms * NS_PER_MS

    async def _write(self, connection: Connection, samples: Samples, *, live: bool) -> None:
        if live:
            connection.sender.write_live(samples)
        else:
            await connection.sender.write_utterance(samples)

    def _flush(self) -> Samples:
        converter, self._converter = self._converter, None
        return converter.flush() if converter is not None else MonoConverter.nothing()

    def _report(self, connection: Connection, start: UtteranceStart) -> None:
        """Say when the utterance is heard, on the clock its source was captured with."""
        placed_ns = connection.receiver.media_now_ns() + round(connection.sender.depth_ms * NS_PER_MS)
        reference_ns = start.pts_ns if start.source_end_ns is None else start.source_end_ns
        self.context.post(
            "latency",
            f"utterance {start.utterance}: heard {(placed_ns - reference_ns) / NS_PER_S:.2f} s after its source",
            pts_ns=start.pts_ns,
            data={
                "utterance": start.utterance,
                "source_start_ns": start.pts_ns,
                "placed_ns": placed_ns,
                "lag_ns": placed_ns - reference_ns,
            },
        )
