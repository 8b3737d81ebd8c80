"""Endings that are understood: what the turn detector hears, and what the voice activity detectors make of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from pydantic import ValidationError

from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.errors import ModelMissingError
from tolmach.pipelines.frames import (
    NS_PER_MS,
    AudioFrame,
    Frame,
    Samples,
    TranslationEvidence,
    UtteranceEnd,
    UtterancePause,
)
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.resample.stream import resample
from tolmach.processors.vad import smart_turn
from tolmach.processors.vad.smart_turn import SAMPLES, SmartTurn, last_seconds, log_mel, model_path
from tolmach.processors.vad.spec import RATE_HZ, SILERO, WEBRTC, SileroVadSettings

SPECS = pytest.mark.parametrize("spec", [SILERO, WEBRTC], ids=lambda s: s.type)
UNDERSTOOD = {"hangover_ms": 1200, "pause_ms": 160, "turn": "smart_turn", "turn_threshold": 0.95}


@cache
def recording(path: Path, pause_s: float = 2.0) -> Samples:
    """A recording at 16 kHz and the quiet room after it, float32[n, 1]."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono")
        blocks = [out.to_ndarray()[0] for f in container.decode(audio=0) for out in resampler.resample(f)]
        rate_hz = container.streams.audio[0].rate
    room = np.random.default_rng(0).normal(0, 10 ** (-70 / 20), round(pause_s * RATE_HZ))
    spoken = resample(np.concatenate(blocks)[:, None], rate_hz, RATE_HZ)
    return np.concatenate([spoken, room[:, None]]).astype(np.float32)


async def run(spec: ElementSpec, samples: Samples, chunk: int | None = None, **settings: object) -> list[Frame]:
    source = AudioFrame(samples, RATE_HZ, 0)
    async with Harness(spec, **settings) as h:
        await h.push(*(chop(source, chunk) if chunk else [source]))
        await h.eos()
        return h.output()


def ends(frames: Sequence[Frame]) -> list[UtteranceEnd]:
    return [frame for frame in frames if isinstance(frame, UtteranceEnd)]


def waited_ms(end: UtteranceEnd) -> float:
    assert end.decided_ns is not None
    assert end.speech_end_ns is not None
    return (end.decided_ns - end.speech_end_ns) / NS_PER_MS


@pytest.mark.parametrize("length", [1, 4000, SAMPLES, SAMPLES + 4321])
def test_the_features_are_those_that_the_model_was_trained_on(length: int) -> None:
    """As transformers makes them; it is no dependency of ours."""
    transformers = pytest.importorskip("transformers")
    rng = np.random.default_rng(length)
    samples = (rng.normal(0, 0.1, length) * np.hanning(length + 2)[1:-1]).astype(np.float32)
    heard = last_seconds(samples)
    extractor = transformers.WhisperFeatureExtractor(chunk_length=8)
    reference = extractor(
        heard,
        sampling_rate=RATE_HZ,
        padding="max_length",
        max_length=SAMPLES,
        truncation=True,
        do_normalize=True,
        return_tensors="np",
    ).input_features[0]
    ours = log_mel(heard)
    assert ours.shape == reference.shape == (80, 800)
    assert np.abs(ours - reference).max() < 1e-4


def test_what_is_heard_is_the_end_of_it_behind_silence() -> None:
    assert np.array_equal(last_seconds(np.ones(3, np.float32))[-4:], [0, 1, 1, 1])
    long = np.arange(SAMPLES + 5, dtype=np.float32)
    assert np.array_equal(last_seconds(long), long[5:])


def test_a_finished_sentence_is_told_from_half_of_one(root: Path, speech_dir: Path) -> None:
    model = SmartTurn(model_path())
    assert model.probability(recording(root / "config/demo/clips/en-08.flac", 0.2)[:, 0]) > 0.9
    ask_not = recording(speech_dir / "en/jfk.flac")[: int(4.6 * RATE_HZ), 0]
    assert model.probability(ask_not) < 0.1


async def test_a_finished_sentence_ends_at_the_shortest_pause_and_says_why(root: Path) -> None:
    samples = recording(root / "config/demo/clips/en-08.flac")
    (plain,) = ends(await run(SILERO, samples, hangover_ms=1200))
    (end,) = ends(await run(SILERO, samples, **UNDERSTOOD))
    assert (waited_ms(plain), plain.cut_by) == (1216, "pause")
    assert plain.cut == "1216 ms of silence"
    assert (waited_ms(end), end.cut_by) == (224, "turn")
    assert end.cut.startswith("heard as finished (0.9")
    assert end.speech_end_ns == plain.speech_end_ns


