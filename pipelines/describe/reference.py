"""What is known about an element type, as plain data: for ``tolmach inspect``, the JSON Schema and the documentation.

Everything is read from the :class:`~tolmach.pipelines.element.ElementSpec`, so nothing is written twice. The page of
the types that ship, docs/ELEMENT_TYPES.md, is the Markdown of it (``tolmach inspect --format markdown``).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from tolmach.pipelines.element import ElementSpec, Pad, Settings, is_live_setting
from tolmach.pipelines.registry import Entry

UNITS: Mapping[str, str] = {
    "ns": "ns",
    "us": "µs",
    "ms": "ms",
    "s": "s",
    "hz": "Hz",
    "khz": "kHz",
    "db": "dB",
    "dbfs": "dBFS",
    "lufs": "LUFS",
    "percent": "%",
    "ratio": "ratio",
    "bytes": "bytes",
    "kib": "KiB",
    "mib": "MiB",
    "gib": "GiB",
    "samples": "samples",
    "frames": "frames",
    "chars": "characters",
    "utterances": "utterances",
    "wpm": "words/min",
    "semitones": "semitones",
}
"""Suffix of a setting's name → unit as people write it (STYLE: units are suffixes)."""

_CONSTRAINTS = (
    "type",
    "format",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
)
_NESTED = ("items", "prefixItems", "anyOf", "oneOf", "allOf", "properties", "additionalProperties", "required")


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting of an element.

    Attributes:
        name: As written in a graph.
        type: For people: ``int``, ``float | null``, ``list of str``.
        unit: From the name's suffix, or "".
        range: For people: ``[0, 1)``, ``≥ 0``, or "".
        choices: Allowed values, or empty when there is no such list.
        required: Whether a graph must give it.
        live: Whether programs, and clients of a live server, may change it while a graph runs.
        default: JSON value; None too when required.
        description: What it does.
        schema: JSON Schema of its value: constraints only, references resolved.
    """

    name: str
    type: str
    unit: str
    range: str
    choices: tuple[Any, ...]
    required: bool
    live: bool
    default: Any
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PadInfo:
    """One pad of an element; the fields are those of :class:`~tolmach.pipelines.element.Pad`, caps in written form."""

    name: str
    direction: str
    presence: str
    caps: str
    like: str | None
    like_drop: tuple[str, ...]
    dynamic: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class ElementInfo:
    """One element type.

    Attributes:
        type: Name used in graphs.
        summary: One sentence.
        doc: Longer description, Markdown, or "".
        origin: Distribution that declares it.
        version: Its version, or "".
        licence: Licence or terms of what it loads, or "" when it declares none.
        live: Whether it is a live source.
        deterministic: Whether the same media give the same output in every run.
        on_error: Failure policy unless a graph says otherwise.
        prefetch: Whether ``tolmach fetch`` has something to do for it.
        example: A YAML flow mapping, or "".
        pads: Its pads.
        pads_note: What the pads depend on, or "".
        settings: Its settings, in the order of declaration.
    """

    type: str
    summary: str
    doc: str
    origin: str
    version: str
    licence: str
    live: bool
    deterministic: bool
    on_error: str
    prefetch: bool
    example: str
    pads: tuple[PadInfo, ...]
    pads_note: str
    settings: tuple[SettingInfo, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, keys as the attributes."""
        return dataclasses.asdict(self)


def describe(spec: ElementSpec, entry: Entry | None = None) -> ElementInfo:
    """Everything about one element type.

    Args:
        spec: Its spec.
        entry: Where it comes from, when it is registered.
    """
    pads, note = _pads(spec)
    return ElementInfo(
        type=spec.type,
        summary=spec.summary,
        doc=spec.doc.strip(),
        origin=entry.origin if entry else "",
        version=entry.version if entry else "",
        licence=spec.licence,
        live=spec.live,
        deterministic=spec.deterministic,
        on_error=spec.on_error,
        prefetch=spec.prefetch is not None,
        example=spec.example.strip(),
        pads=tuple(_pad(p) for p in pads),
        pads_note=note,
        settings=describe_settings(spec.settings),
    )


def describe_settings(model: type[Settings]) -> tuple[SettingInfo, ...]:
    """The settings of a model, in the order of declaration."""
    document = model.model_json_schema()
    definitions: Mapping[str, Any] = document.get("$defs", {})
    infos = []
    for name, field in model.model_fields.items():
        schema = _plain(document["properties"][field.alias or name], definitions, ())
        required = field.is_required()
        infos.append(
            SettingInfo(
                name=field.alias or name,
                type=type_text(schema),
                unit=unit_of(name),
                range=range_text(schema),
                choices=_choices(schema),
                required=required,
                live=is_live_setting(model, name),
                default=None if required else to_jsonable_python(field.get_default(call_default_factory=True)),
                description=(field.description or "").strip(),
                schema=schema,
            )
        )
    return tuple(infos)


def unit_of(name: str) -> str:
    """The unit a setting's name ends in, or "".

    >>> unit_of("hangover_ms"), unit_of("max_chars_per_s"), unit_of("threshold")
    ('ms', 'characters/s', '')
    """
    words = name.split("_")
    if len(words) >= 3 and words[-2] == "per":
        return f"{UNITS.get(words[-3], words[-3])}/{UNITS.get(words[-1], words[-1])}"
    return UNITS.get(words[-1], "") if len(words) > 1 else ""


