"""What all speech translation engines (AST) share: settings and pads here, cheap to import; the element beside it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from tolmach.pipelines.element import Field, Heard, Live, Pad, Settings
from tolmach.processors.languages import script_of

RATE_HZ = 16000
"""Rate that the engines take, Hz."""


class AstSettings(Settings):
    """Settings of an element that turns utterances into text in a target language."""

    source_lang: Heard[str] = Field("en", description="Language that is spoken, a BCP-47 tag.")
    target_lang: str = Field("ru", description="Language of the text, a BCP-47 tag; the source language transcribes.")
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

    @field_validator("source_lang", "target_lang")
    @classmethod
    def _known_language(cls, value: str) -> str:
        script_of(value)
        return value.lower()

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
        600,
        ge=0,
        le=5000,
        description="policy align_att: how near the end of what was heard the audio of a stable word may not come, ms.",
    )
    max_clause_ms: int = Field(
        4000,
        ge=500,
        le=30_000,
        description="mode simultaneous: stable words go out at the end of a clause, or when the first of them has "
        "waited this long, ms of audio.",
    )
    max_buffer_ms: int = Field(
        25_000,
        ge=5000,
        le=30_000,  # what Whisper hears at once (Radford et al. 2022, section 2.2); Canary hears 40 s well
        description="mode simultaneous: longest audio that the model is asked about at a time, ms; what was translated "
        "is dropped at the ends of sentences.",
    )


def ast_pads(settings: AstSettings) -> tuple[Pad, ...]:
    """Utterances in, text in the target language and its script out."""
    lang = settings.target_lang
    return (
        Pad.sink(f"audio/raw, rate={RATE_HZ}, channels=1, segmented=true"),
        Pad.src(f"text/x-translation, lang={lang}, script={script_of(lang)}"),
    )


def require_language(role: str, lang: str, known: tuple[str, ...], model: str) -> None:
    """Refuse a language that the model does not have.

    Raises:
        ValueError: Says which languages there are.
    """
    if lang not in known:
        raise ValueError(f"{role} {lang!r} is not a language of {model}; it has {', '.join(known)}")
