"""Say what this machine can run and what is missing, with what to do about it.

Every element is imported, and a second of media goes through it in a graph of the real engine. Exit status 0 when every
element can be used, 1 when one cannot. Models that are not on disk are told with what fetches them; they are no fault.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from tolmach.pipelines.cli.main import EXIT_FAILED, EXIT_OK, distribution_version
from tolmach.pipelines.describe.reference import example_values
from tolmach.pipelines.element import ElementSpec, Extra
from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.models.caches import cache_folders, files_in, missing_in, missing_text, size_text
from tolmach.pipelines.registry import Registry, load_runtime
from tolmach.pipelines.shipped import config_dir, shipped_graphs

DISTRIBUTION_OF = {
    "aiortc": "aiortc",
    "av": "av",
    "espeakng_loader": "espeakng-loader",
    "faster_whisper": "faster-whisper",
    "nemo": "tolmach[canary]",
    "onnxruntime": "onnxruntime",
    "pipecat": "pipecat-ai",
    "torch": "torch",
    "webrtcvad": "webrtcvad-wheels",
}
"""Module → what to ask pip for, where the names differ or an extra is needed."""

RAY = Extra("tolmach[ray]", ("ray",))
"""Of no element: where any of them may have its model (``--model-host``), and recordings may go (``--ray``)."""

MODELS_SHOWN = 12  # of a cache folder; the rest is counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--quick", action="store_true", help="only import the elements, run nothing through them")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        text: What was found.
        remedy: What to do when it is not well, else "".
    """

    text: str
    remedy: str = ""


def run(args: argparse.Namespace) -> int:
    """Look, and report."""
    bad = 0
    for title, findings in (
        ("Machine", _machine()),
        ("Packages", _packages()),
        ("Extras", _extras()),
        ("Device", _device()),
        ("Models on disk", _models()),
        ("Elements", _elements(tried=not args.quick)),
        ("Graphs", _graphs()),
    ):
        print(title, flush=True)
        for finding in findings:
            print(f"  {'!' if finding.remedy else ' '} {finding.text}", flush=True)
            if finding.remedy:
                bad += 1
                print(f"      -> {finding.remedy}")
        print()
    print("All is well." if not bad else f"{bad} {'things' if bad > 1 else 'thing'} to look at, marked '!'.")
    return EXIT_FAILED if bad else EXIT_OK


def _machine() -> Iterator[Finding]:
    yield Finding(f"tolmach {distribution_version()}, Python {platform.python_version()} at {sys.executable}")
    yield Finding(f"{platform.system()} {platform.release()} on {platform.machine()}, {os.cpu_count()} CPU cores")


