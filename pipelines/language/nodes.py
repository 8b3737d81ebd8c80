"""Declared elements → elements of a known type with valid settings.

Pydantic says what is wrong in its own words; here every problem becomes one plain sentence with the range of the
field, at the place of the value.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import annotated_types
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from tolmach.pipelines.element import ElementSpec, OnError, Pad, Settings
from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.diagnostics import Diagnostics, did_you_mean, show_value
from tolmach.pipelines.language.document import ScalarNode
from tolmach.pipelines.language.variables import Expanded
from tolmach.pipelines.registry import Registry

__all__ = ["Declared", "Draft", "Level", "Override", "Setting", "make_nodes"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as given: where its name stands, and its value."""

    key_span: Span
    value: Expanded


@dataclass(frozen=True, slots=True)
class Override:
    """A setting given outside the document (``--set element.setting=value``)."""

    element: str
    setting: str
    given: Setting


@dataclass(frozen=True, slots=True)
class Declared:
    """An element as declared; nothing is known about its type yet.

    Attributes:
        name: Name in the graph, ``bin.element`` inside a bin.
        local: Name at its own level.
        bin: Name of the bin instance it is in, or "".
        span: Where its name stands.
        type: Its type and where that stands.
        settings: What it was given, by name.
        on_error: Its failure policy, or None for that of its type.
    """

    name: str
    local: str
    bin: str
    span: Span
    type: Expanded
    settings: Mapping[str, Setting]
    on_error: Expanded | None


@dataclass(slots=True)
class Level:
    """The graph itself, or one instance of a bin.

    Attributes:
        name: "" for the graph, else the name of the instance.
        span: Where it is declared.
        elements: Elements and bin instances by local name; None for one that is broken and reported, also under what
            a link may call it when its name is what is wrong.
        spans: Where each local name is declared.
        links: Chains as written.
        ghosts: Ghost pads: name → ``element.pad`` as written.
        links_broken: Whether a link, or all of them, could not be read: who seems unlinked may be in it.
        ghosts_broken: Whether a ghost pad was refused, so that it may be the one a link asks for.
        bins: Names of the bins of the document; only the graph's own level has them.
    """

    name: str
    span: Span
    elements: dict[str, Declared | Level | None] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    links: tuple[ScalarNode, ...] = ()
    ghosts: dict[str, ScalarNode] = field(default_factory=dict)
    links_broken: bool = False
    ghosts_broken: bool = False
    bins: tuple[str, ...] = ()

    def walk(self) -> Iterator[Declared]:
        """All elements of this level and those below, in the order of declaration."""
        for element in self.elements.values():
            if isinstance(element, Level):
                yield from element.walk()
            elif element is not None:
                yield element

    def levels(self) -> Iterator[Level]:
        """This level and those below."""
        yield self
        for element in self.elements.values():
            if isinstance(element, Level):
                yield from element.levels()


_ON_ERROR = typing.get_args(OnError)


@dataclass(frozen=True, slots=True)
class Draft:
    """An element on its way into a graph.

    Attributes:
        declared: As declared.
        spec: Its type; None when it is unknown.
        settings: Valid settings; None when they are not.
        templates: Its pads and pad templates; None when they cannot be known, and nothing is said about its links.
        on_error: Its failure policy.
        unsure: Whether its pads depend on a param that has no value yet.
    """

    declared: Declared
    spec: ElementSpec | None = None
    settings: Settings | None = None
    templates: tuple[Pad, ...] | None = None
    on_error: OnError = "fail"
    unsure: bool = False


def make_nodes(
    elements: Iterable[Declared], registry: Registry, problems: Diagnostics, bins: Sequence[str] = ()
) -> dict[str, Draft]:
    """Look up types and check settings; reports ``unknown-type``, ``unknown-field`` and ``bad-value``.

    Args:
        elements: As declared.
        registry: Element types.
        problems: Takes what is wrong.
        bins: Names of the document's bins, for a type that was meant to be one.
    """
    return {declared.name: _make_node(declared, registry, problems, bins) for declared in elements}


