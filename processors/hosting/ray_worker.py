"""A model in a process of a Ray cluster: the actor that loads it there and answers all who use it.

It is a :class:`ThreadHost` behind a wire: turns, shared batches and steps are its, and so requests of several processes
and machines share its batches as those of several sessions of one process do. Beside them it knows who its users are,
by what they last said: the requests of one that is gone are taken out, and without any user it ends, so that no GPU is
held for nobody.

Nothing here imports Ray before an actor runs; what goes over the wire are plain values, and errors as values
(:func:`portable`), for Ray's own wrapping of them loses their class.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tolmach.pipelines import cluster
from tolmach.pipelines.errors import ModelError, TolmachError
from tolmach.processors.hosting.batches import HostRequest, Outcome
from tolmach.processors.hosting.files import ModelFile, locate
from tolmach.processors.hosting.host import HostKey, Model, ThreadHost

__all__ = ["INTERFACE", "Answer", "Greeting", "ModelWorker", "Reply", "portable"]

log = logging.getLogger(__name__)

INTERFACE = 1
"""Number of what goes over the wire; raised when an older side would not understand."""

GONE_S = 30.0
"""Without a word for so long, a process that uses the model is taken for dead, and likewise a worker."""

_STEP_S = 0.5


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who answers.

    Attributes:
        interface: :data:`INTERFACE` of the worker.
        versions: What the worker is made of.
        pid: Its process.
    """

    interface: int
    versions: cluster.Versions
    pid: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a call.

    Attributes:
        info: What the model says of itself.
        error: Why it failed, or None.
        lines: All that its loader has reported.
    """

    info: Mapping[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request.

    Attributes:
        outcomes: One an item; None if it was taken out.
        waited_s: From when it came to its first step, s; None if that never was.
        spent_s: Time of the model that it has cost, s.
        queued: Requests that wait behind it.
        error: Why there are none, or None.
    """

    outcomes: list[Outcome[Any]] | None
    waited_s: float | None = None
    spent_s: float = 0.0
    queued: int = 0
    error: Exception | None = None


@dataclass(slots=True)
class _Client:
    seen_s: float
    requests: dict[int, asyncio.Task[Answer]] = field(default_factory=dict)
    taken_back: set[int] = field(default_factory=set)  # before they came


