"""``my_element`` keeps the contract of elements and does what it says."""

from pathlib import Path

from tolmach import (
    ElementSpec,
    GraphRunner,
    Message,
    Pad,
    Registry,
    Settings,
    SourceElement,
    TranslationFrame,
    TranslationMessage,
    load_graph,
)
from tolmach.pipelines.testing import Harness, check_element

from tolmach_my_element.spec import SPEC

GRAPH = Path(__file__).parents[1] / "graph.yaml"

SPOKEN = TranslationFrame(1, 0, 1_000_000_000, "ru", "en", "Damn, where is the damned train?")
HIDDEN = "***, where is the damned train?"


class Talk(SourceElement):
    """Stands for a detector and a translator."""

    async def produce(self) -> None:
        """Say one sentence."""
        await self.context.push(SPOKEN)


TALK = ElementSpec(
    type="talk",
    summary="Say one sentence.",
    settings=Settings,
    pads=(Pad.src("text/x-translation, lang=en"),),
    build=f"{__name__}:Talk",
)
CAPTIONS = """
version: 1
elements:
  in:   {type: talk}
  it:   {type: my_element}
  fork: {type: tee}
  srt:  {type: subtitle_sink, path: talk.srt}
  out:  {type: fake_sink}
links:
  - in -> it -> fork -> srt
  - fork -> out
"""


async def test_it_keeps_the_contract() -> None:
    """Defaults, docs, pads, start and stop, end of stream, honest caps, no leaks, any chunking."""
    pushed = await check_element(SPEC)
    assert pushed["src"] > 0


async def test_whole_words_are_hidden() -> None:
    """In small letters and capitals, and only as words."""
    async with Harness(SPEC) as harness:
        await harness.push(SPOKEN)
        await harness.eos()
    assert [frame.text for frame in harness.output() if isinstance(frame, TranslationFrame)] == [HIDDEN]


async def test_captions_show_what_flows(tmp_path: Path) -> None:
    """Nobody who listens to the bus gets the words that are hidden, nor do subtitles."""
    graph = load_graph("captions.yaml", text=CAPTIONS, registry=Registry.builtin().extended(SPEC, TALK))
    runner = GraphRunner(graph, base_dir=tmp_path)
    heard: list[Message] = []
    runner.bus.subscribe(heard.append)
    assert (await runner.run()).ok
    assert [message.frame.text for message in heard if isinstance(message, TranslationMessage)] == [HIDDEN]
    assert HIDDEN in (tmp_path / "talk.srt").read_text(encoding="utf-8")


def test_a_graph_with_it_is_sound() -> None:
    """The graph beside the package."""
    graph = load_graph(GRAPH, registry=Registry.builtin().extended(SPEC))
    assert graph.nodes["it"].spec is SPEC
