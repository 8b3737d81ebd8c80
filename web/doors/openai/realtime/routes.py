"""The addresses of OpenAI's realtime translations: sessions by WebSocket, calls by SDP, and secrets for pages.

=====================================================  ==============================================================
``WS /v1/realtime/translations?model=GRAPH``           a session over WebSocket (:mod:`.socket`)
``POST /v1/realtime/translations/calls``               one over WebRTC: an SDP offer, answered (:mod:`.call`)
``POST /v1/realtime/translations/calls/ID/hangup``     its end; also ``/v1/realtime/calls/ID/hangup``, as the SDK asks
``POST /v1/realtime/translations/client_secrets``      a secret that opens these doors for some minutes
=====================================================  ==============================================================
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request, WebSocket
from pydantic import BaseModel, Field
from starlette.datastructures import Headers, UploadFile
from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

from tolmach.pipelines.errors import GraphError, ModelError
from tolmach.transports.webrtc.signalling.sdp import MAX_SDP, SignallingError, prepare_offer
from tolmach.web.bodies import Body
from tolmach.web.client_secrets import DEFAULT_S, LONGEST_S, PREFIX, SHORTEST_S, ClientSecrets
from tolmach.web.doors.openai.errors import OpenAiError, OpenAiErrorAnswer, request_id
from tolmach.web.doors.openai.names import REALTIME_ALIASES, graph_named
from tolmach.web.doors.openai.realtime.call import CallPeer
from tolmach.web.doors.openai.realtime.choice import choice_of
from tolmach.web.doors.openai.realtime.events import EventError, Settings, settings_of
from tolmach.web.doors.openai.realtime.socket import SocketPeer
from tolmach.web.doors.openai.realtime.talk import Talk, TooManyMistakes, error_event, session_json
from tolmach.web.errors import ApiError, as_api_error
from tolmach.web.openapi import described
from tolmach.web.security import client_address, token_in
from tolmach.web.service import Service
from tolmach.web.sessions.session import Session
from tolmach.web.settings import ServerSettings

__all__ = ["add_realtime"]

log = logging.getLogger(__name__)

SESSIONS = "/v1/realtime/translations"
_SUBPROTOCOL = "realtime"
"""What OpenAI's clients in browsers offer beside their key, and what is answered."""
_TRY_AGAIN, _BROKEN, _REFUSED = 1013, 1011, 1008
"""Status of a WebSocket (RFC 6455, 7.4.1): the SDKs come again after the first two."""
MAX_PARTS = 8
"""Of a multipart form."""


class ExpiresAfter(Body):
    """When a secret ends."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(DEFAULT_S, ge=SHORTEST_S, le=LONGEST_S)


class NewSecret(Body):
    """What a secret is to open."""

    session: dict[str, Any] = Field(description='{"model": GRAPH, "audio": {"output": {"language": "ru"}}}')
    expires_after: ExpiresAfter = Field(default_factory=ExpiresAfter)


class SecretAnswer(BaseModel):
    """A secret, and the session that it opens."""

    value: str
    expires_at: int
    session: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The session that a request asks for."""

    model: str
    settings: Settings
    ignored: tuple[str, ...] = ()


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Services = Annotated[Service, Depends(_service)]


def add_realtime(app: FastAPI, settings: ServerSettings) -> None:
    """Add the routes."""
    secrets = ClientSecrets(settings.token)
    app.add_api_websocket_route(SESSIONS, _sessions(secrets))
    _add_secrets(app, secrets)
    _add_calls(app, secrets)


def _sessions(secrets: ClientSecrets) -> Any:
    async def sessions(websocket: WebSocket) -> None:
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(
            subprotocol=_SUBPROTOCOL if _SUBPROTOCOL in offered else None,
            headers=[(b"x-request-id", request_id().encode("ascii"))],
        )
        service: Service = websocket.app.state.service
        try:
            wanted = _wanted(service, secrets, websocket.headers, websocket.query_params, {})
            address = client_address(websocket.scope)
            talk = Talk(service, address, wanted.model, wanted.settings, wanted.ignored)
            peer = SocketPeer(websocket, talk, idle_s=service.settings.idle_s)
            try:
                talk.session = await service.join(address, peer, talk.choice)
            except BaseException:
                peer.client_gone("the session could not begin")  # the socket is not its own any more
                await peer.close()
                raise
        except (ApiError, GraphError, ModelError, SignallingError) as error:
            await _refuse(websocket, error)
            return
        await _talk(websocket, peer, talk)

    return sessions


