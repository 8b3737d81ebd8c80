"""One session of OpenAI's realtime translations, whatever carries it: what its events mean, and what is told in return.

::

    client's events ──► Talk.heard() ──► audio to the peer, another language to the service
    session.created ◄── Talk.told()  ◄── what the session says (docs/LIVE.md): captions, errors
    session.closed  ◄── Talk.farewell()

It owns no socket and no task; :mod:`.socket` and :mod:`.call` do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tolmach.pipelines.errors import GraphError, ModelError
from tolmach.pipelines.frames import NS_PER_MS
from tolmach.transports.webrtc.signalling.sdp import SignallingError
from tolmach.web.catalogue.graph import LiveGraph
from tolmach.web.doors.openai.errors import OpenAiError, error_fields
from tolmach.web.doors.openai.realtime.choice import choice_of, effective_language
from tolmach.web.doors.openai.realtime.deltas import Deltas
from tolmach.web.doors.openai.realtime.events import (
    Append,
    Close,
    EventError,
    Settings,
    Update,
    parse,
    settings_of,
    write,
)
from tolmach.web.errors import ApiError, as_api_error
from tolmach.web.service import Service
from tolmach.web.sessions.session import Session

__all__ = ["MAX_MISTAKES", "Talk", "TooManyMistakes", "error_event", "session_json"]

MAX_MISTAKES = 100
"""Events of a session that could not be used, after which it is hung up on: the client is broken, or it tries."""
CLOSE_S = 60.0
"""How long what is under way may take, to be translated and heard, once the client has said all."""
STEP_MS = 200
"""In which ``elapsed_ms`` advances (the documentation of the events)."""

_ENDS: Mapping[str, tuple[int, str, str]] = {
    "failed": (1011, "server_error", "graph_failed"),
    "expired": (1001, "invalid_request_error", "session_expired"),
    "idle": (1000, "invalid_request_error", "session_idle"),
    "drained": (1012, "server_error", "server_draining"),
    "refused": (1013, "server_error", "busy"),
    "unconnected": (1013, "server_error", "busy"),
}
"""Outcome of a session → status of the WebSocket (RFC 6455, 7.4.1; IANA's registry: 1012 is a restart, 1013 try again
later; the SDKs connect again after 1001 and 1011 to 1013), type and code of the ``error`` that says so."""
_ABUSE = 1008


class TooManyMistakes(Exception):  # noqa: N818 -- a state of the client's
    """A client has sent more that cannot be used than is taken."""


class Talk:
    """The protocol's side of one session.

    Args:
        service: Has the graphs, and gives the session another one.
        address: Of the client, for limits.
        model: Name of the graph.
        settings: What the client has set so far.
        ignored: What of that changes nothing here.

    Raises:
        ApiError: If the graph is gone, or does not do what the settings ask for.

    Attributes:
        choice: What to begin the session with; later, what it has.
        session: The session, once it has begun; set by who begins it.
        closing: Whether the client has said all.
        close_code: What a WebSocket is closed with, after :meth:`farewell`.
    """

    def __init__(
        self, service: Service, address: str, model: str, settings: Settings, ignored: tuple[str, ...] = ()
    ) -> None:
        self.session: Session | None = None
        self.model = model
        self.settings = settings
        self.closing = False
        self.close_code = 1000
        self._service = service
        self._address = address
        self._ignored = ignored
        self._live = service.catalogue.find(model)
        self.choice = choice_of(self._live, settings)
        self._deltas = Deltas()
        self._greeted = False
        self._failed = False
        self._mistakes = 0
        self._elapsed_ms = 0
        self._deadline: asyncio.TimerHandle | None = None

    # What the client says -----------------------------------------------------------------------------------------

    async def heard(
        self,
        text: str | bytes,
        *,
        append: Callable[[bytes], Awaitable[None]] | None,
        finish: Callable[[], None],
        post: Callable[[str], object],
    ) -> None:
        """Do what an event asks for.

        Args:
            text: As it came.
            append: Takes audio, PCM16 at 24 kHz; may wait while there is enough. None where audio comes another way.
            finish: Called when no more is to be listened to.
            post: Takes what is told in return.

        Raises:
            TooManyMistakes: If this was one mistake too many; it has been told.

        Cancelled by: who reads the socket.
        """
        of_event: str | None = None
        try:
            event = parse(text)
            of_event = event.of_event
            if self.closing:
                raise EventError("session_closing", "The session is closing; nothing more is taken.", "type")
            match event:
                case Append(pcm=pcm):
                    if append is None:
                        raise EventError(
                            "invalid_value", "Audio comes over WebRTC's own stream in this session.", "type"
                        )
                    await append(pcm)
                case Update(session=session):
                    post(await self._update(session))
                case Close():
                    self.closing = True
                    self._deadline = asyncio.get_running_loop().call_later(CLOSE_S, self._close_now)
                    finish()
        except EventError as error:
            post(error_event(error, error.of_event or of_event))
            self._mistaken()
        except (ApiError, GraphError, ModelError, SignallingError) as error:
            post(error_event(error, of_event))
            self._mistaken()

    def _close_now(self) -> None:
        if self.session is not None:
            self.session.begin_end(f"what was under way took longer than {CLOSE_S:g} s")

    def _mistaken(self) -> None:
        self._mistakes += 1
        if self._mistakes >= MAX_MISTAKES:
            raise TooManyMistakes

    async def _update(self, given: Mapping[str, Any]) -> str:
        """Change the settings, and the graph where that is needed; the event that says so. Raises as the service."""
        settings, ignored = settings_of(given, self.model, self.settings)
        live = self._service.catalogue.find(self.model)
        choice = choice_of(live, settings)
        if choice.params != self.choice.params:
            if self.session is None:
                raise OpenAiError(409, "The session has not begun.", code="conflict")
            self._service.count_offer(self._address)
            await self._service.switch(self.session, choice, at_once=True)
            self.choice = choice
        self._live, self.settings = live, settings
        extra = {"ignored": ignored} if ignored else {}
        return write("session.updated", session=self.as_json(), **extra)

    # What the client is told --------------------------------------------------------------------------------------

    def told(self, kind: str, fields: Mapping[str, Any]) -> list[str]:
        """A message of docs/LIVE.md as events; most of them are none here."""
        if kind == "session":
            self._greeted = True
            extra = {"ignored": list(self._ignored)} if self._ignored else {}
            return [write("session.created", session=self.as_json(), **extra)]
        if not self._greeted:  # the first event says that the session is there
            return []
        if kind == "caption":
            return self._caption(fields)
        if kind == "graph" and fields["state"] == "failed":
            self._failed = True
            return [_error("server_error", "graph_failed", fields["text"])]
        if kind == "event" and fields["kind"] == "error" and not fields["data"].get("fatal"):
            return [_error("server_error", "graph_error", fields["text"])]
        return []

    def _caption(self, fields: Mapping[str, Any]) -> list[str]:
        fragment = self._deltas.add(fields)
        if fragment is None:
            return []
        events = []
        elapsed_ms = self.elapsed_ms()
        if fragment.source and self.settings.transcription is not None:
            events.append(
                write(
                    "session.input_transcript.delta",
                    delta=fragment.source,
                    elapsed_ms=elapsed_ms,
                    language=fragment.source_lang,
                )
            )
        if fragment.translation:
            events.append(
                write(
                    "session.output_transcript.delta",
                    delta=fragment.translation,
                    elapsed_ms=elapsed_ms,
                    language=fragment.target_lang,
                    source_language=fragment.source_lang,
                )
            )
        return events

    def farewell(self, reason: str) -> list[str]:
        """The last events: why it ends, unless it ends as it should, and that it has ended.

        Args:
            reason: For people.
        """
        if self._deadline is not None:
            self._deadline.cancel()
        session = self.session
        outcome = session.outcome if session is not None and session.state == "ended" else None
        events = []
        if outcome is None:
            # The connection itself gives up: on a client that does not read, sends nothing, or makes mistakes.
            self.close_code = _ABUSE
            events.append(_error("invalid_request_error", "connection_closed", reason))
        elif outcome in _ENDS:
            self.close_code, kind, code = _ENDS[outcome]
            if not (outcome == "failed" and self._failed):
                events.append(_error(kind, code, reason))
        if self._greeted:
            events.append(write("session.closed"))
        return events

    # State --------------------------------------------------------------------------------------------------------

    def elapsed_ms(self) -> int:
        """Media time of the client's audio at this moment, ms: in steps of 200, and never less than before."""
        if self.session is not None:
            now_ms = self.session.line.now_ns() // NS_PER_MS
            self._elapsed_ms = max(self._elapsed_ms, now_ms // STEP_MS * STEP_MS)
        return self._elapsed_ms

    def as_json(self) -> dict[str, Any]:
        """``session`` of an event."""
        session = self.session
        begun_s = session.started_s if session is not None else 0.0
        ends_s = int(begun_s + self._service.settings.max_session_s)
        return session_json(session.id if session is not None else "", self._live, self.settings, ends_s)


def session_json(session_id: str, live: LiveGraph, settings: Settings, ends_s: int) -> dict[str, Any]:
    """A session as OpenAI's API shows it."""
    audio = settings.as_json()
    audio["output"]["language"] = effective_language(live, settings)
    return {"id": session_id, "type": "translation", "model": live.name, "expires_at": ends_s, "audio": audio}


def error_event(error: ApiError | GraphError | ModelError | SignallingError, of_event: str | None = None) -> str:
    """An ``error`` event for what a client has asked for and cannot have."""
    return write("error", error={**error_fields(as_api_error(error)), "event_id": of_event})


def _error(kind: str, code: str, message: str) -> str:
    return write("error", error={"type": kind, "code": code, "message": message, "param": None, "event_id": None})
