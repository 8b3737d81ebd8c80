"""Who may use the server, and how much of it: host, origin, token, size of bodies, number of offers.

:class:`Guard` is plain ASGI: it sees every request first and every answer last, and bodies stream through it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tolmach.web.client_secrets import ClientSecrets
from tolmach.web.errors import ApiError, error_response
from tolmach.web.settings import ServerSettings, is_loopback

__all__ = ["Guard", "OfferLimiter", "add_body_limit", "address_of", "client_address", "token_in"]

TOKEN_SUBPROTOCOLS = ("tolmach-token.", "openai-insecure-api-key.")
"""What stands before a token among the subprotocols of a WebSocket: our page's way, and that of OpenAI's clients in
browsers. The door answers with another one that was offered, never with the token."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
PROBES = ("/healthz", "/readyz")
"""For orchestrators, which name a container as they like; they tell no secret."""

HEADERS = {
    # Inline styles: drawings of graphs carry their own, and levels are drawn as widths. Recordings play from blobs.
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), display-capture=(self), camera=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE"
_ALLOWED_HEADERS = "authorization, content-type, if-match"
_HEADER_NAMES = re.compile(r"[a-z0-9, -]{1,1000}", re.IGNORECASE)
_PREFLIGHT_S = 600
"""How long a browser may remember a preflight, s; Chrome's own limit is 7200."""
MAX_ADDRESSES = 10_000
"""Addresses whose offers are counted; the one not seen for longest is forgotten first, its bucket has filled most."""


