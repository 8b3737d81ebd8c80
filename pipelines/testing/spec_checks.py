"""The rules every element's spec keeps; :func:`check_spec` says which one is broken and what to do."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import get_args

from pydantic import ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.describe.reference import (
    SettingInfo,
    describe_settings,
    example_settings,
    example_values,
    unit_of,
)
from tolmach.pipelines.element import ElementRole, ElementSpec, Pad, Settings

HEAVY_MODULES = (
    "aiortc",
    "av",
    "ctranslate2",
    "espeakng_loader",
    "faster_whisper",
    "librosa",
    "lightning",
    "nemo",
    "onnxruntime",
    "pipecat",
    "ray",
    "scipy",
    "silero_vad",
    "tensorflow",
    "torch",
    "torchaudio",
    "transformers",
    "webrtcvad",
)
"""What a spec module may not import, directly or not: the tools must answer at once, on machines without a GPU."""

RESERVED = {"type": "its element type", "on_error": "its failure policy"}
"""Words of an element's YAML node that are no settings, and what they are."""

_TYPE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_PAD = re.compile(r"[a-z][a-z0-9_]*")
_UNIT_IN_TEXT = re.compile(
    r"(?:[,(]|\bin)\s*(?P<unit>ns|µs|ms|s|milliseconds|seconds|Hz|kHz|dB|dBFS|LUFS|bytes|KiB|MiB|GiB)\b(?!\s*\w)"
)
_SUFFIX_OF = {"milliseconds": "ms", "seconds": "s", "µs": "us"}


def check_spec(spec: ElementSpec, settings: Settings | None = None) -> None:
    """Check everything about an element that needs no runtime.

    Args:
        spec: The spec.
        settings: Settings to compute the pads with, for elements whose defaults are not valid alone.

    Raises:
        AssertionError: If a rule is broken; the text tells the author what to do.
    """
    _check_texts(spec)
    infos = _check_settings(spec)
    _check_example(spec, {i.name for i in infos})
    _check_pads(spec, settings if settings is not None else example_settings(spec))
    _check_voices(spec)
    _check_cheap(spec)


def _check_texts(spec: ElementSpec) -> None:
    _require(
        _TYPE.fullmatch(spec.type) is not None,
        spec,
        "the type must be lower snake case, as it is written in graphs",
    )
    summary = spec.summary
    _require(
        bool(summary) and summary == summary.strip() and "\n" not in summary and summary[-1] in ".!?",
        spec,
        f"summary must be one sentence on one line that ends with a full stop; it is {summary!r}",
    )
    _require(
        spec.licence == spec.licence.strip(), spec, "licence has spaces around it; leave it out if it is not declared"
    )
    _require(
        bool(spec.licence) or spec.prefetch is None, spec, "licence is empty; name the terms of what the element loads"
    )
    _require(
        bool(spec.licence) or spec.terms is None,
        spec,
        "terms are given and licence is empty; name them there for people",
    )
    _require(
        spec.role in (None, *get_args(ElementRole)),
        spec,
        f"role={spec.role!r} is none of {', '.join(get_args(ElementRole))}; leave it out if none fits",
    )
    for name in ("build", "prefetch"):
        target = getattr(spec, name)
        if target is not None:
            _require(
                _TARGET.fullmatch(target) is not None,
                spec,
                f"{name}={target!r} must have the form 'package.module:Name'",
            )


def _check_settings(spec: ElementSpec) -> tuple[SettingInfo, ...]:
    model = spec.settings
    _require(
        isinstance(model, type) and issubclass(model, Settings),
        spec,
        "settings must be a subclass of tolmach.pipelines.element.Settings",
    )
    _require(
        model.model_config.get("frozen") is True and model.model_config.get("extra") == "forbid",
        spec,
        f"{model.__name__} must stay frozen and forbid unknown fields; do not override these in model_config",
    )
    try:
        infos = describe_settings(model)
    except PydanticInvalidForJsonSchema as error:
        raise AssertionError(
            f"{spec.type}: {model.__name__} has no JSON Schema ({error}); use plain types, Literal, Field constraints"
        ) from error
    for info in infos:
        _require(
            info.name not in RESERVED,
            spec,
            f"setting {info.name!r} can never be set: `{info.name}` of an element in a graph means something else "
            f"({RESERVED.get(info.name, '')}); give it another name",
        )
        _require(
            bool(info.description),
            spec,
            f"setting {info.name!r} has no description; give Field(description=…), `tolmach inspect` shows it",
        )
        if ("int" in info.type or "float" in info.type) and not unit_of(info.name):
            found = _UNIT_IN_TEXT.search(info.description)
            unit = found["unit"] if found else ""
            suffix = _SUFFIX_OF.get(unit, unit.lower())
            _require(
                found is None,
                spec,
                f"setting {info.name!r} is in {unit} by its description; say so in the name: {info.name}_{suffix}",
            )
    if not any(f.is_required() for f in model.model_fields.values()):
        try:
            model()
        except ValidationError as error:
            raise AssertionError(
                f"{spec.type}: the defaults are not valid together: {error}; fix them or make a field required"
            ) from error
    return infos


