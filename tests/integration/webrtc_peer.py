"""The other end of the line: a peer made of bare aiortc, which sends a known signal and records what it hears."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import is_rtcp

from tolmach.pipelines.frames import NS_PER_S, Samples
from tolmach.transports.webrtc.aiortc_hooks import tap_receiver
from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.opus import (
    FRAME_NS,
    FRAME_SAMPLES,
    RTP_RATE_HZ,
    TIME_BASE,
    OpusDecoder,
    OpusEncoder,
    unwrap,
)
from tolmach.transports.webrtc.signalling import messages


def babble(seconds: float, seed: int = 7) -> Samples:
    """Noise of the band and loudness of speech, with its pauses, float32[n], 48 kHz: each moment can be recognised."""
    count = round(seconds * RTP_RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / RTP_RATE_HZ)
    spectrum[(hz < 200) | (hz > 3000)] = 0
    noise = np.fft.irfft(spectrum, count)
    noise[np.arange(count) % RTP_RATE_HZ > 0.7 * RTP_RATE_HZ] = 0  # 0.3 s of silence each second
    return np.asarray(0.3 * noise / np.abs(noise).max(), np.float32)


class MicrophoneTrack(MediaStreamTrack):
    """Sends ``signal`` once, a packet every 20 ms when its last sample has been captured, and then silence."""

    kind = "audio"

    def __init__(self, signal: Samples) -> None:
        super().__init__()
        self._signal = signal
        self._encoder = OpusEncoder()
        self._number = 0
        self.start_ns: int | None = None

    async def recv(self) -> av.Packet[Any]:
        """The next packet at its time."""
        if self.start_ns is None:
            self.start_ns = time.monotonic_ns()
        due_ns = self.start_ns + (self._number + 1) * FRAME_NS
        await asyncio.sleep((due_ns - time.monotonic_ns()) / NS_PER_S)
        part = self._signal[self._number * FRAME_SAMPLES : (self._number + 1) * FRAME_SAMPLES]
        payload = self._encoder.encode(np.pad(part, (0, FRAME_SAMPLES - len(part))))
        packet: av.Packet[Any] = av.Packet(payload)
        packet.pts, packet.time_base = self._number * FRAME_SAMPLES, TIME_BASE
        self._number += 1
        return packet


class Peer:
    """A browser's part: offers a microphone and a data channel, and answers pings."""

    def __init__(self, signal: Samples, *, label: str = messages.LABEL) -> None:
        self.microphone = MicrophoneTrack(signal)
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.told: list[Mapping[str, Any]] = []
        self.said: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.heard_enough = asyncio.Event()
        self._want = 0
        self._packets: list[tuple[int, int, Samples]] = []  # arrival ns, unwrapped timestamp, audio
        self._decoder = OpusDecoder()
        self._transceiver = self.pc.addTransceiver(self.microphone, direction="sendrecv")
        tap_receiver(self._transceiver.receiver, self._hear)
        self.channel = self.pc.createDataChannel(label)
        self.channel.on("message", self._listen)
        self._drop: set[int] = set()
        self._dead = False

    async def call(self, connection: Connection, *, trickle: bool = False) -> None:
        """Offer and take the answer, as the page does over HTTP; candidates in the offer, or one by one after it."""
        await self.negotiate(connection, trickle=trickle)
        self.leak()

    def leak(self) -> None:
        """Make it possible to :meth:`lose` packets; once, when the answer has been taken."""
        transport = self._transceiver.sender.transport
        self._send_rtp = transport._send_rtp
        self._sent = 0
        transport._send_rtp = self._leaky_send  # type: ignore[method-assign]

    async def negotiate(self, connection: Connection, *, trickle: bool = False) -> None:
        """One round of offer and answer."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        offer = self.pc.localDescription.sdp
        lines = offer.split("\r\n")
        candidates = [s for s in lines if s.startswith("a=candidate:")]
        if trickle:
            offer = "\r\n".join(s for s in lines if not s.startswith(("a=candidate:", "a=end-of-candidates")))
        answer = await connection.answer(offer)
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        if trickle:
            for candidate in candidates:
                await connection.add_candidate(candidate, mid="0")
            await connection.add_candidate("", mid="0")
            await connection.add_candidate("candidate:1 1 udp 9 0a-b.local 9 typ host", mid="0")

    def lose(self, *numbers: int) -> None:
        """Lose these of the RTP packets sent from now on, counted from 0."""
        self._drop = {self._sent + n for n in numbers}

    async def vanish(self) -> None:
        """Fall silent without a word, like a laptop whose lid was closed."""
        self._dead = True
        transport = self._transceiver.sender.transport.transport
        for protocol in transport._connection._protocols:
            protocol.transport.close()

    async def hear(self, packets: int) -> None:
        """Wait until so many packets more were heard."""
        self._want = len(self._packets) + packets
        self.heard_enough.clear()
        async with asyncio.timeout(30):
            await self.heard_enough.wait()

    async def close(self) -> None:
        """Hang up."""
        await self.pc.close()

    def audio(self, after_ns: int, seconds: float) -> tuple[Samples, int]:
        """What was heard in the ``seconds`` from ``after_ns``.

        Returns:
            The audio, float32[n] at 48 kHz; and the time at which a listener without any buffer hears its first
            sample, ns: no packet of it arrives later than its time.
        """
        end_ns = after_ns + round(seconds * NS_PER_S)
        chosen = [p for p in self._packets if after_ns <= p[0] < end_ns]
        first = chosen[0][1]
        audio = np.zeros(chosen[-1][1] - first + FRAME_SAMPLES, np.float32)
        for _, timestamp, samples in chosen:
            audio[timestamp - first : timestamp - first + len(samples)] = samples
        starts = [at - (timestamp - first) * NS_PER_S // RTP_RATE_HZ for at, timestamp, _ in chosen]
        return audio, int(np.median(starts))

    def echo_ms(self, after_ns: int, windows: int = 5) -> float:
        """From microphone to ear, ms: the smallest latency of the windows of 0.8 s that follow ``after_ns``.

        The smallest, for a busy machine adds what passes again; what stays, stays in all of them. Measure after the
        call: the mathematics stalls both ends, for they share the process.
        """
        found = [self._echo_ms(after_ns + n * 800_000_000, 0.8) for n in range(windows)]
        recognised = [ms for ms, match in found if match > 0.6]
        assert recognised, f"nothing that comes back is what was said: {found}"
        return min(recognised)

    def _echo_ms(self, after_ns: int, seconds: float) -> tuple[float, float]:
        """The latency at which what was heard matches what was said best, ms; and how well it does, up to 1."""
        from scipy.signal import correlate

        audio, start_ns = self.audio(after_ns, seconds)
        assert self.microphone.start_ns is not None
        said = self.microphone._signal
        # No circular correlation: what was heard lies somewhere in what was said.
        match = correlate(said, audio, mode="valid", method="fft")
        at = int(np.argmax(match))
        quality = float(match[at] / (np.linalg.norm(said[at : at + len(audio)]) * np.linalg.norm(audio) + 1e-9))
        captured_ns = self.microphone.start_ns + at * NS_PER_S // RTP_RATE_HZ
        return (start_ns - captured_ns) / 1e6, quality

    def _hear(self, sequence: int, timestamp: int, payload: bytes) -> None:
        if self._packets:
            timestamp = unwrap(timestamp, self._packets[-1][1], 32)
        samples = self._decoder.decode(payload)
        assert samples is not None
        self._packets.append((time.monotonic_ns(), timestamp, samples))
        if len(self._packets) >= self._want:
            self.heard_enough.set()

    def _listen(self, text: str) -> None:
        message = json.loads(text)
        self.told.append(message)
        if message["type"] == "ping" and not self._dead:
            self.channel.send(messages.encode("pong", number=message["number"]))
        self.said.put_nowait(message)

    async def _leaky_send(self, data: bytes) -> None:
        if not is_rtcp(data):
            self._sent += 1
            if self._sent - 1 in self._drop:
                return
        await self._send_rtp(data)
