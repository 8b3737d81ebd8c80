"""Where aiortc is entered: checked against aiortc 1.16.0; tests/unit/test_webrtc_hooks.py notices changes.

*Media.* aiortc gives no public access to the packets of an audio stream, and its own jitter buffer (``capacity=16,
prefetch=4``) adds 80 ms and, after one lost packet, 200 ms more for good. So the receiver's jitter buffer is replaced
by an object that hands each packet on and never gives aiortc a frame to decode. All else stays aiortc's: SRTP, RTCP
reports, codecs. The way out needs no hook: a track may give already encoded packets.

*ICE.* aiortc makes its aioice connection itself and keeps it for life. An object with the same interface is put in its
place, which can restart and is told where to bind (:mod:`tolmach.transports.webrtc.signalling.ice`).

*Guards.* What has passed DTLS or SRTP is a client's, and aiortc's parsers believe it: one packet can end the session
with a traceback, hang its end, or stop the process. The methods that take packets are wrapped on the instance: what
:mod:`tolmach.transports.webrtc.guards` refuses, and whatever raises, is dropped and counted (docs/adr/0013).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import aioice
import av
from aioice.ice import get_host_addresses
from aiortc import (
    MediaStreamTrack,
    RTCCertificate,
    RTCDtlsTransport,
    RTCIceTransport,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSctpTransport,
)
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import SRTP_PROFILES
from aiortc.rtcsctptransport import Chunk, RTCSctpCapabilities
from aiortc.rtp import AnyRtcpPacket, RtpPacket
from OpenSSL import SSL

from tolmach.transports.webrtc.guards import Allowance, MalformedPacket, check_sctp
from tolmach.transports.webrtc.opus import TIME_BASE
from tolmach.transports.webrtc.outgoing.sender import PacketReader, SenderClosed
from tolmach.transports.webrtc.signalling.ice import RestartableIce

log = logging.getLogger(__name__)

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
    _demand(receiver, JITTER_BUFFER)
    setattr(receiver, JITTER_BUFFER, PacketTap(on_packet))


class PacedTrack(MediaStreamTrack):
    """Gives aiortc the packets of a sender, encoded and at their time."""

    kind = "audio"

    def __init__(self, packets: PacketReader) -> None:
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
    _demand(transport, "_connection", "_recv", "_send")
    transport.iceGatherer._connection = transport._connection = cast("aioice.Connection", ice)
    transport._recv, transport._send = ice.recv, ice.send


def wait_for_dtls(transport: RTCDtlsTransport) -> None:
    """Be the DTLS server where the offer leaves that to us (``a=setup:actpass``), once it is known.

    As a client, aiortc offers the cipher suites of ECDSA alone, and cannot agree with a peer whose certificate is RSA,
    as GStreamer's are; as a server it shows its own, which is ECDSA, and takes any of the peer's whose fingerprint is
    right. What a WHIP client expects of a server is that it waits, too (RFC 9725, 4.4.5).

    Raises:
        RuntimeError: If this aiortc keeps the role elsewhere.
    """
    _demand(transport, "_role", "_set_role")
    if transport._role == "auto":
        transport._set_role("server")


# Guards ---------------------------------------------------------------------------------------------------------------

Refuse = Callable[[object], None]
"""Takes what is wrong with a packet, or with a peer; the text has neither addresses nor contents."""

MAX_MESSAGE = 65_536
"""Longest message a peer may send over the data channel, bytes, as our SDP tells it (RFC 8841, 6.1). Four times as many
characters as any message of docs/LIVE.md may have, in the widest encoding."""
RECEIVE_WINDOW = 2 * MAX_MESSAGE
"""What a peer may send before its messages are complete, bytes (RFC 9260, advertised receiver window credit)."""
MAX_HELD_CHUNKS = 512
"""Fragments that may wait for others; aiortc walks through all of them for each one that comes."""
MAX_TSN_AHEAD = 1024
"""How far beyond the first missing chunk another one may be; aiortc sorts them for each one that comes."""
MAX_STREAMS = 64
"""SCTP streams and data channels that a peer may open; the page opens one."""
_RECORD = 1500
"""Bytes read of a DTLS record, as aiortc does it."""
CHUNKS_PER_S, CHUNKS_AT_ONCE = 500, 1000
"""SCTP chunks of a peer, for each costs about as much as a packet."""


def guard_transport(transport: RTCDtlsTransport, refuse: Refuse) -> None:
    """Drop RTP and RTCP that aiortc cannot read.

    Raises:
        RuntimeError: If this aiortc reads its packets elsewhere.
    """
    _demand(transport, "_handle_rtp_data", "_handle_rtcp_data")
    handle_rtp, handle_rtcp = transport._handle_rtp_data, transport._handle_rtcp_data

    async def rtp(data: bytes, arrival_time_ms: int) -> None:
        try:
            await handle_rtp(data, arrival_time_ms=arrival_time_ms)
        except ConnectionError:
            raise
        except Exception as error:  # struct.error and UnicodeError of header extensions, say
            refuse(f"an RTP packet ({type(error).__name__})")

    async def rtcp(data: bytes) -> None:
        try:
            await handle_rtcp(data)
        except ConnectionError:
            raise
        except Exception as error:  # struct.error of a REMB message that is too short, say
            refuse(f"an RTCP packet ({type(error).__name__})")

    transport._handle_rtp_data = rtp  # type: ignore[method-assign]
    transport._handle_rtcp_data = rtcp  # type: ignore[method-assign]


def guard_receiver(receiver: RTCRtpReceiver, refuse: Refuse) -> None:
    """Go on reporting when a report cannot be written.

    A peer's timestamps can make the jitter too large for its 32 bits. The task that reports would end with an error,
    and aiortc would then wait for it for ever when the connection is closed.

    Raises:
        RuntimeError: If this aiortc sends its reports elsewhere.
    """
    _demand(receiver, "_send_rtcp")
    send = receiver._send_rtcp

    async def send_rtcp(packet: AnyRtcpPacket) -> None:
        try:
            await send(packet)
        except Exception as error:
            refuse(f"what a report would say ({type(error).__name__})")

    receiver._send_rtcp = send_rtcp  # type: ignore[method-assign]


def guard_sender(sender: RTCRtpSender) -> None:
    """Send nothing again: no retransmission is negotiated for audio, and one NACK packet can ask for 6000 of them.

    Raises:
        RuntimeError: If this aiortc sends packets again elsewhere.
    """
    _demand(sender, "_retransmit")

    async def retransmit(sequence_number: int) -> None:
        return

    sender._retransmit = retransmit  # type: ignore[method-assign]


def guard_data(sctp: RTCSctpTransport, refuse: Refuse, overrun: Refuse) -> None:
    """Check SCTP packets before aiortc reads them, and bound what it keeps of messages that are not complete.

    What is sent to a peer that has gone meanwhile is lost without a word.

    Call it before the transport is described to the peer, which is told the bounds.

    Args:
        sctp: The transport; once.
        refuse: Is told of packets that were dropped.
        overrun: Is told that the peer has gone beyond a bound of which it was told, and should be hung up on.

    Raises:
        RuntimeError: If this aiortc keeps its SCTP state elsewhere.
    """
    _demand(sctp, "_handle_data", "_advertised_rwnd", "_inbound_streams", "_data_channels", "_local_tsn")
    _demand(sctp, "_last_received_tsn", "_send_chunk")
    _demand(sctp.transport, "_ssl")
    handle: Callable[[bytes], Awaitable[None]] = sctp._handle_data
    chunks_left = Allowance(CHUNKS_PER_S, CHUNKS_AT_ONCE)
    is_over = False

    def overrun_by() -> str | None:
        if sctp._advertised_rwnd < 0:
            return f"a message of more than {MAX_MESSAGE} bytes"
        if len(sctp._inbound_streams) > MAX_STREAMS or len(sctp._data_channels) > MAX_STREAMS:
            return f"more than {MAX_STREAMS} data channels"
        if sum(len(stream.reassembly) for stream in sctp._inbound_streams.values()) > MAX_HELD_CHUNKS:
            return f"a message of more than {MAX_HELD_CHUNKS} fragments"
        return None

    async def handle_data(data: bytes) -> None:
        await handle_packet(data)
        # aiortc reads one record of a datagram. The others would wait until more datagrams come, and ever more of them.
        records = sctp.transport._ssl
        while records is not None and not is_over:
            try:
                data = records.recv(_RECORD)
            except SSL.Error:  # there is none, as a rule
                return
            await handle_packet(data)

    async def handle_packet(data: bytes) -> None:
        nonlocal is_over
        if is_over:
            return
        try:
            chunks = check_sctp(data, sent_tsn=sctp._local_tsn - 1)
            if chunks:
                received = sctp._last_received_tsn
                if received is None:
                    raise MalformedPacket("SCTP data before an association")
                if any(MAX_TSN_AHEAD < (tsn - received) % 2**32 < 2**31 for tsn in chunks):
                    raise MalformedPacket("SCTP data far ahead of what is missing")
            if not chunks_left.take(1 + len(chunks)):
                return  # it comes again; SCTP slows down
            await handle(data)
            if (too_much := overrun_by()) is not None:
                is_over = True
                overrun(too_much)
        except ConnectionError:
            raise
        except MalformedPacket as error:
            refuse(error)
        except Exception as error:  # aiortc asserts, and decodes text that is no UTF-8
            refuse(f"an SCTP packet ({type(error).__name__})")

    send_chunk = sctp._send_chunk

    async def send(chunk: Chunk) -> None:
        try:
            await send_chunk(chunk)
        except (SSL.Error, ConnectionError) as error:
            # DTLS was shut down by the peer or by us, and the association is about to find that out. aiortc also sends
            # from timers and tasks, whose errors nobody takes.
            log.debug("a peer has gone while it was told something (%s)", error)

    sctp._send_chunk = send  # type: ignore[method-assign]
    sctp._advertised_rwnd = RECEIVE_WINDOW
    sctp._handle_data = handle_data  # type: ignore[method-assign]
    sctp.getCapabilities = lambda: RTCSctpCapabilities(maxMessageSize=MAX_MESSAGE)  # type: ignore[method-assign]


def _demand(part: object, *names: str) -> None:
    missing = [name for name in names if not hasattr(part, name)]
    if missing:
        raise RuntimeError(
            f"this version of aiortc cannot be used: its {type(part).__name__} has no {missing[0]}; "
            "install aiortc 1.16.0"
        )


async def preload_libraries() -> None:
    """Do in a thread what the first connection of a process would do in the loop: about 10 ms of loading libraries.

    Later connections need no preparation. No step of one takes more than some 2 ms, and key and certificate 0.1 ms.
    aioice's log of TURN is silenced below warnings, for it names the addresses of clients.
    """
    logging.getLogger("aioice.turn").setLevel(logging.WARNING)
    await asyncio.to_thread(_load)


def _load() -> None:
    certificate = RTCCertificate.generateCertificate()
    certificate.getFingerprints()
    certificate._create_ssl_context(SRTP_PROFILES)
    get_host_addresses(use_ipv4=True, use_ipv6=True)
