"""The workers of a batch: given room in the cluster, looked over, lent for one recording, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tolmach.pipelines.cli.batch.spread.worker import Seen, Sight, Worker
from tolmach.pipelines.cluster import ClusterError, differences, here, thread_variables

if TYPE_CHECKING:
    from tolmach.pipelines.graph import Graph

__all__ = ["Hired", "Lost", "Reserve", "Workers", "room_for"]

FIRST_WAIT_S = 20.0
"""How long a batch waits for more workers once there is one, s: a cluster that has room starts a process in a few. One
that grows takes minutes for the next machine, and whoever comes later is given work then."""

SAY_AFTER_S = 5.0
"""After this long without any worker it is said that they are waited for, s."""

MAX_STILLBORN = 3
"""Workers that may die one after the other before they have said what they are."""

UNREACHED_S = 3
"""Seconds after which a worker that cannot be reached is given up."""

LEAVE_S = 2.0
"""How long workers may take to remove their folders when they are let go, s."""

MOST_WORKERS = 64
"""As ``--jobs``."""

log = logging.getLogger("tolmach.pipelines.cli.batch")


@dataclass(frozen=True, slots=True)
class Reserve:
    """What each worker reserves of the cluster.

    Attributes:
        cpus: CPUs, or a fraction of one.
        gpus: GPUs, or a fraction of one; None for one where the graph may use it and the cluster has any, else none.
            To a worker that reserves none Ray shows none.
    """

    cpus: float = 1.0
    gpus: float | None = None

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")

    def settled(self, ray: Any, graph: Graph) -> Reserve:
        """The same with GPUs decided upon."""
        if self.gpus is not None:
            return self
        wants = any(getattr(node.settings, "device", "cpu") != "cpu" for node in graph.nodes.values())
        return replace(self, gpus=1.0 if wants and ray.cluster_resources().get("GPU") else 0.0)


def room_for(ray: Any, reserve: Reserve) -> int:
    """How many workers the cluster holds when nothing else runs on it.

    Raises:
        ClusterError: If it holds none.
    """
    count = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            asked = (("CPU", reserve.cpus), ("GPU", reserve.gpus))
            fits = [int(has.get(name, 0.0) / need + 1e-9) for name, need in asked if need]
            count += min(fits, default=MOST_WORKERS)
    if not count:
        raise ClusterError(f"no machine of the Ray cluster has {reserve} for a worker; see --ray-cpus and --ray-gpus")
    return min(count, MOST_WORKERS)


class Lost(Exception):  # noqa: N818 -- what happened to a worker
    """A worker has died, or cannot be reached.

    Attributes:
        where: Name of its machine.
        machine: Whether its machine is gone with it.
    """

    def __init__(self, why: str, where: str, machine: bool) -> None:
        super().__init__(why)
        self.where = where
        self.machine = machine


@dataclass(slots=True, eq=False)
class Hired:
    """A worker that was looked over.

    Attributes:
        actor: Ray's handle of it.
        seen: What it is.
    """

    actor: Any
    seen: Seen

    @property
    def host(self) -> str:
        """Name of its machine."""
        return self.seen.versions.host


class Workers:
    """The workers of one batch; used from one event loop.

    Args:
        ray: The module, connected.
        sight: What each must see.
        count: How many.
        reserve: What each reserves.
        say: Takes a line for people.

    Attributes:
        hired: Those that live and were looked over.
    """

    def __init__(self, ray: Any, sight: Sight, *, count: int, reserve: Reserve, say: Callable[[str], None]) -> None:
        self.ray = ray
        self.count = count
        self._sight, self._reserve, self._say = sight, reserve, say
        self._free: asyncio.Queue[Hired | None] = asyncio.Queue()  # None: there will be no more
        self._refusal: ClusterError | None = None
        self._begun = False
        self._hiring: set[asyncio.Task[None]] = set()
        self._actors: list[Any] = []
        self.hired: list[Hired] = []
        self._ready = 0
        self._stillborn = 0
        self._told: set[str] = set()
        self._closed = False

    async def open(self) -> None:
        """Hire all; returns when each was looked over, or the first and no more for a while.

        Raises:
            ClusterError: If one does not see what it must, is of another version, or none can be started.

        Cancelled by: the caller.
        """
        waiting, waited_s, said = {self._hire() for _ in range(self.count)}, 0.0, False
        while waiting and (not self._ready or waited_s < FIRST_WAIT_S):
            done, waiting = await asyncio.wait(waiting, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            waited_s = 0.0 if done else waited_s + 1.0
            if self._refusal is not None:
                raise self._refusal
            if not said and not self._ready and waited_s >= SAY_AFTER_S:
                said = True
                self._say(f"waiting for room in the Ray cluster: each worker takes {self._reserve}")
        self._begun = True

    async def take(self) -> Hired:
        """A worker that has nothing to do; waits for one. Cancelled by: the caller.

        Raises:
            ClusterError: If none can be started any more.
        """
        found = await self._free.get()
        if found is None:
            self._free.put_nowait(None)  # for whoever else waits
            raise self._refusal or ClusterError("the workers of the Ray cluster were let go")
        return found

    def give_back(self, worker: Hired) -> None:
        """It has nothing to do any more."""
        self._free.put_nowait(worker)

    def replace(self, worker: Hired) -> None:
        """It is lost; hire another one."""
        self._ready -= 1
        self.hired.remove(worker)
        self._discard(worker.actor)
        if not self._closed:
            self._hire()

    async def lost(self, worker: Hired, error: Exception) -> Lost:
        """What an error of Ray's says of a worker. Cancelled by: the caller.

        A process that dies is told of at once by its machine. Of a machine that dies nothing is heard, and the cluster
        finds out half a minute later: who cannot be reached for some seconds counts as gone with it.
        """
        unavailable, asked = self.ray.exceptions.ActorUnavailableError, 0
        while isinstance(error, unavailable) and asked < UNREACHED_S:
            try:
                await asyncio.wait_for(worker.actor.look.remote(self._sight), 1.0)
            except TimeoutError:
                asked += 1
            except self.ray.exceptions.RayError as now:
                error, asked = now, asked + 1
                await asyncio.sleep(1.0 if isinstance(now, unavailable) else 0.0)
            else:
                return Lost("its connection broke", worker.host, machine=True)
        if isinstance(error, unavailable):
            return Lost("it cannot be reached", worker.host, machine=True)
        alive = {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}
        gone = worker.seen.node not in alive or "node has died" in str(error)
        return Lost("its machine is gone" if gone else _why(error), worker.host, machine=gone)

    async def close(self) -> None:
        """Let all go, and their folders with them. Safe twice. Cancelled by: the caller."""
        self._closed = True
        for task in tuple(self._hiring):
            task.cancel()
        if self._hiring:
            await asyncio.wait(tuple(self._hiring))
        if not self._sight.output:
            with contextlib.suppress(TimeoutError):
                leaving = [each.actor.leave.remote() for each in self.hired]
                await asyncio.wait_for(asyncio.gather(*leaving, return_exceptions=True), LEAVE_S)
        for actor in tuple(self._actors):
            self._discard(actor)

    def _hire(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self._hire_one())
        self._hiring.add(task)
        task.add_done_callback(self._hiring.discard)
        return task

    async def _hire_one(self) -> None:
        while True:
            actor = (
                self.ray.remote(Worker)
                .options(
                    num_cpus=self._reserve.cpus,
                    num_gpus=self._reserve.gpus or 0,
                    max_restarts=0,  # a new one is looked over first
                    max_task_retries=0,  # what is done twice must know it
                    runtime_env={"env_vars": thread_variables()},
                )
                .remote()
            )
            self._actors.append(actor)
            try:
                seen: Seen = await actor.look.remote(self._sight)
            except self.ray.exceptions.RayError as error:
                self._discard(actor)
                self._stillborn += 1
                if self._stillborn >= MAX_STILLBORN:
                    self._refuse(f"a worker of the Ray cluster cannot be started: {_why(error)}")
                    return
                continue
            self._stillborn = 0
            self._look_over(Hired(actor, seen))
            return

    def _look_over(self, worker: Hired) -> None:
        forbids, matters = differences(here(), worker.seen.versions)
        if forbids:
            self._discard(worker.actor)
            self._refuse(f"the worker on {worker.host} is not of this version: {'; '.join(forbids)}")
            return
        if missing := worker.seen.missing:
            self._discard(worker.actor)
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            self._refuse(
                f"the worker on {worker.host} does not see {missing[0]}{more}; recordings and the folder for results "
                "must lie where all machines see them under one name, or be sent: --ray-ship"
            )
            return
        for each in matters:
            if each not in self._told:
                self._told.add(each)
                self._say(f"last digits of results may differ: {each}")
        self._ready += 1
        self.hired.append(worker)
        self._free.put_nowait(worker)

    def _refuse(self, why: str) -> None:
        """Before work begins it is an error; later one that cannot be used is done without while there are others."""
        if self._begun and self._ready:
            self._say(f"{why}; it is done without")
            log.warning("%s", why)
        else:
            self._refusal = ClusterError(why)
            self._free.put_nowait(None)

    def _discard(self, actor: Any) -> None:
        if actor in self._actors:
            self._actors.remove(actor)
        with contextlib.suppress(Exception):  # it is gone already
            self.ray.kill(actor, no_restart=True)


def _why(error: BaseException) -> str:
    """Ray's words on a worker that died, in one line."""
    text = " ".join(str(error).split())
    if "unexpectedly exits" in text or "process has died" in text:
        return "its process was killed, ran out of memory or crashed"
    for pattern in (r"(\w*Error: .*?)(?: Traceback|$)", r"Worker exit detail: (.*?\.)(?: |$)", r"^(.*?\.)(?: |$)"):
        if found := re.search(pattern, text):
            return found[1][:300]
    return text[:300] or type(error).__name__
