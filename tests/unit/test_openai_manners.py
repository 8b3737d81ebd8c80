"""How fast a recording is worked on: one utterance at a time, with rests, while somebody talks in a session."""

from __future__ import annotations

import asyncio

import pytest

from tolmach.pipelines.bus import TranslationMessage, UtteranceEndMessage
from tolmach.pipelines.frames import TranslationFrame, UtteranceEnd
from tolmach.web.doors.openai.recording import Manners


def ended(utterance: int) -> UtteranceEndMessage:
    return UtteranceEndMessage(UtteranceEnd(utterance, 0, 1))


def text(utterance: int, *, more: bool = False) -> TranslationMessage:
    return TranslationMessage(TranslationFrame(utterance, 0, 1, "en", "ru", "Да.", more=more))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_in_company_an_utterance_is_waited_for():
    manners = Manners(lambda: True)
    manners.note(ended(1))
    breathing = asyncio.create_task(manners.breathe())
    await turns(10)
    manners.note(text(1, more=True))
    await turns(10)
    assert not breathing.done(), "more of it comes"
    manners.note(text(1))
    await breathing


async def test_alone_nothing_is_waited_for():
    manners = Manners(lambda: False)
    manners.note(ended(1))
    await asyncio.wait_for(manners.breathe(), 5)


async def test_the_model_is_left_to_others_longer_than_it_was_taken():
    manners, loop = Manners(lambda: True), asyncio.get_running_loop()
    manners.note(ended(1))
    began_s = loop.time()
    await asyncio.sleep(0.05)
    manners.note(text(1))
    taken_s = loop.time() - began_s
    began_s = loop.time()
    await manners.breathe()
    assert loop.time() - began_s >= 2 * taken_s


async def test_an_engine_that_never_answers_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tolmach.web.doors.openai.recording._LONGEST_WAIT_S", 0.01)
    manners = Manners(lambda: True)
    manners.note(ended(1))
    await manners.breathe()
    monkeypatch.setattr("tolmach.web.doors.openai.recording._LONGEST_WAIT_S", 1000)
    await asyncio.wait_for(manners.breathe(), 5)
