"""Folders in which models are kept between runs, and what lies in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cache_dir() -> Path:
    """Tolmach's own cache: ``TOLMACH_CACHE``, else ``tolmach`` in the user's cache folder.

    The user's cache folder is that of the XDG Base Directory Specification 0.8: ``XDG_CACHE_HOME``, else ``~/.cache``.
    """
    chosen = os.environ.get("TOLMACH_CACHE")
    return Path(chosen).expanduser() if chosen else _user_cache() / "tolmach"


def cache_folders() -> dict[str, Path]:
    """Every folder that models may be downloaded to, by what keeps it; the libraries' rules are their own."""
    home = os.environ.get("HF_HOME")
    hub = os.environ.get("HF_HUB_CACHE")  # huggingface_hub: constants.py
    nemo = os.environ.get("NEMO_CACHE_DIR")  # nemo.utils.app_state
    torch = os.environ.get("TORCH_HOME")  # torch.hub._get_torch_home
    return {
        "tolmach": cache_dir(),
        "hugging face": Path(hub) if hub else (Path(home) if home else _user_cache() / "huggingface") / "hub",
        "nemo": Path(nemo) if nemo else Path.home() / ".cache" / "torch" / "NeMo",
        "torch": (Path(torch) if torch else _user_cache() / "torch") / "hub",
    }


def files_in(folder: Path) -> dict[Path, int]:
    """Regular files below a folder and their sizes, bytes; links are not followed, what cannot be read is left out."""
    found: dict[Path, int] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            try:
                if not path.is_symlink():
                    found[path] = path.stat().st_size
            except OSError:  # removed meanwhile, or not ours to look at
                continue
    return found


def snapshot() -> dict[Path, int]:
    """All files in all cache folders."""
    return {path: size for folder in cache_folders().values() for path, size in files_in(folder).items()}


def added(before: Mapping[Path, int], after: Mapping[Path, int]) -> dict[Path, int]:
    """Files that are new, or have another size, since ``before``."""
    return {path: size for path, size in after.items() if before.get(path) != size}


def size_text(size_bytes: int) -> str:
    """A size for people, in binary units: ``4.5 MiB``."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _user_cache() -> Path:
    # A relative XDG_CACHE_HOME is invalid and must be ignored, says the specification.
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return Path(chosen) if chosen and Path(chosen).is_absolute() else Path.home() / ".cache"
