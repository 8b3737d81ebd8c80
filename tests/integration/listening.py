"""A server on a real socket, in the loop of a test: models are those that other tests of the process have loaded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from tests.until import no_task_left, until
from tolmach.web.app import make_app
from tolmach.web.server import make_door
from tolmach.web.service import Service
from tolmach.web.settings import ServerSettings
from tolmach.web.tcp import WebSocketProtocol


@dataclass(frozen=True)
class Listening:
    """A server that listens.

    Attributes:
        service: What stands behind it.
        url: Its address, without a slash at the end.
    """

    service: Service
    url: str


@asynccontextmanager
async def listening(graphs: Path, *, ready: bool = False, **settings: Any) -> AsyncIterator[Listening]:
    """A server over a folder of graphs, as ``tolmach serve`` runs it; afterwards no task may be left."""
    async with no_task_left():
        told = ServerSettings(graphs=graphs, **{"warm": False, **settings})
        service = Service(told)
        await service.start()
        config = uvicorn.Config(
            make_app(told, service),
            http="h11",
            ws=WebSocketProtocol,
            log_config=None,
            server_header=False,
            lifespan="off",
            h11_max_incomplete_event_size=65_536,
            timeout_graceful_shutdown=5,
        )
        config.load()
        server = uvicorn.Server(config)
        door = make_door(told, None)
        # With its protocol, or asyncio would leave Nagle's algorithm on: 40 ms an answer.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        opened = asyncio.create_task(door.open(bound, config, server.server_state), name="door")
        try:
            if ready:
                await until(lambda: service.readiness()["ready"], within_s=120)
            yield Listening(service, f"http://127.0.0.1:{bound.getsockname()[1]}")
        finally:
            opened.cancel()
            await asyncio.wait({opened})
            bound.close()
            await service.stop()
            door.close()
            await asyncio.wait({*server.server_state.tasks, asyncio.create_task(asyncio.sleep(0))})
