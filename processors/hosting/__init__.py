"""Model hosts: where inference runs, so that it never runs on an event loop.

A model loads once per process and serves every graph that asks for the same (engine, model, device)::

    lease = await HOSTS.acquire(HostKey("canary", "model.nemo", "cpu"), load)
    outcomes = await lease.submit([item, item, item])   # one batch, off the loop
    lease.release()

**Life.** A model stays loaded after its last lease is released, until the process ends or somebody calls
:meth:`HostPool.unload_idle`: the next recording, or the next caller, must not wait for it again.

**Turns.** Callers take turns on a model, a step each: a long utterance of one never holds up another for longer than
the step that is under way (the encoder's pass over one utterance, or some tokens:
:mod:`tolmach.processors.canary.model`).

**Threads.** Hosts, and :func:`off_loop`, work in daemon threads: the end of the process waits for none of them.

**Determinism.** What is in a batch changes the last digits of what comes out of it, so a batch holds exactly the items
of one request unless the caller says ``merge=True``. Headless graphs make their batches by counting utterances and
never merge; live sessions may, and are still served fairly (:class:`ThreadHost`, docs/adr/0034).

**Elsewhere.** A graph or a command line may have the models run on a Ray cluster
(:class:`tolmach.pipelines.model_host.HostPlace`, :mod:`.ray_host`, docs/adr/0049). So items, results and
:attr:`ThreadHost.info` are plain values (numpy arrays, numbers, strings, dataclasses of them), a loader is a function
that can be imported by its name or a ``partial`` of one, and it asks :func:`located` where its files lie.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, Protocol

from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.model_host import HostPlace, chosen
from tolmach.processors.hosting.batches import Item, Outcome, Result
from tolmach.processors.hosting.device import resolve_device
from tolmach.processors.hosting.figures import HostFigures
from tolmach.processors.hosting.files import located
from tolmach.processors.hosting.host import HostKey, ItemIn, Model, ThreadHost, off_loop, report

__all__ = [
    "HOSTS",
    "HostFigures",
    "HostKey",
    "HostPool",
    "Lease",
    "Model",
    "ModelHost",
    "Outcome",
    "ThreadHost",
    "located",
    "off_loop",
    "report",
]

MAX_IN_FLIGHT = 8
"""Most requests of one lease at a time unless told otherwise: one graph cannot fill a host's queue for the others."""


class ModelHost(Protocol[ItemIn, Result]):
    """What hosts a model, in threads (:class:`ThreadHost`) or elsewhere (:mod:`.ray_host`); any thread may ask."""

    key: HostKey

    @property
    def failed(self) -> bool:
        """Whether the model could not be loaded; such a host is of no use."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What the model says of itself; empty until it is loaded."""

    def figures(self) -> HostFigures:
        """What waits now and what has been counted so far."""

    async def loaded(self, on_progress: Callable[[str], None] | None = None) -> None:
        """Wait until the model is loaded; see :meth:`ThreadHost.loaded`."""

    async def warm(self, items: Sequence[ItemIn] = (), *, once: Hashable = None) -> None:
        """Run the model; see :meth:`ThreadHost.warm`."""

    async def submit(
        self,
        items: Sequence[ItemIn],
        *,
        merge: bool = False,
        owner: Hashable = None,
        size: float = 1.0,
        spent: Callable[[float], None] | None = None,
    ) -> list[Outcome[Result]]:
        """Run items as one batch; see :meth:`ThreadHost.submit`."""

    def close(self) -> None:
        """Refuse new requests and give the model back. Does not block."""


