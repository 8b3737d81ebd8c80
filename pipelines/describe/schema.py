"""The JSON Schema (draft 2020-12) of graph files, generated from the specs of the element types.

Editors complete and check graphs with it (``# yaml-language-server: $schema=…`` on the first line of a file). It knows
the shape of a document, every element type and every setting; what needs the whole graph (links, pads, caps) is left
to ``tolmach check``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tolmach.pipelines.describe.reference import SettingInfo, alternatives, describe_settings
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.language.variables import NO_ROLE, ROLES
from tolmach.pipelines.registry import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE_NAME = "graph.schema.json"

_NAME = "[A-Za-z_][A-Za-z0-9_-]{0,63}"
_ENDPOINT = "[A-Za-z_][A-Za-z0-9_-]*(\\.[A-Za-z_][A-Za-z0-9_]*)?"
_CHAIN = f"^\\s*{_ENDPOINT}(\\s*->\\s*{_ENDPOINT})+\\s*$"
_VARIABLE = {"$ref": "#/$defs/variable"}
_SCALAR = {"type": ["string", "number", "boolean", "null"]}


def graph_schema(registry: Registry | None = None) -> dict[str, Any]:
    """The schema of graph files that use the types of ``registry`` (the built-in ones when None).

    Returns:
        A JSON Schema document; the same registry always gives the same one.
    """
    known = registry if registry is not None else Registry.builtin()
    specs = [known.get(name) for name in known]
    return {
        "$schema": DIALECT,
        "title": "Tolmach graph",
        "description": "A dataflow graph of elements: settings in `elements`, wiring in `links`.",
        "type": "object",
        "required": ["version"],
        # A file with bins alone is there to be included.
        "if": {"anyOf": [{"required": ["elements"]}, {"required": ["links"]}, {"not": {"required": ["bins"]}}]},
        "then": {"required": ["elements", "links"]},
        "additionalProperties": False,
        "properties": {
            "version": {"const": 1, "description": "Version of the graph language."},
            "name": {"type": "string", "description": "Name of the graph; the file's name when left out."},
            "description": {"type": "string", "description": "What the graph is for."},
            "commercial": {
                "anyOf": [{"type": ["boolean", "null"]}, _VARIABLE],
                "description": "Whether the graph is to be used commercially: what may not be is refused.",
            },
            "host": {
                "type": ["string", "null"],
                "description": "Where its models run: thread, or ray[:ADDRESS][,replicas=N][,num_gpus=F]...; "
                "--model-host goes before it.",
            },
            "include": {
                "type": ["array", "null"],
                "description": "Files whose bins are there too; paths start from the folder of this file.",
                "items": {"type": "string", "minLength": 1},
            },
            "params": {"$ref": "#/$defs/params"},
            "bins": {
                "type": ["object", "null"],
                "description": "Reusable sub-graphs; `type: bin/NAME` puts one in.",
                "propertyNames": {"pattern": f"^{_NAME}$"},
                "additionalProperties": {"$ref": "#/$defs/bin"},
            },
            "elements": {"$ref": "#/$defs/elements"},
            "links": {"$ref": "#/$defs/links"},
        },
        "$defs": {**_shapes(specs), **{f"element.{s.type}": _element(s) for s in specs}},
    }


def schema_text(registry: Registry | None = None) -> str:
    """The schema as it is committed: indented JSON with a newline at its end."""
    return json.dumps(graph_schema(registry), ensure_ascii=False, indent=2) + "\n"


def _shapes(specs: list[ElementSpec]) -> dict[str, Any]:
    types = [{"const": s.type, "description": s.summary} for s in specs]
    return {
        "variable": {
            "type": "string",
            "pattern": "\\$\\{(env|param):",
            "description": "Text with variables: ${param:NAME}, ${env:NAME}, ${env:NAME:-default}, ${env:NAME:?why}.",
        },
        "params": _params(
            "What the graph can be given from outside: a default, nothing (required), or a mapping.",
            {
                "role": {
                    "enum": [*ROLES, NO_ROLE, None],
                    "description": "What it means to those who give it; its name says it where that is a role.",
                }
            },
        ),
        "bin_params": _params("What an instance can be given: a default, nothing (required), or a mapping.", {}),
        "elements": {
            "type": "object",
            "description": "Elements by name: a type and its settings.",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{_NAME}$"},
            "additionalProperties": {"$ref": "#/$defs/element"},
        },
        "links": {
            "type": ["array", "null"],
            "description": "Chains such as `in -> vad -> ast`; `a.pad` where an element has several.",
            "items": {"type": "string", "pattern": _CHAIN},
        },
        "bin": {
            "type": "object",
            "required": ["elements"],
            "additionalProperties": False,
            "properties": {
                "description": {"type": "string", "description": "What the bin does."},
                "params": {"$ref": "#/$defs/bin_params"},
                "elements": {"$ref": "#/$defs/elements"},
                "links": {"$ref": "#/$defs/links"},
                "pads": {
                    "type": ["object", "null"],
                    "description": "Ghost pads: name outside → `element.pad` inside.",
                    "propertyNames": {"pattern": "^(sink|src)(_[A-Za-z0-9_]+)?$"},
                    "additionalProperties": {"type": "string", "pattern": f"^{_ENDPOINT}$"},
                },
            },
        },
        "on_error": {
            "description": "What a failure of the element does: fail the graph, skip the utterance, or restart it.",
            "anyOf": [{"enum": ["fail", "skip", "restart"]}, _VARIABLE],
        },
        "element": {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {
                    "description": "Element type; `tolmach inspect TYPE` describes it.",
                    "anyOf": [*types, {"type": "string", "pattern": f"^bin/{_NAME}$"}, _VARIABLE],
                }
            },
            # One `then` for each type: an editor can say which setting is wrong; of `oneOf`, only that none fits.
            "allOf": [
                {
                    "if": {"required": ["type"], "properties": {"type": {"const": s.type}}},
                    "then": {"$ref": f"#/$defs/element.{s.type}"},
                }
                for s in specs
            ],
        },
    }


def _params(description: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """A ``params`` section; ``more`` are properties of each param beside those that all have."""
    return {
        "type": ["object", "null"],
        "description": description,
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": {
            "anyOf": [
                _SCALAR,
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "default": {**_SCALAR, "description": "Value when none is given; required without it."},
                        "choices": {
                            "type": "array",
                            "minItems": 1,
                            "items": _SCALAR,
                            "description": "The only values it may have.",
                        },
                        "description": {"type": "string", "description": "For people."},
                        **more,
                    },
                },
            ]
        },
    }


def _element(spec: ElementSpec) -> dict[str, Any]:
    infos = describe_settings(spec.settings)
    return {
        "title": spec.type,
        "description": spec.summary,
        "type": "object",
        "required": ["type", *(i.name for i in infos if i.required)],
        "additionalProperties": False,
        "properties": {
            "type": {"const": spec.type},
            "on_error": {"$ref": "#/$defs/on_error"},
            **{i.name: _setting(i) for i in infos},
        },
    }


def _setting(info: SettingInfo) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": info.description} if info.description else {}
    if not info.required:
        schema["default"] = info.default
    return schema | _with_variables(info.schema)


def _with_variables(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Let every scalar in it be text with variables too."""
    branches = list(alternatives(schema))
    if not schema or any(set(b) <= {"type", "format"} and b.get("type") == "string" for b in branches):
        # Any text will do already. `format: path` says nothing about how text looks, and no validator needs it.
        return {key: value for key, value in schema.items() if key != "format"}
    inner = [_inside(b) for b in branches]
    if all(b.get("type") in ("array", "object") for b in branches):
        return inner[0] if len(inner) == 1 else {"anyOf": inner}
    return {"anyOf": [*inner, _VARIABLE]}


def _inside(branch: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(branch)
    for key in ("items", "additionalProperties"):
        if isinstance(branch.get(key), Mapping):
            changed[key] = _with_variables(branch[key])
    for key in ("prefixItems",):
        if key in branch:
            changed[key] = [_with_variables(item) for item in branch[key]]
    if "properties" in branch:
        changed["properties"] = {name: _with_variables(value) for name, value in branch["properties"].items()}
    return changed
