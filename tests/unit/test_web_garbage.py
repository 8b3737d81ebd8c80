"""The collector of a server: what models bring is passed over, what ended sessions were made of goes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from tolmach.web import garbage as garbage_module
from tolmach.web.garbage import Garbage


class Ring:
    """Refers to itself, as the parts of a session do."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def garbage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Garbage]:
    monkeypatch.setattr(garbage_module, "SWEEP_S", 0.0)
    made = Garbage()
    gc.disable()  # by itself it might come first
    yield made
    gc.enable()
    made.stop()
    assert gc.get_freeze_count() == 0, "the process is as it was"


async def test_what_a_session_was_made_of_goes_soon_after_it(garbage: Garbage) -> None:
    garbage.loaded("echo")
    assert gc.get_freeze_count() > 10_000
    left = weakref.ref(Ring())
    assert left() is not None
    garbage.session_ended()
    garbage.session_ended()
    await asyncio.sleep(0.01)
    assert left() is None


async def test_each_graph_is_settled_once(garbage: Garbage) -> None:
    garbage.loaded("echo")
    before = gc.get_freeze_count()
    held = [Ring() for _ in range(1000)]
    garbage.loaded("echo")
    assert gc.get_freeze_count() == before, "a full collection for every session would be heard by the others"
    garbage.loaded("interpreter")
    # Not all of them: what was frozen before may have gone meanwhile, wherever it was held.
    assert gc.get_freeze_count() > before + len(held) // 2


async def test_before_models_are_loaded_nothing_is_collected(garbage: Garbage) -> None:
    left = weakref.ref(Ring())
    garbage.session_ended()
    await asyncio.sleep(0.01)
    assert left() is not None
