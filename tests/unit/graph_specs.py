"""Element types of the tests' own, so that no fixture changes when a shipped element does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tolmach.pipelines.builtin.pass_through import CAPSFILTER
from tolmach.pipelines.element import ElementSpec, Output, Pad, Settings, Terms
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import CheckResult, check_graph
from tolmach.pipelines.registry import Registry

BUILD = "tests.unit.graph_specs:nothing"  # checking a graph never imports a runtime


class NoSettings(Settings):
    """An element that cannot be set."""


class FileSrc(Settings):
    path: str = Field(min_length=1, description="The recording.")
    rate_hz: int | None = Field(None, ge=1, le=384000, description="Rate when it is known, Hz.")


class Resample(Settings):
    rate_hz: int | None = Field(None, ge=8000, le=192000, description="Rate it gives; what is wanted when null, Hz.")
    channels: int | None = Field(None, ge=1, le=8, description="Channels it gives.")


class Vad(Settings):
    threshold: float = Field(0.5, gt=0, lt=1, description="Speech probability that opens an utterance.")
    hangover_ms: int = Field(500, ge=0, description="Silence that closes an utterance, ms.")
    min_ms: int = Field(250, ge=0, le=10000)
    max_ms: int = Field(20000, ge=0)
    mode: Literal["gentle", "normal", "strict"] = "normal"

    @model_validator(mode="after")
    def _order(self) -> Vad:
        if self.min_ms > self.max_ms:
            raise ValueError("min_ms must not exceed max_ms")
        return self


class Ast(Settings):
    source_lang: str = "en"
    target_lang: str = "ru"
    beams: Annotated[int, Field(ge=1, le=16)] = 1
    device: Literal["auto", "cpu"] | int = "auto"
    prompts: list[Annotated[str, Field(max_length=20)]] = Field(default=[], max_length=4)


class Tts(Settings):
    lang: Literal["ru", "en", "no"] = "ru"
    speaker: str = "baya"
    rate_hz: Literal[8000, 24000, 48000] = 48000


class Licensed(Tts):
    model: str = "best"


class Sink(Settings):
    path: Output[str] = Field(min_length=1)
    overwrite: bool = False


class Funnel(Settings):
    order: Literal["media", "arrival"] = "media"


def _file_src(s: FileSrc) -> tuple[Pad, ...]:
    if s.rate_hz:
        return (Pad.src(f"audio/raw, rate={s.rate_hz}, channels=2, segmented=false"),)
    return (Pad.src("audio/raw, rate=[1, 384000], channels=[1, 64], segmented=false", dynamic=True),)


def _resample(s: Resample) -> tuple[Pad, ...]:
    fields = [f"rate={s.rate_hz}"] * (s.rate_hz is not None) + [f"channels={s.channels}"] * (s.channels is not None)
    src = ", ".join(["audio/raw", *fields])
    return (Pad.sink("audio/raw"), Pad.src(src, like="sink", like_drop=("rate", "channels")))


def _ast(s: Ast) -> tuple[Pad, ...]:
    sink = Pad.sink("audio/raw, rate=16000, channels=1, segmented=true")
    if s.source_lang == "auto":
        return (sink, Pad.src("text/x-translation, lang={en, ru}, script={cyrl, latn}", dynamic=True))
    script = "cyrl" if s.target_lang == "ru" else "latn"
    return (
        sink,
        Pad.src(f"text/x-translation, lang={s.target_lang}, script={script}"),
    )


def _tts(s: Tts) -> tuple[Pad, ...]:
    script = "cyrl" if s.lang == "ru" else "latn"
    return (
        Pad.sink(f"text/x-translation, lang={s.lang}, script={script}"),
        Pad.src(f"audio/raw, rate={s.rate_hz}, channels=1, segmented=true"),
    )


def spec(kind: str, settings: type[Settings], pads: object, **more: object) -> ElementSpec:
    return ElementSpec(type=kind, summary="For tests.", settings=settings, pads=pads, build=BUILD, **more)  # type: ignore[arg-type]


SPECS = (
    spec("file_src", FileSrc, _file_src),
    spec("resample", Resample, _resample),
    spec(
        "silero_vad",
        Vad,
        (
            Pad.sink("audio/raw, rate=16000, channels=1, segmented=false"),
            Pad.src("audio/raw, segmented=true", like="sink"),
        ),
    ),
    spec("canary_ast", Ast, _ast, on_error="skip"),
    spec("espeak_tts", Tts, _tts),
    spec(
        "licensed_tts",
        Licensed,
        _tts,
        terms=lambda s: (
            Terms(s.model, "MIT" if s.model == "free" else "CC BY-NC 4.0", s.model == "free", "take free"),
        ),
    ),
    spec("file_sink", Sink, (Pad.sink("audio/raw, rate={8000, 16000, 24000, 48000}, channels=[1, 8]"),)),
    spec("subtitle_sink", Sink, (Pad.sink("text/x-translation"),), timed=True),
    spec("cd_sink", NoSettings, (Pad.sink("audio/raw, rate=44100, channels=2"),)),
    spec("fake_sink", NoSettings, (Pad.sink(),)),
    spec("identity", NoSettings, (Pad.sink(), Pad.src(like="sink"))),
    CAPSFILTER,
    spec("queue", NoSettings, (Pad.sink(), Pad.src(like="sink"))),
    spec("tee", NoSettings, (Pad.sink(), Pad.src(name="src_%u", request=True, like="sink"))),
    spec("funnel", Funnel, (Pad.sink(name="sink_%u", request=True), Pad.src(like="sink_%u"))),
    spec(
        "mixer",
        NoSettings,
        (
            Pad.sink("audio/raw", name="sink_a"),
            Pad.sink("audio/raw", name="sink_b", optional=True),
            Pad.src("audio/raw", like="sink_a"),
        ),
    ),
    spec(
        "splitter",
        NoSettings,
        (Pad.sink("audio/raw"), Pad.src(name="left", like="sink"), Pad.src(name="right", like="sink")),
    ),
    spec("test_src", NoSettings, (Pad.src("audio/raw, rate=[8000, 48000], channels=[1, 2], segmented=false"),)),
)
REGISTRY = Registry({}).extended(*SPECS, origin="tests")

GRAPHS = Path(__file__).parent.parent / "graphs"
GOOD = (GRAPHS / "valid-recording.yaml").read_text(encoding="utf-8")
"""The example of the design: a recording, dubbed and subtitled."""


def check(text: str, **more: Any) -> CheckResult:
    """Check a graph against these types and an empty environment."""
    return check_graph("graph.yaml", text=text, **{"registry": REGISTRY, "env": {}, **more})


def graph_of(text: str, **more: Any) -> Graph:
    """A graph that must be right."""
    result = check(text, **more)
    assert result.graph is not None, result.format_text()
    return result.graph


def document(elements: dict[str, str], *links: str) -> str:
    """A document from flow mappings and chains."""
    declared = "".join(f"  {name}: {{{body}}}\n" for name, body in elements.items())
    return f"version: 1\nelements:\n{declared}links:\n" + "".join(f"  - {link}\n" for link in links)
