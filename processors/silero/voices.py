"""The Silero models known by name. Nothing here is loaded until a graph is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LICENCE", "MODELS", "SileroModelInfo"]

LICENCE = "CC BY-NC-SA 4.0"
"""Terms of all models in the table (https://github.com/snakers4/silero-models/blob/master/LICENSE)."""

_RATES_HZ = (8000, 24000, 48000)
_RUSSIAN = ("aidar", "baya", "kseniya", "xenia", "eugene")
_ENGLISH = tuple(f"en_{number}" for number in range(118))


@dataclass(frozen=True, slots=True)
class SileroModelInfo:
    """A published model.

    Attributes:
        name: Silero's name for it.
        lang: BCP-47 tag of the language it speaks.
        url: Where it is published.
        speakers: Its speakers; the model says the same once it is loaded, and that is checked.
        default_speaker: Who speaks unless told.
        rates_hz: Sample rates it can give, Hz.
        licence: Its terms.
        sha256: Digest of the file, or None where nobody has vouched for one: the user then allows the digest.
    """

    name: str
    lang: str
    url: str
    speakers: tuple[str, ...]
    default_speaker: str
    rates_hz: tuple[int, ...] = _RATES_HZ
    licence: str = LICENCE
    sha256: str | None = None


def _model(name: str, lang: str, speakers: tuple[str, ...], default_speaker: str) -> SileroModelInfo:
    return SileroModelInfo(
        name, lang, f"https://models.silero.ai/models/tts/{lang}/{name}.pt", speakers, default_speaker
    )


MODELS: Mapping[str, SileroModelInfo] = {
    model.name: model
    for model in (
        _model("v5_5_ru", "ru", _RUSSIAN, "baya"),
        _model("v5_ru", "ru", _RUSSIAN, "baya"),
        _model("v4_ru", "ru", _RUSSIAN, "baya"),
        _model("v3_1_ru", "ru", _RUSSIAN, "baya"),
        _model("v3_en", "en", _ENGLISH, "en_0"),
    )
}
"""By name, the newest of a language first; https://github.com/snakers4/silero-models#text-to-speech lists them."""
