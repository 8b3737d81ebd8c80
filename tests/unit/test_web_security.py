"""The guard in front of the server and the form of its errors, as clients meet them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from tolmach.pipelines.errors import GraphError, ModelMissingError
from tolmach.pipelines.language.check import load_graph
from tolmach.transports.webrtc.signalling.sdp import SignallingError
from tolmach.web.errors import ApiError, error_response, install_errors
from tolmach.web.security import MAX_ADDRESSES, Guard, OfferLimiter, client_address
from tolmach.web.settings import ServerSettings

TOKEN = "a-token-of-a-test"  # noqa: S105
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FRIEND = "https://friend.example"


class Body(BaseModel):
    text: str = Field(max_length=5)


def make_app(settings: ServerSettings) -> FastAPI:
    app = FastAPI()
    install_errors(app)
    app.add_middleware(Guard, settings=settings)

    @app.get("/")
    @app.get("/healthz")
    @app.get("/metrics")
    @app.get("/api/thing")
    async def show() -> dict[str, str]:
        return {"shown": "yes"}

    @app.post("/api/thing")
    @app.put("/api/thing")
    @app.patch("/api/thing")
    async def change(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.delete("/api/thing", status_code=204)
    async def delete() -> Response:
        return Response(status_code=204)

    @app.post("/api/form")
    async def form(body: Body) -> Body:
        return body

    @app.get("/api/fail/{how}")
    async def fail(how: str) -> Response:
        if how == "graph":
            load_graph("a.yaml", text="version: 1\nelements: {in: {type: webrtc_srk}}\nlinks: [in -> oud]\n")
        if how == "stream":
            return StreamingResponse(half())
        errors: dict[str, Exception] = {
            "busy": ApiError(503, "busy", "all sessions are taken", 4.2, sessions=8),
            "surrogate": ApiError(400, "bad-request", "what is \ud800?"),
            "plain-graph": GraphError("no words"),
            "model": ModelMissingError("fetch it first"),
            "sdp": SignallingError("the offer has no media"),
            "framework": HTTPException(409, "taken", {"X-Why": "because"}),
            "bug": ZeroDivisionError("secret detail"),
        }
        raise errors[how]

    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise ZeroDivisionError("secret detail")

    return app


def client(host: str = "localhost:8000", app: FastAPI | None = None, **settings: Any) -> httpx.AsyncClient:
    """A client of a server with these settings, which it calls ``host``."""
    app = app or make_app(ServerSettings(graphs=Path(), **settings))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}")


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# Host: a page must not point its own name at this machine -------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "tolmach.localhost",
        "192.0.2.7:8000",
        "friend.example",
        "LocalHost",
    ],
)
async def test_our_own_names_and_all_addresses_are_ours(host: str):
    async with client(allowed_origins=(FRIEND,)) as http:
        assert (await http.get("/api/thing", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.nip.example",
        "",
        "a b",
        "[::1",
        "x@localhost.evil",
    ],
)
async def test_a_name_of_somebody_else_is_refused(host: str):
    async with client() as http:
        for path in ("/", "/api/thing", "/metrics"):
            assert error(await http.get(path, headers={"Host": host})) == (403, "forbidden-origin")
        assert (await http.get("/healthz", headers={"Host": host})).status_code == 200


async def test_with_a_token_the_server_may_have_any_name():
    async with client(token=TOKEN) as http:
        response = await http.get("/api/thing", headers={"Host": "box.example:8000", **BEARER})
        assert response.status_code == 200


async def test_the_name_it_was_told_to_listen_on_is_its_own():
    settings = ServerSettings(graphs=Path(), host="Box.example", open_to_all=True)
    async with client("box.example:8000", make_app(settings)) as http:
        assert (await http.get("/api/thing")).status_code == 200


# Origin: another page must not change anything ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # no browser
        ({"Origin": "http://localhost:8000"}, True),
        ({"Origin": "https://localhost:8000"}, True),  # a proxy speaks TLS for us
        ({"Origin": FRIEND}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://localhost:9000"}, False),
        ({"Origin": "http://localhost"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://friend.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "localhost:8000"}, False),
        ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
    ids=str,
)
async def test_who_may_change_something(method: str, headers: dict[str, str], allowed: bool):
    async with client(allowed_origins=(FRIEND,)) as http:
        response = await http.request(method, "/api/thing", headers=headers)
        assert response.is_success if allowed else error(response) == (403, "forbidden-origin")


async def test_a_default_port_may_be_written_or_not():
    async with client("localhost") as http:
        assert (await http.post("/api/thing", headers={"Origin": "http://localhost:80"})).is_success
    async with client("localhost:443") as http:
        assert (await http.post("/api/thing", headers={"Origin": "https://localhost"})).is_success


async def test_allowed_pages_may_ask_first_and_read_answers():
    async with client(allowed_origins=(FRIEND,), token=TOKEN) as http:
        ask = {"Origin": FRIEND, "Access-Control-Request-Method": "PATCH"}
        preflight = await http.options("/api/thing", headers={**ask, "Access-Control-Request-Private-Network": "true"})
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == FRIEND
        assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
        assert preflight.headers["Access-Control-Allow-Private-Network"] == "true"
        # An error must be readable too, or the page cannot say what is wrong.
        refused = await http.patch("/api/thing", headers={"Origin": FRIEND})
        assert error(refused) == (401, "unauthorised")
        assert refused.headers["Access-Control-Allow-Origin"] == FRIEND
        assert refused.headers["Vary"] == "Origin"


async def test_other_pages_read_nothing():
    async with client(allowed_origins=(FRIEND,)) as http:
        evil = {"Origin": "https://evil.example"}
        preflight = await http.options("/api/thing", headers={**evil, "Access-Control-Request-Method": "PATCH"})
        assert error(preflight) == (403, "forbidden-origin")
        for response in (preflight, await http.get("/api/thing", headers=evil)):
            assert "Access-Control-Allow-Origin" not in response.headers
            assert response.headers["Vary"] == "Origin"  # or a cache would give one page the answer to another


# Token ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/thing", "/metrics", "/no-such", "/api/no-such", "/static", "/docs"])
async def test_everything_but_the_page_wants_the_token(path: str):
    async with client(token=TOKEN) as http:
        response = await http.get(path)
        assert error(response) == (401, "unauthorised")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/api/thing", headers=BEARER)).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer é",
        f"Bearer {TOKEN.upper()}",
    ],
)
async def test_a_wrong_token_is_refused(given: str):
    async with client(token=TOKEN) as http:
        headers = {"Authorization": given.encode("latin-1")}
        assert error(await http.get("/api/thing", headers=headers)) == (401, "unauthorised")  # type: ignore[arg-type]


async def test_the_scheme_may_be_in_any_case():
    async with client(token=TOKEN) as http:
        assert (await http.get("/api/thing", headers={"Authorization": f"bearer  {TOKEN}"})).status_code == 200


# Size -----------------------------------------------------------------------------------------------------------------


async def test_a_body_may_be_as_large_as_its_limit_and_no_larger():
    async with client(max_body_bytes=1000) as http:
        assert (await http.post("/api/thing", content=b"x" * 1000)).json() == {"bytes": 1000}
        response = await http.post("/api/thing", content=b"x" * 1001)
        assert error(response) == (413, "too-large")
        assert "1000 bytes" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/api/thing", "/api/form"])
async def test_a_body_that_does_not_say_its_size_is_counted(path: str):
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 100
            yield b"x" * 100

    async with client(max_body_bytes=1000) as http:
        response = await http.post(path, content=stream(), headers={"Content-Type": "application/json"})
        assert error(response) == (413, "too-large")
    assert sent <= 1200  # the rest was never asked for


async def test_the_limit_holds_in_front_of_any_application():
    async def greedy(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 600

    guarded = Guard(greedy, ServerSettings(graphs=Path(), max_body_bytes=1000))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://localhost") as http:
        assert error(await http.post("/", content=stream())) == (413, "too-large")


# Headers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/thing", "/no-such", "/api/fail/bug"])
async def test_every_answer_has_the_security_headers(path: str):
    async with client() as http:
        headers = (await http.get(path)).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy  # scripts fall back to 'self': none inline, none from elsewhere
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "microphone=(self), display-capture=(self)" in headers["Permissions-Policy"]
    assert headers.get("Cache-Control") == ("no-store" if path.startswith("/api/") else None)


# Errors ---------------------------------------------------------------------------------------------------------------


async def test_an_error_tells_when_to_come_again():
    async with client() as http:
        response = await http.get("/api/fail/busy")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.json() == {
        "error": {"code": "busy", "message": "all sessions are taken", "retry_after_s": 4.2, "sessions": 8}
    }


@pytest.mark.parametrize(
    ("how", "status", "code", "message"),
    [
        ("plain-graph", 422, "bad-graph", "no words"),
        ("model", 422, "bad-graph", "fetch it first"),
        ("sdp", 400, "bad-request", "the offer has no media"),
        ("framework", 409, "conflict", "taken"),
        ("surrogate", 400, "bad-request", "what is \ud800?"),
    ],
)
async def test_all_errors_have_one_form(how: str, status: int, code: str, message: str):
    async with client() as http:
        response = await http.get(f"/api/fail/{how}")
    assert response.status_code == status
    told = response.json()["error"]
    assert (told["code"], told["message"], told["retry_after_s"]) == (code, message, None)
    if how == "framework":
        assert response.headers["X-Why"] == "because"


async def test_a_wrong_graph_tells_every_problem():
    async with client() as http:
        told = (await http.get("/api/fail/graph")).json()["error"]
    assert told["message"] == "no element type named 'webrtc_srk' (and 1 more)"
    assert [d["code"] for d in told["diagnostics"]] == ["unknown-type", "unknown-element"]
    assert "a.yaml:3:15: error[unknown-element]" in told["diagnostics_text"]


async def test_what_cannot_be_read_is_said_in_words():
    async with client() as http:
        too_long = await http.post("/api/form", json={"text": "longer"})
        broken = await http.post("/api/form", content=b"{", headers={"Content-Type": "application/json"})
        deep = await http.post("/api/form", content=b"[" * 100_000, headers={"Content-Type": "application/json"})
        unknown, wrong_method = await http.get("/no-such"), await http.put("/api/form")
    assert error(too_long) == (400, "bad-request")
    assert too_long.json()["error"]["message"].startswith("text: String should have at most 5 characters")
    assert error(broken) == error(deep) == (400, "bad-request")
    assert error(unknown) == (404, "not-found")
    assert error(wrong_method) == (405, "bad-request")


async def test_a_bug_is_logged_and_not_told(caplog: pytest.LogCaptureFixture):
    async with client() as http:
        response = await http.get("/api/fail/bug")
    assert error(response) == (500, "internal")
    assert "secret" not in response.text
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.getMessage() == "GET /api/fail/bug failed"
    assert "secret detail" in caplog.text


async def test_a_bug_in_the_middle_of_an_answer_breaks_it_off():
    async with client() as http:
        with pytest.raises(ZeroDivisionError):  # which makes the server close the connection
            await http.get("/api/fail/stream")


def test_an_error_is_an_answer_without_an_application():
    response = error_response(ApiError(429, "too-many-requests", "wait", 0.2))
    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")


# Offers ---------------------------------------------------------------------------------------------------------------


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_offers_are_granted_at_their_rate():
    clock = Clock()
    limiter = OfferLimiter(30, clock=clock)
    for _ in range(30):
        limiter.take("192.0.2.1")
    with pytest.raises(ApiError) as caught:
        limiter.take("192.0.2.1")
    assert (caught.value.status_code, caught.value.code, caught.value.retry_after_s) == (429, "too-many-requests", 2)
    limiter.take("192.0.2.2")  # another client is not held up
    clock.now_s = 1.9
    with pytest.raises(ApiError) as caught:
        limiter.take("192.0.2.1")
    assert caught.value.retry_after_s == pytest.approx(0.1)
    clock.now_s = 2.0
    limiter.take("192.0.2.1")
    clock.now_s = 3600
    for _ in range(30):
        limiter.take("192.0.2.1")
    with pytest.raises(ApiError):
        limiter.take("192.0.2.1")


def test_addresses_are_forgotten_when_there_are_too_many():
    clock = Clock()
    limiter = OfferLimiter(1, clock=clock)
    for number in range(MAX_ADDRESSES + 1):
        limiter.take(f"client {number}")
    limiter.take("client 0")  # forgotten
    with pytest.raises(ApiError):
        limiter.take(f"client {MAX_ADDRESSES}")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_clients_are_told_apart_by_network(host: str, address: str):
    assert client_address({"client": (host, 5)}) == address
    assert client_address({"client": None}) == ""
