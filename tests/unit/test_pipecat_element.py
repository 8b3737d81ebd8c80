"""The element `pipecat`: processors that know nothing of Tolmach, between its elements."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.handmade import chain
from tests.until import no_task_left
from tolmach.pipelines.bus import ErrorMessage, WarningMessage
from tolmach.pipelines.describe.render import to_mermaid
from tolmach.pipelines.element import is_live_setting
from tolmach.pipelines.errors import ElementError, GraphError
from tolmach.pipelines.frames import AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.language.check import check_graph, load_graph
from tolmach.pipelines.models.caches import missing_in
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.runtime.pipecat.spec import SPEC
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult
from tolmach.pipelines.testing import Harness, chop, tone
from tolmach.web.catalogue.live_settings import live_settings, require_settings_live

ROOT = Path(__file__).resolve().parents[2]
HOUSE = "house_processors.processors"
MS = 1_000_000
PLAIN = "audio/raw, rate=16000, channels=1, segmented=false"
CUT = "audio/raw, rate=16000, channels=1, segmented=true"
VOICE = "audio/raw, rate=24000"
RU = "text/x-translation, lang=ru"


@pytest.fixture(autouse=True)
def house(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Somebody's package of processors, installed."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "data" / "house_processors"))
    return importlib.import_module("house_processors.processors")


def alone(name: str, sink: str = PLAIN, src: str = PLAIN, *, caps: str | None = None, **settings: Any) -> Harness:
    """An element with one of the house's processors; ``caps`` are what its src has come to."""
    processor = name if ":" in name else f"{HOUSE}:{name}"
    negotiated = {"sink": sink, "src": caps or src}
    return Harness(SPEC, caps=negotiated, processor=processor, sink=sink, src=src, **settings)


def utterance(number: int, begin_ms: int, length_ms: int) -> list[Frame]:
    begin_ns, end_ns = begin_ms * MS, (begin_ms + length_ms) * MS
    audio = tone(length_ms / 1000, pts_ns=begin_ns)
    said = [AudioFrame(a.samples, a.rate_hz, a.pts_ns, number) for a in chop(audio, 320)]
    return [UtteranceStart(number, begin_ns), *said, UtteranceEnd(number, begin_ns, end_ns)]


def says(number: int, text: str, **fields: Any) -> TranslationFrame:
    return TranslationFrame(number, number * 1000 * MS, (number * 1000 + 500) * MS, "en", "ru", text, **fields)


