"""``POST /v1/audio/translations`` and ``/v1/audio/transcriptions``: a recording in, its words out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tolmach.pipelines.errors import GraphError
from tolmach.web.doors.openai.answers import VerboseWords, Words, answer, delta_event, done_event, event
from tolmach.web.doors.openai.asked import Asked, on_disk, parse, read_form
from tolmach.web.doors.openai.errors import OpenAiError, OpenAiErrorAnswer, error_fields
from tolmach.web.doors.openai.headless import FileGraph, Refusal, Task, abilities, file_graph, language_params
from tolmach.web.doors.openai.jobs import ClientGone, Jobs, Place, stopping
from tolmach.web.doors.openai.models import require_models
from tolmach.web.doors.openai.names import FILE_ALIASES, graph_named
from tolmach.web.doors.openai.recording import Heard, Segment, hear
from tolmach.web.openapi import described
from tolmach.web.security import add_body_limit, client_address
from tolmach.web.service import Service
from tolmach.web.settings import ServerSettings

__all__ = ["Released", "add_files", "nobody"]

PATHS: dict[str, Task] = {"/v1/audio/translations": "translate", "/v1/audio/transcriptions": "transcribe"}
WAITING = 7
"""Recordings that may be uploaded, or wait, besides those that are worked on."""
SLOWEST = 4
"""So many times the longest recording is the most that one may take: on a slow machine, in company, it is slow."""
_FORM_BYTES = 1 << 20
"""What a form may hold besides its file."""

_FIELDS: dict[str, Any] = {
    "file": {"type": "string", "format": "binary", "description": "The recording, in whatever FFmpeg decodes."},
    "model": {"type": "string", "description": "Name of a graph."},
    "language": {"type": "string", "description": "What is spoken, a BCP-47 tag; auto to have it found."},
    "response_format": {"type": "string", "enum": ["json", "text", "srt", "verbose_json", "vtt"], "default": "json"},
    "stream": {"type": "boolean", "default": False, "description": "Whether to answer with events."},
    "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": ["segment"]}},
    "prompt": {"type": "string", "description": "Has no effect."},
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "description": "Has no effect."},
}
_TARGET = {"type": "string", "default": "en", "description": "Ours: what to translate into, a BCP-47 tag."}


def add_files(app: FastAPI, settings: ServerSettings, service: Service) -> Jobs:
    """Add the routes; returns their places, which are drained with the server."""
    jobs = Jobs("recordings", settings.max_files, WAITING)
    for path, task in PATHS.items():
        add_body_limit(app, path, settings.max_file_bytes + _FORM_BYTES)
        fields = {**_FIELDS, "target_language": _TARGET} if task == "translate" else _FIELDS
        schema = {"type": "object", "required": ["file", "model"], "properties": fields}
        app.add_api_route(
            path,
            _route(task, settings, service, jobs),
            methods=["POST"],
            name=path.rpartition("/")[2],
            **_described(task),
            openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}},
        )
    return jobs


def _described(task: Task) -> dict[str, Any]:
    words = described(
        Words | VerboseWords, 404, 429, summary=f"{task.capitalize()} a recording", errors=OpenAiErrorAnswer
    )
    text = {"schema": {"type": "string"}}
    words["responses"][200]["content"] = {"text/plain": text, "text/event-stream": text}
    return words


def _route(
    task: Task, settings: ServerSettings, service: Service, jobs: Jobs
) -> Callable[[Request], Awaitable[Response]]:
    async def route(request: Request) -> Response:
        place = jobs.enter(client_address(request.scope))
        form: FormData | None = None
        try:
            form = await read_form(request)
            asked = parse(form, task)
            if (asked.file.size or 0) > settings.max_file_bytes:
                most = settings.max_file_bytes
                raise OpenAiError(413, f"the file is larger than {most} bytes", param="file", code="too_large")
            made = await _graph(service, asked)
            work = _Work(jobs, asked, made, settings.max_session_s, lambda: somebody_talks(service))
            started = place.begin(work.run(), "recording")
            if not asked.stream:
                return answer(asked, await place.wait(request, started))
            # The first words, or what is wrong, before an answer begins.
            await place.wait(request, work.begun(started))
            response = Released(work.events(started), place, form, headers=asked.headers)
            place, form = None, None  # type: ignore[assignment]  # the answer's, from here on
            return response
        except (ClientGone, ClientDisconnect):
            return nobody()
        finally:
            if place is not None:
                await _release(place, form)

    return route


def nobody() -> Response:
    """What is answered to a client that has gone (499, as nginx calls it)."""
    return Response(status_code=499)


def somebody_talks(service: Service) -> bool:
    """Whether any of the server's places is taken, in a session or a room."""
    return bool(service.pool.as_json()["sessions"])


