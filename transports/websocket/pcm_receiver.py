"""PCM that a client sends as it likes, as frames of one stream in media time.

Media time is the count of samples: a client that pauses and resumes goes on where it was, and a client faster than
real time is served as fast as the graph takes it. Nothing is thrown away: when enough waits, the writer waits too, and
through it the client's TCP.

**Silence of the socket is no silence.** A network that stalls sends nothing for a while, and everything afterwards; no
sentence may be cut for that. So media time stands still while nothing comes, and what ends an utterance is silence in
what was sent, or :meth:`PcmReceiver.flush`, which a client asks for that stops sending.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, AudioFrame, Samples, samples_to_ns
from tolmach.transports.mono import MonoConverter
from tolmach.transports.webrtc.incoming.jitter import WINDOW_NS, JitterSettings
from tolmach.transports.webrtc.opus import FRAME_SAMPLES, RTP_RATE_HZ

__all__ = ["FLUSH_MS", "MAX_CHANNELS", "MAX_RATE_HZ", "MIN_RATE_HZ", "Pcm", "PcmReceiver"]

Pcm = bytes | bytearray | memoryview | npt.NDArray[np.int16]
"""16 bit, little endian, channels interleaved; as an array int16[n] or int16[n, channels]."""

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
MAX_CHANNELS = 2

FLUSH_MS = 2000
"""Silence that ends an utterance: twice the longest hangover of the shipped graphs."""
_BOUND = 2 * RTP_RATE_HZ
"""Samples that wait before the writer does; as much as a jitter buffer holds."""
_PIECE_S = 1
"""Seconds converted in one turn of the loop."""
_BURST = 4
"""Frames given in one turn of the loop, as from RTP: each costs what the graph does with it."""
_PAUSE_NS = NS_PER_S
"""Who sends nothing for longer has paused, or the network has stalled: either way arrival is reckoned anew."""
_AHEAD_NS = 250 * NS_PER_MS
"""How far the present may be ahead of what has come: further, and the client has paused."""
_FULL_SCALE = np.float32(1 / 32768)


class PcmReceiver:
    """The receiving end of a stream of PCM; an :class:`~tolmach.transports.peer.AudioInput`.

    One writer and one reader, in the same event loop. Frames are 20 ms, whatever the pieces in which they came; the
    last one may be shorter.

    Args:
        clock: Monotonic clock, ns.

    Attributes:
        begun: Set when the first of it has come.
    """

    def __init__(self, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.clock = clock
        self.begun = asyncio.Event()
        self.last_arrival_ns: int | None = None
        self._converter: MonoConverter | None = None
        self._pieces: deque[Samples] = deque()
        self._waiting = 0  # samples in them
        self._given = 0  # samples read
        self._silence = 0  # samples of it put in
        self._to_flush = False  # whether anything has come since the last flush
        self._transit = _LeastTransit()
        self._changed = asyncio.Event()  # for the reader
        self._room = asyncio.Event()  # for the writer
        self._interrupted = False
        self._ended = False
        self._closed = False
        self._given_in_turn = 0

    # What the client sends ----------------------------------------------------------------------------------------

    async def write(self, pcm: Pcm, rate_hz: int = RTP_RATE_HZ, channels: int = 1) -> None:
        """Take what has come, and wait while too much of it waits to be read.

        Args:
            pcm: Whole samples of each channel. What is left of a sample at the end is an error of the client's.
            rate_hz: Its rate; when it changes, the stream goes on with the new one.
            channels: How many are interleaved; their mean is heard.

        Raises:
            ValueError: If these are no whole samples, or rate or channels are out of bounds. Says what is allowed.

        Cancelled by: the writer; what was not taken is lost.
        """
        samples = _samples(pcm, rate_hz, channels)
        if self._ended or not len(samples):
            return
        converter = self._converter
        if converter is None or converter.rate_hz != rate_hz:
            if converter is not None:
                self._append(converter.flush())
            converter = self._converter = MonoConverter(rate_hz)
        self._to_flush = True
        self.begun.set()
        self._arrived(len(samples), rate_hz)
        piece = rate_hz * _PIECE_S
        for start in range(0, len(samples), piece):
            self._append(converter.convert(samples[start : start + piece].astype(np.float32) * _FULL_SCALE))
            await self._until_room()
            if len(samples) > piece:
                await asyncio.sleep(0)
            if self._closed:
                return

    async def flush(self, silence_ms: int = FLUSH_MS) -> None:
        """Put silence behind what was sent, so that an utterance which is open ends; nothing if nothing has come since.

        Args:
            silence_ms: How much, ms of media time.

        Cancelled by: the writer.
        """
        if self._ended or not self._to_flush:
            return
        self._to_flush = False
        self._finish_converter()
        silence = silence_ms * RTP_RATE_HZ // 1000
        self._silence += silence
        self._append(np.zeros(silence, np.float32))
        self._arrived(0, RTP_RATE_HZ)
        await self._until_room()

    def end(self) -> None:
        """Nothing will follow: the reader gets what waits, then None. Safe twice."""
        if not self._ended:
            self._finish_converter()
            self._ended = True
            self._changed.set()
            self._room.set()

    def close(self) -> None:
        """The client is gone: what waits is not read any more. Safe twice."""
        self._closed = True
        self._pieces.clear()
        self._waiting = 0
        self.end()
        self._changed.set()
        self._room.set()

    def _finish_converter(self) -> None:
        converter, self._converter = self._converter, None
        if converter is not None:
            self._append(converter.flush())

    def _append(self, samples: Samples) -> None:
        if len(samples) and not self._closed:
            self._pieces.append(samples)
            self._waiting += len(samples)
            self._changed.set()

    async def _until_room(self) -> None:
        while self._waiting >= _BOUND and not self._ended:
            self._room.clear()
            await self._room.wait()

    def _arrived(self, samples: int, rate_hz: int) -> None:
        """Take note of when media up to here was sent: not later than now. To be asked before it is appended."""
        now_ns = self.clock()
        end_ns = self._end_ns + samples * NS_PER_S // rate_hz
        last_ns, self.last_arrival_ns = self.last_arrival_ns, now_ns
        if last_ns is not None and now_ns - last_ns > _PAUSE_NS:
            self._transit = _LeastTransit()
        self._transit.add(now_ns - end_ns, now_ns)

    # What the graph reads -----------------------------------------------------------------------------------------

    def configure(self, settings: JitterSettings) -> None:
        """Nothing is waited for: TCP brings all there is, in order."""

    async def read(self) -> AudioFrame | None:
        """The next 20 ms as soon as they are there; None if the stream has ended or was interrupted.

        Cancelled by: the reader; nothing is lost by it.
        """
        if self._given_in_turn >= _BURST:
            self._given_in_turn = 0
            await asyncio.sleep(0)
        while not self._interrupted:
            if self._waiting >= FRAME_SAMPLES or (self._ended and self._waiting):
                self._given_in_turn += 1
                return self._take(min(FRAME_SAMPLES, self._waiting))
            if self._ended:
                return None
            self._given_in_turn = 0
            self._changed.clear()
            await self._changed.wait()
        self._interrupted = False
        return None

    def interrupt(self) -> None:
        """Make the :meth:`read` under way, or else the next one, give None."""
        self._interrupted = True
        self._changed.set()

    @property
    def ended(self) -> bool:
        """Whether nothing will follow what was read."""
        return self._ended and not self._waiting

    def _take(self, count: int) -> AudioFrame:
        pts_ns = samples_to_ns(self._given, RTP_RATE_HZ)
        self._given += count
        self._waiting -= count
        parts: list[Samples] = []
        while count:
            head = self._pieces.popleft()
            if len(head) > count:
                self._pieces.appendleft(head[count:])
                head = head[:count]
            parts.append(head)
            count -= len(head)
        if self._waiting < _BOUND:
            self._room.set()
        samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return AudioFrame(samples[:, None], RTP_RATE_HZ, pts_ns)

    # Time ---------------------------------------------------------------------------------------------------------

    @property
    def _end_ns(self) -> int:
        """Media time up to which it has come, ns."""
        return samples_to_ns(self._given + self._waiting, RTP_RATE_HZ)

    @property
    def transit_ns(self) -> int:
        """Arrival less media time, ns: the least of late, of the ends of what came at a time."""
        return self._transit.ns

    def media_now_ns(self) -> int:
        """Media time at this moment at the client, ns; it stands still soon after the client has paused."""
        if self.last_arrival_ns is None:
            return 0
        return max(0, min(self.clock() - self._transit.ns, self._end_ns + _AHEAD_NS))

    # State --------------------------------------------------------------------------------------------------------

    @property
    def overflowed(self) -> int:
        """Nothing is thrown away."""
        return 0

    @property
    def full(self) -> bool:
        """Whether the client is held back, because nobody reads what has come."""
        return self._waiting >= _BOUND

    @property
    def media_samples(self) -> int:
        """Samples that the client has sent, at 48 kHz."""
        return self._given + self._waiting - self._silence

    def stats(self) -> dict[str, int | float]:
        """Counters and the present state, under the names that RTP's receiver has for them."""
        return {
            "media_samples": self.media_samples,
            "silence_samples": self._silence,
            "depth_ms": round(self._waiting * 1000 / RTP_RATE_HZ, 3),
        }


