"""An interpreter on pipecat's own WebRTC transport: speech goes in over a call, translated speech comes out."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from loguru import logger

from tests.integration.webrtc_peer import MicrophoneTrack
from tests.unit.test_documents import blocks
from tests.until import no_task_left, until
from tolmach.pipelines.frames import Samples

pytest.importorskip("nemo", reason="the phrasebook needs NeMo (the extra canary)")

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo"
(BOT,) = [text for text in blocks("docs/PIPECAT.md", "python") if text.startswith("# interpreter_bot.py")]


def recording(seconds: float) -> Samples:
    """The beginning of the shipped phrases, float32[n], 48 kHz: "Good morning." and so on."""
    with av.open(str(DEMO / "phrasebook-en.flac")) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return samples[: round(seconds * 48_000)].astype(np.float32)


class Caller:
    """A browser's part, of bare aiortc: speaks once and listens."""

    def __init__(self, signal: Samples) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTransceiver(MicrophoneTrack(signal), direction="sendrecv")
        self.heard: list[float] = []
        self._listening: asyncio.Task[None] | None = None
        self.pc.on("track", self._on_track)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                self.heard.append(float(np.abs(frame.to_ndarray()).max()) / 32768)

    def loud_s(self) -> float:
        """How long something was heard so far, s; frames of 20 ms."""
        return 0.02 * sum(peak > 0.02 for peak in self.heard)

    async def close(self) -> None:
        await self.pc.close()
        if self._listening is not None:
            await self._listening


@asynccontextmanager
async def call(bot: Any, signal: Samples) -> AsyncIterator[Caller]:
    from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

    caller, connection = Caller(signal), SmallWebRTCConnection()
    await caller.pc.setLocalDescription(await caller.pc.createOffer())
    await connection.initialize(caller.pc.localDescription.sdp, "offer")
    answer = connection.get_answer()
    session = asyncio.create_task(bot(connection))
    await caller.pc.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type=answer["type"]))
    await connection.connect()
    try:
        yield caller
    finally:
        await caller.close()
        await connection.disconnect()
        async with asyncio.timeout(30):
            await session


@pytest.mark.models
@pytest.mark.slow
async def test_the_bot_of_the_document_interprets_over_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "interpreter_bot.py").write_text(BOT, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    logger.disable("pipecat")
    bot = importlib.import_module("interpreter_bot")
    said = ""

    def captions() -> list[str]:
        nonlocal said
        said += capsys.readouterr().out
        return said.split("\n")

    async with no_task_left(), call(bot.run_bot, recording(6.6)) as caller:
        await until(lambda: "У меня забронирован номер." in captions(), within_s=120)
        await until(lambda: caller.loud_s() > 1.5, within_s=30)  # three Russian sentences
    assert "Доброе утро." in captions()
