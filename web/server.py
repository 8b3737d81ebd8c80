"""Runs the application: uvicorn on one event loop, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from tolmach.pipelines.errors import GraphError
from tolmach.web.app import make_app
from tolmach.web.service import Service
from tolmach.web.settings import ServerSettings
from tolmach.web.tcp import Door, DoorLimits, WebSocketProtocol, raise_descriptors

__all__ = ["serve"]

log = logging.getLogger(__name__)

_BACKLOG = 128
MAX_WEBSOCKET_MESSAGE = 2**20
"""Largest message of a WebSocket, bytes: ten seconds of 48 kHz audio."""
_LAST_ANSWERS_S = 5
"""How long answers under way may take when everything else has ended; a download that is still going is cut then."""


def serve(settings: ServerSettings) -> int:
    """Serve until the process is told to stop (SIGINT, SIGTERM); returns the exit status.

    Raises:
        GraphError: If the address cannot be bound, or no graph can be used.
    """
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    descriptors = raise_descriptors()
    listening = _bind(settings)
    with listening, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_main(settings, listening, descriptors))
    return 0


async def _main(settings: ServerSettings, listening: socket.socket, descriptors: int | None) -> None:
    service = Service(settings)
    await service.start()
    door = make_door(settings, descriptors)
    opened: asyncio.Task[None] | None = None
    try:
        config = make_config(make_app(settings, service))
        config.load()
        server = _Server(config, service)
        opened = server.opened = asyncio.create_task(door.open(listening, config, server.server_state), name="door")
        print(f"Tolmach listens on {settings.url(listening.getsockname()[1])}", flush=True)
        await server.serve(sockets=[])  # the door has them
    finally:
        if opened is not None:
            opened.cancel()
        door.close()
        await service.stop()


def make_config(app: FastAPI) -> uvicorn.Config:
    """How uvicorn is to serve an application."""
    return uvicorn.Config(
        app,
        http="h11",
        ws=WebSocketProtocol,
        ws_max_size=MAX_WEBSOCKET_MESSAGE,
        ws_per_message_deflate=False,  # audio does not shrink, and a small message can unfold to a large one
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
        h11_max_incomplete_event_size=65_536,
        # What a proxy says of a client's address is believed of nobody: limits go by it.
        proxy_headers=False,
    )


def make_door(settings: ServerSettings, descriptors: int | None) -> Door:
    """The door of a server.

    Args:
        settings: What the server was told.
        descriptors: File descriptors it may have; half of them are for connections, the others for sessions and files.
    """
    most = settings.max_connections if descriptors is None else min(settings.max_connections, descriptors // 2)
    tls = None
    if settings.tls_cert is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(settings.tls_cert, settings.tls_key)
        tls.set_alpn_protocols(["http/1.1"])
    return Door(
        DoorLimits(
            most=most,
            most_per_address=max(1, most // 2),
            headers_s=settings.headers_s,
            body_s=settings.body_s,
        ),
        tls,
    )


class _Server(uvicorn.Server):
    """Lets sessions finish before it closes its doors."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._draining: asyncio.Task[None] | None = None
        self._asked = False
        self.opened: asyncio.Task[None] | None = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in any more, and those who are there finish."""
        if self.opened is not None:
            self.opened.cancel()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT, SIGTERM: the first one drains, the second one ends at once."""
        if self._asked:
            super().handle_exit(sig, frame)
            self.force_exit = True
            return
        self._asked = True
        sessions = len(self._service.pool)
        under_way = f"{sessions} {'session' if sessions == 1 else 'sessions'} to finish" if sessions else "the end"
        print(f"Tolmach is stopping, waiting for {under_way}; again to end now", flush=True)
        self._loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        self._draining = asyncio.create_task(self._drain(), name="drain")

    async def _drain(self) -> None:
        # Meanwhile the API answers, so that new clients are told why they are refused and health checks see it.
        try:
            await self._service.drain()
        finally:
            self.should_exit = True


def _bind(settings: ServerSettings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise GraphError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}; "
            "another program may use it: choose another one with --port"
        ) from error
    return listening


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows has none
        return None
    return uvloop.new_event_loop