class _LeastTransit:
    """The smallest of the last seconds: that of audio which nothing has held up, on clocks that drift."""

    def __init__(self) -> None:
        self.ns = 0
        self._least: int | None = None  # since then
        self._least_before: int | None = None
        self._since_ns = 0

    def add(self, transit_ns: int, now_ns: int) -> None:
        """Take note of one."""
        if self._least is None or now_ns - self._since_ns > WINDOW_NS // 2:
            self._least_before, self._least, self._since_ns = self._least, transit_ns, now_ns
        self._least = min(self._least, transit_ns)
        self.ns = self._least if self._least_before is None else min(self._least, self._least_before)


def _samples(pcm: Pcm, rate_hz: int, channels: int) -> npt.NDArray[np.int16]:
    """int16[n, channels]."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise ValueError(f"the rate must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, not {rate_hz}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"there may be 1 to {MAX_CHANNELS} channels, not {channels}")
    if not isinstance(pcm, np.ndarray):
        size = 2 * channels
        if len(pcm) % size:
            raise ValueError(f"{len(pcm)} bytes are no whole samples of {channels} x 16 bit: send multiples of {size}")
        pcm = np.frombuffer(pcm, "<i2")
    if pcm.size % channels:
        raise ValueError(f"{pcm.size} samples are no whole ones of {channels} channels")
    return pcm.reshape(-1, channels)
