"""Caps travel both ways, choices are made upstream first, and every mismatch is reported once."""

from __future__ import annotations

import pytest

from tests.unit.graph_specs import REGISTRY, NoSettings, check, document, graph_of, spec
from tolmach.pipelines.element import Pad

SRC = "type: test_src"
ANY_RATE = "type: resample"
VAD = "type: silero_vad"
ID = "type: identity"
OUT = "type: fake_sink"


def caps(elements: dict[str, str], *links: str, registry=REGISTRY) -> dict[str, str]:
    graph = graph_of(document(elements, *links), registry=registry)
    return {f"{li.src} -> {li.sink}": str(li.caps) for li in graph.links}


def mismatches(elements: dict[str, str], *links: str, registry=REGISTRY) -> list[str]:
    result = check(document(elements, *links), registry=registry)
    assert {d.code for d in result.diagnostics} == {"caps-mismatch"}, result.format_text()
    return [d.message.removeprefix("cannot link ") for d in result.diagnostics]


def test_a_resample_takes_what_is_wanted_three_elements_further_down():
    found = caps(
        {"in": "type: file_src, path: a", "r": ANY_RATE, "a": ID, "q": "type: queue", "b": ID, "v": VAD, "o": OUT},
        "in -> r -> a -> q -> b -> v -> o",
    )
    assert found["r.src -> a.sink"] == "audio/raw, channels=1, rate=16000, segmented=false"
    assert found["v.src -> o.sink"] == "audio/raw, channels=1, rate=16000, segmented=true"


def test_a_choice_travels_up_to_the_source_and_down_the_other_branch():
    found = caps(
        {"in": SRC, "t": "type: tee", "v": VAD, "o": OUT, "i": ID, "p": OUT},
        "in -> t -> v -> o",
        "t -> i -> p",
    )
    assert found["in.src -> t.sink"] == "audio/raw, channels=1, rate=16000, segmented=false"
    assert found["i.src -> p.sink"] == found["in.src -> t.sink"]


def test_nothing_is_converted_without_need():
    found = caps(
        {"in": "type: file_src, path: a, rate_hz: 24000", "r": ANY_RATE, "d": "type: file_sink, path: b"},
        "in -> r -> d",
    )
    assert found["r.src -> d.sink"] == "audio/raw, channels=2, rate=24000, segmented=false"


def test_what_nobody_constrains_stays_as_it_is():
    found = caps({"in": "type: file_src, path: a, rate_hz: 44100", "r": ANY_RATE, "o": OUT}, "in -> r -> o")
    assert found["r.src -> o.sink"] == found["in.src -> r.sink"]


def test_what_must_be_converted_is_and_the_rest_stays():
    found = caps(
        {"in": "type: file_src, path: a, rate_hz: 44100", "r": ANY_RATE, "d": "type: file_sink, path: b"},
        "in -> r -> d",
    )
    assert found["r.src -> d.sink"] == "audio/raw, channels=2, rate=48000, segmented=false"


def test_an_open_source_is_fixated_near_the_rate_of_recordings():
    assert caps({"in": SRC, "o": OUT}, "in -> o")["in.src -> o.sink"].startswith("audio/raw, channels=1, rate=48000")


def test_a_dynamic_link_stays_open_and_so_do_those_that_repeat_it():
    found = caps(
        {"in": "type: file_src, path: a", "i": ID, "r": "type: resample, rate_hz: 48000", "o": OUT}, "in -> i -> r -> o"
    )
    assert found["in.src -> i.sink"] == "audio/raw, channels=[1, 64], rate=[1, 384000], segmented=false"
    assert found["i.src -> r.sink"] == found["in.src -> i.sink"]


def test_a_dynamic_pad_must_be_accepted_whole_where_the_constraint_is():
    elements = {"in": "type: file_src, path: a", "i": ID, "v": VAD, "o": OUT}
    assert mismatches(elements, "in -> i -> v -> o") == ["i.src -> v.sink"]


