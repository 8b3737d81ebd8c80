"""What all speech translation engines (AST) share: settings and pads here, cheap to import; the element beside it."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from tolmach.pipelines.element import Field, Heard, Live, Pad, Settings
from tolmach.processors.ast.direction import AUTO, Direction, directions
from tolmach.processors.languages import script_of, text_caps

RATE_HZ = 16000
"""Rate that the engines take, Hz."""


class AstSettings(Settings):
    """Settings of an element that turns utterances into text in a target language.

    An engine that can find the language sets :attr:`finds_language`, and weighs the sources of a request's
    ``directions`` against each other.
    """

    finds_language: ClassVar[bool] = False
    """Whether ``source_lang`` may be ``auto``."""
    target_of_auto: ClassVar[str] = AUTO
    """The target where ``source_lang`` is ``auto`` and nothing is said of the target."""

    source_lang: Heard[str] = Field(
        "en",
        description="Language that is spoken, a BCP-47 tag; auto finds it among `languages` for each utterance.",
    )
    target_lang: str = Field(
        "ru",
        description="Language of the text, a BCP-47 tag; the source language transcribes. auto is the other one of two "
        "`languages`, and what nothing means where source_lang is auto.",
    )
    languages: Heard[tuple[str, ...]] = Field(
        (), max_length=8, description="Languages of the conversation, for `auto`: [en, ru]."
    )
    min_language_confidence: Live[float] = Field(
        0.8,
        ge=0,
        le=1,
        title="Certainty that the language changed",
        description="With source_lang auto: probability of another language than the last utterance's that it takes to "
        "turn the direction round; below it the last one is kept.",
    )
    transcript: bool = Field(
        False, description="Whether what was understood is wanted beside the translation, in the language spoken."
    )
    device: str = Field("auto", description="Where the model runs: auto (a GPU if there is one), cpu, cuda or cuda:N.")
    cpu_threads: int = Field(
        0, ge=0, le=256, description="CPU threads the model computes with; 0 lets the engine decide."
    )
    min_logprob: Live[float | None] = Field(
        None,
        ge=-100,
        le=0,
        title="Least certainty of a text",
        description="Least mean log-probability of a token (natural log) for a text to pass; what is below it is "
        "rejected. Empty: the model's own gate, if it has one.",
    )
    max_compression_ratio: Live[float] = Field(
        2.4,
        gt=0,
        title="Most repetition in a text",
        description="Times that zlib may shorten a text; what it shortens more repeats itself and is rejected "
        "(Whisper's own value).",
    )
    max_utterance_ms: int = Field(
        120_000,  # the most that a detector can be set to: a bound nobody wrote must not undercut one that was written
        ge=1000,
        le=600_000,
        description="Longest utterance accepted, ms; a bound on memory.",
    )
    max_in_flight: int = Field(
        4, ge=1, le=64, description="Requests to the model under way at a time before the stream waits."
    )
    continue_ms: int = Field(
        0,
        ge=0,
        le=5000,
        description="An utterance that starts at most this long after the end of the last one may go on with a "
        "sentence that was cut in two, ms: where the last text does not end a sentence, or this one is rejected, both "
        "are asked about together, and the text is what is new. 0: each for itself. Not with groups of several.",
    )

    @model_validator(mode="before")
    @classmethod
    def _target_follows(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("source_lang") == AUTO and "target_lang" not in data:
            return {**data, "target_lang": cls.target_of_auto}
        return data

    @field_validator("source_lang", "target_lang")
    @classmethod
    def _known_language(cls, value: str) -> str:
        if value.lower() != AUTO:
            script_of(value)
        return value.lower()

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for lang in value:
            script_of(lang)
        return tuple(lang.lower() for lang in value)

    @model_validator(mode="after")
    def _has_a_direction(self) -> AstSettings:
        if self.source_lang == AUTO and not self.finds_language:
            raise ValueError(f"this engine does not find the language: source_lang must be one, not {AUTO}")
        directions(self.source_lang, self.target_lang, self.languages)
        return self

    @property
    def directions(self) -> tuple[Direction, ...]:
        """From which language into which: one direction, or one for each language that may be spoken."""
        return directions(self.source_lang, self.target_lang, self.languages)

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            raise ValueError(f"no device {value!r}: use auto, cpu, cuda or cuda:N")
        return value


AstMode = Literal["utterance", "segments", "simultaneous"]


class GrowingSettings(AstSettings):
    """Settings of an engine that can translate while somebody still speaks."""

    mode: AstMode = Field(
        "utterance",
        description="utterance: one text when an utterance has ended. segments: several, each with the span that the "
        "model's own timestamps say, when it has ended. simultaneous: clause by clause while it is spoken; what was "
        "given out is never taken back.",
    )
    step_ms: int = Field(
        1000,
        ge=200,
        le=10_000,
        description="mode simultaneous: how often the model is asked about an utterance that is open, ms of its audio.",
    )
    policy: Literal["auto", "local_agreement", "align_att"] = Field(
        "auto",
        description="mode simultaneous: which words are stable. local_agreement: those that two answers in a row agree "
        "on. align_att: those that the model made from audio well behind the end of what was heard. auto: the better "
        "one for this engine.",
    )
    align_threshold_ms: int = Field(
        800,
        ge=0,
        le=5000,
        description="policy align_att: how near the end of what was heard the audio of a stable word may not come, ms.",
    )
    max_clause_ms: int = Field(
        4000,
        ge=0,
        le=30_000,
        description="mode simultaneous: stable words go out at the end of a clause, or when the first of them has "
        "waited this long, ms of audio; 0 sends them word by word, for readers.",
    )
    max_buffer_ms: int = Field(
        25_000,
        ge=5000,
        le=30_000,  # what Whisper hears at once (Radford et al. 2022, section 2.2); Canary hears 40 s well
        description="mode simultaneous: longest audio that the model is asked about at a time, ms; what was translated "
        "is dropped at the ends of sentences.",
    )


def ast_pads(settings: AstSettings) -> tuple[Pad, ...]:
    """Utterances in, text in the target language and its script out.

    Where the target follows from what is spoken, the languages stay a set until somebody speaks: whatever is linked
    there must take all of them.
    """
    targets = dict.fromkeys(direction.target_lang for direction in settings.directions)
    return (
        Pad.sink(f"audio/raw, rate={RATE_HZ}, channels=1, segmented=true"),
        Pad.src(text_caps(targets), dynamic=len(targets) > 1),
    )


def require_language(role: str, lang: str, known: tuple[str, ...], model: str) -> None:
    """Refuse a language that the model does not have.

    Raises:
        ValueError: Says which languages there are.
    """
    if lang not in known:
        raise ValueError(f"{role} {lang!r} is not a language of {model}; it has {', '.join(known)}")
