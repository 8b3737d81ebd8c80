"""What keeps a Canary model honest: end, tokens, bounds, languages, memory; real NeMo, tiny weights."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.nemo_models import FAMILY_DECODING, build
from tests.unit.test_canary import CLIPS, RATE, clip, run, utterances
from tolmach.pipelines.bus import LoadingMessage, WarningMessage
from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.frames import Samples, TranslationFrame
from tolmach.pipelines.testing import Harness
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.element import SpeechTranslation
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.canary import precision
from tolmach.processors.canary.known import CANARY_1B_V2, CANARY_FLASH, Shape, check_pair, recognise
from tolmach.processors.canary.request import token_bound
from tolmach.processors.canary.spec import DEFAULT_MIN_LOGPROB, SPEC
from tolmach.processors.hosting import HOSTS
from tolmach.processors.hosting.device import OutOfMemoryError

GIB = 1 << 30


async def answers(path: Path, clips: Sequence[Samples] = CLIPS, chunk: int = 320, **settings: Any) -> Harness:
    """The element after it has translated the clips."""
    async with Harness(SPEC, model=str(path), **settings) as harness:
        await harness.push(*utterances(clips, chunk))
        await harness.eos()
        return harness


def texts(harness: Harness) -> list[str]:
    return [frame.text for frame in harness.output() if isinstance(frame, TranslationFrame)]


@pytest.fixture(autouse=True)
def _retries_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    push = SpeechTranslation._push

    async def noting(self: SpeechTranslation[Any], utterance: Utterance, hypothesis: Hypothesis, *more: Any) -> None:
        self.__dict__.setdefault("noted", []).append(list(hypothesis.retries))
        await push(self, utterance, hypothesis, *more)

    monkeypatch.setattr(SpeechTranslation, "_push", noting)


def retries(harness: Harness) -> list[list[str]]:
    """Why each utterance was asked for again."""
    return harness.element.__dict__["noted"]


def bare(path: Path) -> Any:
    from nemo.collections.asr.models import EncDecMultiTaskModel

    return EncDecMultiTaskModel.restore_from(str(path), map_location="cpu")


# The end, and tokens that are no text -----------------------------------------------------------------------------


@pytest.mark.models
async def test_an_end_of_sequence_that_comes_first_is_the_end(tmp_path: Path):
    """NeMo's beam of one, which the published models are configured for, goes on behind it."""
    path = build(tmp_path, seed=6, decoding=FAMILY_DECODING)
    said = [h.text for h in bare(path).transcribe(CLIPS, batch_size=4, source_lang="en", target_lang="ru", verbose=0)]
    assert sum(text.startswith("<|endoftext|>") for text in said) == 6, "the model no longer shows it"
    frames = await run(model=str(path), batch_utterances=4)
    assert [(f.text, f.rejected) for f in frames] == [("", "no speech")] * len(CLIPS)
    for frame in frames:  # of the end alone: it was the most likely of 128 tokens
        assert frame.logprob is not None
        assert frame.logprob > -1.5


@pytest.mark.models
async def test_no_special_token_becomes_text_and_none_counts(tmp_path: Path):
    def likely_tokens(piece: str) -> float:
        return 18.0 if piece.startswith("<") and piece != "<|endoftext|>" else 0.0

    path = build(tmp_path, seed=2, decoding=FAMILY_DECODING, bias=likely_tokens)
    said = [h.text for h in bare(path).transcribe(CLIPS, batch_size=4, source_lang="en", target_lang="ru", verbose=0)]
    assert any("<|itn|>" in text for text in said), "the model no longer shows it"
    frames = await run(model=str(path), batch_utterances=4)
    assert not any(mark in frame.text for frame in frames for mark in ("<", "|", "⁇"))
    # What is left of each text is NeMo's, less the tokens; only a second try may say something else.
    same = [f.text == text.replace("<|itn|>", "") for f, text in zip(frames, said, strict=True)]
    assert sum(same) >= 5


# Second tries -----------------------------------------------------------------------------------------------------


