"""Which params of a graph the settings of OpenAI's sessions mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tolmach.web.catalogue.graph import LiveGraph, named, read_files
from tolmach.web.doors.openai.realtime.choice import choice_of, effective_language
from tolmach.web.doors.openai.realtime.events import EventError, Settings

GRAPH = """\
version: 1
name: {name}
params:
{params}
elements:
  in:     {{type: webrtc_src}}
  to_16k: {{type: resample, rate_hz: 16000, channels: 1}}
  vad:    {{type: webrtc_vad}}
  ast:
    type: canary_ast
    model: embedded:phrasebook
    source_lang: {source}
    target_lang: {target}
    languages: [en, ru]
    transcript: {transcript}
  tts:    {{type: espeak_tts, voices: {{en: en, ru: ru}}}}
  out:    {{type: webrtc_sink}}
links:
  - in -> to_16k -> vad -> ast -> tts -> out
"""
PARAM = "  {name}: {{default: {default}, choices: [{choices}], role: {role}}}"


def live(
    folder: Path, source: str, sources: str, target: str, targets: str, *, params: bool = True, transcript: bool = False
) -> LiveGraph:
    told = [
        PARAM.format(name="spoken", default=source, choices=sources, role="source_lang"),
        PARAM.format(name="wanted", default=target, choices=targets, role="target_lang"),
    ]
    text = GRAPH.format(
        name="graph",
        params="\n".join(told if params else ["  x: {default: 1, choices: [1]}"]),
        source='"${param:spoken}"' if params else source,
        target='"${param:wanted}"' if params else target,
        transcript=str(transcript).lower(),
    )
    (folder / "graph.yaml").write_text(text)
    found = named(read_files(folder, {}, False))["graph"].live
    assert found is not None
    assert found.ok, found.diagnostics_text
    return found


@pytest.mark.parametrize(
    ("source", "sources", "target", "targets", "asked", "params"),
    [
        ("auto", "auto, en, ru", "auto", "auto, en, ru", "ru", {"wanted": "ru"}),
        ("auto", "auto, en, ru", "auto", "auto, en, ru", "RU-ru", {"wanted": "ru"}),
        ("en", "en, ru", "ru", "en, ru", "en", {"wanted": "en", "spoken": "ru"}),
        ("en", "auto, en, ru", "ru", "en, ru", "en", {"wanted": "en", "spoken": "auto"}),
        ("en", "en, ru", "ru", "en, ru", "ru", {"wanted": "ru"}),
        ("auto", "auto, en, ru", "auto", "auto, en, ru", None, {}),
    ],
)
def test_a_language_is_the_param_of_its_role(
    tmp_path: Path, source: str, sources: str, target: str, targets: str, asked: str | None, params: dict[str, str]
) -> None:
    graph = live(tmp_path, source, sources, target, targets)
    choice = choice_of(graph, Settings(asked))
    assert (choice.graph, choice.params, choice.settings) == ("graph", params, {})
    assert graph.for_session(choice.params, {}, trust_params=False).name == "graph", "and the graph can be had so"


def test_a_graph_of_one_language_takes_that_and_no_other(tmp_path: Path) -> None:
    graph = live(tmp_path, "en", "", "ru", "", params=False)
    assert choice_of(graph, Settings("ru")).params == {}
    assert effective_language(graph, Settings()) == "ru"
    with pytest.raises(EventError) as caught:
        choice_of(graph, Settings("de"))
    assert caught.value.code == "unsupported_language"
    assert "it speaks ru" in caught.value.message


def test_a_language_that_is_no_choice_is_told_with_those_that_are(tmp_path: Path) -> None:
    graph = live(tmp_path, "auto", "auto, en, ru", "auto", "auto, en, ru")
    assert effective_language(graph, Settings()) is None, "it is found"
    with pytest.raises(EventError) as caught:
        choice_of(graph, Settings("de"))
    assert caught.value.param == "session.audio.output.language"
    assert "it speaks en, ru" in caught.value.message


@pytest.mark.parametrize("transcript", [True, False])
def test_the_source_is_written_down_by_graphs_that_do_that(tmp_path: Path, transcript: bool) -> None:
    graph = live(tmp_path, "auto", "auto, en, ru", "auto", "auto, en, ru", transcript=transcript)
    wanted = Settings(transcription={"model": "any"})
    if transcript:
        assert choice_of(graph, wanted).params == {}
    else:
        with pytest.raises(EventError, match="transcript: true"):
            choice_of(graph, wanted)