def _make_node(declared: Declared, registry: Registry, problems: Diagnostics, bins: Sequence[str]) -> Draft:
    on_error = _on_error(declared, problems)
    name = declared.type.value
    if name not in registry:
        close = f"bin/{name}" if name in bins else did_you_mean(name, registry)
        hint = f"did you mean '{close}'?" if close else "`tolmach inspect` lists the types there are"
        problems.add("unknown-type", declared.type.span, f"no element type named {name!r}", hint=hint)
        return Draft(declared)
    spec = registry.get(name)
    settings = _settings(declared, spec, problems)
    if settings is None:
        # Pads of a fixed tuple are known whatever the settings: links to the element can still be checked.
        return Draft(declared, spec, None, spec.pads if isinstance(spec.pads, tuple) else None)
    unset = {name: min(s.value.unset) for name, s in declared.settings.items() if s.value.unset}
    if unset and not isinstance(spec.pads, tuple):
        return _unsure_node(declared, spec, settings, unset, on_error or spec.on_error, problems)
    try:
        templates = spec.pads_for(settings)
    except ValueError as error:
        problems.add("bad-value", declared.span, f"{spec.type}: {error}")
        return Draft(declared, spec)
    return Draft(declared, spec, settings, templates, on_error or spec.on_error)


class _Watch:
    """Settings that remember what was read of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._settings, name)


def _unsure_node(
    declared: Declared,
    spec: ElementSpec,
    settings: Settings,
    unset: Mapping[str, str],
    on_error: OnError,
    problems: Diagnostics,
) -> Draft:
    """A node some settings of which (name → param) have no value yet, but may decide what its pads are."""
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
        return Draft(declared, spec, settings, templates, on_error, unsure)
    param = next(iter(unset.values()))
    message = f"the pads of {declared.local!r} depend on param {param!r}, which has no value"
    problems.add("missing-param", declared.span, message, hint=f"give one with --set {param}=...")
    return Draft(declared, spec)


def _on_error(declared: Declared, problems: Diagnostics) -> OnError | None:
    given = declared.on_error
    if given is None or given.failed or given.unset:
        return None
    if given.value in _ON_ERROR:
        return cast("OnError", given.value)
    close = did_you_mean(str(given.value), _ON_ERROR)
    message = f"on_error must be one of {_listed(_ON_ERROR)}, got {show_value(given.value)}"
    problems.add("bad-value", given.span, message, hint=f"did you mean '{close}'?" if close else None)
    return None


def _settings(declared: Declared, spec: ElementSpec, problems: Diagnostics) -> Settings | None:
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
            f for f in (_Found(spec, e, given) for e in error.errors(include_url=False)) if f.field not in excused
        ]
        for group in _grouped(blamed):
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


class _Found:
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


def _grouped(found: list[_Found]) -> Iterator[list[_Found]]:
    groups: dict[tuple[str | int, ...], list[_Found]] = {}
    for item in found:
        groups.setdefault(item.path, []).append(item)
    yield from groups.values()


def _report(group: list[_Found], declared: Declared, spec: ElementSpec, problems: Diagnostics) -> None:
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
        close = did_you_mean(str(first.path[-1]), known)
        listed = (
            f"its settings are {', '.join(known)}" if known else "it has no settings" if len(first.path) == 1 else None
        )
        hint = f"did you mean '{close}'?" if close else listed
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


def _must(group: list[_Found], info: FieldInfo | None) -> str:
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


def _phrase(found: _Found, info: FieldInfo | None) -> str:
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


def _hint(wanted: str, value: Any, group: list[_Found]) -> str | None:
    if any(f.kind in ("literal_error", "enum") for f in group) and isinstance(value, str):
        choices = [c for f in group for c in _quoted(str(f.context.get("expected", "")))]
        close = did_you_mean(value, choices)
        return f"did you mean '{close}'?" if close else None
    if wanted == "a text" and isinstance(value, bool | int | float):
        return "put it in quotes"
    return None


def _quoted(text: str) -> list[str]:
    return text.split("'")[1::2]


def _listed(values: Iterable[str]) -> str:
    return ", ".join(repr(v) for v in values)