def texts(frames: Sequence[Frame]) -> list[tuple[int, int, int, str, str | None]]:
    return [
        (f.utterance, f.pts_ns // MS, f.end_ns // MS, f.text, f.rejected)
        for f in frames
        if isinstance(f, TranslationFrame)
    ]


# Audio ----------------------------------------------------------------------------------------------------------------


async def test_a_filter_keeps_time_however_it_cuts():
    """Blocks of 10 ms come out of pieces of 7 ms, and the rest of the last one at the end of the stream."""
    async with no_task_left(), alone("Blocks") as h:
        whole = tone(0.5)
        await h.push(*chop(whole, 111))
        await h.push(tone(0.1, pts_ns=2_000 * MS))  # a gap
        await h.eos()
        out = [f for f in h.output() if isinstance(f, AudioFrame)]
    assert np.abs(h.audio()[: 8000 - 80] - whole.samples[: 8000 - 80]).max() < 1 / 32768
    assert len(h.audio()) == 8000 + 1600
    assert [f.pts_ns // MS for f in out[:3]] == [0, 10, 20]
    assert all(b.pts_ns >= a.end_ns for a, b in pairwise(out))
    assert out[-1].end_ns >= 2_090 * MS


async def test_utterances_pass_a_filter_with_their_numbers():
    frames = [*utterance(1, 0, 100), *utterance(2, 400, 60)]
    async with alone("Gain", CUT, "audio/raw", caps=CUT, arguments={"factor": 2}) as h:
        await h.push(*frames)
        await h.eos()
        out = h.output()
    assert [(type(f), f.utterance, f.pts_ns) for f in out] == [(type(f), f.utterance, f.pts_ns) for f in frames]
    assert np.abs(h.audio()).max() > 0.99


async def test_what_a_processor_raises_meets_the_failure_policy():
    """`skip` loses the utterance in hand and no other."""
    good, bad = utterance(1, 0, 60), utterance(2, 200, 60)
    loud = [AudioFrame(f.samples * 4, f.rate_hz, f.pts_ns, 2) if isinstance(f, AudioFrame) else f for f in bad]
    async with alone("Stumbling", CUT, CUT) as h:
        await h.push(*good)
        await h.push(loud[0])
        with pytest.raises(ValueError, match="it is too loud"):
            await h.push(loud[1])
        h.element.reset(2)
        await h.push(*utterance(3, 400, 60))
        await h.eos()
        out = h.output()
    assert [f.utterance for f in out if isinstance(f, UtteranceEnd)] == [1, 3]
    assert not h.messages


async def test_a_graph_goes_on_behind_an_utterance_that_its_processor_could_not_take():
    result, said = await played(
        ("test_src", {"wave": "speech", "rate_hz": 16000, "duration_ms": 4000}),
        ("webrtc_vad", {}),
        ("pipecat", {"processor": f"{HOUSE}:Stumbling", "sink": CUT, "arguments": {"limit": 5000}, "on_error": "skip"}),
        ("fake_sink", {}),
    )
    assert result.status == "done"
    assert {m.policy for m in said if isinstance(m, ErrorMessage)} == {"skip"}
    assert result.errors[0].text == "ValueError: it is too loud"


async def played(*elements: Any) -> tuple[RunResult, list[Any]]:
    runner = GraphRunner(chain(*elements))
    said: list[Any] = []
    runner.bus.subscribe(said.append)
    async with no_task_left():
        return await runner.run(), said


async def test_cancel_overtakes_a_processor_that_hangs():
    graph = chain(("test_src", {"rate_hz": 16000}), ("pipecat", {"processor": f"{HOUSE}:Hanging"}), "fake_sink")
    async with no_task_left():
        runner = GraphRunner(graph)
        runner.bus.subscribe(lambda m: None)
        run = asyncio.create_task(runner.run())
        await asyncio.sleep(0.2)
        runner.cancel()
        async with asyncio.timeout(5):
            assert (await run).status == "cancelled"


# Texts ----------------------------------------------------------------------------------------------------------------


async def test_texts_belong_to_their_utterances_though_they_come_later():
    async with no_task_left(), alone("Recogniser", CUT, RU, source_lang="en", max_in_flight=2) as h:
        await h.push(*utterance(1, 0, 400), *utterance(2, 500, 20), *utterance(3, 600, 100))
        await h.eos()
    assert texts(h.output()) == [
        (1, 0, 400, "400 ms", None),
        (2, 500, 520, "20 ms", None),
        (3, 600, 700, "100 ms", None),
    ]
    first = h.output()[0]
    assert isinstance(first, TranslationFrame)
    assert (first.source_lang, first.target_lang, first.engine) == ("en", "ru", "Recogniser")


async def test_no_more_utterances_wait_in_it_than_it_may_have(house: Any, monkeypatch: pytest.MonkeyPatch):
    gate = asyncio.Event()
    monkeypatch.setattr(house.Recogniser, "gate", gate)
    async with alone("Recogniser", CUT, RU, max_in_flight=2) as h:
        await h.push(*utterance(1, 0, 100), *utterance(2, 500, 100))
        third = asyncio.create_task(h.push(UtteranceStart(3, 3000 * MS)))
        await asyncio.wait({third}, timeout=0.1)
        assert not third.done()
        assert texts(h.output()) == []
        gate.set()
        await third
        assert texts(h.output())[0] == (1, 0, 100, "100 ms", None)


async def test_an_utterance_without_an_answer_leaves_a_trace_and_does_not_take_the_next_ones():
    settings: dict[str, Any] = {"arguments": {"silent_below_ms": 100}, "answer_timeout_ms": 400}
    async with alone("Recogniser", CUT, RU, **settings) as h:
        await h.push(*utterance(1, 0, 40), *utterance(2, 500, 200), *utterance(3, 900, 40))
        await h.eos()
    assert texts(h.output()) == [
        (1, 0, 40, "", "no speech"),
        (2, 500, 700, "200 ms", None),
        (3, 900, 940, "", "no speech"),
    ]


async def test_a_text_that_nobody_calls_final_is_waited_for_a_little():
    settings: dict[str, Any] = {"arguments": {"finalized": False}, "settle_ms": 50}
    async with alone("Recogniser", CUT, RU, **settings) as h:
        await h.push(*utterance(1, 0, 100), *utterance(2, 500, 200))
        await h.eos()
    assert [t[3] for t in texts(h.output())] == ["100 ms", "200 ms"]


async def test_a_text_filter_changes_texts_and_passes_what_has_none():
    async with alone("Mask", RU, RU, arguments={"word": "чёрт"}) as h:
        await h.push(says(1, "ну и чёрт"), says(2, "", rejected="no speech"), says(3, "ладно"))
        await h.eos()
    assert [(t[0], t[3], t[4]) for t in texts(h.output())] == [
        (1, "ну и ***", None),
        (2, "", "no speech"),
        (3, "ладно", None),
    ]


async def test_an_error_from_which_a_processor_recovers_costs_one_text():
    async with alone("Reporting", RU, RU, arguments={"permanent": False}) as h:
        await h.push(says(1, "good"), says(2, "bad"), says(3, "good again"))
        await h.eos()
    assert [(t[0], t[3], t[4]) for t in texts(h.output())] == [
        (1, "good", None),
        (2, "", "the engine failed"),
        (3, "good again", None),
    ]
    assert [m.text for m in h.messages if isinstance(m, ErrorMessage)] == ["pipecat: Reporting: the key was refused"]


async def test_a_permanent_error_is_a_failure_of_the_element():
    async with alone("Reporting", RU, RU, arguments={"permanent": True}) as h:
        await h.push(says(1, "good"))
        with pytest.raises(ElementError, match=r"Reporting: the key was refused \(it is no longer usable\)"):
            await h.push(says(2, "bad"))
        h.element.reset(2)
        with pytest.raises(ElementError, match="no longer usable"):
            await h.push(says(3, "good again"))


# Voices ---------------------------------------------------------------------------------------------------------------


async def test_a_voice_speaks_each_text_in_the_time_of_its_source():
    async with (
        no_task_left(),
        alone("Voice", RU, "audio/raw, rate=24000", caps="audio/raw, rate=24000, channels=1") as h,
    ):
        await h.push(says(1, "abc"), says(2, "", rejected="no speech"), says(3, "d"), says(4, "e", final=False))
        await h.eos()
        out = h.output()
    assert out[0] == UtteranceStart(1, 1000 * MS, 1500 * MS)
    assert [f.pts_ns // MS for f in out if isinstance(f, AudioFrame)] == [1000, 1010, 1020, 3000]
    assert [f for f in out if isinstance(f, UtteranceEnd)] == [
        UtteranceEnd(1, 1000 * MS, 1030 * MS),
        UtteranceEnd(3, 3000 * MS, 3010 * MS),
    ]
    assert h.audio()[0, 0] == pytest.approx(ord("a") / 32768)


async def test_a_voice_service_of_pipecats_speaks_each_text_and_says_which_had_no_sound():
    """Its base class queues texts, and says at the end of a silence that a text is over."""
    settings: dict[str, Any] = {"caps": f"{VOICE}, channels=1", "arguments": {"stop_frame_timeout_s": 0.5}}
    async with no_task_left(), alone("Service", RU, VOICE, **settings) as h:
        await h.push(says(1, "abc"), says(2, "-"), says(3, "de"))
        await h.eos()
        out = h.output()
    spoken = [(f.utterance, f.pts_ns // MS) for f in out if isinstance(f, AudioFrame)]
    assert spoken == [(1, 1000), (1, 1010), (1, 1020), (3, 3000), (3, 3010)]
    assert [f.utterance for f in out if isinstance(f, UtteranceStart)] == [1, 3]
    assert [(f.utterance, f.reason) for f in out if isinstance(f, UtteranceEnd)] == [(1, "silence"), (3, "silence")]
    assert ["completed with no audio" in m.text for m in h.messages if isinstance(m, ErrorMessage)] == [True]


async def test_a_word_about_a_voice_that_is_over_does_not_end_the_next_one():
    async with alone("Tardy", RU, VOICE, caps=f"{VOICE}, channels=1") as h:
        await h.push(says(1, "a"), says(2, "b"))
        await h.eos()
    assert [f.utterance for f in h.output() if isinstance(f, AudioFrame)] == [1, 1, 2, 2]


async def test_a_response_that_comes_word_by_word_is_one_text():
    async with alone("Translator", RU, RU) as h:
        await h.push(says(1, "ну и что"), says(2, "ладно"))
        await h.eos()
    assert [(t[0], t[3]) for t in texts(h.output())] == [(1, "НУ И ЧТО"), (2, "ЛАДНО")]


async def test_a_restart_makes_another_processor(house: Any):
    """`on_error: restart` where a service has lost its connection."""
    house.Once.broken = 0
    result, said = await played(
        ("test_src", {"rate_hz": 16000, "duration_ms": 1000}),
        ("pipecat", {"processor": f"{HOUSE}:Once", "on_error": "restart"}),
        ("fake_sink", {}),
    )
    assert result.status == "done"
    assert [m.policy for m in said if isinstance(m, ErrorMessage)] == ["restart"]
    assert house.Once.broken == 1
    assert "restarted" in result.warnings[0].text


async def test_a_voice_at_another_rate_than_promised_is_told_so():
    settings: dict[str, Any] = {"caps": "audio/raw, rate=24000, channels=1", "arguments": {"rate_hz": 16000}}
    async with alone("Voice", RU, VOICE, **settings) as h:
        with pytest.raises(ElementError, match="16000 Hz where src says rate=24000"):
            await h.push(says(1, "abc"))


# What the author of a graph is told -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("processor", "arguments", "said"),
    [
        ("no_such_package.x:Y", {}, r"no_such_package\.x:Y cannot be imported.*install the package it is part of"),
        ("pipecat.services.no_such.stt:X", {}, r"There is no module 'pipecat\.services\.no_such' here"),
        (f"{HOUSE}:Gian", {}, "has no 'Gian'; did you mean 'Gain'"),
        (f"{HOUSE}:Gain", {"volume": 1}, r"Gain does not take these arguments \(volume\)"),
        (f"{HOUSE}:np.int16", {}, r"gives a int16, which is no pipecat\.processors"),
        (f"{HOUSE}:DOWN", {}, "is a FrameDirection and cannot be called"),
        (f"{HOUSE}:Unready", {}, "Unready cannot start: Error setting up processor: nobody answers"),
        (f"{HOUSE}:Gain", {"factor": "loud"}, "Gain cannot be made: ValueError"),
    ],
)
async def test_what_cannot_be_made_is_said_in_words(processor: str, arguments: dict[str, Any], said: str):
    async with no_task_left():
        with pytest.raises((GraphError, ElementError), match=said):
            async with alone(processor, arguments=arguments):
                pass


GRAPH = """\
version: 1
elements:
  in: {{type: test_src, rate_hz: 16000, wave: speech}}
  p: {{type: pipecat, processor: "{processor}", {settings}}}
  out: {{type: fake_sink}}
links: [in -> p -> out]
"""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('sink: "ANY"', "it must be one alternative"),
        ('src: "text/x-translation, lang=en"', "a text belongs to an utterance: let sink say segmented=true"),
        ("sink: text/x-translation, src: audio/raw", "a voice must name its rate"),
        ("arguments: {x: {import: nothing}}", "import must be module:Name"),
        ('arguments: {x: {import: "a:B", key: c}}', "beside import only arguments"),
        ("arguments: {1: x}", "'1' is no name of an argument"),
    ],
)
def test_a_check_finds_what_can_be_known(settings: str, said: str):
    text = GRAPH.format(processor="a:B", settings=settings)
    assert said in check_graph("a.yaml", text=text).format_text()


def test_a_key_comes_from_the_environment_and_is_shown_nowhere():
    text = GRAPH.format(processor=f"{HOUSE}:Gain", settings='arguments: {factor: 1, api_key: "${env:KEY}"}')
    graph = load_graph("a.yaml", text=text, env={"KEY": "sk-secret"})
    assert graph.nodes["p"].settings.arguments == {"factor": 1, "api_key": "sk-secret"}  # type: ignore[attr-defined]
    assert "api_key" in to_mermaid(graph)
    assert "sk-secret" not in to_mermaid(graph)
    problem = check_graph("a.yaml", text=text.replace("factor: 1", '"fac tor": 1'), env={"KEY": "sk-secret"})
    assert problem.graph is None
    assert "sk-secret" not in problem.format_text()


def test_nobody_but_the_author_of_the_graph_chooses_what_is_imported():
    graph = load_graph("a.yaml", text=GRAPH.format(processor=f"{HOUSE}:Gain", settings="arguments: {factor: 1}"))
    assert not [s.target for s in live_settings(graph) if s.element == "p"]
    assert not any(is_live_setting(SPEC.settings, name) for name in SPEC.settings.model_fields)
    with pytest.raises(GraphError, match="processor"):
        require_settings_live({"p.processor": "os:abort"}, graph)


@pytest.mark.parametrize(
    ("params", "settings"),
    [
        ("which: ", 'processor: "${param:which}"'),
        ("which: a", 'processor: "${param:which}:B"'),
        ("which: a", 'processor: "a:B", arguments: {x: [{import: "${param:which}:Y"}]}'),
    ],
)
def test_no_param_that_may_be_anything_becomes_code(params: str, settings: str):
    """Clients of a server that trusts them may give params; what is imported is not theirs to say."""
    text = f"""\
version: 1
params: {{{params}}}
elements:
  in: {{type: test_src, rate_hz: 16000}}
  p: {{type: pipecat, {settings}}}
  out: {{type: fake_sink}}
links: [in -> p -> out]
"""
    for given in (None, {"which": "os"}):
        said = check_graph("a.yaml", text=text, params=given).format_text()
        assert "names code that is imported, and param 'which' may be anything" in said
    listed = text.replace(f"{{{params}}}", "{which: {default: a, choices: [a, b]}}").replace(
        '"${param:which}"', '"${param:which}:B"'
    )
    assert check_graph("a.yaml", text=listed).format_text() == ""
    assert "must be one of 'a', 'b'" in check_graph("a.yaml", text=listed, params={"which": "os"}).format_text()


def test_a_bin_may_be_given_a_processor_by_the_graph():
    text = """\
version: 1
params: {word: chair}
bins:
  filter:
    params: {which: , word: }
    elements: {p: {type: pipecat, processor: "${param:which}", arguments: {word: "${param:word}"}}}
    links: []
    pads: {sink: p.sink, src: p.src}
elements:
  in: {type: test_src, rate_hz: 16000}
  f: {type: bin/filter, which: "a:B", word: "${param:word}"}
  out: {type: fake_sink}
links: [in -> f -> out]
"""
    assert check_graph("a.yaml", text=text).format_text() == ""
    free = text.replace('which: "a:B"', 'which: "${param:word}:B"')
    assert (
        "names code that is imported, and param 'word' may be anything"
        in check_graph("a.yaml", text=free).format_text()
    )


def test_a_package_that_is_not_here_is_known_without_importing_anything():
    gone = GRAPH.format(processor="no_such_package:X", settings="max_in_flight: 2")
    code = (
        "import sys; from tolmach.pipelines.language.check import load_graph; "
        "from tolmach.pipelines.models.caches import missing_in; "
        f"graph = load_graph('a.yaml', text={gone!r}); "
        "print([m.what for m in missing_in(graph)], 'pipecat' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['Python package no_such_package'] False\n"
    here = load_graph("a.yaml", text=GRAPH.format(processor="pipecat.no_such:X", settings="max_in_flight: 2"))
    assert missing_in(here) == {}


def test_it_says_that_its_output_may_differ(capsys: pytest.CaptureFixture[str]):
    from tolmach.pipelines.cli.main import main

    assert main(["inspect", "pipecat"]) == 0
    assert "may differ from run to run" in capsys.readouterr().out
    assert main(["inspect", "--format", "json"]) in (0, 2)
    others = [name for name in Registry.builtin() if not Registry.builtin().get(name).deterministic]
    assert others == ["pipecat"]


async def test_arguments_may_be_objects():
    nested = {"factor": {"import": f"{HOUSE}:len", "arguments": {}}}
    with pytest.raises(GraphError, match="has no 'len'"):
        async with alone("Gain", arguments=nested):
            pass
    half = {"factor": {"import": "fractions:Fraction", "arguments": {"numerator": 1, "denominator": 2}}}
    async with alone("Gain", arguments=half) as h:
        await h.push(tone(0.1))
    assert np.abs(h.audio()).max() == pytest.approx(0.25, abs=1e-3)


async def test_a_function_may_make_the_processor():
    async with alone(f"{HOUSE}:make_gain", arguments={"factor": 0.5}) as h:
        await h.push(tone(0.1))
    assert np.abs(h.audio()).max() == pytest.approx(0.25, abs=1e-3)
    assert not [m for m in h.messages if isinstance(m, WarningMessage)]


def test_settings_survive_json():
    """Records of a batch hold them."""
    graph = load_graph("a.yaml", text=GRAPH.format(processor="a:B", settings="arguments: {x: [1, {y: z}]}"))
    assert json.loads(graph.nodes["p"].settings.model_dump_json())["arguments"] == {"x": [1, {"y": "z"}]}
