"""A live graph made into one for files: the same detector, the same engine, other ends.

Where the microphone was, a program pushes what a recording holds (``app_src``); where the voice was, it takes the texts
(``app_sink``). What only serves latency is left out: work that is begun at pauses, translating while somebody speaks,
queues that leak. Voices, mixers and the loudspeaker are not built at all, and what is translated into nothing that was
asked for is not either.

Which words are wanted is said to the engine in its own settings. ``POST /v1/audio/translations`` is into English by
definition, so an engine that would turn English round (``target_lang: auto``) is asked for English, and what is spoken
in it is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.frames import TranslationFrame
from tolmach.pipelines.graph import Graph, Node, PadRef
from tolmach.pipelines.language.builder import GraphBuilder
from tolmach.pipelines.language.variables import ParamDef, param_with_role
from tolmach.pipelines.runtime.taps import points_of
from tolmach.processors.ast.direction import AUTO
from tolmach.processors.languages import primary_language
from tolmach.web.catalogue.graph import SRC

__all__ = ["INPUT", "OUTPUT", "FileGraph", "Refusal", "Wish", "abilities", "file_graph", "language_params"]

INPUT, OUTPUT = "microphone", "words"
"""The ends of the graph, which a program pushes into and takes from."""

Task = Literal["translate", "transcribe"]

_QUIET = {"pauses": False, "translation": False}
"""Settings of a detector that only a live graph has a use for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a recording.

    Attributes:
        task: Its words in another language, or in the one that is spoken.
        source_lang: What is spoken, a BCP-47 tag, ``auto`` to have it found; None leaves it to the graph.
        target_lang: What to translate into.
    """

    task: Task
    source_lang: str | None = None
    target_lang: str = "en"


class Refusal(Exception):  # noqa: N818 -- no error of the program: a client asks for what a graph does not do
    """The graph cannot do what is wished.

    Attributes:
        param: Which field of the request it is about.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class FileGraph:
    """A graph for one recording.

    Attributes:
        graph: From :data:`INPUT` to :data:`OUTPUT`.
        heard: Whether the words wanted are those that were understood, not their translation.
        target_lang: What was to be translated into; of what was spoken in it, the words wanted are those understood.
    """

    graph: Graph
    heard: bool
    target_lang: str = field(default="")

    def words_of(self, frame: TranslationFrame) -> str:
        """The words wanted, of a text that the graph gives; "" when there are none."""
        source, target = primary_language(frame.source_lang), primary_language(frame.target_lang)
        wanted = source if self.heard else primary_language(self.target_lang)
        if wanted == source and source != target:
            return frame.source_text or ""
        return frame.text


def language_params(declared: tuple[ParamDef, ...], wish: Wish) -> dict[str, str]:
    """What the graph's own params for languages get, as far as it has such.

    Raises:
        Refusal: If one is not among their choices.
    """
    values: dict[str, str] = {}
    heard, wanted = param_with_role(declared, "source_lang"), param_with_role(declared, "target_lang")
    if heard is not None and wish.source_lang is not None:
        values[heard.name] = _chosen(heard, wish.source_lang, "language", "hears")
    if wanted is not None and wish.task == "translate":
        values[wanted.name] = _chosen(wanted, wish.target_lang, "target_language", "translates into")
    return values


def _chosen(param: ParamDef, value: str, field_name: str, does: str) -> str:
    if param.choices and value not in map(str, param.choices):
        there = ", ".join(str(choice) for choice in param.choices if choice != AUTO)
        raise Refusal(f"this graph {does} {there}, not {value!r}", field_name)
    return value


def abilities(graph: Graph) -> tuple[str, ...]:
    """What a graph can be asked for over files: ``translations``, ``transcriptions``, ``speech``."""
    found = ["translations"] if engines_of(graph) else []
    if any(_can_write_down(node) for node in engines_of(graph)):
        found.append("transcriptions")
    if any(node.spec.speaks is not None for node in graph.nodes.values()):
        found.append("speech")
    return tuple(found)


def engines_of(graph: Graph) -> tuple[Node, ...]:
    """The elements that turn what is heard into text."""
    return tuple(
        graph.nodes[name]
        for name in graph.order
        if any(link.carries("audio") and not link.carries("text") for link in graph.links_to(name))
        and any(link.carries("text") and not link.carries("audio") for link in graph.links_from(name))
    )


def _can_write_down(node: Node) -> bool:
    return {"transcript"} <= set(node.spec.settings.model_fields)


def file_graph(graph: Graph, wish: Wish) -> FileGraph:
    """The graph for a recording.

    Args:
        graph: The live graph, with what :func:`language_params` said.
        wish: What is wanted.

    Raises:
        Refusal: If the graph cannot do it.
    """
    if not any(node.spec.type == SRC for node in graph.nodes.values()):
        raise Refusal("this graph hears nothing", "model")
    engine = _engine(graph, wish)
    changes, heard = _asked(graph, engine, wish)
    point = _point(graph, engine) if not heard else None
    point = point or next(link.src for link in graph.links_from(engine.name) if link.carries("text"))
    try:
        built = _build(graph, point, engine.name, changes)
    except GraphError as error:
        said = next((d.message for d in error.diagnostics if d.severity == "error"), str(error))
        raise Refusal(said, "language" if wish.source_lang else "model") from error
    target = wish.target_lang if wish.task == "translate" else ""
    return FileGraph(built, heard, target)


