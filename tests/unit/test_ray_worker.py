"""What is inside an actor that hosts a model, without Ray: whose requests it keeps, and how errors travel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.ray_models import Ask, load
from tests.until import until
from tolmach.pipelines.errors import GraphError, MediaError, ModelError, ModelMissingError
from tolmach.processors.canary.known import read_embedded
from tolmach.processors.hosting import HostKey, files, ray_worker
from tolmach.processors.hosting.files import describe, locate, located
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


def test_files_are_found_by_name_on_machines_that_have_them_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_here", {})
    here, shared = tmp_path / "here" / "m.nemo", tmp_path / "shared"
    for path in (here, shared / "m.nemo"):
        path.parent.mkdir()
        path.write_bytes(b"the model")
    described = describe(here)
    locate([described])
    assert located(str(here)) == str(here)
    gone = replace(described, path="/another/machine/m.nemo")
    locate([gone], str(shared))
    assert located(gone.path) == str(shared / "m.nemo")
    with pytest.raises(ModelMissingError, match=r"finds no model at /another/machine/m\.nemo: have it there, or in"):
        locate([gone])
    (shared / "m.nemo").write_bytes(b"another one")
    with pytest.raises(ModelError, match=r"has another model at .*/shared/m\.nemo \(11 bytes\) than the one"):
        locate([gone], str(shared))


def test_a_folder_is_told_by_what_is_in_it(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(b"weights")
    assert describe(tmp_path / "a").digest == describe(tmp_path / "b").digest
    (tmp_path / "b" / "config.json").write_bytes(b"{}")
    assert describe(tmp_path / "a").digest != describe(tmp_path / "b").digest
    with pytest.raises(ModelMissingError, match="no model at"):
        describe(tmp_path / "c")


def test_what_is_shipped_is_found_wherever_the_package_lies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_here", {})
    shipped = read_embedded("embedded:phrasebook").path
    elsewhere = replace(describe(shipped), path="/opt/other/tolmach/processors/phrasebook/phrasebook.nemo")
    locate([elsewhere])
    assert Path(located(elsewhere.path)) == shipped.resolve()
