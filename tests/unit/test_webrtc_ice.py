"""ICE without media: two ends on one machine that connect, restart, break and end; ports, addresses and servers."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvloop
from aioice import Candidate, stun
from aiortc import RTCIceServer

from tests.until import until
from tolmach.pipelines.errors import GraphError
from tolmach.transports.webrtc.signalling import ice_agent
from tolmach.transports.webrtc.signalling.ice import IceCredentials, RestartableIce
from tolmach.transports.webrtc.signalling.ice_agent import (
    IceAgent,
    IceSettings,
    ice_servers,
    ice_servers_json,
    open_socket,
)
from tolmach.transports.webrtc.signalling.sdp import SignallingError

RTP = b"\x80" + bytes(11)
"""A header that passes as media (RFC 7983)."""

Pair = tuple[tuple[str, int], tuple[str, int]]


def credentials(ice: RestartableIce) -> IceCredentials:
    return IceCredentials(ice.local_username, ice.local_password)


async def exchange(a: RestartableIce, b: RestartableIce) -> None:
    """Tell each end the other's candidates, as signalling does."""
    for candidate in a.local_candidates:
        await b.add_remote_candidate(candidate)
    for candidate in b.local_candidates:
        await a.add_remote_candidate(candidate)


@asynccontextmanager
async def connected(settings: IceSettings | None = None) -> AsyncIterator[tuple[RestartableIce, RestartableIce]]:
    """An offerer and an answerer; afterwards no task and no socket of them may be left."""
    tasks = asyncio.all_tasks()
    ends = [RestartableIce(settings or IceSettings(), restart_timeout_s=5) for _ in "ab"]
    offerer, answerer = ends
    offerer.ice_controlling = True
    try:
        for end in ends:
            await end.gather_candidates()
        await exchange(offerer, answerer)
        for end, other in ((offerer, answerer), (answerer, offerer)):
            end.remote_username, end.remote_password = other.local_username, other.local_password
        async with asyncio.timeout(10):
            await asyncio.gather(offerer.connect(), answerer.connect())
        yield offerer, answerer
    finally:
        await offerer.close()
        await answerer.close()
    left = {t.get_name() for t in asyncio.all_tasks() - tasks if not t.done()}
    assert not left, f"tasks left: {left}"


async def pass_on(a: RestartableIce, b: RestartableIce) -> None:
    """A datagram each way."""
    async with asyncio.timeout(10):
        await a.send(RTP + b"to b")
        await b.send(RTP + b"to a")
        assert (await a.recv(), await b.recv()) == (RTP + b"to a", RTP + b"to b")


def pair_of(ice: RestartableIce) -> Pair:
    assert ice.selected_pair is not None
    return ice.selected_pair


async def changed(ice: RestartableIce, before: Pair | None) -> None:
    await until(lambda: ice.selected_pair != before)


async def restart(offerer: RestartableIce, answerer: RestartableIce) -> None:
    """What both ends do for a restart: offer, answer, checks."""
    before = pair_of(answerer)
    await offerer.gather_anew()
    async with answerer.following(credentials(offerer)):
        await exchange(offerer, answerer)
    await offerer.check_anew(credentials(answerer))
    await changed(answerer, before)
    await changed(offerer, (before[1], before[0]))


def cut(ice: RestartableIce) -> None:
    """Close the sockets under an end, as when its network goes away."""
    carrier = ice._carrier
    assert carrier is not None
    for protocol in carrier._protocols:
        protocol.transport.close()


# Restart --------------------------------------------------------------------------------------------------------------


async def test_a_restart_moves_the_data_to_new_ports_and_new_credentials() -> None:
    async with connected() as (a, b):
        await pass_on(a, b)
        before, told = pair_of(b), credentials(b)
        await restart(a, b)
        after = pair_of(b)
        assert after == (pair_of(a)[1], pair_of(a)[0]), "both ends use the same pair"
        assert before[0][1] != after[0][1]
        assert before[1][1] != after[1][1]
        assert credentials(b).username != told.username
        assert credentials(b).password != told.password
        await pass_on(a, b)
        assert (a.ice_controlling, b.ice_controlling) == (True, False), "the roles stay"


