"""Who may use the server, and with what: host, origin, token, size and pace of requests.

:class:`Guard` is plain ASGI, so that it costs nothing on bodies that stream, and sees every answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from web.settings import ServerSettings

__all__ = ["Guard", "OfferLimiter", "client_address"]


class Guard:
    """ASGI middleware; the outermost one.

    Refuses, in this order: a ``Host`` that is not ours (DNS rebinding), an ``Origin`` that may not change anything
    here, a token that is missing or wrong, a body over its limit. Answers preflights of allowed origins. Adds security
    headers to every answer.

    Args:
        app: The application.
        settings: Who may come in.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""


class OfferLimiter:
    """A token bucket for each client address.

    Args:
        per_minute: Offers an address may make at once, and in each minute from then on.
        clock: Monotonic clock, s.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        raise NotImplementedError

    def take(self, address: str) -> None:
        """Count one offer of ``address`` (see :func:`client_address`).

        Raises:
            ApiError: 429, with the time after which the next one will do.
        """


def client_address(scope: Scope) -> str:
    """Whom a request comes from, for limits: an IPv4 address, or the /64 network of an IPv6 one; "" if unknown.

    A household or a rented server has a /64, if not more, so single IPv6 addresses would be no limit.
    """
    raise NotImplementedError
