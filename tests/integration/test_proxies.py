"""Two servers behind each proxy that docker/ has an example for: nginx, nginx of a cluster, Caddy. All of them real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import websockets

from tests.integration.proxies import ROOT, SERVERS, caddy, free_port, nginx_of_the_cluster, nginx_with_names
from tests.integration.served_peer import ServedPeer
from tests.integration.webrtc_peer import babble
from tests.integration.whip_clients import Listener, Publisher
from tests.until import until
from tolmach.web.sessions.ids import new_id, server_of


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Two servers with a place each; the port that both listen on."""
    found, logs = free_port("127.0.0.2"), tmp_path_factory.mktemp("logs")
    processes = []
    with ExitStack() as stack:
        for name, address in SERVERS.items():
            options = ["--server-id", name, "--host", address, "--port", str(found)]
            options += ["--max-sessions", "1", "--offers-per-minute", "600"]
            log = stack.enter_context((logs / name).open("w"))
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tolmach", "serve", "echo", *options],
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            )
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert "listens on" in process.stdout.readline()
        yield found


PROXIES = {"nginx": "nginx", "cluster": "nginx", "caddy": "caddy"}
"""What is tried, and the program that it takes."""


@pytest.fixture(params=PROXIES)
async def http(request: pytest.FixtureRequest, port: int, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of both servers, through a proxy."""
    if not shutil.which(PROXIES[request.param]):
        pytest.skip(f"{PROXIES[request.param]} is not installed")
    async with httpx.AsyncClient() as direct:
        for address in SERVERS.values():  # also after another proxy's test
            await answered(direct, f"http://{address}:{port}/readyz?place=1")
    listen = free_port()
    async with (
        _proxy(request.param, port, listen, tmp_path),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{listen}", timeout=20) as client,
    ):
        await answered(client, "/readyz?place=1")
        yield client


@asynccontextmanager
async def _proxy(name: str, port: int, listen: int, here: Path) -> AsyncIterator[None]:
    if name == "cluster":
        async with nginx_of_the_cluster(port, listen, here):
            yield
    else:
        with {"nginx": nginx_with_names, "caddy": caddy}[name](port, listen, here):
            yield


async def answered(http: httpx.AsyncClient, url: str, status: int = 200) -> None:
    """Ask until this is the answer, for at most a minute."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).status_code == status:
                    return
            await asyncio.sleep(0.1)


async def joined(http: httpx.AsyncClient) -> ServedPeer:
    """A peer in a session of whichever server has a place; a proxy may learn of one a moment late."""
    peer = ServedPeer(babble(60), SimpleNamespace(http=http))  # type: ignore[arg-type]
    for _ in range(100):
        answer = await peer.offer({"graph": "echo"})
        if answer.status_code != 503:
            break
        await asyncio.sleep(0.1)
    assert answer.status_code == 201, answer.text
    await peer.connect(answer)
    assert not (await peer.until("session"))["resumed"]
    return peer


async def sessions_of(port: int, name: str) -> float:
    """How many sessions a server has, as it says itself."""
    async with httpx.AsyncClient() as direct:
        text = (await direct.get(f"http://{SERVERS[name]}:{port}/metrics")).text
    return float(re.findall(r"^tolmach_sessions (\S+)$", text, re.MULTILINE)[0])


async def test_every_request_reaches_the_server_that_has_the_session(http: httpx.AsyncClient, port: int) -> None:
    peers: list[ServedPeer] = []
    try:
        peers += [await joined(http), await joined(http)]
        assert {server_of(peer.session) for peer in peers} == set(SERVERS), "each has one place"
        assert [await sessions_of(port, name) for name in SERVERS] == [1, 1]

        # The third is told so by a server, in its words, and can load the page.
        full = await peers[0].offer({"graph": "echo"})
        assert (full.status_code, full.json()["error"]["code"]) == (503, "busy")
        assert (await http.get("/")).status_code == 200

        for peer in tuple(peers):
            await peer.hear(10)
            assert (await http.get(peer.url)).json()["session"] == peer.session
            candidate = next(line[2:] for line in peer.pc.localDescription.sdp.splitlines() if "a=candidate" in line)
            trickled = await http.patch(peer.url, json={"candidates": [{"candidate": candidate, "sdpMid": "0"}]})
            assert trickled.status_code == 204, trickled.text
            assert (await http.put(f"{peer.url}/graph", json={"graph": "echo"})).status_code == 202

            again = ServedPeer(babble(60), SimpleNamespace(http=http))  # type: ignore[arg-type]
            peers.append(again)
            await again.connect(await again.offer({}, resume=peer.session))
            assert again.session == peer.session
            assert (await again.until("session"))["resumed"]
            assert (await http.delete(again.url)).status_code == 204
            assert (await http.get(f"{again.url}/subtitles.srt")).status_code == 200
            assert (await http.get(f"{again.url}/dub.wav")).content[:4] == b"RIFF"
        assert [await sessions_of(port, name) for name in SERVERS] == [0, 0]
    finally:
        for peer in peers:
            await asyncio.wait_for(peer.close(), 20)


async def test_a_websocket_is_resumed_where_its_session_is(http: httpx.AsyncClient) -> None:
    address = str(http.base_url).replace("http", "ws", 1) + "/ws/translate"
    hello = json.dumps({"v": 1, "type": "hello", "graph": "echo"})
    async with websockets.connect(address) as socket:
        await socket.send(hello)
        begun = await said(socket)
        await socket.send(bytes(2 * 960))
    for _ in range(2):
        async with websockets.connect(f"{address}?resume={begun['session']}") as socket:
            await socket.send(hello)
            again = await said(socket)
            assert (again["session"], again["resumed"]) == (begun["session"], True)
            await socket.send(bytes(2 * 960))
    assert (await http.delete(f"/api/sessions/{begun['session']}")).status_code == 204


async def said(socket: websockets.ClientConnection) -> dict[str, Any]:
    """The first message, which tells of the session."""
    async with asyncio.timeout(20):
        message: dict[str, Any] = json.loads(await socket.recv())
    assert message["type"] == "session", message
    return message


async def test_listeners_find_a_stream_wherever_it_is(http: httpx.AsyncClient, request: pytest.FixtureRequest) -> None:
    publisher = Publisher(http, babble(60))
    listeners = [Listener(http) for _ in range(3)]
    try:
        answered = await publisher.begin("/whip/echo?stream=talk")
        by_id = answered.headers["Link"].split(">")[0].removeprefix("<")
        by_name = "/whep/talk" if "caddy" not in request.node.name else by_id  # Caddy asks one server alone
        for listener in listeners:
            assert server_of((await listener.begin(by_name)).headers["Location"].rpartition("/")[2])
        await until(lambda: all(listener.loud > 10 for listener in listeners))
        assert (await http.delete(listeners[0].resource)).status_code == 200
        assert (await http.delete(publisher.resource)).status_code == 200
    finally:
        for endpoint in (publisher, *listeners):
            await endpoint.pc.close()


async def test_what_is_nowhere_is_said_to_be_so(http: httpx.AsyncClient) -> None:
    for name in (*SERVERS, "gone"):
        answer = await http.get(f"/api/sessions/{new_id(name)}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not-found"), name
    assert (await http.get("/metrics")).status_code == 404, "figures are each server's own"


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
async def test_what_the_proxy_says_itself_it_says_as_a_server_would(tmp_path: Path) -> None:
    listen = free_port()
    asking = {"rate=50r/s": "rate=1r/s", "burst=300": "burst=5"}
    with nginx_with_names(free_port("127.0.0.2"), listen, tmp_path, asking):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listen}") as http:
            await answered(http, "/static/app.js", 503)
            for path in ("/api/config", f"/api/sessions/{new_id('tolmach-0')}", "/v1/audio/translations"):
                answer = await http.get(path)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
                assert answer.json()["error"]["code"] == "busy", "the page comes again"
            answers = [await http.get("/api/config") for _ in range(8)]
            assert [answer.status_code for answer in answers][-2:] == [429, 429]
            assert answers[-1].json()["error"]["code"] == "too-many-requests"
            assert (await http.get("/static/app.js")).status_code == 503, "no limit for the page's files"
