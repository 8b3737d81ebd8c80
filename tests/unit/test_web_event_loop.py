"""The event loop of a server: how late it is; the collector passes over what models bring, and takes ended sessions."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator

import pytest

from tolmach.web import event_loop
from tolmach.web.event_loop import BEAT_S, Garbage, LoopLag


class Ring:
    """Refers to itself, as the parts of a session do."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def garbage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Garbage]:
    monkeypatch.setattr(event_loop, "SWEEP_S", 0.0)
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


# Lateness -------------------------------------------------------------------------------------------------------------


async def test_a_blocked_loop_is_noticed():
    noticed = asyncio.Event()

    def observe(late_s: float) -> None:
        if late_s >= 0.1:
            noticed.set()

    lag = LoopLag(observe)
    assert lag.max_s == 0
    lag.start()
    lag.start()
    await asyncio.sleep(0)
    time.sleep(BEAT_S + 0.15)  # noqa: ASYNC251 -- what it is to notice
    assert lag.max_ms >= 100  # before the beat has had its turn
    async with asyncio.timeout(60):
        await noticed.wait()
    await lag.stop()
    await lag.stop()


def test_only_the_last_second_counts():
    now_s = 0.0
    lag = LoopLag(clock=lambda: now_s)
    lag.note(0.3)
    now_s = 0.5
    lag.note(0.1)
    assert lag.max_s == 0.3
    now_s = 1.2
    assert lag.max_s == 0.1
    now_s = 1.6
    assert lag.max_s == 0