async def test_what_was_sent_over_the_old_pair_still_arrives() -> None:
    async with connected() as (a, b):
        old = a._carrier
        assert old is not None
        await restart(a, b)
        await old.send(RTP + b"late")
        async with asyncio.timeout(5):
            assert await b.recv() == RTP + b"late"


async def test_the_replaced_sockets_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tolmach.transports.webrtc.signalling.ice.OVERLAP_S", 0.05)
    async with connected() as (a, b):
        old = b._carrier
        assert old is not None
        for _ in range(3):
            await restart(a, b)
            await pass_on(a, b)
        await until(lambda: len(b._agents) == 1)
        assert old.closed
        await pass_on(a, b)


async def test_a_restart_repairs_a_dead_path() -> None:
    async with connected() as (a, b):
        cut(a)
        cut(b)
        await a.send(RTP + b"lost, not an error")
        await b.send(RTP + b"lost, not an error")
        await restart(a, b)
        await pass_on(a, b)


async def test_a_restart_that_finds_no_pair_leaves_the_old_one() -> None:
    async with connected() as (a, b):
        b._restart_timeout_s = 0.2
        before, told = pair_of(b), credentials(b)
        async with b.following(IceCredentials("nobody", "answersWithThisPassword")):
            assert credentials(b) != told
        await until(lambda: credentials(b) == told)
        assert pair_of(b) == before
        await pass_on(a, b)
        await restart(a, b)
        await pass_on(a, b)


async def test_a_negotiation_that_fails_leaves_everything_as_it_was() -> None:
    async with connected() as (a, b):
        before, told = pair_of(b), credentials(b)
        with pytest.raises(ZeroDivisionError):
            async with b.following(IceCredentials("newuser", "newPasswordOfTwentyTwo")):
                raise ZeroDivisionError
        assert (pair_of(b), credentials(b), len(b._agents)) == (before, told, 1)
        await pass_on(a, b)


async def test_an_offer_with_the_same_credentials_restarts_nothing() -> None:
    async with connected() as (a, b):
        told = credentials(b)
        async with b.following(credentials(a)):
            pass
        assert credentials(b) == told


async def test_a_restart_may_overtake_the_first_checks() -> None:
    a, b = (RestartableIce(IceSettings(), restart_timeout_s=5) for _ in "ab")
    a.ice_controlling = True
    await a.gather_candidates()
    await b.gather_candidates()
    b.remote_username, b.remote_password = a.local_username, a.local_password
    waiting = asyncio.create_task(b.connect())  # for checks that never come: a starts afresh
    await asyncio.sleep(0)
    await a.gather_anew()
    async with b.following(credentials(a)):
        await exchange(a, b)
    await a.check_anew(credentials(b))
    async with asyncio.timeout(10):
        await waiting
    await changed(a, None)
    await pass_on(a, b)
    await a.close()
    await b.close()


async def test_the_end_is_reported_once_nothing_is_left() -> None:
    async with connected() as (_, b):
        carrier = b._carrier
        assert carrier is not None
        await carrier.close()  # as aioice does when consent has expired
        async with asyncio.timeout(5):
            await b.get_event()
        with pytest.raises(ConnectionError):
            await b.recv()
        with pytest.raises(ConnectionError):
            await b.recv()
        with pytest.raises(ConnectionError):
            await b.send(b"")
        with pytest.raises(ConnectionError):
            await b.gather_anew()


async def test_expired_consent_is_not_the_end_while_a_restart_is_under_way() -> None:
    async with connected() as (a, b):
        old = b._carrier
        assert old is not None
        await a.gather_anew()
        async with b.following(credentials(a)):
            await old.close()
            await exchange(a, b)
        await b.send(RTP + b"lost, not an error")
        await a.check_anew(credentials(b))
        await changed(b, None)
        await until(lambda: a.selected_pair == (pair_of(b)[1], pair_of(b)[0]))
        await pass_on(a, b)


