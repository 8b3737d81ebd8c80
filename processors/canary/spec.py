"""What ``canary_ast`` is; imports no model."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Literal

from pydantic import field_validator, model_validator

from tolmach.pipelines.element import ElementSpec, Extra, Field, Missing
from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.models import hub
from tolmach.processors.ast import GrowingSettings, ast_pads, require_language
from tolmach.processors.canary.known import (
    CLASSIFIERS,
    EMBEDDED,
    EMBEDDED_LABELS,
    NO_ALIGNER,
    WITHOUT_ALIGNER,
    check_pair,
    classifier_file,
    hub_file,
    published_name,
    read_embedded,
)

DEFAULT_MODEL = "nvidia/canary-1b-v2"

DEFAULT_MIN_LOGPROB = -1.5
"""Gate of the published models when none is set: tokens that are on average less likely than 0.22. Not measured on
them, for want of the weights: chosen far below what texts of sense score elsewhere, and above the -7.4 of random
text."""


class CanarySettings(GrowingSettings):
    """Settings of ``canary_ast``."""

    finds_language = True

    model: str = Field(
        DEFAULT_MODEL,
        description="Hub name (downloaded once, by NeMo), path of a .nemo file, or embedded:phrasebook.",
    )
    batch_utterances: int = Field(
        1,
        ge=1,
        le=64,
        description="Utterances translated as one batch, closed by count or at the end of the stream. 1 answers at "
        "once (live); 8 to 32 is faster over recordings.",
    )
    merge: bool = Field(
        False,
        description="Let requests of other graphs into the same batch. Faster on a busy GPU; the last digits of the "
        "log-probabilities then depend on timing.",
    )
    min_utterance_ms: int = Field(
        1000,
        ge=0,
        le=10_000,
        description="Shorter utterances get silence on both sides up to this length, ms (Canary leaves them empty "
        "otherwise; 1000 is what NeMo's own transcribe() does).",
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Most tokens of a translation. Empty: a bound that follows the audio, 24 and 8 a second, and the "
        "model's own.",
    )
    beam_size: int | None = Field(
        None,
        ge=1,
        le=16,
        description="Hypotheses kept in the search. Empty: as the model is configured, which is 1 for the published "
        "ones. More is NeMo's own search: slower, and in one step, for which everybody else waits.",
    )
    pnc: bool | None = Field(
        None,
        description="Whether the text has punctuation and capitals. Empty: as the model is configured, which is with "
        "them. Without them voices speak without pauses.",
    )
    itn: bool | None = Field(
        None,
        description="Whether numbers are written in digits (inverse text normalisation). Empty: as the model is "
        "configured. The published models have a token for it; their cards do not say that they have learnt it.",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto",
        description="Arithmetic of the weights. auto: float32 on a CPU, and on a GPU with room for it; else what "
        "the GPU has of bfloat16 and float16.",
    )
    language_evidence: Literal["auto", "prompt", "transcripts", "classifier"] = Field(
        "auto",
        description="With source_lang auto: what the language is found by. prompt: the model's own word for it, for "
        "models that have learnt to say it; next to free. transcripts: what is likelier when written down in each "
        "language; a search for each. classifier: `language_classifier`. auto: prompt for the embedded model, "
        "transcripts for others.",
    )
    language_classifier: str = Field(
        "langid_ambernet",
        description="language_evidence classifier: NeMo's classifier of spoken languages: langid_ambernet (107 "
        "languages), or the path of a .nemo file of an EncDecSpeakerLabelModel.",
    )
    trained_languages: tuple[str, ...] = Field(
        (),
        description="Languages that a model of your own has learnt, if it is not a published one. Empty: what is known "
        "by its name, its shape and its tokenizer.",
    )

    @field_validator("model")
    @classmethod
    def _model(cls, value: str) -> str:
        if value.startswith(EMBEDDED):
            name = value.removeprefix(EMBEDDED)
            if name not in EMBEDDED_LABELS:
                there = ", ".join(EMBEDDED + known for known in EMBEDDED_LABELS)
                raise ValueError(f"no embedded model {name!r}; there is {there}")
        elif not is_path(value) and not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
            raise ValueError(
                f"{value!r} is no model: use a hub name such as {DEFAULT_MODEL}, the path of a .nemo file, or "
                f"{EMBEDDED}phrasebook"
            )
        return value

    @field_validator("language_classifier")
    @classmethod
    def _classifier(cls, value: str) -> str:
        if not is_path(value) and value not in CLASSIFIERS:
            raise ValueError(f"{value!r} is no classifier: use {', '.join(CLASSIFIERS)} or the path of a .nemo file")
        return value

    @property
    def classifies(self) -> bool:
        """Whether a classifier finds the language."""
        return self.language_evidence == "classifier" and len(self.directions) > 1

    @model_validator(mode="after")
    def _pair(self) -> CanarySettings:
        if self.mode == "segments" and (
            self.model.startswith(EMBEDDED) or published_name(self.model) in WITHOUT_ALIGNER
        ):
            raise ValueError(NO_ALIGNER.format(self.model))
        if self.mode == "simultaneous" and (self.beam_size or 1) > 1:
            raise ValueError(
                "mode simultaneous needs a search of one (beam_size 1): it has to know where the decoder looks"
            )
        for direction in self.directions if not self.trained_languages else ():
            check_pair(self.model, *direction)
        if self.model.startswith(EMBEDDED):
            try:
                known = read_embedded(self.model).languages
            except ModelError:
                return self  # start() says what is wrong with the installation
            if self.pnc is False or self.itn is True:
                which = "pnc: false" if self.pnc is False else "itn: true"
                raise ValueError(f"{self.model} has learnt one way of writing; it does not know `{which}`")
            for direction in self.directions:
                require_language("source_lang", direction.source_lang, known, self.model)
                require_language("target_lang", direction.target_lang, known, self.model)
        return self


def is_path(model: str) -> bool:
    """Whether a model is given by path rather than by name."""
    return PurePath(model).suffix == ".nemo"


def _missing(settings: CanarySettings, base_dir: Path) -> tuple[Missing, ...]:
    return (*_missing_model(settings, base_dir), *_missing_classifier(settings, base_dir))


def _missing_file(name: str, base_dir: Path) -> tuple[Missing, ...]:
    path = base_dir / Path(name).expanduser()
    return () if path.is_file() else (Missing(path.name, remedy="there is no such file"),)


def _missing_classifier(settings: CanarySettings, base_dir: Path) -> tuple[Missing, ...]:
    name = settings.language_classifier
    if not settings.classifies:
        return ()
    if is_path(name):
        return _missing_file(name, base_dir)
    return () if classifier_file(name).is_file() else (Missing(name),)


def _missing_model(settings: CanarySettings, base_dir: Path) -> tuple[Missing, ...]:
    if settings.model.startswith(EMBEDDED):
        try:
            read_embedded(settings.model)
        except ModelError:
            return (Missing(settings.model, remedy="install tolmach again"),)
        return ()
    if is_path(settings.model):
        return _missing_file(settings.model, base_dir)
    file = hub_file(settings.model)
    return () if hub.cached(file) is not None else (Missing(settings.model, file.size_bytes),)


SPEC = ElementSpec(
    type="canary_ast",
    summary="Translate utterances with a Canary model (NeMo's EncDecMultiTaskModel).",
    settings=CanarySettings,
    pads=ast_pads,
    build="tolmach.processors.canary.element:CanaryAst",
    extra=Extra("tolmach[canary]", ("nemo", "omegaconf", "torch")),
    prefetch="tolmach.processors.canary.element:fetch",
    missing=_missing,
    on_error="skip",
    licence="Models: nvidia/canary-1b-v2 CC-BY-4.0 (attribution); embedded:phrasebook Apache-2.0; langid_ambernet: "
    "NVIDIA's terms on NGC",
    example="{type: canary_ast, source_lang: en, target_lang: ru}",
    doc="""\
