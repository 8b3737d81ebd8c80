"""The model host: load once, answer in order, keep requests apart, never block the loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Generator, Sequence
from typing import Any

import pytest

from tests.until import until
from tolmach.pipelines.errors import ModelError
from tolmach.processors.hosting import HostKey, HostPool, ThreadHost, off_loop, report
from tolmach.processors.hosting.device import OutOfMemoryError, is_out_of_memory
from tolmach.processors.hosting.figures import BOUNDS_S, Times

KEY = HostKey("doubler", "test", "cpu")


class Doubler:
    """Doubles numbers; refuses negative ones; waits at the gate when there is one."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.warmed: list[list[int]] = []
        self.entered = threading.Event()
        self._gate = gate

    @property
    def info(self) -> dict[str, Any]:
        return {"factor": 2}

    def warm(self, items: Sequence[int] = ()) -> None:
        self.warmed.append(list(items))

    def run(self, items: Sequence[int]) -> list[int]:
        self.threads.add(threading.get_ident())
        self.batches.append(list(items))
        self.entered.set()
        if self._gate is not None:
            assert self._gate.wait(30)
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [2 * item for item in items]


def host_of(model: Doubler, **options: int) -> ThreadHost[int, int]:
    return ThreadHost(KEY, lambda: model, **options)


async def queued(host: Any, requests: int) -> None:
    """Until so many requests wait in the host; what submits them runs on this loop."""
    for _ in range(1000):
        if len(host._waiting) == requests:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{len(host._waiting)} requests wait, not {requests}")


async def entered(model: Doubler) -> None:
    assert await asyncio.to_thread(model.entered.wait, 30)


async def test_a_request_is_one_batch_in_the_hosts_thread():
    model = Doubler()
    host = host_of(model)
    assert await host.submit([1, 2, 3]) == [2, 4, 6]
    assert await host.submit([4]) == [8]
    assert await host.submit([]) == []
    assert model.batches == [[1, 2, 3], [4]]
    assert len(model.threads) == 1
    assert threading.get_ident() not in model.threads
    host.close()


async def test_a_large_request_is_cut_at_the_same_places():
    model = Doubler()
    host = host_of(model, max_batch=2)
    assert await host.submit([1, 2, 3, 4, 5]) == [2, 4, 6, 8, 10]
    assert model.batches == [[1, 2], [3, 4], [5]]
    host.close()


@pytest.mark.parametrize(("merge", "batches"), [(False, [[0], [1, 2], [3], [4]]), (True, [[0], [1, 2, 3], [4]])])
async def test_requests_share_a_batch_only_when_asked(merge: bool, batches: list[list[int]]):
    gate = threading.Event()
    model = Doubler(gate)
    host = host_of(model, max_batch=3)
    first = asyncio.create_task(host.submit([0]))
    await entered(model)
    waiting = [
        asyncio.create_task(host.submit(items, merge=merge, owner=owner))
        for owner, items in (("a", [1, 2]), ("b", [3]), ("c", [4]))
    ]
    await queued(host, 3)
    gate.set()
    assert await asyncio.gather(first, *waiting) == [[0], [2, 4], [6], [8]]
    assert model.batches == batches
    host.close()


async def test_a_shared_batch_holds_one_request_of_each_caller_and_only_those_of_about_its_size():
    gate = threading.Event()
    model = Doubler(gate)
    host = host_of(model)
    first = asyncio.create_task(host.submit([0]))
    await entered(model)
    asked = (("a", 1, 1.0), ("a", 2, 1.0), ("a", 3, 1.0), ("b", 4, 2.0), ("c", 5, 4.1), ("d", 6, 0.9), ("e", 7, 8.0))
    waiting = [
        asyncio.create_task(host.submit([item], merge=True, owner=owner, size=size)) for owner, item, size in asked
    ]
    await queued(host, len(asked))
    gate.set()
    await asyncio.gather(first, *waiting)
    # 6 fits 1 but not 4; 5 and 7 fit each other. When it is a's turn again, 2 and then 3 are alone.
    assert model.batches == [[0], [1, 4], [5, 7], [6, 2], [3]]
    host.close()


