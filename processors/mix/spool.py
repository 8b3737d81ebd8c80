"""A line of samples that waits: in memory first, then on disk, silence as a number."""

from __future__ import annotations

import tempfile
from collections import deque
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from tolmach.pipelines.frames import Samples

__all__ = ["Spool"]

_FILE_BYTES = 64 << 20
"""After so much another file is begun, so that what was read is given back to the disk."""

_BYTES = np.dtype(np.float32).itemsize


@dataclass(slots=True)
class _File:
    """A file without a name, gone when it is closed or the process ends."""

    file: BinaryIO
    size: int = 0
    unread: int = 0  # parts


@dataclass(frozen=True, slots=True)
class _OnDisk:
    """A part that was written away."""

    where: _File
    offset: int
    count: int


class Spool:
    """First in, first out. Not safe to be used by two threads at a time.

    Args:
        channels: Channels of what goes in.
        most_bytes: How much of it is kept in memory; what more is appended goes to a temporary file.
    """

    def __init__(self, channels: int, most_bytes: int) -> None:
        self._channels, self._most_bytes = channels, most_bytes
        self._parts: deque[Samples | int | _OnDisk] = deque()
        self._files: deque[_File] = deque()
        self._bytes = 0
        self.count = 0
        """Samples that wait."""

    @property
    def full(self) -> bool:
        """Whether what is appended now goes to the disk."""
        return self._bytes >= self._most_bytes

    @property
    def on_disk(self) -> bool:
        """Whether some of it is there."""
        return bool(self._files)

    def append(self, samples: Samples) -> None:
        """Put float32[n, channels] at the end; blocks where that is :attr:`full`.

        Raises:
            OSError: If the disk refuses it.
        """
        if not len(samples):
            return
        self.count += len(samples)
        if not self.full:
            self._bytes += samples.nbytes
            self._parts.append(samples)
            return
        if not self._files or self._files[-1].size >= _FILE_BYTES:
            self._files.append(_File(tempfile.TemporaryFile()))  # noqa: SIM115 -- closed when it is read
        where = self._files[-1]
        where.file.seek(where.size)
        where.file.write(np.ascontiguousarray(samples).data)
        self._parts.append(_OnDisk(where, where.size, len(samples)))
        where.size += samples.nbytes
        where.unread += 1

    def append_silence(self, count: int) -> None:
        """Put silence at the end; it costs nothing."""
        if count > 0:
            self.count += count
            self._parts.append(count)

    def take(self, count: int) -> Samples:
        """The first ``count`` samples, float32[count, channels]; with silence behind the last where there are fewer.

        Raises:
            OSError: If the disk does not give back what it took.
        """
        taken = np.zeros((count, self._channels), np.float32)
        at = 0
        while at < count and self._parts:
            part = self._head()
            length = part if isinstance(part, int) else len(part)
            used = min(length, count - at)
            if not isinstance(part, int):
                taken[at : at + used] = part[:used]
            self._drop(part, used)
            at += used
        return taken

    def skip(self, count: int) -> None:
        """Throw the first ``count`` samples away."""
        while count and self._parts:
            part = self._head()
            used = min(part if isinstance(part, int) else len(part), count)
            self._drop(part, used)
            count -= used

    def close(self) -> None:
        """Throw everything away."""
        self._parts.clear()
        self.count = self._bytes = 0
        while self._files:
            self._files.popleft().file.close()

    def _head(self) -> Samples | int:
        part = self._parts[0]
        if not isinstance(part, _OnDisk):
            return part
        where = part.where
        where.file.seek(part.offset)
        data = where.file.read(part.count * self._channels * _BYTES)
        samples = np.frombuffer(data, np.float32).reshape(-1, self._channels)
        self._parts[0] = samples
        self._bytes += samples.nbytes
        where.unread -= 1
        while self._files and not self._files[0].unread:
            self._files.popleft().file.close()
        return samples

    def _drop(self, part: Samples | int, used: int) -> None:
        self.count -= used
        if isinstance(part, int):
            if used == part:
                self._parts.popleft()
            else:
                self._parts[0] = part - used
            return
        if used == len(part):
            self._parts.popleft()
            self._bytes -= part.nbytes
        else:
            self._parts[0] = part[used:]
            self._bytes -= used * self._channels * _BYTES
