"""OrderedJobs alone: order, room, failures, jobs cancelled by others, and a life after ``close``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from tolmach.pipelines.builtin.pass_through import IDENTITY
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.ordered import OrderedJobs
from tolmach.pipelines.testing import Harness


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Answers:
    """Jobs that end when told to, and what came out."""

    def __init__(self, harness: Harness, limit: int = 8) -> None:
        self.out: list[int] = []
        self.gates: dict[int, asyncio.Future[int]] = {}
        self.jobs = OrderedJobs(harness.context, limit, self._emit)

    async def _emit(self, result: int) -> None:
        self.out.append(result)

    def job(self, number: int) -> Coroutine[object, object, int]:
        self.gates[number] = asyncio.get_running_loop().create_future()

        async def wait() -> int:
            return await self.gates[number]

        return wait()

    def answer(self, *numbers: int) -> None:
        for number in numbers:
            self.gates[number].set_result(number)


async def test_results_come_in_the_order_of_submission() -> None:
    async with Harness(IDENTITY) as h:
        a = Answers(h)
        for number in range(3):
            await a.jobs.submit(a.job(number))
        a.answer(2, 1)
        await turns()
        assert a.out == []
        a.answer(0)
        await a.jobs.drain()
        assert a.out == [0, 1, 2]


async def test_submit_waits_for_room() -> None:
    async with Harness(IDENTITY) as h:
        a = Answers(h, limit=2)
        await a.jobs.submit(a.job(0))
        await a.jobs.submit(a.job(1))
        third = asyncio.create_task(a.jobs.submit(a.job(2)))
        await turns()
        assert not third.done()
        a.answer(0)
        await third
        a.answer(1, 2)
        await a.jobs.drain()
        assert a.out == [0, 1, 2]


async def test_a_failed_job_is_reported_and_the_ones_behind_it_come_out() -> None:
    async with Harness(IDENTITY) as h:
        a = Answers(h)
        for number in range(3):
            await a.jobs.submit(a.job(number))
        a.gates[0].set_exception(ValueError("boom"))
        a.answer(1, 2)
        await a.jobs.drain()
        await turns()
        assert a.out == [1, 2]
        assert [str(f) for f in h.failures] == ["boom"]


async def test_a_job_that_somebody_else_cancels_is_a_failure_and_not_silence() -> None:
    async with Harness(IDENTITY) as h:
        a = Answers(h)
        await a.jobs.submit(a.job(0))
        await a.jobs.submit(a.job(1))
        await turns()
        a.gates[0].cancel()
        a.answer(1)
        await a.jobs.drain()
        await turns()
        assert a.out == [1]
        assert [type(f) for f in h.failures] == [ElementError]


async def test_close_throws_away_the_job_in_hand_too() -> None:
    async with Harness(IDENTITY) as h:
        a = Answers(h)
        await a.jobs.submit(a.job(0))
        await a.jobs.submit(a.job(1))
        await turns()
        await a.jobs.close()
        await a.jobs.close()
        assert all(gate.cancelled() for gate in a.gates.values() if gate.done())
        assert a.gates[0].cancelled()
        await asyncio.wait_for(a.jobs.drain(), 30)
        assert a.out == []
        assert h.failures == []


async def test_jobs_run_again_after_close_even_if_delivery_never_began() -> None:
    # As an engine that restarts the element: its tasks are cancelled before their first step, then stop, then start.
    spawned: list[asyncio.Task[None]] = []
    async with Harness(IDENTITY) as h:
        object.__setattr__(h.context, "spawn", lambda c, name: spawned.append(asyncio.create_task(c, name=name)))
        a = Answers(h, limit=2)
        await a.jobs.submit(a.job(0))
        spawned[0].cancel()
        await asyncio.gather(*spawned, return_exceptions=True)
        await a.jobs.close()
        for number in (1, 2):
            await a.jobs.submit(a.job(number))
        a.answer(1, 2)
        await asyncio.wait_for(a.jobs.drain(), 30)
        assert a.out == [1, 2]


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_one_is_refused(limit: int) -> None:
    async with Harness(IDENTITY) as h:
        with pytest.raises(ValueError, match="limit"):
            Answers(h, limit=limit)