class Lease(Generic[Item, Result]):
    """One element's hold on a host; used from one event loop.

    Args:
        host: The host.
        give_back: Called once, on release.
        max_in_flight: Most requests of this lease under way or waiting; further ones wait here (back-pressure).
    """

    def __init__(self, host: ModelHost[Item, Result], give_back: Callable[[], None], max_in_flight: int) -> None:
        self._host = host
        self._give_back: Callable[[], None] | None = give_back
        self._room = asyncio.Semaphore(max_in_flight)

    @property
    def info(self) -> Mapping[str, Any]:
        """What the model says of itself."""
        return self._host.info

    async def warm(self, items: Sequence[Item] = (), *, once: Hashable = None) -> None:
        """Run the model, so that the first real request is not the slow one; see :meth:`ThreadHost.warm`."""
        await self._host.warm(items, once=once)

    async def submit(
        self,
        items: Sequence[Item],
        *,
        merge: bool = False,
        size: float = 1.0,
        spent: Callable[[float], None] | None = None,
    ) -> list[Outcome[Result]]:
        """Run items as one batch; see :meth:`ThreadHost.submit`. Cancelled by: the caller."""
        try:
            await self._room.acquire()
        except asyncio.CancelledError:
            if spent is not None:
                spent(0.0)
            raise
        try:
            return await self._host.submit(items, merge=merge, owner=self, size=size, spent=spent)
        finally:
            self._room.release()

    def release(self) -> None:
        """Give the host back. Safe twice. What was submitted is still answered."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None


class _SharedHost:
    __slots__ = ("host", "leases")

    def __init__(self, host: ModelHost[Any, Any]) -> None:
        self.host = host
        self.leases = 0


class HostPool:
    """The hosts of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[HostKey, _SharedHost] = {}

    async def acquire(
        self,
        key: HostKey,
        load: Callable[[], Model[Item, Result]],
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        on_progress: Callable[[str], None] | None = None,
        place: HostPlace | None = None,
        files: Sequence[str] = (),
    ) -> Lease[Item, Result]:
        """A lease on the host of ``key``; waits until its model is loaded.

        Args:
            key: Which model.
            load: Loads it, in the host's thread; not called when a host of this key exists.
            max_in_flight: Most requests of this lease at a time.
            on_progress: Takes what the loader reports (:func:`tolmach.processors.hosting.report`) while this call
                waits, on the event loop it was called on.
            place: Where the graph wants it to run; None leaves it to the process
                (:func:`tolmach.pipelines.model_host.chosen`).
            files: Paths that ``load`` opens, which :func:`located` finds where it runs.

        Raises what ``load`` raises; the next call tries again. Cancelled by: the caller.
        """
        where = chosen(place)
        if where.kind != "thread":
            key = key._replace(place=str(where))
        with self._lock:
            entry = self._entries.get(key)
            # All who waited for a load may have been cancelled before it failed: its error is nobody's news.
            stale = entry.host if entry is not None and not entry.leases and entry.host.failed else None
            if entry is None or stale is not None:
                entry = self._entries[key] = _SharedHost(_host_of(key, load, where, files))
            entry.leases += 1
        if stale is not None:
            stale.close()
        lease: Lease[Item, Result] = Lease(entry.host, lambda: self._give_back(entry), max_in_flight)
        loop = asyncio.get_running_loop()

        def pass_on(text: str) -> None:
            if on_progress is not None and not loop.is_closed():
                loop.call_soon_threadsafe(on_progress, text)

        try:
            await entry.host.loaded(pass_on)
        except asyncio.CancelledError:
            lease.release()
            raise
        except Exception:
            lease.release()
            self._remove(key, entry)
            raise
        return lease

    async def device(self, device: str, count: Callable[[], int], place: HostPlace | None = None) -> str:
        """The device that a setting stands for where the model will run: ``cpu`` or ``cuda:N``.

        Args:
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            count: How many GPUs the library that runs the model sees in this process.
            place: Where the graph wants the model to run.

        Raises:
            ModelError: If the device is not there.
        """
        where = chosen(place)
        if where.kind == "thread" or device == "cpu":
            return await off_loop(resolve_device, device, count)
        from tolmach.processors.hosting.ray_host import gpus_of

        gpus = await off_loop(gpus_of, where)
        if device not in ("auto", "cuda", "cuda:0"):
            raise ModelError(f"on Ray a model sees the GPUs it was given, so there is no device {device}: use cuda")
        if not gpus and device != "auto":
            raise ModelError(f"the model host {where} gives no GPU: use cpu or auto, or num_gpus=1 where there are any")
        return "cuda:0" if gpus else "cpu"

    def leases(self, key: HostKey) -> int:
        """How many leases are held on a host; 0 also when there is none."""
        with self._lock:
            entry = self._entries.get(key)
            return entry.leases if entry else 0

    def figures(self) -> list[HostFigures]:
        """What all hosts have counted; those of models with the same label are one, so that labels stay few."""
        with self._lock:
            hosts = [entry.host for entry in self._entries.values()]
        found: dict[str, HostFigures] = {}
        for each in (host.figures() for host in hosts):
            found[each.model] = found[each.model] + each if each.model in found else each
        return list(found.values())

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._entries

    def unload_idle(self) -> int:
        """Free every model that nobody holds a lease on; returns how many."""
        with self._lock:
            idle = {key: entry for key, entry in self._entries.items() if not entry.leases}
            for key in idle:
                del self._entries[key]
        for entry in idle.values():
            entry.host.close()
        return len(idle)

    def _give_back(self, entry: _SharedHost) -> None:
        with self._lock:
            entry.leases -= 1

    def _remove(self, key: HostKey, entry: _SharedHost) -> None:
        with self._lock:
            if self._entries.get(key) is entry:
                del self._entries[key]
        entry.host.close()


def _host_of(
    key: HostKey, load: Callable[[], Model[Item, Result]], place: HostPlace, files: Sequence[str]
) -> ModelHost[Item, Result]:
    if place.kind == "thread":
        return ThreadHost(key, load)
    from tolmach.processors.hosting.ray_host import RayHost

    return RayHost(key, load, place, files)


HOSTS = HostPool()
"""The pool that all elements of this process share."""