@pytest.mark.models
async def test_a_very_short_utterance_that_decodes_to_nothing_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tolmach.processors.canary.model import CanaryModel

    def likely_end(piece: str) -> float:
        return 3.0 if piece == "<|endoftext|>" else 0.0

    encoded: list[list[int]] = []
    encode = CanaryModel._encode

    def spy(self: CanaryModel, items: Sequence[Any]) -> Any:
        encoded.append([len(item.samples) for item in items])
        return encode(self, items)

    monkeypatch.setattr(CanaryModel, "_encode", spy)
    path = build(tmp_path, seed=2, decoding=FAMILY_DECODING, bias=likely_end)
    harness = await answers(path)
    assert retries(harness) == [[], [], [], [], [], ["empty"], ["empty"]]
    assert all(texts(harness))
    assert encoded[-3:] == [[48000], [16000], [48000]] or encoded[-4:] == [[16000], [48000], [16000], [48000]]
    assert [f.retries for f in harness.output() if isinstance(f, TranslationFrame)][-2:] == [("empty",)] * 2
    assert texts(await answers(path, chunk=1600)) == texts(harness)

    quiet = build(tmp_path / "quiet", seed=6, decoding=FAMILY_DECODING)
    encoded.clear()
    harness = await answers(quiet, [clip(31_999, 200), clip(32_000, 200)])
    assert retries(harness) == [["empty"], []], "an utterance of two seconds is not very short"
    assert encoded == [[31_999], [63_999], [32_000]], "one second try, whatever comes of it"


@pytest.mark.models
async def test_a_text_in_the_wrong_script_is_tried_once_more_in_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tolmach.processors.canary import model as canary

    def rather_latin(piece: str) -> float:
        if piece == "<|endoftext|>":
            return -10.0
        if not any(map(str.isalpha, piece)):
            return -30.0
        return -8.0 if any("\u0400" <= char <= "\u04ff" for char in piece) else 0.0

    path = build(tmp_path, seed=2, decoding=FAMILY_DECODING, bias=rather_latin)
    frames = await run(model=str(path), max_compression_ratio=100)  # random weights babble
    wrong = [n for n, frame in enumerate(frames) if frame.rejected == "wrong script"]
    assert wrong, "what the model finds unlikely is not kept"
    english = await answers(path, target_lang="en", max_compression_ratio=100)
    assert retries(english) == [[]] * len(CLIPS), "a text in its own script is not asked for again"

    monkeypatch.setattr(canary, "DEFAULT_MIN_LOGPROB", -100.0)
    second = await answers(path, max_compression_ratio=100)
    assert [n for n, why in enumerate(retries(second)) if why] == wrong
    for n in wrong:
        letters = [char for char in texts(second)[n] if char.isalpha()]
        assert letters
        assert all("\u0400" <= char <= "\u04ff" for char in letters)


# Bounds -----------------------------------------------------------------------------------------------------------


def test_the_bound_of_tokens_follows_the_audio():
    assert [token_bound(seconds) for seconds in (0, 1, 3, 20, 60)] == [24, 32, 48, 184, 504]


@pytest.mark.models
async def test_a_model_that_never_ends_is_stopped_by_the_length_of_its_audio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_end(piece: str) -> float:
        return -100.0 if piece == "<|endoftext|>" else 0.0

    from tolmach.processors.canary.model import CanaryModel

    path = build(
        tmp_path, decoding={**FAMILY_DECODING, "beam": {"beam_size": 1, "max_generation_delta": 100}}, bias=no_end
    )
    await answers(path, CLIPS[:1])
    model = next(iter(HOSTS._entries.values())).host._model  # type: ignore[attr-defined]
    lengths: list[int] = []
    read = CanaryModel._hypothesis

    def spy(self: CanaryModel, item: Any, decoded: Any) -> Any:
        lengths.append(len(decoded.tokens))
        return read(self, item, decoded)

    monkeypatch.setattr(CanaryModel, "_hypothesis", spy)
    await answers(path, [clip(RATE, 300), clip(3 * RATE, 300)], target_lang="en", batch_utterances=2)
    await answers(path, [clip(RATE, 300)], target_lang="en", max_tokens=5)
    assert model is not None
    assert lengths == [32, 48, 5]


