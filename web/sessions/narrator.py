"""What a session tells its client over the data channel: captions, timelines, which graph runs, what flows.

A timeline is on the capture clock of the session: a step's time is the media time that arrives at the server at that
moment, less the end of the speech. So it holds what the listener waits for, network and jitter buffer on the way in
included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from tolmach.pipelines.bus import (
    HeardMessage,
    Message,
    NoticeMessage,
    TranslationMessage,
    UnspokenMessage,
    UtteranceEndMessage,
    UtteranceStartMessage,
    VoiceMessage,
    VoicePaceMessage,
)
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, CutBy, EndReason, UtteranceEnd
from tolmach.transports.peer import Peer
from tolmach.transports.webrtc.signalling import messages
from tolmach.web.errors import without_paths
from tolmach.web.sessions.run import Choice, Run
from tolmach.web.sessions.transcript import Caption, RunNumbers, Transcript

__all__ = ["Narrator", "Place", "Timing", "Timings", "Told"]

_REMEMBERED = 200
"""Utterances under way at a time; far more than the engines hold."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A ``timeline`` message of docs/LIVE.md, ms."""

    utterance: int
    start_ms: int
    end_ms: int
    reason: EndReason
    cut_by: CutBy | None
    cut: str
    vad_ms: int | None
    ast_ms: int | None
    tts_ms: int | None
    heard_ms: int | None

    def as_json(self) -> dict[str, Any]:
        """The fields of the message."""
        return asdict(self)


@dataclass(slots=True)
class _UnderWay:
    """When the steps of an utterance were done, on the session's clock, ns."""

    end: UtteranceEnd | None = None
    vad_ns: int | None = None
    ast_ns: int | None = None
    tts_ns: int | None = None
    heard_ns: int | None = None


class Timings:
    """The utterances that are on their way.

    Of an utterance that is translated while it is spoken, text and sound may be there before it ends. They are kept
    until then, for all is told from its end; what comes of its later parts is not told.
    """

    def __init__(self) -> None:
        self._under_way: dict[int, _UnderWay] = {}

    def closed(self, utterance: int, end: UtteranceEnd, now_ns: int) -> Timing | None:
        """The detector has decided that the utterance is over."""
        found = self._of(utterance)
        found.end, found.vad_ns = end, now_ns
        return _told(utterance, found)

    def translated(self, utterance: int, now_ns: int) -> Timing | None:
        """Its first final text (or the reason why there is none) is there; None where that is nothing to tell."""
        found = self._of(utterance)
        if found.ast_ns is not None:
            return None
        found.ast_ns = now_ns
        return _told(utterance, found)

    def voiced(self, utterance: int, now_ns: int) -> Timing | None:
        """Its first audio is made."""
        found = self._of(utterance)
        if found.tts_ns is not None:
            return None
        found.tts_ns = now_ns
        return _told(utterance, found)

    def heard(self, utterance: int, heard_ns: int) -> Timing | None:
        """Its first audio has now been sent."""
        found = self._of(utterance)
        if found.heard_ns is not None:
            return None
        found.heard_ns = heard_ns
        return _told(utterance, found)

    def _of(self, utterance: int) -> _UnderWay:
        if utterance not in self._under_way and len(self._under_way) >= _REMEMBERED:
            del self._under_way[next(iter(self._under_way))]
        return self._under_way.setdefault(utterance, _UnderWay())


def _told(utterance: int, found: _UnderWay) -> Timing | None:
    """What is to be told of it; nothing before its end."""
    end = found.end
    if end is None:
        return None
    end_ms = (end.end_ns if end.speech_end_ns is None else end.speech_end_ns) // NS_PER_MS

    def since(at_ns: int | None) -> int | None:
        return None if at_ns is None else at_ns // NS_PER_MS - end_ms

    return Timing(
        utterance,
        end.pts_ns // NS_PER_MS,
        end_ms,
        end.reason,
        end.cut_by,
        end.cut,
        since(found.vad_ns),
        since(found.ast_ns),
        since(found.tts_ns),
        since(found.heard_ns),
    )


PAGE = 50
"""Captions told again at a time, some 20 kB."""
LATE = 10
"""Captions told to a listener who comes late: what a screen shows."""
TOLD_TO_ALL = ("caption", "speech")
"""What listeners are told; the rest is of the session's own client."""


class Told(Protocol):
    """Who can be told something: a client, or all who listen."""

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> object:
        """Say it; see :meth:`tolmach.transports.peer.Peer.tell`."""


class Place(Protocol):
    """Where a narrator's clients are: a line."""

    @property
    def connection(self) -> Told | None:
        """Who is there now."""

    def now_ns(self) -> int:
        """Media time at this moment, ns."""