class ModelWorker:
    """The actor. All its methods run on its event loop; the model has a thread of its own.

    Args:
        key: What is loaded.
        max_batch: Most items given to the model at once.
        idle_s: When to end without any user, s.
        threads: Environment variables that say how many threads a model takes; empty for as many as Ray counts CPUs.
    """

    def __init__(self, key: HostKey, max_batch: int, idle_s: float, threads: Mapping[str, str]) -> None:
        if threads:
            os.environ.update(threads)  # before PyTorch is imported
            cluster.settle_threads()
        self._key = key
        self._max_batch = max_batch
        self._idle_s = idle_s
        self._host: ThreadHost[Any, Any] | None = None
        self._lines: list[str] = []
        self._told = asyncio.Event()
        self._clients: dict[str, _Client] = {}
        self._used_s = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        threading.Thread(target=self._keep, name="keeper", daemon=True).start()

    async def greet(self, client: str) -> Greeting:
        """Who answers, before anything is asked of it."""
        self._note(client)
        self._loop = asyncio.get_running_loop()
        return Greeting(INTERFACE, cluster.here(), os.getpid())

    async def load(
        self, client: str, load: Callable[[], Model[Any, Any]], files: Sequence[ModelFile], models: str
    ) -> Reply:
        """Load the model, unless it is."""
        self._note(client)
        loop = asyncio.get_running_loop()
        if self._host is None:

            def load_here() -> Model[Any, Any]:
                locate(files, models)
                return load()

            self._host = ThreadHost(self._key, load_here, max_batch=self._max_batch)
        host = self._host

        def tell(text: str) -> None:
            loop.call_soon_threadsafe(self._tell, text)

        try:
            await host.loaded(tell)
        except Exception as error:
            if self._host is host:
                self._host = None
                host.close()
            return Reply(error=portable(error, f"{self._key} cannot be loaded"))
        return Reply(dict(host.info), lines=tuple(self._lines))

    async def progress(self, client: str, known: int) -> list[str]:
        """Lines of progress after the first ``known``; waits for one."""
        self._note(client)
        while len(self._lines) <= known:
            self._told.clear()
            await self._told.wait()
        return self._lines[known:]

    async def warm(self, client: str, items: Sequence[Any], once: Hashable) -> Reply:
        """Run the model; see :meth:`ThreadHost.warm`."""
        self._note(client)
        try:
            await self._loaded().warm(items, once=once)
        except Exception as error:
            return Reply(error=portable(error, f"{self._key} does not work"))
        return Reply()

    async def submit(
        self, client: str, number: int, items: Sequence[Any], merge: bool, owner: int, size: float
    ) -> Answer:
        """Run items as one batch; see :meth:`ThreadHost.submit`.

        Args:
            client: Which process asks.
            number: The request, of this process.
            items: What to run.
            merge: Whether requests of others may be in the batch, those of other processes too.
            owner: Which lease of the process.
            size: How long the longest item is.
        """
        user = self._note(client)
        if number in user.taken_back:
            user.taken_back.discard(number)
            return Answer(None)
        task = asyncio.ensure_future(self._answer(items, merge, (client, owner), size))
        user.requests[number] = task
        try:
            return await task
        finally:
            user.requests.pop(number, None)

    async def take_back(self, client: str, number: int) -> None:
        """Take a request out; it is answered without results."""
        user = self._note(client)
        if number in user.requests:
            user.requests[number].cancel()
        elif len(user.taken_back) < 10_000:
            user.taken_back.add(number)

    async def beat(self, client: str) -> int:
        """The process lives and still uses the model; returns how many requests wait for it."""
        self._note(client)
        return self._queued()

    async def leave(self, client: str) -> None:
        """The process uses the model no more."""
        self._forget(client)

    async def _answer(self, items: Sequence[Any], merge: bool, owner: Hashable, size: float) -> Answer:
        left = asyncio.Event()
        loop = asyncio.get_running_loop()
        spent = [0.0]

        def note(seconds: float) -> None:
            spent[0] = seconds
            loop.call_soon_threadsafe(left.set)

        request: HostRequest[Any, Any] = HostRequest(items, merge, owner, size, note)
        try:
            outcomes: list[Outcome[Any]] | None = await self._loaded().ask(request)
        except asyncio.CancelledError:
            # Taken back. What it has cost is known when its step is over, which the caller is told.
            outcomes = None
        except Exception as error:
            return Answer(None, error=portable(error, f"{self._key} cannot answer"))
        await left.wait()
        waited_s = None if request.began_s is None else request.began_s - request.came_s
        sent = [portable(each, str(self._key)) if isinstance(each, Exception) else each for each in outcomes or ()]
        return Answer(None if outcomes is None else sent, waited_s, spent[0], self._queued())

    def _loaded(self) -> ThreadHost[Any, Any]:
        if self._host is None:
            raise ModelError(f"{self._key} is not loaded")
        return self._host

    def _queued(self) -> int:
        return self._host.figures().waiting if self._host is not None else 0

    def _tell(self, text: str) -> None:
        self._lines.append(text)
        self._told.set()

    def _note(self, client: str) -> _Client:
        self._used_s = time.monotonic()
        found = self._clients.get(client)
        if found is None:
            found = self._clients[client] = _Client(self._used_s)
        found.seen_s = self._used_s
        return found

    def _forget(self, client: str) -> None:
        gone = self._clients.pop(client, None)
        for task in list(gone.requests.values()) if gone is not None else ():
            task.cancel()

    def _keep(self) -> None:
        """Forget users that are gone, and end without any; in a thread, for nobody may ever have called."""
        while True:
            time.sleep(_STEP_S)
            now_s = time.monotonic()
            for name in [name for name, each in list(self._clients.items()) if now_s - each.seen_s > GONE_S]:
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._forget_gone, name)
            if not self._clients and now_s - self._used_s > self._idle_s:
                os._exit(0)  # not through the interpreter's end: PyTorch's threads do not survive that

    def _forget_gone(self, client: str) -> None:
        found = self._clients.get(client)
        if found is not None and time.monotonic() - found.seen_s > GONE_S:
            log.warning("%s: %s is gone; its requests are taken out", self._key, client)
            self._forget(client)


def portable(error: Exception, what: str) -> Exception:
    """An error as it may go over the wire: itself where it is ours and survives that, else a :class:`ModelError`.

    What hides behind it (``__cause__``) stays where it was raised.
    """
    if isinstance(error, TolmachError):
        try:
            back = pickle.loads(pickle.dumps(error))  # noqa: S301 -- what was just pickled
            if type(back) is type(error) and str(back) == str(error):
                return error
        except Exception:
            log.debug("%r cannot be sent", error)
        return ModelError(str(error))
    return ModelError(f"{what}: {type(error).__name__}: {error}")
