"""Names of OpenAI's own models, which clients have built in: here they stand for the server's default graph."""

from __future__ import annotations

from collections.abc import Sequence

from tolmach.web.catalogue.graph import LiveGraph
from tolmach.web.doors.openai.models import find_model
from tolmach.web.service import Service

__all__ = ["FILE_ALIASES", "REALTIME_ALIASES", "SPEECH_ALIASES", "graph_named"]

REALTIME_ALIASES = ("gpt-realtime-translate",)
"""Beginnings of names of OpenAI's own models for realtime translations, dated ones included."""

FILE_ALIASES = ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
SPEECH_ALIASES = ("tts-1", "gpt-4o-mini-tts")
"""The same for recordings, and for texts to be spoken."""


def graph_named(service: Service, model: str, aliases: Sequence[str] = ()) -> LiveGraph:
    """The graph that a model means.

    Args:
        service: Has the graphs.
        model: As the client gave it.
        aliases: Beginnings of names that mean the server's default graph, unless a graph is called so.

    Raises:
        OpenAiError: 404 ``model_not_found``, see :func:`find_model`.
    """
    known = {live.name for live in service.catalogue.graphs()}
    default = service.catalogue.default
    if model not in known and default is not None and model.startswith(tuple(aliases)):
        return find_model(service, default)
    return find_model(service, model)