def test_fields_that_an_element_sets_are_no_longer_dynamic():
    # The rate is the resampler's, the channels still those of whatever the file turns out to have.
    stereo = spec("stereo_sink", NoSettings, (Pad.sink("audio/raw, rate=16000, channels=2"),))
    registry = REGISTRY.extended(stereo)
    drop_rate = spec(
        "rerate", NoSettings, (Pad.sink("audio/raw"), Pad.src("audio/raw", like="sink", like_drop=("rate",)))
    )
    registry = registry.extended(drop_rate)
    elements = {"in": "type: file_src, path: a", "r": "type: rerate", "o": "type: stereo_sink"}
    assert mismatches(elements, "in -> r -> o", registry=registry) == ["r.src -> o.sink"]
    mono = spec("sixteen_sink", NoSettings, (Pad.sink("audio/raw, rate=16000, channels=[1, 64]"),))
    found = caps({**elements, "o": "type: sixteen_sink"}, "in -> r -> o", registry=registry.extended(mono))
    assert found["r.src -> o.sink"] == "audio/raw, channels=[1, 64], rate=16000, segmented=false"


def test_all_inputs_of_a_funnel_agree():
    found = caps(
        {"a": SRC, "b": "type: file_src, path: b, rate_hz: 24000", "f": "type: funnel", "o": OUT},
        "a -> f -> o",
        "b -> f",
    )
    assert set(found.values()) == {"audio/raw, channels=2, rate=24000, segmented=false"}


def test_inputs_that_cannot_agree_are_reported_once():
    elements = {
        "a": "type: file_src, path: a, rate_hz: 24000",
        "b": "type: file_src, path: b, rate_hz: 16000",
        "f": "type: funnel",
        "o": OUT,
    }
    assert len(mismatches(elements, "a -> f -> o", "b -> f")) == 1


def test_a_dynamic_input_cannot_promise_to_be_the_same_as_another():
    elements = {"a": "type: file_src, path: a", "b": "type: file_src, path: b", "f": "type: funnel", "o": OUT}
    assert mismatches(elements, "a -> f -> o", "b -> f") == ["a.src -> f.sink_0", "b.src -> f.sink_1"]
    alone = {"a": "type: file_src, path: a", "f": "type: funnel", "o": OUT}
    assert "rate=[1, 384000]" in caps(alone, "a -> f -> o")["f.src -> o.sink"]


def test_request_pads_that_are_like_each_other_go_in_pairs():
    pairs = spec(
        "multiqueue",
        NoSettings,
        (Pad.sink(name="sink_%u", request=True), Pad.src(name="src_%u", request=True, like="sink_%u")),
    )
    found = caps(
        {
            "a": "type: file_src, path: a, rate_hz: 24000",
            "b": "type: file_src, path: b, rate_hz: 16000",
            "m": "type: multiqueue",
            "x": OUT,
            "y": OUT,
        },
        "a -> m.sink_0",
        "b -> m.sink_1",
        "m.src_0 -> x",
        "m.src_1 -> y",
        registry=REGISTRY.extended(pairs),
    )
    assert "rate=24000" in found["m.src_0 -> x.sink"]
    assert "rate=16000" in found["m.src_1 -> y.sink"]


def test_every_mismatch_is_reported_and_none_causes_another():
    elements = {
        "in": "type: file_src, path: a",
        "v": VAD,
        "a": "type: canary_ast, target_lang: en",
        "t": "type: espeak_tts, lang: ru",
        "s": "type: subtitle_sink, path: s",
    }
    assert mismatches(elements, "in -> v -> a -> t -> s") == ["in.src -> v.sink", "a.src -> t.sink", "t.src -> s.sink"]


def test_behind_a_broken_link_goes_on_what_its_sink_pad_takes():
    elements = {"in": "type: file_src, path: a, rate_hz: 48000", "v": VAD, "i": ID, "c": "type: cd_sink"}
    assert mismatches(elements, "in -> v -> i -> c") == ["in.src -> v.sink", "i.src -> c.sink"]
    assert mismatches({**elements, "c": OUT}, "in -> v -> i -> c") == ["in.src -> v.sink"]


def test_a_wish_reaches_a_source_that_gives_anything():
    registry = REGISTRY.extended(spec("any_src", NoSettings, (Pad.src(),)))
    found = caps({"in": "type: any_src", "i": ID, "c": "type: cd_sink"}, "in -> i -> c", registry=registry)
    assert found["in.src -> i.sink"] == "audio/raw, channels=2, rate=44100"


def test_a_pad_that_is_like_another_medium_stands_for_itself():
    words = spec(
        "words", NoSettings, (Pad.sink("audio/raw"), Pad.src("text/x-translation, lang=ru, script=cyrl", like="sink"))
    )
    found = caps(
        {"in": SRC, "w": "type: words", "t": "type: espeak_tts", "o": OUT},
        "in -> w -> t -> o",
        registry=REGISTRY.extended(words),
    )
    assert found["w.src -> t.sink"] == "text/x-translation, lang=ru, script=cyrl"


