"""canary_ast against real NeMo: a tiny model with random weights, and the embedded phrasebook where it lies."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nemo_models import build
from tolmach.pipelines.bus import InfoMessage
from tolmach.pipelines.caps import Caps
from tolmach.pipelines.errors import ModelError, ModelMissingError, ModelRefusedError
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
from tolmach.processors.canary import known
from tolmach.processors.canary.element import fetch
from tolmach.processors.canary.known import CANARY_1B_V2
from tolmach.processors.canary.request import pad_short
from tolmach.processors.canary.spec import SPEC, CanarySettings
from tolmach.processors.hosting import HOSTS

RATE = 16000
LENGTHS = (16000, 20001, 32000, 48000, 17777, 9000, 4001)
PITCHES_HZ = (200, 300, 500, 1000, 3000, 700, 150)


def clip(length: int, pitch_hz: float) -> Samples:
    """A warbling tone, float32[length]."""
    t = np.arange(length) / RATE
    return (0.3 * np.sin(2 * np.pi * pitch_hz * t) * (1 + np.sin(2 * np.pi * 3 * t)) / 2).astype(np.float32)


CLIPS = [clip(length, pitch_hz) for length, pitch_hz in zip(LENGTHS, PITCHES_HZ, strict=True)]


def utterances(clips: Sequence[Samples], chunk: int = 320) -> list[Frame]:
    """The clips as utterances 1, 2, …, one after the other."""
    frames: list[Frame] = []
    at = 0
    for number, samples in enumerate(clips, 1):
        pts_ns = samples_to_ns(at, RATE)
        at += len(samples)
        frames.append(UtteranceStart(number, pts_ns))
        frames += chop(AudioFrame(samples[:, None], RATE, pts_ns, number), chunk)
        frames.append(UtteranceEnd(number, pts_ns, samples_to_ns(at, RATE)))
    return frames


async def run(clips: Sequence[Samples] = CLIPS, chunk: int = 320, **settings: Any) -> list[TranslationFrame]:
    async with Harness(SPEC, **settings) as harness:
        await harness.push(*utterances(clips, chunk))
        await harness.eos()
        return [frame for frame in harness.output() if isinstance(frame, TranslationFrame)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file."""
    return build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def bare(tiny: Path) -> Any:
    """The same model as NeMo restores it, for comparison."""
    from nemo.collections.asr.models import EncDecMultiTaskModel

    return EncDecMultiTaskModel.restore_from(str(tiny), map_location="cpu")