async def _graph(service: Service, asked: Asked) -> FileGraph:
    """The graph for a request. Raises OpenAiError if it cannot do what is asked."""
    live = graph_named(service, asked.model, FILE_ALIASES)
    trust = service.settings.trust_params
    try:
        params = language_params(live.params, asked.wish)
        graph = await asyncio.to_thread(live.for_session, params, {}, trust_params=trust)
        made = await asyncio.to_thread(file_graph, graph, asked.wish)
    except Refusal as refusal:
        others = _able(service, asked.wish.task) if refusal.param == "model" else ""
        raise OpenAiError(400, f"{live.name}: {refusal}{others}", param=refusal.param) from refusal
    except GraphError as error:
        said = next((d.message for d in error.diagnostics if d.severity == "error"), str(error))
        raise OpenAiError(400, f"{live.name}: {said}", param="model") from error
    await require_models(live.name, made.graph)
    return made


def _able(service: Service, task: Task) -> str:
    """Which graphs can do it, for a message."""
    wanted = {"translate": "translations", "transcribe": "transcriptions"}[task]
    names = [g.name for g in service.catalogue.graphs() if g.graph is not None and wanted in abilities(g.graph)]
    return f"; {', '.join(names)} can be asked" if names else ""


class _Work:
    """One recording on its way, and its words so far."""

    def __init__(self, jobs: Jobs, asked: Asked, made: FileGraph, max_s: float, company: Callable[[], bool]) -> None:
        self._jobs = jobs
        self._asked = asked
        self._made = made
        self._max_s = max_s
        self._company = company
        self._segments: asyncio.Queue[Segment | None] = asyncio.Queue()  # as many as the recording has sentences
        self._words_came = False
        self._come = asyncio.Event()

    async def run(self) -> Heard:
        """Wait for a turn and have the recording heard. Cancelled by: leaving the place."""
        try:
            async with self._jobs.turn(), asyncio.timeout(SLOWEST * self._max_s):
                descriptor = await asyncio.to_thread(on_disk, self._asked.file)
                return await hear(
                    self._made, descriptor, max_s=self._max_s, company=self._company, on_segment=self._note
                )
        except TimeoutError as error:
            text = f"the recording took longer than {SLOWEST * self._max_s:g} s"
            raise OpenAiError(500, text, type="server_error") from error
        finally:
            self._segments.put_nowait(None)
            self._come.set()

    async def begun(self, started: asyncio.Task[Heard]) -> None:
        """Wait for the first words. Raises what went wrong before them."""
        await self._come.wait()
        if not self._words_came:
            await asyncio.wait({started})
            if started.cancelled():
                raise stopping()
            started.result()

    async def events(self, started: asyncio.Task[Heard]) -> AsyncIterator[bytes]:
        """The words as server-sent events, then all of them, or what went wrong."""
        before = ""
        while (segment := await self._segments.get()) is not None:
            yield delta_event(before + segment.text)
            before = " "
        await asyncio.wait({started})
        error = stopping() if started.cancelled() else started.exception()
        if error is None:
            yield done_event(started.result())
            yield b"data: [DONE]\n\n"
            return
        if not isinstance(error, OpenAiError):
            raise error
        yield event({"type": "error", "error": error_fields(error)})

    def _note(self, segment: Segment) -> None:
        self._words_came = True
        self._segments.put_nowait(segment)
        self._come.set()


class Released(StreamingResponse):
    """Events that end with their place given up, also when nobody reads them.

    Args:
        content: The pieces.
        place: Whose place.
        form: The form, whose file is gone then; None without one.
        media_type: Of the answer.
        headers: Of the answer.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        place: Place,
        form: FormData | None = None,
        *,
        media_type: str = "text/event-stream",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(content, media_type=media_type, headers={"Cache-Control": "no-store", **(headers or {})})
        self._place = place
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await _release(self._place, self._form)


async def _release(place: Place, form: FormData | None) -> None:
    try:
        await place.leave()
    finally:
        if form is not None:
            await form.close()
