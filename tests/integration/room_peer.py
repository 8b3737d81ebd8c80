"""Somebody in a room: a bare aiortc peer that comes to a seat with a code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import numpy as np
from aiortc import RTCSessionDescription

from tests.integration.served_peer import Client
from tests.integration.webrtc_peer import Peer
from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.opus import FRAME_SAMPLES

NOTHING: Samples = np.zeros(0, np.float32)


class RoomPeer(Peer):
    """A peer at a seat."""

    def __init__(self, client: Client, room: Mapping[str, Any], seat: str, signal: Samples | None = None) -> None:
        super().__init__(NOTHING if signal is None else signal)
        if signal is None:
            self._transceiver.direction = "recvonly"  # a listener needs no microphone
        self.seat = seat
        self.path = f"/api/rooms/{room['room']}"
        self.code = code_of(room, seat)
        self.id = ""
        self._http = client.http
        client.peers.append(self)  # type: ignore[arg-type] -- closed with the others

    async def arrive(self, **body: Any) -> httpx.Response:
        """Offer oneself; the server's answer, which is taken if it is one."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        answer = await self._http.post(
            f"{self.path}/peers", json={"sdp": self.pc.localDescription.sdp, **body}, headers=bearer(self.code)
        )
        if answer.status_code == 201:
            self.id = answer.json()["peer"]
            await self.pc.setRemoteDescription(RTCSessionDescription(sdp=answer.json()["sdp"], type="answer"))
        return answer

    async def sit(self, **body: Any) -> RoomPeer:
        """Come to the seat, and wait until the first message is there."""
        answer = await self.arrive(**body)
        assert answer.status_code == 201, answer.text
        self.opening = await self.until("room")
        return self

    async def until(self, kind: str, wanted: Callable[[Mapping[str, Any]], bool] = lambda m: True) -> Mapping[str, Any]:
        """The next message of this kind that is wanted, within a minute; others are passed over."""
        async with asyncio.timeout(60):
            while True:
                message = await self.said.get()
                if message["type"] == kind and wanted(message):
                    return message

    def say(self, signal: Samples) -> None:
        """Say this from now on."""
        track = self.microphone
        track._signal = np.concatenate([np.zeros(track._number * FRAME_SAMPLES, np.float32), signal])

    async def leave(self) -> None:
        """Go, and say so."""
        answer = await self._http.delete(f"{self.path}/peers/{self.id}", headers=bearer(self.code))
        assert answer.status_code == 204, answer.text

    @property
    def packets(self) -> int:
        """How many were heard so far."""
        return len(self._packets)

    def heard(self, packets: int = 0) -> Samples:
        """What was heard last, of so many packets or all of them, float32[n], 48 kHz."""
        return np.concatenate([NOTHING, *(samples for _, _, samples in self._packets[-packets:])])

    def loudest_hz(self) -> float:
        """The loudest tone of the last 0.2 s that were heard, Hz; 0 if that was silence."""
        samples = self.heard(10)
        if np.abs(samples).max(initial=0) < 0.01:
            return 0.0
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        return float(np.argmax(spectrum) * 48_000 / len(samples))


def bearer(code: str) -> dict[str, str]:
    """The header that shows a code."""
    return {"Authorization": f"Bearer {code}"}


def code_of(room: Mapping[str, Any], seat: str) -> str:
    """The code of a seat, as the host was told it."""
    found: str = next(each["code"] for each in room["seats"] if each["seat"] == seat)
    return found


def tone(hz: float, seconds: float) -> Samples:
    """A sine, float32[n], 48 kHz."""
    return np.asarray(0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 48_000)) / 48_000), np.float32)


async def open_room(client: Client, graph: str, **body: Any) -> Mapping[str, Any]:
    """A new room, as its host is told of it."""
    answer = await client.http.post("/api/rooms", json={"graph": graph, **body})
    assert answer.status_code == 201, answer.text
    room: Mapping[str, Any] = answer.json()
    return room
