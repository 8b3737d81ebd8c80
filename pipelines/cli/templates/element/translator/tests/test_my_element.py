"""``my_element`` keeps the contract of elements and does what it says."""

from pathlib import Path

from tolmach import (
    AudioFrame,
    GraphRunner,
    Message,
    Registry,
    TranslationFrame,
    TranslationMessage,
    UtteranceEnd,
    UtteranceStart,
    load_graph,
)
from tolmach.pipelines.testing import Harness, check_element, tone

from tolmach_my_element.spec import SPEC

GRAPH = Path(__file__).parents[1] / "graph.yaml"


def utterance(number: int, duration_s: float) -> tuple[UtteranceStart, AudioFrame, UtteranceEnd]:
    """What a detector gives."""
    start_ns = number * 100_000_000_000
    sound = tone(duration_s)
    audio = AudioFrame(sound.samples, sound.rate_hz, start_ns, number)
    return UtteranceStart(number, start_ns), audio, UtteranceEnd(number, start_ns, audio.end_ns)


async def test_it_keeps_the_contract() -> None:
    """Defaults, docs, pads, start and stop, end of stream, honest caps, no leaks, any chunking."""
    pushed = await check_element(SPEC)
    assert pushed["src"] > 0


async def test_each_utterance_has_an_answer_in_order() -> None:
    """Also one that is too long, which says why it has no text."""
    async with Harness(SPEC, max_utterance_ms=2000) as harness:
        await harness.push(*utterance(1, 1.5), *utterance(2, 3.0), *utterance(3, 0.5))
        await harness.eos()
    texts = [frame for frame in harness.output() if isinstance(frame, TranslationFrame)]
    assert [frame.text for frame in texts] == ["en → de: 1.5 s", "", "en → de: 0.5 s"]
    assert [frame.rejected is None for frame in texts] == [True, False, True]


async def test_captions_show_what_flows(tmp_path: Path) -> None:
    """The graph beside the package: whoever listens to the bus gets the texts of the subtitles."""
    graph = load_graph(GRAPH, registry=Registry.builtin().extended(SPEC))
    runner = GraphRunner(graph, base_dir=tmp_path)
    heard: list[Message] = []
    runner.bus.subscribe(heard.append)
    assert (await runner.run()).ok
    shown = [message.frame.text for message in heard if isinstance(message, TranslationMessage)]
    assert len(shown) > 1
    subtitles = (tmp_path / "my_element.srt").read_text(encoding="utf-8")
    assert all(text in subtitles for text in shown)
