"""Download and verify the models that a graph, or an element type, needs; say how large they are and where they lie.

Exit status 0 when everything is there, 1 when something could not be had.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tolmach.pipelines.cli.main import EXIT_FAILED, EXIT_OK, interruptible
from tolmach.pipelines.cli.options import add_set, add_trust, includes_of
from tolmach.pipelines.describe.reference import example_values
from tolmach.pipelines.element import ElementSpec, Settings
from tolmach.pipelines.errors import GraphError, TolmachError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import GraphSource, check_graph, graph_source, load_graph, parse_set
from tolmach.pipelines.language.include import Includes
from tolmach.pipelines.language.variables import ParamDef
from tolmach.pipelines.models.caches import added, files_in, size_text, snapshot
from tolmach.pipelines.registry import Registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "what",
        nargs="+",
        metavar="GRAPH|TYPE",
        help="graph file, name of a shipped graph, a line ('a ! b'), or element type",
    )
    add_set(parser, "a param, a setting as element.setting, or for a TYPE a setting")
    add_trust(parser)


@dataclass(frozen=True, slots=True)
class PrefetchCall:
    """One call of a prefetch function.

    Attributes:
        name: Whose models they are, for people.
        target: ``module:function``.
        settings: What it is called with.
    """

    name: str
    target: str
    settings: Settings


def run(args: argparse.Namespace) -> int:
    """Fetch everything, also after a failure."""
    calls: list[PrefetchCall] = []
    for name in args.what:
        calls += _calls(name, args)
    # Two elements with the same settings need the same files.
    unique = {(call.target, repr(call.settings)): call for call in calls}
    if not unique:
        print("nothing to fetch: no element of it downloads anything")
    # A list, not a generator: what comes after a failure is fetched all the same.
    done = [_fetch(call) for call in unique.values()]
    return EXIT_OK if all(done) else EXIT_FAILED


def _calls(name: str, args: argparse.Namespace) -> Iterator[PrefetchCall]:
    registry = Registry.default()
    if name in registry and not Path(name).is_file():
        spec = registry.get(name)
        if spec.prefetch is not None:
            yield PrefetchCall(name, spec.prefetch, _settings(spec, args.set))
        return
    params, overrides = parse_set(args.set)
    source = graph_source(name)
    includes = includes_of(source, args)
    calls = _calls_of(load_graph(source, params=params, overrides=overrides, includes=includes))
    for param in _unset(source, params, overrides, includes) if calls else ():
        # With another value for it, would something else be fetched? Then guessing would fetch the wrong thing.
        values = {**params, param.name: _some_value(param)}
        other = check_graph(source, params=values, overrides=overrides, includes=includes).graph
        if other is None or _calls_of(other) != calls:
            raise GraphError(f"{name}: what to fetch depends on param {param.name!r}; give --set {param.name}=...")
    yield from calls


def _calls_of(graph: Graph) -> list[PrefetchCall]:
    return [
        PrefetchCall(f"{node.name} ({node.spec.type})", node.spec.prefetch, graph.settled(node.name))
        for node in graph.nodes.values()
        if node.spec.prefetch is not None
    ]


def _unset(
    source: GraphSource, params: Mapping[str, Any], overrides: Mapping[str, Any], includes: Includes
) -> list[ParamDef]:
    declared = check_graph(source, params=params, overrides=overrides, includes=includes).params
    return [p for p in declared if p.required and p.name not in params]


def _some_value(param: ParamDef) -> object:
    return param.choices[0] if param.choices else f"some-{param.name}"


def _settings(spec: ElementSpec, assignments: list[str]) -> Settings:
    given, dotted = parse_set(assignments)
    if dotted:
        raise GraphError(f"{next(iter(dotted))!r}: the settings of a type are given by name alone, --set NAME=VALUE")
    required = {name for name, field in spec.settings.model_fields.items() if field.is_required()}
    # Settings that have no default come from the example: which file they name does not depend on them, or must be set.
    example = {k: v for k, v in example_values(spec).items() if k in required}
    try:
        return spec.settings(**{**example, **given})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise GraphError(f"{spec.type}: {problems}; `tolmach inspect {spec.type}` lists its settings") from error


def _fetch(call: PrefetchCall) -> bool:
    module, _, function = call.target.partition(":")
    _show_progress(module.partition(".")[0])
    before = snapshot()
    try:
        prefetch: Callable[[Settings], Any] = interruptible(lambda: getattr(importlib.import_module(module), function))
        paths = _paths(interruptible(lambda: prefetch(call.settings)))
    except TolmachError as error:
        print(f"{call.name}: {error}", file=sys.stderr)
        return False
    except ImportError as error:
        print(f"{call.name}: cannot be imported: {error}; `tolmach doctor` says more", file=sys.stderr)
        return False
    fresh = added(before, snapshot())
    there = {path: size for path, size in paths.items() if path not in fresh}
    for path, size in sorted(fresh.items()):
        print(f"{call.name}: downloaded {size_text(size)} to {path}")
    for path, size in sorted(there.items()):
        print(f"{call.name}: ready, {size_text(size)} in {path}")
    if not fresh and not there:
        print(f"{call.name}: ready, nothing had to be downloaded")
    return True


def _paths(result: object) -> dict[Path, int]:
    """What a prefetch function says it made sure of: nothing, a path, or several; a folder counts with all in it."""
    found = [result] if isinstance(result, Path) else result if isinstance(result, list | tuple) else []
    sizes = {}
    for path in found:
        if isinstance(path, Path) and path.exists():
            sizes[path] = sum(files_in(path).values()) if path.is_dir() else path.stat().st_size
    return sizes


def _show_progress(package: str) -> None:
    logger = logging.getLogger(package)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
