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
from pathlib import PurePath
from typing import Any, Generic, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from tolmach.pipelines.errors import ModelError
from tolmach.processors.hosting.batches import BegunBatch, HostRequest, Outcome, joinable
from tolmach.processors.hosting.device import explain_out_of_memory, give_back, is_out_of_memory
from tolmach.processors.hosting.figures import HostCounts, HostFigures

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Args = ParamSpec("Args")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


class HostKey(NamedTuple):
    """Which model a host holds; graphs that ask for an equal key share it.

    Attributes:
        engine: Implementation ("canary", "whisper").
        model: What was loaded: an absolute path with what else identifies it, or a hub name.
        device: Where it runs, resolved ("cpu", "cuda:0").
        variant: What else makes it another model in memory ("int8", "2 threads").
        place: Where it is hosted, if not in this process; a pool fills it in.
    """

    engine: str
    model: str
    device: str
    variant: str = ""
    place: str = ""

    def __str__(self) -> str:
        return self._with_model(self.model)

    @property
    def label(self) -> str:
        """The same for figures, which may be read by those whom paths are no business of."""
        place = " by Ray" if self.place else ""
        return self._with_model(PurePath(self.model).name) + place

    def _with_model(self, model: str) -> str:
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.engine} {model} on {self.device}{variant}"


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

    def run(
        self, items: Sequence[ItemIn]
    ) -> Sequence[ResultOut] | Generator[Mapping[int, ResultOut] | None, None, Sequence[ResultOut]]:
        """One result an item, in order. An exception fails the whole batch; the host then tries the items singly.

        A model whose requests take long is a generator: each ``yield`` ends a step, after which another caller's
        request may have its own, and the results are returned. No step may depend on what happens between steps.
        It may yield results that are final, by the index of their item: who asked for them is answered at once and
        does not wait for a longer utterance of the same batch. They are returned at the end with the others.
        """


_LOADING = threading.local()


def report(text: str) -> None:
    """Tell all who wait for the model how far it is ("unpacking, 40 %"); for loaders, on the host's thread.

    Anywhere else, and while nobody waits, it does nothing.
    """
    host: ThreadHost[Any, Any] | None = getattr(_LOADING, "host", None)
    if host is not None:
        host.tell(text)


