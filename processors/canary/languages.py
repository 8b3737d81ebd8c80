"""Which languages the published Canary models translate; other models are asked when they are loaded."""

from __future__ import annotations

from pathlib import PurePath

from processors.ast.settings import require_language

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

PIVOT = "en"
"""All of them transcribe every language but translate only from and into English (the same model cards)."""


def check_pair(model: str, source_lang: str, target_lang: str) -> None:
    """Refuse a language, or a direction, that a published model does not translate.

    Raises:
        ValueError: Says what the model can do. Never for models that are not in :data:`PUBLISHED`, by name or as a file
            that has kept its name (their tokens would promise too much).
    """
    path = PurePath(model)
    known = PUBLISHED.get(f"nvidia/{path.stem}" if path.suffix == ".nemo" else model)
    if known is None:
        return
    require_language("source_lang", source_lang, known, model)
    require_language("target_lang", target_lang, known, model)
    if source_lang != target_lang and PIVOT not in (source_lang, target_lang):
        raise ValueError(
            f"{model} translates only from and into English, not {source_lang} to {target_lang}; "
            f"use two graphs through English, or target_lang {source_lang} to transcribe"
        )
