"""The thread host: one worker thread a model.

One thread, because the models are not thread-safe (two concurrent NeMo ``transcribe()`` give wrong texts) and because
their libraries already spread a batch over the cores.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic

from pipelines.errors import ModelError
from processors.hosting.host import HostKey, Item, Model, ModelHost, Outcome, Result

log = logging.getLogger(__name__)


class _Request(Generic[Item, Result]):
    __slots__ = ("future", "items", "merge")

    def __init__(self, items: Sequence[Item], merge: bool) -> None:
        self.items = tuple(items)
        self.merge = merge
        self.future: Future[list[Outcome[Result]]] = Future()


class ThreadHost(ModelHost[Item, Result]):
    """Loads a model in a thread of its own and runs it there.

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
        # The executor's threads are joined at interpreter exit, so no inference is torn down half-way.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"model-{key.engine}")
        self._lock = threading.Lock()
        self._waiting: deque[_Request[Item, Result]] = deque()
        self._loading: Future[None] | None = None
        self._model: Model[Item, Result] | None = None
        self._closed = False

    @property
    def info(self) -> Mapping[str, Any]:
        """What the model says of itself; empty until it is loaded."""
        return self._model.info if self._model is not None else {}

    @property
    def failed(self) -> bool:
        """Whether loading has failed."""
        with self._lock:
            loading = self._loading
        return loading is not None and loading.done() and (loading.cancelled() or loading.exception() is not None)

    async def loaded(self) -> None:
        """Wait until the model is loaded. See :meth:`ModelHost.loaded`."""
        with self._lock:
            self._refuse_if_closed()
            if self._model is not None:
                return
            if self._loading is None:
                self._loading = self._executor.submit(self._load_model)
            loading = self._loading
        waiting = asyncio.wrap_future(loading)
        waiting.add_done_callback(_retrieve)
        # Shielded: one caller's cancel must not cancel the load for the others.
        await asyncio.shield(waiting)

    async def warm(self) -> None:
        """Run the model once. See :meth:`ModelHost.warm`."""
        await self.loaded()
        with self._lock:
            self._refuse_if_closed()
            warming = self._executor.submit(self._the_model().warm)
        await asyncio.wrap_future(warming)

    async def submit(self, items: Sequence[Item], *, merge: bool = False) -> list[Outcome[Result]]:
        """Run items as one batch. See :meth:`ModelHost.submit`.

        Raises:
            ModelError: If the host is closed, before or while the request waits.
        """
        await self.loaded()
        if not items:
            return []
        request: _Request[Item, Result] = _Request(items, merge)
        with self._lock:
            self._refuse_if_closed()
            self._waiting.append(request)
            # One visit of the worker a request; a visit that merged others leaves theirs with nothing to do.
            self._executor.submit(self._serve)
        request.future.add_done_callback(lambda future: self._forget(request) if future.cancelled() else None)
        return await asyncio.wrap_future(request.future)

    def close(self) -> None:
        """Refuse, cancel, free. See :meth:`ModelHost.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._executor.submit(self._unload)
            self._executor.shutdown(wait=False)
        for request in waiting:
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(ModelError(f"the model host of {self.key} was closed"))

    # In the callers' threads --------------------------------------------------------------------------------------

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ModelError(f"the model host of {self.key} is closed")

    def _forget(self, request: _Request[Item, Result]) -> None:
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)

    # In the worker thread -----------------------------------------------------------------------------------------

    def _load_model(self) -> None:
        log.info("loading %s", self.key)
        started_s = time.monotonic()
        self._model = self._load()
        log.info("loaded %s in %.1f s", self.key, time.monotonic() - started_s)

    def _unload(self) -> None:
        self._model = None

    def _the_model(self) -> Model[Item, Result]:
        if self._model is None:
            raise ModelError(f"the model host of {self.key} is closed")
        return self._model

    def _serve(self) -> None:
        batch = self._next_batch()
        if not batch:
            return
        outcomes = self._run([item for request in batch for item in request.items])
        at = 0
        for request in batch:
            request.future.set_result(outcomes[at : at + len(request.items)])
            at += len(request.items)

    def _next_batch(self) -> list[_Request[Item, Result]]:
        batch: list[_Request[Item, Result]] = []
        size = 0
        with self._lock:
            while self._waiting:
                request = self._waiting[0]
                if batch and not (batch[0].merge and request.merge and size + len(request.items) <= self._max_batch):
                    break
                self._waiting.popleft()
                if request.future.set_running_or_notify_cancel():
                    batch.append(request)
                    size += len(request.items)
        return batch

    def _run(self, items: list[Item]) -> list[Outcome[Result]]:
        outcomes: list[Outcome[Result]] = []
        for at in range(0, len(items), self._max_batch):
            outcomes += self._run_batch(items[at : at + self._max_batch])
        return outcomes

    def _run_batch(self, items: list[Item]) -> list[Outcome[Result]]:
        try:
            results = self._the_model().run(items)
            if len(results) != len(items):
                raise ModelError(f"{self.key} gave {len(results)} results for {len(items)} items")
        except Exception as error:
            if len(items) == 1:
                return [error]
            log.warning("a batch of %d failed on %s (%s); trying its items singly", len(items), self.key, error)
            return [outcome for item in items for outcome in self._run_batch([item])]
        return list(results)


def _retrieve(future: asyncio.Future[None]) -> None:
    """Take note of an error, which asyncio reports as never retrieved when the caller was cancelled meanwhile."""
    if not future.cancelled():
        future.exception()
