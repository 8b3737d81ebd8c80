"""The addresses of WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03), and what each answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request
from starlette.responses import Response

from tolmach.pipelines.language.document import scalar_value
from tolmach.transports.audience import AudienceFull
from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.signalling.ice_agent import ice_servers_json
from tolmach.transports.webrtc.signalling.sdp import NotAcceptable, Offer, prepare_offer
from tolmach.transports.webrtc.signalling.sdpfrag import MEDIA_TYPE as FRAGMENT
from tolmach.web.doors.whip.problems import described_as_problems
from tolmach.web.doors.whip.resources import Resource, Resources
from tolmach.web.errors import ApiError
from tolmach.web.security import client_address
from tolmach.web.service import Service
from tolmach.web.sessions.ids import MAX_ID
from tolmach.web.sessions.run import Choice
from tolmach.web.sessions.session import Session
from tolmach.web.streams import NAME, Stream

__all__ = ["add_whep", "add_whip"]

SDP = "application/sdp"
MAX_PARAMS = 50
"""Of a graph, in an address; as in the page's own requests."""
MAX_PARAM = 200
"""Characters of each value."""

GraphName = Annotated[str, Path(max_length=200)]
StreamName = Annotated[str, Path(max_length=MAX_ID)]
ChosenName = Annotated[str | None, Query(pattern=f"^{NAME}$", description="What listeners ask for.")]
Id = Annotated[str, Path(max_length=MAX_ID)]
IfMatch = Annotated[str | None, Header(max_length=200)]


