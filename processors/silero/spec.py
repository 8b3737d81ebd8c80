"""What the graph needs to know about ``silero_tts`` without importing torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import ValidationError, field_validator, model_validator

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.element import ElementSpec, Extra, Field, Live, Missing, Pad, Terms, Voice
from tolmach.processors.languages import script_of
from tolmach.processors.silero import stress as accents
from tolmach.processors.silero.files import cached_at, expected_at
from tolmach.processors.silero.voices import MODELS, SLOWER, SileroModelInfo, SpokenIn, fitting
from tolmach.processors.tts import SpeechSettings, speech_pads, wanted_languages
from tolmach.processors.tts.lexicon import LEXICON, check_path

USUAL_MODEL = "v5_5_ru"
USUAL_RATE_HZ: Literal[48000] = 48000


class SileroTtsSettings(SpeechSettings):
    """Settings of ``silero_tts``."""

    model: str = Field(
        USUAL_MODEL,
        description="Model by name (`tolmach voices` lists them), by path (it ends in .pt or .jit) or by https URL; "
        "auto takes the best one that speaks lang.",
    )
    lang: str | None = Field(
        None,
        description="Language it speaks, a BCP-47 tag; needed for a path or URL, known for a name; of a model of many "
        "languages the one to speak.",
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
    rate_hz: Literal[8000, 16000, 24000, 48000] = Field(
        USUAL_RATE_HZ, description="Sample rate of the speech, Hz; unless set, the highest of a model that lacks 48000."
    )
    device: str = Field("auto", description="Where the model runs: auto (a GPU if there is one), cpu, cuda or cuda:N.")
    sha256: str | None = Field(
        None,
        description="SHA-256 of the model file you trust: loading a torch package or TorchScript runs the code in it.",
    )
    begin_early: bool = Field(
        True,
        description="In live graphs, speak the first clause of a long sentence while the rest of it is made.",
    )
    rate: Live[Literal["x-slow", "slow", "medium", "fast", "x-fast"]] = Field(
        "medium", title="Speaking rate", description="How fast it speaks (version 3 and later)."
    )
    pitch: Live[Literal["x-low", "low", "medium", "high", "x-high"]] = Field(
        "medium", title="Pitch", description="How high it speaks (version 3 and later)."
    )
    stress: Literal["auto", "model", "silero-stress"] = Field(
        "auto",
        description="Who places word stress: the model, or the package silero-stress (pip install silero-stress), "
        "which knows homographs too; auto takes the package for models that place none, if it is installed.",
    )
    commercial: bool = Field(
        False, description="Take only models whose terms allow commercial use; auto chooses among them."
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
    lexicon: str | None = Field(None, description=LEXICON)
    pause_ms: Live[int] = Field(
        200, ge=0, le=5000, title="Pause between sentences", description="Silence between sentences, ms."
    )
    cpu_threads: int = Field(
        0, ge=0, le=256, description="CPU threads the model computes with; 0 takes PyTorch's own number."
    )

    @model_validator(mode="before")
    @classmethod
    def _choose(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = dict(data)
        voices = given.get("voices") or {}
        if voices and given.get("model", "auto") == "auto":
            given.pop("model", None)  # the model that `speaker` is one of, if nothing says which
        elif given.get("model") == "auto":
            given["model"] = _best(given.get("lang"), given.get("commercial")).name
        if "rate_hz" not in given and isinstance(voices, dict):
            chosen = [given["model"]] if "model" in given else [] if voices else [USUAL_MODEL]
            commercial = given.get("commercial")
            chosen += [_best(lang, commercial).name if model == "auto" else model for lang, model in voices.items()]
            given |= _usual_rate(chosen)
        return given

    @field_validator("model")
    @classmethod
    def _known_model(cls, value: str) -> str:
        if value in MODELS or value.endswith((".pt", ".jit")):
            scheme = urlsplit(value).scheme if "://" in value else "https"
            if scheme != "https":
                raise ValueError(f"{value!r} would come over {scheme}: use an https URL or a path")
            return value
        raise ValueError(
            f"no model {value!r}: use {', '.join(MODELS)}, a path that ends in .pt or .jit, or an https URL of one"
        )

    _lexicon_is_sound = field_validator("lexicon")(check_path)

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
        if self.lang is not None and self.lang not in info.spoken:
            others = [model.name for model in fitting(self.lang)]
            does = f"{', '.join(others)} {'does' if len(others) == 1 else 'do'}" if others else elsewhere(self.lang)
            raise ValueError(f"{info.name} speaks {_listed(info.langs)}, not {self.lang!r}; {does}")
        speakers = (*self.speakers, "random") if info.has_random else self.speakers
        if self.speaker is not None and self.speaker not in speakers:
            within = f" of {self.language!r}" if len(info.langs) > 1 else ""
            raise ValueError(f"{info.name} has no speaker {self.speaker!r}{within}; it has {_listed(self.speakers)}")
        if self.rate_hz not in info.rates_hz:
            raise ValueError(f"{info.name} speaks at {', '.join(map(str, info.rates_hz))} Hz, not at {self.rate_hz} Hz")
        if not info.has_prosody and (self.rate, self.pitch) != ("medium", "medium"):
            raise ValueError(f"{info.name} has one rate and pitch: leave rate and pitch out, or take a newer model")
        if self.commercial and not info.commercial:
            raise ValueError(f"{info.name} may not be used commercially ({info.licence}): {instead(self.language)}")
        if self.stress == "silero-stress" and self.language not in accents.LANGS:
            raise ValueError(f"silero-stress knows no {self.language!r}: leave stress out")
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
        if self.info is None or "model" not in self.model_fields_set:
            return self.voices
        langs = [lang for lang in self.info.langs if lang in self.voices] or [self.info.lang]
        return self.voices | dict.fromkeys(langs, self.model)

    def single(self, lang: str) -> SileroTtsSettings:
        """The same for the voice of one language.

        Raises:
            ValueError: If there is no such voice.
        """
        if not self.voices:
            return self
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in ("voices", "speaker")}
        if lang not in accents.LANGS:
            own["stress"] = "auto"
        model = self.by_language[lang]
        mine = model == self.model and "model" in self.model_fields_set
        known = MODELS[model].spoken.get(lang) if mine and len(MODELS[model].langs) > 1 else None
        # A speaker of a model of many languages has one of them; in the others their usual ones speak.
        speaker = self.speaker if mine and (known is None or self.speaker in known.speakers) else None
        return type(self)(**{**own, "model": model, "lang": lang, "speaker": speaker})

    def choices_of(self, name: str) -> tuple[str, ...]:
        """Who may speak, where the model is known; see :meth:`tolmach.pipelines.element.Settings.choices_of`."""
        if name != "speaker" or self.info is None or (self.voices and "model" not in self.model_fields_set):
            return ()
        return self.speakers

    @property
    def info(self) -> SileroModelInfo | None:
        """What is known about the model; None for a path or URL."""
        return MODELS.get(self.model)

    @property
    def language(self) -> str:
        """The language it speaks, BCP-47."""
        return self.info.lang if self.info and self.lang is None else str(self.lang)

    @property
    def spoken(self) -> SpokenIn | None:
        """What is known about the model in its language; None for a path or URL."""
        return self.info.spoken.get(self.language) if self.info else None

    @property
    def speakers(self) -> tuple[str, ...]:
        """Who speaks with the model in its language, the usual one first; empty where nobody knows beforehand."""
        return self.spoken.speakers if self.spoken else ()

    @property
    def max_chars(self) -> int | None:
        """Longest text to give the model at once, characters; None where only the model says it."""
        return int(self.info.max_chars * SLOWER.get(self.rate, 1)) if self.info else None

    @property
    def accentor(self) -> str | None:
        """The language in which the package silero-stress is to place the stress, if it is to."""
        wanted = self.stress == "silero-stress" or (
            self.stress == "auto" and self.spoken is not None and self.spoken.needs_stress
        )
        return self.language if wanted and self.language in accents.LANGS else None


def _best(lang: object, commercial: object = False) -> SileroModelInfo:
    """The model to take for a language.

    Args:
        lang: Its BCP-47 tag.
        commercial: Whether its terms must allow commercial use.

    Raises:
        ValueError: If there is none; says who speaks it.
    """
    found = fitting(str(lang or "").lower())
    if found and commercial is True:
        found = tuple(model for model in found if model.commercial)
        if not found:
            raise ValueError(f"no Silero model of {lang!r} may be used commercially: {instead(str(lang))}")
    if not found:
        spoken = _listed(tuple(dict.fromkeys(lang for model in MODELS.values() for lang in model.langs)), 99)
        does = f"; {elsewhere(str(lang))}" if lang else ""
        raise ValueError(
            f"no Silero model speaks {str(lang or '')!r}: model auto needs lang to be one of {spoken}{does}"
        )
    return found[0]


def elsewhere(lang: str) -> str:
    """What to write for a language that no Silero model speaks."""
    line = _espeak(lang)
    return f"{line} does" if line else "no element of Tolmach's does"


def instead(lang: str) -> str:
    """What to take where a voice may not be used commercially."""
    free = [f"model: {model.name} ({model.licence})" for model in fitting(lang) if model.commercial]
    line = _espeak(lang)
    return f"take {' or '.join([*free, *([line] if line else [])])}" if free or line else "nothing of Tolmach's may"


def _espeak(lang: str) -> str | None:
    from tolmach.processors.espeak.spec import VOICES

    return f"{{type: espeak_tts, lang: {lang.lower()}}}" if lang.lower() in VOICES else None


def _usual_rate(models: Sequence[object]) -> dict[str, int]:
    """The rate to take unless one is set, where that is not the usual one: the highest that all models have."""
    known = [MODELS[model].rates_hz for model in models if isinstance(model, str) and model in MODELS]
    shared = set(known[0]).intersection(*known[1:]) if known else set()
    return {} if not shared or USUAL_RATE_HZ in shared else {"rate_hz": max(shared)}


def _listed(values: Sequence[str], most: int = 11) -> str:
    return ", ".join(values if len(values) <= most else (*values[:3], "…", values[-1]))


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


def _voices() -> tuple[Voice, ...]:
    """Every published model in every language it speaks."""
    return tuple(
        Voice(
            name=model.name,
            langs=(lang,),
            speakers=spoken.speakers,
            rates_hz=model.rates_hz,
            licence=model.licence,
            commercial=model.commercial,
            size_bytes=model.size_bytes,
            pinned=model.sha256 is not None,
            url=model.url,
            path=cached_at(model.url),
        )
        for model in MODELS.values()
        for lang, spoken in model.spoken.items()
    )


def _terms(settings: SileroTtsSettings) -> tuple[Terms, ...]:
    found = (settings.single(lang) for lang in settings.by_language)
    return tuple(
        Terms(each.info.name, each.info.licence, each.info.commercial, instead(each.language))
        for each in found
        if each.info
    )


def _all_terms() -> str:
    named: dict[tuple[str, bool], list[str]] = {}
    for model in MODELS.values():
        named.setdefault((model.licence, model.commercial), []).append(model.name)
    return "; ".join(
        f"{', '.join(names)}: {licence}{'' if commercial else ' (non-commercial, share alike)'}"
        for (licence, commercial), names in named.items()
    )


def _voice_settings(lang: str, voice: str | None) -> Mapping[str, Any]:
    return {"lang": lang, "model": voice or "auto"}


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
    terms=_terms,
    voices=_voices,
    voice_settings=_voice_settings,
    speaks=lambda settings: {lang: settings.single(lang).model for lang in settings.by_language},
    spoken="tolmach.processors.silero.element:spoken",
    on_error="skip",
    doc=(
        "Numbers, dates, units, abbreviations and foreign letters become words first, because the models drop what "
        "they cannot read without a word. A model file is a program: it is loaded only when its "
        f"SHA-256 is pinned in Tolmach ({', '.join(m.name for m in MODELS.values() if m.sha256)}) or allowed by you, "
        "with `sha256` or the variable TOLMACH_ALLOW_SHA256. Models "
        "are kept in TOLMACH_CACHE (default ~/.cache/tolmach); `tolmach fetch GRAPH` gets them beforehand."
    ),
    licence=f"{_all_terms()}; all by Silero Team",
    example="{type: silero_tts, model: v5_5_ru, speaker: baya, rate_hz: 48000}",
)
