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
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import httpx
import numpy as np
import soundfile
import websockets
from scipy.signal import resample_poly
from websockets.asyncio.client import ClientConnection

from tests.integration.room_peer import RoomPeer, bearer
from tests.integration.whip_clients import SDP, Endpoint, Listener, Publisher
from tests.until import until
from tolmach.pipelines.frames import Samples

if TYPE_CHECKING:
    from tests.integration.served_peer import Client

GRAPH = "phrasebook-live"
CHUNK_S = 0.2

Part = Callable[[], Awaitable[None]]


async def _read_live(socket: ClientConnection, heard: Counter[str] | None = None) -> None:
    """Count what comes, and answer pings, until it is closed."""
    heard = Counter() if heard is None else heard
    async for data in socket:
        if isinstance(data, bytes):
            heard["sound"] += 1
            continue
        message = json.loads(data)
        if message.get("error", {}).get("code") in ("busy", "too-many-requests"):
            raise RefusedError(message["error"]["code"])
        if message["type"] == "ping":
            await socket.send(json.dumps({"v": 1, "type": "pong", "number": message["number"]}))
        heard[message["type"]] += 1


class RefusedError(Exception):
    """The server has said no, as it should to a crowd."""


class _People:
    """Who is in a room, as :class:`RoomPeer` asks of a client."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.peers: list[Any] = []

    @property
    def as_client(self) -> Client:
        """For the type checker."""
        return cast("Client", self)

    async def go(self) -> None:
        """Close them all, without a word to the room."""
        await asyncio.gather(*(peer.close() for peer in self.peers))


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
            self.publish_and_listen,
            self.publish_and_vanish,
            self.whip_nonsense,
            self.lecture,
            self.conversation,
            self.lecture_by_socket,
            self.room_nonsense,
        )

    # WebSockets ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _socket(self, path: str, code: str = "") -> AsyncIterator[ClientConnection]:
        shown = {"Authorization": f"Bearer {code}"} if code else None
        try:
            socket = await websockets.connect(
                f"ws://{self._at}{path}", compression=None, max_size=2**24, additional_headers=shown
            )
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

    # WHIP, WHEP ---------------------------------------------------------------------------------------------------

    async def publish_and_listen(self) -> None:
        """Publish under a name; some listen, one of them late."""
        name = f"soak{self._dice.randrange(10**9)}"
        publisher = Publisher(self._http, self._speech["en"])
        listeners = [Listener(self._http, channel=True) for _ in range(3)]
        try:
            await self._begin(publisher, f"/whip/{GRAPH}?stream={name}")
            for listener in listeners[:2]:
                await self._begin(listener, f"/whep/{name}")
            await until(lambda: min(listener.loud for listener in listeners[:2]) > 20, within_s=40)
            await self._begin(listeners[2], f"/whep/{name}")
            await until(lambda: listeners[2].loud > 20, within_s=40)
            self._told["captions"] += sum(len(listener.said("caption")) for listener in listeners)
            await self._http.delete(listeners[0].resource)
            await self._http.delete(publisher.resource)
        finally:
            await asyncio.gather(*(each.pc.close() for each in (publisher, *listeners)))

    async def publish_and_vanish(self) -> None:
        """Publish, and be gone without a word; so is who listens."""
        name = f"soak{self._dice.randrange(10**9)}"
        publisher, listener = Publisher(self._http, self._speech["ru"]), Listener(self._http)
        try:
            await self._begin(publisher, f"/whip/{GRAPH}?stream={name}")
            await self._begin(listener, f"/whep/{name}")
            await asyncio.sleep(self._dice.uniform(0, 4))
        finally:
            await asyncio.gather(publisher.pc.close(), listener.pc.close())

    async def whip_nonsense(self) -> None:
        """Offers and fragments that are none."""
        for path in (f"/whip/{GRAPH}", "/whep/nothing", "/whip/nothing"):
            for sdp in ("", "v=0", "x" * 60_000, "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"):
                answer = await self._http.post(path, content=sdp, headers={"Content-Type": SDP})
                assert answer.status_code in (400, 404, 422, 429, 503), answer.text
        await Publisher(self._http, self._speech["en"]).post(f"/whip/{GRAPH}")  # and is never seen again

    async def _begin(self, endpoint: Endpoint, path: str) -> None:
        try:
            await endpoint.begin(path)
        except AssertionError as error:
            if endpoint.answered is not None and endpoint.answered.status_code in (429, 503):
                raise RefusedError(f"whip {endpoint.answered.status_code}") from error
            raise

    # Rooms --------------------------------------------------------------------------------------------------------

    async def _open_room(self, graph: str) -> Mapping[str, Any]:
        answer = await self._http.post("/api/rooms", json={"graph": graph})
        if answer.status_code in (429, 503):
            raise RefusedError(f"rooms {answer.status_code}")
        assert answer.status_code == 201, answer.text
        room: Mapping[str, Any] = answer.json()
        return room

    async def _come(self, peer: RoomPeer, **body: Any) -> None:
        answer = await peer.arrive(**body)
        if answer.status_code in (429, 503):
            raise RefusedError(f"rooms {answer.status_code}")
        assert answer.status_code == 201, answer.text
        await peer.until("room")

    async def lecture(self) -> None:
        """One speaks, several read and listen, one of them late; the speaker goes and comes back."""
        people = _People(self._http)
        room = await self._open_room("phrasebook-lecture")
        try:
            speaker = RoomPeer(people.as_client, room, "speaker", self._speech["en"])
            listeners = [RoomPeer(people.as_client, room, seat) for seat in ("ru", "ru", "en")]
            for peer in (speaker, *listeners):
                await self._come(peer)
            await listeners[0].until("caption", lambda m: m["final"] and bool(m["text"]))
            self._told["captions"] += 1
            late = RoomPeer(people.as_client, room, "ru")
            await self._come(late)
            if self._dice.random() < 0.5:
                await speaker.vanish()
            else:
                await speaker.leave()
            again = RoomPeer(people.as_client, room, "speaker", self._speech["en"])
            await self._come(again, take_over=True)  # the server may not have noticed yet
            await late.until("caption", lambda m: m["final"] and bool(m["text"]))
            self._told["captions"] += 1
        finally:
            await self._http.delete(f"/api/rooms/{room['room']}", headers=bearer(room["code"]))
            await people.go()

    async def conversation(self) -> None:
        """Two speak, each their own language; one vanishes, and the other is left alone in a room nobody ends."""
        people = _People(self._http)
        room = await self._open_room("phrasebook-conversation")
        try:
            seats = [each["seat"] for each in room["seats"]]
            first = RoomPeer(people.as_client, room, seats[0], self._speech["en"])
            second = RoomPeer(people.as_client, room, seats[1], self._speech["ru"])
            await self._come(first)
            await self._come(second)
            await asyncio.gather(
                *(p.until("caption", lambda m: m["final"] and bool(m["text"])) for p in (first, second))
            )
            self._told["captions"] += 2
            await first.vanish()
        finally:
            await people.go()

    async def lecture_by_socket(self) -> None:
        """One speaks and one listens over WebSockets, some longer than a request may take; the speaker may vanish."""
        room = await self._open_room("phrasebook-lecture")
        codes = {seat["seat"]: seat["code"] for seat in room["seats"]}
        path = f"/api/rooms/{room['room']}/ws"
        heard: Counter[str] = Counter()
        try:
            async with self._socket(path, codes["ru"]) as listener, self._socket(path, codes["speaker"]) as speaker:
                for socket in (listener, speaker):
                    await socket.send(json.dumps({"v": 1, "type": "hello", "sample_rate": 48_000, "channels": 1}))
                reading = [asyncio.create_task(_read_live(listener, heard)), asyncio.create_task(_read_live(speaker))]
                pcm = (np.clip(np.tile(self._speech["en"], 3), -1, 1) * 32767).astype("<i2")
                piece = round(48_000 * CHUNK_S)
                for number in range(round(self._dice.uniform(12, 45) / CHUNK_S)):
                    await speaker.send(pcm[number * piece : (number + 1) * piece].tobytes())
                    await asyncio.sleep(CHUNK_S)
                if self._dice.random() < 0.5:
                    speaker.transport.abort()
                else:
                    await speaker.send(json.dumps({"v": 1, "type": "bye"}))
                await until(lambda: heard["caption"] > 0 and heard["sound"] > 20, within_s=40)
        finally:
            await self._http.delete(f"/api/rooms/{room['room']}", headers=bearer(room["code"]))
        for each in await asyncio.gather(*reading, return_exceptions=True):
            if isinstance(each, RefusedError):
                raise each
        self._told["captions"] += heard["caption"]

    async def room_nonsense(self) -> None:
        """Rooms that nobody comes to, wrong codes, offers that are none."""
        room = await self._open_room(self._dice.choice(("phrasebook-lecture", "phrasebook-conversation")))
        path = f"/api/rooms/{room['room']}"
        for code in ("x", room["code"][:-1] + "_", "é" * 30):
            answer = await self._http.post(
                f"{path}/peers", json={"sdp": "v=0"}, headers=[("Authorization", f"Bearer {code}".encode())]
            )
            assert answer.status_code in (400, 401, 403, 404, 429), answer.text
        for sdp in ("", "v=0", "x" * 60_000):
            await self._http.post(f"{path}/peers", json={"sdp": sdp}, headers=bearer(room["seats"][0]["code"]))
        if self._dice.random() < 0.5:
            await self._http.delete(path, headers=bearer(room["code"]))

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
