"""One server of several: its name in its sessions' ids, what a proxy and an autoscaler ask it, how it goes."""

from __future__ import annotations

import asyncio
import random
import re
import string
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.room_peer import bearer, open_room
from tests.integration.served_peer import Client, server
from tests.integration.webrtc_peer import babble
from tests.until import until
from tolmach.web.sessions.ids import MAX_ID, ROUTED, new_id, server_of


@pytest.fixture
def graphs(root: Path) -> Path:
    return root / "config" / "echo.yaml"


async def figure(client: Client, name: str) -> float:
    """A figure of ``/metrics``, as Prometheus reads it."""
    text = (await client.http.get("/metrics")).text
    return float(re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)[0])


def test_an_id_says_whose_it_is_and_keeps_its_128_bits() -> None:
    ids = {new_id("tolmach-0") for _ in range(200)}
    assert len({each.rpartition(".")[2] for each in ids}) == 200
    for each in ids:
        assert server_of(each) == "tolmach-0"
        for target in (
            f"/api/sessions/{each}",
            f"/whip/{each}/x",
            f"/api/sessions?resume={each}",
            f"/a?b=c&d={each}&e",
        ):
            assert re.search(ROUTED, target)[1] == "tolmach-0", target  # type: ignore[index]
    assert len(new_id("a" * 63)) == MAX_ID
    for other in (new_id(), "a.b", "A." + new_id(), "a b." + new_id(), "-a." + new_id(), "a." + new_id() + "\n"):
        assert server_of(other) is None
    assert not re.search(ROUTED, "/static/app.js?v=1.2")


async def test_a_session_is_resumed_by_its_address_and_by_its_body(graphs: Path) -> None:
    async with server(graphs, server_id="a") as client:
        peer = await client.call(babble(30))
        assert server_of(peer.session) == "a"
        assert (await client.http.get(peer.url)).json()["session"] == peer.session
        for body, query in ((None, peer.session), (peer.session, None), (peer.session, peer.session)):
            again = client.peer(babble(30))
            answer = await again.offer({"resume": body} if body else {}, **({"resume": query} if query else {}))
            assert answer.status_code == 201, answer.text
            assert answer.json()["resumed"]
            await again.connect(answer)
            assert again.session == peer.session
            assert (await again.until("session"))["resumed"]
        offer = {"sdp": peer.pc.localDescription.sdp, "resume": peer.session}
        other = await client.error("POST", f"/api/sessions?resume={new_id('a')}", 400, json=offer)
        assert other["code"] == "bad-request"
        assert len(client.service.pool) == 1


async def test_who_has_come_to_the_wrong_server_is_told(graphs: Path) -> None:
    async with server(graphs, server_id="a") as client:
        peer = client.peer(babble(1))
        await peer.pc.setLocalDescription(await peer.pc.createOffer())
        body = {"sdp": peer.pc.localDescription.sdp, "resume": new_id("b")}
        error = await client.error("POST", "/api/sessions", 404, json=body)
        assert "is of server 'b', and this is server 'a'" in error["message"]
        gone = await client.error("GET", f"/api/sessions/{new_id('a')}/dub.wav", 404)
        assert gone["message"] == "there is no such session; it may have ended"


async def test_nonsense_for_an_id_is_refused_whatever_it_is(graphs: Path) -> None:
    chance = random.Random(51)
    known = string.ascii_letters + string.digits + "._-/%?&=~ \0\u00e9\u200b\U0001f3a4'\"\\"
    async with server(graphs, server_id="a", offers_per_minute=10_000) as client:
        statuses: set[int] = set()
        for _ in range(300):
            wrong = "".join(chance.choice(known) for _ in range(chance.choice((1, 5, 24, 90, 3000))))
            wrong = chance.choice(("", "a.", "b.", "a" * 64 + ".", "../")) + wrong
            answer = await client.http.post("/api/sessions", json={"sdp": "x"}, params={"resume": wrong})
            assert answer.json()["error"]["message"]
            statuses |= {answer.status_code, (await client.http.get(f"/api/sessions/{quote(wrong)}")).status_code}
        assert statuses <= {307, 400, 404}, "and never the server's own fault"
        assert len(client.service.pool) == 0


async def test_whether_there_is_a_place_is_told_to_balancers_and_autoscalers(graphs: Path) -> None:
    async with server(graphs, max_sessions=1) as client:
        assert [await figure(client, f"tolmach_{name}") for name in ("places", "places_free")] == [1, 1]
        assert (await client.http.get("/readyz?place=1")).status_code == 200
        peer = await client.call(babble(30))
        await until(lambda: not client.service.pool.places_free)
        assert [await figure(client, f"tolmach_{name}") for name in ("places", "places_free")] == [1, 0]
        assert (await client.http.get("/readyz?place=1")).status_code == 503
        assert (await client.http.get("/readyz")).status_code == 200, "who is there may go on"
        await client.http.delete(peer.url)
        await until(lambda: client.service.pool.places_free == 1)
        assert (await client.http.get("/readyz?place=1")).status_code == 200
        assert [await figure(client, f"tolmach_{name}") for name in ("ready", "draining")] == [1, 0]
        client.service.pool.draining = True
        assert [await figure(client, f"tolmach_{name}") for name in ("ready", "draining")] == [0, 1]
        assert await figure(client, "tolmach_places_free") == 0


async def test_sessions_of_a_server_that_is_replaced_go_on_and_can_be_resumed(graphs: Path) -> None:
    async with server(graphs, linger_s=600) as client:
        peer = await client.call(babble(30))
        going = asyncio.create_task(client.service.drain())
        await until(lambda: client.service.pool.draining)
        assert (await client.http.get("/readyz")).json()["draining"]
        assert (await client.error("POST", "/api/sessions", 503, json={"graph": "echo", "sdp": "x"}))[
            "code"
        ] == "draining"
        await peer.vanish()
        await until(lambda: client.service.pool.find(peer.session).state == "away", within_s=20)
        again = client.peer(babble(30))
        await again.connect(await again.offer({}, resume=peer.session))
        await again.hear(25)
        assert not going.done()
        again.channel.send('{"v":1,"type":"bye"}')
        await asyncio.wait_for(going, 20)


async def test_rooms_go_on_too(graphs: Path) -> None:
    async with server(graphs.parent, default_graph="conversation", linger_s=600) as client:
        room = await open_room(client, "conversation")
        going = asyncio.create_task(client.service.drain())
        await until(lambda: client.service.pool.draining)
        assert (await client.error("POST", "/api/rooms", 503, json={"graph": "conversation"}))["code"] == "draining"
        shown = f"/api/rooms/{room['room']}"
        assert (await client.http.get(shown, headers=bearer(room["code"]))).status_code == 200
        assert not going.done()
        assert (await client.http.delete(shown, headers=bearer(room["code"]))).status_code == 204
        await asyncio.wait_for(going, 20)


async def test_but_not_for_ever(graphs: Path) -> None:
    async with server(graphs, linger_s=0.5) as client:
        peer = await client.call(babble(30))
        await asyncio.wait_for(client.service.drain(), 20)
        assert (await peer.until("bye"))["reason"] == "the server is stopping"
