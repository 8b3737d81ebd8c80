"""OpenAI's API for files, with OpenAI's own SDK as the client, over a socket: recordings in, words and speech out."""

from __future__ import annotations

import asyncio
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import av
import httpx
import numpy as np
import openai
import pytest
import soundfile
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from tests.integration.served_socket import Listening, listening
from tests.until import until
from tolmach.web.doors.openai.jobs import Jobs

SAID = ["Good morning.", "Do you speak English?", "I have a reservation."]

pytestmark = pytest.mark.models


@pytest.fixture
async def served(root: Path, tmp_path: Path) -> AsyncIterator[Listening]:
    for name in ("echo", "phrasebook-live"):
        shutil.copy(root / "config" / f"{name}.yaml", tmp_path)
    before = descriptors()
    async with listening(tmp_path, max_session_s=600, default_graph="phrasebook-live") as server:
        yield server
    await until(lambda: descriptors() <= before + 4)


@pytest.fixture
async def client(served: Listening) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{served.http}/v1", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def russian(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_sentences(root / "config" / "demo" / "phrasebook-ru.flac", 8.2, tmp_path_factory)


@pytest.fixture(scope="module")
def english(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_sentences(root / "config" / "demo" / "phrasebook-en.flac", 7.0, tmp_path_factory)


def three_sentences(recording: Path, seconds: float, folder: pytest.TempPathFactory) -> Path:
    """The begin of a recording: ``SAID`` in its language."""
    samples, rate_hz = soundfile.read(recording, dtype="int16")
    path = folder.mktemp("spoken") / recording.name
    soundfile.write(path, samples[: int(seconds * rate_hz)], rate_hz)
    return path


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0


def open_files() -> list[str]:
    """What the descriptors of this process are."""
    return [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]


def children() -> list[int]:
    """Decoders that this process has started."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "tolmach.web.decoding" in line]


def environment(pid: int) -> str:
    """What a process was given."""
    path = Path(f"/proc/{pid}/environ")
    return path.read_text() if path.exists() else ""


def recordings(served: Listening) -> Jobs:
    """The server's places for them."""
    return next(part for part in served.service.parts if isinstance(part, Jobs))


def silence(seconds: int) -> bytes:
    """So much of it in a small file."""
    held = io.BytesIO()
    with av.open(held, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=16_000)
        stream.codec_context.layout = "mono"  # type: ignore[union-attr]
        stream.codec_context.format = "s16"  # type: ignore[union-attr]
        for second in range(seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, second * 16_000
            container.mux(stream.encode(frame))  # type: ignore[union-attr]
        container.mux(stream.encode(None))  # type: ignore[union-attr]
    return held.getvalue()


async def test_a_recording_is_translated_into_english(client: openai.AsyncOpenAI, russian: Path) -> None:
    whole: Any = await client.audio.translations.create(
        model="phrasebook-live", file=russian, response_format="verbose_json"
    )
    assert whole.language == "english"
    assert whole.text == " ".join(SAID)
    assert whole.duration == pytest.approx(8.2, abs=0.01)
    assert [segment.text for segment in whole.segments] == SAID
    spans = [(segment.start, segment.end) for segment in whole.segments]
    assert all(start < end for start, end in spans)
    assert spans == sorted(spans)
    assert spans[1][0] == pytest.approx(2.6, abs=0.5), "the times are those of the recording"


async def test_what_is_spoken_in_english_already_stays_english(client: openai.AsyncOpenAI, english: Path) -> None:
    answer = await client.audio.translations.create(model="phrasebook-live", file=english)
    assert answer.text == " ".join(SAID)


async def test_another_language_may_be_asked_for(client: openai.AsyncOpenAI, english: Path) -> None:
    into: dict[str, Any] = {"target_language": "ru"}
    answer = await client.audio.translations.create(model="phrasebook-live", file=english, extra_body=into)
    assert answer.text.startswith("Доброе утро. Вы говорите по-английски?")


async def test_a_recording_is_written_down_in_its_language(
    served: Listening, client: openai.AsyncOpenAI, russian: Path
) -> None:
    found: Any = await client.audio.transcriptions.create(
        model="phrasebook-live", file=russian, response_format="verbose_json"
    )
    assert found.language == "russian", "nobody has said which"
    assert found.text == "Доброе утро. Вы говорите по-английски? У меня забронирован номер."

    def synchronous() -> str:
        with openai.OpenAI(api_key="none", base_url=f"{served.http}/v1", max_retries=0) as client:
            return client.audio.transcriptions.create(model="whisper-1", file=russian, language="ru").text

    assert await asyncio.to_thread(synchronous) == found.text


async def test_subtitles_are_taken_by_ffmpeg(client: openai.AsyncOpenAI, russian: Path) -> None:
    for shape in ("srt", "vtt"):
        text = await client.audio.translations.create(model="phrasebook-live", file=russian, response_format=shape)  # type: ignore[call-overload]
        with av.open(io.BytesIO(text.encode()), format={"srt": "srt", "vtt": "webvtt"}[shape]) as container:
            stream = container.streams.subtitles[0]
            packets = [packet for packet in container.demux(stream) if packet.size]
        said = [bytes(packet).decode() for packet in packets]
        assert said == SAID
        assert float(packets[1].pts * packets[1].time_base) == pytest.approx(2.6, abs=0.5)


async def test_words_come_as_they_are_understood(client: openai.AsyncOpenAI, english: Path) -> None:
    stream = await client.audio.transcriptions.create(model="phrasebook-live", file=english, stream=True)
    events = [event async for event in stream]
    deltas = [event.delta for event in events if isinstance(event, TranscriptionTextDeltaEvent)]
    assert len(deltas) == 3
    done = events[-1]
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert done.text == "".join(deltas)
    assert done.text == " ".join(SAID)


async def test_what_has_no_effect_is_named(client: openai.AsyncOpenAI, english: Path) -> None:
    answer = await client.audio.transcriptions.with_raw_response.create(
        model="phrasebook-live", file=english, response_format="text", prompt="Hotels.", temperature=0.4, language="en"
    )
    assert answer.headers["tolmach-ignored"] == "prompt, temperature"
    assert answer.text.startswith("Good morning.")


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"model": "phrasebook"}, 404, "model", "did you mean 'phrasebook-live'"),
    ({"model": "echo"}, 400, "model", "gives no text"),
    ({"model": "echo"}, 400, "model", "phrasebook-live can be asked"),
    ({"language": "de"}, 400, "language", "hears en, ru"),
    ({"language": "../../etc"}, 400, "language", "language tag"),
    ({"response_format": "diarized_json"}, 400, "response_format", "verbose_json"),
    ({"temperature": 3}, 400, "temperature", "from 0 to 1"),
    ({"timestamp_granularities": ["word"], "response_format": "verbose_json"}, 400, "timestamp_granularities", ""),
    ({"stream": True, "response_format": "srt"}, 400, "stream", "streamed"),
    ({"file": b"no recording at all"}, 400, "file", "cannot|can be decoded"),
    ({"file": b""}, 400, "file", "empty"),
]


