"""The dub of a session: what was played to the client, when, as a WAV file of the whole session.

Kept as the Opus packets that were sent (5 kB a second of speech) and decoded when it is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tolmach.pipelines.frames import NS_PER_S, Samples, ns_to_samples
from tolmach.transports.webrtc.opus import FRAME_SAMPLES, RTP_RATE_HZ, OpusDecoder

__all__ = ["Dub"]

MAX_PACKETS = 30 * 60 * 50
"""Half an hour of sound, 9 MB; what comes later is not recorded, and the recording ends there."""
_BLOCK = RTP_RATE_HZ
"""Silence is written a second at a time."""
_JOIN = 2 * FRAME_SAMPLES
"""Packets that lie nearer than this follow each other: the clocks of sender and media are not the same one."""


@dataclass(slots=True)
class _Stretch:
    """Packets that follow each other, from sample ``start`` of the session."""

    start: int
    packets: list[bytes] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + len(self.packets) * FRAME_SAMPLES


class Dub:
    """Records packets and writes them as a WAV: mono, 16 bit, 48 kHz, silent between what was said.

    Media times are those of the caller, who sees to it that they do not run ahead of the clock: silence costs nothing
    here, and 96 kB a second in the file.
    """

    def __init__(self) -> None:
        self._stretches: list[_Stretch] = []
        self._count = 0
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether nothing more is recorded."""
        return self._count >= MAX_PACKETS

    def add(self, payload: bytes, at_ns: int) -> None:
        """Take 20 ms of Opus, played at this media time of the session, ns."""
        if self.full:
            return
        start = ns_to_samples(max(0, at_ns), RTP_RATE_HZ)
        last = self._stretches[-1] if self._stretches else None
        if last is None or start > last.end + _JOIN:
            # The media clock may have been set back by a new connection; what was heard later stays later.
            last = _Stretch(max(start, last.end if last else 0))
            self._stretches.append(last)
        last.packets.append(payload)
        self._count += 1
        self._size += len(payload)

    def wav(self, until_ns: int) -> tuple[int, Iterator[bytes]]:
        """The file's length in bytes, and its contents piece by piece; decoding is work for a thread.

        Args:
            until_ns: Media time at which the session has arrived, ns; silence fills up to it. A full recording ends
                with its last packet instead: it must not seem that nobody spoke any more.
        """
        stretches = [_Stretch(s.start, list(s.packets)) for s in self._stretches]
        end = stretches[-1].end if stretches else 0
        if not self.full:
            end = max(end, ns_to_samples(until_ns, RTP_RATE_HZ))
        # The lengths in a RIFF header have 32 bits: 12 hours, longer than any session.
        samples = min(end, (2**32 - 1 - 36) // 2)
        return 44 + 2 * samples, _write(stretches, samples)

    @property
    def end_ns(self) -> int:
        """Media time just after the last packet, ns."""
        return self._stretches[-1].end * NS_PER_S // RTP_RATE_HZ if self._stretches else 0

    @property
    def size(self) -> int:
        """What it keeps, bytes."""
        return self._size

    @property
    def duration_ns(self) -> int:
        """Length of the sound in it, ns."""
        return self._count * FRAME_SAMPLES * NS_PER_S // RTP_RATE_HZ


def _write(stretches: list[_Stretch], samples: int) -> Iterator[bytes]:
    size = 2 * samples
    rate = RTP_RATE_HZ
    # Multimedia Programming Interface and Data Specifications 1.0, 1991: RIFF, fmt and data chunks of PCM.
    yield struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size
    )
    at = 0
    for stretch in stretches:
        if stretch.start >= samples:
            break
        yield from _silence(stretch.start - at)
        decoder = OpusDecoder()
        at = stretch.start
        for packet in stretch.packets:
            block = _pcm(decoder.decode(packet))[: 2 * (samples - at)]
            at += len(block) // 2
            yield block
    yield from _silence(samples - at)


def _silence(samples: int) -> Iterator[bytes]:
    while samples > 0:
        yield bytes(2 * min(samples, _BLOCK))
        samples -= _BLOCK


def _pcm(decoded: Samples | None) -> bytes:
    whole = np.zeros(FRAME_SAMPLES, np.float32)
    if decoded is not None:
        whole[: len(decoded)] = decoded[:FRAME_SAMPLES]
    return (np.clip(whole, -1, 1) * 32767).astype("<i2").tobytes()
