"""Standard input and output, where ``-`` stands for a path: read and written in threads that can be called back.

Whoever is at the other end of a pipe may be slow for an hour, and a thread that waits for him must end when the graph
does. So each read and write first waits for the descriptor *or* for :meth:`interrupt`, and then moves no more than the
kernel takes without waiting. The descriptors stay in blocking mode: others share them.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import threading

from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import OutputError
from tolmach.pipelines.stdio import STDOUT, StandardStream

__all__ = ["StandardInput", "StandardOutput", "standard_output"]

_PIECE = getattr(select, "PIPE_BUF", 512)
"""What a pipe that is ready takes without waiting, bytes (POSIX)."""

_HEAD = 4096
"""How much of the beginning is kept, to know at the end whether all that was promised came, bytes."""


class _Bell:
    """Wakes up a thread that waits for a descriptor, also one that will only begin to wait."""

    def __init__(self) -> None:
        self._ear = self._rope = -1
        self._lock = threading.Lock()
        self.rung = False

    def hang(self) -> None:
        """Get ready to be rung."""
        with self._lock:
            if self._rope < 0 and not self.rung:
                self._ear, self._rope = os.pipe()

    def ring(self) -> None:
        """Wake whoever waits, now and later. Safe twice, and at any moment."""
        with self._lock:
            rung, self.rung = self.rung, True
            if not rung and self._rope >= 0:
                os.write(self._rope, b"!")

    def wait(self, fd: int, events: int) -> bool:
        """Wait until ``fd`` is ready; False when somebody rang."""
        if self.rung:
            return False
        if sys.platform == "win32":  # which cannot wait for a pipe
            return True
        poll = select.poll()
        poll.register(fd, events)
        poll.register(self._ear, select.POLLIN)
        poll.poll()
        return not self.rung

    def close(self) -> None:
        """Let go of its descriptors; nobody may wait any more. Safe twice."""
        with self._lock:
            self.rung = True
            if self._rope >= 0:
                os.close(self._ear)
                os.close(self._rope)
                self._ear = self._rope = -1


def _binary(fd: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(fd, os.O_BINARY)


class StandardInput:
    """Standard input as libav reads a file; what is not asked for stays in the pipe, whose writer then waits.

    ``read``, ``seek``, ``tell`` are called by one thread at a time, :meth:`interrupt` by any.

    Args:
        fd: Its descriptor.

    Attributes:
        count: Bytes read so far, each once.
        head: The first of them.
        error: What went wrong while reading, or None; the recording ends there.
    """

    name = "standard input"
    _owner: StandardInput | None = None
    _owner_lock = threading.Lock()

    def __init__(self, fd: int = 0) -> None:
        self.count = 0
        self.head = b""
        self.error: OSError | None = None
        self._fd = fd
        self._base = 0
        self._is_file = False
        self._bell = _Bell()

    def open(self) -> str:
        """Take it; returns why that cannot be done, or ""."""
        try:
            mode = os.fstat(self._fd).st_mode
        except OSError:
            return "is closed"
        if os.isatty(self._fd):
            return "is a terminal; pipe a recording into it: ffmpeg -i talk.mp4 -f wav - | …"
        with self._owner_lock:
            if StandardInput._owner not in (None, self):
                return "is read by another element already"
            StandardInput._owner = self
        _binary(self._fd)
        self._is_file = stat.S_ISREG(mode)
        if self._is_file:
            self._base = os.lseek(self._fd, 0, os.SEEK_CUR)
        self._bell.hang()
        return ""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes as soon as there are any; none at the end, or after :meth:`interrupt`."""
        if not self._bell.wait(self._fd, getattr(select, "POLLIN", 1)):
            return b""
        try:
            data = os.read(self._fd, size)
        except OSError as error:
            self.error = error
            return b""
        if self._is_file:
            self.count = max(self.count, self.tell())
        else:
            self.count += len(data)
            if len(self.head) < _HEAD:
                self.head = (self.head + data)[:_HEAD]
        return data

    def seekable(self) -> bool:
        """Whether it is a file (``< talk.mp4``) and no pipe."""
        return self._is_file

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go somewhere else in a file."""
        return os.lseek(self._fd, offset + (self._base if whence == os.SEEK_SET else 0), whence) - self._base

    def tell(self) -> int:
        """The place in a file."""
        return os.lseek(self._fd, 0, os.SEEK_CUR) - self._base

    def interrupt(self) -> None:
        """End a read under way, and all later ones."""
        self._bell.ring()

    def close(self) -> None:
        """Leave it to others; no read may be under way. Safe twice."""
        self._bell.close()
        with self._owner_lock:
            if StandardInput._owner is self:
                StandardInput._owner = None


class StandardOutput:
    """Standard output as a sink writes a file: from front to end, and all of it under way at once.

    Stands where an :class:`tolmach.transports.files.atomic.AtomicFile` does; nothing about it is atomic.

    Args:
        fd: The descriptor.
    """

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._bell = _Bell()

    def open(self) -> StandardOutput:
        """Get ready to write."""
        _binary(self._fd)
        self._bell.hang()
        return self

    def write(self, data: bytes) -> int:
        """Write all of it; waits while nobody reads.

        Raises:
            BrokenPipeError: If nobody will read any more.
            OSError: If it cannot be written, or :meth:`interrupt` ended it.
        """
        view = memoryview(data)
        while len(view):
            if not self._bell.wait(self._fd, getattr(select, "POLLOUT", 4)):
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            view = view[os.write(self._fd, view[:_PIECE]) :]
        return len(data)

    def seekable(self) -> bool:
        """Whether one could go back in it."""
        return False

    def interrupt(self) -> None:
        """End a write under way, and all later ones."""
        self._bell.ring()

    def commit(self) -> None:
        """Nothing is left to do at the end."""

    def discard(self, *, keep: bool = False) -> None:
        """Let go of it; no write may be under way. Safe twice."""
        self._bell.close()


def standard_output(context: Context, *, binary: bool = False) -> StandardOutput:
    """What a sink writes to whose path is ``-``: the descriptor that was kept for it, or that of the process.

    Raises:
        OutputError: If it is ``binary`` and a terminal would show it.
    """
    kept = context.resource(STDOUT, StandardStream)
    fd = 1 if kept is None else kept.fd
    if binary and os.isatty(fd):
        raise OutputError("-: standard output is a terminal; write to a file (… > out.wav) or to a pipe")
    return StandardOutput(fd)
