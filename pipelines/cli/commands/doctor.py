"""Say what this machine can run and what is missing, with what to do about it.

Every element is imported, and a second of media goes through it in a graph of the real engine. Exit status 0 when every
element can be used, 1 when one cannot. Models that are not on disk are told with what fetches them; they are no fault.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from tolmach.pipelines.cli.main import EXIT_FAILED, EXIT_OK, distribution_version
from tolmach.pipelines.cli.trial import NotTried, try_element
from tolmach.pipelines.element import Extra
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.models.caches import cache_folders, files_in, size_text
from tolmach.pipelines.models.needs import missing_in, missing_text
from tolmach.pipelines.registry import Registry, load_runtime
from tolmach.pipelines.shipped import shipped_graphs

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
