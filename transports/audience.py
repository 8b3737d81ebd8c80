"""Those who only listen: any number of peers that hear one sender, and are told what is said there.

An :class:`Audience` belongs to one output: a session's translation, a language of a room. Its listeners are peers of
any protocol, come and go as they like, and hear and read the same at the same time. :class:`Seats` bounds how many
there are of all audiences of a server: like a session's place, a seat belongs to whoever is connected, and offers that
nobody follows up keep nobody out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tolmach.pipelines.errors import TolmachError
from tolmach.transports.peer import OnPeer, Peer, first_of
from tolmach.transports.webrtc.outgoing.broadcast import Broadcast
from tolmach.transports.webrtc.outgoing.sender import Sender

__all__ = ["Audience", "AudienceFull", "Seats"]

log = logging.getLogger(__name__)

MAX_LISTENERS = 64
"""Where nobody says otherwise; docs/BENCHMARKS.md has what one costs."""


class AudienceFull(TolmachError):  # noqa: N818 -- a state, as SenderClosed is
    """All seats are taken."""


class Seats:
    """Places for those who listen.

    Args:
        most: Connected listeners at a time.
    """

    def __init__(self, most: int = MAX_LISTENERS) -> None:
        self.most = most
        self._waiting: dict[Peer, str] = {}  # in the order in which they came; whose they are
        self._seated: set[Peer] = set()

    @property
    def taken(self) -> int:
        """How many are connected."""
        return len(self._seated)

    def require_one(self) -> None:
        """Ask whether a seat is free. Raises AudienceFull."""
        if len(self._seated) >= self.most:
            raise AudienceFull(f"all {self.most} places for listeners are taken; try again when somebody has left")

    def wait(self, peer: Peer, address: str) -> None:
        """Let a peer wait beside the seats until it is connected.

        Raises:
            AudienceFull: If no seat is free.
        """
        self.require_one()
        if len(self._waiting) >= 4 + self.most // 2:
            # As in the pool of sessions: those of the address that has most of them waiting are let go first.
            of_address = Counter(self._waiting.values())
            most = max(of_address.values())
            oldest = next(peer for peer, whose in self._waiting.items() if of_address[whose] == most)
            oldest.hang_up("it did not connect, and others wait for their turn")
        self._waiting[peer] = address

    def sit(self, peer: Peer) -> None:
        """Give a seat to a peer that is connected now.

        Raises:
            AudienceFull: If others have taken the last one meanwhile.
        """
        self.require_one()
        self._waiting.pop(peer, None)
        self._seated.add(peer)

    def leave(self, peer: Peer) -> None:
        """Give the place back. Safe twice."""
        self._waiting.pop(peer, None)
        self._seated.discard(peer)


class Audience:
    """The listeners of one sender. Make it inside the event loop; it plays from then on. :meth:`close` it.

    Args:
        sender: What they hear; nobody else may read it meanwhile.
        seats: The places they take; by default places of its own.

    Attributes:
        broadcast: Gives the packets.
        on_open: Called for each listener that can be told something, to tell it where it is.
    """

    def __init__(self, sender: Sender, seats: Seats | None = None) -> None:
        self.broadcast = Broadcast(sender)
        self.broadcast.start()
        self.on_open: OnPeer | None = None
        self._seats = seats if seats is not None else Seats()
        self._peers: set[Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # one for each, until it is released
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is to be heard."""
        return self._closed

    @property
    def listening(self) -> int:
        """How many are connected."""
        return sum(peer.connected.is_set() for peer in self._peers)

    def seat(self, peer: Peer, address: str = "") -> None:
        """Let a peer listen; it is hung up on when the audience is closed. Before it answers an offer.

        Args:
            peer: The listener. If it cannot be used after all, :meth:`Peer.hang_up` is all that is needed.
            address: Whose it is, for the order in which those who do not connect are let go.

        Raises:
            AudienceFull: If there is no seat, or the audience is closed.
        """
        if self._closed:
            raise AudienceFull("what was to be heard has ended")
        self._seats.wait(peer, address)
        self._peers.add(peer)
        task = asyncio.create_task(self._attend(peer), name="listener")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        peer.seated(self.broadcast, self._opened, self._gone)

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> None:
        """Tell everybody who can be told; see :meth:`Peer.tell`. One who is far behind delays nobody else."""
        for peer in tuple(self._peers):  # whoever takes nothing is hung up on while we tell
            if peer.opened.is_set():
                peer.tell(kind, fields, ephemeral=ephemeral)

    def hang_up(self, reason: str) -> None:
        """Begin to send everybody away, and let nobody else in. Safe twice."""
        self._closed = True
        for peer in tuple(self._peers):
            peer.hang_up(reason)
        self.broadcast.close()

    async def close(self, reason: str = "closed by the server") -> None:
        """Send everybody away; returns when everything is released. Safe twice."""
        self.hang_up(reason)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.broadcast.ended()

    def stats(self) -> dict[str, int | float]:
        """Counters and the present state."""
        return {**self.broadcast.stats(), "listeners": self.listening}

    async def _attend(self, peer: Peer) -> None:
        """Look after a listener until it is released; send it away if there is no room when it is connected."""
        await first_of(peer.connected, peer.closed)
        if not peer.closed.is_set():
            try:
                self._seats.sit(peer)
            except AudienceFull as full:
                peer.hang_up(str(full))
        await peer.closed.wait()
        await peer.close()

    def _opened(self, peer: Peer) -> None:
        if self.on_open is not None:
            self.on_open(peer)

    def _gone(self, peer: Peer) -> None:
        self._seats.leave(peer)
        self._peers.discard(peer)