def example_settings(spec: ElementSpec) -> Settings | None:
    """Valid settings to show an element with: the defaults, else those of its example, else None."""
    try:
        return spec.settings()
    except ValidationError:
        pass
    values = example_values(spec)
    try:
        return spec.settings(**values)
    except ValidationError:
        return None


def example_values(spec: ElementSpec) -> dict[str, Any]:
    """The settings written in a spec's example, variables left as text; empty when there is no usable example."""
    if not spec.example.strip():
        return {}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        loaded = YAML(typ="safe", pure=True).load(spec.example)
    except YAMLError:
        return {}
    # Both `{type: x, …}` and `name: {type: x, …}` are found in examples.
    if isinstance(loaded, dict) and "type" not in loaded and len(loaded) == 1:
        loaded = next(iter(loaded.values()))
    if not isinstance(loaded, dict):
        return {}
    return {str(k): v for k, v in loaded.items() if k not in ("type", "on_error")}


def _pads(spec: ElementSpec) -> tuple[tuple[Pad, ...], str]:
    if isinstance(spec.pads, tuple):
        return spec.pads, ""
    settings = example_settings(spec)
    if settings is None:
        return (), "The pads depend on the settings."
    required = any(f.is_required() for f in spec.settings.model_fields.values())
    shown = "those of the example" if required else "the defaults"
    return spec.pads_for(settings), f"The pads depend on the settings; shown for {shown}."


def _pad(pad: Pad) -> PadInfo:
    return PadInfo(
        pad.name, pad.direction, pad.presence, str(pad.caps), pad.like, pad.like_drop, pad.dynamic, pad.optional
    )


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    # Only constraints are kept: titles and wording differ between pydantic versions, and the committed schema must not.
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in seen:
            return {}
        return _plain(definitions[name], definitions, (*seen, name))
    plain = {key: schema[key] for key in _CONSTRAINTS if key in schema}
    for key in _NESTED:
        if key not in schema:
            continue
        value = schema[key]
        if key == "properties":
            plain[key] = {name: _plain(v, definitions, seen) for name, v in value.items()}
        elif isinstance(value, Mapping):
            plain[key] = _plain(value, definitions, seen)
        elif key in ("required", "additionalProperties"):
            plain[key] = value
        else:
            plain[key] = [_plain(v, definitions, seen) for v in value]
    if len(plain.get("allOf", ())) == 1 and set(plain) == {"allOf"}:
        return dict(plain["allOf"][0])
    return plain


def alternatives(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The schemas one of which a value must meet (itself when there is no choice)."""
    branches = schema.get("anyOf") or schema.get("oneOf")
    return [leaf for branch in branches for leaf in alternatives(branch)] if branches else [schema]


_NAMES = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "null": "null", "object": "mapping"}


def type_text(schema: Mapping[str, Any]) -> str:
    """The type of a setting's value, for people."""
    texts = []
    for branch in alternatives(schema):
        if branch.get("type") == "array":
            items = branch.get("items")
            texts.append(f"list of {type_text(items)}" if isinstance(items, Mapping) else "list")
        elif branch.get("format") in ("path", "file-path", "directory-path"):
            texts.append("path")
        elif "enum" in branch or "const" in branch:
            texts.extend({_literal_name(v): None for v in branch.get("enum", [branch.get("const")])})
        else:
            texts.append(_NAMES.get(str(branch.get("type")), "any"))
    return " | ".join(dict.fromkeys(texts))


def range_text(schema: Mapping[str, Any]) -> str:
    """The range of a setting's value, for people, or ""."""
    texts = []
    for branch in alternatives(schema):
        low, high = branch.get("minimum"), branch.get("maximum")
        above, below = branch.get("exclusiveMinimum"), branch.get("exclusiveMaximum")
        left = f"({_number(above)}" if above is not None else f"[{_number(low)}" if low is not None else ""
        right = f"{_number(below)})" if below is not None else f"{_number(high)}]" if high is not None else ""
        if left and right:
            texts.append(f"{left}, {right}")
        elif left:
            texts.append(("> " if above is not None else "≥ ") + left[1:])
        elif right:
            texts.append(("< " if below is not None else "≤ ") + right[:-1])
        elif "pattern" in branch:
            texts.append(f"matches {branch['pattern']}")
        elif "maxLength" in branch:
            texts.append(f"{branch.get('minLength', 0)} to {branch['maxLength']} characters")
        elif branch.get("minLength"):
            texts.append("not empty" if branch["minLength"] == 1 else f"≥ {branch['minLength']} characters")
    return " or ".join(dict.fromkeys(texts))


def _choices(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    branches = [b for b in alternatives(schema) if b.get("type") != "null"]
    if not branches or not all("enum" in b or "const" in b for b in branches):
        return ()
    return tuple(v for b in branches for v in b.get("enum", [b.get("const")]))


def _literal_name(value: object) -> str:
    return {bool: "bool", int: "int", float: "float", str: "str"}.get(type(value), "null")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else str(value)


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
