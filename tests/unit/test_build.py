"""From a file to a graph: passes, params, overrides, shape, and documents that nobody meant."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import model_validator

from tests.unit.graph_specs import GOOD, GRAPHS, REGISTRY, FileSrc, NoSettings, check, document, graph_of, spec
from tolmach.pipelines.element import Heard, Pad, Settings
from tolmach.pipelines.errors import CODES, GraphError
from tolmach.pipelines.language.check import COMMAND_LINE, check_graph, load_graph, parse_set
from tolmach.pipelines.language.diagnostics import format_json

SRC, ID, TEE, QUEUE, OUT = "type: test_src", "type: identity", "type: tee", "type: queue", "type: fake_sink"


def codes(text: str, **more: object) -> list[str]:
    return [d.code for d in check(text, **more).diagnostics]


def test_the_example_of_the_design():
    graph = graph_of(GOOD, params={"input": "talk.wav"}, env={"VOICE": "aidar"})
    assert graph.name == "recording"
    assert graph.order == ("in", "to_16k", "vad", "ast", "fork", "tts", "dub", "subs")
    assert graph.params == {"input": "talk.wav", "output": "out", "target_lang": "ru"}
    assert graph.nodes["in"].settings.path == "talk.wav"
    assert graph.nodes["dub"].settings.path == "out/dub.wav"
    assert graph.nodes["tts"].settings.speaker == "aidar"
    assert [p.name for p in graph.nodes["fork"].pads] == ["sink", "src_0", "src_1"]
    assert (graph.nodes["ast"].on_error, graph.nodes["vad"].on_error) == ("skip", "fail")
    assert [str(li.sink) for li in graph.links_from("fork")] == ["tts.sink", "subs.sink"]
    assert graph.links[0].span.column == 5


def test_the_name_is_that_of_the_file_unless_it_says_otherwise(tmp_path):
    path = tmp_path / "talk.yaml"
    path.write_text(document({"in": SRC, "out": OUT}, "in -> out"), encoding="utf-8")
    graph = load_graph(path, registry=REGISTRY)
    assert (graph.name, graph.path, graph.description) == ("talk", path, "")


def test_a_file_that_is_not_there_is_a_diagnostic(tmp_path):
    result = check_graph(tmp_path / "gone.yaml", registry=REGISTRY)
    assert [d.message for d in result.diagnostics] == ["cannot read the file: No such file or directory"]


def test_loading_a_wrong_graph_raises_with_all_of_it():
    with pytest.raises(GraphError) as raised:
        load_graph("g.yaml", text=GOOD.replace("vad ->", "vda ->").replace("500", "-5"), registry=REGISTRY, env={})
    assert [d.code for d in raised.value.diagnostics] == ["bad-value", "unknown-element"]
    assert "did you mean 'vad'? declared on line 7" in str(raised.value)


def test_a_warning_does_not_stop_a_graph():
    text = document({"in": SRC, "out": OUT}, "in -> out") + "bins:\n  spare: {elements: {id: {type: identity}}}\n"
    result = check(text)
    assert result.ok
    assert [d.severity for d in result.diagnostics] == ["warning"]


# Params and overrides -------------------------------------------------------------------------------------------------


def test_params_are_listed_with_what_they_declare():
    text = document({"in": "type: file_src, path: x", "o": OUT}, "in -> o") + (
        "params:\n  a:\n  b: 5\n  c: {default: en, choices: [en, ru], description: Spoken.}\n  d: {default: }\n"
    )
    assert [(p.name, p.default, p.choices, p.description, p.required) for p in check(text).params] == [
        ("a", None, (), "", True),
        ("b", 5, (), "", False),
        ("c", "en", ("en", "ru"), "Spoken.", False),
        ("d", None, (), "", True),
    ]


ROLES = document({"in": "type: file_src, path: x", "o": OUT}, "in -> o") + "params:\n"


def test_a_param_has_the_role_it_declares_else_that_of_its_name():
    text = ROLES + (
        "  clip: {role: input}\n  output: out\n  from: {default: en, role: source_lang}\n  target_lang: {default: ru}\n"
        "  low: {default: m1, role: voice}\n  high: {default: f1, role: voice}\n  voice: {default: a, role: none}\n"
        "  input: {default: b, role: }\n  language: en\n"
    )
    assert {param.name: param.role for param in check(text).params} == {
        "clip": "input",
        "output": "output",
        "from": "source_lang",
        "target_lang": "target_lang",
        "low": "voice",
        "high": "voice",
        "voice": None,
        "input": None,
        "language": None,
    }
    assert check(text).ok


@pytest.mark.parametrize(
    ("params", "message", "hint"),
    [
        ("  a: {role: inptu}\n", "'inptu' is not a role of a param", "did you mean 'input'?"),
        (
            "  a: {role: 5}\n",
            "5 is not a role of a param",
            "use input, output, source_lang, target_lang, voice or none",
        ),
        ("  a: {role: [input]}\n", "a role must be one value", None),
        ("  a: {rloe: input}\n", "a param has no 'rloe'", "did you mean 'role'?"),
        (
            "  input: x\n  clip: {role: input}\n",
            "'clip' and 'input' (line 8) both have the role input",
            "input: {role: none} gives it no role",
        ),
        (
            "  a: {role: source_lang}\n  b: {role: source_lang}\n",
            "'b' and 'a' (line 8) both have the role source_lang",
            "let one of them have it",
        ),
    ],
)
def test_mistakes_in_roles_are_told(params: str, message: str, hint: str | None):
    (found,) = check(ROLES + params).diagnostics
    assert (found.message, found.hint) == (message, hint)


def test_params_of_a_bin_have_no_roles():
    text = (
        "version: 1\nbins:\n  b:\n    params: {input: {default: 1}, one: {default: 1, role: voice}}\n"
        "    elements: {id: {type: identity}}\n    pads: {sink: id.sink, src: id.src}\n"
        "elements: {in: {type: test_src}, b: {type: bin/b}, o: {type: fake_sink}}\nlinks: [in -> b -> o]\n"
    )
    (found,) = check(text).diagnostics
    assert (found.code, found.message) == ("unknown-field", "a param of a bin has no 'role'")
    assert check(text.replace(", role: voice", "")).ok


class Listener(Settings):
    """Of an engine that somebody else has written, with a name of its own for what it expects to hear."""

    tongue: Heard[str | None] = "de"
    second: Heard[str] = "fr"
    source_lang: str = "xx"


def test_the_languages_behind_an_element_are_those_that_settings_declare():
    engine = spec("engine", Listener, (Pad.sink(), Pad.src(like="sink")))
    registry = REGISTRY.extended(engine)
    text = document(
        {"in": SRC, "a": "type: engine", "b": "type: engine, tongue: , second: pl", "o": OUT}, "in -> a -> b -> o"
    )
    graph = graph_of(text, registry=registry)
    assert [graph.languages_behind(name) for name in graph.order] == [
        ("de", "fr", "pl"),
        ("de", "fr", "pl"),
        ("pl",),
        (),
    ]


def test_a_required_param_is_asked_for_only_when_it_is_needed():
    assert graph_of(GOOD).nodes["in"].settings.path == "<input>"
    result = check(GOOD, require_params=True)
    assert [(d.code, d.message) for d in result.diagnostics] == [("missing-param", "param 'input' has no value")]
    assert check(GOOD, require_params=True, params={"input": "a.wav"}).ok
    assert not check(GOOD, require_params=True, params={"input": None}).ok


def test_a_setting_that_depends_on_an_unset_param_keeps_its_default():
    text = "params: {rate: , mode: }\n" + document(
        {"in": "type: file_src, path: 'x${param:mode}', rate_hz: \"${param:rate}\"", "o": OUT}, "in -> o"
    )
    node = graph_of(text).nodes["in"]
    assert node.settings == FileSrc(path="x<mode>")
    assert graph_of(text, params={"rate": 8000}).nodes["in"].settings.rate_hz == 8000


def test_a_required_setting_of_another_type_waits_for_its_param():
    class Strict(NoSettings):
        rate_hz: int

    waits = spec("strict_src", Strict, (Pad.src("audio/raw"),))
    knows = spec("pads_src", Strict, lambda s: (Pad.src(f"audio/raw, rate={s.rate_hz}"),))
    registry = REGISTRY.extended(waits, knows)
    text = "params: {rate: }\n" + document({"in": 'type: strict_src, rate_hz: "${param:rate}"', "o": OUT}, "in -> o")
    assert check(text, registry=registry).ok
    assert check(text.replace("strict_src", "pads_src"), registry=registry).ok
    counts = spec("counting_src", Strict, lambda s: (Pad.src(name=f"src_{s.rate_hz + 1}"),))
    pads = check(text.replace("strict_src", "counting_src"), registry=registry.extended(counts))
    assert [d.message for d in pads.diagnostics] == ["the pads of 'in' depend on param 'rate', which has no value"]
    assert check(text.replace("strict_src", "pads_src"), registry=registry, params={"rate": 8000}).ok


def test_what_an_unset_param_will_decide_is_no_mismatch_yet():
    text = "params: {lang: , path: }\n" + document(
        {
            "in": SRC,
            "v": "type: silero_vad",
            "a": 'type: canary_ast, target_lang: "${param:lang}"',
            "q": QUEUE,
            "t": "type: espeak_tts, lang: en",
            "o": 'type: file_sink, path: "${param:path}"',
        },
        "in -> v -> a -> q -> t -> o",
    )
    assert check(text).ok
    assert check(text, params={"lang": "en"}).ok
    assert codes(text, params={"lang": "ru"}) == ["caps-mismatch"]
    # A param that no pad depends on excuses nothing.
    speaker = text.replace("lang: en", 'lang: ru, speaker: "${param:lang}"')
    assert codes(speaker.replace('target_lang: "${param:lang}"', "target_lang: en")) == ["caps-mismatch"]


def test_nor_is_what_it_will_decide_on_another_branch():
    class Rate(NoSettings):
        rate_hz: int = 8000

    registry = REGISTRY.extended(spec("at_sink", Rate, lambda s: (Pad.sink(f"audio/raw, rate={s.rate_hz}"),)))
    text = "params: {rate: }\n" + document(
        {
            "in": SRC,
            "t": TEE,
            "q": ID,
            "o": 'type: at_sink, rate_hz: "${param:rate}"',
            "i": ID,
            "v": "type: silero_vad",
            "p": OUT,
        },
        "in -> t -> q -> o",
        "t -> i -> v -> p",
    )
    assert check(text, registry=registry).ok
    assert check(text, registry=registry, params={"rate": 16000}).ok
    assert codes(text, registry=registry, params={"rate": 8000}) == ["caps-mismatch"]


def test_a_rule_about_several_settings_waits_too():
    text = "params: {min: }\n" + document(
        {"in": SRC, "v": 'type: ordered, low: "${param:min}", high: 5', "o": OUT}, "in -> v -> o"
    )

    class Ordered(NoSettings):
        low: str
        high: int

        @model_validator(mode="after")
        def _order(self) -> Ordered:
            if int(self.low.strip("<>") or 0, 36) > self.high:
                raise ValueError("low must not exceed high")
            return self

    registry = REGISTRY.extended(spec("ordered", Ordered, (Pad.sink(), Pad.src(like="sink"))))
    assert check(text, registry=registry).ok
    assert codes(text, registry=registry, params={"min": "9"}) == ["bad-value"]


def test_a_path_is_a_text():
    assert graph_of(GOOD, params={"input": Path("a.wav")}).nodes["in"].settings.path == "a.wav"


def test_a_variable_that_failed_has_no_further_consequences():
    assert codes(GOOD.replace('"${param:target_lang}"', '"${env:LANG_OF_DUB}"')) == ["missing-env"]
    assert codes(GOOD.replace("500", '"${env:HANGOVER}"')) == ["missing-env"]


def test_a_choice_is_of_the_type_it_is_declared():
    text = "params: {channels: {default: 1, choices: [1, 2]}}\n" + document({"in": SRC, "o": OUT}, "in -> o")
    assert check(text, params={"channels": 2}).ok
    assert codes(text, params={"channels": True}) == ["bad-value"]
    assert codes(text, params={"channels": "2"}) == ["bad-value"]


def test_a_param_keeps_its_type_and_text_becomes_what_a_setting_wants():
    text = 'params: {ms: 7, name: "7"}\n' + document(
        {"in": SRC, "v": 'type: silero_vad, hangover_ms: "${param:ms}", threshold: "0.${env:T}"', "o": OUT},
        "in -> v -> o",
    )
    vad = graph_of(text, env={"T": "25"}).nodes["v"].settings
    assert (vad.hangover_ms, vad.threshold) == (7, 0.25)
    assert graph_of(text, env={"T": "25"}).params == {"ms": 7, "name": "7"}


def test_the_type_of_an_element_may_be_a_param():
    text = "params: {kind: identity}\n" + document({"in": SRC, "x": 'type: "${param:kind}"', "o": OUT}, "in -> x -> o")
    assert graph_of(text, params={"kind": "queue"}).nodes["x"].spec.type == "queue"
    assert codes(text, params={"kind": "quue"}) == ["unknown-type"]


@pytest.mark.parametrize(
    ("params", "overrides", "message"),
    [
        ({"inptu": 1}, {}, "the graph has no param named 'inptu'"),
        ({}, {"vda.hangover_ms": 1}, "no element named 'vda'"),
        ({}, {"vad.hangover": 1}, "silero_vad has no setting 'hangover'"),
        ({}, {"vad.hangover_ms": -1}, "hangover_ms must be at least 0, got -1"),
        ({}, {"vad.on_error": "skp"}, "on_error must be one of 'fail', 'skip', 'restart', got 'skp'"),
    ],
)
def test_mistakes_on_the_command_line_are_shown_there(params, overrides, message):
    result = check(GOOD, params=params, overrides=overrides)
    (found,) = result.diagnostics
    assert found.message == message
    assert found.span is not None
    assert found.span.file == COMMAND_LINE
    shown = result.format_text().splitlines()
    assert shown[2].startswith("  1 | --set ")


def test_overrides_replace_what_the_file_says():
    overrides = {
        "vad.hangover_ms": 9,
        "tts.speaker": "xenia",
        "vad.on_error": "restart",
        "dub.path": "${env:NOT_EXPANDED}",
    }
    graph = graph_of(GOOD, overrides=overrides)
    assert graph.nodes["vad"].settings.hangover_ms == 9
    assert graph.nodes["vad"].on_error == "restart"
    assert graph.nodes["dub"].settings.path == "${env:NOT_EXPANDED}"


def test_an_override_cures_what_the_file_has_wrong():
    assert check(GOOD.replace("500", "-5"), overrides={"vad.hangover_ms": 5}).ok


def test_set_options_are_params_or_overrides():
    assert parse_set(
        ["input=a=b.wav", "vad.hangover_ms=300", "x.y.z=no", "flag=true", "flag=false", "list=[1, a]"]
    ) == (
        {"input": "a=b.wav", "flag": False, "list": [1, "a"]},
        {"vad.hangover_ms": 300, "x.y.z": "no"},
    )


def test_broken_set_options_are_shown_together():
    with pytest.raises(GraphError) as raised:
        parse_set(["input", "=x", "a=[1", "good=1"])
    assert [(d.code, d.span.line) for d in raised.value.diagnostics] == [
        ("bad-value", 1),
        ("bad-value", 2),
        ("bad-value", 3),
    ]
    assert "--set input" in str(raised.value)


# Settings in words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hangover_ms: -5", "hangover_ms must be at least 0, got -5"),
        ("hangover_ms: 1.5", "hangover_ms must be a whole number, at least 0, got 1.5"),
        ("hangover_ms: soon", "hangover_ms must be a whole number, at least 0, got 'soon'"),
        ("hangover_ms: ", "hangover_ms must be a whole number, at least 0, got null"),
        ("hangover_ms: [1]", "hangover_ms must be a whole number, at least 0, got a list"),
        ("min_ms: 10001", "min_ms must be at least 0 and at most 10000, got 10001"),
        ("threshold: 1", "threshold must be more than 0 and less than 1, got 1"),
        ("threshold: .nan", "threshold must be a finite number, got nan"),
        ("mode: 3", "mode must be one of 'gentle', 'normal', 'strict', got 3"),
        ("mode: strikt", "mode must be one of 'gentle', 'normal', 'strict', got 'strikt'"),
        ("min_ms: 900, max_ms: 800", "silero_vad: min_ms must not exceed max_ms"),
    ],
)
def test_a_wrong_setting_is_one_plain_sentence(setting, message):
    text = document({"in": SRC, "v": f"type: silero_vad, {setting}", "o": OUT}, "in -> v -> o")
    assert [d.message for d in check(text).diagnostics] == [message]


def test_a_part_of_a_setting_is_shown_at_its_place():
    text = document({"in": SRC, "a": "type: canary_ast, prompts: [one, [two]]", "o": OUT}, "in -> a -> o")
    found = next(d for d in check(text).diagnostics if d.code == "bad-value")
    assert found.message == "prompts[1] must be a text, got a list"
    assert found.span is not None
    assert (found.span.line, found.span.column, found.span.length) == (4, 40, 5)


def test_the_description_of_a_setting_is_part_of_the_answer():
    text = document({"in": SRC, "v": "type: silero_vad, hangover_ms: -5", "o": OUT}, "in -> v -> o")
    assert check(text).diagnostics[0].notes == ("hangover_ms: Silence that closes an utterance, ms. Default 500.",)


# Links and shape ------------------------------------------------------------------------------------------------------


def test_request_pads_are_made_in_the_order_written_around_those_asked_for():
    text = document(
        {"in": SRC, "t": TEE, "a": OUT, "b": OUT, "c": OUT, "d": OUT},
        "in -> t -> a",
        "t -> b",
        "t.src_1 -> c",
        "t.src -> d",
    )
    graph = graph_of(text)
    assert {li.sink.node: li.src.pad for li in graph.links_from("t")} == {
        "a": "src_0",
        "b": "src_2",
        "c": "src_1",
        "d": "src_3",
    }
    assert [p.name for p in graph.nodes["t"].pads] == ["sink", "src_0", "src_1", "src_2", "src_3"]


def test_in_the_middle_of_a_chain_a_pad_may_be_of_either_side():
    text = document({"in": SRC, "m": "type: mixer", "o": OUT}, "in -> m.sink_a -> o")
    assert [str(li.sink) for li in graph_of(text).links] == ["m.sink_a", "o.sink"]
    cut = document({"in": SRC, "s": "type: splitter", "o": OUT, "p": OUT}, "in -> s.left -> o", "s.right -> p")
    assert [str(li.src) for li in graph_of(cut).links] == ["in.src", "s.left", "s.right"]


def test_an_optional_pad_need_not_be_linked_nor_named():
    text = document({"in": SRC, "m": "type: mixer", "o": OUT}, "in -> m -> o")
    assert [str(li.sink) for li in graph_of(text).links] == ["m.sink_a", "o.sink"]


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("a ->", ["bad-value"]),
        ("-> a", ["bad-value"]),
        ("a => b", ["bad-value"]),
        ("a ! b", ["bad-value"]),
        ("a.b.c -> b", ["bad-value"]),
        ("${env:X} -> b", ["bad-value"]),
        ("5", ["bad-value"]),
        ("[a, b]", ["bad-value"]),
        ("{a: b}", ["bad-value"]),
        ("~", ["bad-value"]),
        ("a.src_99999999 -> b", ["unknown-pad"]),
        ("a.src -> b.sink.x", ["bad-value"]),
    ],
)
def test_broken_links_are_one_diagnostic(link, found):
    text = document({"a": SRC, "b": OUT, "c": SRC, "d": OUT}, link, "c -> d")
    assert [c for c in codes(text) if c not in ("unused-element", "unlinked-pad")] == found


def test_the_order_is_that_of_declaration_among_equals():
    text = document({"z": OUT, "b": SRC, "y": OUT, "a": SRC}, "a -> z", "b -> y")
    assert graph_of(text).order == ("b", "y", "a", "z")


@pytest.mark.parametrize(
    ("links", "shown"),
    [
        (["a -> b -> a"], ["a -> b -> a"]),
        (["a -> b -> c -> a"], ["a -> b -> c -> a"]),
        (["a -> a", "b -> c -> b"], ["a -> a", "b -> c -> b"]),
    ],
)
def test_cycles_are_shown_as_a_path(links, shown):
    result = check(document({"a": ID, "b": ID, "c": ID}, *links))
    assert [
        d.message.removeprefix("elements feed themselves: ") for d in result.diagnostics if d.code == "cycle"
    ] == shown


def branches(first: str, second: str, **more: str) -> list[str]:
    elements = {"in": SRC, "t": TEE, "a": ID, "b": ID, "q": QUEUE, "p": QUEUE, "m": "type: mixer", "o": OUT, **more}
    links = ["in -> t", f"t -> {first} -> m.sink_a", f"t -> {second} -> m.sink_b", "m -> o"]
    used = set(" -> ".join(links).replace(".", " ").split())
    result = check(document({k: v for k, v in elements.items() if k in used}, *links))
    assert {d.code for d in result.diagnostics} <= {"missing-queue"}, result.format_text()
    return [d.hint.removeprefix("put {type: queue} between ") for d in result.diagnostics if d.hint]


@pytest.mark.parametrize(
    ("first", "second", "missing"),
    [
        ("a", "b", ["t and a", "t and b"]),
        ("q", "b", ["t and b"]),
        ("q", "p", []),
        ("a -> q", "p -> b", []),
    ],
)
def test_branches_that_meet_again_need_a_queue_each(first, second, missing):
    assert branches(first, second) == missing


def test_branches_that_do_not_meet_need_none():
    text = document({"in": SRC, "t": TEE, "a": ID, "o": OUT, "p": OUT}, "in -> t -> a -> o", "t -> p")
    assert check(text).ok


def test_a_fork_behind_a_meeting_answers_for_itself():
    # t parts and meets at m with queues; what u parts never meets again.
    text = document(
        {"in": SRC, "t": TEE, "q": QUEUE, "p": QUEUE, "m": "type: mixer", "u": TEE, "x": OUT, "y": OUT},
        "in -> t -> q -> m.sink_a",
        "t -> p -> m.sink_b",
        "m -> u -> x",
        "u -> y",
    )
    assert check(text).ok


def test_the_inner_fork_is_the_one_that_needs_queues():
    text = document(
        {"in": SRC, "t": TEE, "u": TEE, "a": ID, "b": ID, "m": "type: mixer", "o": OUT, "x": OUT},
        "in -> t -> u -> a -> m.sink_a",
        "u -> b -> m.sink_b",
        "m -> o",
        "t -> x",
    )
    assert [d.message for d in check(text).diagnostics] == [
        "branches part at 'u' and meet again at 'm', and this one has no queue"
    ] * 2


def test_a_direct_link_is_a_branch_too():
    text = document(
        {"in": SRC, "t": TEE, "q": QUEUE, "m": "type: mixer", "o": OUT},
        "in -> t -> m.sink_a",
        "t -> q -> m.sink_b",
        "m -> o",
    )
    assert [d.hint for d in check(text).diagnostics] == ["put {type: queue} between t and m"]


def test_one_mistake_is_one_diagnostic():
    for change in (
        ("vad:  ", "vda:  "),
        ("silero_vad", "silero_vda"),
        ("in -> to_16k", "ni -> to_16k"),
        ("vad ->", "vad.scr ->"),
    ):
        assert len(codes(GOOD.replace(*change))) <= 2, check(GOOD.replace(*change)).format_text()
    assert codes(GOOD.replace("silero_vad", "silero_vda")) == ["unknown-type"]
    assert codes(GOOD.replace("fork -> subs", "fork -> sbus")) == ["unknown-element"]
    assert codes(GOOD.replace("vad ->", "vad.scr ->")) == ["unknown-pad"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5", ["bad-value"]),
        ("[a]", ["bad-value"]),
        ("elements: {}\nlinks: []", ["bad-value", "bad-value"]),
        ("version: 1", ["bad-value", "bad-value"]),
        ("version: true\nelements: {}\nlinks: []", ["bad-value", "bad-value"]),
        ("version: 1\nelements: 5\nlinks: x", ["bad-value", "bad-value"]),
        ("version: 1\nname: [x]\nparams: 5\nelements:\nlinks:\nbins: 3", ["bad-value"] * 4),
        ("version: 1\nelements: {a: {}}\nlinks: []", ["bad-value"]),
        ("version: 1\nelements: {a: {type: [x]}}\nlinks: []", ["bad-value"]),
        ("version: 1\nelements: {a: {type: 5}}\nlinks: []", ["bad-value"]),
    ],
)
def test_documents_of_another_shape(text, found):
    assert codes(text) == found


# Documents nobody meant -----------------------------------------------------------------------------------------------

SEEDS = sorted(GRAPHS.glob("*.yaml"))
SPLICES = [
    "[" * 60,
    "{a: " * 60,
    "\n  - ",
    ": ",
    "&a ",
    "*a",
    "!!int ",
    "${param:x}",
    "${",
    "$${",
    "|\n",
    ">",
    "'",
    '"',
    "\t",
    "#",
    "<<: ",
    "---\n",
    "...\n",
    "%YAML 9.9\n",
    "null",
    "-5",
    ".nan",
    "1e999",
    "9" * 400,
    "bin/direction",
    " -> ",
    "type",
    "elements",
    "\u2028",
    "\x85",
    "\ud800",
    "\x00",
    "\U0001f600",
]


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice((1, 1, 2, 8, 40)))
        kind = rng.randrange(6)
        if kind == 0:
            text = text[:at] + text[to:]
        elif kind == 1:
            text = text[:to] + text[at:]
        elif kind == 2:
            text = text[:at] + rng.choice(SPLICES) + text[at:]
        elif kind == 3:
            text = text[:at] + rng.choice(SPLICES) + text[to:]
        elif kind == 4 and at < len(text):
            text = text[:at] + chr(ord(text[at]) ^ (1 << rng.randrange(7))) + text[at + 1 :]
        else:
            lines = text.splitlines(keepends=True)
            rng.shuffle(lines)
            text = "".join(lines) if rng.random() < 0.2 else text
    return text


@pytest.mark.parametrize("path", SEEDS, ids=lambda p: p.stem)
def test_a_mutated_graph_never_gives_a_traceback(path):
    text = path.read_text(encoding="utf-8")
    rng = random.Random(path.stem)
    for _ in range(40):
        changed = mutated(text, rng)
        result = check(changed, require_params=rng.random() < 0.5)
        assert result.ok == (not any(d.severity == "error" for d in result.diagnostics)), changed
        assert all(d.code in CODES for d in result.diagnostics)
        assert result.format_text() or not result.diagnostics
        assert format_json(result.diagnostics)
        for found in result.diagnostics:
            assert found.span is None or (found.span.line >= 1 and found.span.column >= 1 and found.span.length >= 1)


@given(st.text(max_size=80), st.text(max_size=80))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_a_value_cannot_inject_structure(value, default):
    plain = graph_of(GOOD, params={"input": "x"}, env={"VOICE": "x"})
    for hostile in (
        value,
        f"x\nlinks:\n  - in -> {value}",
        f"a -> b: {value}",
        f"}}, evil: {{type: {default}",
        "${env:SECRET}" + value,
    ):
        graph = graph_of(
            GOOD, params={"input": hostile or "x", "output": default}, env={"VOICE": hostile, "SECRET": "secret"}
        )
        assert list(graph.nodes) == list(plain.nodes)
        assert [(li.src, li.sink) for li in graph.links] == [(li.src, li.sink) for li in plain.links]
        assert graph.nodes["in"].settings.path == (hostile or "x")
        assert graph.nodes["tts"].settings.speaker == (hostile or "baya")


def test_a_graph_at_the_bounds_is_checked():
    # A thousand elements in one chain: nothing here may recurse.
    elements = {"in": SRC} | {f"e{i}": ID for i in range(900)} | {"o": OUT}
    assert check(document(elements, " -> ".join(elements))).ok
    many = document({"in": SRC, "t": TEE, "o": OUT}, "in -> t", *["t -> o"] * 3000)
    assert set(codes(many)) == {"pad-already-linked", "check-stopped"}
    endless = document({"a": ID, "b": ID}, " -> ".join(["a", "b"] * 20_000))
    assert "bad-value" in codes(endless)


def test_checking_imports_nothing_heavy():
    heavy = ["torch", "nemo", "pipecat", "aiortc", "av", "scipy", "onnxruntime", "fastapi", "numba"]
    code = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {heavy!r}:
            raise AssertionError(f"checking a graph imports {{name}}")

sys.meta_path.insert(0, Blocker())
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.registry import Registry
text = "version: 1\\nelements: {{in: {{type: test_src}}, out: {{type: fake_sink}}}}\\nlinks: [in -> out]\\n"
assert check_graph("g.yaml", text=text, registry=Registry.builtin()).ok
"""
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env={**os.environ}, check=False
    )
    assert done.returncode == 0, done.stderr
