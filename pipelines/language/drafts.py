"""Declared elements → drafts: elements of a known type with valid settings.

Pydantic says what is wrong in its own words; here every problem becomes one plain sentence with the range of the
field, at the place of the value.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import annotated_types
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from tolmach.pipelines.element import ElementSpec, OnError, Pad, Settings, code_settings
from tolmach.pipelines.language.bins import DeclaredElement, Setting
from tolmach.pipelines.language.diagnostics import Diagnostics, did_you_mean, show_value, suggest
from tolmach.pipelines.language.variables import Expanded
from tolmach.pipelines.registry import Registry

__all__ = ["DraftElement", "make_drafts", "valid_settings"]


_ON_ERROR = typing.get_args(OnError)


class DraftElement(NamedTuple):
    """An element whose type and settings have been looked up; its pads are not linked yet.

    Attributes:
        declared: As declared.
        spec: Its type; None when it is unknown.
        settings: Valid settings; None when they are not.
        templates: Its pads and pad templates; None when they cannot be known, and nothing is said about its links.
        on_error: Its failure policy.
        unsure: Whether its pads depend on a param that has no value yet.
    """

    declared: DeclaredElement
    spec: ElementSpec | None = None
    settings: Settings | None = None
    templates: tuple[Pad, ...] | None = None
    on_error: OnError = "fail"
    unsure: bool = False


def make_drafts(
    elements: Iterable[DeclaredElement], registry: Registry, problems: Diagnostics, bins: Sequence[str]
) -> dict[str, DraftElement]:
    """Look up types and check settings; reports ``unknown-type``, ``unknown-field`` and ``bad-value``.

    Args:
        elements: As declared.
        registry: Element types.
        problems: Takes what is wrong.
        bins: Names of the document's bins, for a type that was meant to be one.
    """
    return {declared.name: _make_draft(declared, registry, problems, bins) for declared in elements}


def _make_draft(
    declared: DeclaredElement, registry: Registry, problems: Diagnostics, bins: Sequence[str]
) -> DraftElement:
    on_error = _on_error(declared, problems)
    name = declared.type.value
    if name not in registry:
        close = f"bin/{name}" if name in bins else did_you_mean(name, registry)
        hint = f"did you mean '{close}'?" if close else "`tolmach inspect` lists the types there are"
        problems.add("unknown-type", declared.type.span, f"no element type named {name!r}", hint=hint)
        return DraftElement(declared)
    spec = registry.get(name)
    _refuse_code_from_outside(declared, spec, problems)
    settings = valid_settings(declared, spec, problems)
    if settings is None:
        # Pads of a fixed tuple are known whatever the settings: links to the element can still be checked.
        return DraftElement(declared, spec, None, spec.pads if isinstance(spec.pads, tuple) else None)
    unset = {name: min(s.value.unset) for name, s in declared.settings.items() if s.value.unset}
    if unset and not isinstance(spec.pads, tuple):
        return _unsure_draft(declared, spec, settings, unset, on_error or spec.on_error, problems)
    try:
        templates = spec.pads_for(settings)
    except ValueError as error:
        problems.add("bad-value", declared.span, f"{spec.type}: {error}")
        return DraftElement(declared, spec)
    return DraftElement(declared, spec, settings, templates, on_error or spec.on_error)


def _refuse_code_from_outside(declared: DeclaredElement, spec: ElementSpec, problems: Diagnostics) -> None:
    for name, mark in code_settings(spec.settings).items():
        setting = declared.settings.get(name)
        for found in _names_of_code(setting.value, mark.key) if setting is not None else ():
            if found.free:
                param = min(found.free)
                message = f"{name} names code that is imported, and param {param!r} may be anything"
                hint = f"write it out, or list what it may be: {param}: {{choices: [...]}}"
                problems.add("bad-value", found.span, message, hint=hint)


def _names_of_code(value: Expanded, key: str) -> Iterator[Expanded]:
    if not key:
        yield value
        return
    if not value.children and isinstance(value.value, dict | list) and value.free:
        yield value  # a param that is a whole collection
    for name, child in value.children.items():
        if name == key:
            yield child
        else:
            yield from _names_of_code(child, key)


class _Watch:
    """Settings that remember what was read of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._settings, name)


