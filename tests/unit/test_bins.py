"""Bins: params, ghost pads, names, nesting and bounds."""

from __future__ import annotations

import pytest

from tests.unit.graph_specs import GRAPHS, check, document, graph_of

CONVERSATION = (GRAPHS / "valid-conversation.yaml").read_text(encoding="utf-8")


def test_a_bin_used_twice_gives_two_sets_of_elements():
    graph = graph_of(CONVERSATION)
    assert [n for n in graph.nodes if n.startswith("there.")] == [
        "there.to_16k",
        "there.vad",
        "there.ast",
        "there.say.tts",
        "there.say.out",
    ]
    assert graph.nodes["there.ast"].settings.target_lang == "ru"
    assert graph.nodes["back.ast"].settings.target_lang == "en"
    assert graph.nodes["back.say.tts"].settings.lang == "en"
    assert graph.nodes["there.say.tts"].bin == "there.say"
    assert graph.nodes["cut"].bin == ""


def test_ghost_pads_link_to_what_is_inside():
    links = {f"{li.src} -> {li.sink}" for li in graph_of(CONVERSATION).links}
    assert "cut.left -> there.to_16k.sink" in links
    assert "back.say.out.src -> heard_left.sink" in links


def test_the_failure_policy_of_an_instance_holds_inside():
    graph = graph_of(CONVERSATION)
    assert {n.on_error for n in graph.nodes.values() if n.name.startswith("back.")} == {"restart"}
    assert graph.nodes["there.ast"].on_error == "skip"  # that of its type


def test_params_of_the_graph_reach_bins_only_through_their_own():
    swapped = graph_of(CONVERSATION, params={"left": "ru", "right": "en"})
    assert swapped.nodes["there.say.tts"].settings.lang == "en"
    shown = check(CONVERSATION.replace('lang: "${param:to}"', 'lang: "${param:left}"')).format_text()
    assert "bin 'direction' has no param named 'left'" in shown


def test_an_unset_param_of_the_graph_may_be_handed_to_a_bin():
    unset = CONVERSATION.replace("right: {default: ru, choices: [en, ru]}", "right:")
    assert check(unset).ok
    assert [d.message for d in check(unset, require_params=True, params={"input": "a"}).diagnostics] == [
        "param 'right' has no value"
    ]


def test_the_environment_is_seen_inside_bins():
    assert graph_of(CONVERSATION, env={"VOICE": "kseniya"}).nodes["back.say.tts"].settings.speaker == "kseniya"


def test_overrides_reach_into_bins_and_set_params_of_an_instance():
    overrides = {"there.say.tts.speaker": "aidar", "back.say.speaker": "eugene", "back.vad.hangover_ms": 9}
    graph = graph_of(CONVERSATION, overrides=overrides)
    assert graph.nodes["there.say.tts"].settings.speaker == "aidar"
    assert graph.nodes["back.say.tts"].settings.speaker == "eugene"
    assert graph.nodes["there.vad"].settings.hangover_ms == 300
    assert graph.nodes["back.vad"].settings.hangover_ms == 9


def test_a_mistake_in_a_bin_is_reported_once():
    result = check(CONVERSATION.replace("hangover_ms: 300", "hangover_ms: -1"))
    assert [d.message for d in result.diagnostics] == ["hangover_ms must be at least 0, got -1"]


def test_a_mistake_in_what_an_instance_is_given_is_reported_there():
    result = check(CONVERSATION.replace('to: "${param:right}"}', "to: no, form: en}"))
    assert [(d.code, d.message) for d in result.diagnostics] == [
        ("unknown-field", "bin 'direction' has no param 'form'"),
    ]


