"""What is sent next: a queue of audio that is read every 20 ms and finds its way back to a small depth.

Pure: no clock, no event loop. Two kinds of audio come in:

* *live* audio (no utterance) belongs to the moment. What has piled up, because the loop stalled or a burst came in, is
  latency for good; it is shed first in silences, then by taking out single pitch periods, and at worst dropped.
* audio of an *utterance* comes faster than real time from a synthesiser and is all wanted; it is never shed.

Depth is judged by the *slack*: what was left after each read, at least, in the last half second (a fifth for
silences). That is the part of the queue that protects against nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.incoming.conceal import SEARCHED, find_period
from tolmach.transports.webrtc.opus import FRAME_SAMPLES, RTP_RATE_HZ

_MS = RTP_RATE_HZ // 1000
SILENCE_RMS = 10 ** (-50 / 20)
"""-50 dB full scale: below it lie the pauses of a headset's microphone, above it breath and speech."""
_SLACK_READS = 25  # half a second
_SILENCE_READS = 10  # a fifth: pauses are short, and leaving one out too early costs no sound
_SHED_FROM = 10 * _MS  # excess worth shedding in silence
_SHORTEN_FROM = 40 * _MS  # excess worth touching sound
_SHORTEN_EVERY = 5  # reads: a tenth of a second between two periods taken out, as a fast talker's 10-15 %
_SHORTEN_CORRELATION = 0.8  # what resembles itself less would be heard to jump
_SHORTEN_ANYWAY = 100 * _MS  # in noise and music, which never resemble themselves, a cross-fade is the lesser evil
_FADE = 5 * _MS // 2


@dataclass(slots=True)
class PlayoutStats:
    """Counters since the start.

    Attributes:
        underruns: Times the queue ran dry in the middle of a stream.
        played_samples: Samples read.
        shed_samples: Samples of silence left out to lose latency.
        shortened_samples: Samples of sound left out, by whole pitch periods, to lose latency.
        dropped_samples: Live samples thrown away because too many had piled up.
    """

    underruns: int = 0
    played_samples: int = 0
    shed_samples: int = 0
    shortened_samples: int = 0
    dropped_samples: int = 0


