"""What `tolmach inspect` and the schema say of settings, read from the settings model."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Literal

import pytest

from tolmach.pipelines.describe.reference import (
    describe,
    describe_settings,
    element_markdown,
    example_settings,
    example_values,
    types_markdown,
    unit_of,
)
from tolmach.pipelines.element import ElementSpec, Field, Pad, Settings
from tolmach.pipelines.registry import Registry


class Mode(Enum):
    FAST = "fast"
    FINE = "fine"


class Inner(Settings):
    """A nested group."""

    depth: int = Field(1, ge=1, description="Depth.")


class Every(Settings):
    """One field of each kind."""

    path: Path = Field(description="Where.")
    hangover_ms: int = Field(500, ge=0, le=5000, description="Silence, ms.")
    threshold: float = Field(0.5, gt=0, lt=1, description="Probability.")
    gain_db: float | None = Field(None, ge=-60, description="Gain, dB.")
    mode: Literal["a", "b"] = Field("a", description="Mode.")
    speed: Mode = Field(Mode.FAST, description="Speed.")
    channel: int | Literal["mix", "all"] = Field("all", description="Channel.")
    words: tuple[str, ...] = Field(("x",), description="Words.")
    name: str = Field("n", min_length=1, description="Name.")
    inner: Inner = Field(Inner(), description="Group.")
    loud: bool = Field(False, description="Loud.")
    max_chars_per_s: float = Field(17, description="Speed.")


EVERY = ElementSpec(
    type="every",
    summary="Do it all.",
    doc="At length.",
    settings=Every,
    pads=(
        Pad("sink_%u", "sink", Pad.sink("audio/raw, rate=16000 ; text/x-translation").caps, "request", optional=True),
        Pad.src(like="sink_%u"),
    ),
    build="no:Every",
    on_error="skip",
    example="{type: every, path: a}",
)


def info(name: str):
    return next(i for i in describe_settings(Every) if i.name == name)


@pytest.mark.parametrize(
    ("name", "type_", "unit", "range_", "default"),
    [
        ("path", "path", "", "", None),
        ("hangover_ms", "int", "ms", "[0, 5000]", 500),
        ("threshold", "float", "", "(0, 1)", 0.5),
        ("gain_db", "float | null", "dB", "≥ -60", None),
        ("mode", "str", "", "", "a"),
        ("speed", "str", "", "", "fast"),
        ("channel", "int | str", "", "", "all"),
        ("words", "list of str", "", "", ["x"]),
        ("name", "str", "", "not empty", "n"),
        ("inner", "mapping", "", "", {"depth": 1}),
        ("loud", "bool", "", "", False),
        ("max_chars_per_s", "float", "characters/s", "", 17),
    ],
)
def test_a_setting_is_described(name: str, type_: str, unit: str, range_: str, default: object):
    found = info(name)
    assert (found.type, found.unit, found.range, found.default) == (type_, unit, range_, default)
    assert found.required is (name == "path")


def test_choices_are_only_given_when_nothing_else_will_do():
    assert info("mode").choices == ("a", "b")
    assert info("speed").choices == ("fast", "fine")
    assert info("channel").choices == ()


def test_the_schema_of_a_setting_holds_constraints_and_no_references():
    assert info("inner").schema == {
        "type": "object",
        "properties": {"depth": {"type": "integer", "minimum": 1}},
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("name", "unit"),
    [("rate_hz", "Hz"), ("ms", ""), ("min_logprob", ""), ("max_chars_per_line", "characters/line"), ("pitch", "")],
)
def test_units_come_from_the_suffix(name: str, unit: str):
    assert unit_of(name) == unit


def spec(**changes: object) -> ElementSpec:
    base: dict[str, object] = {
        "type": "probe",
        "summary": "Look.",
        "settings": Every,
        "pads": (Pad.sink("audio/raw, rate=16000"), Pad.src(like="sink", like_drop=("rate",))),
        "build": "nowhere:Probe",
    }
    return ElementSpec(**{**base, **changes})  # type: ignore[arg-type]


def test_an_element_is_described_as_json():
    registry = Registry({}).extended(spec(), origin="probes")
    described = describe(registry.get("probe"), registry.entry("probe")).to_json()
    assert (described["origin"], described["type"], described["prefetch"]) == ("probes", "probe", False)
    assert described["pads"][1] == {
        "name": "src",
        "direction": "src",
        "presence": "always",
        "caps": "ANY",
        "like": "sink",
        "like_drop": ("rate",),
        "dynamic": False,
        "optional": False,
    }


@pytest.mark.parametrize(
    "example", ["{type: probe, path: a.wav, mode: b}", "look: {type: probe, path: a.wav, mode: b}"]
)
def test_the_example_is_read_with_and_without_a_name(example: str):
    probe = spec(example=example)
    assert example_values(probe) == {"path": "a.wav", "mode": "b"}
    found = example_settings(probe)
    assert isinstance(found, Every)
    assert found.mode == "b"


@pytest.mark.parametrize("example", ["", "{type: probe", "[probe]", "{type: probe, mode: c}"])
def test_an_example_that_shows_nothing_valid_gives_none(example: str):
    assert example_settings(spec(example=example)) is None


def test_pads_that_depend_on_settings_say_for_which_they_are_shown():
    def pads(settings: Every) -> tuple[Pad, ...]:
        return (Pad.src(f"audio/raw, rate={settings.hangover_ms}"),)

    unknown = describe(spec(pads=pads))
    assert (unknown.pads, unknown.pads_note) == ((), "The pads depend on the settings.")
    known = describe(spec(pads=pads, example="{type: probe, path: a, hangover_ms: 8}"))
    assert known.pads[0].caps == "audio/raw, rate=8"
    assert known.pads_note.endswith("shown for those of the example.")


def test_the_page_of_element_types_is_current():
    page = Path(__file__).resolve().parents[2] / "docs" / "ELEMENT_TYPES.md"
    registry = Registry.builtin()
    text = types_markdown([describe(registry.get(name), registry.entry(name)) for name in registry])
    assert page.read_text(encoding="utf-8") == text, "stale: run `make reference`"


def test_a_type_as_markdown_says_what_its_spec_says():
    text = element_markdown(describe(EVERY))
    assert text.startswith("## every\n\nDo it all.\n\nAt length.\n\n```yaml\n{type: every, path: a}\n```\n")
    assert "- on error: skip\n" in text
    assert (
        "| `sink_%u` | sink, as many as links ask for, optional | `audio/raw, rate=16000`<br>`text/x-translation` |"
        in text
    )
    assert "| `path` | path | required | Where. |" in text
    assert "| `hangover_ms` | int, ms, [0, 5000] | `500` | Silence, ms. |" in text
    assert "| `gain_db` | float \\| null, dB, ≥ -60 | `null` | Gain, dB. |" in text
    assert "| `speed` | `fast` `fine` | `fast` | Speed. |" in text
    assert "**live**" not in text
    detector = element_markdown(describe(Registry.builtin().get("silero_vad")))
    assert "| `hangover_ms` | int, ms, [50, 10000], **live** | `700` |" in detector
