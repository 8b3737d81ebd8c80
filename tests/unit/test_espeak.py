from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.errors import GraphError, ModelError
from tolmach.pipelines.frames import AudioFrame, Samples, TranslationFrame, UtteranceEnd, UtteranceStart, samples_to_ns
from tolmach.pipelines.testing import Harness
from tolmach.processors.espeak import element
from tolmach.processors.espeak.element import Request
from tolmach.processors.espeak.spec import RATE_HZ, SPEC, VOICES, EspeakSettings


def says(number: int, text: str, lang: str = "en") -> TranslationFrame:
    start_ns = number * 1_000_000_000
    return TranslationFrame(number, start_ns, start_ns + 500_000_000, "ru", lang, text)


async def said(request: Request) -> Samples:
    blocks = [block async for block in element.speak(request)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


async def test_every_language_has_a_voice_that_speaks_it() -> None:
    voices = await element.list_voices()
    for lang, voice in VOICES.items():
        assert voice in voices, lang
        assert voice.split("-")[0] == lang
    assert len(VOICES) == 25
    assert await element.rate_hz() == RATE_HZ


async def test_a_system_without_memfd_is_told_what_speaks_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    monkeypatch.setattr(element, "_library", element._Library)  # not the one that is loaded already
    assert SPEC.pads_for(EspeakSettings())  # checking and inspecting need no library
    with pytest.raises(ModelError, match=r"Linux only.*silero_tts"):
        await Harness(SPEC).element.start()


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"lang": "tlh"}, "has no voice for 'tlh'"),
        ({"lang": "en", "voice": "ru"}, "does not speak 'en'"),
        ({"lang": "ru", "voice": "../../etc/passwd"}, "is no voice"),
        ({"voices": {"ru": "../../etc/passwd"}}, "is no voice"),
        ({"voices": {"tlh": None}}, "has no voice for 'tlh'"),
        ({"voices": {"ru": "en-gb"}}, "does not speak 'ru'"),
        ({"voices": {"ru": None}, "lang": "ru"}, "remove lang"),
        ({"lang": "ru", "voice": "ru+../x"}, "is no voice"),
        ({"rate_wpm": 79}, "greater than or equal to 80"),
        ({"rate_wpm": 451}, "less than or equal to 450"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_check_time(given_settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EspeakSettings(**given_settings)


def test_pads_carry_language_and_script() -> None:
    sink, src = SPEC.pads_for(EspeakSettings(lang="ru"))
    assert sink.caps == Caps.parse("text/x-translation, lang=ru, script=cyrl")
    assert src.caps == Caps.parse("audio/raw, rate=22050, channels=1, segmented=true, lang=ru")
    assert not sink.caps.can_intersect(Caps.parse("text/x-translation, lang=en, script=latn"))


async def test_a_sentence_becomes_bracketed_audio_of_plausible_length_and_level() -> None:
    async with Harness(SPEC, lang="en", chunk_ms=100) as h:
        await h.push(says(2, "Where is the railway station, please?"))
        await h.eos()
        start, *frames, end = h.output()
        assert start == UtteranceStart(2, 2_000_000_000, 2_500_000_000)
        total = 0
        for frame in frames:
            assert isinstance(frame, AudioFrame)
            assert (frame.rate_hz, frame.channels, frame.utterance) == (RATE_HZ, 1, 2)
            assert frame.pts_ns == 2_000_000_000 + samples_to_ns(total, RATE_HZ)
            total += len(frame.samples)
        assert {len(f.samples) for f in frames[:-1] if isinstance(f, AudioFrame)} == {RATE_HZ // 10}
        assert end == UtteranceEnd(2, 2_000_000_000, 2_000_000_000 + samples_to_ns(total, RATE_HZ))
        assert 1.5 < total / RATE_HZ < 4
        audio = h.audio()
        assert audio.dtype == np.float32
        assert 0.02 < float(np.sqrt(np.mean(audio**2))) < 0.5
        assert float(np.abs(audio).max()) <= 1


async def test_each_text_is_spoken_by_the_voice_of_its_language() -> None:
    texts = [says(1, "Hello there."), says(2, "Добрый день.", "ru"), says(3, "Good bye.")]
    async with Harness(SPEC, voices={"en": "en-gb", "ru": "ru+f2"}) as both:
        await both.element.warm()
        await both.push(*texts)
        await both.eos()
    for alone, of in (
        ({"lang": "en", "voice": "en-gb"}, texts[::2]),
        ({"lang": "ru", "voice": "ru+f2"}, texts[1:2]),
    ):
        async with Harness(SPEC, **alone) as one:
            await one.push(*of)
            await one.eos()
        numbers = {frame.utterance for frame in of}
        mine = [f.samples.tobytes() for f in both.output() if isinstance(f, AudioFrame) and f.utterance in numbers]
        assert mine == [f.samples.tobytes() for f in one.output() if isinstance(f, AudioFrame)]
        assert mine


def test_pads_of_several_voices_take_any_of_their_languages() -> None:
    sink, src = SPEC.pads_for(EspeakSettings(voices={"RU": None, "en": "en-gb"}))
    assert sink.caps == Caps.parse("text/x-translation, lang={en, ru}, script={cyrl, latn}")
    assert src.caps == Caps.parse(f"audio/raw, rate={RATE_HZ}, channels=1, segmented=true")


async def test_the_same_text_gives_the_same_bytes_whatever_was_said_before() -> None:
    # The breathy variant draws noise; the plain ones carry the phase of the pitch flutter.
    requests = [Request("Good morning!", "en-us"), Request("Доброе утро!", "ru"), Request("Good morning!", "en-us+f2")]
    first = [(await said(r)).tobytes() for r in requests]
    assert len(set(first)) == 3
    for _ in range(3):
        assert [(await said(r)).tobytes() for r in reversed(requests)] == first[::-1]


async def test_graphs_with_different_voices_do_not_disturb_each_other() -> None:
    async def speak(lang: str, texts: list[str], **more: Any) -> bytes:
        async with Harness(SPEC, lang=lang, **more) as h:
            for number, text in enumerate(texts):
                await h.push(says(number, text, lang))
            await h.eos()
            return h.audio().tobytes()

    english, russian = ["One. Two. Three.", "Four!"], ["Раз. Два. Три.", "Четыре!"]
    alone = [await speak("en", english, rate_wpm=250), await speak("ru", russian, pitch=80)]
    together = await asyncio.gather(
        *(speak("en", english, rate_wpm=250) if at % 2 == 0 else speak("ru", russian, pitch=80) for at in range(6))
    )
    assert together == alone * 3


async def test_rate_pitch_and_volume_are_heard() -> None:
    plain = await said(Request("A rather long sentence about nothing in particular.", "en-us"))
    fast = await said(Request("A rather long sentence about nothing in particular.", "en-us", rate_wpm=350))
    quiet = await said(Request("A rather long sentence about nothing in particular.", "en-us", volume=25))
    assert len(fast) < 0.7 * len(plain)
    assert np.abs(quiet).max() < 0.5 * np.abs(plain).max()
    low, high = [_pitch_hz(await said(Request("Aaaah.", "en-us", pitch=pitch))) for pitch in (10, 90)]
    assert high > 1.3 * low


def _pitch_hz(samples: Samples) -> float:
    """Pitch of the loudest 100 ms, by autocorrelation of what is left below the formants (a 4 ms moving average)."""
    length = RATE_HZ // 10
    at = int(np.argmax(np.convolve(samples**2, np.ones(length), "valid")))
    loudest = np.convolve(samples, np.ones(RATE_HZ // 250), "same")[at : at + length]
    correlation = np.correlate(loudest, loudest, "full")[length - 1 :]
    shortest = RATE_HZ // 400
    return RATE_HZ / (shortest + int(np.argmax(correlation[shortest : RATE_HZ // 60])))


async def test_audio_comes_while_it_is_made_and_listening_can_end_early() -> None:
    text = "This sentence is long enough for the library to deliver its sound in a good number of blocks."
    blocks = element.speak(Request(text, "en-us"))
    first = await anext(blocks)
    whole = await said(Request(text, "en-us"))
    assert len(first) < len(whole) / 10
    await blocks.aclose()
    np.testing.assert_array_equal(await said(Request(text, "en-us")), whole)


async def test_markup_phonemes_and_commands_are_read_not_obeyed() -> None:
    async def spoken(text: str) -> bytes:
        return (await said(Request(text, "en-us"))).tobytes()

    assert await spoken("<speak>hello</speak>") != await spoken("hello")
    assert await spoken("[[h@l'oU]]") != await spoken("hello")
    assert await spoken("\x0199P hello") == await spoken("99P hello")  # 0x01 starts an embedded command
    assert await spoken("one\0two") == await spoken("one two")
    assert await spoken("hel\u00adlo\ud800") == await spoken("hello")  # a soft hyphen, half a surrogate pair


async def test_numbers_and_foreign_words_are_spoken() -> None:
    bare = await said(Request("Поезд", "ru"))
    assert len(await said(Request("Поезд 1234", "ru"))) > 2 * len(bare)
    assert len(await said(Request("Поезд Manchester", "ru"))) > 1.3 * len(bare)


@pytest.mark.parametrize("text", ["...", "— !", "«»", "\u200b\x01", "- - -"])
async def test_punctuation_alone_is_silent(text: str) -> None:
    async with Harness(SPEC) as h:
        await h.push(says(1, text))
        await h.eos()
        assert h.output() == []


async def test_the_pause_between_sentences_is_kept_and_long_words_are_cut() -> None:
    async with Harness(SPEC) as h:
        await h.push(says(1, "One. Two."), says(2, "a" * 2000))
        await h.eos()
        ends = {f.utterance: f.end_ns - f.pts_ns for f in h.output() if isinstance(f, UtteranceEnd)}
        one, two = [len(await said(Request(t, "en-us"))) for t in ("One.", "Two.")]
        assert ends[1] > samples_to_ns(one + two, RATE_HZ) + 200_000_000
        assert ends[2] > 10_000_000_000


async def test_an_unknown_voice_is_named_when_the_graph_starts() -> None:
    for voice, message in (("en-zz", "no voice 'en-zz'; it has af,"), ("en+nobody", "no voice variant 'nobody'")):
        with pytest.raises(GraphError, match=message):
            async with Harness(SPEC, voice=voice):
                pass


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_spoken_or_silent_but_never_fails(text: str) -> None:
    async def run() -> None:
        async with Harness(SPEC, lang="ru", rate_wpm=450) as h:
            await h.push(says(1, text, "ru"))
            await h.eos()
            frames = h.output()
            if frames:
                assert isinstance(frames[0], UtteranceStart)
                assert isinstance(frames[-1], UtteranceEnd)
                assert np.isfinite(h.audio()).all()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("lang", "written", "right"),
    [
        ("ru", "Не хватает 5 рублей.", "Не хватает пяти рублей."),
        ("ru", "К 8 марта всё будет готово.", "К восьмому марта всё будет готово."),
        ("en", "Elizabeth II paid $0.50.", "Elizabeth the second paid fifty cents."),
        ("de", "Am 3. Mai kostet es 12,50 €.", "Am dritten Mai kostet es zwölf Euro fünfzig Cent."),
    ],
)
async def test_numbers_are_said_as_people_say_them(lang: str, written: str, right: str) -> None:
    async def heard(text: str, **more: Any) -> bytes:
        async with Harness(SPEC, lang=lang, **more) as h:
            await h.push(says(1, text, lang))
            await h.eos()
            return h.audio().tobytes()

    assert await heard(written) == await heard(right) != b""
    assert await heard(written, normalize=False) != await heard(right)


def test_what_would_be_lost_in_words_is_left_to_espeak() -> None:
    of = EspeakSettings(lang="ru")
    assert element.readable("Город 北京, дом 5", "ru", of) == "Город 北京, дом 5"
    assert element.readable("Дом 5, за́мок", "ru", of) == "Дом пять, за\u0301мок"
    assert element.readable("5 kota", "pl", EspeakSettings(lang="pl")) == "5 kota"
    assert element.readable("AI", "en", EspeakSettings()) == "eigh eye"
