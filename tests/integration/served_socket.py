"""A server that listens, in this process and event loop: for clients that bring a network of their own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvicorn.server import ServerState

from tests.until import no_task_left, until
from tolmach.web.app import make_app
from tolmach.web.server import make_config, make_door
from tolmach.web.service import Service
from tolmach.web.settings import ServerSettings


@dataclass
class Listening:
    """A server and where it is."""

    service: Service
    port: int

    @property
    def http(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """Its address for WebSockets."""
        return f"ws://127.0.0.1:{self.port}"


@asynccontextmanager
async def listening(graphs: Path, *, ready: bool = True, **settings: Any) -> AsyncIterator[Listening]:
    """A server over a graph file or folder; afterwards nothing may be left."""
    async with no_task_left():
        told = ServerSettings(graphs=graphs, **{"warm": False, "port": 0, **settings})
        service = Service(told)
        await service.start()
        door = make_door(told, None)
        config = make_config(make_app(told, service))
        config.load()
        state = ServerState()
        # With its protocol, or asyncio leaves Nagle's algorithm on: 40 ms an answer.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listens:
            listens.bind(("127.0.0.1", 0))
            listens.listen()
            opened = asyncio.create_task(door.open(listens, config, state), name="door")
            try:
                if ready:
                    await until(lambda: bool(service.readiness()["ready"]), within_s=120)
                yield Listening(service, listens.getsockname()[1])
                await until(lambda: not len(service.pool), within_s=20)
            finally:
                opened.cancel()
                await asyncio.wait([opened])
                await service.stop()
                door.close()
                await until(lambda: not (state.tasks or len(door)))
