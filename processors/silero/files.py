"""Where Silero models lie on disk, how they get there, and which of them may be loaded. Imports no torch."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from pipelines.caches import cache_dir
from pipelines.errors import ModelMissingError, ModelRefusedError
from processors.silero.spec import SileroTtsSettings
from processors.silero.voices import PINNED

__all__ = ["ALLOW_VARIABLE", "MAX_PACKAGE_BYTES", "Package", "fetch", "find_or_fetch", "read_allowed"]

log = logging.getLogger(__name__)

ALLOW_VARIABLE = "TOLMACH_ALLOW_SHA256"
"""Environment variable with SHA-256 digests the user allows, separated by commas or spaces."""

MAX_PACKAGE_BYTES = 1 << 30
"""Largest model file taken from the net or from disk, bytes. Silero's are 30 to 150 MB."""

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 30
_REPORT_BYTES = 16 << 20

Progress = Callable[[str], None]


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


def fetch(settings: SileroTtsSettings) -> Path:
    """Have the model on this machine and check that it may be loaded; what ``tolmach fetch`` runs.

    Returns:
        Its file.

    Raises:
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If its SHA-256 is neither pinned nor allowed. The file stays, so that allowing it is enough.
    """
    return read_allowed(find_or_fetch(settings), settings).path


def find_or_fetch(settings: SileroTtsSettings, base_dir: Path | None = None, progress: Progress = log.info) -> Path:
    """Path of the model file, downloaded when it has a URL and is not in the cache yet. Blocks.

    Args:
        settings: Which model.
        base_dir: Folder that a relative path starts from; the current one when None.
        progress: Told about the download, one line at a time.

    Raises:
        ModelMissingError: If it is not there and cannot be downloaded.
    """
    url = settings.info.url if settings.info else settings.model if "://" in settings.model else None
    if url is None:
        path = (base_dir or Path.cwd()) / Path(settings.model).expanduser()
        if not path.is_file():
            raise ModelMissingError(
                f"there is no Silero model at {path}: set `model` to a file, a name or an https URL"
            )
        return path
    path = cache_dir() / "silero" / _cached_name(url)
    if not path.is_file():
        _download(url, path, progress)
    return path


def read_allowed(path: Path, settings: SileroTtsSettings) -> Package:
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


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not out of https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        """Raises URLError instead of following a redirect to anything but https."""
        if urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _download(url: str, path: Path, progress: Progress) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=path.stem, suffix=".part", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _receive(url, file, progress)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelMissingError(
            f"the Silero model is not at {path} and cannot be downloaded from {url} ({reason}). With a network, run "
            f"`tolmach fetch GRAPH`; without one, fetch it elsewhere and put it there"
        ) from error


def _receive(url: str, file: IO[bytes], progress: Progress) -> None:
    opener = urllib.request.build_opener(_HttpsOnly)
    request = urllib.request.Request(url, headers={"User-Agent": "tolmach"})  # noqa: S310 -- https, checked by the settings
    progress(f"downloading {url}")
    with opener.open(request, timeout=_TIMEOUT_S) as response:
        length = response.headers.get("Content-Length") or ""
        expected = int(length) if length.isdecimal() else 0
        received = reported = 0
        while block := response.read(_BLOCK_BYTES):
            received += len(block)
            if max(received, expected) > MAX_PACKAGE_BYTES:
                raise OSError(f"it is larger than {MAX_PACKAGE_BYTES >> 20} MiB")
            file.write(block)
            if received - reported >= _REPORT_BYTES:
                reported = received
                progress(f"downloading {url}: {received >> 20} of {expected >> 20 or '?'} MiB")
    if expected and received != expected:
        raise OSError(f"it broke off after {received} of {expected} bytes")
