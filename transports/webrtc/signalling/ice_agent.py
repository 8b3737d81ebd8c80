"""One ICE agent and its settings: aioice's, on our ports, under our addresses, with one inlet for what arrives.

Checked against aioice 0.13.0; tests/unit/test_webrtc_hooks.py notices changes. Only gathering is done anew, for aioice
binds to port 0 and tells peers what it has bound; checks, nomination and consent stay aioice's.

A socket hears whoever knows its port. So datagrams are sorted before aioice reads them (RFC 7983): DTLS and RTP pass if
their sender has shown that it knows our password, STUN if it is meant for this agent, and all else is dropped. aioice's
own log is silent: it names the addresses of clients, and a `%` in one breaks it.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import random
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from aioice import Candidate, Connection, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, StunProtocol, relayed_candidate, server_reflexive_candidate
from aioice.turn import UDP_SOCKET_BUFFER_SIZE
from aiortc import RTCIceServer
from aiortc.rtcicetransport import connection_kwargs

from tolmach.pipelines.errors import GraphError
from tolmach.transports.webrtc.guards import Allowance, Complaints, is_media, is_stun
from tolmach.transports.webrtc.signalling.sdp import SignallingError, can_be_sent_to

# Where ICE may be reached: STUN and TURN servers, UDP ports, and the addresses that peers are told --------------------

_URL = re.compile(
    r"(?P<scheme>stun|turns?):(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)
"""RFC 7064 and 7065, less what aiortc 1.16 passes over in silence: ``stuns``, IPv6 literals, other transports."""


@dataclass(frozen=True, slots=True)
class IceSettings:
    """Where ICE may be reached.

    Attributes:
        ice_servers: STUN and TURN servers, of :func:`ice_servers`; none by default, which is right for one machine and
            one network. Of several, the first STUN and the first TURN server are used at this end.
        udp_ports: First and last UDP port to bind, one for each of this machine's addresses and connection (two while
            ICE restarts); None leaves the choice to the system.
        advertised_addresses: IP addresses that peers are told in place of this machine's own of the same family, as
            behind a NAT that maps the ports one to one (a container's, a cloud's).

    Raises:
        GraphError: If the ports are no range, or an address is no IP address that a peer can send to.
    """

    ice_servers: tuple[RTCIceServer, ...] = ()
    udp_ports: tuple[int, int] | None = None
    advertised_addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.udp_ports is not None:
            first, last = self.udp_ports
            if not 1 <= first <= last <= 65535:
                raise GraphError(f"UDP ports {first}-{last} are no range; write for example 50000-50100")
        for text in self.advertised_addresses:
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                raise GraphError(
                    f"the advertised address {text!r} is not an IP address; names are not looked up, "
                    "write 203.0.113.5, say"
                ) from None
            if not can_be_sent_to(address):
                raise GraphError(f"the advertised address {text!r} is none that a peer can send to")


def ice_servers(
    urls: Sequence[str], *, username: str | None = None, credential: str | None = None
) -> tuple[RTCIceServer, ...]:
    """STUN and TURN servers from settings.

    Args:
        urls: ``stun:host[:port]``, ``turn:host[:port][?transport=udp|tcp]`` or ``turns:host[:port]`` (TCP).
        username: For the TURN servers.
        credential: Its password. It belongs in the environment, not on a command line.

    Raises:
        GraphError: If a URL cannot be used, or a TURN server has no credentials.
    """
    return tuple(_server(url, username, credential) for url in urls)


def _server(url: str, username: str | None, credential: str | None) -> RTCIceServer:
    match = _URL.fullmatch(url)
    if match is None or not 1 <= int(match["port"] or 3478) <= 65535:
        raise GraphError(
            f"the ICE server {url!r} cannot be used; write stun:HOST[:PORT], turn:HOST[:PORT][?transport=tcp] or "
            "turns:HOST[:PORT], with a name or an IPv4 address"
        )
    scheme, transport = match["scheme"], match["transport"]
    if scheme == "stun":
        if transport:
            raise GraphError(f"the ICE server {url!r} cannot be used: STUN takes no transport (RFC 7064)")
        return RTCIceServer(urls=url)
    if scheme == "turns" and transport == "udp":
        raise GraphError(f"the ICE server {url!r} cannot be used: turns runs over TCP here, not over DTLS")
    if not username or not credential:
        raise GraphError(
            f"the TURN server {url!r} wants a user name and a credential; `tolmach serve` takes them from "
            "TOLMACH_TURN_USERNAME and TOLMACH_TURN_CREDENTIAL in the environment"
        )
    return RTCIceServer(urls=url, username=username, credential=credential)


def ice_servers_json(servers: Iterable[RTCIceServer]) -> list[dict[str, Any]]:
    """The servers as a browser's ``RTCConfiguration.iceServers`` takes them (W3C WebRTC, 4.2.2)."""
    listed: list[dict[str, Any]] = []
    for server in servers:
        entry: dict[str, Any] = {"urls": server.urls}
        if server.username is not None and server.credential is not None:
            entry |= {"username": server.username, "credential": server.credential}
        listed.append(entry)
    return listed


