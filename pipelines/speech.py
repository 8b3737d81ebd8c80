"""The voices that can be spoken with, of all types of elements, and the graph that says one text with one of them.

``tolmach voices``, ``tolmach speak`` and the samples on the page stand on it. Nothing here knows an engine: what there
is to say about voices is said by the specs (``ElementSpec.voices``, ``voice_settings``, ``spoken``).
"""

from __future__ import annotations

import difflib
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from tolmach.pipelines.element import ElementSpec, Settings, Spoken, Voice
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.registry import Registry

if TYPE_CHECKING:
    from tolmach.pipelines.graph import Graph

__all__ = [
    "Chosen",
    "KnownVoice",
    "Place",
    "choose_voice",
    "is_setting",
    "known_voices",
    "say_of",
    "some_of",
    "speech_graph",
    "where_text",
]

Place = Literal["package", "downloaded", "fetch", "allow"]
"""Where a voice is: it comes with an installed package, lies on this machine, `tolmach fetch` gets it, or the user must
allow its SHA-256 (and get it, where it is not here)."""

log = logging.getLogger(__name__)

INPUT = "in"
"""The element of :func:`speech_graph` that a program pushes the texts into."""


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """A voice, and the type of element that speaks with it.

    Attributes:
        spec: Of that type.
        voice: What it says about it.
        place: Where it is now.
        here: Whether its files are on this machine.
        installed: Whether the packages are installed that its element needs.
    """

    spec: ElementSpec
    voice: Voice
    place: Place
    here: bool
    installed: bool

    @property
    def ready(self) -> bool:
        """Whether it would speak now, without a download or a question."""
        return self.installed and self.place in ("package", "downloaded")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A voice that was chosen to say something.

    Attributes:
        spec: The type of element.
        settings: With which it speaks so.
        lang: The language, BCP-47.
        voice: Which of the known ones; None for a file or address, or a variant that no list names.
        name: What to call it.
    """

    spec: ElementSpec
    settings: Mapping[str, Any]
    lang: str
    voice: KnownVoice | None
    name: str

    def validated(self) -> Settings:
        """The element's settings.

        Raises:
            GraphError: If one is wrong.
        """
        try:
            return self.spec.settings(**self.settings)
        except ValidationError as error:
            raise GraphError(f"{self.spec.type}: {_problems(error)}") from error


def known_voices(registry: Registry, lang: str | None = None) -> list[KnownVoice]:
    """The voices that all types know by name, of one language or of all: by language, those of packages last.

    Within a type and a language they stand in the order in which the type names them: the usual one first.
    """
    found = [voice for spec in _specs(registry) for voice in _voices_of(spec) if lang in (None, *voice.voice.langs)]
    return sorted(found, key=lambda known: (known.voice.langs[:1], known.place == "package"))


def choose_voice(registry: Registry, lang: str | None, name: str | None = None, speaker: str | None = None) -> Chosen:
    """The voice that speaks a language, or that is called so.

    Without a name it is the first one that would speak at once; what must be downloaded is never taken unasked.

    Args:
        registry: Types of elements.
        lang: BCP-47 tag; None for the language of a voice that speaks but one.
        name: A known voice, a type of element (its usual voice), or what a type takes besides: a path, an address.
        speaker: Who of that voice.

    Raises:
        GraphError: If nothing speaks that language, nothing is called so, the two do not fit, or every voice would have
            to be downloaded; says what there is.
    """
    everything = known_voices(registry)
    lang = lang.lower() if lang else None
    if name is None:
        return _usual(everything, lang, speaker)
    named = [known for known in everything if known.voice.name == name and lang in (None, *known.voice.langs)]
    if named:
        known, spoken = named[0], lang or named[0].voice.langs[0]
        if lang is None and len(known.voice.langs) > 1:
            raise GraphError(f"{name} speaks {', '.join(known.voice.langs)}: say which with --lang")
        return _chosen(known.spec, spoken, known, name, speaker)
    if other := next((known for known in everything if known.voice.name == name), None):
        fitting = _names(known for known in everything if lang in known.voice.langs)
        raise GraphError(f"{name} speaks {', '.join(other.voice.langs)}, not {lang!r}{fitting}")
    if name in {known.spec.type for known in everything}:
        return _usual([known for known in everything if known.spec.type == name], lang, speaker)
    return _unlisted(registry, everything, lang, name, speaker)


def where_text(known: KnownVoice) -> str:
    """Where a voice is, and what to do to hear it, in words."""
    name = known.voice.name
    if not known.installed and known.spec.extra is not None:
        return f"needs {known.spec.extra.command}"
    if known.place in ("package", "downloaded"):
        return {"package": "comes with the package", "downloaded": "downloaded"}[known.place]
    if known.place == "fetch":
        return f"tolmach fetch {known.spec.type} --set model={name}"
    return "here, loaded when its SHA-256 is allowed" if known.here else "to be fetched, and its SHA-256 allowed"


def some_of(names: tuple[str, ...], most: int = 6) -> str:
    """Names, or the first ones and the last where there are many, with their number."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:3])} … {names[-1]} ({len(names)})"


def is_setting(spec: ElementSpec, lang: str, name: str) -> bool:
    """Whether a type of element takes a voice by this name, which its list need not hold."""
    try:
        _chosen(spec, lang, None, name, None).validated()
    except GraphError:
        return False
    return True


