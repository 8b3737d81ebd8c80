"""ICE restarts in a call: two peers in one process, the offerer as a browser does it after ``pc.restartIce()``."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiortc import RTCSessionDescription

from tests.integration.webrtc_peer import Peer, babble
from tests.until import no_task_left, until
from tolmach.transports.webrtc.aiortc_hooks import tap_receiver, use_ice
from tolmach.transports.webrtc.connection import Connection, ConnectionSettings
from tolmach.transports.webrtc.signalling.ice import IceCredentials, RestartableIce
from tolmach.transports.webrtc.signalling.ice_agent import IceSettings
from tolmach.transports.webrtc.signalling.sdp import SignallingError, prepare_offer


class RestartingPeer(Peer):
    """A browser that can restart ICE, and counts what it hears."""

    def __init__(self) -> None:
        super().__init__(babble(30))
        self.transport = self._transceiver.receiver.transport.transport
        self.ice = RestartableIce(IceSettings(), restart_timeout_s=10)
        use_ice(self.transport, self.ice)
        self.numbers: list[int] = []
        """Sequence numbers of what was heard."""
        tap_receiver(self._transceiver.receiver, self._count)

    def _count(self, sequence: int, timestamp: int, payload: bytes) -> None:
        self.numbers.append(sequence)
        self._hear(sequence, timestamp, payload)

    async def offer_anew(self) -> str:
        """An offer with new credentials and candidates."""
        await self.ice.gather_anew()
        self.transport.iceGatherer._remote_candidates_end = False
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def take(self, answer: str) -> None:
        """Take the answer to :meth:`offer_anew`."""
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        theirs = prepare_offer(answer)
        await self.ice.check_anew(IceCredentials(theirs.username, theirs.password))

    async def restart(self, connection: Connection) -> None:
        """Restart ICE, and wait until both ends have changed over."""
        before = connection._ice.selected_pair, self.ice.selected_pair
        await self.take(await connection.answer(await self.offer_anew()))
        await until(lambda: connection._ice.selected_pair != before[0] and self.ice.selected_pair != before[1])


@asynccontextmanager
async def call(settings: ConnectionSettings | None = None) -> AsyncIterator[tuple[RestartingPeer, Connection]]:
    """A connected call with an open data channel; afterwards no task of it may be left."""
    async with no_task_left():
        connection = Connection(settings)
        peer = RestartingPeer()
        try:
            await peer.call(connection)
            await peer.hear(10)
            await ask(peer, connection)
            yield peer, connection
        finally:
            await connection.close()
            await peer.close()


async def ask(peer: RestartingPeer, connection: Connection) -> None:
    """A message each way over the data channel."""
    asked = asyncio.get_running_loop().create_future()
    connection.listen(lambda message: asked.done() or asked.set_result(message["type"]))
    await until(lambda: peer.channel.readyState == "open" and connection._channel is not None)
    async with asyncio.timeout(10):
        peer.channel.send('{"v":1,"type":"clear"}')
        assert await asked == "clear"
        assert connection.send('{"v":1,"type":"answered"}')
        while (await peer.said.get())["type"] != "answered":
            pass


async def hear_both(peer: RestartingPeer, connection: Connection, packets: int) -> None:
    """Wait until both ends have heard so many packets more."""
    received = connection.receiver.stats()["received"]
    await peer.hear(packets)
    await until(lambda: connection.receiver.stats()["received"] >= received + packets)


def ports(connection: Connection) -> tuple[int, int]:
    assert connection._ice.selected_pair is not None
    (_, ours), (_, theirs) = connection._ice.selected_pair
    return ours, theirs


def cut(ice: RestartableIce) -> None:
    """Close the sockets under an end, as when its network goes away."""
    carrier = ice._carrier
    assert carrier is not None
    for protocol in carrier._protocols:
        protocol.transport.close()


async def test_audio_and_data_channel_go_on_through_a_restart() -> None:
    async with call() as (peer, connection):
        before = ports(connection)
        await peer.restart(connection)
        await hear_both(peer, connection, 25)
        await ask(peer, connection)
        after = ports(connection)
        assert before[0] != after[0]
        assert before[1] != after[1]
        assert (connection._pc.connectionState, peer.pc.connectionState) == ("connected", "connected")
        first, last = peer.numbers[0], peer.numbers[-1]
        heard = [(n - first) % 65536 for n in peer.numbers]
        assert heard == list(range((last - first) % 65536 + 1)), "nothing lost, nothing twice, in order"


async def test_a_restart_brings_a_dead_call_back() -> None:
    async with call() as (peer, connection):
        cut(connection._ice)
        cut(peer.ice)
        await peer.restart(connection)
        await hear_both(peer, connection, 25)
        await ask(peer, connection)
        assert not connection.closed.is_set()


async def test_restarts_may_follow_each_other() -> None:
    async with call() as (peer, connection):
        seen = {ports(connection)}
        for _ in range(3):
            await peer.restart(connection)
            seen.add(ports(connection))
        await hear_both(peer, connection, 25)
        assert len(seen) == 4


async def test_a_restart_nobody_goes_on_with_leaves_the_call_as_it_is() -> None:
    async with call(ConnectionSettings(connect_timeout_s=2.0)) as (peer, connection):
        before, told = ports(connection), connection._ice.local_username
        await peer.pc.setLocalDescription(await peer.pc.createOffer())
        offer = re.sub("a=ice-ufrag:.*\r", "a=ice-ufrag:nobody\r", peer.pc.localDescription.sdp)
        answer = await connection.answer(offer)
        assert f"a=ice-ufrag:{told}\r" not in answer
        await until(lambda: connection._ice.local_username == told)
        await hear_both(peer, connection, 10)
        assert ports(connection) == before
        await peer.restart(connection)
        await hear_both(peer, connection, 10)
        assert ports(connection) != before


async def test_a_broken_offer_with_new_credentials_changes_nothing() -> None:
    async with call() as (peer, connection):
        told = connection._ice.local_username
        await peer.pc.setLocalDescription(await peer.pc.createOffer())
        offer = re.sub("a=ice-ufrag:.*\r", "a=ice-ufrag:nobody\r", peer.pc.localDescription.sdp)
        with pytest.raises(SignallingError, match="the offer cannot be used"):
            await connection.answer(offer.replace("a=rtpmap:", "a=rtpmop:"))
        assert connection._ice.local_username == told
        await hear_both(peer, connection, 10)
        await peer.restart(connection)
        await hear_both(peer, connection, 10)


async def test_candidates_trickle_to_the_restarted_agent_and_old_ones_do_not() -> None:
    async with call() as (peer, connection):
        offer = await peer.offer_anew()
        lines = offer.split("\r\n")
        mine = prepare_offer(offer)
        answer = await connection.answer("\r\n".join(s for s in lines if not s.startswith("a=candidate:")))
        assert connection._ice.remote_candidates == []
        candidates = {s for s in lines if s.startswith("a=candidate:") and s in mine.sdp}
        for candidate in candidates:
            await connection.add_candidate(f"{candidate} ufrag old1", mid=mine.mid)
        assert connection._ice.remote_candidates == []
        for candidate in candidates:
            await connection.add_candidate(f"{candidate} ufrag {mine.username}", mid=mine.mid)
        assert {c.type for c in connection._ice.remote_candidates} == {"host"}
        before = ports(connection)
        await peer.take(answer)
        await until(lambda: ports(connection) != before)
        await hear_both(peer, connection, 25)


async def test_a_peer_may_restart_before_it_has_connected() -> None:
    connection, peer = Connection(), RestartingPeer()
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    await connection.answer(peer.pc.localDescription.sdp)  # and the answer is lost
    await peer.ice.gather_anew()
    await peer.call(connection)
    await hear_both(peer, connection, 10)
    await connection.close()
    await peer.close()


async def test_the_answer_names_the_ports_and_addresses_it_is_told_to() -> None:
    connection = Connection(ConnectionSettings(udp_ports=(43_000, 43_999), advertised_addresses=("203.0.113.5",)))
    peer = Peer(np.zeros(960, np.float32))
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    answer = await connection.answer(peer.pc.localDescription.sdp)
    await connection.close()
    await peer.close()
    found = re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ (\S+)", answer)
    assert {(host, kind) for host, _, kind in found} == {("203.0.113.5", "host")}
    assert all(43_000 <= int(port) <= 43_999 for _, port, _ in found)


async def test_a_full_range_is_said_in_words() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    holder = Connection(ConnectionSettings(udp_ports=(port, port)))
    late = Connection(ConnectionSettings(udp_ports=(port, port)))
    peer = Peer(np.zeros(960, np.float32))
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    await holder.answer(peer.pc.localDescription.sdp)
    with pytest.raises(SignallingError, match=f"^no UDP port of {port}-{port} is free on "):
        await late.answer(peer.pc.localDescription.sdp)
    for end in (holder, late, peer):
        await end.close()
