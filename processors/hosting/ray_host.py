"""A model host on a Ray cluster: the same as a thread host for those who ask, with the model in other processes.

Copies of the model (*replicas*) are actors with names made from what they load, so that every process that asks for the
same model on the same cluster shares them: their requests share batches there (:mod:`.ray_worker`). What is here is the
way to them, all of it on the courier's loop (:mod:`.courier`):

* A request goes to the ready replica that has the fewest of ours under way or said that fewest wait for it.
* A replica that died, or said nothing for :data:`.ray_worker.GONE_S`, is made anew: loaded, and warmed with all that
  was ever warmed, before it is asked anything. What it had is asked of another one, once; then it is an error.
* Nothing waits for ever: a place on the cluster, an answer and a sign of life have times after which there is an error
  in words.

Samples go through Ray's object store where they are larger than 100 kB: copied once, into shared memory, from which a
worker on the same machine reads them in place and another machine gets a copy (docs/RAY.md).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import logging
import os
import platform
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from tolmach.pipelines import cluster
from tolmach.pipelines.errors import ModelError, TolmachError
from tolmach.pipelines.model_host import HostPlace
from tolmach.processors.hosting.batches import Item, Outcome, Result
from tolmach.processors.hosting.courier import COURIER
from tolmach.processors.hosting.figures import HostCounts, HostFigures
from tolmach.processors.hosting.files import describe
from tolmach.processors.hosting.host import HostKey, Model, off_loop
from tolmach.processors.hosting.ray_replica import Replica, ReplicaLostError, ReplicaOrder, retrieve
from tolmach.processors.hosting.ray_worker import Answer

__all__ = ["RayHost", "gpus_of"]

log = logging.getLogger(__name__)

Value = TypeVar("Value")


class _Request(Generic[Item, Result]):
    """What one caller wants."""

    __slots__ = ("_lock", "_spent", "back", "came_s", "items", "merge", "number", "owner", "size", "spent_s")

    def __init__(
        self,
        number: int,
        items: Sequence[Item],
        merge: bool,
        owner: int,
        size: float,
        spent: Callable[[float], None] | None,
    ) -> None:
        self.number = number
        self.items = list(items)
        self.merge = merge
        self.owner = owner
        self.size = size
        self.came_s = time.monotonic()
        self.spent_s = 0.0
        self.back: asyncio.Task[None] | None = None  # taking it back
        self._spent = spent
        self._lock = threading.Lock()

    def leave(self) -> None:
        """Say what it has cost, once; safe in any thread."""
        with self._lock:
            spent, self._spent = self._spent, None
        if spent is not None:
            spent(self.spent_s)


class RayHost(Generic[Item, Result]):
    """Loads a model in actors of a Ray cluster and has them run it; safe to use from several event loops and threads.

    Args:
        key: What is loaded; its device as the worker sees it.
        load: Loads the model, in a worker: a function by its module and name, or a ``partial`` of one.
        place: Where, how often and with what.
        files: Paths of the model's files that ``load`` names (:func:`tolmach.processors.hosting.files.located`).
        max_batch: Most items given to the model at once.
    """

    def __init__(
        self,
        key: HostKey,
        load: Callable[[], Model[Item, Result]],
        place: HostPlace,
        files: Iterable[str] = (),
        *,
        max_batch: int = 32,
    ) -> None:
        self.key = key
        self._load = load
        self._place = place
        self._paths = tuple(files)
        self._max_batch = max_batch
        self._counts_lock = threading.Lock()
        self._counts = HostCounts()
        self._waiting = self._under_way = 0
        self._numbers = itertools.count()
        self._owners: dict[Hashable, int] = {}
        self._failure: Exception | None = None
        self._info: Mapping[str, Any] | None = None
        # What follows is touched on the courier's loop alone.
        self._starting: asyncio.Task[None] | None = None
        self._replicas: list[Replica] = []
        self._warmings: dict[Hashable, tuple[Sequence[Any], asyncio.Task[None]]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._reached: list[Callable[[], None]] = []  # to be called once the cluster is
        self._changed = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def failed(self) -> bool:
        """Whether the model could not be loaded; such a host is of no use."""
        return self._failure is not None

    @property
    def info(self) -> Mapping[str, Any]:
        """What the model says of itself; empty until it is loaded."""
        return self._info or {}

    def figures(self) -> HostFigures:
        """What waits for a replica or is with one now, and what has been counted so far; safe in any thread.

        Of what is with a replica, this process does not know how much has begun; how long each waited, the replica
        says with its answer.
        """
        with self._counts_lock:
            return self._counts.figures(self.key.label, self._waiting, self._under_way)

    async def loaded(self, on_progress: Callable[[str], None] | None = None) -> None:
        """Wait until one replica is ready, starting them if nobody did; see :meth:`ThreadHost.loaded`."""
        loop = asyncio.get_running_loop()

        def reached() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(cluster.retake_signals)

        await COURIER.send(self._wait_loaded(on_progress, reached))

    async def warm(self, items: Sequence[Item] = (), *, once: Hashable = None) -> None:
        """Run the model on every replica, those that come later too; see :meth:`ThreadHost.warm`."""
        await COURIER.send(self._warm(items, once))

    async def submit(
        self,
        items: Sequence[Item],
        *,
        merge: bool = False,
        owner: Hashable = None,
        size: float = 1.0,
        spent: Callable[[float], None] | None = None,
    ) -> list[Outcome[Result]]:
        """Run items as one batch on one replica; see :meth:`ThreadHost.submit`.

        With several replicas an owner's requests may run at the same time. A batch is shared with requests of other
        processes too.

        Returns:
            One outcome an item; an error for each if no replica could answer.
        """
        number = self._number_of(owner)
        request: _Request[Item, Result] = _Request(next(self._numbers), items, merge, number, size, spent)
        came = threading.Event()
        try:
            return await COURIER.send(self._submit(request, came))
        except asyncio.CancelledError:
            if not came.is_set():
                request.leave()
            raise

    def close(self) -> None:
        """Refuse new requests and answer those that wait with an error; does not block.

        The replicas end when no process uses them any more.
        """
        COURIER.call(self._close)

    # On the courier's loop ----------------------------------------------------------------------------------------

    def _number_of(self, owner: Hashable) -> int:
        with self._counts_lock:
            # Owners are as many as there were leases, and numbers small; what is kept of a lease is its id.
            return self._owners.setdefault(id(owner) if owner is not None else None, len(self._owners))

    async def _wait_loaded(
        self, on_progress: Callable[[str], None] | None, reached: Callable[[], None] = lambda: None
    ) -> None:
        self._refuse_if_closed()
        if self._info is not None:
            return
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
            self._starting.add_done_callback(retrieve)
        if on_progress is not None:
            self._listeners.append(on_progress)
        self._reached.append(reached)
        try:
            await asyncio.shield(self._starting)
        finally:
            if on_progress is not None:
                self._listeners.remove(on_progress)

    async def _start(self) -> None:
        """Start the replicas; done when one is ready."""
        began_s = time.monotonic()
        log.info("loading %s on %s", self.key, self._place)
        try:
            self._tell("reaching the Ray cluster")
            ray = await off_loop(cluster.connect, self._place.address)
            _at_the_end(self)
            for tell in self._reached:
                tell()
            self._reached.clear()
            files = [await off_loop(describe, path) for path in self._paths]
            self._tell("waiting for a worker")
            order = ReplicaOrder(
                f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
                self.key,
                self._load,
                self._place,
                files,
                self._max_batch,
                ray,
                self._tell,
                self._note,
                lambda: [(once, items) for once, (items, _) in self._warmings.items()],
                lambda: self._closed,
                self._spawn,
            )
            self._replicas = [Replica(order, number) for number in range(self._place.replicas)]
            for each in self._replicas:
                self._spawn(each.keep())
            while not any(each.ready for each in self._replicas):
                if all(each.failure is not None for each in self._replicas):
                    raise self._replicas[0].failure or ModelError(f"{self.key} has no replicas")
                self._refuse_if_closed()
                await self._change()
        except Exception as error:
            self._failure = error
            self._close()
            raise
        self._info = next(each.info for each in self._replicas if each.ready)
        log.info("loaded %s in %.1f s", self.key, time.monotonic() - began_s)

    async def _warm(self, items: Sequence[Item], once: Hashable) -> None:
        await self._wait_loaded(None)
        if once not in self._warmings:
            self._warmings[once] = (items, asyncio.ensure_future(self._warm_all(items, once)))
            self._warmings[once][1].add_done_callback(retrieve)
        warming = self._warmings[once][1]
        try:
            await asyncio.shield(warming)
        except asyncio.CancelledError:
            raise
        except Exception:
            if once in self._warmings and self._warmings[once][1] is warming:
                del self._warmings[once]
            raise

    async def _warm_all(self, items: Sequence[Item], once: Hashable) -> None:
        # One that dies meanwhile is warmed again when it comes back.
        ready = [each for each in self._replicas if each.ready]
        done = await asyncio.gather(*(each.warm(items, once) for each in ready), return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException) and not isinstance(each, ReplicaLostError):
                raise each

    async def _submit(self, request: _Request[Item, Result], came: threading.Event) -> list[Outcome[Result]]:
        came.set()
        work = asyncio.ensure_future(self._answer(request))
        self._background.add(work)

        def end(done: asyncio.Task[list[Outcome[Result]]]) -> None:
            self._background.discard(done)
            retrieve(done)
            if request.back is None:
                request.leave()
            else:
                request.back.add_done_callback(lambda _: request.leave())

        work.add_done_callback(end)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            with self._counts_lock:
                self._counts.dropped += 1
            work.cancel()
            raise

    async def _answer(self, request: _Request[Item, Result]) -> list[Outcome[Result]]:
        await self._wait_loaded(None)
        if not request.items:
            return []
        self._count(waiting=1)
        lost: list[str] = []
        try:
            async with asyncio.timeout(self._place.deadline_s):
                while len(lost) < 2:
                    try:
                        answer = await self._ask(await self._free(), request)
                    except ReplicaLostError as error:
                        log.warning("%s: a request lost its replica (%s)", self.key, error)
                        lost.append(str(error))
                        with self._counts_lock:
                            self._counts.lost += 1
                        continue
                    return self._taken(request, answer)
            failure = ModelError(f"{self.key}: two workers in a row were lost with this request ({lost[-1]})")
        except TimeoutError:
            failure = ModelError(f"{self.key}: no answer within {self._place.deadline_s:g} s")
        except TolmachError as error:
            if self._closed:
                raise
            failure = error if isinstance(error, ModelError) else ModelError(str(error))
        finally:
            self._count(waiting=-1)
        return [failure] * len(request.items)

    def _taken(self, request: _Request[Item, Result], answer: Answer) -> list[Outcome[Result]]:
        request.spent_s += answer.spent_s
        with self._counts_lock:
            self._counts.busy_s += answer.spent_s
            if answer.waited_s is not None:
                self._counts.waits = self._counts.waits.with_time(answer.waited_s)
            self._counts.answers = self._counts.answers.with_time(time.monotonic() - request.came_s)
        if answer.error is not None:
            return [answer.error] * len(request.items)
        if answer.outcomes is None:
            return [ModelError(f"{self.key}: the worker took this process for dead")] * len(request.items)
        return answer.outcomes

    async def _free(self) -> Replica:
        """The ready replica with the least to do; waits for one."""
        while True:
            self._refuse_if_closed()
            ready = [each for each in self._replicas if each.ready]
            if ready:
                return min(ready, key=lambda each: (max(each.asked, each.queued), each.number))
            failures = [each.failure for each in self._replicas]
            if failures and all(failures):
                raise failures[0] or ModelError(f"{self.key} has no replicas")
            await self._change()

    async def _ask(self, replica: Replica, request: _Request[Item, Result]) -> Answer:
        """Have a replica answer. Cancelled: takes the request out there, and waits for what it has cost."""
        self._count(waiting=-1, under_way=1)
        try:
            call = asyncio.ensure_future(
                replica.call(
                    "submit",
                    request.number,
                    request.items,
                    request.merge,
                    request.owner,
                    request.size,
                )
            )
            try:
                answer: Answer = await asyncio.shield(call)
            except asyncio.CancelledError:
                request.back = self._spawn(self._take_back(replica, request, call))
                raise
            replica.queued = answer.queued
            return answer
        finally:
            self._count(waiting=1, under_way=-1)

    async def _take_back(self, replica: Replica, request: _Request[Item, Result], call: asyncio.Task[Answer]) -> None:
        """Tell a replica that nobody waits for an answer any more, and take what it has cost."""
        with contextlib.suppress(ReplicaLostError, ModelError):
            await replica.call("take_back", request.number)
        with contextlib.suppress(ReplicaLostError, ModelError):
            request.spent_s += (await call).spent_s
            with self._counts_lock:
                self._counts.busy_s += request.spent_s

    def _count(self, waiting: int = 0, under_way: int = 0) -> None:
        with self._counts_lock:
            self._waiting += waiting
            self._under_way += under_way

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for each in self._replicas:
            each.leave()
        self._note()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ModelError(f"the model host of {self.key} is closed")

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """The copies of the model."""
        return tuple(self._replicas)

    # For the replicas ---------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(retrieve)
        return task

    async def _change(self) -> None:
        """Wait until a replica is ready, lost or given up."""
        await self._changed.wait()

    def _note(self) -> None:
        """A replica is ready, lost or given up."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _tell(self, text: str) -> None:
        """Pass a line of progress on to all who wait for the load."""
        for listener in tuple(self._listeners):
            listener(text)


_LIVING: weakref.WeakSet[RayHost[Any, Any]] = weakref.WeakSet()


def _at_the_end(host: RayHost[Any, Any]) -> None:
    """Have a host give its replicas back when the process ends, before Ray does (which registered itself first)."""
    if not _LIVING:
        atexit.unregister(_end)
        atexit.register(_end)
    _LIVING.add(host)


def _end() -> None:
    async def leave() -> None:
        await asyncio.gather(*(each.goodbye() for host in list(_LIVING) for each in host.replicas))

    COURIER.end(leave, 1.0)


def gpus_of(place: HostPlace) -> float:
    """GPUs that a replica gets which wants some: what was said, else one if the cluster has any. Blocks."""
    if place.num_gpus is not None:
        return place.num_gpus
    return 1.0 if cluster.connect(place.address).cluster_resources().get("GPU", 0) else 0.0