@pytest.fixture
def shelf(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of embedded models in which the tiny model poses as the phrasebook; returns the sidecar."""
    monkeypatch.setattr(known, "FOLDER", tmp_path)
    folder = tmp_path / "phrasebook"
    folder.mkdir()
    (folder / "phrasebook.nemo").write_bytes(tiny.read_bytes())
    sidecar = folder / "phrasebook.json"
    sidecar.write_text(
        json.dumps(
            {
                "name": "phrasebook",
                "notice": "Knows a few phrases.",
                "licence": "Apache-2.0",
                "languages": ["en", "ru"],
                "sha256": hashlib.sha256(tiny.read_bytes()).hexdigest(),
                "min_logprob": -1.3,
            }
        )
    )
    return sidecar


# The spec ---------------------------------------------------------------------------------------------------------


def test_the_default_is_canary_1b_v2_from_english_to_russian():
    settings = CanarySettings()
    assert (settings.model, settings.source_lang, settings.target_lang) == ("nvidia/canary-1b-v2", "en", "ru")
    assert len(CANARY_1B_V2) == 25
    _, src = SPEC.pads_for(CanarySettings(source_lang="de", target_lang="en"))
    assert src.caps == Caps.parse("text/x-translation, lang=en, script=latn")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"target_lang": "ja"}, "'ja' is not a language of nvidia/canary-1b-v2; it has bg, hr"),
        ({"source_lang": "de", "target_lang": "ru"}, "only from and into English, not de to ru"),
        ({"model": "nvidia/canary-1b-flash"}, "'ru' is not a language of nvidia/canary-1b-flash"),
        ({"model": "/models/canary-1b-v2.nemo", "target_lang": "ja"}, "'ja' is not a language of /models/canary-1b-v2"),
        ({"model": "embedded:dictionary"}, "there is embedded:phrasebook"),
        ({"model": "canary"}, "use a hub name"),
        ({"batch_utterances": 0}, "greater than or equal to 1"),
        ({"pnc": False, "model": "embedded:phrasebook"}, "it does not know `pnc: false`"),
        ({"itn": True, "model": "embedded:phrasebook"}, "it does not know `itn: true`"),
        ({"beam_size": 17}, "less than or equal to 16"),
        ({"beam_size": 2, "mode": "simultaneous"}, "needs a search of one"),
    ],
)
def test_what_cannot_be_translated_is_refused_before_any_model_loads(settings: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        CanarySettings(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"source_lang": "ru", "target_lang": "en"},
        {"source_lang": "de", "target_lang": "de"},
        {"model": "./my.nemo", "source_lang": "kk", "target_lang": "ja"},
        {"model": "somebody/canary-finetuned", "source_lang": "kk", "target_lang": "ru"},
    ],
)
def test_what_may_be_translated_is_not(settings: dict[str, Any]):
    CanarySettings(**settings)


@pytest.mark.models
def test_the_embedded_models_languages_are_known_at_check_time(shelf: Path):
    with pytest.raises(ValueError, match="'de' is not a language of embedded:phrasebook; it has en, ru"):
        CanarySettings(model="embedded:phrasebook", source_lang="de", target_lang="en")


def test_short_utterances_get_silence_on_both_sides():
    assert pad_short(np.ones(3, np.float32), 8).tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert pad_short(np.ones(9, np.float32), 8).tolist() == [1] * 9


# The model --------------------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.parametrize("batch", [1, 3, 64])
async def test_texts_equal_bare_nemo(tiny: Path, bare: Any, batch: int):
    frames = await run(model=str(tiny), batch_utterances=batch)
    said = bare.transcribe(CLIPS, batch_size=batch, source_lang="en", target_lang="ru", verbose=False)
    assert [f.text for f in frames] == [hypothesis.text for hypothesis in said]
    assert len({f.text for f in frames}) > 3
    assert [f.utterance for f in frames] == list(range(1, len(CLIPS) + 1))
    assert {f.engine for f in frames} == {"tiny"}
    assert {f.rejected for f in frames} == {None}


@pytest.mark.models
@pytest.mark.parametrize("beam_size", [1, 3])
async def test_beam_search_equals_bare_nemo_too(tmp_path: Path, beam_size: int):
    """canary-1b-v2 is configured for a beam of one."""
    from nemo.collections.asr.models import EncDecMultiTaskModel

    path = build(tmp_path, beam_size=beam_size)
    frames = await run(model=str(path), batch_utterances=4)
    model = EncDecMultiTaskModel.restore_from(str(path), map_location="cpu")
    said = model.transcribe(CLIPS, batch_size=4, source_lang="en", target_lang="ru", verbose=False)
    assert [f.text for f in frames] == [hypothesis.text for hypothesis in said]
    assert len({f.text for f in frames}) > 3
    bounded = await run(model=str(path), max_tokens=1)
    assert max(len(f.text) for f in bounded) < max(len(f.text) for f in frames)


@pytest.mark.models
async def test_the_output_is_the_same_in_every_run_and_for_every_chunking(tiny: Path):
    settings: dict[str, Any] = {"model": str(tiny), "batch_utterances": 3}
    first = await run(chunk=160, **settings)
    for chunk in (160, 592, 1600, 48000):
        assert await run(chunk=chunk, **settings) == first


@pytest.mark.models
async def test_the_logprob_is_the_mean_over_the_tokens_and_the_end(tiny: Path, bare: Any):
    """Against a decoder that reads the text step by step."""
    import torch

    (frame,) = await run(CLIPS[:1], model=str(tiny))
    bare.eval()
    bare.preprocessor.featurizer.dither = 0.0
    bare.preprocessor.featurizer.pad_to = 0
    slots = {**bare.prompt.get_default_dialog_slots()[0]["slots"], "source_lang": "en", "target_lang": "ru"}
    prompt = bare.prompt.encode_dialog(turns=[{"role": "user", "slots": slots}])["context_ids"]
    tokens, steps = prompt.tolist(), []
    with torch.inference_mode():
        while True:
            logprobs, *_ = bare.forward(
                input_signal=torch.from_numpy(CLIPS[0])[None],
                input_signal_length=torch.tensor([len(CLIPS[0])]),
                transcript=torch.tensor([tokens]),
                transcript_length=torch.tensor([len(tokens)]),
            )
            best = int(logprobs[0, -1].argmax())
            steps.append(float(logprobs[0, -1, best]))
            tokens.append(best)
            if best == bare.tokenizer.eos_id:
                break
    assert bare.tokenizer.ids_to_text(tokens[len(prompt) : -1]).strip() == frame.text
    assert len(steps) > 2
    assert frame.logprob == pytest.approx(np.mean(steps), abs=1e-5)


@pytest.mark.models
async def test_the_gate_rejects_what_is_less_likely(tiny: Path):
    free = await run(model=str(tiny))
    logprobs = sorted(f.logprob for f in free if f.logprob is not None)
    gate = (logprobs[2] + logprobs[3]) / 2
    gated = await run(model=str(tiny), min_logprob=gate)
    assert [f.logprob for f in gated] == [f.logprob for f in free]
    for frame, was in zip(gated, free, strict=True):
        assert was.logprob is not None
        expected = (was.text, None) if was.logprob >= gate else ("", "low confidence")
        assert (frame.text, frame.rejected) == expected


@pytest.mark.models
async def test_max_tokens_bounds_the_text_and_is_forgotten_afterwards(tiny: Path):
    free = await run(model=str(tiny))
    bounded = await run(model=str(tiny), max_tokens=2)
    for short, long in zip(bounded, free, strict=True):
        assert long.text.startswith(short.text)
    assert max(len(f.text) for f in bounded) < max(len(f.text) for f in free)
    assert await run(model=str(tiny)) == free


@pytest.mark.models
async def test_batches_hold_the_utterances_that_were_counted(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    from tolmach.processors.canary.model import CanaryModel

    sizes: list[int] = []
    real = CanaryModel.run

    def spy(self: CanaryModel, items: Sequence[Any]) -> Any:
        sizes.append(len(items))
        return real(self, items)

    monkeypatch.setattr(CanaryModel, "run", spy)
    await run(model=str(tiny), batch_utterances=3)
    assert sizes == [3, 3, 1]


@pytest.mark.models
async def test_graphs_share_one_load_and_may_all_ask_at_once(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    """Four loops in four threads: NeMo's own transcribe() gives wrong texts then."""
    from tolmach.processors.canary import model as canary

    HOSTS.unload_idle()
    loads: list[str] = []
    real = canary.load

    def spy(model: str, device: str, **options: Any) -> Any:
        loads.append(model)
        return real(model, device, **options)

    monkeypatch.setattr(canary, "load", spy)
    expected = await run(model=str(tiny), source_lang="en", target_lang="ru")
    results: dict[int, list[TranslationFrame]] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: asyncio.run(run(model=str(tiny)))})) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join, 120)
    assert loads == [str(tiny)]
    assert [results[n] for n in range(4)] == [expected] * 4


