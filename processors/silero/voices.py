"""The Silero models known by name. Nothing here is loaded until a graph is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LICENCE", "MODELS", "PINNED", "SileroModelInfo"]

LICENCE = "CC BY-NC-SA 4.0"
"""Terms of all models in the table (https://github.com/snakers4/silero-models/blob/master/LICENSE)."""

_RATES_HZ = (8000, 24000, 48000)
_RUSSIAN = ("aidar", "baya", "kseniya", "xenia", "eugene")
_ENGLISH = tuple(f"en_{number}" for number in range(118))
_GERMAN = ("bernd_ungerbauer", "eva_k", "friedrich", "hokuspokus", "karlsson")

_RUSSIAN_SYMBOLS = "!+,-.:;?абвгдеёжзийклмнопрстуфхцчшщъыьэюя–… "
"""What the fifth Russian generation reads; its packages may not say so themselves."""


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
        size_bytes: Length of that file; None as for the digest.
        symbols: What it reads, where its package does not say; None to ask the package alone.
    """

    name: str
    lang: str
    url: str
    speakers: tuple[str, ...]
    default_speaker: str
    rates_hz: tuple[int, ...] = _RATES_HZ
    licence: str = LICENCE
    sha256: str | None = None
    size_bytes: int | None = None
    symbols: str | None = None


def _model(
    name: str,
    lang: str,
    speakers: tuple[str, ...],
    *,
    pin: tuple[int, str] | None = None,
    symbols: str | None = None,
) -> SileroModelInfo:
    size_bytes, sha256 = pin or (None, None)
    usual = "baya" if "baya" in speakers else speakers[0]
    url = f"https://models.silero.ai/models/tts/{lang}/{name}.pt"
    return SileroModelInfo(name, lang, url, speakers, usual, sha256=sha256, size_bytes=size_bytes, symbols=symbols)


MODELS: Mapping[str, SileroModelInfo] = {
    model.name: model
    for model in (
        _model(
            "v5_5_ru",
            "ru",
            _RUSSIAN,
            pin=(145_420_684, "50081637b602126ee06cb3bc8a744d25651d2da149ee8864b9a379bfdd934437"),
            symbols=_RUSSIAN_SYMBOLS,
        ),
        _model(
            "v4_ru",
            "ru",
            _RUSSIAN,
            pin=(41_870_817, "896ab96347d5bd781ab97959d4fd6885620e5aab52405d3445626eb7c1414b00"),
        ),
        _model(
            "v3_1_ru",
            "ru",
            _RUSSIAN,
            pin=(61_896_251, "cf60b47ec8a9c31046021d2d14b962ea56b8a5bf7061c98accaaaca428522f85"),
        ),
        # No digest of these two is known from two independent places.
        _model("v5_4_ru", "ru", tuple(name for name in _RUSSIAN if name != "eugene"), symbols=_RUSSIAN_SYMBOLS),
        _model("v5_ru", "ru", _RUSSIAN, symbols=_RUSSIAN_SYMBOLS),
        _model(
            "v3_en",
            "en",
            _ENGLISH,
            pin=(57_194_546, "02b71034d9f13bc4001195017bac9db1c6bb6115e03fea52983e8abcff13b665"),
        ),
        _model(
            "v3_de", "de", _GERMAN, pin=(57_076_082, "2e22f38619e1d1da96d963bda5fab6d53843e8837438cb5a45dc376882b0354b")
        ),
        _model(
            "v3_es",
            "es",
            ("es_0", "es_1", "es_2"),
            pin=(57_079_302, "36206add75fb89d0be16d5ce306ba7a896c6fa88bab7e3247403f4f4a520eced"),
        ),
        _model(
            "v3_fr",
            "fr",
            tuple(f"fr_{number}" for number in range(6)),
            pin=(57_085_158, "02ed062cfff1c7097324929ca05c455a25d4f610fd14d51b89483126e50f15cb"),
        ),
    )
}
"""By name; of a language the pinned ones first, and of those the newest; https://github.com/snakers4/silero-models
lists them. The digests stand alike in many independent public repositories."""

PINNED = frozenset(
    {model.sha256 for model in MODELS.values() if model.sha256 is not None}
    | {
        # Published by Silero too, but not known by name here: in one language each speaker (MIT), and Ukrainian.
        "0405777e332906f0644e08a680f7cfdc2137ea864090079c1fdd30a43c1b8761",  # v5_cis_base_nostress.pt
        "ee14ace1b9ef79ab6af53cf14fdba17d80de209ee6c34dc69efc65a5a5458165",  # v4_ua.pt
    }
)
"""SHA-256 of every file that is loaded without a question, wherever it lies and whatever it is called."""
