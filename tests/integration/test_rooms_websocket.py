"""Seats of a room over WebSockets, as the page takes them where no UDP gets through."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.integration.room_peer import bearer, code_of, tone
from tests.integration.served_socket import Listening, listening
from tests.integration.test_door_websocket import messages, pcm, refusal
from tests.integration.test_door_websocket_hostile import message, mutilated
from tests.integration.test_rooms import RADIO
from tests.until import until
from tolmach.web.doors.websocket import exchange
from tolmach.web.rooms.rooms import Rooms

PIECE = 1920
"""Bytes of 20 ms."""
HELLO = json.dumps({"v": 1, "type": "hello"})


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    (tmp_path / "radio.yaml").write_text(RADIO)
    return tmp_path


async def opened(server: Listening) -> Mapping[str, Any]:
    """A new room."""
    async with httpx.AsyncClient(base_url=server.http) as http:
        answer = await http.post("/api/rooms", json={"graph": "radio"})
    assert answer.status_code == 201, answer.text
    room: Mapping[str, Any] = answer.json()
    return room


async def looked(server: Listening, room: Mapping[str, Any], seat: str) -> Mapping[str, Any]:
    """The room, as somebody at the seat sees it."""
    async with httpx.AsyncClient(base_url=server.http) as http:
        answer = await http.get(f"/api/rooms/{room['room']}", headers=bearer(code_of(room, seat)))
    found: Mapping[str, Any] = answer.json()
    return found


@asynccontextmanager
async def come(
    server: Listening, room: Mapping[str, Any], code: str, query: str = "", hello: str = HELLO
) -> AsyncIterator[ClientConnection]:
    """Come as a page does, with the code as a subprotocol."""
    address = f"{server.ws}/api/rooms/{room['room']}/ws{query}"
    async with connect(address, subprotocols=["tolmach", f"tolmach-token.{code}"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "tolmach"
        with contextlib.suppress(ConnectionClosed):  # it may be refused already
            await client.send(hello)
        yield client


async def speak(client: ClientConnection, hz: float) -> None:
    """A tone in real time, until it is cancelled or hung up on."""
    sound = pcm(tone(hz, 60))
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    try:
        for number in range(len(sound) // PIECE):
            await asyncio.sleep(max(0.0, begun_s + number * 0.02 - loop.time()))
            await client.send(sound[number * PIECE : (number + 1) * PIECE])
    except ConnectionClosed:
        return


async def hear(client: ClientConnection, hz: float) -> None:
    """Return when this tone is heard."""
    last = np.zeros(0, "<i2")
    async with asyncio.timeout(40):
        async for data in client:
            if isinstance(data, str):
                message = json.loads(data)
                if message["type"] == "ping":
                    await client.send(json.dumps({"v": 1, "type": "pong", "number": message["number"]}))
                continue
            last = np.concatenate([last, np.frombuffer(data, "<i2")])[-9600:]
            if len(last) == 9600 and np.abs(last).max() > 300:
                spectrum = np.abs(np.fft.rfft(last * np.hanning(len(last))))
                if abs(float(np.argmax(spectrum)) * 48_000 / len(last) - hz) < 20:
                    return


async def told(client: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of this type."""
    async with asyncio.timeout(30):
        async for message in messages(client, kind):
            return message
    raise AssertionError(f"it was closed without {kind}")


async def test_one_speaks_and_another_hears_without_any_udp(graphs: Path) -> None:
    async with listening(graphs) as server:
        room = await opened(server)
        assert room["websocket"] is True
        async with come(server, room, code_of(room, "near")) as listener:
            assert (await told(listener, "room"))["people"] == {"speaker": 0}
            async with come(server, room, code_of(room, "speaker")) as speaker:
                assert (await told(speaker, "room"))["seat"] == "speaker"
                speaking = asyncio.create_task(speak(speaker, 440))
                await hear(listener, 440)
                (place,) = (await looked(server, room, "near"))["seats"]
                assert place["people"] == 1
                speaking.cancel()
                await speaker.send(json.dumps({"v": 1, "type": "bye"}))
                assert (await told(speaker, "bye"))["reason"] == "the client said goodbye"
            assert (await told(listener, "people"))["people"] == {"speaker": 0}
            assert (await looked(server, room, "near"))["speakers"][0]["people"] == 0


async def test_a_seat_has_one_speaker_until_another_takes_over(graphs: Path) -> None:
    async with listening(graphs, max_sessions=2) as server:
        room = await opened(server)
        code = code_of(room, "speaker")
        async with come(server, room, code_of(room, "far")) as listener, come(server, room, code) as first:
            speaking = [asyncio.create_task(speak(first, 440))]
            await hear(listener, 440)
            async with come(server, room, code) as second:
                error, status = await refusal(second)
            assert (error["code"], status) == ("conflict", 4409)
            async with come(server, room, code, "?take_over=true") as third:
                speaking.append(asyncio.create_task(speak(third, 880)))
                assert (await told(first, "bye"))["reason"] == "somebody else has taken this seat with the same link"
                await hear(listener, 880)
            for each in speaking:
                each.cancel()


