"""GET /api/openapi.json: complete, valid, and true of what the server answers to thousands of odd requests."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from starlette.routing import Route

from tests.integration.served_peer import server
from tests.integration.webrtc_peer import babble
from tests.until import until
from tolmach.web.app import make_app
from tolmach.web.service import Service
from tolmach.web.settings import ServerSettings

SETTINGS = settings(
    max_examples=10,  # requests of each route; more were tried when this was written
    phases=[Phase.generate],
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_it_is(context: schemathesis.SerializationContext, value: object) -> str:
    """A body that is text, as a client would send it."""
    return str(value)


NOT_DESCRIBED = {"/", "/room", "/favicon.ico", "/api/openapi.json"}


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """The application and its address; it runs in a thread, on a loop of its own."""
    graphs = tmp_path_factory.mktemp("graphs")
    (graphs / "echo.yaml").write_text((root / "config" / "echo.yaml").read_text())
    ready, box = threading.Event(), {}

    async def main() -> None:
        told = ServerSettings(graphs=graphs, warm=False, offers_per_minute=100_000)
        service = Service(told)
        await service.start()
        box["app"] = make_app(told, service)
        running = uvicorn.Server(uvicorn.Config(box["app"], port=0, log_config=None, lifespan="off"))
        task = asyncio.create_task(running.serve())
        await until(lambda: running.started)
        box["port"], box["loop"] = running.servers[0].sockets[0].getsockname()[1], asyncio.get_running_loop()
        box["end"] = asyncio.Event()
        ready.set()
        await box["end"].wait()
        running.should_exit = True
        await task
        box["left"] = len(service.pool)
        await service.stop()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(60)
    yield box["app"], f"http://127.0.0.1:{box['port']}"
    box["loop"].call_soon_threadsafe(box["end"].set)
    thread.join(60)
    assert not thread.is_alive()


def described(app: Any) -> dict[str, Any]:
    schema: dict[str, Any] = app.openapi()
    return schema


def test_the_description_is_valid_and_has_every_route(served: tuple[Any, str]) -> None:
    app, _ = served
    schema = described(app)
    validate(schema)
    there = {
        (route.path, method.lower()) for route in app.routes if isinstance(route, Route) for method in route.methods
    }
    shown = {(path, method) for path, operations in schema["paths"].items() for method in operations}
    assert {(path, method) for path, method in there if method != "head" and path not in NOT_DESCRIBED} == shown


def test_every_answer_is_described(served: tuple[Any, str]) -> None:
    app, _ = served
    lacking = []
    for path, operations in described(app)["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            good = [code for code in operation["responses"] if code.startswith("2")]
            if not operation.get("summary") or not good:
                lacking.append(f"{name}: no summary or no good answer")
            for code in good:
                answer = operation["responses"][code]
                schemas = [kind.get("schema") for kind in answer.get("content", {}).values()]
                if not answer["description"] or (code not in ("202", "204") and not (schemas and all(schemas))):
                    lacking.append(f"{name}: {code} says nothing of its body")
            lacking += [
                f"{name}: {code} is not described"
                for code in ("400", "401", "413", "503")
                if "content" not in operation["responses"].get(code, {})
            ]
    assert not lacking, "\n".join(lacking)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_described_whatever_is_asked(served: tuple[Any, str], mode: schemathesis.GenerationMode) -> None:
    app, url = served
    checks = [getattr(schemathesis.checks, name) for name in CHECKS]
    tried = 0
    with requests.Session() as session:
        for found in schemathesis.openapi.from_dict(described(app)).get_all_operations():
            operation = found.ok()
            try:
                cases = operation.as_strategy(generation_mode=mode)

                @settings(SETTINGS)
                @given(case=cases)
                def ask(case: schemathesis.Case) -> None:
                    response = case.call(base_url=url, session=session)
                    case.validate_response(response, checks=checks)

                ask()
                tried += 1
            except Unsatisfiable:  # nothing of this route can be wrong
                assert mode is schemathesis.GenerationMode.NEGATIVE
    assert tried > 5


async def test_what_a_real_session_answers_is_as_described(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "config" / "echo.yaml", tmp_path)
    async with server(tmp_path) as client:
        schema = described(client.app)
        peer = await client.call(babble(20))
        await peer.hear(20)
        paths = ("/api/config", "/api/graphs", "/readyz", "/healthz", "/metrics", "/api/openapi.json")
        for path in (*paths, "/api/graphs/echo/drawing.svg"):
            assert (await client.http.get(path)).status_code == 200
        for path, model in {
            "/api/config": "Config",
            "/api/graphs": "GraphList",
            "/readyz": "Readiness",
            peer.url: "SessionState",
            f"{peer.url}/transcript.json": "Transcript",
        }.items():
            answer = (await client.http.get(path)).json()
            jsonschema.validate(answer, {"$ref": f"#/components/schemas/{model}", **schema})
            assert set(answer) == set(schema["components"]["schemas"][model]["properties"]), path
        error = (await client.http.get("/api/sessions/nothing")).json()
        jsonschema.validate(error, {"$ref": "#/components/schemas/ErrorAnswer", **schema})