@pytest.mark.models
async def test_another_callers_utterance_is_answered_in_the_middle_of_a_long_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The declared bound: it waits for one step, the encoder's pass or eight tokens, not for the utterance."""
    from tolmach.processors.canary.decoding import STEP_TOKENS
    from tolmach.processors.canary.model import CanaryModel

    def no_end(piece: str) -> float:
        return -100.0 if piece == "<|endoftext|>" else 0.0

    path = build(tmp_path, decoding=FAMILY_DECODING, bias=no_end)
    long, short = (
        Harness(SPEC, model=str(path), target_lang="en"),
        Harness(SPEC, model=str(path), target_lang="en", max_tokens=3),
    )
    await long.element.start()
    await short.element.start()
    answered: list[str] = []
    loop = asyncio.get_running_loop()
    asked: list[Any] = []
    encode = CanaryModel._encode

    async def ask(harness: Harness, name: str, samples: Samples) -> None:
        await harness.push(*utterances([samples]))
        await harness.eos()
        answered.append(name)

    def spy(self: CanaryModel, items: Sequence[Any]) -> Any:
        if not asked:  # the long one has begun: now the other one comes
            asked.append(asyncio.run_coroutine_threadsafe(ask(short, "short", clip(RATE, 300)), loop))
        return encode(self, items)

    monkeypatch.setattr(CanaryModel, "_encode", spy)
    await ask(long, "long", clip(4 * RATE, 300))
    await asyncio.wrap_future(asked[0])
    assert STEP_TOKENS == 8
    assert answered == ["short", "long"]
    alone = await answers(path, [clip(4 * RATE, 300)], target_lang="en")
    assert texts(alone) == texts(long), "what is computed does not depend on the turns"
    for harness in (long, short):
        await harness.stop()


# Warm -------------------------------------------------------------------------------------------------------------


@pytest.mark.models
async def test_warm_is_a_request_between_the_graphs_own_languages_and_some_tokens_whatever_the_audio_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tolmach.processors.canary.decoding import GreedyDecoder
    from tolmach.processors.canary.model import WARM_TOKENS, CanaryModel

    path = build(tmp_path, seed=6, decoding=FAMILY_DECODING)  # answers the end at once
    asked: list[tuple[str, str]] = []
    lengths: list[int] = []
    warm, decode = CanaryModel.warm, GreedyDecoder.decode

    def spy(self: CanaryModel, items: Sequence[Any] = ()) -> None:
        asked.extend((item.source_lang, item.target_lang) for item in items)
        warm(self, items)

    def count(self: GreedyDecoder, *args: Any, **options: Any) -> Any:
        found = yield from decode(self, *args, **options)
        lengths.extend(len(each.tokens) for each in found)
        return found

    monkeypatch.setattr(CanaryModel, "warm", spy)
    monkeypatch.setattr(GreedyDecoder, "decode", count)
    for source, target in (("en", "ru"), ("en", "ru"), ("ru", "en")):
        async with Harness(SPEC, model=str(path), source_lang=source, target_lang=target) as harness:
            await harness.element.warm()
    assert asked == [("en", "ru"), ("ru", "en")], "once for each pair"
    assert lengths == [WARM_TOKENS] * 2


# Languages --------------------------------------------------------------------------------------------------------

V2 = Shape(vocabulary=16384, encoder_layers=32, encoder_width=1024, decoder_layers=8)
MANY = ("aa", *CANARY_1B_V2, "ja", "kk", "zh")


def test_a_published_model_is_recognised_by_its_shape_whatever_its_file_is_called():
    known = recognise("/models/my-model.nemo", V2, MANY)
    assert (known.languages, known.published, known.sure) == (tuple(sorted(CANARY_1B_V2)), "nvidia/canary-1b-v2", True)
    assert recognise("nvidia/canary-1b-v2", Shape(1, 1, 1, 1), MANY) == known
    with pytest.raises(ValueError, match=r"only from and into English, not de to ru"):
        check_pair("nvidia/canary-1b-v2", "de", "ru", "my-model")


def test_a_tokenizer_put_together_from_one_a_language_says_which_the_model_has_learnt():
    known = recognise("renamed.nemo", Shape(5248, 32, 1024, 4), MANY, ("spl_tokens", "en", "de", "es", "fr"))
    assert (known.languages, known.published, known.sure) == (tuple(sorted(CANARY_FLASH)), None, True)


def test_of_any_other_model_only_its_tokens_are_known():
    assert recognise("other.nemo", V2._replace(decoder_layers=4), ("ru", "en")) == (("en", "ru"), None, False)


@pytest.mark.models
async def test_a_model_that_looks_like_a_published_one_promises_no_more_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tolmach.processors.canary import known

    path = build(tmp_path)
    monkeypatch.setitem(known.SHAPES, Shape(128, 1, 32, 1), "nvidia/canary-180m-flash")
    HOSTS.unload_idle()
    with pytest.raises(ModelError, match=r"'ru' is not a language of tiny, which looks like .*; it has en; name the"):
        await Harness(SPEC, model=str(path)).element.start()
    async with Harness(SPEC, model=str(path), target_lang="en") as harness:
        assert harness.element.min_logprob == DEFAULT_MIN_LOGPROB  # type: ignore[attr-defined]
    async with Harness(SPEC, model=str(path), trained_languages=("en", "ru", "kk")) as harness:
        assert [m for m in harness.messages if isinstance(m, WarningMessage)] == []
    with pytest.raises(ModelError, match=r"'ru' is not a language of tiny"):
        await Harness(SPEC, model=str(path), trained_languages=("en",)).element.start()
    HOSTS.unload_idle()


