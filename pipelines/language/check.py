"""A graph file, or a line → a checked graph, in named passes.

    parse → params → include → expand variables and bins → drafts (type, settings) → links (pads) → structure
    → negotiate

Each pass reports all it finds and leaves out what is broken, so that one mistake is one diagnostic. The builder knows
no element: what it needs stands in the specs of the registry.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from tolmach.pipelines.errors import Diagnostic, GraphError, Span
from tolmach.pipelines.graph import Graph, Link, Node
from tolmach.pipelines.language.bins import Level, Override, Setting, expand_bins
from tolmach.pipelines.language.diagnostics import (
    CheckStopped,
    Diagnostics,
    did_you_mean,
    format_text,
    show_value,
    split_lines,
)
from tolmach.pipelines.language.document import (
    YamlMapping,
    YamlScalar,
    YamlSequence,
    YamlValue,
    check_keys,
    check_version,
    is_null,
    parse_document,
    parse_value,
    read_source,
)
from tolmach.pipelines.language.drafts import DraftElement, make_drafts
from tolmach.pipelines.language.include import Included, IncludedFile, Includes, read_includes
from tolmach.pipelines.language.launch_line import LaunchLine, in_line_words, is_line, parse_line
from tolmach.pipelines.language.links import Linked, make_links
from tolmach.pipelines.language.negotiate import negotiate
from tolmach.pipelines.language.structure import check_ends, check_order, check_outputs, check_queues, topological_order
from tolmach.pipelines.language.terms import check_terms, voice_lines
from tolmach.pipelines.language.variables import Expanded, ParamDef, Scope, expand, parse_params, resolve_params
from tolmach.pipelines.model_host import HostPlace
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.shipped import shipped_graph

__all__ = [
    "COMMAND_LINE",
    "CheckResult",
    "Description",
    "GraphSource",
    "assemble",
    "check_graph",
    "graph_source",
    "load_graph",
    "parse_set",
    "plain_value",
]

COMMAND_LINE = "<command line>"
_KEYS = ("version", "name", "description", "commercial", "host", "include", "params", "bins", "elements", "links")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What checking a graph found.

    Attributes:
        graph: The graph, or None when there is any error.
        diagnostics: Every problem, by file, line and column.
        sources: Text of each file the diagnostics name, for :func:`tolmach.pipelines.language.diagnostics.format_text`.
        params: What the graph declares it can be given.
        included: The files that the graph includes, as they were found, by path.
    """

    graph: Graph | None
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    params: tuple[ParamDef, ...] = ()
    included: Mapping[str, IncludedFile] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return self.graph is not None

    def format_text(self, color: bool = False) -> str:
        """All diagnostics for people."""
        return format_text(self.diagnostics, self.sources, color)


