"""The Silero voice around a real torch package with Silero's layout and interface."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.silero_package import CROWDED, ENGLISH, FORBIDDEN, RUSSIAN, SYMBOL_S, build_package, build_script
from tolmach.pipelines.bus import NoticeMessage, RepeatedMessage, WarningMessage
from tolmach.pipelines.errors import GraphError, ModelError, ModelRefusedError
from tolmach.pipelines.frames import AudioFrame, Samples, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.testing import Harness
from tolmach.pipelines.testing.checks import check_element
from tolmach.processors.hosting import HOSTS
from tolmach.processors.silero.element import Load
from tolmach.processors.silero.files import read_allowed
from tolmach.processors.silero.spec import SPEC
from tolmach.processors.tts.element import SpeechElement

pytestmark = pytest.mark.models

RATE_HZ = 8000
SYMBOL = int(SYMBOL_S * RATE_HZ)


@pytest.fixture
def russian(tmp_path: Path) -> dict[str, Any]:
    return settings_for(build_package(tmp_path / "ru.pt"), lang="ru")


def settings_for(path: Path, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"model": str(path), "sha256": digest, "rate_hz": RATE_HZ, "pause_ms": 0, **more}


def says(number: int, text: str, lang: str = "ru") -> TranslationFrame:
    start_ns = number * 1_000_000_000
    return TranslationFrame(number, start_ns, start_ns + 500_000_000, "en", lang, text)


async def spoken(settings: dict[str, Any], *texts: str) -> Harness:
    async with Harness(SPEC, **settings) as h:
        for number, text in enumerate(texts, 1):
            await h.push(says(number, text))
        await h.eos()
    return h


def notices(h: Harness) -> list[NoticeMessage]:
    """What people are told."""
    return [message for message in h.messages if isinstance(message, NoticeMessage)]


def heard(audio: Samples, symbols: str = RUSSIAN, *, rate_hz: int = RATE_HZ, speed: float = 1.0) -> str:
    """Which symbols the tones of the test's model stand for."""
    pitches = np.linspace(200.0, 1800.0, len(symbols))
    spectrum = np.abs(np.fft.rfft(audio.reshape(-1, int(SYMBOL_S * rate_hz / speed)), n=rate_hz, axis=1))
    peaks = np.argmax(spectrum, axis=1)
    return "".join(symbols[int(np.argmin(np.abs(pitches - peak)))] for peak in peaks)


async def test_the_element_keeps_the_contract(russian: dict[str, Any]) -> None:
    assert (await check_element(SPEC, russian))["src"] > 0


async def test_a_translation_is_heard_word_for_word(russian: dict[str, Any]) -> None:
    h = await spoken(russian, "Билет стоит 5 €, код USB.")
    assert heard(h.audio()) == "билет стоит пять евро, код ю эс би."
    start, *frames, end = h.output()
    assert start == UtteranceStart(1, 1_000_000_000, 1_500_000_000)
    assert isinstance(end, UtteranceEnd)
    assert end.end_ns - end.pts_ns == len(h.audio()) * 1_000_000_000 // RATE_HZ
    assert {(f.rate_hz, f.channels, f.utterance) for f in frames if isinstance(f, AudioFrame)} == {(RATE_HZ, 1, 1)}
    assert notices(h) == []


async def test_an_english_model_reads_english(tmp_path: Path) -> None:
    path = build_package(tmp_path / "en.pt", symbols=ENGLISH, speakers=("en_0",))
    h = await spoken(settings_for(path, lang="en"), "Москва: 2 km.")
    assert heard(h.audio(), ENGLISH) == "moskva: two kilometers."


async def test_each_text_is_spoken_by_the_model_of_its_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"ru": build_package(tmp_path / "ru.pt"), "en": build_package(tmp_path / "en.pt", symbols=ENGLISH)}
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files.values()]
    monkeypatch.setenv("TOLMACH_ALLOW_SHA256", " ".join(digests))
    voices = {lang: str(path) for lang, path in files.items()}
    async with Harness(SPEC, voices=voices, rate_hz=RATE_HZ, pause_ms=0) as h:
        await h.element.warm()
        await h.push(says(1, "да."), says(2, "yes.", "en"), says(3, "нет."))
        await h.eos()
    sounds = {
        n: np.concatenate([f.samples for f in h.output() if isinstance(f, AudioFrame) and f.utterance == n])
        for n in (1, 2, 3)
    }
    assert [heard(sounds[1]), heard(sounds[2], ENGLISH), heard(sounds[3])] == ["да.", "yes.", "нет."]
    # Where only Russian may come, the other model is not asked for.
    files["en"].unlink()
    caps = {"sink": "text/x-translation, lang=ru, script=cyrl"}
    async with Harness(SPEC, voices=voices, rate_hz=RATE_HZ, pause_ms=0, caps=caps) as h:
        await h.push(says(1, "да."))
        await h.eos()
    assert any(isinstance(frame, AudioFrame) for frame in h.output())


