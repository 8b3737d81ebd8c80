"""What ends a batch from outside: a signal, a terminal that closes, or a reader of its output that goes away.

The first SIGINT, SIGTERM or SIGHUP cancels the batch, which then ends in an orderly way; another SIGINT or SIGTERM
leaves the process at once. SIGHUP never counts as the second one: a closing terminal sends it twice, from the kernel
and from the shell. Under ``nohup`` SIGHUP stays ignored.

A batch in the background of a closed terminal is sent nothing at all, and one whose output goes to a pipe hears of its
reader's end only when it writes, which may be hours later. So both are looked at once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import stat
import sys
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any

__all__ = ["HANGUP", "PIPE", "Interrupts"]

HANGUP = 129  # 128 + SIGHUP, as shells report it
PIPE = 141  # 128 + SIGPIPE
LOOK_EVERY_S = 1.0
"""How often the terminal and the readers of the output are looked at, s."""
SAY_AFTER_S = 0.5
"""How long a batch may take to end before it says what it waits for, s. No model is waited for."""

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
_BACKGROUND = ("SIGTTOU", "SIGTTIN")  # would stop a job in the background that writes to its terminal, or reads it


class Interrupts:
    """Hears what shall end a batch; a context manager around all of a command, event loop and report included.

    Plain signal handlers, not those of the event loop: the second signal must be heard when the loop is stuck.

    Args:
        leave: Ends the process with an exit status, now.
        streams: Descriptors of standard output and error.

    Attributes:
        status: Exit status that the first cause asks for (130, 143, 129, 141), or None while there was none.
    """

    def __init__(self, leave: Callable[[int], None] = os._exit, streams: Sequence[int] = (1, 2)) -> None:
        self.status: int | None = None
        self._streams = streams
        self._leave = leave
        self._old: dict[int, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cancel: Callable[[], None] | None = None
        self._hup_ignored = False
        self._watched: list[int] = []

    def __enter__(self) -> Interrupts:
        for name in _ENDING:
            number = getattr(signal, name, None)
            if number is None:  # Windows has no SIGHUP
                continue
            if name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                self._hup_ignored = True
            else:
                self._old[number] = signal.signal(number, self._signalled)
        for name in _BACKGROUND:
            if (number := getattr(signal, name, None)) is not None:
                self._old[number] = signal.signal(number, signal.SIG_IGN)
        if hasattr(select, "poll"):
            self._watched = [fd for fd in self._streams if _worth_watching(fd, terminals=not self._hup_ignored)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)
        self._old = {}

    def attach(self, cancel: Callable[[], None]) -> None:
        """From now on call ``cancel`` in the running event loop for the first cause, also for one there was before."""
        self._loop = asyncio.get_running_loop()
        self._cancel = cancel
        if self.status is not None:
            self._loop.call_soon(self._begin_end)
        elif self._watched:
            self._look()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self.status is None and self._loop is not None and not self._loop.is_closed():
            self._end(128 + number)
        elif self.status is None or number != getattr(signal, "SIGHUP", None):
            self._leave(128 + number)

    def _end(self, status: int) -> None:
        self.status = status
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin_end)

    def _begin_end(self) -> None:
        if self._cancel is not None and self._loop is not None:
            self._cancel()
            self._loop.call_later(SAY_AFTER_S, _say)

    def _look(self) -> None:
        if self.status is not None or self._loop is None:
            return
        for fd in self._watched:
            if _is_gone(fd):
                self._end(PIPE if _is_pipe(fd) else HANGUP)
                return
        self._loop.call_later(LOOK_EVERY_S, self._look)


def _say() -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be there any more
        print("tolmach: waiting for files to be closed; interrupt again to end now", file=sys.stderr, flush=True)


def _worth_watching(fd: int, *, terminals: bool) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return _is_pipe(fd) if not stat.S_ISCHR(mode) else terminals and os.isatty(fd)


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_gone(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)  # errors and hang-ups are reported unasked
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
