"""What stands behind the routes: the graphs, the sessions, models to warm, the figures; begun and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeVar

from tolmach.pipelines.bus import Bus, InfoMessage, LoadingMessage, Message
from tolmach.pipelines.cli.main import distribution_version
from tolmach.pipelines.errors import GraphError, TolmachError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.processors.hosting import HOSTS
from tolmach.transports.audience import Seats
from tolmach.transports.peer import Peer
from tolmach.transports.webrtc.aiortc_hooks import preload_libraries
from tolmach.transports.webrtc.connection import ConnectionSettings
from tolmach.transports.webrtc.session_line import Line, line_resource
from tolmach.transports.webrtc.signalling.ice_agent import ice_servers_json
from tolmach.transports.webrtc.signalling.sdp import SignallingError
from tolmach.web.catalogue.catalogue import GraphCatalogue
from tolmach.web.catalogue.seats import SeatPlan, require_session_graph
from tolmach.web.errors import ApiError, without_paths
from tolmach.web.event_loop import Garbage, LoopLag
from tolmach.web.metrics import Metrics, Places, Snapshot
from tolmach.web.security import OfferLimiter
from tolmach.web.sessions.pool import Limits, SessionPool
from tolmach.web.sessions.run import Choice
from tolmach.web.sessions.session import Session, Terms
from tolmach.web.settings import DOORS, ServerSettings
from tolmach.web.streams import Streams
from tolmach.web.voices import Voices

__all__ = ["Part", "Service", "Warmer"]

Arrived = TypeVar("Arrived")

log = logging.getLogger(__name__)

RETRY_S, MAX_RETRY_S = 30.0, 600.0
"""When what has failed is tried again; the time doubles. A model that was fetched meanwhile is found so also where no
session can begin, because an orchestrator sends nobody to a server that is not ready."""


class Warmer:
    """Runs each graph once on a line without a client: its elements start, each model answers once, and they end.

    Models stay loaded.

    Args:
        catalogue: Has the graphs.
        on_loaded: Takes the name of each that could be loaded.

    Attributes:
        loading: What is being loaded, for people.
        done: Set when everything was tried.
    """

    def __init__(self, catalogue: GraphCatalogue, on_loaded: Callable[[str], None]) -> None:
        self.loading: list[str] = []
        self._failed: dict[str, str] = {}  # by graph
        self.done = asyncio.Event()
        self._catalogue = catalogue
        self._on_loaded = on_loaded

    async def run(self, graphs: list[str]) -> None:
        """Warm these graphs, by name; those that fail are tried again later, and when a graph file has changed.

        Cancelled by: the server's end.
        """
        for name in graphs:
            await self._try(name)
        self.loading = []
        self.done.set()
        wait_s = RETRY_S
        while self._failed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._catalogue.wait_changed(self._catalogue.revision)
            wait_s = min(2 * wait_s, MAX_RETRY_S)
            for name in tuple(self._failed):
                await self._try(name)
            self.loading = []

    @property
    def ready(self) -> bool:
        """Whether everything is loaded."""
        return self.done.is_set() and not self._failed

    @property
    def failed(self) -> list[str]:
        """What could not be loaded, and why, in words for anybody: without paths of this machine."""
        return [without_paths(f"{name}: {reason}") for name, reason in self._failed.items()]

    def loaded(self, name: str) -> None:
        """A graph has started in a session: what it needs is there by now."""
        self._failed.pop(name, None)

    async def _try(self, name: str) -> None:
        self.loading = [f"graph {name}"]
        try:
            await self._warm(name)
        except ApiError:
            self._failed.pop(name, None)  # its file is gone
        except TolmachError as error:
            self._failed[name] = str(error)
            log.warning("graph %s cannot be used yet: %s", name, error)
        except Exception:
            self._failed[name] = "something went wrong; the log says what"
            log.exception("graph %s could not be warmed", name)
        else:
            self._failed.pop(name, None)

    async def _warm(self, name: str) -> None:
        graph = await self._catalogue.load(name, {}, {})
        lines = {line_resource(seat): Line() for seat in SeatPlan(graph).seats}
        bus = Bus()
        bus.subscribe(self._note)
        runner = GraphRunner(graph, bus=bus, warm=True, resources=lines)
        runner.finish()
        try:
            result = await runner.run()
        finally:
            for line in lines.values():
                await line.close()
        if result.error is not None:
            raise result.error
        self._on_loaded(name)

    def _note(self, message: Message) -> None:
        if isinstance(message, InfoMessage | LoadingMessage):
            self.loading = [without_paths(message.text)]


log = logging.getLogger(__name__)


class Part(Protocol):
    """What a door keeps beside the sessions of the pool, and what has to end with the server."""

    async def drain(self, within_s: float, linger_s: float = 0.0) -> None:
        """Take nothing new; let what there is go on for ``linger_s``, then end it gracefully within ``within_s``."""

    async def stop(self) -> None:
        """End everything at once. Safe twice, and without :meth:`drain`."""

    def snapshots(self) -> Iterator[Snapshot]:
        """What runs there now has counted so far."""


class Service:
    """One server's parts; make it inside the event loop.

    Args:
        settings: What the server was told.

    Attributes:
        seats: The places of those who only listen, in whichever session or room.
        parts: What doors have added.
        streams: What they can listen to.
        connection: How WebRTC connections are made here.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.parts: list[Part] = []
        self.catalogue = GraphCatalogue(
            settings.graphs,
            default=settings.default_graph,
            trust_params=settings.trust_params,
            rooms="rooms" not in settings.without,
        )
        self.metrics = Metrics(
            self._snapshots,
            sessions=lambda: len(self.pool),
            places=self._places,
            listeners=lambda: self.seats.taken,
            hosts=HOSTS.figures,
            loop_lag_s=lambda: self.loop_lag.max_s,
        )
        self.seats = Seats(settings.max_listeners)
        self.loop_lag = LoopLag(self.metrics.lag)
        self.voices = Voices()
        self._garbage = Garbage()
        self._ice = settings.ice()
        self.connection = ConnectionSettings(self._ice.ice_servers, self._ice.udp_ports, self._ice.advertised_addresses)
        self.streams = Streams()
        self.pool = SessionPool(
            Limits(
                max_sessions=settings.max_sessions,
                max_per_address=settings.max_sessions_per_address,
                keep_ended_s=settings.keep_ended_s,
                max_kept=settings.max_kept,
            ),
            Terms(
                connection=self.connection,
                max_s=settings.max_session_s,
                idle_s=settings.idle_s,
                resume_s=settings.resume_s,
                loop_lag_ms=lambda: self.loop_lag.max_ms,
                on_first_audio=self.metrics.first_audio,
                on_voice_lag=self.metrics.voice_lag,
                on_loaded=self._loaded,
                on_run_over=lambda run: self.metrics.retire(run.snapshot()),
            ),
            on_ended=self._session_ended,
            server=settings.server_id,
        )
        self._offers = OfferLimiter(settings.offers_per_minute)
        self._warmer = Warmer(self.catalogue, self._garbage.loaded)
        self._warming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the graphs, begin to load models. Raises GraphError if no graph can be used."""
        await self.catalogue.start()
        await preload_libraries()
        self.loop_lag.start()
        default = self.catalogue.default
        graphs = [default] if self.settings.warm and default is not None else []
        self._warming = asyncio.create_task(self._warmer.run(graphs), name="warm")

    async def drain(self) -> None:
        """No new sessions; end those there are after ``linger_s``, gracefully as far as ``drain_s`` goes."""
        within_s, linger_s = self.settings.drain_s, self.settings.linger_s
        parts: list[SessionPool | Part] = [self.pool, *self.parts]
        await asyncio.gather(*(part.drain(within_s, linger_s) for part in parts))

    async def stop(self) -> None:
        """End everything at once. Safe twice."""
        await self.pool.drain(0)
        for part in self.parts:
            await part.stop()
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])
        await self.voices.stop()
        self._garbage.stop()
        await self.loop_lag.stop()
        await self.catalogue.stop()

    # Sessions -----------------------------------------------------------------------------------------------------

    def count_offer(self, address: str) -> None:
        """Count an offer of an address. Raises ApiError 429 when they come too fast."""
        self._offers.take(address)

    async def begin(self, address: str, offer: str, choice: Choice) -> tuple[Session, str]:
        """A new session and the answer to its offer.

        Raises:
            ApiError: If it may not begin, or there is no such graph.
            GraphError: If the graph, a param or a setting is wrong.
            SignallingError: If the offer cannot be used.
        """
        return await self._begin(address, choice, lambda session: session.call(offer))

    async def join(self, address: str, peer: Peer, choice: Choice) -> Session:
        """A new session for a peer that has come by a door of its own (:mod:`tolmach.web.doors`).

        The peer counts as there when its ``connected`` is set. Raises as :meth:`begin`; the peer is the caller's to
        close then.
        """

        async def arrive(session: Session) -> None:
            session.join(peer)

        session, _ = await self._begin(address, choice, arrive)
        return session

    async def bring(
        self, address: str, choice: Choice, arrive: Callable[[Session], Awaitable[Arrived]]
    ) -> tuple[Session, Arrived]:
        """A new session, to which a door brings its client by itself. Raises as :meth:`begin`, and as ``arrive``."""
        return await self._begin(address, choice, arrive)

    async def _begin(
        self, address: str, choice: Choice, arrive: Callable[[Session], Awaitable[Arrived]]
    ) -> tuple[Session, Arrived]:
        try:
            self.count_offer(address)
            self.pool.admit(address)
            session_id = self.pool.new_id()
            graph = await self._load(choice)
            return await self.pool.open(address, choice, graph, session_id, arrive)
        except (ApiError, GraphError, SignallingError):
            self.metrics.session_ended("refused")
            raise

    async def resume(self, address: str, session_id: str, offer: str, choice: Choice | None) -> tuple[Session, str]:
        """A session on another connection, with the graph it had or another one. Raises as :meth:`begin`."""
        self.count_offer(address)
        self.pool.require_open()
        session = self.pool.find(session_id)
        choice = choice or session.choice
        if choice is None:
            raise ApiError(409, "conflict", "the session has no graph yet; begin another one")
        return session, await self._bring_back(session, choice, lambda session: session.call(offer))

    async def bring_back(
        self, address: str, session: Session, choice: Choice, arrive: Callable[[Session], Awaitable[Arrived]]
    ) -> Arrived:
        """Let a door bring a client back to a session by itself. Raises as :meth:`bring`."""
        self.count_offer(address)
        self.pool.require_open()
        return await self._bring_back(session, choice, arrive)

    async def _bring_back(
        self, session: Session, choice: Choice, arrive: Callable[[Session], Awaitable[Arrived]]
    ) -> Arrived:
        graph = await self._load(choice)
        self.pool.require_open()
        answer = await arrive(session)
        session.play(choice, graph)
        return answer

    async def rejoin(self, address: str, session_id: str, peer: Peer, choice: Choice | None) -> Session:
        """A session on a peer of another door, as :meth:`resume` is one on another connection; raises likewise."""
        self.count_offer(address)
        self.pool.require_open()
        session = self.pool.find(session_id)
        choice = choice or session.choice
        if choice is None:
            raise ApiError(409, "conflict", "the session has no graph yet; begin another one")

        async def arrive(session: Session) -> None:
            session.join(peer)

        await self._bring_back(session, choice, arrive)
        return session

    async def switch(self, session: Session, choice: Choice, *, at_once: bool = False) -> None:
        """Give a session another graph, or other settings, at the next pause; for ``at_once`` see :meth:`Session.play`.

        Raises as :meth:`begin`.
        """
        self.pool.require_open()
        try:
            graph = await self._load(choice)
            self.pool.require_open()
            session.play(choice, graph, at_once=at_once)
        except (ApiError, GraphError) as error:
            # What a client has asked for is not in the log: it may be anything.
            log.info("session %s: a switch is refused (%s)", session.short, type(error).__name__)
            raise

    async def _load(self, choice: Choice) -> Graph:
        """The graph for a session; one for a room is refused."""
        graph = await self.catalogue.load(choice.graph, choice.params, choice.settings)
        require_session_graph(graph)
        return graph

    def _loaded(self, graph: str) -> None:
        self._garbage.loaded(graph)
        self._warmer.loaded(graph)

    def _session_ended(self, session: Session) -> None:
        self.metrics.session_ended(session.outcome)
        line = next(session.snapshots())  # its graphs have been counted when they ended
        self.metrics.retire(line)
        self._garbage.session_ended()

    def _snapshots(self) -> Iterator[Snapshot]:
        for session in self.pool:
            yield from session.snapshots()
        for part in self.parts:
            yield from part.snapshots()

    # State --------------------------------------------------------------------------------------------------------

    def _places(self) -> Places:
        return Places(
            self.settings.max_sessions,
            self.pool.places_free,
            ready=self._warmer.ready and not self.pool.draining,
            draining=self.pool.draining,
        )

    def readiness(self) -> dict[str, Any]:
        """The answer to ``GET /readyz``."""
        failed, ready = self._warmer.failed, self._warmer.ready and not self.pool.draining
        words = {
            "ready": "",
            "failed": "; ".join(failed),
            "loading": "the server is stopping" if self.pool.draining else ", ".join(self._warmer.loading),
        }
        status = "ready" if ready else "failed" if failed and not self.pool.draining else "loading"
        return {
            "status": status,
            "detail": words[status],
            "ready": ready,
            "draining": self.pool.draining,
            "loading": self._warmer.loading,
            "failed": failed,
        }

    def config(self) -> dict[str, Any]:
        """The answer to ``GET /api/config``."""
        settings = self.settings
        return {
            "version": distribution_version(),
            "ice_servers": ice_servers_json(self._ice.ice_servers),
            "limits": {
                **self.pool.as_json(),
                "max_session_s": settings.max_session_s,
                "idle_s": settings.idle_s,
                "resume_s": settings.resume_s,
            },
            "doors": [door for door in DOORS if door not in settings.without],
            **self.readiness(),
        }