class Guard:
    """ASGI middleware; the outermost one.

    Refuses, in this order: a ``Host`` that is not ours, an ``Origin`` that may not change anything here, a token that
    is missing or wrong, a body over its limit. Answers preflights of allowed origins. Adds security headers to every
    answer.

    The ``Host`` matters because a page may point its own name at this machine and then be of one origin with us (DNS
    rebinding). Addresses cannot be pointed anywhere, so any will do; of names, those of this machine and of allowed
    origins. With a token any name will do, for such a page does not have it.

    Args:
        app: The application.
        settings: Who may come in.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._origins = frozenset(settings.allowed_origins)
        self._names = {str(urlsplit(origin).hostname) for origin in settings.allowed_origins} | {settings.host.lower()}
        self._bearer = f"Bearer {settings.token}".encode() if settings.token else None
        self._secrets = ClientSecrets(settings.token)
        self._max_body = settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":
            await self._talk(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        reply = _Reply(send, self._headers_for(scope, headers), bodiless=scope["method"] == "HEAD")
        if scope["method"] == "HEAD":  # what can be got can be asked for (RFC 9110, 9.3.2)
            scope = {**scope, "method": "GET"}
        try:
            if self._is_preflight(scope, headers):
                await self._preflight(scope, headers)(scope, receive, reply.send)
                return
            self._check(scope, headers)
            await self._app(scope, _limited(receive, headers, _body_limit(scope, self._max_body)), reply.send)
        except ApiError as error:
            if reply.started:
                raise
            await error_response(error, scope)(scope, receive, reply.send)

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the handshake of a WebSocket: whoever may not change anything here may not talk here."""
        headers = Headers(scope=scope)
        try:
            self._check({**scope, "method": "POST"}, headers)
        except ApiError as error:
            await error_response(error, scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if path not in PROBES and self._bearer is None and not self._knows_host(headers.get("host", "")):
            raise ApiError(
                403,
                "forbidden-origin",
                f"this server is not called {_name(headers.get('host', ''))[:80]!r}; if it is, start it with "
                "--allow-origin and the address of the page, or with a token",
            )
        if scope["method"] not in SAFE_METHODS and not self._may_change(headers):
            raise ApiError(
                403,
                "forbidden-origin",
                f"pages of {headers.get('origin', 'other origins')[:80]!r} may not use this server; if they should, "
                "start it with --allow-origin",
            )
        if self._bearer is not None and not _is_public(path) and not self._may_enter(path, headers):
            raise ApiError(401, "unauthorised", "the token is missing or wrong")

    def _knows_host(self, host: str) -> bool:
        name = _name(host)
        return is_loopback(name) or _is_address(name) or name in self._names

    def _may_change(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:
            # No browser sends such a request without Origin; old ones that do say where they come from.
            return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        return origin in self._origins or _same_origin(origin, headers.get("host", ""))

    def _may_enter(self, path: str, headers: Headers) -> bool:
        # As bytes, because compare_digest takes no text beyond ASCII. Both in any case, so that time tells nothing.
        shown = token_in(headers)
        matches = [self._is_token(shown), self._is_token(unquote(shown))]
        return any(matches) or (ClientSecrets.opens(path) and self._secrets.read(shown) is not None)

    def _is_token(self, shown: str) -> bool:
        offered = f"Bearer {shown}".encode(errors="replace")
        return self._bearer is not None and hmac.compare_digest(offered, self._bearer)

    def _is_preflight(self, scope: Scope, headers: Headers) -> bool:
        return scope["method"] == "OPTIONS" and "access-control-request-method" in headers

    def _preflight(self, scope: Scope, headers: Headers) -> Response:
        if headers.get("origin") not in self._origins:
            return error_response(ApiError(403, "forbidden-origin", "this origin is not allowed"), scope)
        allowed = {
            "Access-Control-Allow-Methods": _ALLOWED_METHODS,
            "Access-Control-Allow-Headers": _allowed_headers(scope, headers),
            "Access-Control-Max-Age": str(_PREFLIGHT_S),
        }
        if headers.get("access-control-request-private-network") == "true":
            allowed["Access-Control-Allow-Private-Network"] = "true"
        return Response(status_code=204, headers=allowed)

    def _headers_for(self, scope: Scope, headers: Headers) -> dict[str, str]:
        added = dict(HEADERS)
        if scope["path"].startswith(("/api/", "/v1/")):
            added["Cache-Control"] = "no-store"
        if scope["path"].startswith("/v1/"):
            added["X-Request-Id"] = f"req_{secrets.token_hex(16)}"
        if self._origins:
            added["Vary"] = "Origin"
        if headers.get("origin") in self._origins:
            added["Access-Control-Allow-Origin"] = headers["origin"]
            added["Access-Control-Expose-Headers"] = (
                "Retry-After, Content-Disposition, Location, X-Request-Id, ETag, Link, Accept-Patch"
            )
        return added


def add_body_limit(app: FastAPI, path: str, limit: int) -> None:
    """Let requests to a path have larger bodies, or smaller ones, than others; bytes.

    Whoever does so reads them piece by piece: the guard counts, and keeps nothing.
    """
    app.state.body_limits = {**getattr(app.state, "body_limits", {}), path: limit}


def _body_limit(scope: Scope, usual: int) -> int:
    limits: Mapping[str, int] = getattr(scope["app"].state, "body_limits", {}) if "app" in scope else {}
    return limits.get(scope["path"], usual)


class OfferLimiter:
    """A token bucket for each client address: making a session costs the event loop some hundredths of a second.

    Args:
        per_minute: Offers an address may make at once, and in each minute from then on.
        clock: Monotonic clock, s.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = float(per_minute)
        self._per_s = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, when

    def take(self, address: str) -> None:
        """Count one offer of ``address`` (see :func:`client_address`).

        Raises:
            ApiError: 429, with the time after which the next one will do.
        """
        now_s = self._clock()
        left, since_s = self._buckets.pop(address, (self._size, now_s))
        left = min(self._size, left + (now_s - since_s) * self._per_s)
        granted = left >= 1
        self._buckets[address] = (left - granted, now_s)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        if not granted:
            wait_s = round((1 - left) / self._per_s, 3)
            raise ApiError(429, "too-many-requests", "too many sessions were asked for; wait a moment", wait_s)


def client_address(scope: Scope) -> str:
    """Whom a request comes from, for limits: an IPv4 address, or the /64 network of an IPv6 one; "" if unknown.

    A household or a rented server has a /64, if not more, so single IPv6 addresses would be no limit.
    """
    return address_of((scope.get("client") or ("", 0))[0])


def address_of(host: str) -> str:
    """The same for an address as sockets give it."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


class _Reply:
    """The way back: adds headers that the application has not set itself, and knows whether it has begun."""

    def __init__(self, send: Send, headers: dict[str, str], *, bodiless: bool) -> None:
        self._send = send
        self._headers = headers
        self._bodiless = bodiless
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                if name == "Vary":
                    headers.add_vary_header(value)
                else:
                    headers.setdefault(name, value)
        elif self._bodiless and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _limited(receive: Receive, headers: Headers, limit: int) -> Receive:
    """The body, as long as it keeps to its limit.

    Raises:
        ApiError: 413, at once if the length is declared; the receiver raises it when more comes than was allowed.
    """
    too_large = ApiError(413, "too-large", f"the body is larger than {limit} bytes")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > limit:
                raise too_large
        return message

    return limited


def _is_public(path: str) -> bool:
    """Whether a path is a page, a probe or a room; everything else wants the token, also what is not there."""
    if path.startswith("/api/rooms/"):
        return True  # in there a room's own codes are asked for (web/doors/rooms.py)
    return path in ("/", "/room", "/favicon.ico", *PROBES) or path.startswith("/static/")


def token_in(headers: Headers) -> str:
    """The token that a client shows, as bearer or as a subprotocol; "" if it shows none.

    Browsers cannot set headers of a WebSocket. Of a token with characters that a subprotocol may not have (RFC 9110,
    5.6.2) they have to write %2F, and the like.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for offered in headers.get("sec-websocket-protocol", "").split(","):
        for prefix in TOKEN_SUBPROTOCOLS:
            if offered.strip().startswith(prefix):
                return offered.strip().removeprefix(prefix)
    return ""


def _allowed_headers(scope: Scope, headers: Headers) -> str:
    """Which headers a page of an allowed origin may send: ours, and below /v1/ those of its SDK (x-stainless-...)."""
    asked = headers.get("access-control-request-headers", "")
    return asked if scope["path"].startswith("/v1/") and _HEADER_NAMES.fullmatch(asked) else _ALLOWED_HEADERS


def _same_origin(origin: str, host: str) -> bool:
    """Whether a page's origin is this server, as the client calls it.

    The scheme is not compared: behind a proxy that speaks TLS we see plain HTTP.
    """
    scheme, _, rest = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    return default is not None and bool(rest) and rest.removesuffix(default) == host.lower().removesuffix(default)


def _name(host: str) -> str:
    """The host of a ``Host`` header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
