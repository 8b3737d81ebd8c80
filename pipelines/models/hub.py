"""One file of a Hugging Face repository: looked up in, and downloaded into, the cache that the hub's own clients use.

Those clients (huggingface_hub 2.4) begin a broken download anew, which for Canary is 6.4 GB;
:mod:`tolmach.pipelines.models.download` goes on. The layout is the documented one
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache): ``blobs/SHA``, shown as ``snapshots/COMMIT/NAME``,
and ``refs/main`` names the commit.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tolmach.pipelines.errors import ModelMissingError
from tolmach.pipelines.models.caches import cache_folders, size_text

if TYPE_CHECKING:
    from tolmach.pipelines.models.download import Remote, TellProgress

__all__ = ["HubFile", "NotInRepositoryError", "cached", "fetch"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


class NotInRepositoryError(ModelMissingError):
    """The repository is there and has no such file."""


class HubFile(NamedTuple):
    """A file of a repository.

    Attributes:
        repo: Repository, ``owner/name``.
        filename: Path of the file in it.
        size_bytes: Its length where it is known here, bytes.
        sha256: Its digest where it is known here.
    """

    repo: str
    filename: str
    size_bytes: int | None = None
    sha256: str | None = None


def cached(file: HubFile) -> Path | None:
    """Where the file lies in the cache; None if it does not. Touches no network and imports no client."""
    folder = _folder(file)
    commits = [_read(folder / "refs" / "main")]
    if folder.joinpath("snapshots").is_dir():  # a snapshot that was carried here by hand may come without its ref
        commits += sorted(each.name for each in (folder / "snapshots").iterdir())
    for commit in filter(None, commits):
        path = folder / "snapshots" / commit / file.filename
        if path.is_file() and file.size_bytes in (None, path.stat().st_size):
            return path
    return None


def fetch(file: HubFile, progress: TellProgress) -> Path:
    """The file's path in the cache, downloaded unless it is there. Blocks.

    Args:
        file: Which.
        progress: Told how far it is, one line at a time.

    Raises:
        NotInRepositoryError: If the repository has no such file.
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If what comes is not the file that the hub, or this project, says it is.
    """
    if (found := cached(file)) is not None:
        return found
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils import build_hf_headers

    from tolmach.pipelines.models.download import (
        download,  # what only looks whether a file is here need not wait for it
    )

    url = hf_hub_url(file.repo, file.filename)
    try:
        known = get_hf_file_metadata(url)
    except EntryNotFoundError as error:
        raise NotInRepositoryError(f"{file.repo} has no file {file.filename}") from error
    except Exception as error:  # the hub's client raises whatever its transport raises
        raise ModelMissingError(_unreachable(file, url, error)) from error
    remote = _remote(file, url, known, {k: v for k, v in build_hf_headers().items() if k == "authorization"}, progress)
    folder = _folder(file)
    blob = folder / "blobs" / (known.etag or remote.sha256 or file.filename.replace("/", "--"))
    if not blob.is_file():
        download(remote, blob, progress)
    return _show(folder, known.commit_hash or "main", file.filename, blob)


def _folder(file: HubFile) -> Path:
    return cache_folders()["hugging face"] / f"models--{file.repo.replace('/', '--')}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _remote(file: HubFile, url: str, known: Any, headers: dict[str, str], progress: TellProgress) -> Remote:
    # Of a large file the hub says the SHA-256 as its entity tag; of a small one, git's digest.
    from tolmach.pipelines.models.download import Remote

    told = known.etag if known.etag and _DIGEST.fullmatch(known.etag) else None
    if told and file.sha256 and told != file.sha256:
        progress(f"{file.repo}: the hub has another {file.filename} than the one that Tolmach was tested with")
        return Remote(url, file.filename, known.size, told, headers=headers)
    return Remote(url, file.filename, known.size or file.size_bytes, told or file.sha256, headers=headers)


def _show(folder: Path, commit: str, filename: str, blob: Path) -> Path:
    """Name a blob in its snapshot, as a link where the file system has links."""
    path = folder / "snapshots" / commit / filename
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:  # Windows without the right to; the hub's client moves the file then, too
        blob.replace(path)
    ref = folder / "refs" / "main"
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit, encoding="ascii")
    return path


def _unreachable(file: HubFile, url: str, error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    text = f"the hub cannot be asked for {file.repo} ({type(error).__name__}: {first_line})"
    if file.sha256:
        size = f"{file.size_bytes} bytes, {size_text(file.size_bytes)}, " if file.size_bytes else ""
        text += f"; the file is {url} ({size}SHA-256 {file.sha256}), and `curl -L -C - -O {url}` goes on after a break"
    return text
