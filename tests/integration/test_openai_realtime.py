"""OpenAI's realtime translations, with its own unmodified SDK as the client, over sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiortc
import httpx
import numpy as np
import openai
import psutil
import pytest
import soundfile
import websockets
from openai.lib.realtime_translation import AsyncTranslationSession
from scipy.signal import resample_poly

from tests.integration.served_socket import Listening, listening
from tests.integration.webrtc_peer import Peer, babble
from tests.mangled_events import FULL, mangled
from tests.until import until
from tolmach.pipelines.frames import Samples

APPEND, CLOSE = "session.input_audio_buffer.append", "session.close"
TOKEN = "a-token-of-a-test"  # noqa: S105
SECOND = 48_000
"""Bytes."""


def pcm(samples: Samples) -> bytes:
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def sound(seconds: float) -> bytes:
    return pcm(babble(seconds)[::2])


def append(audio: bytes) -> dict[str, str]:
    return {"type": APPEND, "audio": base64.b64encode(audio).decode()}


def client(server: Listening, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=f"{server.http}/v1", max_retries=0)


class Heard:
    """What a session has said."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, event: Any) -> None:
        self.events.append(event.to_dict())

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def text(self, which: str) -> str:
        return "".join(event["delta"] for event in self.of(f"session.{which}_transcript.delta"))

    @property
    def audio(self) -> bytes:
        return b"".join(base64.b64decode(event["delta"]) for event in self.of("session.output_audio.delta"))

    @property
    def error(self) -> Mapping[str, Any]:
        (event,) = self.of("error")
        error: Mapping[str, Any] = event["error"]
        return error


async def listen(connection: Any, heard: Heard) -> None:
    """All there is to come, within a minute."""
    async with asyncio.timeout(60):
        async for event in connection:
            heard.add(event)


@pytest.fixture
async def server(root: Path) -> AsyncIterator[Listening]:
    """One that gives back what it hears: no model, but everything else."""
    async with listening(root / "config" / "echo.yaml", offers_per_minute=1000) as found:
        yield found


# A session over WebSocket ---------------------------------------------------------------------------------------------


