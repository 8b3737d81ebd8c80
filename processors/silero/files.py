"""The Silero models known by name; where models lie on disk, how they get there, and which may be loaded. No torch."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from tolmach.pipelines.errors import ModelMissingError, ModelRefusedError
from tolmach.pipelines.models.caches import cache_dir

if TYPE_CHECKING:
    from tolmach.pipelines.models.download import TellProgress

log = logging.getLogger(__name__)

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


ALLOW_VARIABLE = "TOLMACH_ALLOW_SHA256"
"""Environment variable with SHA-256 digests the user allows, separated by commas or spaces."""

MAX_PACKAGE_BYTES = 1 << 30
"""Largest model file taken from the net or from disk, bytes. Silero's are 30 to 150 MB."""


@dataclass(frozen=True, slots=True)
class Package:
    """A model file that may be loaded: the very bytes whose digest was checked.

    Attributes:
        path: Where it was read.
        sha256: Its digest, lower-case hexadecimal.
        content: The file.
    """

    path: Path
    sha256: str
    content: bytes


class ModelChoice(Protocol):
    """What of the element's settings says which model is meant."""

    @property
    def model(self) -> str:
        """Its name, path or address."""

    @property
    def sha256(self) -> str | None:
        """Its digest, where the user gives one."""

    @property
    def info(self) -> SileroModelInfo | None:
        """What is known of it, where it is a published one."""


def fetch(settings: ModelChoice) -> Path:
    """Have the model on this machine and check that it may be loaded; what ``tolmach fetch`` runs.

    Returns:
        Its file.

    Raises:
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If its SHA-256 is neither pinned nor allowed. The file stays, so that allowing it is enough.
    """
    path = find_or_fetch(settings)
    try:
        return read_allowed(path, settings).path
    except ModelRefusedError:
        if settings.info is None or settings.info.sha256 is None or settings.sha256 or not path.is_file():
            raise
    # The cache is ours: a file in it that is not the pinned one was damaged, and is fetched anew.
    log.info("%s is damaged; it is downloaded anew", path)
    path.unlink()
    return read_allowed(find_or_fetch(settings), settings).path


def find_or_fetch(settings: ModelChoice, base_dir: Path | None = None, progress: TellProgress = log.info) -> Path:
    """Path of the model file, downloaded when it has a URL and is not in the cache yet. Blocks.

    Args:
        settings: Which model.
        base_dir: Folder that a relative path starts from; the current one when None.
        progress: Told about the download, one line at a time.

    Raises:
        ModelMissingError: If it is not there and cannot be downloaded.
    """
    url, path = _url(settings), expected_at(settings, base_dir or Path.cwd())
    if url is None:
        if not path.is_file():
            raise ModelMissingError(
                f"there is no Silero model at {path}: set `model` to a file, a name or an https URL"
            )
        return path
    if not path.is_file():
        from tolmach.pipelines.models.download import DownloadError, Remote, download  # 20 ms that `check` need not pay

        info = settings.info
        name = info.name if info else path.name
        size_bytes, sha256 = (info.size_bytes, info.sha256) if info else (None, None)
        try:
            download(Remote(url, name, size_bytes, sha256, MAX_PACKAGE_BYTES), path, progress)
        except DownloadError as error:
            raise DownloadError(
                f"{error}. Without a network, run `tolmach fetch GRAPH` elsewhere and put the file at {path}"
            ) from error
    return path


def expected_at(settings: ModelChoice, base_dir: Path) -> Path:
    """Where the model file is, or would be after a download."""
    url = _url(settings)
    return cache_dir() / "silero" / _cached_name(url) if url else base_dir / Path(settings.model).expanduser()


def _url(settings: ModelChoice) -> str | None:
    if settings.info:
        return settings.info.url
    return settings.model if "://" in settings.model else None


def read_allowed(path: Path, settings: ModelChoice) -> Package:
    """Read a model file and check that it may be loaded. Blocks.

    Raises:
        ModelMissingError: If it cannot be read.
        ModelRefusedError: If its SHA-256 is neither pinned nor allowed, or it is too large to be a model.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PACKAGE_BYTES + 1)
    except OSError as error:
        raise ModelMissingError(f"cannot read the Silero model {path}: {error.strerror}") from error
    if len(content) > MAX_PACKAGE_BYTES:
        raise ModelRefusedError(f"{path} is larger than {MAX_PACKAGE_BYTES >> 20} MiB: that is no Silero model")
    digest = hashlib.sha256(content).hexdigest()
    pinned = settings.info.sha256 if settings.info else None
    # A file under a name must be the one of that name; one given by path or URL may be any that is known.
    known = ({pinned} if settings.info else PINNED) | {settings.sha256} | _allowed_by_environment()
    if digest in known:
        return Package(path, digest, content)
    expected = settings.sha256 or pinned
    why = f"not {expected} as {'set' if settings.sha256 else 'pinned'}" if expected else "which nobody has vouched for"
    raise ModelRefusedError(
        f"{path} is not loaded: a torch package is a program, and this one has SHA-256 {digest}, {why}. If you trust "
        f"where it came from, allow it with `export {ALLOW_VARIABLE}={digest}`, with "
        f"`--set ELEMENT.sha256={digest}`, or with `sha256: {digest}` on the element in the graph, and run "
        f"`tolmach fetch` again. If you do not, delete the file"
    )


def _allowed_by_environment() -> set[str]:
    words = re.split(r"[\s,;]+", os.environ.get(ALLOW_VARIABLE, "").lower())
    return {word.removeprefix("sha256:") for word in words if word}


def _cached_name(url: str) -> str:
    # Two servers may give one name to different files, so the name carries a digest of the address.
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(urlsplit(url).path).stem)[:64]
    return f"{stem}-{hashlib.sha256(url.encode()).hexdigest()[:8]}.pt"
