"""Callers that cost next to nothing, so that one core of them can load another core's server.

aiortc makes the call; then packets that were encoded beforehand are protected and sent, all peers by one pacer, and
what comes back is kept as it arrived. It is decrypted, decoded and compared with what was said after the measurement.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtpPacket, is_rtcp

from tests.bench.live.latency import Moment, moments
from tests.bench.live.servers import Server
from tolmach.pipelines.frames import NS_PER_S, Samples
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, RTP_RATE_HZ, OpusDecoder, OpusEncoder, unwrap
from tolmach.transports.webrtc.signalling import messages

_ADAPT_NS = 5_000_000
_HEADER = struct.Struct("!BBHII")


@dataclass(frozen=True, slots=True)
class Heard:
    """One packet that came back: when, ns; its place in the stream, samples at 48 kHz; its Opus."""

    at_ns: int
    timestamp: int
    payload: bytes


class _NothingTrack(MediaStreamTrack):
    """Keeps aiortc's own sender waiting; the pacer sends instead."""

    kind = "audio"

    async def recv(self) -> Any:
        await asyncio.Event().wait()


class LightPeer:
    """One caller.

    Args:
        packets: Opus packets of 20 ms, said in a loop.
        number: Which of the callers; callers have addresses of their own, begin at different places of the loop, and
            send at different times within 20 ms.
    """

    def __init__(self, packets: Sequence[bytes], number: int) -> None:
        self.number = number
        self.recording = False
        self.arrivals: list[tuple[int, bytes]] = []  # ns, datagram
        self.sent: list[int] = []  # ns of each packet
        self._packets = packets
        self._first = 37 * number % len(packets)
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._transceiver = self._pc.addTransceiver(_NothingTrack(), direction="sendrecv")
        self._send_datagram: Any = None

    async def join(self, server: Server, graph: str = "echo") -> None:
        """Call, and wait until connected."""
        if server.stack == "tolmach":
            channel = self._pc.createDataChannel(messages.LABEL)
            channel.on("message", lambda text: self._answer(channel, text))
        await self._pc.setLocalDescription(await self._pc.createOffer())
        body: dict[str, Any] = {"sdp": self._pc.localDescription.sdp, "type": "offer"}
        path = "/api/offer"
        if server.stack == "tolmach":
            body, path = {"sdp": body["sdp"], "graph": graph}, "/api/sessions"
        # The server's limits are per address, and these callers stand for different people.
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.1.{self.number + 1}")
        async with httpx.AsyncClient(transport=transport, timeout=30) as http:
            answer = await http.post(server.url + path, json=body)
        answer.raise_for_status()
        connected = asyncio.Event()
        self._pc.on("connectionstatechange", lambda: self._pc.connectionState == "connected" and connected.set())
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=answer.json()["sdp"], type="answer"))
        async with asyncio.timeout(30):
            await connected.wait()
        self._take_over()

    def _take_over(self) -> None:
        dtls = self._transceiver.sender.transport
        pair = dtls.transport._connection._nominated[1]
        protocol, address = pair.protocol, pair.remote_addr
        self._payload_type = self._transceiver._codecs[0].payloadType
        ssrc = self._transceiver.sender._ssrc
        others = protocol.datagram_received

        def receive(data: bytes, source: tuple[Any, ...]) -> None:
            if 127 < data[0] < 192 and not is_rtcp(data):
                if self.recording:
                    self.arrivals.append((time.monotonic_ns(), data))
            else:
                others(data, source)

        def send(n: int) -> None:
            payload = self._packets[(self._first + n) % len(self._packets)]
            header = _HEADER.pack(0x80, self._payload_type, n & 0xFFFF, n * FRAME_SAMPLES & 0xFFFFFFFF, ssrc)
            protocol.transport.sendto(dtls._tx_srtp.protect(header + payload), address)

        protocol.datagram_received = receive
        self._send_datagram = send
        self._unprotect = dtls._rx_srtp.unprotect

    def send(self) -> None:
        """Send the next packet."""
        if self._send_datagram is None:
            return
        self.sent.append(time.monotonic_ns())
        self._send_datagram(len(self.sent) - 1)

    @staticmethod
    def _answer(channel: Any, text: str) -> None:
        message = json.loads(text)
        if message["type"] == "ping":
            channel.send(messages.encode("pong", number=message["number"]))

    async def leave(self) -> None:
        """Hang up."""
        self._send_datagram = None
        await self._pc.close()

    def take(self) -> list[Heard]:
        """What came since the last time, decrypted; in the thread of the loop, which uses the same SRTP session."""
        arrivals, self.arrivals = self.arrivals, []
        timestamp, taken = 0, []
        for at_ns, data in arrivals:
            packet = RtpPacket.parse(self._unprotect(data))
            timestamp = unwrap(packet.timestamp, timestamp, 32)
            taken.append(Heard(at_ns, timestamp, packet.payload))
        return taken

    def echo(self, said: Samples, heard: Sequence[Heard], from_ns: int, to_ns: int) -> list[Moment]:
        """What became of the audio said in a time; may run in any thread.

        Args:
            said: What the packets hold, float32[n] at 48 kHz, once around.
            heard: What came back meanwhile.
            from_ns: When the time began.
            to_ns: When it ended.

        Returns:
            Its moments, ``at_s`` from the beginning.
        """
        length = (to_ns - from_ns) * RTP_RATE_HZ // NS_PER_S
        return moments(self._said(said, from_ns, length), _laid_out(heard, from_ns, length), RTP_RATE_HZ)

    def _said(self, said: Samples, from_ns: int, length: int) -> Samples:
        """The loop from a time on, as it was sent: the first sample of a packet 20 ms before it went."""
        sent = np.asarray(self.sent)
        numbers = np.arange(len(sent))
        there = (from_ns <= sent) & (sent < from_ns + length * NS_PER_S // RTP_RATE_HZ)
        start_ns = int(np.median((sent - (numbers + 1) * FRAME_NS)[there]))
        first = (from_ns - start_ns) * RTP_RATE_HZ // NS_PER_S + self._first * FRAME_SAMPLES
        return np.take(said, np.arange(first, first + length), mode="wrap")


def _laid_out(packets: Sequence[Heard], from_ns: int, length: int) -> Samples:
    """What a listener hears from a time on whose buffer waits for 95 of 100 packets.

    It adapts every second, but only by more than a few milliseconds: each change is a cut in the sound.
    """
    heard, decoder, start_ns = np.zeros(length, np.float32), OpusDecoder(), 0
    seconds: dict[int, list[Heard]] = {}
    for packet in packets:
        seconds.setdefault((packet.timestamp - packets[0].timestamp) // RTP_RATE_HZ, []).append(packet)
    for group in seconds.values():
        needed_ns = int(np.percentile([p.at_ns - p.timestamp * NS_PER_S // RTP_RATE_HZ for p in group], 95))
        if abs(needed_ns - start_ns) > _ADAPT_NS:
            start_ns = needed_ns
        for p in group:
            at = (start_ns - from_ns) * RTP_RATE_HZ // NS_PER_S + p.timestamp
            samples = decoder.decode(p.payload)
            if samples is not None and 0 <= at <= length - len(samples):
                heard[at : at + len(samples)] = samples
    return heard


def encode(signal: Samples) -> list[bytes]:
    """A signal of whole 20 ms frames at 48 kHz as Opus packets, as a browser would send it."""
    encoder = OpusEncoder()
    return [encoder.encode(signal[i : i + FRAME_SAMPLES]) for i in range(0, len(signal), FRAME_SAMPLES)]


class Pacer:
    """Sends for all peers, every 20 ms each, spread evenly over that time.

    Attributes:
        late_ms: How late each round was, ms; the measurement is void when its caller cannot keep time.
    """

    def __init__(self) -> None:
        self.peers: list[LightPeer] = []
        self.late_ms: list[float] = []

    async def run(self) -> None:
        """Send until cancelled."""
        start, n = time.monotonic_ns(), 0
        while True:
            for k, peer in enumerate(tuple(self.peers)):
                due = start + n * FRAME_NS + k * FRAME_NS // len(self.peers)
                if (wait := due - time.monotonic_ns()) > 0:
                    await asyncio.sleep(wait / NS_PER_S)
                self.late_ms.append((time.monotonic_ns() - due) / 1e6)
                peer.send()
            n += 1
            if (wait := start + n * FRAME_NS - time.monotonic_ns()) > 0:
                await asyncio.sleep(wait / NS_PER_S)
