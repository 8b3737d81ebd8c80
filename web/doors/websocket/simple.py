"""PCM in, a WAV file and a text an utterance out: a WebSocket for scripts and pages of fifty lines.

The client says ``{"mode": "auto"}`` (or ``"en->ru"``), then sends PCM, 16 bit, as it comes from the microphone or as
fast as it likes. Of each utterance it gets ``{"src": "en", "tgt": "ru", "text": "…"}`` and a binary message with a WAV
file, whole, to be played one after the other. It is sent as soon as the speech is made, not at the pace at which it is
played: a client that waits for the end of a file before it plays it would wait twice.

``__flush__`` ends the utterance that is open, ``__clear__`` throws away what waits to be said, ``__end__`` says that
nothing will follow: what is under way is still answered, then the server closes.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.opus import RTP_RATE_HZ
from tolmach.transports.webrtc.outgoing.sender import OutgoingPacket
from tolmach.transports.webrtc.signalling.messages import to_json
from tolmach.transports.websocket.pcm_peer import PcmPeer, Socket
from tolmach.web.catalogue.catalogue import GraphCatalogue
from tolmach.web.catalogue.graph import LiveGraph
from tolmach.web.doors.websocket.hello import Hello, HelloError
from tolmach.web.errors import ApiError
from tolmach.web.sessions.run import Choice

__all__ = ["FLUSH", "SimplePeer", "choice_of", "wav"]

FLUSH, CLEAR, END = "__flush__", "__clear__", "__end__"

MAX_WAV_S = 10
"""Longest file: more speech comes in several, so that a client need not wait for the end of a long sentence. Also how
audio comes that has no utterances, as from `echo`."""
_QUIET_S = 2.0
"""Speech whose voice makes nothing more for so long is sent as it is."""
_REMEMBERED = 64
"""Utterances whose texts are under way at a time."""
_MODE = re.compile(r"\s*([A-Za-z][\w-]{0,34})\s*(?:->|→)\s*([A-Za-z][\w-]{0,34})\s*")
AUTO = "auto"
SOURCE, TARGET = "source_lang", "target_lang"
"""The roles of params that mean the direction; what they are called is the graph's affair."""


def choice_of(hello: Hello, catalogue: GraphCatalogue) -> Choice:
    """What a client asks for, its mode as params of the graph.

    Raises:
        ApiError: 404 if there is no such graph, 400 if the mode is none, or none of this graph.
    """
    name = hello.graph or catalogue.default
    if name is None:
        raise ApiError(503, "busy", "no graph can be used at the moment", 15)
    params = dict(hello.params)
    if hello.mode is not None:
        params = {**_direction(hello.mode, catalogue.find(name)), **params}
    return Choice(name, params, hello.settings)


def _direction(mode: str, graph: LiveGraph) -> dict[str, Any]:
    """The params that a mode means."""
    by_role = {str(param.role): param for param in graph.params if param.role in (SOURCE, TARGET)}
    if mode.strip().lower() == AUTO:
        # Where a graph cannot find the language by itself, its own direction is what is left to it.
        return {p.name: AUTO for p in by_role.values() if AUTO in p.choices or (not p.choices and p.default == AUTO)}
    found = _MODE.fullmatch(mode)
    if found is None:
        raise HelloError(f'{mode!r} is no mode: use "auto", or two languages as in "en->ru"')
    wanted = dict(zip((SOURCE, TARGET), found.groups(), strict=True))
    missing = [role for role in wanted if role not in by_role]
    if missing:
        raise HelloError(f'the graph {graph.name!r} has a direction of its own: use the mode "auto"')
    return {by_role[role].name: language for role, language in wanted.items()}


class SimplePeer(PcmPeer):
    """A client of this dialect.

    Args:
        socket: Accepted already.
        hello: What it has said.
        idle_s: When who sends no audio at all is hung up on, s.
    """

    def __init__(self, socket: Socket, hello: Hello, *, idle_s: float | None = None) -> None:
        super().__init__(socket, paced=False, idle_s=idle_s)
        self.rate_hz = hello.rate_hz
        self.channels = hello.channels
        self.said_goodbye = True  # it has no way to come back
        self._speech: list[Samples] = []
        self._length = 0
        self._quiet: asyncio.TimerHandle | None = None
        self._parts: dict[tuple[int, str], dict[int, str]] = {}
        self._told: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        self._ending = False

    async def heard(self, text: str) -> None:
        """Take a message of text; what is none of ours is passed over."""
        if text == FLUSH:
            await self.receiver.flush()
        elif text == CLEAR:
            self._forget()
            self.said({"v": 1, "type": "clear"})
        elif text == END:
            self._ending = True
            self.receiver.end()

    def play(self, packet: OutgoingPacket) -> None:
        """Collect speech; what is complete is sent."""
        if packet.samples is not None:
            self._speech.append(packet.samples)
            self._length += len(packet.samples)
        if packet.ends or self._length >= MAX_WAV_S * RTP_RATE_HZ:
            self._send_speech()
        elif self._speech:
            if self._quiet is not None:
                self._quiet.cancel()
            self._quiet = asyncio.get_running_loop().call_later(_QUIET_S, self._send_speech)

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> bool:
        """Of all that is told, the texts that are final; an utterance of several parts is told when it is whole."""
        if kind != "caption" or not fields["final"]:
            return True
        key = (int(fields["utterance"]), str(fields["target_lang"]))
        if key in self._told:  # it comes again when it will not be spoken
            return True
        parts = self._parts.setdefault(key, {})
        parts[int(fields["part"])] = str(fields["text"])
        if len(self._parts) > _REMEMBERED:
            del self._parts[next(iter(self._parts))]
        if fields["more"]:
            return True
        self._parts.pop(key, None)
        self._told.append(key)
        text = " ".join(parts[number] for number in sorted(parts) if parts[number])
        return not text or self.post(
            to_json({"src": fields["source_lang"], "tgt": fields["target_lang"], "text": text})
        )

    def last_words(self, reason: str) -> None:
        """What was made of the last utterance; and why it is over, unless the client has asked for that."""
        self._send_speech()
        if not self._ending:
            self.post(to_json({"error": {"code": "ended", "message": reason, "retry_after_s": None}}))

    def _send_speech(self) -> None:
        speech = self._speech
        self._forget()
        if speech:
            self.post(wav(np.concatenate(speech)))

    def _forget(self) -> None:
        self._speech, self._length = [], 0
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None


def wav(samples: Samples) -> bytes:
    """A WAV file: mono, 16 bit, 48 kHz.

    Args:
        samples: float32[n], mono, 48 kHz.
    """
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    # Multimedia Programming Interface and Data Specifications 1.0, 1991: RIFF, fmt and data chunks of PCM.
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + len(pcm), b"WAVE", b"fmt ", 16, 1, 1, RTP_RATE_HZ, 2 * RTP_RATE_HZ, 2, 16, b"data", len(pcm)),
    )
    return head + pcm
