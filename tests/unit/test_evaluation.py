"""``tolmach eval``: sets and their mistakes, scores as one computes them by hand, a page that stands alone."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.unit.handmade import graph
from tests.unit.test_taps import BASE, SPECS
from tolmach.pipelines.bus import TranslationMessage
from tolmach.pipelines.cli.evaluation.alignment import Piece, Span, Stream, align, outputs_by_time
from tolmach.pipelines.cli.evaluation.comparison import compare, figure, load_results
from tolmach.pipelines.cli.evaluation.headline import headline
from tolmach.pipelines.cli.evaluation.observation import (
    Cut,
    Listener,
    Observation,
    Spoken,
    Text,
    load_observation,
    save_observation,
)
from tolmach.pipelines.cli.evaluation.page import marked, render, worst_sentences
from tolmach.pipelines.cli.evaluation.plan import language_params
from tolmach.pipelines.cli.evaluation.plots import Lane, Series, cumulative, histogram, points, ticks, timeline
from tolmach.pipelines.cli.evaluation.quality import corpus_scores, differences, sentence_chrf, word_errors
from tolmach.pipelines.cli.evaluation.results import Outcome, evaluate, save_results
from tolmach.pipelines.cli.evaluation.timing import distribution, drift_s_per_min, play_out, text_lags
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.frames import TranslationFrame
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.recordings import Recording, Sentence, read_set
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.pipelines.shipped import shipped_file, shipped_graph

pytest.importorskip("sacrebleu")


def manifest(folder: Path, *rows: object) -> Path:
    (folder / "a.wav").write_bytes(b"RIFF")
    (folder / "b.wav").write_bytes(b"RIFF")
    path = folder / "set.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


# Sets -----------------------------------------------------------------------------------------------------------


def test_a_manifest_names_texts_by_what_they_are_or_by_their_language(tmp_path: Path) -> None:
    first, second = read_set(
        manifest(
            tmp_path,
            {"file": "a.wav", "language": "ru", "transcript": "Да.", "translation": "Yes.", "licence": "CC0"},
            "",
            {"file": "./b.wav", "source_lang": "EN", "target_lang": "ru", "en": "No.", "ru": " Нет.\n"},
        )
    )
    assert (first.source_lang, first.target_lang, first.sentences) == ("ru", "", (Sentence(None, None, "Да.", "Yes."),))
    assert (second.name, second.source_lang, second.target_lang) == ("b.wav", "en", "ru")
    assert second.sentences == (Sentence(None, None, "No.", "Нет."),)


def test_who_says_nothing_is_silent(tmp_path: Path) -> None:
    noise, untranslated = read_set(
        manifest(
            tmp_path,
            {"file": "a.wav", "language": "none", "transcript": None, "kind": "noise"},
            {"file": "b.wav", "language": "en", "transcript": "Hello.", "translation": None},
        )
    )
    assert (noise.has_speech, noise.kind) == (False, "noise")
    assert untranslated.has_speech
    assert untranslated.sentences[0].translation == ""


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "set.jsonl:2: not JSON at column 2"),
        ("[1]", "set.jsonl:2: not an object such as"),
        ({"file": "c.wav"}, "set.jsonl:2: no such recording"),
        ({"file": "../a.wav"}, 'set.jsonl:2: "file": ../a.wav does not lie in the folder'),
        ({"file": "/etc/passwd"}, 'set.jsonl:2: "file": /etc/passwd does not lie in the folder'),
        ({"file": "x/../../a.wav"}, "does not lie in the folder"),
        ({"transcript": "a"}, 'set.jsonl:2: no "file"'),
        ({"file": "b.wav", "language": "русский"}, 'set.jsonl:2: "language" must be a BCP-47 tag'),
        ({"file": "b.wav", "transcript": 7}, '"transcript" must be text'),
        ({"file": "a.wav"}, "set.jsonl:2: a.wav stands in line 1 already"),
        ({"file": "b.wav", "segments": [{"start_s": 2, "end_s": 1}]}, "segment 1 ends at 1 s, and begins at 2 s"),
        ({"file": "b.wav", "segments": [{"start_s": "x"}]}, 'segment 1: "start_s" must be seconds'),
        (
            {"file": "b.wav", "segments": [{"start_s": 2, "end_s": 3}, {"start_s": 1, "end_s": 2}]},
            "segment 2 begins at 1 s, before the one above it",
        ),
    ],
)
def test_a_mistake_in_a_manifest_is_told_with_its_line(tmp_path: Path, row: object, said: str) -> None:
    with pytest.raises(GraphError) as caught:
        read_set(manifest(tmp_path, {"file": "a.wav"}, row))
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once_but_not_thousands(tmp_path: Path) -> None:
    with pytest.raises(GraphError) as caught:
        read_set(manifest(tmp_path, *["{"] * 30))
    assert str(caught.value).count("\n") == 10
    assert "and 20 more" in str(caught.value)


def test_a_manifest_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    path.write_bytes('{"file": "a.wav"}\n{"file": "я'.encode("cp1251"))
    with pytest.raises(GraphError, match=r"set\.jsonl:2: not UTF-8 at byte 11"):
        read_set(path)


def test_a_folder_has_its_texts_beside_the_recordings(tmp_path: Path) -> None:
    for name in ("a.wav", "deep/b.mp3", "bare.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a.txt").write_text("One\n text.\n", encoding="utf-8-sig")
    cues = "1\n00:00:01,500 --> 00:00:02,000\nThe <i>first</i>\none.\n\n2\n00:01:00,000 --> 00:01:02,250\nThe second.\n"
    (tmp_path / "deep/b.srt").write_text(cues, encoding="utf-8")
    (tmp_path / "deep/b.source.txt").write_text("Первое. Второе.", encoding="utf-8")
    first, second = read_set(tmp_path)
    assert (first.name, first.sentences) == ("a.wav", (Sentence(None, None, "", "One text."),))
    assert second.name == "deep/b.mp3"
    assert second.sentences == (
        Sentence(1.5, 2.0, "Первое. Второе.", "The first one."),
        Sentence(60.0, 62.25, "", "The second."),
    )


def test_subtitles_with_a_wrong_time_say_where(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "a.srt").write_text("1\n0:1 --> 0:2\nA.\n")
    with pytest.raises(GraphError, match=r"a\.srt:2: times are written"):
        read_set(tmp_path)


def test_a_folder_without_texts_names_the_manifest_that_was_meant(tmp_path: Path) -> None:
    path = manifest(tmp_path, {"file": "a.wav"})
    with pytest.raises(GraphError, match=r"none of its 2 recordings has .* did you mean .*set.jsonl"):
        read_set(path.parent)


def test_the_shipped_set_is_what_lies_beside_its_recordings() -> None:
    for recording in read_set(shipped_file("demo/manifest.jsonl")):
        rows = json.loads(recording.path.with_suffix(".json").read_text(encoding="utf-8"))
        source, target = recording.source_lang, recording.target_lang
        expected = tuple(Sentence(r["start_s"], r["end_s"], r[source], r[target]) for r in rows)
        assert recording.sentences == expected


# Languages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "given", "expected"),
    [
        ("en", "", {}, {"source_lang": "en"}),
        ("ru", "", {}, {"source_lang": "ru", "target_lang": "en"}),  # the graph turned round
        ("en", "ru", {}, {"source_lang": "en", "target_lang": "ru"}),
        ("ru", "", {"source_lang": "en"}, {}),  # who gave it knows best
        ("", "", {}, {}),
    ],
)
def test_a_graph_is_given_the_languages_of_a_recording(
    source: str, target: str, given: dict[str, str], expected: dict[str, str]
) -> None:
    declared = check_graph(shipped_graph("phrasebook")).params
    recording = Recording("a", Path("a"), source, target, (Sentence(None, None, "a", "b"),))
    assert language_params(recording, declared, given) == expected


# Scores ---------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_sacrebleu() -> None:
    assert corpus_scores([], [], "en") == {}
    same = corpus_scores(["the cat sat on the mat"], ["the cat sat on the mat"], "en")
    assert (same["bleu"].score, same["chrf"].score) == (100.0, 100.0)
    assert "tok:13a" in same["bleu"].signature
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 quadruples: (5/6 · 3/5 · 1/2 · 1/3)^(1/4) = 0.5373
    assert corpus_scores(["the cat sat on a mat"], ["the cat sat on the mat"], "en")["bleu"].score == 53.73
    assert sentence_chrf(["", "mat"], ["mat", "mat"]) == [0.0, 100.0]


@pytest.mark.parametrize(
    ("heard", "said", "lang", "errors", "words"),
    [
        ("Good morning!", "good morning", "en", 0, 2),
        ("good mourning to you", "Good morning.", "en", 3, 2),
        ("", "one two three", "en", 3, 3),
        ("it is nine o'clock", "It is 9 o'clock.", "en", 0, 4),
        ("Ещё две минуты", "Еще 2 минуты.", "ru", 1, 3),  # "два": numbers have no case
        ("a 1,000 men", "a one thousand men", "en", 0, 4),
    ],
)
def test_word_errors(heard: str, said: str, lang: str, errors: int, words: int) -> None:
    found = word_errors(heard, said, lang)
    assert (found.errors, found.words) == (errors, words)


def test_a_difference_is_told_with_its_probability() -> None:
    references = [f"this is sentence number {n} of the set" for n in range(40)]
    worse = [r if n % 2 else "something else" for n, r in enumerate(references)]
    found = differences(references, worse, references, "en")["bleu"]
    assert found.score == 100.0
    assert found.against < 60
    assert found.p_value is not None
    assert found.p_value < 0.05
    assert differences(worse[:5], references[:5], references[:5], "en")["chrf"].p_value is None  # too few
    assert differences(worse, worse, references, "en")["chrf"].p_value == 1.0  # sacrebleu would say 0.001


# Time -----------------------------------------------------------------------------------------------------------


def text(
    utterance: int, start_s: float, end_s: float, decided_s: float | None, said: str = "word", **more: Any
) -> Text:
    aware = None if decided_s is None else decided_s + 0.3
    return Text("ast", utterance, 0, start_s, end_s, decided_s, aware, "ru", "en", said, **more)


SEEN = Observation(
    texts=(text(1, 1.0, 3.0, 3.5, "one"), text(2, 4.0, 6.0, None, "two"), text(3, 7.0, 9.0, 9.5, "", rejected="noise")),
    cuts=(
        Cut(1, 1.0, 3.0, 2.9, 3.5, "silence"),
        Cut(2, 4.0, 6.0, 5.8, 6.5, "silence"),
        Cut(3, 7.0, 9.0, None, None, "eos"),
    ),
    spoken=(Spoken("voice.wav", 1, 1.0, 3.0, 0.0, 4.0), Spoken("voice.wav", 2, 4.0, 6.0, 4.0, 1.0)),
    erased_words=0,
    media_s=10.0,
    wall_s=2.0,
)


def test_a_voice_waits_for_its_text_and_for_the_one_before() -> None:
    first, second = play_out(SEEN, SEEN.texts)
    assert (first.start_s, first.start_offset_s, first.end_offset_s, first.text) == (3.5, 2.5, 4.5, "one")
    assert (first.aware_s, first.aware_end_offset_s) == (3.8, 4.8)
    assert (second.start_s, second.end_offset_s, second.text) == (
        7.5,
        2.5,
        "two",
    )  # decided at 6.5, the first is heard till 7.5


def test_a_text_is_late_from_the_last_speech_on() -> None:
    first, second = text_lags(SEEN, SEEN.texts)
    assert (first.unaware_s, first.aware_s) == (0.6, 0.9)
    assert (second.unaware_s, second.aware_s) == (0.7, None)  # where a text does not say, its utterance does


def test_a_voice_that_is_slower_than_the_speaker_drifts() -> None:
    spoken = tuple(Spoken("v", n, n * 6.0, n * 6.0 + 5, 0.0, 7.0) for n in range(5))
    seen = replace(SEEN, spoken=spoken, texts=tuple(text(n, n * 6.0, n * 6.0 + 5, n * 6.0 + 5.5) for n in range(5)))
    assert drift_s_per_min(play_out(seen, seen.texts)) == pytest.approx(10.0)  # a second every six
    assert drift_s_per_min(play_out(SEEN, SEEN.texts)) is None


def test_a_distribution_is_numpys() -> None:
    found = distribution([4.0, 1.0, 2.0, 3.0])
    assert found is not None
    assert (found.count, found.mean, found.p50, found.p95, found.most) == (4, 2.5, 2.5, 3.85, 4.0)
    assert distribution([]) is None


# What was seen --------------------------------------------------------------------------------------------------


async def test_a_run_is_taken_down(tmp_path: Path) -> None:
    """Two utterances of Talk, translated and spoken, with how much was heard of each."""
    elements = {name: (kind, {}) for name, kind in (BASE | {"tts": "voice"}).items()}
    running = graph(elements, ["in -> ast -> tts -> out"], specs=SPECS)
    listener = Listener(running)
    runner = GraphRunner(running, probes=listener.probes)
    runner.bus.subscribe(listener.take)
    seen = listener.seen(await runner.run())
    assert [(t.utterance, t.text, t.start_s) for t in seen.texts] == [
        (1, "damn number 1", 1.0),
        (2, "damn number 2", 2.0),
    ]
    assert [(c.utterance, c.end_s, c.speech_end_s, c.reason) for c in seen.cuts] == [
        (1, 1.01, 1.004, "silence"),
        (2, 2.01, 2.004, "silence"),
    ]
    assert [(s.file, s.utterance, s.source_start_s, s.offset_s, s.duration_s) for s in seen.spoken] == [
        ("voice.wav", 1, 1.0, 0.0, 0.1),
        ("voice.wav", 2, 2.0, 1.1, 0.1),  # a second of silence between them
    ]
    assert seen.complete
    save_observation(tmp_path, seen)
    assert load_observation(tmp_path) == seen
    (tmp_path / "measured.json").write_text('{"v": 1}')
    assert load_observation(tmp_path) is None


def test_words_taken_back_are_counted_and_computing_adds_up() -> None:
    listener = Listener(graph({"in": ("talk", {}), "out": ("fake_sink", {})}, ["in -> out"], specs=SPECS))

    def tell(said: str, *, final: bool, part: int = 0, decided_ns: int = 0, speculative: bool = False) -> None:
        frame = TranslationFrame(1, 0, 10, "ru", "en", said, final=final, part=part, decided_ns=decided_ns)
        listener.take(TranslationMessage(replace(frame, speculative=speculative), element="ast"))

    tell("a b c", final=False)
    tell("a x", final=False)  # takes "b c" back
    tell("a x and more", final=True, decided_ns=2_000_000_000)
    tell("something else", final=False, part=1, speculative=True)  # nobody saw it
    tell("y", final=True, part=1, decided_ns=1_500_000_000)
    assert listener._erased == 2
    first, second = listener._texts
    assert (first.decided_s, first.aware_s) == (2.0, 2.0)
    assert second.decided_s == 1.5
    assert second.aware_s is not None
    assert second.aware_s >= 2.0  # it waited for the one before


# Texts to sentences ---------------------------------------------------------------------------------------------


STREAM = Stream(
    (
        Piece("Good morning.", 0.4, 1.4, 2.0, 2.1),
        Piece("How are", 2.0, 3.0, 3.6, 3.7),
        Piece("you?", 3.1, 3.9, 4.5, 4.6),
        Piece("Far behind.", 20.0, 21.0, 21.5, 21.7),
    ),
    (Span(0.5, 1.5, "Good morning."), Span(1.9, 4.0, "How are you?"), Span(9.0, 10.0, "Well.")),
)


def test_a_text_belongs_to_the_sentence_it_shares_most_time_with() -> None:
    assert outputs_by_time(STREAM) == ("Good morning.", "How are you?", "Far behind.")


def test_files_for_other_scorers_have_a_time_for_each_word(tmp_path: Path) -> None:
    align([STREAM], "en", tmp_path)
    (row,) = [json.loads(line) for line in (tmp_path / "hypothesis.jsonl").read_text().splitlines()]
    assert row["prediction"] == "Good morning. How are you? Far behind."
    assert row["delays"] == [2000.0, 2000.0, 3600.0, 3600.0, 4500.0, 21500.0, 21500.0]
    assert row["elapsed"][-1] == 21700.0
    segments = json.loads((tmp_path / "segmentation.json").read_text())
    assert [s["duration"] for s in segments] == [1.0, 2.1, 1.0]
    assert (tmp_path / "references.txt").read_text() == "Good morning.\nHow are you?\nWell.\n"


def test_omnisteval_says_how_late_words_are(tmp_path: Path) -> None:
    """Two words of a sentence of 1 s, both at 1.5 s after its begin: 1.5 and, where an ideal one is 0.5 s on, 1.0."""
    pytest.importorskip("omnisteval")
    spans = (Span(1.0, 2.0, "good morning"), Span(3.0, 4.0, "how much"), Span(9.0, 10.0, "well"))
    pieces = (
        Piece("good morning", 1.0, 2.0, 2.5, 2.75),
        Piece("how much", 3.0, 4.0, 4.5, 4.75),
        Piece("well", 9.0, 9.5, 9.9, 9.95),
    )
    found = align([Stream(pieces, spans)], "en", tmp_path)
    assert found.outputs == (("good morning", "how much", "well"),)
    assert found.by == "omnisteval"
    assert found.latency["long_yaal_ms"] == pytest.approx((1250 + 1250 + 900) / 3, abs=0.1)
    assert found.latency["long_yaal_aware_ms"] == pytest.approx((1500 + 1500 + 950) / 3, abs=0.1)
    assert found.delays_s[0][0] == (1.5, 1.5)


# The whole ------------------------------------------------------------------------------------------------------


def outcomes(*, better: bool = False) -> list[Outcome]:
    sentences = (Sentence(0.9, 3.1, "раз", "one"), Sentence(3.9, 6.1, "два", "two"), Sentence(6.9, 9.1, "три", "three"))
    speaking = Recording("talk <1>.wav", Path("talk.wav"), "ru", "en", sentences)
    silent = Recording("noise.wav", Path("noise.wav"), "", "", (), "noise")
    seen = SEEN
    if better:
        seen = replace(SEEN, texts=(*SEEN.texts[:2], text(3, 7.0, 9.0, 9.5, "three")))
    noise = replace(SEEN, texts=(text(1, 0, 1, 1.5, "Thanks."),), spoken=(), cuts=())
    return [
        Outcome(speaking, "measured", "recordings/talk", seen),
        Outcome(silent, "measured", "recordings/noise", noise),
        Outcome(replace(speaking, name="broken.wav"), "failed", errors=("cut off",)),
        Outcome(replace(speaking, name="other.wav"), "left out", errors=("it is in en",)),
    ]


ABOUT: dict[str, Any] = {
    "tolmach": "0", "made": "2026-01-02T03:04:05Z", "set": "set.jsonl", "graph": "g.yaml", "title": "g & co",
    "params": {}, "settings": {"vad.hangover_ms": "500"}, "paced": False, "complete": True, "notes": ["read me"],
}  # fmt: skip


def test_results_count_everything(tmp_path: Path) -> None:
    found = evaluate(outcomes(), tmp_path, ABOUT)
    assert found["counts"] == {
        "recordings": 4, "measured": 2, "failed": 1, "left_out": 1, "not_run": 0, "sentences": 3,
    }  # fmt: skip
    (score,) = found["scores"]
    assert (score["direction"], score["sentences"]) == ("ru-en", 3)
    assert 0 < score["chrf"] < 100
    assert found["endpoints"]["fragments"] == 1.0
    assert found["texts"]["rejected_by_reason"] == {"noise": 1}
    assert found["texts"]["heard_as"] == {"ru as ru": 3}
    assert found["silence"]["characters"] == len("Thanks.")
    assert found["speed"]["rtf"] == 0.2
    sentences = found["recordings"][0]["sentences"]
    assert [s["output"] for s in sentences] == ["one", "two", ""]
    assert [s["chrf"] for s in sentences] == [100.0, 100.0, 0.0]
    assert (tmp_path / "exports/ru-en/mt.txt").read_text() == "one\ntwo\n\n"
    assert (tmp_path / "exports/ru-en/src.txt").read_text(encoding="utf-8") == "раз\nдва\nтри\n"
    assert figure(found, "scores.ru-en.chrf") == score["chrf"]


def test_a_language_taken_for_another_is_told(tmp_path: Path) -> None:
    wrong = replace(
        SEEN, texts=tuple(replace(t, source_lang="en" if t.utterance == 2 else "ru-RU") for t in SEEN.texts)
    )
    found = evaluate([replace(outcomes()[0], seen=wrong)], tmp_path, ABOUT)
    assert next(r.value for r in headline(found) if r.name == "taken for another language") == "1 ru as en, of 3"
    assert not [r for r in headline(evaluate(outcomes(), tmp_path, ABOUT)) if r.name == "taken for another language"]


def test_at_the_pace_of_a_recording_speed_says_nothing(tmp_path: Path) -> None:
    found = evaluate([replace(outcomes()[0], seen=replace(SEEN, paced=True))], tmp_path, ABOUT)
    assert (found["speed"]["wall_s"], found["speed"]["rtf"], found["speed"]["rtfx"]) == (2.0, None, None)
    assert "real-time factor" not in [r.name for r in headline(found)]


def test_two_runs_are_compared_on_what_both_have(tmp_path: Path) -> None:
    save_results(tmp_path, evaluate(outcomes(), tmp_path, ABOUT))
    found = evaluate(outcomes(better=True), tmp_path, ABOUT)
    found["against"] = compare(found, load_results(tmp_path), "old")
    chrf = found["against"]["scores"]["ru-en"]["chrf"]
    assert chrf["this"] > chrf["against"]
    assert chrf["p_value"] is None  # three sentences
    assert found["against"]["figures"]["texts.rejected"] == {"this": 0.0, "against": 1.0}
    assert next(r.against for r in headline(found) if r.name == "rejected") == "1 (-1)"
    with pytest.raises(GraphError, match="--against"):
        load_results(tmp_path / "nowhere")


class Reader(HTMLParser):
    """Every tag is closed, and nothing leads out of the page."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag


