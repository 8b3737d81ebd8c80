"""What may be used commercially: said by the graph, checked before anything is loaded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tolmach.pipelines.cli.main import main
from tolmach.pipelines.language.builder import GraphBuilder
from tolmach.pipelines.language.check import CheckResult, check_graph
from tolmach.pipelines.registry import Registry
from tolmach.processors.silero.spec import SileroTtsSettings
from tolmach.processors.silero.voices import MODELS


def checked(ast: dict[str, Any], tts: dict[str, Any], commercial: object = True, **more: Any) -> CheckResult:
    elements = {
        "in": {"type": "test_src", "rate_hz": 16000},
        "vad": {"type": "webrtc_vad"},
        "ast": ast,
        "tts": tts,
        "out": {"type": "fake_sink"},
    }
    links = ["in -> vad -> ast -> tts -> out"]
    document = {"version": 1, "commercial": commercial, "elements": elements, "links": links}
    return check_graph("talk.yaml", text=json.dumps(document), registry=Registry.builtin(), **more)


INTO_RUSSIAN = {"type": "canary_ast", "source_lang": "en", "target_lang": "ru"}


def test_a_voice_that_may_not_be_used_is_refused_with_those_that_may() -> None:
    result = checked(INTO_RUSSIAN, {"type": "silero_tts", "model": "v5_5_ru"})
    [found] = result.diagnostics
    assert result.graph is None
    assert found.code == "terms"
    assert found.message == "'tts' would load v5_5_ru, which may not be used commercially"
    assert found.notes == ("its terms are CC BY-NC-SA 4.0; the graph says commercial: true (line 1)",)
    assert found.hint == (
        "take model: v5_cis_base_nostress (MIT) or model: v5_cis_base (MIT) or {type: espeak_tts, lang: ru}"
    )


@pytest.mark.parametrize(
    "tts",
    [
        {"type": "silero_tts", "model": "v5_cis_base_nostress"},
        {"type": "silero_tts", "model": "v5_cis_base"},
        {"type": "espeak_tts", "lang": "ru"},
        {"type": "silero_tts", "model": "my_own.pt", "lang": "ru"},  # whose it is, only its owner knows
    ],
    ids=lambda tts: str(tts.get("model", tts["type"])),
)
@pytest.mark.parametrize("engine", ["canary_ast", "whisper_ast"])
def test_what_may_be_used_passes(tts: dict[str, Any], engine: str) -> None:
    lang = "ru" if engine == "canary_ast" else "en"
    if engine == "whisper_ast":
        tts = {"type": "espeak_tts", "lang": "en"}
    result = checked({"type": engine, "source_lang": "en" if lang == "ru" else "ru", "target_lang": lang}, tts)
    assert result.ok, result.format_text()
    assert result.graph is not None
    assert result.graph.commercial


def test_only_the_voices_that_may_come_count() -> None:
    voices = {"type": "silero_tts", "voices": {"en": "v3_en", "ru": "v5_cis_base_nostress"}}
    assert checked(INTO_RUSSIAN, voices).ok
    into_english = {"type": "canary_ast", "source_lang": "ru", "target_lang": "en"}
    [found] = checked(into_english, voices).diagnostics
    assert found.hint == "take {type: espeak_tts, lang: en}"
    assert checked(into_english, voices, commercial=False).ok
    assert checked(into_english, voices, commercial=None).ok


def test_it_is_true_or_false() -> None:
    [found] = checked(INTO_RUSSIAN, {"type": "espeak_tts", "lang": "ru"}, commercial="maybe").diagnostics
    assert (found.code, found.message) == ("bad-value", "commercial must be true or false")


def test_a_voice_may_be_told_alone() -> None:
    assert SileroTtsSettings(model="auto", lang="ru", commercial=True).model == "v5_cis_base_nostress"
    assert SileroTtsSettings(model="auto", lang="uk", commercial=True).model == "v5_cis_base_nostress"
    for given, says in (
        (
            {"model": "v4_ru"},
            r"v4_ru may not be used commercially \(CC BY-NC-SA 4.0\): take model: v5_cis_base_nostress",
        ),
        ({}, "v5_5_ru may not be used commercially"),
        ({"model": "auto", "lang": "en"}, r"no Silero model of 'en' may be used.*take \{type: espeak_tts, lang: en\}"),
        ({"voices": {"ru": "auto", "de": "v3_de"}}, "v3_de may not be used commercially"),
    ):
        with pytest.raises(ValueError, match=says):
            SileroTtsSettings(**given, commercial=True)


def test_every_model_that_is_not_free_is_refused() -> None:
    for name, model in MODELS.items():
        if model.commercial:
            SileroTtsSettings(model=name, commercial=True)
        else:
            with pytest.raises(ValueError, match="may not be used commercially"):
                SileroTtsSettings(model=name, commercial=True)


def test_a_graph_in_a_program_says_it_too() -> None:
    builder = GraphBuilder("talk", commercial=True)
    builder.add("in", "test_src", rate_hz=16000)
    builder.add("vad", "webrtc_vad")
    builder.add("ast", "canary_ast", source_lang="en", target_lang="ru")
    builder.add("tts", "silero_tts", model="v4_ru")
    builder.add("out", "fake_sink")
    builder.link("in", "vad", "ast", "tts", "out")
    [found] = builder.check().diagnostics
    assert found.code == "terms"
    assert "take model: v5_cis_base_nostress (MIT)" in str(found.hint)


@pytest.mark.parametrize("name", ["interpreter", "recording", "simultaneous"])
def test_the_graphs_that_ship_may_be_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    def check(source_lang: str, target_lang: str, **params: str) -> tuple[int, str]:
        given = {"source_lang": source_lang, "target_lang": target_lang, "commercial": "true", **params}
        if name == "recording":
            given["input"] = "a.wav"
        code = main(["check", name, *(word for pair in given.items() for word in ("--set", "=".join(pair)))])
        return code, capsys.readouterr().out

    assert check("en", "ru", voice="v5_cis_base_nostress")[0] == 0
    code, said = check("en", "ru")
    assert code == 2
    assert "'tts' would load v5_5_ru, which may not be used commercially" in said
    assert "take model: v5_cis_base_nostress (MIT)" in said
    code, said = check("ru", "en")
    assert code == 2
    assert "take {type: espeak_tts, lang: en}" in said
    assert check("ru", "en", commercial="false")[0] == 0


@pytest.mark.parametrize("name", ["interpreter", "recording", "simultaneous"])
@pytest.mark.parametrize("lang", ["fi", "pl", "el"])
def test_a_language_without_a_silero_voice_is_told_which_line_to_write(
    name: str, lang: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params = {"source_lang": "en", "target_lang": lang} | ({"input": "a.wav"} if name == "recording" else {})
    assert main(["check", name, *(word for pair in params.items() for word in ("--set", "=".join(pair)))]) == 2
    assert f"{{type: espeak_tts, lang: {lang}}}" in capsys.readouterr().out


def test_a_voice_of_another_language_is_told_which_line_to_write() -> None:
    for lang, line in (
        ("de", "{type: silero_tts, lang: de, model: auto}"),
        ("uk", "{type: silero_tts, lang: uk, model: auto}"),
        ("fi", "{type: espeak_tts, lang: fi}"),
    ):
        ast = {"type": "canary_ast", "source_lang": "en", "target_lang": lang}
        [found] = checked(ast, {"type": "silero_tts"}, commercial=False).diagnostics
        assert f"to speak {lang}, write tts: {line}" in str(found.hint)