@pytest.mark.models
async def test_a_language_the_model_has_not_is_refused_with_the_list(tiny: Path):
    """NeMo takes it for the unknown token and translates into something."""
    for settings in ({"source_lang": "de"}, {"target_lang": "de"}):
        harness = Harness(SPEC, model=str(tiny), **settings)
        with pytest.raises(ModelError, match="'de' is not a language of tiny; it has en, ru"):
            await harness.element.start()
        await harness.stop()


@pytest.mark.models
async def test_relative_paths_start_at_the_base_dir(tiny: Path):
    async with Harness(SPEC, base_dir=tiny.parent, model=tiny.name) as harness:
        assert harness.element.engine == "tiny"  # type: ignore[attr-defined]


# The embedded model -----------------------------------------------------------------------------------------------


@pytest.mark.models
async def test_the_embedded_model_says_what_it_is_and_what_it_does_not_know(shelf: Path):
    async with Harness(SPEC, model="embedded:phrasebook") as harness:
        await harness.push(*utterances(CLIPS))
        await harness.eos()
    frames = [f for f in harness.output() if isinstance(f, TranslationFrame)]
    assert next(m.text for m in harness.messages if isinstance(m, InfoMessage)) == "Knows a few phrases."
    assert {f.engine for f in frames} == {"demonstration phrasebook"}
    for frame in frames:
        assert frame.logprob is not None
        if frame.logprob < -1.3:
            assert (frame.text, frame.rejected) == ("", "not in the phrasebook")
    assert {f.rejected for f in frames} == {None, "not in the phrasebook"}
    ungated = await run(model="embedded:phrasebook", min_logprob=-100)
    assert {f.rejected for f in ungated} == {None}


