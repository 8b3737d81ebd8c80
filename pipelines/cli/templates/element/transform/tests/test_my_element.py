"""``my_element`` keeps the contract of elements and does what it says."""

from pathlib import Path

import numpy as np
from tolmach import GraphRunner, Registry, load_graph
from tolmach.pipelines.testing import Harness, check_element, tone

from tolmach_my_element.spec import SPEC

GRAPH = Path(__file__).parents[1] / "graph.yaml"


async def test_it_keeps_the_contract() -> None:
    """Defaults, docs, pads, start and stop, end of stream, honest caps, no leaks, any chunking."""
    pushed = await check_element(SPEC)
    assert pushed["src"] > 0


async def test_six_decibels_are_twice_as_loud() -> None:
    """What was 0.5 at its peak is 1."""
    async with Harness(SPEC, gain_db=6.0) as harness:
        await harness.push(tone(1.0))
        await harness.eos()
    assert 0.99 < np.abs(harness.audio()).max() <= 1


async def test_a_graph_with_it_runs() -> None:
    """The graph beside the package."""
    graph = load_graph(GRAPH, registry=Registry.builtin().extended(SPEC))
    assert (await GraphRunner(graph).run()).ok
