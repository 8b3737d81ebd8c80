"""Ids of sessions: 128 random bits, and in front of them the server that has the session, where there are several.

A session lives in one process: its connection, its graph, what was said. So each request for it must reach that
process, through a proxy that knows nothing of sessions. The id says which one it is, ``a.V4LlmPPhLp2VTbmvxHJSKw``, and
whatever door it came through, the id is a segment of the path or a value of the query; a proxy needs one regular
expression for all of them (:data:`ROUTED`, docs/adr/0051).
"""

from __future__ import annotations

import re
import secrets

__all__ = ["MAX_ID", "ROUTED", "SERVER_NAME", "new_id", "server_of"]

SERVER_NAME = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""What a server may be called: a label of a host name (RFC 1123, 2.1), because a proxy makes a host name of it, and
because that is what Kubernetes calls a pod."""

RANDOM_BYTES = 16
RANDOM_CHARACTERS = 22
"""Characters that these take in URL-safe base64 without padding (RFC 4648, 5)."""

MAX_ID = 63 + 1 + RANDOM_CHARACTERS
"""Characters of the longest id."""

ROUTED = rf"[/=]({SERVER_NAME})\.[A-Za-z0-9_-]{{{RANDOM_CHARACTERS}}}([/?&]|$)"
"""How a proxy finds the server in the target of a request (path and query); its first group is the name."""

_ID = re.compile(rf"({SERVER_NAME})\.[A-Za-z0-9_-]{{{RANDOM_CHARACTERS}}}")


def new_id(server: str | None = None) -> str:
    """An id nobody can guess.

    Args:
        server: The name of the server that makes it, a :data:`SERVER_NAME`; None for one that is alone.
    """
    random = secrets.token_urlsafe(RANDOM_BYTES)
    return random if server is None else f"{server}.{random}"


def server_of(session_id: str) -> str | None:
    """The server that an id names.

    >>> server_of("tolmach-0.V4LlmPPhLp2VTbmvxHJSKw"), server_of("V4LlmPPhLp2VTbmvxHJSKw"), server_of("a.b")
    ('tolmach-0', None, None)
    """
    found = _ID.fullmatch(session_id)
    return found[1] if found else None
