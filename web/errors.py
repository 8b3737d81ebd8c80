"""Errors as clients see them: one JSON form for all, see docs/LIVE.md.

The message is for people, the code for programs. What nobody foresaw is logged with its traceback, and the client
learns no more than that it happened. A door whose protocol has a form of its own gives it to all paths below its own
(:func:`add_error_shape`), also for what is refused before a request comes to it.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tolmach.pipelines.errors import GraphError, ModelError
from tolmach.pipelines.language.diagnostics import format_json
from tolmach.transports.webrtc.signalling.sdp import SignallingError

__all__ = [
    "ApiError",
    "AsciiJson",
    "ErrorShape",
    "add_error_shape",
    "as_api_error",
    "error_response",
    "install_errors",
    "without_paths",
]

log = logging.getLogger(__name__)

_CODES = {
    400: "bad-request",
    401: "unauthorised",
    403: "forbidden-origin",
    404: "not-found",
    405: "bad-request",
    408: "too-late",
    409: "conflict",
    413: "too-large",
    422: "bad-graph",
    429: "too-many-requests",
    503: "busy",
}
"""Status → code, for errors that the web framework raises."""


class ApiError(HTTPException):
    """An answer that is an error.

    It is a Starlette ``HTTPException`` so that FastAPI lets it pass while it reads a body.

    Attributes:
        status_code: HTTP status.
        code: What programs go by, one of docs/LIVE.md.
        message: For people, one line.
        retry_after_s: When to try again, s, or None.
        extra: More fields for the error object; plain JSON values.
        param: Which part of the request is wrong, where a door's form has a place for it.
    """

    param: str | None = None

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None, **extra: Any) -> None:
        # Retry-After counts whole seconds (RFC 9110, 10.2.3); half a second early would only be refused again.
        headers = {"Retry-After": str(math.ceil(retry_after_s))} if retry_after_s is not None else {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.extra = extra


class AsciiJson(JSONResponse):
    """JSON in ASCII: an answer may quote what a client has sent, and lone surrogates have no UTF-8."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


_QUOTED_PATH = re.compile(r"(?<=['\"`])(?:~|[A-Za-z]:)?[/\\][^'\"`\n]*(?=['\"`])")
_PATH = re.compile(r"(?<![\w:/.~<])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\"`,;:()<>]+){2,}[/\\]?")


def without_paths(text: str) -> str:
    """A text as clients may read it: of every absolute path of this machine its last name alone."""
    for pattern in (_QUOTED_PATH, _PATH):
        text = pattern.sub(lambda found: "…/" + re.split(r"[/\\]", found[0].rstrip("/\\"))[-1], text)
    return text


ErrorShape = Callable[[ApiError], Response]
"""The answer for an error, in the form of some protocol."""


def add_error_shape(app: FastAPI, prefix: str, shape: ErrorShape) -> None:
    """Give the errors of all paths that begin with ``prefix`` (``/v1/``) a form of their own."""
    app.state.error_shapes = {**getattr(app.state, "error_shapes", {}), prefix: shape}


def error_response(error: ApiError, scope: Scope | None = None) -> Response:
    """The answer for an error, in the form that belongs to the path of a request; without one, in our own."""
    if scope is not None and "app" in scope:
        shapes: Mapping[str, ErrorShape] = getattr(scope["app"].state, "error_shapes", {})
        for prefix, shape in shapes.items():
            if scope["path"].startswith(prefix):
                return shape(error)
    body = {"code": error.code, "message": error.message, "retry_after_s": error.retry_after_s, **error.extra}
    return AsciiJson({"error": body}, error.status_code, error.headers)


def install_errors(app: FastAPI) -> None:
    """Give all errors of an application their form.

    Call it before other middleware is added: what is added later sees the answers to unforeseen errors too.
    """
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(GraphError, _graph_error)
    app.add_exception_handler(ModelError, _graph_error)
    app.add_exception_handler(SignallingError, _signalling_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_middleware(_Unforeseen)


async def _http_error(request: Request, error: Exception) -> Response:
    if isinstance(error, ApiError):
        return error_response(error, request.scope)
    assert isinstance(error, HTTPException)  # noqa: S101 -- what the handler is registered for
    known = ApiError(error.status_code, _CODES.get(error.status_code, "bad-request"), str(error.detail))
    known.headers = {**(known.headers or {}), **(error.headers or {})}
    return error_response(known, request.scope)


def as_api_error(error: Exception) -> ApiError:
    """What is told of an error that a client has caused, or may know of: for doors that do not answer over HTTP."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, GraphError | ModelError):
        return _bad_graph(error)
    if isinstance(error, SignallingError):
        return ApiError(400, "bad-request", str(error))
    return ApiError(500, "internal", "something went wrong in the server; its log says what")


async def _graph_error(request: Request, error: Exception) -> Response:
    return error_response(_bad_graph(error), request.scope)


def _bad_graph(error: Exception) -> ApiError:
    diagnostics = error.diagnostics if isinstance(error, GraphError) else ()
    message, extra = without_paths(str(error)), {"diagnostics": json.loads(format_json(diagnostics))}
    errors = [d for d in diagnostics if d.severity == "error"]
    if errors:
        # The error's text is whole blocks with the source; a page shows the first problem and keeps the blocks folded.
        more = len(errors) - 1
        message = errors[0].message + (f" (and {more} more)" if more else "")
        extra["diagnostics_text"] = str(error)
    return ApiError(422, "bad-graph", message, **extra)


async def _signalling_error(request: Request, error: Exception) -> Response:
    return error_response(ApiError(400, "bad-request", str(error)), request.scope)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- what the handler is registered for
    entries = error.errors()
    problems = "; ".join(_problem(entry) for entry in entries[:5])
    refused = ApiError(400, "bad-request", problems or "the request cannot be read")
    refused.param = _place(entries[0]) or None if entries else None
    return error_response(refused, request.scope)


def _problem(entry: Mapping[str, Any]) -> str:
    place = _place(entry)
    return f"{place}: {entry['msg']}" if place else str(entry["msg"])


def _place(entry: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in entry.get("loc", ())[1:])


class _Unforeseen:
    """Answers with ``internal`` what no handler knows, and logs it once.

    Starlette's own handler for ``Exception`` lies outside all middleware, so its answers would lack the security
    headers, and it raises the error again for the server to log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if started:
                raise  # half an answer is out; the server closes the connection
            error = ApiError(500, "internal", "something went wrong in the server; its log says what")
            answer = error_response(error, scope)
            log.exception("%s %s failed%s", scope["method"], scope["path"], _named(answer))
            await answer(scope, receive, send)


def _named(answer: Response) -> str:
    """By which a client may ask what its request came to."""
    name = answer.headers.get("x-request-id")
    return f" ({name})" if name else ""
