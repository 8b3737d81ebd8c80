"""Errors of WHIP and WHEP: a status, and a problem for people and programs to read (RFC 9457; RFC 9725, 4.1)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from tolmach.web.errors import ApiError, AsciiJson
from tolmach.web.openapi import described

__all__ = ["PROBLEM", "described_as_problems", "problem"]

PROBLEM = "application/problem+json"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "retry_after_s"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people."},
        "code": {"type": "string", "description": "For programs: one of docs/LIVE.md."},
        "retry_after_s": {"type": ["number", "null"]},
    },
}
_WHEN = {
    406: "No session can be made of the offer: it has no Opus, or too many streams.",
    409: "The name is taken, or the session has ended.",
    412: "The ICE session is another one by now.",
    415: "The body is of another media type.",
    422: "The graph or a param is wrong, or audio goes the wrong way.",
    428: "The request does not say which ICE session it is for (If-Match).",
}


class _Problem(AsciiJson):
    media_type = PROBLEM


def problem(error: ApiError) -> Response:
    """The answer for an error. Of no type of its own (``about:blank``), so that the status says what it is."""
    status = error.status_code
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "retry_after_s": error.retry_after_s,
    }
    return _Problem(body, status, error.headers)


def described_as_problems(answer: str | None, *refusals: int, summary: str, status: int = 200, **more: Any) -> Any:
    """What a route's decorator is to be told, see :func:`tolmach.web.openapi.described`.

    Args:
        answer: Media type of its successful answer; None for one without a body.
        refusals: Errors it may answer, besides those that any request may be told.
        summary: What it does.
        status: Status of its successful answer.
        more: Other answers by their status, as ``s200={...}``.
    """
    common = [refusal for refusal in refusals if refusal not in _WHEN]
    told = described(answer, *common, summary=summary, status=status)
    content = {"content": {PROBLEM: {"schema": _SCHEMA}}}
    responses = {
        code: {"description": response["description"]} | (content if code >= 400 else response)
        for code, response in told["responses"].items()
    }
    responses |= {code: {"description": _WHEN[code]} | content for code in refusals if code in _WHEN}
    responses |= {int(name.removeprefix("s")): response for name, response in more.items()}
    return {**told, "responses": responses}
