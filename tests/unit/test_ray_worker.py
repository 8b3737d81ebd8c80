"""What is inside an actor that hosts a model, without Ray: whose requests it keeps, and how errors travel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.ray_models import Ask, load
from tests.until import until
from tolmach.pipelines.errors import GraphError, MediaError, ModelError, ModelMissingError
from tolmach.processors.hosting import HostKey, ray_worker
from tolmach.processors.hosting.ray_worker import INTERFACE, ModelWorker, portable


@pytest.fixture
async def worker() -> AsyncIterator[ModelWorker]:
    found = ModelWorker(HostKey("doubler", "m", "cpu"), 32, idle_s=3600, threads={})
    await found.greet("a")
    assert (await found.load("a", partial(load, "m"), [], "")).error is None
    yield found
    found._loaded().close()


async def test_it_says_who_it_is(worker: ModelWorker):
    greeting = await worker.greet("b")
    assert (greeting.interface, greeting.pid) == (INTERFACE, os.getpid())


async def test_it_tells_how_long_a_request_waited_and_what_it_cost(worker: ModelWorker):
    first = asyncio.create_task(worker.submit("a", 1, [Ask(1, step_s=0.2)], False, 0, 1.0))
    await until(lambda: worker._loaded().figures().under_way == 1)
    second = await worker.submit("b", 1, [Ask(2)], False, 0, 1.0)
    assert second.waited_s is not None
    assert second.waited_s > 0.1
    assert second.spent_s < 0.1
    assert 0.2 <= (await first).spent_s < 1


async def test_a_request_that_is_taken_back_before_it_came_is_not_begun(worker: ModelWorker):
    await worker.take_back("a", 7)
    assert (await worker.submit("a", 7, [Ask(1)], False, 0, 1.0)).outcomes is None
    told = (await worker.submit("a", 8, [Ask(1)], False, 0, 1.0)).outcomes
    assert told is not None
    assert told[0].begun == 0


async def test_the_requests_of_a_user_that_is_gone_are_taken_out(worker: ModelWorker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray_worker, "GONE_S", 0.3)
    dead = asyncio.create_task(worker.submit("dead", 1, [Ask(1, step_s=0.1, steps=1000)], False, 0, 1.0))
    waiting = asyncio.create_task(worker.submit("dead", 2, [Ask(2)], False, 0, 1.0))
    while not dead.done():
        await worker.beat("a")
        await asyncio.sleep(0.05)
    assert (await dead).outcomes is None
    assert (await waiting).outcomes is None
    told = (await worker.submit("a", 1, [Ask(3)], False, 0, 1.0)).outcomes
    assert told is not None
    assert (told[0].value, told[0].begun) == (6, 1)


def test_errors_travel_as_what_they_are_or_as_words():
    class OddError(ModelError):
        def __init__(self) -> None:
            super().__init__("odd")

    missing = ModelMissingError("no model /m.nemo; fetch it")
    assert portable(missing, "m") is missing
    for error, said in (
        (OddError(), "odd"),
        (MediaError("cut short"), "cut short"),
        (GraphError("no speaker"), "no speaker"),
        (ValueError("no"), "m: ValueError: no"),
    ):
        sent = portable(error, "m")
        assert str(sent) == said
        assert isinstance(sent, ModelError | MediaError | GraphError)