async def test_the_loop_runs_while_the_model_does():
    gate = threading.Event()
    model = Doubler(gate)
    host = host_of(model)
    request = asyncio.create_task(host.submit([1]))
    await entered(model)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not request.done()
    gate.set()
    assert await request == [2]
    host.close()


async def test_a_bad_item_fails_alone():
    model = Doubler()
    host = host_of(model)
    good, bad, other = await host.submit([1, -1, 3])
    assert (good, other) == (2, 6)
    assert isinstance(bad, ValueError)
    assert await host.submit([5]) == [10]
    host.close()


async def test_a_bad_request_does_not_poison_the_one_it_was_merged_with():
    gate = threading.Event()
    model = Doubler(gate)
    host = host_of(model)
    first = asyncio.create_task(host.submit([0]))
    await entered(model)
    bad = asyncio.create_task(host.submit([-1], merge=True, owner="bad"))
    await queued(host, 1)
    good = asyncio.create_task(host.submit([7], merge=True, owner="good"))
    await queued(host, 2)
    gate.set()
    await first
    assert isinstance((await bad)[0], ValueError)
    assert await good == [14]
    assert [-1, 7] in model.batches
    host.close()


async def test_too_few_results_are_an_error():
    class Lossy(Doubler):
        def run(self, items: Sequence[int]) -> list[int]:
            return []

    host = host_of(Lossy())
    (outcome,) = await host.submit([1])
    assert isinstance(outcome, ModelError)
    assert "0 results for 1 items" in str(outcome)
    host.close()


async def test_cancelling_a_waiting_request_takes_it_out():
    gate = threading.Event()
    model = Doubler(gate)
    host = host_of(model)
    running = asyncio.create_task(host.submit([1]))
    await entered(model)
    unwanted = asyncio.create_task(host.submit([2]))
    wanted = asyncio.create_task(host.submit([3]))
    await queued(host, 2)
    unwanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    await queued(host, 1)
    gate.set()
    assert await asyncio.gather(running, wanted) == [[2], [6]]
    assert model.batches == [[1], [3]]
    host.close()


async def test_cancelling_a_running_request_leaves_the_host_whole():
    gate = threading.Event()
    model = Doubler(gate)
    host = host_of(model)
    running = asyncio.create_task(host.submit([1]))
    await entered(model)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.set()
    assert await host.submit([2]) == [4]
    host.close()


async def test_a_closed_host_refuses_and_fails_what_waits():
    gate = threading.Event()
    model = Doubler(gate)
    host = host_of(model)
    running = asyncio.create_task(host.submit([1]))
    await entered(model)
    waiting = asyncio.create_task(host.submit([2]))
    await queued(host, 1)
    host.close()
    host.close()
    with pytest.raises(ModelError, match="closed"):
        await waiting
    gate.set()
    assert await running == [2]
    with pytest.raises(ModelError, match="closed"):
        await host.submit([3])
    assert model.batches == [[1]]


async def test_warm_runs_the_model_and_info_is_the_models():
    model = Doubler()
    host = host_of(model)
    assert host.info == {}
    await asyncio.gather(host.warm([1], once="en"), host.warm([1], once="en"), host.warm([2], once="ru"))
    assert sorted(model.warmed) == [[1], [2]]
    assert host.info == {"factor": 2}
    host.close()


async def test_graphs_share_a_load_and_the_model_outlives_its_leases():
    pool = HostPool()
    loads: list[Doubler] = []

    def load() -> Doubler:
        loads.append(Doubler())
        return loads[-1]

    leases = await asyncio.gather(*(pool.acquire(KEY, load) for _ in range(5)))
    other = await pool.acquire(KEY._replace(device="cuda:0"), load)
    assert len(loads) == 2
    assert pool.leases(KEY) == 5
    assert await asyncio.gather(*(lease.submit([n]) for n, lease in enumerate(leases))) == [[0], [2], [4], [6], [8]]
    for lease in leases:
        lease.release()
        lease.release()
    assert pool.leases(KEY) == 0
    again = await pool.acquire(KEY, load)
    assert len(loads) == 2
    again.release()
    assert pool.unload_idle() == 1
    assert KEY not in pool
    assert await other.submit([1]) == [2]
    other.release()
    pool.unload_idle()


