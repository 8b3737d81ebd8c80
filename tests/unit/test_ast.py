"""What all speech translation engines share: grouping, order, rejection, bounds, texts that are none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.echo_ast import SPEC, EchoAst, EchoModel
from tests.unit.handmade import chain
from tolmach.pipelines.bus import ErrorMessage, TranslationMessage, WarningMessage
from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import ElementSpec, Pad, Settings, SourceElement
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart, samples_to_ns
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.ast.collector import UtteranceCollector
from tolmach.processors.ast.guards import (
    compression_ratio,
    has_no_speech,
    without_tokens,
)
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.languages import is_in_script, language_name, primary_language, script_of

RATE = 16000
ROOT = Path(__file__).resolve().parents[2]


def speech(number: int, level: float, start: int = 0, samples: int = 800, chunk: int = 160) -> list[Frame]:
    """An utterance of one level, starting at sample ``start``."""
    pts_ns = samples_to_ns(start, RATE)
    audio = AudioFrame(np.full((samples, 1), level, np.float32), RATE, pts_ns, number)
    end = UtteranceEnd(number, pts_ns, samples_to_ns(start + samples, RATE))
    return [UtteranceStart(number, pts_ns), *chop(audio, chunk), end]


def silence(start: int, samples: int = 1600) -> AudioFrame:
    return AudioFrame(np.zeros((samples, 1), np.float32), RATE, samples_to_ns(start, RATE))


def texts(harness: Harness) -> list[Any]:
    return [(f.utterance, f.text, f.rejected) for f in harness.output() if isinstance(f, TranslationFrame)]


async def run(frames: list[Frame], **settings: Any) -> tuple[Harness, list[int]]:
    async with Harness(SPEC, **settings) as harness:
        assert isinstance(harness.element, EchoAst)
        await harness.push(*frames)
        await harness.eos()
        return harness, harness.element.model.batches


async def test_each_utterance_gives_one_frame_with_its_span_and_nothing_is_posted():
    harness, _ = await run([silence(0), *speech(3, 0.5, 1600), silence(2400), *speech(4, 0.25, 8000)])
    first, second = harness.output()
    assert first == TranslationFrame(3, 100_000_000, 150_000_000, "en", "ru", "50% of 800", logprob=-0.5, engine="echo")
    assert (second.utterance, second.pts_ns, second.end_ns) == (4, 500_000_000, 550_000_000)
    assert harness.messages == []


@pytest.mark.parametrize(
    ("group", "batches"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (50, [7])], ids=lambda v: str(v)
)
async def test_groups_are_closed_by_count_or_the_end_of_the_stream(group: int, batches: list[int]):
    frames = [f for n in range(1, 8) for f in speech(n, n / 10, n * 1600)]
    harness, seen = await run(frames, group=group)
    assert seen == batches
    assert [t[0] for t in texts(harness)] == list(range(1, 8))


@pytest.mark.parametrize(("group", "expected"), [(1, [90, 190, None]), (2, [190, 190, None])])
async def test_a_text_says_how_much_was_heard_before_it(group: int, expected: list[int | None]):
    """In a group it waits for the last one; who was not told says nothing."""
    frames: list[Frame] = []
    for number in (1, 2, 3):
        *said, end = speech(number, 0.5, number * 1600)
        assert isinstance(end, UtteranceEnd)
        frames += [*said, replace(end, decided_ns=number * 100 - 10 if number < 3 else None)]
    harness, _ = await run(frames, group=group)
    assert [f.decided_ns for f in harness.output() if isinstance(f, TranslationFrame)] == expected


async def test_an_utterance_still_open_at_the_end_is_translated():
    harness, _ = await run(speech(1, 0.5)[:-1])
    (frame,) = harness.output()
    assert (frame.text, frame.end_ns) == ("50% of 800", 50_000_000)


async def test_an_utterance_without_end_is_closed_by_the_next_one():
    harness, _ = await run([*speech(1, 0.5)[:-1], *speech(2, 0.25, 1600)])
    assert texts(harness) == [(1, "50% of 800", None), (2, "25% of 800", None)]


async def test_rejections_keep_their_frame_and_lose_their_text():
    frames = [*speech(1, 0.9), *speech(2, 0.0, 1600), *speech(3, 0.1, 3200), *speech(4, 0.0, 4800, samples=0)]
    harness, batches = await run(frames, min_logprob=-0.5, group=4)
    assert texts(harness) == [
        (1, "", "low confidence"),
        (2, "", "no speech"),
        (3, "10% of 800", None),
        (4, "", "no speech"),
    ]
    assert batches == [2], "no model is asked about silence"
    assert [f.logprob for f in harness.output()] == [pytest.approx(-0.9), None, pytest.approx(-0.1), None]


async def test_an_utterance_too_long_is_reported_and_not_kept():
    frames = [*speech(1, 0.5, samples=RATE + 1), *speech(2, 0.5, RATE * 2)]
    harness, _ = await run(frames, max_utterance_ms=1000)
    assert texts(harness) == [(1, "", "longer than 1 s"), (2, "50% of 800", None)]
    assert [m.text for m in harness.messages if isinstance(m, WarningMessage)] == [
        "Utterance 1 was not translated: longer than 1 s."
    ]


async def test_an_utterance_that_an_element_upstream_lost_is_not_guessed_at():
    frames = speech(1, 0.5)
    end = frames[-1]
    assert isinstance(end, UtteranceEnd)
    frames[-1] = UtteranceEnd(1, end.pts_ns, end.end_ns, "error")
    harness, batches = await run(frames)
    assert texts(harness) == [(1, "", "lost to a failure upstream")]
    assert batches == []


async def test_a_failed_utterance_leaves_a_trace_and_spares_its_neighbours():
    frames = [f for n, level in enumerate([0.1, 2.0, 0.3], 1) for f in speech(n, level, n * 1600)]
    async with Harness(SPEC, group=3) as harness:
        await harness.push(*frames)
        await harness.element.drain()
        await asyncio.sleep(0)  # the harness hears of a failed task a moment after the drain that waited for it
        with pytest.raises(ElementError, match="utterance 2 could not be translated: OverflowError: clipped") as caught:
            await harness.eos()
    assert caught.value.pts_ns == samples_to_ns(2 * 1600, RATE)
    assert texts(harness) == [(1, "10% of 800", None), (2, "", "the engine failed"), (3, "30% of 800", None)]


async def test_audio_of_another_rate_names_the_remedy():
    async with Harness(SPEC) as harness:
        await harness.push(UtteranceStart(1, 0))
        with pytest.raises(ElementError, match="resample"):
            await harness.push(AudioFrame(np.zeros((10, 1), np.float32), 48000, 0, 1))


async def test_reset_forgets_one_utterance():
    async with Harness(SPEC, group=10) as harness:
        await harness.push(*speech(1, 0.1), *speech(2, 0.2, 1600), *speech(3, 0.3, 3200)[:-1])
        harness.element.reset(1)
        harness.element.reset(3)
        await harness.push(*speech(3, 0.3, 3200)[-2:], *speech(4, 0.4, 4800))
        await harness.eos()
        assert [t[0] for t in texts(harness)] == [2, 4]


class Interrupted(SourceElement):
    """Says something the echo fails on, and is in the middle of the next utterance but one when that is noticed."""

    noticed = asyncio.Event()

    async def produce(self) -> None:
        later = [*speech(3, 0.3, 3200), *speech(4, 0.4, 4800)]
        for frame in [*speech(1, 2.0), *speech(2, 0.2, 1600), *later[:-3]]:
            await self.context.push(frame)
        await self.noticed.wait()
        for frame in later[-3:]:
            await self.context.push(frame)


INTERRUPTED = ElementSpec(
    type="interrupted",
    summary="Utterances.",
    settings=Settings,
    pads=(Pad.src("audio/raw, rate=16000, channels=1, segmented=true"),),
    build="tests.unit.test_ast:Interrupted",
)


async def test_a_failed_request_does_not_cost_what_is_being_collected():
    echo = ("echo_ast", {"group": 2, "on_error": "skip"})
    runner = GraphRunner(chain("interrupted", echo, "fake_sink", specs=(INTERRUPTED, SPEC)))
    heard: list[TranslationFrame] = []
    runner.bus.subscribe(lambda m: heard.append(m.frame) if isinstance(m, TranslationMessage) else None)
    runner.bus.subscribe(lambda m: Interrupted.noticed.set() if isinstance(m, ErrorMessage) else None)
    assert (await runner.run()).status == "done"
    assert [f.text or f.rejected for f in heard] == ["the engine failed", "20% of 800", "30% of 800", "40% of 800"]


async def test_stop_throws_away_what_waits_and_is_safe_any_time():
    harness = Harness(SPEC)
    await harness.stop()
    await harness.element.start()
    element = harness.element
    assert isinstance(element, EchoAst)
    element.model.gate.clear()
    await harness.push(*speech(1, 0.1), *speech(2, 0.2, 1600), *speech(3, 0.3, 3200))
    await harness.stop()
    element.model.gate.set()
    await harness.stop()
    assert harness.output() == []


@given(chunk=st.integers(1, 900), group=st.integers(1, 5))
def test_the_output_does_not_depend_on_chunking(chunk: int, group: int):
    def frames(chunk: int) -> list[Frame]:
        return [f for n in range(1, 5) for f in speech(n, n / 10, n * 1600, chunk=chunk)]

    assert asyncio.run(run(frames(chunk), group=group))[0].output() == asyncio.run(run(frames(160)))[0].output()


def test_the_collector_remembers_only_the_span_of_what_is_too_long():
    collector = UtteranceCollector(1000)
    collector.take(UtteranceStart(1, 0))
    for at in range(0, 100_000, 100):
        collector.take(AudioFrame(np.zeros((100, 1), np.float32), RATE, samples_to_ns(at, RATE), 1))
        assert sum(map(len, collector._blocks)) <= 1000
    utterance = collector.flush()
    assert utterance is not None
    assert (utterance.end_ns, len(utterance.samples)) == (samples_to_ns(100_000, RATE), 0)
    assert collector.flush() is None


@pytest.mark.parametrize(
    ("text", "script", "fits"),
    [
        ("I do not know.", "cyrl", False),
        ("Я не знаю.", "cyrl", True),
        ("Я не знаю.", "latn", False),
        ("The Rolling Stones играли", "cyrl", True),
        ("Rolling Stones!", "cyrl", True),
        ("1 2 3 4", "cyrl", True),
        ("I do not know.", "jpan", True),
    ],
)
def test_a_sentence_without_one_letter_of_the_script_is_in_another(text: str, script: str, fits: bool):
    assert is_in_script(text, script) is fits


async def test_a_text_in_another_script_than_the_pad_promised_is_rejected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(EchoModel, "_hear", lambda self, samples: Hypothesis("This is English.", -0.1))
    assert texts((await run(speech(1, 0.5)))[0]) == [(1, "", "wrong script")]
    assert texts((await run(speech(1, 0.5), target_lang="en"))[0]) == [(1, "This is English.", None)]


def test_pads_carry_language_and_script():
    sink, src = SPEC.pads_for(SPEC.settings(target_lang="uk"))
    assert sink.caps == Caps.parse("audio/raw, rate=16000, channels=1, segmented=true")
    assert src.caps == Caps.parse("text/x-translation, lang=uk, script=cyrl")


@pytest.mark.parametrize(
    "settings",
    [{"source_lang": "xx"}, {"target_lang": "English"}, {"device": "gpu"}, {"min_logprob": 0.1}, {"cpu_threads": -1}],
)
def test_settings_that_cannot_be(settings: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SPEC.settings(**settings)


@pytest.mark.parametrize(
    ("tag", "script"), [("ru", "cyrl"), ("en", "latn"), ("EL", "grek"), ("pt-BR", "latn"), ("sr-Latn-RS", "latn")]
)
def test_scripts_of_languages(tag: str, script: str):
    assert script_of(tag) == script


def test_languages_have_names_and_unknown_ones_are_refused():
    assert (language_name("ru-RU"), language_name("xx"), primary_language("pt_BR")) == ("Russian", "xx", "pt")
    for no_tag in ("xx", "", "en-x, rate=1", "en-]", "ru latn", "en--us"):
        with pytest.raises(ValueError, match="BCP-47"):
            script_of(no_tag)


# Texts ------------------------------------------------------------------------------------------------------------

RUSSIAN = (
    "Сегодня утром я проснулся раньше обычного и решил пойти пешком на работу, потому что погода была замечательная. "
    "По дороге я встретил своего старого друга, с которым мы вместе учились в университете много лет назад. Мы зашли в "
    "небольшое кафе, выпили по чашке кофе и долго вспоминали наши студенческие годы, преподавателей и весёлые истории "
    "из общежития. Потом он рассказал мне о своей новой работе в другом городе, о семье и о планах на будущее. Я тоже "
    "поделился новостями и пригласил его в гости на выходные. Когда мы расстались, часы показывали уже половину "
    "десятого, и мне пришлось взять такси, чтобы не опоздать на важное совещание."
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<|endoftext|> С", "С"),
        ("Где<|spltoken12|> вокзал?", "Где вокзал?"),
        (" a <unk> b ⁇ ", "a b"),
        ("<|0.00|> Hello.<|2.40|>", "Hello."),
        ("<|nospeech|>", ""),
        ("  two  spaces stay ", "two  spaces stay"),
        ("if a < b and c > d | e", "if a < b and c > d | e"),
        ("Really??", "Really??"),
    ],
)
def test_tokens_are_no_text(text: str, clean: str):
    assert without_tokens(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Да, да, да, да, да!",
        "No, no, no, no, no, no.",
        "один, два, три, четыре, пять, шесть, семь, восемь, девять, десять",
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
        "ноль ноль семь, ноль ноль семь, ноль ноль семь",
        "我们今天早上去了学校，然后在图书馆里读了一本关于历史的书，下午和朋友一起打篮球。",
        RUSSIAN[:50],
        RUSSIAN[:300],
        RUSSIAN,
    ],
)
def test_what_people_say_does_not_repeat_itself(text: str):
    assert compression_ratio(text) < 2.0


@pytest.mark.parametrize(
    "text",
    [
        "the train leaves " * 12,
        "поезд уходит в " * 12,
        "ы" * 60,
        RUSSIAN[:200] + "и потом мы пошли домой " * 11,
        RUSSIAN + "и потом " * 31,
        "我们去学校" * 20,
    ],
)
def test_a_loop_does_also_behind_a_good_beginning(text: str):
    assert compression_ratio(text) > 2.4


# Guards of the utterance and of the length of its text ----------------------------------------------------------------


def spoken() -> list[Path]:
    """All recordings of speech at hand."""
    shared = ROOT.parent / "shared" / "speech"
    own = sorted((ROOT / "config" / "demo" / "clips").glob("*.flac"))
    return own + [path for lang in ("en", "ru") for path in sorted((shared / lang).glob("*"))]


@pytest.mark.parametrize("below_db", [0, -30])
@pytest.mark.parametrize("noise_db", [None, 0])
def test_no_speech_is_taken_for_silence_soft_or_in_noise_as_loud_as_itself(below_db: int, noise_db: int | None):
    chance = np.random.default_rng(0)
    for path in spoken():
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = samples.mean(axis=1)
        if noise_db is not None:
            power = np.square(mono, dtype=np.float64).mean()
            mono = mono + chance.standard_normal(len(mono)) * np.sqrt(power * 10 ** (noise_db / 10))
        mono = (mono * 10 ** (below_db / 20)).astype(np.float32)
        assert not has_no_speech(mono, rate), path


def test_silence_and_steady_noise_are_no_speech():
    chance = np.random.default_rng(0)
    t = np.arange(32_000) / 16_000
    for sound in (
        np.zeros(100),
        np.zeros(32_000),
        chance.integers(-1, 2, 32_000) / 2**16,  # what a sound card's last bit says of nothing
        0.1 * chance.standard_normal(32_000),
        0.1 * chance.standard_normal(16_000),
        0.3 * np.sin(2 * np.pi * 50 * t) + 0.1 * np.sin(2 * np.pi * 150 * t),
        0.5 * np.sin(2 * np.pi * 1000 * t),
    ):
        assert has_no_speech(sound.astype(np.float32), 16_000)
    assert not has_no_speech((0.1 * chance.standard_normal(15_000)).astype(np.float32), 16_000), "it may be a vowel"


@pytest.mark.parametrize(("samples", "chars", "passes"), [(16_000, 70, True), (16_000, 71, False), (800, 42, True)])
async def test_a_text_longer_than_its_speech_is_rejected_and_says_so(samples: int, chars: int, passes: bool):
    text = " ".join(f"{n * 7919 % 1000}" for n in range(60))[:chars].replace(" ", "x", -1)
    audio = np.linspace(0.1, 0.9, samples, dtype=np.float32)[:, None]
    span_ns = samples_to_ns(samples, RATE)
    said = [UtteranceStart(1, 0), AudioFrame(audio, RATE, 0, 1), UtteranceEnd(1, 0, span_ns)]
    harness, _ = await run(said, answer=text, min_logprob=-1)
    assert texts(harness) == [(1, text if passes else "", None if passes else "more text than speech")]
