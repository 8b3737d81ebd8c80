"""A line: what live graphs are attached to while connections come and go.

A session outlives what is at both its ends. A peer whose network changed comes back on another connection; a graph is
swapped for another between two sentences. The line holds what must survive: one media clock, the speech that waits to
be heard, and whose turn it is to listen and to speak::

    Connection (now this one, now that) ── Line ── Microphone ◄ webrtc_src of this graph, then of the next
                                             └──── Speaker    ◄ webrtc_sink of this graph, then of the next

Media time runs on across connections as the capture clock does: what was not received is a gap in it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, AudioFrame, Samples, samples_to_ns
from tolmach.pipelines.listener import Listener
from tolmach.transports.audience import Audience, Seats
from tolmach.transports.peer import AudioInput, OnPeer, Peer
from tolmach.transports.webrtc.connection import Connection, ConnectionSettings
from tolmach.transports.webrtc.echo.gate import PlaybackGate
from tolmach.transports.webrtc.incoming.jitter import JitterSettings
from tolmach.transports.webrtc.opus import RTP_RATE_HZ
from tolmach.transports.webrtc.outgoing.broadcast import UNHEARD
from tolmach.transports.webrtc.outgoing.sender import PacketSource, Sender
from tolmach.transports.webrtc.signalling.sdp import SignallingError

RESOURCE = "line"
"""Name under which a runner is handed the line of its session."""


def line_resource(seat: str) -> str:
    """Name under which a runner is handed the line of a seat of its room; of "", the line of its session."""
    return f"{RESOURCE}:{seat}" if seat else RESOURCE


_HISTORY_NS = 500 * NS_PER_MS
"""Silence handed to the next graph with the microphone: its detector's pre-roll (300 ms by default) and the run-in of
its filters, so that a word which begins at that moment has its first sound."""


_HUSH_NS = 20 * NS_PER_MS
_MAX_HUSH_NS = 30_000 * NS_PER_MS
"""Silence given for somebody who has left in the middle of a sentence, at most; a longest utterance is 20 s."""


class Epoch:
    """When media time began: the transit time of the first packet, ns. Lines that share one share their clock."""

    origin_ns: int | None = None


class Line(Listener):
    """The place where a session's connection and graph meet.

    Args:
        epoch: Whose media time it has; a time of its own by default.
        stays: Whether the microphone waits for the next connection when one has closed, instead of ending.
        on_open: Called when a connection's data channel is open.
        on_lost: Called when the connection has closed by itself: the peer hung up, vanished or never connected.
        clock: Monotonic clock, ns.

    Attributes:
        connection: The connection, or None between two.
        sender: What waits to be heard.
        audience: Who hears it besides; None unless :meth:`broadcast` was called.
        gate: Keeps our own voice out of the microphone.
        closed: Set when the line is given up for good.
    """

    def __init__(
        self,
        *,
        epoch: Epoch | None = None,
        stays: bool = False,
        on_open: OnPeer | None = None,
        on_lost: OnPeer | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.stays = stays
        self.sender = Sender(clock=clock)
        self.gate = PlaybackGate()
        self.sender.listeners.append(self._played)
        self.audience: Audience | None = None
        self._to_peer: PacketSource = self.sender
        self.connection: Peer | None = None
        self.closed = asyncio.Event()
        self._clock = clock
        self._on_open = on_open
        self._on_lost = on_lost
        self._jitter = JitterSettings()
        self._microphones: deque[Microphone] = deque()
        self._speakers: deque[Speaker] = deque()
        self._changed = asyncio.Event()
        self._finishing = False
        self._epoch = epoch or Epoch()
        self._offset_ns: int | None = None  # of the connection's media time; None until its first frame was read
        self._end_ns = 0
        self._undecided: deque[AudioFrame] = deque()  # in their places, as heard; of the first, the gate holds a part
        self._decided = 0  # samples of the first that were given on
        self._placed: deque[AudioFrame] = deque()  # what can be read
        self._counted: dict[str, int | float] = {}  # by the receivers of former connections

    # Connections --------------------------------------------------------------------------------------------------

    def connect(self, settings: ConnectionSettings | None = None) -> Connection:
        """A new connection on this line; one that is there already is closed.

        Raises:
            SignallingError: If the line was given up.
        """
        connection = self.prepare(settings)
        self.attach(connection)
        return connection

    def prepare(self, settings: ConnectionSettings | None = None) -> Connection:
        """A connection for this line, to answer an offer with; the one that is there stands until :meth:`attach`.

        Whoever made it closes it unless it is attached.

        Raises:
            SignallingError: If the line was given up.
        """
        self._require_open()
        return Connection(settings, sender=self._to_peer, on_open=self._on_open, on_close=self._connection_closed)

    def seat(self, peer: Peer) -> None:
        """Let a peer of any protocol be that of the line, in place of another one, which is closed.

        Raises:
            SignallingError: If the line was given up.
        """
        self._require_open()
        peer.seated(self._to_peer, self._on_open, self._connection_closed)
        self.attach(peer)

    def attach(self, connection: Peer) -> None:
        """Let a prepared connection be that of the line, in place of another one, which is closed.

        Raises:
            SignallingError: If the line was given up meanwhile.
        """
        self._require_open()
        former = self.connection
        if former is not None:
            self._keep_counts(former)
        self._offset_ns = None
        self.connection = connection
        connection.receiver.configure(self._jitter)
        if former is not None:
            former.hang_up("another connection has taken its place")
        self._notify()

    def broadcast(self, seats: Seats | None = None, *, speaker_hears: bool = False) -> Audience:
        """Let many hear what is spoken here, whoever is connected and whether anybody is; before the first connection.

        From then on speech is played, and counts as heard, at its time, with and without listeners.

        Args:
            seats: The places that listeners take.
            speaker_hears: Whether the line's own peer hears it too. If not, nothing of it can come back through the
                microphone, and no graph need gate it.

        Raises:
            SignallingError: If the line was given up.
        """
        self._require_open()
        if self.audience is None:
            self.audience = Audience(self.sender, seats)
            self._to_peer = self.audience.broadcast if speaker_hears else UNHEARD
        return self.audience

    def _require_open(self) -> None:
        if self.closed.is_set():
            raise SignallingError("this session has ended")

    def _connection_closed(self, connection: Peer) -> None:
        if connection is not self.connection:
            return
        self._keep_counts(connection)
        self.connection = None
        self._notify()
        if self._on_lost is not None:
            self._on_lost(connection)

    async def close(self, reason: str = "closed by the server") -> None:
        """Give the line up: everybody who waits on it returns, the connection is closed. Safe twice."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self._keep_counts(connection)
        self.closed.set()
        self.sender.close()
        self._notify()
        if connection is not None:
            await connection.close(reason)
        if self.audience is not None:
            await self.audience.close(reason)

    # Time ---------------------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Media time at this moment on the peer's capture clock, ns; 0 before it begins."""
        origin_ns = self._epoch.origin_ns
        if origin_ns is None:
            return 0
        if self.connection is not None and self._offset_ns is not None:
            return self.connection.receiver.media_now_ns() + self._offset_ns
        return self._clock() - origin_ns

    def waiting_ns(self) -> int:
        """How much speech waits to be heard, ns."""
        return round(self.sender.depth_ms * NS_PER_MS)

    @property
    def position_ns(self) -> int:
        """Media time up to which the microphone was read, ns."""
        return self._end_ns

    def _place(self, frame: AudioFrame, receiver: AudioInput, *, gated: bool) -> None:
        """Put a frame of the connection on the line's clock, and let what the gate has decided be read."""
        if self._epoch.origin_ns is None:
            self._epoch.origin_ns = receiver.transit_ns
        if self._offset_ns is None:
            self._offset_ns = max(receiver.transit_ns - self._epoch.origin_ns, self._end_ns)
        placed = AudioFrame(frame.samples, frame.rate_hz, frame.pts_ns + self._offset_ns)
        self._end_ns = placed.end_ns
        if not gated:
            self._let_go(is_open=True)
            self._placed.append(placed)
            return
        self._undecided.append(placed)
        self._decide(self.gate.heard(frame.samples[:, 0], receiver.transit_ns + frame.pts_ns))

    def _hush(self) -> AudioFrame:
        """The next 20 ms of silence, in place of somebody who is not there."""
        samples = np.zeros((RTP_RATE_HZ * _HUSH_NS // NS_PER_S, 1), np.float32)
        frame = AudioFrame(samples, RTP_RATE_HZ, self._end_ns)
        self._end_ns = frame.end_ns
        return frame

    def _let_go(self, *, is_open: bool) -> None:
        """Let what the gate holds be read, as heard or as silence."""
        self._decide(self.gate.flush(is_open=is_open))

    def _decide(self, settled: Samples) -> None:
        """Give on what has passed the gate, in the frames in which it was heard."""
        while len(settled):
            frame = self._undecided[0]
            first, part = self._decided, settled[: len(frame.samples) - self._decided]
            settled = settled[len(part) :]
            self._decided += len(part)
            pts_ns = frame.pts_ns + samples_to_ns(first, frame.rate_hz)
            self._placed.append(AudioFrame(part[:, None], frame.rate_hz, pts_ns))
            if self._decided == len(frame.samples):
                self._undecided.popleft()
                self._decided = 0

    @property
    def _is_gated(self) -> bool:
        on_time = self.connection is None or self.connection.plays_on_time
        return on_time and bool(self._microphones) and self._microphones[0].gated

    def _played(self, samples: Samples, payload: bytes, sent_ns: int) -> None:
        if self._is_gated:
            self.gate.played(samples, sent_ns, payload)

    # Turns --------------------------------------------------------------------------------------------------------

    def microphone(self, jitter: JitterSettings, *, gated: bool) -> Microphone:
        """A place in the queue of those who listen; the first one hears."""
        self._jitter = jitter
        if self.connection is not None:
            self.connection.receiver.configure(jitter)
        microphone = Microphone(self, gated=gated and self._to_peer is not UNHEARD)
        self._microphones.append(microphone)
        return microphone

    def speaker(self, *, cushion_ms: int) -> Speaker:
        """A place in the queue of those who speak; the first one is heard."""
        self.sender.configure(cushion_ms=cushion_ms)
        speaker = Speaker(self)
        self._speakers.append(speaker)
        return speaker

    def finish_at_rest(self) -> None:
        """Let whoever listens, now or later, end as soon as nobody is in the middle of a sentence."""
        self._finishing = True

    def _notify(self) -> None:
        # A new event each time: whoever waits is told once, whoever comes later waits for the next.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # State --------------------------------------------------------------------------------------------------------

    async def stats(self) -> dict[str, Any]:
        """Receiver, sender, gate and round trip, as the ``stats`` message carries them."""
        return {
            "receiver": self.receiver_stats(),
            "sender": self.sender.stats(),
            "gate": self.gate.state if self._is_gated else "open",
            "round_trip_ms": await self.connection.round_trip_ms() if self.connection is not None else None,
        }

    def echo(self) -> dict[str, Any]:
        """What is known of our own voice in the microphone, as the ``echo`` message carries it."""
        gate = self.gate
        if not self._is_gated:
            return {"state": "off", "delay_ms": None, "level_db": None, "reduction_db": None}
        found = {"delay_ms": gate.delay_ms, "level_db": gate.gain_db, "reduction_db": gate.reduction_db}
        return {"state": gate.echo, **{name: None if x is None else round(x, 1) for name, x in found.items()}}

    def receiver_stats(self) -> dict[str, int | float]:
        """The receiver's counters over all connections, and its present state; see :meth:`Receiver.stats`."""
        now = self.connection.receiver.stats() if self.connection is not None else {}
        return {**self._counted, **{name: value + self._counted.get(name, 0) for name, value in now.items()}}

    def _keep_counts(self, connection: Peer) -> None:
        for name, value in connection.receiver.stats().items():
            if not name.endswith("_ms"):  # those tell of the moment
                self._counted[name] = self._counted.get(name, 0) + value


class Microphone:
    """One graph's ear; made by :meth:`Line.microphone`."""

    def __init__(self, line: Line, *, gated: bool) -> None:
        self.gated = gated
        self._line = line
        self._waiting = False
        self._released = False
        self._receiver: AudioInput | None = None
        self._history: deque[AudioFrame] = deque()  # what the graph before has read last
        self._history_of_next: deque[AudioFrame] = deque()
        self._resting = True
        self._hushed_ns = 0  # of silence given since somebody left

    async def read(self) -> AudioFrame | None:
        """The next frame, mono, 48 kHz, in the line's media time; waits for the turn.

        On a line that stays, whoever leaves in the middle of a sentence is followed by silence, so that it is closed;
        then the next connection is waited for.

        Returns:
            None when there will be none: the connection is gone, the line closed, or :meth:`release` was called.

        Cancelled by: the reader.
        """
        line = self._line
        while not self._released and not line.closed.is_set():
            if line._microphones[0] is not self:
                self._waiting = True
                await line._changed.wait()
                continue
            self._waiting = False
            if self._history:
                return self._history.popleft()
            if line._placed:
                return line._placed.popleft()
            connection = line.connection
            ended = connection is None or (self._receiver is not None and self._receiver is not connection.receiver)
            if not ended and connection is not None:
                self._receiver = connection.receiver
                frame = await connection.receiver.read()
                if frame is not None:
                    self._hushed_ns = 0
                    line._place(frame, connection.receiver, gated=self.gated and connection.plays_on_time)
                elif connection.closed.is_set() or connection.receiver.ended:
                    ended = True
            if ended:
                line._let_go(is_open=False)
                if line._placed:
                    continue
                if not line.stays or self._released or line.closed.is_set():
                    return None
                if not self._resting and self._hushed_ns < _MAX_HUSH_NS:
                    self._hushed_ns += _HUSH_NS
                    await asyncio.sleep(_HUSH_NS / NS_PER_S)
                    return line._hush()
                self._receiver = None
                present = line.connection
                if present is None or present.closed.is_set() or present.receiver.ended:
                    await line._changed.wait()
        return None

    @property
    def overflowed(self) -> int:
        """Packets thrown away because nobody read in time."""
        return self._receiver.overflowed if self._receiver is not None else 0

    @property
    def wanted(self) -> bool:
        """Whether it is to be given up at the next pause: the next graph is ready and waits, or the line finishes."""
        if self._line._finishing:
            return True
        return len(self._line._microphones) > 1 and self._line._microphones[1]._waiting

    def at_rest(self, frame: AudioFrame) -> None:
        """Nobody speaks in what was read up to this frame: it may be handed to the next graph as its past."""
        self._resting = True
        history = self._history_of_next
        history.append(frame)
        while history and frame.end_ns - history[0].end_ns >= _HISTORY_NS:
            history.popleft()

    def in_speech(self) -> None:
        """What was read so far is (or may be) part of an utterance of this graph."""
        self._resting = False
        self._history_of_next.clear()

    def release(self) -> None:
        """Listen no more: a read under way gives None, and it is the next one's turn. Safe twice."""
        if self._released:
            return
        self._released = True
        microphones = self._line._microphones
        if microphones[0] is self and len(microphones) > 1:
            microphones[1]._history = self._history_of_next
        microphones.remove(self)
        if self._receiver is not None:
            self._receiver.interrupt()
        self._line._notify()


class Speaker:
    """One graph's voice; made by :meth:`Line.speaker`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._released = False

    @property
    def _has_turn(self) -> bool:
        return not self._released and self._line._speakers[0] is self

    async def turn(self) -> None:
        """Wait until the graph before this one has said everything. Returns at once when the line is closed."""
        while not (self._has_turn or self._released or self._line.closed.is_set()):
            await self._line._changed.wait()

    def write_live(self, samples: Samples) -> None:
        """Play live audio, float32[n], mono, 48 kHz; never waits: out of turn it is past before it could be heard."""
        if self._has_turn:
            self._line.sender.write_live(samples)

    async def write_utterance(self, samples: Samples) -> None:
        """Play speech, float32[n], mono, 48 kHz; waits for the turn and for room. Cancelled by: the writer."""
        await self.turn()
        if self._has_turn:  # else it was released while it waited, and another speaks
            await self._line.sender.write_utterance(samples)

    async def drain(self) -> None:
        """All is said: let the next graph speak, and wait until what this one wrote was heard."""
        await self.turn()
        sender = self._line.sender
        sender.end_utterance()
        mark = sender.written
        self.release()
        await sender.drained(mark)

    def release(self) -> None:
        """It is the next one's turn. Safe twice."""
        if not self._released:
            self._released = True
            self._line._speakers.remove(self)
            self._line._notify()

    def hang_up(self) -> None:
        """Release, and throw away what was not heard, unless :meth:`drain` has given the turn away already."""
        if self._has_turn:
            self._line.sender.clear()
        self.release()
