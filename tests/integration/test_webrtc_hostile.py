"""A client that means harm: what it sends after DTLS, what anybody sends to its port, and ends at bad moments."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiortc.rtcsctptransport import DataChunk, RTCSctpTransport, crc32c
from aiortc.rtp import RtcpRtpfbPacket, RtpPacket

from tests.integration.webrtc_peer import Peer, babble
from tests.unit.hostile_packets import mutated, raw
from tests.until import no_task_left, until
from tolmach.transports.webrtc.aiortc_hooks import MAX_MESSAGE, RECEIVE_WINDOW
from tolmach.transports.webrtc.connection import MAX_CHANNELS, MAX_MALFORMED, Connection, ConnectionSettings
from tolmach.transports.webrtc.guards import Allowance
from tolmach.transports.webrtc.opus import SILENCE
from tolmach.transports.webrtc.signalling.ice import MAX_SOURCES
from tolmach.transports.webrtc.signalling.ice_agent import ice_servers
from tolmach.transports.webrtc.signalling.messages import encode
from tolmach.transports.webrtc.signalling.sdp import SignallingError


class Attacker(Peer):
    """A peer that can also send by hand, past its own aiortc."""

    @property
    def sctp(self) -> RTCSctpTransport:
        assert self.pc.sctp is not None
        return self.pc.sctp

    async def send_chunks(self, *chunks: bytes) -> None:
        """An SCTP packet of our association, with its checksum."""
        await self.send_sctp(struct.pack("!HHL", 5000, 5000, self.sctp._remote_verification_tag) + bytes(4), *chunks)

    async def send_sctp(self, header: bytes, *chunks: bytes) -> None:
        body = b"".join(chunks)
        checksum = struct.pack("<L", crc32c(header[:8] + bytes(4) + header[12:] + body))
        await self.sctp.transport._send_data(header[:8] + checksum + header[12:] + body)

    async def send_rtp(self, ssrc: int, sequence: int, timestamp: int, payload: bytes = SILENCE) -> None:
        packet = RtpPacket(self.payload_type, 0, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc, payload)
        await self._transceiver.sender.transport._send_rtp(packet.serialize())

    @property
    def payload_type(self) -> int:
        return self._transceiver._codecs[0].payloadType

    def data(self, flags: int, text: bytes, *, ahead: int = 0) -> bytes:
        """A DATA chunk of the page's stream, with the next number."""
        chunk = DataChunk(flags=flags)
        chunk.tsn = (self.sctp._local_tsn + ahead) % 2**32
        if not ahead:
            self.sctp._local_tsn = (chunk.tsn + 1) % 2**32
        chunk.stream_id, chunk.protocol, chunk.user_data = self.channel.id, 51, text
        chunk.stream_seq = self.sctp._outbound_stream_seq.get(self.channel.id, 0)
        return bytes(chunk)


@asynccontextmanager
async def call() -> AsyncIterator[tuple[Attacker, Connection]]:
    """A connected call with an open data channel; afterwards no task of it may be left."""
    async with no_task_left():
        connection, peer = Connection(), Attacker(babble(30))
        try:
            await peer.call(connection)
            await until(lambda: peer.channel.readyState == "open" and connection.opened.is_set())
            yield peer, connection
        finally:
            async with asyncio.timeout(15):
                await connection.close()
                await peer.close()


async def assert_it_goes_on(peer: Attacker, connection: Connection) -> None:
    """Audio arrives, and a message each way."""
    received = connection.receiver.stats()["received"]
    await until(lambda: connection.receiver.stats()["received"] > received)
    await assert_it_answers(peer, connection)


async def assert_it_answers(peer: Attacker, connection: Connection) -> None:
    number = random.getrandbits(40)
    peer.channel.send(encode("ping", number=number))
    async with asyncio.timeout(10):
        while (message := await peer.said.get())["type"] != "pong" or message["number"] != number:
            pass
    assert not connection.closed.is_set()


# SCTP -----------------------------------------------------------------------------------------------------------------


