"""One ICE agent: aioice's, on our ports, under our addresses, with one inlet for what arrives.

Checked against aioice 0.13.0; tests/unit/test_webrtc_hooks.py notices changes. Only gathering is done anew, for aioice
binds to port 0 and tells peers what it has bound; checks, nomination and consent stay aioice's.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import random
import socket
from collections.abc import Callable, Iterator, Sequence

from aioice import Candidate, Connection
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, server_reflexive_candidate
from aioice.turn import UDP_SOCKET_BUFFER_SIZE
from aiortc.rtcicetransport import connection_kwargs

from transports.webrtc.ice_settings import IceSettings
from transports.webrtc.sdp import SignallingError

log = logging.getLogger(__name__)

GATHER_TIMEOUT_S = 3.0
"""How long STUN and TURN servers may take, for the answer waits for them; TURN over TLS takes about six round trips."""
LOOPBACK = ("127.0.0.1", "::1")
"""Left out by aioice; they are what remains of a machine without a network, whose own browser is still a peer."""


class IceAgent(Connection):
    """An aioice connection of one component that hands what arrives to ``on_data``.

    Attributes:
        closed: Whether it has been closed: by us, or by itself because the peer's consent expired (RFC 7675).
        task: Who runs its checks and watches it.
    """

    def __init__(self, settings: IceSettings, on_data: Callable[[bytes], None], *, controlling: bool) -> None:
        super().__init__(ice_controlling=controlling, **connection_kwargs(list(settings.ice_servers)))
        self.closed = False
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

    def data_received(self, data: bytes, component: int) -> None:
        """Take a datagram that is not STUN, from any of the sockets."""
        self._on_data(data)

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
        relayed = super().get_component_candidates(component, [], timeout=round(GATHER_TIMEOUT_S))
        relays, *mapped = await asyncio.gather(relayed, *reflexive)
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
            _, protocol = await loop.create_datagram_endpoint(lambda: StunProtocol(self), sock=sock)
        except BaseException:
            sock.close()
            raise
        protocol.local_candidate = _host_candidate(address, sock.getsockname()[1], component)
        self._protocols.append(protocol)
        return protocol

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
