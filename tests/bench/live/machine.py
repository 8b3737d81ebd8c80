"""What else runs on the machine: getting out of its way, and saying how much of it there was."""

from __future__ import annotations

import atexit
import contextlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

_NICE = -10


def come_first() -> None:
    """Let this process and all it has started go before others, where that is allowed.

    Live audio measured beside somebody's compiler says more about the compiler. What is compared comes first alike.
    Linux weighs sessions before it weighs processes (sched(7), autogroup), so both get the priority.
    """
    myself = psutil.Process()
    for process in (myself, *myself.children(recursive=True)):
        with contextlib.suppress(OSError, psutil.Error):
            process.nice(_NICE)
            _weigh_session(process.pid, _NICE)
    atexit.unregister(_weigh_session)
    atexit.register(_weigh_session, myself.pid, 0)  # it may be the terminal's session too


def _weigh_session(pid: int, nice: int) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def busy_s(times: psutil._common.scputimes) -> float:
    """Time a core, or all of them, worked, s; what the hypervisor took is not in it."""
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _own_s() -> float:
    """CPU time of this process and of those it started that have ended, s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


@contextlib.contextmanager
def noise_noted() -> Iterator[None]:
    """Print how much of the machine others used meanwhile; whatever the block starts must end in it."""
    began_s, own_s, times = time.monotonic(), _own_s(), psutil.cpu_times()
    yield
    seconds = (time.monotonic() - began_s) * (os.cpu_count() or 1)
    now = psutil.cpu_times()
    others = busy_s(now) - busy_s(times) - (_own_s() - own_s)
    stolen = getattr(now, "steal", 0.0) - getattr(times, "steal", 0.0)
    print(
        f"\n_Others used {100 * max(0.0, others) / seconds:.0f} % of the machine meanwhile, "
        f"the hypervisor {100 * stolen / seconds:.1f} %._\n",
        flush=True,
    )
