"""Licences as a property of the graph: ``commercial: true`` refuses what may not be used commercially.

As caps say what may travel over a link, so a graph may say what may be loaded. It is checked on the settings that
matter in the graph (``ElementSpec.settle``): of a voice for five languages only those that may come count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from tolmach.pipelines.errors import Span
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.diagnostics import Diagnostics, show_value
from tolmach.pipelines.language.drafts import DraftElement
from tolmach.pipelines.registry import Registry, RegistryError

__all__ = ["check_terms", "voice_lines"]


def check_terms(graph: Graph, stated: Span, problems: Diagnostics) -> None:
    """Report ``terms`` for each element that would load what may not be used commercially.

    Args:
        graph: The graph, which is to be used commercially.
        stated: Where it says so.
        problems: Takes the reports.
    """
    for node in graph.nodes.values():
        if node.spec.terms is None:
            continue
        for each in node.spec.terms(graph.settled(node.name)):
            if each.commercial:
                continue
            where = f" (line {stated.line})" if stated.line else ""
            problems.add(
                "terms",
                node.span,
                f"{node.name!r} would load {each.what}, which may not be used commercially",
                notes=[f"its terms are {each.licence}; the graph says commercial: true{where}"],
                hint=each.instead or None,
            )


def voice_lines(drafts: Mapping[str, DraftElement], registry: Registry) -> Mapping[str, Callable[[str], str | None]]:
    """For each voice of a graph, what to write in its place for a language that it does not speak."""
    voices = {name: draft.spec.type for name, draft in drafts.items() if draft.spec is not None and draft.spec.voices}
    return {name: partial(_voice_line, own, registry) for name, own in voices.items()}


def _voice_line(own: str, registry: Registry, lang: str) -> str | None:
    """An element that speaks a language, as a graph says it, of the same type if it can; None if there is none."""
    for type_ in (own, *(each for each in registry if each != own)):
        try:
            spec = registry.get(type_)
        except (RegistryError, ImportError):  # somebody else's package is broken, which is no matter here
            continue
        if spec.voices is None or spec.voice_settings is None or not any(lang in each.langs for each in spec.voices()):
            continue
        given = {name: value for name, value in spec.voice_settings(lang, None).items() if value is not None}
        written = ", ".join(f"{name}: {_written(value)}" for name, value in given.items())
        return f"{{type: {type_}, {written}}}"
    return None


def _written(value: object) -> str:
    """A value as one writes it: in quotes only where YAML would take it for something else."""
    bare = (
        isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value) and value not in ("true", "false", "null")
    )
    return str(value) if bare else show_value(value)
