"""Secrets that a page may have instead of the server's token: they open one door, for minutes, and nothing is stored.

A secret is what it allows, its end, and a MAC over both under a key made from the server's token (HMAC-SHA256,
RFC 2104). So every server with the same token takes it, and taking the token away takes all of them away. One cannot be
revoked by itself: it lives ten minutes unless its maker wishes otherwise, and two hours at most.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["DEFAULT_S", "LONGEST_S", "PREFIX", "SHORTEST_S", "ClientSecrets"]

PREFIX = "ek_"
"""How the secrets of OpenAI's API begin."""
SHORTEST_S, DEFAULT_S, LONGEST_S = 10, 600, 7200
"""How long a secret may live, s (its documentation of ``expires_after.seconds``)."""
_SESSIONS = "/v1/realtime/translations"
_CALLS = ("/v1/realtime/translations/calls", "/v1/realtime/calls")
"""What a secret opens: sessions, calls, and what is below a call. It makes no other secrets."""
_MAX = 4096
"""Characters of the longest secret looked at."""
_MAC_BYTES = 32


class ClientSecrets:
    """Makes secrets, and tells whether one is good.

    Args:
        token: The server's; None for a server without, whose secrets live no longer than it does.
        clock: Seconds since the epoch.
    """

    def __init__(self, token: str | None, *, clock: Callable[[], float] = time.time) -> None:
        material = token.encode() if token is not None else secrets.token_bytes(32)
        # A key of its own: nobody learns anything of the token from what it signs, or gets it to sign something else.
        self._key = hmac.digest(material, b"tolmach client secrets, version 1", "sha256")
        self._clock = clock

    def make(self, allowed: Mapping[str, Any], lives_s: int = DEFAULT_S) -> tuple[str, int]:
        """A secret, and when it ends, s since the epoch.

        Args:
            allowed: What it stands for; plain JSON values, a few hundred characters.
            lives_s: How long it is good, s.
        """
        ends = int(self._clock()) + lives_s
        # With something random: two secrets for the same are two.
        body = json.dumps({"ends": ends, "salt": secrets.token_hex(4), "allowed": allowed}, separators=(",", ":"))
        payload = body.encode("ascii")
        return PREFIX + _text(self._mac(payload) + payload), ends

    def read(self, secret: str) -> Mapping[str, Any] | None:
        """What a secret stands for; None if it is none of ours, or has ended. Compared in constant time."""
        if not secret.startswith(PREFIX) or len(secret) > _MAX:
            return None
        try:
            raw = _bytes(secret.removeprefix(PREFIX))
        except (ValueError, binascii.Error):
            return None
        if _text(raw) != secret.removeprefix(PREFIX):
            return None  # another spelling of the same bytes
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            return None
        found = json.loads(payload)  # ours, as we wrote it
        if found["ends"] <= self._clock():
            return None
        allowed: Mapping[str, Any] = found["allowed"]
        return allowed

    @staticmethod
    def opens(path: str) -> bool:
        """Whether a secret is enough for this path."""
        return path == _SESSIONS or any(path == each or path.startswith(f"{each}/") for each in _CALLS)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.new(self._key, payload, hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    # Letters, digits, "-" and "_": it also stands in the name of a subprotocol, which is a token (RFC 9110, 5.6.2).
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
