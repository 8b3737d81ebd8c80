"""What every voice activity detector has in common: windows, their level, media time, utterances."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.frames import (
    NS_PER_MS,
    AudioFrame,
    EndReason,
    Frame,
    PauseAnswer,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    samples_to_ns,
)
from tolmach.processors.vad.ending import Ending
from tolmach.processors.vad.endpointing import Closed, Endpointer, Endpointing, Event, Mono, Opened, Paused
from tolmach.processors.vad.smart_turn import SAMPLES, SmartTurn, model_path
from tolmach.processors.vad.spec import RATE_HZ, VadSettings

Windows: TypeAlias = npt.NDArray[np.float32]
"""float32[count, window], mono, 16 kHz, [-1, 1]: consecutive windows."""

_INLINE_WINDOWS = 6
"""Decisions made on the event loop (under a millisecond with Silero); a longer frame is judged in a thread."""

_BATCH_WINDOWS = 256
"""Decisions made at once, which bounds memory whatever the size of a frame."""

_PROGRESS_NS = 100 * NS_PER_MS
"""How often branches that wait for this one hear how far it has come, in media time."""


def endpointing(
    settings: VadSettings,
    *,
    onset_threshold: float,
    offset_threshold: float,
    confident_threshold: float,
    doubtful_onset_ms: int,
) -> Endpointing:
    """Endpointing as the settings say, with what the detector's decisions mean."""
    return Endpointing(
        rate_hz=RATE_HZ,
        onset_threshold=onset_threshold,
        offset_threshold=offset_threshold,
        confident_threshold=confident_threshold,
        doubtful_onset_ms=doubtful_onset_ms,
        onset_ms=settings.onset_ms,
        min_utterance_ms=settings.min_utterance_ms,
        hangover_ms=settings.hangover_ms,
        pre_roll_ms=settings.pre_roll_ms,
        post_roll_ms=settings.fitting_post_roll_ms,
        max_utterance_ms=settings.max_utterance_ms,
        cut_search_ms=settings.fitting_cut_search_ms,
        pause_ms=settings.fitting_pause_ms if settings.tells_pauses else None,
        ask_ms=settings.pause_ms,
        ending=ending(settings) if settings.finds_ends else None,
    )


def ending(settings: VadSettings) -> Ending:
    """How much silence ends an utterance, as the settings say."""
    return Ending(
        shortest_ms=settings.fitting_min_hangover_ms,
        longest_ms=settings.hangover_ms,
        turn_threshold=settings.turn_threshold if settings.turn != "off" else None,
        unfinished_threshold=settings.unfinished_threshold,
        adaptive=settings.adaptive,
    )


