"""One copy of a model on a Ray cluster, as the process that uses it sees it: made, loaded, watched, made again.

For :class:`tolmach.processors.hosting.ray_host.RayHost`, on whose loop all of it happens. Ray's own restarts are not
used: what comes back must have loaded and warmed its model before it is asked anything, and only its users know with
what.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from tolmach.pipelines import cluster
from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.model_host import HostPlace
from tolmach.processors.hosting.files import ModelFile
from tolmach.processors.hosting.host import HostKey, Model, off_loop
from tolmach.processors.hosting.ray_worker import GONE_S, INTERFACE, Greeting, ModelWorker, Reply

__all__ = ["Replica", "ReplicaLostError", "ReplicaOrder", "retrieve"]

log = logging.getLogger(__name__)

BEAT_S = 2.0
"""How often a replica is asked for a sign of life, s."""

BACK_OFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""How long to wait before a replica is made anew, s, by how often it failed in a row; the last one from then on."""

TRIES = 3
"""How often a replica may die before it was ready for the first time, until its host is given up."""


class ReplicaLostError(Exception):
    """A replica died, or is as good as dead; the text says what is known of it."""


@dataclass(frozen=True, slots=True)
class ReplicaOrder:
    """What a host wants copies of, and what it wants to hear.

    Attributes:
        client: Name of the host for the workers, unlike all others.
        key: What is loaded.
        load: Loads it.
        place: Where, how often and with what.
        files: The model's files.
        max_batch: Most items given to the model at once.
        ray: The module, connected.
        tell: Takes a line of progress.
        note: Called when a replica is ready, lost or given up.
        warmings: What a replica is warmed with before it is ready, by what it is called.
        closed: Whether the host wants none any more.
        spawn: Runs something in the background.
    """

    client: str
    key: HostKey
    load: Callable[[], Model[Any, Any]]
    place: HostPlace
    files: Sequence[ModelFile]
    max_batch: int
    ray: Any
    tell: Callable[[str], None]
    note: Callable[[], None]
    warmings: Callable[[], list[tuple[Hashable, Sequence[Any]]]]
    closed: Callable[[], bool]
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Replica:
    """One copy of the model: the actor that it is now, and its coming back when that is lost.

    Attributes:
        number: Which copy.
        ready: Whether it can be asked.
        failure: Why it cannot be, as far as that is more than an accident.
        info: What its model says of itself.
        pid: Its process, on its machine.
        queued: Requests that waited for it when it last said so, those of others too.
    """

    def __init__(self, order: ReplicaOrder, number: int) -> None:
        self.number = number
        self.ready = False
        self.failure: Exception | None = None
        self.info: Mapping[str, Any] = {}
        self.queued = self.pid = 0
        self._order = order
        self._ray = order.ray
        self._gpus = 0.0 if order.key.device == "cpu" else order.place.num_gpus or 1.0
        self._actor: Any = None
        self._loss: ReplicaLostError | None = None
        self._calls: dict[asyncio.Future[Any], str] = {}  # under way, with their methods
        self._lost = asyncio.Event()
        self._heard = 0  # lines of progress

    @property
    def asked(self) -> int:
        """Requests of ours that it has."""
        return sum(method == "submit" for method in self._calls.values())

    async def keep(self) -> None:
        """Start it, and start it again whenever it is lost, until the host is closed."""
        order, failed, was_ready = self._order, 0, False
        while not order.closed():
            self._loss = None
            self._lost.clear()
            watching: asyncio.Task[None] | None = None
            try:
                self._actor = await off_loop(self._make)
                await self._greet()
                watching = asyncio.ensure_future(self._watch())
                await self._start()
                self.failure, self.ready, failed, was_ready = None, True, 0, True
                log.info("%s: worker %d is ready", order.key, self.number)
                order.note()
                await watching  # until it is lost
            except ReplicaLostError as error:
                what = f"is lost: {error}"
                if not was_ready and failed + 1 >= TRIES:
                    self.failure = ModelError(f"{order.key}: its worker died {TRIES} times while it started ({error})")
            except Exception as error:
                what, self.failure = f"cannot start: {error}", error
            finally:
                self.ready = False
                if watching is not None:
                    watching.cancel()
                self._lose(ReplicaLostError("it is made anew"))
            if order.closed():
                return
            if not self._ray.is_initialized():
                self.failure = ModelError(f"{order.key}: this process has left the Ray cluster")
                order.note()
                return
            failed += 1
            log.warning("%s: worker %d %s", order.key, self.number, what)
            order.note()
            await asyncio.sleep(BACK_OFF_S[min(failed, len(BACK_OFF_S)) - 1])

    async def warm(self, items: Sequence[Any], once: Hashable) -> None:
        """Run its model."""
        reply: Reply = await self.call("warm", items, once)
        if reply.error is not None:
            raise reply.error

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of the actor.

        Raises:
            ReplicaLostError: If the actor is lost before it answers.
            ModelError: If what is asked or answered cannot be sent.
        """
        if self._loss is not None:
            raise self._loss
        try:
            ref = getattr(self._actor, method).remote(self._order.client, *args)
        except self._ray.exceptions.RayError as error:
            raise ReplicaLostError(_first_line(error)) from error
        except Exception as error:  # whatever pickling raises
            raise ModelError(
                f"{self._order.key}: {method} cannot be sent to a worker ({type(error).__name__}: {error}); what a "
                "model is loaded by and asked must be importable there"
            ) from error
        answer = asyncio.get_running_loop().create_future()
        self._calls[answer] = method
        answering = asyncio.wrap_future(ref.future())

        def take(done: asyncio.Future[Any]) -> None:
            error = None if done.cancelled() else done.exception()
            if answer.done():  # it was lost long ago
                return
            said = error and self._translated(error)
            if answer.done():  # by that
                return
            if done.cancelled():
                answer.cancel()
            elif said is not None:
                answer.set_exception(said)
            else:
                answer.set_result(done.result())

        answering.add_done_callback(take)
        try:
            return await answer
        finally:
            self._calls.pop(answer, None)

    def leave(self) -> None:
        """Give it back once it has answered what it was asked."""
        self._order.spawn(self._leave())

    async def _leave(self) -> None:
        asked = [call for call, method in self._calls.items() if method == "submit"]
        await asyncio.gather(*asked, return_exceptions=True)
        await self.goodbye()
        self._lose(ReplicaLostError("it was given back"))

    async def goodbye(self) -> None:
        """Tell the actor that it is not used any more from here."""
        if self._actor is not None:
            with contextlib.suppress(ReplicaLostError, ModelError, TimeoutError):
                await asyncio.wait_for(self.call("leave"), BEAT_S)

    def _make(self) -> Any:
        """The actor of this name: the one that is there, or a new one. Blocks."""
        order, place = self._order, self._order.place
        threads = {} if place.num_cpus else cluster.thread_variables()
        actor = self._ray.remote(ModelWorker).options(
            name=self._name(),
            namespace=cluster.NAMESPACE,
            get_if_exists=True,
            lifetime="detached",  # it is not ours alone; it ends without users
            num_cpus=place.num_cpus,
            num_gpus=self._gpus,
            max_restarts=0,  # what comes back must load and warm first, so it is made anew here
            max_concurrency=10_000,
            scheduling_strategy="SPREAD",
        )
        return actor.remote(order.key, order.max_batch, place.idle_s, threads)

    def _name(self) -> str:
        """The same for all who would load the same in the same way, wherever the files lie on their machines."""
        order, place, model = self._order, self._order.place, self._order.key.model
        for file in self._order.files:
            model = model.replace(file.path, PurePath(file.path).name)
        what = order.key._replace(model=model, place="")
        made_of = sorted(cluster.here().exact.items())
        files = [(file.size, file.digest) for file in self._order.files]
        given = repr((INTERFACE, made_of, what, files, order.max_batch, self._gpus, place.num_cpus))
        digest = hashlib.sha256(given.encode()).hexdigest()[:16]
        return f"{what.engine} {PurePath(model).name} {digest} {self.number}"

    async def _greet(self) -> None:
        """Wait until it has a place.

        Raises:
            ModelError: If there is no room for it, or it is of another version.
        """
        order, place = self._order, self._order.place
        try:
            greeting: Greeting = await asyncio.wait_for(self.call("greet"), place.wait_s)
        except TimeoutError:
            await off_loop(self._kill)
            raise ModelError(f"{order.key}: {await off_loop(self._no_room)}") from None
        self._check(greeting)
        self.pid = greeting.pid

    async def _start(self) -> None:
        """Have it load and warm.

        Raises:
            ModelError: If the model cannot be loaded, or does not work.
        """
        order, place = self._order, self._order.place
        self._heard = 0
        listening = asyncio.ensure_future(self._listen()) if self.number == 0 else None
        try:
            reply: Reply = await self.call("load", order.load, self._order.files, place.models)
        finally:
            if listening is not None:
                listening.cancel()
        if reply.error is not None:
            raise reply.error
        if self.number == 0:
            for line in reply.lines[self._heard :]:  # which the answer has overtaken
                order.tell(line)
        self.info = reply.info
        warm = set[Hashable]()
        while cold := [(once, items) for once, items in order.warmings() if once not in warm]:
            for once, items in cold:
                await self.warm(items, once)
                warm.add(once)

    def _check(self, greeting: Greeting) -> None:
        forbids, matters = cluster.differences(cluster.here(), greeting.versions)
        if greeting.interface != INTERFACE:
            forbids.insert(
                0, f"model host interface {INTERFACE} here, {greeting.interface} on {greeting.versions.host}"
            )
        if forbids:
            raise ModelError(
                f"{self._order.key}: the worker on {greeting.versions.host} is not what this process is "
                f"({'; '.join(forbids)}): install the same on all machines of the cluster"
            )
        if matters:
            log.info("%s: last digits may differ from results here: %s", self._order.key, "; ".join(matters))

    async def _listen(self) -> None:
        """Pass on what its loader reports."""
        with contextlib.suppress(ReplicaLostError, ModelError):
            while True:
                for line in await self.call("progress", self._heard):
                    self._heard += 1
                    self._order.tell(line)

    async def _watch(self) -> None:
        """Ask for a sign of life, again and again; raises ReplicaLostError when there is none."""
        missed = 0
        while True:
            if self._loss is not None:
                raise self._loss
            try:
                self.queued = await asyncio.wait_for(self.call("beat"), BEAT_S if missed and self.ready else GONE_S)
                missed = 0
            except TimeoutError:
                missed += 1
                # This process may have been stopped itself: a worker that lives answers the next one at once. One that
                # loads may be busy with it; libraries of gigabytes hold the interpreter.
                if missed > (1 if self.ready else 2):
                    await off_loop(self._kill)
                    self._lose(ReplicaLostError(f"no sign of life for {GONE_S:g} s"))
                    continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), BEAT_S)

    def _translated(self, error: BaseException) -> Exception:
        """Ray's error as ours; one that says that the actor is no more ends all other calls too."""
        exceptions = self._ray.exceptions
        if isinstance(error, exceptions.RayTaskError):
            return ModelError(f"{self._order.key}: the worker failed: {_last_line(error)}")
        if isinstance(error, exceptions.RayActorError) and "creation task" in str(error):
            return ModelError(f"{self._order.key}: no worker can be made there: {_last_line(error)}")
        loss = ReplicaLostError(_first_line(error))
        self._lose(loss)
        return loss

    def _lose(self, loss: ReplicaLostError) -> None:
        self.ready = False
        self._loss = self._loss or loss
        self._lost.set()
        for each in list(self._calls):
            if not each.done():
                each.set_exception(loss)

    def _kill(self) -> None:
        with contextlib.suppress(Exception):  # whatever is wrong with it, it is given up
            self._ray.kill(self._actor)

    def _no_room(self) -> str:
        place = self._order.place
        wanted = [f"{self._gpus:g} GPU" for _ in [0] if self._gpus] + [f"{place.num_cpus:g} CPU"] * bool(place.num_cpus)
        has, free = self._ray.cluster_resources(), self._ray.available_resources()
        there = ", ".join(f"{has.get(kind, 0):g} {kind} ({free.get(kind, 0):g} free)" for kind in ("GPU", "CPU"))
        return (
            f"no room on the Ray cluster within {place.wait_s:g} s for a worker with "
            f"{' and '.join(wanted) or 'nothing'}; it has {there}. Ask for less (num_gpus, num_cpus, "
            "replicas), wait longer (wait_s), or add machines"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _last_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()


def retrieve(future: asyncio.Future[Any]) -> None:
    """Take note of an error, which asyncio reports as never retrieved otherwise."""
    if not future.cancelled():
        future.exception()