CHUNKS = {
    "reconfig with a parameter of no length": raw(130, struct.pack("!HH", 13, 0)),
    "reconfig that is too short": raw(130, struct.pack("!HHL", 13, 8, 1)),
    "reconfig with 200 parameters": raw(130, struct.pack("!HH", 13, 0) * 200),
    "heartbeat with a parameter of no length": raw(4, struct.pack("!HH", 1, 0)),
    "error with a cause of no length": raw(9, struct.pack("!HH", 1, 0)),
    "init with a parameter of no length": raw(1, bytes(16) + struct.pack("!HH", 5, 0)),
    "data that is too short": raw(0, b"short"),
    "sack that is too short": raw(3, b""),
    "sack of 20 million chunks": raw(3, struct.pack("!LLHH", 0, 0, 300, 0) + struct.pack("!HH", 1, 65_535) * 300),
    "forward tsn of three bytes": raw(192, b"abc"),
    "300 heartbeats": raw(4, b"") * 300,
}


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS.keys())
async def test_one_packet_stops_nothing(chunk: bytes) -> None:
    async with call() as (peer, connection):
        await peer.send_chunks(chunk)
        await peer.send_sctp(struct.pack("!HHL", 5000, 5000, 0) + bytes(4), chunk)  # as an INIT is marked
        await assert_it_goes_on(peer, connection)
        assert connection.complaints.count == 2


async def test_what_cannot_be_decoded_is_passed_over() -> None:
    async with call() as (peer, connection):
        await peer.send_chunks(peer.data(3, b"\xff\xfe no UTF-8"))
        peer.sctp._outbound_stream_seq[peer.channel.id] = peer.sctp._outbound_stream_seq.get(peer.channel.id, 0) + 1
        await assert_it_answers(peer, connection)
        opening = struct.pack("!BBHLHH", 3, 0, 0, 0, 2, 0) + b"\xff\xff"
        for stream in (peer.channel.id, 9):  # one that is open already, and a name that is no UTF-8
            chunk = DataChunk(flags=3)
            chunk.tsn, chunk.stream_id, chunk.protocol, chunk.user_data = peer.sctp._local_tsn, stream, 50, opening
            if stream == peer.channel.id:
                chunk.stream_seq = peer.sctp._outbound_stream_seq.get(stream, 0)
                peer.sctp._outbound_stream_seq[stream] = chunk.stream_seq + 1
            peer.sctp._local_tsn += 1
            await peer.send_chunks(bytes(chunk))
        await assert_it_goes_on(peer, connection)
        assert connection.complaints.count == 3


async def test_a_datagram_of_many_records_leaves_none_behind() -> None:
    async with call() as (peer, connection):
        transport = peer.sctp.transport
        assert transport._ssl is not None
        beat = raw(4, struct.pack("!HHL", 1, 8, 5))
        header = struct.pack("!HHL", 5000, 5000, peer.sctp._remote_verification_tag)
        packet = header + struct.pack("<L", crc32c(header + bytes(4) + beat)) + beat
        for _ in range(20):
            for _ in range(15):
                transport._ssl.send(packet)
            await transport._write_ssl()  # all of them in one
            await asyncio.sleep(0.01)
        await assert_it_goes_on(peer, connection)


async def test_a_peer_that_takes_no_messages_is_sent_none() -> None:
    async with call() as (peer, connection):
        assert connection._pc.sctp is not None
        connection._pc.sctp._remote_max_message_size = 10  # as its SDP would say
        assert connection.send(encode("caption", text="more than ten bytes"))
        await until(lambda: connection.dropped_messages > 0)
        connection._pc.sctp._remote_max_message_size = 65_536
        await assert_it_goes_on(peer, connection)


async def test_a_message_that_never_ends_ends_the_connection() -> None:
    async with call() as (peer, connection):
        assert "a=max-message-size:65536" in peer.pc.remoteDescription.sdp
        sent = 0
        while not connection.closed.is_set():
            await peer.send_chunks(peer.data(2 if not sent else 0, bytes(1100)))
            sent += 1100
            await asyncio.sleep(0)
            assert sent < 4 * RECEIVE_WINDOW, "aiortc keeps all of it"
        assert connection.close_reason == f"the peer has sent a message of more than {MAX_MESSAGE} bytes"


async def test_a_message_in_crumbs_ends_the_connection() -> None:
    async with call() as (peer, connection):
        for n in range(0, 600, 20):
            await peer.send_chunks(*(peer.data(2 if not k else 0, b".") for k in range(n, n + 20)))
            await asyncio.sleep(0)
            if connection.closed.is_set():
                break
        await until(connection.closed.is_set)
        assert "fragments" in connection.close_reason


async def test_data_far_ahead_is_not_kept() -> None:
    async with call() as (peer, connection):
        for n in range(50):
            await peer.send_chunks(peer.data(3, b"{}", ahead=2_000 + 1_000 * n))
        await assert_it_goes_on(peer, connection)
        assert connection._pc.sctp is not None
        assert not connection._pc.sctp._sack_misordered


