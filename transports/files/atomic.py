"""Files that appear whole or not at all, and what the sinks have in common that write text to one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.errors import OutputError
from tolmach.pipelines.stdio import STDIO
from tolmach.transports.files.streams import StandardOutput, standard_output

if sys.platform != "win32":
    import fcntl

__all__ = ["AtomicFile", "TextSink", "is_being_written", "partial_path", "resolve_path"]

_NAME_BYTES = 255  # longest file name of ext4, xfs, btrfs and APFS
_LEFTOVER = re.compile(r"\..+\.part-[0-9a-f]{8}", re.DOTALL)
_FLAGS = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
)


def resolve_path(base_dir: Path, path: str) -> Path:
    """The absolute path a setting means: ``~`` expanded, relative paths from ``base_dir``."""
    return (base_dir / Path(path).expanduser()).absolute()


_writing: set[Path] = set()
_writing_lock = threading.Lock()


def is_being_written(path: Path) -> bool:
    """Whether an open :class:`AtomicFile` of this process will take this path, whatever links lead to it."""
    with _writing_lock:
        return path.resolve() in _writing


class AtomicFile:
    """A file written under another name beside its target and renamed when whole.

    That name is ``.name.part-XXXXXXXX``, or with ``partial`` one that people see and can read while it is written and
    after it was interrupted: ``subtitles.partial.srt``. An open file is locked, so that what a killed run left can be
    told from what a run writes that is alive: leftovers are swept when a file is opened in their folder, and a partial
    file is replaced as soon as there is something to replace it with.

    All methods block and may be called from any thread; :meth:`discard` is safe at any moment, also twice, and a
    file that was discarded before :meth:`open` is never created.

    Args:
        target: Where the whole file shall be.
        overwrite: Whether a file that is there already may be replaced.
        partial: Write under the visible name, each :meth:`write` through to the disk.
    """

    def __init__(self, target: Path, *, overwrite: bool, partial: bool = False) -> None:
        self.target = target
        self._overwrite = overwrite
        self._partial = partial
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._temporary: Path | None = None
        self._claimed: Path | None = None
        self._discarded = False
        self._stale = False  # the partial file still holds what an earlier run wrote

    def open(self) -> BinaryIO:
        """Create the folder and the temporary file.

        Raises:
            OutputError: If the target is a folder or another special file, exists and may not be replaced, or its
                folder cannot be written to; or if another one that is open, here or in another process, means to
                write it.
        """
        with self._lock:
            self._check_target()
            if self._discarded:
                raise OutputError(f"{self.target}: was given up before it was opened")
            self._claim()
            try:
                self.target.parent.mkdir(parents=True, exist_ok=True)
                _sweep(self.target.parent)
                self._temporary, self._file, self._stale = self._open_partial() if self._partial else self._open_new()
            except OSError as error:
                self._release()
                raise OutputError(f"{self.target}: cannot be written: {error.strerror or error}") from error
            except OutputError:
                self._release()
                raise
            return self._file

    def write(self, data: bytes) -> None:
        """Append ``data``; thrown away if the file is not open (any more).

        Raises:
            OSError: If it cannot be written (disk full).
        """
        with self._lock:
            if self._file is not None:
                self._replace_stale(self._file)
                self._file.write(data)
                if self._partial:
                    self._file.flush()

    def commit(self) -> None:
        """Close the file and give it its name; nothing happens if it was not open.

        Raises:
            OutputError: If another file took the name meanwhile and may not be replaced.
            OSError: If the rest cannot be written (disk full) or the file not renamed.
        """
        with self._lock:
            if self._file is None or self._temporary is None:
                return
            self._replace_stale(self._file)
            self._file.flush()
            if sys.platform == "win32":  # which renames no open file
                self._file.close()
            if self._overwrite:
                self._temporary.replace(self.target)
            else:
                self._rename_new(self._temporary)
            # Closed last: with it the lock ends, and under its old name the file would be a leftover.
            self._file.close()
            self._file = self._temporary = None
            self._release()

    def discard(self, *, keep: bool = False) -> None:
        """Close and remove the temporary file.

        Args:
            keep: Leave a partial file where it is.
        """
        with self._lock:
            self._discarded = True
            if self._temporary is not None and not (self._partial and (keep or self._stale)):
                with contextlib.suppress(PermissionError):  # Windows removes no open file
                    self._temporary.unlink(missing_ok=True)
            if self._file is not None:
                with contextlib.suppress(OSError):  # what could not be flushed is thrown away anyway
                    self._file.close()
            if sys.platform == "win32" and self._temporary is not None and not (self._partial and keep):
                self._temporary.unlink(missing_ok=True)
            self._file = self._temporary = None
            self._release()

    def _open_new(self) -> tuple[Path, BinaryIO, bool]:
        while True:
            temporary = self.target.with_name(_temporary_name(self.target.name))
            # Not tempfile: that makes files only their owner can read, and this one gets the target's name.
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
            if _lock_file(descriptor) is not False and _is_file(descriptor, temporary):
                return temporary, os.fdopen(descriptor, "w+b"), False
            os.close(descriptor)  # swept between two of our steps

    def _open_partial(self) -> tuple[Path, BinaryIO, bool]:
        temporary = partial_path(self.target)
        while True:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
            if _lock_file(descriptor) is False:
                os.close(descriptor)
                raise OutputError(f"{self.target}: is being written by another run ({temporary.name})")
            if _is_file(descriptor, temporary):
                return temporary, os.fdopen(descriptor, "r+b"), os.fstat(descriptor).st_size > 0
            os.close(descriptor)  # another run gave it its name meanwhile

    def _replace_stale(self, file: BinaryIO) -> None:
        # Not when it is opened: a run that then cannot start would lose what an earlier one wrote.
        if self._stale:
            file.truncate(0)
            self._stale = False

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


def partial_path(target: Path) -> Path:
    """Where the text of a run that is not at its end stands: ``subtitles.partial.srt`` for ``subtitles.srt``."""
    ending = f".partial{target.suffix}"
    return target.with_name(target.stem.encode()[: _NAME_BYTES - len(ending.encode())].decode(errors="ignore") + ending)


def _sweep(folder: Path) -> None:
    """Remove what killed runs left half-written in ``folder``; what is locked belongs to one that is alive."""
    for entry in os.scandir(folder):
        if not _LEFTOVER.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
            continue
        with contextlib.suppress(OSError):
            if sys.platform == "win32":  # which removes no open file
                Path(entry.path).unlink()
                continue
            descriptor = os.open(entry.path, os.O_RDWR | _FLAGS)
            try:
                if _lock_file(descriptor):
                    Path(entry.path).unlink()
            finally:
                os.close(descriptor)


def _lock_file(descriptor: int) -> bool | None:
    """Lock an open file for as long as it is open: True, False if another has it, None where there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether ``path`` still names the open file, a regular one."""
    try:
        there, ours = path.stat(follow_symlinks=False), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(ours.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _temporary_name(name: str) -> str:
    ending = f".part-{secrets.token_hex(4)}"
    kept = name.encode()[: _NAME_BYTES - 1 - len(ending)].decode(errors="ignore")
    return f".{kept}{ending}"


class TextSink(Element):
    """Writes UTF-8 text to ``settings.path``; the file gets that name when the stream has ended.

    Until then the text stands in a partial file beside it (``events.partial.jsonl``), on the disk as it comes, and
    stays there when the run is interrupted or fails.
    """

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self._output: AtomicFile | StandardOutput | None = None
        self._head = ""
        self._begun = False

    async def start(self, head: str = "") -> None:
        """Open the file under its partial name.

        Args:
            head: What the file begins with, whether or not anything follows.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        await self.stop()
        if self.settings.path == STDIO:
            self._output = standard_output(self.context)
        else:
            target = resolve_path(self.context.base_dir, self.settings.path)
            self._output = AtomicFile(target, overwrite=self.context.overwrite, partial=True)
        self._head = head
        self._begun = False
        await asyncio.to_thread(self._output.open)

    async def write(self, text: str) -> None:
        """Append ``text``; it is on the disk, written there in a thread, when this returns.

        Raises:
            ElementError: If the disk refuses it.
        """
        if text and self._output is not None:
            text, self._head, self._begun = self._head + text, "", True
            await self._in_thread(self._output.write, _encoded(text))

    async def drain(self) -> None:
        """Give the file its name.

        Raises:
            ElementError: If the disk refuses it.
            OutputError: If the name was taken meanwhile and may not be replaced.
        """
        if self._output is not None:
            head, self._head = self._head, ""
            await self._in_thread(self._output.write, _encoded(head))
            await self._in_thread(self._output.commit)
            self._output = None

    def unwritten(self) -> str:
        """The rest of the text, were the stream to end here; asked for once, when it was interrupted."""
        return ""

    async def stop(self) -> None:
        """Keep what is there of a file that was not finished, if there is anything, under its partial name."""
        output, self._output = self._output, None
        if output is None:
            return
        if isinstance(output, StandardOutput):
            output.interrupt()  # nobody may read
        rest = self.unwritten()
        text = _encoded(self._head + rest) if rest else b""
        await asyncio.to_thread(_break_off, output, text, keep=self._begun or bool(rest))

    async def _in_thread(self, function: Any, *arguments: Any) -> None:
        try:
            await asyncio.to_thread(function, *arguments)
        except OSError as error:
            text = f"{self.settings.path}: cannot be written: {error.strerror or error}"
            raise self.context.error(text) from error


def _encoded(text: str) -> bytes:
    # Text from a model may hold a lone surrogate, which no file can.
    return text.encode(errors="replace")


def _break_off(output: AtomicFile | StandardOutput, rest: bytes, *, keep: bool) -> None:
    if rest:
        with contextlib.suppress(OSError):  # the disk is full: then without it
            output.write(rest)
    output.discard(keep=keep)
