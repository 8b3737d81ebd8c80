"""One session: a client on a line, the graph that runs for it now, the next one, and what was said.

::

    new ──► live ──► away ──► live …          a client that lost its connection has ``resume_s`` to come back
              │        │
              └────────┴──► ended             goodbye, time is up, failure, or the server stops

Nothing here touches another session: whatever goes wrong ends this one, in words. ``ended`` is for good: it is entered
in one step (:meth:`Session.begin_end`), and whoever has waited for something asks again afterwards whether it has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S
from tolmach.pipelines.graph import Graph
from tolmach.transports.audience import Audience, Seats
from tolmach.transports.peer import Peer, first_of
from tolmach.transports.webrtc.connection import ConnectionSettings
from tolmach.transports.webrtc.session_line import RESOURCE, Line
from tolmach.transports.webrtc.signalling.sdp import prepare_offer
from tolmach.web.errors import ApiError
from tolmach.web.metrics import Snapshot
from tolmach.web.sessions.dub import Dub
from tolmach.web.sessions.narrator import Narrator
from tolmach.web.sessions.run import Choice, Run
from tolmach.web.sessions.transcript import Numbers, Transcript
from tolmach.web.tasks import Tasks

__all__ = ["Session", "SessionState", "Terms"]

log = logging.getLogger(__name__)

SessionState = Literal["new", "live", "away", "ended"]

FLOW_S = 0.25
"""How often the page is told which elements work: an eye sees no more than that."""
STATS_EVERY = 4
"""Health is told every so many times: once a second."""
LAST_WORDS_S = 30.0
"""How long what is under way may take once the client has said goodbye; its captions are kept for the download."""
REFUSAL_S = 5.0
"""How long a client has to open its data channel, on which it is told why it cannot stay."""
PAUSE_S = 10.0
"""How long a sentence may go on when the server is asked to stop; then it is cut. Half of a longest utterance."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a session may use.

    Attributes:
        connection: How its connections are made.
        max_s: Its greatest length, s.
        idle_s: How long nobody need speak, s.
        resume_s: How long it waits for a client that lost its connection, s.
        loop_lag_ms: Tells how late the event loop is, ms.
        on_first_audio: Takes the time from the end of speech to its first translated audio, s.
        on_voice_lag: Takes how far a voice is behind the speaker, s, for each text that it begins to speak.
        on_loaded: Takes the name of a graph that has started in some session.
        on_run_over: Takes every run that is over, for its figures.
    """

    connection: ConnectionSettings
    max_s: float
    idle_s: float
    resume_s: float
    loop_lag_ms: Callable[[], float] = lambda: 0.0
    on_first_audio: Callable[[float], None] = lambda seconds: None
    on_voice_lag: Callable[[float], None] = lambda seconds: None
    on_loaded: Callable[[str], None] = lambda graph: None
    on_run_over: Callable[[Run], None] = lambda run: None


class Session:
    """A session; make it inside the event loop, :meth:`call` and :meth:`play`, and :meth:`end` it in any case.

    Args:
        session: Its id, 128 random bits: who knows it may use it.
        address: Whose it is, for limits.
        terms: What it may use.
        on_ended: Called once, when it has ended.
        on_connected: Called when a connection of it stands for the first time; returns why it cannot stay, or None.

    Attributes:
        proven: Whether a connection of it has ever stood. Before, it has cost its client nothing but an offer.
        awaited: Whether a client that vanished is waited for though it was told nothing, and so not its session's id
            either: it knows another way back.
    """

    def __init__(
        self,
        session: str,
        address: str,
        terms: Terms,
        on_ended: Callable[[Session], None],
        on_connected: Callable[[Session], str | None] = lambda session: None,
    ) -> None:
        self.id = session
        self.address = address
        self.state: SessionState = "new"
        self.proven = False
        self.awaited = False
        self.end_reason = ""
        self.outcome = "closed"
        self.started_s = time.time()
        self.ended_at: float | None = None  # monotonic, s
        self.dub = Dub()
        self.line = Line(on_open=self._opened, on_lost=self._lost)
        self._narrator = Narrator(self.line, terms.on_first_audio, terms.on_voice_lag)
        self.line.sender.listeners.append(lambda _, payload, __: self._played(payload))
        self._terms = terms
        self._on_ended = on_ended
        self._on_connected = on_connected
        self._numbers = Numbers()
        self._runs: list[Run] = []  # the one that has the microphone, then the next one; those that drain before them
        self._finishing = False
        self._ending: asyncio.Task[None] | None = None
        self._choice: Choice | None = None
        self._resumed = False
        self._calls = 0
        self._ever_opened = False
        self._tasks = Tasks(f"session {self.short}")
        self._away: asyncio.TimerHandle | None = None
        self._born_s = time.monotonic()
        self._round_trip_ms: float | None = None
        self._told_echo = "unknown"  # to the client of now
        self._tasks.spawn(self._watch(), "watch")

    # Signalling ---------------------------------------------------------------------------------------------------

    async def call(self, offer: str) -> str:
        """Answer the offer of a new connection, the first one or one that takes the place of another.

        The one that is there is hung up on when the new one has answered, and not if its offer cannot be used.

        Raises:
            SignallingError: If it cannot be used.
            ApiError: 409 if the session has ended, also while the offer was answered.
        """
        self.require_alive()
        prepared = prepare_offer(offer)  # before anything is made for it
        connection = self.line.prepare(self._terms.connection)
        connection.listen(self._said)
        try:
            answer = await connection.answer(prepared)
            self.require_alive()
        except BaseException:
            connection.hang_up("the offer could not be used")
            raise
        self._take(connection)
        self.line.attach(connection)
        return answer

    def join(self, peer: Peer) -> None:
        """Let a client of any protocol be at this session, in place of one that is there, which is hung up on.

        Raises:
            SignallingError, ApiError: 409 if the session has ended.
        """
        self.require_alive()
        peer.listen(self._said)
        self._take(peer)
        self.line.seat(peer)

    def broadcast(self, seats: Seats) -> Audience:
        """Let many hear what is spoken here, and not its own client; to be called before that comes.

        Args:
            seats: The places that listeners take.
        """
        audience = self.line.broadcast(seats)
        self._narrator.audience, audience.on_open = audience, self._narrator.catch_up
        return audience

    def _take(self, peer: Peer) -> None:
        """It is with this peer that the session goes on."""
        if self._away is not None:
            self._away.cancel()
            self._away = None
        self._resumed = self._ever_opened  # it may have been called, and never reached its client
        self._calls += 1
        self.state = "live"
        if not self.proven:
            self._tasks.spawn(self._meet(peer), "meet")

    async def _meet(self, connection: Peer) -> None:
        """Note that somebody is there in fact: who posts offers and never connects holds no place for long."""
        await first_of(connection.connected, connection.closed)
        if not connection.connected.is_set() or self.proven or self.state == "ended":
            return
        refusal = self._on_connected(self)
        self.proven = refusal is None
        if refusal is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFUSAL_S):
                    await first_of(connection.opened, connection.closed)
            self.begin_end(refusal, "refused")

    def require_alive(self) -> None:
        """Ask whether it goes on, also after each wait.

        Raises:
            ApiError: 409 if it has ended.
        """
        if self.state == "ended":
            raise ApiError(409, "conflict", f"the session has ended: {self.end_reason}")

    @property
    def transcript(self) -> Transcript:
        """What was said so far."""
        return self._narrator.transcript

    @property
    def short(self) -> str:
        """Enough of the id to tell sessions apart in a log, and too little to use one."""
        server, dot, random = self.id.rpartition(".")
        return f"{server}{dot}{random[:6]}"

    @property
    def connection(self) -> Peer | None:
        """The connection it has now."""
        return self.line.connection

    # Graphs -------------------------------------------------------------------------------------------------------

    @property
    def choice(self) -> Choice | None:
        """What runs now, or will as soon as it has loaded."""
        return self._choice

    def play(self, choice: Choice, graph: Graph, *, at_once: bool = False) -> None:
        """Start a graph; once it is ready and nobody speaks, it takes over from the one that runs.

        One that has not taken over yet is given up.

        Args:
            choice: What it was made from.
            graph: The checked graph.
            at_once: Whether the first word that is said is for this graph already, though another one is ready: that
                one is given up if it has heard nothing yet, and is not there to fall back on.

        Raises:
            ApiError: 409 if the session has ended.
        """
        self.require_alive()
        first, later = self._runs[:1], self._runs[1:]
        for run in later or first:
            if run.state == "loading" or (run.state == "waiting" and (later or at_once)):
                run.cancel()
        resources = {RESOURCE: self.line}
        run = Run(choice, graph, resources, self._numbers.of_run(), self._narrator.heard_of, self._run_changed)
        if not self._runs:
            self._choice = choice
        self._runs.append(run)
        self._tell_run(run)
        run.start()

    def finish(self) -> None:
        """Nothing more is to be listened to: what was said is translated and heard, and then the session ends."""
        for run in self._runs:
            run.finish()

    def _run_changed(self, run: Run) -> None:
        if run.state == "waiting":
            self._terms.on_loaded(run.choice.graph)
        elif run.state == "current":
            self._choice = run.choice
            log.info("session %s: graph %s runs", self.short, run.choice.graph)
        elif run.state == "failed":
            log.warning("session %s: graph %s has failed: %s", self.short, run.choice.graph, run.error)
        if run.over:
            if run not in self._runs:  # the session has ended before it
                return
            self._runs.remove(run)
            self._terms.on_run_over(run)
        if run.state != "ended":
            self._tell_run(run)
        if run.over and not self._runs and self.line.connection is not None and not self._finishing:
            self._tasks.spawn(self._give_up(run), "give-up")

    async def _give_up(self, run: Run) -> None:
        """Nothing listens to this client any more: say why, as soon as it can be told."""
        connection = self.line.connection
        if connection is not None:
            await first_of(connection.opened, connection.closed)
        if not self._runs:  # else the client has chosen another graph meanwhile
            await self.end(run.text or "the graph has ended", "failed" if run.error is not None else "closed")

    def _tell_run(self, run: Run) -> None:
        if run.state == "waiting" and self._runs[0] is run:
            return  # for nothing but the first packet
        self._narrator.tell_run(run)

    # What the client says -----------------------------------------------------------------------------------------

    def _opened(self, connection: Peer) -> None:
        self._ever_opened = True
        self._told_echo = "unknown"
        self._narrator.greet(self.id, self._choice, resumed=self._resumed)
        self._tasks.spawn(self._narrator.replay(connection), "replay")
        if self._runs:
            self._tell_run(self._runs[-1])

    def _said(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "clear":
            self.line.sender.clear()

    def _lost(self, connection: Peer) -> None:
        if self.state == "ended":
            return
        log.info("session %s: %s", self.short, connection.close_reason)
        self._narrator.speaking = False
        if connection.said_goodbye or not (self._ever_opened or self.awaited):
            self._tasks.spawn(self._last_words(connection.close_reason, self._calls), "last-words")
        else:
            self._wait_for_client()

    def _wait_for_client(self) -> None:
        self.state = "away"
        if self._away is not None:
            self._away.cancel()
        self._away = asyncio.get_running_loop().call_later(self._terms.resume_s, self._not_come_back)

    def _not_come_back(self) -> None:
        # In the turn in which the time is up: were it to end a turn later, a client could come back in between.
        if self.state == "away":
            self.begin_end(f"the client did not come back within {self._terms.resume_s:g} s", "vanished")

    async def _last_words(self, reason: str, call: int) -> None:
        """The client is gone for good: let what it has said be translated, for the transcript.

        Args:
            reason: Why it is gone.
            call: Which of its calls that ended.
        """
        self.state = "away"
        runs = list(self._runs)
        for run in runs:
            run.finish()
        await _all_ended(runs, LAST_WORDS_S)
        if self.state == "away" and self._calls == call:  # else it came back after all
            await self.end(reason)

    # Time ---------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Tell the page what flows and how healthy the call is; end the session when its time is up."""
        beats = 0
        while self.state != "ended":
            await asyncio.sleep(FLOW_S)
            beats += 1
            if self.state == "live":
                self._narrator.tell_flow(self._runs)
            if beats % STATS_EVERY == 0:
                stats = await self.line.stats()
                self._round_trip_ms = stats["round_trip_ms"]
                self._tell_echo()
                lag_ms = round(self._terms.loop_lag_ms(), 1)
                guesses = self._runs[0].guesses() if self._runs else {}
                self._narrator.send("stats", **stats, loop_lag_ms=lag_ms, speculations=guesses, ephemeral=True)
                self._end_when_time_is_up()

    def _tell_echo(self) -> None:
        """Say what is known of our own voice in the microphone, when that has changed."""
        echo = self.line.echo()
        if self.state == "live" and echo["state"] != self._told_echo:
            self._told_echo = echo["state"]
            self._narrator.send("echo", **echo)

    def _end_when_time_is_up(self) -> None:
        now_s, terms, narrator = time.monotonic(), self._terms, self._narrator
        listens = any(run.hears_speech for run in self._runs)
        if now_s - self._born_s > terms.max_s:
            self.begin_end(f"a session lasts at most {terms.max_s / 60:g} minutes", "expired")
        elif listens and not narrator.speaking and now_s - narrator.spoke_s > terms.idle_s:
            self.begin_end(f"nobody has spoken for {terms.idle_s / 60:g} minutes", "idle")

    # End ----------------------------------------------------------------------------------------------------------

    async def drained(self, within_s: float) -> None:
        """Let every graph end gracefully; what is not done in time stays undone. The session is to be ended then.

        Whoever is in the middle of a sentence may finish it, for PAUSE_S or half the time.
        """
        self._finishing = True
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        runs = list(self._runs)
        self.line.finish_at_rest()
        for run in runs:
            if run.state == "loading":  # nobody has been heard by it, and its model may take minutes
                run.cancel()
            elif run.state == "waiting":
                run.finish()
        if within_s > 0:
            await _all_ended(runs, min(PAUSE_S, within_s / 2))
        for run in runs:
            run.finish()
        await _all_ended(runs, until_s - loop.time())

    async def end(self, reason: str, outcome: str = "closed") -> None:
        """End it now. Safe twice and from several tasks; returns when everything is released.

        Args:
            reason: For people; the client is told.
            outcome: For the figures, one of a few words.
        """
        self.begin_end(reason, outcome)
        assert self._ending is not None  # noqa: S101 -- begin_end() made it
        await asyncio.shield(self._ending)

    def begin_end(self, reason: str, outcome: str = "closed") -> None:
        """Begin to end it: it *has* ended when this returns, and what it holds is released. :meth:`end` also waits."""
        if self._ending is None:
            self.state, self.end_reason, self.outcome = "ended", reason, outcome
            self.ended_at = time.monotonic()
            log.info("session %s has ended: %s", self.short, reason)
            if self._away is not None:
                self._away.cancel()
            runs, self._runs = self._runs, []
            for run in runs:
                self._terms.on_run_over(run)
                run.cancel()
            self._on_ended(self)
            self._ending = asyncio.create_task(self._release(reason, runs), name=f"session-{self.short}-release")

    async def _release(self, reason: str, runs: Sequence[Run]) -> None:
        await self.line.close(reason)
        for run in runs:
            await run.ended()
        await self._tasks.cancel()

    # State --------------------------------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """The answer to ``GET /api/sessions/ID``."""
        choice = self._choice.as_json() if self._choice else {"graph": None, "params": {}, "settings": {}}
        return {
            "session": self.id,
            "state": self.state,
            "end_reason": self.end_reason,
            "started_s": self.started_s,
            "position_ms": self.line.position_ns // NS_PER_MS,
            "recorded_until_ms": self.dub.end_ns // NS_PER_MS if self.dub.full else None,
            "captions": self.transcript.as_json(),
            **choice,
        }

    @property
    def size(self) -> int:
        """What it keeps for downloads, bytes, about."""
        return self.dub.size + self.transcript.size

    def snapshots(self) -> Iterator[Snapshot]:
        """What it and each of its graphs have counted so far."""
        graph = self._choice.graph if self._choice else ""
        yield Snapshot(graph, self.line.receiver_stats(), self.line.sender.stats(), self._round_trip_ms)
        for run in self._runs:
            yield run.snapshot()

    def media_end_ns(self) -> int:
        """Media time at which it has arrived: what was read, or translated, last; ns.

        Never more than it has lasted: a client's time stamps may jump by hours.
        """
        last_ms = max((caption.end_ms for caption in self.transcript), default=0)
        return min(max(self.line.position_ns, last_ms * NS_PER_MS), self._lasted_ns())

    def _lasted_ns(self) -> int:
        now_s = time.monotonic() if self.ended_at is None else self.ended_at
        return round((now_s - self._born_s) * NS_PER_S)

    def _played(self, payload: bytes) -> None:
        was_full = self.dub.full
        self.dub.add(payload, min(self.line.now_ns(), self._lasted_ns()))
        if self.dub.full and not was_full:
            log.info("session %s: the recording is full", self.short)
            self._narrator.tell_recording_full(self.dub.end_ns)


async def _all_ended(runs: Sequence[Run], within_s: float) -> None:
    """Wait until they have ended, or the time is up."""
    if runs:
        await asyncio.wait([asyncio.ensure_future(run.ended()) for run in runs], timeout=max(0.0, within_s))