@pytest.mark.models
def test_fetch_says_where_a_model_lies(shelf: Path, tmp_path: Path):
    assert fetch(CanarySettings(model="embedded:phrasebook")) == shelf.with_suffix(".nemo")
    mine = tmp_path / "mine.nemo"
    mine.touch()
    assert fetch(CanarySettings(model=str(mine))) == mine


@pytest.mark.models
async def test_an_embedded_model_that_was_changed_is_refused(shelf: Path):
    HOSTS.unload_idle()
    path = shelf.with_suffix(".nemo")
    path.write_bytes(path.read_bytes() + b"\0")
    settings = CanarySettings(model="embedded:phrasebook")
    with pytest.raises(ModelRefusedError, match="not the pinned"):
        await Harness(SPEC, model="embedded:phrasebook").element.start()
    with pytest.raises(ModelRefusedError, match="not the pinned"):
        fetch(settings)


@pytest.mark.parametrize("damage", ["gone", "empty", "incomplete"])
async def test_an_embedded_model_that_is_broken_asks_to_be_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
):
    monkeypatch.setattr(known, "FOLDER", tmp_path)
    folder = tmp_path / "phrasebook"
    folder.mkdir()
    if damage != "gone":
        (folder / "phrasebook.nemo").touch()
        (folder / "phrasebook.json").write_text("" if damage == "empty" else '{"name": "phrasebook"}')
    with pytest.raises(ModelError, match="install"):
        await Harness(SPEC, model="embedded:phrasebook").element.start()


@pytest.mark.models
async def test_the_shipped_phrasebook_equals_bare_nemo_on_the_demo_clips(root: Path):
    path = root / "processors" / "phrasebook" / "phrasebook.nemo"
    demo = root / "config" / "demo"
    clips = [*sorted(demo.glob("*.flac")), *sorted((demo / "clips").glob("*.flac"))]
    if not path.is_file() or not clips:
        pytest.skip("this checkout has no phrasebook model or no demo clips yet")
    import av
    from nemo.collections.asr.models import EncDecMultiTaskModel

    model = EncDecMultiTaskModel.restore_from(str(path), map_location="cpu")
    heard = []
    for file in clips:
        with av.open(str(file)) as container:
            resampler = av.AudioResampler("flt", "mono", RATE)
            blocks = [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampler.resample(f)]
        heard.append(np.concatenate(blocks)[: 20 * RATE])
    for source, target in (("en", "ru"), ("ru", "en")):
        frames = await run(
            heard,
            model="embedded:phrasebook",
            source_lang=source,
            target_lang=target,
            batch_utterances=4,
            min_logprob=-100,
        )
        said = model.transcribe(heard, batch_size=4, source_lang=source, target_lang=target, verbose=False)
        assert [f.text for f in frames] == [hypothesis.text for hypothesis in said]


# Files that are no models -----------------------------------------------------------------------------------------