def _engine(graph: Graph, wish: Wish) -> Node:
    """The element that is to be asked: of several the first that translates into the language wanted."""
    engines = engines_of(graph)
    if not engines:
        raise Refusal("this graph gives no text: it plays sound, and knows no words", "model")
    if wish.task == "transcribe":
        able = [node for node in engines if _can_write_down(node)]
        if not able:
            raise Refusal("the engine of this graph cannot write down what was said", "model")
        return able[0]
    if len(engines) == 1:
        return engines[0]
    for node in engines:
        if wish.target_lang in _targets(graph, node):
            return node
    there = ", ".join(dict.fromkeys(lang for node in engines for lang in _targets(graph, node)))
    raise Refusal(f"this graph translates into {there}, not {wish.target_lang!r}", "target_language")


def _targets(graph: Graph, node: Node) -> tuple[str, ...]:
    if (ways := getattr(node.settings, "directions", None)) is not None:
        return tuple(dict.fromkeys(way.target_lang for way in ways))
    langs = [s.get("lang") for link in graph.links_from(node.name) for s in link.caps.structures or ()]
    return tuple(sorted({str(lang) for each in langs if isinstance(each, frozenset) for lang in each}))


def _asked(graph: Graph, engine: Node, wish: Wish) -> tuple[dict[str, Any], bool]:
    """Settings of the engine for a wish, and whether the words wanted are those that were understood."""
    fields, settings = engine.spec.settings.model_fields, engine.settings
    changes: dict[str, Any] = {"mode": "utterance"} if getattr(settings, "mode", "") == "simultaneous" else {}
    if getattr(settings, "batch_utterances", 1) != 1:
        changes["batch_utterances"] = 1  # a batch is one step, for which sessions would wait
    speaks = {"source_lang", "target_lang"} <= set(fields)
    if not speaks:
        if wish.task == "transcribe":
            return {**changes, "transcript": True}, True
        if wish.target_lang not in _targets(graph, engine):
            there = ", ".join(_targets(graph, engine)) or "a language that it does not say"
            raise Refusal(f"this graph translates into {there}, not {wish.target_lang!r}", "target_language")
        return changes, False
    source = str(getattr(settings, "source_lang"))  # noqa: B009 -- a third party's settings
    if wish.source_lang is not None:
        source = changes["source_lang"] = wish.source_lang
    if wish.task == "transcribe":
        if source == AUTO:
            return {**changes, "transcript": True}, True
        return {**changes, "source_lang": source, "target_lang": source, "transcript": False}, False
    changes["target_lang"] = wish.target_lang
    # What is found to be spoken in the language that is wanted would go into another one (`directions`).
    changes["transcript"] = source == AUTO and "transcript" in fields
    if "transcript" not in fields:
        del changes["transcript"]
    return changes, False


def _point(graph: Graph, engine: Node) -> PadRef | None:
    """Where the engine's texts have their last form before a voice or a sink."""
    behind = _reached(graph, engine.name, lambda name: [link.sink.node for link in graph.links_from(name)])
    return next((pad for pad, point in points_of(graph).items() if point == "text" and pad.node in behind), None)


def _reached(graph: Graph, start: str, onward: Callable[[str], list[str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        for name in onward(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _build(graph: Graph, point: PadRef, engine: str, changes: Mapping[str, Any]) -> Graph:
    """What leads to a src pad, from :data:`INPUT` to :data:`OUTPUT`; checked."""
    kept = _reached(graph, point.node, lambda name: [link.src.node for link in graph.links_to(name)])
    if sum(graph.nodes[name].spec.type == SRC for name in kept) != 1:
        raise Refusal("this graph hears several people at once; a recording is one", "model")
    names = {name: f"e{place}" for place, name in enumerate(graph.order) if name in kept}
    builder = GraphBuilder(graph.name, commercial=graph.commercial)
    for name in graph.order:
        if name not in kept:
            continue
        node = graph.nodes[name]
        if node.spec.type == SRC:
            names[name] = INPUT
            builder.add(INPUT, "app_src", caps=str(next(pad.caps for pad in node.pads)), max_ms=20)
            continue
        settings = {key: getattr(node.settings, key) for key in node.settings.model_fields_set}
        settings |= {key: value for key, value in _QUIET.items() if getattr(node.settings, key, value) != value}
        if getattr(node.settings, "leaky", "no") != "no":
            settings["leaky"] = "no"  # a file waits; a microphone cannot
        if name == engine:
            settings |= changes
        # Of a recording that somebody waits for nothing is left out without a word.
        builder.add(names[name], node.spec.type, on_error="fail" if name == engine else node.on_error, **settings)
    builder.add(OUTPUT, "app_sink")
    for link in graph.links:
        if link.src.node in kept and link.sink.node in kept:
            builder.link(_end(graph, link.src, names), _end(graph, link.sink, names))
    builder.link(_end(graph, point, names), OUTPUT)
    return builder.build()


def _end(graph: Graph, pad: PadRef, names: Mapping[str, str]) -> str:
    """A pad as a chain names it; of pads that were made on request the next one."""
    templates = graph.nodes[pad.node].spec.pads_for(graph.nodes[pad.node].settings)
    always = any(each.name == pad.pad and each.presence == "always" for each in templates)
    return f"{names[pad.node]}.{pad.pad}" if always else names[pad.node]