def _check_example(spec: ElementSpec, names: set[str]) -> None:
    if not spec.example:
        return
    values = example_values(spec)
    _require(
        bool(values) or f"type: {spec.type}" in spec.example,
        spec,
        f"the example must be a YAML flow mapping such as {{type: {spec.type}}}; it is {spec.example!r}",
    )
    unknown = sorted(set(values) - names)
    _require(not unknown, spec, f"the example gives settings that do not exist: {', '.join(unknown)}")
    if not any("${" in str(v) for v in values.values()):
        try:
            spec.settings(**values)
        except ValidationError as error:
            raise AssertionError(f"{spec.type}: the example is not valid: {error}") from error


def _check_pads(spec: ElementSpec, settings: Settings | None) -> None:
    if settings is None and not isinstance(spec.pads, tuple):
        raise AssertionError(
            f"{spec.type}: its pads depend on settings that have no defaults; "
            "give the spec an example with valid ones, or pass settings="
        )
    pads = spec.pads_for(settings)
    _require(len(pads) > 0, spec, "an element needs at least one pad")
    names = [p.name for p in pads]
    _require(len(set(names)) == len(names), spec, f"pad names must differ; they are {', '.join(names)}")
    sinks = {p.name for p in pads if p.direction == "sink"}
    for pad in pads:
        _check_pad(spec, pad, sinks)
    _require(not (spec.live and sinks), spec, "live is for sources; an element with a sink pad takes what it is given")


def _check_pad(spec: ElementSpec, pad: Pad, sinks: set[str]) -> None:
    plain = pad.name.removesuffix("_%u") if pad.presence == "request" else pad.name
    _require(
        _PAD.fullmatch(plain) is not None and (pad.presence == "always" or pad.name.endswith("_%u")),
        spec,
        f"pad {pad.name!r}: always pads are named like 'src', request pad templates like 'src_%u'",
    )
    _require(not pad.caps.is_empty, spec, f"pad {pad.name!r} allows nothing; say what may travel over it")
    _require(
        Caps.parse(str(pad.caps)) == pad.caps, spec, f"pad {pad.name!r}: its caps cannot be written down: {pad.caps}"
    )
    if pad.like is not None:
        _require(pad.direction == "src", spec, f"pad {pad.name!r}: like is for src pads")
        _require(
            pad.like in sinks,
            spec,
            f"pad {pad.name!r} is like {pad.like!r}, no sink pad; they are {', '.join(sorted(sinks)) or 'none'}",
        )
    _require(pad.like is not None or not pad.like_drop, spec, f"pad {pad.name!r}: like_drop means nothing without like")
    _require(not pad.dynamic or pad.direction == "src", spec, f"pad {pad.name!r}: dynamic is for src pads")


def _check_voices(spec: ElementSpec) -> None:
    """What a spec says about voices holds together: each can be chosen, and is then the one that speaks."""
    voices, choose = spec.voices() if spec.voices is not None else (), spec.voice_settings
    _require(not voices or choose is not None, spec, "lists voices: say with voice_settings how one is chosen")
    if choose is None:
        return
    for voice in voices:
        _require(bool(voice.langs), spec, f"voice {voice.name!r} speaks no language: give langs")
        _require(bool(voice.licence), spec, f"voice {voice.name!r} has no terms: give its licence")
        for lang in voice.langs:
            try:
                settings = spec.settings(**choose(lang, voice.name))
            except ValidationError as error:
                _require(False, spec, f"voice {voice.name!r} cannot be chosen for {lang!r}: {error}")
                continue
            if spec.speaks is not None:
                told = dict(spec.speaks(settings))
                _require(
                    told.get(lang) == voice.name,
                    spec,
                    f"voice {voice.name!r} was chosen for {lang!r}, and speaks() says {told}",
                )


def _check_cheap(spec: ElementSpec) -> None:
    modules = {spec.settings.__module__}
    if not isinstance(spec.pads, tuple):
        modules.add(spec.pads.__module__)
    for module in sorted(modules):
        # A spec typed in at a prompt has no module that another process could import.
        if module == "__main__" or importlib.util.find_spec(module) is None:
            continue
        heavy = heavy_imports(module)
        _require(
            not heavy,
            spec,
            f"importing its spec module {module} also imports {', '.join(heavy)}; "
            "move that into the runtime module which build= names",
        )


@functools.cache
def heavy_imports(module: str) -> tuple[str, ...]:
    """Which of :data:`HEAVY_MODULES` importing ``module`` pulls in, found in a fresh interpreter.

    Raises:
        AssertionError: If the module cannot be imported at all.
    """
    script = (
        "import importlib, sys\n"
        "importlib.import_module(sys.argv[1])\n"
        "print(*[m for m in sys.argv[2:] if m in sys.modules])\n"
    )
    done = subprocess.run(  # noqa: S603 -- our own interpreter, a module that is already imported here
        [sys.executable, "-c", script, module, *HEAVY_MODULES],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in _paths(sys.path) if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"module {module} cannot be imported alone:\n{done.stderr.strip()}")
    return tuple(done.stdout.split())


def _paths(entries: Sequence[str]) -> list[str]:
    return [os.path.abspath(p) if p else os.getcwd() for p in entries]  # noqa: PTH100, PTH109 -- '' means the folder


def _require(condition: bool, spec: ElementSpec, text: str) -> None:
    if not condition:
        raise AssertionError(f"{spec.type}: {text}")