_Turn: TypeAlias = "Hashable | BegunBatch[Item, Result]"


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

    Requests that may be merged keep that bound. A batch holds one request of a caller, and only requests of about the
    same size (:data:`tolmach.processors.hosting.batches.MAX_PADDING`), so its step is at most that factor longer than
    theirs would have been one after the other. Each is answered when its own results are there.

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
        self._waiting: deque[HostRequest[Item, Result]] = deque()
        self._begun: list[BegunBatch[Item, Result]] = []
        self._turns: deque[_Turn[Item, Result]] = deque()
        self._counts = HostCounts()
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

    def figures(self) -> HostFigures:
        """What waits now and what has been counted so far; safe in any thread."""
        with self._lock:
            under_way = sum(len(batch.pending) for batch in self._begun)
            return self._counts.figures(self.key.label, len(self._waiting), under_way)

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
        size: float = 1.0,
        spent: Callable[[float], None] | None = None,
    ) -> list[Outcome[Result]]:
        """Run items as one batch (in pieces of the host's largest batch, always cut at the same places).

        An owner's requests are served first come, first served, one at a time; owners take turns, a step each
        (:meth:`Model.run`). Before its own first step an owner waits for one step of every other owner at most.

        Args:
            items: What to run. Must not change until this returns.
            owner: Who asks.
            merge: Allow requests of several owners that wait at the same time to share a batch. Faster on a GPU, but
                the last digits of the results then depend on timing.
            size: How long the longest item is, in whatever unit; requests are merged with those of about their size.
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
        return await self.ask(HostRequest(items, merge, owner, size, spent))

    async def ask(self, request: HostRequest[Item, Result]) -> list[Outcome[Result]]:
        """Answer a request; see :meth:`submit`. For those who want to know what else becomes of it."""
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

    def _abandon(self, request: HostRequest[Item, Result]) -> None:
        with self._lock:
            request.abandoned = True
            self._counts.dropped += 1
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
        """One step of a batch, or the first one for the owner whose turn it is."""
        with self._lock:
            self._line_up()
            turn = self._turns.popleft()
            batch = turn if isinstance(turn, BegunBatch) else self._begin(turn)
        if batch is None:  # its requests were cancelled, or went along with somebody else's
            return
        began_s = time.monotonic()
        if batch.wanted:
            batch.step()
        now_s = time.monotonic()
        with self._lock:
            answers = batch.take_whole()
            left = list(answers)
            self._counts.busy_s += now_s - began_s
            for request in answers:
                if not request.abandoned:
                    self._counts.answers = self._counts.answers.with_time(now_s - request.came_s)
            self._line_up()  # who came during the step goes before who had it
            if batch.wanted:
                self._turns.append(batch)
            else:
                self._begun.remove(batch)
                left += batch.pending
        for request, outcomes in answers.items():
            request.future.set_result(outcomes)
        if not batch.wanted:
            batch.close()
        for request in left:
            request.leave()

    def _line_up(self) -> None:
        """Give every owner of a waiting request a turn. The lock is held."""
        served = self._served()
        for request in self._waiting:
            if request.owner not in served and request.owner not in self._turns:
                self._turns.append(request.owner)

    def _served(self) -> set[Hashable]:
        """Owners who have a request begun that they still want. The lock is held."""
        return {request.owner for batch in self._begun for request in batch.pending if not request.abandoned}

    def _begin(self, owner: Hashable) -> BegunBatch[Item, Result] | None:
        """Begin an owner's oldest request, with those that may join it. The lock is held."""
        served = self._served()
        oldest: dict[Hashable, HostRequest[Item, Result]] = {}
        for request in self._waiting:
            if request.owner not in served:
                oldest.setdefault(request.owner, request)
        first = oldest.pop(owner, None)
        if first is None:
            return None
        requests = joinable(first, oldest.values(), self._max_batch)
        for request in requests:
            self._waiting.remove(request)
        wanted = [request for request in requests if request.future.set_running_or_notify_cancel()]
        for request in requests:
            if request not in wanted:
                request.leave()
        if not wanted:
            return None
        for request in wanted:
            request.began_s = time.monotonic()
            self._counts.waits = self._counts.waits.with_time(request.began_s - request.came_s)
        batch = BegunBatch(wanted, self._steps([item for request in wanted for item in request.items]))
        self._begun.append(batch)
        return batch

    def _steps(self, items: list[Item]) -> Generator[Mapping[int, Outcome[Result]], None, None]:
        """Compute a batch; each step gives what is final by then, by the index of the item."""
        for at in range(0, len(items), self._max_batch):
            yield from self._batch(dict(enumerate(items[at : at + self._max_batch], at)))

    def _batch(self, items: Mapping[int, Item]) -> Generator[Mapping[int, Outcome[Result]], None, None]:
        left = dict(items)
        outcomes: dict[int, Outcome[Result]] = {}
        try:
            for found in self._results(items):
                for number in found:
                    left.pop(number, None)
                yield found
            return
        except Exception as error:
            if len(left) == 1:
                outcome = explain_out_of_memory(error, str(self.key)) if is_out_of_memory(error) else error
                outcomes = dict.fromkeys(left, outcome)
            else:
                log.warning("a batch of %d failed on %s (%s); trying its items singly", len(items), self.key, error)
        # Outside the handler: an error keeps what was on the card when it was raised.
        if outcomes:
            yield outcomes
            return
        for number, item in left.items():
            yield {}
            yield from self._batch({number: item})

    def _results(self, items: Mapping[int, Item]) -> Generator[Mapping[int, Result], None, None]:
        """What the model finds, by number of the item, as it becomes final; raises what the model does."""
        numbers = list(items)
        found = self._the_model().run(list(items.values()))
        if isinstance(found, Generator):
            results = yield from _numbered(found, numbers)
        else:
            results = found
        if len(results) != len(items):
            raise ModelError(f"{self.key} gave {len(results)} results for {len(items)} items")
        yield dict(zip(numbers, results, strict=True))


def _numbered(
    run: Generator[Mapping[int, Result] | None, None, Sequence[Result]], numbers: Sequence[int]
) -> Generator[Mapping[int, Result], None, Sequence[Result]]:
    """A model's steps, with the numbers that its items have in the batch."""
    try:
        while True:
            try:
                early = next(run)
            except StopIteration as end:
                return cast("Sequence[Result]", end.value)
            yield {numbers[n]: result for n, result in (early or {}).items()}
    finally:
        run.close()


def _retrieve(future: asyncio.Future[None]) -> None:
    """Take note of an error, which asyncio reports as never retrieved when the caller was cancelled meanwhile."""
    if not future.cancelled():
        future.exception()


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
