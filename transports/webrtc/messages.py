"""What is said over the data channel: one JSON object a message, ``"v": 1``, ``"type"`` first.

docs/LIVE.md lists the types. The transport itself speaks ``ping``, ``pong`` and ``bye`` and turns what a graph's bus
says into ``event``; the rest belongs to the server. Times are media time of the session, ms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.bus import Message
from pipelines.errors import TolmachError
from pipelines.frames import NS_PER_MS

VERSION = 1
LABEL = "tolmach"
"""Label of the data channel the page opens."""
MAX_INCOMING = 16_384
"""Longest message taken, characters; SCTP peers need not take more in one piece (RFC 8831, 6.6)."""

EVENT_KINDS = frozenset({"error", "warning", "info", "dropped"})
"""Bus messages that become events: what a person should read. Others have types of their own, or say nothing live."""


class MessageError(TolmachError):
    """What came over the data channel is no message of ours."""


def encode(kind: str, /, **fields: Any) -> str:
    """One message as text."""
    return json.dumps({"v": VERSION, "type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))


def event(message: Message) -> str | None:
    """What the page is told of a bus message; None when it is not told."""
    if message.kind not in EVENT_KINDS:
        return None
    return encode(
        "event",
        kind=message.kind,
        element=message.element,
        text=message.text,
        pts_ms=None if message.pts_ns is None else message.pts_ns // NS_PER_MS,
        data=dict(message.data),
    )


def decode(text: str | bytes) -> Mapping[str, Any]:
    """A message from the page.

    Raises:
        MessageError: If it is too long, no JSON object, of another version, or without a type.
    """
    if not isinstance(text, str):
        raise MessageError("a binary message came over the data channel; send JSON text")
    if len(text) > MAX_INCOMING:
        raise MessageError(f"a message of {len(text)} characters came over the data channel; at most {MAX_INCOMING}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a message that is no JSON came over the data channel ({error})") from error
    if not isinstance(value, dict) or value.get("v") != VERSION or not isinstance(value.get("type"), str):
        raise MessageError(f'a message needs "v": {VERSION} and a "type"')
    return value