async def test_closing_wakes_who_waits() -> None:
    async with connected() as (_, b):
        waiting = asyncio.create_task(b.recv())
        await asyncio.sleep(0)
        await b.close()
        with pytest.raises(ConnectionError):
            await waiting


async def test_closing_ends_a_restart_that_still_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_agent, "GATHER_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        settings = IceSettings(ice_servers=ice_servers([f"stun:127.0.0.1:{silent.getsockname()[1]}"]))
        async with connected(settings) as (_, b):
            gathering = asyncio.create_task(b.gather_anew())
            await asyncio.sleep(0)
            await b.close()
            with pytest.raises(ConnectionError, match="only a new connection helps"):
                await gathering
            assert not b._agents


async def test_an_end_that_is_closed_while_it_checks_does_not_connect() -> None:
    ice = RestartableIce(IceSettings(), restart_timeout_s=5)
    await ice.gather_candidates()
    ice.remote_username, ice.remote_password = "user", "passwordOfTwentyTwoChars"
    waiting = asyncio.create_task(ice.connect())
    await asyncio.sleep(0)
    await ice.close()
    with pytest.raises(ConnectionError):
        await waiting


# Ports and addresses --------------------------------------------------------------------------------------------------


@contextmanager
def free_ports(count: int) -> Iterator[tuple[int, int]]:
    """A range of UDP ports of which all were free a moment ago."""
    for first in range(42_000, 60_000, count):
        try:
            socks = [open_socket("127.0.0.1", (port, port)) for port in range(first, first + count)]
        except SignallingError:
            continue
        for sock in socks:
            sock.close()
        yield first, first + count - 1
        return


async def candidates(settings: IceSettings) -> list[Candidate]:
    agent = IceAgent(settings, lambda _: None, controlling=False)
    try:
        await agent.gather_candidates()
        return agent.local_candidates
    finally:
        await agent.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_ports_come_from_the_range_on_every_loop(new_loop: object) -> None:
    async def call(ports: tuple[int, int]) -> list[int]:
        async with connected(IceSettings(udp_ports=ports)) as (a, b):
            await restart(a, b)
            await pass_on(a, b)
            return [c.port for end in (a, b) for c in end.local_candidates]

    with free_ports(8) as ports, asyncio.Runner(loop_factory=new_loop) as runner:  # type: ignore[arg-type]
        used = runner.run(call(ports))
    assert used
    assert all(ports[0] <= port <= ports[1] for port in used)


def test_every_port_of_a_range_is_tried_and_a_full_one_is_named() -> None:
    with free_ports(5) as ports:
        socks = [open_socket("127.0.0.1", ports) for _ in range(5)]
        try:
            assert sorted(s.getsockname()[1] for s in socks) == list(range(ports[0], ports[1] + 1))
            with pytest.raises(SignallingError, match=rf"no UDP port of {ports[0]}-{ports[1]} is free on 127\.0\.0\.1"):
                open_socket("127.0.0.1", ports)
        finally:
            for sock in socks:
                sock.close()


def test_ports_are_taken_in_random_order() -> None:
    orders = set()
    with free_ports(6) as ports:
        for _ in range(20):
            socks = [open_socket("127.0.0.1", ports) for _ in range(6)]
            orders.add(tuple(s.getsockname()[1] for s in socks))
            for sock in socks:
                sock.close()
    assert len(orders) > 10


async def test_a_restart_without_a_free_port_leaves_the_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])
    with free_ports(2) as ports:
        async with connected(IceSettings(udp_ports=ports)) as (a, b):
            with pytest.raises(SignallingError, match="widen the range"):
                async with b.following(IceCredentials("newuser", "newPasswordOfTwentyTwo")):
                    pytest.fail("there is no port to describe")
            await pass_on(a, b)


async def test_peers_are_told_the_advertised_addresses_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1", "::1"])
    told = await candidates(IceSettings(advertised_addresses=("203.0.113.5", "198.51.100.7")))
    assert [c.host for c in told] == ["203.0.113.5", "198.51.100.7"], "none of IPv6, and none of this machine"
    assert {c.type for c in told} == {"host"}
    assert len({c.port for c in told}) == 1, "both lead to the same socket"
    assert len({c.foundation for c in told}) == 2
    assert [c.host for c in await candidates(IceSettings(advertised_addresses=("2001:DB8:0::1",)))] == ["2001:db8::1"]