class Narrator:
    """Turns what graphs say into messages of docs/LIVE.md, and keeps what a client that comes back must hear again.

    Args:
        place: Who is there takes the messages.
        on_first_audio: Takes the time from the end of speech to its first translated audio, s; less than 0 where that
            was heard before.
        on_voice_lag: Takes how far the voice is behind, s, for each text that it begins to speak.

    Attributes:
        transcript: The captions so far.
        speaking: Whether somebody is speaking now, as the detector sees it.
        audience: Who listens besides, and is told what is said.
        spoke_s: When somebody last began or stopped, monotonic, s; at first when the narrator was made.
    """

    def __init__(
        self,
        place: Place,
        on_first_audio: Callable[[float], None],
        on_voice_lag: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.transcript = Transcript()
        self.speaking = False
        self.spoke_s = time.monotonic()
        self._place = place
        self.audience: Told | None = None
        self._on_first_audio = on_first_audio
        self._on_voice_lag = on_voice_lag
        self._timings = Timings()
        self._told_of_graph: dict[str, Any] = {}
        self._recorded_until_ns: int | None = None

    def send(self, kind: str, /, *, ephemeral: bool = False, **fields: Any) -> None:
        """Send a message, if anybody is there to hear it.

        Args:
            kind: Its type.
            ephemeral: Whether it is of the moment, and not worth sending to a client that is far behind.
            fields: What it says.
        """
        if self._place.connection is not None:
            self._place.connection.tell(kind, fields, ephemeral=ephemeral)
        if self.audience is not None and kind in TOLD_TO_ALL:
            self.audience.tell(kind, fields, ephemeral=ephemeral)

    def catch_up(self, listener: Told) -> None:
        """Tell one who came late to listen what was said last."""
        for caption in tuple(self.transcript)[-LATE:]:
            listener.tell("caption", {**caption.as_json(), "replayed": True})

    def greet(self, session: str, choice: Choice | None, *, resumed: bool) -> None:
        """Tell a new connection where it is; :meth:`replay` tells what was said so far."""
        told = choice.as_json() if choice is not None else {}
        self.send("session", session=session, resumed=resumed, **told)
        if self._recorded_until_ns is not None:
            self.tell_recording_full(self._recorded_until_ns)
        self._told_of_graph = {}

    async def replay(self, connection: Peer) -> None:
        """Tell a connection what was said so far, a page at a time, as fast as it takes it.

        What is said meanwhile goes between the pages; a caption that has changed meanwhile is told as it is now.

        Cancelled by: the session's end.
        """
        keys = [caption.key for caption in self.transcript]
        for at in range(0, len(keys), PAGE):
            if connection is not self._place.connection:
                return
            for key in keys[at : at + PAGE]:
                caption = self.transcript.get(key)
                if caption is not None:
                    self.send("caption", **caption.as_json(), replayed=True)
            await connection.flushed()

    def tell_run(self, run: Run) -> None:
        """Tell the state of a graph, unless that was the last thing told of one."""
        told = {"state": run.state, "text": run.text, **run.choice.as_json()}
        if told != self._told_of_graph:
            self._told_of_graph = told
            self.send("graph", **told)

    def tell_flow(self, runs: Sequence[Run]) -> None:
        """Tell which elements have worked since the last time."""
        for run in runs:
            if run.state == "current" and (moved := run.flowed()):
                self.send("flow", elements=moved, ephemeral=True)

    def tell_recording_full(self, end_ns: int) -> None:
        """Tell that what is spoken from here on is heard, and not in the recording any more.

        Args:
            end_ns: Media time at which the recording ends, ns.
        """
        self._recorded_until_ns = end_ns
        minutes = round(end_ns / NS_PER_S / 60)
        self.send(
            "event",
            kind="warning",
            element="",
            text=f"The recording of this session is full: the download of what was spoken ends at minute {minutes}. "
            "Translations go on, and so do captions and their downloads.",
            pts_ms=end_ns // NS_PER_MS,
            data={"recorded_until_ms": end_ns // NS_PER_MS},
        )

    def heard_of(self, run: Run, message: Message) -> None:
        """Take a message of a graph's bus."""
        self.take(run.numbers, message)

    def take(self, numbers: RunNumbers, message: Message, speaker: str = "") -> None:
        """Take a message of a bus.

        Args:
            numbers: Numbers of the utterances of that graph, or of one speaker in it.
            message: What was posted.
            speaker: The seat of who spoke, in a room.
        """
        now_ns = self._place.now_ns()
        timing: Timing | None = None
        match message:
            case UtteranceStartMessage(frame=start):
                self._tell_speech(True, start.pts_ns)
            case UtteranceEndMessage(frame=end):
                self._tell_speech(False, end.end_ns)
                timing = self._timings.closed(numbers[end.utterance], end, now_ns)
                self._tell_first_audio(timing)
            case TranslationMessage(frame=translation):
                caption = Caption.of(translation, numbers[translation.utterance], speaker)
                self.transcript.add(caption)
                self.send("caption", **caption.as_json(), replayed=False)
                timing = self._timings.translated(caption.utterance, now_ns) if caption.final else None
            case VoiceMessage(frame=voice):
                timing = self._timings.voiced(numbers[voice.utterance], now_ns)
            case VoicePaceMessage():
                self._tell_pace(numbers, message)
            case UnspokenMessage():
                self._tell_unspoken(numbers, message)
            case HeardMessage():
                timing = self._timings.heard(numbers[message.utterance], message.heard_ns)
                self._tell_first_audio(timing)
            case NoticeMessage() if self._place.connection is not None:
                self._place.connection.tell("event", messages.event(replace(message, text=without_paths(message.text))))
        if timing is not None:
            self.send("timeline", **timing.as_json())

    def _tell_pace(self, numbers: RunNumbers, message: VoicePaceMessage) -> None:
        self._on_voice_lag(message.lag_ns / NS_PER_S)
        self.send(
            "voice",
            utterance=numbers[message.utterance],
            part=message.part,
            lag_ms=message.lag_ns // NS_PER_MS,
            tempo=round(message.tempo, 3),
            ephemeral=True,
        )

    def _tell_unspoken(self, numbers: RunNumbers, message: UnspokenMessage) -> None:
        for caption in self.transcript.mark_unspoken(numbers[message.utterance], message.part):
            self.send("caption", **caption.as_json(), replayed=False)

    def _tell_first_audio(self, timing: Timing | None) -> None:
        if timing is not None and timing.heard_ms is not None:
            self._on_first_audio(timing.heard_ms / 1000)

    def _tell_speech(self, active: bool, at_ns: int) -> None:
        self.speaking = active
        self.spoke_s = time.monotonic()
        self.send("speech", active=active, at_ms=at_ns // NS_PER_MS)
