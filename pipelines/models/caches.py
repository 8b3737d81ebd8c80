"""Models on disk: the folders that keep them between runs, what lies in them, and what a graph lacks there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tolmach.pipelines.element import Missing
from tolmach.pipelines.graph import Graph


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


def missing_in(graph: Graph, base_dir: Path | None = None) -> dict[Missing, list[str]]:
    """Everything that is missing, at once, each with the elements that need it; empty when the graph can run here.

    Args:
        graph: A checked graph.
        base_dir: Folder that relative paths in settings start from; the current one when None.
    """
    found: dict[Missing, list[str]] = {}
    for node in graph.nodes.values():
        extra = node.spec.extra
        if extra is not None and not extra.installed:
            found.setdefault(Missing(extra.requirement, remedy=extra.command), []).append(node.name)
        if node.spec.missing is not None:
            for each in node.spec.missing(graph.settled(node.name), base_dir or Path.cwd()):
                found.setdefault(each, []).append(node.name)
    return found


def missing_text(name: str, missing: dict[Missing, list[str]]) -> str:
    """What to do about it, for people: ``needs `tolmach fetch interpreter`: nvidia/canary-1b-v2 (5.9 GiB)``.

    Args:
        name: The graph, as `tolmach fetch` takes it.
        missing: What :func:`missing_in` found; "" when empty.
    """
    fetched = [_named(each) for each in missing if not each.remedy]
    others = [f"{each.what}: {each.remedy}" for each in missing if each.remedy]
    parts = [f"needs `tolmach fetch {name}`: {', '.join(fetched)}"] if fetched else []
    return "; ".join(parts + others)


def missing_besides(graph: Graph, element: str, base_dir: Path | None = None) -> str:
    """What else is missing, for whoever has just heard what ``element`` lacks; "" for nothing.

    Args:
        graph: A checked graph.
        element: Name of the element that could not start.
        base_dir: Folder that relative paths in settings start from; the current one when None.
    """
    rest = [each for each, users in missing_in(graph, base_dir).items() if element not in users]
    if not rest:
        return ""
    named = ", ".join(f"{each.what}: {each.remedy}" if each.remedy else _named(each) for each in rest)
    return f"Missing besides: {named}. `tolmach fetch` gets everything that a graph needs"


def _named(missing: Missing) -> str:
    return f"{missing.what} ({size_text(missing.size_bytes)})" if missing.size_bytes else missing.what
