"""What clients of OpenAI's realtime translations may say, and how each mistake is told."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from tests.mangled_events import FULL, mangled
from tolmach.web.doors.openai.realtime.events import (
    Append,
    Close,
    EventError,
    Settings,
    Update,
    parse,
    settings_of,
    write,
)

AUDIO = base64.b64encode(bytes(range(64))).decode()


def event(**fields: Any) -> str:
    return json.dumps(fields)


def update(session: Any) -> tuple[Settings, list[str]]:
    return settings_of(session, "phrasebook", Settings(language="en"))


def test_events_are_read() -> None:
    heard = parse(event(type="session.input_audio_buffer.append", audio=AUDIO, event_id="a"))
    assert heard == Append(bytes(range(64)), "a")
    assert parse(event(type="session.close")) == Close(None)
    assert isinstance(parse(json.dumps(FULL)), Update)


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        (b"\0\1", "invalid_value", None),
        ("{", "invalid_json", None),
        ('{"type": NaN}', "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ("9" * 5000, "invalid_json", None),
        ("[]", "invalid_type", None),
        ("{}", "missing_required_parameter", "type"),
        (event(type=7), "invalid_type", "type"),
        (event(type="response.create"), "invalid_value", "type"),
        (event(type="session.input_audio_buffer.append"), "missing_required_parameter", "audio"),
        (event(type="session.input_audio_buffer.append", audio=None), "invalid_type", "audio"),
        (event(type="session.input_audio_buffer.append", audio="a b="), "invalid_value", "audio"),
        (event(type="session.input_audio_buffer.append", audio="привет"), "invalid_value", "audio"),
        (event(type="session.input_audio_buffer.append", audio="AAAA"), "invalid_value", "audio"),
        (
            event(type="session.input_audio_buffer.append", audio=AUDIO, format="g711_ulaw"),
            "unknown_parameter",
            "format",
        ),
        (event(type="session.close", now=True), "unknown_parameter", "now"),
        (event(type="session.close", event_id=5), "invalid_value", "event_id"),
        (event(type="session.update"), "missing_required_parameter", "session"),
    ],
)
def test_what_is_no_event_is_told_with_its_place(text: str | bytes, code: str, param: str | None) -> None:
    with pytest.raises(EventError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_an_error_names_the_event_that_it_is_about() -> None:
    with pytest.raises(EventError) as caught:
        parse(event(type="session.close", event_id="mine", now=True))
    assert caught.value.of_event == "mine"


def test_settings_are_taken_and_others_stay() -> None:
    settings, ignored = update(FULL["session"])
    assert ignored == []
    assert settings == Settings("ru", {"model": "gpt-realtime-whisper"}, {"type": "near_field", "strength": 0.5})
    again, _ = settings_of({"audio": {"input": {"noise_reduction": {"type": "far_field"}}}}, "phrasebook", settings)
    assert again.noise_reduction == {"type": "far_field", "strength": 0.5}, "strength stays when it is left out"
    assert again.language == "ru"
    off, _ = settings_of({"audio": {"input": {"transcription": None}}}, "phrasebook", again)
    assert off.transcription is None
    assert off.noise_reduction is not None


def test_what_changes_nothing_here_is_said_to_be_ignored() -> None:
    _, ignored = update({"instructions": "Be kind.", "audio": {"output": {"voice": "marin", "language": "ru"}}})
    assert ignored == ["session.instructions", "session.audio.output.voice"]


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"type": "realtime"}, "invalid_value", "session.type"),
        ({"model": "another"}, "invalid_value", "session.model"),
        ({"colour": "red"}, "unknown_parameter", "session.colour"),
        ({"audio": []}, "invalid_type", "session.audio"),
        ({"audio": {"output": {"language": 5}}}, "invalid_type", "session.audio.output.language"),
        ({"audio": {"output": {"language": "../etc"}}}, "invalid_value", "session.audio.output.language"),
        ({"audio": {"output": {"language": "r" * 36}}}, "invalid_value", "session.audio.output.language"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcmu"}}}},
            "invalid_value",
            "session.audio.input.format",
        ),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.input.format",
        ),
        (
            {"audio": {"input": {"transcription": {}}}},
            "missing_required_parameter",
            "session.audio.input.transcription.model",
        ),
        (
            {"audio": {"input": {"noise_reduction": {"type": "loud"}}}},
            "invalid_value",
            "session.audio.input.noise_reduction.type",
        ),
        (
            {"audio": {"input": {"noise_reduction": {"type": "near_field", "strength": True}}}},
            "invalid_value",
            "session.audio.input.noise_reduction.strength",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_told_with_their_place(session: Any, code: str, param: str) -> None:
    with pytest.raises(EventError) as caught:
        update(session)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_an_event_can_always_be_written() -> None:
    text = write("session.output_transcript.delta", delta="half \ud83d a character", elapsed_ms=0)
    assert text.encode("ascii")
    assert json.loads(text)["type"] == "session.output_transcript.delta"


def test_twenty_thousand_mangled_events_are_read_or_refused() -> None:
    """Whatever a client sends, it is an event or an error in OpenAI's form, and nothing else."""
    chance = random.Random(45)
    append = event(type="session.input_audio_buffer.append", audio=AUDIO)
    whole = [json.dumps(FULL), append, event(type="session.close")]
    taken = refused = 0
    for _ in range(20_000):
        try:
            heard = parse(mangled(chance, chance.choice(whole)))
            if isinstance(heard, Update):
                update(heard.session)
            taken += 1
        except EventError:
            refused += 1
    assert taken > 500
    assert refused > 5_000