async def test_a_peer_that_opens_ever_more_channels_is_hung_up_on() -> None:
    async with call() as (peer, connection):
        for n in range(MAX_CHANNELS + 1):
            peer.pc.createDataChannel(f"more-{n}")
        await until(connection.closed.is_set)
        assert "data channels" in connection.close_reason


async def test_a_peer_that_sends_nothing_but_rubbish_is_hung_up_on() -> None:
    async with call() as (peer, connection):
        for _ in range(MAX_MALFORMED + 1):
            await peer.send_chunks(raw(130, struct.pack("!HH", 13, 0)))
            await asyncio.sleep(0)
        await until(connection.closed.is_set)
        assert connection.close_reason == "the peer sends what cannot be read"


async def test_no_mutation_of_a_packet_ends_the_call(caplog: pytest.LogCaptureFixture) -> None:
    async with call() as (peer, connection):
        rng, transport = random.Random(6), connection._pc.getTransceivers()[0].receiver.transport
        tag = peer.sctp._remote_verification_tag
        sack = raw(3, struct.pack("!LLHHHH", peer.sctp._last_received_tsn or 0, 9, 1, 0, 1, 1))
        chunks = [sack, raw(4, struct.pack("!HHL", 1, 8, 5)), raw(192, struct.pack("!LHH", 1, 1, 1))]
        chunks += [raw(130, struct.pack("!HHLLLH", 13, 18, 1, 2, 3, 1)), raw(9, struct.pack("!HHL", 3, 8, 1))]
        rtp = RtpPacket(peer.payload_type, 0, 5, 960, 77, SILENCE).serialize()
        with_extension = bytes([rtp[0] | 0x10]) + rtp[1:12] + b"\xbe\xde\0\2\x10\x30\x21ab\0\0\0" + rtp[12:]
        rtcp = (
            bytes(RtcpRtpfbPacket(1, 5, 6, [7, 9])) + struct.pack("!BBHLL4s", 0x8F, 206, 4, 1, 0, b"REMB") + b"\xff" * 4
        )
        for _ in range(200):
            body = mutated(rng, rng.choice(chunks))
            if body[:1] not in (b"\x06", b"\x07", b"\x08", b"\x0e"):  # which end an association by right
                await peer.send_sctp(struct.pack("!HHL", 5000, 5000, tag) + bytes(4), body)
            await transport._handle_rtp_data(mutated(rng, rng.choice((rtp, with_extension))), arrival_time_ms=0)
            await transport._handle_rtcp_data(mutated(rng, rtcp))
            connection.complaints.count = 0
            await asyncio.sleep(0)
        received = connection.receiver.stats()["received"]
        await until(lambda: connection.receiver.stats()["received"] > received)
        assert connection._pc.connectionState == "connected"
        assert not connection.closed.is_set()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


# RTP and RTCP ---------------------------------------------------------------------------------------------------------


async def test_many_sources_and_wild_timestamps_do_not_keep_it_from_closing() -> None:
    async with call() as (peer, connection):
        receiver = connection._pc.getTransceivers()[0].receiver
        for n in range(300):
            await peer.send_rtp(1_000 + n, n, 0)
            await peer.send_rtp(1_000, n, 0xFFFF_FFFF * (n % 2))
            if n % 20 == 0:
                await asyncio.sleep(0)
        await until(lambda: connection.receiver.stats()["received"] > 200)
        assert len(receiver.transport._rtp_router.ssrc_table) <= MAX_SOURCES + 1, "one more was told in SDP"
        streams = receiver._RTCRtpReceiver__remote_streams  # type: ignore[attr-defined]
        assert len(streams) <= MAX_SOURCES
        next(iter(streams.values()))._jitter_q4 = 1 << 40  # where wild timestamps take it in the end
        await until(lambda: connection.complaints.count > 0)  # a report could not be written
        began = time.monotonic()
        await connection.close()
        assert time.monotonic() - began < 4, "aiortc waits for its reports for ever"