def test_a_ghost_pad_of_a_tee_makes_branches():
    text = """\
version: 1
bins:
  split:
    elements:
      id: {type: identity}
      fork: {type: tee}
    links: [id -> fork]
    pads: {sink: id, src: fork}
elements:
  in: {type: test_src}
  b: {type: bin/split}
  x: {type: fake_sink}
  y: {type: fake_sink}
links:
  - in -> b -> x
  - b -> y
"""
    assert {str(li.src) for li in graph_of(text).links} == {"in.src", "b.id.src", "b.fork.src_0", "b.fork.src_1"}


def test_an_unlinked_pad_of_a_bin_is_that_of_its_element():
    shown = check(
        CONVERSATION.replace(" -> heard_right", "").replace("  heard_right: {type: file_sink, path: right.wav}\n", "")
    )
    assert [d.message for d in shown.diagnostics] == ["src pad out.src is not linked"]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (
            ("pads: {sink: tts, src: out}", "pads: {sink: tts, out: out}"),
            "bad-value",
            "'out' is not a name for a pad of a bin",
        ),
        (("pads: {sink: tts, src: out}", "pads: {sink: tts, src: [out]}"), "bad-value", "must name a pad inside"),
        (("pads: {sink: tts, src: out}", "pads: {sink: tts, src: a b}"), "bad-value", "'a b' is not element.pad"),
        (("pads: {sink: tts, src: out}", "pads: {sink: tts, src: oot}"), "unknown-element", "no element named 'oot'"),
        (
            ("pads: {sink: to_16k.sink, src: say.src}", "pads: {sink: to_16k.sink, src: say.src, src_b: vad}"),
            "unknown-pad",
            "has several src pads",
        ),
        (("there -> heard", "there.text -> heard"), "unknown-pad", "bin 'there' has no pad 'text'"),
        (("there -> heard", "there\n  - there.sink -> heard"), "unknown-pad", "bin 'there' has no src pad 'sink'"),
        (("bin/speech", "bin/speach"), "unknown-type", "no bin named 'speach'"),
        (("  direction:\n", "  9th: {}\n  direction:\n"), "bad-value", "'9th' is not a name for a bin"),
        (("  direction:\n", "  empty: 5\n  direction:\n"), "bad-value", "bin 'empty' must be a mapping"),
        (("  speech:\n", "  speech:\n    param: {}\n"), "unknown-field", "a bin has no 'param'"),
        (('lang: "${param:to}"}', "lang: }"), "missing-param", "bin 'speech' needs param 'lang'"),
    ],
)
def test_wrong_bins(change, code, said):
    assert change[0] in CONVERSATION
    result = check(CONVERSATION.replace(*change))
    assert [d for d in result.diagnostics if d.code == code and said in d.message], result.format_text()


def test_bins_are_bounded_by_what_they_expand_to():
    bins = ["  b0:\n    elements: {id: {type: identity}}\n    pads: {sink: id, src: id}\n"]
    for level in range(1, 8):
        inner = ", ".join(f"e{i}: {{type: bin/b{level - 1}}}" for i in range(10))
        bins.append(f"  b{level}:\n    elements: {{{inner}}}\n    pads: {{sink: e0, src: e9}}\n")
    text = "version: 1\nbins:\n" + "".join(bins) + "elements:\n  all: {type: bin/b7}\nlinks: []\n"
    result = check(text)
    assert any("grows beyond 1000 elements" in d.message for d in result.diagnostics)


def test_a_tower_of_bins_does_not_exhaust_the_stack():
    bins = "".join(f"  b{i}:\n    elements: {{x: {{type: bin/b{i + 1}}}}}\n" for i in range(900))
    result = check(f"version: 1\nbins:\n{bins}elements:\n  all: {{type: bin/b0}}\nlinks: []\n")
    assert any("nested deeper than 16" in d.message for d in result.diagnostics)


def test_a_bin_cannot_be_mistaken_for_an_element():
    result = check(document({"a": "type: bin/", "b": "type: fake_sink"}, "a -> b"))
    assert [d.code for d in result.diagnostics] == ["unknown-type"]