@pytest.mark.models
async def test_an_unknown_model_says_that_its_languages_are_not_known(tmp_path: Path):
    path = build(tmp_path)
    async with Harness(SPEC, model=str(path)) as harness:
        (warning,) = [m.text for m in harness.messages if isinstance(m, WarningMessage)]
        assert harness.element.min_logprob is None  # type: ignore[attr-defined]
    assert warning.startswith("tiny is no published model: it has tokens for 2 languages, and whether it has learnt en")


# Memory and arithmetic --------------------------------------------------------------------------------------------

PARAMETERS = 962_000_000


@pytest.mark.parametrize(
    ("wanted", "device", "free", "capability", "chosen"),
    [
        ("auto", "cpu", 0, (0, 0), "float32"),
        ("bfloat16", "cpu", 0, (0, 0), "bfloat16"),
        ("auto", "cuda:0", 80 * GIB, (9, 0), "float32"),
        ("auto", "cuda:0", 4 * GIB, (8, 6), "bfloat16"),
        ("auto", "cuda:0", 4 * GIB, (7, 5), "float16"),
        ("float16", "cuda:0", 4 * GIB, (8, 6), "float16"),
        ("float32", "cuda:0", 5 * GIB, (6, 1), "float32"),
    ],
)
def test_the_arithmetic_is_what_fits(wanted: str, device: str, free: int, capability: tuple[int, int], chosen: str):
    assert precision.choose(wanted, device, PARAMETERS, free, capability) == chosen