async def test_one_packet_does_not_ask_for_thousands() -> None:
    async with call() as (peer, connection):
        await peer.hear(20)
        sender = connection._pc.getTransceivers()[0].sender
        sent = sender._RTCRtpSender__packet_count  # type: ignore[attr-defined]
        before = sender.transport._get_stats()[sender.transport._stats_id].packetsSent
        history = sender._RTCRtpSender__rtp_history  # type: ignore[attr-defined]
        known = [packet.sequence_number for packet in history.values()]
        lost = b"".join(struct.pack("!HH", n, 0xFFFF) for n in (known * 30)[:300])  # 17 packets each
        payload = struct.pack("!LL", 1, sender._ssrc) + lost
        await peer._transceiver.sender.transport._send_rtp(struct.pack("!BBH", 0x81, 205, len(payload) // 4) + payload)
        await peer.hear(5)
        after = sender.transport._get_stats()[sender.transport._stats_id].packetsSent
        new = sender._RTCRtpSender__packet_count - sent  # type: ignore[attr-defined]
        assert after - before <= new + 20, "the packets of the call, a few reports and messages"


async def test_timestamps_that_jump_do_not_make_media_out_of_nothing() -> None:
    async with call() as (peer, connection):
        first = await asyncio.wait_for(connection.receiver.read(), 10)
        assert first is not None
        began, end_ns = time.monotonic(), 0
        ssrc, reading = peer._transceiver.sender._ssrc, True
        # Another stream for the jitter buffer, yet ahead of the call: the peer's SRTP sends nothing from behind.
        newest = connection.receiver._jitter._newest
        assert newest is not None

        async def read() -> None:
            nonlocal end_ns
            while reading and (frame := await connection.receiver.read()) is not None:
                end_ns = frame.end_ns

        task = asyncio.create_task(read())
        for n in range(100):
            await peer.send_rtp(ssrc, newest + 20_000 + n, 240_000 * n)
            await asyncio.sleep(0.005)
        passed_s = time.monotonic() - began
        reading = False
        await connection.close()
        await task
        assert end_ns / 1e9 < passed_s + 4, "media time follows the clock"


# Datagrams of anybody -------------------------------------------------------------------------------------------------


async def test_datagrams_of_strangers_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with call() as (peer, connection):
        assert connection._ice.selected_pair is not None
        (host, port), _ = connection._ice.selected_pair
        rng = random.Random(7)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for data in (b"", b"\0", b"\x16\xfe\xfd", b"\x80", b"\x80\xc8", bytes(20), b"\xff" * 99):
                stranger.sendto(data, (host, port))
            for _ in range(100):
                stun = b"\0\1\0\x08\x21\x12\xa4\x42" + rng.randbytes(12) + b"\0\x24\0\2" + rng.randbytes(4)
                stranger.sendto(stun, (host, port))
                stranger.sendto(rng.randbytes(rng.randint(0, 100)), (host, port))
            stranger.setblocking(False)
            await assert_it_goes_on(peer, connection)
            with pytest.raises(BlockingIOError):
                stranger.recv(2_000)  # nothing is reflected
        # The peer itself may send an empty one too, from the address that passes.
        for protocol in peer._transceiver.sender.transport.transport._connection._protocols:
            protocol.transport.sendto(b"", (host, port))
        await assert_it_goes_on(peer, connection)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert not [r for r in caplog.records if r.name.startswith("tolmach.transports") and host in r.getMessage()]


# Messages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        r'{"v":1,"type":"ping","number":"\ud800"}',
        r'{"v":1,"type":"\ud800"}',
        '{"v":1,"type":"ping","number":NaN}',
        '{"v":1,"type":"ping","number":1e999}',
        '{"v":1,"type":"ping","number":' + "9" * 5_000 + "}",
        '{"v":1,"type":"ping","number":' + "9" * 4_000 + "}",
        '{"v":1,"type":"ping","number":' + "[" * 900 + "]" * 900 + "}",
        '{"v":1,"type":"ping","number":' + "[" * 8_000 + "]" * 8_000 + "}",
        "[" * 16_000,
        "\0",
        "",
    ],
)
async def test_no_message_ends_the_call(text: str) -> None:
    async with call() as (peer, connection):
        peer.channel.send(text)
        await assert_it_goes_on(peer, connection)


