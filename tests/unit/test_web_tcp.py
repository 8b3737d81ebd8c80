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
from starlette.websockets import WebSocketDisconnect
from uvicorn.server import ServerState

from tests.unit.certificates import make_certificate
from tests.until import until
from tolmach.web.errors import install_errors
from tolmach.web.tcp import Door, DoorLimits, WebSocketProtocol, raise_descriptors


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

    @app.websocket("/chat")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        app.state.most_waiting = taken = 0
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            taken += 1
            app.state.most_waiting = max(app.state.most_waiting, app.state.waiting())
            if message.get("text"):
                await websocket.send_text(str(taken))

    @app.websocket("/flood")
    async def flood(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await websocket.send_bytes(bytes(100_000))

    @app.websocket("/bye")
    async def bye(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive()
        await websocket.close()
        await gate.wait()

    @app.websocket("/busy")
    async def busy(websocket: WebSocket) -> None:
        await websocket.accept()
        await gate.wait()
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass

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
async def house(folder: Path | None = None, *, ping_s: float | None = None, **limits: float) -> AsyncIterator[House]:
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
    app.state.waiting = lambda: max((v.visitor.socket.queue.qsize() for v in door._visits), default=0)
    config = uvicorn.Config(
        app, ws=WebSocketProtocol, log_config=None, access_log=False, ws_ping_interval=ping_s, ws_ping_timeout=ping_s
    )
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
    async with house(body_s=1) as home:
        reader, writer = await home.knock("POST /size HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(10):
            writer.write(bytes(100_000))
            await asyncio.sleep(0.15)
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


async def test_of_a_websocket_no_log_has_the_query_or_the_token(caplog: pytest.LogCaptureFixture):
    upgrade = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with caplog.at_level(logging.DEBUG):
        async with house() as home:
            for path, wanted in (("/nowhere", b" 403 "), ("/chat", b" 101 ")):
                head = f"GET {path}?token=very-secret HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                reader, _ = await home.knock(head + "Authorization: Bearer very-secret\r\n" + upgrade)
                async with asyncio.timeout(5):
                    assert wanted in await reader.readline()
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


# WebSockets -----------------------------------------------------------------------------------------------------------

HANDSHAKE = (
    "GET /{path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, body: bytes = b"", *, fin: bool = True) -> bytes:
    """A masked frame (RFC 6455, 5.2), whose mask changes nothing."""
    length = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
    return bytes([(0x80 if fin else 0) | opcode]) + length + bytes(4) + body


TEXT, BINARY, PING = 1, 2, 9


async def talk(inside: House, path: str, *, asked: bool = False) -> Stream:
    """A WebSocket that is open; on a connection that has asked for something else before, if told so."""
    reader, writer = await inside.knock(GET * asked)
    async with asyncio.timeout(5):
        if asked:
            await reader.readuntil(b'{"shown":"yes"}')
        writer.write(HANDSHAKE.format(path=path).encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_client_that_does_not_read_its_websocket_is_cut_and_gives_its_place_back() -> None:
    async with house(stall_s=0.2, most=1) as inside:
        reader, writer = await talk(inside, "flood")
        writer.write(frame(TEXT, b"go"))
        await asyncio.sleep(0.05)
        assert len(inside.door) == 1
        await until(lambda: not len(inside.door))
        await rest(reader)
        assert await inside.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b'{"shown":"yes"}')


async def test_a_websocket_that_has_said_nothing_makes_way() -> None:
    async with house(most=1) as inside:
        silent, _ = await talk(inside, "chat")
        reader, writer = await talk(inside, "chat")  # in its place
        assert await rest(silent) == b""
        writer.write(frame(TEXT, b"hello"))
        async with asyncio.timeout(5):
            assert (await reader.readexactly(3))[2:] == b"1", "it was counted"
        answer = parse(await rest((await inside.knock("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))[0]))
        assert answer[0] == 503, "who talks keeps the place"


async def test_a_websocket_that_was_closed_and_does_not_go_makes_way() -> None:
    async with house(most=1) as inside:
        reader, writer = await talk(inside, "bye")
        writer.write(frame(TEXT, b"hello"))
        async with asyncio.timeout(5):
            assert (await reader.readexactly(2))[0] == 0x88, "closed"
        assert await inside.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b'{"shown":"yes"}')


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(PING) * 1000, 1008, id="pings"),
        pytest.param(frame(TEXT, fin=False) + frame(0, fin=False) * 10_000, 1009, id="fragments"),
        pytest.param(frame(TEXT, b"\xff\xfe"), 1007, id="no UTF-8"),
        pytest.param(b"\xff" * 1000, 1002, id="no frame"),
    ],
)
async def test_what_is_no_conversation_ends_a_websocket_and_fills_no_log(
    sent: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with house() as inside:
        reader, writer = await talk(inside, "chat")
        writer.write(sent)
        last = await rest(reader)
        await until(lambda: not len(inside.door))
    assert b"\x88" in last
    assert code.to_bytes(2, "big") in last
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_many_small_messages_are_read_as_they_are_taken() -> None:
    async with house() as inside:
        reader, writer = await talk(inside, "chat")
        writer.write(frame(BINARY, b"x") * 20_000)
        writer.write(frame(TEXT, b"?"))
        async with asyncio.timeout(20):
            head = await reader.readexactly(2)
            assert await reader.readexactly(head[1]) == b"20001", "none is lost"
    assert inside.app.state.most_waiting < 1000, "a read of the socket holds far more"


@pytest.mark.parametrize("asked", [False, True], ids=["a new connection", "one that has asked before"])
async def test_a_websocket_is_no_request_that_is_late(asked: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with house(headers_s=0.3, body_s=0.3) as inside:
        reader, writer = await talk(inside, "chat", asked=asked)
        await asyncio.sleep(1.0)
        writer.write(frame(TEXT, b"hello"))
        async with asyncio.timeout(5):
            assert (await reader.readexactly(3))[2:] == b"1"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_is_not_cut_while_we_do_not_read_it() -> None:
    async with house(ping_s=0.1) as inside:
        reader, writer = await talk(inside, "busy")
        writer.write(frame(BINARY, b"x") * 3)
        await asyncio.sleep(0.5)  # its pongs, had it sent any, would lie unread
        assert len(inside.door) == 1
        inside.app.state.gate.set()
        await until(lambda: not len(inside.door))  # now it has read everything, and hears no pong
        assert b"\x88" in await rest(reader)