def _body(media_type: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": {"type": "string"}}}}}


_RESTARTED = {"description": "ICE has begun anew.", "content": {FRAGMENT: {"schema": {"type": "string"}}}}
_PATCHED = described_as_problems(
    None, 404, 409, 412, 415, 428, status=204, summary="More candidates, or a restart of ICE", s200=_RESTARTED
)
_ENDED = described_as_problems("text/plain", 404, 409, summary="End it")
_THERE = described_as_problems(None, 404, 409, status=204, summary="Nothing; it is reserved")
_OPTIONS = described_as_problems("text/plain", summary="What may be asked")


# WHIP -----------------------------------------------------------------------------------------------------------------


def add_whip(app: FastAPI, service: Service) -> None:
    """Add what a publisher needs."""
    publishers = Resources()

    @app.post(
        "/whip/{name}",
        **described_as_problems(SDP, 404, 406, 409, 415, 422, 429, status=201, summary="Publish speech (WHIP)"),
        openapi_extra=_body(SDP),
    )
    async def publish(name: GraphName, request: Request, stream: ChosenName = None) -> Response:
        offer = await _offer(request, ("sendonly", "sendrecv"))
        choice = _choice(name, request.query_params)
        address = client_address(request.scope)
        resource, found, answer = await _publish(service, address, stream, choice, offer)
        publishers.add(found.session, resource)
        response = _created(service, answer, resource, f"/whip/sessions/{found.session}")
        response.headers.append("Link", f'</whep/{found.id}>; rel="related"; title="listen"')
        return response

    @app.patch("/whip/sessions/{session}", **_PATCHED, openapi_extra=_body(FRAGMENT))
    async def patch(session: Id, request: Request, if_match: IfMatch = None) -> Response:
        found = _published(service, session)
        if found.connection is None:
            raise ApiError(409, "conflict", "the session has lost its connection; publish again, under the same name")
        return await publishers.find(session).patch(await _text(request, FRAGMENT), if_match)

    @app.delete("/whip/sessions/{session}", **_ENDED)
    async def end(session: Id) -> Response:
        found = _published(service, session)
        if found.connection is None:
            await found.end("the publisher has finished")
        else:
            # What was said is translated and heard to its end; then the listeners are told.
            found.connection.said_goodbye = True
            found.connection.hang_up("the publisher has finished")
        return Response(status_code=200, media_type="text/plain")

    @app.get("/whip/sessions/{session}", **_THERE)
    async def there(session: Id) -> Response:
        _published(service, session)
        return Response(status_code=204)

    _add_reserved(app, service, "/whip")


def _published(service: Service, session_id: str) -> Session:
    """A session of this door that goes on. Raises ApiError 404 if there is none, 409 if it has ended."""
    session = service.pool.find(session_id)
    if all(stream.session != session_id for stream in service.streams):
        raise ApiError(404, "not-found", "that session has come by another door")
    return session


async def _publish(
    service: Service, address: str, name: str | None, choice: Choice, offer: Offer
) -> tuple[Resource, Stream, str]:
    """Begin a session, or go on with that of the same name whose publisher was lost."""
    connection = Connection(service.connection, direction="recvonly", standard=True)

    async def arrive(session: Session) -> str:
        session.join(connection)
        return await connection.answer(offer)

    async def begin(session: Session) -> tuple[Stream, str]:
        stream = Stream(service.pool.new_id(), name, session.id, session.broadcast(service.seats))
        service.streams.add(stream)
        session.awaited = name is not None
        return stream, await arrive(session)

    try:
        stream = service.streams.get(name) if name is not None else None
        before = service.pool.find(stream.session) if stream is not None else None
        if before is not None and before.connection is not None and not before.proven:
            await before.end("another publisher has come in its place", "unconnected")
            stream = before = None
        if stream is None or before is None:
            _, (stream, answer) = await service.bring(address, choice, begin)
        else:
            if before.connection is not None:
                service.streams.require_free(name)  # it is not, and says so
            answer = await service.bring_back(address, before, choice, arrive)
    except BaseException:
        connection.hang_up("the offer could not be used")
        raise
    return Resource(connection, offer), stream, answer


def _choice(graph: str, query: Mapping[str, str]) -> Choice:
    """The graph, and of the address what belongs to it: ``lang=de`` is a param, ``vad.hangover_ms=300`` a setting."""
    given = {name: value for name, value in query.items() if name != "stream"}
    if len(given) > MAX_PARAMS or any(len(name) > MAX_PARAM or len(given[name]) > MAX_PARAM for name in given):
        raise ApiError(400, "bad-request", f"an address may have {MAX_PARAMS} params of {MAX_PARAM} characters")
    values = {name: scalar_value(value) for name, value in given.items()}
    return Choice(
        graph,
        {name: value for name, value in values.items() if "." not in name},
        {name: value for name, value in values.items() if "." in name},
    )


# WHEP -----------------------------------------------------------------------------------------------------------------


def add_whep(app: FastAPI, service: Service) -> None:
    """Add what a listener needs."""
    listeners = Resources()

    @app.post(
        "/whep/{name}",
        **described_as_problems(SDP, 404, 415, 422, 429, status=201, summary="Listen to a translation (WHEP)"),
        openapi_extra=_body(SDP),
    )
    async def listen(name: StreamName, request: Request) -> Response:
        # Not 406, with which a server offers something else (draft-ietf-wish-whep-03).
        offer = await _offer(request, ("recvonly", "sendrecv"), not_acceptable=422)
        address = client_address(request.scope)
        audience = service.streams.find(name).audience
        service.count_offer(address)
        service.pool.require_open()
        connection = Connection(service.connection, direction="sendonly", standard=True)
        try:
            audience.seat(connection, address)
            answer = await connection.answer(offer)
        except AudienceFull as full:
            connection.hang_up(str(full))
            raise ApiError(503, "busy", str(full), 15) from None
        except BaseException:
            connection.hang_up("the offer could not be used")
            raise
        resource, session = Resource(connection, offer), service.pool.new_id()
        listeners.add(session, resource)
        return _created(service, answer, resource, f"/whep/sessions/{session}")

    @app.patch("/whep/sessions/{session}", **_PATCHED, openapi_extra=_body(FRAGMENT))
    async def patch(session: Id, request: Request, if_match: IfMatch = None) -> Response:
        return await listeners.find(session).patch(await _text(request, FRAGMENT), if_match)

    @app.delete("/whep/sessions/{session}", **_ENDED)
    async def leave(session: Id) -> Response:
        await listeners.find(session).connection.close("the listener has left")
        return Response(status_code=200, media_type="text/plain")

    @app.get("/whep/sessions/{session}", **_THERE)
    async def there(session: Id) -> Response:
        listeners.find(session)
        return Response(status_code=204)

    _add_reserved(app, service, "/whep")


# Both -----------------------------------------------------------------------------------------------------------------


def _add_reserved(app: FastAPI, service: Service, path: str) -> None:
    """Add what a protocol wants answered besides its own requests; preflights do not come here, the guard has them.

    Args:
        app: The application.
        service: The server, which may have STUN and TURN servers to name.
        path: Where the endpoints are, each with a name below it.
    """
    door = path.removeprefix("/")

    @app.get(f"{path}/{{name}}", **_THERE, operation_id=f"get_{door}")
    async def there(name: GraphName) -> Response:
        return Response(status_code=204)

    @app.options(f"{path}/{{name}}", **_OPTIONS, operation_id=f"options_{door}")
    async def options(name: GraphName) -> Response:
        response = Response(
            None, 200, {"Allow": "POST, GET, OPTIONS", "Accept-Post": SDP, "Accept-Patch": FRAGMENT}, "text/plain"
        )
        _add_ice_servers(service, response)
        return response

    @app.options(f"{path}/sessions/{{session}}", **_OPTIONS, operation_id=f"options_{door}_session")
    async def options_of_session(session: Id) -> Response:
        return Response(None, 200, {"Allow": "PATCH, DELETE, GET, OPTIONS", "Accept-Patch": FRAGMENT}, "text/plain")


async def _offer(request: Request, directions: tuple[str, ...], *, not_acceptable: int = 406) -> Offer:
    """The offer in the body.

    Args:
        request: The request.
        directions: Which ways its audio may go.
        not_acceptable: The status for one of which nothing can be made.

    Raises:
        ApiError: That, or 415 for another body and 422 for another direction.
        SignallingError: If it cannot be read.
    """
    try:
        offer = prepare_offer(await _text(request, SDP), decline=True)
    except NotAcceptable as error:
        raise ApiError(not_acceptable, "bad-request", str(error)) from None
    if offer.direction not in directions:
        raise ApiError(422, "bad-request", f"audio must be a={' or a='.join(directions)} here, not a={offer.direction}")
    if any(text.startswith("m=audio") for _, text in offer.declined):
        raise ApiError(not_acceptable, "bad-request", "the offer has more than one audio stream (RFC 9725, 4.4.2)")
    return offer


async def _text(request: Request, media_type: str) -> str:
    """The body. Raises ApiError 415 if it is of another media type, 400 if it is no text."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        refused = ApiError(415, "bad-request", f"the body must be {media_type}")
        refused.headers = {"Accept-Patch" if request.method == "PATCH" else "Accept-Post": media_type}
        raise refused
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError:
        raise ApiError(400, "bad-request", "the body is no UTF-8") from None


def _created(service: Service, answer: str, resource: Resource, location: str) -> Response:
    """The answer to an offer. Its place is a path, so that it is right behind any proxy (RFC 9110, 10.2.2)."""
    headers = {"Location": location, "ETag": resource.etag, "Accept-Patch": FRAGMENT, "Cache-Control": "no-store"}
    response = Response(answer, 201, headers, SDP)
    _add_ice_servers(service, response)
    return response


def _add_ice_servers(service: Service, response: Response) -> None:
    """Name the STUN and TURN servers (RFC 9725, 4.6)."""
    for server in ice_servers_json(service.connection.ice_servers):
        urls = server["urls"]
        for url in [urls] if isinstance(urls, str) else urls:
            link = f'<{url}>; rel="ice-server"'
            for name in ("username", "credential"):
                if name in server:
                    link += f'; {name}="{_quoted(server[name])}"'
            response.headers.append("Link", link + ('; credential-type="password"' if "credential" in server else ""))


def _quoted(text: str) -> str:
    r"""What stands between quotes in a header (RFC 9110, 5.6.4).

    >>> _quoted('a"b')
    'a\\"b'
    """
    return text.replace("\\", "\\\\").replace('"', '\\"')