async def test_a_listener_that_raises_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with call() as (peer, connection):
        connection.listen(lambda message: 1 // 0)  # type: ignore[arg-type,return-value]
        peer.channel.send('{"v":1,"type":"clear"}')
        await assert_it_goes_on(peer, connection)
    assert [r for r in caplog.records if r.exc_info], "a mistake of ours is in the log"


async def test_a_flood_of_messages_is_cut() -> None:
    async with call() as (peer, connection):
        for n in range(600):
            peer.channel.send(encode("ping", number=n))
        await until(lambda: connection.refused_messages + sum(m["type"] == "pong" for m in peer.told) >= 600)
        assert connection.refused_messages > 200
        connection._messages_left = Allowance(1, 9)  # later
        await assert_it_goes_on(peer, connection)


async def test_much_to_tell_waits_for_its_turn_and_none_of_it_is_lost() -> None:
    async with call() as (peer, connection):
        texts = ["я" * 500 + str(n) for n in range(1_500)]  # 1.6 MB, six times what was cut off before
        for text in texts:
            assert connection.send(encode("caption", text=text))
        assert not connection.send(encode("stats"), ephemeral=True), "old news when its turn comes"
        assert connection.dropped_messages == 1
        async with asyncio.timeout(30):
            await connection.flushed()
        await until(lambda: sum(m["type"] == "caption" for m in peer.told) == len(texts))
        assert [m["text"] for m in peer.told if m["type"] == "caption"] == texts
        assert connection.dropped_messages == 1


async def test_the_last_words_are_told_before_the_end() -> None:
    async with call() as (peer, connection):
        for n in range(200):
            connection.send(encode("caption", text="x" * 500, number=n))
        await connection.close("that was all")
        await until(lambda: bool(peer.told) and peer.told[-1]["type"] == "bye")
        assert [m["number"] for m in peer.told if m["type"] == "caption"] == list(range(200))


# Ends at bad moments --------------------------------------------------------------------------------------------------


OPEN = Path("/proc/self/fd")


def descriptors() -> int:
    return sum(1 for _ in OPEN.iterdir())


@pytest.mark.skipif(not OPEN.is_dir(), reason="counts descriptors in /proc")
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 200])
async def test_hung_up_on_while_it_answers_it_keeps_no_socket(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tolmach.transports.webrtc.signalling.ice_agent.GATHER_TIMEOUT_S", 0.2)
    peer = Peer(np.zeros(960, np.float32))
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        servers = ice_servers([f"stun:127.0.0.1:{silent.getsockname()[1]}"])
        before = descriptors()
        async with no_task_left():
            connection = Connection(ConnectionSettings(ice_servers=servers))
            answering = asyncio.create_task(connection.answer(peer.pc.localDescription.sdp))
            for _ in range(turns):
                await asyncio.sleep(0)
            connection.hang_up("too late")
            with pytest.raises(SignallingError, match="closed"):
                await answering
            await connection.close()
        assert descriptors() == before
    await peer.close()


@pytest.mark.skipif(not OPEN.is_dir(), reason="counts descriptors in /proc")
async def test_an_offer_that_fails_late_leaves_no_socket(caplog: pytest.LogCaptureFixture) -> None:
    peer = Peer(np.zeros(960, np.float32))
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    offer = peer.pc.localDescription.sdp
    first, second = (n + "a=mid:" for n in ("", "a=mid:1\r\n"))
    bad = [
        offer.replace("a=fingerprint", "a=fingerpaint"),
        offer.replace("a=setup:actpass", "a=setup:holdconn"),
        offer.replace("a=setup:actpass\r\n", ""),
        offer.replace("a=ice-ufrag", "a=ice-ofrag"),
        offer.replace("a=ice-pwd:", "a=ice-pwd:short\r\na=x:"),
        offer.replace("a=rtcp-mux\r\n", ""),
        offer.replace(" opus/", " upus/"),
        offer.replace(first, second, 1),
        offer.replace("a=sctp-port:5000", "a=sctp-port:99999"),
        offer.replace("sha-256 ", "sha-256 00:", 1),
        offer.replace("a=extmap:1 ", "a=extmap:999 "),
    ]
    before = descriptors()
    async with no_task_left():
        for each in bad:
            assert each != offer
            connection = Connection()
            with pytest.raises(SignallingError, match="the offer"):
                await connection.answer(each)
            await connection.close()
    assert descriptors() == before
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    await peer.close()


async def test_a_line_that_was_given_up_takes_no_connection() -> None:
    from tolmach.transports.webrtc.session_line import Line

    line = Line()
    await line.close()
    with pytest.raises(SignallingError, match="ended"):
        line.connect()


@pytest.mark.parametrize("how", ["hangs up", "aborts", "shuts down", "vanishes"])
async def test_however_a_peer_ends_nothing_is_left_and_nothing_is_logged(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with call() as (peer, connection):
        for n in range(300):
            connection.send(encode("caption", text="x" * 900, number=n))
        if how == "hangs up":
            await peer.close()
            await until(connection.closed.is_set)
        elif how == "vanishes":
            await peer.vanish()
        else:
            await peer.send_chunks(raw(6, b"") if how == "aborts" else raw(7, bytes(4)))
            await until(lambda: not connection.send(encode("more")) or how != "aborts")
        await connection.close()
    gc.collect()  # a task whose error nobody has asked for says so then
    assert not [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_what_we_send_is_json_whatever_is_in_it() -> None:
    text = encode("stats", jitter=float("nan"), more=[float("inf"), {"x": "\ud800"}])
    assert json.loads(text.encode()) == {"v": 1, "type": "stats", "jitter": None, "more": [None, {"x": "?"}]}
