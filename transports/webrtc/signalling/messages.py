"""What is said over the data channel: one JSON object a message, ``"v": 1``, ``"type"`` first.

docs/LIVE.md lists the types. The transport itself speaks ``ping``, ``pong`` and ``bye`` and turns what a graph's bus
says into ``event``; the rest belongs to the server. Times are media time of the session, ms.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tolmach.pipelines.bus import ErrorMessage, NoticeMessage
from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.frames import NS_PER_MS

VERSION = 1
LABEL = "tolmach"
"""Label of the data channel the page opens."""
MAX_INCOMING = 16_384
"""Longest message taken, characters; SCTP peers need not take more in one piece (RFC 8831, 6.6)."""


class MessageError(TolmachError):
    """What came over the data channel is no message of ours."""


def encode(name: str, /, **fields: Any) -> str:
    """One message as text. It can be sent whatever the fields hold.

    Numbers that JSON has none for (not a number, infinity) become null; halves of characters that UTF-8 has none for
    (lone surrogates, which a recogniser or a client may make) become question marks.
    """
    return to_json({"v": VERSION, "type": name, **fields})


def to_json(message: Mapping[str, Any]) -> str:
    """Any object as text that can be sent, as :func:`encode` has it."""
    try:
        text = _ENCODER.encode(message)
    except ValueError:  # of allow_nan
        text = _ENCODER.encode(_finite(message))
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def pong(ping: Mapping[str, Any]) -> str:
    """The answer to a ping, with its number if it is one that JavaScript has too (RFC 8259, 6)."""
    number = ping.get("number")
    return encode("pong", number=number if type(number) is int and abs(number) < 2**53 else None)


def event(message: NoticeMessage) -> dict[str, Any]:
    """The fields of an ``event``: what a person should read."""
    data = dict(message.data)
    if isinstance(message, ErrorMessage):
        data["fatal"] = message.fatal
        data |= {"error": message.error} if message.error else {}
        data |= {"policy": message.policy} if message.policy else {}
    return {
        "kind": message.kind,
        "element": message.element,
        "text": message.text,
        "pts_ms": None if message.pts_ns is None else message.pts_ns // NS_PER_MS,
        "data": data,
    }


def decode(text: str | bytes) -> Mapping[str, Any]:
    """A message from the page.

    Raises:
        MessageError: If it is too long, no JSON object (RFC 8259 has no NaN and no infinity), of another version,
            without a type, or has text that is no Unicode: lone surrogates, written as escapes.
    """
    if not isinstance(text, str):
        raise MessageError("a binary message came over the data channel; send JSON text")
    if len(text) > MAX_INCOMING:
        raise MessageError(f"a message of {len(text)} characters came over the data channel; at most {MAX_INCOMING}")
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a message that is no JSON came over the data channel ({error})") from error
    if "\\u" in text and _has_surrogates(value):
        raise MessageError("a message with half a character came over the data channel")
    if not isinstance(value, dict) or value.get("v") != VERSION or not isinstance(value.get("type"), str):
        raise MessageError(f'a message needs "v": {VERSION} and a "type"')
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_float)


def _has_surrogates(value: Any) -> bool:
    """Whether text in it has no UTF-8; an escape is a character by then."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return True
    return False
