"""What a document declares, with bins expanded: elements with what they are given; nothing is known of types yet.

A bin is a reusable sub-graph: one direction of a conversation is a bin, the conversation is that bin twice::

    bins:
      direction:
        params: {from: , to: }
        elements:
          ast: {type: canary_ast, source_lang: "${param:from}", target_lang: "${param:to}"}
          tts: {type: espeak_tts, lang: "${param:to}"}
        links:
          - ast -> tts
        pads: {sink: ast.sink, src: tts.src}      # ghost pads; their names start with sink or src
    elements:
      there: {type: bin/direction, from: en, to: ru}

An instance is an element of type ``bin/NAME`` whose settings are the bin's params. Its elements are named
``there.ast`` and ``there.tts``; inside a bin only its own params are seen. ``on_error`` on an instance holds for those
of its elements that do not say otherwise. Bins may hold bins, but not themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.diagnostics import Diagnostics, did_you_mean, line_of
from tolmach.pipelines.language.document import (
    YamlEntry,
    YamlMapping,
    YamlScalar,
    YamlSequence,
    check_keys,
    count_values,
    is_null,
)
from tolmach.pipelines.language.include import Included
from tolmach.pipelines.language.variables import Expanded, ParamDef, Scope, expand, parse_params, resolve_params

__all__ = ["MAX_ELEMENTS", "NAME", "NAME_HINT", "DeclaredElement", "Level", "Override", "Setting", "expand_bins"]


class Setting(NamedTuple):
    """A setting as given: where its name stands, and its value."""

    key_span: Span
    value: Expanded


class Override(NamedTuple):
    """A setting given outside the document (``--set element.setting=value``)."""

    element: str
    setting: str
    given: Setting


class DeclaredElement(NamedTuple):
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
    elements: dict[str, DeclaredElement | Level | None] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    links: tuple[YamlScalar, ...] = ()
    ghosts: dict[str, YamlScalar] = field(default_factory=dict)
    links_broken: bool = False
    ghosts_broken: bool = False
    bins: tuple[str, ...] = ()

    def walk(self) -> Iterator[DeclaredElement]:
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


MAX_ELEMENTS = 1000
MAX_BIN_DEPTH = 16
MAX_EXPANDED_VALUES = 100_000
"""Bounds of what bins expand to; ten bins of ten bins of ten bins are ten lines."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_GHOST = re.compile(r"(sink|src)(_[A-Za-z0-9_]+)?")
_BIN_KEYS = ("description", "params", "elements", "links", "pads")
NAME_HINT = "use letters, digits, '_' and '-', not starting with a digit or '-'"


def expand_bins(
    root: YamlMapping,
    included: Included,
    overrides: list[Override],
    scope: Scope,
    problems: Diagnostics,
) -> Level:
    """Read ``bins``, ``elements`` and ``links`` of a document; instantiate its bins.

    Args:
        root: The document.
        included: What the document includes, whose bins are there too.
        overrides: Settings from outside; they replace what the document says.
        scope: Variables of the graph.
        problems: Takes what is wrong.

    Returns:
        The graph's own level with those of its bins inside.
    """
    bins: dict[str, _Bin] = {}
    for document in (*included.documents, root):  # the graph last: a name that is taken is told where it can be changed
        _read_bins(document.get("bins"), bins, document is not root, problems)
    return _Expander(bins, included.broken, overrides, scope.env, problems).graph(root, scope)


class _Bin(NamedTuple):
    name: str
    span: Span
    body: YamlMapping
    params: Mapping[str, ParamDef]
    size: int
    included: bool


def _read_bins(section: YamlEntry | None, bins: dict[str, _Bin], included: bool, problems: Diagnostics) -> None:
    """Add the bins of one document to those of others."""
    for entry in _mapping(section, "bins", problems):
        if not NAME.fullmatch(entry.key):
            problems.add("bad-value", entry.key_span, f"{entry.key!r} is not a name for a bin", hint=NAME_HINT)
            continue
        if not isinstance(entry.value, YamlMapping):
            problems.add(
                "bad-value", entry.value.span, f"bin {entry.key!r} must be a mapping of {', '.join(_BIN_KEYS)}"
            )
            continue
        if (other := bins.get(entry.key)) is not None:
            message = f"there is a bin {entry.key!r} already"
            notes = (f"declared on {line_of(other.span, entry.key_span.file)}",)
            problems.add("duplicate-key", entry.key_span, message, notes=notes, hint="rename one of them")
            continue
        check_keys(entry.value, _BIN_KEYS, "a bin", problems)
        params = parse_params(entry.value.get("params"), problems, of_bin=True)
        bins[entry.key] = _Bin(entry.key, entry.key_span, entry.value, params, count_values(entry.value), included)


