"""The container's timestamps against the samples counted: where a recording pauses."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

__all__ = ["Timestamps", "declared_samples"]

_GAP = Fraction(50, 1000)
"""A jump of the timestamps that counts, s. Matroska rounds to 1 ms and recorders jitter by some; an MP3 frame that was
lost is 26 ms, an Opus packet 20 ms, and one of them is not worth a seam."""

_LONGEST_S = 24 * 3600
"""The longest pause filled with silence, s; timestamps that say more are broken."""
_LONGEST_UNDECLARED_S = 3600
"""The same for recordings that do not say how long they are (those a browser makes), s."""


class Timestamps:
    """Compares the container's timestamps with the samples counted."""

    def __init__(self, container: InputContainer, stream: AudioStream, rate_hz: int, declared: int | None) -> None:
        self._rate_hz = rate_hz
        self._declared = declared
        # PyAV's types say it is never None; for a wav it is.
        start = cast("int | None", container.start_time)
        if start is not None:
            # Of the earliest stream: audio that starts later than the picture begins with silence.
            self._origin_s = Fraction(start, av.time_base)
        else:
            self._origin_s = Fraction(stream.start_time or 0) * (stream.time_base or 0)

    def pause(self, frame: av.AudioFrame, at: int) -> int:
        """Samples of silence that belong before ``frame`` when ``at`` samples came before it."""
        if frame.pts is None or frame.time_base is None:
            return 0
        ahead_s = frame.pts * frame.time_base - self._origin_s - Fraction(at, self._rate_hz)
        if abs(ahead_s) <= _GAP:
            return 0
        ahead = round(ahead_s * self._rate_hz)
        # Backwards, or further than the recording is long: the timestamps were restarted (joined files), or are broken.
        if ahead < 0 or ahead > self._longest(at):
            self._origin_s += ahead_s
            return 0
        return ahead

    def _longest(self, at: int) -> int:
        if self._declared is None:
            return _LONGEST_UNDECLARED_S * self._rate_hz
        return min(self._declared - at + self._rate_hz, _LONGEST_S * self._rate_hz)


def declared_samples(container: InputContainer, stream: AudioStream, rate_hz: int) -> int | None:
    """How long the headers say a recording is, in samples; None when they do not say."""
    if stream.duration is not None and stream.time_base is not None:
        return round(stream.duration * stream.time_base * rate_hz)
    if container.duration is not None:
        return round(Fraction(container.duration, av.time_base) * rate_hz)
    return None
