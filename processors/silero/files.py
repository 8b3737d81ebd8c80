"""Where Silero's model files lie on disk, how they get there, and which may be loaded. No torch."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit

from tolmach.pipelines.errors import ModelMissingError, ModelRefusedError
from tolmach.pipelines.models.caches import cache_dir
from tolmach.processors.silero.voices import MODELS, PINNED, SileroModelInfo

if TYPE_CHECKING:
    from tolmach.pipelines.models.download import TellProgress

log = logging.getLogger(__name__)

ALLOW_VARIABLE = "TOLMACH_ALLOW_SHA256"
"""Environment variable with SHA-256 digests the user allows, separated by commas or spaces."""

MAX_PACKAGE_BYTES = 1 << 30
"""Largest model file taken from the net or from disk, bytes. Silero's are 30 to 150 MB."""


class Package(NamedTuple):
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
    return cached_at(url) if url else base_dir / Path(settings.model).expanduser()


def cached_at(url: str) -> Path:
    """Where a file from this address lies, or would after a download."""
    return cache_dir() / "silero" / _cached_name(url)


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
    digest = _sha256(content)
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


def may_not_be_sold(package: Package) -> str | None:
    """What a file is that may not be used commercially, whatever it is called; None where that is not known."""
    for model in MODELS.values():
        if model.sha256 == package.sha256 and not model.commercial:
            return f"{model.name}, which may not be used commercially ({model.licence})"
    return None


def _allowed_by_environment() -> set[str]:
    words = re.split(r"[\s,;]+", os.environ.get(ALLOW_VARIABLE, "").lower())
    return {word.removeprefix("sha256:") for word in words if word}


def _sha256(data: bytes) -> str:
    import hashlib  # with OpenSSL, which a check does without

    return hashlib.sha256(data).hexdigest()


def _cached_name(url: str) -> str:
    # Two servers may give one name to different files, so the name carries a digest of the address.
    path = Path(urlsplit(url).path)
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)[:64]
    return f"{stem}-{_sha256(url.encode())[:8]}{'.jit' if path.suffix == '.jit' else '.pt'}"
