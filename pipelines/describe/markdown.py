"""Element types as Markdown: the page of all types in the documentation, made by ``tolmach inspect --format markdown``.

Nothing is written here that does not stand in a spec. The page of the types that ship is docs/ELEMENT_TYPES.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from tolmach.pipelines.describe.reference import ElementInfo, PadInfo, SettingInfo

__all__ = ["element_markdown", "types_markdown"]

_TITLE = """\
# Element types

Everything that `type:` may be without a plug-in: what it is for, what travels over its pads, its settings. Written by
`make reference` from the specs; `tolmach inspect TYPE` shows the same at a prompt. **live** marks what clients of a
live server, and programs ([PYTHON.md](PYTHON.md)), may change while a graph runs. How to write another one:
[ELEMENTS.md](ELEMENTS.md).
"""


def types_markdown(infos: Sequence[ElementInfo]) -> str:
    """A page of element types: a list of all with links, then each, in the order given."""
    rows = [(f"[`{i.type}`](#{i.type})", i.summary) for i in infos]
    parts = [_TITLE, _table(("type", "what it does"), rows), *(element_markdown(i) for i in infos)]
    return "\n".join(parts)


def element_markdown(info: ElementInfo) -> str:
    """One element type as a section that ends in a newline."""
    return "\n".join(_lines(info))


def _lines(info: ElementInfo) -> Iterator[str]:
    yield f"## {info.type}\n"
    yield f"{info.summary}\n"
    if info.doc:
        yield f"{info.doc}\n"
    if info.example:
        yield f"```yaml\n{info.example}\n```\n"
    if facts := tuple(_facts(info)):
        yield "".join(f"- {fact}\n" for fact in facts)
    pads = [
        (f"`{p.name}`", ", ".join(_traits(p)), "<br>".join(f"`{c}`" for c in p.caps.split(" ; "))) for p in info.pads
    ]
    yield _table(("pad", "kind", "caps"), pads)
    if info.pads_note:
        yield f"{info.pads_note}\n"
    if info.settings:
        rows = [(f"`{s.name}`", _kind(s), _default(s), " ".join(s.description.split())) for s in info.settings]
        yield _table(("setting", "value", "default", "what it does"), rows)


def _facts(info: ElementInfo) -> Iterator[str]:
    if info.origin not in ("", "tolmach"):
        yield f"from {' '.join(filter(None, (info.origin, info.version)))}"
    if info.on_error != "fail":
        yield f"on error: {info.on_error}"
    if info.live:
        yield "produces at the pace of the world"
    if info.prefetch:
        yield f"models: `tolmach fetch {info.type}` downloads and verifies them"
    if info.licence:
        yield f"licence of what it loads: {info.licence}"


def _traits(pad: PadInfo) -> Iterator[str]:
    yield pad.direction
    if pad.presence != "always":
        yield "as many as links ask for"
    if pad.optional:
        yield "optional"
    if pad.dynamic:
        yield "known when data flows"
    if pad.like:
        yield f"like `{pad.like}`" + (f" but for {', '.join(pad.like_drop)}" if pad.like_drop else "")


def _kind(setting: SettingInfo) -> str:
    choices = " ".join(f"`{_json(c)}`" for c in setting.choices)
    unit = "" if setting.unit == "ratio" else setting.unit
    return ", ".join(filter(None, (choices or setting.type, unit, setting.range, "**live**" if setting.live else "")))


def _default(setting: SettingInfo) -> str:
    return "required" if setting.required else f"`{_json(setting.default)}`"


def _json(value: object) -> str:
    # As it would be written in a graph.
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
