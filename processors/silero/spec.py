"""What the graph needs to know about ``silero_tts`` without importing torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import ValidationError, field_validator, model_validator

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import ElementSpec, Extra, Field, Live, Missing, Pad, Settings
from tolmach.processors.languages import script_of
from tolmach.processors.silero.files import LICENCE, MODELS, SileroModelInfo, expected_at
from tolmach.processors.tts import speech_pads, wanted_languages


class SileroTtsSettings(Settings):
    """Settings of ``silero_tts``."""

    model: str = Field(
        "v5_5_ru",
        description=f"Model by name ({', '.join(MODELS)}), by path (it ends in .pt) or by https URL; auto takes the "
        "newest one that speaks lang.",
    )
    lang: str | None = Field(
        None, description="Language the model speaks, a BCP-47 tag; needed for a path or URL, known for a name."
    )
    speaker: Live[str | None] = Field(
        None,
        min_length=1,
        max_length=64,
        title="Who speaks",
        description="Who speaks (baya, en_0); empty for the model's usual speaker.",
    )
    voices: dict[str, str] = Field(
        {},
        max_length=8,
        description="In place of lang: a model for each language that may come, as in `model`: {en: auto, ru: v4_ru}. "
        "Behind a translator that finds the direction itself; only what may come is loaded. A `model` by name takes "
        "the place of its language's.",
    )
    rate_hz: Literal[8000, 24000, 48000] = Field(48000, description="Sample rate of the speech, Hz.")
    device: str = Field("auto", description="Where the model runs: auto (a GPU if there is one), cpu, cuda or cuda:N.")
    sha256: str | None = Field(
        None, description="SHA-256 of the model file you trust: loading a torch package runs the code in it."
    )
    put_accent: Live[bool] = Field(True, title="Place word stress", description="Let the model place word stress.")
    put_yo: Live[bool] = Field(True, title="Restore the letter ё", description="Let the model restore the letter ё.")
    put_stress_homo: Live[bool] = Field(
        True,
        title="Choose the stress of homographs",
        description="Let the model choose the stress of homographs (v5 models).",
    )
    put_yo_homo: Live[bool] = Field(
        True, title="Restore ё in homographs", description="Let the model restore ё in homographs (v5 models)."
    )
    pause_ms: Live[int] = Field(
        200, ge=0, le=5000, title="Pause between sentences", description="Silence between sentences, ms."
    )
    chunk_ms: int = Field(100, ge=10, le=1000, description="Length of the audio frames, ms.")
    cpu_threads: int = Field(
        0, ge=0, le=256, description="CPU threads the model computes with; 0 takes PyTorch's own number."
    )

    @model_validator(mode="before")
    @classmethod
    def _choose(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("voices") and data.get("model", "auto") == "auto":
            # The model that `speaker` is one of, if nothing says which.
            return {name: value for name, value in data.items() if name != "model"}
        if isinstance(data, dict) and data.get("model") == "auto":
            lang = str(data.get("lang") or "").lower()
            names = [model.name for model in MODELS.values() if model.lang == lang]
            if not names:
                spoken = ", ".join(dict.fromkeys(model.lang for model in MODELS.values()))
                raise ValueError(f"no Silero model speaks {lang!r}: model auto needs lang to be one of {spoken}")
            return {**data, "model": names[0]}
        return data

    @field_validator("model")
    @classmethod
    def _known_model(cls, value: str) -> str:
        if value in MODELS or value.endswith(".pt"):
            scheme = urlsplit(value).scheme if "://" in value else "https"
            if scheme != "https":
                raise ValueError(f"{value!r} would come over {scheme}: use an https URL or a path")
            return value
        raise ValueError(
            f"no model {value!r}: use {', '.join(MODELS)}, a path that ends in .pt, or an https URL of one"
        )

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            raise ValueError(f"no device {value!r}: use auto, cpu, cuda or cuda:N")
        return value

    @field_validator("sha256")
    @classmethod
    def _digest(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise ValueError("sha256 is not a SHA-256 digest: give its 64 hexadecimal digits")
        return value.lower() if value else None

    @field_validator("voices")
    @classmethod
    def _known_languages(cls, value: dict[str, str]) -> dict[str, str]:
        for lang in value:
            script_of(lang)
        return {lang.lower(): model for lang, model in value.items()}

    @field_validator("lang")
    @classmethod
    def _known_language(cls, value: str | None) -> str | None:
        if value is not None:
            script_of(value)
        return value.lower() if value else None

    @model_validator(mode="after")
    def _fits_the_model(self) -> Self:
        if self.voices:
            self._check_voices()
            return self
        info = self.info
        if info is None:
            if self.lang is None:
                raise ValueError(f"nothing says which language {self.model!r} speaks: set lang")
            return self
        if self.lang not in (None, info.lang):
            fitting = [m.name for m in MODELS.values() if m.lang == self.lang]
            hint = f"; {', '.join(fitting)} does" if fitting else ""
            raise ValueError(f"{info.name} speaks {info.lang!r}, not {self.lang!r}{hint}")
        if self.speaker is not None and self.speaker not in (*info.speakers, "random"):
            known = ", ".join(
                info.speakers if len(info.speakers) < 12 else (*info.speakers[:3], "…", info.speakers[-1])
            )
            raise ValueError(f"{info.name} has no speaker {self.speaker!r}; it has {known}")
        if self.rate_hz not in info.rates_hz:
            raise ValueError(f"{info.name} speaks at {', '.join(map(str, info.rates_hz))} Hz, not at {self.rate_hz} Hz")
        return self

    def _check_voices(self) -> None:
        if self.lang is not None:
            raise ValueError("voices says which languages are spoken: remove lang")
        if "model" in self.model_fields_set and self.info is None:
            raise ValueError(f"which language {self.model!r} speaks is said in voices: {{LANGUAGE: {self.model}}}")
        if "speaker" in self.model_fields_set and self.speaker is not None and "model" not in self.model_fields_set:
            raise ValueError("speaker is one of a model: name it in model")
        for lang in self.by_language:
            try:
                self.single(lang)
            except ValidationError as error:
                raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None

    @property
    def by_language(self) -> dict[str, str]:
        """The model of each language that may come."""
        if not self.voices:
            return {self.language: self.model}
        chosen = {self.info.lang: self.model} if self.info and "model" in self.model_fields_set else {}
        return {**self.voices, **chosen}

    def single(self, lang: str) -> SileroTtsSettings:
        """The same for the voice of one language.

        Raises:
            ValueError: If there is no such voice.
        """
        if not self.voices:
            return self
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in ("voices", "speaker")}
        model = self.by_language[lang]
        speaker = self.speaker if model == self.model and "model" in self.model_fields_set else None
        return type(self)(**{**own, "model": model, "lang": lang, "speaker": speaker})

    def choices_of(self, name: str) -> tuple[str, ...]:
        """Who may speak, where the model is known; see :meth:`tolmach.pipelines.element.Settings.choices_of`."""
        if name != "speaker" or self.info is None or (self.voices and "model" not in self.model_fields_set):
            return ()
        return tuple(self.info.speakers)

    @property
    def info(self) -> SileroModelInfo | None:
        """What is known about the model; None for a path or URL."""
        return MODELS.get(self.model)

    @property
    def language(self) -> str:
        """The language the model speaks, BCP-47."""
        return self.info.lang if self.info else str(self.lang)


def _pads(settings: SileroTtsSettings) -> tuple[Pad, ...]:
    return speech_pads(tuple(settings.by_language), settings.rate_hz)


def settle(settings: SileroTtsSettings, caps: Mapping[str, Caps]) -> SileroTtsSettings:
    """The voices of languages that may come, by what travels over the pads."""
    if not settings.voices:
        return settings
    langs = wanted_languages(tuple(settings.by_language), caps)
    if len(langs) == 1:
        return settings.single(langs[0])
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return type(settings)(**{**given, "voices": {lang: settings.by_language[lang] for lang in langs}})


def _missing(settings: SileroTtsSettings, base_dir: Path) -> tuple[Missing, ...]:
    return tuple(lack for lang in settings.by_language for lack in _missing_voice(settings.single(lang), base_dir))


def _missing_voice(settings: SileroTtsSettings, base_dir: Path) -> tuple[Missing, ...]:
    path = expected_at(settings, base_dir)
    size_bytes = settings.info.size_bytes if settings.info else None
    if path.is_file() and size_bytes in (None, path.stat().st_size):
        return ()
    if settings.info is None and "://" not in settings.model:
        return (Missing(path.name, remedy="there is no such file"),)
    return (Missing(settings.info.name if settings.info else settings.model, size_bytes),)


SPEC = ElementSpec(
    type="silero_tts",
    summary="Speak translations with a Silero model: natural Russian and English voices on CPU or GPU.",
    settings=SileroTtsSettings,
    pads=_pads,
    build="tolmach.processors.silero.element:SileroTts",
    extra=Extra("tolmach[silero]", ("torch",)),
    prefetch="tolmach.processors.silero.element:fetch",
    missing=_missing,
    settle=settle,
    on_error="skip",
    doc=(
        "Numbers, dates, units, abbreviations and foreign letters become words first, because the models drop what "
        "they cannot read without a word. A model is a torch package, that is, a program: it is loaded only when its "
        f"SHA-256 is pinned in Tolmach ({', '.join(m.name for m in MODELS.values() if m.sha256)}) or allowed by you, "
        "with `sha256` or the variable TOLMACH_ALLOW_SHA256. Models "
        "are kept in TOLMACH_CACHE (default ~/.cache/tolmach); `tolmach fetch GRAPH` gets them beforehand."
    ),
    licence=f"{', '.join(MODELS)}: {LICENCE} (non-commercial, share alike), by Silero Team",
    example="{type: silero_tts, model: v5_5_ru, speaker: baya, rate_hz: 48000}",
)
