"""``pipecat``, any frame processor of pipecat as an element: its settings and spec; imports no pipecat.

A processor is named ``module:Name`` with the arguments of its call written beside it; :func:`load` and :func:`made`
make it of them when the graph runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import field_validator

from tolmach.pipelines.caps import Caps, Structure
from tolmach.pipelines.element import CodeMark, ElementSpec, Field, Heard, Missing, Pad, Settings
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.language.diagnostics import did_you_mean

__all__ = ["SPEC", "TARGET", "PipecatSettings", "check_arguments", "load", "made", "top_level_is_there"]

TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""``module:Name``; the name may lead into a class (``module:Service.Settings``)."""

_IMPORT = "import"
_ARGUMENTS = "arguments"


def top_level_is_there(package: str) -> bool:
    """Whether a top-level package can be found; imports nothing, so what is inside it is not known."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check the form of written arguments; imports nothing, and repeats no value, which may be a key.

    Raises:
        ValueError: If something in them can never be made.
    """
    for name, value in arguments.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{name!r} is no name of an argument")
        _check(value, name)


def _check(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        if _IMPORT not in value:
            for key, inner in value.items():
                _check(inner, f"{where}.{key}")
            return
        target, arguments = value[_IMPORT], value.get(_ARGUMENTS, {})
        if not isinstance(target, str) or not TARGET.fullmatch(target):
            raise ValueError(
                f"{where}: import must be module:Name, such as pipecat.transcriptions.language:Language.EN"
            )
        unknown = sorted(str(key) for key in value if key not in (_IMPORT, _ARGUMENTS))
        if unknown or not isinstance(arguments, Mapping):
            raise ValueError(f"{where}: beside import only arguments: {{...}} may stand")
        for key, inner in arguments.items():
            if not isinstance(key, str) or not key.isidentifier():
                raise ValueError(f"{where}: {key!r} is no name of an argument")
            _check(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check(inner, f"{where}[{number}]")


def load(target: str) -> Any:
    """The object that ``module:Name`` names. Blocks while its module is imported.

    Raises:
        GraphError: If there is no such module or name, or the module cannot be imported; says what to do.
    """
    module_name, _, path = target.partition(":")
    try:
        found = importlib.import_module(module_name)
    except Exception as error:  # somebody else's module; pipecat's services raise what they like
        raise GraphError(f"{target} cannot be imported: {error}. {_remedy(module_name, error)}") from error
    seen = module_name
    for name in path.split("."):
        if not hasattr(found, name):
            close = did_you_mean(name, [each for each in dir(found) if not each.startswith("_")])
            raise GraphError(f"{seen} has no {name!r}" + (f"; did you mean {close!r}?" if close else ""))
        found, seen = getattr(found, name), f"{seen}.{name}"
    return found


def _remedy(module: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and (module + ".").startswith(error.name + "."):
        close = ""
        if error.name.startswith("pipecat."):
            close = "; pipecat's own are listed at https://docs.pipecat.ai"
        return f"There is no module {error.name!r} here: check its name, or install the package it is part of{close}"
    if module.startswith("pipecat."):
        service = module.split(".")[2] if module.startswith("pipecat.services.") else "NAME"
        return f"Install what it needs; for pipecat's own services that is pip install 'pipecat-ai[{service}]'"
    return "Install what it needs"


def made(value: Any) -> Any:
    """Written arguments with everything in them imported and called. Blocks while it is.

    Raises:
        GraphError: If something cannot be imported or called so.
    """
    if isinstance(value, Mapping):
        if _IMPORT not in value:
            return {key: made(inner) for key, inner in value.items()}
        found = load(value[_IMPORT])
        return called(value[_IMPORT], found, made(value[_ARGUMENTS])) if _ARGUMENTS in value else found
    if isinstance(value, list | tuple):
        return [made(inner) for inner in value]
    return value


def called(target: str, found: Any, arguments: Mapping[str, Any]) -> Any:
    """What calling it with these arguments gives.

    Raises:
        GraphError: If it takes no such arguments.
        Exception: Whatever else it raises.
    """
    if not callable(found):
        raise GraphError(f"{target} is a {type(found).__name__} and cannot be called")
    try:
        return found(**arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # from inside it: not the call was wrong
        raise GraphError(f"{target} does not take these arguments ({', '.join(arguments)}): {error}") from error


AUDIO = "audio/raw"
TEXT = "text/x-translation"


class PipecatSettings(Settings):
    """Settings of ``pipecat``."""

    processor: Annotated[str, CodeMark()] = Field(
        pattern=f"^{TARGET.pattern}$",
        max_length=300,
        description="The processor: module:Class of a pipecat FrameProcessor, or of a function that makes one. It is "
        "imported and called, so this is code that the graph's author chooses.",
    )
    arguments: Annotated[dict[str, Any], CodeMark("import")] = Field(
        {},
        description="What it is called with, by name. {import: module:Name} stands for that object, with arguments: "
        "{...} for what calling it gives. Keys of services belong into ${env:NAME}.",
    )
    sink: str = Field(
        "audio/raw, rate=16000, channels=1",
        max_length=1000,
        description="Caps of what goes in: audio/raw, or text/x-translation.",
    )
    src: str = Field(
        "audio/raw",
        max_length=1000,
        description="Caps of what comes out. Audio comes out like what goes in, but for the fields named here; "
        "segmented=true of an unsegmented sink makes the processor the detector. A voice names its rate.",
    )
    source_lang: Heard[str | None] = Field(
        None, description="Language that it expects to hear, a BCP-47 tag; texts say so."
    )
    max_in_flight: int = Field(
        1,
        ge=1,
        le=64,
        description="Utterances that are asked and not answered. An answer belongs to the oldest of them: raise it for "
        "a processor that answers each, in order.",
    )
    answer_timeout_ms: int = Field(
        20_000,
        ge=100,
        le=3_600_000,
        description="Wall time without a sign of life after which an utterance counts as not answered, ms.",
    )
    settle_ms: int = Field(
        1000,
        ge=0,
        le=60_000,
        description="Wall time to wait for more of a text that the processor does not call final, ms.",
    )
    pre_roll_ms: int = Field(
        300, ge=0, le=5000, description="Audio before the onset that belongs to an utterance, ms; for detectors."
    )

    @field_validator("sink", "src")
    @classmethod
    def _one_medium(cls, value: str) -> str:
        structures = list(Caps.parse(value))
        if len(structures) != 1 or structures[0].media not in (AUDIO, TEXT):
            raise ValueError(f"it must be one alternative of {AUDIO} or {TEXT}, got {value!r}")
        return value

    @field_validator("arguments")
    @classmethod
    def _can_be_made(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        check_arguments(value)
        return value

    @property
    def sink_caps(self) -> Structure:
        """What goes in; audio that does not say so is not cut into utterances where the processor cuts it."""
        return next(iter(Caps.parse(self.sink)))

    @property
    def src_caps(self) -> Structure:
        """What comes out, as far as the author says it."""
        return next(iter(Caps.parse(self.src)))

    @property
    def cuts(self) -> bool:
        """Whether the processor cuts a stream into utterances."""
        return (
            self.sink_caps.media == self.src_caps.media == AUDIO
            and _is_segmented(self.src_caps)
            and not _is_segmented(self.sink_caps)
        )


def _is_segmented(structure: Structure) -> bool:
    return structure.get("segmented") == frozenset({True})


def _pads(settings: PipecatSettings) -> tuple[Pad, ...]:
    sink, src = settings.sink_caps, settings.src_caps
    if settings.cuts:
        sink = sink.with_fields({"segmented": frozenset({False})})
    if sink.media == AUDIO and src.media == TEXT and not _is_segmented(sink):
        raise ValueError(
            "a text belongs to an utterance: let sink say segmented=true, and put a detector (silero_vad) before it"
        )
    if sink.media == TEXT and src.media == AUDIO:
        if not isinstance(Caps.of([src]).value("rate"), int):
            raise ValueError("a voice must name its rate: src: audio/raw, rate=24000, channels=1")
        src = src.with_fields({"segmented": frozenset({True})})
        if src.get("channels") is None:
            src = src.with_fields({"channels": frozenset({1})})
    like = "sink" if sink.media == src.media else None
    return (
        Pad("sink", "sink", Caps.of([sink])),
        Pad("src", "src", Caps.of([src]), like=like),
    )


def _missing(settings: PipecatSettings, base_dir: Path) -> tuple[Missing, ...]:
    package = settings.processor.partition(":")[0].partition(".")[0]
    if top_level_is_there(package):
        return ()
    return (Missing(f"Python package {package}", remedy="install the package that it is part of"),)


SPEC = ElementSpec(
    type="pipecat",
    summary="Run a frame processor of pipecat as an element.",
    settings=PipecatSettings,
    pads=_pads,
    build="tolmach.pipelines.runtime.pipecat.element:PipecatElement",
    missing=_missing,
    deterministic=False,
    doc="""\
A service, filter or detector of pipecat, or a processor of your own, between two elements: audio to audio (a filter),
audio to audio cut into utterances (a detector), utterances to text, text to text, text to a voice. Utterances keep
their numbers and their place in media time. What it gives may depend on the clock and on services elsewhere, so two
runs may differ. Keys of services belong into the environment: `arguments: {api_key: "${env:NAME}"}`.
The processor is Python code that whoever writes the graph chooses; nobody else can set it. docs/PIPECAT.md has the
table of frames and examples.""",
    example="{type: pipecat, processor: 'pipecat.processors.filters.identity_filter:IdentityFilter'}",
)