def test_an_element_that_gives_a_range_of_its_own_ends_what_is_dynamic():
    rerange = spec(
        "rerange", NoSettings, (Pad.sink("audio/raw"), Pad.src("audio/raw, rate=[8000, 48000]", like="sink"))
    )
    sixteen = spec("sixteen_sink", NoSettings, (Pad.sink("audio/raw, rate=16000"),))
    found = caps(
        {"in": "type: file_src, path: a", "r": "type: rerange", "i": ID, "o": "type: sixteen_sink"},
        "in -> r -> i -> o",
        registry=REGISTRY.extended(rerange, sixteen),
    )
    assert found["r.src -> i.sink"] == "audio/raw, channels=[1, 64], rate=16000, segmented=false"


def test_a_choice_made_for_one_input_holds_for_the_others():
    found = caps(
        {
            "a": "type: file_src, path: a, rate_hz: 24000",
            "b": "type: file_src, path: b, rate_hz: 16000",
            "r": ANY_RATE,
            "s": ANY_RATE,
            "f": "type: funnel",
            "o": OUT,
        },
        "a -> r -> f -> o",
        "b -> s -> f",
    )
    assert (
        found["s.src -> f.sink_1"] == found["r.src -> f.sink_0"] == "audio/raw, channels=2, rate=24000, segmented=false"
    )


def test_that_caps_are_dynamic_is_said_only_where_it_matters():
    apart = check(document({"in": "type: file_src, path: a", "s": "type: subtitle_sink, path: s"}, "in -> s"))
    assert [len(d.notes) for d in apart.diagnostics] == [2]
    some = check(document({"in": "type: file_src, path: a", "s": "type: cd_sink"}, "in -> s"))
    assert some.diagnostics[0].notes[2].startswith("the exact caps are known only when data flows")


def test_branches_that_want_different_things_are_told_at_the_second():
    elements = {"in": SRC, "t": "type: tee", "v": VAD, "o": OUT, "c": "type: cd_sink"}
    assert mismatches(elements, "in -> t -> v -> o", "t -> c") == ["t.src_1 -> c.sink"]


@pytest.mark.parametrize(
    ("elements", "links", "hint"),
    [
        (
            {"in": "type: file_src, path: a, rate_hz: 48000", "x": VAD, "o": OUT},
            "in -> x -> o",
            "put {type: resample, rate_hz: 16000, channels: 1} between them",
        ),
        (
            {"in": "type: file_src, path: a, rate_hz: 12345", "x": "type: file_sink, path: b"},
            "in -> x",
            "put {type: resample, rate_hz: 16000} between them",
        ),
        (
            {"in": SRC, "x": "type: canary_ast", "o": "type: subtitle_sink, path: s"},
            "in -> x -> o",
            "x takes utterances: put a VAD between them",
        ),
        (
            {"in": SRC, "v": VAD, "w": VAD, "o": OUT},
            "in -> v -> w -> o",
            "w takes the stream before it is cut: link it in front of the VAD",
        ),
        (
            {
                "in": SRC,
                "v": VAD,
                "a": "type: canary_ast, target_lang: de",
                "x": "type: espeak_tts, lang: en",
                "o": OUT,
            },
            "in -> v -> a -> x -> o",
            "a gives lang=de and x takes lang=en: make the two agree",
        ),
        (
            {"in": SRC, "x": "type: subtitle_sink, path: s"},
            "in -> x",
            "put an element between them that takes audio/raw and gives text/x-translation",
        ),
    ],
)
def test_hints_say_what_to_do(elements, links, hint):
    result = check(document(elements, links))
    assert [d.hint for d in result.diagnostics] == [hint]


def test_caps_are_shown_with_the_rate_first():
    result = check(document({"in": "type: file_src, path: a, rate_hz: 48000", "v": VAD, "o": OUT}, "in -> v -> o"))
    assert result.diagnostics[0].notes[0] == "src offers   audio/raw, rate=48000, channels=2, segmented=false"


def test_a_long_chain_is_negotiated_in_reasonable_work():
    elements = {"in": SRC} | {f"i{n}": ID for n in range(300)} | {"v": VAD, "o": OUT}
    found = caps(elements, " -> ".join(elements))
    assert found["i0.src -> i1.sink"] == "audio/raw, channels=1, rate=16000, segmented=false"
