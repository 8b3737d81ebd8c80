"""canary_ast in modes segments and simultaneous; real NeMo, and a tiny model that hears sentences in tones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.nemo_models import TAUGHT, build, build_taught, two_tones
from tests.unit.test_canary import RATE, run
from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.frames import NS_PER_S, TranslationFrame
from tolmach.pipelines.testing import Harness
from tolmach.processors.ast.hypothesis import Segment
from tolmach.processors.ast.segments import WordTime, segments_of, sentences_of, to_align
from tolmach.processors.canary.spec import SPEC, CanarySettings
from tolmach.processors.hosting import HOSTS

TONES_S = [(2.0, 0.6, 1.5), (1.3, 0.9, 2.4), (2.4, 0.4, 1.3)]


# Sentences and spans ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("No end", ["No end"]),
        ("One. Two? Three! Four… five", ["One.", "Two?", "Three!", "Four…", "five"]),
        ("«Да.» — «Нет!» Он ушёл.", ["«Да.»", "— «Нет!»", "Он ушёл."]),
        ("A. P. Chekhov wrote it. In 3.5 days.", ["A. P. Chekhov wrote it.", "In 3.5 days."]),
        ("Я? Да.", ["Я?", "Да."]),
    ],
)
def test_a_text_is_cut_at_the_ends_of_its_sentences(text: str, sentences: list[str]):
    assert sentences_of(text) == sentences


def test_the_transcript_is_aligned_where_it_has_as_many_sentences():
    assert to_align("Да. Нет.", "Yes. No.") == "Yes. No."
    assert to_align("Да. Нет.", "Yes, no.") == "Да. Нет."
    assert to_align("Да. Нет.", None) == "Да. Нет."
    assert to_align("Да, нет.", "Yes. No.") == ""


def test_spans_follow_each_other_and_lie_in_the_audio():
    times = (WordTime(10, 20), None, WordTime(18, 40), WordTime(50, 120))
    assert segments_of("Раз два. Три.", "One two. Three four.", times, 100, "One two. Three four.") == (
        Segment("Раз два.", 10, 20, "One two."),
        Segment("Три.", 20, 100, "Three four."),
    )
    assert segments_of("Раз два. Три.", "One two. Three four.", times, 100, "One two three.") == (
        Segment("Раз два.", 10, 20, "One two three."),
        Segment("Три.", 20, 100, None),
    )


@pytest.mark.parametrize(
    "times",
    [
        (),
        (None, WordTime(1, 2)),
        (WordTime(0, 5), None),
        (WordTime(0, 50), WordTime(10, 40)),
        (WordTime(0, 5), WordTime(100, 120)),
    ],
)
def test_where_nothing_sensible_is_known_the_text_has_the_span_of_the_whole(times: Any):
    assert segments_of("Раз. Два.", "One. Two.", times, 100) == ()


# The element ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_taught(tmp_path_factory.mktemp("taught"))


async def segments(path: Path, target_lang: str, **settings: Any) -> list[list[TranslationFrame]]:
    """The frames of each utterance."""
    clips = [two_tones(*lengths) for lengths in TONES_S]
    frames = await run(clips, model=str(path), target_lang=target_lang, mode="segments", **settings)
    return [[f for f in frames if f.utterance == n] for n in range(1, len(clips) + 1)]


def starts_s() -> list[float]:
    """Media time of each utterance."""
    return [sum(map(sum, TONES_S[:n])) for n in range(len(TONES_S))]


@pytest.mark.models
@pytest.mark.parametrize("batch", [1, 2])
async def test_each_sentence_of_a_translation_has_the_time_of_its_original(taught: Path, batch: int):
    found = await segments(taught, "ru", batch_utterances=batch)
    for parts, (first, pause, second), at in zip(found, TONES_S, starts_s(), strict=True):
        assert [(f.text, f.part, f.more) for f in parts] == [
            ("Где находится вокзал?", 0, True),
            ("Я бы хотел хлеба.", 1, False),
        ]
        spans = [((f.pts_ns / NS_PER_S) - at, (f.end_ns / NS_PER_S) - at) for f in parts]
        tones = [(0.0, first), (first + pause, first + pause + second)]
        for span, tone in zip(spans, tones, strict=True):
            assert span == pytest.approx(tone, abs=0.35)
        assert {f.source_text for f in parts} == {None}


@pytest.mark.models
async def test_what_was_understood_is_cut_alike(taught: Path):
    for parts in await segments(taught, "ru", transcript=True):
        assert [f.source_text for f in parts] == ["Where is the station?", "I would like some bread."]


@pytest.mark.models
async def test_of_a_transcript_the_times_are_nemos(taught: Path):
    from nemo.collections.asr.models import EncDecMultiTaskModel

    nemo = EncDecMultiTaskModel.restore_from(str(taught), map_location="cpu")
    assert nemo.timestamps_asr_model is not None
    found = await segments(taught, "en")
    for parts, lengths, at in zip(found, TONES_S, starts_s(), strict=True):
        (said,) = nemo.transcribe(
            [two_tones(*lengths)], source_lang="en", target_lang="en", timestamps=True, verbose=False
        )
        assert " ".join(f.text for f in parts) == said.text == TAUGHT["en"]
        theirs = [(each["start"], each["end"]) for each in said.timestamp["segment"]]
        ours = [(f.pts_ns / NS_PER_S - at, f.end_ns / NS_PER_S - at) for f in parts]
        assert [each for span in ours for each in span] == pytest.approx(
            [each for span in theirs for each in span], abs=0.01
        )


@pytest.mark.models
async def test_the_output_is_the_same_for_every_chunking(taught: Path):
    clips = [two_tones(*lengths) for lengths in TONES_S]
    settings: dict[str, Any] = {"model": str(taught), "mode": "segments"}
    first = await run(clips, 320, **settings)
    assert len(first) == 2 * len(clips)
    assert await run(clips, 1777, **settings) == first
    gated = await run(clips, model=str(taught), mode="segments", min_logprob=-1e-9)
    assert [(f.text, f.part, f.more, f.rejected) for f in gated] == [("", 0, False, "low confidence")] * len(clips)


# Without an aligner -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["embedded:phrasebook", "nvidia/canary-180m-flash", "/m/canary-1b-flash.nemo"])
def test_a_model_that_is_known_to_have_no_aligner_is_refused_when_the_graph_is_checked(model: str):
    with pytest.raises(
        ValueError, match=r"mode segments needs an aligner, and .* has none; nvidia/canary-1b-v2 brings"
    ):
        CanarySettings(model=model, mode="segments", target_lang="en")


@pytest.mark.models
async def test_a_file_without_one_is_refused_before_its_model_is_loaded(tmp_path: Path):
    path = build(tmp_path)
    harness = Harness(SPEC, model=str(path), mode="segments")
    with pytest.raises(ModelError, match=r"mode segments needs an aligner, and .*tiny\.nemo has none"):
        await harness.element.start()
    assert not any(key.model == str(path) and key.engine == "canary" for key in HOSTS._entries)
    await harness.stop()


@pytest.mark.models
async def test_the_aligner_is_shared_and_let_go(taught: Path):
    settings: dict[str, Any] = {"model": str(taught), "mode": "segments"}
    key = next(key for key in HOSTS._entries if key.engine == "canary aligner" and key.model == str(taught))
    async with Harness(SPEC, **settings), Harness(SPEC, **settings):
        assert HOSTS.leases(key) == 2
    assert HOSTS.leases(key) == 0
    assert RATE == 16000


# While they speak -------------------------------------------------------------------------------------------------


def heard_at(frames: list[TranslationFrame]) -> list[tuple[str, float]]:
    """Each final text that is not empty, with how much had been heard when it was decided, s."""
    assert all(f.decided_ns is not None for f in frames if f.final)
    return [(f.text, (f.decided_ns or 0) / NS_PER_S) for f in frames if f.final and f.text]


@pytest.mark.models
@pytest.mark.parametrize("policy", ["local_agreement", "align_att"])
async def test_the_first_sentence_is_there_while_the_second_is_spoken(taught: Path, policy: str):
    first, pause, second = 2.4, 0.4, 2.4
    frames = await run(
        [two_tones(first, pause, second)],
        model=str(taught),
        mode="simultaneous",
        policy=policy,
        step_ms=400,
        align_threshold_ms=240,
    )
    finals = [f for f in frames if f.final]
    (one, at), *rest = heard_at(frames)
    assert one == "Где находится вокзал?"
    assert at < first + pause + second / 2, "long before the end"
    assert [text for text, _ in rest] == ["Я бы хотел хлеба."]
    # Append-only: parts in order, each text once, the last one closes the utterance.
    assert [f.part for f in finals] == list(range(len(finals)))
    assert [f.more for f in finals] == [True] * (len(finals) - 1) + [False]
    assert all(a.end_ns <= b.end_ns for a, b in pairwise(finals))


@pytest.mark.models
async def test_it_is_the_same_for_every_chunking(taught: Path):
    clips = [two_tones(*lengths) for lengths in TONES_S]
    settings: dict[str, Any] = {"model": str(taught), "mode": "simultaneous", "step_ms": 500}
    first = await run(clips, 320, **settings)
    assert [text for text, _ in heard_at(first)] == ["Где находится вокзал?", "Я бы хотел хлеба."] * len(clips)
    for chunk in (1777, 16000):
        assert [f for f in await run(clips, chunk, **settings) if f.final] == [f for f in first if f.final]


@pytest.mark.models
async def test_the_phrasebook_says_what_it_says_offline(root: Path):
    """Its decoder looks at the last frame, so AlignAtt waits for the end; LocalAgreement need not."""
    import soundfile

    folder = root / "config" / "demo" / "clips"
    clips = [soundfile.read(folder / f"en-{n:02d}.flac", dtype="float32")[0] for n in range(8)]
    offline = [f.text for f in await run(clips, model="embedded:phrasebook")]
    grown = await run(clips, model="embedded:phrasebook", mode="simultaneous", policy="align_att", step_ms=400)
    said = [" ".join(f.text for f in grown if f.final and f.utterance == n + 1 and f.text) for n in range(len(clips))]
    assert said == offline


def test_the_policy_is_the_one_that_serves_the_model():
    for model, policy in (
        ("nvidia/canary-1b-v2", "align_att"),
        ("/models/canary-1b-v2.nemo", "align_att"),
        ("/models/mine.nemo", "local_agreement"),
        ("embedded:phrasebook", "local_agreement"),
    ):
        assert Harness(SPEC, model=model).element.default_policy == policy  # type: ignore[attr-defined]


@pytest.mark.models
async def test_the_direction_is_found_while_they_speak(root: Path):
    import soundfile

    folder = root / "config" / "demo" / "clips"
    names = ("en-00", "ru-00", "en-03", "ru-04")
    clips = [soundfile.read(folder / f"{name}.flac", dtype="float32")[0] for name in names]
    frames = await run(
        clips,
        model="embedded:phrasebook",
        mode="simultaneous",
        source_lang="auto",
        target_lang="auto",
        languages=("en", "ru"),
    )
    said = [f for f in frames if f.final and f.text]
    assert [(f.utterance, f.source_lang, f.target_lang) for f in said if f.part == 0] == [
        (n, name[:2], {"en": "ru", "ru": "en"}[name[:2]]) for n, name in enumerate(names, 1)
    ]
