"""Rooms under whoever means no good: thousands of requests with made-up codes, seats, bodies and offers."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.room_peer import RoomPeer, code_of, open_room, tone
from tests.integration.served_peer import server
from tests.integration.test_rooms import RADIO
from tests.until import until

REQUESTS = 1500
SEED = 48
ALLOWED = {200, 201, 204, 400, 401, 403, 404, 405, 409, 413, 422, 429, 503}
ODD: tuple[Any, ...] = (
    "",
    "x" * 70_000,
    "\x00",
    "ё" * 50,
    -1,
    1e308,
    None,
    True,
    [],
    {},
    [[]] * 50,
    {"a": {"b": 1}},
    "v=0\r\n",
)


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    (tmp_path / "radio.yaml").write_text(RADIO)
    return tmp_path


def made_up(chance: random.Random, ids: list[str], codes: list[str], offer: str) -> dict[str, Any]:
    """A request like those that rooms take, with something in it that is not."""
    room = chance.choice([*ids, *ids, *ids, "x" * 22, "..", "%00", "a." + "b" * 22])
    method, path = chance.choice(
        [
            ("POST", "/api/rooms"),
            ("GET", f"/api/rooms/{room}"),
            ("DELETE", f"/api/rooms/{room}"),
            ("POST", f"/api/rooms/{room}/peers"),
            (chance.choice(["PATCH", "DELETE"]), f"/api/rooms/{room}/peers/{chance.choice([*ids, 'x'])}"),
            ("GET", f"/api/rooms/{room}/qr.svg?page={chance.choice(['https://a.example/room', '//', 'x' * 300])}"),
            (
                "GET",
                f"/api/rooms/{room}/{chance.choice(['subtitles.srt', 'subtitles.vtt', 'transcript.json', 'dub.wav'])}",
            ),
        ]
    )
    if chance.random() < 0.1:
        method = chance.choice(["PUT", "HEAD", "POST", "DELETE", "PATCH", "GET"])
    if chance.random() < 0.4:
        path += ("&" if "?" in path else "?") + f"seat={chance.choice(['near', 'speaker', '', 'x' * 65, '../..'])}"
    lines = offer.split("\r\n")
    chance.shuffle(lines)
    sdp = chance.choice([offer[: chance.randrange(len(offer))], "\r\n".join(lines), *ODD])
    body = chance.choice(
        [
            {"graph": chance.choice(["radio", "radio", "nowhere", *ODD])},
            {
                "graph": "radio",
                "params": chance.choice([{"a": 1}, *ODD]),
                "settings": chance.choice([{"in.x": 1}, *ODD]),
            },
            {"sdp": sdp, "take_over": chance.choice([True, False, *ODD])},
            {"sdp": sdp},
            {"candidates": chance.choice([[{"candidate": chance.choice([*ODD])}], [{}] * 70, *ODD])},
            *ODD,
        ]
    )
    content = json.dumps(body).encode() if chance.random() < 0.9 else chance.randbytes(chance.randrange(200))
    headers = {"content-type": "application/json"}
    if chance.random() < 0.8:
        code = chance.choice([*codes, *codes, "x" * 22, "", " ", "x" * 500, "ё"])
        headers["authorization"] = f"{chance.choice(['Bearer', 'Bearer', 'bearer', 'Basic', ''])} {code}"
    encoded = {name: value.encode() for name, value in headers.items()}
    return {"method": method, "url": path, "content": content, "headers": encoded}


async def test_nothing_made_up_breaks_a_room_or_costs_more_than_it_may(graphs: Path) -> None:
    process = psutil.Process()
    async with server(graphs, max_sessions=4, max_listeners=3, offers_per_minute=100_000) as client:
        kept = await open_room(client, "radio")
        speaker = await RoomPeer(client, kept, "speaker", tone(400, 120)).sit()
        listener = await RoomPeer(client, kept, "near").sit()
        await until(lambda: round(listener.loudest_hz(), -2) == 400)
        other = await open_room(client, "radio")
        rooms = client.app.state.rooms
        offer = RoomPeer(client, kept, "near")
        await offer.pc.setLocalDescription(await offer.pc.createOffer())
        # Of the room that is to stay whole an attacker knows the id, and the code of a listener.
        ids, codes = [kept["room"], other["room"]], [code_of(kept, "near"), other["code"], code_of(other, "speaker")]
        chance, seen = random.Random(SEED), Counter[int]()
        tasks, files = len(asyncio.all_tasks()), process.num_fds()
        for _ in range(REQUESTS):
            answer = await client.http.request(**made_up(chance, ids, codes, offer.pc.localDescription.sdp))
            seen[answer.status_code] += 1
            assert answer.status_code in ALLOWED, (answer.status_code, answer.text[:300])
            if answer.status_code >= 400 and answer.request.method != "HEAD":
                assert set(answer.json()["error"]) >= {"code", "message", "retry_after_s"}
            assert len(rooms._live) <= client.service.pool.max_waiting + 1
        assert set(seen) >= {201, 400, 401, 403, 404, 405}, f"it tries all kinds of things: {seen}"
        heard = listener.packets
        await until(lambda: listener.packets > heard + 50)
        assert round(listener.loudest_hz(), -2) == 400, "who listens has noticed nothing"
        assert speaker.pc.connectionState == listener.pc.connectionState == "connected"
        for room in list(rooms):
            if room.id != kept["room"]:
                await room.end("the test ends it")
        await until(lambda: len(asyncio.all_tasks()) <= tasks and process.num_fds() <= files)
