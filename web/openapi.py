"""What the API answers, as OpenAPI describes it (``GET /api/openapi.json``): docs/LIVE.md in types.

The routes answer with plain JSON, which is not validated on its way out; that these models are true of it is tested
with real answers. Readers ignore fields that they do not know, so more may come.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeAlias

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tolmach.web.errors import AsciiJson
from tolmach.web.sessions.transcript import Caption

__all__ = [
    "Answer",
    "Begun",
    "Config",
    "ErrorAnswer",
    "GraphList",
    "Health",
    "Readiness",
    "Renegotiated",
    "SessionState",
    "Switched",
    "Transcript",
    "VoiceList",
    "describe",
    "described",
]

Scalar: TypeAlias = str | int | float | bool | None


class Answer(BaseModel):
    """Any answer; readers pass over fields that they do not know."""

    model_config = ConfigDict(extra="allow")


class Problem(Answer):
    """What went wrong."""

    code: str = Field(description="For programs: one of docs/LIVE.md.")
    message: str = Field(description="For people.")
    retry_after_s: float | None = Field(description="When to try again, s; null where that would not help.")


class ErrorAnswer(Answer):
    """Any answer that is an error."""

    error: Problem


class Health(Answer):
    """The loop runs."""

    status: Literal["ok"]


class Readiness(Answer):
    """Whether sessions can begin."""

    status: Literal["loading", "ready", "failed"]
    detail: str
    ready: bool
    draining: bool
    loading: list[str]
    failed: list[str]


class IceServer(Answer):
    """As ``RTCIceServer``."""

    urls: str | list[str]
    username: str | None = None
    credential: str | None = None


class ServerLimits(Answer):
    """How full the server is, and how long things may take."""

    sessions: int
    max_sessions: int
    max_session_s: float
    idle_s: float
    resume_s: float


class Config(Readiness):
    """What a client must know before it calls."""

    version: str
    ice_servers: list[IceServer]
    limits: ServerLimits
    doors: list[str]


class Param(Answer):
    """A param of a graph."""

    name: str
    title: str
    description: str
    default: Scalar
    choices: list[Scalar]
    required: bool
    role: str | None
    locked: bool


class Setting(Answer):
    """A setting that may be changed while the graph runs."""

    target: str
    element: str
    role: str
    name: str
    title: str
    description: str
    type: Literal["integer", "number", "boolean", "enum", "text"]
    nullable: bool
    minimum: float | None
    maximum: float | None
    exclusive_minimum: bool
    exclusive_maximum: bool
    choices: list[Scalar]
    unit: str
    value: Any


class Licence(Answer):
    """Terms of what an element loads."""

    element: str
    type: str
    text: str


class Missing(Answer):
    """A model that is not on the server's disk."""

    what: str
    size_bytes: int | None
    remedy: str
    elements: list[str]


class Seat(Answer):
    """A place of a room."""

    seat: str
    lang: str
    speaks: bool
    hears: bool
    reads: bool


class GraphInfo(Answer):
    """A live graph."""

    name: str
    description: str
    file: str
    revision: str | None
    ok: bool
    stale: bool
    params: list[Param]
    settings: list[Setting]
    licences: list[Licence]
    seats: list[Seat] = Field(description="Empty for a session's graph; else who sits where in a room of it.")
    missing: list[Missing]
    missing_text: str
    diagnostics: list[dict[str, Any]]
    diagnostics_text: str


class GraphList(Answer):
    """All live graphs."""

    default: str | None
    revision: int
    graphs: list[GraphInfo]


class VoiceInfo(Answer):
    """A voice in a language."""

    type: str
    name: str
    langs: list[str]
    speakers: list[str]
    rates_hz: list[int]
    licence: str
    commercial: bool
    size_bytes: int | None
    place: str
    here: bool
    ready: bool
    where: str


class ChosenVoice(Answer):
    """What an element of a graph would speak with."""

    element: str
    type: str
    lang: str
    name: str | None
    variant: str | None
    speaker: str | None


