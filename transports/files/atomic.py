"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import OutputError

__all__ = ["AtomicFile", "is_being_written", "resolve"]

_NAME_BYTES = 255  # longest file name of ext4, xfs, btrfs and APFS


def resolve(base_dir: Path, path: str) -> Path:
    """The absolute path a setting means: ``~`` expanded, relative paths from ``base_dir``."""
    return (base_dir / Path(path).expanduser()).absolute()


_writing: set[Path] = set()
_writing_lock = threading.Lock()


def is_being_written(path: Path) -> bool:
    """Whether an open :class:`AtomicFile` of this process will take this path, whatever links lead to it."""
    with _writing_lock:
        return path.resolve() in _writing


class AtomicFile:
    """A file written as ``.name.part-XXXXXXXX`` beside its target and renamed when whole.

    All methods block and may be called from any thread; :meth:`discard` is safe at any moment, also twice, and a
    file that was discarded before :meth:`open` is never created.

    Args:
        target: Where the whole file shall be.
        overwrite: Whether a file that is there already may be replaced.
    """

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        self.target = target
        self._overwrite = overwrite
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._temporary: Path | None = None
        self._claimed: Path | None = None
        self._discarded = False

    def open(self) -> BinaryIO:
        """Create the folder and the temporary file.

        Raises:
            OutputError: If the target is a folder or another special file, exists and may not be replaced, or its
                folder cannot be written to; or if another one that is open means to write it.
        """
        with self._lock:
            self._check_target()
            if self._discarded:
                raise OutputError(f"{self.target}: was given up before it was opened")
            self._claim()
            temporary = self.target.with_name(_temporary_name(self.target.name))
            try:
                self.target.parent.mkdir(parents=True, exist_ok=True)
                # Not tempfile: that makes files only their owner can read, and this one gets the target's name.
                descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except OSError as error:
                self._release()
                raise OutputError(f"{self.target}: cannot be written: {error.strerror or error}") from error
            self._temporary = temporary
            self._file = os.fdopen(descriptor, "w+b")
            return self._file

    def write(self, data: bytes) -> None:
        """Append ``data``; thrown away if the file is not open (any more).

        Raises:
            OSError: If it cannot be written (disk full).
        """
        with self._lock:
            if self._file is not None:
                self._file.write(data)

    def commit(self) -> None:
        """Close the file and give it its name; nothing happens if it was not open.

        Raises:
            OutputError: If another file took the name meanwhile and may not be replaced.
            OSError: If the rest cannot be written (disk full) or the file not renamed.
        """
        with self._lock:
            if self._file is None or self._temporary is None:
                return
            self._file.close()
            if self._overwrite:
                self._temporary.replace(self.target)
            else:
                self._rename_new(self._temporary)
            self._file = self._temporary = None
            self._release()

    def discard(self) -> None:
        """Close and remove the temporary file."""
        with self._lock:
            self._discarded = True
            if self._file is not None:
                with contextlib.suppress(OSError):  # what could not be flushed is thrown away anyway
                    self._file.close()
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
            self._file = self._temporary = None
            self._release()

    def _claim(self) -> None:
        # With overwriting allowed the last of two elements with one path would win in silence.
        target = self.target.resolve()
        with _writing_lock:
            if target in _writing:
                raise OutputError(f"{self.target}: is being written already; give each output a path of its own")
            _writing.add(target)
        self._claimed = target

    def _release(self) -> None:
        with _writing_lock:
            if self._claimed is not None:
                _writing.discard(self._claimed)
        self._claimed = None

    def _check_target(self) -> None:
        if self.target.is_dir():
            raise OutputError(f"{self.target}: is a folder; name a file in it")
        if self.target.exists() and not self.target.is_file():
            raise OutputError(f"{self.target}: is not a regular file and cannot be replaced by one")
        if self.target.is_file() and not self._overwrite:
            raise OutputError(self._exists())

    def _rename_new(self, temporary: Path) -> None:
        # A hard link fails if the name is taken, which a rename does not.
        try:
            os.link(temporary, self.target)
        except FileExistsError as error:
            raise OutputError(self._exists()) from error
        except OSError as error:  # a file system without hard links (FAT, some network mounts)
            if self.target.exists():
                raise OutputError(self._exists()) from error
            temporary.replace(self.target)
        else:
            temporary.unlink()

    def _exists(self) -> str:
        return f"{self.target}: exists already; choose another name or allow overwriting (--overwrite)"


def _temporary_name(name: str) -> str:
    ending = f".part-{secrets.token_hex(4)}"
    kept = name.encode()[: _NAME_BYTES - 1 - len(ending)].decode(errors="ignore")
    return f".{kept}{ending}"