class MappedPort(asyncio.DatagramProtocol):
    """A port of a NAT's outer address, mapped to the same port of an inner one (RFC 4787), as a container's is."""

    def __init__(self, inner: tuple[str, int]) -> None:
        self.inner = inner
        self.seen_as: dict[tuple[str, int], asyncio.DatagramTransport] = {}
        self.passed = 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.passed += 1
        asyncio.get_running_loop().create_task(self.forward(data, addr))

    async def forward(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr not in self.seen_as:
            outer = self.transport

            class Back(asyncio.DatagramProtocol):
                def datagram_received(self, data: bytes, _: tuple[str, int]) -> None:
                    outer.sendto(data, addr)

            loop = asyncio.get_running_loop()
            self.seen_as[addr], _ = await loop.create_datagram_endpoint(Back, local_addr=("127.0.0.2", 0))
        self.seen_as[addr].sendto(data, self.inner)

    def close(self) -> None:
        for transport in (self.transport, *self.seen_as.values()):
            transport.close()


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of this machine on Linux alone")
async def test_behind_a_nat_the_advertised_address_leads_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with free_ports(1) as (port, _):
        inside = RestartableIce(
            IceSettings(udp_ports=(port, port), advertised_addresses=("127.0.0.1",)), restart_timeout_s=5
        )
    outside = RestartableIce(IceSettings(), restart_timeout_s=5)
    outside.ice_controlling = True
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.2"])
    await inside.gather_candidates()
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])
    await outside.gather_candidates()
    loop = asyncio.get_running_loop()
    _, nat = await loop.create_datagram_endpoint(
        lambda: MappedPort(("127.0.0.2", port)), local_addr=("127.0.0.1", port)
    )
    for candidate in inside.local_candidates:  # the other way none are told: only the NAT's address can lead in
        await outside.add_remote_candidate(candidate)
    for end, other in ((outside, inside), (inside, outside)):
        end.remote_username, end.remote_password = other.local_username, other.local_password
    async with asyncio.timeout(10):
        await asyncio.gather(outside.connect(), inside.connect())
    await pass_on(outside, inside)
    assert pair_of(outside)[1] == ("127.0.0.1", port)
    assert pair_of(inside)[0] == ("127.0.0.2", port)
    assert nat.passed > 1
    for end in (outside, inside):
        await end.close()
    nat.close()


async def test_an_advertised_address_needs_one_of_its_family_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])
    with pytest.raises(SignallingError, match="no address to stand behind 2001:db8::1"):
        await candidates(IceSettings(advertised_addresses=("2001:db8::1",)))


async def test_a_machine_without_a_network_still_connects_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: [])
    assert "127.0.0.1" in {c.host for c in await candidates(IceSettings())}
    async with connected() as (a, b):
        await pass_on(a, b)
        assert all(ipaddress.ip_address(host).is_loopback for host, _ in pair_of(a))


async def test_an_address_that_cannot_be_bound_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["203.0.113.77", "127.0.0.1"])
    assert [c.host for c in await candidates(IceSettings())] == ["127.0.0.1"]
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["203.0.113.77"])
    with pytest.raises(SignallingError, match="this machine has no address"):
        await candidates(IceSettings())


