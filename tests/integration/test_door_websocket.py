"""The WebSocket door over real sockets: the simple client's protocol, docs/LIVE.md over it, and who is not let in."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import soundfile
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.served_peer import Client, ServedPeer
from tests.integration.served_socket import Listening, listening
from tests.integration.test_server import spoken
from tests.integration.webrtc_peer import babble
from tests.until import until
from tolmach.web.doors.websocket import exchange as door

PATH = "/ws/translate"
MODE = json.dumps({"mode": "auto", "graph": "echo"})


@pytest.fixture
def graphs(tmp_path: Path, root: Path) -> Path:
    shutil.copy(root / "config" / "echo.yaml", tmp_path)
    return tmp_path


def pcm(signal: np.ndarray) -> bytes:
    return (np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes()


def tone(seconds: float, rate_hz: int = 48_000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)


async def refusal(socket: ClientConnection) -> tuple[dict[str, Any], int]:
    """What a client is told that is refused, and the code its connection is closed with."""
    async with asyncio.timeout(15):
        while isinstance(data := await socket.recv(), bytes):
            pass
        told = json.loads(data)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    return told["error"], closed.value.rcvd.code


async def everything(socket: ClientConnection, within_s: float = 30) -> list[str | bytes]:
    """What comes until the server closes."""
    async with asyncio.timeout(within_s):
        return [message async for message in socket]


async def messages(socket: ClientConnection, kind: str) -> AsyncIterator[dict[str, Any]]:
    """Messages of this type; pings are answered."""
    async for data in socket:
        if isinstance(data, bytes):
            continue
        message = json.loads(data)
        if message["type"] == "ping":
            await socket.send(json.dumps({"v": 1, "type": "pong", "number": message["number"]}))
        if message["type"] == kind:
            yield message


# The simple dialect ---------------------------------------------------------------------------------------------------


@pytest.mark.models
async def test_utterances_come_as_a_text_and_a_whole_wav_faster_than_they_were_spoken(
    root: Path, tmp_path: Path
) -> None:
    shutil.copy(root / "config" / "phrasebook-live.yaml", tmp_path)
    reference = json.loads((root / "config" / "demo" / "phrasebook-en.json").read_text("utf-8"))
    speech = pcm(spoken(root, "phrasebook-en.flac", 8.5))
    async with listening(tmp_path, warm=True) as server, connect(server.ws + PATH) as client:
        await client.send('{"mode": "en->ru"}')
        for start in range(0, len(speech), 9600):
            await client.send(speech[start : start + 9600])
        await client.send("__end__")
        got = await everything(client)
        assert client.close_code == 1000
    texts = [json.loads(each) for each in got if isinstance(each, str)]
    assert texts[:2] == [{"src": "en", "tgt": "ru", "text": phrase["ru"]} for phrase in reference[:2]]
    wavs = [each for each in got if isinstance(each, bytes)]
    assert len(wavs) == len(texts)
    for file in wavs:
        samples, rate_hz = soundfile.read(io.BytesIO(file), dtype="float32")
        assert rate_hz == 48_000
        assert samples.ndim == 1
        assert len(samples) > 0.3 * rate_hz
        assert np.sqrt(np.mean(samples**2)) > 0.01


@pytest.mark.models
async def test_a_flush_ends_the_utterance_that_is_open_and_silence_of_the_socket_does_not(
    root: Path, tmp_path: Path
) -> None:
    shutil.copy(root / "config" / "phrasebook-live.yaml", tmp_path)
    reference = json.loads((root / "config" / "demo" / "phrasebook-en.json").read_text("utf-8"))
    first = spoken(root, "phrasebook-en.flac", 8.5)
    loud = np.flatnonzero(np.abs(first) > 0.05)
    pause = int(loud[np.argmax(np.diff(loud))])  # where the first phrase ends
    async with listening(tmp_path, warm=True) as server, connect(server.ws + PATH) as client:
        await client.send('{"mode": "auto"}')
        await client.send(pcm(first[: pause + 4800]))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await client.recv()
        await client.send("__flush__")
        async with asyncio.timeout(20):
            said = json.loads(await client.recv())
            voice = await client.recv()
    assert said == {"src": "en", "tgt": "ru", "text": reference[0]["ru"]}
    assert isinstance(voice, bytes)
    assert voice[:4] == b"RIFF"


async def test_two_channels_of_another_rate_are_heard_as_they_are(graphs: Path) -> None:
    hello = {"mode": "auto", "graph": "echo", "channels": 2, "sample_rate": 16_000}
    stereo = np.stack([tone(2, 16_000), np.zeros(32_000)], axis=1)
    async with listening(graphs) as server, connect(server.ws + PATH) as client:
        await client.send(json.dumps(hello))
        await client.send(pcm(stereo))
        await client.send("__end__")
        got = await everything(client)
    heard = np.concatenate([soundfile.read(io.BytesIO(each))[0] for each in got if isinstance(each, bytes)])
    middle = heard[12_000:36_000]
    assert np.abs(np.fft.rfft(middle)).argmax() == 220, "440 Hz"
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.15 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize(
    ("first", "status", "said"),
    [
        ("{", 400, "JSON object"),
        ("[]", 400, "JSON object"),
        ("[" * 10_000, 400, "JSON object"),
        ("{}", 400, 'no "mode"'),
        (b"\x00\x01", 400, "the first message is text"),
        ('{"mode": 5}', 400, "mode"),
        ('{"mode": "auto", "channels": 3}', 400, "channels"),
        ('{"mode": "auto", "sample_rate": 1}', 400, "sample_rate"),
        ('{"mode": "english to russian"}', 400, "is no mode"),
        ('{"mode": "\\ud800"}', 400, "mode"),
        ('{"mode": "en->ru", "graph": "echo"}', 400, "direction of its own"),
        ('{"mode": "auto", "graph": "ecko"}', 404, "did you mean"),
        ('{"mode": "auto", "params": {"x": 1}}', 422, "x"),
        ('{"v": 2, "type": "hello"}', 400, '"v" must be 1'),
        ('{"v": 1, "type": "ciao"}', 400, "type"),
    ],
)
async def test_a_first_message_that_cannot_be_used_is_refused_in_words(
    graphs: Path, first: str | bytes, status: int, said: str
) -> None:
    async with listening(graphs) as server, connect(server.ws + PATH) as client:
        await client.send(first)
        error, code = await refusal(client)
    assert said in error["message"]
    assert code == door.CLOSE_BASE + status


async def test_who_says_nothing_is_not_waited_for(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HELLO_S", 0.2)
    async with listening(graphs) as server, connect(server.ws + PATH) as client:
        error, code = await refusal(client)
    assert (error["code"], code) == ("too-late", door.CLOSE_BASE + 408)


async def test_half_a_sample_is_told_and_ends_it(graphs: Path) -> None:
    async with listening(graphs) as server, connect(server.ws + PATH) as client:
        await client.send(MODE)
        await client.send(b"abc")
        error, code = await refusal(client)
    assert "no whole samples" in error["message"]
    assert code == door.CLOSE_BASE + 400


async def test_only_who_speaks_holds_a_place(graphs: Path) -> None:
    async with (
        listening(graphs, max_sessions=1) as server,
        connect(server.ws + PATH) as silent,
        connect(server.ws + PATH) as talker,
        connect(server.ws + PATH) as late,
    ):
        await silent.send(MODE)
        await until(lambda: len(server.service.pool) == 1)
        assert server.service.pool.as_json()["sessions"] == 0
        await talker.send(MODE)
        await talker.send(pcm(tone(0.1)))
        await until(lambda: server.service.pool.as_json()["sessions"] == 1)
        await silent.send(pcm(tone(0.1)))
        error, _ = await refusal(silent)
        assert "all 1 places are taken" in error["message"]
        await late.send(MODE)
        error, code = await refusal(late)
        assert (error["code"], code) == ("busy", door.CLOSE_BASE + 503)
        assert error["retry_after_s"] > 0


# docs/LIVE.md over it -------------------------------------------------------------------------------------------------


async def test_a_live_client_hears_itself_and_is_told_what_the_page_is_told(graphs: Path) -> None:
    async with listening(graphs) as server, connect(server.ws + PATH, subprotocols=["tolmach"]) as client:
        assert client.subprotocol == "tolmach"
        await client.send(json.dumps({"v": 1, "type": "hello", "graph": "echo"}))
        greeting = json.loads(await client.recv())
        assert (greeting["type"], greeting["graph"], greeting["resumed"]) == ("session", "echo", False)

        async def speak() -> None:
            for _ in range(100):
                await client.send(pcm(tone(0.02)))
                await asyncio.sleep(0.02)

        speaking = asyncio.create_task(speak())
        heard = 0
        kinds: set[str] = set()
        async with asyncio.timeout(15):
            async for data in client:
                if isinstance(data, bytes):
                    assert len(data) == 1920, "20 ms"
                    heard += len(data) // 2
                    continue
                message = json.loads(data)
                kinds.add(message["type"])
                if message["type"] == "ping":
                    await client.send(json.dumps({"v": 1, "type": "pong", "number": message["number"]}))
                if message["type"] == "stats" and message["round_trip_ms"] is not None and heard > 48_000:
                    assert message["receiver"]["media_samples"] > 0
                    break
        await speaking
        assert {"graph", "flow", "stats", "ping"} <= kinds
        await client.send('{"v": 1, "type": "bye"}')
        await everything(client)
        assert client.close_code == 1000
        await until(lambda: not len(server.service.pool))


async def test_a_live_client_comes_back_to_its_session(graphs: Path) -> None:
    hello = json.dumps({"v": 1, "type": "hello", "graph": "echo"})
    async with listening(graphs) as server:
        async with connect(server.ws + PATH) as client:
            await client.send(hello)
            session = json.loads(await client.recv())["session"]
            await client.send(pcm(tone(0.1)))
            await until(lambda: server.service.pool.as_json()["sessions"] == 1)
        await until(lambda: server.service.pool.find(session).state == "away")
        async with connect(f"{server.ws}{PATH}?resume={session}") as client:
            await client.send(json.dumps({"v": 1, "type": "hello"}))
            greeting = json.loads(await client.recv())
            assert (greeting["session"], greeting["resumed"]) == (session, True)
            await client.send(pcm(tone(1)))
            async with asyncio.timeout(10):
                while not isinstance(await client.recv(), bytes):
                    pass
            await client.send('{"v": 1, "type": "bye"}')
        await until(lambda: not len(server.service.pool))
        async with connect(f"{server.ws}{PATH}?resume={session}") as client:
            await client.send(json.dumps({"v": 1, "type": "hello"}))
            error, code = await refusal(client)
        assert code == door.CLOSE_BASE + 409
        assert "the session has ended" in error["message"]
        async with connect(f"{server.ws}{PATH}?resume=nobody") as client:
            await client.send(json.dumps({"v": 1, "type": "hello"}))
            assert (await refusal(client))[1] == door.CLOSE_BASE + 404


# Who is let in --------------------------------------------------------------------------------------------------------

TOKEN = "long,enough/token%="  # noqa: S105 -- of a server that lives for a second


async def status(server: Listening, **options: Any) -> int:
    """The HTTP status of a handshake; 101 if it is let in."""
    try:
        async with connect(server.ws + PATH, **options):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code if b'"error"' in (refused.response.body or b"") else 0


async def test_the_handshake_wants_the_token_in_a_header_or_as_a_subprotocol(graphs: Path) -> None:
    async with listening(graphs, token=TOKEN) as server:
        assert await status(server) == 401
        assert await status(server, additional_headers={"Authorization": "Bearer wrong-token"}) == 401
        assert await status(server, subprotocols=["tolmach", "tolmach-token.wrong-token"]) == 401
        assert await status(server, additional_headers={"Authorization": f"Bearer {TOKEN}"}) == 101
        protocols = ["tolmach", f"tolmach-token.{quote(TOKEN, safe='')}"]
        async with connect(server.ws + PATH, subprotocols=protocols) as client:
            assert client.subprotocol == "tolmach", "never the token"
            await client.send(MODE)
            await client.send("__end__")
            await everything(client)


async def test_pages_of_other_origins_and_other_names_of_this_machine_are_not_let_in(graphs: Path) -> None:
    async with listening(graphs, allowed_origins=("https://friend.example",)) as server:
        assert await status(server, origin=server.http) == 101
        assert await status(server, origin="https://friend.example") == 101
        assert await status(server, origin="https://evil.example") == 403
        assert await status(server, origin="null") == 403
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                f"GET {PATH} HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            assert b" 403 " in await reader.readline()
            writer.close()


async def test_a_server_may_do_without_the_door(graphs: Path) -> None:
    async with listening(graphs, without=("websocket",)) as server:
        with pytest.raises(InvalidStatus):
            async with connect(server.ws + PATH):
                pass


async def test_a_session_goes_from_webrtc_to_a_websocket_and_back(graphs: Path) -> None:
    async with listening(graphs) as server, httpx.AsyncClient(base_url=server.http) as http:
        peer = ServedPeer(babble(30), Client(server.service, http, FastAPI()))
        await peer.join({"graph": "echo"})
        await peer.hear(10)
        async with connect(f"{server.ws}{PATH}?resume={peer.session}") as client:
            await client.send(json.dumps({"v": 1, "type": "hello"}))
            greeting = json.loads(await client.recv())
            assert (greeting["session"], greeting["resumed"]) == (peer.session, True)
            assert (await peer.until("bye"))["reason"] == "another connection has taken its place"
            await client.send(pcm(tone(1)))
            async with asyncio.timeout(10):
                while not isinstance(await client.recv(), bytes):
                    pass
            patched = await http.patch(peer.url, json={"candidates": []})
            assert patched.status_code == 400
            again = ServedPeer(babble(30), Client(server.service, http, FastAPI()))
            await again.join({"resume": peer.session})
            assert "another connection" in str(await everything(client))
            await again.hear(10)
            await http.delete(peer.url)
        await peer.close()
        await again.close()