# The agent ------------------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

GATHER_TIMEOUT_S = 3.0
"""How long STUN and TURN servers may take, for the answer waits for them; TURN over TLS takes about six round trips."""
LOOPBACK = ("127.0.0.1", "::1")
"""Left out by aioice; they are what remains of a machine without a network, whose own browser is still a peer."""
DATAGRAMS_PER_S, DATAGRAMS_AT_ONCE = 500, 1000
"""Datagrams taken from a peer, of RTP and of DTLS each. Opus has 50 a second, 400 in its shortest frames; SCTP one for
every other packet of ours, so that 1 MB a second can be told."""
CHECKS_PER_S, CHECKS_AT_ONCE = 100, 200
"""STUN requests taken: a peer paces its checks by 20 ms and more (RFC 8445, 14.2), and repeats the first sooner."""
MAX_REMOTE_CANDIDATES = 128
"""Addresses of a peer that are checked, told and found out by its requests; RFC 8445, 19.5.1 recommends 100 pairs."""
MAX_ROLE_CONFLICTS = 8
"""Times a peer may say that both of us nominate; one conflict is settled by the first (RFC 8445, 7.3.1.1)."""
_REQUEST = b"\x00\x01"  # Binding request (RFC 8489, 5 and 18.2)

Address = tuple[str, int]