class StunServer(asyncio.DatagramProtocol):
    """Says that whoever asks is seen as 203.0.113.9:4000."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=stun.parse_message(data).transaction_id,
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.9", 4000)
        self.transport.sendto(bytes(answer), addr)


async def test_a_stun_server_tells_the_outer_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    told = await candidates(IceSettings(ice_servers=ice_servers([f"stun:127.0.0.1:{port}"])))
    transport.close()
    assert [(c.type, c.host) for c in told] == [("host", "127.0.0.1"), ("srflx", "203.0.113.9")]
    assert (told[1].port, told[1].related_port) == (4000, told[0].port)


async def test_a_silent_stun_server_costs_only_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])
    monkeypatch.setattr(ice_agent, "GATHER_TIMEOUT_S", 0.3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        told = await candidates(IceSettings(ice_servers=ice_servers([f"stun:127.0.0.1:{port}"])))
    assert [c.type for c in told] == ["host"]


@pytest.mark.parametrize(
    ("ports", "addresses", "words"),
    [
        ((0, 10), (), "UDP ports 0-10 are no range"),
        ((50_100, 50_000), (), "UDP ports 50100-50000 are no range"),
        ((50_000, 70_000), (), "UDP ports 50000-70000 are no range"),
        (None, ("203.0.113.5", "example.org"), "'example.org' is not an IP address"),
        (None, ("",), "'' is not an IP address"),
        (None, ("203.0.113.5/24",), "is not an IP address"),
        (None, ("::",), "none that a peer can send to"),
        (None, ("ff02::1",), "none that a peer can send to"),
        (None, ("fe80::1%eth0",), "none that a peer can send to"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    ports: tuple[int, int] | None, addresses: tuple[str, ...], words: str
) -> None:
    with pytest.raises(GraphError, match=words):
        IceSettings(udp_ports=ports, advertised_addresses=addresses)


# Servers --------------------------------------------------------------------------------------------------------------


def test_servers_are_the_same_here_and_in_the_browser() -> None:
    urls = ["stun:stun.example.org", "turn:turn.example.org:3478?transport=tcp", "turns:192.0.2.1:443"]
    servers = ice_servers(urls, username="anna", credential="secret")
    assert servers == (
        RTCIceServer(urls="stun:stun.example.org"),
        RTCIceServer(urls="turn:turn.example.org:3478?transport=tcp", username="anna", credential="secret"),
        RTCIceServer(urls="turns:192.0.2.1:443", username="anna", credential="secret"),
    )
    assert ice_servers_json(servers) == [
        {"urls": "stun:stun.example.org"},
        {"urls": "turn:turn.example.org:3478?transport=tcp", "username": "anna", "credential": "secret"},
        {"urls": "turns:192.0.2.1:443", "username": "anna", "credential": "secret"},
    ]


async def test_the_agent_uses_the_first_server_of_each_kind() -> None:
    urls = ["stun:a.example", "stun:b.example", "turns:t.example", "turn:u.example"]
    agent = IceAgent(
        IceSettings(ice_servers=ice_servers(urls, username="anna", credential="secret")), print, controlling=False
    )
    assert agent.stun_server == ("a.example", 3478)
    assert (agent.turn_server, agent.turn_ssl, agent.turn_transport) == (("t.example", 5349), True, "tcp")
    assert (agent.turn_username, agent.turn_password) == ("anna", "secret")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "cannot be used"),
        ("stun.example.org:3478", "cannot be used"),
        ("stun://stun.example.org", "cannot be used"),
        ("stun:", "cannot be used"),
        ("stun:host:port", "cannot be used"),
        ("stun:host:0", "cannot be used"),
        ("stun:host:99999", "cannot be used"),
        ("stuns:stun.example.org", "cannot be used"),
        ("stun:[2001:db8::1]:3478", "a name or an IPv4 address"),
        ("stun:host?transport=udp", "STUN takes no transport"),
        ("turn:host?transport=sctp", "cannot be used"),
        ("turns:host?transport=udp", "runs over TCP"),
        ("turn:anna@host", "cannot be used"),
    ],
)
def test_a_server_that_aiortc_would_misread_is_refused(url: str, words: str) -> None:
    with pytest.raises(GraphError, match=words):
        ice_servers([url], username="anna", credential="secret")


@pytest.mark.parametrize(("username", "credential"), [(None, None), ("anna", None), ("", "secret")])
def test_turn_wants_credentials(username: str | None, credential: str | None) -> None:
    with pytest.raises(GraphError, match="wants a user name and a credential"):
        ice_servers(["turn:turn.example.org"], username=username, credential=credential)
    assert ice_servers(["stun:stun.example.org"], username=username, credential=credential)
