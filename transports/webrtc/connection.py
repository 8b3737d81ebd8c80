"""One peer: an RTCPeerConnection with our receiver and sender on its audio stream, and JSON on its data channel."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aioice import Candidate
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSctpTransport,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError

from tolmach.pipelines.frames import NS_PER_S
from tolmach.transports.peer import OnMessage, OnPeer, first_of
from tolmach.transports.webrtc.aiortc_hooks import (
    PacedTrack,
    guard_data,
    guard_receiver,
    guard_sender,
    guard_transport,
    tap_receiver,
    use_ice,
    wait_for_dtls,
)
from tolmach.transports.webrtc.guards import Allowance, Complaints
from tolmach.transports.webrtc.incoming.receiver import Receiver
from tolmach.transports.webrtc.outgoing.sender import PacketSource, Sender
from tolmach.transports.webrtc.signalling import messages
from tolmach.transports.webrtc.signalling.ice import IceCredentials, RestartableIce
from tolmach.transports.webrtc.signalling.ice_agent import IceSettings
from tolmach.transports.webrtc.signalling.sdp import MAX_SDP, Offer, SignallingError, prepare_offer, usable_candidate

log = logging.getLogger(__name__)

_WATCH_S = 0.5
_MAX_CANDIDATES = 64
"""Trickled candidates taken from one peer; each one costs connectivity checks. A browser has about ten."""
_BUFFERED = 65_536
"""Bytes given to aiortc ahead of what SCTP sends; the rest waits here, where it can be counted and dropped."""
MAX_UNSENT = 8 * 2**20
"""Characters that may wait for the data channel. A session of four hours has about a tenth of it in captions; a peer
for whom this much waits is not reading."""
MAX_UNSENT_TO_LISTENER = 2**20
"""The same for a peer that only listens, of which there may be many: it is told what is said, no more."""
MAX_UNSENT_NEWS = 262_144
"""Characters that wait, above which what is of the moment (``ephemeral``) is not worth sending any more."""
MESSAGES_PER_S, MESSAGES_AT_ONCE = 50, 200
"""Messages taken from a peer; the page sends a few a second at most."""
MAX_CHANNELS = 8
"""Data channels a peer may open in the life of a connection; the page opens one."""
MAX_MALFORMED = 256
"""Packets that cannot be read, after which a peer is hung up on: it is broken, or it tries."""
_MAX_ROUND_TRIP_S = 60.0
"""A peer further away than this is none; it would be gone (``vanish_after_s``)."""
_FLUSH_S = 1.0
"""How long the last messages may take before a connection is closed."""
_LISTENS_NS = 2 * NS_PER_S
"""A peer that was not heard for longer is not waited for; it sends a pong a second at least."""
_RELEASE_S = 5.0
"""How long aiortc may take to close; then its sockets are closed under it."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings(IceSettings):
    """Where a connection may be reached (see :class:`IceSettings`), and how it is watched.

    Attributes:
        connect_timeout_s: How long a peer may take from our answer to being connected, s; also after an ICE restart.
        vanish_after_s: Silence after which a connected peer counts as gone, s. It is asked for a sign of life
            (``ping``) every ``ping_every_s``; audio and any message are signs too.
        ping_every_s: Time between pings, s.
        consent_s: Silence after which a peer of another kind than our page counts as gone, s. It may know no pings and
            have nothing to say, so whatever ICE hears of it is a sign too: it answers our checks of its consent, which
            come every 5 s (RFC 7675, 5.1), and three of them may be lost.
    """

    connect_timeout_s: float = 20.0
    vanish_after_s: float = 3.5
    ping_every_s: float = 1.0
    consent_s: float = 15.0


Direction = Literal["sendrecv", "sendonly", "recvonly"]
"""Which way audio may go, seen from here."""