def _unsure_draft(
    declared: DeclaredElement,
    spec: ElementSpec,
    settings: Settings,
    unset: Mapping[str, str],
    on_error: OnError,
    problems: Diagnostics,
) -> DraftElement:
    """A draft some settings of which (name → param) have no value yet, but may decide what its pads are."""
    fields = type(settings).model_fields
    # "<name>" is no word that caps can hold; the bare name is, and which one it is will not matter.
    words = {name: param for name, param in unset.items() if name in fields and fields[name].is_required()}
    for stand_in in (settings, settings.model_copy(update=words)):
        watch = _Watch(stand_in)
        try:
            templates = spec.pads_for(cast("Settings", watch))
        except (ValueError, TypeError, AttributeError, LookupError):
            continue
        # A property may have read anything.
        unsure = any(name in unset or name not in fields for name in watch.read)
        return DraftElement(declared, spec, settings, templates, on_error, unsure)
    param = next(iter(unset.values()))
    message = f"the pads of {declared.local!r} depend on param {param!r}, which has no value"
    problems.add("missing-param", declared.span, message, hint=f"give one with --set {param}=...")
    return DraftElement(declared, spec)


def _on_error(declared: DeclaredElement, problems: Diagnostics) -> OnError | None:
    given = declared.on_error
    if given is None or given.failed or given.unset:
        return None
    if given.value in _ON_ERROR:
        return cast("OnError", given.value)
    message = f"on_error must be one of {', '.join(map(repr, _ON_ERROR))}, got {show_value(given.value)}"
    problems.add("bad-value", given.span, message, hint=suggest(str(given.value), _ON_ERROR))
    return None


def valid_settings(declared: DeclaredElement, spec: ElementSpec, problems: Diagnostics) -> Settings | None:
    """Settings as declared; None (and ``unknown-field`` or ``bad-value``) when they are not valid."""
    fields = spec.settings.model_fields
    given = declared.settings
    values = {}
    for name, setting in given.items():
        # A setting whose param has no value yet keeps its default, so that a graph can be checked without its inputs.
        if not (setting.value.unset and name in fields and not fields[name].is_required()):
            values[name] = setting.value.value
    failed = any(setting.value.failed for setting in given.values())
    try:
        settings = spec.settings.model_validate(values)
    except ValidationError as error:
        unset = any(setting.value.unset for setting in given.values())
        excused = {name for name, setting in given.items() if setting.value.failed or setting.value.unset}
        if failed or unset:
            excused.add("")  # a rule about several settings may stumble over what stands in for one of them
        blamed = [
            f
            for f in (_SettingError(spec, e, given) for e in error.errors(include_url=False))
            if f.field not in excused
        ]
        groups: dict[tuple[str | int, ...], list[_SettingError]] = {}
        for item in blamed:
            groups.setdefault(item.path, []).append(item)
        for group in groups.values():
            _report(group, declared, spec, problems)
        # When only placeholders of unset params are wrong, the element is as right as it can be before it gets them.
        return None if failed or blamed else spec.settings.model_construct(None, **values)
    for name, value in values.items():
        # Pydantic takes true for 1; nobody writes `channels: true` and means it.
        if isinstance(value, bool) and type(getattr(settings, name)) in (int, float):
            notes = [_describe(name, fields[name])]
            message = f"{name} must be a number, got {show_value(value)}"
            problems.add("bad-value", given[name].value.span, message, notes=notes)
            failed = True
    return None if failed else settings


class _SettingError:
    """One error of pydantic and the part of the settings it speaks of."""

    def __init__(self, spec: ElementSpec, error: Any, given: Mapping[str, Setting]) -> None:
        self.kind: str = error["type"]
        self.context: dict[str, Any] = error.get("ctx", {})
        self.text: str = error["msg"]
        self.input: Any = error.get("input")
        location = error["loc"]
        self.field = str(location[0]) if location else ""
        self.path: tuple[str | int, ...] = location[:1]
        self.value: Expanded | None = given[self.field].value if self.field in given else None
        # Further parts of the location are indices and keys, or names of union members, which lead nowhere.
        for step in location[1:]:
            if self.value is None or step not in self.value.children:
                if self.kind in ("missing", "extra_forbidden") and step == location[-1]:
                    self.path = (*self.path, step)
                continue
            self.value = self.value.children[step]
            self.path = (*self.path, step)

    @property
    def name(self) -> str:
        return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in self.path).lstrip(".")


