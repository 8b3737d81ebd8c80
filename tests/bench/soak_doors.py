"""Clients of the other doors for the soak: well-behaved ones, ones that leave in the middle, and ones that are mean."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import soundfile
import websockets
from scipy.signal import resample_poly
from websockets.asyncio.client import ClientConnection

from tolmach.pipelines.frames import Samples

GRAPH = "phrasebook-live"
CHUNK_S = 0.2

Part = Callable[[], Awaitable[None]]


class RefusedError(Exception):
    """The server has said no, as it should to a crowd."""


class Doors:
    """Parts that clients of the other doors play.

    Args:
        http: A client of the server.
        speech: Recordings by language, float32[n], mono, 48 kHz.
        told: Counts what came of it.
        dice: What is chosen.
    """

    def __init__(
        self, http: httpx.AsyncClient, speech: Mapping[str, Samples], told: Counter[str], dice: random.Random
    ) -> None:
        self._http = http
        self._speech = speech
        self._told = told
        self._dice = dice
        self._at = urlsplit(str(http.base_url)).netloc

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them."""
        return (
            self.openai_realtime,
            self.openai_realtime_gone,
            self.openai_realtime_nonsense,
            self.openai_translation,
            self.openai_speech,
            self.openai_nonsense,
            self.seed,
            self.seed_gone,
            self.seed_nonsense,
        )

    # WebSockets ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _socket(self, path: str) -> AsyncIterator[ClientConnection]:
        try:
            socket = await websockets.connect(f"ws://{self._at}{path}", compression=None, max_size=2**24)
        except websockets.InvalidStatus as error:
            if error.response.status_code in (429, 503):
                raise RefusedError(f"websocket {error.response.status_code}") from error
            raise AssertionError(error) from error
        try:
            yield socket
        finally:
            await socket.close()

    async def _openai_speak(self, socket: ClientConnection, seconds: float) -> None:
        speech = self._speech[self._dice.choice(("en", "ru"))][: round(48_000 * seconds)]
        pcm = (np.clip(resample_poly(speech, 1, 2), -1, 1) * 32767).astype("<i2")
        for at in range(0, len(pcm), round(24_000 * CHUNK_S)):
            audio = base64.b64encode(pcm[at : at + round(24_000 * CHUNK_S)].tobytes()).decode()
            await socket.send(json.dumps({"type": "session.input_audio_buffer.append", "audio": audio}))
            await asyncio.sleep(CHUNK_S)

    async def openai_realtime(self) -> None:
        """Speak, listen, close in order."""
        heard: Counter[str] = Counter()
        async with self._socket(f"/v1/realtime/translations?model={GRAPH}") as socket:

            async def listen() -> None:
                async for text in socket:
                    message = json.loads(text)
                    heard[message["type"]] += 1
                    if message["type"] == "error" and message["error"].get("code") in ("busy", "rate_limit_exceeded"):
                        raise RefusedError(message["error"]["code"])

            listening = asyncio.create_task(listen())
            await self._openai_speak(socket, self._dice.uniform(5, 12))
            await socket.send(json.dumps({"type": "session.close"}))
            await listening
        assert heard["session.closed"], heard
        assert heard["session.output_transcript.delta"], heard
        assert heard["session.output_audio.delta"], heard
        self._told["captions"] += heard["session.output_transcript.delta"]

    async def openai_realtime_gone(self) -> None:
        """Be gone in the middle of a sentence, without a word."""
        async with self._socket(f"/v1/realtime/translations?model={GRAPH}") as socket:
            await self._openai_speak(socket, self._dice.uniform(1, 6))
            socket.transport.abort()

    async def openai_realtime_nonsense(self) -> None:
        """Send what is no event, and events that are wrong."""
        odd: tuple[Any, ...] = (
            "",
            "{",
            "[]",
            '{"type": 1}',
            json.dumps({"type": "session.input_audio_buffer.append", "audio": "%%%"}),
            json.dumps({"type": "session.input_audio_buffer.append", "audio": "AAA="}),
            json.dumps({"type": "session.update", "session": {"audio": {"output": {"language": "xx"}}}}),
            json.dumps({"type": "response.create"}),
            b"\x00\x01",
        )
        with contextlib.suppress(websockets.ConnectionClosed):
            async with self._socket(f"/v1/realtime/translations?model={GRAPH}") as socket:
                for _ in range(30):
                    await socket.send(self._dice.choice(odd))

    async def seed(self) -> None:
        """Speak to ``/ws/translate``, flush, wait for the answer."""
        texts, sounds = 0, 0
        async with self._socket("/ws/translate") as socket:
            await socket.send(json.dumps({"mode": "auto", "graph": GRAPH}))
            speech = self._speech[self._dice.choice(("en", "ru"))][: round(48_000 * self._dice.uniform(4, 10))]
            pcm = (np.clip(speech, -1, 1) * 32767).astype("<i2")
            for at in range(0, len(pcm), round(48_000 * CHUNK_S)):
                await socket.send(pcm[at : at + round(48_000 * CHUNK_S)].tobytes())
                await asyncio.sleep(CHUNK_S)
            await socket.send("__flush__")
            while not (texts and sounds):
                message = await socket.recv()
                if isinstance(message, bytes):
                    assert soundfile.info(io.BytesIO(message)).duration > 0
                    sounds += 1
                elif "text" in (told := json.loads(message)):
                    texts += 1
                elif told.get("error", {}).get("code") in ("busy", "too-many-requests"):
                    raise RefusedError(told["error"]["code"])
        self._told["captions"] += texts

    async def seed_gone(self) -> None:
        """Be gone in the middle."""
        async with self._socket("/ws/translate") as socket:
            await socket.send(json.dumps({"mode": "en->ru", "graph": GRAPH}))
            pcm = (self._speech["en"][:48_000] * 32767).astype("<i2").tobytes()
            for _ in range(self._dice.randrange(1, 20)):
                await socket.send(pcm)
            socket.transport.abort()

    async def seed_nonsense(self) -> None:
        """Begin with what is no mode, or go on with what is no sound."""
        for first in ('{"mode": "xx->yy"}', "[]", b"\x00" * 100, json.dumps({"mode": "auto"})):
            with contextlib.suppress(websockets.ConnectionClosed):
                async with self._socket("/ws/translate") as socket:
                    await socket.send(first)
                    for _ in range(10):
                        await socket.send(self._dice.choice((b"\x01", "__nothing__", self._dice.randbytes(4001))))

    # Files --------------------------------------------------------------------------------------------------------

    def _wav(self, seconds: float) -> bytes:
        held = io.BytesIO()
        soundfile.write(held, self._speech["ru"][: round(48_000 * seconds)], 48_000, format="WAV", subtype="PCM_16")
        return held.getvalue()

    async def openai_translation(self) -> None:
        """Translate a recording."""
        answer = await self._http.post(
            "/v1/audio/translations",
            data={"model": GRAPH, "response_format": self._dice.choice(("json", "srt", "verbose_json"))},
            files={"file": ("a.wav", self._wav(self._dice.uniform(3, 20)), "audio/wav")},
            timeout=110,
        )
        self._good(answer)
        assert "morning" in answer.text, answer.text

    async def openai_speech(self) -> None:
        """Have a text spoken."""
        body = {"model": GRAPH, "input": "До свидания.", "voice": "alloy", "response_format": "wav"}
        answer = await self._http.post("/v1/audio/speech", json=body, timeout=110)
        self._good(answer)
        assert len(answer.content) > 10_000

    async def openai_nonsense(self) -> None:
        """Upload what is no recording, or not all of it, and go."""
        files = {"file": ("a.wav", self._dice.randbytes(50_000), "audio/wav")}
        answer = await self._http.post("/v1/audio/translations", data={"model": GRAPH}, files=files)
        assert 400 <= answer.status_code < 500 or answer.status_code == 503, answer.text
        with contextlib.suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(self._dice.uniform(0, 0.5)):  # gone while it is read or translated
                await self._http.post(
                    "/v1/audio/translations", data={"model": GRAPH}, files={"file": ("a.wav", self._wav(20))}
                )

    @staticmethod
    def _good(answer: httpx.Response) -> None:
        if answer.status_code in (429, 503):
            raise RefusedError(f"openai {answer.status_code}")
        assert answer.status_code == 200, answer.text
