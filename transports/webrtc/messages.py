"""What is said over the data channel: one JSON object a message, ``"v": 1``, ``"type"`` first.

To the page::

    {"v": 1, "type": "caption", "utterance": 7, "start_ms": 12480, "end_ms": 14900, "source_lang": "en",
     "target_lang": "ru", "text": "…", "final": true, "rejected": null, "logprob": -0.2, "engine": "canary-1b-v2"}
    {"v": 1, "type": "event", "kind": "utterance", "element": "vad", "text": "…", "pts_ms": 12480, "data": {…}}
    {"v": 1, "type": "stats", "receiver": {…}, "sender": {…}, "round_trip_ms": 12.5}
    {"v": 1, "type": "ping", "number": 3}          answer with pong and the same number
    {"v": 1, "type": "pong", "number": 3}          the answer to the page's ping
    {"v": 1, "type": "bye", "reason": "…"}         the connection closes now

From the page: ``ping``, ``pong``, ``bye``, and whatever the server's own handler understands (``type`` of its own).
Times are media time of the session, ms from its first packet. Fields may be added within ``"v": 1``; readers ignore
what they do not know.
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

EVENT_KINDS = frozenset({"state", "error", "warning", "info", "latency", "utterance", "dropped", "eos"})
"""Bus messages that become events. ``progress`` says nothing in a live session."""


class MessageError(TolmachError):
    """What came over the data channel is no message of ours."""


def encode(kind: str, /, **fields: Any) -> str:
    """One message as text."""
    return json.dumps({"v": VERSION, "type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))


def from_bus(message: Message) -> str | None:
    """What the page is told of a bus message; None when it is not told."""
    if message.kind == "translation":
        data = message.data
        return encode(
            "caption",
            utterance=data["utterance"],
            start_ms=data["pts_ns"] // NS_PER_MS,
            end_ms=data["end_ns"] // NS_PER_MS,
            source_lang=data["source_lang"],
            target_lang=data["target_lang"],
            text=data["text"],
            final=data.get("final", True),
            rejected=data.get("rejected"),
            logprob=data.get("logprob"),
            engine=data.get("engine", ""),
        )
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