@pytest.mark.parametrize(
    ("wanted", "device", "free", "capability", "error", "says"),
    [
        ("float16", "cpu", 0, (0, 0), ModelError, "float16 is for CUDA"),
        ("bfloat16", "cuda:1", 80 * GIB, (7, 5), ModelError, r"needs CUDA compute capability 8\.0, cuda:1 has 7\.5"),
        ("auto", "cuda:0", 2 * GIB, (8, 6), OutOfMemoryError, r"needs 2\.3 GiB in bfloat16, cuda:0 has 2\.0 GiB"),
        ("float32", "cuda:0", 4 * GIB, (8, 6), OutOfMemoryError, r"4\.6 GiB in float32.*fits: dtype bfloat16 \(2\.3"),
        ("auto", "cuda:0", 4 * GIB, (5, 2), OutOfMemoryError, r"4\.6 GiB in float32.*device cpu \(3\.6 GiB"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_what_would(
    wanted: str, device: str, free: int, capability: tuple[int, int], error: type[Exception], says: str
):
    with pytest.raises(error, match=says):
        precision.choose(wanted, device, PARAMETERS, free, capability)


def test_main_memory_is_the_least_of_machine_and_container(tmp_path: Path):
    proc, cgroup = tmp_path / "meminfo", tmp_path / "cgroup"
    assert precision.main_memory(proc, cgroup) is None
    proc.write_text("MemTotal:  9000 kB\nMemAvailable:  4000 kB\nSwapFree:  1000 kB\n")
    assert precision.main_memory(proc, cgroup) == 5000 * 1024
    cgroup.mkdir()
    (cgroup / "memory.max").write_text("max\n")
    assert precision.main_memory(proc, cgroup) == 5000 * 1024
    (cgroup / "memory.max").write_text(f"{3000 * 1024}\n")
    (cgroup / "memory.current").write_text(f"{2500 * 1024}\n")
    (cgroup / "memory.stat").write_text(f"anon {1000 * 1024}\nfile {1500 * 1024}\n")
    assert precision.main_memory(proc, cgroup) == 2000 * 1024


@pytest.mark.models
async def test_a_model_that_does_not_fit_is_told_as_that_and_not_as_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tolmach.processors.canary import nemo_file

    path = build(tmp_path)
    monkeypatch.setattr(precision, "main_memory", lambda: 1000)
    with pytest.raises(OutOfMemoryError, match=r"of main memory, 1000 bytes can be had; what fits: .*180m-flash"):
        await Harness(SPEC, model=str(path)).element.start()
    monkeypatch.undo()

    def exhausted(stored: Any) -> Any:
        try:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
        except RuntimeError as error:
            raise ValueError("Error instantiating the encoder") from error

    monkeypatch.setattr(nemo_file, "mapped", exhausted)
    with pytest.raises(OutOfMemoryError, match=r"loading .*tiny\.nemo: out of memory \(.*can't allocate"):
        await Harness(SPEC, model=str(path)).element.start()


@pytest.mark.models
async def test_half_precision_where_it_was_asked_for(tmp_path: Path):
    import torch

    path = build(tmp_path)
    full = await answers(path)
    half = await answers(path, dtype="bfloat16")
    loaded = next(m for m in half.messages if m.text.startswith("loaded"))
    assert loaded.data["dtype"] == "bfloat16"
    for one, other in zip(full.output(), half.output(), strict=True):
        assert isinstance(one, TranslationFrame)
        assert isinstance(other, TranslationFrame)
        assert other.logprob is not None
        if one.text == other.text:  # random weights: the least difference may tip a token
            assert other.logprob == pytest.approx(one.logprob, abs=0.1)
    assert sum(a == b for a, b in zip(texts(full), texts(half), strict=True)) >= 3
    models = [entry.host._model for key, entry in HOSTS._entries.items() if key.variant == "bfloat16"]  # type: ignore[attr-defined]
    (nemo,) = {model._model for model in models if model is not None and str(path) in str(model)} or {models[-1]._model}
    assert {p.dtype for p in nemo.encoder.parameters()} == {torch.bfloat16}
    assert nemo.preprocessor.featurizer.fb.dtype == torch.float32
    with pytest.raises(ModelError, match="float16 is for CUDA"):
        await Harness(SPEC, model=str(path), dtype="float16").element.start()


@pytest.mark.models
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is Linux's")
def test_weights_stand_in_memory_once(tmp_path: Path, root: Path):
    """Two hundred megabytes, loaded by the host's thread as in a server; NeMo's own way takes twice that."""
    path = build(tmp_path, width=512, layers=8)
    program = f"""
import asyncio, json
from tolmach.processors.canary.model import load
from tests.bench.full_size import Peak, anonymous_bytes
from tolmach.processors.hosting import HOSTS, HostKey
async def main():
    before = anonymous_bytes()
    with Peak() as peak:
        lease = await HOSTS.acquire(HostKey("canary", "m", "cpu"), lambda: load({str(path)!r}, "cpu"))
    print(json.dumps([before, peak.bytes, anonymous_bytes(), 4 * lease.info["parameters"]]))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    before, peak, resting, weights = json.loads(done.stdout)
    assert weights > 200e6
    slack = 25e6  # tokenizer, configuration, the first use of PyTorch's threads
    assert peak - before < 1.15 * weights + slack
    assert resting - before < 1.15 * weights + slack


# Where it is unpacked, and how far --------------------------------------------------------------------------------


def compressed(path: Path, to: Path) -> Path:
    with tarfile.open(path) as archive, tarfile.open(to, "w:gz") as packed:
        for member in archive.getmembers():
            packed.addfile(member, archive.extractfile(member) if member.isfile() else None)
    return to


@pytest.mark.models
async def test_a_compressed_archive_is_unpacked_and_says_where_and_how_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plain = build(tmp_path)
    packed = compressed(plain, tmp_path / "packed.nemo")
    harness = await answers(packed)
    told = [m.text for m in harness.messages if isinstance(m, LoadingMessage)]
    assert any(text.startswith("loading packed: unpacking into /") and " 0 % of" in text for text in told)
    assert any(text.startswith("loading packed: reading the weights, 0 % of") for text in told)
    other = await answers(plain)
    assert texts(other) == texts(harness)
    assert not any("unpacking" in str(m) for m in other.messages)

    HOSTS.unload_idle()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 10))
    with pytest.raises(ModelError, match=r"packed\.nemo needs .* to be unpacked in /.*, which has .* free: set TMPDIR"):
        await Harness(SPEC, model=str(packed)).element.start()


@pytest.mark.models
async def test_a_checkpoint_that_is_cut_short_is_one_clear_error(tmp_path: Path):
    path = build(tmp_path)
    with tarfile.open(path) as archive:
        weights = next(m for m in archive.getmembers() if m.name.endswith("model_weights.ckpt"))
    cut = tmp_path / "cut.nemo"
    cut.write_bytes(path.read_bytes()[: weights.offset_data + weights.size // 2])
    with pytest.raises(ModelError, match=r"cut\.nemo is not a usable Canary model"):
        await Harness(SPEC, model=str(cut)).element.start()
