"""What clients of OpenAI's realtime translations say, checked: events of JSON, and the settings of a session in them.

Every mistake is said in OpenAI's words and codes, with the name of the parameter, so that an SDK shows it.
"""

from __future__ import annotations

import binascii
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tolmach.web.doors.openai.errors import OpenAiError

__all__ = [
    "RATE_HZ",
    "Append",
    "ClientEvent",
    "Close",
    "EventError",
    "Settings",
    "Update",
    "event_id",
    "parse",
    "settings_of",
    "write",
]

RATE_HZ = 24_000
"""Of the audio in both directions, mono, 16 bit, little endian."""
MAX_ID, MAX_NAME, MAX_LANGUAGE = 512, 200, 35
"""Characters of an event's id, of a model's name, of a language tag (RFC 5646, 4.4.1)."""

APPEND, UPDATE, CLOSE = "session.input_audio_buffer.append", "session.update", "session.close"
_TYPES = (APPEND, UPDATE, CLOSE)

_IGNORED = frozenset(
    {
        "include",
        "instructions",
        "max_output_tokens",
        "modalities",
        "output_modalities",
        "parallel_tool_calls",
        "prompt",
        "reasoning",
        "temperature",
        "tool_choice",
        "tools",
        "tracing",
        "truncation",
        "voice",
        "audio.input.turn_detection",
        "audio.output.speed",
        "audio.output.voice",
    }
)
"""Settings of OpenAI's other realtime sessions, which clients may have in their hands: they change nothing here, and
``session.updated`` says so. What is in no session of theirs is an error."""


class EventError(OpenAiError):
    """An event that cannot be used.

    Attributes:
        of_event: The ``event_id`` that the client gave it, or None.
    """

    of_event: str | None = None

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(400, message, param=param, code=code)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client may set of a session.

    Attributes:
        language: BCP-47 tag of what is to be heard; None for what the graph does by default.
        transcription: ``{"model": NAME}`` where the source is to be written down, too. The graph's engine does it,
            whatever the name.
        noise_reduction: ``{"type": ..., "strength": ...}`` as it was given; it changes nothing here.
    """

    language: str | None = None
    transcription: Mapping[str, Any] | None = None
    noise_reduction: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """``session.audio`` of an event."""
        audio_in = {"transcription": self.transcription, "noise_reduction": self.noise_reduction}
        return {"input": audio_in, "output": {"language": self.language}}


@dataclass(frozen=True, slots=True)
class Append:
    """Audio: PCM16, mono, 24 kHz."""

    pcm: bytes
    of_event: str | None


@dataclass(frozen=True, slots=True)
class Update:
    """Other settings; ``session`` is as it came, see :func:`settings_of`."""

    session: Mapping[str, Any]
    of_event: str | None


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing more will be said."""

    of_event: str | None


ClientEvent: TypeAlias = Append | Update | Close


def event_id() -> str:
    """A name for an event of ours."""
    return f"event_{secrets.token_urlsafe(15)}"


def write(kind: str, /, **fields: Any) -> str:
    """An event as text. It can be sent whatever the fields hold: ASCII, because halves of characters have no UTF-8."""
    return json.dumps({"type": kind, "event_id": event_id(), **fields}, separators=(",", ":"))


def parse(text: str | bytes) -> ClientEvent:
    """An event of a client.

    Raises:
        EventError: If it is none, with the code and the parameter that OpenAI would name.
    """
    if not isinstance(text, str):
        raise EventError("invalid_value", "A binary message came: send events as JSON text, with audio in base64.")
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise EventError("invalid_json", f"The message is no JSON ({type(error).__name__}).") from None
    if not isinstance(value, dict):
        raise EventError("invalid_type", f"An event is a JSON object, and this is {_kind(value)}.")
    of_event = value.get("event_id")
    if of_event is not None and not (isinstance(of_event, str) and len(of_event) <= MAX_ID):
        raise EventError("invalid_value", f"An event_id is a string of at most {MAX_ID} characters.", "event_id")
    try:
        return _event(value, of_event)
    except EventError as error:
        error.of_event = of_event
        raise


def _event(value: Mapping[str, Any], of_event: str | None) -> ClientEvent:
    kind = _required(value, "type", str, "a string")
    if kind not in _TYPES:
        known = ", ".join(repr(each) for each in _TYPES)
        raise EventError("invalid_value", f"Invalid value: {kind[:80]!r}. Supported values are: {known}.", "type")
    if kind == APPEND:
        _only(value, ("type", "event_id", "audio"), "")
        return Append(_pcm(_required(value, "audio", str, "a string")), of_event)
    if kind == UPDATE:
        _only(value, ("type", "event_id", "session"), "")
        return Update(_required(value, "session", dict, "an object"), of_event)
    _only(value, ("type", "event_id"), "")
    return Close(of_event)


def _pcm(audio: str) -> bytes:
    try:
        pcm = binascii.a2b_base64(audio.encode("ascii"), strict_mode=True) if audio else b""
    except (ValueError, UnicodeEncodeError):
        raise EventError("invalid_value", "Invalid 'audio': it is no base64.", "audio") from None
    if len(pcm) % 2:
        raise EventError(
            "invalid_value",
            f"Invalid 'audio': {len(pcm)} bytes are no whole samples of 24 kHz PCM16 mono.",
            "audio",
        )
    return pcm