async def test_the_seeds_own_voice_speaks_at_sixteen_kilohertz(tmp_path: Path) -> None:
    path = build_script(tmp_path / "v1_lj_16000.jit")
    settings = {**settings_for(path, lang="en"), "rate_hz": 16000}
    assert (await check_element(SPEC, settings))["src"] > 0
    h = await spoken(settings, "The ticket costs 5 €")
    # An end is put where none is: the network learnt from whole sentences, and speaks on without one.
    assert heard(h.audio(), ENGLISH, rate_hz=16000) == "the ticket costs five euros."
    assert {frame.rate_hz for frame in h.output() if isinstance(frame, AudioFrame)} == {16000}
    assert notices(h) == []


async def test_the_first_generation_is_given_no_more_than_it_learnt_from(tmp_path: Path) -> None:
    settings = {**settings_for(build_script(tmp_path / "v1_baya_16000.jit", RUSSIAN), lang="ru"), "rate_hz": 16000}
    clause = "и ещё одно слово за другим словом, "
    h = await spoken(settings, clause * 12)
    said = heard(h.audio(), RUSSIAN, rate_hz=16000)
    pieces = said.split(".")[:-1]
    assert all(len(piece) < 140 for piece in pieces)
    assert [piece[-1] for piece in pieces] == [",", ",", "м"], "cut at clauses"
    assert "".join(pieces).replace(" ", "") == (clause * 12).replace(" ", "").removesuffix(",")
    assert notices(h) == []


async def test_a_script_of_a_language_whose_symbols_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = build_script(tmp_path / "v1_aigul_16000.jit")
    with pytest.raises(
        ModelError, match=r"names no symbols, and those of 'ba' are not known \(only ru, en, de, es, fr\)"
    ):
        async with Harness(SPEC, **{**settings_for(path, lang="ba"), "rate_hz": 16000}):
            pass


async def test_a_script_nobody_allowed_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOLMACH_ALLOW_SHA256", raising=False)
    path = build_script(tmp_path / "v1_lj_16000.jit")
    with pytest.raises(ModelRefusedError, match=hashlib.sha256(path.read_bytes()).hexdigest()):
        async with Harness(SPEC, model=str(path), lang="en", rate_hz=16000):
            pass


async def test_the_second_generation_takes_lists_of_texts(tmp_path: Path) -> None:
    path = build_package(tmp_path / "v2_baya.pt", texts=True)
    settings = {**settings_for(path, lang="ru"), "rate_hz": 16000}
    h = await spoken(settings, "Билет стоит 5 €.")
    assert heard(h.audio(), rate_hz=16000) == "билет стоит пять евро."
    with pytest.raises(GraphError, match="has one rate and pitch"):
        async with Harness(SPEC, **settings, rate="fast"):
            pass


@pytest.mark.parametrize(("rate", "speed"), [("medium", 1.0), ("slow", 1 / 1.5), ("x-fast", 2.0)])
async def test_a_voice_speaks_as_fast_as_it_is_told(russian: dict[str, Any], rate: str, speed: float) -> None:
    h = await spoken({**russian, "rate": rate}, "Да & нет, это 5 < 6.")
    assert heard(h.audio(), speed=speed) == "да и нет, это пять меньше шесть."
    assert notices(h) == []


async def test_sentences_are_separated_by_a_pause(russian: dict[str, Any]) -> None:
    h = await spoken({**russian, "pause_ms": 250}, "Раз. Два.")
    audio = h.audio()[:, 0]
    pause = RATE_HZ // 4
    assert heard(audio[: 4 * SYMBOL]) == "раз."
    assert not audio[4 * SYMBOL : 4 * SYMBOL + pause].any()
    assert heard(audio[4 * SYMBOL + pause :]) == "два."


