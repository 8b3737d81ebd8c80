"""What is shown is what flows: texts, utterances and voices are told from the frames that pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.handmade import graph
from tolmach.pipelines.bus import Message, TranslationMessage, UtteranceEndMessage, UtteranceStartMessage, VoiceMessage
from tolmach.pipelines.cli.batch.records import Notes, Record
from tolmach.pipelines.element import Element, ElementSpec, Pad, Settings, SourceElement
from tolmach.pipelines.frames import AudioFrame, Frame, Samples, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.runtime.taps import taps_of
from tolmach.processors.tts.element import SpeechElement

CONFIG = Path(__file__).resolve().parents[2] / "config"
TEXT = "text/x-translation, lang=en"
CUT = "audio/raw, rate=16000, channels=1, segmented=true"


class Talk(SourceElement):
    """Two utterances of somebody."""

    async def produce(self) -> None:
        for number in (1, 2):
            start_ns = number * 1_000_000_000
            await self.context.push(UtteranceStart(number, start_ns))
            await self.context.push(AudioFrame(np.ones((160, 1), np.float32), 16000, start_ns, number))
            end_ns, speech_end_ns = start_ns + 10_000_000, start_ns + 4_000_000
            await self.context.push(UtteranceEnd(number, start_ns, end_ns, "silence", speech_end_ns))


class Translator(Element):
    """Written from docs/ELEMENTS.md: it pushes, and posts nothing."""

    async def process(self, frame: Frame, pad: str) -> None:
        if isinstance(frame, UtteranceEnd):
            text = f"damn number {frame.utterance}"
            await self.context.push(TranslationFrame(frame.utterance, frame.pts_ns, frame.end_ns, "ru", "en", text))


class Mask(Element):
    """Hides a word."""

    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, TranslationFrame)
        await self.context.push(replace(frame, text=frame.text.replace("damn", "****")))


class VoiceSettings(Settings):
    """Of a voice."""

    chunk_ms: int = 20


class Voice(SpeechElement):
    """Beeps."""

    rate_hz = 16000

    async def synthesise(self, frame: TranslationFrame) -> AsyncIterator[Samples]:
        yield np.ones(1600, np.float32)


def spec(name: str, build: type[Element], *pads: Pad, settings: type[Settings] = Settings) -> ElementSpec:
    return ElementSpec(
        type=name, summary="S.", settings=settings, pads=pads, build=f"tests.unit.test_taps:{build.__name__}"
    )


SPECS = (
    spec("talk", Talk, Pad.src(CUT)),
    spec("translator", Translator, Pad.sink(CUT), Pad.src(TEXT)),
    spec("mask", Mask, Pad.sink(TEXT), Pad.src(like="sink")),
    spec("voice", Voice, Pad.sink(TEXT), Pad.src(CUT), settings=VoiceSettings),
)


async def told(elements: dict[str, str], *links: str) -> tuple[list[Message], Notes]:
    runner = GraphRunner(graph({name: (kind, {}) for name, kind in elements.items()}, list(links), specs=SPECS))
    heard: list[Message] = []
    notes = Notes()
    runner.bus.subscribe(heard.append)
    runner.bus.subscribe(notes.take)
    assert (await runner.run()).ok
    return heard, notes


def texts(heard: list[Message]) -> list[tuple[str, str]]:
    return [(m.element, m.frame.text) for m in heard if isinstance(m, TranslationMessage)]


BASE = {"in": "talk", "ast": "translator", "out": "fake_sink"}


async def test_a_translator_that_posts_nothing_is_shown() -> None:
    heard, notes = await told(BASE, "in -> ast -> out")
    assert texts(heard) == [("ast", "damn number 1"), ("ast", "damn number 2")]
    record = notes.record(Record("a", None, "out", "running", ""), "done", 1.0, ())
    assert [u.text for u in record.utterances] == ["damn number 1", "damn number 2"]
    assert record.segments == 2


@pytest.mark.parametrize(
    "links",
    [
        ["in -> ast -> mask -> out"],
        ["in -> ast -> q -> mask -> t", "t -> id -> out", "t -> tts -> dub"],
        ["in -> ast -> t", "t -> out", "t -> mask -> q -> tts -> dub"],
    ],
    ids=["behind the mask", "behind a tee", "as it is spoken"],
)
async def test_a_word_mask_is_honoured(links: list[str]) -> None:
    every = BASE | {"mask": "mask", "q": "queue", "t": "tee", "id": "identity", "tts": "voice", "dub": "fake_sink"}
    used = {name: kind for name, kind in every.items() if any(name in link.split(" -> ") for link in links)}
    heard, notes = await told(used, *links)
    assert texts(heard) == [("mask", "**** number 1"), ("mask", "**** number 2")]
    assert [u.text for u in notes.utterances] == ["**** number 1", "**** number 2"]


async def test_two_translators_are_both_shown_and_each_once() -> None:
    heard, _ = await told(
        {"in": "talk", "t": "tee", "a": "translator", "b": "translator", "f": "funnel", "u": "tee", "x": "fake_sink",
         "y": "fake_sink", "p": "queue", "q": "queue"},
        "in -> t", "t -> p -> a -> f", "t -> q -> b -> f", "f -> u", "u -> x", "u -> y",
    )  # fmt: skip
    assert sorted(texts(heard)) == [("f", f"damn number {n}") for n in (1, 1, 2, 2)]


async def test_utterances_are_told_where_they_are_cut_and_voices_where_they_begin() -> None:
    heard, _ = await told(
        BASE | {"q": "queue", "tts": "voice"},
        "in -> q -> ast -> tts -> out",
    )
    starts = [m for m in heard if isinstance(m, UtteranceStartMessage)]
    ends = [m for m in heard if isinstance(m, UtteranceEndMessage)]
    voices = [m for m in heard if isinstance(m, VoiceMessage)]
    assert [(m.element, m.frame.utterance) for m in starts] == [("in", 1), ("in", 2)]
    assert [(m.element, m.frame.speech_end_ns) for m in ends] == [("in", 1_004_000_000), ("in", 2_004_000_000)]
    assert [(m.element, m.frame.utterance) for m in voices] == [("tts", 1), ("tts", 2)]
    order = [type(m) for m in heard if isinstance(m, UtteranceEndMessage | TranslationMessage | VoiceMessage)]
    assert order[:3] == [UtteranceEndMessage, TranslationMessage, VoiceMessage] or order[0] is UtteranceEndMessage


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("phrasebook-live", {"vad.src", "ast.src", "tts.src"}),
        ("recording", {"vad.src", "ast.src", "tts.src"}),
        ("subtitles", {"vad.src", "ast.src"}),
        ("vad", {"vad.src"}),
        ("echo", set()),
    ],
)
def test_shipped_graphs_are_listened_to_at(name: str, points: set[str]) -> None:
    params = {} if name in ("echo", "phrasebook-live") else {"input": "talk.wav"}
    assert {str(pad) for pad in taps_of(load_graph(CONFIG / f"{name}.yaml", params=params))} == points


def test_texts_that_part_and_meet_many_times_are_found_at_once() -> None:
    elements: dict[str, tuple[str, dict[str, object]]] = {"in": ("talk", {}), "ast": ("translator", {})}
    links, last = ["in -> ast"], "ast"
    for n in range(40):
        elements |= {f"t{n}": ("tee", {}), f"p{n}": ("queue", {}), f"q{n}": ("queue", {}), f"f{n}": ("funnel", {})}
        links += [f"{last} -> t{n}", f"t{n} -> p{n} -> f{n}", f"t{n} -> q{n} -> f{n}"]
        last = f"f{n}"
    g = graph(elements | {"out": ("fake_sink", {})}, [*links, f"{last} -> out"], specs=SPECS)
    assert {str(pad) for pad in taps_of(g)} == {"in.src", "f39.src"}
