"""Params: what a graph or a bin can be given from outside.

A declaration is a default, nothing (the param is required), or a mapping::

    params:
      input:                                        # required
      output: out
      source_lang: {default: en, choices: [en, ru], description: Language spoken in the recording.}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipelines.graph import Span
from pipelines.language.diagnostics import Diagnostics, did_you_mean, show_value
from pipelines.language.document import Entry, MappingNode, Node, ScalarNode, SequenceNode
from pipelines.language.variables import Expanded, Scope, expand

__all__ = ["ParamDef", "parse_params", "resolve_params"]

_KEYS = ("default", "choices", "description")


@dataclass(frozen=True, slots=True)
class ParamDef:
    """A declared param.

    Attributes:
        name: Its name.
        default: Value when none is given; None when there is none. Variables in it are not expanded here.
        choices: The only values it may have; empty when any value will do.
        description: For people.
        required: Whether it has no default.
        span: Where it is declared.
        node: The default as written, or None.
    """

    name: str
    default: Any
    choices: tuple[Any, ...]
    description: str
    required: bool
    span: Span
    node: ScalarNode | None = None


def parse_params(entry: Entry | None, problems: Diagnostics) -> dict[str, ParamDef]:
    """Read a ``params`` section; reports ``bad-value`` and ``unknown-field``."""
    if entry is None or _is_null(entry.value):
        return {}
    if not isinstance(entry.value, MappingNode):
        problems.add("bad-value", entry.value.span, "params must be a mapping", hint="params: {input: , output: out}")
        # What a list names was meant to be declared: whoever uses it is not wrong as well.
        items = entry.value.items if isinstance(entry.value, SequenceNode) else ()
        return {i.text: ParamDef(i.text, None, (), "", True, i.span) for i in items if isinstance(i, ScalarNode)}
    params = {}
    for item in entry.value:
        if not item.key.isidentifier() or not item.key.isascii():
            hint = "use letters, digits and underscores"
            problems.add("bad-value", item.key_span, f"{item.key!r} is not a name for a param", hint=hint)
            continue
        params[item.key] = _parse_one(item, problems)
    return params


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value is None


def _parse_one(item: Entry, problems: Diagnostics) -> ParamDef:
    node = item.value
    bare = ParamDef(item.key, None, (), "", True, item.key_span)
    if isinstance(node, ScalarNode):
        return replace(bare, default=node.value, required=node.value is None, node=node)
    if isinstance(node, SequenceNode):
        hint = f"{item.key}: {{choices: [...]}} declares what it may be"
        problems.add("bad-value", node.span, f"the default of {item.key!r} must be one value, got a list", hint=hint)
        return replace(bare, required=False)
    for entry in node:
        if entry.key not in _KEYS:
            close = did_you_mean(entry.key, _KEYS)
            hint = f"did you mean '{close}'?" if close else "a param has default, choices and description"
            problems.add("unknown-field", entry.key_span, f"a param has no {entry.key!r}", hint=hint)
    choices = _choices(node.get("choices"), problems)
    described = _scalar(node.get("description"), "a description", problems)
    default = _scalar(node.get("default"), "a default", problems)
    return replace(
        bare,
        default=default.value if default else None,
        choices=choices,
        description=described.text if described else "",
        required=default is None or default.value is None,
        node=default,
    )


def _scalar(entry: Entry | None, what: str, problems: Diagnostics) -> ScalarNode | None:
    if entry is None or isinstance(entry.value, ScalarNode):
        return entry.value if entry else None  # type: ignore[return-value] # narrowed by the line above
    problems.add("bad-value", entry.value.span, f"{what} must be one value")
    return None


def _choices(entry: Entry | None, problems: Diagnostics) -> tuple[Any, ...]:
    if entry is None:
        return ()
    if isinstance(entry.value, SequenceNode) and entry.value.items:
        items = [i for i in entry.value.items if isinstance(i, ScalarNode)]
        if len(items) == len(entry.value.items):
            return tuple(i.value for i in items)
    problems.add("bad-value", entry.value.span, "choices must be a list of values", hint="choices: [en, ru]")
    return ()


def resolve_params(
    defs: Mapping[str, ParamDef], given: Mapping[str, Expanded], env: Mapping[str, str], problems: Diagnostics
) -> dict[str, Expanded]:
    """Values of params: what was given, else the default with variables expanded, else unset.

    A null counts as not given. Reports ``bad-value`` for a value that is not among the choices; names in ``given``
    that are not declared are the caller's to report.
    """
    values = {}
    for name, declared in defs.items():
        value = given.get(name)
        if value is None or (value.value is None and not value.failed):
            value = _default(declared, env, problems)
        if declared.choices and not value.unset and not value.failed:
            value = _check_choice(declared, value, problems)
        values[name] = value
    return values


def _default(declared: ParamDef, env: Mapping[str, str], problems: Diagnostics) -> Expanded:
    if declared.node is None or declared.required:
        unset = frozenset({declared.name} if declared.required else ())
        return Expanded(f"<{declared.name}>", declared.span, unset, failed=not declared.required)
    return expand(declared.node, Scope({}, env, params_allowed=False), problems)


def _check_choice(declared: ParamDef, value: Expanded, problems: Diagnostics) -> Expanded:
    if any(type(value.value) is type(choice) and value.value == choice for choice in declared.choices):
        return value
    listed = ", ".join(show_value(choice) for choice in declared.choices)
    close = did_you_mean(str(value.value), [c for c in declared.choices if isinstance(c, str)])
    problems.add(
        "bad-value",
        value.span,
        f"{declared.name} must be one of {listed}, got {show_value(value.value)}",
        hint=f"did you mean '{close}'?" if close else None,
    )
    return replace(value, failed=True)
