"""Models on a Ray cluster: the same answers as in threads, and an answer whatever happens to a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ray_cluster import address_of
from tests.ray_models import Ask, Told, load, load_file, load_nothing
from tests.until import until
from tolmach.pipelines import cluster, model_host
from tolmach.pipelines.bus import LoadingMessage, TranslationMessage
from tolmach.pipelines.errors import ModelError, ModelMissingError
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.model_host import HostPlace
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.processors.hosting import HOSTS, HostKey, HostPool, Lease, files, ray_replica
from tolmach.processors.hosting.ray_host import RayHost

pytestmark = pytest.mark.usefixtures("ray_cluster")

PLACE = HostPlace("ray", idle_s=2)


@pytest.fixture
async def host() -> AsyncIterator[Callable[..., RayHost[Ask, Told]]]:
    """Makes hosts, each of a model of its own, and gives them back."""
    made: list[RayHost[Ask, Told]] = []

    def make(name: str, loader: Any = None, **options: Any) -> RayHost[Ask, Told]:
        files = options.pop("files", ())
        place = replace(PLACE, **options)
        found: RayHost[Ask, Told] = RayHost(
            HostKey("doubler", name, "cpu", place=str(place)), loader or partial(load, name), place, files
        )
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()


def values(outcomes: list[Any]) -> list[int]:
    for each in outcomes:
        if isinstance(each, Exception):
            raise each
    return [each.value for each in outcomes]


async def test_it_answers_as_a_host_of_threads_does(host: Any):
    ours, lines, spent = host("same"), list[str](), list[float]()
    await ours.loaded(lines.append)
    assert lines[:2] == ["reaching the Ray cluster", "waiting for a worker"]
    await until(lambda: "half way" in lines)
    assert ours.info["name"] == "same"
    assert ours.info["pid"] != os.getpid()
    assert values(await ours.submit([Ask(1), Ask(2), Ask(3)], spent=spent.append)) == [2, 4, 6]
    assert await ours.submit([]) == []
    samples = np.arange(16000 * 20, dtype=np.float32)  # by the object store
    [told] = await ours.submit([Ask(1, samples=samples)])
    assert told.sound == float(samples.sum())
    [bad] = await ours.submit([Ask(4, fails=True)])
    assert (type(bad), str(bad)) == (ModelError, "doubler same on cpu: ValueError: no")
    # An item's failure is its own.
    first, second = await ours.submit([Ask(5, fails=True), Ask(6)])
    assert isinstance(first, ModelError)
    assert second.value == 12
    figures = ours.figures()
    assert (figures.model, figures.waiting, figures.under_way) == ("doubler same on cpu by Ray", 0, 0)
    assert sum(figures.waits.counts) == sum(figures.answers.counts) == 4
    await until(lambda: len(spent) == 1)


async def test_hosts_of_several_processes_share_a_worker_and_its_batches(host: Any):
    ours, theirs = host("shared"), host("shared")
    await asyncio.gather(ours.loaded(), theirs.loaded())
    assert ours.info["pid"] == theirs.info["pid"]
    busy = asyncio.create_task(ours.submit([Ask(0, step_s=1)], owner="busy"))
    await asyncio.sleep(0.3)
    merged = await asyncio.gather(
        ours.submit([Ask(1)], merge=True, owner="a"), theirs.submit([Ask(2)], merge=True, owner="a")
    )
    assert [(told.value, told.batch) for [told] in merged] == [(2, 2), (4, 2)]
    # Without a word of merging a batch is one request.
    again = asyncio.create_task(ours.submit([Ask(0, step_s=1)], owner="busy"))
    await asyncio.sleep(0.3)
    apart = await asyncio.gather(ours.submit([Ask(1)], owner="a"), theirs.submit([Ask(2)], owner="a"))
    assert [told.batch for [told] in apart] == [1, 1]
    await asyncio.gather(busy, again)


@pytest.mark.parametrize("how", ["ray.kill", "SIGKILL"])
async def test_a_worker_that_is_killed_under_load_loses_nothing(host: Any, how: str, ray_cluster: Any):
    ours = host("counts warmings", replicas=2)
    await until_ready(ours, 2)
    await ours.warm([Ask(7)], once="seven")

    async def talk(owner: int) -> list[int]:
        found = []
        for number in range(12):
            found += values(await ours.submit([Ask(number, step_s=0.02)], owner=owner))
            await asyncio.sleep(0.01)
        return found

    talking = [asyncio.create_task(talk(owner)) for owner in range(4)]
    await asyncio.sleep(0.2)
    victim = ours._replicas[0]
    pid = victim.pid
    if how == "ray.kill":
        ray_cluster.kill(victim._actor)
    else:
        os.kill(pid, signal.SIGKILL)
    # Whoever answered was warm (a hundred for each warming), the one that came back too.
    assert await asyncio.gather(*talking) == [[100 + 2 * n for n in range(12)]] * 4
    await until_ready(ours, 2)
    again = [await ours.submit([Ask(n)]) for n in range(8)]
    assert [told.value for [told] in again] == [100 + 2 * n for n in range(8)]
    assert victim.pid in {told.pid for [told] in again} - {pid}
    assert (ours.figures().waiting, ours.figures().under_way) == (0, 0)
    assert 1 <= ours.figures().lost <= 4


async def test_what_kills_each_worker_is_an_error_and_others_are_answered(host: Any):
    ours = host("poisoned")
    await ours.loaded()
    poison = asyncio.create_task(ours.submit([Ask(1, dies=True)], owner="bad"))
    good = [asyncio.create_task(ours.submit([Ask(n)], owner=n)) for n in range(2, 6)]
    [error] = await poison
    assert isinstance(error, ModelError)
    assert "two workers in a row were lost with this request" in str(error)
    answers = await asyncio.gather(*good)
    # One that shared both workers with it may have got the same error; nobody waits for ever.
    assert all(isinstance(each, ModelError | Told) for [each] in answers)
    assert values(await ours.submit([Ask(9)])) == [18]


async def until_ready(ours: RayHost[Ask, Told], count: int) -> None:
    await ours.loaded()
    await until(lambda: sum(each.ready for each in ours._replicas) == count, within_s=60)


async def test_a_cancelled_request_is_taken_out(host: Any):
    ours, spent, costs = host("cancelled"), list[float](), list[float]()
    await ours.loaded()
    running = asyncio.create_task(ours.submit([Ask(1, step_s=0.2, steps=50)], owner="a", spent=costs.append))
    await asyncio.sleep(0.8)
    waiting = asyncio.create_task(ours.submit([Ask(2)], owner="a", spent=spent.append))
    await asyncio.sleep(0.1)
    for each in (waiting, running):
        each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each
    # The one that ran ends with its step instead of going on for 10 s; the one that waited never began.
    [told] = await ours.submit([Ask(3)], owner="a")
    assert told.begun == 1
    await until(lambda: bool(spent and costs))
    assert spent == [0.0]
    assert 0.1 < costs[0] < 5
    assert ours.figures().dropped == 2


async def test_a_request_has_a_deadline(host: Any):
    ours = host("cancelled", deadline_s=0.3)
    await ours.loaded()
    [late] = await ours.submit([Ask(1, step_s=0.2, steps=50)])
    assert str(late) == "doubler cancelled on cpu: no answer within 0.3 s"
    assert values(await ours.submit([Ask(2)])) == [4]  # nothing is left of it in the worker


async def test_a_worker_of_another_version_is_refused(host: Any, monkeypatch: pytest.MonkeyPatch):
    mine = cluster.here()
    monkeypatch.setattr(cluster, "here", lambda: replace(mine, exact={**mine.exact, "tolmach": "99.1"}))
    ours = host("other version")
    with pytest.raises(ModelError, match=r"the worker on .* is not what this process is \(tolmach 99\.1 here, "):
        await ours.loaded()
    assert ours.failed


async def test_a_model_that_cannot_be_loaded_fails_as_it_does_here(host: Any):
    loader = partial(load_nothing, "/nowhere.nemo")
    with pytest.raises(ModelMissingError) as here:
        loader()
    ours = host("missing", loader)
    with pytest.raises(ModelMissingError) as there:
        await ours.loaded()
    assert str(there.value) == str(here.value)
    with pytest.raises(ModelError, match="load cannot be sent to a worker"):
        await host("missing", partial(load, threading.Lock())).loaded()


async def test_a_loader_asks_where_its_files_lie(host: Any, tmp_path: Path):
    here, shared = tmp_path / "here" / "m.txt", tmp_path / "shared"
    for path in (here, shared / "m.txt"):
        path.parent.mkdir()
        path.write_text("the model")
    gone = replace(files.describe(here), path="/another/machine/m.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tolmach.processors.hosting.ray_host.describe", lambda path: gone)
        ours = host("file", partial(load_file, gone.path), files=[gone.path], models=str(shared))
        await ours.loaded()
    assert ours.info["name"] == "the model"


async def test_without_room_on_the_cluster_it_says_what_there_is(host: Any):
    with pytest.raises(
        ModelError, match=r"no room on the Ray cluster within 1 s for a worker with 100 CPU; it has 0 GPU"
    ):
        await host("large", num_cpus=100, wait_s=1).loaded()


async def test_a_worker_without_users_ends(host: Any):
    ours = host("idle", idle_s=1)
    await ours.loaded()
    pid = ours.info["pid"]
    ours.close()
    with pytest.raises(ModelError, match="is closed"):
        await ours.submit([Ask(1)])
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def test_a_worker_that_says_nothing_any_more_is_given_up(host: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray_replica, "BEAT_S", 1.0)
    monkeypatch.setattr(ray_replica, "GONE_S", 2.0)
    ours = host("stopped")
    await ours.loaded()
    os.kill(ours.info["pid"], signal.SIGSTOP)  # neither dead nor alive
    [told] = await ours.submit([Ask(4)])
    assert (told.value, told.pid != ours.info["pid"]) == (8, True)


PROGRAM = """
import asyncio, sys
from functools import partial
from tests.ray_cluster import address_of
from tests.ray_models import Ask, load
from tolmach.pipelines.cli.main import end_process
from tolmach.pipelines.model_host import HostPlace
from tolmach.processors.hosting import HOSTS, HostKey