@SPECS
@pytest.mark.parametrize("more", [{}, {"adaptive": True, "pauses": True}], ids=["turn", "all"])
async def test_frames_do_not_depend_on_chunks(spec: ElementSpec, more: dict[str, object], root: Path) -> None:
    clips = [root / f"config/demo/clips/{name}.flac" for name in ("en-08", "en-04", "en-23")]
    samples = np.concatenate([recording(clip, 1.5) for clip in clips])
    settings = {**UNDERSTOOD, **more}
    whole = await run(spec, samples, **settings)
    assert {end.cut_by for end in ends(whole)} >= {"turn"}
    for chunk in (160, 592, 4801):
        assert [told(f) for f in await run(spec, samples, chunk, **settings)] == [told(f) for f in whole]


def told(frame: Frame) -> object:
    return (frame.pts_ns, frame.utterance, frame.samples.tobytes()) if isinstance(frame, AudioFrame) else frame


async def test_who_hesitates_is_not_cut_where_a_short_hangover_cuts(speech_dir: Path) -> None:
    """jfk: "And so my fellow Americans … ask not … what your country can do for you …", a second of silence each."""
    samples = recording(speech_dir / "en/jfk.flac")
    hasty = ends(await run(SILERO, samples, hangover_ms=300))
    understood = ends(await run(SILERO, samples, **UNDERSTOOD))
    assert len(hasty) >= 4
    assert understood[0].speech_end_ns == hasty[3].speech_end_ns


async def test_settings_change_from_the_next_utterance_on(root: Path) -> None:
    samples = recording(root / "config/demo/clips/en-08.flac")
    async with Harness(SILERO, **UNDERSTOOD) as harness:
        await harness.push(AudioFrame(samples, RATE_HZ, 0))
        harness.element.change_settings(SileroVadSettings(**{**UNDERSTOOD, "turn_threshold": 1.0}))
        again = AudioFrame(samples, RATE_HZ, AudioFrame(samples, RATE_HZ, 0).end_ns)
        await harness.push(again)
        await harness.eos()
        assert [end.cut_by for end in ends(harness.output())] == ["turn", "pause"]


@pytest.mark.parametrize(
    ("evidence", "cut_by"),
    [
        (TranslationEvidence(ends_sentence=True, end_logprob=-0.1), "translation"),
        (TranslationEvidence(ends_sentence=True, rejected=True), "pause"),
        (None, "pause"),
    ],
)
async def test_a_translator_says_whether_a_sentence_is_whole(
    evidence: TranslationEvidence | None, cut_by: str, root: Path
) -> None:
    """Its answer counts from the next window on, and only in a live graph."""
    samples = recording(root / "config/demo/clips/en-08.flac")
    frames = chop(AudioFrame(samples, RATE_HZ, 0), 512)
    for live in (True, False):
        async with Harness(SILERO, live=live, hangover_ms=1000, pause_ms=160, translation=True) as harness:
            answered = 0
            for frame in frames:
                await harness.push(frame)
                pauses = [f for f in harness.output() if isinstance(f, UtterancePause)]
                for pause in pauses[answered:]:
                    assert (pause.answer is not None) == live
                    if pause.answer is not None:
                        pause.answer.give(evidence)
                answered = len(pauses)
            await harness.eos()
            (end,) = ends(harness.output())
            assert end.cut_by == (cut_by if live else "pause")
            assert waited_ms(end) == (224 if live and cut_by == "translation" else 1024)


def test_what_was_written_of_endings_must_fit() -> None:
    assert SileroVadSettings(hangover_ms=100).fitting_min_hangover_ms == 100
    with pytest.raises(ValidationError, match=r"min_hangover_ms \(400\) must not exceed hangover_ms \(300\)"):
        SileroVadSettings(min_hangover_ms=400, hangover_ms=300)
    with pytest.raises(ValidationError, match=r"unfinished_threshold \(0.5\) must not exceed turn_threshold \(0.4\)"):
        SileroVadSettings(unfinished_threshold=0.5, turn_threshold=0.4)


async def test_a_missing_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smart_turn, "_HOME", ("no-such-distribution", "x/smart-turn.onnx"))
    with pytest.raises(ModelMissingError, match=r"smart-turn.onnx(.|\n)*set turn: off"):
        async with Harness(SILERO, turn="smart_turn"):
            pass  # pragma: no cover - it cannot start