class GuardedStun(StunProtocol):
    """A socket of an agent: sorts datagrams before aioice's parser, which raises on what it cannot read."""

    receiver: IceAgent

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Take a datagram from anybody."""
        data = cast("bytes", data)
        agent = self.receiver
        if is_media(data):
            agent.media_received(data, (addr[0], addr[1]))
        elif is_stun(data) and self._is_for_us(data):
            try:
                super().datagram_received(data, addr)
            except Exception as error:  # struct.error of an attribute of another size than it must have, say
                agent.complaints.note(f"a STUN message ({type(error).__name__})")
            else:
                if data[:2] != _REQUEST:  # an answer; who made it knows what we asked
                    agent.last_heard_ns = time.monotonic_ns()

    def _is_for_us(self, data: bytes) -> bool:
        """Whether it is a request to this agent, or the answer to one of its own; so cheap that anybody may ask.

        Others get no answer, though RFC 8489, 9.1.3 has one: it would make this socket a reflector.
        """
        if data[:2] == _REQUEST:
            return self.receiver.username_prefix in data and self.receiver.checks_left.take()
        return data[8:20] in self.transactions

    def _StunProtocol__log_debug(self, msg: str, *args: object) -> None:  # noqa: N802 -- as Python mangles aioice's
        """Say nothing: it would name addresses."""


class IceAgent(Connection):
    """An aioice connection of one component that hands what arrives to ``on_data``.

    Attributes:
        last_heard_ns: When the peer last showed that it is there, ns on the monotonic clock; 0 if it has not.
        closed: Whether it has been closed: by us, or by itself because the peer's consent expired (RFC 7675).
        task: Who runs its checks and watches it.
        complaints: What was dropped because nobody could read it.
    """

    def __init__(self, settings: IceSettings, on_data: Callable[[bytes], None], *, controlling: bool) -> None:
        super().__init__(ice_controlling=controlling, **connection_kwargs(list(settings.ice_servers)))
        self.closed = False
        self.last_heard_ns = 0
        self.complaints = Complaints(log)
        self.username_prefix = f"{self.local_username}:".encode()
        self.checks_left = Allowance(CHECKS_PER_S, CHECKS_AT_ONCE)
        self._rtp_left = Allowance(DATAGRAMS_PER_S, DATAGRAMS_AT_ONCE)
        self._dtls_left = Allowance(DATAGRAMS_PER_S, DATAGRAMS_AT_ONCE)
        self._authentic: set[Address] = set()
        self._role_conflicts = 0
        self.task: asyncio.Task[None] | None = None
        self._settings = settings
        self._on_data = on_data
        self._lost = False

    @property
    def usable(self) -> bool:
        """Whether a pair is nominated and its socket open."""
        return bool(self._nominated) and not self._lost

    @property
    def selected_pair(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """Our and the peer's address and port of the nominated pair; ours as bound, not as advertised."""
        pair = self._nominated.get(1)
        return None if pair is None else (pair.local_addr, pair.remote_addr)

    def media_received(self, data: bytes, addr: Address) -> None:
        """Take DTLS, RTP or RTCP from any of the sockets, if its sender is the peer."""
        if addr in self._authentic and (self._rtp_left if data[0] > 127 else self._dtls_left).take():
            self.last_heard_ns = time.monotonic_ns()
            self._on_data(data)

    def data_received(self, data: bytes, component: int) -> None:
        """Drop what aioice hands on because it could not read it as STUN."""
        self.complaints.note("a STUN message")

    def check_incoming(self, message: stun.Message, addr: Address, protocol: StunProtocol) -> None:
        """Take a request of the peer that was authenticated."""
        if "PRIORITY" not in message.attributes:  # RFC 8445, 7.1.1 demands it, and aioice relies on it
            self.complaints.note("a connectivity check without a priority")
            return
        known = any(c._network_host == addr[0] and c.port == addr[1] for c in self._remote_candidates)
        if not known and len(self._remote_candidates) >= MAX_REMOTE_CANDIDATES:
            self.complaints.note("a connectivity check from yet another address")
            return
        self._authentic.add(addr)
        self.last_heard_ns = time.monotonic_ns()
        super().check_incoming(message, addr, protocol)

    def check_complete(self, pair: CandidatePair) -> None:
        """Take the end of one of our own checks: who could answer it is the peer."""
        if pair.state == CandidatePair.State.SUCCEEDED:
            self._authentic.add(pair.remote_addr)
        super().check_complete(pair)

    async def check_start(self, pair: CandidatePair) -> None:
        """Check a pair; aioice begins anew at each role conflict, which a peer can answer with for ever."""
        if self._role_conflicts > MAX_ROLE_CONFLICTS:
            self.check_state(pair, CandidatePair.State.FAILED)
            self.check_complete(pair)
            return
        await super().check_start(pair)

    def switch_role(self, ice_controlling: bool) -> None:
        """Take the other role."""
        self._role_conflicts += 1
        super().switch_role(ice_controlling)

    def _Connection__log_info(self, msg: str, *args: object) -> None:  # noqa: N802 -- as Python mangles aioice's
        """Say nothing: it would name addresses."""

    def protocol_lost(self, protocol: StunProtocol) -> None:
        """Take note that a socket was closed. A restart may replace it, so it is silence and not yet the end."""
        self._lost = self._lost or any(pair.protocol is protocol for pair in self._nominated.values())
        if self._lost and self._query_consent_task is not None:
            self._query_consent_task.cancel()  # it would write to the closed socket

    async def close(self) -> None:
        """Close the sockets; safe twice."""
        self.closed = True
        await super().close()

    async def get_component_candidates(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        """Bind a socket to each address and ask the STUN and TURN servers; aioice calls this once.

        Raises:
            SignallingError: If no port of the range is free, or there is no address to bind.
        """
        bases: list[StunProtocol] = []
        for address in self._bindable(addresses or LOOPBACK):
            try:
                bases.append(await self._bind(address, component))
            except OSError as error:  # the address has gone, or IPv6 is switched off
                log.info("cannot bind to %s: %s", address, error)
        reflexive = [self._ask_stun(base) for base in bases if self.stun_server and _version(base) == 4]
        relays, *mapped = await asyncio.gather(self._ask_turn(component), *reflexive)
        if self.closed:  # meanwhile; close() saw none of the sockets that were opened since
            for protocol in self._protocols:
                await protocol.close()
            self._protocols.clear()
            raise ConnectionError("ICE has ended; only a new connection helps")
        candidates = [c for base in bases for c in self._advertised(base.local_candidate)]
        candidates += [c for found in mapped for c in found]
        candidates += relays
        if not candidates:
            told = ", ".join(self._settings.advertised_addresses)
            raise SignallingError(
                f"this machine has no address to stand behind {told}" if told else "this machine has no address"
            )
        return candidates

    def _bindable(self, addresses: Sequence[str]) -> Iterator[str]:
        """Those of our addresses that peers are told, or told another one in place of."""
        versions = {ipaddress.ip_address(a).version for a in self._settings.advertised_addresses} or {4, 6}
        return (a for a in addresses if ipaddress.ip_address(a).version in versions)

    def _advertised(self, base: Candidate) -> Iterator[Candidate]:
        """What peers are told of a host candidate."""
        version = ipaddress.ip_address(base.host).version
        if not self._settings.advertised_addresses:
            yield base
        for told in self._settings.advertised_addresses:
            if (address := ipaddress.ip_address(told)).version == version:
                yield _host_candidate(str(address), base.port, base.component)

    async def _bind(self, address: str, component: int) -> StunProtocol:
        loop = asyncio.get_running_loop()
        sock = open_socket(address, self._settings.udp_ports)
        try:
            _, protocol = await loop.create_datagram_endpoint(lambda: GuardedStun(self), sock=sock)
        except BaseException:
            sock.close()
            raise
        protocol.local_candidate = _host_candidate(address, sock.getsockname()[1], component)
        self._protocols.append(protocol)
        return protocol

    async def _ask_turn(self, component: int) -> list[Candidate]:
        if self.turn_server is None:
            return []
        try:
            async with asyncio.timeout(GATHER_TIMEOUT_S):
                candidate, protocol = await relayed_candidate(
                    component=component,
                    hide_related_address=False,
                    protocol_factory=lambda: GuardedStun(self),
                    turn_server=self.turn_server,
                    turn_username=self.turn_username,
                    turn_password=self.turn_password,
                    turn_ssl=self.turn_ssl,
                    turn_transport=self.turn_transport,
                )
        except Exception as error:  # whatever a server does wrong must not cost the join
            log.info("TURN server %s:%d: %s: %s", *self.turn_server, type(error).__name__, error)
            return []
        self._protocols.append(protocol)
        return [candidate]

    async def _ask_stun(self, base: StunProtocol) -> list[Candidate]:
        assert self.stun_server is not None  # noqa: S101 -- the caller asked; for the type checker
        try:
            async with asyncio.timeout(GATHER_TIMEOUT_S):
                candidate, _ = await server_reflexive_candidate(base, self.stun_server)
        except Exception as error:  # whatever a server does wrong must not cost the join
            log.info("STUN server %s:%d: %s: %s", *self.stun_server, type(error).__name__, error)
            return []
        return [candidate]


def open_socket(address: str, ports: tuple[int, int] | None) -> socket.socket:
    """A UDP socket on one of the ports, first and last included; on one the system chooses if None.

    Raises:
        SignallingError: If none of them is free.
        OSError: If the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in _shuffled(ports) if ports else (0,):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_SOCKET_BUFFER_SIZE)
            sock.bind((address, port))
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return sock
    first, last = ports or (0, 0)
    raise SignallingError(f"no UDP port of {first}-{last} is free on {address}; widen the range")


def _shuffled(ports: tuple[int, int]) -> Iterator[int]:
    """The ports of a range in random order, without listing them all."""
    first, last = ports
    count = last - first + 1
    tried: dict[int, int] = {}
    for left in range(count, 0, -1):  # Fisher and Yates, remembering only what was exchanged
        at = random.randrange(left)  # noqa: S311 -- spreads the load, protects nothing
        yield first + tried.get(at, at)
        tried[at] = tried.get(left - 1, left - 1)


def _host_candidate(address: str, port: int, component: int) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("host", "udp", address),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "host"),
        host=address,
        port=port,
        type="host",
    )


def _version(base: StunProtocol) -> int:
    return ipaddress.ip_address(base.local_candidate.host).version
