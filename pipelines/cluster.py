"""Reaching a Ray cluster: connecting to one, or starting one here, and whether its workers are what this process is.

Ray is an optional dependency (``pip install 'tolmach[ray]'``) and is imported by :func:`connect` alone, never with this
module. Whoever sends work to a cluster does it through the module that :func:`connect` returns.

**Same bytes.** What a model computes depends on the libraries, the number of threads and the processor in its last
digits. So a worker compares its :class:`Versions` with those of the process that sends it work, and computes with the
threads that this one would take (:func:`thread_variables`, :func:`settle_threads`).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import logging
import os
import platform
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tolmach.pipelines.errors import GraphError

__all__ = [
    "INSTALL",
    "LOCAL",
    "ClusterError",
    "Versions",
    "connect",
    "cores",
    "differences",
    "here",
    "parse_address",
    "require",
    "retake_signals",
    "settle_threads",
    "thread_variables",
]

INSTALL = "pip install 'tolmach[ray]'"
"""What installs Ray."""

LOCAL = "local"
"""The address that always starts a cluster of this machine's own, which ends with the process."""

NAMESPACE = "tolmach"
"""Ray's namespace for our actors: other jobs of a cluster do not meet their names."""

STORE_BYTES = 256 << 20
"""Memory for objects in a cluster that is started here. Requests to models and recordings that are sent are small;
Ray by itself would claim a third of the machine's."""

ANSWER_S = 5.0
"""How long a cluster's address may take to answer, s. Ray itself tries for a minute before it says anything."""

_EXACT = ("tolmach", "code", "python", "ray", "pydantic", "pipecat-ai")
"""What must be the same on both sides: what is sent is pickled, and these are what it is made of."""

_DIGITS = ("numpy", "torch", "nemo_toolkit", "onnxruntime", "ctranslate2", "faster-whisper", "av", "espeakng-loader")
"""What changes the last digits of what is computed, or how a file is encoded."""

_ADDRESS = re.compile(r"auto|local|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}")

_connecting = threading.Lock()

log = logging.getLogger(__name__)


class ClusterError(GraphError):
    """There is no such cluster, it cannot be joined, or its workers cannot do the work. The command is wrong."""


def parse_address(text: str) -> str:
    """An address of a cluster, as it is written on a command line or in a graph.

    Args:
        text: ``HOST:PORT`` (of the head node, 6379 as a rule), ``auto`` (one that runs on this machine), ``local``
            (one that is started here and ends with this process), or ``""``: ``$RAY_ADDRESS``, else one that runs on
            this machine, else one that is started here.

    Raises:
        ValueError: If it is none of these.
    """
    if text.startswith("ray://"):
        raise ValueError(
            f"{text}: Ray Client (ray://) carries no progress and loses its work with its connection; run this on a "
            "machine of the cluster and give HOST:PORT, 6379 as a rule"
        )
    if text and not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text} is no address of a Ray cluster; give HOST:PORT, auto or local")
    return text


def require() -> None:
    """Say how to install Ray if it is not there; it is not imported.

    Raises:
        ClusterError: If it is not there.
    """
    try:
        found = importlib.util.find_spec("ray") is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise ClusterError(f"a cluster needs Ray, which is not installed here: {INSTALL}")


def connect(address: str = "", *, num_cpus: int | None = None) -> Any:
    """Ray, connected to a cluster; a process that is connected stays with its cluster, whatever is asked for. Blocks.

    It takes seconds where a cluster is started here; one of the process's own ends with it. Nothing is printed. Safe in
    any thread; in another one than the main thread see :func:`retake_signals`.

    Args:
        address: See :func:`parse_address`.
        num_cpus: How many CPUs a cluster that is started here says it has; the machine's when None.

    Returns:
        The module ``ray``.

    Raises:
        ClusterError: If Ray is not installed, there is no cluster, or it is one of another version.
    """
    try:
        parse_address(address)
    except ValueError as error:
        raise ClusterError(str(error)) from None
    # Before the import: Ray reads them then. It would report its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A call after the end, or after the cluster was lost, must not start a cluster of its own.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    require()
    with _connecting:
        try:
            ray = importlib.import_module("ray")
        except ImportError as error:
            raise ClusterError(f"Ray cannot be imported here ({error}): {INSTALL}") from None
        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)
            _in_a_thread_that_stays(lambda: _connect(ray, address, num_cpus))
            _keep_stdout_clean()
    retake_signals()
    return ray


def retake_signals() -> None:
    """Have Python hear SIGTERM first again; call it in the main thread once :func:`connect` has returned.

    Ray's native part takes it for a crash: it prints its stack, and only then asks whoever was there before
    (InstallFailureSignalHandler, src/ray/util/logging.cc). Elsewhere than in the main thread this does nothing.
    """
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGTERM)
        if handler is not None:  # None was not set by Python
            signal.signal(signal.SIGTERM, handler)


