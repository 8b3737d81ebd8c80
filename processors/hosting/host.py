"""Hosts of models: what a model promises, and the thread that loads it and gives callers turns on it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar

from tolmach.pipelines.errors import ModelError
from tolmach.processors.hosting.device import explain_out_of_memory, give_back, is_out_of_memory

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Args = ParamSpec("Args")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

Outcome: TypeAlias = Result | Exception
"""What became of one item: its result, or why it has none."""


class HostKey(NamedTuple):
    """Which model a host holds; graphs that ask for an equal key share it.

    Attributes:
        engine: Implementation ("canary", "whisper").
        model: What was loaded: an absolute path with what else identifies it, or a hub name.
        device: Where it runs, resolved ("cpu", "cuda:0").
        variant: What else makes it another model in memory ("int8", "2 threads").
    """

    engine: str
    model: str
    device: str
    variant: str = ""

    def __str__(self) -> str:
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.engine} {self.model} on {self.device}{variant}"


class Model(Protocol[ItemIn, ResultOut]):
    """A loaded model. All its methods are called from one thread, the host's."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What callers may want to know of it (languages, rate, …), plain values only."""

    def warm(self, items: Sequence[ItemIn] = ()) -> None:
        """Run once, so that the first real request is not the slow one.

        Args:
            items: Requests like those to come; empty for nothing in particular. A model that may answer them with
                nothing at all does a handful of steps nevertheless.
        """

    def run(self, items: Sequence[ItemIn]) -> Sequence[ResultOut] | Generator[None, None, Sequence[ResultOut]]:
        """One result an item, in order. An exception fails the whole batch; the host then tries the items singly.

        A model whose requests take long is a generator: each ``yield`` ends a step, after which another caller's
        request may have its own, and the results are returned. No step may depend on what happens between steps.
        """


_LOADING = threading.local()


def report(text: str) -> None:
    """Tell all who wait for the model how far it is ("unpacking, 40 %"); for loaders, on the host's thread.

    Anywhere else, and while nobody waits, it does nothing.
    """
    host: ThreadHost[Any, Any] | None = getattr(_LOADING, "host", None)
    if host is not None:
        host.tell(text)


class _HostRequest(Generic[Item, Result]):
    __slots__ = ("abandoned", "future", "items", "merge", "owner", "spent", "spent_s")

    def __init__(
        self, items: Sequence[Item], merge: bool, owner: Hashable, spent: Callable[[float], None] | None
    ) -> None:
        self.items = tuple(items)
        self.merge = merge
        self.owner = owner
        self.spent = spent
        self.spent_s = 0.0
        self.abandoned = False
        self.future: Future[list[Outcome[Result]]] = Future()

    def leave(self) -> None:
        """The host is done with it, one way or the other."""
        if self.spent is not None:
            self.spent(self.spent_s)


class _BegunBatch(Generic[Item, Result]):
    """Requests that are one batch and have begun."""

    __slots__ = ("requests", "steps")

    def __init__(
        self, requests: list[_HostRequest[Item, Result]], steps: Generator[None, None, list[Outcome[Result]]]
    ) -> None:
        self.requests = requests
        self.steps = steps

    @property
    def abandoned(self) -> bool:
        return all(request.abandoned for request in self.requests)

    def add(self, seconds: float) -> None:
        """A step has taken so long; who shares a batch shares its time."""
        items = sum(len(request.items) for request in self.requests)
        for request in self.requests:
            request.spent_s += seconds * len(request.items) / items


