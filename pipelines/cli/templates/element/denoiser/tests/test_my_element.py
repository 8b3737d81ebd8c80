"""``my_element`` keeps the contract of elements and does what it says."""

from pathlib import Path

import numpy as np
from tolmach import AudioFrame, GraphRunner, Registry, load_graph
from tolmach.pipelines.testing import Harness, check_element, chop, tone

from tolmach_my_element.spec import SPEC

GRAPH = Path(__file__).parents[1] / "graph.yaml"


async def test_it_keeps_the_contract() -> None:
    """Defaults, docs, pads, start and stop, end of stream, honest caps, no leaks, any chunking."""
    pushed = await check_element(SPEC)
    assert pushed["src"] > 0


async def test_noise_is_turned_down_and_speech_is_not() -> None:
    """All samples come out, at the times at which they came in."""
    rng = np.random.default_rng(1)
    noise = AudioFrame(rng.normal(0, 0.001, (16000, 1)).astype(np.float32), 16000, 0)
    speech = tone(1.0, pts_ns=noise.end_ns)
    async with Harness(SPEC) as harness:
        await harness.push(*chop(noise, 320), *chop(speech, 320))
        await harness.eos()
    audio = harness.audio()
    assert len(audio) == 32000
    assert np.abs(audio[1000:15000]).max() < 0.2 * np.abs(noise.samples).max()
    assert np.array_equal(audio[17000:], speech.samples[1000:])
    frames = [frame for frame in harness.output() if isinstance(frame, AudioFrame)]
    assert [frame.pts_ns for frame in frames[:3]] == [0, 32_000_000, 64_000_000]
    assert frames[-1].end_ns == speech.end_ns


async def test_a_gap_stays_a_gap() -> None:
    """What is behind it keeps its time."""
    async with Harness(SPEC) as harness:
        await harness.push(tone(0.1), tone(0.1, pts_ns=5_000_000_000))
        await harness.eos()
    times = [frame.pts_ns for frame in harness.output() if isinstance(frame, AudioFrame)]
    assert times == [0, 32_000_000, 64_000_000, 96_000_000, 5_000_000_000, 5_032_000_000, 5_064_000_000, 5_096_000_000]


async def test_a_graph_with_it_runs() -> None:
    """The graph beside the package."""
    graph = load_graph(GRAPH, registry=Registry.builtin().extended(SPEC))
    assert (await GraphRunner(graph).run()).ok