async def _refuse(websocket: WebSocket, error: ApiError | GraphError | ModelError | SignallingError) -> None:
    """Say in an event why there is no session: a page learns nothing of a handshake that is refused."""
    told = as_api_error(error)
    again = told.status_code in (429, 503)
    code = _TRY_AGAIN if again else _BROKEN if told.status_code >= 500 else _REFUSED
    after = f" (try again in {math.ceil(told.retry_after_s)} s)" if told.retry_after_s else ""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it has gone again
        await websocket.send_text(error_event(told))
        await websocket.close(code, told.message.encode()[: 120 - len(after)].decode(errors="ignore") + after)


async def _talk(websocket: WebSocket, peer: SocketPeer, talk: Talk) -> None:
    """Hear the client out; its session ends with it. Cancelled by: the server's end."""
    session = talk.session
    assert session is not None  # noqa: S101 -- it has begun
    try:
        peer.begin()
        while True:
            await peer.turn()
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if peer.closed.is_set():
                continue  # the client's answer to our close is to come
            text = message.get("text")
            try:
                await peer.heard(message.get("bytes") or b"" if text is None else text)
            except TooManyMistakes:
                peer.hang_up("too many events could not be used")
    finally:
        # There is no coming back to a session: one that was left holds no place, and a client that connects again
        # finds it free.
        peer.said_goodbye = True
        peer.client_gone("the client hung up")
        await session.end("the client hung up")


def _add_secrets(app: FastAPI, secrets: ClientSecrets) -> None:
    @app.post(
        f"{SESSIONS}/client_secrets",
        **described(SecretAnswer, 404, 422, errors=OpenAiErrorAnswer, summary="A secret for a page, good for minutes"),
    )
    async def make(body: NewSecret, service: Services) -> dict[str, Any]:
        wanted = _of_json(service, body.session, None)
        live = service.catalogue.find(wanted.model)
        choice_of(live, wanted.settings)  # what cannot be had is said now, and not to the page
        allowed = {"model": wanted.model, "audio": wanted.settings.as_json()}
        value, ends_s = secrets.make(allowed, body.expires_after.seconds)
        until_s = ends_s + int(service.settings.max_session_s)
        return {
            "value": value,
            "expires_at": ends_s,
            "session": session_json(f"sess_{request_id()[4:]}", live, wanted.settings, until_s),
        }


def _add_calls(app: FastAPI, secrets: ClientSecrets) -> None:
    offers = {"schema": {"type": "string"}, "example": "v=0\r\n..."}
    form = {
        "schema": {
            "type": "object",
            "properties": {"sdp": {"type": "string"}, "session": {"type": "string"}},
            "required": ["sdp"],
        }
    }

    @app.post(
        f"{SESSIONS}/calls",
        openapi_extra={"requestBody": {"content": {"application/sdp": offers, "multipart/form-data": form}}},
        **described(
            "application/sdp", 404, 409, 422, 429, status=201, errors=OpenAiErrorAnswer, summary="Begin a call by SDP"
        ),
    )
    async def call(request: Request, service: Services, model: str | None = None) -> Response:
        sdp, given = await _offer(request)
        address = client_address(request.scope)
        wanted = _wanted(service, secrets, request.headers, {"model": model} if model else {}, given)
        talk = Talk(service, address, wanted.model, wanted.settings, wanted.ignored)
        prepared = prepare_offer(sdp, decline=True)  # before anything is made for it
        peer = CallPeer(service.connection, talk)

        async def arrive(session: Session) -> str:
            session.join(peer)
            return await peer.answer(prepared)

        try:
            talk.session, answer = await service.bring(address, talk.choice, arrive)
        except BaseException:
            peer.hang_up("the session could not begin")
            raise
        headers = {"Location": f"{SESSIONS}/calls/{talk.session.id}"}
        return Response(answer, 201, headers, media_type="application/sdp")

    @app.post(
        f"{SESSIONS}/calls/{{call_id}}/hangup",
        **described(None, 404, 409, status=204, errors=OpenAiErrorAnswer, summary="End a call"),
    )
    @app.post(
        "/v1/realtime/calls/{call_id}/hangup",
        **described(None, 404, 409, status=204, errors=OpenAiErrorAnswer, summary="End a call, as the SDKs ask for it"),
    )
    async def hang_up(call_id: str, service: Services) -> Response:
        session = service.pool.find(call_id)
        if session.connection is not None and not isinstance(session.connection, CallPeer):
            raise OpenAiError(404, "There is no such call.", param="call_id", code="call_not_found")
        await session.end("the client has hung up")
        return Response(status_code=204)