class VadElement(Element):
    """Base of the detectors: cuts the stream into windows, asks for decisions, passes utterances on.

    A subclass says how long a window is and how to judge windows; everything else is here. Frames leave on the grid of
    the windows, so what follows sees the same frames however the input was cut.

    Args:
        settings: Settings of the detector.
        context: From the graph.
        window: Samples per decision.
        leveller: What raises quiet audio for the detector, if not as Silero needs it.
    """

    def __init__(
        self,
        settings: VadSettings,
        context: Context,
        *,
        window: int,
        leveller: Leveller | None = None,
    ) -> None:
        super().__init__(settings, context)
        self._window = window
        self._parameters = self.parameters(settings)
        self._endpointer = Endpointer(self._parameters)
        self._leveller = leveller or Leveller(settings.max_gain_db, window / RATE_HZ)
        self._rest: Mono = np.zeros(0, np.float32)  # shorter than a window, not judged yet
        self._anchor_ns = 0
        self._received = 0
        self._warned = False
        self._said_ns = 0
        self._turn: SmartTurn | None = None
        self._heard: deque[Mono] = deque(maxlen=-(-SAMPLES // window))  # what a turn detector may listen to
        self._asked: tuple[int, PauseAnswer] | None = None  # end of the speech before the pause told last

    async def start(self) -> None:
        """Load the turn detector, if one is wanted, once per process.

        Raises:
            ModelMissingError: If it is not installed.
        """
        if self.settings.turn == "smart_turn" and self._turn is None:
            self._turn = await asyncio.to_thread(lambda: SmartTurn(model_path()))

    async def warm(self) -> None:
        """Ask the turn detector once about nothing."""
        if self._turn is not None:
            await asyncio.to_thread(self._turn.probability, np.zeros(RATE_HZ, np.float32))

    def parameters(self, settings: Any) -> Endpointing:
        """Where utterances begin and end with these settings (:func:`endpointing`)."""
        raise NotImplementedError  # pragma: no cover - abstract

    def judge(self, windows: Windows) -> list[float]:
        """Decide on consecutive windows, 0 silence … 1 speech, carrying state from call to call.

        Runs on the event loop for a few windows and in a thread for many; never concurrently.
        """
        raise NotImplementedError  # pragma: no cover - abstract

    def restart(self) -> None:
        """Forget the detector's state: what follows is another stream."""
        raise NotImplementedError  # pragma: no cover - abstract

    async def process(self, frame: Frame, pad: str) -> None:
        """Take audio of 16 kHz mono in any portions."""
        name = self.context.name
        if not isinstance(frame, AudioFrame):
            text = f"{name}: got a {type(frame).__name__} frame; it takes audio that is not cut into utterances yet. "
            raise self.context.error(text + "Put one voice activity detector into a branch.", frame.pts_ns)
        if frame.rate_hz != RATE_HZ or frame.samples.ndim != 2 or frame.channels != 1:
            text = f"{name}: got audio at {frame.rate_hz} Hz with shape {frame.samples.shape}; it takes {RATE_HZ} Hz "
            remedy = f"mono. Put {{type: resample, rate_hz: {RATE_HZ}, channels: 1}} before it."
            raise self.context.error(text + remedy, frame.pts_ns)
        if not len(frame.samples):
            return
        expected_ns = self._at_ns(self._received)
        if not self._received:
            self._anchor_ns = frame.pts_ns
        elif abs(frame.pts_ns - expected_ns) > samples_to_ns(1, RATE_HZ):
            await self._end("silence")
            self._anchor_ns = frame.pts_ns
        self._received += len(frame.samples)
        # A copy of what is kept: events hold views of it, and the input belongs to everybody.
        audio = np.concatenate((self._rest, self._finite(frame)))
        whole = len(audio) // self._window
        self._rest = audio[whole * self._window :]
        for first in range(0, whole, _BATCH_WINDOWS):
            count = min(_BATCH_WINDOWS, whole - first)
            windows = audio[first * self._window : (first + count) * self._window].reshape(count, self._window)
            levelled = self._leveller.level(windows)
            inline = count <= _INLINE_WINDOWS
            decisions = self.judge(levelled) if inline else await asyncio.to_thread(self.judge, levelled)
            for window, decision in zip(windows, decisions, strict=True):
                await self._hear(window, decision)
            settled_ns = self._at_ns(self._endpointer.settled)
            if abs(settled_ns - self._said_ns) >= _PROGRESS_NS:
                self._said_ns = settled_ns
                await self.context.progress(settled_ns)

    async def _hear(self, window: Mono, decision: float) -> None:
        endpointer, turn = self._endpointer, self._turn
        if self._asked is not None:
            speech_end, answer = self._asked
            if answer.evidence is not None:
                endpointer.judge_translation(speech_end, answer.evidence)
            if answer.given:
                self._asked = None
        await self._emit(endpointer.push(window, decision))
        if turn is None:
            return
        self._heard.append(window)
        if (asked := endpointer.asks) is not None:
            # The stream waits here, so the answer counts at this very window however the audio comes.
            audio = np.concatenate(self._heard)[-len(asked) :]
            probability = await asyncio.to_thread(turn.probability, audio)
            if endpointer is self._endpointer:
                await self._emit(endpointer.judge_finished(probability))

    async def progress(self, time_ns: int, pad: str) -> None:
        """The audio itself says how far it has come; what may still become an utterance is known here."""

    async def drain(self) -> None:
        """Judge the last, incomplete window, close what is open, and say how long the stream was."""
        end_ns = self._at_ns(self._received)
        await self._end("eos")
        await self.context.progress(end_ns)

    async def stop(self) -> None:
        """Throw the state away."""
        self._forget()

    def reset(self, utterance: int | None) -> None:
        """Throw the utterance in hand away; the next frame starts afresh."""
        self._forget()

    def change_settings(self, settings: Any) -> None:
        """Cut otherwise from the next utterance on, and amplify otherwise from the next window on."""
        super().change_settings(settings)
        self._parameters = self.parameters(settings)
        self._endpointer.change(self._parameters)
        self._leveller.allow(settings.max_gain_db)

    @property
    def latency_ns(self) -> int:
        """One window: an open utterance passes as it is decided on."""
        return samples_to_ns(self._window, RATE_HZ)

    @property
    def mid_utterance(self) -> bool:
        """Whether somebody is speaking, or has perhaps just begun to."""
        return not self._endpointer.at_rest

    def _forget(self) -> None:
        # The number of an utterance is never used twice, even when one was thrown away.
        taken = self._endpointer.utterance + self._endpointer.is_open
        own_pauses = self._endpointer.own_pauses  # the speaker is who it was
        self._endpointer = Endpointer(self._parameters, first_utterance=taken, own_pauses=own_pauses)
        self._heard.clear()
        self._asked = None
        self._rest = np.zeros(0, np.float32)
        self._anchor_ns = 0
        self._received = 0
        self._leveller.restart()
        self.restart()

    def _at_ns(self, sample: int) -> int:
        return self._anchor_ns + samples_to_ns(sample, RATE_HZ)

    async def _end(self, reason: EndReason) -> None:
        if len(self._rest):
            padded = np.pad(self._rest, (0, self._window - len(self._rest)))[None, :]
            await self._emit(self._endpointer.push(self._rest, self.judge(self._leveller.level(padded))[0]))
        await self._emit(self._endpointer.finish(reason))
        self._forget()

    async def _emit(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Opened):
                await self.context.push(UtteranceStart(event.utterance, self._at_ns(event.start)))
            elif isinstance(event, Closed):
                places = (event.start, event.end, event.speech_end, self._endpointer.heard)
                start_ns, end_ns, speech_end_ns, decided_ns = map(self._at_ns, places)
                self._asked = None
                found = (event.cut_by, event.cut)
                await self.context.push(
                    UtteranceEnd(event.utterance, start_ns, end_ns, event.reason, speech_end_ns, decided_ns, *found)
                )
            elif isinstance(event, Paused):
                start_ns, end_ns, speech_end_ns = map(self._at_ns, (event.start, event.end, event.speech_end))
                # What a translator says depends on timing, so only a live graph listens.
                answer = PauseAnswer() if self.settings.translation and self.context.live else None
                self._asked = (event.speech_end, answer) if answer is not None else None
                await self.context.push(UtterancePause(event.utterance, start_ns, end_ns, speech_end_ns, answer))
            else:
                samples = np.ascontiguousarray(event.samples[:, None])
                await self.context.push(AudioFrame(samples, RATE_HZ, self._at_ns(event.start), event.utterance))

    def _finite(self, frame: AudioFrame) -> Mono:
        """The samples of a mono frame; one NaN would silence a recurrent detector for the rest of the stream."""
        samples = frame.samples[:, 0]
        if np.isfinite(samples).all():
            return samples
        if not self._warned:
            self._warned = True
            text = "The audio holds samples that are not numbers (NaN or infinite); they are replaced by silence."
            self.context.post(WarningMessage(text, pts_ns=frame.pts_ns))
        return np.where(np.isfinite(samples), samples, np.float32(0))


# Level, for the detector's ears only ------------------------------------------------------------------------------

TARGET_PEAK = 0.1
"""Peaks are raised to this (-20 dBFS), where speech of a close microphone peaks anyway."""

HOLD_S = 1.0
"""How long a loud moment counts in full: longer than the pauses inside a sentence, so that these stay quiet."""

BANG_S = 0.15
"""What is much louder than before and no longer than this is a bang, not speech, and is forgotten without a hold."""

HALF_LIFE_S = 0.12
"""How fast it is forgotten then: 30 dB in 0.6 s."""

MAX_FLOOR = 10 ** (-60 / 20)
"""The noise between the words is not raised above this (RMS, -60 dBFS): louder, Silero takes some of it for speech."""

FLOOR_RISE_DB_S = 3.0
"""How fast the noise floor may rise, dB/s: slower than a sentence, so that it rests on the pauses."""

_SILENCE = 1e-7  # -140 dBFS, below one step of 24 bits; keeps digital silence from being a floor of nothing


class Leveller:
    """Raises the level of quiet audio, never lowers it.

    Detectors judge by absolute level too: a recording that peaks at -44 dBFS opens Silero a third of a second late, and
    hides half of its words from WebRTC's. The gain follows the loudest moment of the last :data:`HOLD_S`; it jumps down
    at once, and up when that is over. Two speakers 30 dB apart so each get their own gain.

    The constants were chosen with ``tests/bench/vad_bench.py`` and recordings made from its clips (a speaker 30 dB
    below another, quiet words after a bang): with a half-life of 10 s and no hold Silero missed 23 s of the softer
    speaker, with these 3 s; false speech in noise and music stayed the same.

    Args:
        max_gain_db: Most amplification, dB.
        window_s: Length of a window, s.
        half_life_s: How fast a loud moment is forgotten once it no longer counts in full.
        hold_s: How long it counts in full, s.
        max_floor: RMS above which the noise between the words is not raised, or None for no such bound.
    """

    def __init__(
        self,
        max_gain_db: float,
        window_s: float,
        *,
        half_life_s: float = HALF_LIFE_S,
        hold_s: float = HOLD_S,
        max_floor: float | None = MAX_FLOOR,
    ) -> None:
        self.allow(max_gain_db)
        self._window_s = window_s
        self._fade = 0.5 ** (window_s / half_life_s)
        self._hold_s = hold_s
        self._max_floor = max_floor
        self._rise = 10 ** (FLOOR_RISE_DB_S * window_s / 20)
        self.restart()

    def allow(self, max_gain_db: float) -> None:
        """Amplify by at most this from now on, dB."""
        self._max_gain = 10 ** (max_gain_db / 20)

    def restart(self) -> None:
        """Forget how loud the stream was."""
        self._peak: float = 0.0
        self._loud_s: float = 0.0
        self._since_s: float = 0.0
        self._heard_s: float = 0.0
        self._floor: float = 1.0

    def level(self, windows: Windows) -> Windows:
        """Amplified copies of consecutive windows, float32[count, window]."""
        levelled = np.empty_like(windows)
        for window, output in zip(windows, levelled, strict=True):
            # One window a call is the rule: whole-array functions with an axis would cost twice as much.
            peak = max(float(window.max()), -float(window.min()))
            wide = window.astype(np.float64)
            rms = math.sqrt(float(wide @ wide) / len(wide))
            if peak >= self._peak / 2:  # about as loud: vowels differ, and each renews the hold
                self._loud_s = self._window_s if peak > self._peak * 2 else self._loud_s + self._window_s
                self._since_s = 0.0
            else:
                self._since_s += self._window_s
            hold_s = self._hold_s if self._loud_s > BANG_S else 0.0
            self._peak = max(peak, self._peak * self._fade if self._since_s > hold_s else self._peak)
            self._floor = max(_SILENCE, min(rms, self._floor * self._rise))
            self._heard_s += self._window_s
            most = self._max_gain
            if self._max_floor is not None and self._heard_s > HOLD_S:
                # A stream may begin in the middle of a word: its floor is known once there was room for a pause.
                most = self._max_floor / self._floor
            gain = max(1.0, min(TARGET_PEAK / max(self._peak, _SILENCE), most, self._max_gain))
            np.multiply(window, np.float32(gain), out=output)
        return levelled
