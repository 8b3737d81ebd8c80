"""Graphs of one second that try an element in the real engine: what ``tolmach doctor`` runs.

Importing a runtime proves little: PyAV 19 imports well and failed at the first recording. So each element is put into
the first of a few small graphs whose caps it fits, and the graph is run to its end.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tolmach.pipelines.describe.reference import example_values
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.models.needs import missing_in, missing_text
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.shipped import config_dir

__all__ = ["NotTried", "try_element"]

TIMEOUT_S = 300
"""Loading NeMo may take a minute on a busy machine; a second of media takes none."""

_RECORDING_MS = 3000
"""What is read of the shipped recording; its first sentence ends within that."""

_DEMONSTRATION = "embedded:phrasebook"
_OWN_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    # The models that ship, instead of gigabytes.
    "canary_ast": {"model": _DEMONSTRATION},
    "test_src": {"duration_ms": 1000},
}
_NEEDS_A_CALL = ("webrtc_src", "webrtc_sink")


class NotTried(Exception):  # noqa: N818 -- no error: there is nothing wrong with the element
    """The element was not tried; the text says why."""


def try_element(spec: ElementSpec, registry: Registry) -> str:
    """Run a second of media through an element, in a graph. Blocks; starts an event loop of its own.

    Args:
        spec: The element's spec.
        registry: Where the other elements of the graph come from.

    Returns:
        The graph, as a chain of types.

    Raises:
        NotTried: If no small graph fits it, or it needs something that is not on this machine.
        Exception: Whatever the element, or the engine, fails with.
    """
    if spec.type in _NEEDS_A_CALL:
        raise NotTried("only a call can try it")
    settings = {**example_values(spec), **_OWN_SETTINGS.get(spec.type, {})}
    with tempfile.TemporaryDirectory(prefix="tolmach-doctor-") as folder:
        base = Path(folder)
        write_tone(base / "tone.wav")
        if "path" in settings:
            is_source = not any(pad.direction == "sink" for pad in spec.pads_for(spec.settings(**settings)))
            settings["path"] = "tone.wav" if is_source else Path(str(settings["path"])).name
        chain, graph = _fitting(spec, settings, registry)
        if missing := missing_in(graph, base):
            raise NotTried(missing_text(spec.type, missing))
        asyncio.run(_run(graph, base, next(name for name, node in graph.nodes.items() if node.spec is spec)))
        return chain


def _fitting(spec: ElementSpec, settings: Mapping[str, Any], registry: Registry) -> tuple[str, Graph]:
    for before, after in _chains(spec):
        elements = [*before, (spec.type, settings), *after]
        names = [f"e{number}" for number in range(len(elements))]
        document = {
            "version": 1,
            "name": f"doctor-{spec.type}",
            "elements": {name: {"type": kind, **given} for name, (kind, given) in zip(names, elements, strict=True)},
            "links": [" -> ".join(names)],
        }
        # JSON is YAML.
        result = check_graph(f"doctor-{spec.type}.yaml", text=json.dumps(document), registry=registry)
        if result.graph is not None:
            return " -> ".join(kind for kind, _ in elements), result.graph
    raise NotTried("no small graph fits its pads")


def _chains(spec: ElementSpec) -> Iterator[tuple[list[Any], list[Any]]]:
    """What may stand before and behind an element, the cheapest first."""
    recording = str(config_dir() / "demo" / "phrasebook-en.flac")
    source = ("file_src", {"path": recording, "duration_ms": _RECORDING_MS})
    to_16k = ("resample", {"rate_hz": 16000, "channels": 1})
    vad: tuple[str, dict[str, Any]] = ("webrtc_vad", {})
    speech = [source, to_16k, vad]
    pads = spec.pads_for(spec.settings(**{**example_values(spec), **_OWN_SETTINGS.get(spec.type, {})}))
    has_src = any(pad.direction == "src" for pad in pads)
    behind: list[Any] = [("fake_sink", {})] if has_src else []
    if not any(pad.direction == "sink" for pad in pads):
        yield [], behind
        return
    yield [("test_src", {"duration_ms": 1000})], behind
    yield [source, to_16k], behind
    yield speech, behind
    for source_lang, target_lang in (("en", "ru"), ("ru", "en")):
        ast = ("canary_ast", {"model": _DEMONSTRATION, "source_lang": source_lang, "target_lang": target_lang})
        yield [*speech, ast], behind


async def _run(graph: Graph, base_dir: Path, tried: str) -> None:
    from tolmach.pipelines.runtime.runner import GraphRunner  # imports pipecat

    runner = GraphRunner(graph, base_dir=base_dir, trace=True)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            result = await runner.run()
    except TimeoutError:
        raise TolmachError(f"it did not end within {TIMEOUT_S} s") from None
    if result.error is not None:
        raise result.error
    if not graph.nodes[tried].is_source and not runner.figures()[tried]["frames"]:
        raise TolmachError("nothing reached it, though the elements in front of it ended well")


def write_tone(path: Path) -> None:
    """A second of 16-bit mono at 16 kHz, with nothing but the standard library: a triangle of 250 Hz."""
    period = [abs(32 - number) * 500 - 8000 for number in range(64)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"".join(value.to_bytes(2, "little", signed=True) for value in period) * 250)
