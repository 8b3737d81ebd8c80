"""What a client may change of a graph, and the check of what it gives: live settings and params.

A browser is not to choose models, files, devices or how many threads they take, so no setting may be changed that is
not declared as :data:`tolmach.pipelines.element.Live` on its field, whoever wrote the element, and no param be given
that could become a path or the name of a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import to_jsonable_python

from tolmach.pipelines.describe.reference import SettingInfo, alternatives, describe_settings
from tolmach.pipelines.element import SettingsType, is_live_setting
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph, Node
from tolmach.pipelines.language.diagnostics import Diagnostics, did_you_mean, format_text, show_value
from tolmach.pipelines.language.variables import ParamDef

__all__ = ["LiveSetting", "in_words", "is_locked", "live_settings", "require_params_allowed", "require_settings_live"]

LANGUAGE_ROLES = ("source_lang", "target_lang")
"""Roles of params that any client may give; their values have the form of a language tag."""
MAX_VALUES = 200
MAX_TEXT = 200
"""Characters of a name or value."""
MAX_NUMBER = 2.0**53
"""JSON's numbers are exact up to here (RFC 8259, 6); NaN is not below it either."""
_LANGUAGE = re.compile(r"auto|[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
"""The tags of BCP-47 that speech models use, or that it is found; nothing that could be part of a path."""
_SEGMENTED = frozenset({True})
_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "string": "text"}
_WORDS = {"min": "minimum", "max": "maximum", "logprob": "log-probability"}
"""Parts of names that are no words."""


@dataclass(frozen=True, slots=True)
class LiveSetting:
    """A setting that may be changed.

    Attributes:
        target: ``element.setting``, as it is given.
        element: Name of the element.
        role: What the element is for people, see :attr:`tolmach.pipelines.element.ElementSpec.role`; "" for nothing.
        name: Name of the setting.
        title: The name in words: the title that its field declares, else made from the name.
        description: What it does.
        type: ``integer``, ``number``, ``boolean``, ``enum`` (one of ``choices``) or ``text``.
        nullable: Whether null is a value, too; the description says what it means.
        minimum: Least value, or None.
        maximum: Greatest value, or None.
        exclusive_minimum: Whether it must be above ``minimum``.
        exclusive_maximum: Whether it must be below ``maximum``.
        choices: Values to choose from; empty when any in the range will do.
        unit: Unit for people, or "".
        value: What it is now.
    """

    target: str
    element: str
    role: str
    name: str
    title: str
    description: str
    type: str
    nullable: bool
    minimum: float | None
    maximum: float | None
    exclusive_minimum: bool
    exclusive_maximum: bool
    choices: tuple[Any, ...]
    unit: str
    value: Any

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, keys as the attributes."""
        return asdict(self) | {"choices": list(self.choices)}


def live_settings(graph: Graph) -> tuple[LiveSetting, ...]:
    """All that may be changed, by element in the order of declaration."""
    return tuple(setting for node in graph.nodes.values() for setting in _settings(node))


def _settings(node: Node) -> Iterator[LiveSetting]:
    settings = type(node.settings)
    for info in _described(settings):
        if not is_live_setting(settings, info.name):
            continue
        branches = alternatives(info.schema)
        values = [b for b in branches if b.get("type") != "null"]
        choices = info.choices or tuple(to_jsonable_python(node.settings.choices_of(info.name)))
        kind = "enum" if choices else _TYPES.get(str(values[0].get("type"))) if len(values) == 1 else None
        if kind is None:
            continue  # a list or a mapping: no client can give one
        bounds: Mapping[str, Any] = values[0] if kind in ("integer", "number") else {}
        yield LiveSetting(
            target=f"{node.name}.{info.name}",
            element=node.name,
            role=node.spec.role or _role_by_pads(node),
            name=info.name,
            title=_title(settings, info),
            description=info.description,
            type=kind,
            nullable=len(values) < len(branches),
            minimum=bounds.get("minimum", bounds.get("exclusiveMinimum")),
            maximum=bounds.get("maximum", bounds.get("exclusiveMaximum")),
            exclusive_minimum="exclusiveMinimum" in bounds,
            exclusive_maximum="exclusiveMaximum" in bounds,
            choices=choices,
            unit=info.unit,
            value=to_jsonable_python(getattr(node.settings, info.name)),
        )


def _title(settings: SettingsType, info: SettingInfo) -> str:
    """A setting's name in words; a unit at its end is shown beside the value, and left out."""
    field = settings.model_fields.get(info.name)
    if field is not None and field.title:
        return field.title
    return in_words(info.name, info.unit)


