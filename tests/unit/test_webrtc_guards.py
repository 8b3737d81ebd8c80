"""Packets that no honest peer sends: what is refused by its structure, and seeded mutations of every parser."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import struct

import pytest
from aioice import stun
from aioice.ice import StunProtocol
from aiortc.rtcsctptransport import (
    AbortChunk,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    HeartbeatChunk,
    InitChunk,
    ReconfigChunk,
    SackChunk,
    ShutdownChunk,
    StreamResetOutgoingParam,
    serialize_packet,
)

from tests.unit.hostile_packets import mutated, raw
from tests.unit.test_webrtc_sdp import OFFER
from tolmach.transports.webrtc.guards import Allowance, Complaints, MalformedPacket, check_sctp, is_media, is_stun
from tolmach.transports.webrtc.incoming.jitter import JitterBuffer
from tolmach.transports.webrtc.opus import Packet, opus_duration
from tolmach.transports.webrtc.signalling.ice_agent import MAX_REMOTE_CANDIDATES, GuardedStun, IceAgent, IceSettings
from tolmach.transports.webrtc.signalling.messages import MessageError, decode, encode, pong
from tolmach.transports.webrtc.signalling.sdp import Offer, SignallingError, prepare_offer, usable_candidate

SENT_TSN = 5_000


def packet(*chunks: bytes) -> bytes:
    return bytes(12) + b"".join(chunks)


def honest() -> list[bytes]:
    """One packet of each kind that aiortc reads."""
    data = DataChunk(flags=3)
    data.tsn, data.stream_id, data.protocol, data.user_data = 7, 1, 51, b'{"v":1,"type":"pong"}'
    sack = SackChunk()
    sack.cumulative_tsn, sack.gaps, sack.duplicates = SENT_TSN - 20, [(2, 3), (5, 9)], [4_990]
    init = InitChunk()
    init.initiate_tag, init.outbound_streams, init.inbound_streams = 1, 1024, 1024
    init.params = [(0xC000, b""), (0x8008, b"\xc0\x82")]
    forward = ForwardTsnChunk()
    forward.cumulative_tsn, forward.streams = 9, [(1, 4)]
    reset = ReconfigChunk()
    reset.params = [(13, bytes(StreamResetOutgoingParam(1, 2, 3, [1, 5])))]
    beat = HeartbeatChunk()
    beat.params = [(1, b"when")]
    chunks: list[Chunk] = [data, sack, init, forward, reset, beat, AbortChunk(), ShutdownChunk()]
    return [serialize_packet(5000, 5000, 1, chunk) for chunk in chunks]


def test_what_aiortc_writes_passes() -> None:
    for each in honest():
        check_sctp(each, sent_tsn=SENT_TSN)
    both = packet(honest()[1][12:], honest()[0][12:])
    assert check_sctp(both, sent_tsn=SENT_TSN) == [7]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (raw(130, struct.pack("!HH", 13, 0)), "parameter of type 13 whose length is 0"),
        (raw(130, struct.pack("!HH", 99, 3)), "whose length is 3"),
        (raw(130, struct.pack("!HH", 13, 8) + bytes(4)), "whose length is 8"),
        (raw(130, struct.pack("!HH", 99, 200)), "whose length is 200"),
        (raw(130, struct.pack("!HH", 99, 4) * 3), "more than two"),
        (raw(4, struct.pack("!HH", 1, 0)), "whose length is 0"),
        (raw(6, struct.pack("!HH", 1, 0)), "whose length is 0"),
        (raw(9, struct.pack("!HH", 1, 2)), "whose length is 2"),
        (raw(1, bytes(16) + struct.pack("!HH", 5, 0)), "whose length is 0"),
        (raw(1, bytes(8)), "INIT of 8 bytes"),
        (raw(2, bytes(16)) + raw(0, bytes(20)), "not alone"),
        (raw(1, bytes(16)) * 2, "not alone"),
        (raw(0, bytes(12)), "without data"),
        (raw(0, bytes(20), length=3), "length is 3"),
        (raw(0, bytes(20), length=60_000), "length is 60000"),
        (raw(3, b""), "SACK of 0 bytes"),
        (raw(3, struct.pack("!LLHH", SENT_TSN, 0, 65_535, 0)), "65535 gaps"),
        (raw(3, struct.pack("!LLHHHH", SENT_TSN - 9, 0, 1, 0, 1, 65_535)), "none of ours"),
        (raw(3, struct.pack("!LLHHHHHH", SENT_TSN - 9, 0, 2, 0, 1, 5, 5, 6)), "none of ours"),
        (raw(3, struct.pack("!LLHHHH", SENT_TSN - 9, 0, 1, 0, 5, 4)), "none of ours"),
        (raw(3, struct.pack("!LLHH", SENT_TSN + 1, 0, 0, 0)), "never sent"),
        (raw(192, b"abcdef"), "FORWARD TSN chunk of 6"),
        (raw(192, bytes(4 + 4 * 300)), "FORWARD TSN"),
        (raw(7, b""), "without its TSN"),
        (raw(4, b"") * 100, "control chunks"),
        (b"", "of 12 bytes"),
    ],
)
def test_what_no_honest_peer_writes_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(MalformedPacket, match=words):
        check_sctp(packet(body), sent_tsn=SENT_TSN)


def test_no_mutation_of_an_sctp_packet_raises_anything_else() -> None:
    rng = random.Random(1)
    refused = 0
    for _ in range(2_000):
        changed = mutated(rng, rng.choice(honest()))
        try:
            check_sctp(changed, sent_tsn=SENT_TSN)
        except MalformedPacket:
            refused += 1
    assert 500 < refused < 2_000, "some of both"


# Datagrams from anybody -----------------------------------------------------------------------------------------------


def test_datagrams_are_told_apart_by_their_first_bytes() -> None:
    binding = bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST))
    assert [first for first in range(256) if is_media(bytes([first, 0]))] == [*range(20, 64), *range(128, 192)]
    assert not is_media(b"")
    assert is_stun(binding)
    for other in (b"", binding[:19], binding + b"\0\0\0\0", b"\0" * 20, b"\x40" + binding[1:]):
        assert not is_stun(other)


class Agent(IceAgent):
    """An agent with bound sockets, which knows its peer's credentials."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        super().__init__(IceSettings(), self.heard.append, controlling=False)
        self.remote_username, self.remote_password = "them", "p" * 22

    async def socket(self) -> GuardedStun:
        await self.gather_candidates()
        (first, *_) = self._protocols
        assert isinstance(first, GuardedStun)
        return first

    def request(self, **attributes: object) -> bytes:
        """A connectivity check of the peer; an attribute that is None is left out."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes = {"USERNAME": f"{self.local_username}:them", "PRIORITY": 5, "ICE-CONTROLLING": 1}
        message.attributes.update({name.replace("_", "-"): value for name, value in attributes.items()})
        message.attributes = {name: value for name, value in message.attributes.items() if value is not None}
        message.add_message_integrity(self.local_password.encode())
        return bytes(message)


async def test_media_passes_only_from_who_knows_the_password() -> None:
    agent = Agent()
    socket = await agent.socket()
    peer, stranger = ("127.0.0.1", 9), ("127.0.0.1", 10)
    socket.datagram_received(b"\x80 before", peer)
    # What came before connect() is kept by aioice and handed on by it; here it is handed on at once.
    agent.check_incoming(stun.parse_message(agent.request()), peer, socket)
    for sender in (peer, stranger):
        for data in (b"\x80 rtp", b"\x16 dtls", b"", b"\0", b"\x02 zrtp?", b"\x40 turn", b"\xff"):
            socket.datagram_received(data, sender)
    assert agent.heard == [b"\x80 rtp", b"\x16 dtls"]
    await agent.close()


async def test_a_flood_is_cut_to_what_a_peer_may_send() -> None:
    agent = Agent()
    socket = await agent.socket()
    agent.check_incoming(stun.parse_message(agent.request()), ("127.0.0.1", 9), socket)
    for _ in range(5_000):
        socket.datagram_received(b"\x80 tiny", ("127.0.0.1", 9))
    assert 1_000 <= len(agent.heard) < 2_000
    await agent.close()


async def test_checks_from_ever_more_addresses_are_not_followed() -> None:
    agent = Agent()
    socket = await agent.socket()
    message = stun.parse_message(agent.request())
    for port in range(1, 1_000):
        agent.check_incoming(message, ("127.0.0.1", port), socket)
    assert len(agent.remote_candidates) == MAX_REMOTE_CANDIDATES
    await agent.close()


async def test_a_check_without_priority_starts_nothing() -> None:
    agent = Agent()
    socket = await agent.socket()
    agent.check_incoming(stun.parse_message(agent.request(PRIORITY=None)), ("127.0.0.1", 9), socket)
    assert agent.remote_candidates == []
    assert agent.complaints.count == 1
    await agent.close()


class Quarrelsome(Agent):
    """Answers each check with a role conflict."""

    def request_received(self, message: stun.Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        self.respond_error(message, addr, protocol, (487, "Role Conflict"))


async def test_a_quarrel_about_roles_comes_to_an_end() -> None:
    agent, other = Agent(), Quarrelsome()
    await agent.socket()
    await other.socket()
    agent.remote_username, agent.remote_password = other.local_username, other.local_password
    for candidate in other.local_candidates:
        await agent.add_remote_candidate(candidate)
    await agent.add_remote_candidate(None)
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionError, match="failed"):
            await agent.connect()
    await agent.close()
    await other.close()


async def test_no_mutation_of_a_stun_message_raises_or_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    agent, rng = Agent(), random.Random(2)
    socket = await agent.socket()
    caplog.clear()
    seeds = [agent.request(), agent.request(ICE_CONTROLLING=None, ICE_CONTROLLED=7, USE_CANDIDATE=None)]
    cut = bytearray(agent.request())
    cut[cut.index(b"\0\x24\0\4") + 3] = 2  # PRIORITY of two bytes: struct.error in aioice's parser
    socket.datagram_received(bytes(cut), ("192.0.2.77", 9))
    assert agent.complaints.count == 1
    for _ in range(500):
        changed = bytearray(mutated(rng, rng.choice(seeds)))
        changed[2:4] = struct.pack("!H", max(0, len(changed) - 20) & 0xFFFF)  # so that it comes as far as it can
        socket.datagram_received(bytes(changed), ("192.0.2.77", rng.randrange(1, 65_536)))
    ours = [r for r in caplog.records if r.name.startswith(("aioice", "tolmach.transports", "asyncio"))]
    assert {r.levelno for r in ours} == {logging.DEBUG}
    assert len(ours) < 20, "a line a second at most"
    assert not any("192.0.2.77" in r.getMessage() or r.exc_info for r in ours)
    await agent.close()


# What signalling and the data channel bring ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "wanted"),
    [
        ("1 1 udp 2122 192.0.2.7 50001 typ host", "1 1 udp 2122 192.0.2.7 50001 typ host"),
        ("1 1 UDP 2122 2001:DB8::7 50001 typ srflx raddr :: rport 0", "1 1 udp 2122 2001:db8::7 50001 typ srflx"),
        ("1 1 udp 2122 0a1b.local 50001 typ host", None),
        ("1 1 udp 2122 fe80::1%eth0 50001 typ host", None),
        ("1 1 udp 2122 %s%d%n 50001 typ host", None),
        ("1 1 tcp 2122 192.0.2.7 9 typ host tcptype active", None),
        ("1 2 udp 2122 192.0.2.7 50001 typ host", None),
        ("1 1 udp 2122 192.0.2.7 0 typ host", None),
        ("1 1 udp 2122 192.0.2.7 99999 typ host", None),
        ("1 1 udp 2122 224.0.0.251 5353 typ host", None),
        ("1 1 udp 2122 0.0.0.0 5353 typ host", None),
        ("1 1 udp 2122 192.0.2.7 5353 typ prflx", None),
    ],
)
def test_of_candidates_we_take_what_we_can_send_to(candidate: str, wanted: str | None) -> None:
    assert usable_candidate(candidate) == wanted


@pytest.mark.parametrize("candidate", ["nonsense", "1 1 udp", "1 x udp 5 192.0.2.7 9 typ host", "1 1 udp 9" * 9999])
def test_what_is_no_candidate_is_said(candidate: str) -> None:
    with pytest.raises(SignallingError, match="the candidate cannot be used"):
        usable_candidate(candidate)


def test_no_mutation_of_an_offer_or_a_candidate_raises_anything_else() -> None:
    rng = random.Random(3)
    taken = 0
    for _ in range(400):
        changed = mutated(rng, OFFER.encode()).decode("latin-1")
        with contextlib.suppress(SignallingError):
            assert isinstance(prepare_offer(changed), Offer)
            taken += 1
        with contextlib.suppress(SignallingError):
            usable_candidate(mutated(rng, b"1 1 udp 2122 192.0.2.7 50001 typ host").decode("latin-1"))
    assert 20 < taken < 380, "some of both"


def test_no_mutation_of_a_message_raises_anything_else() -> None:
    rng = random.Random(4)
    seed = b'{"v":1,"type":"ping","number":"\\ud83d\\ude00","more":[1e5,{"a":null}]}'
    assert decode(seed.decode())["number"] == "😀"
    for _ in range(1_000):
        with contextlib.suppress(MessageError):
            message = decode(mutated(rng, seed).decode("latin-1"))
            pong(message).encode()
            encode("echo", message=message).encode()


def test_no_packet_of_opus_breaks_the_jitter_buffer() -> None:
    rng = random.Random(5)
    buffer, now_ns, released = JitterBuffer(), 0, 0
    for _ in range(3_000):
        payload = rng.randbytes(rng.randint(1, 6))
        with contextlib.suppress(ValueError):
            duration = opus_duration(payload)
            sequence, timestamp = rng.choice((rng.getrandbits(16), 7)), rng.choice((rng.getrandbits(32), 960))
            buffer.add(Packet(sequence, timestamp, payload, now_ns, duration))
        while (release := buffer.pull(now_ns)) is not None:
            released += release.count
        now_ns += rng.choice((0, 0, 20_000_000))
        assert buffer.depth_ms <= 2_000
    assert released / 48 <= now_ns / 1e6 + 3_100, "media time follows the clock"


# Bounds ---------------------------------------------------------------------------------------------------------------


def test_an_allowance_is_a_bucket_that_fills() -> None:
    now = [0.0]
    allowance = Allowance(10, 5, clock=lambda: now[0])
    assert [allowance.take() for _ in range(6)] == [True] * 5 + [False]
    now[0] = 0.1
    assert allowance.take()
    assert not allowance.take()
    now[0] = 60.0
    assert allowance.take(5)
    assert not allowance.take()
    assert allowance.refused == 3


def test_complaints_are_a_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    now = [0.0]
    complaints = Complaints(logging.getLogger("here"), clock=lambda: now[0])
    for n in range(1_000):
        now[0] = n / 500
        complaints.note("a bad packet")
    assert [r.getMessage() for r in caplog.records] == [
        "dropped a bad packet",
        "dropped a bad packet, and 499 packets before it",
    ]
    assert complaints.count == 1_000
