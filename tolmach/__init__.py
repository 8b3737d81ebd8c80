"""Tolmach: streaming speech translation as a graph of elements. This is its public face.

``import tolmach`` costs nothing; each name is imported when it is first asked for. What stands here is what programs
and plug-ins are written against; the rooms behind it (``tolmach.pipelines``, …) may be rearranged.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tolmach.pipelines.builtin.app_ends import AppInput as AppInput
    from tolmach.pipelines.builtin.app_ends import AppOutput as AppOutput
    from tolmach.pipelines.bus import Bus as Bus
    from tolmach.pipelines.bus import ErrorMessage as ErrorMessage
    from tolmach.pipelines.bus import InfoMessage as InfoMessage
    from tolmach.pipelines.bus import Message as Message
    from tolmach.pipelines.bus import PositionMessage as PositionMessage
    from tolmach.pipelines.bus import StateMessage as StateMessage
    from tolmach.pipelines.bus import TranslationMessage as TranslationMessage
    from tolmach.pipelines.bus import UtteranceEndMessage as UtteranceEndMessage
    from tolmach.pipelines.bus import UtteranceStartMessage as UtteranceStartMessage
    from tolmach.pipelines.bus import WarningMessage as WarningMessage
    from tolmach.pipelines.caps import Caps as Caps
    from tolmach.pipelines.element import Context as Context
    from tolmach.pipelines.element import Element as Element
    from tolmach.pipelines.element import ElementSpec as ElementSpec
    from tolmach.pipelines.element import Field as Field
    from tolmach.pipelines.element import Heard as Heard
    from tolmach.pipelines.element import Live as Live
    from tolmach.pipelines.element import Output as Output
    from tolmach.pipelines.element import Pad as Pad
    from tolmach.pipelines.element import Settings as Settings
    from tolmach.pipelines.element import SourceElement as SourceElement
    from tolmach.pipelines.embed import RunningGraph as RunningGraph
    from tolmach.pipelines.embed import open as open  # noqa: A004 -- tolmach.open, as gzip.open
    from tolmach.pipelines.errors import Cancelled as Cancelled
    from tolmach.pipelines.errors import ElementError as ElementError
    from tolmach.pipelines.errors import Ended as Ended
    from tolmach.pipelines.errors import GraphError as GraphError
    from tolmach.pipelines.errors import MediaError as MediaError
    from tolmach.pipelines.errors import ModelError as ModelError
    from tolmach.pipelines.errors import TolmachError as TolmachError
    from tolmach.pipelines.frames import AudioFrame as AudioFrame
    from tolmach.pipelines.frames import Frame as Frame
    from tolmach.pipelines.frames import TranslationFrame as TranslationFrame
    from tolmach.pipelines.frames import UtteranceEnd as UtteranceEnd
    from tolmach.pipelines.frames import UtterancePause as UtterancePause
    from tolmach.pipelines.frames import UtteranceStart as UtteranceStart
    from tolmach.pipelines.frames import ns_to_samples as ns_to_samples
    from tolmach.pipelines.frames import samples_to_ns as samples_to_ns
    from tolmach.pipelines.graph import Graph as Graph
    from tolmach.pipelines.language.builder import GraphBuilder as GraphBuilder
    from tolmach.pipelines.language.check import check_graph as check_graph
    from tolmach.pipelines.language.check import load_graph as load_graph
    from tolmach.pipelines.ordered import OrderedJobs as OrderedJobs
    from tolmach.pipelines.registry import Registry as Registry
    from tolmach.pipelines.runtime.pipecat.processor import GraphProcessor as GraphProcessor
    from tolmach.pipelines.runtime.runner import GraphRunner as GraphRunner
    from tolmach.pipelines.runtime.runner import RunResult as RunResult

_HOMES = {
    "builtin.app_ends": ("AppInput", "AppOutput"),
    "bus": (
        "Bus",
        "ErrorMessage",
        "InfoMessage",
        "Message",
        "PositionMessage",
        "StateMessage",
        "TranslationMessage",
        "UtteranceEndMessage",
        "UtteranceStartMessage",
        "WarningMessage",
    ),
    "caps": ("Caps",),
    "element": (
        "Context",
        "Element",
        "ElementSpec",
        "Field",
        "Heard",
        "Live",
        "Output",
        "Pad",
        "Settings",
        "SourceElement",
    ),
    "embed": ("RunningGraph", "open"),
    "errors": ("Cancelled", "ElementError", "Ended", "GraphError", "MediaError", "ModelError", "TolmachError"),
    "frames": (
        "AudioFrame",
        "Frame",
        "TranslationFrame",
        "UtteranceEnd",
        "UtterancePause",
        "UtteranceStart",
        "ns_to_samples",
        "samples_to_ns",
    ),
    "graph": ("Graph",),
    "language.builder": ("GraphBuilder",),
    "language.check": ("check_graph", "load_graph"),
    "ordered": ("OrderedJobs",),
    "registry": ("Registry",),
    "runtime.pipecat.processor": ("GraphProcessor",),
    "runtime.runner": ("GraphRunner", "RunResult"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]

_FACE = Path(__file__).resolve().parent
if not (_FACE / "pipelines").is_dir() or (_FACE / "pipelines").is_symlink():
    # A checkout: the rooms stand beside this folder, at the repository's root. The links in it are for tools that read
    # files instead of importing them (mypy, editors); Windows may check them out as text files (docs/adr/0021).
    __path__.insert(0, str(_FACE.parent))


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.pipelines.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