# What a request asks for ----------------------------------------------------------------------------------------------


async def _offer(request: Request) -> tuple[str, Mapping[str, Any]]:
    """The SDP of a request, and its ``session``, empty where there is none.

    Raises:
        OpenAiError, HTTPException: If it holds no SDP, or something else that cannot be read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/sdp":
        return _as_text(await request.body(), "sdp"), {}
    if kind != "multipart/form-data":
        raise OpenAiError(400, "Send the offer as application/sdp, or as multipart/form-data with sdp and session.")
    async with request.form(max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=MAX_SDP) as form:
        found: dict[str, str] = {}
        for name in ("sdp", "session"):
            part = form.get(name)
            if isinstance(part, UploadFile):
                found[name] = _as_text(await part.read(MAX_SDP + 1), name)
            elif part is not None:
                found[name] = part
    if "sdp" not in found:
        raise OpenAiError(400, "Missing required parameter: 'sdp'.", param="sdp", code="missing_required_parameter")
    try:
        session = json.loads(found.get("session") or "{}")
    except (ValueError, RecursionError):
        raise OpenAiError(400, "The session is no JSON.", param="session", code="invalid_json") from None
    if not isinstance(session, dict):
        raise OpenAiError(400, "The session is no JSON object.", param="session", code="invalid_type")
    return found["sdp"], session


def _as_text(raw: bytes, name: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise OpenAiError(400, f"The {name} is no UTF-8.", param=name, code="invalid_value") from None


def _wanted(
    service: Service,
    secrets: ClientSecrets,
    headers: Headers,
    query: Mapping[str, str],
    given: Mapping[str, Any],
) -> _Wanted:
    """The session that is asked for by a secret, by the query, and by what came with an offer; the later the stronger.

    Raises:
        ApiError: If there is no such graph, the secret has ended, or is for another graph.
        EventError: If a setting cannot be used.
    """
    shown = token_in(headers)
    allowed: Mapping[str, Any] = {}
    if shown.startswith(PREFIX):
        found = secrets.read(shown)
        if found is None:
            raise OpenAiError(401, "The client secret is wrong, or has ended.", code="invalid_api_key")
        allowed = found
    asked = {**given, **({"model": query["model"]} if query.get("model") else {})}
    if "model" not in given and "model" in allowed and "model" not in asked:
        asked["model"] = allowed["model"]
    base = _of_json(service, allowed, None) if allowed else None
    return _of_json(service, asked, base)


def _of_json(service: Service, session: Mapping[str, Any], base: _Wanted | None) -> _Wanted:
    """A session from an object of JSON.

    Args:
        service: Has the graphs.
        session: The object.
        base: What a secret allows; no other graph than that.
    """
    if "model" not in session:
        raise EventError("missing_required_parameter", "Missing required parameter: 'model'.", "model")
    if not isinstance(session["model"], str):
        raise EventError("invalid_type", "Invalid type for 'model': expected a string.", "model")
    model = graph_named(service, session["model"], REALTIME_ALIASES).name
    if base is not None and model != base.model:
        raise OpenAiError(403, f"This client secret is for the model {base.model!r}.", param="model", code="forbidden")
    now = base.settings if base is not None else Settings()
    settings, ignored = settings_of({**session, "model": model}, model, now)
    return _Wanted(model, settings, tuple(ignored))
