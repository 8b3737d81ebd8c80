"""Clients that mean harm at the WebSocket door: nothing unforeseen is raised, and nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import random
import shutil
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.integration.served_socket import listening
from tests.until import until
from tolmach.web.doors.websocket import PATH
from tolmach.web.doors.websocket import exchange as door

CONNECTIONS, MESSAGES = 48, 60
HELLOS: tuple[dict[str, object], ...] = (
    {"mode": "auto"},
    {"mode": "auto", "channels": 2, "sample_rate": 8000},
    {"v": 1, "type": "hello"},
    {"v": 1, "type": "hello", "graph": "echo", "sample_rate": 192_000},
)


def mutilated(chance: random.Random, text: str) -> str:
    """The same with a few characters more, less or different."""
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(["", '"', "{", "\\ud800", "\x00", "1e999", "null", "ы"]) + text[at + 1 :]
    return text


def message(chance: random.Random) -> str | bytes:
    """Something that a client may send, or should not."""
    kind = chance.randrange(10)
    if kind < 3:
        return chance.randbytes(chance.choice([0, 2, 4, 960, 1920, 1920, 1920, 3840, 20_000, chance.randrange(4000)]))
    if kind < 5:
        return chance.choice(["__flush__", "__clear__", "__flush__ ", "__END__", "", "\x00", "[" * 5000])
    said: dict[str, object] = {"v": chance.choice([1, 1, 1, 2, None, "1"])}
    said["type"] = chance.choice(["ping", "pong", "flush", "clear", "hello", "caption", "", 5, None, "x" * 1000])
    said["number"] = chance.choice([1, -1, 2**70, 1.5, None, "1", [1]])
    text = json.dumps(said)
    return mutilated(chance, text) if kind > 7 else text


async def pester(address: str, chance: random.Random) -> int:
    """One client; returns how many messages it could send."""
    sent = 0
    resume = chance.choice(["", "", "", "?resume=", "?resume=x", "?resume=%00%ff", "?resume=../..&resume=y"])
    with contextlib.suppress(WebSocketException, OSError, TimeoutError):
        async with asyncio.timeout(20), connect(address + resume, close_timeout=1) as client:
            first = json.dumps(chance.choice(HELLOS))
            await client.send(mutilated(chance, first) if chance.random() < 0.3 else first)
            listener = asyncio.create_task(_drain(client))
            try:
                for _ in range(MESSAGES):
                    await client.send(message(chance))
                    sent += 1
                if chance.random() < 0.5:
                    await client.send(chance.choice(["__end__", '{"v": 1, "type": "bye"}']))
                if chance.random() < 0.3:
                    client.transport.abort()
            finally:
                listener.cancel()
                await asyncio.wait([listener])
    return sent


async def pester_below(port: int, chance: random.Random) -> None:
    """One client that speaks the protocol below messages, and badly."""
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    head = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
    hello = json.dumps(chance.choice(HELLOS)).encode()
    frames = [bytes([0x81, 0x80 | len(hello)]) + bytes(4) + hello]
    for _ in range(40):
        body = chance.randbytes(chance.choice([0, 2, 2, 100, 125]))
        frames.append(bytes([chance.choice([0x80, 0]) | chance.choice([0, 1, 2, 2, 8, 9, 10, 3])]))
        frames[-1] += bytes([0x80 | len(body)]) + bytes(4) + body
    sent = bytearray(head.encode() + b"".join(frames))
    for _ in range(chance.randrange(4)):
        sent[chance.randrange(len(sent))] = chance.randrange(256)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(sent)
                if chance.random() < 0.5:
                    writer.write_eof()
                    await reader.read()
                else:
                    await reader.read(1000)
            finally:
                writer.transport.abort()


def descriptors() -> int:
    """Open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def _drain(client: ClientConnection) -> None:
    with contextlib.suppress(WebSocketException, OSError):
        async for _ in client:
            pass


async def test_thousands_of_bad_messages_leave_nothing_behind(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(root / "config" / "echo.yaml", tmp_path)
    chance = random.Random(13)
    monkeypatch.setattr(door, "HELLO_S", 0.5)
    settings = {"headers_s": 0.5, "offers_per_minute": 10_000, "max_sessions": 4, "resume_s": 0.1}
    async with listening(tmp_path, **settings) as server:
        await pester(server.ws + PATH, random.Random(0))
        await until(lambda: not len(server.service.pool))
        gc.collect()
        before, tasks = descriptors(), len(asyncio.all_tasks())
        sent = 0
        for _ in range(CONNECTIONS // 6):
            clients = [pester(server.ws + PATH, random.Random(chance.random())) for _ in range(6)]
            below = [pester_below(server.port, random.Random(chance.random())) for _ in range(6)]
            sent += sum((await asyncio.gather(*clients, asyncio.gather(*below)))[:6])
        await until(lambda: not len(server.service.pool), within_s=40)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        gc.collect()
        await until(lambda: descriptors() <= before)
        async with connect(server.ws + PATH) as client:
            await client.send('{"v": 1, "type": "hello"}')
            assert json.loads(await client.recv())["type"] == "session", "others are served as before"
            await client.send('{"v": 1, "type": "bye"}')
        await until(lambda: not len(server.service.pool))
    assert sent > 1000
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
