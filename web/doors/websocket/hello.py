"""The first message of a WebSocket: who comes, with what audio, and what for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tolmach.transports.webrtc.signalling.messages import MAX_INCOMING, VERSION
from tolmach.transports.websocket.pcm_receiver import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from tolmach.web.errors import ApiError

__all__ = ["Hello", "HelloError", "read_hello"]

Value = str | int | float | bool | None
Values = Annotated[dict[str, Value], Field(max_length=50)]


class HelloError(ApiError):
    """The first message cannot be read; says what it must be."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "bad-request", message)


@dataclass(frozen=True, slots=True)
class Hello:
    """What was said first.

    Attributes:
        live: Whether the rest is docs/LIVE.md.
        mode: ``auto``, or from which language into which; None where the params say it.
        graph: Name of the graph; "" for the server's default, or the one that a session has.
        params: Its params.
        settings: Its live settings.
        rate_hz: Rate of the audio that will come, Hz.
        channels: Channels of it, interleaved.
    """

    live: bool
    mode: str | None = None
    graph: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    rate_hz: int = 48_000
    channels: int = 1


class _First(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    graph: str = Field("", max_length=200)
    params: Values = {}
    settings: Values = {}
    sample_rate: int = Field(48_000, ge=MIN_RATE_HZ, le=MAX_RATE_HZ)
    channels: int = Field(1, ge=1, le=MAX_CHANNELS)


class _Simple(_First):
    mode: str = Field(max_length=80)


class _Live(_First):
    v: Literal[1]
    type: Literal["hello"]


def read_hello(text: str) -> Hello:
    """Read the first message. Fields that nobody knows are passed over, as everywhere in docs/LIVE.md.

    Raises:
        HelloError: If it is none.
    """
    if len(text) > MAX_INCOMING:
        raise HelloError(f"the first message has {len(text)} characters; at most {MAX_INCOMING} are read")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise HelloError('the first message is a JSON object: {"mode": "auto"}, or {"mode": "en->ru"}')
    live = "type" in said or "v" in said
    if not live and "mode" not in said:
        raise HelloError('the first message has no "mode": "auto", or two languages as in "en->ru"')
    try:
        told = (_Live if live else _Simple).model_validate(said)
    except ValidationError as error:
        raise HelloError("; ".join(_problem(each) for each in error.errors()[:3])) from None
    mode = told.mode if isinstance(told, _Simple) else None
    return Hello(live, mode, told.graph, told.params, told.settings, told.sample_rate, told.channels)


def _problem(found: Mapping[str, Any]) -> str:
    place = ".".join(str(part)[:40] for part in found["loc"])
    if place == "v":
        return f'"v" must be {VERSION}'
    return f"{place}: {found['msg']}"
