"""The clock of a recording: timestamps against counted samples, and audio stretched to follow them (docs/adr/0012).

Samples are the truth within a second, timestamps over minutes. So one timestamp moves nothing; many that agree move
everything: forwards by silence, a slow drift by making the audio a little longer or shorter. Pure: counts samples and
knows no file.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

import numpy as np

from tolmach.pipelines.frames import Samples

__all__ = ["MediaClock", "Placement", "stretch"]

_GAP_MS = 50
"""A jump of the timestamps that may mean something. Matroska rounds to 1 ms and recorders jitter by some; an MP3 frame
that was lost is 26 ms, an Opus packet 20 ms, and one of them is not worth a seam."""
_CONFIRM_MS = 2000
"""Audio that has to agree before a jump is believed: all frames of one MPEG-TS packet share its wrong timestamp, and at
16 kb/s one holds 1.5 s (FFmpeg fills 2930 bytes)."""
_HOLD_MS = 5000
"""Audio that may wait for a decision; then what was seen decides."""
_PIECE_MS, _FEW_FALLS = 100, 2  # what a piece between two gaps lasts, and how many wrong timestamps may lie among them
_LAST_RUN_MS = 200
"""What must agree when the recording ends before a jump was confirmed; also how much of a start can be a mistake."""

_LAST_GAP_MS = 60_000  # a longer gap shortly before the end is a mistake

_WINDOW_MS = 1000
"""Audio whose timestamps are averaged (by their median) to see a drift through the jitter."""
_REDRAW_MS = 100  # between two medians: one a frame would cost as much as decoding it
_DRIFT_MS, _SETTLED_MS = 30, 5
"""Drift at which correcting begins, and ends."""
_LOST_MS = 500
"""Drift that stretching did not keep up with (wrong by more than 5 %): a jump after all."""
_PACE_MS = 1000
"""Time in which a drift is corrected to 1/e: at 2 % the audio lags 20 ms behind its timestamps."""
_MOST_STRETCH = 20  # a frame changes by a twentieth at most
_SHORTEST_STRETCHED = 128  # samples; shorter frames stay as they are

_TAPS = 16  # samples on each side of a new one

_LONGEST_S = 24 * 3600
"""The longest gap filled with silence, s; timestamps that say more are broken."""
_LONGEST_UNDECLARED_S = 3600
"""The same for recordings that do not say how long they are (those a browser makes), s."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What to do with one frame.

    Attributes:
        silence: Samples of silence before it.
        stretch: By how many samples it becomes longer (negative: shorter).
    """

    silence: int = 0
    stretch: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    deviation: int | None
    samples: int


class MediaClock:
    """Places frames on the time line of their timestamps.

    Args:
        rate_hz: Sample rate, Hz.
        declared: Length of the recording as its headers say, in samples; None when they do not.
        wrap: Samples after which timestamps start again from 0 (2^33 / 90 kHz in MPEG); 0 for never.
        own_origin: Whether time 0 is the first timestamp of these very frames, so that it may be the wrong one.
        lead: Longest silence before the first frame, in samples, if time 0 is their own: what did not decode.

    Attributes:
        placed: Samples given so far, silence included.
        inserted: Samples added by stretching.
        removed: Samples taken away by stretching.
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        declared: int | None = None,
        wrap: int = 0,
        own_origin: bool = False,
        lead: int | None = None,
    ) -> None:
        self.placed = 0
        self.inserted = 0
        self.removed = 0
        self._rate_hz = rate_hz
        self._declared = declared
        self._wrap = wrap
        self._own_origin = own_origin
        self._lead = lead
        self._counted = 0  # samples taken, without silence
        self._shift = 0  # samples that silence and stretching have put before the next frame, on balance
        self._origin = 0
        self._window: deque[tuple[int, int]] = deque()  # deviation, samples
        self._window_samples = 0
        self._unseen = 0  # samples since the line was drawn
        self._line = 0  # deviation that is expected of the next frame
        self._drifting = False
        self._owed = 0
        self._held: list[_Held] = []
        self._held_samples = 0
        self._run = 0  # samples of the newest held frames that agree
        self._last = 0  # deviation of the newest held frame

    def place(self, time: int | None, samples: int) -> list[Placement]:
        """Take the next frame.

        Args:
            time: Its timestamp, in samples from the start of the recording; None if it has none.
            samples: How long it is.

        Returns:
            Placements of this and earlier frames, in order; none while a jump is undecided. Frames wait for at most
            5 s of audio.
        """
        deviation = None if time is None else self._unwrapped(time - self._counted - self._origin)
        self._counted += samples
        gap = self._samples(_GAP_MS)
        back = deviation is not None and abs(deviation - self._line) <= gap
        if not self._held and (deviation is None or back):
            return [self._accept(deviation, samples)]
        if deviation is not None:
            agrees = bool(self._held) and abs(deviation - self._last) <= gap
            self._run = self._run if agrees else 0
            self._last = deviation
        self._held.append(_Held(deviation, samples))
        self._held_samples += samples
        self._run += samples
        if back:
            return self._resolve(self._line)
        if self._run >= self._samples(_CONFIRM_MS):
            return self._resolve(self._last)
        if self._held_samples >= self._samples(_HOLD_MS):
            return self._resolve(self._likeliest(), noisy=True)
        return []

    def finish(self) -> list[Placement]:
        """The recording is over: decide about the frames that wait."""
        if not self._held:
            return []
        enough = self._samples(_LAST_RUN_MS)
        near = self._last - self._line <= self._samples(_LAST_GAP_MS)
        if not self.placed or (self._run >= enough and near):
            return self._resolve(self._last)
        if self._held_samples < enough or not near:
            return self._resolve(self._line)
        return self._resolve(self._likeliest(), noisy=True)

    def _likeliest(self) -> int:
        """The deviation at the end of the held frames, of which no run is long enough to be sure."""
        seen = [h.deviation for h in self._held if h.deviation is not None]
        falls = sum(after < before - self._samples(_GAP_MS) for before, after in pairwise(seen))
        if falls <= _FEW_FALLS and self._run >= self._samples(_PIECE_MS):
            return self._last  # short pieces between gaps: time only goes forward
        return median_low(seen[len(seen) // 2 :])

    def _resolve(self, target: int, *, noisy: bool = False) -> list[Placement]:
        """Place the held frames, now that the deviation ``target`` is what holds at their end.

        Args:
            target: Samples.
            noisy: Whether the timestamps scatter so far that none can be called wrong.
        """
        held, self._held, self._held_samples, self._run = self._held, [], 0, 0
        gap = self._samples(_GAP_MS)
        moved = abs(target - self._line) > gap
        believed = self._believed(held, target) if moved else set()
        placements = []
        origin = self._origin
        for number, frame in enumerate(held):
            deviation = None if frame.deviation is None else frame.deviation - (self._origin - origin)
            if number in believed and deviation is not None:
                placements.append(Placement(silence=self._jump(deviation)))
                self.placed += frame.samples
            elif deviation is not None and (abs(deviation - self._line) <= gap or (noisy and not moved)):
                placements.append(self._accept(deviation, frame.samples))
            else:
                placements.append(self._accept(None, frame.samples))
        return placements

    def _believed(self, held: list[_Held], target: int) -> set[int]:
        """Numbers of the held frames with which a jump begins that is believed."""
        gap = self._samples(_GAP_MS)
        near = (n for n, h in enumerate(held) if h.deviation is not None and abs(h.deviation - target) <= gap)
        first = next(near, None)
        if first is None:
            return set()
        believed, line = {first}, self._line
        for number, frame in enumerate(held[:first]):
            # Pieces between two gaps; even a wrong one moves nothing but itself, and only within the gap.
            if frame.deviation is not None and line + gap < frame.deviation < target - gap:
                believed.add(number)
                line = frame.deviation
        return believed

    def _jump(self, deviation: int) -> int:
        """The time line goes on at ``deviation``; returns the silence that takes it there."""
        silence = deviation - self._shift
        start_is_wrong = self._own_origin and (
            0 < self.placed < self._samples(_LAST_RUN_MS)
            or (not self.placed and self._lead is not None and silence > self._lead)
        )
        if silence < 0 or silence > self._longest() or start_is_wrong:
            # Backwards, or further than the recording is long: the timestamps were restarted (joined files), or broken.
            self._origin += silence
            deviation, silence = self._shift, 0
        self._shift += silence
        self.placed += silence
        self._window.clear()
        self._window_samples = 0
        self._drifting = False
        self._see(deviation, 1)
        return silence

    def _accept(self, deviation: int | None, samples: int) -> Placement:
        silence = stretch = 0
        if deviation is not None:
            self._see(deviation, samples)
            if abs(self._line - self._shift) > self._samples(_LOST_MS):
                silence = self._jump(self._line)
            else:
                stretch = self._correction(samples)
        self._shift += stretch
        self.inserted += max(0, stretch)
        self.removed -= min(0, stretch)
        self.placed += samples + stretch
        return Placement(silence, stretch)

    def _see(self, deviation: int, samples: int) -> None:
        window = self._window
        window.append((deviation, samples))
        self._window_samples += samples
        self._unseen += samples
        if self._unseen < self._samples(_REDRAW_MS) and len(window) > 1:
            return
        self._unseen = 0
        longest = self._samples(_WINDOW_MS)
        while len(window) > 1 and self._window_samples - window[0][1] >= longest:
            self._window_samples -= window.popleft()[1]
        self._line = median_low(deviation for deviation, _ in window)

    def _correction(self, samples: int) -> int:
        error = self._line - self._shift
        if not self._drifting and abs(error) > self._samples(_DRIFT_MS):
            self._drifting, self._owed = True, 0
        elif self._drifting and abs(error) < self._samples(_SETTLED_MS):
            self._drifting = False
        if not self._drifting or samples < _SHORTEST_STRETCHED:
            return 0
        self._owed += error * samples
        pace = self._samples(_PACE_MS)
        most = samples // _MOST_STRETCH
        stretch = max(-most, min(most, self._owed // pace if self._owed >= 0 else -(-self._owed // pace)))
        self._owed = max(-pace, min(pace, self._owed - stretch * pace))
        return stretch

    def _unwrapped(self, deviation: int) -> int:
        if not self._wrap:
            return deviation
        half = self._wrap // 2
        return (deviation - self._line + half) % self._wrap - half + self._line

    def _longest(self) -> int:
        if self._declared is None:
            return _LONGEST_UNDECLARED_S * self._rate_hz
        return min(self._declared - self.placed + self._rate_hz, _LONGEST_S * self._rate_hz)

    def _samples(self, duration_ms: int) -> int:
        return duration_ms * self._rate_hz // 1000


def stretch(samples: Samples, by: int) -> Samples:
    """Make a frame longer or shorter by a few samples, as a clock that ran a little faster or slower would have.

    Windowed-sinc interpolation (Smith, "Digital Audio Resampling", 2002) at evenly spaced places; the first and the
    last 16 samples stay, so that frames join without a seam. A drift of 2 % is a third of a semitone.

    Args:
        samples: float32[n, channels], n at least 64.
        by: Samples to add, or (negative) to leave out; at most a tenth of n.

    Returns:
        float32[n + by, channels].
    """
    inner = len(samples) - 2 * _TAPS
    places = _TAPS + np.arange(inner + by) * (inner / (inner + by))
    before = np.floor(places).astype(np.int64)
    taps = before[:, None] + np.arange(1 - _TAPS, _TAPS + 1)
    distance = places[:, None] - taps
    weights = np.sinc(distance) * np.cos(distance * (np.pi / (2 * _TAPS))) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    moved = np.stack([np.einsum("ij,ij->i", weights, column[taps]) for column in samples.T], axis=1)
    return np.concatenate((samples[:_TAPS], moved.astype(np.float32), samples[-_TAPS:]))