class Connection:
    """A peer connection that answers offers.

    Make one per peer inside a running event loop, :meth:`answer` its offer, :meth:`close` it in any case. It also
    closes by itself when the peer hangs up, vanishes, never connects, or misbehaves; then :attr:`closed` is set,
    :attr:`close_reason` says why, and :attr:`said_goodbye` whether the peer means to stay away. :attr:`connected` and
    :attr:`opened` (the data channel) are events to wait for.

    Args:
        settings: How it is made and watched.
        sender: What the peer is to hear; its own by default. It is not closed with the connection.
        on_open: Called when the peer's data channel is open; see also :meth:`seated`.
        on_close: Called once, when the connection begins to close, whoever closes it.
        direction: Which way audio may go: ``sendonly`` for a peer that only listens, ``recvonly`` for one that only
            speaks.
        standard: Whether the peer may be any WebRTC endpoint, and not our page. It need have no data channel; if it has
            one, whatever its label, it is told what is to be told. It is not asked for signs of life, and other media
            that it offers are declined.
    """

    def __init__(
        self,
        settings: ConnectionSettings | None = None,
        *,
        direction: Direction = "sendrecv",
        standard: bool = False,
        sender: PacketSource | None = None,
        on_open: OnPeer | None = None,
        on_close: OnPeer | None = None,
    ) -> None:
        self.settings = settings or ConnectionSettings()
        self._direction = direction
        self._standard = standard
        self.receiver = Receiver()
        self.sender: PacketSource = sender if sender is not None else Sender()
        self._packets = self.sender.stream()
        self._on_open = on_open
        self._on_close = on_close
        self.connected = asyncio.Event()
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.said_goodbye = False
        self.plays_on_time = True
        self._left = False
        self.close_reason = ""
        self.refused_messages = 0
        self.dropped_messages = 0
        self.complaints = Complaints(log)
        # An empty list, not None: None would ask Google's STUN server for our address.
        # One transport for both: a second one would be gathered for, and closed on the first answer.
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._ice = RestartableIce(self.settings, restart_timeout_s=self.settings.connect_timeout_s)
        self._offer: Offer | None = None
        self._track = PacedTrack(self._packets)
        self._transceiver: RTCRtpTransceiver | None = None
        self._channel: RTCDataChannel | None = None
        self._channels = 0
        self._guarded: RTCSctpTransport | None = None
        self._unsent: deque[str] = deque()
        self._unsent_size = 0
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._messages_left = Allowance(MESSAGES_PER_S, MESSAGES_AT_ONCE)
        self._listeners: list[OnMessage] = []
        self._watcher: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._last_message_ns: int | None = None
        self._candidates = 0
        self._negotiating = asyncio.Lock()
        self._pc.add_listener("connectionstatechange", self._state_changed)
        self._pc.add_listener("datachannel", self._channel_opened)

    def seated(self, sender: PacketSource, on_open: OnPeer | None, on_close: OnPeer | None) -> None:
        """Take a place on a line: hear what its sender plays. To be called before :meth:`answer`.

        Args:
            sender: What the peer is to hear. It is not closed with the connection.
            on_open: Called when the peer's data channel is open.
            on_close: Called once, when the connection begins to close.
        """
        self.sender = sender
        self._packets = sender.stream()
        self._track = PacedTrack(self._packets)
        self._on_open, self._on_close = on_open, on_close

    # Signalling ---------------------------------------------------------------------------------------------------

    async def answer(self, offer: str | Offer) -> str:
        """Answer an offer, the first or a later one; returns our SDP with all our candidates.

        A later one with new ICE credentials restarts ICE: the call goes on over the old path, if it still stands, until
        a new one is found.

        Args:
            offer: As it came, or as :func:`~tolmach.transports.webrtc.signalling.sdp.prepare_offer` has checked it,
                which is to be asked before a connection is made, for it refuses nearly all that can be refused.

        Raises:
            SignallingError: If the offer cannot be used, no UDP port is free, or the connection is closed, also while
                it answers.
        """
        prepared = prepare_offer(offer, decline=self._standard) if isinstance(offer, str) else offer
        async with self._negotiating:
            self._check_open()
            try:
                if self._transceiver is None:
                    self._transceiver = self._add_audio()
                async with self._ice.following(IceCredentials(prepared.username, prepared.password)):
                    await self._pc.setRemoteDescription(RTCSessionDescription(sdp=prepared.sdp, type="offer"))
                    self._check_open()
                    self._guard_data()
                    if self._standard:
                        wait_for_dtls(self._transceiver.receiver.transport)
                    await self._pc.setLocalDescription(await self._pc.createAnswer())
                    self._check_open()
            except SignallingError:
                raise
            except Exception as error:  # aiortc asserts and raises all kinds of things on SDP it cannot read
                self._check_open()
                raise SignallingError(f"the offer cannot be used ({type(error).__name__}: {error})") from error
            self._check_open()
            self._offer, self._candidates = prepared, 0
            self._last_message_ns = self.receiver.clock()  # an offer is a sign of life
            if self._watcher is None:
                self._watcher = asyncio.create_task(self._watch(), name="webrtc-watch")
            return prepared.answered(self._pc.localDescription.sdp)

    def _check_open(self) -> None:
        """Raise SignallingError if the connection is closed; asked anew after each await."""
        if self._closing is not None:
            raise SignallingError("this connection is closed")

    async def add_candidate(self, candidate: str, *, mid: str | None, line: int | None = None) -> None:
        """Take one trickled candidate of the offer that was answered last; waits for an answer under way.

        Passed over are the empty one, which ends them, those we cannot send to (``.local`` ones, TCP), and those of
        another offer or transport.

        Args:
            candidate: Its attribute, with or without the leading ``candidate:``.
            mid: The media section it belongs to.
            line: Or its number.

        Raises:
            SignallingError: If it cannot be read.
        """
        if len(candidate) > MAX_SDP:
            raise SignallingError("the candidate is too long")
        candidate = candidate.strip().removeprefix("a=").removeprefix("candidate:")
        if not candidate or self._closing is not None:
            return
        usable = usable_candidate(candidate)
        self._candidates += 1
        if self._candidates > _MAX_CANDIDATES:
            raise SignallingError(f"more than {_MAX_CANDIDATES} candidates came")
        async with self._negotiating:
            if self._offer is None:
                raise SignallingError("the candidate cannot be used: no offer has come yet")
            if usable is None or self._closing is not None:
                return
            if self._offer.describes(candidate, mid=mid, line=line):
                await self._ice.add_remote_candidate(Candidate.from_sdp(usable))

    def _add_audio(self) -> RTCRtpTransceiver:
        transceiver = self._pc.addTransceiver(self._track, direction=self._direction)
        capabilities = RTCRtpReceiver.getCapabilities("audio")
        assert capabilities is not None  # noqa: S101 -- aiortc knows audio
        transceiver.setCodecPreferences([c for c in capabilities.codecs if c.mimeType == "audio/opus"])
        tap_receiver(transceiver.receiver, self.receiver.add)
        use_ice(transceiver.receiver.transport.transport, self._ice)
        guard_transport(transceiver.receiver.transport, self._refuse)
        guard_receiver(transceiver.receiver, self._refuse)
        guard_sender(transceiver.sender)
        return transceiver

    def _guard_data(self) -> None:
        """Guard the data channel's transport, which aiortc makes when an offer first has one."""
        if self._pc.sctp is not None and self._guarded is not self._pc.sctp:
            self._guarded = self._pc.sctp
            guard_data(self._guarded, self._refuse, lambda what: self.hang_up(f"the peer has sent {what}"))

    def _refuse(self, problem: object) -> None:
        """Count a packet of the peer that cannot be read."""
        self.complaints.note(problem)
        if self.complaints.count > MAX_MALFORMED:
            self.hang_up("the peer sends what cannot be read")

    # Life ---------------------------------------------------------------------------------------------------------

    async def close(self, reason: str = "closed by the server") -> None:
        """End the connection; safe twice and from several tasks. Returns when everything is released."""
        self.hang_up(reason)
        assert self._closing is not None  # noqa: S101 -- hang_up() made it
        await asyncio.shield(self._closing)

    def hang_up(self, reason: str) -> None:
        """Begin to end the connection; :meth:`close` also waits for it. Safe twice."""
        if self._closing is not None:
            return
        self.close_reason = reason
        for text in self.worded("bye", {"reason": reason}):
            self._append(text)
        self.receiver.close()
        self.sender.end_stream(self._packets)
        self.closed.set()
        self._closing = asyncio.create_task(self._release(), name="webrtc-close")
        if self._on_close is not None:
            self._on_close(self)

    async def _release(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        if self.connected.is_set():
            if not self._left and self.receiver.clock() - self._heard_ns < _LISTENS_NS:
                await self._say_the_last()
        else:
            await self._ice.close()  # nothing is said any more; ends what an answer under way waits for
        try:
            async with asyncio.timeout(_RELEASE_S):
                # aiortc does not look up from its own awaits: closed in the middle of an answer, it opens sockets anew.
                async with self._negotiating:
                    await self._pc.close()
        except Exception as error:
            log.warning("a peer connection failed to close (%s: %s)", type(error).__name__, error)
        finally:
            await self._ice.close()

    async def _say_the_last(self) -> None:
        """Give the last messages time to leave."""
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self._flushed.wait()
                while self._buffered:  # noqa: ASYNC110 -- aiortc has no event for the last byte
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log.debug("a peer was not told everything before the end")

    async def _watch(self) -> None:
        """Close the connection when the peer does not connect, or shows no sign of life any more."""
        settings = self.settings
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                await self.connected.wait()
        except TimeoutError:
            self.hang_up(f"the peer did not connect within {settings.connect_timeout_s:g} s")
            return
        heard_ns, silent_s, unpinged_s, number = 0, 0.0, settings.ping_every_s, 0
        patience_s = settings.consent_s if self._standard else settings.vanish_after_s
        while silent_s < patience_s:
            if unpinged_s >= settings.ping_every_s and not self._standard:
                unpinged_s = 0.0
                number += 1
                self.send(messages.encode("ping", number=number))
            await asyncio.sleep(_WATCH_S)
            unpinged_s += _WATCH_S
            latest_ns = self._heard_ns
            # Rounds are counted, not the clock: after a stall of our own loop what the peer said is still unread.
            silent_s = silent_s + _WATCH_S if latest_ns == heard_ns else 0.0
            heard_ns = latest_ns
        self.hang_up(f"nothing was heard of the peer for {patience_s:g} s")

    @property
    def _heard_ns(self) -> int:
        """When the peer last showed a sign of life, ns on the receiver's clock."""
        by_ice_ns = self._ice.last_heard_ns if self._standard else 0
        return max(self._last_message_ns or 0, self.receiver.last_arrival_ns or 0, by_ice_ns)

    def _state_changed(self) -> None:
        state = self._pc.connectionState
        if state == "connected":
            self.connected.set()
            if self._pc.sctp is None:
                self.opened.set()  # there is no channel to wait for
        elif state in ("failed", "closed"):
            self.hang_up("the peer hung up" if state == "closed" else "the connection failed")

    # Data channel -------------------------------------------------------------------------------------------------

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> bool:
        """Say something over the data channel, as :meth:`worded`; see :meth:`send`."""
        return all(self.send(text, ephemeral=ephemeral) for text in self.worded(kind, fields))

    def worded(self, kind: str, fields: Mapping[str, Any]) -> Sequence[str]:
        """A message of docs/LIVE.md as texts for the data channel; of a subclass, in the words of another protocol.

        What it returns for ``bye`` is the last that is sent.
        """
        return (messages.encode(kind, **fields),)

    def understood(self, text: str | bytes) -> Mapping[str, Any]:
        """A message of the peer in words of docs/LIVE.md; of a subclass, from those of another protocol.

        Raises:
            MessageError: If it is none.
        """
        return messages.decode(text)

    def send(self, text: str, *, ephemeral: bool = False) -> bool:
        """Send a message of the data channel (``signalling/messages.py``), after all that was to be sent before it.

        Nothing is lost while the connection stands: what the peer cannot take yet waits here. :meth:`flushed` is for
        those who have much to say. A peer for which more than ``MAX_UNSENT`` characters wait is hung up on.

        Args:
            text: The message.
            ephemeral: Whether it is of the moment, as figures are, and not worth sending to a peer that is far behind.

        Returns:
            Whether it will be sent: False when there is no open channel, or it was dropped, which is counted.
        """
        if self._closing is not None or self._channel is None or self._channel.readyState != "open":
            return False
        if ephemeral and self._unsent_size > MAX_UNSENT_NEWS:
            self.dropped_messages += 1
            return False
        most = MAX_UNSENT_TO_LISTENER if self._direction == "sendonly" else MAX_UNSENT
        if self._unsent_size + len(text) > most:
            self.dropped_messages += 1
            self.hang_up("the peer does not take what it is told")
            return False
        self._append(text)
        return True

    @property
    def _buffered(self) -> int:
        """Bytes that aiortc has not begun to send."""
        channel = self._channel
        return channel.bufferedAmount if channel is not None and channel.readyState == "open" else 0

    async def flushed(self) -> None:
        """Wait until what was to be sent is on its way, or the connection is closed.

        Cancelled by: who waits; nothing is lost by it.
        """
        await first_of(self._flushed, self.closed)

    def _append(self, text: str) -> None:
        self._unsent.append(text)
        self._unsent_size += len(text)
        self._flushed.clear()
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Give the channel what it has room for; called again when it has more."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            self._unsent.clear()
            self._unsent_size = 0
        while self._unsent and channel is not None and self._buffered < _BUFFERED:
            text = self._unsent.popleft()
            self._unsent_size -= len(text)
            try:
                channel.send(text)
            except (ValueError, InvalidStateError) as error:  # longer than the peer says it takes, say
                self.dropped_messages += 1
                log.debug("a message of %d characters could not be sent (%s)", len(text), type(error).__name__)
        if not self._unsent:
            self._flushed.set()

    def listen(self, on_message: OnMessage) -> None:
        """Call ``on_message`` for every message of the peer that is not ``ping``, ``pong`` or ``bye``."""
        self._listeners.append(on_message)

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        self._channels += 1
        if self._channels > MAX_CHANNELS:
            self.hang_up(f"the peer has opened more than {MAX_CHANNELS} data channels")
            return
        is_ours = self._standard or channel.label == messages.LABEL
        if not is_ours or (self._channel is not None and self._channel.readyState == "open"):
            channel.close()
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = _BUFFERED // 2
        channel.add_listener("bufferedamountlow", self._send_waiting)
        channel.add_listener("message", self._message_came)
        self.opened.set()
        if self._on_open is not None:
            self._call(lambda told: told(self), self._on_open)

    def _message_came(self, text: str | bytes) -> None:
        self._last_message_ns = self.receiver.clock()
        if not self._messages_left.take():
            self.refused_messages += 1
            return
        try:
            message = self.understood(text)
        except messages.MessageError as error:
            self.refused_messages += 1
            self.complaints.note(f"a message ({error})")
            return
        kind = message["type"]
        if kind == "ping":
            self.send(messages.pong(message))
        elif kind == "bye":
            self.said_goodbye = self._left = True
            self.hang_up("the peer said goodbye")
        elif kind != "pong":
            for listener in tuple(self._listeners):
                self._call(lambda told: told(message), listener)

    @staticmethod
    def _call(how: Callable[[Any], None], told: Any) -> None:
        """Call who listens. What it raises is a mistake of ours, which must not end aiortc's reading of packets."""
        try:
            how(told)
        except Exception:
            log.exception("what a peer has sent could not be dealt with")

    # State --------------------------------------------------------------------------------------------------------

    async def round_trip_ms(self) -> float | None:
        """Round trip by the peer's last receiver report (RFC 3550, 6.4.1), ms; None before the first."""
        if self._transceiver is None or self.closed.is_set():
            return None
        report: Mapping[str, Any] = await self._transceiver.sender.getStats()
        for entry in report.values():
            if entry.type == "remote-inbound-rtp" and entry.roundTripTime is not None:
                seconds = float(entry.roundTripTime)  # reckoned from what the peer says, which may be nonsense
                return round(seconds * 1000, 1) if 0 <= seconds < _MAX_ROUND_TRIP_S else None
        return None
