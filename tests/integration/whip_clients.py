"""A publisher and a listener made of bare aiortc, as any WHIP and WHEP client: SDP over HTTP, audio one way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from tests.integration.webrtc_peer import MicrophoneTrack
from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.aiortc_hooks import tap_receiver
from tolmach.transports.webrtc.opus import OpusDecoder, unwrap

SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"


class Endpoint:
    """What both have in common: the exchange over HTTP."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.answered: httpx.Response | None = None

    async def offer(self) -> str:
        """Its offer, with all candidates."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def post(self, path: str, sdp: str | None = None, **headers: str) -> httpx.Response:
        """Send the offer."""
        content = await self.offer() if sdp is None else sdp
        return await self.http.post(path, content=content, headers={"Content-Type": SDP, **headers})

    async def begin(self, path: str) -> httpx.Response:
        """Send the offer, take the answer, wait until it stands."""
        self.answered = answered = await self.post(path)
        assert answered.status_code == 201, answered.text
        await self.pc.setRemoteDescription(RTCSessionDescription(answered.text, "answer"))
        async with asyncio.timeout(15):
            while self.pc.connectionState != "connected":  # noqa: ASYNC110 -- aiortc has no event to wait for
                await asyncio.sleep(0.01)
        return answered

    @property
    def resource(self) -> str:
        """Path of its session."""
        assert self.answered is not None
        return self.answered.headers["Location"]

    async def patch(self, fragment: str, **headers: str) -> httpx.Response:
        """Send a fragment."""
        return await self.http.patch(self.resource, content=fragment, headers={"Content-Type": FRAGMENT, **headers})

    async def until_over(self, within_s: float = 20) -> None:
        """Wait until the other end has closed it."""
        async with asyncio.timeout(within_s):
            while self.pc.connectionState not in ("closed", "failed"):  # noqa: ASYNC110 -- see above
                await asyncio.sleep(0.02)


class Publisher(Endpoint):
    """Sends a signal; has no data channel."""

    def __init__(self, http: httpx.AsyncClient, signal: Samples) -> None:
        super().__init__(http)
        self.microphone = MicrophoneTrack(signal)
        self.pc.addTransceiver(self.microphone, direction="sendonly")


class Listener(Endpoint):
    """Receives, and reads what comes over a data channel if it has one."""

    def __init__(self, http: httpx.AsyncClient, *, channel: bool = False) -> None:
        super().__init__(http)
        transceiver = self.pc.addTransceiver("audio", direction="recvonly")
        tap_receiver(transceiver.receiver, self._hear)
        self.told: list[Mapping[str, Any]] = []
        self.packets: list[tuple[float, int, Samples]] = []  # arrival s, unwrapped timestamp, audio
        self._decoder = OpusDecoder()
        self.channel: RTCDataChannel | None = None
        if channel:
            self.channel = self.pc.createDataChannel("captions")
            self.channel.on("message", lambda text: self.told.append(json.loads(text)))

    async def begin(self, path: str) -> httpx.Response:
        """Also wait until it can be told something."""
        answered = await super().begin(path)
        async with asyncio.timeout(15):
            while self.channel is not None and self.channel.readyState != "open":  # noqa: ASYNC110 -- see above
                await asyncio.sleep(0.01)
        return answered

    def _hear(self, sequence: int, timestamp: int, payload: bytes) -> None:
        if self.packets:
            timestamp = unwrap(timestamp, self.packets[-1][1], 32)
        samples = self._decoder.decode(payload)
        assert samples is not None
        self.packets.append((time.monotonic(), timestamp, samples))

    @property
    def audio(self) -> Samples:
        """All that was heard, float32[n], 48 kHz, packet after packet."""
        return np.concatenate([samples for _, _, samples in self.packets] or [np.zeros(0, np.float32)])

    @property
    def loud(self) -> int:
        """Packets with sound in them."""
        return sum(bool(np.abs(samples).max() > 0.02) for _, _, samples in self.packets)

    def said(self, kind: str) -> list[Mapping[str, Any]]:
        """The messages of a kind."""
        return [message for message in self.told if message["type"] == kind]
