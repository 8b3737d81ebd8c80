"""A peer over a WebSocket: what it is told comes in order, and who does not take it is hung up on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tolmach.transports.webrtc.incoming.jitter import JitterSettings
from tolmach.transports.webrtc.opus import FRAME_SAMPLES
from tolmach.transports.webrtc.outgoing.sender import OutgoingPacket
from tolmach.transports.webrtc.session_line import Line
from tolmach.transports.websocket import pcm_peer
from tolmach.transports.websocket.pcm_peer import PcmPeer


class Wire:
    """The socket of a client, which reads while ``reads`` is set."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self.got: list[str | bytes] = []
        self.closed_with: tuple[int, str | None] | None = None
        self.broken = False

    async def send_text(self, data: str) -> None:
        await self._send(data)

    async def send_bytes(self, data: bytes) -> None:
        await self._send(data)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self.reads.wait()
        self.closed_with = (code, reason)

    async def _send(self, data: str | bytes) -> None:
        if self.broken:
            raise RuntimeError("the client is gone")
        await self.reads.wait()
        self.got.append(data)


class Plain(PcmPeer):
    """Sends sound as it is, and messages as JSON."""

    def play(self, packet: OutgoingPacket) -> None:
        if packet.samples is not None:
            self.post(packet.samples.tobytes())

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> bool:
        return self.post(json.dumps({"type": kind, **fields}), ephemeral=ephemeral)

    def last_words(self, reason: str) -> None:
        self.post(json.dumps({"type": "bye", "reason": reason}))


async def on_a_line(wire: Wire, **settings: Any) -> tuple[Line, Plain]:
    line = Line()
    peer = Plain(wire, **settings)
    line.seat(peer)
    peer.begin()
    return line, peer


async def test_what_it_says_reaches_the_microphone_and_what_is_played_reaches_it() -> None:
    wire = Wire()
    line, peer = await on_a_line(wire)
    microphone = line.microphone(JitterSettings(), gated=False)
    await peer.receiver.write(np.full(FRAME_SAMPLES, 16_384, np.int16))
    frame = await microphone.read()
    assert frame is not None
    np.testing.assert_array_equal(frame.samples, 0.5)
    line.sender.write_live(np.full(3 * FRAME_SAMPLES, 0.25, np.float32))
    async with asyncio.timeout(2):
        while not wire.got:  # noqa: ASYNC110 -- a list has no event
            await asyncio.sleep(0.005)
    assert np.frombuffer(wire.got[0], np.float32)[0] == 0.25
    peer.receiver.end()
    assert await microphone.read() is None, "who ends its audio is not waited for"
    await line.close("over")
    assert peer.closed.is_set()
    assert wire.closed_with == (1000, "over")
    assert json.loads(wire.got[-1]) == {"type": "bye", "reason": "over"}


async def test_who_is_far_behind_is_spared_the_figures_and_then_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcm_peer, "MAX_UNSENT", 100_000)
    monkeypatch.setattr(pcm_peer, "MAX_UNSENT_NEWS", 10_000)
    monkeypatch.setattr(pcm_peer, "_FLUSH_S", 0.05)
    wire = Wire()
    lost: list[str] = []
    line = Line(on_lost=lambda peer: lost.append(peer.close_reason))
    peer = Plain(wire)
    line.seat(peer)
    peer.begin()
    wire.reads.clear()
    assert peer.tell("caption", {"text": "x" * 20_000})
    await asyncio.sleep(0)
    assert not peer.tell("stats", {}, ephemeral=True)
    assert peer.tell("caption", {"text": "y" * 20_000})
    assert not peer.tell("caption", {"text": "z" * 80_000})
    assert lost == ["the client does not take what it is told"]
    async with asyncio.timeout(2):
        await peer.close()
    assert peer.dropped_messages == 2
    assert not peer.tell("caption", {})
    await line.close()


async def test_a_client_that_is_gone_leaves_the_line() -> None:
    wire = Wire()
    lost: list[bool] = []
    line = Line(on_lost=lambda peer: lost.append(peer.said_goodbye))
    peer = Plain(wire)
    line.seat(peer)
    peer.begin()
    wire.broken = True
    peer.tell("caption", {})
    async with asyncio.timeout(1):
        await peer.closed.wait()
        await peer.close()
    assert lost == [False]
    assert line.connection is None
    assert wire.closed_with is None
    await line.close()


async def test_who_sends_no_audio_holds_no_place() -> None:
    wire = Wire()
    line, peer = await on_a_line(wire, idle_s=0.2)
    async with asyncio.timeout(2):
        for _ in range(5):
            await asyncio.sleep(0.05)
            await peer.receiver.write(np.zeros(480, np.int16))
        assert not peer.closed.is_set()
        await peer.closed.wait()
    assert peer.close_reason.startswith("no audio has come for")
    await line.close()


async def test_messages_are_taken_at_a_rate() -> None:
    peer = Plain(Wire())
    taken = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            while True:
                await peer.turn()
                taken += 1
    assert pcm_peer.MESSAGES_AT_ONCE <= taken < 2 * pcm_peer.MESSAGES_AT_ONCE