async def main():
    place = HostPlace.parse(sys.argv[1])
    lease = await HOSTS.acquire(HostKey("doubler", "left", "cpu"), partial(load, "left"), place=place)
    asyncio.create_task(lease.submit([Ask(1, step_s=0.1, steps=10000)]))
    await asyncio.sleep(0.5)
    print(lease.info["pid"], flush=True)

asyncio.run(main())
end_process(0)
"""


async def test_a_process_that_ends_takes_its_requests_along(host: Any, ray_cluster: Any):
    place = f"ray:{address_of(ray_cluster)},idle_s=20"
    command = [sys.executable, "-c", PROGRAM, place]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # The worker of the process is free for the next one at once, not when 1000 s of work are done.
    ours = host("left")
    [told] = await asyncio.wait_for(ours.submit([Ask(2)]), 20)
    assert (told.pid, told.begun) == (int(done.stdout), 1)


@pytest.fixture
def on_ray() -> Iterator[None]:
    model_host.choose(PLACE)
    yield
    model_host.choose(None)


async def test_a_pool_hosts_where_the_command_line_says(on_ray: None):
    pool = HostPool()
    key = HostKey("doubler", "pooled", "cpu")
    lease: Lease[Ask, Told] = await pool.acquire(key, partial(load, "pooled"))
    assert lease.info["pid"] != os.getpid()
    assert await pool.device("auto", lambda: 1 // 0) == "cpu"  # the cluster has no GPU; ours are not counted
    assert values(await lease.submit([Ask(1)])) == [2]
    [figures] = pool.figures()
    assert figures.model == "doubler pooled on cpu by Ray"
    lease.release()
    assert pool.unload_idle() == 1


TEXTS = [
    "Доброе утро.",
    "Вы говорите по-английски?",
    "У меня забронирован номер.",
    "Мне нужен номер на три ночи.",
    "Сколько это стоит?",
    "Где находится вокзал?",
    "Я бы хотел чашку кофе и хлеб.",
    "Автобус отправляется в девять часов.",
    "Большое спасибо.",
    "До свидания.",
]
"""What the thread host answers to the shipped recording."""


@pytest.mark.models
async def test_a_recording_goes_on_when_the_worker_of_its_model_is_killed(on_ray: None, root: Path, tmp_path: Path):
    given = {"input": str(root / "config" / "demo" / "phrasebook-en.flac"), "output": str(tmp_path)}
    # An utterance a request, so that some are answered before, some are lost, and some come after.
    graph = load_graph(root / "config" / "phrasebook.yaml", params=given, overrides={"ast.batch_utterances": 1})
    runner, lines, texts, pids = GraphRunner(graph), list[str](), list[str](), list[int]()

    def note(message: object) -> None:
        if isinstance(message, LoadingMessage):
            lines.append(message.text)
        elif isinstance(message, TranslationMessage):
            texts.append(message.frame.text)
            if len(texts) == 2:
                [replica] = next(e.host for k, e in HOSTS._entries.items() if k.place).replicas  # type: ignore[attr-defined]
                pids.append(replica.pid)
                os.kill(replica.pid, signal.SIGKILL)

    runner.bus.subscribe(note)
    result = await runner.run()
    assert result.ok
    assert texts == TEXTS
    assert "loading demonstration phrasebook: importing NeMo" in lines
    [replica] = next(e.host for k, e in HOSTS._entries.items() if k.place).replicas  # type: ignore[attr-defined]
    assert replica.pid != pids[0]
    HOSTS.unload_idle()