def _report(group: list[_SettingError], declared: DeclaredElement, spec: ElementSpec, problems: Diagnostics) -> None:
    first = group[0]
    fields = spec.settings.model_fields
    info = fields.get(first.field)
    setting = declared.settings.get(first.field)
    span = first.value.span if first.value else setting.value.span if setting else declared.span
    notes = [_describe(first.field, info)] if info is not None and info.description else []
    if first.kind == "extra_forbidden":
        if setting is not None and len(first.path) == 1:
            span = setting.key_span
        known = list(fields) if len(first.path) == 1 else []
        listed = (
            f"its settings are {', '.join(known)}" if known else "it has no settings" if len(first.path) == 1 else None
        )
        hint = suggest(str(first.path[-1]), known, listed)
        if str(first.path[-1]).partition(":")[0] in known:
            hint = f"put a space behind the ':' in {str(first.path[-1])!r}"
        problems.add("unknown-field", span, f"{spec.type} has no setting {first.name!r}", hint=hint)
    elif first.kind == "missing":
        message = f"{spec.type} needs the setting {first.name!r}"
        hint = f"{declared.local}: {{type: {spec.type}, {first.field}: ...}}" if len(first.path) == 1 else None
        problems.add("bad-value", span, message, notes=notes, hint=hint)
    elif first.kind in ("value_error", "assertion_error"):
        said = str(first.context.get("error", first.text))
        problems.add("bad-value", span, f"{first.name or spec.type}: {said}", notes=notes if first.name else ())
    else:
        wanted = _must(group, info)
        value = first.value.value if first.value else first.input
        hint = _hint(wanted, value, group)
        problems.add(
            "bad-value", span, f"{first.name} must be {wanted}, got {show_value(value)}", notes=notes, hint=hint
        )


def _describe(name: str, info: FieldInfo) -> str:
    default = "" if info.is_required() or info.default is None else f" Default {show_value(info.default)}."
    return f"{name}: {info.description}{default}"


def _must(group: list[_SettingError], info: FieldInfo | None) -> str:
    """What a value must be: the union of what its alternatives ask for."""
    whole = len(group[0].path) == 1
    said = []
    for found in group:
        phrase = _phrase(found, info if whole else None)
        if phrase not in said:
            said.append(phrase)
    return " or ".join(said)


_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text", "path": "a path"}
_COLLECTIONS = {"list": "a list", "tuple": "a list", "set": "a list", "dict": "a mapping", "model": "a mapping"}
_RANGES = {"greater_than_equal": "ge", "greater_than": "gt", "less_than_equal": "le", "less_than": "lt"}


def _phrase(found: _SettingError, info: FieldInfo | None) -> str:
    kind, context = found.kind, found.context
    if kind in ("literal_error", "enum"):
        choices = str(context["expected"]).replace(" or ", ", ")
        return f"one of {choices}" if "," in choices else choices
    if kind in _RANGES:
        limits = {_RANGES[kind]: context[_RANGES[kind]], **_limits(info)}
        return _range(limits)
    if kind == "multiple_of":
        return f"a multiple of {context['multiple_of']}"
    if kind == "finite_number":
        return "a finite number"
    if kind == "string_pattern_mismatch":
        return f"a text that matches {context['pattern']}"
    if kind.endswith(("too_short", "too_long")):
        unit = "characters" if kind.startswith("string") else "items"
        if kind.endswith("too_short"):
            return "not empty" if context["min_length"] == 1 else f"at least {context['min_length']} {unit} long"
        return f"at most {context['max_length']} {unit} long"
    family = kind.split("_")[0]
    if family in _TYPES:
        limits = _limits(info) if family in ("int", "float") else {}
        return f"{_TYPES[family]}, {_range(limits)}" if limits else _TYPES[family]
    if family in _COLLECTIONS:
        return _COLLECTIONS[family]
    return found.text[:1].lower() + found.text[1:]


def _limits(info: FieldInfo | None) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for item in info.metadata if info else ():
        parts = list(item) if isinstance(item, annotated_types.GroupedMetadata) else [item]
        for part in parts:
            limits |= {name: getattr(part, name) for name in ("ge", "gt", "le", "lt") if hasattr(part, name)}
    return limits


def _range(limits: dict[str, Any]) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return " and ".join(f"{words[name]} {limits[name]}" for name in words if limits.get(name) is not None)


def _hint(wanted: str, value: Any, group: list[_SettingError]) -> str | None:
    if any(f.kind in ("literal_error", "enum") for f in group) and isinstance(value, str):
        choices = [c for f in group for c in str(f.context.get("expected", "")).split("'")[1::2]]
        return suggest(value, choices)
    if wanted == "a text" and isinstance(value, bool | int | float):
        return "put it in quotes"
    return None
