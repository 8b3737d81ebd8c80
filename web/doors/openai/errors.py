"""Errors as OpenAI's SDKs read them: ``{"error": {"message", "type", "param", "code"}}``, with the status of HTTP.

All paths below ``/v1/`` have this form, whoever refuses: a route, the guard before it, the web framework, or a mistake
of ours. Every answer below ``/v1/`` has an ``x-request-id``, which the SDKs show with an error; that of an unforeseen
error stands in the server's log.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.responses import Response

from tolmach.web.errors import ApiError, AsciiJson, add_error_shape

__all__ = ["PREFIX", "OpenAiError", "OpenAiErrorAnswer", "error_fields", "install_openai_errors", "request_id"]

PREFIX = "/v1/"
"""Of all paths of this door."""

_CODES = {
    "unauthorised": "invalid_api_key",
    "too-many-requests": "rate_limit_exceeded",
    "internal": None,
}
"""Our codes → those of OpenAI's documentation ("Error codes"); the rest of ours are written as it writes its own."""
_TYPES = {429: "requests"}
"""Types by status, as OpenAI's own answers have them; see :func:`error_fields` for the rest."""


class OpenAiProblem(BaseModel):
    """What went wrong."""

    message: str = Field(description="For people.")
    type: str = Field(description="Kind of error: invalid_request_error, server_error, requests, ….")
    param: str | None = Field(description="The field of the request that is wrong.")
    code: str | None = Field(description="For programs.")


class OpenAiErrorAnswer(BaseModel):
    """Any answer below ``/v1/`` that is an error."""

    error: OpenAiProblem


class OpenAiError(ApiError):
    """An answer in OpenAI's form.

    Args:
        status: HTTP status.
        message: For people, one line.
        type: Kind of error, ``invalid_request_error`` or ``server_error``.
        param: Name of the parameter that is wrong, or None.
        code: What programs go by, or None.
        retry_after_s: When to try again, s, or None.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 -- OpenAI's name
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, code or "", message, retry_after_s)
        self.type = type
        self.param = param


def error_fields(error: ApiError) -> dict[str, Any]:
    """What stands in ``error`` of an answer, or of an event ``error``: message, type, param and code."""
    if isinstance(error, OpenAiError):
        return {"message": error.message, "type": error.type, "param": error.param, "code": error.code or None}
    status = error.status_code
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    code = "unknown_url" if error.detail == "Not Found" and status == 404 else _code(error.code)
    return {"message": error.message, "type": kind, "param": error.param, "code": code}


def _code(ours: str) -> str | None:
    return _CODES.get(ours, ours.replace("-", "_"))


def request_id() -> str:
    """A name for one request."""
    return f"req_{secrets.token_hex(16)}"


def install_openai_errors(app: FastAPI) -> None:
    """Give all errors below ``/v1/`` OpenAI's form."""
    add_error_shape(app, PREFIX, _answer)


def _answer(error: ApiError) -> Response:
    # SDKs try 409, 429 and 5xx again by themselves, after Retry-After where it is given.
    headers: Mapping[str, str] = {**(error.headers or {}), "X-Request-Id": request_id()}
    # A request that makes no sense to a graph (422) is a bad request to OpenAI, which has no 422 of its own.
    status = 400 if error.status_code == 422 else error.status_code
    return AsciiJson({"error": error_fields(error)}, status, dict(headers))
