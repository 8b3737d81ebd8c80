"""Which languages the published Canary models translate, and how a renamed file of one is recognised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from tolmach.processors.ast import require_language

# fmt: off
CANARY_1B_V2 = (
    "bg", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "de", "el", "hu", "it",
    "lv", "lt", "mt", "pl", "pt", "ro", "ru", "sk", "sl", "es", "sv", "uk",
)
# fmt: on
"""The 25 languages of https://huggingface.co/nvidia/canary-1b-v2 (model card, "Supported languages")."""

CANARY_FLASH = ("en", "de", "es", "fr")
"""The languages of https://huggingface.co/nvidia/canary-1b-flash and canary-180m-flash."""

PUBLISHED = {
    "nvidia/canary-1b-v2": CANARY_1B_V2,
    "nvidia/canary-1b-flash": CANARY_FLASH,
    "nvidia/canary-180m-flash": CANARY_FLASH,
}
"""Languages by hub name. Their tokenizers hold tokens for many more languages, which the models never learnt."""


class Shape(NamedTuple):
    """What tells models apart that tell no name.

    Attributes:
        vocabulary: Tokens of the tokenizer.
        encoder_layers: Layers of the encoder.
        encoder_width: Its ``d_model``.
        decoder_layers: Layers of the decoder.
    """

    vocabulary: int
    encoder_layers: int
    encoder_width: int
    decoder_layers: int


SHAPES = {Shape(16384, 32, 1024, 8): "nvidia/canary-1b-v2"}
"""Of those whose tokenizers hold tokens for languages that they never learnt. (Those of the flash models are put
together from one tokenizer a language, and say by that which they are.)"""

PIVOT = "en"
"""All of them transcribe every language but translate only from and into English (the same model cards)."""


def published_name(model: str) -> str | None:
    """The hub name of a published model given by name, or by a path that has kept the name; None for others."""
    path = PurePath(model)
    name = f"nvidia/{path.stem}" if path.suffix == ".nemo" else model
    return name if name in PUBLISHED else None


class Known(NamedTuple):
    """What is known of a loaded model's languages.

    Attributes:
        languages: Those it may be asked for, sorted.
        published: Hub name of the model that it is, or has been made from; None if that is not known.
        sure: Whether it has learnt them; if not, all that is known is that it has tokens for them.
    """

    languages: tuple[str, ...]
    published: str | None
    sure: bool


def recognise(name: str, shape: Shape, tokens: Sequence[str], parts: Sequence[str] = ()) -> Known:
    """Which languages a model has learnt, by its name, its shape and its tokenizer.

    Args:
        name: Hub name or path.
        shape: What it looks like.
        tokens: Languages that its tokenizer has tokens for.
        parts: Languages of which its tokenizer has a part of its own.
    """
    published = published_name(name) or SHAPES.get(shape)
    if published is not None:
        return Known(tuple(sorted(set(PUBLISHED[published]) & set(tokens))), published, True)
    if parts:
        return Known(tuple(sorted(set(parts) & set(tokens))), None, True)
    return Known(tuple(sorted(tokens)), None, False)


def check_pair(model: str, source_lang: str, target_lang: str, called: str = "") -> None:
    """Refuse a language, or a direction, that a published model does not translate.

    Args:
        model: Hub name or path; nothing is refused of models that are not in :data:`PUBLISHED`, by name or as a file
            that has kept its name (their tokens would promise too much).
        source_lang: Language that is spoken.
        target_lang: Language of the text.
        called: What to call the model, if not that.

    Raises:
        ValueError: Says what the model can do.
    """
    published = published_name(model)
    if published is None:
        return
    known, called = PUBLISHED[published], called or model
    require_language("source_lang", source_lang, known, called)
    require_language("target_lang", target_lang, known, called)
    if source_lang != target_lang and PIVOT not in (source_lang, target_lang):
        raise ValueError(
            f"{called} translates only from and into English, not {source_lang} to {target_lang}; "
            f"use two graphs through English, or target_lang {source_lang} to transcribe"
        )