async def test_long_text_is_cut_under_the_models_limit(russian: dict[str, Any]) -> None:
    words = "слово " * 400
    h = await spoken(russian, words)
    assert heard(h.audio()).replace(" ", "") == words.replace(" ", "")
    assert notices(h) == []


async def test_what_the_model_cannot_speak_is_named_and_the_rest_is_spoken(russian: dict[str, Any]) -> None:
    h = await spoken(russian, f"Вижу {FORBIDDEN}уку в реке. И рыбу.")
    assert heard(h.audio()).replace(" ", "") == "вижувреке.ирыбу."
    [warning] = notices(h)
    assert isinstance(warning, WarningMessage)
    assert f"cannot speak '{FORBIDDEN}уку' (AttributeError" in warning.text
    assert warning.pts_ns == 1_000_000_000
    assert warning.data["utterance"] == 1


@pytest.mark.parametrize("words", [1, 100])
def test_a_model_that_fails_on_everything_is_not_asked_for_every_word(words: int) -> None:
    from tolmach.processors.silero.engines import Utterable, VoiceEngine
    from tolmach.processors.silero.model import SileroModel

    tried: list[str] = []

    class Voice:
        symbols, speakers = "ab", ("aidar",)

        def apply_tts(self, text: str, speaker: str, sample_rate: int) -> Any:
            tried.append(text)
            raise AttributeError("'NoneType' object has no attribute 'group'")

    model = SileroModel(VoiceEngine(Voice()), "ru", "cpu", "voice.pt")
    text = " ".join(["ab"] * words)
    [spoken] = model.run([Utterable(text, "aidar", RATE_HZ)])
    assert len(spoken.samples) == 0
    assert " ".join(part for part, _ in spoken.skipped) == text, "all of it is told"
    assert len(tried) <= 15


async def test_memory_that_runs_out_is_told_as_that_and_not_met_by_halving_the_text(russian: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"can't allocate memory.*device: cpu"):
        await spoken(russian, f"Один раз {CROWDED} и ещё раз.")


@pytest.mark.parametrize(
    "true_error",
    [
        RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        MemoryError(),
    ],
    ids=["assert", "out of memory", "cudnn", "host memory"],
)
def test_a_failing_gpu_is_found_under_the_packages_own_words(true_error: Exception) -> None:
    from tolmach.processors.silero.engines import Utterable, VoiceEngine
    from tolmach.processors.silero.model import SileroModel

    tried: list[str] = []

    class Voice:
        symbols, speakers = "ab", ("aidar",)

        def apply_tts(self, text: str, speaker: str, sample_rate: int) -> None:
            tried.append(text)
            try:
                raise true_error
            except (RuntimeError, MemoryError):
                raise Exception("Model couldn't generate your text, probably it's too long")  # noqa: B904 -- as it does

    model = SileroModel(VoiceEngine(Voice()), "ru", "cpu", "voice.pt")
    first_line = str(true_error).partition("\n")[0] or "MemoryError"
    for call in (model.warm, lambda: model.run([Utterable("a b a b", "aidar", RATE_HZ)])):
        tried.clear()
        with pytest.raises(ModelError) as caught:
            call()
        assert f"cpu failed under voice.pt: {first_line};" in str(caught.value)
        assert len(tried) == 1


async def test_a_text_the_network_itself_fails_on_is_told_with_the_true_reason() -> None:
    from tolmach.processors.silero.engines import Utterable, VoiceEngine
    from tolmach.processors.silero.model import SileroModel

    class Voice:
        symbols, speakers = "ab", ("aidar",)

        def apply_tts(self, text: str, speaker: str, sample_rate: int) -> Any:
            try:
                raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")
            except RuntimeError:
                raise Exception("Model couldn't generate your text, probably it's too long")  # noqa: B904 -- as it does

    [spoken] = SileroModel(VoiceEngine(Voice()), "ru", "cpu", "voice.pt").run([Utterable("a", "aidar", RATE_HZ)])
    [(text, reason)] = spoken.skipped
    assert text == "a"
    assert "RuntimeError: The size of tensor a (3) must match" in reason


