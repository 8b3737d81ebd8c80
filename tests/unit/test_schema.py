"""The generated JSON Schema: valid, current, and of one mind with `tolmach check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from tolmach.pipelines.describe.schema import FILE_NAME, graph_schema, schema_text
from tolmach.pipelines.element import ElementSpec, Field, Pad, Settings
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.shipped import config_dir, shipped_graphs


class ProbeSettings(Settings):
    """Settings with everything a schema must carry."""

    path: str = Field(min_length=1, description="Where.")
    hangover_ms: int = Field(500, ge=0, le=5000, description="Silence, ms.")
    threshold: float | None = Field(None, gt=0, lt=1, description="Probability.")
    langs: tuple[str, ...] = Field((), description="Languages.")
    rates_hz: tuple[int, ...] = Field((8000,), max_length=2, description="Rates, Hz.")


PROBE = ElementSpec(
    type="probe", summary="Look.", settings=ProbeSettings, pads=(Pad.sink(), Pad.src(like="sink")), build="no:Probe"
)
SOURCE = ElementSpec(type="in", summary="Give.", settings=Settings, pads=(Pad.src(),), build="no:In")
SINK = ElementSpec(type="out", summary="Take.", settings=Settings, pads=(Pad.sink(),), build="no:Out")
REGISTRY = Registry({}).extended(PROBE, SOURCE, SINK)


def document(**probe: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "elements": {"a": {"type": "in"}, "p": {"type": "probe", "path": "x", **probe}, "z": {"type": "out"}},
        "links": ["a -> p -> z"],
    }


def errors(value: Any, registry: Registry = REGISTRY) -> list[str]:
    validator = jsonschema.Draft202012Validator(graph_schema(registry))
    return [e.message for e in validator.iter_errors(value)]


def test_it_is_a_json_schema():
    jsonschema.Draft202012Validator.check_schema(graph_schema())
    jsonschema.Draft202012Validator.check_schema(graph_schema(REGISTRY))


def test_the_committed_file_is_current():
    path = config_dir() / FILE_NAME
    assert path.read_text(encoding="utf-8") == schema_text(), f"stale: run `tolmach schema -o config/{FILE_NAME}`"


@pytest.mark.parametrize("path", shipped_graphs(), ids=lambda p: p.stem)
def test_shipped_graphs_fit_and_name_it(path: Path):
    text = path.read_text(encoding="utf-8")
    assert errors(YAML(typ="safe", pure=True).load(text), Registry.builtin()) == []
    assert text.splitlines()[0] == f"# yaml-language-server: $schema=./{FILE_NAME}"


@pytest.mark.parametrize(
    "probe",
    [
        {},
        {"hangover_ms": 0},
        {"threshold": None},
        {"threshold": 0.5},
        {"langs": ["en", "ru"]},
        {"rates_hz": [16000]},
        {"on_error": "skip"},
    ],
)
def test_what_check_accepts_the_schema_accepts(probe: dict[str, Any]):
    assert check(document(**probe)) == set()
    assert errors(document(**probe)) == []


@pytest.mark.parametrize(
    "probe",
    [
        {"hangover_ms": -1},
        {"hangover_ms": 5001},
        {"hangover_ms": "long"},
        {"hangover_ms": 1.5},
        {"threshold": 1},
        {"path": 3},
        {"path": None},
        {"langs": "en"},
        {"langs": [1]},
        {"rates_hz": [1, 2, 3]},
        {"hangover": 3},
        {"on_error": "retry"},
        {"type": "prob"},
    ],
)
def test_what_the_schema_refuses_check_refuses(probe: dict[str, Any]):
    assert errors(document(**probe)) != []
    assert check(document(**probe)) & {"bad-value", "unknown-field", "unknown-type"}


@pytest.mark.parametrize("name", ["hangover_ms", "threshold", "path", "on_error", "type"])
@pytest.mark.parametrize("value", ["${param:x}", "${env:X:-5}", "a${param:x}b"])
def test_every_scalar_may_be_a_variable(name: str, value: str):
    assert errors(document(**{name: value})) == []


def test_variables_inside_lists():
    assert errors(document(rates_hz=["${param:x}", 8000], langs=["${param:y}"])) == []
    assert errors(document(rates_hz=["fast"])) != []


@pytest.mark.parametrize(
    ("change", "sound"),
    [
        ({"params": {"a": None, "b": 3, "c": {"default": "x", "choices": ["x", "y"], "description": "C."}}}, True),
        ({"params": {"a": {"defualt": 1}}}, False),
        ({"params": {"a": {"role": "input"}, "b": {"role": "none"}, "c": {"role": None}}}, True),
        ({"params": {"a": {"role": "inptu"}}}, False),
        ({"bins": {"duplex": {"params": {"a": {"role": "input"}}, "elements": {"p": {"type": "in"}}}}}, False),
        ({"params": {"not a name": 1}}, False),
        ({"version": 2}, False),
        ({"nmae": "x"}, False),
        ({"links": ["a -> p -> z", "a.src_0->p.sink"]}, True),
        ({"include": ["shared/bins.yaml"]}, True),
        ({"include": "shared/bins.yaml"}, False),
        ({"links": ["a"]}, False),
        ({"links": ["a => p"]}, False),
        ({"links": [["a", "p"]]}, False),
        ({"elements": {"a b": {"type": "in"}}}, False),
        ({"elements": {"a": "in"}}, False),
        ({"elements": {"a": {"type": "bin/duplex", "lang": "ru"}}}, True),
        ({"bins": {"duplex": {"elements": {"p": {"type": "in"}}, "pads": {"sink": "p.sink"}}}}, True),
        ({"bins": {"duplex": {"elements": {"p": {"type": "in"}}, "pads": {"out": "p.src"}}}}, False),
        ({"bins": {"duplex": {"elements": {"p": {"type": "nin"}}}}}, False),
    ],
)
def test_the_shape_of_a_document(change: dict[str, Any], sound: bool):
    assert (errors({**document(), **change}) == []) is sound


@pytest.mark.parametrize("missing", ["version", "elements", "links"])
def test_what_a_document_must_have(missing: str):
    value = document()
    del value[missing]
    assert errors(value) == [f"'{missing}' is a required property"]


def test_a_file_of_bins_is_one_too():
    assert errors({"version": 1, "include": ["more.yaml"], "bins": {"a": {"elements": {"p": {"type": "in"}}}}}) == []


def test_editors_are_told_about_settings():
    schema = graph_schema(REGISTRY)["$defs"]["element.probe"]
    assert schema["required"] == ["type", "path"]
    setting = schema["properties"]["hangover_ms"]
    assert (setting["description"], setting["default"]) == ("Silence, ms.", 500)
    assert setting["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 5000}


def check(value: dict[str, Any]) -> set[str]:
    # JSON is YAML 1.2.
    return {d.code for d in check_graph("test.yaml", text=json.dumps(value), env={}, registry=REGISTRY).diagnostics}
