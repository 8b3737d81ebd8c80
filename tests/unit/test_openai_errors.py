"""Errors below /v1/ in OpenAI's form, whoever raises them, as the unmodified SDK reads them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import httpx2
import openai
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tolmach.pipelines.errors import GraphError
from tolmach.web.doors.openai.errors import OpenAiError, install_openai_errors
from tolmach.web.errors import ApiError, install_errors
from tolmach.web.security import Guard
from tolmach.web.settings import ServerSettings

TOKEN = "a-token-of-a-test"  # noqa: S105
PAGE = "https://page.example"

ERRORS: dict[str, Exception] = {
    "model": OpenAiError(404, "no model 'x'", param="model", code="model_not_found"),
    "rate": ApiError(429, "too-many-requests", "wait", 0.2),
    "busy": ApiError(503, "busy", "all sessions are taken", 4.2),
    "graph": GraphError("no words"),
    "framework": HTTPException(409, "taken"),
    "surrogate": ApiError(400, "bad-request", "what is \ud800?"),
    "bug": ZeroDivisionError("secret detail"),
}


class Body(BaseModel):
    text: str = Field(max_length=5)


def make_app() -> FastAPI:
    app = FastAPI()
    install_errors(app)
    settings = ServerSettings(graphs=Path(__file__).parent, token=TOKEN, max_body_bytes=100, allowed_origins=(PAGE,))
    app.add_middleware(Guard, settings=settings)
    install_openai_errors(app)

    @app.get("/v1/fail/{how}")
    @app.get("/api/fail/{how}")
    async def fail(how: str) -> None:
        raise ERRORS[how]

    @app.post("/v1/form")
    async def form(body: Body) -> Body:
        return body

    return app


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx2.ASGITransport(make_app(), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport) as http:
        yield openai.AsyncOpenAI(api_key=TOKEN, base_url="http://127.0.0.1/v1", http_client=http, max_retries=0)


async def asked(client: openai.AsyncOpenAI, path: str, body: object = None) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await (client.get(path, cast_to=object) if body is None else client.post(path, cast_to=object, body=body))
    return caught.value


@pytest.mark.parametrize(
    ("how", "kind", "type_", "param", "code"),
    [
        ("model", openai.NotFoundError, "invalid_request_error", "model", "model_not_found"),
        ("rate", openai.RateLimitError, "requests", None, "rate_limit_exceeded"),
        ("busy", openai.InternalServerError, "server_error", None, "busy"),
        ("graph", openai.BadRequestError, "invalid_request_error", None, "bad_graph"),
        ("framework", openai.ConflictError, "invalid_request_error", None, "conflict"),
        ("surrogate", openai.BadRequestError, "invalid_request_error", None, "bad_request"),
        ("bug", openai.InternalServerError, "server_error", None, None),
    ],
)
async def test_every_error_is_read_by_the_sdk(
    client: openai.AsyncOpenAI, how: str, kind: type, type_: str, param: str | None, code: str | None
) -> None:
    error = await asked(client, f"/fail/{how}")
    assert type(error) is kind
    assert (error.type, error.param, error.code) == (type_, param, code)
    assert set(json.loads(error.response.text)["error"]) == {"message", "type", "param", "code"}
    assert error.request_id is not None
    assert error.request_id.startswith("req_")
    assert "secret" not in error.response.text


async def test_a_client_is_told_when_to_come_again(client: openai.AsyncOpenAI) -> None:
    assert (await asked(client, "/fail/busy")).response.headers["retry-after"] == "5"


async def test_an_unforeseen_error_is_found_in_the_log(
    client: openai.AsyncOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        error = await asked(client, "/fail/bug")
    assert str(error.request_id) in caplog.text


async def test_a_body_that_does_not_fit_names_its_part(client: openai.AsyncOpenAI) -> None:
    error = await asked(client, "/form", {"text": "longer than five"})
    assert isinstance(error, openai.BadRequestError)
    assert error.param == "text"
    assert "at most 5 characters" in error.message


async def test_what_the_guard_refuses_has_the_form_too(client: openai.AsyncOpenAI) -> None:
    stranger = await asked(client.with_options(api_key="sk-wrong"), "/fail/busy")
    assert isinstance(stranger, openai.AuthenticationError)
    assert (stranger.type, stranger.code) == ("invalid_request_error", "invalid_api_key")
    large = await asked(client, "/form", {"text": "x" * 200})
    assert (large.status_code, large.code) == (413, "too_large")
    nowhere = await asked(client, "/no/such/thing")
    assert isinstance(nowhere, openai.NotFoundError)
    assert nowhere.code == "unknown_url"


async def test_other_paths_keep_their_own_form(client: openai.AsyncOpenAI) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app()), base_url="http://127.0.0.1") as http:
        answer = await http.get("/api/fail/busy", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.json()["error"] == {"code": "busy", "message": "all sessions are taken", "retry_after_s": 4.2}
    assert "x-request-id" not in answer.headers


async def test_a_page_of_an_allowed_origin_may_send_the_headers_of_its_sdk() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app()), base_url="http://127.0.0.1") as http:
        asks = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-stainless-lang",
        }
        allowed = await http.options("/v1/form", headers=asks)
        elsewhere = await http.options("/api/form", headers=asks)
    assert "x-stainless-lang" in allowed.headers["access-control-allow-headers"]
    assert "x-stainless-lang" not in elsewhere.headers["access-control-allow-headers"]