async def test_a_package_that_only_wraps_others_and_names_no_symbols_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tolmach.processors.silero import model as silero
    from tolmach.processors.silero.files import Package
    from tolmach.processors.silero.voices import MODELS

    path = build_package(tmp_path / "wrapped.pt", v5=True, wrapped=True)
    assert heard((await spoken(settings_for(path, lang="ru"), "Раз, два.")).audio()) == "раз, два."
    path = build_package(tmp_path / "quiet.pt", v5=True, wrapped=True, quiet=True)
    known = MODELS["v5_5_ru"].spoken["ru"].symbols
    assert known is not None
    package = Package(path, "", path.read_bytes())
    assert silero.load(package, "ru", "cpu").info["symbols"] is None
    loaded = silero.load(package, "ru", "cpu", symbols=known)
    assert (loaded.info["speakers"], loaded.info["symbols"]) == (("aidar", "baya"), known)
    assert set("абвгдеёжзийклмнопрстуфхцчшщъыьэюя!+,-.:;?–… ") == set(known)
    loaded.warm()


@pytest.mark.parametrize("kind", ["package", "script"])
def test_the_file_is_not_kept_in_memory_beside_the_model(tmp_path: Path, kind: str) -> None:
    import gc
    import sys

    from tolmach.processors.silero import model as silero
    from tolmach.processors.silero.engines import Utterable
    from tolmach.processors.silero.files import Package

    script = kind == "script"
    path = build_script(tmp_path / "v1.jit") if script else build_package(tmp_path / "v4.pt")
    package = Package(path, "", path.read_bytes())
    before = sys.getrefcount(package.content)
    model = silero.load(package, "en" if script else "ru", "cpu")
    rate_hz = 16000 if script else RATE_HZ
    [spoken] = model.run([Utterable("yes. да.", model.info["speakers"][0], rate_hz)])
    assert len(spoken.samples), spoken.skipped
    gc.collect()
    after = sys.getrefcount(package.content)  # outside of the assertion, which keeps one itself
    assert after == before


async def test_letters_without_a_sound_are_named(russian: dict[str, Any]) -> None:
    h = await spoken(russian, "Город 北京.", "北京")
    assert heard(h.audio()) == "город."
    assert ["北京" in m.text for m in notices(h)] == [True, True]
    assert {f.utterance for f in h.output()} == {1}  # nothing at all leaves for the second


async def test_the_same_text_gives_the_same_bytes_whatever_was_said_before(russian: dict[str, Any]) -> None:
    first = (await spoken(russian, "Доброе утро.")).audio().tobytes()
    h = await spoken(russian, "Совсем другое.", "Доброе утро.")
    second = [f.samples for f in h.output() if isinstance(f, AudioFrame) and f.utterance == 2]
    assert np.concatenate(second).tobytes() == first


async def test_the_callers_random_numbers_are_left_alone(russian: dict[str, Any]) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    await spoken(russian, "Раз.")
    assert torch.equal(torch.rand(3), expected)


async def test_speaker_and_options_reach_the_model(tmp_path: Path, russian: dict[str, Any]) -> None:
    loudness = [
        float(np.abs((await spoken({**russian, **more}, "Раз.")).audio()).max())
        for more in ({}, {"speaker": "baya"}, {"put_accent": False})
    ]
    assert loudness == pytest.approx([0.35, 0.45, 0.3], abs=0.01)
    fifth = settings_for(build_package(tmp_path / "v5.pt", v5=True), lang="ru", put_stress_homo=False)
    assert heard((await spoken(fifth, "Раз.")).audio()) == "раз."


@pytest.mark.parametrize("cpu_threads", [0, 1, 3])
def test_it_computes_with_its_own_threads_whatever_other_models_do(cpu_threads: int) -> None:
    import torch

    from tolmach.processors.hosting.torch_threads import USUAL, use_threads
    from tolmach.processors.silero.engines import Utterable, VoiceEngine
    from tolmach.processors.silero.model import SileroModel

    class Voice:
        symbols, speakers = "ab", ("aidar",)

        def apply_tts(self, text: str, speaker: str, sample_rate: int) -> torch.Tensor:
            return torch.full((1,), torch.get_num_threads() / 1000)

    model = SileroModel(VoiceEngine(Voice()), "ru", "cpu", "voice", cpu_threads)
    with ThreadPoolExecutor(1) as mine, ThreadPoolExecutor(1) as other:
        for count in (1, 2):
            other.submit(torch.set_num_threads, count).result()
            [spoken] = mine.submit(model.run, [Utterable("a", "aidar", RATE_HZ)]).result()
            assert round(float(spoken.samples[0]) * 1000) == (cpu_threads or USUAL)
        other.submit(use_threads, 0).result()


