"""A translation begun at a pause, before it is known whether the speaker has finished.

A detector that is asked to tells of short pauses (:class:`tolmach.pipelines.frames.UtterancePause`). What would belong
to the utterance if it ended there has passed, so the request made then is the request that its end would make: the
answer of a hit is the same to the byte as without any speculation, and only comes earlier. If the speaker goes on, the
request is abandoned: taken out where it waits, ended with its step where it runs
(:meth:`tolmach.processors.hosting.ThreadHost.submit`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Literal, TypeVar

from tolmach.pipelines.bus import SpeculationMessage
from tolmach.pipelines.element import Context
from tolmach.pipelines.frames import PauseAnswer, TranslationEvidence
from tolmach.processors.ast.collector import Utterance

__all__ = ["Speculation", "Speculations"]

T = TypeVar("T")

Spent = Callable[[float], None]
"""What a host calls with the seconds that a request has taken."""


class Speculation(Generic[T]):
    """One request made at a pause.

    Attributes:
        utterance: What was asked about: the utterance as it is if it ends here.
        task: The request. Nobody but its :class:`Speculations` and who confirmed it may cancel it.
        refuted: Whether the speaker has gone on; what it answers is of no use any more.
        confirmed: Whether the utterance has ended here.
    """

    def __init__(self, context: Context, utterance: Utterance, answer: PauseAnswer | None) -> None:
        self.utterance = utterance
        self.task: asyncio.Task[T] | None = None
        self.refuted = self.confirmed = False
        self._answer = answer
        self._context = context
        self._untold = 0  # requests that the host has, and will say the cost of
        self._spent_s = 0.0
        self._lost: Literal["miss", "failed"] | None = None

    @property
    def open(self) -> bool:
        """Whether it is not known yet what becomes of it."""
        return not (self.refuted or self.confirmed)

    def spent(self) -> Spent:
        """What to hand the host with a request; whoever asks nothing has spent nothing."""
        self._untold += 1
        loop = asyncio.get_running_loop()

        def tell(seconds: float) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._note, seconds)

        return tell

    def answered(self, evidence: TranslationEvidence | None) -> None:
        """Tell the detector what came of it, if it asked."""
        if self._answer is not None:
            self._answer.give(evidence)

    def settle(self, outcome: Literal["hit", "miss", "failed"]) -> None:
        """Count it: told on the bus as soon as what it has wasted is known."""
        if outcome == "hit":
            self._post(outcome, 0.0)
            return
        self._lost = outcome
        if not self._untold:
            self._post(outcome, self._spent_s)

    def _note(self, seconds: float) -> None:
        self._untold -= 1
        self._spent_s += seconds
        if self._lost is not None and not self._untold:
            self._post(self._lost, self._spent_s)

    def _post(self, outcome: Literal["hit", "miss", "failed"], wasted_s: float) -> None:
        number, at_ns = self.utterance.number, self.utterance.end_ns
        self._context.post(SpeculationMessage(number, outcome, wasted_s, pts_ns=at_ns))


class Speculations(Generic[T]):
    """The speculations of one element, of which one at a time is under way.

    Args:
        context: Of the element.
        ask: The request about an utterance; a coroutine that has not begun.
        on_answer: Called with a speculation whose answer is there while it is still :attr:`~Speculation.open`.
    """

    def __init__(
        self,
        context: Context,
        ask: Callable[[Speculation[T]], Coroutine[Any, Any, T]],
        on_answer: Callable[[Speculation[T], T], None],
    ) -> None:
        self._context = context
        self._ask = ask
        self._on_answer = on_answer
        self._current: Speculation[T] | None = None
        self._tasks: set[asyncio.Task[T]] = set()

    def begin(self, utterance: Utterance, answer: PauseAnswer | None) -> None:
        """Ask about an utterance that may have ended; an earlier question is given up."""
        self.refute()
        speculation: Speculation[T] = Speculation(self._context, utterance, answer)
        self._current = speculation
        # Not the runtime's spawn: what fails here is asked again in earnest, and only that meets the failure policy.
        task = speculation.task = asyncio.create_task(self._ask(speculation), name=f"speculation-{utterance.number}")
        done = self._context.busy()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: done())
        task.add_done_callback(lambda task: self._answered(speculation, task))

    def confirm(self, utterance: Utterance) -> Speculation[T] | None:
        """The utterance has ended: the speculation that asked just that, if there is one. Another is given up."""
        found = self._current
        if found is None:
            return None
        asked = found.utterance
        if asked.number != utterance.number or utterance.fault or len(asked.samples) != len(utterance.samples):
            self.refute()
            return None
        self._current = None
        found.confirmed = True
        return found

    def refute(self, utterance: int | None = None) -> None:
        """The speaker goes on (or what was asked is no longer what would be): give the question up and count it.

        Args:
            utterance: Only if it is about this one.
        """
        found = self._current
        if found is None or utterance not in (None, found.utterance.number):
            return
        self._current = None
        found.refuted = True
        found.answered(None)
        if found.task is not None:
            found.task.cancel()
        found.settle("miss")

    async def close(self) -> None:
        """Give up all that is under way, uncounted: nobody will know any more. Safe twice."""
        found, self._current = self._current, None
        if found is not None:
            found.refuted = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _answered(self, speculation: Speculation[T], task: asyncio.Task[T]) -> None:
        if task.cancelled() or task.exception() is not None:  # which is retrieved by it, so that nobody complains
            speculation.answered(None)
        elif speculation.open:
            self._on_answer(speculation, task.result())
