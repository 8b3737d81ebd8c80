"""``GET /v1/models``: the graphs of the server as OpenAI's clients list models, and a graph by its name as a model."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field

from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.diagnostics import did_you_mean
from tolmach.pipelines.models.caches import missing_in, missing_text
from tolmach.web.catalogue.graph import LiveGraph
from tolmach.web.doors.openai.errors import OpenAiError, OpenAiErrorAnswer
from tolmach.web.doors.openai.headless import abilities
from tolmach.web.errors import AsciiJson
from tolmach.web.openapi import described
from tolmach.web.service import Service

__all__ = ["add_models", "find_model", "require_models"]


class ModelInfo(BaseModel):
    """A graph as a model; what stands behind ``owned_by`` is ours."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    description: str
    revision: str | None = Field(description="Which version of the graph.")
    abilities: list[str] = Field(description="Of translations, transcriptions and speech, what it does.")


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"]
    data: list[ModelInfo]


def add_models(app: FastAPI, service: Service) -> None:
    """Add the routes."""

    @app.get("/v1/models", **described(ModelList, summary="The graphs, as models", errors=OpenAiErrorAnswer))
    async def models() -> AsciiJson:
        """All graphs that can be used, but those for a room: no session or file goes through one."""
        data = [_model(live) for live in service.catalogue.graphs() if live.ok and not live.for_room]
        return AsciiJson({"object": "list", "data": data})

    @app.get("/v1/models/{model}", **described(ModelInfo, 404, summary="A graph, as a model", errors=OpenAiErrorAnswer))
    async def model(model: str) -> AsciiJson:
        """One of them."""
        return AsciiJson(_model(find_model(service, model)))


def find_model(service: Service, name: str) -> LiveGraph:
    """The graph that a model is.

    Raises:
        OpenAiError: 404 if there is none of that name, or it has never been right.
    """
    usable = {live.name: live for live in service.catalogue.graphs() if live.ok}
    if (live := usable.get(name)) is not None:
        return live
    listed = [name for name, live in usable.items() if not live.for_room]
    close = did_you_mean(name[:80], listed)
    hint = f"did you mean {close!r}?" if close else f"there is {', '.join(listed)}"
    message = f"there is no model {name[:80]!r}: a model is a graph of this server; {hint}"
    raise OpenAiError(404, message, param="model", code="model_not_found")


async def require_models(name: str, graph: Graph) -> None:
    """Refuse a graph that would have to download its models first.

    Args:
        name: What people call it.
        graph: As it would be played.

    Raises:
        OpenAiError: 503, which says how they are fetched.
    """
    if missing := await asyncio.to_thread(missing_in, graph):
        text = f"{name} {missing_text(name, missing)}"
        raise OpenAiError(503, text, type="server_error", param="model", code="model_not_ready")


def _model(live: LiveGraph) -> dict[str, Any]:
    graph = live.graph
    return {
        "id": live.name,
        "object": "model",
        "created": 0,  # a graph has no birthday; `revision` says which version it is
        "owned_by": "tolmach",
        "description": graph.description if graph is not None else "",
        "revision": live.revision,
        "abilities": list(abilities(graph)) if graph is not None else [],
    }
