"""What the graph needs to know about ``espeak_tts`` without loading the library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import field_validator, model_validator

from tolmach.pipelines.element import ElementSpec, Field, Live, Pad, Voice
from tolmach.processors.languages import primary_language
from tolmach.processors.tts import SpeechSettings, speech_pads
from tolmach.processors.tts.lexicon import LEXICON, check_path

RATE_HZ = 22050
"""Rate of espeak-ng's formant voices, Hz; what ``espeak_Initialize`` returns."""

VOICES = {
    lang: lang
    for lang in "bg hr cs da nl et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk".split()  # noqa: SIM905
} | {"en": "en-us"}
"""espeak-ng's voice for each of the 25 languages of Canary-1b-v2 (a test compares it with the library's list)."""


class EspeakSettings(SpeechSettings):
    """Settings of ``espeak_tts``."""

    lang: str = Field("en", description="Language of the text that comes in: " + ", ".join(sorted(VOICES)) + ".")
    voice: str | None = Field(
        None,
        description="espeak-ng voice by its language code, with a variant if wanted (en-gb, ru+f2); empty for the "
        "language's usual one.",
    )
    voices: dict[str, str | None] = Field(
        {},
        max_length=8,
        description="In place of lang and voice: a voice for each language that may come, empty for its usual one: "
        "{en: en-gb, ru: ru+f2}. Behind a translator that finds the direction itself.",
    )
    lexicon: str | None = Field(None, description=LEXICON)
    normalize: bool = Field(
        True,
        description="Put numbers, dates, units and abbreviations into words before espeak-ng reads them (German, "
        "English, French, Russian, Spanish, Ukrainian); off: espeak-ng reads them its own way.",
    )
    rate_wpm: Live[int] = Field(175, ge=80, le=450, title="Speaking rate", description="Speaking rate, words a minute.")
    pitch: Live[int] = Field(50, ge=0, le=99, description="Base pitch, 0 (low) to 99 (high).")
    pause_ms: Live[int | None] = Field(
        None,
        ge=0,
        le=5000,
        title="Pause between sentences",
        description="Silence between sentences, ms; null: as long as the library makes it, about a third of a second.",
    )
    volume: Live[int] = Field(100, ge=0, le=200, description="Loudness, per cent; above 100 loud sounds may distort.")

    _lexicon_is_sound = field_validator("lexicon")(check_path)

    @field_validator("lang")
    @classmethod
    def _known_language(cls, value: str) -> str:
        value = value.lower()
        if value not in VOICES:
            raise ValueError(f"espeak_tts has no voice for {value!r}; it speaks {', '.join(sorted(VOICES))}")
        return value

    @field_validator("voice")
    @classmethod
    def _voice_name(cls, value: str | None) -> str | None:
        # The library makes file names of it.
        if value is not None and not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*(\+[A-Za-z0-9]+)?", value):
            raise ValueError(f"{value!r} is no voice: use an espeak-ng language code such as en-gb, ru or ru+f2")
        return value

    @field_validator("voices")
    @classmethod
    def _voice_names(cls, value: dict[str, str | None]) -> dict[str, str | None]:
        return {cls._known_language(lang): cls._voice_name(voice) for lang, voice in value.items()}

    @model_validator(mode="after")
    def _speaks_the_language(self) -> Self:
        if self.voices and (given := {"lang", "voice"} & self.model_fields_set):
            raise ValueError(f"voices says all: remove {' and '.join(sorted(given))}")
        for lang, voice in self.by_language.items():
            if primary_language(voice.partition("+")[0]) != lang:
                raise ValueError(f"voice {voice!r} does not speak {lang!r}: set {self._remedy} to one language")
        return self

    @property
    def _remedy(self) -> str:
        return "language and voice in voices" if self.voices else "lang and voice"

    @property
    def by_language(self) -> dict[str, str]:
        """The voice of each language that may come."""
        given = self.voices or {self.lang: self.voice}
        return {lang: voice or VOICES[lang] for lang, voice in given.items()}


def _pads(settings: EspeakSettings) -> tuple[Pad, ...]:
    return speech_pads(tuple(settings.by_language), RATE_HZ)


def _voices() -> tuple[Voice, ...]:
    """The usual voice of each language. What it says may be used as one likes: the GPL is about the program."""
    return tuple(
        Voice(voice, (lang,), rates_hz=(RATE_HZ,), licence="GPL-3.0-or-later (the program)", commercial=True)
        for lang, voice in sorted(VOICES.items())
    )


def _voice_settings(lang: str, voice: str | None) -> Mapping[str, Any]:
    return {"lang": lang, "voice": voice}


SPEC = ElementSpec(
    type="espeak_tts",
    summary="Speak translations with espeak-ng: any machine, 25 languages, a robot's voice.",
    settings=EspeakSettings,
    pads=_pads,
    build="tolmach.processors.espeak.element:EspeakTts",
    voices=_voices,
    voice_settings=_voice_settings,
    speaks=lambda settings: settings.by_language,
    spoken="tolmach.processors.espeak.element:spoken",
    on_error="skip",
    doc=(
        "Speaks each final translation, streamed while it is made, thousands of times faster than real time. The same "
        "text gives the same samples whatever was spoken before it and by whom. Markup and phoneme codes in the text "
        "are read out, not obeyed. With `voices` each text is spoken by the voice of its language. Library and data "
        "come with the package `espeakng-loader`; nothing is downloaded."
    ),
    licence="espeak-ng: GPL-3.0-or-later, loaded at run time from the package espeakng-loader",
    example="{type: espeak_tts, lang: ru, rate_wpm: 160}",
)