def in_words(name: str, unit: str = "") -> str:
    """The name of a setting or param in words.

    >>> in_words("max_wait_ms", "ms"), in_words("chars_per_s", "characters/s"), in_words("top_logprob")
    ('Maximum wait', 'Chars', 'Top log-probability')
    """
    words = name.split("_")
    if unit and len(words) > 1:
        del words[-2 if "/" in unit else -1 :]
    text = " ".join(_WORDS.get(word, word) for word in words if word)
    return text[:1].upper() + text[1:]


def _role_by_pads(node: Node) -> str:
    """``detector``, ``voice``, ``engine`` or "" by what goes in and out."""
    media: dict[str, set[str]] = {"sink": set(), "src": set()}
    cuts = False
    for pad in node.pads:
        for structure in pad.caps:
            media[pad.direction].add(structure.media.partition("/")[0])
            cuts = cuts or (pad.direction == "src" and structure.get("segmented") == _SEGMENTED)
    if "audio" in media["sink"] and "audio" in media["src"] and cuts:
        return "detector"
    if "text" in media["sink"] and "audio" in media["src"]:
        return "voice"
    return "engine" if "audio" in media["sink"] and "text" in media["src"] else ""


@lru_cache(maxsize=256)
def _described(settings: SettingsType) -> tuple[SettingInfo, ...]:
    return describe_settings(settings)


# What a client gives --------------------------------------------------------------------------------------------------


def is_locked(param: ParamDef, trust_params: bool) -> bool:
    """Whether a client may not give a param, because it may become a path or the name of a model."""
    return not (trust_params or param.choices or param.role in LANGUAGE_ROLES)


def require_params_allowed(
    params: Mapping[str, Any],
    declared: Sequence[ParamDef],
    default_of: Callable[[ParamDef], Any],
    *,
    trust_params: bool,
) -> None:
    """Refuse params that a client may not give; which there are, and what they may be, is for the graph's check to say.

    Args:
        params: Values by name, from a client.
        declared: The graph's params.
        default_of: The value of a param that is not given; whoever gives that one gives nothing.
        trust_params: Whether the client may give every param.

    Raises:
        GraphError: With diagnostics.
    """
    problems = Diagnostics()
    _check_values("param", params, problems)
    by_name = {param.name: param for param in declared}
    for name, value in params.items():
        param = by_name.get(name)
        if param is None or value is None:
            continue  # null is the default
        _check_text(name, value, problems)
        if is_locked(param, trust_params):
            if value != default_of(param):
                hint = "the server allows it with --trust-params"
                problems.add("bad-value", None, f"param {name!r} cannot be given by a client", hint=hint)
        elif param.role in LANGUAGE_ROLES and not param.choices and not _LANGUAGE.fullmatch(str(value)):
            problems.add("bad-value", None, f"{show_value(value)} is not a language tag such as en or pt-BR")
    _raise(problems)


def require_settings_live(settings: Mapping[str, Any], graph: Graph | None) -> None:
    """Refuse settings that a client may not change; whether a value is right is for the graph's check to say.

    Args:
        settings: Values by ``element.setting``, from a client.
        graph: Has the elements; None when there is none, in which nothing may be set.

    Raises:
        GraphError: With diagnostics.
    """
    problems = Diagnostics()
    _check_values("setting", settings, problems)
    known = [setting.target for setting in live_settings(graph)] if graph else []
    for target, value in settings.items():
        _check_text(target, value, problems)
        if target not in known:
            close = did_you_mean(target, known)
            hint = f"did you mean {close!r}?" if close else f"there is {', '.join(known)}" if known else None
            problems.add("unknown-field", None, f"{target!r} cannot be set by a client", hint=hint)
    _raise(problems)


def _check_values(what: str, values: Mapping[str, Any], problems: Diagnostics) -> None:
    if len(values) > MAX_VALUES:
        problems.add("bad-value", None, f"more than {MAX_VALUES} values were given")
    for name, value in list(values.items())[:MAX_VALUES]:
        if len(name) > MAX_TEXT:
            problems.add("bad-value", None, f"the name of a {what} has more than {MAX_TEXT} characters")
        elif isinstance(value, str) and len(value) > MAX_TEXT:
            problems.add("bad-value", None, f"the value of {name!r} has more than {MAX_TEXT} characters")
        elif isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            problems.add("bad-value", None, f"the value of {name!r} is too large")
        elif not isinstance(value, str | int | float | None):
            problems.add("bad-value", None, f"the value of {name!r} must be one value, got {show_value(value)}")


def _check_text(name: str, value: Any, problems: Diagnostics) -> None:
    """A text must be one that UTF-8 can write: JSON may hold lone surrogates."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        problems.add("bad-value", None, f"the value of {show_value(name)} holds half a character")


def _raise(problems: Diagnostics) -> None:
    if problems.has_errors:
        raise GraphError(format_text(problems.sorted(), {}).rstrip(), problems.sorted())
