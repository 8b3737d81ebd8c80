"""What the peer plays, sample by sample: our packets, decoded as the peer decodes them.

Speech through Opus and back is 6 dB away from itself as a waveform, so what was put into the encoder is of no use to an
adaptive filter: with it, no more than 5 to 7 dB of an echo can be explained, and 18 to 20 with what came out.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from tolmach.pipelines.frames import NS_PER_S, Samples
from tolmach.transports.webrtc.opus import FRAME_SAMPLES, RTP_RATE_HZ, OpusDecoder

_LATE = FRAME_SAMPLES // 2
"""What is sent so much late is late, and follows the packet before; what is later still comes after silence."""
_FRESH = 10 * FRAME_SAMPLES
"""After so much silence the sender begins with a fresh encoder."""


def sample_index(time_ns: int) -> int:
    """The number of the sample at a time of the monotonic clock, 48 kHz."""
    return time_ns * RTP_RATE_HZ // NS_PER_S


class SentAudio:
    """The packets of the last seconds, by the time they were due.

    Args:
        length: Samples kept, 48 kHz.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._packets: deque[tuple[int, bytes]] = deque()
        self._dropped = 0  # packets in all
        self._end = 0

    def sent(self, payload: bytes, sent_ns: int) -> None:
        """Take note of a packet of 20 ms with sound, and when it was due, monotonic clock, ns."""
        start = sample_index(sent_ns)
        if start - self._end <= _LATE:
            start = self._end
        self._packets.append((start, payload))
        self._end = start + FRAME_SAMPLES
        while self._packets[0][0] < self._end - self._length:
            self._packets.popleft()
            self._dropped += 1

    def after(self, number: int) -> tuple[int, int, bytes] | None:
        """The first packet from ``number`` on that is there: its number, first sample and payload."""
        at = max(number - self._dropped, 0)
        return (at + self._dropped, *self._packets[at]) if at < len(self._packets) else None


class Playback:
    """Reads the decoded audio from one place on; decodes nothing that is not asked for.

    Args:
        sent: The packets.
        start: Number of the first sample, 48 kHz.
    """

    def __init__(self, sent: SentAudio, start: int) -> None:
        self._sent = sent
        self._at = start
        self._number = 0
        self._decoder = OpusDecoder()
        self._decoded_to = 0
        self._ready: deque[tuple[int, Samples]] = deque()

    def seek(self, start: int) -> bool:
        """Go on from ``start``, which is not before what was read; whether anything is left out."""
        moved, self._at = start != self._at, start
        return moved

    def read(self, count: int) -> Samples:
        """The next ``count`` samples, float32[count]; silence where nothing was sent."""
        start, stop = self._at, self._at + count
        self._at = stop
        while (packet := self._sent.after(self._number)) is not None and packet[1] < stop:
            self._decode(*packet)
        out = np.zeros(count, np.float32)
        while self._ready:
            first, samples = self._ready[0]
            low, high = max(first, start), min(first + len(samples), stop)
            if low < high:
                out[low - start : high - start] = samples[low - first : high - first]
            if first + len(samples) > stop:
                break
            self._ready.popleft()
        return out

    def _decode(self, number: int, first: int, payload: bytes) -> None:
        if first - self._decoded_to > _FRESH:
            self._decoder = OpusDecoder()
        self._number, self._decoded_to = number + 1, first + FRAME_SAMPLES
        samples = self._decoder.decode(payload)
        if samples is not None:
            self._ready.append((first, samples))