def _in_a_thread_that_stays(work: Callable[[], None]) -> None:
    """Run ``work`` in a daemon thread that never ends; raises what it raises.

    Processes of a cluster that is started here end with the *thread* that started them (PR_SET_PDEATHSIG,
    ray/_private/utils.py), so that must be one that stays. In the main thread ray.init() would also take SIGTERM over.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            done.set_exception(error)
            return
        done.set_result(None)
        threading.Event().wait()

    threading.Thread(target=run, name="tolmach-ray", daemon=True).start()
    done.result()


def _connect(ray: Any, address: str, num_cpus: int | None) -> None:
    usual: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "configure_logging": False}
    sought = address or os.environ.get("RAY_ADDRESS", "") or "auto"
    try:
        if sought != LOCAL:
            if ":" in sought:
                parse_address(sought)
                _answers(sought)
            try:
                ray.init(address=sought, **usual)
            except ConnectionError:
                if address or sought != "auto":
                    raise
            else:
                return
        ray.init(address=LOCAL, num_cpus=num_cpus, include_dashboard=False, object_store_memory=STORE_BYTES, **usual)
    except ConnectionError as error:
        if isinstance(error, ConnectionRefusedError | ConnectionResetError) or ":" not in sought:
            where = "on this machine" if sought == "auto" else f"at {sought}"
            raise ClusterError(f"no Ray cluster {where}: {_first_line(error)}") from error
        # Something answers there: Ray says no more to those whose token is another one.
        raise ClusterError(
            f"what answers at {sought} is no Ray cluster, or lets this machine not in: the token must be the same on "
            "all machines (~/.ray/auth_token, or RAY_AUTH_TOKEN)"
        ) from error
    except (OSError, ValueError) as error:
        where = "on this machine" if sought == "auto" else f"at {sought}"
        raise ClusterError(f"no Ray cluster {where}: {_first_line(error)}") from error
    except RuntimeError as error:  # Ray's words for another version, another token
        raise ClusterError(f"the Ray cluster at {sought} cannot be joined: {_flat(error)}") from error


def _answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S):
        pass


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _flat(error: BaseException) -> str:
    return " ".join(str(error).split())[:600]


def _keep_stdout_clean() -> None:
    """Have Ray log what it would print on standard output, which belongs to tables and to what graphs write.

    With ``log_to_driver=False`` that are its words on every worker that died, which we say in our own.
    """
    with contextlib.suppress(ImportError, AttributeError):
        worker: Any = importlib.import_module("ray._private.worker")
        worker.print_to_stdstream  # noqa: B018 -- where it is gone, nothing is done
        worker.print_to_stdstream = _log_lines


def _log_lines(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    for line in data.get("lines", ()):
        log.info("Ray: %s", line)


@dataclass(frozen=True, slots=True)
class Versions:
    """What a process is made of, as far as it matters to the other side; plain values.

    Attributes:
        host: Name of its machine.
        exact: What must be equal, by name; "" for what is not installed.
        digits: What changes the last digits of results, likewise.
    """

    host: str
    exact: Mapping[str, str] = field(default_factory=dict)
    digits: Mapping[str, str] = field(default_factory=dict)


@cache
def here() -> Versions:
    """The versions of this process. Blocks some 50 ms the first time: it reads the code."""
    exact = {name: _version(name) for name in _EXACT}
    exact |= {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "code": _code()}
    digits = {name: _version(name) for name in _DIGITS} | {"processor": _processor()}
    return Versions(socket.gethostname(), exact, digits)


def differences(mine: Versions, theirs: Versions) -> tuple[list[str], list[str]]:
    """What two processes differ in.

    Returns:
        What forbids working together, and what may make results differ in their last digits; one line each.
    """
    forbids, matters = (
        [
            f"{name} {a.get(name) or 'is missing'} here, {b.get(name) or 'missing'} on {theirs.host}"
            for name in a
            if a.get(name) != b.get(name)
        ]
        for a, b in ((mine.exact, theirs.exact), (mine.digits, theirs.digits))
    )
    return forbids, matters


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _code() -> str:
    """Digest of Tolmach's modules: two checkouts may be of one version. Training recipes are not in the wheel."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parents[1]
    for room in ("pipelines", "processors", "transports"):
        for path in sorted((root / room).rglob("*.py")):
            if "recipe" not in path.parts and "__pycache__" not in path.parts:
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _processor() -> str:
    """The kind of processor: vector instructions decide in which order sums are added."""
    with contextlib.suppress(OSError):
        names = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE)
        if names:
            return f"{names[1].strip()} x {cores()}"
    return f"{platform.machine()} x {cores()}"


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_THREADS = "OMP_NUM_THREADS"
_FOR_WORKERS = "TOLMACH_OMP_NUM_THREADS"


def thread_variables() -> dict[str, str]:
    """Environment variables for workers, so that they compute with as many threads as this process would.

    Ray sets ``OMP_NUM_THREADS`` to the CPUs that a worker reserves: sums would be added in another order than here. A
    worker calls :func:`settle_threads` before it imports anything that computes.
    """
    given = os.environ.get(_THREADS, "")
    # Several processes with all threads each: those that wait must not spin. It changes no result.
    passive = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
    return {_FOR_WORKERS: given or f"usual {cores()}", _THREADS: given or "1", **passive}


def settle_threads() -> None:
    """In a worker: take what :func:`thread_variables` said. Before numpy, PyTorch and the like are imported."""
    said, _, count = os.environ.get(_FOR_WORKERS, "").partition(" ")
    if said == "usual":
        if count == str(cores()):
            os.environ.pop(_THREADS, None)  # what a library takes by itself, which is not always all of them
        else:
            os.environ[_THREADS] = count
