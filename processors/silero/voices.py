"""The published Silero text-to-speech models: their names, addresses, speakers and terms. No torch.

Names, addresses, speakers, rates and token sets are those of ``models.yml`` and the README of
https://github.com/snakers4/silero-models; v5.4 has no ``eugene``. A digest stands here only where several public
repositories that do not copy from each other pin the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = [
    "LICENCE",
    "MAX_CHARS_V1",
    "MAX_CHARS_V3",
    "MAX_CHARS_V5",
    "MODELS",
    "PINNED",
    "SLOWER",
    "TOKENS",
    "SileroModelInfo",
    "SpokenIn",
    "fitting",
]

LICENCE = "CC BY-NC-SA 4.0"
"""Terms of most models (https://github.com/snakers4/silero-models/blob/master/LICENSE): not for commercial use."""

LICENCE_CIS = "MIT"
"""Terms of the two base models of the CIS (https://github.com/snakers4/silero-models/blob/master/LICENSE_CIS)."""

Format = Literal["package", "texts_package", "torchscript"]
"""How a file is loaded and spoken with: a torch package whose ``apply_tts`` takes a text and a speaker (version 3 and
later), one that takes a list of texts (version 2), or a bare TorchScript network (version 1)."""


class SpokenIn(NamedTuple):
    """What a model is in one language.

    Attributes:
        speakers: Who speaks it, the usual one first.
        symbols: What is read, where the file does not say; None to ask the file alone.
        needs_stress: Whether every word must carry its stress ("зам+ок"), because the model places none itself.
    """

    speakers: tuple[str, ...]
    symbols: str | None = None
    needs_stress: bool = False


@dataclass(frozen=True, slots=True)
class SileroModelInfo:
    """A published model.

    Attributes:
        name: Silero's name for it.
        spoken: The languages it speaks by BCP-47 tag, the usual one first.
        url: Where it is published.
        format: How the file is loaded.
        rates_hz: Sample rates it can give, Hz.
        max_chars: Longest text that it is given at once, characters.
        has_random: Whether it knows the speaker ``random``.
        has_prosody: Whether it reads SSML, and so speaks faster, slower, higher or lower.
        licence: Its terms.
        commercial: Whether they allow commercial use.
        sha256: Digest of the file, or None where nobody has vouched for one: the user then allows the digest.
        size_bytes: Length of that file; None where nobody says it.
    """

    name: str
    spoken: Mapping[str, SpokenIn]
    url: str
    format: Format
    rates_hz: tuple[int, ...]
    max_chars: int
    has_random: bool = False
    has_prosody: bool = False
    licence: str = LICENCE
    commercial: bool = False
    sha256: str | None = None
    size_bytes: int | None = None

    @property
    def langs(self) -> tuple[str, ...]:
        """All languages it speaks."""
        return tuple(self.spoken)

    @property
    def lang(self) -> str:
        """The language it speaks unless told."""
        return self.langs[0]

    @property
    def speakers(self) -> tuple[str, ...]:
        """All its speakers; the model says the same once it is loaded, and that is checked."""
        return tuple(speaker for each in self.spoken.values() for speaker in each.speakers)


_RATES_HZ = (8000, 24000, 48000)

MAX_CHARS_V5 = 700
"""The model's bound is the length of what it speaks: of one book a paragraph of 889 characters failed and one of 897
passed, at the usual speed; 560 passed at the slowest. What is too long all the same is halved."""

MAX_CHARS_V3 = 500
"""Each speaker has a bound of its own, from 930 characters down (twirapp/silero-tts-api-server, issue 15)."""

MAX_CHARS_V1 = 140
"""Above it the published ``prepare_text_input`` (``tts_utils.py``) warns: the network learnt from shorter texts."""

SLOWER = {"x-slow": 0.6, "slow": 0.8}
"""How much of these lengths can be spoken slowly; see :data:`MAX_CHARS_V5`."""

_RUSSIAN = ("baya", "aidar", "kseniya", "xenia", "eugene")
_RUSSIAN_V5_SYMBOLS = "!+,-.:;?абвгдеёжзийклмнопрстуфхцчшщъыьэюя–… "
"""What the fifth Russian generation reads; its packages may not say so themselves."""

_INDIAN_ENGLISH = tuple(
    f"{people}_{sex}"
    for people, sex in (
        *(("tamil", "female"), ("bengali", "female"), ("malayalam", "male"), ("manipuri", "female")),
        *(("assamese", "female"), ("gujarati", "male"), ("telugu", "male"), ("kannada", "male"), ("hindi", "female")),
        *(("rajasthani", "female"), ("kannada", "female"), ("bengali", "male"), ("tamil", "male")),
        *(("gujarati", "female"), ("assamese", "male")),
    )
)

TOKENS = {
    "ru": "_~абвгдеёжзийклмнопрстуфхцчшщъыьэюя +.,!?…:;–",
    "en": "_~abcdefghijklmnopqrstuvwxyz .,!?…:;–",
    "de": "_~abcdefghijklmnopqrstuvwxyzäöüß .,!?…:;–",
    "es": "_~abcdefghijklmnopqrstuvwxyzáéíñóú .,!?…:;–¡¿",
    "fr": "_~abcdefghijklmnopqrstuvwxyzéàèùâêîôûç .,!?…:;–",
}
"""Token sets of the first generation, whose files hold none (``tokenset`` in ``models.yml``): the number of a symbol is
its place. The first fills up, the second ends a text."""

_CIS = {
    "ru": "ru zhadyra aigul albina alexandr alfia alfia2 bogdan dmitriy eduard ekaterina gamat igor karina kejilgan "
    "kermen marat miyau nurgul oksana onaoy ramilia roman safarhuja saida sibday vika zara zhazira zinaida",
    "uk": "ukr igor roman",
    "be": "bel anatoliy dmitriy larisa",
    "kk": "kaz zhadyra zhazira",
    "tt": "tat albina marat",
    "ba": "bak aigul alfia alfia2 miyau ramilia",
    "az": "aze gamat",
    "uz": "uzb saida",
    "tg": "tgk onaoy safarhuja",
    "hy": "hye zara",
    "ka": "kat vika",
}
"""Silero's prefix of a language and the speakers behind it; of the twenty languages those that Tolmach has a name for.
In each language native speakers; those of all languages read Russian too, with their accents."""

_SLAVIC = ("ru", "uk", "be")


def _package(
    name: str,
    lang: str,
    speakers: tuple[str, ...],
    *,
    pin: tuple[int | None, str] | None = None,
    symbols: str | None = None,
    folder: str | None = None,
) -> SileroModelInfo:
    """A torch package of the third, fourth or fifth version."""
    size_bytes, sha256 = pin or (None, None)
    fifth = name.startswith("v5")
    return SileroModelInfo(
        name,
        {lang: SpokenIn(speakers, symbols)},
        f"https://models.silero.ai/models/tts/{folder or lang}/{name}.pt",
        "package",
        _RATES_HZ,
        MAX_CHARS_V5 if fifth else MAX_CHARS_V3,
        has_random=not fifth,
        has_prosody=True,
        sha256=sha256,
        size_bytes=size_bytes,
    )


def _cis(name: str, stressed: tuple[str, ...], pin: tuple[int, str]) -> SileroModelInfo:
    """One of the models of many languages, in which each speaker has one."""
    spoken = {}
    for lang, listed in _CIS.items():
        prefix, *names = listed.split()
        spoken[lang] = SpokenIn(tuple(f"{prefix}_{each}" for each in names), needs_stress=lang in stressed)
    return SileroModelInfo(
        name,
        spoken,
        f"https://models.silero.ai/models/tts/ru/{name}.pt",
        "package",
        _RATES_HZ,
        MAX_CHARS_V5,
        has_prosody=True,
        licence=LICENCE_CIS,
        commercial=True,
        size_bytes=pin[0],
        sha256=pin[1],
    )


def _second(speaker: str, lang: str) -> SileroModelInfo:
    return SileroModelInfo(
        f"{speaker}_v2",
        {lang: SpokenIn((speaker,), TOKENS[lang])},
        f"https://models.silero.ai/models/tts/{lang}/v2_{speaker}.pt",
        "texts_package",
        (8000, 16000),
        MAX_CHARS_V1,
    )


def _first(speaker: str, lang: str) -> SileroModelInfo:
    return SileroModelInfo(
        f"{speaker}_16khz",
        {lang: SpokenIn((speaker,), TOKENS[lang], needs_stress=lang == "ru")},
        f"https://models.silero.ai/models/tts/{lang}/v1_{speaker}_16000.jit",
        "torchscript",
        (16000,),
        MAX_CHARS_V1,
    )


_FIRST = {"ru": ("baya", "kseniya", "irina", "natasha", "ruslan", "aidar"), "en": ("lj",)}
"""Speakers of the first two generations, one a file."""


def _all() -> tuple[SileroModelInfo, ...]:
    without_eugene = tuple(name for name in _RUSSIAN if name != "eugene")
    return (
        _package(
            "v5_5_ru",
            "ru",
            _RUSSIAN,
            pin=(145_420_684, "50081637b602126ee06cb3bc8a744d25651d2da149ee8864b9a379bfdd934437"),
            symbols=_RUSSIAN_V5_SYMBOLS,
        ),
        _package(
            "v4_ru",
            "ru",
            _RUSSIAN,
            pin=(41_870_817, "896ab96347d5bd781ab97959d4fd6885620e5aab52405d3445626eb7c1414b00"),
        ),
        _package(
            "v3_1_ru",
            "ru",
            _RUSSIAN,
            pin=(61_896_251, "cf60b47ec8a9c31046021d2d14b962ea56b8a5bf7061c98accaaaca428522f85"),
        ),
        _package(
            "v4_ua",
            "uk",
            ("mykyta",),
            folder="ua",
            pin=(None, "ee14ace1b9ef79ab6af53cf14fdba17d80de209ee6c34dc69efc65a5a5458165"),
        ),
        _cis(
            "v5_cis_base_nostress",
            _SLAVIC,
            (91_685_438, "0405777e332906f0644e08a680f7cfdc2137ea864090079c1fdd30a43c1b8761"),
        ),
        _cis(
            "v5_cis_base",
            tuple(_CIS),
            (91_680_514, "ba41b18f6a707ad93605a162998865e7c087153d2e010a26dd02229dab0e672a"),
        ),
        _package(
            "v3_en",
            "en",
            tuple(f"en_{number}" for number in range(118)),
            pin=(57_194_546, "02b71034d9f13bc4001195017bac9db1c6bb6115e03fea52983e8abcff13b665"),
        ),
        _package(
            "v3_en_indic",
            "en",
            _INDIAN_ENGLISH,
            pin=(57_089_310, "8ebf6b8bc4a762117e5f8d9a6ba30ffcbb65eb669f57cecd6954b0f563095429"),
        ),
        _package(
            "v3_de",
            "de",
            ("bernd_ungerer", "eva_k", "friedrich", "hokuspokus", "karlsson"),
            pin=(57_076_082, "2e22f38619e1d1da96d963bda5fab6d53843e8837438cb5a45dc376882b0354b"),
        ),
        _package(
            "v3_es",
            "es",
            ("es_0", "es_1", "es_2"),
            pin=(57_079_302, "36206add75fb89d0be16d5ce306ba7a896c6fa88bab7e3247403f4f4a520eced"),
        ),
        _package(
            "v3_fr",
            "fr",
            tuple(f"fr_{number}" for number in range(6)),
            pin=(57_085_158, "02ed062cfff1c7097324929ca05c455a25d4f610fd14d51b89483126e50f15cb"),
        ),
        # No digest of those below is known from anywhere; that of the file has to be allowed.
        _package("v5_4_ru", "ru", without_eugene, symbols=_RUSSIAN_V5_SYMBOLS),
        *(_package(f"v5_{minor}_ru", "ru", _RUSSIAN, symbols=_RUSSIAN_V5_SYMBOLS) for minor in (3, 2, 1)),
        _package("v5_ru", "ru", _RUSSIAN, symbols=_RUSSIAN_V5_SYMBOLS),
        *(_second(speaker, lang) for lang, speakers in _FIRST.items() for speaker in speakers),
        *(_first(speaker, lang) for lang, speakers in _FIRST.items() for speaker in speakers),
    )


MODELS: dict[str, SileroModelInfo] = {model.name: model for model in _all()}
"""By name; of a language the pinned ones first, and of those the one to take unless told."""

PINNED = frozenset(model.sha256 for model in MODELS.values() if model.sha256 is not None)
"""SHA-256 of every file that is loaded without a question, wherever it lies and whatever it is called."""


def fitting(lang: str) -> tuple[SileroModelInfo, ...]:
    """The models that speak a language, the one to take first."""
    return tuple(model for model in MODELS.values() if lang in model.spoken)