class VoiceList(Answer):
    """The voices this server knows, and those of the graph that was asked about."""

    voices: list[VoiceInfo]
    chosen: list[ChosenVoice]


class Begun(Answer):
    """A session, and the answer to its offer."""

    session: str = Field(description="Its id: who knows it may use the session.")
    sdp: str
    resumed: bool


class Renegotiated(Answer):
    """The answer to a later offer."""

    sdp: str


class Chosen(Answer):
    """What was asked for."""

    graph: str
    params: dict[str, Any]
    settings: dict[str, Any]


class Switched(Answer):
    """A switch has begun; messages of the data channel say how it goes on."""

    switch: Chosen


class SessionState(Answer):
    """A session."""

    session: str
    state: Literal["new", "live", "away", "ended"]
    end_reason: str
    started_s: float
    position_ms: int
    recorded_until_ms: int | None
    captions: list[Caption]
    graph: str | None
    params: dict[str, Any]
    settings: dict[str, Any]


class Transcript(Answer):
    """All captions of a session."""

    v: Literal[1]
    captions: list[Caption]


_WHEN = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    403: "The origin or host is not an allowed one.",
    404: "There is no such graph, session or voice; it may have ended.",
    408: "The request took too long to come.",
    409: "The session has ended, or is in another state.",
    413: "The body is larger than the server takes.",
    422: "The graph, a param or a setting is wrong.",
    429: "Too many came from this address.",
    500: "Something went wrong in the server; its log says what.",
    503: "All places are taken, the server is stopping, or what was asked for is not ready.",
}
_ALWAYS = (400, 401, 403, 408, 413, 500, 503)
"""What any request may be told: the guard and the TCP door stand before all routes."""


def described(
    answer: type[BaseModel] | UnionType | str | None,
    *refusals: int,
    summary: str,
    status: int = 200,
    more: Mapping[int, type[BaseModel]] = MappingProxyType({}),
    errors: type[BaseModel] = ErrorAnswer,
) -> dict[str, Any]:
    """What a route's decorator is to be told so that OpenAPI is complete.

    Args:
        answer: Its successful answer: a model of JSON, or one of several, a media type, or None for an answer without
            a body.
        refusals: Errors it may answer, as HTTP statuses, besides those that any request may be told.
        summary: What it does, in a few words.
        status: HTTP status of its successful answer.
        more: Other answers by HTTP status.
        errors: Form of its errors, where a protocol has its own.
    """
    success: dict[str, Any] = {"description": summary}
    if isinstance(answer, str):
        text = answer.startswith(("text/", "image/svg", "application/sdp"))
        schema = {"type": "string"} if text else {"type": "string", "format": "binary"}
        success["content"] = {answer: {"schema": schema}}
    elif answer is not None:
        success["model"] = answer
    responses = {code: {"model": errors, "description": _WHEN[code]} for code in sorted({*_ALWAYS, *refusals})}
    responses |= {code: {"model": model, "description": (model.__doc__ or "").strip()} for code, model in more.items()}
    return {
        "summary": summary,
        "status_code": status,
        "response_model": None,  # not validated on its way out
        "response_class": AsciiJson if isinstance(answer, type | UnionType) else Response,
        "responses": {status: success} | responses,
    }


def describe(app: FastAPI) -> None:
    """Let an application's description say what holds for all its routes: the token, and how a mistake is answered.

    FastAPI describes requests that it cannot read as 422 in a form of its own; here they are 400, in that of the route.
    """
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = plain()
        schema["components"].setdefault("securitySchemes", {})["token"] = {"type": "http", "scheme": "bearer"}
        schema["security"] = [{"token": []}, {}]
        for operation in (operation for path in schema["paths"].values() for operation in path.values()):
            refused = operation["responses"].get("422", {}).get("content", {}).get("application/json", {})
            if refused.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
                del operation["responses"]["422"]
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation tells
