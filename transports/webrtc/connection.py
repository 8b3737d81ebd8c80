"""One peer: an RTCPeerConnection with our receiver and sender on its audio stream, and JSON on its data channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aioice import Candidate
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSessionDescription,
)

from transports.webrtc import messages
from transports.webrtc.aiortc_hooks import PacedTrack, tap_receiver, use_ice
from transports.webrtc.ice import IceCredentials, RestartableIce
from transports.webrtc.ice_settings import IceSettings
from transports.webrtc.receiver import Receiver
from transports.webrtc.sdp import MAX_SDP, Offer, SignallingError, is_mdns, prepare_offer
from transports.webrtc.sender import Sender

log = logging.getLogger(__name__)

_WATCH_S = 0.5
_MAX_CANDIDATES = 64
"""Trickled candidates taken from one peer; each one costs connectivity checks. A browser has about ten."""
_MAX_BUFFERED = 262_144
"""Bytes waiting on the data channel above which messages are dropped: the peer is too slow to be told more."""

OnMessage = Callable[[Mapping[str, Any]], None]
OnChange = Callable[["Connection"], None]


@dataclass(frozen=True, slots=True)
class ConnectionSettings(IceSettings):
    """Where a connection may be reached (see :class:`IceSettings`), and how it is watched.

    Attributes:
        connect_timeout_s: How long a peer may take from our answer to being connected, s; also after an ICE restart.
        vanish_after_s: Silence after which a connected peer counts as gone, s. It is asked for a sign of life
            (``ping``) every ``ping_every_s``; audio and any message are signs too.
        ping_every_s: Time between pings, s.
    """

    connect_timeout_s: float = 20.0
    vanish_after_s: float = 3.5
    ping_every_s: float = 1.0


class Connection:
    """A peer connection that answers offers.

    Make one per peer inside a running event loop, :meth:`answer` its offer, :meth:`close` it in any case. It also
    closes by itself when the peer hangs up, vanishes, or never connects; then :attr:`closed` is set,
    :attr:`close_reason` says why, and :attr:`said_goodbye` whether the peer means to stay away. :attr:`connected` and
    :attr:`opened` (the data channel) are events to wait for.

    Args:
        settings: How it is made and watched.
        sender: What the peer is to hear; its own by default. It is not closed with the connection.
        on_open: Called when the peer's data channel is open.
        on_close: Called once, when the connection begins to close, whoever closes it.
    """

    def __init__(
        self,
        settings: ConnectionSettings | None = None,
        *,
        sender: Sender | None = None,
        on_open: OnChange | None = None,
        on_close: OnChange | None = None,
    ) -> None:
        self.settings = settings or ConnectionSettings()
        self.receiver = Receiver()
        self.sender = sender or Sender()
        self._packets = self.sender.stream()
        self._on_open = on_open
        self._on_close = on_close
        self.connected = asyncio.Event()
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.said_goodbye = False
        self.close_reason = ""
        self.refused_messages = 0
        self.dropped_messages = 0
        # An empty list, not None: None would ask Google's STUN server for our address.
        # One transport for both: a second one would be gathered for, and closed on the first answer.
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._ice = RestartableIce(self.settings, restart_timeout_s=self.settings.connect_timeout_s)
        self._offer: Offer | None = None
        self._track = PacedTrack(self._packets)
        self._transceiver: RTCRtpTransceiver | None = None
        self._channel: RTCDataChannel | None = None
        self._listeners: list[OnMessage] = []
        self._watcher: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._last_message_ns: int | None = None
        self._candidates = 0
        self._negotiating = asyncio.Lock()
        self._pc.add_listener("connectionstatechange", self._state_changed)
        self._pc.add_listener("datachannel", self._channel_opened)

    # Signalling ---------------------------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """Answer an offer, the first or a later one; returns our SDP with all our candidates.

        A later one with new ICE credentials restarts ICE: the call goes on over the old path, if it still stands, until
        a new one is found.

        Raises:
            SignallingError: If the offer cannot be used, no UDP port is free, or the connection is closed.
        """
        prepared = prepare_offer(offer)
        async with self._negotiating:
            if self._closing is not None:
                raise SignallingError("this connection is closed")
            try:
                if self._transceiver is None:
                    self._transceiver = self._add_audio()
                async with self._ice.following(IceCredentials(prepared.username, prepared.password)):
                    await self._pc.setRemoteDescription(RTCSessionDescription(sdp=prepared.sdp, type="offer"))
                    await self._pc.setLocalDescription(await self._pc.createAnswer())
            except SignallingError:
                raise
            except Exception as error:  # aiortc asserts and raises all kinds of things on SDP it cannot read
                raise SignallingError(f"the offer cannot be used ({type(error).__name__}: {error})") from error
            self._offer, self._candidates = prepared, 0
            self._last_message_ns = self.receiver.clock()  # an offer is a sign of life
            if self._watcher is None:
                self._watcher = asyncio.create_task(self._watch(), name="webrtc-watch")
            return self._pc.localDescription.sdp

    async def add_candidate(self, candidate: str, *, mid: str | None, line: int | None = None) -> None:
        """Take one trickled candidate of the offer that was answered last; waits for an answer under way.

        Passed over are the empty one, which ends them, ``.local`` ones, and those of another offer or transport.

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
        if not candidate or is_mdns(candidate) or self._closing is not None:
            return
        self._candidates += 1
        if self._candidates > _MAX_CANDIDATES:
            raise SignallingError(f"more than {_MAX_CANDIDATES} candidates came")
        async with self._negotiating:
            if self._offer is None:
                raise SignallingError("the candidate cannot be used: no offer has come yet")
            if self._offer.describes(candidate, mid=mid, line=line):
                try:
                    await self._ice.add_remote_candidate(Candidate.from_sdp(candidate))
                except ValueError as error:
                    raise SignallingError(f"the candidate cannot be used ({error})") from error

    def _add_audio(self) -> RTCRtpTransceiver:
        transceiver = self._pc.addTransceiver(self._track, direction="sendrecv")
        capabilities = RTCRtpReceiver.getCapabilities("audio")
        assert capabilities is not None  # noqa: S101 -- aiortc knows audio
        transceiver.setCodecPreferences([c for c in capabilities.codecs if c.mimeType == "audio/opus"])
        tap_receiver(transceiver.receiver, self.receiver.add)
        use_ice(transceiver.receiver.transport.transport, self._ice)
        return transceiver

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
        self.send(messages.encode("bye", reason=reason))
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
        try:
            await self._pc.close()
        except Exception:
            log.exception("a peer connection failed to close")

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
        while silent_s < settings.vanish_after_s:
            if unpinged_s >= settings.ping_every_s:
                unpinged_s = 0.0
                number += 1
                self.send(messages.encode("ping", number=number))
            await asyncio.sleep(_WATCH_S)
            unpinged_s += _WATCH_S
            latest_ns = max(self._last_message_ns or 0, self.receiver.last_arrival_ns or 0)
            # Rounds are counted, not the clock: after a stall of our own loop what the peer said is still unread.
            silent_s = silent_s + _WATCH_S if latest_ns == heard_ns else 0.0
            heard_ns = latest_ns
        self.hang_up(f"nothing was heard of the peer for {settings.vanish_after_s:g} s")

    def _state_changed(self) -> None:
        state = self._pc.connectionState
        if state == "connected":
            self.connected.set()
        elif state in ("failed", "closed"):
            self.hang_up("the peer hung up" if state == "closed" else "the connection failed")

    # Data channel -------------------------------------------------------------------------------------------------

    def send(self, text: str) -> bool:
        """Send a message of :mod:`transports.webrtc.messages`; False when there is no open channel or it is jammed."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return False
        if channel.bufferedAmount > _MAX_BUFFERED:
            self.dropped_messages += 1
            return False
        channel.send(text)
        return True

    def listen(self, on_message: OnMessage) -> None:
        """Call ``on_message`` for every message of the peer that is not ``ping``, ``pong`` or ``bye``."""
        self._listeners.append(on_message)

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        if channel.label != messages.LABEL:
            channel.close()
            return
        self._channel = channel
        channel.add_listener("message", self._message_came)
        self.opened.set()
        if self._on_open is not None:
            self._on_open(self)

    def _message_came(self, text: str | bytes) -> None:
        self._last_message_ns = self.receiver.clock()
        try:
            message = messages.decode(text)
        except messages.MessageError as error:
            self.refused_messages += 1
            log.debug("%s", error)
            return
        kind = message["type"]
        if kind == "ping":
            self.send(messages.encode("pong", number=message.get("number")))
        elif kind == "bye":
            self.said_goodbye = True
            self.hang_up("the peer said goodbye")
        elif kind != "pong":
            for listener in tuple(self._listeners):
                listener(message)

    # State --------------------------------------------------------------------------------------------------------

    async def round_trip_ms(self) -> float | None:
        """Round trip by the peer's last receiver report (RFC 3550, 6.4.1), ms; None before the first."""
        if self._transceiver is None or self.closed.is_set():
            return None
        report: Mapping[str, Any] = await self._transceiver.sender.getStats()
        for entry in report.values():
            if entry.type == "remote-inbound-rtp" and entry.roundTripTime is not None:
                return round(float(entry.roundTripTime) * 1000, 1)
        return None