class ThreadHost(Generic[Item, Result]):
    """Loads a model in a thread of its own and runs it there; safe to use from several event loops and threads.

    One thread, because the models are not thread-safe (two concurrent NeMo ``transcribe()`` give wrong texts) and
    because their libraries already spread a batch over the cores. It is a daemon: a load or an inference that nobody
    waits for any more must not hold up the end of the process (20 s and more on a CPU).
    :func:`tolmach.pipelines.cli.main.end_process` ends a process with such a thread without tearing PyTorch down under
    it.

    Callers take turns: each has at most one request begun, and after every step of it (:meth:`Model.run`) the next
    caller's goes on. A caller therefore waits for its first step no longer than one step of every other caller takes,
    however long their utterances are. What is computed does not depend on the turns.

    Args:
        key: What is loaded.
        load: Loads the model; called once, in the host's thread.
        max_batch: Most items given to the model at once.
    """

    def __init__(self, key: HostKey, load: Callable[[], Model[Item, Result]], *, max_batch: int = 32) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch must be at least 1, got {max_batch}")
        self.key = key
        self._load = load
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._tasks: deque[tuple[Callable[[], None], Future[None]]] = deque()  # load, warm: before any request
        self._waiting: deque[_HostRequest[Item, Result]] = deque()
        self._begun: dict[Hashable, _BegunBatch[Item, Result]] = {}  # by owner
        self._turns: deque[Hashable] = deque()
        self._loading: Future[None] | None = None
        self._warming: dict[Hashable, Future[None]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._model: Model[Item, Result] | None = None
        self._closed = False

    @property
    def failed(self) -> bool:
        """Whether the model could not be loaded; such a host is of no use."""
        with self._lock:
            loading = self._loading
        return loading is not None and loading.done() and (loading.cancelled() or loading.exception() is not None)

    @property
    def info(self) -> Mapping[str, Any]:
        """What the model says of itself; empty until it is loaded."""
        return self._model.info if self._model is not None else {}

    async def loaded(self, on_progress: Callable[[str], None] | None = None) -> None:
        """Wait until the model is loaded, starting to load it if nobody did.

        Args:
            on_progress: Takes lines of progress, for people, on the host's thread.

        Cancelled by: the caller; loading goes on for those who also wait. Raises what loading raised.
        """
        with self._lock:
            self._refuse_if_closed()
            if self._model is not None:
                return
            if self._loading is None:
                self._loading = self._enqueue(self._load_model)
            loading = self._loading
            if on_progress is not None:
                self._listeners.append(on_progress)
        waiting = asyncio.wrap_future(loading)
        waiting.add_done_callback(_retrieve)
        try:
            # Shielded: one caller's cancel must not cancel the load for the others.
            await asyncio.shield(waiting)
        finally:
            if on_progress is not None:
                with self._lock:
                    self._listeners.remove(on_progress)

    async def warm(self, items: Sequence[Item] = (), *, once: Hashable = None) -> None:
        """Run the model, so that the first real request is not the slow one.

        Args:
            items: Requests like those to come (:meth:`Model.warm`).
            once: What is warmed by it ("en to ru"): done once for each, whoever asks; all who ask wait for it.

        Cancelled by: the caller; it goes on. Raises what the model raised.
        """
        await self.loaded()
        with self._lock:
            self._refuse_if_closed()
            warming = self._warming.get(once)
            if warming is None:
                warming = self._warming[once] = self._enqueue(lambda: self._the_model().warm(items))
        waiting = asyncio.wrap_future(warming)
        waiting.add_done_callback(_retrieve)
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            raise
        except Exception:
            with self._lock:
                if self._warming.get(once) is warming:
                    del self._warming[once]
            raise

    async def submit(
        self,
        items: Sequence[Item],
        *,
        merge: bool = False,
        owner: Hashable = None,
        spent: Callable[[float], None] | None = None,
    ) -> list[Outcome[Result]]:
        """Run items as one batch (in pieces of the host's largest batch, always cut at the same places).

        An owner's requests are served first come, first served, one at a time; owners take turns, a step each
        (:meth:`Model.run`). Before its own first step an owner waits for one step of every other owner at most.

        Args:
            items: What to run. Must not change until this returns.
            owner: Who asks.
            merge: Allow requests that wait at the same time to share a batch. Faster on a GPU, but the last digits of
                the results then depend on timing.
            spent: Called once, on any thread, when the host is done with the request: with the seconds that its steps
                have taken of the model's time. A request that was cancelled while it ran is done when its step is.

        Returns:
            One outcome an item, in order: a request never fails because of another one, nor an item because of its
            neighbours.

        Cancelled by: the caller. A request that still waits is taken out; one that runs ends with its step.

        Raises:
            ModelError: If the host is closed, before or while the request waits.
        """
        await self.loaded()
        if not items:
            return []
        request: _HostRequest[Item, Result] = _HostRequest(items, merge, owner, spent)
        with self._lock:
            self._refuse_if_closed()
            self._waiting.append(request)
            self._wake.notify()
        try:
            return await asyncio.wrap_future(request.future)
        except asyncio.CancelledError:
            self._abandon(request)
            raise

    def close(self) -> None:
        """Refuse new requests, cancel those that wait, and free the model after the one that runs. Does not block."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._wake.notify()
        for request in waiting:
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(ModelError(f"the model host of {self.key} was closed"))
            request.leave()

    def tell(self, text: str) -> None:
        """Pass a line of progress on to all who wait for the load."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(text)

    # In the callers' threads --------------------------------------------------------------------------------------

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ModelError(f"the model host of {self.key} is closed")

    def _enqueue(self, task: Callable[[], None]) -> Future[None]:
        """Have the worker do something before its next step; starts the worker. The lock is held."""
        future: Future[None] = Future()
        self._tasks.append((task, future))
        self._wake.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"model-{self.key.engine}", daemon=True)
            self._thread.start()
        return future

    def _abandon(self, request: _HostRequest[Item, Result]) -> None:
        with self._lock:
            request.abandoned = True
            waits = request in self._waiting
            if waits:
                self._waiting.remove(request)
        if waits:
            request.leave()

    # In the worker thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._tasks or self._begun or self._waiting or self._closed):
                    self._wake.wait()
                task = self._tasks.popleft() if self._tasks else None
                if task is None and not (self._begun or self._waiting):
                    break  # closed, and nothing is under way
            if task is not None:
                settle(task[1], task[0])
            else:
                self._take_turn()
        self._model = None

    def _load_model(self) -> None:
        log.info("loading %s", self.key)
        started_s = time.monotonic()
        _LOADING.host = self
        try:
            self._model = self._load()
        finally:
            _LOADING.host = None
        give_back()
        log.info("loaded %s in %.1f s", self.key, time.monotonic() - started_s)

    def _the_model(self) -> Model[Item, Result]:
        if self._model is None:
            raise ModelError(f"the model host of {self.key} is closed")
        return self._model

    def _take_turn(self) -> None:
        """One step for the owner whose turn it is."""
        with self._lock:
            self._line_up()
            owner = self._turns.popleft()
            run = self._begun.get(owner) or self._begin(owner)
        if run is None:  # its requests were cancelled, or went along with somebody else's
            return
        if run.abandoned:
            run.steps.close()
        else:
            started_s = time.monotonic()
            try:
                next(run.steps)
            except StopIteration as end:
                run.add(time.monotonic() - started_s)
                _answer(run.requests, end.value)
            else:
                run.add(time.monotonic() - started_s)
                with self._lock:
                    self._begun[owner] = run
                    self._line_up()  # who came during the step goes before who had it
                    self._turns.append(owner)
                return
        with self._lock:
            self._begun.pop(owner, None)
            self._line_up()
        for request in run.requests:
            request.leave()

    def _line_up(self) -> None:
        """Give every owner of a waiting request a turn. The lock is held."""
        for request in self._waiting:
            if request.owner not in self._turns and request.owner not in self._begun:
                self._turns.append(request.owner)

    def _begin(self, owner: Hashable) -> _BegunBatch[Item, Result] | None:
        """Begin an owner's oldest request, with those that may join it. The lock is held."""
        first = next((request for request in self._waiting if request.owner == owner), None)
        if first is None:
            return None
        batch: list[_HostRequest[Item, Result]] = [first]
        if first.merge:
            size = len(first.items)
            for other in self._waiting:
                if other is first:
                    continue
                if not other.merge or size + len(other.items) > self._max_batch:
                    break
                batch.append(other)
                size += len(other.items)
        for request in batch:
            self._waiting.remove(request)
        wanted = [request for request in batch if request.future.set_running_or_notify_cancel()]
        for request in batch:
            if request not in wanted:
                request.leave()
        if not wanted:
            return None
        return _BegunBatch(wanted, self._steps([item for request in wanted for item in request.items]))

    def _steps(self, items: list[Item]) -> Generator[None, None, list[Outcome[Result]]]:
        outcomes: list[Outcome[Result]] = []
        for at in range(0, len(items), self._max_batch):
            if at:
                yield
            outcomes += yield from self._batch(items[at : at + self._max_batch])
        return outcomes

    def _batch(self, items: list[Item]) -> Generator[None, None, list[Outcome[Result]]]:
        try:
            found = self._the_model().run(items)
            results = (yield from found) if isinstance(found, Generator) else found
            if len(results) != len(items):
                raise ModelError(f"{self.key} gave {len(results)} results for {len(items)} items")
        except Exception as error:
            if len(items) == 1:
                return [explain_out_of_memory(error, str(self.key)) if is_out_of_memory(error) else error]
            log.warning("a batch of %d failed on %s (%s); trying its items singly", len(items), self.key, error)
        else:
            return list(results)
        # Outside the handler: an error keeps what was on the card when it was raised.
        singly: list[Outcome[Result]] = []
        for item in items:
            yield
            singly += yield from self._batch([item])
        return singly


def _retrieve(future: asyncio.Future[None]) -> None:
    """Take note of an error, which asyncio reports as never retrieved when the caller was cancelled meanwhile."""
    if not future.cancelled():
        future.exception()


def _answer(requests: Sequence[_HostRequest[Item, Result]], outcomes: Sequence[Outcome[Result]]) -> None:
    at = 0
    for request in requests:
        request.future.set_result(list(outcomes[at : at + len(request.items)]))
        at += len(request.items)


async def off_loop(function: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Result:
    """What ``function`` returns, called in a daemon thread of its own with this task's context variables.

    ``asyncio.to_thread`` uses an executor that ``asyncio.run`` joins, for minutes if need be: Ctrl-C during a download,
    or while PyTorch is imported, would be answered when that is over.

    Cancelled by: the caller; the function goes on, its result is thrown away. Raises what it raises.
    """
    future: Future[Result] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        settle(future, lambda: context.run(function, *args, **kwargs))

    threading.Thread(target=work, name=f"off-loop-{getattr(function, '__name__', 'work')}", daemon=True).start()
    return await asyncio.wrap_future(future)


def settle(future: Future[Result], function: Callable[[], Result]) -> None:
    """Call ``function`` unless the future was cancelled, and give the future what it returns or raises."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