def _mapping(entry: YamlEntry | None, what: str, problems: Diagnostics) -> Iterator[YamlEntry]:
    if entry is None or is_null(entry.value):
        return
    if isinstance(entry.value, YamlMapping):
        yield from entry.value
    else:
        problems.add("bad-value", entry.value.span, f"{what} must be a mapping")


class _Expander:
    def __init__(
        self,
        bins: Mapping[str, _Bin],
        incomplete: bool,
        overrides: list[Override],
        env: Mapping[str, str],
        problems: Diagnostics,
    ) -> None:
        self.bins, self.incomplete, self.env, self.problems = bins, incomplete, env, problems
        self.overrides: dict[str, list[Override]] = {}
        for override in overrides:
            self.overrides.setdefault(override.element, []).append(override)
        self.used: set[str] = set()
        self.names: dict[str, Span] = {}
        self.spent = 0
        self.full = False
        self.file = ""

    def graph(self, root: YamlMapping, scope: Scope) -> Level:
        level = Level("", root.span, bins=tuple(self.bins))
        self.file = root.span.file
        self.fill(level, root, scope, (), None)
        for element, overrides in self.overrides.items():
            if element not in self.names:
                close = did_you_mean(element, self.names)
                hint = f"did you mean '{close}'? declared on {self.line_of(self.names[close])}" if close else None
                for override in overrides:
                    message = f"no element named {element!r}"
                    self.problems.add("unknown-element", override.given.key_span, message, hint=hint)
        for name, found in self.bins.items():
            if name not in self.used and not found.included:  # a file of bins serves several graphs
                hint = f"use it (type: bin/{name}) or remove it"
                message = f"bin {name!r} is never used"
                self.problems.add("unused-element", found.span, message, hint=hint, severity="warning")
        return level

    def fill(
        self, level: Level, body: YamlMapping, scope: Scope, chain: tuple[str, ...], on_error: Expanded | None
    ) -> None:
        elements = body.get("elements")
        for entry in _mapping(elements, "elements", self.problems):
            if not NAME.fullmatch(entry.key):
                message = f"{entry.key!r} is not a name for an element"
                self.problems.add("bad-value", entry.key_span, message, hint=NAME_HINT)
                for called in (entry.key, *_WORD.findall(entry.key)[:1]):
                    level.elements.setdefault(called)
                continue
            level.spans[entry.key] = entry.key_span
            level.elements[entry.key] = self.element(level, entry, scope, chain, on_error)
        if elements is None or not isinstance(elements.value, YamlSequence):  # else no link can be right
            level.links = self.links(level, body.get("links"))
        for entry in _mapping(body.get("pads"), "pads", self.problems) if chain else ():
            self.ghost(level, entry)

    def links(self, level: Level, entry: YamlEntry | None) -> tuple[YamlScalar, ...]:
        if entry is None or is_null(entry.value):
            return ()
        if not isinstance(entry.value, YamlSequence):
            level.links_broken = True
            text = entry.value.text.lstrip("-").strip() if isinstance(entry.value, YamlScalar) else ""
            hint = f"- {text}" if text and "\n" not in text and len(text) <= 80 else "links: [a -> b -> c]"
            self.problems.add("bad-value", entry.value.span, "links must be a list of chains", hint=hint)
            return ()
        chains = []
        for item in entry.value.items:
            if isinstance(item, YamlScalar):
                chains.append(item)
            else:
                level.links_broken = True
                self.problems.add("bad-value", item.span, "a link must be a chain such as a -> b -> c")
        return tuple(chains)

    def ghost(self, level: Level, entry: YamlEntry) -> None:
        if not _GHOST.fullmatch(entry.key):
            message = f"{entry.key!r} is not a name for a pad of a bin"
            level.ghosts_broken = True
            self.problems.add("bad-value", entry.key_span, message, hint="start it with sink or src")
        elif not isinstance(entry.value, YamlScalar) or not entry.value.text:
            level.ghosts_broken = True
            message = f"pad {entry.key!r} of a bin must name a pad inside"
            self.problems.add("bad-value", entry.value.span, message, hint=f"{entry.key}: element.{entry.key[:4]}")
        else:
            level.ghosts[entry.key] = entry.value

    def element(
        self, level: Level, entry: YamlEntry, scope: Scope, chain: tuple[str, ...], on_error: Expanded | None
    ) -> DeclaredElement | Level | None:
        name = f"{level.name}.{entry.key}" if level.name else entry.key
        self.names[name] = entry.key_span
        if not isinstance(entry.value, YamlMapping):
            said = entry.value.text if isinstance(entry.value, YamlScalar) else "?"
            hint = f"{entry.key}: {{type: {said if NAME.fullmatch(said) else 'identity'}}}"
            if not said:
                hint = "indent its settings below it, further than its name"
            self.problems.add("bad-value", entry.value.span, f"element {entry.key!r} must be a mapping", hint=hint)
            return None
        if not self.afford(1, entry.key_span):
            return None
        settings = {e.key: Setting(e.key_span, expand(e.value, scope, self.problems)) for e in entry.value}
        for override in self.overrides.get(name, ()):
            settings[override.setting] = override.given
        kind = settings.pop("type", None)
        own_on_error = settings.pop("on_error", None)
        if kind is None:
            glued = next((s for s in settings if s.startswith("type:")), None)
            hint = f"{entry.key}: {{type: identity}}"
            if glued:
                hint = f"put a space behind the ':' in {glued!r}"
            self.problems.add("bad-value", entry.key_span, f"element {entry.key!r} has no type", hint=hint)
            return None
        if not self.is_type(entry.key, kind.value):
            return None
        on_error = own_on_error.value if own_on_error else on_error
        declared = DeclaredElement(name, entry.key, level.name, entry.key_span, kind.value, settings, on_error)
        if kind.value.value.startswith("bin/"):
            return self.instance(declared, chain)
        self.used.add(kind.value.value)  # a bin written without "bin/" is meant to be used
        return declared

    def is_type(self, local: str, kind: Expanded) -> bool:
        if kind.failed:
            return False
        if kind.unset:
            needed = ", ".join(sorted(kind.unset))
            message = f"the type of {local!r} depends on param {needed!r}, which has no value"
            self.problems.add("missing-param", kind.span, message, hint=f"give one with --set {needed}=...")
            return False
        if not isinstance(kind.value, str):
            self.problems.add("bad-value", kind.span, f"the type of {local!r} must be a name")
            return False
        return True

    def instance(self, declared: DeclaredElement, chain: tuple[str, ...]) -> Level | None:
        span, name = declared.type.span, declared.type.value.removeprefix("bin/")
        found = self.bins.get(name)
        if found is None and self.incomplete:
            return None  # it may be in the file that could not be included
        if found is None:
            close = did_you_mean(name, self.bins)
            hint = (
                f"did you mean 'bin/{close}'? declared on {self.line_of(self.bins[close].span, span)}"
                if close
                else None
            )
            self.problems.add("unknown-type", span, f"no bin named {name!r}", hint=hint)
            return None
        self.used.add(name)
        if name in chain:
            path = " -> ".join([*chain[chain.index(name) :], name])
            self.problems.add("cycle", span, f"bin {name!r} contains itself: {path}")
            return None
        if len(chain) >= MAX_BIN_DEPTH:
            self.problems.add("bad-value", span, f"bins are nested deeper than {MAX_BIN_DEPTH} levels")
            return None
        if not self.afford(found.size, span):
            return None
        level = Level(declared.name, declared.span)
        params = self.params(declared, found)
        self.fill(level, found.body, Scope(params, self.env, f"bin {name!r}"), (*chain, name), declared.on_error)
        return level

    def params(self, declared: DeclaredElement, found: _Bin) -> dict[str, Expanded]:
        given = {}
        mistyped = set()
        for name, setting in declared.settings.items():
            if name in found.params:
                given[name] = setting.value
                continue
            close = did_you_mean(name, found.params)
            mistyped.add(close)
            hint = None
            if close:
                hint = f"did you mean '{close}'? declared on {self.line_of(found.params[close].span, setting.key_span)}"
            self.problems.add("unknown-field", setting.key_span, f"bin {found.name!r} has no param {name!r}", hint=hint)
        values = resolve_params(found.params, given, self.env, self.problems, of_bin=True)
        for name, value in values.items():
            absent = name not in given or (given[name].value is None and not given[name].failed)
            if absent and value.unset and name not in mistyped:
                message = f"bin {found.name!r} needs param {name!r}"
                hint = f"{declared.local}: {{type: bin/{found.name}, {name}: ...}}"
                self.problems.add("missing-param", declared.span, message, hint=hint)
        return values

    def line_of(self, span: Span, seen_from: Span | None = None) -> str:
        # The command line is no file beside which a line could be counted: what it says is about the graph's own.
        file = self.file if seen_from is None or seen_from.file.startswith("<") else seen_from.file
        return line_of(span, file)

    def afford(self, values: int, span: Span) -> bool:
        self.spent += values
        if self.spent <= MAX_EXPANDED_VALUES and len(self.names) <= MAX_ELEMENTS:
            return True
        if not self.full:
            self.full = True
            self.problems.add("bad-value", span, f"the graph grows beyond {MAX_ELEMENTS} elements")
        return False