async def test_graphs_with_other_numbers_of_threads_share_no_model(russian: dict[str, Any]) -> None:
    HOSTS.unload_idle()
    await asyncio.gather(spoken(russian, "Раз."), spoken({**russian, "cpu_threads": 1}, "Раз."))
    assert HOSTS.unload_idle() == 2


async def test_a_stranger_is_no_speaker(russian: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match="no speaker 'xenia'; it has aidar, baya"):
        async with Harness(SPEC, **russian, speaker="xenia"):
            pass


async def test_graphs_share_one_model_and_give_it_back(russian: dict[str, Any]) -> None:
    HOSTS.unload_idle()
    both = await asyncio.gather(*(spoken(russian, "Раз. Два. Три.") for _ in range(2)))
    assert both[0].audio().tobytes() == both[1].audio().tobytes()
    assert HOSTS.unload_idle() == 1


def test_a_host_elsewhere_reads_and_checks_the_file_itself(tmp_path: Path) -> None:
    path = build_package(tmp_path / "ru.pt")
    settings = SPEC.settings(**settings_for(path, lang="ru")).single("ru")  # type: ignore[attr-defined]
    package = read_allowed(path, settings)
    sent = pickle.dumps(Load(path, settings, "cpu", [package]))
    assert len(sent) < len(package.content)
    there = pickle.loads(sent)()  # noqa: S301 -- what was just pickled
    assert list(there.info["speakers"]) == ["aidar", "baya"]
    path.write_bytes(package.content + b"changed on its way")
    with pytest.raises(ModelRefusedError, match="is not loaded"):
        pickle.loads(sent)()  # noqa: S301


async def test_a_file_nobody_allowed_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOLMACH_ALLOW_SHA256", raising=False)
    path = build_package(tmp_path / "ru.pt")
    with pytest.raises(ModelRefusedError, match=hashlib.sha256(path.read_bytes()).hexdigest()):
        async with Harness(SPEC, model=str(path), lang="ru"):
            pass


async def test_a_file_that_is_no_package_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "text.pt"
    path.write_text("not a model")
    with pytest.raises(ModelError, match=r"text\.pt cannot be loaded as a Silero model"):
        async with Harness(SPEC, **settings_for(path, lang="ru")):
            pass


async def test_a_package_that_is_no_voice_is_refused(tmp_path: Path) -> None:
    from torch.package.package_exporter import PackageExporter

    path = tmp_path / "other.pt"
    with PackageExporter(str(path)) as exporter:
        exporter.extern("torch.**")
        exporter.save_pickle("tts_models", "model", __import__("torch").nn.Linear(1, 1))
    with pytest.raises(ModelError, match="is no Silero voice"):
        async with Harness(SPEC, **settings_for(path, lang="ru")):
            pass


async def test_a_device_that_is_not_there_is_named(russian: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="no device cuda:99"):
        async with Harness(SPEC, **russian, device="cuda:99"):
            pass


async def test_live_a_long_sentence_begins_at_its_first_clause_and_is_heard_whole(russian: dict[str, Any]) -> None:
    text = "Когда собрание подошло к концу, мы вернулись на станцию и стали ждать последний поезд этого длинного дня."

    async def pieces(*, live: bool, **settings: Any) -> tuple[str, int]:
        async with Harness(SPEC, live=live, **{**russian, **settings}) as h:
            await h.push(says(1, text))
            await h.eos()
            assert isinstance(h.element, SpeechElement)
            return heard(h.audio()).replace(" ", ""), len(h.element.cache)

    said = text.lower().replace(" ", "")
    assert await pieces(live=True) == (said, 2)
    assert await pieces(live=True, begin_early=False) == (said, 1)
    assert await pieces(live=False, pause_ms=500) == (said, 1)
    # The pause between sentences does not come into one.
    assert await pieces(live=True, pause_ms=500) == (said, 2)


async def test_the_same_words_are_computed_once_and_what_is_left_out_of_them_is_told_again(
    russian: dict[str, Any],
) -> None:
    async with Harness(SPEC, **russian) as h:
        for number in (1, 2):
            await h.push(says(number, f"Вижу {FORBIDDEN}уку."))
            await h.element.drain()
    assert heard(h.audio()) == 2 * heard(h.audio()[: len(h.audio()) // 2])
    assert [message.utterance for message in h.messages if isinstance(message, RepeatedMessage)] == [2]
    assert [message.data["utterance"] for message in notices(h)] == [1, 2]