async def test_what_cannot_be_done_is_said(client: openai.AsyncOpenAI, english: Path) -> None:
    for asked, status, param, says in REFUSED:
        whole = {"model": "phrasebook-live", "file": english, **asked}
        if isinstance(whole["file"], bytes):
            whole["file"] = ("talk.wav", whole["file"])
        with pytest.raises(openai.APIStatusError, match=says) as refused:
            await client.audio.transcriptions.create(**whole)
        assert refused.value.status_code == status
        assert refused.value.param == param
        assert refused.value.type == "invalid_request_error"


async def test_a_long_silence_in_a_small_file_is_refused(client: openai.AsyncOpenAI) -> None:
    small = silence(1300)
    assert len(small) < 300_000
    with pytest.raises(openai.APIStatusError, match="longer than 600 s") as refused:
        await client.audio.translations.create(model="phrasebook-live", file=("silence.flac", small))
    assert refused.value.status_code == 413


async def test_what_turns_out_too_late_to_be_wrong_is_the_last_event(
    root: Path, tmp_path: Path, english: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Utterance by utterance, as beside sessions; else all of it is read before the first words.
    monkeypatch.setattr("tolmach.web.doors.openai.files.somebody_talks", lambda service: True)
    shutil.copy(root / "config" / "phrasebook-live.yaml", tmp_path)
    samples, rate_hz = soundfile.read(english, dtype="int16")
    long = np.concatenate([samples, np.zeros(9 * rate_hz, np.int16)])
    # In a stream that does not say how long it is.
    with av.open(held := io.BytesIO(), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate_hz)
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(long[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        for each in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(each))  # type: ignore[union-attr]
        container.mux(stream.encode(None))  # type: ignore[union-attr]
    heard: list[str] = []
    async with (
        listening(tmp_path, max_session_s=10) as server,
        openai.AsyncOpenAI(api_key="none", base_url=f"{server.http}/v1", max_retries=0) as client,
    ):
        events = await client.audio.transcriptions.create(
            model="phrasebook-live", file=("a.aac", held.getvalue()), stream=True
        )

        async def listen() -> None:
            async for event in events:
                heard.append(event.type)  # noqa: PERF401 -- they count up to the error

        with pytest.raises(openai.APIError, match="longer than 10 s"):
            await listen()
    assert set(heard) == {"transcript.text.delta"}


async def test_a_decoder_that_dies_is_a_word_to_its_client_alone(
    served: Listening, english: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLMACH_TOKEN", "a secret of the server")
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{served.http}/v1", max_retries=0) as client:
        long = ("long.flac", silence(500))
        under_way = asyncio.create_task(client.audio.translations.create(model="phrasebook-live", file=long))
        await until(lambda: bool(children()))
        assert not any("secret" in environment(pid) for pid in children())
        os.kill(children()[0], signal.SIGKILL)
        with pytest.raises(openai.APIStatusError, match="cannot be decoded"):
            await under_way
        assert (await client.audio.translations.create(model="phrasebook-live", file=english)).text


async def test_a_file_that_is_too_large_is_refused_before_it_is_read(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "config" / "phrasebook-live.yaml", tmp_path)
    async with listening(tmp_path, max_file_bytes=1000) as server:
        async with openai.AsyncOpenAI(api_key="none", base_url=f"{server.http}/v1", max_retries=0) as client:
            for size in (2_000, 3_000_000):
                with pytest.raises(openai.APIStatusError) as refused:
                    await client.audio.translations.create(model="phrasebook-live", file=("a.wav", bytes(size)))
                assert refused.value.status_code == 413
        assert not len(recordings(server))


async def test_who_goes_away_leaves_nothing_behind(served: Listening, english: Path) -> None:
    files = recordings(served)
    data = {"model": "phrasebook-live", "stream": "true"}
    async with httpx.AsyncClient(base_url=served.http) as http:
        for _ in range(2):
            long = {"file": ("long.flac", silence(500))}
            waiting = asyncio.create_task(http.post("/v1/audio/transcriptions", data=data, files=long, timeout=60))
            await until(lambda: bool(children()))
            waiting.cancel()
            await asyncio.wait({waiting})
            await until(lambda: not len(files) and not children())
        # In the middle of an answer.
        with english.open("rb") as file:
            request = http.build_request("POST", "/v1/audio/transcriptions", data=data, files={"file": file})
            answer = await http.send(request, stream=True)
        assert await anext(answer.aiter_lines()) == "event: transcript.text.delta"
        await answer.aclose()
    await until(lambda: not len(files) and not children())


async def test_many_at_once_are_done_in_turn_and_too_many_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tolmach.web.doors.openai.files.WAITING", 3)  # four places, two of one address
    shutil.copy(root / "config" / "phrasebook-live.yaml", tmp_path)
    clip = root / "config" / "demo" / "clips" / "ru-00.flac"
    async with (
        listening(tmp_path) as server,
        openai.AsyncOpenAI(api_key="none", base_url=f"{server.http}/v1", max_retries=0) as client,
    ):
        figures = server.service.metrics.jobs["recordings"]
        assert figures() == {"working": 0, "waiting": 0}
        asked = [client.audio.translations.create(model="phrasebook-live", file=clip) for _ in range(4)]
        answering = asyncio.gather(*asked, return_exceptions=True)
        await until(lambda: figures() == {"working": 1, "waiting": 1})
        shown = server.service.metrics.render()[0].decode()
        assert 'tolmach_jobs{kind="recordings",state="waiting"} 1.0' in shown
        answers = await answering
        assert figures() == {"working": 0, "waiting": 0}
    refused = [each for each in answers if isinstance(each, openai.RateLimitError)]
    assert len(refused) == 2
    assert refused[0].response.headers["retry-after"] == "5"
    assert len({each.text for each in answers if not isinstance(each, BaseException)}) == 1


async def test_the_end_of_the_server_waits_for_them_and_then_cuts_them(served: Listening) -> None:
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{served.http}/v1", max_retries=0) as client:
        long = ("long.flac", silence(590))
        under_way = asyncio.create_task(client.audio.translations.create(model="phrasebook-live", file=long))
        await until(lambda: bool(children()))
        draining = asyncio.create_task(recordings(served).drain(0.5))
        with pytest.raises(openai.InternalServerError, match="stopping"):
            await client.audio.translations.create(model="phrasebook-live", file=("a.flac", silence(1)))
        with pytest.raises(openai.InternalServerError, match="stopping"):
            await under_way
        await draining
    assert not children()


async def test_models_are_the_graphs_that_are_not_for_a_room(
    served: Listening, client: openai.AsyncOpenAI, root: Path, tmp_path: Path
) -> None:
    shutil.copy(root / "config" / "phrasebook-lecture.yaml", tmp_path)
    await until(lambda: any(live.for_room for live in served.service.catalogue.graphs()))
    models = {model.id: model async for model in client.models.list()}
    assert set(models) == {"echo", "phrasebook-live"}
    one = await client.models.retrieve("phrasebook-live")
    assert one.model_dump()["abilities"] == ["translations", "transcriptions", "speech"]
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        await client.models.retrieve("whisper-1")


async def test_a_text_is_spoken_in_every_format(client: openai.AsyncOpenAI) -> None:
    for shape in ("mp3", "opus", "aac", "flac", "wav", "pcm"):
        answer = await client.audio.speech.create(
            model="tts-1", voice="alloy", input="Good morning. Good morning.", response_format=shape
        )
        data = answer.content
        if shape == "pcm":
            held = io.BytesIO()
            with wave.open(held, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(24_000)
                file.writeframes(data)
            data = held.getvalue()
        with av.open(io.BytesIO(data)) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
            rate_hz = container.streams.audio[0].rate
        samples = np.concatenate(frames, axis=1).ravel()
        assert 1.0 < len(samples) / rate_hz < 4.0
        assert np.abs(samples.astype(np.float64)).max() > 0


async def test_speech_has_a_language_a_voice_and_a_speed(client: openai.AsyncOpenAI) -> None:
    async def length(text: str, voice: str = "default", **more: Any) -> int:
        said = await client.audio.speech.create(
            model="phrasebook-live", voice=voice, input=text, response_format="pcm", **more
        )
        return len(said.content)

    usual = await length("Good morning, how much does it cost?")
    assert await length("Good morning, how much does it cost?", speed=2.0) == pytest.approx(usual / 2, rel=0.05)
    assert await length("Good morning, how much does it cost?", speed=0.25) == pytest.approx(usual * 4, rel=0.05)
    assert await length("Доброе утро, сколько это стоит?") > 20_000, "the language is seen by its script"
    assert await length("Good morning.", voice="en+m3") > 20_000
    with pytest.raises(openai.BadRequestError, match="has no voice 'nobody'"):
        await length("Good morning.", voice="nobody")
    with pytest.raises(openai.BadRequestError, match=r"has no voice '\.\./\.\./x'"):
        await length("Good morning.", voice="../../x")
    with pytest.raises(openai.BadRequestError, match="speaks en, ru, not 'de'"):
        await length("Guten Tag.", extra_body={"language": "de"})
    with pytest.raises(openai.BadRequestError):
        await length("x" * 5000)
    with pytest.raises(openai.BadRequestError, match="has no voice"):
        await client.audio.speech.create(model="echo", voice="alloy", input="Hello.")


async def test_speech_comes_as_events(served: Listening) -> None:
    body = {"model": "phrasebook-live", "voice": "alloy", "input": "Good morning.", "stream_format": "sse"}
    async with httpx.AsyncClient(base_url=served.http) as http:
        answer = await http.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert kinds[-1] == "speech.audio.done"
    assert set(kinds[:-1]) == {"speech.audio.delta"}


async def test_odd_forms_are_refused_and_leave_nothing(served: Listening) -> None:
    """A thousand forms that were damaged on their way, to a graph that refuses what is still whole."""
    random = Random(13)
    fields = ("model", "language", "response_format", "stream", "temperature", "timestamp_granularities[]", "x")
    boundary = "b0undary"
    async with httpx.AsyncClient(base_url=served.http) as http:
        for _ in range(1000):
            values = random.choices(["echo", "ru", "srt", "true", "0.5", "segment", "\udcff", "\r\n", ""], k=4)
            parts = [
                f'--{boundary}\r\nContent-Disposition: form-data; name="{random.choice(fields)}"\r\n\r\n{value}\r\n'
                for value in values
            ]
            parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF\r\n')
            parts.append(f"--{boundary}--")
            body = bytearray("".join(parts).encode(errors="surrogateescape"))
            for _ in range(random.choice([0, 0, 1, 3, 20])):
                body[random.randrange(len(body))] = random.choice(b'\r\n-;"\0\xff=ab')
            if random.random() < 0.2:
                del body[random.randrange(len(body)) :]
            kind = random.choice([f"multipart/form-data; boundary={boundary}"] * 4 + ["multipart/form-data", "a/b", ""])
            path = random.choice(["/v1/audio/translations", "/v1/audio/transcriptions"])
            answer = await http.post(path, content=bytes(body), headers={"Content-Type": kind})
            assert answer.status_code in (400, 404), answer.text
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert not len(recordings(served))
    assert not children()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
async def test_an_upload_has_no_name_and_is_not_kept_in_memory(
    served: Listening, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("uploads")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    seen: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for number in range(160):
            yield bytes(1 << 18)
            if number % 40 == 39:
                seen.extend(open_files())
                assert not any(folder.iterdir())
        yield b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nphrasebook-live\r\n--b--\r\n'

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with httpx.AsyncClient(base_url=served.http, timeout=60) as http:
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await http.post("/v1/audio/translations", content=pieces(), headers=kind)
    assert answer.status_code == 400, "zeros are no recording"
    assert any(target.startswith(str(folder)) and "deleted" in target for target in seen)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "kB, of 40 MB that were sent"
