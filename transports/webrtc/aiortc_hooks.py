"""Where aiortc's media path is left: checked against aiortc 1.16.0; tests/unit/test_webrtc_hooks.py notices changes.

aiortc gives no public access to the packets of an audio stream, and its own jitter buffer (``capacity=16, prefetch=4``)
adds 80 ms and, after one lost packet, 200 ms more for good. So the receiver's jitter buffer is replaced by an object
that hands each packet on and never gives aiortc a frame to decode. All else stays aiortc's: SRTP, RTCP reports, codecs.
The way out needs no hook: a track may give already encoded packets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket

from transports.webrtc.opus import TIME_BASE
from transports.webrtc.sender import PacketStream, SenderClosed

OnPacket = Callable[[int, int, bytes], None]
"""Takes sequence number, timestamp and payload of an RTP packet."""

JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
"""The private attribute, as Python mangles ``RTCRtpReceiver.__jitter_buffer``."""


class PacketTap:
    """Stands where aiortc keeps its jitter buffer."""

    def __init__(self, on_packet: OnPacket) -> None:
        self._on_packet = on_packet

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Hand the packet on; no picture is missed (False), no frame is complete (None)."""
        self._on_packet(packet.sequence_number, packet.timestamp, packet.payload)
        return False, None


def tap_receiver(receiver: RTCRtpReceiver, on_packet: OnPacket) -> None:
    """Give the packets of an audio receiver to ``on_packet`` instead of aiortc's jitter buffer and decoder.

    Raises:
        RuntimeError: If this aiortc keeps its jitter buffer elsewhere.
    """
    if not hasattr(receiver, JITTER_BUFFER):
        raise RuntimeError(
            "this version of aiortc cannot be used: its receiver has no jitter buffer to replace; install aiortc 1.16.0"
        )
    setattr(receiver, JITTER_BUFFER, PacketTap(on_packet))


class PacedTrack(MediaStreamTrack):
    """Gives aiortc the packets of a sender, encoded and at their time."""

    kind = "audio"

    def __init__(self, packets: PacketStream) -> None:
        super().__init__()
        self._packets = packets

    async def recv(self) -> av.Packet[Any]:
        """The next packet when it is due. Raises MediaStreamError once there will be none."""
        try:
            outgoing = await self._packets.next_packet()
        except SenderClosed:
            self.stop()
            raise MediaStreamError from None
        packet: av.Packet[Any] = av.Packet(outgoing.payload)
        packet.pts = outgoing.timestamp
        packet.time_base = TIME_BASE
        return packet
