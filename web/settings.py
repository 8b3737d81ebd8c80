"""What the live server is told: where the graphs are, who may use it, and how much each may take."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tolmach.pipelines.errors import GraphError
from tolmach.web.sessions.ids import SERVER_NAME

if TYPE_CHECKING:
    from tolmach.transports.webrtc.signalling.ice_agent import IceSettings

__all__ = ["ServerSettings", "is_loopback", "normalised_origin"]

MIN_TOKEN = 8
"""Characters; what is shorter can be guessed over the network."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


DOORS = ("openai", "rooms", "websocket", "whip")
"""Ways to the same sessions besides the page's own; see :mod:`tolmach.web.doors`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings of ``tolmach serve``, checked when they are made.

    Attributes:
        graphs: A graph file, or a folder of them.
        default_graph: Name of the graph a page begins with; None for the first that can be used.
        trust_params: Whether a client may give any param, not only languages and those with choices. A param may be
            the path or name of a model, so this lets clients choose what the server loads.
        host: Address or name to listen on.
        port: TCP port; 0 takes any that is free.
        token: What a client must show as ``Authorization: Bearer``, or None.
        open_to_all: Whether a server that others can reach may do without a token.
        tls_cert: Certificate chain, PEM; None for plain HTTP.
        tls_key: Its private key, PEM.
        allowed_origins: Pages of other origins that may use the API, as browsers write them: ``https://example.org``.
        max_sessions: Sessions at a time.
        max_sessions_per_address: Those of one client address; None for no limit of its own. All clients behind a
            proxy, or behind a container's port mapping, have one address.
        max_listeners: Connected listeners at a time, who hear what others' sessions speak and have none themselves.
        offers_per_minute: Offers taken from one client address.
        max_body_bytes: Largest request body.
        max_connections: TCP connections at a time, half of them from one client address at most; when there are more,
            those that say nothing are closed first.
        max_files: Recordings worked on at a time that were sent as files.
        max_file_bytes: Largest recording that may be sent so.
        headers_s: How long the headers of a request may take to come, s.
        body_s: How long its body may take, s.
        max_session_s: When a session ends at the latest, s.
        idle_s: When a session ends in which nobody speaks, s.
        resume_s: How long a session waits for a client that lost its connection, s.
        drain_s: How long sessions have to end when the server is asked to stop, s.
        linger_s: How long they may go on before they are asked to, s: for servers of many, which others replace.
        keep_ended_s: How long transcripts and recordings of ended sessions can be had, s.
        max_kept: Ended sessions kept for that at a time.
        ice_urls: STUN and TURN servers for both ends.
        turn_username: For the TURN servers among them.
        turn_credential: Its password.
        udp_ports: First and last UDP port for media, or None for any.
        advertised_addresses: IP addresses at which clients reach this machine, where it does not know them itself.
        server_id: What this server is called in the ids of its sessions, so that a proxy in front of several finds
            it; None where it is alone.
        warm: Whether models are loaded before the first session.
        without: Doors (:data:`DOORS`) that are not opened.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.

    Raises:
        GraphError: If a value is wrong, or values do not fit together; says what to do.
    """

    graphs: Path
    default_graph: str | None = None
    trust_params: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    open_to_all: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_origins: tuple[str, ...] = ()
    max_sessions: int = 8
    max_sessions_per_address: int | None = None
    max_listeners: int = 64
    offers_per_minute: int = 30
    max_body_bytes: int = 131_072
    max_connections: int = 512
    max_files: int = 1
    max_file_bytes: int = 100 * 2**20
    headers_s: float = 10
    body_s: float = 30
    max_session_s: float = 2 * 3600
    idle_s: float = 600
    resume_s: float = 30
    drain_s: float = 30
    linger_s: float = 0
    keep_ended_s: float = 600
    max_kept: int = 32
    ice_urls: tuple[str, ...] = ()
    turn_username: str | None = None
    turn_credential: str | None = field(default=None, repr=False)
    udp_ports: tuple[int, int] | None = None
    advertised_addresses: tuple[str, ...] = ()
    server_id: str | None = None
    warm: bool = True
    without: tuple[str, ...] = ()
    log_level: str = "info"

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_access()
        self._check_tls()
        self._check_network()
        if self.server_id is not None and not re.fullmatch(SERVER_NAME, self.server_id):
            raise GraphError(
                f"{self.server_id[:80]!r} is no name for a server: use lower-case letters, digits and hyphens, "
                "at most 63, as in a host name (--server-id a, or the name of a pod)"
            )
        if not self.graphs.exists():
            raise GraphError(f"there is no graph file or folder {str(self.graphs)!r}")
        for name in self.without:
            if name not in DOORS:
                raise GraphError(f"there is no door {name!r}; there are {', '.join(DOORS)}")
        origins = tuple(dict.fromkeys(normalised_origin(origin) for origin in self.allowed_origins))
        object.__setattr__(self, "allowed_origins", origins)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def scheme(self) -> str:
        """``https`` with a certificate, else ``http``."""
        return "https" if self.tls_cert else "http"

    def url(self, port: int | None = None) -> str:
        """Where a browser on this machine finds the page.

        Args:
            port: The port in use, for settings that leave it open.
        """
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 -- read, not bound
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"{self.scheme}://{host}:{self.port if port is None else port}/"

    def ice(self) -> IceSettings:
        """Where ICE may be reached.

        Raises:
            GraphError: If a URL, port or address cannot be used.
        """
        # Imports aiortc, which a command line that says nothing of ICE need not wait for.
        from tolmach.transports.webrtc.signalling.ice_agent import IceSettings, ice_servers

        servers = ice_servers(self.ice_urls, username=self.turn_username, credential=self.turn_credential)
        return IceSettings(servers, self.udp_ports, self.advertised_addresses)

    def _check_numbers(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise GraphError(f"{self.port} is not a port: use 1 to 65535, or 0 for any that is free")
        for name in (
            "max_sessions",
            "max_sessions_per_address",
            "max_listeners",
            "offers_per_minute",
            "max_body_bytes",
            "max_connections",
            "max_files",
            "max_file_bytes",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise GraphError(f"{name} must be at least 1, got {value}")
        for name in ("max_session_s", "idle_s", "headers_s", "body_s"):
            if getattr(self, name) <= 0:
                raise GraphError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("resume_s", "drain_s", "linger_s", "keep_ended_s", "max_kept"):
            if getattr(self, name) < 0:
                raise GraphError(f"{name} must not be negative, got {getattr(self, name)}")

    def _check_access(self) -> None:
        if self.token is not None and self.open_to_all:
            raise GraphError("give either a token or --no-token, not both")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise GraphError("a token is made of ASCII characters without spaces")
        if self.token is not None and len(self.token) < MIN_TOKEN:
            raise GraphError(f"the token has {len(self.token)} characters; at least {MIN_TOKEN} are needed")
        if not self.host:
            raise GraphError("the host is empty: give an address to listen on, such as 127.0.0.1 or 0.0.0.0")
        if not self.loopback and self.token is None and not self.open_to_all:
            raise GraphError(
                f"{self.host} can be reached from other machines: give --token TEXT (or set TOLMACH_TOKEN), "
                "or say --no-token to let everybody in"
            )

    def _check_tls(self) -> None:
        if self.tls_cert is None and self.tls_key is None:
            return
        if self.tls_cert is None or self.tls_key is None:
            given, lacking = ("--tls-cert", "--tls-key") if self.tls_key is None else ("--tls-key", "--tls-cert")
            raise GraphError(f"{given} needs {lacking} as well")
        for path in (self.tls_cert, self.tls_key):
            if not path.is_file():
                raise GraphError(f"there is no file {str(path)!r}")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert, self.tls_key, password="")
        except (ssl.SSLError, OSError) as error:
            raise GraphError(
                f"{self.tls_cert} and {self.tls_key} are no PEM certificate and its unencrypted key: {error}"
            ) from error

    def _check_network(self) -> None:
        if self.ice_urls or self.udp_ports or self.advertised_addresses:
            self.ice()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else: ``localhost``, names below it (RFC 6761), 127.0.0.0/8, ``::1``.

    >>> is_loopback("localhost"), is_loopback("127.0.0.5"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def normalised_origin(origin: str) -> str:
    """An origin as browsers write it in the header ``Origin``: lower case, without the scheme's own port (RFC 6454).

    >>> normalised_origin("HTTPS://Example.org:443/")
    'https://example.org'

    Raises:
        GraphError: If it is none.
    """
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port
    except ValueError:
        raise _no_origin(origin) from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise _no_origin(origin)
    if parts.path not in ("", "/") or "*" in parts.hostname:
        raise _no_origin(origin)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _DEFAULT_PORTS[parts.scheme]) else "")


def _no_origin(origin: str) -> GraphError:
    return GraphError(f"{origin!r} is no origin: write SCHEME://HOST or SCHEME://HOST:PORT, as in https://example.org")