Collects each utterance, asks the model host for its text, and pushes the texts in the order of the utterances. When
`target_lang` equals `source_lang` the model transcribes.

The model is loaded once per process and shared by every graph that asks for the same model on the same device; it
stays loaded until the process ends.

A text whose mean token log-probability is below `min_logprob` (empty: -1.5 for the published models, a value that was
not measured on them, and none for others), one that repeats itself, one of more than 30 characters for each second of
speech and 40, an empty one, and a sentence without one letter of the target language's script become frames without
text that say why (`rejected`), so that every utterance leaves a trace. Of silence and steady noise the model is not
asked. Two kinds are tried once more first: utterances under two seconds that are empty, with more silence around them,
and texts in the wrong script, without the tokens of other scripts.

With `mode: segments` each sentence of a translation is a frame of its own with its own span (`part`, `more`), so that
subtitles and dubs have true times and a voice begins with the first sentence. The spans come from the aligner that
lies in canary-1b-v2's file (0.6 billion parameters more, loaded for this alone). A model without one is refused: when
the graph is checked if that is known, else when it starts.

Callers take turns on the model, a step each: an utterance waits for the encoder's pass over one utterance of each other
caller, or eight tokens, and never for a whole translation.

`embedded:phrasebook` is a demonstration: it knows about 1600 travel phrases in English and Russian and says
"not in the phrasebook" to everything else. It is used only when it is named.

A `.nemo` file is loaded as weights only (no pickled code), but its configuration names NeMo classes: load files you
trust.""",
)