def test_the_page_stands_alone(tmp_path: Path) -> None:
    found = evaluate(outcomes(), tmp_path, ABOUT)
    heard = {"recording": "talk <1>.wav", "lang": "en", "utterance": 1, "said": "one", "heard": "<won>", "errors": 1}
    rate = {"utterances": 1, "words": 1, "errors": 1, "word_error_rate": 1.0}
    found["judge"] = {"model": "m", **rate, "by_language": {"en": rate}, "misheard": [heard]}
    worst = worst_sentences(found)
    page = render(found, worst, [("data:audio/ogg;base64,AAAA", None)])
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert reader.links == ["data:audio/ogg;base64,AAAA"]
    assert not {"script", "link", "iframe", "img"} & set(reader.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert [s.data["reference"] for s in worst] == ["three"]
    assert "talk &lt;1&gt;.wav" in page
    assert "g &amp; co" in page
    assert "<1>" not in page
    assert 'lang="ru"' in page
    assert "&lt;won&gt;" in page
    assert "read me" in page
    assert "cut off" in page


def test_the_dub_of_a_sentence_is_found_whether_cut_or_joined(tmp_path: Path) -> None:
    """Two utterances in one sentence, and one utterance over two sentences, of which each hears all of it."""
    talk = outcomes()[0]
    joined = replace(talk.recording, sentences=(Sentence(0.9, 6.1, "", "else"), Sentence(6.9, 9.1, "", "else")))
    found = worst_sentences(evaluate([replace(talk, recording=joined)], tmp_path, ABOUT))
    first = next(s for s in found if s.data["start_s"] == 0.9)
    assert first.dub == {"file": "voice.wav", "start_s": 0.0, "end_s": 5.0}
    cut = (Sentence(1.0, 1.9, "", "else"), Sentence(2.0, 3.0, "", "else"))
    found = worst_sentences(
        evaluate([replace(talk, recording=replace(talk.recording, sentences=cut))], tmp_path, ABOUT)
    )
    assert [s.dub for s in found] == [{"file": "voice.wav", "start_s": 0.0, "end_s": 4.0}] * 2


def test_words_that_differ_are_marked() -> None:
    left, right = marked("The black cat sat.", "the cat sat & left", "en")
    assert left == "The <ins>black</ins> cat sat."
    assert right == "the cat sat <del>&amp; left</del>"


def test_plots_say_what_they_show() -> None:
    assert ticks(0, 9.7) == [0.0, 2.0, 4.0, 6.0, 8.0]
    drawn = histogram([1, 1, 99, 150], 0, 100, 10, "chrF", "sentences")
    assert drawn.count("<rect") == 2
    assert "0 to 10: 2" in drawn
    assert "90 to 100: 2" in drawn
    assert "4 values from 1 to 150" in drawn
    curves = cumulative([Series("a", [1.0, 2.0]), Series("b", [3.0], "b")], "s", "share")
    assert curves.count("<path") == 2
    assert cumulative([Series("a", [])], "s", "share") == ""
    assert points([Series("a", [(0.0, 1.0), (1.0, -1.0)])], "x", "y", "what").count("<circle") == 2
    lanes = [Lane("sentences", [(0.5, 1.5, "a & b"), (70.0, 80.0, "behind the end")], "s")]
    drawn = timeline(lanes, 60.0, "talk.wav")
    assert drawn.count("<rect") == 1
    assert "a &amp; b" in drawn
    assert "talk.wav: 2 sentences" in drawn
    assert len(points([Series("a", [(n, 1.0) for n in range(50_000)])], "x", "y", "what")) < 300_000
