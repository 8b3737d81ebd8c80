"""ICE that can be restarted (RFC 8445, 2.4): successive agents behind the interface of one aioice connection.

aiortc makes one aioice connection for the life of a transport, and passes over a later offer with new credentials. What
it holds here instead is a :class:`RestartableIce`. A restart gathers a new agent, whose credentials and candidates are
then the ones described, while data goes on over the pair of the old one. When the new agent has nominated a pair, it
carries the data. DTLS, SRTP and SCTP above never notice.

Both ends change over within a round trip of each other, not at once; so what arrives at any agent is received, and the
old one is closed a little later. If the new agent finds no pair, the old one stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aioice import Candidate
from aioice.ice import ConnectionClosed

from tolmach.transports.webrtc.signalling.ice_agent import IceAgent, IceSettings

log = logging.getLogger(__name__)

OVERLAP_S = 2.0
"""How long a replaced pair still receives: more than any round trip that a conversation bears."""
MAX_WAITING = 512
"""Datagrams that wait to be read; ten seconds of packets. A longer stall loses the newest, as a socket does."""
MAX_SOURCES = 16
"""SSRCs of a peer. libsrtp keeps a state for each, and aiortc reports on each, though no RTCP packet has room for more
than 31 reports (RFC 3550, 6.4.1); a browser has one for its microphone."""
READ_AT_ONCE = 8
"""Datagrams read in one turn of the loop, for each may cost 0.2 ms; then the other sessions have theirs."""


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """The user name fragment and password of one end (RFC 8445, 5.3)."""

    username: str
    password: str


class RestartableIce:
    """What aiortc may take for an ``aioice.Connection``; one per peer connection, made inside the running loop.

    Args:
        settings: Where ICE may be reached.
        restart_timeout_s: How long a restart may take to nominate a pair, s.
    """

    def __init__(self, settings: IceSettings, *, restart_timeout_s: float) -> None:
        self._settings = settings
        self._restart_timeout_s = restart_timeout_s
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._read_in_turn = 0
        self._sources: set[bytes] = set()
        self._settled = asyncio.Event()
        self._over = asyncio.Event()
        self._agents: set[IceAgent] = set()
        self._carrier: IceAgent | None = None
        """Carries the data; None until a pair was nominated."""
        self._newest = self._new_agent(controlling=False)
        """Is described to the peer: the carrier, or the one that is to replace it."""

    # Restart ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def following(self, remote: IceCredentials) -> AsyncIterator[None]:
        """Answer an offer inside: if its credentials are new, ICE restarts, and checks begin when the block ends.

        A block that raises leaves everything as it was.

        Raises:
            SignallingError: If there is no free port.
            ConnectionError: If ICE has ended.
        """
        known = self._newest.remote_username, self._newest.remote_password
        if known in ((None, None), (remote.username, remote.password)):
            yield
            return
        previous = self._newest
        await self.gather_anew()
        try:
            yield
        except BaseException:
            await self._fall_back(previous)
            raise
        await self.check_anew(remote)

    async def gather_anew(self) -> None:
        """Begin a restart: describe a new agent, which has gathered its candidates. Raises as :meth:`following`."""
        if self._over.is_set():
            raise ConnectionError("ICE has ended; only a new connection helps")
        fresh = self._new_agent(controlling=self._newest.ice_controlling)
        try:
            await fresh.gather_candidates()
            if self._over.is_set():  # closed meanwhile, perhaps before the last socket was opened
                raise ConnectionError("ICE has ended; only a new connection helps")
        except BaseException:
            await self._discard(fresh)
            raise
        self._newest = fresh

    async def check_anew(self, remote: IceCredentials) -> None:
        """Go on with a restart: check pairs with the peer's new credentials. Raises as :meth:`following`."""
        if self._over.is_set():  # closed while the answer was made
            raise ConnectionError("ICE has ended; only a new connection helps")
        agent = self._newest
        agent.remote_username, agent.remote_password = remote.username, remote.password
        self._start(agent, self._restart_timeout_s)
        for stale in self._agents - {agent, self._carrier}:  # an attempt that this one overtakes
            if not stale.usable:
                await self._discard(stale)

    async def _fall_back(self, previous: IceAgent) -> None:
        fresh = self._newest
        self._newest = self._carrier if previous.closed and self._carrier is not None else previous
        await self._discard(fresh)
        self._check_end()

    # Life of the agents -------------------------------------------------------------------------------------------

    def _new_agent(self, *, controlling: bool) -> IceAgent:
        agent = IceAgent(self._settings, self._arrive, controlling=controlling)
        self._agents.add(agent)
        return agent

    def _arrive(self, data: bytes) -> None:
        if self._arrived.qsize() < MAX_WAITING and (data[0] < 128 or self._is_known_source(data)):
            self._arrived.put_nowait(data)

    def _is_known_source(self, data: bytes) -> bool:
        """Whether RTP or RTCP comes from one of the peer's first sources, for whom there is room."""
        if len(data) < 12:
            return False
        source = data[4:8] if 192 <= data[1] <= 208 else data[8:12]  # RFC 5761, 4; RFC 3550, 5.1 and 6.4
        if source not in self._sources:
            if len(self._sources) >= MAX_SOURCES:
                return False
            self._sources.add(source)
        return True

    def _start(self, agent: IceAgent, timeout_s: float | None) -> None:
        agent.task = asyncio.create_task(self._run(agent, timeout_s), name="webrtc-ice")

    async def _run(self, agent: IceAgent, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await agent.connect()
        except Exception as error:  # whatever aioice asserts of a peer's checks must not leave others waiting
            reason = f"none within {timeout_s} s" if isinstance(error, TimeoutError) else error
            log.info("ICE found no pair: %s", reason if isinstance(error, OSError) else type(error).__name__)
            if self._newest is agent and self._carrier is not None:
                self._newest = self._carrier
            await self._discard(agent)
            self._check_end()
            return
        if self._over.is_set():  # closed in the moment of success
            return
        replaces, self._carrier = self._carrier, agent
        self._settled.set()
        if replaces is not None:
            log.info("ICE restarted")
            await asyncio.sleep(OVERLAP_S)
            for stale in self._agents - {agent, self._carrier, self._newest}:
                await self._discard(stale)
        await agent.get_event()  # the only one says that it was closed
        self._check_end()

    async def _discard(self, agent: IceAgent) -> None:
        if agent.task is not None and agent.task is not asyncio.current_task():
            agent.task.cancel()
            await asyncio.wait([agent.task])
        await agent.close()
        self._agents.discard(agent)

    def _check_end(self) -> None:
        """The end has come when the newest agent is closed: nothing carries data, and nothing is tried any more."""
        if self._newest.closed:
            self._end()

    def _end(self) -> None:
        self._over.set()
        self._settled.set()
        self._arrived.put_nowait(None)

    # The interface of aioice.Connection, as aiortc uses it ----------------------------------------------------------

    @property
    def ice_controlling(self) -> bool:
        """Whether this end nominates; the role is kept through restarts (RFC 8445, 9)."""
        return self._newest.ice_controlling

    @ice_controlling.setter
    def ice_controlling(self, controlling: bool) -> None:
        self._newest.ice_controlling = controlling

    @property
    def local_username(self) -> str:
        """Of the newest agent, as all that is described."""
        return self._newest.local_username

    @property
    def local_password(self) -> str:
        """See :attr:`local_username`."""
        return self._newest.local_password

    @property
    def local_candidates(self) -> list[Candidate]:
        """See :attr:`local_username`."""
        return self._newest.local_candidates

    @property
    def remote_candidates(self) -> list[Candidate]:
        """The peer's candidates known to the newest agent."""
        return self._newest.remote_candidates

    @property
    def remote_username(self) -> str | None:
        """Set by aiortc before :meth:`connect`, and by :meth:`check_anew`."""
        return self._newest.remote_username

    @remote_username.setter
    def remote_username(self, username: str | None) -> None:
        self._newest.remote_username = username

    @property
    def remote_password(self) -> str | None:
        """See :attr:`remote_username`."""
        return self._newest.remote_password

    @remote_password.setter
    def remote_password(self, password: str | None) -> None:
        self._newest.remote_password = password

    @property
    def remote_is_lite(self) -> bool:
        """Whether the peer only answers checks (RFC 8445, 2.5)."""
        return self._newest.remote_is_lite

    @remote_is_lite.setter
    def remote_is_lite(self, lite: bool) -> None:
        self._newest.remote_is_lite = lite

    @property
    def selected_pair(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """Our and the peer's address and port of the pair that carries data; None until one was nominated."""
        return None if self._carrier is None else self._carrier.selected_pair

    @property
    def last_heard_ns(self) -> int:
        """When any of the agents last heard the peer: media, checks, answers to ours; ns on the monotonic clock."""
        return max((agent.last_heard_ns for agent in self._agents), default=0)

    async def gather_candidates(self) -> None:
        """Gather the first agent's candidates. Raises SignallingError if there is no free port."""
        await self._newest.gather_candidates()

    async def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """Take one of the peer's candidates; None says that no more come."""
        await self._newest.add_remote_candidate(candidate)

    async def connect(self) -> None:
        """Check the first agent's pairs until one is nominated, its own or that of an agent which overtook it.

        Raises:
            ConnectionError: If none can be, or it was closed meanwhile.
        """
        self._start(self._newest, None)
        await self._settled.wait()
        if self._carrier is None:
            raise ConnectionError("ICE negotiation failed")

    async def send(self, data: bytes) -> None:
        """Send a datagram. On a broken pair it is lost, like any other; the peer may be about to restart.

        Raises:
            ConnectionError: Before a pair was nominated, and after the end.
        """
        if self._carrier is None or self._over.is_set():
            raise ConnectionError("cannot send data, not connected")
        if self._carrier.usable:
            await self._carrier.send(data)

    async def recv(self) -> bytes:
        """The next datagram that arrives at any of the agents. Raises ConnectionError after the end."""
        if self._over.is_set() and self._arrived.empty():
            raise ConnectionError("ICE has ended")
        # A queue that is not empty gives without a turn of the loop.
        self._read_in_turn = 0 if self._arrived.empty() else self._read_in_turn + 1
        if self._read_in_turn > READ_AT_ONCE:
            self._read_in_turn = 0
            await asyncio.sleep(0)
        data = await self._arrived.get()
        if data is None:
            raise ConnectionError("ICE has ended")
        return data

    async def get_event(self) -> ConnectionClosed:
        """Wait for the end, the only event."""
        await self._over.wait()
        return ConnectionClosed()

    async def close(self) -> None:
        """Close all agents; safe twice."""
        self._end()
        for agent in tuple(self._agents):
            await self._discard(agent)
