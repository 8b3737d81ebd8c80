"""Which graph, and with what, a session of OpenAI's realtime translations means."""

from __future__ import annotations

from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.variables import ParamDef, param_with_role
from tolmach.web.catalogue.graph import LiveGraph
from tolmach.web.doors.openai.realtime.events import EventError, Settings
from tolmach.web.sessions.run import Choice

__all__ = ["choice_of", "effective_language", "writes_source_down"]

AUTO = "auto"
_LANGUAGE = "session.audio.output.language"


def choice_of(live: LiveGraph, settings: Settings) -> Choice:
    """What to ask the session for.

    The target language is the graph's param of that role. Where the source's would then be the same one, the source is
    found by itself if the graph can do that, or is the other one of two.

    Raises:
        EventError: If the graph does not speak the language that was asked for, or does not write down what it hears.
    """
    if settings.transcription is not None and not writes_source_down(live.graph):
        raise EventError(
            "unsupported_transcription",
            f"The graph {live.name!r} does not write down what it hears: its speech translation needs "
            "'transcript: true'.",
            "session.audio.input.transcription",
        )
    if settings.language is None:
        return Choice(live.name, {}, {})
    param = param_with_role(live.params, "target_lang")
    if param is None:
        fixed = _languages(live.graph, "target_lang")
        if _match(settings.language, fixed) is None:
            raise _unspoken(live, settings.language, fixed)
        return Choice(live.name, {}, {})
    target = _match(settings.language, _choices(param)) if param.choices else settings.language
    if target is None:
        raise _unspoken(live, settings.language, _choices(param))
    return Choice(live.name, {param.name: target, **_other_source(live, target)}, {})


def effective_language(live: LiveGraph, settings: Settings) -> str | None:
    """What is heard, as far as it is known before anybody speaks; None where the graph finds it."""
    if settings.language is not None:
        return settings.language
    param = param_with_role(live.params, "target_lang")
    if param is not None:
        default = live.default_of(param)
        return None if default in (None, AUTO) else str(default)
    fixed = _languages(live.graph, "target_lang")
    return fixed[0] if len(fixed) == 1 else None


def writes_source_down(graph: Graph | None) -> bool:
    """Whether some engine of a graph gives what it understood beside its translation."""
    return graph is not None and any(getattr(node.settings, "transcript", False) for node in graph.nodes.values())


def _other_source(live: LiveGraph, target: str) -> dict[str, str]:
    """The source's param, where its default would be what is translated into."""
    param = param_with_role(live.params, "source_lang")
    if param is None or live.default_of(param) != target:
        return {}
    choices = _choices(param)
    if AUTO in (str(choice) for choice in param.choices):
        return {param.name: AUTO}
    others = [choice for choice in choices if choice != target]
    return {param.name: others[0]} if len(others) == 1 else {}


def _choices(param: ParamDef) -> list[str]:
    return [str(choice) for choice in param.choices if choice != AUTO]


def _languages(graph: Graph | None, setting: str) -> list[str]:
    """What the engines of a graph are set to."""
    nodes = graph.nodes.values() if graph is not None else ()
    found = (getattr(node.settings, setting, None) for node in nodes)
    return sorted({each for each in found if isinstance(each, str) and each != AUTO})


def _match(asked: str, offered: list[str]) -> str | None:
    """The language of ``offered`` that is meant: the same tag, or else the same language (RFC 4647, 3.4: lookup).

    >>> _match("ru-RU", ["en", "ru"]), _match("EN", ["en"]), _match("de", ["en", "ru"]), _match("pt", ["pt-BR"])
    ('ru', 'en', None, 'pt-BR')
    """
    for known in offered:
        if known.lower() == asked.lower():
            return known
    primary = asked.lower().partition("-")[0]
    return next((known for known in offered if known.lower().partition("-")[0] == primary), None)


def _unspoken(live: LiveGraph, asked: str, offered: list[str]) -> EventError:
    there = f"it speaks {', '.join(offered)}" if offered else "its language is its own choice"
    return EventError(
        "unsupported_language", f"The graph {live.name!r} does not translate into {asked!r}: {there}.", _LANGUAGE
    )
