"""Model files that a host elsewhere needs: what they are told by, and where they lie there.

A loader names files by their paths here. On another machine the same file may lie elsewhere, or another one may lie at
that path, so a file is sent by path, name, size and digest, and a loader asks :func:`located` where it opens one.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tolmach.pipelines.errors import ModelError, ModelMissingError

__all__ = ["ModelFile", "describe", "locate", "located"]

_ENDS = 1 << 20
"""Bytes of either end of a file that its digest is made of: a model of gigabytes is told by 2 MB of it and its size in
milliseconds. It finds a mix-up; what must not be forged has a SHA-256 of its own."""

_PACKAGE = Path(__file__).resolve().parents[2]
"""What is shipped lies below it, wherever that was installed."""

_here: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file or folder of a model.

    Attributes:
        path: Where it lies for those who ask for the model, absolute.
        shipped: The same from the package's folder, for what lies in it; else "".
        size: Bytes, of all files of a folder.
        digest: Of its ends, and the names and sizes in a folder; hexadecimal.
    """

    path: str
    shipped: str
    size: int
    digest: str


def describe(path: str | Path) -> ModelFile:
    """What a file or folder is told by. Reads a few MB.

    Raises:
        ModelMissingError: If it is not there, or may not be read.
    """
    found = Path(path).resolve()
    digest, size = hashlib.blake2b(digest_size=16), 0
    try:
        members = [found] if found.is_file() else sorted(each for each in found.rglob("*") if each.is_file())
        if not members:
            raise ModelMissingError(f"there is no model at {path}")
        for each in members:
            length = each.stat().st_size
            name = "" if each == found else each.relative_to(found).as_posix()
            digest.update(f"{name}:{length};".encode())
            with each.open("rb") as file:
                digest.update(file.read(_ENDS))
                file.seek(max(0, length - _ENDS))
                digest.update(file.read(_ENDS))
            size += length
    except OSError as error:
        raise ModelMissingError(f"cannot read the model {path}: {error.strerror or error}") from error
    shipped = found.relative_to(_PACKAGE).as_posix() if found.is_relative_to(_PACKAGE) else ""
    return ModelFile(str(path), shipped, size, digest.hexdigest())


def locate(files: Iterable[ModelFile], models: str = "") -> None:
    """Find files of another machine on this one, for :func:`located`. Reads a few MB of each.

    Args:
        files: As they were described there.
        models: Folder of models by name, for those that lie elsewhere here; "" for none.

    Raises:
        ModelMissingError: If one is nowhere here.
        ModelError: If what lies here in its place is another one.
    """
    for file in files:
        places = [_PACKAGE / file.shipped] if file.shipped else [Path(file.path)]
        if models:
            places.append(Path(models).expanduser() / Path(file.path).name)
        there = [place for place in places if place.exists()]
        if not there:
            looked = " nor at ".join(map(str, places))
            raise ModelMissingError(
                f"the model host on {platform.node()} finds no model at {looked}: have it there, or in a folder that "
                "the workers share and name that (ray:...,models=/shared/models)"
            )
        same = [place for place in there if describe(place).digest == file.digest]
        if not same:
            found = describe(there[0])
            raise ModelError(
                f"the model host on {platform.node()} has another model at {there[0]} ({found.size} bytes) than the "
                f"one that was asked for, {file.path} ({file.size} bytes): copy the one over the other"
            )
        _here[file.path] = str(same[0])


def located(path: str) -> str:
    """Where a file of a loader lies in this process: on a host elsewhere where it was found, otherwise ``path``."""
    return _here.get(path, path)
