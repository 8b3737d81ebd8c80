"""Which settings of a graph a client may change while it runs: those that the elements declare so.

A browser is not to choose models, files, devices or how many threads they take, so nothing may be changed that is not
declared as :data:`tolmach.pipelines.element.Live` on its field, whoever wrote the element.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import to_jsonable_python

from tolmach.pipelines.describe.reference import SettingInfo, alternatives, describe_settings
from tolmach.pipelines.element import SettingsType, is_live_setting
from tolmach.pipelines.graph import Graph, Node
from tolmach.processors.silero.settings import SileroTtsSettings
from tolmach.transports.webrtc.spec import WebrtcSrcSettings

__all__ = ["LiveSetting", "in_words", "live_settings"]

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
        role: What the element does: ``microphone``, ``detector``, ``engine`` (speech to text), ``voice``, or "".
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
        kind = "enum" if info.choices else _TYPES.get(str(values[0].get("type"))) if len(values) == 1 else None
        choices = info.choices
        if kind == "text" and (choices := _speakers(node, info.name)):
            kind = "enum"
        if kind is None:
            continue  # a list or a mapping: no client can give one
        bounds: Mapping[str, Any] = values[0] if kind in ("integer", "number") else {}
        yield LiveSetting(
            target=f"{node.name}.{info.name}",
            element=node.name,
            role=_role(node),
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


def _role(node: Node) -> str:
    """``microphone`` for that of a session, else ``detector``, ``voice``, ``engine`` or "" by what goes in and out."""
    if isinstance(node.settings, WebrtcSrcSettings):
        return "microphone"
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


def _speakers(node: Node, name: str) -> tuple[str, ...]:
    """Who may speak, where the element knows them."""
    known = node.settings.info if name == "speaker" and isinstance(node.settings, SileroTtsSettings) else None
    return tuple(known.speakers) if known else ()


@lru_cache(maxsize=256)
def _described(settings: SettingsType) -> tuple[SettingInfo, ...]:
    return describe_settings(settings)
