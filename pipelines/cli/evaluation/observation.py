"""What a run of one recording brought forth, and when: texts, utterances, voices; ``measured.json`` beside its outputs.

Times are seconds of media from the start of the recording. A text has two: ``decided_s``, up to where the recording had
been heard when it was settled (no computing counts; it is the same on any machine), and ``aware_s``, when it would have
been there live, computing included. A run is faster than the recording, so that is worked out: each text is taken to
have cost what passed between the arrival of its last audio, or the text before it if that came later, and itself, and
to have waited for both::

    aware[i] = max(decided[i], aware[i - 1]) + (told[i] - max(arrived[i], told[i - 1]))

which is exact where one text is made after the other, and too much where the computing of a text begins before its last
audio. At the pace of the recording (``--pace``) it is read off the clock.
"""

from __future__ import annotations

import asyncio
import json
import time
import wave
from array import array
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tolmach.pipelines.bus import Bus, Message, PlacedMessage, StateMessage, TranslationMessage, UtteranceEndMessage
from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.records import write_whole
from tolmach.pipelines.frames import (
    NS_PER_S,
    AudioFrame,
    Frame,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.pipelines.graph import Graph, PadRef
from tolmach.pipelines.runtime.taps import Probe, points_of

if TYPE_CHECKING:
    # Not at run time: it brings pipecat.
    from tolmach.pipelines.runtime.runner import RunResult

NAME = "measured.json"
VERSION = 1

MAX_TEXTS = 100_000
"""Texts, utterances and voices kept of one recording, each: a day of short sentences."""
MAX_VOICE_S = 3600
"""Sound kept of one voice, s: 170 MB at 24 kHz; the times of what comes later are kept."""

GAP_S = 1.0
"""Silence behind each utterance in the file of a voice, s, so that a judge can tell them apart."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Text:
    """A final text.

    Attributes:
        element: Where it was told.
        utterance: Number of its utterance.
        part: Which part of it.
        start_s: Start of the source span, s.
        end_s: End of it, s.
        decided_s: Up to where the recording had been heard when it was settled, s; None where nobody knows.
        aware_s: When it would have been there live, computing included, s; None as above.
        source_lang: What was spoken.
        target_lang: Language of ``text``.
        text: The text; "" when rejected.
        rejected: Why there is none, or None.
        source_text: What was understood, or None.
        logprob: Mean log-probability of its tokens, or None.
    """

    element: str
    utterance: int
    part: int
    start_s: float
    end_s: float
    decided_s: float | None
    aware_s: float | None
    source_lang: str
    target_lang: str
    text: str
    rejected: str | None = None
    source_text: str | None = None
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """An utterance as it was cut out of the recording.

    Attributes:
        utterance: Its number.
        start_s: Its first sample, s.
        end_s: Just after its last one, s.
        speech_end_s: Where its last speech ended, s; None where nobody knows.
        decided_s: Up to where the recording had been heard when that was clear, s; None likewise.
        reason: Why it ended.
        cut_by: What found that a silence was the end ("pause", "turn", …), or None.
    """

    utterance: int
    start_s: float
    end_s: float
    speech_end_s: float | None
    decided_s: float | None
    reason: str
    cut_by: str | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a voice said of one utterance, or of one part of it.

    Attributes:
        file: The sound, beside ``measured.json``; "" for what was too much to keep.
        utterance: Number of the utterance.
        source_start_s: Where its source begins, s.
        source_end_s: Where its source ends, s; None where nobody knows.
        offset_s: Where its sound begins in the file, s.
        duration_s: Length of its sound, s.
        heard_s: When its first sample was there, at the pace of the recording, s; None at any other pace.
    """

    file: str
    utterance: int
    source_start_s: float
    source_end_s: float | None
    offset_s: float
    duration_s: float
    heard_s: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """All that was seen of one recording's run.

    Attributes:
        texts: In the order they came.
        cuts: Likewise.
        spoken: Likewise.
        erased_words: Words of partial texts that were taken back.
        media_s: Length of the recording, s.
        wall_s: Wall time it took, without loading models, s.
        paced: Whether it ran at the pace of the recording.
        dub_lag_s: How much later than its source an utterance lies in a dubbed file at most, s, or None.
        complete: Whether it came to its end.
    """

    texts: tuple[Text, ...]
    cuts: tuple[Cut, ...]
    spoken: tuple[Spoken, ...]
    erased_words: int
    media_s: float
    wall_s: float
    paced: bool = False
    dub_lag_s: float | None = None
    complete: bool = True


def load_observation(folder: Path) -> Observation | None:
    """What was measured in ``folder``; None where this version cannot read it. Blocks."""
    try:
        data = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if data.pop("v", None) != VERSION:
            return None
        for name, kind in (("texts", Text), ("cuts", Cut), ("spoken", Spoken)):
            data[name] = tuple(_read(kind, each) for each in data[name])
        return _read(Observation, data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _read(kind: type[T], data: Mapping[str, Any]) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # all of them are dataclasses
    return kind(**{name: value for name, value in data.items() if name in known})


def save_observation(folder: Path, seen: Observation) -> None:
    """Write ``measured.json``. Blocks. Raises OSError."""
    text = json.dumps({"v": VERSION, **asdict(seen)}, ensure_ascii=False, indent=1) + "\n"
    write_whole(folder / NAME, text.encode("utf-8", errors="backslashreplace"))


class Observer:
    """Looks on while a batch runs, and writes what it saw into each recording's folder.

    Args:
        paced: Whether the sources run at the pace of the recording.
    """

    def __init__(self, *, paced: bool = False) -> None:
        self._paced = paced
        self._listeners: dict[str, Listener] = {}

    def attend(self, job: Job, graph: Graph, bus: Bus) -> Mapping[PadRef, Probe]:
        """Listen to a run."""
        listener = self._listeners[job.name] = Listener(graph, paced=self._paced)
        bus.subscribe(listener.take)
        return listener.probes

    async def depose(self, job: Job, result: RunResult) -> None:
        """Write down what was seen of it. Raises OSError. Cancelled by: nobody."""
        listener = self._listeners.pop(job.name)
        seen = listener.seen(result)
        await asyncio.to_thread(_save, job.output, seen, listener.voices)


def _save(folder: Path, seen: Observation, voices: Mapping[str, _Voice]) -> None:
    for voice in voices.values():
        if voice.blocks:
            with wave.open(str(folder / voice.file), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(voice.rate_hz)
                for block in voice.blocks:
                    file.writeframes(block)
    save_observation(folder, seen)


@dataclass(slots=True)
class _Voice:
    """The sound of one voice so far, 16 bit mono."""

    file: str
    rate_hz: int = 0
    blocks: list[bytes] = field(default_factory=list)
    samples: int = 0  # said in all
    start: UtteranceStart | None = None
    begun: int = 0  # samples before the utterance in hand
    heard_s: float | None = None


class _Arrivals:
    """When which media time of a stream passed."""

    def __init__(self) -> None:
        self._media_ns = array("q")
        self._wall_s = array("d")

    def note(self, media_ns: int, wall_s: float) -> None:
        if not self._media_ns or media_ns > self._media_ns[-1]:
            self._media_ns.append(media_ns)
            self._wall_s.append(wall_s)

    def of(self, media_ns: int) -> float | None:
        """When the last of what lies before ``media_ns`` passed."""
        at = bisect_right(self._media_ns, media_ns)
        return self._wall_s[at - 1] if at else None


class Listener:
    """Takes down one run.

    Args:
        graph: Its graph.
        paced: Whether its sources run at the pace of the recording.
    """

    def __init__(self, graph: Graph, *, paced: bool = False) -> None:
        self._paced = paced
        self._texts: list[Text] = []
        self._cuts: list[Cut] = []
        self._spoken: list[Spoken] = []
        self._partial: dict[tuple[str, int, int], list[str]] = {}
        self._erased = 0
        self._playing_s = time.perf_counter()
        self._told_s = 0.0
        self._aware_s = 0.0
        self._lag_ns: int | None = None
        self.voices: dict[str, _Voice] = {}
        self._arrivals: dict[str, _Arrivals] = {}
        self.probes: dict[PadRef, Probe] = {}
        points = points_of(graph)
        several = sum(point == "voice" for point in points.values()) > 1
        for pad, point in points.items():
            if point == "voice":
                self.voices[pad.node] = _Voice(f"voice-{pad.node}.wav" if several else "voice.wav")
                self.probes[pad] = self._voice_probe(self.voices[pad.node])
            elif point == "utterance":
                self._arrivals[pad.node] = _Arrivals()
                self.probes[pad] = self._cut_probe(self._arrivals[pad.node])

    def take(self, message: Message) -> None:
        """Subscribe this to the bus."""
        match message:
            case TranslationMessage(frame=frame) if not frame.speculative:
                self._text(message.element, frame)
            case UtteranceEndMessage(frame=end) if len(self._cuts) < MAX_TEXTS:
                places = (end.pts_ns, end.end_ns)
                start_s, end_s = (_seconds(ns) for ns in places)
                speech_end_s, decided_s = _maybe(end.speech_end_ns), _maybe(end.decided_ns)
                self._cuts.append(Cut(end.utterance, start_s, end_s, speech_end_s, decided_s, end.reason, end.cut_by))
            case PlacedMessage():
                self._lag_ns = max(message.lag_ns, self._lag_ns or 0)
            case StateMessage(state="playing"):
                self._playing_s = time.perf_counter()

    def seen(self, result: RunResult) -> Observation:
        """Everything so far."""
        return Observation(
            texts=tuple(self._texts),
            cuts=tuple(self._cuts),
            spoken=tuple(self._spoken),
            erased_words=self._erased,
            media_s=_seconds(result.media_ns),
            wall_s=round(result.playing_s, 3),
            paced=self._paced,
            dub_lag_s=_maybe(self._lag_ns),
            complete=result.status == "done",
        )

    def _text(self, element: str, frame: TranslationFrame) -> None:
        key = (element, frame.utterance, frame.part)
        words = frame.text.split()
        shown = self._partial.pop(key, [])
        kept = next((at for at, (a, b) in enumerate(zip(shown, words, strict=False)) if a != b), len(words))
        self._erased += max(0, len(shown) - kept)
        if not frame.final:
            if len(self._partial) < MAX_TEXTS:
                self._partial[key] = words
            return
        if len(self._texts) < MAX_TEXTS:
            decided_ns = frame.decided_ns
            self._texts.append(
                Text(
                    element=element,
                    utterance=frame.utterance,
                    part=frame.part,
                    start_s=_seconds(frame.pts_ns),
                    end_s=_seconds(frame.end_ns),
                    decided_s=_maybe(decided_ns),
                    aware_s=None if decided_ns is None else round(self._aware(decided_ns), 3),
                    source_lang=frame.source_lang,
                    target_lang=frame.target_lang,
                    text=frame.text,
                    rejected=frame.rejected,
                    source_text=frame.source_text,
                    logprob=None if frame.logprob is None else round(frame.logprob, 4),
                )
            )

    def _aware(self, decided_ns: int) -> float:
        now = time.perf_counter()
        if self._paced:
            return max(now - self._playing_s, decided_ns / NS_PER_S)
        arrivals = [at for each in self._arrivals.values() if (at := each.of(decided_ns)) is not None]
        begun = max([self._told_s, *arrivals])
        cost = now - begun if begun else 0.0
        self._told_s = now
        self._aware_s = max(decided_ns / NS_PER_S, self._aware_s) + cost
        return self._aware_s

    def _cut_probe(self, arrivals: _Arrivals) -> Probe:
        async def probe(frame: Frame) -> None:
            if isinstance(frame, AudioFrame):
                arrivals.note(frame.end_ns, time.perf_counter())
            elif isinstance(frame, UtteranceEnd):
                arrivals.note(frame.end_ns if frame.decided_ns is None else frame.decided_ns, time.perf_counter())

        return probe

    def _voice_probe(self, voice: _Voice) -> Probe:
        async def probe(frame: Frame) -> None:
            if isinstance(frame, UtteranceStart):
                voice.start, voice.begun, voice.heard_s = frame, voice.samples, None
            elif isinstance(frame, AudioFrame):
                if voice.samples == voice.begun and self._paced:
                    voice.heard_s = round(time.perf_counter() - self._playing_s, 3)
                voice.rate_hz = voice.rate_hz or frame.rate_hz
                if frame.rate_hz == voice.rate_hz and voice.samples < MAX_VOICE_S * voice.rate_hz:
                    voice.blocks.append(_pcm(frame))
                voice.samples += len(frame.samples)
            elif isinstance(frame, UtteranceEnd) and voice.start is not None and len(self._spoken) < MAX_TEXTS:
                rate = voice.rate_hz or 1
                duration_s = _seconds(samples_to_ns(voice.samples - voice.begun, rate))
                kept = voice.samples <= MAX_VOICE_S * rate
                self._spoken.append(
                    Spoken(
                        file=voice.file if kept and voice.blocks else "",
                        utterance=voice.start.utterance,
                        source_start_s=_seconds(voice.start.pts_ns),
                        source_end_s=_maybe(voice.start.source_end_ns),
                        offset_s=_seconds(samples_to_ns(voice.begun, rate)),
                        duration_s=duration_s,
                        heard_s=voice.heard_s,
                    )
                )
                voice.start = None
                gap = round(GAP_S * rate)
                if kept:
                    voice.blocks.append(bytes(2 * gap))
                voice.samples += gap

        return probe


def _pcm(frame: AudioFrame) -> bytes:
    mono = frame.samples.mean(axis=1) if frame.channels > 1 else frame.samples[:, 0]
    return bytes((np.clip(np.nan_to_num(mono), -1, 1) * 32767).astype("<i2").tobytes())


def _seconds(ns: int) -> float:
    return round(ns / NS_PER_S, 3)


def _maybe(ns: int | None) -> float | None:
    return None if ns is None else _seconds(ns)