async def test_a_session_from_created_to_closed(server: Listening) -> None:
    heard = Heard()
    async with client(server).realtime.translations.connect(model="echo") as connection:
        for _ in range(5):
            await connection.send(append(sound(0.2)))
        await connection.send({"type": CLOSE})
        await listen(connection, heard)
    created, *deltas, closed = heard.events
    assert created["type"] == "session.created"
    assert {**created["session"], "expires_at": 0} == {
        "id": created["session"]["id"],
        "type": "translation",
        "model": "echo",
        "expires_at": 0,
        "audio": {"input": {"transcription": None, "noise_reduction": None}, "output": {"language": None}},
    }
    assert 7000 < created["session"]["expires_at"] - time.time() < 7300
    assert closed["type"] == "session.closed"
    assert {event["type"] for event in deltas} == {"session.output_audio.delta"}
    assert {(e["sample_rate"], e["channels"], e["format"]) for e in deltas} == {(24_000, 1, "pcm16")}
    assert all(event["elapsed_ms"] % 200 == 0 for event in deltas)
    assert all(len(base64.b64decode(event["delta"])) <= SECOND // 5 for event in deltas)
    assert 0.9 * SECOND < len(heard.audio) < 1.1 * SECOND
    ids = [event["event_id"] for event in heard.events]
    assert len(set(ids)) == len(ids)


async def test_the_clients_of_the_sdk_that_wait_for_the_end_and_the_blocking_ones(server: Listening) -> None:
    heard = Heard()
    async with AsyncTranslationSession(client(server).realtime.translations, model="echo") as session:
        await session.send(append(sound(0.4)))  # type: ignore[arg-type]
        await session.send({"type": CLOSE})
        while not heard.of("session.closed"):
            heard.add(await session.recv())
    assert len(heard.audio) > 0.3 * SECOND

    def blocking() -> list[str]:
        sdk = openai.OpenAI(api_key="none", base_url="http://nowhere/v1", websocket_base_url=f"{server.ws}/v1")
        with sdk.realtime.translations.connect(model="echo") as connection:
            connection.session.update(session={"audio": {"input": {"noise_reduction": {"type": "far_field"}}}})
            connection.session.input_audio_buffer.append(audio=base64.b64encode(sound(0.4)).decode())
            connection.session.close()
            return [event.type for event in connection]

    kinds = await asyncio.to_thread(blocking)
    assert kinds[:2] == ["session.created", "session.updated"]
    assert kinds[-1] == "session.closed"


async def test_a_mistake_is_told_and_the_session_goes_on(server: Listening) -> None:
    heard = Heard()
    async with client(server).realtime.translations.connect(model="echo") as connection:
        await connection.send({"type": APPEND, "audio": "not base64!", "event_id": "first"})
        language: Any = {"audio": {"output": {"language": "ru"}}}
        await connection.session.update(session=language, event_id="second")
        transcription: Any = {"audio": {"input": {"transcription": {"model": "whisper"}}}}
        await connection.session.update(session=transcription, event_id="third")
        extras: Any = {"instructions": "Be kind.", "audio": {"output": {"voice": "marin"}}}
        await connection.session.update(session=extras)
        await connection.send(append(sound(0.4)))
        await connection.send({"type": CLOSE})
        await connection.send({"type": CLOSE, "event_id": "late"})
        await listen(connection, heard)
    errors = [event["error"] for event in heard.of("error")]
    assert [(e["event_id"], e["code"], e["param"]) for e in errors] == [
        ("first", "invalid_value", "audio"),
        ("second", "unsupported_language", "session.audio.output.language"),
        ("third", "unsupported_transcription", "session.audio.input.transcription"),
        ("late", "session_closing", "type"),
    ]
    assert {e["type"] for e in errors} == {"invalid_request_error"}
    (updated,) = heard.of("session.updated")
    assert updated["ignored"] == ["session.instructions", "session.audio.output.voice"]
    assert len(heard.audio) > 0.3 * SECOND


async def test_a_model_that_does_not_exist_is_told_with_those_that_do(server: Listening) -> None:
    heard = Heard()
    async with client(server).realtime.translations.connect(model="ecko") as connection:
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await listen(connection, heard)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert (heard.error["code"], heard.error["param"]) == ("model_not_found", "model")
    assert "did you mean 'echo'" in heard.error["message"]
    assert not heard.of("session.closed"), "there was no session"


async def test_the_name_of_their_own_model_means_the_default_graph(server: Listening) -> None:
    async with client(server).realtime.translations.connect(model="gpt-realtime-translate") as connection:
        created: Any = await connection.recv()
        assert created.session.model == "echo"


async def test_a_full_server_says_when_to_come_again(root: Path) -> None:
    heard = Heard()
    async with listening(root / "config" / "echo.yaml", max_sessions=1) as server:
        connect = client(server).realtime.translations.connect
        async with connect(model="echo") as first:
            await first.send(append(sound(0.2)))
            await until(lambda: all(session.proven for session in server.service.pool))
            async with connect(model="echo") as second:
                with pytest.raises(websockets.ConnectionClosedError) as closed:
                    await listen(second, heard)
    assert (heard.error["type"], heard.error["code"]) == ("server_error", "busy")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    assert "try again in 15 s" in closed.value.rcvd.reason


async def test_who_comes_too_often_is_told_when_to_come_again(root: Path) -> None:
    heard = Heard()
    async with listening(root / "config" / "echo.yaml", offers_per_minute=1) as server:
        connect = client(server).realtime.translations.connect
        async with connect(model="echo") as first:
            await first.recv()
        async with connect(model="echo") as second:
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await listen(second, heard)
    assert (heard.error["type"], heard.error["code"]) == ("requests", "rate_limit_exceeded")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    told = re.search(r"try again in (\d+) s", closed.value.rcvd.reason)
    assert told is not None
    assert 30 < int(told[1]) <= 60, "one a minute; the first was some seconds ago on a busy machine"


async def test_who_connects_first_and_speaks_last_is_told_that_the_places_are_taken(root: Path) -> None:
    heard = Heard()
    async with listening(root / "config" / "echo.yaml", max_sessions=1) as server:
        connect = client(server).realtime.translations.connect
        async with connect(model="echo") as silent, connect(model="echo") as speaking:
            await speaking.send(append(sound(0.2)))
            await until(lambda: any(session.proven for session in server.service.pool))
            await silent.send(append(sound(0.2)))
            with pytest.raises(websockets.ConnectionClosedError):
                await listen(silent, heard)
            assert len(server.service.pool) == 1
    assert heard.error["code"] == "busy"
    assert [event["type"] for event in heard.events if "audio" not in event["type"]] == [
        "session.created",
        "error",
        "session.closed",
    ]
    assert silent._connection.close_code == 1013


async def test_a_connection_that_breaks_is_made_again_by_the_sdk_and_leaves_no_half_a_session(root: Path) -> None:
    heard = Heard()
    tries = []
    async with listening(root / "config" / "echo.yaml", max_sessions=1) as server:
        translations = client(server).realtime.translations
        again = translations.connect(model="echo", initial_delay=0.2, on_reconnecting=lambda e: tries.append(e.attempt))
        async with again as connection:
            reading = asyncio.create_task(listen(connection, heard))
            await connection.send(append(sound(0.2)))
            await until(lambda: bool(heard.audio))
            connection._connection.transport.abort()
            await until(lambda: len(heard.of("session.created")) == 2)
            assert len(server.service.pool) == 1, "the place that the first one had is free again"
            await connection.send(append(sound(0.4)))
            await connection.send({"type": CLOSE})
            await until(lambda: bool(heard.of("session.closed")))
            await connection.close()
            await reading
    assert tries[0] == 1
    first, second = (event["session"]["id"] for event in heard.of("session.created"))
    assert first != second
    assert len(heard.audio) > 0.3 * SECOND


@pytest.mark.parametrize(
    ("settings", "code", "closed_with"),
    [({"max_session_s": 1}, "session_expired", 1001), ({"drain_s": 2}, "server_draining", 1012)],
)
async def test_the_end_that_the_server_makes_is_told(
    root: Path, settings: dict[str, Any], code: str, closed_with: int
) -> None:
    heard = Heard()
    async with listening(root / "config" / "echo.yaml", **settings) as server:
        connection = await client(server).realtime.translations.connect(model="echo").enter()
        heard.add(await connection.recv())
        draining = asyncio.create_task(server.service.drain()) if "drain_s" in settings else None
        with contextlib.suppress(websockets.ConnectionClosedError):  # which 1001 is none of
            await listen(connection, heard)
        if draining is not None:
            await draining
    assert heard.error["code"] == code
    assert heard.events[-1]["type"] == "session.closed"
    assert connection._connection.close_code == closed_with


# Secrets --------------------------------------------------------------------------------------------------------------


async def test_a_page_speaks_with_a_secret_and_does_nothing_else_with_it(root: Path) -> None:
    async with listening(root / "config" / "echo.yaml", token=TOKEN) as server:
        owner = client(server, TOKEN)
        wanted: Any = {"model": "echo", "audio": {"input": {"noise_reduction": {"type": "near_field"}}}}
        made = await owner.realtime.translations.client_secrets.create(
            session=wanted, expires_after={"anchor": "created_at", "seconds": 60}
        )
        assert 55 < made.expires_at - time.time() < 65
        assert made.session.model == "echo"
        page = client(server, made.value)
        async with page.realtime.translations.connect(model="echo") as connection:
            created: Any = await connection.recv()
            assert created.session.audio.input.noise_reduction.type == "near_field"
        with pytest.raises(openai.AuthenticationError):
            await page.realtime.translations.client_secrets.create(session=wanted)
        for key in (f"{made.value}x", "none"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await client(server, key).realtime.translations.connect(model="echo").enter()
            told = json.loads(refused.value.response.body or b"")["error"]
            assert (refused.value.response.status_code, told["code"]) == (401, "invalid_api_key")
        offered = [websockets.Subprotocol("realtime"), websockets.Subprotocol(f"openai-insecure-api-key.{made.value}")]
        address = f"{server.ws}/v1/realtime/translations?model=echo"
        async with websockets.connect(address, subprotocols=offered) as browser:
            assert browser.subprotocol == "realtime"
            assert json.loads(await browser.recv())["type"] == "session.created"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "session"),
        ({"session": {}}, "model"),
        ({"session": {"model": "nothing"}}, "model"),
        ({"session": {"model": "echo", "colour": "red"}}, "session.colour"),
        ({"session": {"model": "echo", "audio": {"output": {"language": "ru"}}}}, "session.audio.output.language"),
        ({"session": {"model": "echo"}, "expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"session": {"model": "echo"}, "expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"session": {"model": "echo"}, "expires_after": {"anchor": "never"}}, "expires_after.anchor"),
    ],
)
async def test_a_secret_that_would_open_nothing_is_refused(server: Listening, body: Any, param: str) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        await client(server).post("/realtime/translations/client_secrets", body=body, cast_to=object)
    assert refused.value.status_code in (400, 404)
    assert refused.value.param == param


