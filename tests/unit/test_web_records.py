"""What a session keeps: captions, the dub, when each step was done."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, TranslationFrame, UtteranceEnd
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, OpusEncoder
from tolmach.web.errors import AsciiJson
from tolmach.web.sessions import dub as dub_module
from tolmach.web.sessions import transcript as transcript_module
from tolmach.web.sessions.dub import Dub
from tolmach.web.sessions.narrator import Timings
from tolmach.web.sessions.transcript import Caption, Numbers, Transcript


def translation(start_ms: int, text: str, **more: Any) -> TranslationFrame:
    start_ns = start_ms * NS_PER_MS
    return TranslationFrame(1, start_ns, start_ns + 1500 * NS_PER_MS, "en", "ru", text, **more)


def test_utterances_are_numbered_through_runs_that_overlap() -> None:
    numbers = Numbers()
    first, second = numbers.of_run(), numbers.of_run()
    assert [first[1], first[2], second[1], first[2], first[3], second[1]] == [1, 2, 3, 2, 4, 3]


def test_a_final_text_replaces_the_partial_one_and_order_is_that_of_speech() -> None:
    transcript = Transcript()
    transcript.add(Caption.of(translation(5000, "Второе"), 2))
    transcript.add(Caption.of(translation(1000, "Пер", final=False), 1))
    transcript.add(Caption.of(translation(1000, "Первое"), 1))
    assert [c.text for c in transcript] == ["Первое", "Второе"]
    assert [c["utterance"] for c in transcript.as_json()] == [1, 2]


def test_subtitles_hold_what_was_translated() -> None:
    transcript = Transcript()
    transcript.add(Caption.of(translation(1000, "Привет"), 1))
    transcript.add(Caption.of(translation(4000, "", rejected="no speech"), 2))
    transcript.add(Caption.of(translation(7000, "недо", final=False), 3))
    transcript.add(Caption.of(translation(9000, "Пока"), 4))
    srt = transcript.subtitles(vtt=False)
    assert srt.startswith("1\n00:00:01,000 --> ")
    assert "Привет" in srt
    assert "2\n00:00:09,000 --> " in srt
    assert "недо" not in srt
    assert transcript.subtitles(vtt=True).startswith("WEBVTT\n\n00:00:01.000 --> ")


def test_subtitles_can_hold_what_was_understood() -> None:
    transcript = Transcript()
    transcript.add(Caption.of(translation(1000, "Привет", source_text="Hello"), 1))
    assert "\nПривет\n<i>Hello</i>\n" in transcript.subtitles(vtt=True, show="both")
    srt = transcript.subtitles(vtt=False, show="source")
    assert "\nHello\n" in srt
    assert "Привет" not in srt


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_module, "MAX_CAPTIONS", 3)
    monkeypatch.setattr(dub_module, "MAX_PACKETS", 3)
    transcript, dub = Transcript(), Dub()
    for n in range(10):
        transcript.add(Caption.of(translation(1000 * n, str(n)), n))
        dub.add(b"\xf8\xff\xfe", n * FRAME_NS)
    assert [c.text for c in transcript] == ["7", "8", "9"]
    assert dub.full
    assert dub.duration_ns == 3 * FRAME_NS


def read(dub: Dub, until_ns: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    length, pieces = dub.wav(until_ns)
    data = b"".join(pieces)
    assert len(data) == length
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate_hz == 48_000
    return np.asarray(samples)


def test_the_dub_is_silent_between_what_was_said_and_each_word_has_its_time() -> None:
    tone = np.asarray(0.3 * np.sin(2 * np.pi * 440 * np.arange(50 * FRAME_SAMPLES) / 48_000), np.float32)
    dub = Dub()
    for start_ns in (2 * NS_PER_S, 5 * NS_PER_S):
        encoder = OpusEncoder()
        for n in range(50):
            jitter_ns = (n % 3) * 2 * NS_PER_MS  # packets are handed over when the loop has time
            dub.add(encoder.encode(tone[n * FRAME_SAMPLES :][:FRAME_SAMPLES]), start_ns + n * FRAME_NS + jitter_ns)
    audio = read(dub, 8 * NS_PER_S)
    assert len(audio) == 8 * 48_000
    loud = np.abs(audio).reshape(-1, 4800).max(axis=1) > 0.1
    assert loud.tolist() == [20 <= n < 30 or 50 <= n < 60 for n in range(80)]


def test_a_dub_of_nothing_is_silence() -> None:
    assert not read(Dub(), NS_PER_S).any()


END = UtteranceEnd(7, 10 * NS_PER_S, 12_300 * NS_PER_MS, "silence", 12 * NS_PER_S, None, "turn", "finished (0.93)")


def test_the_waterfall_counts_from_the_end_of_speech() -> None:
    timings = Timings()
    closed = timings.closed(7, END, 12_520 * NS_PER_MS)
    assert closed is not None
    assert (closed.start_ms, closed.end_ms, closed.vad_ms, closed.ast_ms) == (10_000, 12_000, 520, None)
    timings.translated(7, 12_600 * NS_PER_MS)
    timings.voiced(7, 12_610 * NS_PER_MS)
    heard = timings.heard(7, 12_650 * NS_PER_MS)
    assert heard is not None
    assert heard.as_json() == {
        "utterance": 7,
        "start_ms": 10_000,
        "end_ms": 12_000,
        "reason": "silence",
        "cut_by": "turn",
        "cut": "finished (0.93)",
        "vad_ms": 520,
        "ast_ms": 600,
        "tts_ms": 610,
        "heard_ms": 650,
    }
    assert timings.heard(7, 0) is None, "told once"


def test_what_is_heard_before_the_end_of_speech_is_told_at_its_end() -> None:
    timings = Timings()
    early = (
        (timings.translated, 10_900),
        (timings.voiced, 10_950),
        (timings.heard, 11_000),
        (timings.translated, 11_500),
    )
    assert [step(7, at_ms * NS_PER_MS) for step, at_ms in early] == [None] * 4
    closed = timings.closed(7, END, 12_520 * NS_PER_MS)
    assert closed is not None
    assert (closed.vad_ms, closed.ast_ms, closed.tts_ms, closed.heard_ms) == (520, -1100, -1050, -1000)
    assert timings.translated(7, 12_700 * NS_PER_MS) is None, "its later parts are another matter"
    assert timings.voiced(7, 12_700 * NS_PER_MS) is timings.heard(7, 12_800 * NS_PER_MS) is None


def part(number: int, text: str, start_ms: int = 1000, **more: Any) -> Caption:
    return Caption.of(translation(start_ms, text, part=number, **more), 1)


def test_final_parts_stay_and_the_partial_text_behind_them_is_replaced() -> None:
    transcript = Transcript()
    transcript.add(part(0, "Мы при", final=False))
    transcript.add(part(0, "Мы приехали", more=True))
    transcript.add(part(1, "позд", 2500, final=False))
    transcript.add(part(1, "поздно вечером,", 2500, final=False))
    assert [(c.text, c.final) for c in transcript] == [("Мы приехали", True), ("поздно вечером,", False)]
    assert "вечером" not in transcript.subtitles(vtt=False)
    transcript.add(part(1, "поздно вечером.", 2500, more=True))
    transcript.add(part(2, "", 4000))
    assert [c.text for c in transcript if c.text] == ["Мы приехали", "поздно вечером."]
    srt = transcript.subtitles(vtt=False)
    assert srt.startswith("1\n00:00:01,000 --> 00:00:02,500\nМы приехали\n\n2\n00:00:02,500 --> ")
    assert "3\n" not in srt, "an empty last part is no cue"


def test_partial_texts_go_when_the_utterance_ends_without_them() -> None:
    transcript = Transcript()
    for number in (0, 1):
        transcript.add(part(number, "так", 1000 + number, final=False))
    transcript.add(part(0, "Так."))
    assert [c.text for c in transcript] == ["Так."]


def test_partial_texts_go_when_another_language_is_found() -> None:
    transcript = Transcript()
    transcript.add(part(0, "Да", final=False))
    other = replace(translation(1000, "Yes"), source_lang="ru", target_lang="en", language_confidence=0.9)
    transcript.add(Caption.of(replace(other, text="Ja", source_lang="ru", target_lang="de", final=False), 1))
    transcript.add(Caption.of(other, 1))
    assert [c.text for c in transcript] == ["Ja", "Yes"], "a second translator of the same language goes on"
    assert transcript.size < 1000


def test_what_was_understood_and_how_sure_the_language_is_are_kept() -> None:
    caption = part(0, "Да", source_text="Y\ud800es", language_confidence=0.4, language_kept=True)
    told = caption.as_json()
    assert (told["source_text"], told["language_confidence"], told["language_kept"]) == ("Y?es", 0.4, True)
    assert part(0, "Да", language_confidence=float("nan")).language_confidence is None


def test_what_no_voice_speaks_is_marked_once_and_stays() -> None:
    transcript = Transcript()
    for number, text in enumerate(("Мы приехали", "поздно вечером.", "")):
        transcript.add(part(number, text, 1000 + number, more=number < 2))
    assert [c.text for c in transcript.mark_unspoken(1, 1)] == ["поздно вечером."]
    assert transcript.mark_unspoken(1, 1) == [], "told once"
    assert transcript.mark_unspoken(1, 2) == [], "there was nothing to say"
    assert [(c["text"], c["unspoken"]) for c in transcript.as_json()][:2] == [
        ("Мы приехали", False),
        ("поздно вечером.", True),
    ]
    assert "поздно вечером." in transcript.subtitles(vtt=False)


def test_two_translators_of_one_utterance_give_two_captions() -> None:
    transcript = Transcript()
    russian = translation(1000, "Да")
    german = replace(russian, target_lang="de", text="Ja")
    for frame in (replace(russian, text="Д", final=False), german, russian):
        transcript.add(Caption.of(frame, 1))
    assert [caption.text for caption in transcript] == ["Да", "Ja"]
    assert all(text in transcript.subtitles(vtt=False) for text in ("Да", "Ja"))


def test_a_caption_can_be_told_whatever_an_engine_makes() -> None:
    transcript = Transcript()
    transcript.add(Caption.of(translation(0, "a\ud800b", logprob=float("nan")), 1))
    assert json.loads(AsciiJson(transcript.as_json()).body)[0]["text"] == "a?b"
    assert "a?b" in transcript.subtitles(vtt=True).encode().decode()


def test_what_a_transcript_holds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_module, "MAX_CHARACTERS", 100)
    transcript = Transcript()
    for n in range(10):
        transcript.add(Caption.of(translation(1000 * n, "x" * 20, final=False), n))
        transcript.add(Caption.of(translation(1000 * n, "y" * 20), n))
    assert [c.utterance for c in transcript] == [5, 6, 7, 8, 9]
    assert transcript.size < 100 * 2 + 5 * 400
    transcript.add(Caption.of(translation(11_000, "z" * 1000), 11))
    assert [c.utterance for c in transcript] == [11], "the newest stands in any case"


def test_a_full_recording_ends_where_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dub_module, "MAX_PACKETS", 3)
    dub = Dub()
    for n in range(5):
        dub.add(OpusEncoder().encode(np.zeros(FRAME_SAMPLES, np.float32)), n * FRAME_NS)
    assert dub.full
    assert dub.end_ns == 3 * FRAME_NS
    assert len(read(dub, 3600 * NS_PER_S)) == 3 * FRAME_SAMPLES, "no hour of silence that seems to be nobody speaking"
