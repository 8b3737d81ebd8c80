"""Where aiortc is entered: checked against aiortc 1.16.0; tests/unit/test_webrtc_hooks.py notices changes.

*Media.* aiortc gives no public access to the packets of an audio stream, and its own jitter buffer (``capacity=16,
prefetch=4``) adds 80 ms and, after one lost packet, 200 ms more for good. So the receiver's jitter buffer is replaced
by an object that hands each packet on and never gives aiortc a frame to decode. All else stays aiortc's: SRTP, RTCP
reports, codecs. The way out needs no hook: a track may give already encoded packets.

*ICE.* aiortc makes its aioice connection itself and keeps it for life. An object with the same interface is put in its
place, which can restart and is told where to bind (:mod:`transports.webrtc.ice`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import aioice
import av
from aioice.ice import get_host_addresses
from aiortc import MediaStreamTrack, RTCCertificate, RTCIceTransport, RTCRtpReceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import SRTP_PROFILES
from aiortc.rtp import RtpPacket

from transports.webrtc.ice import RestartableIce
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


def use_ice(transport: RTCIceTransport, ice: RestartableIce) -> None:
    """Let a transport that has not gathered yet run over ``ice``.

    Raises:
        RuntimeError: If this aiortc keeps its aioice connection elsewhere.
    """
    gatherer = transport.iceGatherer
    if not all(hasattr(transport, name) for name in ("_connection", "_recv", "_send")):
        raise RuntimeError(
            "this version of aiortc cannot be used: its ICE transport has no aioice connection to replace; "
            "install aiortc 1.16.0"
        )
    gatherer._connection = transport._connection = cast("aioice.Connection", ice)
    transport._recv, transport._send = ice.recv, ice.send


async def prepare() -> None:
    """Do in a thread what the first connection of a process would do in the loop: about 10 ms of loading libraries.

    Later connections need no preparation. No step of one takes more than some 2 ms, and key and certificate 0.1 ms.
    """
    await asyncio.to_thread(_load)


def _load() -> None:
    certificate = RTCCertificate.generateCertificate()
    certificate.getFingerprints()
    certificate._create_ssl_context(SRTP_PROFILES)
    get_host_addresses(use_ipv4=True, use_ipv6=True)
