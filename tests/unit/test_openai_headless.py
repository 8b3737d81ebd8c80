"""A live graph made into one for files: which elements are left, what the engine is asked, which words come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tolmach.pipelines.frames import TranslationFrame
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import check_graph, load_graph
from tolmach.web.doors.openai.headless import (
    INPUT,
    OUTPUT,
    FileGraph,
    Refusal,
    Task,
    Wish,
    abilities,
    file_graph,
    language_params,
)

FRONT = """
  in: {type: webrtc_src}
  to_16k: {type: resample, rate_hz: 16000, channels: 1}
  vad: {type: silero_vad, pauses: true, translation: true, hangover_ms: 900}
"""
TWO_LANGUAGES = f"""
version: 1
elements:
{FRONT}
  fork: {{type: tee}}
  wait_de: {{type: queue, leaky: downstream}}
  wait_fr: {{type: queue}}
  de: {{type: canary_ast, model: nvidia/canary-1b-v2, source_lang: en, target_lang: de, mode: simultaneous}}
  fr: {{type: canary_ast, model: nvidia/canary-1b-v2, source_lang: en, target_lang: fr}}
  mask: {{type: identity}}
  say: {{type: espeak_tts, lang: de}}
  say_fr: {{type: espeak_tts, lang: fr}}
  out: {{type: webrtc_sink}}
  lost: {{type: fake_sink}}
links:
  - in -> to_16k -> vad -> fork
  - fork -> wait_de -> de -> mask -> say -> out
  - fork -> wait_fr -> fr -> say_fr -> lost
"""


def graph_of(text: str) -> Graph:
    return load_graph("<test>", text=text)


def shipped(root: Path, name: str) -> Graph:
    return load_graph(root / "config" / f"{name}.yaml")


def engine_of(made: FileGraph) -> Any:
    return next(node for node in made.graph.nodes.values() if hasattr(node.settings, "source_lang"))


def types(made: FileGraph) -> list[str]:
    return [made.graph.nodes[name].spec.type for name in made.graph.order]


def text(source: str, target: str, words: str, understood: str | None = None) -> TranslationFrame:
    return TranslationFrame(1, 0, 1, source, target, words, source_text=understood)


def test_of_several_engines_the_one_for_the_language_is_kept_and_nothing_else():
    graph = graph_of(TWO_LANGUAGES)
    german = file_graph(graph, Wish("translate", target_lang="de"))
    assert types(german) == ["app_src", "resample", "silero_vad", "tee", "queue", "canary_ast", "app_sink"]
    french = file_graph(graph, Wish("translate", target_lang="fr"))
    assert types(french) == ["app_src", "resample", "silero_vad", "tee", "queue", "canary_ast", "app_sink"]
    assert {INPUT, OUTPUT} <= set(french.graph.nodes)
    with pytest.raises(Refusal, match="translates into de, fr, not 'ru'"):
        file_graph(graph, Wish("translate", target_lang="ru"))


def test_what_only_serves_latency_is_left_out_and_the_rest_stays_as_it_was_written():
    made = file_graph(graph_of(TWO_LANGUAGES), Wish("translate", target_lang="de"))
    by_type = {node.spec.type: node for node in made.graph.nodes.values()}
    detector = by_type["silero_vad"].settings
    assert (detector.pauses, detector.translation, detector.hangover_ms) == (False, False, 900)
    assert by_type["queue"].settings.leaky == "no", "of a file nothing is dropped"
    assert by_type["canary_ast"].settings.mode == "utterance"
    assert by_type["canary_ast"].on_error == "fail", "nothing is left out without a word"


@pytest.mark.parametrize(
    ("task", "language", "asked"),
    [
        ("translate", None, ("auto", "en", True)),
        ("translate", "ru", ("ru", "en", False)),
        ("transcribe", None, ("auto", "auto", True)),
        ("transcribe", "ru", ("ru", "ru", False)),
    ],
)
def test_the_engine_is_asked_for_the_words_wanted(
    root: Path, task: Task, language: str | None, asked: tuple[str, str, bool]
):
    path = root / "config" / "phrasebook-live.yaml"
    wish = Wish(task, language)
    params = language_params(check_graph(path).params, wish)
    settings = engine_of(file_graph(load_graph(path, params=params), wish)).settings
    assert (settings.source_lang, settings.target_lang, settings.transcript) == asked


def test_words_are_those_of_the_language_wanted(root: Path):
    into_english = file_graph(shipped(root, "phrasebook-live"), Wish("translate"))
    assert into_english.words_of(text("ru", "en", "Thanks.", "Спасибо.")) == "Thanks."
    assert into_english.words_of(text("en", "ru", "Спасибо.", "Thanks.")) == "Thanks.", "it was spoken in English"
    assert into_english.words_of(text("en", "en", "Thanks.")) == "Thanks."
    written_down = file_graph(shipped(root, "phrasebook-live"), Wish("transcribe"))
    assert written_down.words_of(text("ru", "en", "Thanks.", "Спасибо.")) == "Спасибо."
    assert written_down.words_of(text("ru", "en", "Thanks.")) == "", "a translation is no transcript"


@pytest.mark.parametrize(
    ("name", "wish", "says"),
    [
        ("echo", Wish("translate"), "gives no text"),
        ("whisper-live", Wish("translate", "en", "ru"), "Whisper translates into English alone"),
        ("phrasebook-live", Wish("transcribe", "de"), "not a language of"),
    ],
)
def test_a_graph_that_cannot_do_it_says_why(root: Path, name: str, wish: Wish, says: str):
    with pytest.raises(Refusal, match=says):
        file_graph(shipped(root, name), wish)


def test_two_microphones_are_no_recording():
    two = TWO_LANGUAGES.replace("  fork:", "  other: {type: webrtc_src}\n  both: {type: funnel}\n  fork:")
    two = two.replace("  - in -> to_16k", "  - other -> both\n  - in -> both -> to_16k")
    with pytest.raises(Refusal, match="hears several people"):
        file_graph(graph_of(two), Wish("translate", target_lang="de"))


def test_every_shipped_graph_says_what_it_can_do(root: Path):
    assert abilities(shipped(root, "echo")) == ()
    for name in ("interpreter", "simultaneous", "whisper-live", "phrasebook-live", "lecture", "conversation"):
        assert abilities(shipped(root, name)) == ("translations", "transcriptions", "speech")
        file_graph(shipped(root, name), Wish("transcribe"))