class Playout:
    """The queue of a paced sender; mono, float32, 48 kHz.

    Args:
        cushion_ms: Audio that stays in reserve after each read of live audio, ms.
        live_bound_ms: Most live audio held, ms; the oldest is dropped.
    """

    def __init__(self, *, cushion_ms: int = 20, live_bound_ms: int = 1000) -> None:
        self.stats = PlayoutStats()
        self._cushion = cushion_ms * _MS
        self._live_bound = live_bound_ms * _MS
        self._queue: deque[Samples] = deque()
        self._depth = 0
        self.written = 0
        """Samples written since the start."""
        self._live = True
        self._ended = False
        self._playing = False
        self._ran_dry = False
        self._waited = 0  # reads since audio came while not playing
        self._slack: deque[int] = deque(maxlen=_SLACK_READS)
        self._since_shortened = 0

    @property
    def depth(self) -> int:
        """Samples that wait."""
        return self._depth

    @property
    def consumed(self) -> int:
        """Samples that no longer wait: played, left out or thrown away."""
        return self.written - self._depth

    def configure(self, *, cushion_ms: int) -> None:
        """Set the cushion; what waits goes on waiting."""
        self._cushion = cushion_ms * _MS

    @property
    def ready(self) -> bool:
        """Whether :meth:`read` would give a whole frame now."""
        return self._depth >= FRAME_SAMPLES and (self._playing or self._may_start())

    @property
    def finishing(self) -> bool:
        """Whether what is left is less than a frame, and complete."""
        return self._ended and 0 < self._depth < FRAME_SAMPLES

    def write(self, samples: Samples, *, live: bool) -> None:
        """Append float32[n]. ``live`` says whether it may be shed; see the module."""
        if not len(samples):
            return
        self._live, self._ended = live, False
        self._queue.append(samples)
        self._depth += len(samples)
        self.written += len(samples)
        if live and self._depth > self._live_bound:
            excess = self._depth - self._live_bound
            self._take(excess)
            self.stats.dropped_samples += excess
            self._slack.clear()

    def end(self) -> None:
        """What was written is complete: running dry behind it is no underrun, and nothing more is waited for."""
        self._ended = True

    def read(self) -> Samples | None:
        """The next 20 ms, float32[960], or None while there is nothing to play."""
        if not self._playing:
            if not self._may_start():
                self._waited += self._depth > 0
                return None
            self._playing, self._waited = True, 0
            self._slack.clear()
        if self._depth < FRAME_SAMPLES:
            return self._run_dry()
        if self._live:
            self._shed()
        frame = self._take(FRAME_SAMPLES)
        self._slack.append(self._depth)
        if self._ran_dry:
            self._ran_dry = False
            frame = frame.copy()
            frame[:_FADE] *= np.linspace(0, 1, _FADE, dtype=np.float32)
        self.stats.played_samples += FRAME_SAMPLES
        return frame

    def clear(self) -> int:
        """Throw everything away; returns how many samples that was."""
        thrown, self._depth = self._depth, 0
        self._queue.clear()
        self._playing = False
        return thrown

    def _may_start(self) -> bool:
        if self._depth >= FRAME_SAMPLES + self._cushion:
            return True
        # A stream shorter than the cushion must be heard too, and nobody announces the end of a live one.
        patience = -(-self._cushion // FRAME_SAMPLES) + 1
        return self._depth > 0 and (self._ended or self._waited >= patience)

    def _run_dry(self) -> Samples | None:
        self._playing = False
        rest = self._take(self._depth)
        if not self._ended:
            self.stats.underruns += 1
            self._ran_dry = True
        if not len(rest):
            return None
        self.stats.played_samples += len(rest)
        frame = np.zeros(FRAME_SAMPLES, np.float32)
        frame[: len(rest)] = rest
        if not self._ended:
            fade = min(_FADE, len(rest))
            frame[len(rest) - fade : len(rest)] *= np.linspace(1, 0, fade, dtype=np.float32)
        return frame

    def _take(self, count: int) -> Samples:
        parts: list[Samples] = []
        self._depth -= count
        while count:
            head = self._queue.popleft()
            if len(head) > count:
                self._queue.appendleft(head[count:])
                head = head[:count]
            parts.append(head)
            count -= len(head)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    # Losing latency -----------------------------------------------------------------------------------------------

    def _shed(self) -> None:
        self._since_shortened += 1
        seen = len(self._slack)
        if seen < _SILENCE_READS:
            return
        recent = list(self._slack)[-_SILENCE_READS:]
        excess = min(min(recent) - self._cushion, self._depth - FRAME_SAMPLES)
        if excess < _SHED_FROM:
            return
        removed = self._leave_out_silence(excess)
        self.stats.shed_samples += removed
        excess = min(self._slack) - self._cushion
        due = seen == _SLACK_READS and self._since_shortened >= _SHORTEN_EVERY
        if not removed and due and excess >= _SHORTEN_FROM:
            removed = self._leave_out_period(0 if excess >= _SHORTEN_ANYWAY else _SHORTEN_CORRELATION)
            self.stats.shortened_samples += removed
            self._since_shortened = 0
        if removed:
            self._slack = deque((s - removed for s in self._slack), maxlen=_SLACK_READS)

    def _leave_out_silence(self, excess: int) -> int:
        """Drop up to ``excess`` samples of silence from the head, in blocks of 10 ms; returns how many."""
        block = _SHED_FROM
        removed = 0
        while removed + block <= excess:
            head = self._take(block)
            if float(np.sqrt(np.mean(head * head))) > SILENCE_RMS:
                self._give_back(head)
                break
            removed += block
        return removed

    def _leave_out_period(self, least: float) -> int:
        """Take one pitch period out of sound at the head, with a cross-fade; returns its length or 0.

        Nothing is taken out of sound that resembles itself by less than ``least``.
        """
        if self._depth < SEARCHED + FRAME_SAMPLES:
            return 0
        head = self._take(SEARCHED)
        period, correlation = find_period(head)
        if correlation < least:
            self._give_back(head)
            return 0
        fall = np.linspace(1, 0, period, dtype=np.float32)
        # The signal resembles itself one period later: fade from here to there.
        at = SEARCHED - 2 * period
        joined = head[at : at + period] * fall + head[at + period :] * (1 - fall)
        self._give_back(np.concatenate((head[:at], joined)))
        return period

    def _give_back(self, samples: Samples) -> None:
        self._queue.appendleft(samples)
        self._depth += len(samples)
