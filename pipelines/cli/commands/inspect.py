"""List the element types, or describe one: pads with caps, settings with unit, range and default, licence, origin."""

from __future__ import annotations

import argparse
import difflib
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator

from tolmach.pipelines.cli.main import distribution_version
from tolmach.pipelines.describe.reference import (
    ElementInfo,
    PadInfo,
    SettingInfo,
    describe,
    element_markdown,
    types_markdown,
)
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.registry import Entry, Registry

MIN_WIDTH, MAX_WIDTH = 60, 120  # columns between which text is wrapped, whatever the terminal says


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("type", nargs="?", metavar="TYPE", help="element type to describe; without it, list all")
    parser.add_argument("--format", choices=("text", "json", "markdown"), default="text", help="default: text")
    parser.add_argument("--builtin", action="store_true", help="only the types that ship, none of installed plug-ins")


def run(args: argparse.Namespace) -> int:
    """Print the list or the description."""
    registry = Registry.builtin() if args.builtin else Registry.default()
    width = min(max(shutil.get_terminal_size((100, 24)).columns, MIN_WIDTH), MAX_WIDTH)
    if args.type is None:
        infos, failures = _all(registry)
        if args.format == "json":
            print(_json([*(_brief(i) for i in infos), *({"type": t, "error": e} for t, e in failures)]))
        elif args.format == "markdown":
            sys.stdout.write(types_markdown(infos))
            print("".join(f"{t}: cannot be imported: {e}\n" for t, e in failures), end="", file=sys.stderr)
        else:
            print("\n".join(list_lines(infos, failures, width)))
        return 1 if failures else 0
    info = describe_type(registry, args.type)
    if args.format == "markdown":
        sys.stdout.write(element_markdown(info))
        return 0
    print(_json(info.to_json()) if args.format == "json" else "\n".join(element_lines(info, width)))
    return 0


def describe_type(registry: Registry, element_type: str) -> ElementInfo:
    """Everything about one registered type.

    Raises:
        GraphError: If there is no such type, or its spec cannot be imported.
    """
    try:
        return describe(_spec(registry, element_type), _entry(registry, element_type))
    except ImportError as error:
        raise GraphError(
            f"the spec of element type {element_type!r} cannot be imported: {error}; `tolmach doctor` says more"
        ) from error


def list_lines(infos: list[ElementInfo], failures: list[tuple[str, str]], width: int) -> Iterator[str]:
    """The list of types, grouped by origin, for people."""
    name_width = max((len(i.type) for i in infos), default=0)
    for origin in sorted({(i.origin, i.version) for i in infos}, key=lambda o: (o[0] != "tolmach", o)):
        yield f"{' '.join(filter(None, origin))}:"
        for info in infos:
            if (info.origin, info.version) == origin:
                indent = " " * (name_width + 4)
                yield from _wrap(info.summary, width, f"  {info.type:<{name_width}}  ", indent)
        yield ""
    for element_type, error in failures:
        yield f"{element_type}: cannot be imported: {error}"
    yield f"{len(infos)} element types. `tolmach inspect TYPE` describes one."


def element_lines(info: ElementInfo, width: int) -> Iterator[str]:
    """The description of one type, for people."""
    yield f"{info.type}: {info.summary}"
    yield ""
    if info.doc:
        for paragraph in info.doc.split("\n\n"):
            # Lists and code are laid out by hand; only running text is wrapped.
            by_hand = any(line.startswith((" ", "-", "*", "|", "```")) for line in paragraph.splitlines())
            yield from paragraph.splitlines() if by_hand else _wrap(" ".join(paragraph.split()), width, "", "")
            yield ""
    yield f"  origin     {' '.join(filter(None, (info.origin, info.version)))}"
    # Tolmach's own elements that load nothing are under its own licence; of anybody else's nothing is known.
    licence = info.licence or ("Apache-2.0" if info.origin == "tolmach" else "none declared")
    yield from _wrap(licence, width, "  licence    ", " " * 13)
    yield f"  on error   {info.on_error}"
    if info.live:
        yield "  live       produces at the pace of the world"
    if not info.deterministic:
        yield "  output     may differ from run to run"
    if info.prefetch:
        yield f"  models     `tolmach fetch {info.type}` downloads and verifies what it needs"
    yield ""
    yield "Pads"
    for pad in info.pads:
        yield from _pad_lines(pad)
    if info.pads_note:
        yield f"  {info.pads_note}"
    yield ""
    yield "Settings"
    if not info.settings:
        yield "  none"
    for setting in info.settings:
        yield from _setting_lines(setting, width)
    if info.example:
        yield ""
        yield "Example"
        yield textwrap.indent(info.example, "  ")


def _pad_lines(pad: PadInfo) -> Iterator[str]:
    traits = [pad.direction, pad.presence]
    traits += ["optional"] if pad.optional else []
    traits += ["dynamic"] if pad.dynamic else []
    yield f"  {pad.name}  ({', '.join(traits)})"
    for structure in pad.caps.split(" ; "):
        yield f"      {structure}"
    if pad.like:
        dropped = f", but {', '.join(pad.like_drop)}" if pad.like_drop else ""
        yield f"      repeats the caps of {pad.like}{dropped}"


def _setting_lines(setting: SettingInfo, width: int) -> Iterator[str]:
    facts = [setting.type]
    facts += [f"in {setting.unit}"] if setting.unit else []
    facts += [setting.range] if setting.range else []
    facts += ["one of " + ", ".join(_scalar(c) for c in setting.choices)] if setting.choices else []
    facts += ["required" if setting.required else f"default {_scalar(setting.default)}"]
    facts += ["live"] if setting.live else []
    yield from _wrap("; ".join(facts), width, f"  {setting.name}: ", " " * 6)
    if setting.description:
        yield from _wrap(" ".join(setting.description.split()), width, " " * 6, " " * 6)


def _all(registry: Registry) -> tuple[list[ElementInfo], list[tuple[str, str]]]:
    infos, failures = [], []
    for element_type in registry:
        try:
            infos.append(describe(_spec(registry, element_type), _entry(registry, element_type)))
        except ImportError as error:
            failures.append((element_type, str(error)))
    return infos, failures


def _spec(registry: Registry, element_type: str) -> ElementSpec:
    if element_type in registry:
        return registry.get(element_type)
    near = difflib.get_close_matches(element_type, registry, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "`tolmach inspect` lists all"
    raise GraphError(f"no element type named '{element_type}'; {hint}")


def _entry(registry: Registry, element_type: str) -> Entry:
    entry = registry.entry(element_type)
    if entry.origin != "tolmach":
        return entry
    # Built-ins carry no version of their own: it is that of the distribution this code belongs to.
    return entry._replace(version=distribution_version())


def _brief(info: ElementInfo) -> dict[str, str]:
    return {"type": info.type, "summary": info.summary, "origin": info.origin, "version": info.version}


def _wrap(text: str, width: int, first: str, rest: str) -> list[str]:
    lines = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return lines or [first.rstrip()]


def _scalar(value: object) -> str:
    # As it would be written in a graph.
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) or value == "" else value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