def nemo_of(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """A .nemo archive."""
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


async def test_a_missing_file_names_the_alternatives(tmp_path: Path):
    with pytest.raises(ModelMissingError, match="embedded:phrasebook"):
        await Harness(SPEC, model=str(tmp_path / "none.nemo")).element.start()
    with pytest.raises(ModelMissingError, match="embedded:phrasebook"):
        fetch(CanarySettings(model=str(tmp_path / "none.nemo")))


@pytest.mark.models
async def test_a_model_that_cannot_be_downloaded_says_how_to_fetch_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A hub that nobody listens at, and an empty cache: the library's own client fails as it does offline.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelMissingError, match="tolmach fetch GRAPH") as caught:
        await Harness(SPEC, model="somebody/canary-that-is-nowhere").element.start()
    assert "whisper_ast" in str(caught.value)
    with pytest.raises(ModelMissingError, match="tolmach fetch GRAPH"):
        fetch(CanarySettings(model="somebody/canary-that-is-nowhere"))


@pytest.mark.models
@pytest.mark.parametrize(
    ("members", "links"),
    [
        ({"../outside": b"x"}, {}),
        ({"/etc/tolmach-test": b"x"}, {"model_config.yaml": "/etc/hostname"}),
        ({}, {"model_weights.ckpt": "../../secret"}),
    ],
)
async def test_an_archive_that_leads_out_of_its_folder_is_refused(
    tmp_path: Path, members: dict[str, bytes], links: dict[str, str]
):
    path = nemo_of(tmp_path / "bad.nemo", {"model_config.yaml": b"a: 1", **members}, links)
    with pytest.raises(ModelRefusedError, match="refused to unpack"):
        await Harness(SPEC, model=str(path)).element.start()
    assert not (tmp_path / "outside").exists()


@pytest.mark.models
@pytest.mark.parametrize("content", [b"", b"hello, I am a text", None])
async def test_a_file_that_is_no_model_is_one_clear_error(tmp_path: Path, content: bytes | None):
    path = tmp_path / "odd.nemo"
    if content is None:
        nemo_of(path, {"readme.txt": b"nothing here"})
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"odd\.nemo is not a usable Canary model"):
        await Harness(SPEC, model=str(path)).element.start()


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.marker),))


@pytest.mark.models
@pytest.mark.parametrize("forced", [False, True])
async def test_code_in_the_weights_does_not_run(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forced: bool
):
    import torch

    if forced:  # NeMo's own loader honours it
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with tarfile.open(tiny) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}  # type: ignore[union-attr]
    weights = next(name for name in files if name.endswith("model_weights.ckpt"))
    buffer = io.BytesIO()
    torch.save({"x": Bomb(tmp_path / "ran")}, buffer)
    path = nemo_of(tmp_path / "bomb.nemo", {**files, weights: buffer.getvalue()})
    with pytest.raises(ModelError, match=r"bomb\.nemo is not a usable Canary model"):
        await Harness(SPEC, model=str(path)).element.start()
    assert not (tmp_path / "ran").exists()


@pytest.mark.models
async def test_a_device_that_is_not_there_is_one_clear_error(tiny: Path):
    with pytest.raises(ModelError, match=r"no device cuda:99 here \(.*seen"):
        await Harness(SPEC, model=str(tiny), device="cuda:99").element.start()


@pytest.mark.models
async def test_loading_leaves_the_working_directory_alone(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    """NeMo's loader moves the whole process into a temporary folder while it reads."""
    HOSTS.unload_idle()
    moves: list[Any] = []
    monkeypatch.setattr(os, "chdir", moves.append)
    await run(CLIPS[:1], model=str(tiny))
    assert moves == []


@pytest.mark.models
def test_nothing_of_nemo_reaches_the_terminal(tiny: Path, root: Path):
    program = f"""
import asyncio
from tests.unit.test_canary import CLIPS, run
frames = asyncio.run(run(CLIPS[:3], model={str(tiny)!r}, batch_utterances=2))
assert len(frames) == 3
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
