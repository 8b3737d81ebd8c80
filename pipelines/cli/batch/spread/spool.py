"""A worker's folder for what is sent to it, and the end of those that killed workers have left on their machine.

A folder is in use as long as the file beside it is locked, which the kernel ends with the process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["Spool"]


class Spool:
    """A folder that is this process's alone. All methods block.

    Args:
        root: Where such folders lie on this machine; by default in the folder for temporary files, one a user.
    """

    def __init__(self, root: Path | None = None) -> None:
        user = os.getuid() if hasattr(os, "getuid") else 0
        self._root = root or Path(tempfile.gettempdir(), f"tolmach-sent-{user}")
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and self._root.stat().st_uid != user:
            raise PermissionError(f"{self._root} belongs to somebody else")
        self._sweep()
        self._lock, name = self._locked()
        self.folder = self._root / name
        self.folder.mkdir(mode=0o700)

    def own(self, path: str) -> Path:
        """``path``, absolute and without links. Raises ValueError if it is neither the folder nor in it."""
        own, mine = os.path.realpath(path), os.path.realpath(self.folder)
        if os.path.commonpath([own, mine]) != mine:
            raise ValueError(f"{path} is not in {mine}")
        return Path(own)

    def close(self) -> None:
        """Remove it. Safe twice."""
        shutil.rmtree(self.folder, ignore_errors=True)
        Path(f"{self.folder}.lock").unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _locked(self) -> tuple[int, str]:
        while True:
            descriptor, path = tempfile.mkstemp(suffix=".lock", dir=self._root)
            # Between the two another process may have taken it for one that was left.
            if _lock(descriptor) and Path(path).exists() and os.path.samestat(os.fstat(descriptor), Path(path).stat()):
                return descriptor, Path(path).stem
            os.close(descriptor)

    def _sweep(self) -> None:
        for path in self._root.glob("*.lock"):
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDWR)
                try:
                    if _lock(descriptor):
                        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                        path.unlink()
                finally:
                    os.close(descriptor)


def _lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