def settings_of(session: Mapping[str, Any], model: str, now: Settings) -> tuple[Settings, list[str]]:
    """The settings of a ``session`` object, on top of those that are in force, and what of it changes nothing here.

    Args:
        session: As it came; ``{"audio": {"output": {"language": "ru"}}}``.
        model: Of this session, which cannot be changed.
        now: What holds where the object says nothing.

    Raises:
        EventError: If it cannot be used; nothing of it holds then.
    """
    ignored: list[str] = []
    _only(session, ("type", "model", "audio", "id", "object", "expires_at", "client_secret"), "session", ignored)
    if session.get("type", "translation") != "translation":
        raise EventError("invalid_value", "The type of this session is 'translation'.", "session.type")
    given = session.get("model", model)
    if given != model:
        raise EventError("invalid_value", f"This session's model is {model!r}; it cannot be changed.", "session.model")
    audio = _optional(session, "audio", "session") or {}
    _only(audio, ("input", "output"), "session.audio", ignored)
    audio_in = _optional(audio, "input", "session.audio") or {}
    audio_out = _optional(audio, "output", "session.audio") or {}
    _only(audio_in, ("transcription", "noise_reduction", "format"), "session.audio.input", ignored)
    _only(audio_out, ("language", "format"), "session.audio.output", ignored)
    for part, where in ((audio_in, "session.audio.input"), (audio_out, "session.audio.output")):
        _check_format(part, f"{where}.format")
    if "transcription" in audio_in:
        now = replace(now, transcription=_transcription(audio_in))
    if "noise_reduction" in audio_in:
        now = replace(now, noise_reduction=_noise_reduction(audio_in, now.noise_reduction))
    if audio_out.get("language") is not None:
        now = replace(now, language=_language(audio_out["language"]))
    return now, ignored


def _language(value: Any) -> str:
    where = "session.audio.output.language"
    if not isinstance(value, str):
        raise _wrong_type(where, "a string", value)
    if not 0 < len(value) <= MAX_LANGUAGE or not value.replace("-", "").isalnum() or not value.isascii():
        raise EventError("invalid_value", f"Invalid '{where}': {value[:40]!r} is no language tag, such as 'ru'.", where)
    return value


def _transcription(audio_in: Mapping[str, Any]) -> Mapping[str, Any] | None:
    where = "session.audio.input.transcription"
    found = _optional(audio_in, "transcription", "session.audio.input")
    if found is None:
        return None
    _only(found, ("model", "language", "prompt", "delay"), where)
    if "model" not in found:
        raise EventError(
            "missing_required_parameter", f"Missing required parameter: '{where}.model'.", f"{where}.model"
        )
    model = found["model"]
    if not isinstance(model, str) or not 0 < len(model) <= MAX_NAME:
        raise _wrong_type(f"{where}.model", f"a string of at most {MAX_NAME} characters", model)
    return {"model": model}


def _noise_reduction(audio_in: Mapping[str, Any], now: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    where = "session.audio.input.noise_reduction"
    found = _optional(audio_in, "noise_reduction", "session.audio.input")
    if found is None:
        return None
    _only(found, ("type", "strength"), where)
    if found.get("type") not in ("near_field", "far_field"):
        raise EventError("invalid_value", f"'{where}.type' is 'near_field' or 'far_field'.", f"{where}.type")
    strength = found.get("strength", (now or {}).get("strength", 1))
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 100:
        raise EventError("invalid_value", f"'{where}.strength' is a number from 0 on.", f"{where}.strength")
    return {"type": found["type"], "strength": strength}


def _check_format(part: Mapping[str, Any], where: str) -> None:
    found = part.get("format")
    if found is None:
        return
    is_ours = found == "pcm16" or (
        isinstance(found, dict) and found.get("type") == "audio/pcm" and found.get("rate", RATE_HZ) == RATE_HZ
    )
    if not is_ours:
        raise EventError("invalid_value", f"Invalid '{where}': audio is 24 kHz PCM16 mono here.", where)


# Parts of JSON --------------------------------------------------------------------------------------------------------


def _required(value: Mapping[str, Any], name: str, kind: type, words: str) -> Any:
    if name not in value:
        raise EventError("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    if not isinstance(value[name], kind):
        raise _wrong_type(name, words, value[name])
    return value[name]


def _optional(value: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any] | None:
    """An object, or None where there is none, or null."""
    found = value.get(name)
    if found is not None and not isinstance(found, dict):
        raise _wrong_type(f"{where}.{name}", "an object", found)
    return found


def _only(value: Mapping[str, Any], known: tuple[str, ...], where: str, ignored: list[str] | None = None) -> None:
    """Refuse fields that nobody knows; note those that change nothing here."""
    for name in value:
        if name in known:
            continue
        path = f"{where}.{name}" if where else name
        if ignored is None or path.removeprefix("session.") not in _IGNORED:
            raise EventError("unknown_parameter", f"Unknown parameter: '{path[:120]}'.", path[:120])
        ignored.append(path)


def _wrong_type(where: str, words: str, value: Any) -> EventError:
    return EventError("invalid_type", f"Invalid type for '{where}': expected {words}, but got {_kind(value)}.", where)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _no_number(text: str) -> float:
    raise ValueError(text)


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_float)
