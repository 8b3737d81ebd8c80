"""The voices as clients of the server see them: the list, the one that a graph speaks with, samples."""

from __future__ import annotations

import asyncio
import io
import shutil
from pathlib import Path

import pytest
import soundfile

from tests.integration.served_peer import server
from tests.until import until
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.speech import known_voices

SPEAKING = """\
version: 1
name: speaking
params:
  voice: {default: f2, choices: [f2, m1], description: "Who speaks."}
  target_lang: {default: ru, description: "Into."}
elements:
  in:   {type: webrtc_src}
  to:   {type: resample, rate_hz: 16000, channels: 1}
  vad:  {type: webrtc_vad}
  ast:  {type: whisper_ast, source_lang: en, target_lang: en}
  tts:  {type: espeak_tts, voices: {en: "en+${param:voice}", ru: null}}
  out:  {type: webrtc_sink}
links: [in -> to -> vad -> ast -> tts -> out]
"""


@pytest.fixture
def graphs(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "graphs"
    folder.mkdir()
    shutil.copy(root / "config" / "echo.yaml", folder)
    shutil.copy(root / "config" / "interpreter.yaml", folder)
    (folder / "speaking.yaml").write_text(SPEAKING)
    return folder


async def test_the_list_names_licence_language_and_place_and_no_path(graphs: Path, tmp_path: Path) -> None:
    async with server(graphs) as client:
        answer = await client.http.post("/api/voices", json={})
    voices = {(voice["type"], voice["name"], *voice["langs"]): voice for voice in answer.json()["voices"]}
    baya = voices["silero_tts", "v5_5_ru", "ru"]
    assert (baya["licence"], baya["commercial"]) == ("CC BY-NC-SA 4.0", False)
    assert (baya["place"], baya["ready"]) == ("fetch", False)
    assert voices["espeak_tts", "pl", "pl"]["ready"]
    assert answer.json()["chosen"] == []
    assert str(tmp_path) not in answer.text


async def test_the_voices_that_a_choice_speaks_with_are_told(graphs: Path) -> None:
    async def chosen(graph: str, **params: str) -> dict[str, tuple[str | None, str | None]]:
        answer = await client.http.post("/api/voices", json={"graph": graph, "params": params})
        return {each["lang"]: (each["name"], each["variant"]) for each in answer.json()["chosen"]}

    async with server(graphs) as client:
        assert await chosen("speaking") == {"en": ("en-us", "en+f2")}, "only what may come"
        assert await chosen("speaking", voice="m1") == {"en": ("en-us", "en+m1")}
        assert await chosen("interpreter") == {"en": ("v3_en", None), "ru": ("v5_5_ru", None)}
        assert await chosen("interpreter", voice="v4_ru") == {"en": ("v3_en", None), "ru": ("v4_ru", None)}
        assert await chosen("echo") == {}
        assert (await client.error("POST", "/api/voices", 404, json={"graph": "none"}))["code"] == "not-found"
        wrong = {"graph": "speaking", "params": {"voice": "x1"}}
        assert (await client.error("POST", "/api/voices", 422, json=wrong))["code"] == "bad-graph"


SAMPLE = "/api/voices/sample.wav"
ROBOT = {"type": "espeak_tts", "name": "ru", "lang": "ru"}


async def test_a_sample_is_made_once_and_takes_no_place(graphs: Path) -> None:
    async with server(graphs, max_sessions=1) as client:
        first, second = await asyncio.gather(*(client.http.post(SAMPLE, json=ROBOT) for _ in range(2)))
        again = await client.http.post(SAMPLE, json=ROBOT)
        assert len(client.service.pool) == 0
        variant = await client.http.post(SAMPLE, json={**ROBOT, "variant": "ru+f2"})
    assert first.headers["content-type"] == "audio/wav"
    assert first.content == second.content == again.content
    samples, rate_hz = soundfile.read(io.BytesIO(first.content))
    assert 1 < len(samples) / rate_hz < 10
    assert abs(samples).max() > 0.05
    assert variant.content != first.content, "another voice is heard"


async def test_nothing_is_downloaded_for_a_sample_and_nobody_names_a_file(graphs: Path, tmp_path: Path) -> None:
    silero = {"type": "silero_tts", "name": "v5_5_ru", "lang": "ru"}
    async with server(graphs) as client:
        refused = await client.error("POST", SAMPLE, 409, json=silero)
        assert "tolmach fetch" in refused["message"]
        for wanted in (
            {**ROBOT, "name": "nobody"},
            {**ROBOT, "lang": "en"},
            {**ROBOT, "type": "no_such"},
            {**ROBOT, "speaker": "baya"},
            {**ROBOT, "variant": "en-gb"},
            {**silero, "variant": "/etc/evil.pt"},
        ):
            assert (await client.error("POST", SAMPLE, 404, json=wanted))["code"] == "not-found"
        elsewhere = {"Origin": "https://elsewhere.example"}
        refused = await client.error("POST", SAMPLE, 403, json=ROBOT, headers=elsewhere)
        assert refused["code"] == "forbidden-origin"
    assert not (tmp_path / "cache").exists()


@pytest.mark.models
async def test_a_voice_that_cannot_speak_is_told(graphs: Path) -> None:
    [voice] = [known.voice for known in known_voices(Registry.builtin(), "ru") if known.voice.name == "v4_ru"]
    assert voice.path is not None
    voice.path.parent.mkdir(parents=True)
    with voice.path.open("wb") as file:
        file.truncate(voice.size_bytes)  # as long as the pinned one, and not that
    async with server(graphs) as client:
        wanted = {"type": "silero_tts", "name": "v4_ru", "lang": "ru", "speaker": "xenia"}
        refused = await client.error("POST", SAMPLE, 503, json=wanted)
        assert refused["code"] == "no-sample"
        assert "log" in refused["message"]


async def test_a_sample_under_way_ends_with_the_server(graphs: Path) -> None:
    async with server(graphs) as client:
        asked = asyncio.create_task(client.http.post(SAMPLE, json=ROBOT))
        await until(lambda: any(task.get_name().startswith("voice-sample") for task in asyncio.all_tasks()))
        await client.service.stop()
        with pytest.raises(asyncio.CancelledError):
            await asked