def check_graph(
    source: Path | str | LaunchLine,
    *,
    text: str | None = None,
    params: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    registry: Registry | None = None,
    require_params: bool = False,
    includes: Includes | None = None,
) -> CheckResult:
    """Check a graph without building any element.

    Args:
        source: The graph file, or a line; only its name, for messages, when ``text`` is given.
        text: The document itself.
        params: Values of ``${param:…}``.
        overrides: Settings by ``element.setting`` (``bin.element.setting``, and ``bin.param`` for an instance).
        env: The environment; that of the process when None.
        registry: Element types; :meth:`Registry.default` when None.
        require_params: Whether a required param without a value is an error. Without it, settings that depend on
            one keep their default, or the text ``<param>`` when they have none.
        includes: Where the files lie that the graph includes; when None the folder of ``source``, and nowhere for a
            ``text``.

    Returns:
        The graph or what is wrong with it. Never raises for anything the document says.

    Raises:
        RegistryError: If installed element types contradict each other.
    """
    line = source if isinstance(source, LaunchLine) else None
    problems = Diagnostics(stops=True, words=str if line is None else in_line_words)
    file = str(source)
    path = Path(source) if text is None and not isinstance(source, LaunchLine) else None
    given = _Given(params or {}, overrides or {})
    environment = os.environ if env is None else env
    if line is not None:
        text = line.text
    elif path is not None:
        text = read_source(path, file, problems)
    elif text is not None:
        text = text.removeprefix("\ufeff")  # spans do not count it, so neither may what they are shown in
    if includes is None and line is not None and line.include:
        # Whoever writes the line names the files, so they may lie anywhere.
        includes = Includes(Path.cwd(), tuple(Path(each).parent for each in line.include))
    elif includes is None:
        includes = Includes(path.parent if path is not None else None)
    declared: dict[str, ParamDef] = {}
    included = Included()
    graph = None
    try:
        root: YamlValue | None = None
        if line is not None:
            root = parse_line(line, file, problems)
        elif text is not None:
            root = parse_document(text, file, problems)
        if root is not None and _check_root(root, problems):
            assert isinstance(root, YamlMapping)  # noqa: S101 -- checked by the line above
            declared = parse_params(root.get("params"), problems)
            values = _resolve(declared, given, environment, require_params, problems)
            name = _text(root, "name", problems) or (Path(file).stem if line is None else line.name)
            shown = {n: None if v.unset else v.value for n, v in values.items()}
            scope = Scope(values, environment)
            commercial = _commercial(root, scope, problems)
            host = _host(root, scope, problems)
            document = Description(name, _text(root, "description", problems) or "", path, shown, commercial, host)
            read_includes(root, file, includes, included, problems)
            level = expand_bins(root, included, given.overrides, scope, problems)
            graph = assemble(document, level, registry or Registry.default(), problems)
    except CheckStopped:
        graph = None  # which the diagnostics say
    sources = {file: text or "", **included.sources, **given.sources}
    found = problems.sorted()
    graph = None if problems.has_errors else graph
    return CheckResult(graph, found, sources, tuple(declared.values()), included.files)


def load_graph(
    source: Path | str | LaunchLine,
    *,
    text: str | None = None,
    params: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    registry: Registry | None = None,
    require_params: bool = False,
    includes: Includes | None = None,
) -> Graph:
    """The graph of a file; arguments as for :func:`check_graph`.

    Raises:
        GraphError: If there is any error; its text is all of them as :meth:`CheckResult.format_text` shows them.
        RegistryError: If installed element types contradict each other.
    """
    result = check_graph(
        source,
        text=text,
        params=params,
        overrides=overrides,
        env=env,
        registry=registry,
        require_params=require_params,
        includes=includes,
    )
    if result.graph is None:
        raise GraphError(result.format_text().rstrip(), result.diagnostics)
    return result.graph