def _packages() -> Iterator[Finding]:
    for requirement in _requirements():
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            yield Finding(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding(f"{name} is not installed", f"pip install '{requirement}'")


def _requirements() -> list[str]:
    try:
        declared = requires("tolmach") or []
    except PackageNotFoundError:  # a bare checkout
        return sorted(DISTRIBUTION_OF.values())
    return sorted((r.strip() for r in declared if "extra ==" not in r), key=str.lower)


def _extras() -> Iterator[Finding]:
    registry = Registry.builtin()
    users: dict[Extra, list[str]] = {}
    for element_type in registry:
        if (extra := registry.get(element_type).extra) is not None:
            users.setdefault(extra, []).append(element_type)
    users[RAY] = ["models and recordings on a cluster"]
    for extra, types in users.items():
        state = "installed" if extra.installed else f"not installed; `{extra.command}`"
        yield Finding(f"{extra.requirement}, for {', '.join(types)}: {state}")


def _device() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding("CPU; GPUs are not looked for without PyTorch, which canary_ast and silero_tts bring")
        return
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:  # OSError: a shared library of it is missing
        yield Finding(f"torch cannot be imported: {error}", "pip install --force-reinstall torch")
        return
    if not torch.cuda.is_available():
        yield Finding(f"CPU, {torch.get_num_threads()} threads (no CUDA device that torch can use)")
        return
    for number in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(number).total_memory
        yield Finding(f"cuda:{number}: {torch.cuda.get_device_name(number)}, {size_text(memory)}")


def _models() -> Iterator[Finding]:
    for keeper, folder in cache_folders().items():
        if not folder.is_dir():
            yield Finding(f"{keeper}: {folder} (nothing yet)")
            continue
        free = size_text(shutil.disk_usage(folder).free)
        yield Finding(f"{keeper}: {folder}, {free} free on its disk")
        sizes = {entry: _size(entry) for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")}
        for entry, size in list(sizes.items())[:MODELS_SHOWN]:
            yield Finding(f"  {entry.name}: {size_text(size)}")
        if len(sizes) > MODELS_SHOWN:
            yield Finding(f"  and {len(sizes) - MODELS_SHOWN} more")


def _size(entry: Path) -> int:
    try:
        return sum(files_in(entry).values()) if entry.is_dir() else entry.stat().st_size
    except OSError:
        return 0


def _elements(*, tried: bool) -> Iterator[Finding]:
    registry = Registry.builtin()
    try:
        registry = Registry.default()
    except Exception as error:  # whatever a third party's import raises is a finding, not an end
        yield Finding(
            f"installed element types cannot be read: {type(error).__name__}: {error}",
            "mend or uninstall the distribution that declares them; `tolmach` commands need all of them readable",
        )
    usable = []
    for element_type in registry:
        try:
            spec = registry.get(element_type)
            if spec.extra is not None and not spec.extra.installed:
                yield Finding(f"{element_type}: needs `{spec.extra.command}`")
                continue
            load_runtime(spec)
        except Exception as error:  # whatever a third party's import raises is a finding, not an end
            origin = registry.entry(element_type).origin
            yield Finding(f"{element_type} ({origin}): {type(error).__name__}: {error}", _remedy(error, origin))
            continue
        if tried:
            finding = _trial(element_type, registry)
            yield finding
            if finding.remedy:
                continue
        usable.append(element_type)
    yield Finding(f"{len(usable)} can be used: {', '.join(usable)}")


def _trial(element_type: str, registry: Registry) -> Finding:
    try:
        chain = try_element(registry.get(element_type), registry)
    except NotTried as why:
        return Finding(f"{element_type}: not tried; {why}")
    except Exception as error:  # whatever a third party's code raises is a finding, not an end
        origin = registry.entry(element_type).origin
        text = " ".join(str(error).split())
        return Finding(
            f"{element_type} ({origin}): fails at work: {type(error).__name__}: {text}", _remedy(error, origin)
        )
    return Finding(f"{element_type}: works ({chain})")


def _graphs() -> Iterator[Finding]:
    """Which shipped graphs can run here; models that were not wanted so far are no fault."""
    for path in shipped_graphs():
        # The shipped graphs use built-in types alone: a broken plug-in, told above, does not hide what they need.
        graph = check_graph(path, registry=Registry.builtin()).graph
        if graph is None:
            yield Finding(f"{path.stem}: has errors", f"tolmach check {path.stem}")
        else:
            yield Finding(f"{path.stem}: {missing_text(path.stem, missing_in(graph)) or 'can run here'}")


def _remedy(error: Exception, origin: str) -> str:
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in DISTRIBUTION_OF:
        return f"pip install '{DISTRIBUTION_OF[missing]}'"
    if missing and missing != "tolmach":
        return f"install what provides the module {missing!r}, then install {origin} again"
    return f"pip install --force-reinstall {origin}"


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
_NOT_ALONE: Mapping[str, str] = {
    **dict.fromkeys(("webrtc_src", "webrtc_sink"), "only a call can try it"),
    **dict.fromkeys(("app_src", "app_sink"), "only a program can try it"),
}


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
    if spec.type in _NOT_ALONE:
        raise NotTried(_NOT_ALONE[spec.type])
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
    sinks = [
        pad.name
        for pad in spec.pads_for(spec.settings(**settings))
        if pad.direction == "sink" and pad.presence == "always"
    ]
    for before, after in _chains(spec):
        elements = [*before, (spec.type, settings), *after]
        names = [f"e{number}" for number in range(len(elements))]
        declared = {name: {"type": kind, **given} for name, (kind, given) in zip(names, elements, strict=True)}
        links = [" -> ".join(names)]
        if len(sinks) > 1:
            # Each of its inputs comes from a chain of its own, in whatever format it wants.
            to_match: list[tuple[str, dict[str, Any]]] = [*before, ("resample", {})]
            links = [" -> ".join(names[len(before) :])]
            declared = {name: declared[name] for name in names[len(before) :]}
            for pad in sinks:
                chain = [f"{pad}{number}" for number in range(len(to_match))]
                declared |= {name: {"type": kind, **given} for name, (kind, given) in zip(chain, to_match, strict=True)}
                links.append(" -> ".join([*chain, f"{names[len(before)]}.{pad}"]))
        document = {"version": 1, "name": f"doctor-{spec.type}", "elements": declared, "links": links}
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