# A call over WebRTC ---------------------------------------------------------------------------------------------------


class Caller(Peer):
    """A page that speaks OpenAI's protocol over WebRTC, made of aiortc."""

    def __init__(self, signal: Samples) -> None:
        super().__init__(signal, label="oai-events")
        self.events = self.told

    async def join(self, server: Listening, key: str = "none", *, form: bool = False, **query: str) -> str:
        """Post the offer, take the answer; the address of the call."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        sdp = self.pc.localDescription.sdp
        sdk = client(server, key)
        if form:
            session = json.dumps({"type": "translation", **query})
            answer = await sdk.post(
                "/realtime/translations/calls",
                files={"sdp": (None, sdp.encode(), "application/sdp"), "session": (None, session.encode())},  # type: ignore[dict-item]
                options={"headers": {"Content-Type": "multipart/form-data", "Accept": "application/sdp"}},
                cast_to=openai._legacy_response.HttpxBinaryResponseContent,
            )
        else:
            answer = await sdk.post(
                "/realtime/translations/calls",
                content=sdp.encode(),
                options={"headers": {"Content-Type": "application/sdp"}, "params": query},
                cast_to=openai._legacy_response.HttpxBinaryResponseContent,
            )
        assert answer.response.status_code == 201
        assert answer.response.headers["content-type"] == "application/sdp"
        await self.pc.setRemoteDescription(aiortc.RTCSessionDescription(answer.text, "answer"))
        return str(answer.response.headers["location"])

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


@contextlib.asynccontextmanager
async def calling(signal: Samples) -> AsyncIterator[Caller]:
    caller = Caller(signal)
    try:
        yield caller
    finally:
        await caller.close()


async def test_a_call_hears_and_is_told_over_its_data_channel(server: Listening) -> None:
    async with calling(babble(20)) as caller:
        where = await caller.join(server, form=True, model="echo")
        await until(lambda: bool(caller.of("session.created")))
        assert where == f"/v1/realtime/translations/calls/{caller.of('session.created')[0]['session']['id']}"
        await caller.hear(25)
        noise = {"audio": {"input": {"noise_reduction": {"type": "far_field"}}}}
        caller.channel.send(json.dumps({"type": "session.update", "session": noise}))
        caller.channel.send(json.dumps({**append(sound(0.1)), "event_id": "no"}))
        await until(lambda: bool(caller.of("session.updated") and caller.of("error")))
        assert caller.of("error")[0]["error"]["event_id"] == "no"
        assert np.abs(np.concatenate([part[2] for part in caller._packets])).max() > 0.01, "the echo of what it says"
        caller.channel.send(json.dumps({"type": CLOSE}))
        await until(lambda: bool(caller.of("session.closed")))
        await until(lambda: not len(server.service.pool))
        assert [event["type"] for event in caller.events if "transcript" not in event["type"]][-1] == "session.closed"


async def test_a_call_is_ended_by_the_sdk_and_by_whoever_hangs_up(server: Listening) -> None:
    async with calling(babble(20)) as caller:
        where = await caller.join(server, model="gpt-realtime-translate")
        await until(lambda: bool(caller.of("session.created")))
        await client(server).realtime.calls.hangup(where.rpartition("/")[2])
        await until(lambda: bool(caller.of("session.closed")))
        with pytest.raises(openai.ConflictError):
            await client(server).post(f"{where.removeprefix('/v1')}/hangup", cast_to=object)
    async with calling(babble(20)) as caller:
        await caller.join(server, model="echo")
        await until(lambda: bool(caller.of("session.created")))
        assert len(server.service.pool) == 1
    await until(lambda: not len(server.service.pool), within_s=30)


async def test_a_call_with_a_secret_needs_no_model_and_gets_no_other(root: Path) -> None:
    async with listening(root / "config" / "echo.yaml", token=TOKEN) as server:
        made = await client(server, TOKEN).realtime.translations.client_secrets.create(session={"model": "echo"})
        async with calling(babble(5)) as caller:
            await caller.join(server, made.value)
            await until(lambda: bool(caller.of("session.created")))
        page = client(server, made.value)
        for query in ("phrasebook", "nothing"):
            with pytest.raises(openai.APIStatusError):
                await page.post(
                    "/realtime/translations/calls",
                    content=b"v=0",
                    options={"headers": {"Content-Type": "application/sdp"}, "params": {"model": query}},
                    cast_to=object,
                )
        await until(lambda: not len(server.service.pool), within_s=30)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/sdp", b"v=0", 400),
        ("application/sdp", b"\xff", 400),
        ("application/sdp", b"x" * 131_073, 413),
        ("application/json", b"{}", 400),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n", 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n'
            b'--x\r\nContent-Disposition: form-data; name="session"\r\n\r\n[1]\r\n--x--\r\n',
            400,
        ),
    ],
)
async def test_an_offer_that_cannot_be_used_is_refused(server: Listening, kind: str, body: bytes, status: int) -> None:
    async with httpx.AsyncClient(base_url=server.http) as http:
        address = "/v1/realtime/translations/calls?model=echo"
        answer = await http.post(address, content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(server.service.pool) == 0


# Translations ---------------------------------------------------------------------------------------------------------


def spoken(root: Path, name: str, start_s: float, end_s: float) -> Samples:
    """A part of a demo recording and a second and a half of silence, 24 kHz."""
    recording, rate_hz = soundfile.read(root / "config" / "demo" / name, dtype="float32")
    part = recording[round(start_s * rate_hz) : round(end_s * rate_hz)]
    return np.asarray(np.concatenate([resample_poly(part, 24_000, rate_hz), np.zeros(36_000)]), np.float32)


async def speak(connection: Any, samples: Samples) -> None:
    """Append audio in real time, in the pieces that the documentation recommends."""
    audio, clock = pcm(samples), asyncio.get_running_loop().time
    start_s = clock()
    for at in range(0, len(audio), SECOND // 5):
        await connection.send(append(audio[at : at + SECOND // 5]))
        await asyncio.sleep(start_s + (at + SECOND // 5) / SECOND - clock())


def voiced_s(audio: bytes) -> float:
    """How much of the audio is no silence, s, by frames of 20 ms."""
    samples = np.frombuffer(audio, "<i2").astype(np.float32) / 32768
    frames = samples[: len(samples) // 480 * 480].reshape(-1, 480)
    return float((np.sqrt((frames**2).mean(axis=1)) > 0.01).sum() * 0.02)


@pytest.mark.models
async def test_demo_clips_are_translated_both_ways_while_they_are_spoken(root: Path) -> None:
    """Two sessions at once, a third one that changes its language on the way, and a call."""
    transcription: Any = {"audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}}

    async def one_way(server: Listening, recording: str, end_s: float, language: str) -> Heard:
        heard = Heard()
        async with client(server).realtime.translations.connect(model="phrasebook-live") as connection:
            session: Any = {"audio": {"output": {"language": language}, **transcription["audio"]}}
            await connection.session.update(session=session)
            reading = asyncio.create_task(listen(connection, heard))
            await speak(connection, spoken(root, recording, 0, end_s))
            await connection.send({"type": CLOSE})
            await reading
        return heard

    async def turning_round(server: Listening) -> Heard:
        heard = Heard()
        async with client(server).realtime.translations.connect(model="phrasebook-live") as connection:
            await connection.session.update(session={"audio": {"output": {"language": "en"}}})
            reading = asyncio.create_task(listen(connection, heard))
            await speak(connection, spoken(root, "phrasebook-ru.flac", 0, 2.3))
            await connection.session.update(session={"audio": {"output": {"language": "ru"}}})
            await speak(connection, np.zeros(24_000, np.float32))
            await speak(connection, spoken(root, "phrasebook-en.flac", 0, 2.3))
            await connection.send({"type": CLOSE})
            await reading
        return heard

    async def over_webrtc(server: Listening) -> list[Mapping[str, Any]]:
        clip = resample_poly(spoken(root, "phrasebook-en.flac", 0, 2.3), 2, 1)
        async with calling(np.asarray(clip, np.float32)) as caller:
            await caller.join(server, form=True, model="phrasebook-live")
            await until(lambda: bool(caller.of("session.output_transcript.delta")), within_s=60)
            return caller.of("session.output_transcript.delta")

    async with listening(root / "config" / "phrasebook-live.yaml", warm=True) as server:
        to_russian, to_english, turned, called = await asyncio.gather(
            one_way(server, "phrasebook-en.flac", 4.3, "ru"),
            one_way(server, "phrasebook-ru.flac", 5.0, "en"),
            turning_round(server),
            over_webrtc(server),
        )
    assert to_russian.text("output") == "Доброе утро. Вы говорите по-английски?"
    assert to_russian.text("input") == "Good morning. Do you speak English?"
    assert to_english.text("output") == "Good morning. Do you speak English?"
    assert to_english.text("input") == "Доброе утро. Вы говорите по-английски?"
    for heard, language, source in ((to_russian, "ru", "en"), (to_english, "en", "ru")):
        (updated,) = heard.of("session.updated")
        assert updated["session"]["audio"]["output"]["language"] == language
        told = heard.of("session.output_transcript.delta")
        assert {(e["language"], e["source_language"]) for e in told} == {(language, source)}
        # Two short sentences of espeak: each takes between half a second and two and a half.
        assert 1.0 < voiced_s(heard.audio) < 5.0
        assert all(len(base64.b64decode(e["delta"])) <= SECOND // 5 for e in heard.of("session.output_audio.delta"))
        elapsed = [event["elapsed_ms"] for event in heard.events if "elapsed_ms" in event]
        assert elapsed == sorted(elapsed)
        assert heard.events[-1]["type"] == "session.closed"
        assert not heard.of("error")
    assert turned.text("output") == "Good morning. Доброе утро."
    assert not turned.of("session.input_transcript.delta"), "nobody asked for it"
    assert called[0]["delta"] == "Доброе утро."


# What clients should not do -------------------------------------------------------------------------------------------


async def test_thousands_of_mangled_messages_end_in_words_and_leave_nothing(
    server: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    """Sessions that say all kinds of things, some until they are hung up on."""
    chance = random.Random(13)
    whole = [json.dumps(FULL), json.dumps(append(bytes(64)))]
    address = f"{server.ws}/v1/realtime/translations?model=echo"
    codes = set()
    this = psutil.Process()
    before = this.num_fds()
    for _ in range(30):
        async with websockets.connect(address) as socket:
            try:
                for _ in range(chance.randrange(20, 400)):
                    message = mangled(chance, chance.choice(whole))
                    await socket.send(
                        message.encode("utf-8", "replace").decode() if isinstance(message, str) else message
                    )
                if chance.random() < 0.3:
                    socket.transport.abort()
                await socket.send(json.dumps({"type": CLOSE}))
                while True:
                    assert json.loads(await socket.recv())["type"]
            except websockets.ConnectionClosed as closed:
                codes.add(closed.rcvd.code if closed.rcvd else None)
    assert 1008 in codes, "who makes a hundred mistakes is hung up on"
    await until(lambda: not len(server.service.pool), within_s=60)
    await until(lambda: this.num_fds() <= before + 2, within_s=60)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


async def test_thousands_of_mangled_events_on_a_data_channel_leave_the_call_or_end_it_in_words(
    server: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(14)
    whole = [json.dumps(FULL), json.dumps(append(bytes(64)))]
    for _ in range(2):
        async with calling(babble(20)) as caller:
            await caller.join(server, model="echo")
            await until(lambda caller=caller: bool(caller.of("session.created")))
            for number in range(1_500):
                if caller.channel.readyState != "open":
                    break
                text = mangled(chance, chance.choice(whole))
                caller.channel.send(text if isinstance(text, bytes) else text.encode("utf-8", "replace").decode())
                if number % 50 == 0:
                    await asyncio.sleep(0.02)
            await until(lambda caller=caller: len(caller.of("error")) > 20)
            assert all(event["error"]["code"] for event in caller.of("error"))
    await until(lambda: not len(server.service.pool), within_s=40)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
