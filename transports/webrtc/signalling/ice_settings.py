"""Where ICE may be reached: STUN and TURN servers, UDP ports, and the addresses that peers are told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiortc import RTCIceServer

from tolmach.pipelines.errors import GraphError

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
            _check_advertised(text)


def _check_advertised(text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise GraphError(
            f"the advertised address {text!r} is not an IP address; names are not looked up, write 203.0.113.5, say"
        ) from None
    if address.is_unspecified or address.is_multicast or getattr(address, "scope_id", None):
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
