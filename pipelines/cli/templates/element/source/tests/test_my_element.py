"""``my_element`` keeps the contract of elements and does what it says."""

from pathlib import Path

from tolmach import AudioFrame, GraphRunner, Registry, load_graph
from tolmach.pipelines.testing import Harness, check_element

from tolmach_my_element.spec import SPEC

GRAPH = Path(__file__).parents[1] / "graph.yaml"


async def test_it_keeps_the_contract() -> None:
    """Defaults, docs, pads, start and stop, end of stream, honest caps, no leaks."""
    pushed = await check_element(SPEC)
    assert pushed["src"] > 0


async def test_every_sample_has_its_time() -> None:
    """At a rate at which a frame is no whole number of nanoseconds."""
    async with Harness(SPEC, rate_hz=44100, duration_ms=3000) as harness:
        await harness.run()
    frames = [frame for frame in harness.output() if isinstance(frame, AudioFrame)]
    assert sum(len(frame.samples) for frame in frames) == 132_300
    assert frames[-1].end_ns == 3_000_000_000


async def test_it_ends_when_it_is_asked_to() -> None:
    """No frame follows."""
    async with Harness(SPEC) as harness:
        harness.element.finish()  # type: ignore[attr-defined]
        await harness.run()
    assert harness.output() == []


async def test_a_graph_with_it_runs(tmp_path: Path) -> None:
    """The graph beside the package."""
    graph = load_graph(GRAPH, registry=Registry.builtin().extended(SPEC))
    assert (await GraphRunner(graph, base_dir=tmp_path).run()).ok
    assert (tmp_path / "my_element.wav").stat().st_size > 32_000