async def test_a_failed_load_fails_all_who_wait_and_is_tried_again():
    pool = HostPool()
    attempts: list[int] = []
    gate = threading.Event()

    def load() -> Doubler:
        attempts.append(1)
        if len(attempts) == 1:
            assert gate.wait(30)
            raise ModelError("no weights")
        return Doubler()

    waiting = [asyncio.create_task(pool.acquire(KEY, load)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(error) for error in failed] == ["no weights"] * 3
    assert len(attempts) == 1
    lease = await pool.acquire(KEY, load)
    assert await lease.submit([2]) == [4]
    lease.release()
    pool.unload_idle()


async def test_cancelling_one_who_waits_for_a_load_leaves_it_to_the_others():
    pool = HostPool()
    gate = threading.Event()
    loading = threading.Event()

    def load() -> Doubler:
        loading.set()
        assert gate.wait(30)
        return Doubler()

    impatient = asyncio.create_task(pool.acquire(KEY, load))
    patient = asyncio.create_task(pool.acquire(KEY, load))
    assert await asyncio.to_thread(loading.wait, 30)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    gate.set()
    lease = await patient
    assert pool.leases(KEY) == 1
    assert await lease.submit([1]) == [2]
    lease.release()
    pool.unload_idle()


async def test_a_lease_bounds_what_it_has_under_way():
    gate = threading.Event()
    model = Doubler(gate)
    pool = HostPool()
    lease = await pool.acquire(KEY, lambda: model, max_in_flight=2)
    tasks = [asyncio.create_task(lease.submit([n])) for n in range(5)]
    await entered(model)
    await queued(lease._host, 1)
    for _ in range(100):
        await asyncio.sleep(0)
    await queued(lease._host, 1)  # one runs, one waits, three are held back
    gate.set()
    assert await asyncio.gather(*tasks) == [[0], [2], [4], [6], [8]]
    lease.release()
    pool.unload_idle()


def test_one_host_serves_several_event_loops():
    model = Doubler()
    pool = HostPool()
    results: dict[int, list[Any]] = {}

    async def graph(number: int) -> None:
        lease = await pool.acquire(KEY, lambda: model)
        results[number] = [await lease.submit([number, n]) for n in range(20)]
        lease.release()

    threads = [threading.Thread(target=lambda n=n: asyncio.run(graph(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {number: [[2 * number, 2 * n] for n in range(20)] for number in range(4)}
    assert len(model.threads) == 1
    assert pool.unload_idle() == 1


async def test_a_load_that_failed_when_nobody_waited_any_more_is_tried_again():
    pool = HostPool()
    gate, done = threading.Event(), threading.Event()

    def fail() -> Doubler:
        assert gate.wait(30)
        done.set()
        raise ModelError("there is no such file")

    alone = asyncio.create_task(pool.acquire(KEY, fail))
    await asyncio.sleep(0)
    alone.cancel()
    await asyncio.wait([alone])
    gate.set()
    assert await asyncio.to_thread(done.wait, 30)
    host = pool._entries[KEY].host
    await until(lambda: host.failed)
    lease = await pool.acquire(KEY, Doubler)
    assert await lease.submit([4]) == [8]
    with pytest.raises(ModelError, match="closed"):
        await host.loaded()
    lease.release()
    assert pool.unload_idle() == 1


# Turns ------------------------------------------------------------------------------------------------------------


class Stepper:
    """Takes as many steps as an item says; a negative one fails in its second step."""

    def __init__(self) -> None:
        self.log: list[int] = []
        self.closed: list[int] = []
        self.entered = threading.Event()
        self.gate = threading.Event()

    @property
    def info(self) -> dict[str, Any]:
        return {}

    def warm(self, items: Sequence[int] = ()) -> None:
        """Nothing to warm."""

    def run(self, items: Sequence[int]) -> Generator[None, None, list[int]]:
        (item,) = items
        try:
            for step in range(abs(item)):
                self.log.append(item)
                self.entered.set()
                assert self.gate.wait(30)
                if item < 0 and step == 1:
                    raise ValueError("negative")
                yield
            return [2 * item]
        except GeneratorExit:
            self.closed.append(item)
            raise


async def test_callers_take_turns_step_by_step_and_each_is_answered_in_order():
    model = Stepper()
    pool = HostPool()
    long, short = [await pool.acquire(KEY, lambda: model) for _ in range(2)]
    answers: list[int] = []

    async def ask(lease: Any, item: int) -> None:
        [outcome] = await lease.submit([item])
        answers.append(outcome)

    tasks = [asyncio.create_task(ask(long, item)) for item in (100, 3)]
    assert await asyncio.to_thread(model.entered.wait, 30)
    tasks += [asyncio.create_task(ask(short, item)) for item in (2, 1)]
    await queued(long._host, 3)
    model.gate.set()
    await asyncio.gather(*tasks)
    # After the step under way it is the other one's turn, however long the first one's request is.
    # (The 2 has its answer in a third step, which does nothing.)
    assert model.log[:7] == [100, 2, 100, 2, 100, 100, 1]
    assert answers == [4, 2, 200, 6]
    assert model.log[-4:] == [100, 3, 3, 3]
    for lease in (long, short):
        lease.release()
    pool.unload_idle()


async def test_a_request_that_nobody_waits_for_ends_with_its_step():
    model = Stepper()
    host: ThreadHost[int, int] = ThreadHost(KEY, lambda: model)
    unwanted = asyncio.create_task(host.submit([1000]))
    assert await asyncio.to_thread(model.entered.wait, 30)
    unwanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    model.gate.set()
    assert await host.submit([1]) == [2]
    assert model.log == [1000, 1]
    assert model.closed == [1000]
    host.close()


async def test_whoever_asks_is_told_what_a_request_has_cost_answered_abandoned_or_never_begun():
    model = Stepper()
    host: ThreadHost[int, int] = ThreadHost(KEY, lambda: model)
    spent_s: dict[str, list[float]] = {name: [] for name in ("unwanted", "never begun", "wanted", "too late")}
    unwanted = asyncio.create_task(host.submit([1000], spent=spent_s["unwanted"].append))
    assert await asyncio.to_thread(model.entered.wait, 30)
    never = asyncio.create_task(host.submit([1], spent=spent_s["never begun"].append))
    await queued(host, 1)
    for task in (never, unwanted):
        task.cancel()
    await asyncio.gather(never, unwanted, return_exceptions=True)
    assert spent_s["never begun"] == [0.0]
    assert spent_s["unwanted"] == []  # its step goes on
    model.gate.set()
    assert await host.submit([1], spent=spent_s["wanted"].append) == [2]
    await until(lambda: len(spent_s["wanted"]) == 1)
    assert [spent_s[name][0] > 0 for name in ("unwanted", "wanted")] == [True, True]
    model.entered.clear()
    model.gate.clear()
    last = asyncio.create_task(host.submit([1]))
    assert await asyncio.to_thread(model.entered.wait, 30)
    late = asyncio.create_task(host.submit([1], spent=spent_s["too late"].append))
    await queued(host, 1)
    host.close()
    with pytest.raises(ModelError, match="closed"):
        await late
    model.gate.set()
    await last
    assert spent_s["too late"] == [0.0]
    assert {len(told) for told in spent_s.values()} == {1}


async def test_an_error_in_a_later_step_is_its_requests_alone():
    model = Stepper()
    model.gate.set()
    host: ThreadHost[int, int] = ThreadHost(KEY, lambda: model)
    bad, good = await asyncio.gather(host.submit([-3], owner="a"), host.submit([3], owner="b"))
    assert isinstance(bad[0], ValueError)
    assert good == [6]
    host.close()


FOREVER = 1 << 40
"""Steps that nobody lives to see."""


class EarlyStepper(Stepper):
    """Gives each item's result as soon as it has taken its steps; the batch goes on until the longest has."""

    def run(self, items: Sequence[int]) -> Generator[dict[int, int] | None, None, list[int]]:
        for step in range(max(map(abs, items))):
            self.entered.set()
            assert self.gate.wait(30)
            self.log.append(step)
            if step == 1 and any(item < 0 for item in items):
                raise ValueError("negative")
            yield {n: 2 * item for n, item in enumerate(items) if item == step + 1} or None
        return [2 * item for item in items]


async def merged(host: Any, **items: int) -> list[asyncio.Task[Any]]:
    """Requests of callers of these names, which wait together behind one that runs."""
    host._model.gate.clear()
    host._model.entered.clear()
    running = asyncio.create_task(host.submit([1]))
    await entered(host._model)
    tasks = [asyncio.create_task(host.submit([item], merge=True, owner=owner)) for owner, item in items.items()]
    await queued(host, len(items))
    host._model.gate.set()
    await running
    return tasks


@pytest.fixture
async def early() -> AsyncIterator[ThreadHost[int, int]]:
    model = EarlyStepper()
    host: ThreadHost[int, int] = ThreadHost(KEY, lambda: model)
    await host.loaded()
    yield host
    host.close()


async def test_a_short_request_does_not_wait_for_a_long_one_in_its_batch(early: ThreadHost[int, int]):
    short, long = await merged(early, short=2, long=FOREVER)
    assert await short == [4]
    assert await early.submit([1], owner="short") == [2]  # and its next one has its turn
    assert not long.done()
    long.cancel()


async def test_who_has_left_a_shared_batch_may_ask_again_before_its_end(early: ThreadHost[int, int]):
    impatient, patient = await merged(early, impatient=FOREVER, patient=FOREVER)
    await until(lambda: early.figures().under_way == 2)
    impatient.cancel()
    await asyncio.wait([impatient])
    assert await early.submit([1], owner="impatient") == [2]
    assert not patient.done()
    patient.cancel()


async def test_a_batch_that_only_those_who_left_were_waiting_for_ends_with_its_step(early: ThreadHost[int, int]):
    first, second = await merged(early, first=FOREVER, second=FOREVER)
    await until(lambda: early.figures().under_way == 2)
    for task in (first, second):
        task.cancel()
    await asyncio.wait([first, second])
    assert await early.submit([1]) == [2]
    await until(lambda: early.figures().under_way == 0)


async def test_an_answer_that_was_given_stands_when_its_batch_fails_later(early: ThreadHost[int, int]):
    good, bad, other = await merged(early, good=1, bad=-3, other=3)
    assert await good == [2]
    (outcome,) = await bad
    assert isinstance(outcome, ValueError)
    assert await other == [6]


# Figures ----------------------------------------------------------------------------------------------------------


async def test_a_host_tells_who_waits_how_long_and_who_has_left():
    model = Stepper()
    host: ThreadHost[int, int] = ThreadHost(HostKey("canary", "/home/someone/phrasebook.nemo", "cpu"), lambda: model)
    running = asyncio.create_task(host.submit([3]))
    assert await asyncio.to_thread(model.entered.wait, 30)
    waiting = [asyncio.create_task(host.submit([1])) for _ in range(3)]
    await queued(host, 3)
    now = host.figures()
    assert (now.model, now.waiting, now.under_way, now.dropped) == ("canary phrasebook.nemo on cpu", 3, 1, 0)
    assert (sum(now.waits.counts), sum(now.answers.counts)) == (1, 0)
    waiting.pop().cancel()
    await asyncio.sleep(0.06)
    model.gate.set()
    await asyncio.gather(running, *waiting)
    after = host.figures()
    assert (after.waiting, after.under_way, after.dropped) == (0, 0, 1)
    assert (sum(after.waits.counts), sum(after.answers.counts)) == (3, 3)
    assert after.answers.sum_s > after.waits.sum_s > 2 * 0.06
    assert after.busy_s > 0
    host.close()


def test_times_are_counted_by_class():
    times = Times().with_time(0.005).with_time(0.0051).with_time(1000)
    assert times.counts == (1, 1, *[0] * (len(BOUNDS_S) - 2), 1)
    assert times.sum_s == pytest.approx(1000.0101)
    assert (times + times).counts == tuple(2 * count for count in times.counts)


# Loading ----------------------------------------------------------------------------------------------------------


async def test_what_the_loader_reports_reaches_all_who_wait():
    pool = HostPool()
    heard: list[tuple[str, str]] = []
    gate = threading.Event()

    def load() -> Doubler:
        assert gate.wait(30)
        report("reading, 40 %")
        return Doubler()

    waiting = [
        asyncio.create_task(pool.acquire(KEY, load, on_progress=lambda text, who=who: heard.append((who, text))))
        for who in "ab"
    ]
    await asyncio.sleep(0)
    gate.set()
    for lease in await asyncio.gather(*waiting):
        lease.release()
    await asyncio.sleep(0)
    assert heard == [("a", "reading, 40 %"), ("b", "reading, 40 %")]
    report("nobody waits here")
    pool.unload_idle()


async def test_off_loop_returns_and_raises_what_the_function_does():
    assert await off_loop(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await off_loop(divmod, 7, 0)
    daemon = await off_loop(lambda: threading.current_thread().daemon)
    assert daemon


@pytest.mark.parametrize("where", ["load", "run", "off_loop"])
def test_no_thread_of_a_host_holds_up_the_end_of_the_process(where: str):
    """A load or an inference takes half a minute on a CPU; Ctrl-C is to be answered at once."""
    program = f"""
import asyncio, threading
from tolmach.pipelines.cli.main import end_process
from tolmach.processors.hosting import HOSTS, HostKey, off_loop
begun, never = threading.Event(), threading.Event()
def hang(*_):
    begun.set()
    never.wait()
class Model:
    info = {{}}
    def run(self, items):
        hang()
def load():
    if {where!r} == "load":
        hang()
    return Model()
async def use():
    if {where!r} == "off_loop":
        await off_loop(hang)
    lease = await HOSTS.acquire(HostKey("x", "y", "cpu"), load)
    await lease.submit([1])
async def main():
    task = asyncio.create_task(use())
    while not begun.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
asyncio.run(main())
print("over", end="")
end_process(3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "over", "")


# Memory -----------------------------------------------------------------------------------------------------------


def hidden(error: Exception, *, cause: bool) -> Exception:
    """The error as the cause, or only the context, of another one."""
    try:
        try:
            raise error
        except Exception as first:
            if cause:
                raise RuntimeError("the file is broken") from first
            raise RuntimeError("probably it's too long") from None
    except RuntimeError as second:
        return second


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA failed with error out of memory"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (OSError(28, "No space left on device"), False),
        (ValueError("the text 'out of memory' in a file"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
    ],
)
def test_out_of_memory_is_known_also_behind_another_error(error: Exception, is_one: bool):
    assert is_out_of_memory(error) is is_one
    assert is_out_of_memory(hidden(error, cause=True)) is is_one
    assert is_out_of_memory(hidden(error, cause=False)) is is_one  # "from None" hides it from people, not from us


async def test_a_request_that_ran_out_of_memory_says_so_and_what_would_help():
    class Large(Doubler):
        def run(self, items: Sequence[int]) -> list[int]:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.\nSee the documentation")

    host = host_of(Large())
    one, other = await host.submit([1, 2])
    for outcome in (one, other):
        assert isinstance(outcome, OutOfMemoryError)
        assert str(outcome).startswith("doubler test on cpu: out of memory (CUDA out of memory. Tried")
        assert "device: cpu" in str(outcome)
    host.close()
