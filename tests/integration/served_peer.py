"""A peer that calls a server over its API, in one process: real HTTP semantics and WebRTC, no sockets for HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from aiortc import RTCSessionDescription
from fastapi import FastAPI

from tests.integration.webrtc_peer import Peer
from tests.until import no_task_left, until
from tolmach.pipelines.frames import Samples
from tolmach.web.app import make_app
from tolmach.web.service import Service
from tolmach.web.settings import ServerSettings


class Client:
    """A server and an HTTP client of it."""

    def __init__(self, service: Service, http: httpx.AsyncClient, app: FastAPI) -> None:
        self.service = service
        self.http = http
        self.app = app
        self.peers: list[ServedPeer] = []

    def peer(self, signal: Samples) -> ServedPeer:
        """A peer that has not called yet."""
        peer = ServedPeer(signal, self)
        self.peers.append(peer)
        return peer

    async def call(self, signal: Samples, graph: str = "echo", **body: Any) -> ServedPeer:
        """A peer in a session; ``body`` goes into the request."""
        peer = self.peer(signal)
        await peer.join({"graph": graph, **body})
        return peer

    async def error(self, method: str, path: str, status: int, **request: Any) -> Mapping[str, Any]:
        """The error object of a request that must be refused with this status."""
        response = await self.http.request(method, path, **request)
        assert response.status_code == status, response.text
        error: Mapping[str, Any] = response.json()["error"]
        return error


class ServedPeer(Peer):
    """A peer whose signalling is HTTP."""

    def __init__(self, signal: Samples, client: Client) -> None:
        super().__init__(signal)
        self.session = ""
        self.opening: Mapping[str, Any] = {}
        self._client = client

    async def join(self, body: Mapping[str, Any]) -> None:
        """Post the offer, take the answer, wait until the data channel is open."""
        answer = await self.offer(body)
        assert answer.status_code == 201, answer.text
        await self.connect(answer)
        self.opening = await self.until("session")

    async def offer(self, body: Mapping[str, Any], **query: str) -> httpx.Response:
        """Post the offer; the server's answer."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        whole = {**body, "sdp": self.pc.localDescription.sdp}
        return await self._client.http.post("/api/sessions", json=whole, params=query)

    async def connect(self, answer: httpx.Response) -> None:
        """Take the answer, which is all that is needed to connect."""
        self.session = answer.json()["session"]
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=answer.json()["sdp"], type="answer"))
        self.leak()

    async def until(self, kind: str, wanted: Callable[[Mapping[str, Any]], bool] = lambda m: True) -> Mapping[str, Any]:
        """The next message of this kind that is wanted, within 30 s; others are passed over."""
        async with asyncio.timeout(30):
            while True:
                message = await self.said.get()
                if message["type"] == kind and wanted(message):
                    return message

    @property
    def url(self) -> str:
        """Path of its session."""
        return f"/api/sessions/{self.session}"


@asynccontextmanager
async def server(graphs: Path, *, ready: bool = True, **settings: Any) -> AsyncIterator[Client]:
    """A server over a folder of graphs, ``ready`` unless that is not waited for; afterwards nothing may be left."""
    async with no_task_left():
        told = ServerSettings(graphs=graphs, **{"warm": False, **settings})
        service = Service(told)
        await service.start()
        app = make_app(told, service)
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
            client = Client(service, http, app)
            try:
                if ready:
                    await until(lambda: service.readiness()["ready"], within_s=120)
                yield client
            finally:
                for peer in client.peers:
                    await peer.close()
                await service.stop()