async def test_a_code_is_asked_for_and_opens_its_seat_alone(graphs: Path) -> None:
    async with listening(graphs, token="a-token-that-is-long", offers_per_minute=1000, warm=False) as server:  # noqa: S106
        async with httpx.AsyncClient(base_url=server.http) as http:
            answer = await http.post(
                "/api/rooms", json={"graph": "radio"}, headers={"Authorization": "Bearer a-token-that-is-long"}
            )
        room = answer.json()
        near = code_of(room, "near")
        cases = [
            ("", "", HELLO, 4401),
            ("x" * 22, "", HELLO, 4401),
            ("a-token-that-is-long", "", HELLO, 4401),
            (near, "?seat=speaker", HELLO, 4403),
            (room["code"], "", HELLO, 4400),
            (room["code"], "?seat=nowhere", HELLO, 4404),
            (near, "", json.dumps({"mode": "auto"}), 4400),
            (near, "", "[]", 4400),
        ]
        for code, query, hello, status in cases:
            async with come(server, room, code, query, hello) as client:
                assert (await refusal(client))[1] == status, (code, query)
        async with come(server, {"room": "x" * 22}, near) as client:
            assert (await refusal(client))[1] == 4404
        async with come(server, room, room["code"], "?seat=near") as host:
            assert (await told(host, "room"))["seat"] == "near"
            await host.send(pcm(tone(440, 0.02)))
            await told(host, "bye")
            await host.wait_closed()
            assert (host.close_code, host.close_reason) == (4400, "who only listens sends no audio")


async def test_who_was_lost_has_their_place_kept_and_listeners_take_places_of_their_own(graphs: Path) -> None:
    async with listening(graphs, max_sessions=1, max_listeners=1) as server:
        room = await opened(server)
        async with come(server, room, code_of(room, "near")) as listener:
            await told(listener, "room")
            async with come(server, room, code_of(room, "far")) as late:
                error, status = await refusal(late)
            assert (error["code"], status) == ("busy", 4503)
            async with come(server, room, code_of(room, "speaker")) as speaker:
                speaking = asyncio.create_task(speak(speaker, 440))
                await hear(listener, 440)
                speaker.transport.abort()
                await speaking
            await until(lambda: [each.people for each in the_rooms(server)] == [(0, 1)], within_s=20)
            async with httpx.AsyncClient(base_url=server.http) as http:
                assert (await http.post("/api/rooms", json={"graph": "radio"})).status_code == 503, "it is kept"
            async with come(server, room, code_of(room, "speaker")) as speaker:
                speaking = asyncio.create_task(speak(speaker, 880))
                await hear(listener, 880)
                speaking.cancel()
        await until(lambda: not server.service.seats.taken)


async def test_without_that_door_the_room_says_so(graphs: Path) -> None:
    async with listening(graphs, without=("websocket",)) as server:
        room = await opened(server)
        assert room["websocket"] is False
        with pytest.raises(Exception, match="HTTP 4"):
            async with come(server, room, code_of(room, "near")):
                pass


async def test_thousands_of_bad_messages_leave_nothing_behind(
    graphs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "HELLO_S", 0.5)
    chance = random.Random(13)
    settings = {"headers_s": 0.5, "offers_per_minute": 10_000, "max_sessions": 4, "max_listeners": 60, "resume_s": 0.1}
    async with listening(graphs, **settings) as server:
        room = await opened(server)
        monkeypatch.setattr(the_rooms(server)._joins, "take", lambda address: None)
        codes = [room["code"], *(seat["code"] for seat in room["seats"])]

        async def pester() -> int:
            sent = 0
            code = chance.choice([*codes, *codes, "x" * 22, "x" * 300])
            query = "&".join(
                chance.sample(["seat=near", "seat=speaker", "take_over=true", "seat=%00%ff"], chance.randrange(3))
            )
            hello = chance.choice([HELLO, HELLO, mutilated(chance, HELLO), json.dumps({"mode": "auto"})])
            with contextlib.suppress(WebSocketException, OSError, TimeoutError):
                async with asyncio.timeout(20), come(server, room, code, f"?{query}", hello) as client:
                    for _ in range(60):
                        await client.send(message(chance))
                        sent += 1
                    if chance.random() < 0.5:
                        client.transport.abort()
            return sent

        async with come(server, room, code_of(room, "near")) as listener:
            await told(listener, "room")
            of_listener = len(socket_tasks())
            hearing = asyncio.create_task(hear(listener, 440))
            sent = sum([sum(await asyncio.gather(*(pester() for _ in range(6)))) for _ in range(12)])
            await until(lambda: the_rooms(server).find(room["room"]).people == (0, 1), within_s=40)
            await until(lambda: len(socket_tasks()) == of_listener)
            async with come(server, room, code_of(room, "speaker"), "?take_over=true") as speaker:
                speaking = asyncio.create_task(speak(speaker, 440))
                await hearing
                speaking.cancel()
    assert sent > 1000
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


def the_rooms(server: Listening) -> Rooms:
    """The server's rooms."""
    (found,) = [part for part in server.service.parts if isinstance(part, Rooms)]
    return found


def socket_tasks() -> list[str]:
    """What runs for clients of WebSockets."""
    return [
        task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(("pcm-", "live-", "listener"))
    ]
