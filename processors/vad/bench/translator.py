"""A translator outside a graph, asked what it makes of an utterance that pauses: for ``tolmach bench endpoints``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tolmach.pipelines.bus import Message
from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    PauseAnswer,
    TranslationEvidence,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.registry import Registry, load_runtime
from tolmach.processors.vad.endpointing import Mono
from tolmach.processors.vad.spec import RATE_HZ

MOST_S = 300.0
"""How long an answer may take, s; more is a fault."""


class Translator:
    """One speech translation element with a loop of its own; blocks while it is asked.

    Args:
        element: Type of the element: ``canary_ast``, ``whisper_ast``, …
        settings: Its settings.

    Raises:
        GraphError: If there is no such type, or the settings are wrong.
    """

    def __init__(self, element: str, settings: Mapping[str, Any]) -> None:
        try:
            spec = Registry.builtin().get(element)
            made = spec.settings(**settings)
        except KeyError:
            raise GraphError(f"no element type {element!r}: name a translator, canary_ast or whisper_ast") from None
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or element
            raise GraphError(f"{element}: {where}: {problem['msg']}") from None
        self._runner = asyncio.Runner()
        self._tasks: set[asyncio.Task[None]] = set()
        context = Context(element, "bench", self._push, self._post, self._spawn)
        self._element: Element = load_runtime(spec)(made, context)
        self._runner.run(self._element.start())
        self._number = 0

    def __call__(self, samples: Mono) -> TranslationEvidence | None:
        """What it says; None if it says nothing."""
        return self._runner.run(self._ask(samples))

    async def _ask(self, samples: Mono) -> TranslationEvidence | None:
        self._number += 1
        number, end_ns = self._number, samples_to_ns(len(samples), RATE_HZ)
        answer = PauseAnswer()
        frames: tuple[Frame, ...] = (
            UtteranceStart(number, 0),
            AudioFrame(samples[:, None], RATE_HZ, 0, number),
            UtterancePause(number, 0, end_ns, end_ns, answer),
        )
        for frame in frames:
            await self._element.process(frame, "sink")
        async with asyncio.timeout(MOST_S):
            # It answers while the pause lasts: an end would have it say nothing. A mailbox has no bell.
            while not answer.given:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        await self._element.process(UtteranceEnd(number, 0, end_ns), "sink")
        await self._element.drain()
        return answer.evidence

    async def _push(self, frame: Frame, pad: str = "src") -> None:
        """Its text is of no use here, what it says of the pause is."""

    def _post(self, message: Message) -> None:
        """Nobody listens."""

    def _spawn(self, coroutine: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
