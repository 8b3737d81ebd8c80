"""The door of the server, with real sockets: who says nothing is not waited for, and keeps nobody out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import Response
from uvicorn.server import ServerState

from tests.unit.certificates import make_certificate
from tests.until import until
from tolmach.web.errors import install_errors
from tolmach.web.tcp import Door, DoorLimits, raise_descriptors


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Both kinds of loop that a server may run on: uvloop where there is one, Python's own on Windows."""
    if request.param == "uvloop":
        policy: asyncio.AbstractEventLoopPolicy = pytest.importorskip("uvloop").EventLoopPolicy()
        return policy
    return asyncio.DefaultEventLoopPolicy()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def make_app() -> FastAPI:
    app = FastAPI()
    install_errors(app)
    gate = asyncio.Event()
    app.state.gate = gate

    @app.get("/")
    async def show() -> dict[str, str]:
        return {"shown": "yes"}

    @app.get("/slow")
    async def slow() -> dict[str, str]:
        await gate.wait()
        return {"shown": "at last"}

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(50_000_000))

    @app.post("/size")
    async def size(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.websocket("/socket")
    async def talk(websocket: WebSocket) -> None:
        raise AssertionError("nobody gets here")

    return app


class House:
    """A listening server."""

    def __init__(self, door: Door, app: FastAPI, port: int, tls: ssl.SSLContext | None) -> None:
        self.door = door
        self.app = app
        self.port = port
        self._tls = tls
        self._open: list[asyncio.StreamWriter] = []

    async def knock(self, text: str = "", *, tls: bool = True) -> Stream:
        """A connection that says this much."""
        context = self._tls if tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        self._open.append(writer)
        writer.write(text.encode())
        return reader, writer

    async def ask(self, text: str) -> tuple[int, bytes]:
        """Status and body of a request on a connection of its own."""
        reader, _ = await self.knock(text.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
        return parse(await rest(reader))

    def leave(self) -> None:
        for writer in self._open:
            writer.transport.abort()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that still comes; a connection that is cut is at its end, too."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


def parse(answer: bytes) -> tuple[int, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@asynccontextmanager
async def house(folder: Path | None = None, **limits: float) -> AsyncIterator[House]:
    """A server with these limits; over TLS if there is a folder for its certificate."""
    ours = theirs = None
    if folder is not None:
        certificate, key = make_certificate(folder)
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ours.load_cert_chain(certificate, key)
        theirs = ssl.create_default_context(cafile=str(certificate))
        theirs.check_hostname = False
    door = Door(DoorLimits(**limits), ours)  # type: ignore[arg-type]
    app = make_app()
    config = uvicorn.Config(app, ws="none", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        opened = asyncio.create_task(door.open(listening, config, state))
        inside = House(door, app, listening.getsockname()[1], theirs)
        try:
            yield inside
        finally:
            inside.leave()
            opened.cancel()
            await asyncio.wait([opened])
            door.close()
            app.state.gate.set()
            await until(lambda: not (state.tasks or state.connections or len(door)))


GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_HEADERS = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_BODY = "POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n0123"


@pytest.mark.parametrize("tls", [False, True])
async def test_requests_are_answered_one_after_the_other_on_one_connection(tmp_path: Path, tls: bool):
    async with house(tmp_path if tls else None, headers_s=5) as home:
        reader, writer = await home.knock(GET)
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"200 OK" in head
            assert json.loads(await reader.readexactly(len(b'{"shown":"yes"}'))) == {"shown": "yes"}
            writer.write(GET.encode())
        assert len(home.door) == 1
        writer.close()
        await until(lambda: len(home.door) == 0)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("said", "answered"),
    [("", b""), (HALF_HEADERS, b"408"), (HALF_BODY, b"408"), ("\r\n", b"")],
    ids=["nothing", "half headers", "half a body", "an empty line"],
)
async def test_who_does_not_finish_is_not_waited_for(tmp_path: Path, said: str, answered: bytes, tls: bool):
    async with house(tmp_path if tls else None, headers_s=0.2, body_s=0.2) as home:
        reader, _ = await home.knock(said)
        answer = await rest(reader)
        assert answered in answer[:20]
        if answered:
            assert json.loads(parse(answer)[1])["error"]["code"] == "too-late"
        await until(lambda: len(home.door) == 0)


@pytest.mark.parametrize("said", [HALF_HEADERS, HALF_BODY], ids=["headers", "body"])
async def test_a_byte_now_and_then_buys_no_time(said: str):
    async with house(headers_s=0.4, body_s=0.4) as home:
        reader, writer = await home.knock(said)

        async def trickle() -> None:
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert b"408" in await rest(reader)
        trickling.cancel()


async def test_a_long_body_has_time_while_it_comes_at_its_rate():
    async with house(body_s=0.5) as home:
        reader, writer = await home.knock("POST /size HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(10):
            writer.write(bytes(100_000))
            await asyncio.sleep(0.1)
        assert (await reader.readuntil(b"}")).endswith(b'{"bytes":1000000}')


async def test_nor_does_one_get_time_that_nobody_waits_for():
    async with house(body_s=0.2) as home:
        reader, writer = await home.knock(HALF_BODY.replace("/size", "/no-such-path").replace("10", "100000000"))

        async def pour() -> None:
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(bytes(30_000))
                    await writer.drain()
                    await asyncio.sleep(0.02)

        pouring = asyncio.create_task(pour())
        await rest(reader)  # it is cut; whether the answer came before that is the network's
        await until(lambda: len(home.door) == 0)
        pouring.cancel()


async def test_half_a_second_request_is_not_waited_for_either():
    async with house(headers_s=0.2) as home:
        reader, writer = await home.knock(GET)
        await reader.readuntil(b'"yes"}')
        writer.write(HALF_HEADERS.encode())
        assert b"408" in await rest(reader)


async def test_a_body_that_follows_an_answer_already_given_is_not_waited_for():
    async with house(body_s=0.2) as home:
        reader, _ = await home.knock(HALF_BODY.replace("/size", "/no-such-path"))
        answer = await rest(reader)
        assert b"404" in answer[:20]
        assert b"408" not in answer


async def test_a_handshake_that_does_not_come_is_not_waited_for(tmp_path: Path):
    async with house(tmp_path, handshake_s=0.2) as home:
        reader, _ = await home.knock(tls=False)
        assert await rest(reader) == b""
        other, _ = await home.knock(GET, tls=False)  # plain HTTP to an https port
        await rest(other)
        await until(lambda: len(home.door) == 0)
        assert (await home.ask(GET))[0] == 200


async def test_who_does_not_read_the_answer_is_cut_off():
    async with house(stall_s=0.2) as home:
        _, writer = await home.knock()
        writer.transport.pause_reading()
        writer.write(GET.replace("/ ", "/large ").encode())
        await until(lambda: len(home.door) == 1)
        await until(lambda: len(home.door) == 0)


@pytest.mark.parametrize("tls", [False, True])
async def test_those_who_say_nothing_keep_nobody_out(tmp_path: Path, tls: bool):
    async with house(tmp_path if tls else None, most=8, most_per_address=6) as home:
        for said in ["", HALF_HEADERS, HALF_BODY, ""] * 5:
            await home.knock(said)
        assert [(await home.ask(GET))[0] for _ in range(10)] == [200] * 10
        assert len(home.door) <= 6


async def test_those_who_are_being_answered_are_not_turned_out():
    async with house(most=3, most_per_address=3) as home:
        slow = [await home.knock(GET.replace("/ ", "/slow ")) for _ in range(3)]
        await until(lambda: not any(visit.silent for visit in home.door._visits))
        status, body = parse(await rest((await home.knock(GET))[0]))
        assert (status, json.loads(body)["error"]["code"]) == (503, "busy")
        home.app.state.gate.set()
        for reader, _ in slow:
            assert b"at last" in await reader.readuntil(b"}")
        assert (await home.ask(GET))[0] == 200, "there is room again"


async def test_a_web_socket_is_refused_without_a_word_of_its_query(caplog: pytest.LogCaptureFixture):
    upgrade = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with caplog.at_level(logging.DEBUG):
        async with house() as home:
            for path in ("/socket", "/"):
                head = f"GET {path}?token=very-secret HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\n"
                reader, _ = await home.knock(head + upgrade)
                status, _ = parse(await rest(reader))
                assert status == (404 if path == "/socket" else 200)
            await home.ask("\x00nonsense\r\n\r\n")
    assert "very-secret" not in caplog.text
    assert "upgrade" not in caplog.text.lower()
    assert "Invalid HTTP" not in caplog.text


def test_file_descriptors_are_raised_as_far_as_they_may_be(root: Path):
    code = (
        "import resource, sys; from tolmach.web.tcp import raise_descriptors\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))\n"
        "print(raise_descriptors(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2000 if hard == resource.RLIM_INFINITY else min(2000, hard)
    done = subprocess.run([sys.executable, "-c", code, str(most)], cwd=root, capture_output=True, text=True)
    assert done.stdout.split() == [str(most)] * 3, done.stderr
    assert raise_descriptors() is not None
