"""OpenAI's realtime translations over WebRTC: audio as Opus both ways, events on the data channel ``oai-events``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tolmach.transports.webrtc.connection import Connection, ConnectionSettings
from tolmach.transports.webrtc.signalling.messages import MAX_INCOMING, MessageError
from tolmach.web.doors.openai.realtime.talk import Talk, TooManyMistakes

__all__ = ["CallPeer"]

log = logging.getLogger(__name__)

MAX_WAITING = 64
"""Events of a client that wait for their turn: one may take as long as a graph takes to load."""


class CallPeer(Connection):
    """The client of one session, on WebRTC; its data channel may have any label.

    Args:
        settings: How it is made and watched.
        talk: What is said on its data channel.
    """

    def __init__(self, settings: ConnectionSettings, talk: Talk) -> None:
        super().__init__(settings, standard=True)
        self._talk = talk
        self._heard: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING)
        self._reading: asyncio.Task[None] | None = None

    def worded(self, kind: str, fields: Mapping[str, Any]) -> Sequence[str]:
        """In events of the protocol."""
        return self._talk.farewell(str(fields["reason"])) if kind == "bye" else self._talk.told(kind, fields)

    def understood(self, text: str | bytes) -> Mapping[str, Any]:
        """An event goes its own way: nothing in it is for the session itself."""
        if not isinstance(text, str) or len(text) > MAX_INCOMING:
            raise MessageError("an event is text, and short: audio has its own stream")
        try:
            self._heard.put_nowait(text)
        except asyncio.QueueFull:
            raise MessageError("more events come than can be dealt with") from None
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="openai-call-read")
        return {"type": "openai"}

    async def _read(self) -> None:
        while not self.closed.is_set():
            text = await self._heard.get()
            try:
                await self._talk.heard(text, append=None, finish=self._finish, post=self.send)
            except TooManyMistakes:
                self.hang_up("too many events could not be used")
            except Exception:
                log.exception("an event could not be dealt with")
                self.hang_up("something went wrong in the server; its log says what")

    def _finish(self) -> None:
        if self._talk.session is not None:
            self._talk.session.finish()

    def hang_up(self, reason: str) -> None:
        """Begin to end it. Safe twice."""
        self.said_goodbye = True  # the protocol knows no coming back: what was said is finished, and the place is free
        super().hang_up(reason)
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()