def parse_set(assignments: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read ``--set name=value`` options into params and overrides.

    A name with a dot is an override of a setting, one without is a param. Values are YAML 1.2 scalars (or flow
    collections); the last of several values for one name counts.

    Raises:
        GraphError: If an option is not ``name=value``, with one diagnostic for each.
    """
    problems = Diagnostics()
    params: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    lines = []
    for number, assignment in enumerate(assignments, start=1):
        lines.append(f"{_SET}{assignment}")
        name, equals, value = assignment.partition("=")
        name = name.strip()
        span = Span(COMMAND_LINE, number, len(_SET) + 1, max(1, len(assignment)))
        if not equals or not name:
            problems.add("bad-value", span, f"{assignment!r} is not name=value", hint="--set target_lang=ru")
            continue
        try:
            (overrides if "." in name else params)[name] = parse_value(value)
        except ValueError as error:
            problems.add("bad-value", span, f"the value of {name!r} is not YAML: {error}")
    if problems.has_errors:
        raise GraphError(format_text(problems.sorted(), {COMMAND_LINE: "\n".join(lines)}).rstrip(), problems.sorted())
    return params, overrides


_SET = "--set "


@dataclass(frozen=True, slots=True)
class Description:
    """What a graph says about itself.

    Attributes:
        name: Its name.
        description: For people, or "".
        path: The file it comes from, or None.
        params: Values of its params.
        commercial: Where it says that it is to be used commercially; None where it does not.
        host: Where its models run, if it says so.
    """

    name: str
    description: str
    path: Path | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    commercial: Span | None = None
    host: HostPlace | None = None


class _Given:
    """Params and overrides from outside, with places in a text that shows them as options."""

    def __init__(self, params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        lines: list[str] = []

        def setting(name: str, value: Any) -> Setting:
            shown = value if isinstance(value, str) else show_value(value)
            shown = " ".join(split_lines(shown))
            lines.append(f"{_SET}{name}={shown}")
            at = len(_SET) + 1
            key = Span(COMMAND_LINE, len(lines), at, max(1, len(name)))
            return Setting(
                key, plain_value(value, Span(COMMAND_LINE, len(lines), at + len(name) + 1, max(1, len(shown))))
            )

        self.params = {name: setting(name, value) for name, value in params.items()}
        self.overrides = []
        for target, value in overrides.items():
            element, _, name = target.rpartition(".")
            self.overrides.append(Override(element, name, setting(target, value)))
        self.sources = {COMMAND_LINE: "\n".join(lines)} if lines else {}


def plain_value(value: Any, span: Span) -> Expanded:
    """A value that holds no variables and stands, with all its parts, at one place."""
    if isinstance(value, Mapping):
        return Expanded(dict(value), span, children={k: plain_value(v, span) for k, v in value.items()})
    if isinstance(value, list | tuple):
        return Expanded(list(value), span, children={i: plain_value(v, span) for i, v in enumerate(value)})
    return Expanded(os.fspath(value) if isinstance(value, os.PathLike) else value, span)


def _check_root(root: object, problems: Diagnostics) -> bool:
    """Whether the document has the top-level keys that the passes read; reports what is wrong with them."""
    if not isinstance(root, YamlMapping):
        span = root.span if isinstance(root, YamlScalar | YamlSequence) else None
        problems.add("bad-value", span, "a graph must be a mapping", hint="start with `version: 1`")
        return False
    check_keys(root, _KEYS, "a graph", problems)
    check_version(root, "the graph", problems)
    top = Span(root.span.file, root.span.line, root.span.column)
    missing = [key for key in ("elements", "links") if root.get(key) is None]
    if (elements := root.get("elements")) and _is_empty(elements.value):
        problems.add("bad-value", elements.key_span, "the graph has no elements", hint=_ELEMENTS_HINT)
    meant = {did_you_mean(entry.key, _KEYS) for entry in root if entry.key not in _KEYS}
    for key in missing:
        if key in meant:
            continue  # said where it is misspelt
        hint = _ELEMENTS_HINT if key == "elements" else "links: [in -> out]"
        if len(missing) == 2 and root.get("bins"):
            hint = "a file with bins alone is for `include:` of a graph"
        problems.add("bad-value", top, f"the graph has no {key}", hint=hint)
    return not missing


_ELEMENTS_HINT = "elements: {in: {type: file_src, path: a.wav}}"


def _is_empty(written: YamlValue) -> bool:
    if isinstance(written, YamlScalar):
        return is_null(written)
    return not (written.items if isinstance(written, YamlSequence) else written.entries)


def _text(root: YamlMapping, key: str, problems: Diagnostics) -> str | None:
    entry = root.get(key)
    if entry is None or is_null(entry.value):
        return None
    if isinstance(entry.value, YamlScalar):
        return entry.value.text
    problems.add("bad-value", entry.value.span, f"{key} must be a text")
    return None


def _commercial(root: YamlMapping, scope: Scope, problems: Diagnostics) -> Span | None:
    """Where the graph says ``commercial: true``, if it does."""
    entry = root.get("commercial")
    if entry is None or is_null(entry.value):
        return None
    said = expand(entry.value, scope, problems)
    if said.failed or said.unset:
        return None
    if not isinstance(said.value, bool):
        problems.add("bad-value", said.span, "commercial must be true or false")
    return entry.key_span if said.value is True else None


def _host(root: YamlMapping, scope: Scope, problems: Diagnostics) -> HostPlace | None:
    """Where the graph says that its models run, if it does."""
    entry = root.get("host")
    if entry is None or is_null(entry.value):
        return None
    said = expand(entry.value, scope, problems)
    if said.free:
        # Whoever may give params could have this process join a cluster of theirs, which runs what it likes.
        problems.add(
            "bad-value",
            said.span,
            f"host is made from param {min(said.free)!r}, which may be anything",
            hint="list its choices, use ${env:...}, or give --model-host",
        )
        return None
    if said.failed or said.unset:
        return None
    if not isinstance(said.value, str):
        problems.add("bad-value", said.span, "host must be a text", hint="host: ray:auto,replicas=2")
        return None
    try:
        return HostPlace.parse(said.value)
    except GraphError as error:
        problems.add("bad-value", said.span, str(error))
        return None


def _resolve(
    declared: Mapping[str, ParamDef],
    given: _Given,
    env: Mapping[str, str],
    require_params: bool,
    problems: Diagnostics,
) -> dict[str, Expanded]:
    for name, setting in given.params.items():
        if name not in declared:
            close = did_you_mean(name, declared)
            listed = f"its params are {', '.join(declared)}" if declared else "it has no params"
            hint = f"did you mean '{close}'? declared on line {declared[close].span.line}" if close else listed
            problems.add("missing-param", setting.key_span, f"the graph has no param named {name!r}", hint=hint)
    values = resolve_params(declared, {n: s.value for n, s in given.params.items()}, env, problems)
    for name, value in values.items():
        if require_params and value.unset:
            values[name] = replace(value, failed=True)  # whatever depends on it has nothing to add
            notes = (declared[name].description,) if declared[name].description else ()
            hint = f"give one with --set {name}=..."
            problems.add("missing-param", declared[name].span, f"param {name!r} has no value", notes=notes, hint=hint)
    return values


def assemble(document: Description, level: Level, registry: Registry, problems: Diagnostics) -> Graph | None:
    """From declared elements and chains to a graph: the passes that do not care where these come from.

    Args:
        document: What the graph says about itself.
        level: Its elements and links.
        registry: Element types.
        problems: Takes what is wrong.

    Returns:
        The graph, or None if there is any error.

    Raises:
        CheckStopped: If ``problems`` stops.
    """
    drafts = make_drafts(level.walk(), registry, problems, level.bins)
    linked = make_links(level, drafts, problems)
    check_ends(drafts, linked, problems)
    check_outputs(drafts, problems)
    order = topological_order(tuple(drafts), linked.links, problems)
    if order is None:
        return None
    check_queues(order, drafts, linked.links, problems)
    check_order(order, drafts, linked.links, problems)
    unsure = {name for name, draft in drafts.items() if draft.unsure}
    caps = negotiate(order, linked.pads, linked.links, problems, unsure, voice_lines(drafts, registry))
    if problems.has_errors:
        return None
    graph = Graph(
        name=document.name,
        description=document.description,
        path=document.path,
        params=document.params,
        nodes=_nodes(drafts, linked),
        links=tuple(Link(li.src, li.sink, c, li.span) for li, c in zip(linked.links, caps, strict=True)),
        order=order,
        commercial=document.commercial is not None,
        host=document.host,
    )
    if document.commercial is not None:
        check_terms(graph, document.commercial, problems)
    return graph


def _nodes(drafts: Mapping[str, DraftElement], linked: Linked) -> dict[str, Node]:
    nodes = {}
    for name, draft in drafts.items():
        assert draft.spec is not None  # noqa: S101 -- a draft without either was reported
        assert draft.settings is not None  # noqa: S101
        span, inside = draft.declared.span, draft.declared.bin
        nodes[name] = Node(name, draft.spec, draft.settings, linked.pads[name], draft.on_error, inside, span)
    return nodes


GraphSource: TypeAlias = Path | LaunchLine
"""Where a graph is written; :func:`tolmach.pipelines.language.check.check_graph` takes it."""


def graph_source(name: str | Path) -> GraphSource:
    """What ``name`` stands for: a file, ``phrasebook``, or ``test_src ! fake_sink``.

    An existing file wins, whatever it is called. A line is known by a ``!`` that stands by itself; what is
    wrong with it, the check says.

    Raises:
        GraphError: If it is none of them; says which graphs ship.
    """
    if isinstance(name, str) and is_line(name) and not _is_file(name):
        return LaunchLine(name)
    return shipped_graph(name)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # a line may be longer than any name
            raise
        return False
