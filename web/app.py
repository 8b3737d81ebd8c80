"""The HTTP side of the server: docs/LIVE.md as routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import Field

from tolmach.pipelines.cli.main import distribution_version
from tolmach.pipelines.frames import NS_PER_S
from tolmach.transports.files.specs import Show
from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.signalling.sdp import MAX_SDP
from tolmach.web.bodies import Body, GraphChoice, PeerUpdate
from tolmach.web.doors import install_doors
from tolmach.web.errors import ApiError, AsciiJson, install_errors
from tolmach.web.openapi import (
    Begun,
    Config,
    GraphList,
    Health,
    Readiness,
    Renegotiated,
    SessionState,
    Switched,
    Transcript,
    VoiceList,
    describe,
    described,
)
from tolmach.web.security import Guard, client_address
from tolmach.web.service import Service
from tolmach.web.sessions.ids import MAX_ID
from tolmach.web.sessions.run import Choice
from tolmach.web.sessions.session import Session
from tolmach.web.settings import ServerSettings
from tolmach.web.voices import Wanted

__all__ = ["make_app"]

STATIC = Path(__file__).parent / "static"


class NewSession(GraphChoice):
    """An offer, for a new session or for one that goes on."""

    graph: str = Field("", max_length=200)
    sdp: str = Field(max_length=MAX_SDP)
    resume: str | None = Field(None, max_length=MAX_ID)


class VoicesWanted(GraphChoice):
    """The voices, and which of them a graph would speak with."""

    graph: str = Field("", max_length=200)


class SampleWanted(Body):
    """Whose sample is to be heard."""

    type: str = Field(max_length=100)
    name: str = Field(max_length=100)
    lang: str = Field(max_length=35)
    speaker: str | None = Field(None, max_length=64)
    variant: str | None = Field(None, max_length=32)


def make_app(settings: ServerSettings, service: Service) -> FastAPI:
    """The application around a service, which is started and stopped by the caller."""
    app = FastAPI(
        title="Tolmach",
        version=distribution_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        default_response_class=AsciiJson,
    )
    app.state.service = service
    install_errors(app)
    app.add_middleware(Guard, settings=settings)
    _add_page(app)
    _add_health(app)
    _add_graphs(app)
    _add_voices(app)
    _add_sessions(app)
    _add_downloads(app)
    install_doors(app, settings)
    describe(app)
    return app


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _session(session: str, service: Annotated[Service, Depends(_service)]) -> Session:
    """The session a path names, while it goes on."""
    return service.pool.find(session)


async def _past_session(session: str, service: Annotated[Service, Depends(_service)]) -> Session:
    """The session a path names, also when it has ended lately."""
    return service.pool.recall(session)


Services = Annotated[Service, Depends(_service)]
Resume = Annotated[str | None, Query(max_length=MAX_ID)]
"""Also in the address, where a proxy that shares out requests among servers can see it."""
LiveSession = Annotated[Session, Depends(_session)]
PastSession = Annotated[Session, Depends(_past_session)]


def _add_page(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        return FileResponse(STATIC / "mark.svg")


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", **described(Health, summary="Whether the server runs"))
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", **described(Readiness, summary="Whether sessions can begin", more={503: Readiness}))
    async def readyz(service: Services, place: bool = False) -> AsciiJson:
        """With ``place``, also whether there is a free one; no more than that, because no token is asked for."""
        state = service.readiness()
        return AsciiJson(state, 200 if state["ready"] and (service.pool.places_free or not place) else 503)

    @app.get("/metrics", **described("text/plain", summary="Figures for Prometheus"))
    async def metrics(service: Services) -> Response:
        body, kind = service.metrics.render()
        return Response(body, media_type=kind)

    @app.get("/api/config", **described(Config, summary="What a client must know before it calls"))
    async def config(service: Services) -> dict[str, Any]:
        return service.config()


def _add_graphs(app: FastAPI) -> None:
    @app.get("/api/graphs", **described(GraphList, summary="All live graphs"))
    async def graphs(service: Services) -> dict[str, Any]:
        return await asyncio.to_thread(service.catalogue.as_json)

    @app.get("/api/graphs/{name}/drawing.svg", **described("image/svg+xml", 404, 422, summary="A graph, drawn"))
    async def drawing(name: str, service: Services) -> Response:
        return Response(await service.catalogue.drawing(name), media_type="image/svg+xml")


def _add_voices(app: FastAPI) -> None:
    # A question, asked with POST because what is chosen does not fit into an address.
    @app.post("/api/voices", **described(VoiceList, 404, 422, summary="All voices, and those of a graph"))
    async def voices(body: VoicesWanted, service: Services) -> dict[str, Any]:
        graph = await service.catalogue.load(body.graph, body.params, body.settings) if body.graph else None
        return await service.voices.as_json(graph)

    # Also with POST: it makes the server work, which no page of another origin may.
    @app.post("/api/voices/sample.wav", **described("audio/wav", 404, 409, summary="Some seconds of a voice"))
    async def sample(body: SampleWanted, service: Services) -> Response:
        wanted = Wanted(body.type, body.name, body.lang, body.speaker, body.variant)
        return Response(await service.voices.sample(wanted), media_type="audio/wav")


def _add_sessions(app: FastAPI) -> None:
    @app.post(
        "/api/sessions",
        **described(Begun, 404, 409, 422, 429, status=201, summary="Begin a session, or go on with one"),
    )
    async def begin(body: NewSession, request: Request, service: Services, resume: Resume = None) -> dict[str, Any]:
        address = client_address(request.scope)
        choice = Choice(body.graph, body.params, body.settings)
        if resume is not None and body.resume not in (None, resume):
            raise ApiError(400, "bad-request", "the address resumes one session, and the body another one")
        resume = resume or body.resume
        if resume is not None:
            session, answer = await service.resume(address, resume, body.sdp, choice if body.graph else None)
        else:
            if not body.graph:
                raise ApiError(400, "bad-request", "the request names no graph")
            session, answer = await service.begin(address, body.sdp, choice)
        return {"session": session.id, "sdp": answer, "resumed": resume is not None}

    @app.get("/api/sessions/{session}", **described(SessionState, 404, summary="A session and its captions"))
    async def show(found: PastSession) -> dict[str, Any]:
        return found.as_json()

    @app.patch(
        "/api/sessions/{session}",
        **described(None, 404, 409, 429, status=204, more={200: Renegotiated}, summary="Candidates, or a later offer"),
    )
    async def update(body: PeerUpdate, request: Request, found: LiveSession, service: Services) -> Response:
        body.require_one()
        connection = found.connection
        if connection is None:
            raise ApiError(409, "conflict", "the session has lost its connection; post an offer with resume")
        if not isinstance(connection, Connection):
            raise ApiError(409, "conflict", "the session is not on WebRTC now; post an offer with resume")
        if body.sdp is not None:
            service.count_offer(client_address(request.scope))
            return AsciiJson({"sdp": await connection.answer(body.sdp)})
        await body.trickle_into(connection)
        return Response(status_code=204)

    @app.put(
        "/api/sessions/{session}/graph",
        **described(Switched, 404, 409, 422, 429, status=202, summary="Another graph, or other settings"),
    )
    async def switch(body: GraphChoice, request: Request, found: LiveSession, service: Services) -> dict[str, Any]:
        service.count_offer(client_address(request.scope))
        choice = Choice(body.graph, body.params, body.settings)
        await service.switch(found, choice)
        return {"switch": choice.as_json()}

    @app.delete("/api/sessions/{session}", **described(None, 404, 409, status=204, summary="End a session"))
    async def end(found: LiveSession) -> Response:
        await found.end("the client has ended it")
        return Response(status_code=204)


def _add_downloads(app: FastAPI) -> None:
    @app.get("/api/sessions/{session}/subtitles.srt", **described("text/plain", 404, summary="Subtitles, SubRip"))
    async def srt(found: PastSession, show: Show = "translation") -> Response:
        return _download(PlainTextResponse(found.transcript.subtitles(vtt=False, show=show)), "subtitles.srt")

    @app.get("/api/sessions/{session}/subtitles.vtt", **described("text/vtt", 404, summary="Subtitles, WebVTT"))
    async def vtt(found: PastSession, show: Show = "translation") -> Response:
        text = found.transcript.subtitles(vtt=True, show=show)
        return _download(Response(text, media_type="text/vtt; charset=utf-8"), "subtitles.vtt")

    @app.get("/api/sessions/{session}/transcript.json", **described(Transcript, 404, summary="All captions"))
    async def transcript(found: PastSession) -> Response:
        return _download(AsciiJson({"v": 1, "captions": found.transcript.as_json()}), "transcript.json")

    @app.get("/api/sessions/{session}/dub.wav", **described("audio/wav", 404, summary="What was spoken"))
    async def dub(found: PastSession) -> Response:
        length, pieces = found.dub.wav(found.media_end_ns())
        name = "dub.wav" if not found.dub.full else f"dub-until-minute-{round(found.dub.end_ns / NS_PER_S / 60)}.wav"
        headers = {"Content-Length": str(length)}
        # A plain iterator: Starlette runs it in a thread, piece by piece.
        return _download(StreamingResponse(_joined(pieces), headers=headers, media_type="audio/wav"), name)


def _download(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _joined(pieces: Iterator[bytes], least: int = 1 << 18) -> Iterator[bytes]:
    """The same bytes in larger pieces: each one costs a change of threads."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= least:
            yield bytes(held)
            held.clear()
    yield bytes(held)