def say_of(chosen: Chosen, text: str) -> Spoken:
    """What a voice would say of a text; loads no model. A voice that does not tell is taken to say it as it stands.

    Raises:
        GraphError: If a setting is wrong.
    """
    settings = chosen.validated()
    if chosen.spec.spoken is None:
        return Spoken(text)
    module, _, function = chosen.spec.spoken.partition(":")
    spoken: Callable[[Settings, str], Spoken] = getattr(importlib.import_module(module), function)
    return spoken(settings, text)


def speech_graph(registry: Registry, chosen: Chosen, sink: str, **settings: Any) -> Graph:
    """A graph that says what is pushed into its element :data:`INPUT` as texts, and gives the sound to a sink.

    Args:
        registry: Types of elements.
        chosen: Who speaks.
        sink: Type of the sink.
        **settings: Its settings.

    Raises:
        GraphError: If a setting is wrong, or the sink cannot take the sound.
    """
    from tolmach.pipelines.language.builder import GraphBuilder

    voice = chosen.validated()
    pads = chosen.spec.pads_for(voice)
    builder = GraphBuilder("speech", registry=registry)
    builder.add(INPUT, "app_src", caps=str(next(pad.caps for pad in pads if pad.direction == "sink")))
    # Of a text that somebody waits for nothing is left out without a word.
    builder.add("voice", chosen.spec.type, on_error="fail", **chosen.settings)
    builder.add("out", sink, **settings)
    builder.link(INPUT, "voice", "out")
    return builder.build()


def _specs(registry: Registry) -> Iterator[ElementSpec]:
    for element_type in registry:
        try:
            spec = registry.get(element_type)
        except ImportError:
            continue  # `tolmach doctor` and `tolmach inspect` say so
        if spec.voices is not None:
            yield spec


def _voices_of(spec: ElementSpec) -> Iterator[KnownVoice]:
    installed = spec.extra is None or spec.extra.installed
    try:
        voices = spec.voices() if spec.voices is not None else ()
    except Exception:  # somebody else's code; the other voices can be had all the same
        log.exception("the voices of %s cannot be listed", spec.type)
        return
    for voice in voices:
        place, here = _place(voice)
        yield KnownVoice(spec, voice, place, here, installed)


def _place(voice: Voice) -> tuple[Place, bool]:
    if voice.path is None:
        return "package", True
    try:
        here = voice.path.is_file() and voice.size_bytes in (None, voice.path.stat().st_size)
    except OSError:
        here = False
    if not voice.pinned:
        return "allow", here
    return ("downloaded" if here else "fetch"), here


def _usual(voices: list[KnownVoice], lang: str | None, speaker: str | None) -> Chosen:
    if lang is None:
        raise GraphError("nothing says which language is spoken: give --lang, such as --lang ru")
    speaking = [known for known in voices if lang in known.voice.langs]
    if not speaking:
        langs = sorted({each for known in voices for each in known.voice.langs})
        raise GraphError(f"no voice speaks {lang!r}; there are voices for {', '.join(langs)} (`tolmach voices`)")
    if speaker is not None:
        having = [known for known in speaking if speaker in known.voice.speakers]
        if not having:
            named = [known for known in speaking if known.voice.speakers][:3]
            others = "; ".join(f"{known.voice.name} has {some_of(known.voice.speakers)}" for known in named)
            none = f"{', '.join(dict.fromkeys(known.spec.type for known in speaking))} has none: leave --speaker out"
            raise GraphError(f"no voice of {lang!r} has a speaker {speaker!r}; {others or none}")
        speaking = having
    known = next((known for known in speaking if known.ready), None)
    if known is None:
        raise GraphError(
            f"no voice of {lang!r} speaks without a download: name the one that you want with --voice"
            f"{_names(iter(speaking))} (`tolmach voices {lang}` says what each needs)"
        )
    return _chosen(known.spec, lang, known, known.voice.name, speaker)


def _unlisted(registry: Registry, voices: list[KnownVoice], lang: str | None, name: str, speaker: str | None) -> Chosen:
    """A file, an address, a variant: whatever type takes it."""
    tried: list[str] = []
    for spec in _specs(registry):
        if spec.voice_settings is None or lang is None:
            continue
        chosen = _chosen(spec, lang, None, name, speaker)
        try:
            chosen.validated()
        except GraphError as error:
            tried.append(str(error))
            continue
        return chosen
    near = difflib.get_close_matches(name, {known.voice.name for known in voices}, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if lang is None:
        raise GraphError(f"no voice is called {name!r}{hint or '; for a file say its language with --lang'}")
    fitting = _names(known for known in voices if lang in known.voice.langs)
    raise GraphError(f"no voice is called {name!r}{hint or fitting}; `tolmach voices {lang}` lists them")


def _chosen(spec: ElementSpec, lang: str, known: KnownVoice | None, name: str, speaker: str | None) -> Chosen:
    if spec.voice_settings is None:
        raise GraphError(f"{spec.type} does not say how a voice is chosen (ElementSpec.voice_settings)")
    settings = dict(spec.voice_settings(lang, name))
    if speaker is not None:
        if "speaker" not in spec.settings.model_fields:
            raise GraphError(f"{spec.type} has no speakers to choose from: leave --speaker out")
        settings["speaker"] = speaker
    return Chosen(spec, settings, lang, known, name)


def _names(voices: Iterator[KnownVoice]) -> str:
    names = list(dict.fromkeys(known.voice.name for known in voices))
    return f"; there are {', '.join(names)}" if names else ""


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": ").removeprefix("Value error, ")
        for each in error.errors()
    )
